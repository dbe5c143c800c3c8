//! The jobs of a sweep on a cluster: what each asks for, what Slurm says to it, and what the user should know before any is
//! submitted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::prepare::Prepared;
use crate::decide::{Packing, QueueRules};
use crate::event::{JobName, JobState, Slot};
use crate::exec::{
    Container, JobRequest, JobTemplate, cancel_job, check_job, job_states, program_file, submit_job, thread_environment,
};
use crate::plan::Estimate;
use crate::report::count;
use crate::run::QueueOrder;
use crate::spec::{JobMemory, RunConfig, SlurmConfig, StopAcross};
use crate::trial::{CheckpointEvery, Device, Trial, TrialId};

/// Added to 1.3 times the estimate of a trial, in bytes: estimates are for the trainer alone.
const MARGIN: u64 = 300_000_000;
/// Jobs are alike if their memory is, so it is rounded up to multiples of this.
const STEP: u64 = 256 << 20;
/// At most so many jobs are submitted together.
const LARGEST_BATCH: usize = 500;
/// How often memory is doubled where the largest node is not known.
const DOUBLINGS: u32 = 3;

/// How the trials of a sweep become jobs.
#[derive(Debug, Clone)]
pub(crate) struct JobPlan {
    pub template: JobTemplate,
    /// The start of the name of every job.
    pub prefix: String,
    /// Bytes of the job for each trial.
    pub memory: HashMap<TrialId, u64>,
    /// Estimated seconds of each trial.
    pub seconds: HashMap<TrialId, f64>,
    pub rules: QueueRules,
    /// How trials share jobs.
    pub packing: Packing,
    /// Whether all jobs are submitted at once.
    pub submits_all: bool,
    /// Processors and GPUs of each job.
    cpus: usize,
    gpus: usize,
    /// At most so many jobs are submitted together.
    pub batch: usize,
    /// Whether each job is submitted by itself.
    pub single: bool,
    /// What Slurm says to the first job, or why it was not asked.
    pub answer: String,
}

/// The slots of a queue: one for each trial that runs at the same time, if all jobs run.
pub(crate) fn queue_slots(config: &RunConfig, trials: usize) -> Vec<Slot> {
    let slurm = &config.slurm;
    let threads = config.threads.or(slurm.cpus.map(|cpus| cpus / slurm.pack)).unwrap_or(1).max(1);
    // Slurm hides all but the GPUs of the job.
    let device = if slurm.has_gpus() && cfg!(feature = "cuda") { Device::Cuda(0) } else { Device::Cpu };
    let most = slurm.max_jobs.saturating_mul(slurm.pack).min(config.jobs.unwrap_or(usize::MAX));
    (0..most.min(trials).max(1)).map(|index| Slot::alone(index, device, threads)).collect()
}

impl JobPlan {
    /// Plans the jobs of `trials`, which cost `costs`. Asks Slurm whether it would take them.
    pub(crate) fn new(
        prepared: &Prepared,
        config: &RunConfig,
        slot: Slot,
        trials: &[&Trial],
        costs: &[Estimate],
    ) -> Result<Self, Failure> {
        let slurm = &config.slurm;
        let mut mistakes = mistakes_about_times(config);
        if !is_on_path("sbatch") {
            mistakes.push(
                "`engine: slurm`: there is no `sbatch` on the path. Run this on a login node of the cluster, or set `--engine local`"
                    .to_owned(),
            );
            return Err(Failure::input(mistakes.join("\n")));
        }
        let cpus = slurm.cpus.unwrap_or(slot.threads * slurm.pack);
        let memory = memory_of_jobs(slurm, cpus, trials, costs);
        let template = template(prepared, slurm, slot, cpus)?;
        let cluster = ClusterFacts::ask();
        let largest = memory.values().copied().max().unwrap_or(0) * slurm.pack as u64;
        let doublings = match cluster.node_memory {
            Some(node) if largest > 0 => (node / largest).max(1).ilog2(),
            _ => DOUBLINGS,
        };
        let hash = blake3::hash(prepared.dir.path().as_os_str().as_encoded_bytes()).to_hex();
        let mut plan = Self {
            template,
            prefix: format!("plateau-{}", &hash[..8]),
            memory,
            seconds: trials.iter().zip(costs).map(|(trial, cost)| (trial.id.clone(), cost.seconds)).collect(),
            rules: QueueRules { doublings, room: 0 },
            packing: Packing {
                jobs: slurm.max_jobs.min(config.jobs.map_or(usize::MAX, |trials| trials.div_ceil(slurm.pack))),
                pack: slurm.pack,
                // A search decides about each trial by the results of those before.
                chain: slurm.chain.filter(|_| prepared.spec.search.is_none()),
            },
            submits_all: false,
            cpus,
            gpus: slurm.gpus(),
            batch: cluster.array_size.map_or(LARGEST_BATCH, |size| size.saturating_sub(1).clamp(1, LARGEST_BATCH)),
            single: !slurm.array,
            answer: String::new(),
        };
        plan.answer = match check_job(&plan.script(prepared)) {
            Ok(answer) => answer.trim_start_matches("sbatch: ").to_owned(),
            Err(message) if message.is_empty() || is_unreachable(&message) => {
                format!("Slurm does not answer now. {message}")
            }
            Err(message) => {
                let known = cluster.partitions.join(", ");
                let known = if message.contains("partition") && !known.is_empty() {
                    format!(". The partitions are {known}")
                } else {
                    String::new()
                };
                mistakes.push(format!("Slurm would refuse the jobs of this sweep (`run.slurm`): {message}{known}"));
                String::new()
            }
        };
        if mistakes.is_empty() { Ok(plan) } else { Err(Failure::input(mistakes.join("\n"))) }
    }

    /// The same jobs, all submitted at once.
    pub(crate) fn all_at_once(self) -> Result<Self, Failure> {
        if self.single {
            return Err(Failure::input("--submit-all: Slurm bounds only arrays. Set `run.slurm.array: true`"));
        }
        Ok(Self { submits_all: true, ..self })
    }

    /// What does not work if all jobs are submitted at once.
    pub(crate) fn caution(&self, prepared: &Prepared) -> Option<String> {
        let (search, stop) = (prepared.spec.search.is_some(), prepared.spec.run.stop != StopAcross::default());
        let what = match (search, stop) {
            (false, false) => return None,
            (true, false) => "The search draws no further trials",
            (false, true) => "The rules that compare trials (`stop.median`, `stop.asha`) end none",
            (true, true) => {
                "The search draws no further trials, and the rules that compare trials (`stop.median`, `stop.asha`) end none"
            }
        };
        self.submits_all
            .then(|| format!("--submit-all: no process follows the jobs. {what} until the command runs again."))
    }

    /// Places for `trials` trials, of which those of a job that run one after another need one each.
    pub(crate) fn places(&self, slots: &[Slot], trials: usize) -> Vec<Slot> {
        let count =
            if self.submits_all || self.packing.chain.is_some() { trials.max(slots.len()) } else { slots.len() };
        slots.iter().cycle().zip(0..count).map(|(slot, index)| Slot { index, ..*slot }).collect()
    }

    /// How a run queues its trials. `leaves`: it ends when the first jobs are submitted.
    pub(crate) fn order(&self, leaves: bool) -> QueueOrder<'_> {
        QueueOrder {
            prefix: self.prefix.clone(),
            memory: Some(&self.memory),
            seconds: &self.seconds,
            rules: self.rules,
            packing: self.packing,
            batch: self.batch,
            submits_all: self.submits_all,
            leaves: leaves || self.submits_all,
        }
    }

    /// The script of the first job.
    pub(crate) fn script(&self, prepared: &Prepared) -> String {
        let batch = prepared.dir.batch(&format!("{}-1", self.prefix));
        self.template.script(&JobRequest {
            name: batch.name().to_owned(),
            indices: Vec::new(),
            throttle: None,
            document: batch.document(),
            folder: batch.folder(),
            memory: self.memory.values().copied().max().map(|bytes| bytes * self.packing.pack as u64),
            avoid: Vec::new(),
        })
    }

    /// What `plan` says about the jobs. `seconds`: the estimated time of each trial that is left.
    pub(crate) fn describe(&self, prepared: &Prepared, seconds: &[f64]) -> String {
        let Packing { jobs: at_a_time, pack, .. } = self.packing;
        let jobs = self.packing.count_jobs(seconds);
        let hours = seconds.iter().sum::<f64>() / pack as f64 / 3600.0;
        let mut text = format!("\nSlurm: {}", count(jobs, "job"));
        if jobs < seconds.len() {
            let _ = write!(text, " for {}", count(seconds.len(), "trial"));
        }
        let at_a_time = at_a_time.min(jobs).max(1);
        let waves = count(jobs.div_ceil(at_a_time), "wave");
        let together = if self.submits_all { "running" } else { "queued and running" };
        let _ = write!(text, ", at most {at_a_time} {together} together ({waves}); about ");
        let _ = write!(text, "{hours:.1} node hours with {}", count(self.cpus, "processor"));
        if self.gpus > 0 {
            let _ = write!(text, " and {}", count(self.gpus, "GPU"));
        }
        text.push_str(" each\n");
        text.extend(self.caution(prepared).map(|caution| caution + "\n"));
        if !self.answer.is_empty() {
            let _ = writeln!(text, "Slurm says: {}", self.answer);
        }
        text.push_str("The script of the first jobs:\n");
        for line in self.script(prepared).lines() {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    /// Submits a job of a second that shows whether nodes see the results, the data and this program. Waits for it.
    ///
    /// # Errors
    /// What the nodes do not see.
    pub(crate) fn probe(&self, prepared: &Prepared) -> Result<String, Failure> {
        /// How long the job may take. It waits for a place like any other.
        const PATIENCE: Duration = Duration::from_mins(5);
        /// From the end of the job until its file counts as missing: network file systems show new files late.
        const LATE: Duration = Duration::from_mins(1);
        let name = format!("{}-probe-{}", self.prefix, std::process::id());
        let trace = prepared.dir.probe_trace(&name)?;
        let files = folders(prepared, &self.template.program);
        let script = self.template.probe_script(&name, &trace, &files);
        let id =
            submit_job(&script).map_err(|message| Failure::input(format!("Slurm refuses the probe: {message}")))?;
        let (asked, job) = (Instant::now(), JobName { batch: name, index: 0 });
        let mut ended: Option<Instant> = None;
        loop {
            thread::sleep(Duration::from_millis(500));
            if let Some(text) = prepared.dir.take_probe_trace(&trace) {
                let missing: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("missing ")).collect();
                if missing.is_empty() {
                    return Ok("a job sees the results, the data and this program".to_owned());
                }
                return Err(Failure::input(format!("the nodes do not see {}", missing.join(", "))));
            }
            if asked.elapsed() > Duration::from_secs(2)
                && ended.is_none()
                && asked.elapsed().as_secs().is_multiple_of(2)
            {
                let states = job_states(std::slice::from_ref(&job)).unwrap_or_default();
                let is_over = matches!(states.first(), Some(JobState::Ended { .. } | JobState::Absent));
                ended = is_over.then(Instant::now);
            }
            if ended.is_some_and(|ended| ended.elapsed() > LATE) {
                let folder = prepared.dir.path().display();
                return Err(Failure::input(format!(
                    "a job that ran on the cluster has left nothing in {folder}: the nodes do not see the results folder. Choose one \
                     on a file system that all nodes share, with --results"
                )));
            }
            if asked.elapsed() > PATIENCE {
                cancel_job(&id);
                let minutes = PATIENCE.as_secs() / 60;
                return Err(Failure::input(format!(
                    "the job that probes the nodes has not run within {minutes} minutes"
                )));
            }
        }
    }
}

/// What is wrong with the times of the jobs.
fn mistakes_about_times(config: &RunConfig) -> Vec<String> {
    /// The most that `sbatch --signal` takes, in seconds.
    const LONGEST_WARNING: f64 = 65_535.0;
    let SlurmConfig { time, warn, .. } = config.slurm;
    let mut mistakes = Vec::new();
    if warn > LONGEST_WARNING {
        mistakes.push(format!("`run.slurm.warn` ({warn} s) is longer than the {LONGEST_WARNING} s that Slurm allows"));
    }
    let Some(time) = time else { return mistakes };
    if warn >= time {
        mistakes.push(format!(
            "`run.slurm.warn` ({warn} s) is not shorter than `run.slurm.time` ({time} s): each job would end as soon as it starts"
        ));
    }
    if let CheckpointEvery::Seconds(every) = config.checkpoint_every
        && every > time
    {
        mistakes.push(format!(
            "`run.slurm.time` ({time} s) is shorter than `run.checkpoint_every` ({every} s): a job that is cut off would lose all of \
             its work. Raise the first or lower the second"
        ));
    }
    mistakes
}

fn template(prepared: &Prepared, slurm: &SlurmConfig, slot: Slot, cpus: usize) -> Result<JobTemplate, Failure> {
    let program = program_file().map_err(|error| Failure::input(format!("cannot find this program: {error}")))?;
    let mut options: Vec<String> = slurm.passed.iter().map(|(name, value)| format!("--{name}={value}")).collect();
    options.push(format!("--cpus-per-task={cpus}"));
    if let Some(time) = slurm.time {
        // Slurm counts whole minutes.
        options.push(format!("--time={}", (time / 60.0).ceil()));
    }
    options.push(format!("--signal=B:USR1@{}", slurm.warn.ceil()));
    options.extend(slurm.extra.iter().cloned());
    let container = slurm.container.as_ref().map(|image| Container {
        image: image.clone(),
        folders: folders(prepared, &program),
        has_gpus: slurm.has_gpus(),
    });
    let memory_per_cpu = matches!(slurm.memory, JobMemory::PerCpu(_)).then_some(cpus as u64);
    let environment = thread_environment(slot);
    Ok(JobTemplate { options, setup: slurm.setup.clone(), environment, program, container, memory_per_cpu })
}

/// The folders that a worker reads and writes.
fn folders(prepared: &Prepared, program: &Path) -> Vec<PathBuf> {
    let resolved = prepared.facts.resolved();
    let files = resolved.files.values().map(PathBuf::from).filter(|path| path.is_absolute());
    let mut folders: Vec<PathBuf> =
        files.chain([program.to_owned()]).filter_map(|path| path.parent().map(Path::to_owned)).collect();
    folders.push(prepared.results.path().to_owned());
    folders.sort_unstable();
    folders.dedup();
    folders.retain(|folder| folder.is_dir());
    folders
}

fn memory_of_jobs(slurm: &SlurmConfig, cpus: usize, trials: &[&Trial], costs: &[Estimate]) -> HashMap<TrialId, u64> {
    let of = |cost: &Estimate| match slurm.memory {
        JobMemory::Auto => (cost.memory + cost.memory * 3 / 10 + MARGIN).next_multiple_of(STEP),
        JobMemory::Bytes(bytes) => bytes,
        JobMemory::PerCpu(bytes) => bytes * cpus as u64,
    };
    trials.iter().zip(costs).map(|(trial, cost)| (trial.id.clone(), of(cost))).collect()
}

/// What Slurm tells about the cluster.
#[derive(Debug, Default)]
struct ClusterFacts {
    /// Bytes of the largest node.
    node_memory: Option<u64>,
    /// One more than the largest index of an array.
    array_size: Option<usize>,
    partitions: Vec<String>,
}

impl ClusterFacts {
    fn ask() -> Self {
        let nodes = answer(&["sinfo", "--noheader", "--format=%m %R"]).unwrap_or_default();
        let mut partitions: Vec<String> =
            nodes.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let config = answer(&["scontrol", "show", "config"]).unwrap_or_default();
        let memory = |line: &str| line.split_whitespace().next()?.trim_end_matches('+').parse::<u64>().ok();
        let array =
            config.lines().find_map(|line| line.strip_prefix("MaxArraySize")?.split('=').nth(1)?.trim().parse().ok());
        Self {
            node_memory: nodes.lines().filter_map(memory).max().map(|size| size << 20),
            array_size: array,
            partitions,
        }
    }
}

/// What a command of Slurm prints. None if it fails or takes too long.
fn answer(line: &[&str]) -> Option<String> {
    let output = Command::new("timeout").arg("10").args(line).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Whether a message of Slurm says that the controller does not answer.
fn is_unreachable(message: &str) -> bool {
    ["Unable to contact", "timed out", "Connection refused"].iter().any(|text| message.contains(text))
}
