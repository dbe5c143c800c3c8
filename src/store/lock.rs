//! Who may write: one parent a sweep, one worker a trial.
//!
//! The kernel holds the lock (`flock`), so a dead process leaves none. The file's content only says who holds it, for the
//! one who is refused and for `plateau status`. Some shared file systems keep such locks on each host to itself; there
//! the holder's heartbeat ([`Lock::beat`]) keeps other hosts off, and its silence lets them in.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use std::{io, process, thread};

use serde::{Deserialize, Serialize};

use super::{RunDir, StoreError, TrialDir, atomic, disk};

/// A process that holds a results folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    /// Changes with every start of the machine; None where the system does not tell.
    pub boot: Option<String>,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned());
        Self { pid: process::id(), host: host(), boot }
    }

    /// Whether the process lives. Of another host nothing is known, so it counts as alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let here = Self::this_process();
        if self.host != here.host {
            return true;
        }
        self.boot == here.boot && is_process_alive(self.pid)
    }
}

fn is_process_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    // A process of another user exists too, it only may not be signalled.
    matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
}

/// The machine's name.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Between heartbeats of a holder.
pub const BEAT: Duration = Duration::from_secs(2);
/// Without a heartbeat for so long, a holder on another host is dead. Network file systems show a change after seconds.
const SILENCE: Duration = Duration::from_secs(10);

impl Lock {
    /// Says to other hosts that the holder lives; due every [`BEAT`].
    pub fn beat(&self) {
        // A sign of life that cannot be given is no reason to die.
        let _ = self.file.set_modified(SystemTime::now());
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only a courtesy to readers: closing the file is what unlocks.
        let _ = self.file.set_len(0);
    }
}

impl RunDir {
    /// Takes the folder (made if it is not there) for this process, or says who has it.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        self.lock_after(SILENCE)
    }

    /// As [`Self::lock`]; a holder on another host is dead after `silence`.
    fn lock_after(&self, silence: Duration) -> Result<Lock, StoreError> {
        disk::make_folders(self.path()).map_err(StoreError::at(self.path()))?;
        let path = self.lock_file();
        let refused = || {
            let holder = self.holder();
            StoreError::Locked {
                path: self.path().to_owned(),
                holder: holder.map_or_else(
                    || "another process".to_owned(),
                    |holder| format!("process {} on {}", holder.pid, holder.host),
                ),
            }
        };
        let Some(mut file) = lock_within(&path, MOMENT)? else { return Err(refused()) };
        let foreign = self.holder().is_some_and(|holder| holder.host != host());
        if foreign && beats_within(&path, silence) {
            return Err(refused());
        }
        let holder = atomic::to_json(&path, &Holder::this_process())?;
        file.set_len(0).and_then(|()| disk::write(&mut file, &holder)).map_err(StoreError::at(&path))?;
        Ok(Lock { file })
    }

    /// The process that runs this sweep now, as far as can be told without disturbing it.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        atomic::read_json::<Holder>(&self.lock_file()).ok().flatten().filter(Holder::is_alive)
    }

    /// Moves the folder to `<name>.archived-<n>` and starts an empty one. The caller holds the lock and gets the new one.
    pub fn archive(&self, lock: Lock) -> Result<(Lock, std::path::PathBuf), StoreError> {
        let name = self.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let archived = (1..u32::MAX)
            .map(|n| self.path().with_file_name(format!("{name}.archived-{n}")))
            .find(|path| !path.exists())
            .ok_or_else(|| StoreError::damaged(self.path(), "no name is left for the archive"))?;
        disk::rename(self.path(), &archived).map_err(StoreError::at(self.path()))?;
        let new = self.lock();
        drop(lock);
        Ok((new?, archived))
    }
}

impl TrialDir {
    /// Takes the trial's files for one worker. Waits for an earlier attempt, which ends by itself soon after its parent:
    /// at most `patience`, then None.
    pub fn lock(&self, patience: Duration) -> Result<Option<Lock>, StoreError> {
        Ok(lock_within(&self.writer_lock(), patience)?.map(|file| Lock { file }))
    }
}

/// For a lock that is only passing: a child that its dead holder has just forked has it too, until it runs its program.
const MOMENT: Duration = Duration::from_millis(300);

/// The locked file; None if another has it until the end of `patience`.
fn lock_within(path: &Path, patience: Duration) -> Result<Option<File>, StoreError> {
    let start = Instant::now();
    loop {
        let locked = try_lock(path)?;
        if locked.is_some() || start.elapsed() >= patience {
            return Ok(locked);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a heartbeat comes within `silence`. Times are only compared for a change: clocks of hosts differ.
fn beats_within(path: &Path, silence: Duration) -> bool {
    let changed = || fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (start, before) = (Instant::now(), changed());
    while start.elapsed() < silence {
        thread::sleep(Duration::from_millis(50));
        if changed() != before {
            return true;
        }
    }
    false
}

/// The locked file; None if another process (or another opening in this one) has it.
fn try_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = disk::open_to_write(path).map_err(StoreError::at(path))?;
    match file.try_lock() {
        Ok(()) if is_still_there(&file, path) => Ok(Some(file)),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::at(path)(error)),
    }
}

/// Whether `path` still names the file that was opened: its folder may have been archived in between.
fn is_still_there(file: &File, path: &Path) -> bool {
    let same = || -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let (ours, theirs) = (file.metadata()?, fs::metadata(path)?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Results;

    fn sweep(folder: &Path) -> RunDir {
        Results::new(folder).unwrap().sweep("s").unwrap()
    }

    #[test]
    fn the_second_parent_is_refused_and_told_by_whom() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let lock = dir.lock().unwrap();
        let error = dir.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {} on {}", process::id(), host())), "{error}");
        assert_eq!(dir.holder(), Some(Holder::this_process()));
        drop(lock);
        assert_eq!(dir.holder(), None);
        dir.lock().unwrap();
    }

    #[test]
    fn a_lock_file_of_a_dead_process_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let dead = Holder { boot: Some("an earlier boot".into()), ..Holder::this_process() };
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(dir.lock_file(), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!(dir.holder(), None);
        dir.lock().unwrap();
    }

    /// What another host's lock looks like here when the file system does not carry it.
    fn held_elsewhere(dir: &RunDir) -> Lock {
        let holder = Holder { pid: 7, host: "elsewhere".into(), boot: None };
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(dir.lock_file(), serde_json::to_vec(&holder).unwrap()).unwrap();
        Lock { file: File::options().write(true).open(dir.lock_file()).unwrap() }
    }

    #[test]
    fn a_holder_on_another_host_keeps_the_folder_as_long_as_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let theirs = held_elsewhere(&dir);
        let done = std::sync::atomic::AtomicBool::new(false);
        let refused = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(30));
                    theirs.beat();
                }
            });
            let refused = dir.lock_after(Duration::from_secs(30));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            refused
        });
        let message = refused.expect_err("it lives").to_string();
        assert!(message.contains("in use by process 7 on elsewhere"), "{message}");
        assert_eq!(dir.holder().map(|holder| holder.pid), Some(7), "and is still the holder");
        let ours = dir.lock_after(Duration::from_millis(200)).expect("it is dead");
        assert_eq!(dir.holder(), Some(Holder::this_process()));
        drop((ours, theirs));
    }

    #[test]
    fn archives_are_numbered_and_the_new_folder_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        for n in 1..3 {
            let lock = dir.lock().unwrap();
            fs::write(dir.sweep_yaml(), "old").unwrap();
            let (_lock, archived) = dir.archive(lock).unwrap();
            assert_eq!(archived.file_name().unwrap().to_str(), Some(format!("s.archived-{n}").as_str()));
            assert!(archived.join("sweep.yaml").exists() && !dir.sweep_yaml().exists());
            assert!(dir.lock().is_err());
        }
    }
}
