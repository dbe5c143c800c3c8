//! The devices on which a trial can run.

use candle_core::Device as Opened;
use candle_core::utils::{cuda_is_available, metal_is_available};

use super::TrainError;
use crate::trial::Device;
use plateau_kernels::product::Bf16Unit;

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
        // Passes run on other threads than the optimizer. candle's default stream is one for each thread, so that kernels of the
        // optimizer could start before the gradients are complete; in one stream they run in the order of their calls.
        Device::Cuda(index) => Opened::new_cuda_with_stream(ordinal(index)).map_err(absent),
        Device::Metal(_) if !metal_is_available() => Err(missing("metal")),
        Device::Metal(index) => Opened::new_metal(index).map_err(absent),
    }
}

/// The number of a CUDA device in this process. If `CUDA_VISIBLE_DEVICES` makes one device visible, its number is 0.
fn ordinal(index: usize) -> usize {
    let pinned = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|seen| !seen.is_empty() && !seen.contains(','));
    if pinned { 0 } else { index }
}

/// The devices that this build and this machine support, the fastest first, and the bytes of each where it tells. The CPU is always
/// the last one. Opens none: an open CUDA device takes hundreds of megabytes of its memory.
#[must_use]
pub fn available_devices() -> Vec<(Device, Option<u64>)> {
    let mut devices = cuda_devices();
    if metal_is_available() && Opened::new_metal(0).is_ok() {
        devices.push((Device::Metal(0), None));
    }
    devices.push((Device::Cpu, None));
    devices
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Vec<(Device, Option<u64>)> {
    use plateau_kernels::cuda::{device_count, total_memory};

    (0..device_count()).map(|index| (Device::Cuda(index), total_memory(index))).collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Vec<(Device, Option<u64>)> {
    Vec::new()
}

/// The peak of the memory that this process has taken on a device, in bytes. None where the device does not tell.
#[must_use]
pub fn peak_memory(device: &Opened) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Opened::Cuda(device) => plateau_kernels::cuda::peak_memory(device.cuda_stream().context()),
        _ => None,
    }
}

/// What multiplies bf16 factors on a device: a feature of the processor, or the device itself.
#[must_use]
pub fn bf16_unit(device: Device) -> String {
    match device {
        Device::Cpu => Bf16Unit::of_this_machine().to_string(),
        Device::Cuda(_) | Device::Metal(_) => device.to_string(),
    }
}

/// What a device lacks for products in bf16 that are faster than those in f32. None: it lacks nothing.
#[must_use]
pub fn lacks_for_bf16(device: Device) -> Option<String> {
    let is_slow = device == Device::Cpu && Bf16Unit::of_this_machine() == Bf16Unit::Emulated;
    is_slow.then(|| {
        "this processor has neither avx512_bf16 (AMD since Zen 4, Intel since Sapphire Rapids) nor amx_bf16, or the system hides \
         them (see `flags` in /proc/cpuinfo)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_the_last_device() {
        assert_eq!(available_devices().last(), Some(&(Device::Cpu, None)));
        assert!(open(Device::Cpu).is_ok());
    }

    #[test]
    fn an_unsupported_device_is_an_error_with_a_build_command() {
        if cfg!(not(feature = "cuda")) {
            insta::assert_snapshot!(open(Device::Cuda(1)).unwrap_err(), @"device: cuda:1 is not available: this build has no cuda support. Build it with `cargo build --release --features cuda`");
        }
    }
}
