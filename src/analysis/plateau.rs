//! When an evaluation loss stops falling, and what became of a trial: the judgement of one curve.
//!
//! Every trial is judged alone, before anything is averaged: fine-tuning is bimodal over seeds (Dodge et al. 2020,
//! Mosbach et al. 2021), and the mean of a good run and a failed one is a number that no run had.

use super::curve::{self, Point};
use super::measured::{Measured, chance};
use super::rules::{Diagnosis, diagnose};
use crate::trial::{Status, Verdict};

/// Least tolerance, in nats: a smaller change of the evaluation loss is nobody's concern.
pub const LEAST_DELTA: f64 = 0.01;
/// The smoother's reach to each side, in evaluation intervals.
pub const EVAL_HALF_WIDTH: f64 = 2.0;
/// An onset in this last share of the run is no plateau yet.
const LATE: f64 = 0.15;
/// Shares of the chance loss: above `AT_CHANCE` nothing was learned, below `BELOW_CHANCE` something surely was.
const AT_CHANCE: f64 = 0.92;
const BELOW_CHANCE: f64 = 0.85;
/// A training loss below this share of chance at the end was learned, whatever the evaluation says.
const BY_HEART: f64 = 0.5;
/// Accuracy above the majority class that still counts as the majority class.
const MAJORITY_MARGIN: f64 = 0.03;
/// A run that ended early with a loss above this multiple of its start has run away. Below the three at which the
/// trainer ends a trial, whose smoothing is its own.
const RUNAWAY: f64 = 2.0;
/// Newest losses that show a run-away.
const RUNAWAY_TAIL: usize = 5;
/// Evaluations that a rise must last to the end: one high value is noise.
const RISE_EVALS: usize = 3;
/// Evaluations below which a curve has no shape.
const FEWEST_EVALS: usize = 3;

/// Evaluations below which smoothing would invent a shape.
const FEWEST_TO_SMOOTH: usize = 8;
/// A loss that came below this part of chance has moved, however slowly.
const MOVED: f64 = 0.98;

/// What became of a trial. Steps are optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// Flat from `onset` to the end.
    Plateaued { onset: u64 },
    /// The last gain of more than delta came in the last 15 % of the run.
    StillImproving { onset: u64 },
    /// Flat from `onset`, and more than delta above its best from `from` to the end.
    Overfits { onset: u64, from: u64 },
    /// Learned something, and was back at chance from `at` to the end.
    Collapsed { at: u64 },
    /// Never better than always answering the most frequent class.
    Stuck,
    /// A loss, or the gradient's norm, was NaN or infinite first at `step`.
    NotFinite { step: u64 },
    /// The loss stayed finite and ran away.
    Diverged { step: u64 },
    /// No outcome: bad input, crash, lack of memory.
    Failed,
    /// Pending or running.
    Unfinished,
    /// Ended well with too few evaluations to see a shape.
    TooShort,
}

impl Judgement {
    /// Whether the trial's losses may enter a mean.
    pub fn survived(self) -> bool {
        matches!(self, Self::Plateaued { .. } | Self::StillImproving { .. } | Self::Overfits { .. } | Self::TooShort)
    }

    /// Whether the trial ended without a usable model.
    pub fn failed(self) -> bool {
        !self.survived() && self != Self::Unfinished
    }

    /// Stable name, for `outcome.json`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Plateaued { .. } => "plateaued",
            Self::StillImproving { .. } => "still_improving",
            Self::Overfits { .. } => "overfits",
            Self::Collapsed { .. } => "collapsed",
            Self::Stuck => "stuck_at_chance",
            Self::NotFinite { .. } => "nan",
            Self::Diverged { .. } => "diverged",
            Self::Failed => "failed_to_run",
            Self::Unfinished => "unfinished",
            Self::TooShort => "too_short",
        }
    }

    /// The word for trials of this kind, where they are counted.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Collapsed { .. } => "collapsed",
            Self::Stuck => "stuck",
            Self::NotFinite { .. } => "NaN",
            Self::Diverged { .. } => "diverged",
            Self::Failed => "failed to run",
            Self::Plateaued { .. } => "plateaued",
            Self::StillImproving { .. } => "still improving",
            Self::Overfits { .. } => "overfit",
            Self::Unfinished => "unfinished",
            Self::TooShort => "too short",
        }
    }

    /// The few words of a table cell.
    pub fn label(self) -> String {
        match self {
            Self::Plateaued { .. } | Self::StillImproving { .. } | Self::Failed | Self::Unfinished => {
                self.kind().into()
            }
            Self::Overfits { from, .. } => format!("overfits from {from}"),
            Self::Collapsed { at } => format!("collapsed at {at}"),
            Self::Stuck => "stuck at chance".into(),
            Self::NotFinite { step } => format!("NaN at {step}"),
            Self::Diverged { step } => format!("diverged at {step}"),
            Self::TooShort => "too few evaluations".into(),
        }
    }

    /// First step of the plateau, where there is one.
    pub fn onset(self) -> Option<u64> {
        match self {
            Self::Plateaued { onset } | Self::StillImproving { onset } | Self::Overfits { onset, .. } => Some(onset),
            _ => None,
        }
    }

    /// As [`Self::onset`], where the curve has settled: what still improves has no plateau yet.
    pub fn plateau(self) -> Option<u64> {
        self.onset().filter(|_| !matches!(self, Self::StillImproving { .. }))
    }

    /// First step of the rise, where there is one.
    pub fn rises(self) -> Option<u64> {
        match self {
            Self::Overfits { from, .. } => Some(from),
            _ => None,
        }
    }

    /// Step that the label speaks of.
    fn step(self) -> Option<u64> {
        match self {
            Self::Collapsed { at: step } | Self::NotFinite { step } | Self::Diverged { step } => Some(step),
            _ => self.rises().or(self.onset()),
        }
    }
}

/// Whether a verdict of this [`Judgement::id`] keeps a trial's losses out of every mean.
pub fn is_lost(id: &str) -> bool {
    matches!(id, "stuck_at_chance" | "collapsed" | "nan" | "diverged" | "failed_to_run")
}

/// The evaluation loss under the centred smoother; as measured where there are too few points to smooth.
pub fn smoothed_eval(points: &[Point]) -> Vec<Point> {
    match curve::interval(points) {
        Some(interval) if points.len() >= FEWEST_TO_SMOOTH => curve::smooth(points, EVAL_HALF_WIDTH * interval),
        _ => points.to_vec(),
    }
}

/// Judges how a trial with this curve went, `delta` being the change that counts (nats).
pub fn judge(measured: &Measured<'_>, status: Status, delta: f64) -> Judgement {
    if status == Status::Failed {
        return Judgement::Failed;
    }
    if let Some(step) = first_not_finite(measured) {
        return Judgement::NotFinite { step };
    }
    match status {
        Status::Diverged => return Judgement::Diverged { step: measured.end() },
        Status::Pending | Status::Running => return Judgement::Unfinished,
        _ if ran_away(measured) => return Judgement::Diverged { step: measured.end() },
        _ => {}
    }
    let points = &measured.eval;
    if points.len() < FEWEST_EVALS {
        return Judgement::TooShort;
    }
    let smoothed = smoothed_eval(points);
    against_chance(measured, points, &smoothed).unwrap_or_else(|| shape(&smoothed, delta))
}

/// Plateau, overfitting or neither of a smoothed, finite curve.
///
/// The onset is the first step after which no value is lower by more than `delta`; the curve rises from the step after
/// which it stays more than `delta` above its lowest point, if that is three evaluations or more.
pub fn shape(smoothed: &[Point], delta: f64) -> Judgement {
    let lowest = smoothed.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    let settled = |point: &Point| point.y <= lowest + delta;
    let (Some(first), Some(end)) = (smoothed.iter().find(|point| settled(point)), smoothed.last()) else {
        return Judgement::TooShort;
    };
    let onset = first.x as u64;
    let last = smoothed.iter().rposition(settled).filter(|last| last + RISE_EVALS < smoothed.len());
    match last.and_then(|last| smoothed.get(last + 1)) {
        Some(rise) => Judgement::Overfits { onset, from: rise.x as u64 },
        None if first.x > end.x * (1.0 - LATE) => Judgement::StillImproving { onset },
        None => Judgement::Plateaued { onset },
    }
}

/// Stuck or collapsed: the curve ends at chance or above, and the answers are the majority's. Overfitting lifts a loss
/// above chance too, and leaves the accuracy; a loss that falls slowly and ends below chance is on its way.
fn against_chance(measured: &Measured<'_>, points: &[Point], smoothed: &[Point]) -> Option<Judgement> {
    let chance = chance(measured.eval_prior)?;
    let majority = measured.eval_prior.iter().copied().fold(0.0, f64::max);
    let guesses = |accuracy: f64| accuracy <= majority + MAJORITY_MARGIN;
    let end = smoothed.last()?;
    // One good evaluation is enough to have learned: the smoother may hide it.
    let lowest = points.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    // A loss that was never below chance is stuck there, whatever luck did to the accuracy.
    let knows = measured.accuracy.last().is_some_and(|last| !guesses(last.y));
    let lucky = knows && lowest < chance;
    // Training texts learned by heart: what the evaluation loss does then is overfitting, from the first step if need be.
    let by_heart = knows && measured.probe.last().is_some_and(|last| last.y < BY_HEART * chance);
    if end.y < AT_CHANCE * chance || lucky || by_heart {
        return None;
    }
    let best = measured.accuracy.iter().map(|point| point.y).fold(0.0, f64::max);
    let clearly_better = best > majority + 2.0 * MAJORITY_MARGIN;
    let learned = lowest < BELOW_CHANCE * chance || (lowest < MOVED * chance && clearly_better);
    let learned_below = f64::max(AT_CHANCE * chance, f64::midpoint(lowest, chance));
    let back = points.iter().rposition(|point| point.y < learned_below).filter(|_| learned);
    match back.and_then(|last| points.get(last + 1)) {
        Some(at) => Some(Judgement::Collapsed { at: at.x as u64 }),
        None if end.y < MOVED * chance => None,
        None => Some(Judgement::Stuck),
    }
}

fn first_not_finite(measured: &Measured<'_>) -> Option<u64> {
    let curves = [&measured.train, &measured.grad_norm, &measured.eval].into_iter();
    let first = curves.filter_map(|curve| curve.iter().find(|point| !point.y.is_finite()));
    first.map(|point| point.x as u64).min()
}

/// Whether the trial ended early with a loss far above its start.
fn ran_away(measured: &Measured<'_>) -> bool {
    let losses = &measured.train;
    let tenth = (losses.len() / 10).max(1);
    let mean = |points: &[Point]| points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64;
    match (losses.get(..tenth), losses.get(losses.len().saturating_sub(RUNAWAY_TAIL.min(tenth))..)) {
        (Some(start), Some(end)) => measured.end() < measured.steps && mean(end) > RUNAWAY * mean(start),
        _ => false,
    }
}

/// What the curves of one trial that has ended say by themselves, with the least tolerance: first what became of the
/// evaluation loss, then why, the primary cause first.
pub fn verdicts(measured: &Measured<'_>, status: Status) -> Vec<Verdict> {
    let Diagnosis { judgement, verdicts, .. } = diagnose(measured, status, LEAST_DELTA);
    // A curve that rises at the end was flat before.
    let flat = match judgement {
        Judgement::Overfits { onset, .. } => Some(Judgement::Plateaued { onset }),
        _ => None,
    };
    let shapes = [judgement].into_iter().chain(flat).map(|judgement| verdict(measured, judgement, LEAST_DELTA));
    shapes.chain(verdicts).collect()
}

/// `judgement` in plain words, with the numbers it rests on.
pub fn verdict(measured: &Measured<'_>, judgement: Judgement, delta: f64) -> Verdict {
    let raw = &measured.eval;
    let smoothed = smoothed_eval(raw);
    let at = |step: u64| smoothed.iter().find(|point| point.x as u64 == step).map_or(f64::NAN, |point| point.y);
    let lowest = raw.iter().map(|point| point.y).filter(|y| y.is_finite()).fold(f64::INFINITY, f64::min);
    let last = smoothed.last().map_or(f64::NAN, |point| point.y);
    let chance = chance(measured.eval_prior).unwrap_or(f64::NAN);
    let end = measured.end();
    let text = match judgement {
        Judgement::Plateaued { onset } => {
            format!("plateaued at step {onset}: eval loss {:.3}, no gain above {delta:.3} up to step {end}", at(onset))
        }
        Judgement::StillImproving { onset } => {
            format!("still improving: eval loss {last:.3} at step {end}, gains above {delta:.3} up to step {onset}")
        }
        Judgement::Overfits { onset, from } => format!(
            "overfits from step {from}: eval loss {lowest:.3} at its best (flat from step {onset}), {last:.3} at step {end}"
        ),
        Judgement::Collapsed { at } => format!(
            "collapsed at step {at}: eval loss {lowest:.3} at its best, {last:.3} at step {end}, chance is {chance:.3}"
        ),
        Judgement::Stuck => format!("stuck at chance: eval loss never below {lowest:.3}, chance is {chance:.3}"),
        Judgement::NotFinite { step } => not_finite(measured, step),
        Judgement::Diverged { step } => {
            let loss = measured.train.last().map_or(f64::NAN, |point| point.y);
            format!("diverged at step {step}: train loss {loss:.3}")
        }
        Judgement::Failed => "failed to run: no outcome".into(),
        Judgement::Unfinished => format!("unfinished: at step {end} of {}", measured.steps),
        Judgement::TooShort => format!("too few evaluations to see a shape: {}", raw.len()),
    };
    Verdict { id: judgement.id().into(), step: judgement.step(), text, ..Verdict::default() }
}

/// Loss and gradient norm before the first value that is none.
fn not_finite(measured: &Measured<'_>, step: u64) -> String {
    let before = |curve: &[Point]| curve.iter().rfind(|point| (point.x as u64) < step).map(|point| point.y);
    match (before(&measured.train), before(&measured.grad_norm)) {
        (Some(loss), Some(norm)) => {
            format!("NaN at step {step}: train loss {loss:.3}, gradient norm {norm:.3} before it")
        }
        (Some(loss), None) => format!("NaN at step {step}: train loss {loss:.3} before it"),
        (None, _) => format!("NaN at step {step}: from the start"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{EvalRow, MetricRow, VerdictKind};

    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().enumerate().map(|(x, &y)| Point { x: 10.0 * x as f64, y }).collect()
    }

    fn check(values: &[f64], expected: Judgement) {
        assert_eq!(shape(&points(values), 0.01), expected, "{values:?}");
    }

    #[test]
    fn shapes() {
        check(&[0.7, 0.5, 0.4, 0.3, 0.3, 0.295, 0.3, 0.3, 0.3], Judgement::Plateaued { onset: 30 });
        check(&[0.7, 0.6, 0.5, 0.4, 0.3, 0.2], Judgement::StillImproving { onset: 50 });
        check(&[0.7, 0.4, 0.3, 0.3, 0.32, 0.35, 0.4], Judgement::Overfits { onset: 20, from: 40 });
        // A plateau on the way down is not the plateau.
        check(&[0.7, 0.7, 0.7, 0.5, 0.3, 0.3, 0.3, 0.3], Judgement::Plateaued { onset: 40 });
        // A bump that comes back is no overfitting.
        check(&[0.7, 0.3, 0.5, 0.3, 0.3, 0.3], Judgement::Plateaued { onset: 10 });
        check(&[0.7, 0.8, 0.9, 1.0], Judgement::Overfits { onset: 0, from: 10 });
        // One high value at the end is no rise.
        check(&[0.7, 0.4, 0.3, 0.3, 0.3, 0.3, 0.4], Judgement::Plateaued { onset: 20 });
        check(&[], Judgement::TooShort);
        let plateaus = [
            Judgement::Plateaued { onset: 40 },
            Judgement::Overfits { onset: 20, from: 40 },
            Judgement::StillImproving { onset: 50 },
            Judgement::Stuck,
        ];
        assert_eq!(plateaus.map(Judgement::plateau), [Some(40), Some(20), None, None]);
    }

    fn evals(rows: &[(f32, f32)]) -> Vec<EvalRow> {
        let row = |(i, &(eval_loss, accuracy)): (usize, &(f32, f32))| EvalRow {
            step: 10 * i as u64,
            eval_loss,
            accuracy,
            macro_f1: accuracy,
            train_probe_loss: eval_loss,
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

    #[test]
    fn the_words() {
        let flat = [(0.70, 0.5), (0.45, 0.7), (0.36, 0.8), (0.31, 0.85), (0.3, 0.86), (0.3, 0.86), (0.3, 0.86)];
        insta::assert_snapshot!(text(&[], &evals(&flat)), @"plateaued Some(30): plateaued at step 30: eval loss 0.310, no gain above 0.010 up to step 60");
        let stuck = [(0.70, 0.5), (0.69, 0.5), (0.70, 0.52), (0.693, 0.5), (0.69, 0.5)];
        insta::assert_snapshot!(text(&[], &evals(&stuck)), @"stuck_at_chance None: stuck at chance: eval loss never below 0.690, chance is 0.693");
        let lucky = [(0.75, 0.5), (0.72, 0.57), (0.71, 0.57), (0.71, 0.57), (0.71, 0.57), (0.71, 0.57)];
        assert!(text(&[], &evals(&lucky)).starts_with("stuck_at_chance"));
        let collapsed = [(0.70, 0.5), (0.45, 0.8), (0.40, 0.82), (0.69, 0.5), (0.69, 0.5), (0.69, 0.5)];
        insta::assert_snapshot!(text(&[], &evals(&collapsed)), @"collapsed Some(30): collapsed at step 30: eval loss 0.400 at its best, 0.690 at step 50, chance is 0.693");
        // Overfitting lifts the loss above chance and leaves the accuracy: no collapse.
        let overfit = [(0.70, 0.5), (0.45, 0.8), (0.40, 0.82), (0.6, 0.8), (0.8, 0.8), (0.9, 0.8)];
        assert!(text(&[], &evals(&overfit)).starts_with("overfits Some(30)"));
        // Learned by heart before the first evaluation: above chance from then on, and yet not stuck.
        let mut by_heart = evals(&[(0.70, 0.5), (0.9, 0.7), (1.2, 0.7), (1.5, 0.68), (1.7, 0.7), (1.8, 0.7)]);
        assert!(text(&[], &by_heart).starts_with("stuck_at_chance"));
        for row in &mut by_heart {
            row.train_probe_loss = 0.01;
        }
        assert!(text(&[], &by_heart).starts_with("overfits Some(10)"));
        insta::assert_snapshot!(text(&metrics(&[0.7, 3.2, f32::NAN]), &evals(&flat[..1])), @"nan Some(3): NaN at step 3: train loss 3.200, gradient norm 2.500 before it");
        insta::assert_snapshot!(text(&metrics(&[0.7, 1.0, 2.0, 2.5]), &evals(&flat[..1])), @"diverged Some(4): diverged at step 4: train loss 2.500");
        insta::assert_snapshot!(text(&[], &[]), @"too_short None: too few evaluations to see a shape: 0");
    }

    proptest! {
        #[test]
        fn nothing_after_the_onset_is_lower_by_more_than_delta(values in proptest::collection::vec(0.0..1.0_f64, 1..40)) {
            let points = points(&values);
            let onset = shape(&points, 0.05).onset().unwrap();
            let after: Vec<f64> = points.iter().filter(|p| p.x as u64 >= onset).map(|p| p.y).collect();
            prop_assert!(after.iter().all(|later| after[0] - later <= 0.05 + 1e-12));
            let before = points.iter().filter(|p| (p.x as u64) < onset);
            prop_assert!(before.clone().all(|p| after.iter().any(|later| p.y - later > 0.05)));
        }
    }
}
