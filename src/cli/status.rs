//! `plateau status`: shows which trials are finished, running, failed or left.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{RESULTS, SweepArguments};
use super::format::{axis_value, table};
use super::origin::{Origin, known};
use super::output::{notify, print};
use super::prepare::{RecordedSweep, recorded_sweep};
use super::sweep_file::{self, SweepFile, known_sweeps};
use crate::analysis::{Run, Sweep};
use crate::decide::trial_result;
use crate::event::{Event, JobState};
use crate::exec::job_states;
use crate::plan::{Difference, SearchPlan, expand_after};
use crate::report::count;
use crate::run::{self, QueuedTrial, RemovedTrials};
use crate::search::SearchHistory;
use crate::spec;
use crate::state::SweepState;
use crate::store::{self, Results, RunDir, StoreError};
use crate::trial::{Device, Metric, Outcome, Status, TestRecord, TrialId, first_names};

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// A path, or the name of a file in sweeps/. Without it: a line for each sweep that was run
    sweep: Option<String>,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Compute the sequence of a search again from its results, and say where the recorded one differs
    #[arg(long, requires = "sweep")]
    verify: bool,
    /// Ask Slurm once what it says about the jobs of the sweep
    #[arg(long, requires = "sweep")]
    queue: bool,
}

pub(crate) fn status(arguments: &StatusArguments) -> Result<ExitCode, Failure> {
    let text = match &arguments.sweep {
        Some(sweep) if arguments.verify => return verify(&SweepArguments::new(sweep, &arguments.results)),
        Some(sweep) => {
            let RecordedSweep { plan, dir, .. } = recorded_sweep(&SweepArguments::new(sweep, &arguments.results))?;
            let (sweep, removed) = run::survey_outcomes(&plan, &dir)?;
            let jobs = if arguments.queue { queue(&dir)? } else { String::new() };
            // A record that cannot be read costs a cell of the table.
            let device = |run: &Run| dir.trial(&run.trial.id).made_by().ok().flatten().map(|made_by| made_by.device);
            let devices: Vec<Option<Device>> = sweep.runs.iter().map(device).collect();
            trials(&sweep, &devices)
                + &removed_line(&removed)
                + &test_set(&dir.test_record()?)
                + &jobs
                + &without_room(&dir)
        }
        None => all_sweeps(&Results::new(&arguments.results)?),
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// A line for a sweep that runs on a full disk.
fn without_room(dir: &RunDir) -> String {
    if store::has_room(dir.path()) || !dir.is_held() {
        return String::new();
    }
    format!("{}: the disk is full: the sweep waits until there is room (run.on_full_disk)\n", dir.path().display())
}

/// A line for each job of the sweep that Slurm knows.
fn queue(dir: &RunDir) -> Result<String, Failure> {
    let queued = run::queued_trials(dir)?;
    if queued.is_empty() {
        return Ok("no trial is in the queue of Slurm\n".to_owned());
    }
    let names: Vec<_> = queued.iter().map(|queued| queued.job.clone()).collect();
    let states = job_states(&names).map_err(|message| Failure::input(format!("Slurm does not answer: {message}")))?;
    let mut text = String::new();
    for (QueuedTrial { trial, attempt, job }, state) in queued.iter().zip(&states) {
        let has_begun = dir.trial(trial).attempt(*attempt).started().is_some();
        let state = match state {
            JobState::Queued { reason, start } => {
                let start = start.as_ref().map_or_else(String::new, |start| format!(", expected start {start}"));
                format!("queued ({reason}{start})")
            }
            JobState::Running { node } if !has_begun => format!("waiting for its turn in a job on {node}"),
            JobState::Running { node } => format!("running on {node}"),
            JobState::Ended { how, .. } => format!("ended: {how:?}"),
            JobState::Absent | JobState::Unknown => "not known to Slurm".to_owned(),
        };
        let _ = writeln!(text, "{trial}  {} {}  {state}", job.batch, job.index);
    }
    Ok(text)
}

/// Compares the configurations that a search has drawn with those that its file gives for the results as they are. Exit code
/// 1 if some differ.
fn verify(arguments: &SweepArguments) -> Result<ExitCode, Failure> {
    let file = SweepFile::read(&arguments.sweep);
    let name = file
        .as_ref()
        .map_or_else(|_| arguments.sweep.clone(), |file| spec::draft("", file.stem(), &file.text, &[]).spec.name);
    let dir = Results::new(&arguments.results)?.sweep(&name)?;
    let recorded = Origin::read(&dir).and_then(|origin| origin.spec().map(|spec| (origin, spec)));
    let Some((origin, spec)) = recorded else {
        return Err(Failure::input(format!("{name}: there are no results in {}", dir.path().display())));
    };
    if file.is_ok_and(|file| !origin.is_of(&file, &[])) {
        notify(&format!(
            "{name}: the sweep file has changed since the last run; this checks against the file of that run"
        ));
    }
    let records = store::read_journal(&dir.journal())?.records;
    let known = known(&spec, &records);
    let Some(mut search) = SearchPlan::new(&spec, origin.facts(), known, []) else {
        return Err(Failure::input(format!("{name}: this sweep draws nothing: it has no `space`")));
    };
    let plan = expand_after(&spec, origin.facts(), known, Event::suggested(&records))?;
    let state = SweepState::fold(&plan, &records);
    let at = search.at();
    let (before, since) = Event::since_search_opened(&records);
    let (earlier, drawn) = (Event::suggested(before), Event::suggested(since));
    let (all, differences) = search.differences(earlier, drawn, |id| trial_result(&state, id, at, false));
    let ids = |trials: &[TrialId]| trials.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    for Difference { number, recorded, expected } in &differences {
        let expected = expected.as_deref().map_or_else(|| "nothing".to_owned(), ids);
        let _ = writeln!(
            text,
            "configuration {number} differs: {} was drawn, and the file gives {expected}",
            ids(recorded)
        );
    }
    if all == 0 {
        let _ = writeln!(text, "{name}: nothing was drawn by the sweep file as it is");
    } else if differences.is_empty() {
        let _ = writeln!(text, "{name}: all {all} drawn configurations are those that the file gives");
    } else {
        let different = differences.len();
        let _ = writeln!(
            text,
            "{name}: {different} of {all} drawn configurations differ. A result has changed since (--retry-failed, --continue), \
             or a machine of another kind has computed them"
        );
    }
    let unchecked = Event::suggested_count(before);
    if unchecked > 0 {
        let configurations = count(unchecked, "earlier configuration");
        let _ = writeln!(text, "{configurations} followed another version of the sweep file, and cannot be checked");
    }
    print(text)?;
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for each sweep that was run, read from its journal and its trials' folders, then the names of the others.
fn all_sweeps(results: &Results) -> String {
    let mut lines = vec![["sweep", "trials", "finished", "running", "failed", "left"].map(str::to_owned).to_vec()];
    let known = results.sweeps();
    for name in &known {
        match last_run(results, name) {
            Ok((statuses, undrawn)) => lines.push(counts(name, &statuses, undrawn)),
            Err(error) => notify(&format!("{name}: {error}")),
        }
    }
    let others: Vec<String> =
        known_sweeps().into_iter().filter(|stem| !known.contains(&sweep_file::name_of(stem))).collect();
    let mut text = if known.is_empty() {
        format!("no sweep was run in {} yet\n", results.path().display())
    } else {
        table(&lines)
    };
    if !others.is_empty() {
        let _ = writeln!(text, "not run yet: {}", others.join(", "));
    }
    text
}

/// The status of each trial in the last plan that was run under this name, and how many more its search may draw.
fn last_run(results: &Results, name: &str) -> Result<(Vec<Status>, usize), StoreError> {
    let dir = results.sweep(name)?;
    let records = store::read_journal(&dir.journal())?.records;
    let is_search = |origin: &Origin| origin.spec().is_some_and(|spec| spec.search.is_some());
    let search = Origin::read(&dir).filter(is_search).and_then(|origin| origin.plan(&dir)?.search);
    let undrawn = search.filter(|_| Event::search_end(&records).is_none()).and_then(|search| search.undrawn());
    Ok((run::statuses(&Event::planned(&records), &dir)?, undrawn.unwrap_or(0) as usize))
}

/// `undrawn`: trials that a search may still draw.
fn counts(name: &str, statuses: &[Status], undrawn: usize) -> Vec<String> {
    let number = |matches: fn(Status) -> bool| statuses.iter().filter(|status| matches(**status)).count();
    let left = number(|status| status == Status::Pending) + undrawn;
    let (finished, failed) = (number(Status::is_over), number(|status| status == Status::Failed));
    let numbers = [statuses.len() + undrawn, finished, number(|status| status == Status::Running), failed, left];
    std::iter::once(name.to_owned()).chain(numbers.map(|number| number.to_string())).collect()
}

/// `devices`: where each trial runs or ran last. A sweep on the CPU alone has no column for them.
fn trials(sweep: &Sweep, devices: &[Option<Device>]) -> String {
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let has_accelerators = devices.iter().flatten().any(|device| *device != Device::Cpu);
    let mut header: Vec<String> = ["id"].iter().chain(&keys).map(ToString::to_string).collect();
    header.extend(["status", "step", "train loss", "eval loss", "best eval"].map(str::to_owned));
    header.extend(has_accelerators.then(|| "device".to_owned()));
    let mut lines = vec![header];
    for (run, device) in sweep.runs.iter().zip(devices) {
        let mut line = vec![run.trial.id.to_string()];
        line.extend(keys.iter().map(|key| axis_value(&run.trial, key)));
        line.extend(progress(run));
        line.extend(has_accelerators.then(|| device.map_or_else(String::new, |device| device.to_string())));
        lines.push(line);
    }
    let statuses: Vec<Status> = sweep.runs.iter().map(|run| run.status).collect();
    let summary = counts(&sweep.name, &statuses, sweep.undrawn());
    let [name, all, finished, running, failed, left] = &summary[..] else { return table(&lines) };
    let is_timed = sweep.search.as_ref().is_some_and(|search| search.undrawn().is_none());
    let left = if is_timed { "`search.time` decides how many are left".to_owned() } else { format!("{left} left") };
    let trials = match &sweep.search {
        Some(search) => {
            let over = statuses.iter().filter(|status| status.is_over() || **status == Status::Failed).count();
            let why = search.ended.as_ref().map_or_else(String::new, |why| format!(", the search has ended: {why}"));
            let of = if is_timed { String::new() } else { format!("/{all}") };
            format!("{over}{of} trials{}{why}", best(sweep, search))
        }
        None => count(statuses.len(), "trial"),
    };
    let note = |run: &Run| Some(format!("{}: {}\n", run.trial.id, run.memory_note()?));
    let notes: String = sweep.runs.iter().filter_map(note).collect();
    format!(
        "{}\n{name}: {trials}, {finished} finished, {running} running, {failed} failed, {left}\n{notes}",
        table(&lines)
    )
}

/// The best value of a search, with the number of its configuration: the mean of the trials that learned something.
fn best(sweep: &Sweep, search: &SearchHistory) -> String {
    let draws = search.by_trial();
    let mut values: BTreeMap<u64, (Metric, Vec<f64>)> = BTreeMap::new();
    let mut incomplete: HashSet<u64> = HashSet::new();
    for run in sweep.runs.iter().filter(|run| run.status.is_over() || run.status == Status::Failed) {
        let Some(draw) = draws.get(&run.trial.id) else { continue };
        if let Some(best) = run.outcome.as_ref().and_then(Outcome::usable) {
            values.entry(draw.number).or_insert((best.metric, Vec::new())).1.push(f64::from(best.value));
        } else {
            incomplete.insert(draw.number);
        }
    }
    let means = values
        .into_iter()
        .map(|(number, (metric, values))| (number, metric, values.iter().sum::<f64>() / values.len() as f64));
    // As in the report, a configuration with a failed trial comes after all others.
    let is_last = |number: u64| incomplete.contains(&number);
    let least = means.min_by(|a, b| is_last(a.0).cmp(&is_last(b.0)).then(a.1.cost(a.2).total_cmp(&b.1.cost(b.2))));
    least.map_or_else(String::new, |(number, _, value)| format!(", best {value:.3} (#{number})"))
}

/// A line about the trials that an earlier version of the sweep had, if there are any.
fn removed_line(removed: &RemovedTrials) -> String {
    if removed.count == 0 {
        return String::new();
    }
    let named = removed.first.iter().map(|(id, status)| format!("{id} {}", status.name()));
    let (trials, names) = (count(removed.count, "trial"), first_names(named, removed.count));
    format!("no longer in the sweep, results kept: {trials} ({names})\n")
}

/// A line about the last evaluation of the test set, and one about earlier ones.
fn test_set(record: &TestRecord) -> String {
    if record.is_damaged {
        return "test set: test.json is damaged; `plateau run` keeps it aside and evaluates the test set again\n"
            .into();
    }
    let Some(last) = record.evaluations.last() else { return String::new() };
    let mut text = format!("test set: trial {} has {}\n", last.trial, last.text());
    text.extend(record.repeated_use().map(|repeated| repeated + "\n"));
    text
}

/// Status, steps, and the losses of the last step, of the last evaluation and of the best one. A loss that is not finite has no figure
/// once the trial has ended.
fn progress(run: &Run) -> [String; 5] {
    let (step, losses) = if let Some(outcome) = &run.outcome {
        (outcome.steps, [outcome.final_train_loss, outcome.final_eval_loss, outcome.best_eval_loss])
    } else {
        let (metric, eval) = (run.metrics.last(), run.evals.last());
        let best = run.best_eval().map(|(_, loss)| loss as f32);
        (metric.map_or(0, |row| row.step), [metric.map(|row| row.train_loss), eval.map(|row| row.eval_loss), best])
    };
    let [train, eval, best] = losses.map(|loss| loss.map_or_else(String::new, |loss| format!("{loss:.4}")));
    [run.status.name().to_owned(), format!("{step}/{}", run.trial.steps), train, eval, best]
}
