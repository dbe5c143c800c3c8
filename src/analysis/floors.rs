//! Floors that trials share: training losses that become flat at one level, whatever the learning rate.
//!
//! Such a level is not set by the learning rate. It may be the level of wrong labels.

use std::borrow::Borrow;

use super::finding::FindingKind;
use super::measured::Measured;
use super::study::Study;
use super::sweep::{Run, Sweep};
use super::thresholds as limit;
use super::verdicts::Diagnosis;
use crate::trial::DiagnosticRow;

/// Trials whose training losses all become flat at about one level, over several learning rates.
struct Common<'a> {
    usable: Vec<&'a Diagnosis>,
    low: f64,
    high: f64,
    /// Greatest learning rate divided by the least.
    span: f64,
    /// The loss of the best model that ignores its input.
    chance: f64,
}

fn common<'a>(judged: &[&'a Diagnosis], rates: &[f64], chance: Option<f64>, seed_sd: f64) -> Option<Common<'a>> {
    let chance = chance?;
    let usable: Vec<&Diagnosis> = judged.iter().copied().filter(|diagnosis| diagnosis.shape.survived()).collect();
    let levels: Vec<f64> = usable.iter().map(|diagnosis| diagnosis.detection.tail.level).collect();
    let ((low, high), (slow, fast)) = (range(&levels)?, range(rates)?);
    let flat = usable.iter().all(|diagnosis| diagnosis.detection.is_flat());
    let close = high - low <= (2.0 * seed_sd).max(limit::NEIGHBOUR * chance);
    (usable.len() > 1 && flat && close && fast > slow).then_some(Common {
        usable,
        low,
        high,
        span: fast / slow,
        chance,
    })
}

/// Every usable trial is flat at about one level, well above zero, over learning rates that span a factor of ten.
fn saturated(common: &Common<'_>) -> Option<String> {
    let Common { usable, low, high, span, chance } = common;
    // At guessing, nothing is learned, and it may well be the learning rate.
    let is_guess = *high >= limit::AT_PRIOR * chance;
    if usable.len() < 3 || *low <= limit::HIGH_FLOOR * chance || is_guess || *span < 10.0 {
        return None;
    }
    let (low, high) = (format!("{low:.3}"), format!("{high:.3}"));
    let levels = if low == high { format!("at {low}") } else { format!("between {low} and {high}") };
    Some(format!(
        "The training losses of all {} usable trials become flat {levels}, although their learning rates differ by a factor of {span:.0}: the learning rate is not the limit. Fit sixteen examples alone (data.limit: 16, steps: 1000). If that works, check labels and data; if not, check freeze, dropout and max_length.",
        usable.len(),
    ))
}

/// Flat at the level that wrong labels would set, with the accuracy that they would leave. `accuracy`: the best, with its
/// standard error.
fn label_floor(common: &Common<'_>, classes: usize, accuracy: (f64, f64)) -> Option<String> {
    let Common { usable, low, high, chance, .. } = common;
    let level = f64::midpoint(*low, *high);
    let wrong = wrong_labels(level, classes)?;
    let fits = (accuracy.0 - (1.0 - wrong)).abs() <= 2.0 * accuracy.1;
    (level > limit::FITTED * chance && level < limit::AT_PRIOR * chance && fits).then(|| {
        format!(
            "The training losses of all {} usable trials become flat at {level:.3}, with an accuracy of {:.0} %: {:.0} % of wrong labels would give the same. Check the examples with the highest loss first.",
            usable.len(),
            accuracy.0 * 100.0,
            wrong * 100.0
        )
    })
}

/// The share eta of wrong labels, spread evenly over the other classes, whose least loss is `level`: h(eta) + eta ln(C - 1) =
/// level, where h is the binary entropy. None if the level is above that of random labels.
fn wrong_labels(level: f64, classes: usize) -> Option<f64> {
    let others = classes.checked_sub(1).filter(|others| *others > 0)? as f64;
    let floor = |eta: f64| -eta * eta.ln() - (1.0 - eta) * (1.0 - eta).ln() + eta * others.ln();
    // The floor rises up to the share at which the labels are random.
    let (mut low, mut high) = (1e-9, others / (others + 1.0));
    if !(floor(low)..floor(high)).contains(&level) {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if floor(middle) < level { low = middle } else { high = middle }
    }
    Some(low)
}

/// The best accuracy of all `logs` and its standard error (1.5 % where the size of the evaluation set is unknown).
fn best_accuracy<'a>(logs: impl Iterator<Item = impl Borrow<Measured<'a>>>) -> Option<(f64, f64)> {
    let best = |log: &Measured<'_>| {
        let best = log.accuracy.iter().map(|point| point.y).filter(|y| y.is_finite()).reduce(f64::max)?;
        let n = log.diagnostics.last().map_or(0, DiagnosticRow::examples);
        Some((best, if n > 0 { (best * (1.0 - best) / n as f64).sqrt() } else { 0.015 }))
    };
    logs.filter_map(|log| best(log.borrow())).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// What a common level says: that of wrong labels, or that the learning rate is not the limit.
fn floors(
    common: Option<Common<'_>>,
    classes: usize,
    accuracy: Option<(f64, f64)>,
) -> Vec<(FindingKind, Option<String>)> {
    let Some(common) = common else { return Vec::new() };
    let labels = accuracy.and_then(|accuracy| label_floor(&common, classes, accuracy));
    let rest = saturated(&common).filter(|_| labels.is_none());
    vec![(FindingKind::LabelFloor, labels), (FindingKind::Saturated, rest)]
}

/// The common floor of logs of unknown settings.
pub fn floors_of_logs(logs: &[(&Measured<'_>, &Diagnosis)]) -> Vec<(FindingKind, Option<String>)> {
    let judged: Vec<&Diagnosis> = logs.iter().map(|(_, diagnosis)| *diagnosis).collect();
    let peaks: Vec<f64> = logs
        .iter()
        .filter_map(|(log, _)| log.lr.iter().map(|rate| rate.y).filter(|y| *y > 0.0).reduce(f64::max))
        .collect();
    let prior = logs.first().map_or(&[][..], |(log, _)| log.train_prior);
    let chance = logs.first().and_then(|(log, _)| log.train_chance());
    let common = common(&judged, &peaks, chance, 0.0);
    floors(common, prior.len(), best_accuracy(logs.iter().map(|(log, _)| *log)))
}

/// The common floor of the trials of a sweep.
pub fn floors_of_sweep(sweep: &Sweep, study: &Study) -> Vec<(FindingKind, Option<String>)> {
    let judged: Vec<&Diagnosis> = study.diagnoses.iter().collect();
    let usable: Vec<&Run> =
        sweep.runs.iter().zip(&study.shapes).filter(|(_, shape)| shape.survived()).map(|(run, _)| run).collect();
    let rates: Vec<f64> = usable.iter().map(|run| run.trial.config.lr).collect();
    // The curves of one trial at a time: those of 100,000 are gigabytes.
    let logs = || usable.iter().map(|run| run.measured());
    let plain = logs().filter(Measured::is_plain_classification).map(|log| log.train_prior.len());
    let classes = plain.into_iter().find(|classes| *classes > 0).unwrap_or(0);
    let chance = logs().find_map(|log| log.train_chance());
    let common = common(&judged, &rates, chance, study.seed_sd.unwrap_or(0.0));
    floors(common, classes, best_accuracy(logs()))
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    Some((values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{self, axis};
    use super::*;

    fn found(sweep: &Sweep, kind: FindingKind) -> String {
        let floors = floors_of_sweep(sweep, &Study::of(sweep));
        floors.into_iter().find(|(found, _)| *found == kind).and_then(|(_, text)| text).unwrap_or_default()
    }

    /// Trials at three learning rates whose training and evaluation losses fall to `level`.
    fn at_one_level(level: f32, accuracy: f32) -> Sweep {
        let mut sweep = synthetic::sweep("s", &[axis("lr", &["3e-6", "1e-5", "3e-5"])], 120);
        for run in &mut sweep.runs {
            for (k, row) in run.evals.iter_mut().enumerate() {
                (row.eval_loss, row.accuracy) = (level + 0.2 * 0.5_f32.powi(k as i32), accuracy);
                row.train_probe_loss = row.eval_loss;
            }
            run.metrics.iter_mut().for_each(|row| row.train_loss = level + 0.29 * 0.9_f32.powi(row.step as i32));
        }
        sweep
    }

    /// h(0.1) = 0.325: the floor that a tenth of wrong labels sets for two classes.
    #[test]
    fn a_level_and_an_accuracy_that_wrong_labels_explain() {
        insta::assert_snapshot!(found(&at_one_level(0.325, 0.9), FindingKind::LabelFloor), @"The training losses of all 3 usable trials become flat at 0.325, with an accuracy of 90 %: 10 % of wrong labels would give the same. Check the examples with the highest loss first.");
        assert_eq!(found(&at_one_level(0.325, 0.9), FindingKind::Saturated), "");
        assert_eq!(found(&at_one_level(0.325, 0.8), FindingKind::LabelFloor), "", "the accuracy tells otherwise");
        assert_eq!(found(&at_one_level(0.02, 0.99), FindingKind::LabelFloor), "", "fitted");
        assert!((wrong_labels(0.325, 2).unwrap() - 0.1).abs() < 1e-3);
        assert!((wrong_labels(3_f64.ln() - 1e-9, 3).unwrap() - 2.0 / 3.0).abs() < 1e-3);
        assert_eq!(wrong_labels(2.0, 2), None);
    }

    #[test]
    fn one_level_over_all_rates_is_not_the_rates() {
        let sweep = at_one_level(0.4, 0.6);
        assert!(
            found(&sweep, FindingKind::Saturated)
                .starts_with("The training losses of all 3 usable trials become flat at 0.400")
        );
    }
}
