//! Which accelerators this build and this machine have.

use candle_core::Device as Candle;

use super::TrainError;
use crate::trial::Device;

/// More devices of one kind than a machine holds.
const MOST: usize = 64;

/// The accelerators that this build and this machine have, best first; the CPU is always there and last.
#[must_use]
pub fn available_devices() -> Vec<Device> {
    let found = |device: fn(usize) -> Device| (0..MOST).map(device).take_while(|&device| open(device).is_ok());
    found(Device::Cuda).chain(found(Device::Metal)).chain([Device::Cpu]).collect()
}

/// Opens a device for tensors.
pub(super) fn open(device: Device) -> Result<Candle, TrainError> {
    let opened = match device {
        Device::Cpu => return Ok(Candle::Cpu),
        Device::Cuda(index) if candle_core::utils::cuda_is_available() => Candle::new_cuda(index),
        Device::Metal(index) if candle_core::utils::metal_is_available() => Candle::new_metal(index),
        Device::Cuda(_) | Device::Metal(_) => {
            let feature = if matches!(device, Device::Cuda(_)) { "cuda" } else { "metal" };
            return Err(TrainError::Device(format!(
                "{device} is not in this build: build with `cargo build --release --features {feature}`, or use the CPU"
            )));
        }
    };
    opened.map_err(|error| TrainError::Device(format!("{device} cannot be opened: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_last() {
        assert_eq!(available_devices().last(), Some(&Device::Cpu));
    }

    #[test]
    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    fn a_device_that_the_build_lacks_says_how_to_build() {
        insta::assert_snapshot!(open(Device::Cuda(1)).unwrap_err(), @"device: cuda:1 is not in this build: build with `cargo build --release --features cuda`, or use the CPU");
    }
}
