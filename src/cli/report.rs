//! `plateau report`: redraws the report from the results on disk.

use std::cell::RefCell;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::SweepArguments;
use super::data_report;
use super::deferred_cache::DeferredCache;
use super::inspector::Inspector;
use super::origin::Origin;
use super::output::{notify, notify_all};
use super::prepare::{RecordedSweep, recorded_sweep};
use super::test_set::evaluate_best;
use crate::analysis::Sweep;
use crate::plan::Plan;
use crate::report::{self, ProvenanceReader};
use crate::run;
use crate::search::SearchHistory;
use crate::store::{self, Results, RunDir, StoreError, TrialRow};
use crate::train;
use crate::trial::{BestEvaluation, TrialId};
use crate::worker::DiskCache;

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    sweep: SweepArguments,
}

pub(crate) fn report(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let RecordedSweep { plan, facts, dir } = recorded_sweep(&arguments.sweep)?;
    notify_all(&plan.warnings);
    if !dir.journal().exists() && !dir.trials().exists() {
        let (folder, sweep) = (dir.path().display(), &arguments.sweep);
        return Err(Failure::input(format!("{folder}: nothing was run yet. Run it with `plateau run {sweep}`")));
    }
    let results = Results::new(&arguments.sweep.results)?;
    let cache = DeferredCache::new(DiskCache(results.cache()));
    let mut writer = ReportWriter::default();
    let sweep = writer.surveyor.look(&plan, &dir)?;
    evaluate_best(sweep, &dir, &facts, &mut Inspector::new(&results, &cache), true)?;
    writer.write(&plan, &dir)?;
    // A run keeps the table up to date itself, unless it was killed.
    if !dir.is_held() {
        write_table(writer.surveyor.look(&plan, &dir)?, &dir)?;
    }
    notify(&format!("report: {}", dir.report().join("index.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes `trials.csv`.
fn write_table(sweep: &Sweep, dir: &RunDir) -> Result<(), StoreError> {
    let keys: Vec<&str> = sweep.axes.iter().map(|axis| axis.key.as_str()).collect();
    let draws = sweep.search.as_ref().map(SearchHistory::by_trial);
    let rows = sweep.runs.iter().map(|run| TrialRow {
        trial: &run.trial,
        draw: draws.as_ref().and_then(|draws| draws.get(&run.trial.id)).map(|draw| (draw.number, draw.by)),
        status: run.status,
        outcome: run.outcome.as_ref(),
        error: run.error.as_deref(),
    });
    dir.write_trials(&keys, draws.is_some(), rows)
}

/// Draws the report of a sweep, again and again as trials end.
#[derive(Debug, Default)]
pub(crate) struct ReportWriter {
    surveyor: run::Surveyor,
    sources: ProvenanceReader,
    details: DetailsReader,
}

/// Reads the details of the winner. Those of a trial that has ended are read only once.
#[derive(Debug, Default)]
struct DetailsReader {
    /// The last winner that had ended. Its details are None if they were not recorded.
    ended: RefCell<Option<(TrialId, Option<BestEvaluation>)>>,
}

impl ReportWriter {
    /// Draws the sweep as it is on disk and replaces the files of its report one by one. Figures of an earlier report that
    /// this one does not have are removed.
    pub(crate) fn write(&mut self, plan: &Plan, dir: &RunDir) -> Result<(), Failure> {
        dir.check_own_folders()?;
        train::start_threads().map_err(|error| Failure::results(error.to_string()))?;
        let sweep = self.surveyor.look(plan, dir)?;
        let mut provenance = self.sources.read(dir, sweep)?;
        let is_open = sweep.runs.iter().any(|run| run.outcome.is_none());
        provenance.is_running = is_open && dir.is_held();
        if let Some(origin) = Origin::read(dir) {
            provenance.data = data_report::full(origin.facts());
            provenance.data.extend(data_report::heads(origin.facts(), sweep.runs.iter().map(|run| &run.trial)));
            provenance.inputs = data_report::inputs(origin.facts(), sweep);
        }
        let probed = run::probe_results(dir)?;
        let refused = RefCell::new(None);
        let read = |trial: &TrialId| {
            self.details.read(trial, dir).unwrap_or_else(|error| {
                refused.replace(Some(error));
                None
            })
        };
        let report =
            report::draw(sweep, &probed, &provenance, &read).map_err(|error| Failure::results(error.to_string()))?;
        if let Some(error) = refused.take() {
            return Err(error.into());
        }
        let folder = dir.report();
        for (name, bytes) in &report.files {
            dir.write(&folder.join(name), bytes)?;
        }
        for name in report.missing_figures() {
            store::remove_file_if(&folder.join(name), report::is_own_figure)?;
        }
        if !report.has_suspect_labels() {
            store::remove_file_if(&folder.join(report::SUSPECT_LABELS), report::is_own_table)?;
        }
        Ok(())
    }
}

impl DetailsReader {
    /// The details of the best evaluation of a trial. A damaged file counts as missing, because the report does not depend on
    /// it; a link or a FIFO in its place is an error.
    fn read(&self, trial: &TrialId, dir: &RunDir) -> Result<Option<BestEvaluation>, StoreError> {
        if let Some((known, details)) = &*self.ended.borrow()
            && known == trial
        {
            return Ok(details.clone());
        }
        let folder = dir.trial(trial);
        let details = match folder.best_evaluation() {
            Err(error @ StoreError::Refused { .. }) => return Err(error),
            read => read.ok().flatten(),
        };
        if folder.has_outcome() {
            self.ended.replace(Some((trial.clone(), details.clone())));
        }
        Ok(details)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::analysis::Run;
    use crate::analysis::synthetic::{self, axis};
    use crate::store::{CurveRow, Results};
    use crate::trial::{EvalRow, MetricRow};

    fn table<R: CurveRow>(rows: &[R]) -> String {
        let mut text = R::HEADER.to_owned() + "\n";
        for row in rows {
            row.write(&mut text);
        }
        text
    }

    /// Writes the files of a trial that has ended.
    fn end(dir: &RunDir, run: &Run) {
        let folder = dir.trial(&run.trial.id);
        let put = |path: std::path::PathBuf, bytes: &[u8]| store::write_file(&path, bytes).unwrap();
        put(folder.metrics(), table::<MetricRow>(&run.metrics).as_bytes());
        put(folder.evals(), table::<EvalRow>(&run.evals).as_bytes());
        put(folder.attempt(1).log(), b"a warning\n");
        let outcome = serde_json::to_vec(run.outcome.as_ref().unwrap()).unwrap();
        put(folder.outcome_file(), &outcome);
    }

    /// A redrawn report reads only the trials that have ended since; changed files of others are not noticed.
    #[test]
    fn a_trial_that_has_ended_is_read_once() {
        let sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5", "1e-4"])], 60);
        let trials = sweep.runs.iter().map(|run| run.trial.clone()).collect();
        let plan = Plan { name: "s".into(), axes: sweep.axes.clone(), trials, search: None, warnings: Vec::new() };
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        sweep.runs[..2].iter().for_each(|run| end(&dir, run));
        let page = || fs::read(dir.report().join("index.html")).unwrap();
        let mut writer = ReportWriter::default();
        writer.write(&plan, &dir).unwrap();
        let before = page();
        let reads = || [0, 1, 2].map(|index: usize| store::reads(dir.trial(&sweep.runs[index].trial.id).path()));
        let first = reads();
        assert!(first[..2].iter().all(|count| *count >= 5), "{first:?}");
        end(&dir, &sweep.runs[2]);
        ReportWriter::default().write(&plan, &dir).unwrap();
        let expected = page();
        assert!(String::from_utf8_lossy(&expected).contains("a warning") && expected != before);
        let mut spoiled = 0;
        for run in &sweep.runs[..2] {
            let folder = dir.trial(&run.trial.id);
            for path in
                [folder.metrics(), folder.evals(), folder.config(), folder.outcome_file(), folder.attempt(1).log()]
            {
                fs::write(path, "spoiled").unwrap();
                spoiled += 1;
            }
        }
        let before = reads();
        writer.write(&plan, &dir).unwrap();
        let after = reads();
        assert_eq!(after[..2], before[..2], "trials that had ended are not read again");
        let times = after[2] - before[2];
        assert!(times == first[0] || times == first[0] + 1, "the new trial is read once; {times} for {}", first[0]);
        assert!(spoiled == 10 && page() == expected);
        writer.write(&plan, &dir).unwrap();
        assert_eq!(reads(), after, "without a new trial, nothing is read");
        ReportWriter::default().write(&plan, &dir).unwrap();
        assert!(page() != expected, "a new writer reads every file");
    }

    /// Figures of an earlier report are removed; files of other programs stay, whatever their name.
    #[test]
    fn figures_of_an_earlier_report_are_removed() {
        let whole = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5"]), axis("warmup", &["0", "0.1"])], 60);
        let plan = |of: &crate::analysis::Sweep, n: usize| Plan {
            name: "s".into(),
            axes: of.axes[..n].to_vec(),
            trials: of.runs.iter().map(|run| run.trial.clone()).collect(),
            search: None,
            warnings: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        whole.runs.iter().for_each(|run| end(&dir, run));
        ReportWriter::default().write(&plan(&whole, 2), &dir).unwrap();
        let name = |name: &str| dir.report().join(name);
        assert!(name("grid.png").is_file() && name("heatmap.svg").is_file() && name("heatmap.png").is_file());
        for foreign in ["heatmap.png", "notes.txt"] {
            fs::write(name(foreign), "of another program").unwrap();
        }
        let mut less = whole.clone();
        less.runs.retain(|run| run.trial.config.warmup.0 == 0.0);
        ReportWriter::default().write(&plan(&less, 1), &dir).unwrap();
        assert!(!name("grid.png").exists() && !name("grid.svg").exists() && !name("heatmap.svg").exists());
        assert!(name("heatmap.png").is_file() && name("notes.txt").is_file() && name("ranking.png").is_file());
    }
}
