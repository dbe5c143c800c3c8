//! The environment variables of a worker: its threads, its memory, and its device as the only one.

use crate::event::Slot;
use crate::trial::Device;

/// The number under which a worker sees its device: engines hide all others from it.
#[must_use]
pub fn device_seen_by_worker(device: Device) -> Device {
    match device {
        Device::Cuda(_) => Device::Cuda(0),
        other => other,
    }
}

/// The environment of a process that computes with `threads` threads on the CPU.
#[must_use]
pub fn cpu_environment(threads: usize) -> Vec<(&'static str, String)> {
    environment(Slot::alone(0, Device::Cpu, threads), None)
}

/// The environment of a worker on `slot`. `visible`: the `CUDA_VISIBLE_DEVICES` of this process, into which the index of the
/// slot counts.
pub(super) fn environment(slot: Slot, visible: Option<&str>) -> Vec<(&'static str, String)> {
    let mut variables = thread_environment(slot);
    if let Device::Cuda(index) = slot.device {
        let pinned = visible.and_then(|list| list.split(',').nth(index)).map(|name| name.trim().to_owned());
        variables.push(("CUDA_VISIBLE_DEVICES", pinned.unwrap_or_else(|| index.to_string())));
    }
    variables
}

/// The environment for the threads and the memory of a worker on `slot`.
#[must_use]
pub fn thread_environment(slot: Slot) -> Vec<(&'static str, String)> {
    let threads =
        ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"];
    // On a CPU the trainer has its own pool of `slot.threads` threads and runs one-thread products in it. Pools of candle or
    // of a library would only add more threads.
    let inner = if slot.device == Device::Cpu { 1 } else { slot.threads };
    let mut variables: Vec<_> = threads.into_iter().map(|name| (name, inner.to_string())).collect();
    // A step needs as much memory as the one before. If freed pages went back to the system, page faults would cost an eighth of
    // the time of a step.
    variables.push(("MIMALLOC_PURGE_DELAY", "-1".to_owned()));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_threads_are_for_accelerators_only() {
        let value = |device, wanted| {
            let slot = Slot::alone(0, device, 3);
            environment(slot, None).into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
            assert_eq!(value(Device::Cpu, name).as_deref(), Some("1"), "{name}");
            assert_eq!(value(Device::Cuda(0), name).as_deref(), Some("3"), "{name}");
        }
        assert_eq!(value(Device::Cpu, "MIMALLOC_PURGE_DELAY").as_deref(), Some("-1"));
    }

    #[test]
    fn a_worker_sees_one_of_the_devices_that_this_process_sees() {
        let pinned = |index, visible| {
            let slot = Slot::alone(0, Device::Cuda(index), 1);
            let variables = environment(slot, visible);
            variables.into_iter().find(|(name, _)| *name == "CUDA_VISIBLE_DEVICES").map(|(_, value)| value)
        };
        assert_eq!(pinned(1, None).as_deref(), Some("1"));
        assert_eq!(pinned(1, Some("4, 6")).as_deref(), Some("6"));
        assert_eq!(pinned(0, Some("GPU-1c5a")).as_deref(), Some("GPU-1c5a"));
    }
}
