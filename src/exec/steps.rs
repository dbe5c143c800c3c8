//! The command that starts a worker as a step of a Slurm job.
//!
//! `srun` connects the worker's standard input, output and error with this process, so the pipe from the parent works as on one
//! machine: its end reaches the worker also if `srun` or the parent is killed.

use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::ExitStatus;
use super::environment::thread_environment;
use crate::event::Slot;
use crate::trial::Device;

/// Variables of the job that contradict what a step asks for.
const CONTRADICTING: [&str; 6] =
    ["SLURM_CPU_BIND", "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU", "SLURM_MEM_PER_NODE", "SLURM_NTASKS", "SLURM_NPROCS"];
/// Shells and `srun` add the number of a signal to this for the exit code.
const SIGNALLED: i32 = 128;
/// The largest number of a signal.
const LAST_SIGNAL: i32 = 64;
/// How long `squeue` may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The exit code for signal 9.
const KILLED: i32 = SIGNALLED + 9;
/// Slurm's exit code of a step that reached its bound on memory.
const OUT_OF_MEMORY: i32 = 125;
/// The exit code of a worker that stopped as it was asked to. Signal 2, which it would stand for, ends no worker.
const INTERRUPTED: i32 = 130;

/// How workers are started in the Slurm job of this process.
#[derive(Debug, Clone)]
pub struct SlurmSteps {
    /// `srun`, or its path.
    pub srun: PathBuf,
    /// Bytes of each step. None: as the job has it.
    pub memory: Option<u64>,
}

impl SlurmSteps {
    /// The start of the command that runs `program` on `slot`.
    pub(super) fn command(&self, slot: Slot, program: &Path) -> Command {
        let mut command = Command::new(&self.srun);
        command
            .args(["--exact", "--nodes=1", "--ntasks=1", "--quiet", "--job-name=plateau"])
            .arg(format!("--cpus-per-task={}", slot.threads))
            .envs(thread_environment(slot));
        if slot.device != Device::Cpu {
            // Slurm chooses the GPU and hides the others.
            command.arg("--gpus-per-task=1");
        }
        if let Some(bytes) = self.memory {
            command.arg(format!("--mem={}M", (bytes >> 20).max(1)));
            for name in CONTRADICTING {
                command.env_remove(name);
            }
        }
        command.arg(program);
        command
    }

    /// What became of the worker of a step whose `srun` has ended. If it failed, the job may have ended below it.
    pub(super) async fn status(&self, status: process::ExitStatus) -> ExitStatus {
        if !status.success() && self.job_has_ended().await { ExitStatus::JobEnded } else { status_of_step(status) }
    }

    /// Whether the job of this process is cancelled, out of time or gone. False if Slurm does not answer.
    async fn job_has_ended(&self) -> bool {
        let Ok(job) = std::env::var("SLURM_JOB_ID") else { return false };
        let mut command = Command::new(self.srun.with_file_name("squeue"));
        command.args(["--noheader", "--format=%T", "--jobs", &job]).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWER, command.output()).await else { return false };
        is_over(answer.status.success(), &answer.stdout, &answer.stderr)
    }
}

/// Whether this answer of `squeue` says that a job has ended. Slurm forgets jobs some minutes after their end.
fn is_over(is_success: bool, stdout: &[u8], stderr: &[u8]) -> bool {
    let state = String::from_utf8_lossy(stdout);
    let is_known = !state.trim().is_empty();
    let is_forgotten = String::from_utf8_lossy(stderr).contains("Invalid job id");
    let is_active = ["RUNNING", "SUSPENDED", "RESIZING", "SIGNALING"].contains(&state.trim());
    if is_success { !is_known || !is_active } else { is_forgotten }
}

/// What became of the worker of a step. `srun` ends with 128 and the number of the signal that killed it. Signal 9 comes from the
/// bound on memory; this program kills `srun` instead, and then `srun` has no exit code.
fn status_of_step(status: process::ExitStatus) -> ExitStatus {
    match ExitStatus::from(status) {
        ExitStatus::Code(KILLED | OUT_OF_MEMORY) => ExitStatus::OutOfMemory,
        ExitStatus::Code(code) if code != INTERRUPTED && (SIGNALLED + 1..=SIGNALLED + LAST_SIGNAL).contains(&code) => {
            ExitStatus::Signal(code - SIGNALLED)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_step_asks_for_its_share_of_the_job() {
        let of = |device, memory| {
            let steps = SlurmSteps { srun: "srun".into(), memory };
            let command = steps.command(Slot::alone(3, device, 2), Path::new("/bin/plateau"));
            let arguments = command.as_std().get_args().map(|argument| argument.to_string_lossy().into_owned());
            arguments.collect::<Vec<_>>().join(" ")
        };
        let common = "--exact --nodes=1 --ntasks=1 --quiet --job-name=plateau --cpus-per-task=2";
        assert_eq!(of(Device::Cpu, None), format!("{common} /bin/plateau"));
        assert_eq!(of(Device::Cuda(0), Some(5 << 20)), format!("{common} --gpus-per-task=1 --mem=5M /bin/plateau"));
    }

    #[test]
    fn the_end_of_the_job_is_seen() {
        assert!(is_over(true, b"COMPLETING\n", b"") && is_over(true, b"", b"") && is_over(true, b"TIMEOUT\n", b""));
        assert!(is_over(false, b"", b"slurm_load_jobs error: Invalid job id specified\n"));
        assert!(!is_over(true, b"RUNNING\n", b""));
        assert!(!is_over(false, b"", b"slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"));
    }

    #[test]
    fn exit_codes_of_srun_are_read() {
        let code = |code: i32| status_of_step(process::ExitStatus::from_raw(code << 8));
        assert_eq!([0, 2, 130].map(code), [0, 2, 130].map(ExitStatus::Code));
        assert_eq!([code(139), code(143)], [ExitStatus::Signal(11), ExitStatus::Signal(15)]);
        assert_eq!([code(137), code(125)], [ExitStatus::OutOfMemory; 2]);
        assert_eq!(status_of_step(process::ExitStatus::from_raw(9)), ExitStatus::Signal(9), "srun itself was killed");
    }
}
