//! Why an attempt has no outcome, and the exit code for it. Decided by the kinds of errors, never by their texts.

use crate::event::Failure;
use crate::store::{AttemptDir, StoreError, exit};
use crate::train::TrainError;
use crate::trial::Device;

/// Why an attempt has no outcome.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// Asked to stop, or superseded; the training state is saved.
    Interrupted,
    Failed(Failure),
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        Self::Failed(match error {
            StoreError::Superseded { .. } => return Self::Interrupted,
            StoreError::Damaged { .. } | StoreError::Name { .. } | StoreError::Refused { .. } => {
                Failure::BadInput { message }
            }
            StoreError::Io { .. } => Failure::DiskError { message },
            StoreError::Limit { .. } => Failure::Limit { message },
            StoreError::Vanished { .. } => Failure::FilesVanished { message },
            StoreError::Full { .. } | StoreError::NoInodes { .. } => Failure::DiskFull { message },
            StoreError::Unwritable { .. } | StoreError::InTheWay { .. } | StoreError::Locked { .. } => {
                Failure::Disk { message }
            }
        })
    }
}

impl AttemptError {
    pub(super) fn of_training(error: TrainError, device: Device) -> Self {
        let message = error.to_string();
        Self::Failed(match error {
            TrainError::Interrupted => return Self::Interrupted,
            TrainError::Input(_) | TrainError::Data(_) | TrainError::Keys(_) | TrainError::TrainingState(_) => {
                Failure::BadInput { message }
            }
            // An error of the disk has passed through the trainer; its kind is that of the store.
            TrainError::Sink(error) => match error.downcast::<StoreError>() {
                Ok(error) => return Self::from(error),
                Err(_) => Failure::Disk { message },
            },
            TrainError::Threads { .. } => Failure::Limit { message },
            TrainError::OutOfDeviceMemory(_) if device != Device::Cpu => Failure::DeviceMemory { message },
            TrainError::Device(_) => Failure::DeviceFault { message },
            TrainError::Tensor(_) if device != Device::Cpu => Failure::DeviceFault { message },
            TrainError::Tensor(_) | TrainError::OutOfDeviceMemory(_) => {
                Failure::Crashed { message, log_tail: Vec::new() }
            }
        })
    }

    /// Leaves the reason for the parent, and returns the exit code.
    pub(super) fn report(&self, attempt: &AttemptDir) -> u8 {
        match self {
            Self::Interrupted => exit::INTERRUPTED,
            Self::Failed(failure) => {
                // On a full disk only the exit code remains.
                let _ = attempt.fail(failure);
                Self::exit_code(failure)
            }
        }
    }

    fn exit_code(failure: &Failure) -> u8 {
        match failure {
            Failure::BadInput { .. } => exit::BAD_INPUT,
            Failure::Disk { .. } => exit::DISK,
            Failure::DiskFull { .. } => exit::DISK_FULL,
            Failure::DeviceFault { .. } => exit::DEVICE,
            Failure::OutOfMemory { .. } => exit::OUT_OF_MEMORY,
            Failure::DiskError { .. }
            | Failure::DeviceMemory { .. }
            | Failure::Limit { .. }
            | Failure::FilesVanished { .. }
            | Failure::Crashed { .. }
            | Failure::Lost
            // Only the parent finds these.
            | Failure::Node { .. }
            | Failure::NoCheckpoint { .. }
            | Failure::Cancelled { .. }
            | Failure::Stalled { .. }
            | Failure::TimeLimit { .. } => exit::CRASHED,
        }
    }
}
