//! From the command line to a plan: reads the sweep file, looks into its sources, and expands it.

use std::path::PathBuf;

use super::Failure;
use super::arguments::{MachineArguments, SweepArguments};
use super::deferred_cache::DeferredCache;
use super::inspector::Inspector;
use super::origin::Origin;
use super::output::notify;
use super::sources::find_sources;
use super::sweep_file::SweepFile;
use crate::decide;
use crate::event::{Event, KnownResult, Record};
use crate::plan::{Bf16Found, Facts, Plan, expand_after, known_results, probe_plan};
use crate::run::{self, survey_outcomes};
use crate::spec::{self, Draft, Evaluation, Probing, Problem, RunConfig, StopAcross, SweepSpec};
use crate::store::{self, Results, RunDir, StoreError};
use crate::train;
use crate::trial::{Device, Keep, Status, Trial};
use crate::worker::DiskCache;

/// A sweep that is ready to be run or planned.
pub(crate) struct Prepared {
    pub spec: SweepSpec,
    pub facts: Facts,
    pub plan: Plan,
    /// What its search knows of other sweeps.
    pub known: Vec<KnownResult>,
    /// The sweep file as the user knows it.
    pub file: PathBuf,
    pub origin: Origin,
    pub results: Results,
    pub dir: RunDir,
    /// Holds what was computed during preparation; the run writes it to disk.
    pub cache: DeferredCache,
}

impl Prepared {
    /// Leaves out what earlier runs of a search have drawn.
    pub(crate) fn forget_draws(&mut self) -> Result<(), Failure> {
        if self.spec.search.is_some() {
            self.plan = expand_after(&self.spec, &self.facts, &self.known, [])?;
        }
        Ok(())
    }

    /// The probes of this sweep's trials, as a sweep in a sub-folder. `keep`: which training states its trials keep.
    pub(crate) fn of_probes(&self, trials: Vec<Trial>, keep: Keep) -> Result<Self, Failure> {
        let results = self.results.within(&self.dir);
        // The probes are known: nothing is drawn, also where a search drew the trials.
        let mut spec = self.spec.clone();
        spec.search = None;
        spec.run = RunConfig { keep, probe: Probing::Off, log_to: Vec::new(), stop: StopAcross::default(), ..spec.run };
        Ok(Self {
            spec,
            facts: self.facts.clone(),
            plan: probe_plan(RunDir::PROBES, trials),
            known: Vec::new(),
            file: self.file.clone(),
            origin: self.origin.clone(),
            dir: results.sweep(RunDir::PROBES)?,
            cache: DeferredCache::new(DiskCache(self.results.cache())),
            results,
        })
    }
}

/// Reads and expands the sweep. Writes nothing; warnings are part of the plan.
///
/// `machine`: given if the sweep is to run here. Then the devices of the sweep file must exist.
pub(crate) fn prepare(arguments: &SweepArguments, machine: Option<&MachineArguments>) -> Result<Prepared, Failure> {
    let file = SweepFile::read(&arguments.sweep)?;
    prepare_file(file.stem(), &file, arguments, machine)
}

/// As [`prepare`]. Without overrides, those of the last run of the file count, as for the report.
pub(crate) fn prepare_as_run(arguments: &SweepArguments) -> Result<Prepared, Failure> {
    let prepared = prepare(arguments, None)?;
    let last = Origin::read(&prepared.dir).filter(|_| arguments.set.is_empty());
    let set = last.map_or_else(Vec::new, |last| last.set_for(&prepared.origin));
    if set.is_empty() { Ok(prepared) } else { prepare(&SweepArguments { set, ..arguments.clone() }, None) }
}

/// Prepares the sweep `name` that `text` describes. The text was derived from the sweep of `arguments`, with its
/// overrides applied.
pub(crate) fn prepare_text(arguments: &SweepArguments, name: &str, text: &str) -> Result<Prepared, Failure> {
    let arguments = SweepArguments { set: Vec::new(), ..arguments.clone() };
    let path = SweepFile::read(&arguments.sweep)?.path;
    prepare_file(name, &SweepFile { path, text: text.to_owned() }, &arguments, None)
}

/// `stem`: the sweep's name if the file gives none. Relative paths start at the file's folder.
fn prepare_file(
    stem: &str,
    file: &SweepFile,
    arguments: &SweepArguments,
    machine: Option<&MachineArguments>,
) -> Result<Prepared, Failure> {
    let draft = spec::draft(&file.shown(), stem, &file.text, &arguments.set);
    let results = Results::new(&arguments.results)?;
    let cache = DeferredCache::new(DiskCache(results.cache()));
    let (mut facts, missing) = find_sources(&draft, &file.path, &mut Inspector::new(&results, &cache))?;
    let Draft { spec, mut problems, .. } = draft;
    problems.extend(missing);
    let given = machine.and_then(|machine| machine.devices.as_ref());
    match decide::devices(given.unwrap_or(&spec.run.devices), &run::machine(train::available_devices())) {
        Ok(devices) => facts.bf16 = bf16(&devices),
        // Devices of the command line are checked later.
        Err(error) if machine.is_some() && given.is_none() => {
            problems.push(Problem::new(spec.run_place("devices"), error.to_string()));
        }
        Err(_) => {}
    }
    if !problems.is_empty() {
        return Err(spec.problems(problems).into());
    }
    let dir = results.sweep(&spec.name)?;
    let records = store::read_journal(&dir.journal()).map(|journal| journal.records).unwrap_or_default();
    let known = known_of_others(&spec, &facts, &results, &records)?;
    let plan = expand_after(&spec, &facts, &known, Event::suggested(&records))?;
    let origin = Origin::new(stem, file, &arguments.set, &facts);
    Ok(Prepared { spec, facts, plan, known, file: file.path.clone(), origin, results, dir, cache })
}

/// What the sweeps of `search.from` have measured: as an earlier run has recorded it, or as it is now.
fn known_of_others(
    spec: &SweepSpec,
    facts: &Facts,
    results: &Results,
    records: &[Record],
) -> Result<Vec<KnownResult>, Failure> {
    let Some(search) = spec.search.as_ref().filter(|search| !search.config.from.is_empty()) else {
        return Ok(Vec::new());
    };
    if let Some(known) = Event::known(records, &search.config.from, &spec.space_text()) {
        return Ok(known.to_vec());
    }
    let mut measured: Vec<(Trial, f64)> = Vec::new();
    for name in &search.config.from {
        let dir = results.sweep(name)?;
        let plan = Origin::read(&dir).and_then(|origin| origin.plan(&dir));
        let Some(plan) = plan else {
            let what =
                format!("`search.from`: there are no results of a sweep `{name}` in {}", results.path().display());
            let problem = Problem::new(search.from_place, what);
            let problem = problem.hint("run that sweep first, or name another results folder with --results");
            return Err(spec.problems(vec![problem]).into());
        };
        for run in survey_outcomes(&plan, &dir)?.0.runs {
            let cost = run.outcome.as_ref().filter(|_| run.status == Status::Finished).map(|outcome| {
                if search.config.at == Evaluation::Best { outcome.cost() } else { outcome.final_cost() }
            });
            measured.extend(cost.filter(|cost| cost.is_finite()).map(|cost| (run.trial, cost)));
        }
    }
    let known = known_results(spec, facts, measured.iter().map(|(trial, cost)| (trial, *cost)));
    if known.is_empty() {
        let names = search.config.from.join(", ");
        notify(&format!(
            "warning: `search.from`: no trial of {names} has the data, the checkpoint, the metric and the fixed values of this \
             sweep"
        ));
    }
    Ok(known)
}

/// Whether all of these devices multiply bf16 factors.
fn bf16(devices: &[Device]) -> Bf16Found {
    let lacking = devices.iter().find_map(|device| train::lacks_for_bf16(*device));
    lacking.map_or(Bf16Found::Available, Bf16Found::Lacking)
}

/// A sweep for the commands that only read its results.
pub(crate) struct RecordedSweep {
    pub plan: Plan,
    pub facts: Facts,
    pub dir: RunDir,
}

/// The sweep as it was last run, if the sweep file is unchanged, missing or wrong; else the sweep as its file
/// describes it. Results can therefore be read without the data, the checkpoint or the sweep file.
pub(crate) fn recorded_sweep(arguments: &SweepArguments) -> Result<RecordedSweep, Failure> {
    let results = Results::new(&arguments.results)?;
    let file = SweepFile::read(&arguments.sweep);
    let name = match &file {
        Ok(file) => spec::draft("", file.stem(), &file.text, &arguments.set).spec.name,
        Err(_) => arguments.sweep.clone(),
    };
    let dir = results.sweep(&name);
    let last = dir.as_ref().ok().and_then(Origin::read);
    let is_unchanged = match &file {
        Ok(file) => last.as_ref().is_some_and(|last| last.is_of(file, &arguments.set)),
        Err(_) => true,
    };
    let last = last.zip(dir.as_ref().ok()).and_then(|(last, dir)| Some((last.plan(dir)?, last.facts().clone())));
    match (last, file) {
        (Some((plan, facts)), _) if is_unchanged => Ok(RecordedSweep { plan, facts, dir: dir? }),
        (_, Err(missing)) => match dir {
            // No folder has such a name.
            Err(StoreError::Name { .. }) => Err(missing),
            Err(error) => Err(error.into()),
            // Something else than a file in its place is the fault, and not the name.
            Ok(dir) => store::read_file(&dir.origin()).map_or_else(|error| Err(error.into()), |_| Err(missing)),
        },
        (last, Ok(_)) => match (prepare(arguments, None), last) {
            (Ok(Prepared { plan, facts, dir, .. }), _) => Ok(RecordedSweep { plan, facts, dir }),
            (Err(failure), Some((plan, facts))) => {
                notify(&format!("warning: {failure}\nShowing the sweep as it was last run."));
                Ok(RecordedSweep { plan, facts, dir: dir? })
            }
            (Err(failure), None) => Err(failure),
        },
    }
}
