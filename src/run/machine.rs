//! The processors, the memory and the devices of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::decide::Machine;
use crate::trial::Device;

/// This machine, with the devices that the trainer found, and the bytes of each where it tells.
#[must_use]
pub fn machine(devices: Vec<(Device, Option<u64>)>) -> Machine {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let limit = memory_limit();
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let memory = match (free, limit) {
        (Some(free), Some(limit)) => Some(u64::min(free, limit)),
        (free, limit) => free.or(limit),
    };
    let device_memory = devices.iter().filter_map(|(device, memory)| Some((*device, (*memory)?))).collect();
    Machine { cores, memory, devices: devices.into_iter().map(|(device, _)| device).collect(), device_memory }
}

/// The memory limit of the container, cluster job or service that this process belongs to, if there is one.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Without a limit the file holds a word, or a number beyond all memory.
    let bytes = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok();
    limit_files(&groups).into_iter().filter_map(bytes).min()
}

/// The files with the limits of the groups in `/proc/self/cgroup` and of their parent groups. Inside a container the name
/// of the group may be one from outside; the root is always in the list.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let files = |line: &str| -> Option<Vec<PathBuf>> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, group) = (parts.next()?, parts.next()?);
        let (root, name) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let groups = Path::new(group).ancestors();
        Some(groups.map(|group| Path::new(root).join(group.strip_prefix("/").unwrap_or(group)).join(name)).collect())
    };
    groups.lines().filter_map(files).flatten().collect()
}

/// `MemAvailable` of `/proc/meminfo` in bytes.
pub(super) fn available(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemAvailable:")
}

/// `MemTotal` of `/proc/meminfo` in bytes.
pub(super) fn total(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemTotal:")
}

fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Commit of the repository around `folder`, followed by `+` if files have changed since. None without a repository or git.
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
        assert!(machine(vec![(Device::Cpu, None)]).cores > 0);
    }

    #[test]
    fn the_limits_of_all_parent_groups_are_read() {
        let check = |groups: &str, expected: &[&str]| {
            let files = limit_files(groups);
            assert!(files.iter().map(|file| file.to_str().unwrap()).eq(expected.iter().copied()), "{files:?}");
        };
        check("", &[]);
        check("0::/\n", &["/sys/fs/cgroup/memory.max"]);
        check(
            "0::/user.slice/a:b.scope\n",
            &[
                "/sys/fs/cgroup/user.slice/a:b.scope/memory.max",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        );
        check(
            "9:name=systemd:/x\n4:cpu,memory:/job\n",
            &["/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
        );
    }

    #[test]
    fn outside_a_repository_there_is_no_commit() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(git_commit(folder.path()), None);
    }
}
