//! `plateau stop`: ends a run, also one whose jobs are in the queue of a cluster.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use super::arguments::{RESULTS, SweepArguments};
use super::output::notify;
use super::prepare::{RecordedSweep, recorded_sweep};
use crate::report::count;
use crate::run::cancel_jobs;

/// How long the process of the run may take to end.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// A path, or the name of a file in sweeps/
    sweep: String,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
}

/// Asks the process that runs the sweep to end. Without one, cancels the jobs that an earlier one has left in Slurm.
pub(crate) fn stop(arguments: &StopArguments) -> Result<ExitCode, Failure> {
    let sweep = SweepArguments::new(&arguments.sweep, &arguments.results);
    let RecordedSweep { dir, .. } = recorded_sweep(&sweep)?;
    if dir.is_held() {
        dir.request_end()?;
        let asked = Instant::now();
        while dir.is_held() {
            if asked.elapsed() > PATIENCE {
                return Err(Failure::results(format!(
                    "the process that runs {sweep} has not ended in {} s",
                    PATIENCE.as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(100));
        }
        notify(&format!("The run has ended. `plateau run {sweep}` continues it."));
        return Ok(ExitCode::SUCCESS);
    }
    let (jobs, refused) = cancel_jobs(&dir)?;
    match refused {
        _ if jobs == 0 => notify(&format!("No process runs {sweep}, and it has no jobs in Slurm.")),
        Some(message) => {
            return Err(Failure::input(format!(
                "Slurm has not cancelled the jobs of {sweep}: {message}. Those that run end by themselves within seconds; run the same \
                 command again for the others"
            )));
        }
        None => notify(&format!("{} cancelled. `plateau run {sweep}` continues them.", count(jobs, "job"))),
    }
    Ok(ExitCode::SUCCESS)
}
