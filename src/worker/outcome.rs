//! Completes the outcome of a trial: verdicts, notes and peak memory, and checks that it can be read back.

use crate::analysis::{Measured, verdicts};
use crate::store::{AttemptDir, MadeBy, StoreError, TrialDir, read_curve};
use crate::train;
use crate::trial::{BestScore, Cause, DiagnosticRow, EvalRow, MICRO_BATCH_TOKENS, MetricRow, Outcome, Trial, Verdict};

/// Rows that the attempt has put into the files of the curves, with those that it continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub metrics: u64,
    pub evals: u64,
    pub diagnostics: u64,
}

/// Adds what the trainer leaves to others.
///
/// # Errors
/// [`StoreError::Vanished`] if rows that were written are no longer in their files, because a user has deleted or cut them.
pub(super) fn complete(
    mut outcome: Outcome,
    trial: &Trial,
    attempt: &AttemptDir,
    written: RowCounts,
) -> Result<Outcome, StoreError> {
    let folder = attempt.trial();
    let metrics = read_curve::<MetricRow>(&folder.metrics())?.rows;
    let evals = read_curve::<EvalRow>(&folder.evals())?.rows;
    let diagnostics = read_curve::<DiagnosticRow>(&folder.diagnostics())?.rows;
    let read = [metrics.len(), evals.len(), diagnostics.len()].map(|rows| rows as u64);
    check_rows(&folder, &outcome, read, written)?;
    let measured = Measured::of_trial(trial, (&metrics, &evals), &diagnostics, Some(&outcome));
    outcome.verdicts = verdicts(&measured, outcome.status);
    let best = outcome.best().and_then(|best| evals.iter().find(|row| row.step == best.step));
    outcome.best_scores = best.map(|row| row.scores.clone()).unwrap_or_default();
    // A loss may end as NaN, which JSON does not have.
    outcome.last = outcome.best().zip(evals.last()).and_then(|(best, row)| {
        let value = best.metric.value(row);
        value.is_finite().then_some(BestScore { step: row.step, value, ..best })
    });
    outcome.final_scores = evals.last().map(|row| row.scores.clone()).unwrap_or_default();
    outcome.peak_memory = peak_memory();
    // JSON has no NaN.
    for value in [&mut outcome.seconds, &mut outcome.tokens_per_second] {
        if !value.is_finite() {
            *value = 0.0;
        }
    }
    Ok(outcome)
}

fn check_rows(folder: &TrialDir, outcome: &Outcome, read: [u64; 3], written: RowCounts) -> Result<(), StoreError> {
    let [metrics, evals, diagnostics] = read;
    let gone = [
        (folder.metrics(), metrics != outcome.steps || metrics != written.metrics),
        (folder.evals(), evals != written.evals),
        (folder.diagnostics(), diagnostics != written.diagnostics),
    ];
    match gone.into_iter().find(|(_, is_gone)| *is_gone) {
        Some((path, _)) => Err(StoreError::Vanished { path }),
        None => Ok(()),
    }
}

/// The note on a trial that ran out of memory.
pub(super) fn smaller_micro_batches(made_by: &MadeBy, trial: &Trial) -> Option<Verdict> {
    let usual = made_by.micro_batch_tokens.unwrap_or(MICRO_BATCH_TOKENS);
    let tokens = train::micro_batch_tokens(usual, made_by.micro_batch_splits);
    let numbers = match trial.config.mixup() {
        None => "the numbers are those of a machine with more memory, up to rounding",
        Some(_) => "mixup pairs the texts of a micro-batch, so it has paired other texts",
    };
    let text = format!("out of memory: continued with micro-batches of {tokens} tokens in place of {usual}; {numbers}");
    (made_by.micro_batch_splits > 0).then(|| {
        Verdict::note(Cause::SmallerMicroBatches, text).with_evidence(&[("micro_batch_tokens", tokens as f64)])
    })
}

/// Peak resident memory of this process in bytes, where Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
