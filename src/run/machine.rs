//! What this machine has.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::decide::Machine;
use crate::trial::Device;

/// The machine with `devices` as the trainer found them.
#[must_use]
pub fn machine(devices: Vec<Device>) -> Machine {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // Inside a container, its bound counts.
    let bound = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let memory = match (free, bound) {
        (Some(free), Some(bound)) => Some(u64::min(free, bound)),
        (free, bound) => free.or(bound),
    };
    Machine { cores, memory, devices }
}

/// `MemAvailable` of `/proc/meminfo` in bytes.
pub(super) fn available(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemAvailable:")
}

/// `MemTotal`, likewise.
pub(super) fn total(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemTotal:")
}

fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Commit of the repository around `folder`; `+` behind it for changes since. None without a repository or without git.
pub(super) fn git_commit(folder: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    Some(if changed { format!("{commit}+") } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:   12 kB\n"), Some(12 << 10));
        assert_eq!(available("MemTotal:  9 kB\n"), None);
        assert!(machine(vec![Device::Cpu]).cores > 0);
    }

    #[test]
    fn outside_a_repository_there_is_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(git_commit(folder.path()), None);
    }
}
