//! The diagnosis of one trial: the shape of its evaluation loss, the trend of its training loss, and the causes.

use super::advice::advise;
use super::case::Case;
use super::detector::Detection;
use super::measured::Measured;
use super::rules;
use super::shape::{Shape, verdict};
use crate::trial::{Cause, Reason, Status, Verdict};

/// What is known of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// What became of the evaluation loss.
    pub shape: Shape,
    /// What the training loss does at the end.
    pub detection: Detection,
    /// Causes, the primary one first; then notes. Never empty.
    pub verdicts: Vec<Verdict>,
}

impl Diagnosis {
    /// The primary cause, if a rule found one.
    pub fn cause(&self) -> Option<&Verdict> {
        self.verdicts.first().filter(|verdict| verdict.is_cause())
    }
}

/// Whether a verdict says that the learning rate is too high.
pub fn blames_a_high_rate(verdict: &Verdict) -> bool {
    let by_name = matches!(verdict.id.cause(), Some(Cause::Overshoot | Cause::AfterWarmup | Cause::NoiseFloor));
    verdict.is_cause() && (by_name || verdict.reason == Some(Reason::RateTooHigh))
}

/// Everything that the curves of one trial say. `delta`: the smallest change of the evaluation loss that counts, in nats.
pub fn diagnose(measured: &Measured<'_>, status: Status, delta: f64) -> Diagnosis {
    let case = Case::of(measured, status, delta);
    let mut verdicts = match case.shape {
        // A trial that has not ended may still change.
        Shape::Unfinished | Shape::Failed => Vec::new(),
        _ => rules::found(&case),
    };
    if !verdicts.first().is_some_and(Verdict::is_cause) {
        verdicts.insert(0, rules::without_cause(&case));
    }
    for verdict in &mut verdicts {
        verdict.advice = advise(verdict, &case);
    }
    Diagnosis { shape: case.shape, detection: case.detection, verdicts }
}

/// What the curves of a trial that has ended say by themselves, with the least tolerance: first the shape of the evaluation
/// loss, then the causes and notes.
pub fn verdicts(measured: &Measured<'_>, status: Status) -> Vec<Verdict> {
    let delta = measured.least_change();
    let Diagnosis { shape, verdicts, .. } = diagnose(measured, status, delta);
    // A curve that rises at the end was flat before.
    let flat = match shape {
        Shape::Overfits { onset, .. } => Some(Shape::Plateaued { onset }),
        _ => None,
    };
    let shapes = [shape].into_iter().chain(flat).map(|shape| verdict(measured, shape, delta));
    shapes.chain(verdicts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::measured::LEAST_DELTA;
    use crate::trial::{EvalRow, Metric, MetricRow, Scores, TrialConfig, VerdictKind};

    fn evals(rows: &[(f32, f32)]) -> Vec<EvalRow> {
        let row = |(i, &(eval_loss, accuracy)): (usize, &(f32, f32))| EvalRow {
            step: 10 * i as u64,
            eval_loss,
            accuracy,
            macro_f1: accuracy,
            train_probe_loss: eval_loss,
            scores: Scores::default(),
        };
        rows.iter().enumerate().map(row).collect()
    }

    fn metrics(losses: &[f32]) -> Vec<MetricRow> {
        let row = |(i, &train_loss): (usize, &f32)| MetricRow {
            step: i as u64 + 1,
            epoch: 0.0,
            train_loss,
            lr: 1e-4,
            grad_norm: 2.5,
            tokens: 1,
            seconds: 0.0,
        };
        losses.iter().enumerate().map(row).collect()
    }

    fn text(metrics: &[MetricRow], evals: &[EvalRow]) -> String {
        let measured = Measured { eval_prior: &[0.5, 0.5], steps: 60, ..Measured::of(metrics, evals) };
        let verdicts = verdicts(&measured, Status::Finished);
        let shapes = verdicts.iter().filter(|verdict| verdict.kind == VerdictKind::Shape);
        let lines = shapes.map(|verdict| format!("{} {:?}: {}", verdict.id, verdict.step, verdict.text));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// 95 % of the labels are one class: a fresh head starts far above chance, which is 0.199.
    #[test]
    fn a_loss_that_has_just_fallen_to_chance_is_not_stuck() {
        let shape = |losses: &[f32]| {
            let rows = evals(&losses.iter().map(|loss| (*loss, 0.95)).collect::<Vec<_>>());
            let measured = Measured { eval_prior: &[0.95, 0.05], steps: 60, ..Measured::of(&[], &rows) };
            diagnose(&measured, Status::Finished, LEAST_DELTA).shape
        };
        assert_eq!(shape(&[0.67, 0.205, 0.204, 0.204]), Shape::Plateaued { onset: 10 });
        assert_eq!(shape(&[0.67, 0.205, 0.204, 0.204, 0.204, 0.204]), Shape::Stuck);
        assert_eq!(shape(&[0.205, 0.205, 0.204, 0.204]), Shape::Stuck);
    }

    /// Its best checkpoint is better than guessing, and the training loss shows that it learned.
    #[test]
    fn a_good_early_checkpoint_of_a_model_that_overfits_is_not_stuck() {
        let shape = |lowest: f32, train: f32| {
            let rows = [(0.72, 0.5), (lowest, 0.55), (0.7, 0.52), (0.75, 0.52), (0.8, 0.51), (0.9, 0.52)];
            let (metrics, evals) = (metrics(&[0.7, 0.6, 0.5, train, train, train, train, train]), evals(&rows));
            let measured = Measured { eval_prior: &[0.5, 0.5], steps: 60, ..Measured::of(&metrics, &evals) };
            let mut measured = Measured { probe: Vec::new(), ..measured };
            let finished = diagnose(&measured, Status::Finished, LEAST_DELTA).shape;
            measured.is_outdone = true;
            (finished, diagnose(&measured, Status::Stopped, LEAST_DELTA).shape)
        };
        let overfits = Shape::Overfits { onset: 10, from: 20 };
        assert_eq!(shape(0.63, 0.45), (overfits, overfits));
        assert_eq!(shape(0.63, 0.69).0, Shape::Stuck, "the training loss never fell");
        let (finished, stopped) = shape(0.685, 0.45);
        assert_eq!(finished, Shape::Stuck, "never clearly below chance");
        assert!(!stopped.failed(), "others were better at that step, and its other steps are not known: {stopped:?}");
    }

    /// On unequal classes a model that has memorised its training set may answer worse than the majority class, and order the
    /// examples better than a guess. In a sweep that ranks by a score, the order alone shows that it has learned.
    #[test]
    fn what_ranks_better_than_a_guess_is_not_stuck() {
        let shape = |auroc: f32, train: f32, metric: Metric| {
            let mut rows = evals(&[(1.11, 0.5), (1.0, 0.5), (1.2, 0.46), (1.5, 0.46), (1.7, 0.46), (1.75, 0.46)]);
            for row in &mut rows {
                row.train_probe_loss = train;
                row.scores.auroc = Some(if row.step == 0 { 0.5 } else { auroc });
            }
            let config = TrialConfig { metric, ..TrialConfig::default() };
            let measured = Measured {
                eval_prior: &[0.25, 0.2, 0.55],
                eval_examples: Some(400),
                steps: 60,
                config: Some(&config),
                ..Measured::of(&[], &rows)
            };
            diagnose(&measured, Status::Finished, LEAST_DELTA).shape
        };
        assert!(matches!(shape(0.63, 0.001, Metric::EvalLoss), Shape::Overfits { .. }));
        assert_eq!(shape(0.52, 0.001, Metric::EvalLoss), Shape::Stuck, "within the error of a guess");
        assert_eq!(shape(0.63, 1.0, Metric::EvalLoss), Shape::Stuck, "its loss says so");
        assert!(!shape(0.63, 1.0, Metric::MacroF1).failed(), "its loss is not what counts");
        assert_eq!(shape(0.52, 1.0, Metric::MacroF1), Shape::Stuck);
    }

    /// The loss of an over-confident model is far above guessing. The answers of its best evaluation, whose weights are kept, are
    /// not those of a guess.
    #[test]
    fn answers_better_than_guesses_are_not_stuck_where_a_score_counts() {
        let shape = |mcc: [f32; 6], metric: Metric| {
            let mut rows = evals(&[(0.49, 0.86), (2.0, 0.86), (9.0, 0.86), (18.8, 0.87), (15.0, 0.86), (14.0, 0.86)]);
            for (row, mcc) in rows.iter_mut().zip(mcc) {
                row.scores.mcc = Some(mcc);
            }
            let config = TrialConfig { metric, ..TrialConfig::default() };
            let measured = Measured {
                eval_prior: &[0.87, 0.08, 0.05],
                eval_examples: Some(120),
                steps: 60,
                config: Some(&config),
                ..Measured::of(&[], &rows)
            };
            diagnose(&measured, Status::Finished, LEAST_DELTA).shape
        };
        let steady = [0.0, 0.1, 0.2, 0.3, 0.3, 0.3];
        assert_eq!(shape(steady, Metric::EvalLoss), Shape::Stuck, "its loss is what counts");
        assert!(!shape(steady, Metric::Accuracy).failed());
        assert!(
            !shape([0.0, 0.1, 0.5, 0.0, 0.0, 0.0], Metric::MacroF1).failed(),
            "one evaluation, far beyond its error"
        );
        assert_eq!(shape([0.0, 0.1, 0.2, 0.0, 0.0, 0.0], Metric::MacroF1), Shape::Stuck);
    }

    #[test]
    fn the_words() {
        let flat = [(0.70, 0.5), (0.45, 0.7), (0.36, 0.8), (0.31, 0.85), (0.3, 0.86), (0.3, 0.86), (0.3, 0.86)];
        insta::assert_snapshot!(text(&[], &evals(&flat)), @"plateaued Some(30): plateaued at step 30: eval loss 0.310, no gain above 0.010 up to step 60");
        let stuck = [(0.70, 0.5), (0.69, 0.5), (0.70, 0.52), (0.693, 0.5), (0.69, 0.5)];
        insta::assert_snapshot!(text(&[], &evals(&stuck)), @"stuck_at_chance None: stuck at chance: eval loss never below 0.690, chance is 0.693");
        let by_chance = [(0.75, 0.5), (0.72, 0.57), (0.71, 0.57), (0.71, 0.57), (0.71, 0.57), (0.71, 0.57)];
        assert!(text(&[], &evals(&by_chance)).starts_with("stuck_at_chance"));
        let collapsed = [(0.70, 0.5), (0.45, 0.8), (0.40, 0.82), (0.69, 0.5), (0.69, 0.5), (0.69, 0.5)];
        insta::assert_snapshot!(text(&[], &evals(&collapsed)), @"collapsed Some(30): collapsed at step 30: eval loss 0.400 at its best, 0.690 at step 50, chance is 0.693");
        // Overfitting lifts the loss above chance and leaves the accuracy: no collapse.
        let overfit = [(0.70, 0.5), (0.45, 0.8), (0.40, 0.82), (0.6, 0.8), (0.8, 0.8), (0.9, 0.8)];
        assert!(text(&[], &evals(&overfit)).starts_with("overfits Some(30)"));
        // Memorised before the first evaluation: above chance from then on, and not stuck.
        let mut memorised = evals(&[(0.70, 0.5), (0.9, 0.7), (1.2, 0.7), (1.5, 0.68), (1.7, 0.7), (1.8, 0.7)]);
        assert!(text(&[], &memorised).starts_with("overconfident"));
        for row in &mut memorised {
            row.train_probe_loss = 0.01;
        }
        assert!(text(&[], &memorised).starts_with("overfits Some(10)"));
        insta::assert_snapshot!(text(&metrics(&[0.7, 3.2, f32::NAN]), &evals(&flat[..1])), @"nan Some(3): NaN at step 3: train loss 3.200, gradient norm 2.500 before it");
        insta::assert_snapshot!(text(&metrics(&[0.7, 1.0, 2.0, 2.5]), &evals(&flat[..1])), @"diverged Some(4): diverged at step 4: train loss 2.500");
        insta::assert_snapshot!(text(&[], &[]), @"too_short None: too few evaluations to see a shape: 0");
    }
}
