//! Single calls of the commands of Slurm, for commands of this program that follow no run. Each blocks for some seconds at most.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::job_script::contradicting;
use super::queue_listing::{self, find};
use crate::event::{JobName, JobState};

/// Asks Slurm whether it would take such a job, without submitting it. The answer names the expected start and the partition.
///
/// # Errors
/// What Slurm says against the job, or why it cannot be asked.
pub fn check_job(script: &str) -> Result<String, String> {
    call(&["sbatch", "--test-only"], script).map(|output| text(&output.stderr))
}

/// Submits a job, and returns its number.
///
/// # Errors
/// What Slurm says against the job, or why it cannot be asked.
pub fn submit_job(script: &str) -> Result<String, String> {
    call(&["sbatch", "--parsable"], script).map(|output| text(&output.stdout))
}

/// Cancels the job of this number.
pub fn cancel_job(id: &str) {
    // A job that is over needs no cancelling.
    let _ = call(&["scancel", id], "");
}

/// Cancels the jobs of these batches that wait, and asks those that run to save their states and end.
///
/// # Errors
/// Why Slurm cannot be asked.
pub fn cancel_batches(names: &BTreeSet<String>) -> Result<(), String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Command lines have a bounded length.
    for names in names.chunks(100) {
        let names = format!("--name={}", names.join(","));
        call(&["scancel", "--quiet", &names, "--state=PENDING"], "")?;
        call(&["scancel", "--quiet", &names, "--state=RUNNING", "--signal=USR1", "--batch"], "")?;
    }
    Ok(())
}

/// What Slurm says about each of these jobs.
///
/// # Errors
/// Why Slurm cannot be asked.
pub fn job_states(names: &[JobName]) -> Result<Vec<JobState>, String> {
    let format = format!("--format={}", queue_listing::FORMAT);
    let output = call(&["squeue", "--noheader", "--array", "--states=all", &format], "")?;
    let listed = queue_listing::read(&text(&output.stdout));
    let named = queue_listing::by_name(&listed);
    let of = |name: &JobName| named.get(name.batch.as_str()).and_then(|jobs| find(jobs, name));
    Ok(names.iter().map(|name| of(name).map_or(JobState::Absent, |job| job.state.clone())).collect())
}

fn call(line: &[&str], input: &str) -> Result<Output, String> {
    let mut command = Command::new("timeout");
    command.arg("15").args(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in contradicting() {
        command.env_remove(name);
    }
    let program = line.first().copied().unwrap_or_default();
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read its input says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output) } else { Err(text(&output.stderr)) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
