//! The devices on which a trial can run.

use candle_core::Device as Opened;
use candle_core::utils::{cuda_is_available, metal_is_available};

use super::TrainError;
use crate::trial::Device;

/// Opens a device.
pub fn open(device: Device) -> Result<Opened, TrainError> {
    let missing = |kind: &str| {
        TrainError::Device(format!(
            "{device} is not available: this build has no {kind} support. Build it with `cargo build --release --features {kind}`"
        ))
    };
    let absent = |e: candle_core::Error| TrainError::Device(format!("{device} cannot be opened on this machine: {e}"));
    match device {
        Device::Cpu => Ok(Opened::Cpu),
        Device::Cuda(_) if !cuda_is_available() => Err(missing("cuda")),
        Device::Cuda(index) => Opened::new_cuda(ordinal(index)).map_err(absent),
        Device::Metal(_) if !metal_is_available() => Err(missing("metal")),
        Device::Metal(index) => Opened::new_metal(index).map_err(absent),
    }
}

/// The number of a CUDA device in this process. If `CUDA_VISIBLE_DEVICES` makes one device visible, its number is 0.
fn ordinal(index: usize) -> usize {
    let pinned = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|seen| !seen.is_empty() && !seen.contains(','));
    if pinned { 0 } else { index }
}

/// The devices that this build and this machine support, the fastest first. The CPU is always the last one.
#[must_use]
pub fn available_devices() -> Vec<Device> {
    let mut devices = Vec::new();
    if cuda_is_available() {
        devices.extend((0..).map_while(|index| Opened::new_cuda(index).ok().map(|_| Device::Cuda(index))));
    }
    if metal_is_available() && Opened::new_metal(0).is_ok() {
        devices.push(Device::Metal(0));
    }
    devices.push(Device::Cpu);
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_the_last_device() {
        assert_eq!(available_devices().last(), Some(&Device::Cpu));
        assert!(open(Device::Cpu).is_ok());
    }

    #[test]
    fn an_unsupported_device_is_an_error_with_a_build_command() {
        if cfg!(not(feature = "cuda")) {
            insta::assert_snapshot!(open(Device::Cuda(1)).unwrap_err(), @"device: cuda:1 is not available: this build has no cuda support. Build it with `cargo build --release --features cuda`");
        }
    }
}
