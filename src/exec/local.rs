//! Workers as processes on this machine.
//!
//! Each is its own process group, so that a terminal's Ctrl-C reaches only the parent, and holds the reading end of a pipe
//! as its standard input: its end of file says "stop", and comes by itself when the parent dies in whatever way.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::{Executor, Exit, Exited, Start, Worker, environment};

/// The engine. Launch inside a tokio runtime.
#[derive(Debug)]
pub struct Local {
    program: PathBuf,
    arguments: Vec<OsString>,
    running: HashMap<Worker, Handle>,
    ended: UnboundedSender<Exited>,
    exits: UnboundedReceiver<Exited>,
}

/// What is held of a running worker. Dropping it closes the pipe and kills.
#[derive(Debug)]
struct Handle {
    pipe: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
}

impl Local {
    /// Workers are `program` with `arguments`, and the attempt's folder as the last argument.
    #[must_use]
    pub fn new(program: PathBuf, arguments: &[&str]) -> Self {
        let (ended, exits) = unbounded_channel();
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { program, arguments, running: HashMap::new(), ended, exits }
    }

    /// Workers are this very program's `worker --attempt`.
    pub fn this_program() -> io::Result<Self> {
        // The link stays this program's when the file is rebuilt during a sweep; parent and workers are to be of one build.
        let program =
            if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? };
        Ok(Self::new(program, &["worker", "--attempt"]))
    }
}

impl Executor for Local {
    fn launch(&mut self, start: Start) -> io::Result<u32> {
        let Start { worker, folder, log, slot } = start;
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let mut child = Command::new(&self.program)
            .arg0("plateau")
            .args(&self.arguments)
            .arg(folder)
            .envs(environment(slot, visible.as_deref()))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let pipe = child.stdin.take();
        let (kill, killed) = oneshot::channel();
        tokio::spawn(attend(child, killed, worker.clone(), self.ended.clone()));
        self.running.insert(worker, Handle { pipe, kill: Some(kill) });
        Ok(pid)
    }

    async fn next_exit(&mut self) -> Exited {
        // This engine holds a sender itself, so the channel is never closed.
        let Some(exited) = self.exits.recv().await else { return std::future::pending().await };
        self.running.remove(&exited.worker);
        exited
    }

    fn stop(&mut self, worker: &Worker) {
        if let Some(handle) = self.running.get_mut(worker) {
            handle.pipe = None;
        }
    }

    fn kill(&mut self, worker: &Worker) {
        if let Some(kill) = self.running.get_mut(worker).and_then(|handle| handle.kill.take()) {
            // The other side is gone only when the worker has ended.
            let _ = kill.send(());
        }
    }
}

/// Waits for one child, or kills it when told to, or when the engine is gone.
async fn attend(mut child: Child, kill: oneshot::Receiver<()>, worker: Worker, ended: UnboundedSender<Exited>) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = kill => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    let how = status.map_or(Exit::Signal(0), how);
    let _ = ended.send(Exited { worker, how });
}

fn how(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}
