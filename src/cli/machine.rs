//! What this machine offers to trials.

use std::fs;
use std::thread;

use crate::decide::Machine;
use crate::train;

/// Looks at cores, memory and devices, now.
pub(crate) fn machine() -> Machine {
    Machine {
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory: available_memory(),
        devices: train::available_devices(),
    }
}

/// Bytes that new processes may use: what the system has free, within the limits of this process's control group.
fn available_memory() -> Option<u64> {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemAvailable:"));
    [free, group_memory()].into_iter().flatten().min()
}

/// Bytes under a field of `/proc/meminfo`, which counts in kB.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What the memory limit of the control group (v2) leaves; None without a limit.
fn group_memory() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_bytes() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(23_000_000 * 1024));
        assert_eq!(field(text, "SwapFree:"), None);
    }
}
