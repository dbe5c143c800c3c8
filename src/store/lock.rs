//! Who may write: one parent for each sweep, one worker for each trial.
//!
//! Three things keep a second process out:
//! * The kernel holds a lock on the lock file (`flock`). The lock of a dead process is gone.
//! * The parent also locks the folder of the sweep. So a second parent is refused even if a user deletes the lock file.
//! * The holder changes the time of the lock file every [`HEARTBEAT`]. Where the file system has no locks, or keeps them
//!   on each host to itself, the heartbeat alone decides.
//!
//! A process is alive if the kernel says so: by its lock on this machine, else by its process id and start time in the same
//! process namespace. In all other cases its heartbeat must change.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{io, process, thread};

use serde::{Deserialize, Serialize};

use super::folders::{FOLDERS_ABOVE_TRIAL, check_within};
use super::paths::WRITER_LOCK;
use super::{RunDir, StoreError, TrialDir, atomic, disk};

/// A process that holds a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    pub pid: u32,
    pub host: String,
    /// Changes with every start of the machine. None where the system does not tell.
    pub boot: Option<String>,
    /// Start time of the process in clock ticks since the start of the machine: a reused process id has another one.
    #[serde(default)]
    pub started: Option<u64>,
    /// The process namespace: a container has its own process ids.
    #[serde(default)]
    pub namespace: Option<String>,
}

impl LockHolder {
    #[must_use]
    pub fn this_process() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned());
        let namespace = fs::read_link("/proc/self/ns/pid").ok().map(|link| link.display().to_string());
        let pid = process::id();
        Self { pid, host: host(), boot, started: start_time(pid), namespace }
    }

    /// Whether the kernel of this process knows that process: same start of the machine.
    fn shares_kernel(&self, here: &Self) -> bool {
        self.boot.is_some() && self.boot == here.boot
    }

    /// Whether the process runs. None if its process id means nothing here.
    fn runs(&self, here: &Self) -> Option<bool> {
        let comparable = self.shares_kernel(here) && self.namespace.is_some() && self.namespace == here.namespace;
        comparable.then(|| process_exists(self.pid) && (self.started.is_none() || start_time(self.pid) == self.started))
    }
}

/// Field 22 of `/proc/<pid>/stat`. The name in field 2 may contain spaces and parentheses.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn process_exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    // The process of another user exists too, but it may not be signalled.
    matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The lock on a folder. Held until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
    /// The locked folder, where the file system can lock one.
    folder: Option<File>,
}

/// Whether a lock is worth something without the name of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signature {
    Needed,
    IfThereIsRoom,
}

/// Time between two heartbeats of a holder.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// A holder whose heartbeat does not change for so long is dead. Network file systems show a change after seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a reader waits for a heartbeat that it cannot judge by the clock.
const LISTEN: Duration = Duration::from_secs(5);
/// A lock file that is older than this needs no listening. Clocks of hosts differ by hours at most, such as by a wrong time
/// zone.
const STALE: Duration = Duration::from_hours(48);

impl Lock {
    /// Shows that the holder is alive; due every [`HEARTBEAT`]. Restores a lock file that a user deleted.
    ///
    /// # Errors
    /// [`StoreError::Vanished`] if the folder is gone or another one, [`StoreError::Refused`] if it is a link now,
    /// [`StoreError::Locked`] if another process took it.
    pub fn beat(&mut self) -> Result<(), StoreError> {
        let folder = self.path.parent().unwrap_or(&self.path);
        // The lock of a trial lies below `trials`, that of a sweep in its folder.
        let above = if self.path.ends_with(WRITER_LOCK) { FOLDERS_ABOVE_TRIAL } else { 0 };
        check_within(folder, above)?;
        if !self.owns_folder() {
            return Err(StoreError::Vanished { path: folder.to_owned() });
        }
        if !disk::is_at(&self.file, &self.path) {
            let Some(file) = lock_within(&self.path, MOMENT)? else {
                return Err(StoreError::Locked { path: self.path.clone(), holder: holder_text(&self.path) });
            };
            self.file = file;
            if supports_locks(&self.file) || written_holder(&self.path).is_none() {
                sign(&mut self.file, &self.path)?;
            }
        }
        match written_holder(&self.path) {
            Some(holder) if holder == LockHolder::this_process() => {}
            // A user has emptied it: no other process could.
            None if supports_locks(&self.file) => sign(&mut self.file, &self.path)?,
            // Without locks, another process takes the file of one that was stopped for long. It empties the file at its end.
            _ => return Err(StoreError::Locked { path: self.path.clone(), holder: holder_text(&self.path) }),
        }
        // A heartbeat that cannot be written is no reason to stop.
        let _ = self.file.set_modified(SystemTime::now());
        Ok(())
    }

    /// Whether the path of the folder still names the folder that was locked.
    fn owns_folder(&self) -> bool {
        let folder = self.path.parent().unwrap_or(&self.path);
        self.folder.as_ref().is_none_or(|opened| disk::is_at(opened, folder)) && folder.is_dir()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only readers profit: closing the file is what unlocks. Another process may have taken it meanwhile.
        if written_holder(&self.path) == Some(LockHolder::this_process()) {
            let _ = self.file.set_len(0);
        }
    }
}

impl RunDir {
    /// Takes the folder for this process, or says who has it. Creates the folder if it does not exist.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        self.lock_after(SILENCE, Signature::Needed)
    }

    /// Like [`Self::lock`] on a full disk: without room for its name, the kernel alone knows the holder.
    pub fn lock_without_room(&self) -> Result<Lock, StoreError> {
        self.lock_after(SILENCE, Signature::IfThereIsRoom)
    }

    /// A holder without a heartbeat for `silence` is dead.
    fn lock_after(&self, silence: Duration, signature: Signature) -> Result<Lock, StoreError> {
        disk::create_folders(self.path()).map_err(StoreError::at(self.path()))?;
        self.check_folders()?;
        let path = self.lock_file();
        let refused = || StoreError::Locked { path: self.path().to_owned(), holder: holder_text(&path) };
        let Some(folder) = lock_folder(self.path())? else { return Err(refused()) };
        let Some(mut file) = lock_within(&path, MOMENT)? else { return Err(refused()) };
        let here = LockHolder::this_process();
        // The kernel has refused every live process of this machine. Others are known by their heartbeats alone.
        let is_dead = |holder: &LockHolder| {
            (holder.shares_kernel(&here) && supports_locks(&file)) || holder.runs(&here) == Some(false)
        };
        if written_holder(&path).is_some_and(|holder| !is_dead(&holder)) && beats_within(&path, silence) {
            return Err(refused());
        }
        match sign(&mut file, &path) {
            Err(error) if error.is_full() && signature == Signature::IfThereIsRoom && supports_locks(&file) => {}
            result => result?,
        }
        if !supports_locks(&file) {
            thread::sleep(MOMENT);
            if written_holder(&path) != Some(here) {
                return Err(refused());
            }
        }
        Ok(Lock { path, file, folder })
    }

    /// Whether a process runs this sweep now. Disturbs no process; may wait some seconds for a heartbeat from another host.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let path = self.lock_file();
        match written_holder(&path) {
            Some(holder) => is_alive(&holder, &path),
            // A user may have deleted the lock file. Its owner restores it at its next heartbeat.
            None => is_folder_locked(self.path()),
        }
    }

    /// Moves the folder to `<name>.archived-<n>` and creates an empty one. The caller holds the lock and gets the new one.
    pub fn archive(&self, lock: Lock) -> Result<(Lock, PathBuf), StoreError> {
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
    /// Takes the files of the trial for one worker. Waits at most `patience` for an earlier attempt, which ends by itself
    /// soon after its parent; then None.
    pub fn lock(&self, patience: Duration) -> Result<Option<Lock>, StoreError> {
        self.check_folders()?;
        let path = self.writer_lock();
        let start = Instant::now();
        let Some(mut file) = lock_within(&path, patience)? else { return Ok(None) };
        let here = LockHolder::this_process();
        if !supports_locks(&file)
            && let Some(holder) = written_holder(&path).filter(|holder| *holder != here)
        {
            // Only its heartbeat tells whether the earlier worker has ended.
            while holder.runs(&here) != Some(false) && beats_within(&path, SILENCE) {
                if start.elapsed() >= patience {
                    return Ok(None);
                }
            }
        }
        sign(&mut file, &path)?;
        self.remove_unfinished();
        Ok(Some(Lock { path, file, folder: None }))
    }
}

/// Whether a process that is named in the lock file at `path` is alive.
fn is_alive(holder: &LockHolder, path: &Path) -> bool {
    let here = LockHolder::this_process();
    if let Some(runs) = holder.runs(&here) {
        return runs;
    }
    if holder.shares_kernel(&here)
        && let Ok(file) = disk::open(path)
    {
        match disk::try_lock_shared(&file) {
            Ok(()) => return false,
            Err(TryLockError::WouldBlock) => return true,
            Err(TryLockError::Error(_)) => {}
        }
    }
    beats_within(path, LISTEN)
}

fn written_holder(path: &Path) -> Option<LockHolder> {
    atomic::read_json::<LockHolder>(path).ok().flatten()
}

/// The holder in words, for an error message.
fn holder_text(path: &Path) -> String {
    let text = |holder: LockHolder| format!("process {} on {}", holder.pid, holder.host);
    written_holder(path).map_or_else(|| "another process".to_owned(), text)
}

/// Writes this process into the lock file.
fn sign(file: &mut File, path: &Path) -> Result<(), StoreError> {
    use std::io::Seek as _;
    let holder = atomic::to_json(path, &LockHolder::this_process())?;
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| disk::write(file, &holder)).map_err(StoreError::at(path))
}

/// For a lock that is gone in a moment: a child that its dead holder has just forked has it too, until it starts its
/// program, and a reader that looks for the holder has it for an instant.
const MOMENT: Duration = Duration::from_millis(300);

/// The locked file. None if another process has it until the end of `patience`.
fn lock_within(path: &Path, patience: Duration) -> Result<Option<File>, StoreError> {
    let start = Instant::now();
    loop {
        let file = disk::open_lock_file(path).map_err(StoreError::at(path))?;
        if is_locked_by_us(&file).map_err(StoreError::at(path))? && disk::is_at(&file, path) {
            if !disk::has_other_names(&file).map_err(StoreError::at(path))? {
                return Ok(Some(file));
            }
            // The file under the other name stays as it is.
            fs::remove_file(path).map_err(StoreError::at(path))?;
            continue;
        }
        if start.elapsed() >= patience {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The locked folder; the inner None where the file system cannot lock folders, the outer one if another process has it.
#[expect(clippy::option_option, reason = "the documentation says what each None means")]
fn lock_folder(path: &Path) -> Result<Option<Option<File>>, StoreError> {
    let start = Instant::now();
    let Ok(folder) = File::open(path) else { return Ok(Some(None)) };
    loop {
        match disk::try_lock(&folder) {
            Ok(()) => return Ok(Some(Some(folder))),
            Err(TryLockError::Error(_)) => return Ok(Some(None)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= MOMENT => return Ok(None),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether another process has locked the folder.
fn is_folder_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|folder| matches!(disk::try_lock_shared(&folder), Err(TryLockError::WouldBlock)))
}

/// Locks a file if no other process holds its lock. True also where the file system has no locks: the heartbeat decides there.
fn is_locked_by_us(file: &File) -> io::Result<bool> {
    match disk::try_lock(file) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if disk::is_unsupported(&error) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the file system of a file that this process has locked knows locks at all.
fn supports_locks(file: &File) -> bool {
    // Locking again what is locked already succeeds.
    matches!(disk::try_lock(file), Ok(()) | Err(TryLockError::WouldBlock))
}

/// Whether a heartbeat comes within `silence`. Times are only compared for a change: the clocks of hosts differ.
fn beats_within(path: &Path, silence: Duration) -> bool {
    let changed = || fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (start, before) = (Instant::now(), changed());
    if before.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > STALE) {
        return false;
    }
    while start.elapsed() < silence {
        thread::sleep(Duration::from_millis(50));
        if changed() != before {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::Results;

    fn sweep(folder: &Path) -> RunDir {
        Results::new(folder).unwrap().sweep("s").unwrap()
    }

    #[test]
    fn a_second_parent_is_refused_and_learns_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let lock = dir.lock().unwrap();
        let error = dir.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {} on {}", process::id(), host())), "{error}");
        assert_eq!(written_holder(&dir.lock_file()), Some(LockHolder::this_process()));
        assert!(dir.is_held());
        drop(lock);
        assert!(!dir.is_held());
        dir.lock().unwrap();
    }

    #[test]
    fn a_deleted_lock_file_admits_no_second_parent_and_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let mut lock = dir.lock().unwrap();
        fs::remove_file(dir.lock_file()).unwrap();
        assert!(dir.lock().is_err());
        assert!(dir.is_held());
        lock.beat().unwrap();
        assert_eq!(written_holder(&dir.lock_file()), Some(LockHolder::this_process()));
        assert!(dir.is_held());
        fs::rename(dir.path(), folder.path().join("moved")).unwrap();
        assert!(matches!(lock.beat(), Err(StoreError::Vanished { .. })));
        fs::create_dir(dir.path()).unwrap();
        assert!(matches!(lock.beat(), Err(StoreError::Vanished { .. })), "another folder of the same name");
    }

    fn write_holder(dir: &RunDir, holder: &LockHolder) {
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(dir.lock_file(), serde_json::to_vec(holder).unwrap()).unwrap();
    }

    #[test]
    fn dead_processes_hold_nothing() {
        let here = LockHolder::this_process();
        for dead in [
            LockHolder { boot: Some("an earlier boot".into()), ..here.clone() },
            // The process id was reused.
            LockHolder { started: here.started.map(|ticks| ticks + 1), ..here.clone() },
            // A container of this machine, whose process id exists here too.
            LockHolder { namespace: Some("pid:[1]".into()), ..here.clone() },
            LockHolder { host: "container-a1b2".into(), namespace: Some("pid:[1]".into()), ..here },
        ] {
            let folder = tempfile::tempdir().unwrap();
            let dir = sweep(folder.path());
            write_holder(&dir, &dead);
            let start = Instant::now();
            assert!(!dir.is_held(), "{dead:?}");
            assert!(dead.boot.as_deref() == Some("an earlier boot") || start.elapsed() < Duration::from_secs(1));
            dir.lock_after(Duration::from_millis(200), Signature::Needed).unwrap();
        }
    }

    /// The lock file of another host on a file system that does not carry its lock to this host.
    fn held_elsewhere(dir: &RunDir) -> File {
        let holder = LockHolder { pid: 7, host: "elsewhere".into(), boot: None, started: Some(1), namespace: None };
        write_holder(dir, &holder);
        File::options().write(true).open(dir.lock_file()).unwrap()
    }

    #[test]
    fn a_holder_on_another_host_keeps_the_folder_as_long_as_its_heart_beats() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let theirs = held_elsewhere(&dir);
        let done = AtomicBool::new(false);
        let (refused, is_held) = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(30));
                    theirs.set_modified(SystemTime::now()).unwrap();
                }
            });
            let seen = (dir.lock_after(Duration::from_secs(30), Signature::Needed), dir.is_held());
            done.store(true, Ordering::Relaxed);
            seen
        });
        let message = refused.expect_err("it is alive").to_string();
        assert!(message.contains("in use by process 7 on elsewhere"), "{message}");
        assert!(is_held);
        let ours = dir.lock_after(Duration::from_millis(200), Signature::Needed).expect("it is dead");
        assert_eq!(written_holder(&dir.lock_file()), Some(LockHolder::this_process()));
        assert!(dir.is_held());
        drop((ours, theirs));
    }

    /// The clock of the other host is an hour late, so its heartbeats look old.
    #[test]
    fn a_late_clock_does_not_look_like_death() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let theirs = held_elsewhere(&dir);
        let beat = |n: u64| theirs.set_modified(SystemTime::now() - Duration::from_secs(3600 - n)).unwrap();
        beat(0);
        let done = AtomicBool::new(false);
        let refused = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(30));
                    beat(1);
                    beat(0);
                }
            });
            let seen = dir.lock_after(Duration::from_secs(30), Signature::Needed);
            done.store(true, Ordering::Relaxed);
            seen
        });
        assert!(matches!(refused, Err(StoreError::Locked { .. })));
    }

    /// A process that was stopped for minutes on a file system without locks finds another one in its place.
    #[test]
    fn a_holder_that_was_replaced_notices() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let mut lock = dir.lock().unwrap();
        lock.beat().unwrap();
        let other = LockHolder { pid: 7, host: "elsewhere".into(), ..LockHolder::this_process() };
        write_holder(&dir, &other);
        assert!(matches!(lock.beat(), Err(StoreError::Locked { .. })));
        drop(lock);
        assert_eq!(written_holder(&dir.lock_file()), Some(other), "it keeps its signature");
    }

    #[test]
    fn an_emptied_lock_file_is_signed_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        let mut lock = dir.lock().unwrap();
        fs::write(dir.lock_file(), "").unwrap();
        lock.beat().unwrap();
        assert_eq!(written_holder(&dir.lock_file()), Some(LockHolder::this_process()));
        assert!(dir.is_held());
    }

    #[test]
    fn a_second_name_of_a_lock_file_keeps_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let dir = sweep(folder.path());
        drop(dir.lock().unwrap());
        let other = folder.path().join("other");
        fs::write(&other, "mine").unwrap();
        fs::remove_file(dir.lock_file()).unwrap();
        fs::hard_link(&other, dir.lock_file()).unwrap();
        let _lock = dir.lock().unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(written_holder(&dir.lock_file()), Some(LockHolder::this_process()));
        assert!(dir.is_held());
    }

    #[test]
    fn archives_are_numbered_and_the_new_folder_is_locked() {
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
