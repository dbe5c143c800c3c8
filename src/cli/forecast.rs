//! The forecast of a run: which trials are left, where they will run, and the time, memory and disk they need.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::mem::discriminant;
use std::path::Path;

use super::Failure;
use super::arguments::{MachineArguments, RunOptions};
use super::format::bytes;
use super::jobs::{JobPlan, queue_slots};
use super::prepare::Prepared;
use super::selection::select;
use crate::decide::{self, Allocation, AllocationError, SlotError, TrialMemory};
use crate::event::Slot;
use crate::exec::SlurmSteps;
use crate::plan::{Accelerator, Estimate, PastTrial, PlanEstimate, estimate};
use crate::report::{clock, count};
use crate::run;
use crate::search::SearchHistory;
use crate::spec::{EngineKind, RunConfig, SamplerName, SearchConfig, StopAcross, Within};
use crate::store::{self, Results};
use crate::train;
use crate::trial::{Device, Keep, Status, Trial, TrialId};

/// The trials of a run, their status, and the cost of those that are left.
pub(crate) struct CostEstimate<'a> {
    pub trials: Vec<&'a Trial>,
    /// The status of each trial, as this run will treat it.
    pub statuses: Vec<Status>,
    /// The cost of each trial by itself.
    pub costs: Vec<Estimate>,
    /// Where the trials that are left will run.
    pub slots: Vec<Slot>,
    /// Bytes of each accelerator that trials may fill.
    pub device_limits: Vec<(Device, u64)>,
    /// How workers are started there, if not as processes on this machine.
    pub steps: Option<SlurmSteps>,
    /// How trials become jobs of a cluster, if they do.
    pub jobs: Option<JobPlan>,
    /// Whether workers are threads of this process.
    pub is_inline: bool,
    /// `cpu`, or `cpu in Slurm job 7`.
    place: String,
    /// The cost of all trials that are left.
    pub total: PlanEstimate,
    left: usize,
    /// `jobs` of the file or the command line.
    requested: Option<usize>,
    /// Trials that a search may draw beside them.
    undrawn: usize,
    /// How many they are, for people.
    undrawn_text: String,
    /// The name of the sampler that draws them.
    sampler: &'static str,
    /// Whether earlier trials on this machine were measured.
    is_measured: bool,
}

impl<'a> CostEstimate<'a> {
    /// The cost of running `prepared` with these options.
    pub(crate) fn new(prepared: &'a Prepared, options: &RunOptions) -> Result<Self, Failure> {
        let ids = select(&prepared.plan, &options.only)?;
        let wanted: HashSet<&TrialId> = ids.iter().collect();
        let trials: Vec<&Trial> = prepared.plan.trials.iter().filter(|trial| wanted.contains(&trial.id)).collect();
        let statuses = statuses(prepared, &ids, options)?;
        let is_left = |status: &Status| matches!(status, Status::Pending | Status::Running);
        let left = statuses.iter().filter(|status| is_left(status)).count();
        let search = prepared.spec.search.as_ref().filter(|_| options.only.is_empty());
        let history = prepared.plan.search.as_ref().filter(|_| search.is_some());
        let most = search.map_or(0, |search| search.config.trials as usize).saturating_sub(trials.len());
        let undrawn = history.map_or(0, |history| history.undrawn().map_or(most, |undrawn| undrawn as usize));
        let time = prepared.spec.search.as_ref().and_then(|search| search.config.time);
        let undrawn_text = match (history.and_then(SearchHistory::undrawn), time) {
            (None, Some(time)) => format!("as many as fit in {}", clock(time)),
            _ => format!("up to {undrawn}"),
        };
        let mut past = past_trials(Device::Cpu, &prepared.results);
        let Workers { slots, steps, place: within, accelerator, device_limits } =
            workers(prepared, &options.machine, left + undrawn, &past)?;
        let (threads, device) = threads_and_device(&slots);
        let devices = device_names(&slots);
        let place = within.as_ref().map_or_else(|| devices.clone(), |within| format!("{devices} in {within}"));
        if device != Device::Cpu {
            past = past_trials(device, &prepared.results);
        }
        let costs = trials.iter().map(|trial| trial_cost(prepared, trial, &past, threads, accelerator));
        let costs: Vec<Estimate> = costs.collect();
        let mut rest: Vec<Estimate> =
            costs.iter().zip(&statuses).filter(|(_, status)| is_left(status)).map(|(cost, _)| *cost).collect();
        // What is not drawn yet is taken to cost as much as the middle one of what is.
        rest.extend(
            costs.get(costs.len() / 2).map(|middle| std::iter::repeat_n(*middle, undrawn)).into_iter().flatten(),
        );
        let mut total = PlanEstimate::of(&rest, slots.len(), kept_states(prepared));
        total.seconds = time.map_or(total.seconds, |time| total.seconds.min(time));
        let is_queue = within.is_some() && steps.is_none();
        let jobs = match slots.first().filter(|_| is_queue) {
            Some(slot) => {
                let config = run_config(prepared, &options.machine);
                let jobs = JobPlan::new(prepared, &config, *slot, &trials, &costs)?;
                Some(if options.submit_all { jobs.all_at_once()? } else { jobs })
            }
            None if options.submit_all => {
                return Err(Failure::input(
                    "--submit-all: the trials of this sweep do not become jobs of Slurm (`engine: slurm`)",
                ));
            }
            None => None,
        };
        let is_measured = !past.is_empty();
        Ok(Self {
            trials,
            statuses,
            costs,
            slots,
            device_limits,
            steps,
            jobs,
            is_inline: run_config(prepared, &options.machine).engine == EngineKind::Inline,
            place,
            total,
            left,
            requested: run_config(prepared, &options.machine).jobs,
            undrawn,
            undrawn_text,
            sampler: prepared.spec.search.as_ref().map_or("", |search| search.config.sampler.name()),
            is_measured,
        })
    }

    /// What `plan` says about the jobs of a cluster.
    pub(crate) fn describe_jobs(&self, prepared: &Prepared) -> Option<String> {
        let jobs = self.jobs.as_ref()?;
        let is_left = |status: &Status| matches!(status, Status::Pending | Status::Running);
        let costs = self.costs.iter().zip(&self.statuses).filter(|(_, status)| is_left(status));
        let mut seconds: Vec<f64> = costs.map(|(cost, _)| cost.seconds).collect();
        let middle = self.costs.get(self.costs.len() / 2).map_or(0.0, |cost| cost.seconds);
        seconds.extend(std::iter::repeat_n(middle, self.undrawn));
        Some(jobs.describe(prepared, &seconds))
    }

    /// Where the trials of the run have their places, which bound how many are started.
    pub(crate) fn places(&self) -> Vec<Slot> {
        let trials = self.left + self.undrawn;
        self.jobs.as_ref().map_or_else(|| self.slots.clone(), |jobs| jobs.places(&self.slots, trials))
    }

    /// The peak memory of each trial in bytes.
    pub(crate) fn memory(&self) -> HashMap<TrialId, u64> {
        self.trials.iter().zip(&self.costs).map(|(trial, cost)| (trial.id.clone(), cost.memory)).collect()
    }

    /// The peak memory of each trial on its accelerator in bytes.
    pub(crate) fn device_memory(&self) -> HashMap<TrialId, u64> {
        self.trials.iter().zip(&self.costs).map(|(trial, cost)| (trial.id.clone(), cost.device_memory)).collect()
    }

    /// The size of the micro-batches of each trial on its accelerator, in tokens. Empty on the CPU.
    pub(crate) fn micro_batch_tokens(&self) -> HashMap<TrialId, usize> {
        let sized = self.trials.iter().zip(&self.costs);
        sized.filter_map(|(trial, cost)| Some((trial.id.clone(), cost.micro_batch_tokens?))).collect()
    }

    /// A warning where fewer trials run at a time than `jobs` asks for.
    fn fewer_jobs(&self) -> Option<String> {
        let wanted = self.requested.filter(|_| self.jobs.is_none())?.min(self.left + self.undrawn);
        let slots = self.slots.len();
        (wanted > slots).then(|| {
            let (jobs, place) = (self.requested.unwrap_or(wanted), &self.place);
            format!("warning: `jobs` is {jobs}, and this machine takes {} at a time on {place}", count(slots, "trial"))
        })
    }

    /// What the user should know about how many trials run at a time.
    pub(crate) fn notes(&self, prepared: &Prepared) -> Vec<String> {
        self.fewer_jobs().into_iter().chain(self.advice(prepared)).collect()
    }

    /// What `search.ahead` means for so many slots, if it does not fit them.
    fn advice(&self, prepared: &Prepared) -> Option<String> {
        let search = prepared.spec.search.as_ref().filter(|_| self.undrawn > 0)?;
        let (ahead, slots) = (search.config.ahead, self.slots.len() as u64);
        if slots > ahead {
            return Some(format!(
                "warning: {} of {slots} slots stay idle, because `search.ahead` is {ahead}. `ahead: {}` keeps all busy, but is \
                 another sequence, and a blinder search",
                slots - ahead,
                2 * slots
            ));
        }
        let learns = search.config.sampler == SamplerName::Tpe;
        (learns && ahead == SearchConfig::default().ahead && slots <= 2).then(|| {
            format!(
                "With {} at a time, `search: {{ahead: {}}}` searches better: it sees newer results.",
                count(slots as usize, "trial"),
                2 * slots
            )
        })
    }

    /// `12 trials, 4 finished, 8 left; 2 at a time on cpu, 1 thread each: about 1:20, ...`.
    pub(crate) fn line(&self) -> String {
        let number = |matches: fn(Status) -> bool| self.statuses.iter().filter(|status| matches(**status)).count();
        let mut text = count(self.trials.len(), "trial");
        let done = [("finished", number(Status::is_over)), ("failed", number(|status| status == Status::Failed))];
        for (label, count) in done.iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, ", {count} {label}");
        }
        if self.left == 0 && self.undrawn == 0 {
            return text + ", nothing left to train";
        }
        if self.left < self.trials.len() {
            let _ = write!(text, ", {} left", self.left);
        }
        if self.undrawn > 0 {
            let _ = write!(text, ", and {} that {} draws while the sweep runs", self.undrawn_text, self.sampler);
        }
        let (threads, _) = threads_and_device(&self.slots);
        let _ = write!(
            text,
            "; {} at a time on {}, {} each: about {}, {} of memory, {} of disk ({})",
            self.slots.len(),
            self.place,
            count(threads, "thread"),
            clock(self.total.seconds),
            bytes(self.total.memory),
            bytes(self.total.disk),
            if self.is_measured { "from earlier trials here" } else { "before any trial was measured here" },
        );
        text
    }

    /// The warning if the disk of `folder` has too little space.
    pub(crate) fn space_warning(&self, folder: &Path) -> Option<String> {
        let free = store::free_space(folder)?;
        (free < self.total.disk).then(|| {
            format!(
                "warning: {} has {} free, and the trials that are left need about {}. Free some space, or choose another \
                 folder with --results",
                folder.display(),
                bytes(free),
                bytes(self.total.disk)
            )
        })
    }
}

/// Threads and device of the first slot. Other slots differ by one thread at most.
fn threads_and_device(slots: &[Slot]) -> (usize, Device) {
    slots.first().map_or((1, Device::Cpu), |slot| (slot.threads, slot.device))
}

/// The devices of the slots, each with the most trials that run there at the same time, if that is more than one: `cuda:0 and cuda:1,
/// up to 4 on each`.
fn device_names(slots: &[Slot]) -> String {
    let mut devices: Vec<Device> = slots.iter().map(|slot| slot.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let names: Vec<String> = devices.iter().map(Device::to_string).collect();
    let most = devices.iter().map(|device| slots.iter().filter(|slot| slot.device == *device).count()).max();
    let is_shared = slots.iter().any(|slot| slot.shared_with.is_some());
    match most.filter(|most| is_shared && *most > 1) {
        Some(most) => format!("{}, up to {most} on each", names.join(" and ")),
        None => names.join(" and "),
    }
}

/// Trials that the options retry count as pending.
fn statuses(prepared: &Prepared, ids: &[TrialId], options: &RunOptions) -> Result<Vec<Status>, Failure> {
    if options.fresh || !prepared.dir.trials().exists() {
        return Ok(vec![Status::Pending; ids.len()]);
    }
    let mut statuses = run::statuses(ids, &prepared.dir)?;
    for (id, status) in ids.iter().zip(&mut statuses) {
        let is_continued = *status == Status::Stopped && options.continued.contains(id);
        let is_retried = *status == Status::Failed && options.retry_failed;
        if is_continued || is_retried {
            *status = Status::Pending;
        }
    }
    Ok(statuses)
}

/// A trial that may be stopped keeps its last state, so that it can be continued.
fn kept_states(prepared: &Prepared) -> Keep {
    let config = &prepared.spec.run;
    let has_rules = |trial: &Trial| trial.config.stop.patience.is_some() || trial.config.stop.plateau.is_some();
    let may_stop = config.stop != StopAcross::default() || prepared.plan.trials.iter().any(has_rules);
    if may_stop && matches!(config.keep, Keep::None | Keep::Top(_)) { Keep::Last } else { config.keep }
}

/// The cost of one trial. The plan guarantees that the facts hold its sources.
fn trial_cost(
    prepared: &Prepared,
    trial: &Trial,
    past: &[PastTrial],
    threads: usize,
    accelerator: Option<Accelerator>,
) -> Estimate {
    let facts = prepared.facts.of(&trial.config);
    facts.map_or_else(Estimate::default, |(data, model)| estimate(trial, data, &model, past, threads, accelerator))
}

/// The cost of earlier trials on this machine, on devices of the same kind. The speed of other devices says nothing.
fn past_trials(device: Device, results: &Results) -> Vec<PastTrial> {
    const NEWEST: usize = 50;
    let history = results.history(NEWEST).into_iter();
    let alike = history.filter(|past| discriminant(&past.record.made_by.device) == discriminant(&device));
    let measured = alike.filter_map(|past| {
        Some(PastTrial {
            parameters: past.record.made_by.parameters?,
            tokens_per_second: past.outcome.tokens_per_second,
            threads: past.record.made_by.threads,
            peak_memory: past.outcome.peak_memory,
            device_memory: past.outcome.device_memory,
        })
    });
    measured.collect()
}

/// Where the workers run, and how they are started.
struct Workers {
    slots: Vec<Slot>,
    steps: Option<SlurmSteps>,
    /// The cluster, or the job of the steps. None: this machine.
    place: Option<String>,
    /// None: trials run on the CPU.
    accelerator: Option<Accelerator>,
    /// Bytes of each accelerator of this machine that trials may fill.
    device_limits: Vec<(Device, u64)>,
}

impl Workers {
    /// Workers on a cluster, where the memory of accelerators is not known before they start.
    fn elsewhere(slots: Vec<Slot>, steps: Option<SlurmSteps>, place: String) -> Self {
        let on_device = threads_and_device(&slots).1 != Device::Cpu;
        let accelerator = on_device.then_some(Accelerator { share: None });
        Self { slots, steps, place: Some(place), accelerator, device_limits: Vec::new() }
    }
}

/// The slots of this machine, for at most `trials` trials at a time.
pub(crate) fn slots(prepared: &Prepared, machine: &MachineArguments, trials: usize) -> Result<Vec<Slot>, Failure> {
    local_workers(prepared, &run_config(prepared, machine), trials, &[]).map(|workers| workers.slots)
}

fn workers(
    prepared: &Prepared,
    machine: &MachineArguments,
    trials: usize,
    past: &[PastTrial],
) -> Result<Workers, Failure> {
    let config = run_config(prepared, machine);
    match config.engine {
        EngineKind::Local | EngineKind::Inline => local_workers(prepared, &config, trials, past),
        EngineKind::Slurm if is_queued(config.slurm.within) => {
            Ok(Workers::elsewhere(queue_slots(&config, trials), None, "jobs of Slurm".to_owned()))
        }
        EngineKind::Slurm => {
            let refuse = |error: AllocationError| Failure::input(error.to_string());
            let allocation = Allocation::read(|name| std::env::var(name).ok()).map_err(refuse)?;
            let needed = largest_memory(prepared, past);
            let steps = allocation.steps(&config, trials, needed, cfg!(feature = "cuda")).map_err(refuse)?;
            let started = SlurmSteps { srun: "srun".into(), memory: steps.memory };
            Ok(Workers::elsewhere(steps.slots, Some(started), format!("Slurm job {}", allocation.job)))
        }
    }
}

fn local_workers(
    prepared: &Prepared,
    config: &RunConfig,
    trials: usize,
    past: &[PastTrial],
) -> Result<Workers, Failure> {
    let refuse = |error: SlotError| Failure::input(error.to_string());
    let machine = run::machine(train::available_devices());
    let devices = decide::devices(&config.devices, &machine).map_err(refuse)?;
    let limit = |device: &Device| Some((*device, decide::device_limit(&machine, *device)?));
    let device_limits: Vec<(Device, u64)> = devices.iter().filter_map(limit).collect();
    let first = devices.first().filter(|device| **device != Device::Cpu);
    // Trials are the same on all devices, so the smallest one decides.
    let share = device_limits.iter().map(|(_, limit)| limit / config.jobs_per_device.unwrap_or(1) as u64).min();
    let accelerator = first.map(|_| Accelerator { share });
    let past_on_device = first.map_or_else(Vec::new, |device| past_trials(*device, &prepared.results));
    let on_device = |trial| trial_cost(prepared, trial, &past_on_device, 1, accelerator).device_memory;
    let device = first.and_then(|_| prepared.plan.trials.iter().map(on_device).max());
    let memory = TrialMemory { host: largest_memory(prepared, past), device };
    let slots = decide::slots(config, &machine, trials, memory).map_err(refuse)?;
    Ok(Workers { slots, steps: None, place: None, accelerator, device_limits })
}

/// Whether trials are jobs of their own, and not steps of the job of this process.
fn is_queued(within: Within) -> bool {
    match within {
        Within::Auto => std::env::var_os("SLURM_JOB_ID").is_none(),
        Within::Allocation => false,
        Within::Queue => true,
    }
}

/// The section `run`, with what the command line says in its place.
pub(super) fn run_config(prepared: &Prepared, machine: &MachineArguments) -> RunConfig {
    let written = &prepared.spec.run;
    RunConfig {
        engine: machine.engine.unwrap_or(written.engine),
        devices: machine.devices.clone().unwrap_or_else(|| written.devices.clone()),
        jobs: machine.jobs.map(usize::from).or(written.jobs),
        threads: machine.threads.map(usize::from).or(written.threads),
        ..written.clone()
    }
}

fn largest_memory(prepared: &Prepared, past: &[PastTrial]) -> Option<u64> {
    prepared.plan.trials.iter().map(|trial| trial_cost(prepared, trial, past, 1, None).memory).max()
}
