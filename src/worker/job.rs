//! The process of a job of a cluster. It has no parent: it claims the attempt that it trains. If several attempts share the job, it
//! starts a process for each, some side by side, and the next when one ends.
//!
//! A signal that announces the end of the job is passed on: all workers save their states, and no other is started. How each has ended
//! stands in the folder of the batch before the next one starts.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::allocator::become_worker;
use super::attempt::{Life, attempt_as, run_with};
use crate::event::Handle;
use crate::store::{
    AttemptDir, BatchDir, ScriptEnd, Start, StoreError, exit, host, is_asked_to_stop, note_stop_signals,
};
use crate::train;
use crate::trial::printable;

/// Time between two looks at the processes of a shared job.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two looks at the requests to its workers.
const LOOK_AT_REQUESTS: Duration = Duration::from_secs(10);
/// How long a worker may take to end after a request. It reads requests every ten seconds.
const GRACE: Duration = Duration::from_mins(1);

/// Runs the attempts of the job with this index of a batch.
#[must_use]
pub fn run_job(batch: &Path, index: u32) -> u8 {
    note_stop_signals();
    let Some(batch) = BatchDir::open(batch) else {
        return refuse(&StoreError::damaged(batch, "is no path of a batch"));
    };
    match batch.attempts(index) {
        Ok((attempts, pack)) => match attempts.as_slice() {
            [attempt] => run_alone(attempt),
            _ => SharedJob::new(batch, index, attempts, pack).run(),
        },
        Err(error) => refuse(&error),
    }
}

/// Runs the attempt in `folder` as this process. If `has_pipe`, standard input is a pipe from the parent, and its end means "stop".
/// Else this process is part of a job of a cluster.
#[must_use]
pub fn run(folder: &Path, has_pipe: bool) -> u8 {
    if has_pipe {
        return run_with(folder, train::train);
    }
    AttemptDir::open(folder).map_or(exit::BAD_INPUT, |attempt| run_alone(&attempt))
}

/// Claims the attempt and trains it, as this process.
fn run_alone(attempt: &AttemptDir) -> u8 {
    become_worker();
    note_stop_signals();
    match claim(attempt) {
        Ok(Start::Won(attempt)) => attempt_as(attempt.path(), &AtomicBool::new(false), Life::Alone, train::train),
        Ok(Start::Taken(_) | Start::Superseded) => exit::NEEDLESS,
        Err(error) => refuse(&error),
    }
}

/// Claims the attempt, and lets the output of this process go into its log.
fn claim(attempt: &AttemptDir) -> Result<Start, StoreError> {
    let handle = Handle {
        pid: std::process::id(),
        host: variable("SLURMD_NODENAME").or_else(|| Some(host())),
        job: variable("SLURM_JOB_ID"),
        restart: variable(RESTARTS).and_then(|count| count.parse().ok()),
    };
    let start = attempt.start(&handle)?;
    if let Start::Won(attempt) = &start {
        let log = attempt.open_log()?;
        let redirected = rustix::stdio::dup2_stdout(&log).and_then(|()| rustix::stdio::dup2_stderr(&log));
        redirected.map_err(|error| StoreError::at(&attempt.log())(error.into()))?;
    }
    Ok(start)
}

/// How often Slurm has started the job before.
const RESTARTS: &str = "SLURM_RESTART_COUNT";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn refuse(error: &StoreError) -> u8 {
    // Standard error is the log of the job.
    let _ = writeln!(io::stderr(), "error: {}", printable(&error.to_string()));
    exit::DISK
}

/// A job with several attempts.
struct SharedJob {
    batch: BatchDir,
    index: u32,
    restart: u32,
    waiting: VecDeque<AttemptDir>,
    pack: usize,
    running: Vec<Running>,
}

struct Running {
    attempt: AttemptDir,
    process: Child,
    /// When a request to end was first seen.
    asked: Option<Instant>,
}

impl SharedJob {
    fn new(batch: BatchDir, index: u32, attempts: Vec<AttemptDir>, pack: usize) -> Self {
        let restart = variable(RESTARTS).and_then(|count| count.parse().ok()).unwrap_or(0);
        Self { batch, index, restart, waiting: attempts.into(), pack: pack.max(1), running: Vec::new() }
    }

    /// Returns when every worker has ended. The exit code tells whether a signal has ended the job.
    fn run(mut self) -> u8 {
        let (mut is_passed_on, mut looked) = (false, Instant::now());
        loop {
            let is_ending = is_asked_to_stop();
            if is_ending && !is_passed_on {
                is_passed_on = true;
                for running in &self.running {
                    // It fails if the process has just ended.
                    let _ = kill_process(Pid::from_child(&running.process), Signal::USR1);
                }
            }
            while !is_ending && self.running.len() < self.pack && !self.waiting.is_empty() {
                self.start_next();
            }
            self.settle();
            if self.running.is_empty() && (is_ending || self.waiting.is_empty()) {
                break;
            }
            if looked.elapsed() >= LOOK_AT_REQUESTS {
                looked = Instant::now();
                self.look_at_requests();
            }
            thread::sleep(LOOK);
        }
        for attempt in &self.waiting {
            self.note(attempt, i32::from(exit::NEEDLESS));
        }
        if is_asked_to_stop() { exit::INTERRUPTED } else { exit::PUBLISHED }
    }

    /// Starts the next worker, unless its trial has an outcome.
    fn start_next(&mut self) {
        let Some(attempt) = self.waiting.pop_front() else { return };
        if attempt.trial().has_outcome() {
            return self.note(&attempt, i32::from(exit::PUBLISHED));
        }
        let started = std::env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command.arg0("plateau").args(["worker", "--stdin", "none", "--attempt"]).arg(attempt.path());
            command.stdin(Stdio::null()).spawn()
        });
        match started {
            Ok(process) => self.running.push(Running { attempt, process, asked: None }),
            Err(error) => {
                let error = error.to_string();
                let _ = writeln!(io::stderr(), "error: no process for a worker: {}", printable(&error));
                self.note(&attempt, i32::from(exit::CRASHED));
            }
        }
    }

    /// Notes which workers have ended.
    fn settle(&mut self) {
        for mut running in std::mem::take(&mut self.running) {
            match running.process.try_wait() {
                Ok(None) => self.running.push(running),
                Ok(Some(status)) => {
                    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
                    self.note(&running.attempt, code);
                }
                Err(_) => self.note(&running.attempt, i32::from(exit::CRASHED)),
            }
        }
    }

    /// A worker that hangs does not hear a request: it is killed, and the others continue.
    fn look_at_requests(&mut self) {
        for running in &mut self.running {
            if running.asked.is_none() && running.attempt.requests().is_interrupted {
                running.asked = Some(Instant::now());
            }
            if running.asked.is_some_and(|asked| asked.elapsed() >= GRACE) {
                // It fails if the process has just ended.
                let _ = running.process.kill();
            }
        }
    }

    fn note(&self, attempt: &AttemptDir, code: i32) {
        let end = ScriptEnd { code, restart: self.restart };
        // Without the file the parent goes by the end of the job.
        if let Some(trial) = attempt.trial().id()
            && let Err(error) = self.batch.write_worker_end(self.index, &trial, end)
        {
            refuse(&error);
        }
    }
}
