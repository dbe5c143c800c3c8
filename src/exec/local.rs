//! Workers as processes that this one starts: on this machine, or as steps of a Slurm job on any of its nodes.
//!
//! Each worker is its own process group, so that a Ctrl-C in the terminal reaches only the parent. Its standard input is a
//! pipe from the parent. End of file on the pipe means "stop", and it also comes when the parent dies in whatever way.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::environment::environment;
use super::steps::SlurmSteps;
use super::{Batch, Engine, ExitStatus, Launch, Sighting, Submission, WorkerExit, WorkerId};
use crate::event::Handle;

/// The engine. Launch inside a tokio runtime.
#[derive(Debug)]
pub struct Local {
    program: PathBuf,
    arguments: Vec<OsString>,
    steps: Option<SlurmSteps>,
    running: HashMap<WorkerId, Running>,
    ended: UnboundedSender<WorkerExit>,
    exits: UnboundedReceiver<WorkerExit>,
}

/// A running worker. Dropping it closes the pipe and kills the worker.
#[derive(Debug)]
struct Running {
    pipe: Option<ChildStdin>,
    kill: Option<oneshot::Sender<()>>,
}

impl Local {
    /// Workers are `program` with `arguments`, followed by the folder of the attempt.
    #[must_use]
    pub fn new(program: PathBuf, arguments: &[&str]) -> Self {
        let (ended, exits) = unbounded_channel();
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { program, arguments, steps: None, running: HashMap::new(), ended, exits }
    }

    /// Starts workers as steps of the Slurm job of this process.
    #[must_use]
    pub(super) fn in_steps(self, steps: SlurmSteps) -> Self {
        Self { steps: Some(steps), ..self }
    }

    /// Workers are this program, with `worker --attempt`.
    pub fn this_program() -> io::Result<Self> {
        Ok(Self::new(this_program()?, &WORKER))
    }

    /// Workers are this program, as steps of a Slurm job. All nodes must see its file.
    pub fn this_program_in_steps(steps: SlurmSteps) -> io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, &WORKER).in_steps(steps))
    }
}

/// The command of a worker, before the folder of its attempt.
const WORKER: [&str; 2] = ["worker", "--attempt"];

/// The path of the file of this program, for processes on other machines.
pub fn program_file() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// The path of this program, for child processes.
pub fn this_program() -> io::Result<PathBuf> {
    // Parent and children must be the same build. The link names this program also if its file is rebuilt meanwhile.
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { Ok(link) } else { std::env::current_exe().or_else(|error| started_program().ok_or(error)) }
}

/// The path by which the caller started this program, for systems that do not tell: a container may have no `/proc`.
fn started_program() -> Option<PathBuf> {
    let name = PathBuf::from(std::env::args_os().next()?);
    if name.components().count() > 1 {
        return std::path::absolute(&name).ok().filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file())
}

impl Local {
    /// Starts a worker and returns its process id. After an error nothing was started.
    fn launch(&mut self, launch: Launch) -> io::Result<u32> {
        let Launch { worker, folder, log, slot } = launch;
        let (stdout, stderr) = match log {
            Some(log) => (log.try_clone()?.into(), log.into()),
            None => (Stdio::null(), Stdio::null()),
        };
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let mut command = if let Some(steps) = &self.steps {
            steps.command(slot, &self.program)
        } else {
            let mut command = Command::new(&self.program);
            command.arg0("plateau").envs(environment(slot, visible.as_deref()));
            command
        };
        let mut child = command
            .args(&self.arguments)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let pipe = child.stdin.take();
        let (kill, killed) = oneshot::channel();
        tokio::spawn(attend(child, killed, self.steps.clone(), worker.clone(), self.ended.clone()));
        self.running.insert(worker, Running { pipe, kill: Some(kill) });
        Ok(pid)
    }
}

impl Engine for Local {
    fn submit(&mut self, batch: Batch) -> Vec<Submission> {
        let launch =
            |launch| self.launch(launch).map_or_else(Submission::Refused, |pid| Submission::Taken(Handle::local(pid)));
        batch.launches.into_iter().map(launch).collect()
    }

    async fn poll(&mut self) -> Sighting {
        // This engine holds a sender itself, so the channel is never closed.
        let Some(exited) = self.exits.recv().await else { return std::future::pending().await };
        self.running.remove(&exited.worker);
        Sighting::Exit(exited)
    }

    fn stop(&mut self, worker: &WorkerId) {
        if let Some(handle) = self.running.get_mut(worker) {
            handle.pipe = None;
        }
    }

    fn kill(&mut self, worker: &WorkerId) {
        if let Some(kill) = self.running.get_mut(worker).and_then(|handle| handle.kill.take()) {
            // Fails only if the worker has ended.
            let _ = kill.send(());
        }
    }
}

/// Waits for one child. Kills it on request, or when the engine is dropped.
async fn attend(
    mut child: Child,
    kill: oneshot::Receiver<()>,
    steps: Option<SlurmSteps>,
    worker: WorkerId,
    ended: UnboundedSender<WorkerExit>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = kill => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    let status = match (status, &steps) {
        (Err(_), _) => ExitStatus::Signal(0),
        (Ok(status), None) => status.into(),
        (Ok(status), Some(steps)) => steps.status(status).await,
    };
    let _ = ended.send(WorkerExit { worker, status });
}
