//! The way from a prepared sweep to its report, shared by `run`, `probe` and `confirm`: announce, train what is
//! missing, report failures, draw.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::Failure;
use super::arguments::{DisplayArguments, MachineArguments, RunOptions, SweepArguments};
use super::consent::Consent;
use super::data_report;
use super::forecast::{CostEstimate, run_config};
use super::format::bytes;
use super::inspector::Inspector;
use super::live::{LiveReporter, redraw};
use super::origin::Origin;
use super::output::{notify, notify_all};
use super::prepare::Prepared;
use super::report::ReportWriter;
use super::selection::select;
use super::test_set::evaluate_best;
use super::tracking::LiveTracking;
use crate::decide::{self, MemoryBudget};
use crate::event::{Event, Record, Reporter as _};
use crate::exec::{Inline, Local, Slurm};
use crate::plan::SearchPlan;
use crate::report::count;
use crate::report::terminal::{Mode, Terminal};
use crate::run::{self, FailedTrial, RunError, RunOrder, RunSummary, TrialSource};
use crate::spec::{EngineKind, OnFullDisk, Place, Problem};
use crate::store::{self, RunDir, StoreError};
use crate::train;
use crate::trial::{Trial, TrialConfig, TrialId};
use crate::worker;

/// Trains and reports all trials of a sweep. `options` says where and how it is shown; `--only`, `--continue` and
/// `--fresh` do not apply.
pub(crate) fn run_all(prepared: &Prepared, options: &RunOptions) -> Result<ExitCode, Failure> {
    let options = RunOptions { only: Vec::new(), continued: Vec::new(), fresh: false, ..options.clone() };
    let estimate = CostEstimate::new(prepared, &options)?;
    let summary = run_estimated(prepared, &estimate, &options, TestSetUse::Never)?;
    Ok(ExitCode::from(summary.exit_code()))
}

/// Whether the best trial is evaluated on the test set. Probes and confirmations leave it alone: it is for one choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestSetUse {
    AtTheEnd,
    Never,
}

/// Trains what is missing of the estimated trials, and draws the report, also after an interrupt.
pub(crate) fn run_estimated(
    prepared: &Prepared,
    estimate: &CostEstimate<'_>,
    options: &RunOptions,
    test_set: TestSetUse,
) -> Result<RunSummary, Failure> {
    let shows_notes = options.display.shows_notes();
    check_consent(prepared, &options.sweep, &options.machine)?;
    query_augmentations(prepared, options)?;
    if shows_notes {
        announce(prepared, estimate, options.fresh);
    }
    let summary = train_missing(prepared, estimate, options)?;
    report_failures(&summary, options.display);
    if !summary.interrupted && summary.left_in_queue.is_none() && test_set == TestSetUse::AtTheEnd {
        let sweep = run::survey(&prepared.plan, &prepared.dir)?;
        let mut inspector = Inspector::new(&prepared.results, &prepared.cache);
        evaluate_best(&sweep, &prepared.dir, &prepared.facts, &mut inspector, shows_notes)?;
    }
    write_report(prepared)?;
    if shows_notes {
        notify(&format!("\nreport: {}", prepared.dir.report().join("index.html").display()));
        if !summary.interrupted && summary.left_in_queue.is_none() {
            show_next_step(&summary);
        }
    }
    Ok(summary)
}

/// Draws the report. On a full disk it waits for room, as the sweep itself does (`run.on_full_disk`).
fn write_report(prepared: &Prepared) -> Result<(), Failure> {
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = Duration::from_secs(1);
    let mut is_noted = false;
    loop {
        match ReportWriter::default().write(&prepared.plan, &prepared.dir) {
            Err(failure) if failure.is_full_disk() && prepared.spec.run.on_full_disk == OnFullDisk::Wait => {
                if !is_noted {
                    notify(&format!("{failure}\nThe report waits for room and is then drawn (run.on_full_disk)"));
                    is_noted = true;
                }
                thread::sleep(pause);
                while !store::has_room(prepared.dir.path()) {
                    thread::sleep(pause);
                }
                // Each try draws all figures.
                pause = LONGEST.min(pause * 2);
            }
            result => return result,
        }
    }
}

fn show_next_step(summary: &RunSummary) {
    summary.next_step().iter().for_each(|next| notify(next));
}

/// Fails unless the programs of the sweep file may run here.
pub(crate) fn check_consent(
    prepared: &Prepared,
    sweep: &SweepArguments,
    machine: &MachineArguments,
) -> Result<(), Failure> {
    let run = run_config(prepared, machine);
    let jobs = (run.engine == EngineKind::Slurm).then_some(&run.slurm);
    let consent = Consent { file: &prepared.file, set: &sweep.set, trust: machine.trust, jobs };
    consent.check(&prepared.facts)
}

/// Computes what the models and programs of augmentations make of all texts. A fault shows before any training, and
/// no trial has to wait for them. Models are opened in a child process, and programs are started by this one.
fn query_augmentations(prepared: &Prepared, options: &RunOptions) -> Result<(), Failure> {
    let ids: HashSet<TrialId> = select(&prepared.plan, &options.only)?.into_iter().collect();
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    let mut inspector = Inspector::new(&prepared.results, &prepared.cache);
    let trials = prepared.plan.trials.iter().filter(|trial| ids.contains(&trial.id));
    let methods = trials.flat_map(|trial| trial.config.augmentation.iter().map(|method| (&trial.config, method)));
    for (config, method) in methods.filter(|(_, method)| method.is_precomputed()) {
        if !seen.insert(serde_json::to_string(&(&config.data, &config.model.from, method)).unwrap_or_default()) {
            continue;
        }
        let announce = |count: usize| {
            if options.display.shows_notes() {
                let name = method.name();
                notify(&format!("{name}: computing variants of {count} texts, once for this results folder"));
            }
        };
        let alone = TrialConfig { augmentation: vec![method.clone()], ..config.clone() };
        let faults = if method.runs_programs() {
            let computed = train::prepare_augmentation(&alone, &prepared.cache, &announce);
            computed.err().map(|error| error.to_string()).into_iter().collect()
        } else {
            let faults = inspector.variants(&alone, &announce)?;
            faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>()
        };
        for fault in faults {
            let found = prepared.facts.augmentations.iter().find(|found| found.located == *method);
            let problem = Problem::new(found.map_or(Place::NOWHERE, |found| found.place), fault);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(prepared.spec.problems(problems).into()) }
}

/// A warning that trials which are trained again change what a search draws.
fn later_configurations(search: &SearchPlan<'_>, records: &[Record], options: &RunOptions) -> Option<String> {
    let has_failed = records.iter().any(|record| matches!(record.event, Event::TrialFailed { .. }));
    let changes = options.retry_failed && has_failed || !options.continued.is_empty();
    (changes && !options.fresh && !search.is_complete()).then(|| {
        format!(
            "warning: trials that are trained again change the search from configuration {} on; those before it were drawn \
             from the old results",
            search.drawn_so_far()
        )
    })
}

/// A warning that the sweep file draws in another way than when the earlier configurations were drawn.
fn changed_search(
    search: &SearchPlan<'_>,
    prepared: &Prepared,
    records: &[Record],
    options: &RunOptions,
) -> Option<String> {
    let drawn = Event::suggested_count(records);
    let last = Origin::read(&prepared.dir).filter(|_| !options.fresh && drawn > 0)?.spec()?;
    let (changed, number) = search.changed(&last)?;
    let keys: Vec<String> = changed.iter().map(|key| format!("`{key}`")).collect();
    let has = if keys.len() == 1 { "has" } else { "have" };
    let lost = match drawn.saturating_sub(search.kept()) {
        0 => String::new(),
        1 => ". One earlier configuration is no part of it now; `plateau status` names its trials".to_owned(),
        n => format!(". {n} earlier configurations are no part of it now; `plateau status` names their trials"),
    };
    Some(format!(
        "warning: {} of the search {has} changed since the last run. Configurations from {number} on follow the file as it is \
         now; those before it stay{lost}",
        keys.join(", ")
    ))
}

/// The first lines: warnings, and what is to be done.
fn announce(prepared: &Prepared, estimate: &CostEstimate<'_>, is_fresh: bool) {
    notify_all(&prepared.plan.warnings);
    notify_all(&data_report::brief(&prepared.facts));
    notify_all(&data_report::heads(&prepared.facts, prepared.plan.trials.iter()));
    if !is_fresh {
        let last = Origin::read(&prepared.dir);
        let clash = last.as_ref().and_then(|last| last.clash(&prepared.origin, &prepared.dir));
        let length = last.as_ref().and_then(|last| last.changed_length(&prepared.plan, &prepared.dir));
        let metric = last.as_ref().and_then(|last| last.changed_metric(&prepared.plan, &prepared.dir));
        for warning in clash.into_iter().chain(length).chain(metric) {
            notify(&warning);
        }
    }
    for warning in estimate.space_warning(prepared.dir.path()).into_iter().chain(estimate.notes(prepared)) {
        notify(&warning);
    }
    notify(&format!("{}: {}", prepared.plan.name, estimate.line()));
    if let Some(caution) = estimate.jobs.as_ref().and_then(|jobs| jobs.caution(prepared)) {
        notify(&caution);
    }
}

fn train_missing(
    prepared: &Prepared,
    estimate: &CostEstimate<'_>,
    options: &RunOptions,
) -> Result<RunSummary, Failure> {
    let only: HashSet<TrialId> = estimate.trials.iter().map(|trial| trial.id.clone()).collect();
    let unwritable = |error: String| Failure::input(format!("cannot write the sweep: {error}"));
    let sweep_yaml =
        prepared.spec.to_yaml(&prepared.facts.resolved()).map_err(|error| unwritable(error.to_string()))?;
    let origin = prepared.origin.to_json().map_err(|error| unwritable(error.to_string()))?;
    let parameters = parameters(prepared);
    let (memory, on_device, micro_batch_tokens) =
        (estimate.memory(), estimate.device_memory(), estimate.micro_batch_tokens());
    let of_device = |(device, limit): &(_, u64)| (*device, MemoryBudget::of_device(*limit, &on_device));
    let device_memory: Vec<_> = estimate.device_limits.iter().map(of_device).collect();
    // Slurm bounds the memory of each step itself.
    let memory_limit = decide::memory_limit(&prepared.spec.run, &run::machine(Vec::new()));
    let memory_limit = memory_limit.filter(|_| estimate.steps.is_none() && estimate.jobs.is_none());
    let records = store::read_journal(&prepared.dir.journal()).map(|journal| journal.records).unwrap_or_default();
    let search = SearchPlan::new(&prepared.spec, &prepared.facts, &prepared.known, Event::suggested(&records));
    if let Some(search) = search.as_ref().filter(|_| options.display.shows_notes()) {
        let changed = changed_search(search, prepared, &records, options);
        notify_all(&later_configurations(search, &records, options).into_iter().chain(changed).collect::<Vec<_>>());
    }
    let search = search.map(RefCell::new);
    let queue = estimate.jobs.as_ref().map(|jobs| jobs.order(options.detach));
    let places = estimate.places();
    let order = RunOrder {
        plan: &prepared.plan,
        search: search.as_ref().map(|search| search as &dyn TrialSource),
        facts: &prepared.facts,
        sweep_yaml: &sweep_yaml,
        origin: &origin,
        results: &prepared.results,
        config: &prepared.spec.run,
        slots: &places,
        memory: memory_limit.map(|limit| MemoryBudget::new(limit, &memory)),
        device_memory: &device_memory,
        micro_batch_tokens: &micro_batch_tokens,
        only: (!options.only.is_empty()).then_some(&only),
        retry_failed: options.retry_failed,
        continued: &options.continued,
        fresh: options.fresh,
        queue: queue.as_ref(),
        parameters: &parameters,
    };
    let local = estimate.steps.clone().map_or_else(Local::this_program, Local::this_program_in_steps);
    let local = local.map_err(|error| Failure::input(format!("cannot find this program: {error}")))?;
    let mut terminal = terminal(prepared, options, &only);
    if !options.fresh {
        terminal.recall(&store::read_journal(&prepared.dir.journal())?.records);
    }
    prepared.cache.flush();
    let (warning_sender, warnings) = channel();
    let (changed, changes) = channel();
    let mut listeners = vec![changed];
    let tracking = if prepared.spec.run.log_to.is_empty() {
        None
    } else {
        let (changed, changes) = channel();
        listeners.push(changed);
        let tracking = LiveTracking::new(prepared, &options.sweep, warning_sender);
        Some(tracking.start(changes).map_err(StoreError::at(prepared.dir.path()))?)
    };
    let summary = thread::scope(|scope| {
        let mut writer = ReportWriter::default();
        // An error here is not shown: the report at the end of the run fails with the same one.
        let draw = move || {
            store::leave_stop_signals();
            redraw(&changes, || {
                drop(writer.write(&prepared.plan, &prepared.dir));
            });
        };
        thread::Builder::new()
            .name("report".into())
            .spawn_scoped(scope, draw)
            .map_err(|error| RunError::Store(StoreError::at(prepared.dir.path())(error)))?;
        let reporter = &mut LiveReporter { terminal: &mut terminal, listeners, warnings: &warnings };
        let summary = match &estimate.jobs {
            Some(jobs) => {
                let slurm = || Slurm::new(jobs.template.clone(), Path::new(""), jobs.single);
                run::sweep(&order, slurm, reporter)
            }
            None if estimate.is_inline => {
                let inline = || Inline::new(|folder, stop| worker::attempt(folder, stop, train::train));
                run::sweep(&order, inline, reporter)
            }
            None => run::sweep(&order, || local, reporter),
        };
        terminal.close();
        // An interrupted command has two seconds, and the threads that draw and send may take longer.
        if let Ok(summary) = &summary
            && (summary.interrupted || summary.left_in_queue.is_some())
            && options.display.shows_notes()
        {
            show_next_step(summary);
        }
        summary
    });
    let is_interrupted = summary.as_ref().is_ok_and(|summary| summary.interrupted);
    let unsent = tracking.and_then(|tracking| tracking.wait(is_interrupted));
    for warning in warnings.try_iter().chain(unsent) {
        terminal.warning(&warning);
    }
    summary.map_err(|error| with_free_space(&error, estimate, &prepared.dir))
}

/// The view of a run. `only`: the trials that it trains.
fn terminal(prepared: &Prepared, options: &RunOptions, only: &HashSet<TrialId>) -> Terminal {
    let plan = &prepared.plan;
    let shown: Vec<&Trial> = plan.trials.iter().filter(|trial| only.contains(&trial.id)).collect();
    let mut terminal = Terminal::new(options.display.mode(), options.display.verbose, &plan.name, &shown);
    terminal.retries(prepared.spec.run.retries);
    if options.only.is_empty() {
        terminal.expect(plan.trials.len() + plan.undrawn());
    }
    terminal
}

/// The number of parameters of each network of the plan.
fn parameters(prepared: &Prepared) -> HashMap<String, u64> {
    let mut parameters = HashMap::new();
    for trial in &prepared.plan.trials {
        if let Entry::Vacant(entry) = parameters.entry(trial.config.model.network())
            && let Some((_, model)) = prepared.facts.of(&trial.config)
        {
            entry.insert(model.parameters);
        }
    }
    parameters
}

/// The failure of a run. If the disk is full, the message says how much space is needed.
fn with_free_space(error: &RunError, estimate: &CostEstimate<'_>, dir: &RunDir) -> Failure {
    let mut message = error.to_string();
    if let (true, Some(free)) = (error.is_full_disk(), store::free_space(dir.path())) {
        let (folder, free, need) = (dir.path().display(), bytes(free), bytes(estimate.total.disk));
        let _ = write!(message, "\n{folder}: {free} free. When the run started, the trials left needed about {need}");
    }
    Failure::with_code(message, error.exit_code())
}

/// Failed trials are errors, so they are shown also with `--quiet`. Without a live view, which has shown the end of each
/// log already, the end of the log follows.
fn report_failures(summary: &RunSummary, display: DisplayArguments) {
    for FailedTrial { trial, failure, attempts, log } in &summary.failed {
        notify(&format!("\n{trial} failed after {}: {failure}", count(*attempts as usize, "attempt")));
        if matches!(display.mode(), Mode::None | Mode::Json) {
            failure.log_tail().iter().for_each(|line| notify(&format!("  | {line}")));
        }
        notify(&format!("  log: {}", log.display()));
    }
}
