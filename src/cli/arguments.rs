//! Options that several commands share.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::report::terminal::Mode;
use crate::spec::{Devices, EngineKind};
use crate::trial::TrialId;

/// The folder of all results, unless `--results` names another.
pub(crate) const RESULTS: &str = "results";

/// Which sweep, with the values that the command line overrides.
#[derive(Debug, Clone, Args)]
pub(crate) struct SweepArguments {
    /// A path, or the name of a file in sweeps/ or of a built-in sweep: lr-grid, augmentation, search, smoke
    pub sweep: String,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    pub results: PathBuf,
    /// Override a fixed value: --set lr=1e-4 --set model.dropout=0
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

impl SweepArguments {
    /// The sweep as its file describes it.
    pub(crate) fn new(sweep: impl Into<String>, results: impl Into<PathBuf>) -> Self {
        Self { sweep: sweep.into(), results: results.into(), set: Vec::new() }
    }
}

impl SweepArguments {
    /// The sweep as a shell takes it.
    pub(crate) fn quoted_sweep(&self) -> Cow<'_, str> {
        shell_quoted(&self.sweep)
    }

    /// ` --results DIR`, empty for the default.
    pub(crate) fn results_option(&self) -> String {
        if self.results == Path::new(RESULTS) {
            return String::new();
        }
        format!(" --results {}", shell_quoted(&self.results.display().to_string()))
    }
}

/// The arguments as a shell takes them, for the commands in messages.
impl fmt::Display for SweepArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.quoted_sweep(), self.results_option())?;
        self.set.iter().try_for_each(|pair| write!(f, " {}", set_option(pair)))
    }
}

/// Number of CPU threads that this process can use.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// `--set key=value`, as a shell takes it.
pub(crate) fn set_option((key, value): &(String, String)) -> String {
    format!("--set {}", shell_quoted(&format!("{key}={value}")))
}

/// A word quoted for a shell. A word with a NUL byte cannot be quoted and stays as it is.
fn shell_quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// What the sweep may use of this machine. Overrides the `run` section of the sweep file.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArguments {
    /// local; inline: as threads of one process, for a debugger; or slurm: on a cluster, each trial as a job or as a step of the job that this command runs in
    #[arg(long, value_name = "NAME")]
    pub engine: Option<EngineKind>,
    /// Number of trials at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "LIST")]
    pub devices: Option<Devices>,
    /// CPU threads for each trial
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Run the programs that the sweep file names, such as translators: you have read them and trust them
    #[arg(long)]
    pub trust: bool,
}

/// How the progress of a run is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct DisplayArguments {
    /// How to show progress; auto is bar on a terminal, and lines elsewhere
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub progress: ProgressMode,
    /// Show only errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also show each attempt
    #[arg(short, long)]
    pub verbose: bool,
}

impl DisplayArguments {
    pub(crate) fn mode(self) -> Mode {
        if self.quiet { Mode::None } else { self.progress.into() }
    }

    /// Whether standard error shows more than errors.
    pub(crate) fn shows_notes(self) -> bool {
        !self.quiet && self.progress != ProgressMode::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ProgressMode {
    #[default]
    Auto,
    Bar,
    Lines,
    Json,
    None,
}

impl From<ProgressMode> for Mode {
    fn from(mode: ProgressMode) -> Self {
        match mode {
            ProgressMode::Auto => Self::Auto,
            ProgressMode::Bar => Self::Bar,
            ProgressMode::Lines => Self::Lines,
            ProgressMode::Json => Self::Json,
            ProgressMode::None => Self::None,
        }
    }
}

/// What a run trains, where, and how it is shown.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub sweep: SweepArguments,
    #[command(flatten)]
    pub machine: MachineArguments,
    /// Train only trials with this value (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub only: Vec<(String, String)>,
    /// Retry failed trials
    #[arg(long)]
    pub retry_failed: bool,
    /// Train a trial that a rule of `stop` ended to its last step (repeatable)
    #[arg(long = "continue", value_name = "ID", value_parser = trial_id, conflicts_with = "fresh")]
    pub continued: Vec<TrialId>,
    /// Archive the old results and start over
    #[arg(long)]
    pub fresh: bool,
    /// With `engine: slurm`: submit the first jobs, then leave them to the cluster
    #[arg(long)]
    pub detach: bool,
    /// With `engine: slurm`: submit all trials, of which `max_jobs` jobs run at the same time, then leave them to the cluster
    #[arg(long, conflicts_with = "detach")]
    pub submit_all: bool,
    #[command(flatten)]
    pub display: DisplayArguments,
}

impl RunOptions {
    /// All trials, with every option at its default.
    pub(crate) fn new(sweep: SweepArguments, machine: MachineArguments, display: DisplayArguments) -> Self {
        let (only, continued) = (Vec::new(), Vec::new());
        let (retry_failed, fresh, detach, submit_all) = (false, false, false, false);
        Self { sweep, machine, only, retry_failed, continued, fresh, detach, submit_all, display }
    }
}

/// Parses `key=value`.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

pub(crate) fn trial_id(text: &str) -> Result<TrialId, String> {
    TrialId::parse(text)
        .ok_or_else(|| format!("expected a trial's id: {} hex digits, as in trials.csv", TrialId::LENGTH))
}
