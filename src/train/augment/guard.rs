//! Runs a program so that nothing of it outlives this process, in whatever way this process ends.
//!
//! A handler cannot run after `kill -9`. So `plateau guard` stands between the two as a process of its own. When the program
//! or this process has ended, it kills every process below the program. On Linux none can leave: the kernel gives the orphans
//! among them to the guard, also those in sessions of their own (`PR_SET_CHILD_SUBREAPER`). Elsewhere it kills the process
//! group of the program.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, kill_process_group,
    setrlimit, wait,
};

use crate::trial::printable;

/// Time between two looks at the program and at the parent.
const LOOK: Duration = Duration::from_millis(10);
/// How long the guard may take to kill the program.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exit code of a guard that cannot start its program, as in a shell.
const CANNOT_START: i32 = 127;

/// A program that runs below a guard. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    /// The guard, with the pipes and the exit status of the program.
    pub(super) guard: Child,
}

impl Guarded {
    /// Starts `program` with pipes for its input and its outputs.
    pub(super) fn start(program: &str, arguments: &[String]) -> io::Result<Self> {
        let guard = Command::new(this_program()?)
            .arg0("plateau")
            .args(["guard", &process::id().to_string(), program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the terminal does not end it first.
            .process_group(0)
            .spawn()?;
        Ok(Self { guard })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(guard) = Pid::from_raw(self.guard.id() as i32) else { return };
        let _ = kill_process(guard, Signal::TERM);
        let start = Instant::now();
        while matches!(self.guard.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            thread::sleep(LOOK);
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// The path of this program.
fn this_program() -> io::Result<PathBuf> {
    // The link names this program also if its file is rebuilt meanwhile.
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { Ok(link) } else { std::env::current_exe() }
}

/// Whether the parent has asked this guard to end.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Runs the program in `line` as its guard, for the process `parent`. Ends as the program ends. Returns an exit code.
#[must_use]
pub fn guard(parent: i32, line: &[OsString]) -> i32 {
    // SAFETY: the handler only stores to an atomic.
    unsafe { libc::signal(libc::SIGTERM, stop as *const () as libc::sighandler_t) };
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
    let Some((program, arguments)) = line.split_first() else { return CANNOT_START };
    let program = match Command::new(program).args(arguments).process_group(0).spawn() {
        Ok(program) => Pid::from_raw(program.id() as i32),
        Err(error) => {
            // The parent shows the last line of this output.
            let _ = writeln!(io::stderr(), "{}", printable(&format!("cannot be started: {error}")));
            return CANNOT_START;
        }
    };
    let is_wanted =
        || !STOP.load(Ordering::Relaxed) && getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    let mut status = None;
    while status.is_none() && is_wanted() {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if Some(pid) == program => status = Some(ended),
            // An orphan that has ended.
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => thread::sleep(LOOK),
            Err(_) => break,
        }
    }
    kill_all(program);
    end_as(status)
}

/// Kills everything below this process, and waits for it.
fn kill_all(program: Option<Pid>) {
    loop {
        if let Some(program) = program {
            let _ = kill_process_group(program, Signal::KILL);
        }
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        // The children of a killed child are children of this process now.
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        thread::sleep(LOOK);
    }
}

/// The children of this process by `/proc`; none where there is no such folder.
fn children() -> impl Iterator<Item = Pid> {
    let is_child = |process: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        // The name in parentheses may contain anything. After it come the state and the parent.
        let parent = stat.ok().and_then(|stat| stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok());
        parent == Some(getpid().as_raw_nonzero().get())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).filter(is_child)
}

/// The exit code of the program. If a signal has ended it, the same signal ends this process.
fn end_as(status: Option<WaitStatus>) -> i32 {
    let signal = status.and_then(WaitStatus::terminating_signal).unwrap_or(libc::SIGKILL);
    if let Some(code) = status.and_then(WaitStatus::exit_status) {
        return code;
    }
    // The program has left a core file, if one was wanted.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = kill_process(getpid(), signal);
    }
    128 + signal
}
