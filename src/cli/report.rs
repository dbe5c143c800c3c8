//! `plateau report`: redraws the report from what is on disk.

use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::prepare::{self, Standing, SweepArguments};
use super::words::{say, warn};
use crate::plan::Plan;
use crate::report::{self, Sources};
use crate::run;
use crate::store::{self, RunDir};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
}

pub(crate) fn report(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Standing { plan, dir } = prepare::standing(&arguments.sweep)?;
    warn(&plan.warnings);
    if !dir.journal().exists() && !dir.trials().exists() {
        let folder = dir.path().display();
        return Err(Failure::input(format!(
            "{folder}: nothing was run yet. `plateau run {}` does",
            arguments.sweep.sweep
        )));
    }
    Drawing::default().draw(&plan, &dir)?;
    say(&format!("report: {}", dir.report().join("index.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// A report that is drawn again and again as trials end.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    surveyor: run::Surveyor,
    sources: Sources,
}

impl Drawing {
    /// Draws the sweep as it stands on disk, and replaces the files of its report one by one; figures of an
    /// earlier report that this one leaves out go.
    pub(crate) fn draw(&mut self, plan: &Plan, dir: &RunDir) -> Result<(), Failure> {
        let sweep = self.surveyor.look(plan, dir)?;
        let provenance = self.sources.read(dir, sweep)?;
        let probed = run::probe_results(dir)?;
        let report = report::draw(sweep, &probed, &provenance).map_err(|error| Failure::results(error.to_string()))?;
        let folder = dir.report();
        for (name, bytes) in &report.files {
            store::write_file(&folder.join(name), bytes)?;
        }
        for name in report.left_out() {
            store::remove_file_if(&folder.join(name), report::is_ours)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::analysis::Run;
    use crate::analysis::synthetic::{self, axis};
    use crate::store::{Results, Row};
    use crate::trial::{EvalRow, MetricRow};

    fn table<R: Row>(rows: &[R]) -> String {
        let mut text = R::HEADER.to_owned() + "\n";
        for row in rows {
            row.write(&mut text);
        }
        text
    }

    /// Leaves the files of a trial that has ended.
    fn end(dir: &RunDir, run: &Run) {
        let folder = dir.trial(&run.trial.id);
        let put = |path: std::path::PathBuf, bytes: &[u8]| store::write_file(&path, bytes).unwrap();
        put(folder.metrics(), table::<MetricRow>(&run.metrics).as_bytes());
        put(folder.evals(), table::<EvalRow>(&run.evals).as_bytes());
        put(folder.attempt(1).log(), b"a warning\n");
        let outcome = serde_json::to_vec(run.outcome.as_ref().unwrap()).unwrap();
        put(folder.outcome_file(), &outcome);
    }

    /// Redrawing after one more trial reads that one and no other; what their files say by now is not seen.
    #[test]
    fn a_trial_that_has_ended_is_read_once() {
        let sweep = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5", "1e-4"])], 60);
        let trials = sweep.runs.iter().map(|run| run.trial.clone()).collect();
        let plan = Plan { name: "s".into(), axes: sweep.axes.clone(), trials, warnings: Vec::new() };
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        sweep.runs[..2].iter().for_each(|run| end(&dir, run));
        let page = || fs::read(dir.report().join("index.html")).unwrap();
        let mut drawing = Drawing::default();
        drawing.draw(&plan, &dir).unwrap();
        let before = page();
        let reads = || [0, 1, 2].map(|index: usize| store::reads(dir.trial(&sweep.runs[index].trial.id).path()));
        let first = reads();
        assert!(first[..2].iter().all(|count| *count >= 5), "{first:?}");
        end(&dir, &sweep.runs[2]);
        Drawing::default().draw(&plan, &dir).unwrap();
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
        drawing.draw(&plan, &dir).unwrap();
        let after = reads();
        assert_eq!(after[..2], before[..2], "nothing of what had ended was read");
        assert_eq!(after[2] - before[2], first[0], "and of the new one each file as often as of the first");
        assert!(spoiled == 10 && page() == expected);
        drawing.draw(&plan, &dir).unwrap();
        assert_eq!(reads(), after, "where nothing has ended, nothing is read");
        Drawing::default().draw(&plan, &dir).unwrap();
        assert!(page() != expected, "who looks for the first time sees it");
    }

    /// Figures of an earlier state go; files of others stay, whatever they are called.
    #[test]
    fn figures_that_are_drawn_no_more_go() {
        let whole = synthetic::sweep("s", &[axis("lr", &["1e-5", "3e-5"]), axis("warmup", &["0", "0.1"])], 60);
        let plan = |of: &crate::analysis::Sweep, n: usize| Plan {
            name: "s".into(),
            axes: of.axes[..n].to_vec(),
            trials: of.runs.iter().map(|run| run.trial.clone()).collect(),
            warnings: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap();
        whole.runs.iter().for_each(|run| end(&dir, run));
        Drawing::default().draw(&plan(&whole, 2), &dir).unwrap();
        let name = |name: &str| dir.report().join(name);
        assert!(name("grid.png").is_file() && name("heatmap.svg").is_file() && name("heatmap.png").is_file());
        for foreign in ["heatmap.png", "notes.txt"] {
            fs::write(name(foreign), "of somebody else").unwrap();
        }
        let mut less = whole.clone();
        less.runs.retain(|run| run.trial.config.warmup.0 == 0.0);
        Drawing::default().draw(&plan(&less, 1), &dir).unwrap();
        assert!(!name("grid.png").exists() && !name("grid.svg").exists() && !name("heatmap.svg").exists());
        assert!(name("heatmap.png").is_file() && name("notes.txt").is_file() && name("ranking.png").is_file());
    }
}
