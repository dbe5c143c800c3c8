//! The test set of a sweep. When every trial has ended, the kept weights of the best one are evaluated on it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Failure;
use super::arguments::available_threads;
use super::inspect::{TestResult, TestSet};
use super::inspector::Inspector;
use super::kept_models::{KeptModel, how_to_keep};
use super::output::notify;
use crate::analysis::Sweep;
use crate::plan::Facts;
use crate::report;
use crate::store::RunDir;
use crate::train::TestScores;
use crate::trial::{EvalSource, Status, TestEvaluation};

/// Evaluates the best trial of a sweep on its test set, unless that was done before or some trial has not ended. `tell`: whether to
/// say what happens. A test set that cannot be evaluated is only reported: the trials are what they are. A child process opens the
/// files, with limits.
pub(crate) fn evaluate_best(
    sweep: &Sweep,
    dir: &RunDir,
    facts: &Facts,
    inspector: &mut Inspector<'_>,
    tell: bool,
) -> Result<(), Failure> {
    let has_ended = |status: Status| status.is_over() || status == Status::Failed;
    let has_test_set = sweep.runs.iter().any(|run| run.trial.config.data.test.is_some());
    if !has_test_set || !sweep.runs.iter().all(|run| has_ended(run.status)) {
        return Ok(());
    }
    let warn = |why: &str| notify(&format!("warning: the test set was not evaluated: {why}"));
    if sweep.winner().is_none() {
        warn("no trial has a usable model");
        return Ok(());
    }
    let Some(model) = KeptModel::leader(sweep, dir) else {
        warn(&format!("the best trial kept no weights. {}", how_to_keep(&sweep.name)));
        return Ok(());
    };
    let config = &model.run.trial.config;
    let planned = facts.of(config).and_then(|(data, _)| data.test_hash.clone());
    let is_known = |known: &TestEvaluation| {
        known.trial == model.run.trial.id && known.step == model.step && Some(&known.data_hash) == planned.as_ref()
    };
    let record = dir.test_record()?;
    if record.evaluations.iter().any(is_known) {
        return Ok(());
    }
    if record.is_damaged {
        notify(&format!(
            "warning: test.json is damaged, so that earlier evaluations of the test set are unknown. It is kept as {}, and the test set \
             is evaluated again",
            dir.damaged_test_file().display()
        ));
    }
    let test_set = TestSet {
        config: config.clone(),
        labels: model.outcome.labels.clone(),
        class_prior: model.outcome.class_prior.clone(),
        weights: model.weights.clone(),
        hash: planned,
        threads: available_threads(),
    };
    let announce = |_| {
        if tell {
            notify(&format!("test set: evaluating {}", model.description(&sweep.name)));
        }
    };
    let TestResult { hash, rows, scores } = match inspector.test_set(test_set, &announce)? {
        Ok(Some(result)) => result,
        Ok(None) => {
            let file = config.data.test.as_ref().and_then(EvalSource::file).unwrap_or(&config.data.train);
            warn(&format!("{file} has changed since the sweep was planned. The same command evaluates the new data"));
            return Ok(());
        }
        Err(faults) => {
            for fault in &faults {
                warn(&fault.message);
            }
            return Ok(());
        }
    };
    let TestScores { loss, accuracy, macro_f1, scores, confusion } = scores;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let evaluation = TestEvaluation {
        trial: model.run.trial.id.clone(),
        step: model.step,
        date: report::date(now),
        data_hash: hash,
        rows,
        loss,
        accuracy,
        macro_f1,
        scores,
        labels: model.outcome.labels.clone(),
        confusion,
    };
    if tell {
        notify(&format!("test set: {}", evaluation.text()));
    }
    dir.add_test_evaluation(evaluation)?;
    if let Some(repeated) = dir.test_record()?.repeated_use().filter(|_| tell) {
        notify(&format!("warning: {repeated}"));
    }
    Ok(())
}
