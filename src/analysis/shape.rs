//! The shape of one evaluation loss: when it stops falling, and what became of the trial.
//!
//! Every trial is judged alone before anything is averaged. Fine-tuning is bimodal over seeds (Dodge et al. 2020, Mosbach et
//! al. 2021): the mean of a good run and a failed one is a loss that no run had. Causes are left to [`super::rules`].

use super::curve::{self, Point};
use super::guessing::{constant_accuracy, guesses_uniformly};
use super::late_rise::{Rise, late_rise};
use super::measured::Measured;
use super::statistics::{come_down, median};
use super::thresholds as limit;
use crate::trial::{ShapeKind, Status, Verdict};
/// Half width of the smoother, in evaluation intervals.
pub const EVAL_HALF_WIDTH: f64 = 2.0;
/// An onset within this last share of the run is not a plateau yet.
const LATE: f64 = 0.15;
/// A final training loss below this share of chance shows that the training set was memorised.
const MEMORISED: f64 = 0.5;
/// A run that ended early with a loss above this multiple of its start has diverged. The trainer stops a trial at three times
/// the start, with another smoothing.
const DIVERGED: f64 = 2.0;
/// Number of last losses that show a divergence.
const DIVERGED_TAIL: usize = 5;
/// Number of last evaluations that must lie high. One high value is noise.
const RISE_EVALS: usize = 3;
/// With fewer evaluations a curve has no shape.
const FEWEST_EVALS: usize = 3;

/// With fewer evaluations smoothing would invent a shape.
const FEWEST_TO_SMOOTH: usize = 8;
/// Evaluations, and the share of their level within which all lie, that have not moved.
const UNMOVED_EVALS: usize = 5;
const UNMOVED: f64 = 0.05;
/// Number of last gradient norms that are no step that mixed-precision loss scaling skipped.
const NORMS_TO_THE_END: usize = 3;
/// Accuracies within this range are one number.
const CONSTANT_ACCURACY: f64 = 0.005;
/// A loss below this share of chance has moved, however slowly.
const MOVED: f64 = 0.98;
/// A loss below this share of chance is better than guessing, if the training loss fell too.
const CLEARLY_MOVED: f64 = 0.95;

/// The shape of an evaluation loss. Steps are optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Flat from `onset` to the end.
    Plateaued { onset: u64 },
    /// The last gain of more than delta came in the last 15 % of the run.
    StillImproving { onset: u64 },
    /// Flat from `onset`, and more than delta above its lowest value from `from` to the end.
    Overfits { onset: u64, from: u64 },
    /// The model learned something, and was back at chance from `at` to the end.
    Collapsed { at: u64 },
    /// Never better than the majority-class baseline.
    Stuck,
    /// Better than the majority class by its accuracy, and a loss never below chance: over-confident from the first evaluation.
    Overconfident,
    /// A loss or the gradient norm was first NaN or infinite at `step`.
    NotFinite { step: u64 },
    /// The loss stayed finite and grew far above its start.
    Diverged { step: u64 },
    /// There is no outcome: bad input, a crash, or lack of memory.
    Failed,
    /// Pending or running.
    Unfinished,
    /// Ended with too few evaluations to see a shape.
    TooShort,
}

impl Shape {
    /// Its stable name and its title.
    pub fn kind(self) -> ShapeKind {
        match self {
            Self::Plateaued { .. } => ShapeKind::Plateaued,
            Self::StillImproving { .. } => ShapeKind::StillImproving,
            Self::Overfits { .. } => ShapeKind::Overfits,
            Self::Collapsed { .. } => ShapeKind::Collapsed,
            Self::Stuck => ShapeKind::Stuck,
            Self::Overconfident => ShapeKind::Overconfident,
            Self::NotFinite { .. } => ShapeKind::NotFinite,
            Self::Diverged { .. } => ShapeKind::Diverged,
            Self::Failed => ShapeKind::Failed,
            Self::Unfinished => ShapeKind::Unfinished,
            Self::TooShort => ShapeKind::TooShort,
        }
    }

    /// Whether the trial ended without a usable model.
    pub fn failed(self) -> bool {
        self.kind().is_failure()
    }

    /// Whether the trial's losses may enter a mean.
    pub fn survived(self) -> bool {
        !self.failed() && self != Self::Unfinished
    }

    /// A few words for a table cell.
    pub fn label(self) -> String {
        let title = self.kind().title();
        match self {
            Self::Overfits { from, .. } => format!("{title} from {from}"),
            Self::Collapsed { at: step } | Self::NotFinite { step } | Self::Diverged { step } => {
                format!("{title} at {step}")
            }
            Self::TooShort => "too few evaluations".into(),
            _ => title.into(),
        }
    }

    /// First step of the plateau, if there is one.
    pub fn onset(self) -> Option<u64> {
        match self {
            Self::Plateaued { onset } | Self::StillImproving { onset } | Self::Overfits { onset, .. } => Some(onset),
            _ => None,
        }
    }

    /// First step of a plateau that has settled. A loss that still improves has none.
    pub fn plateau(self) -> Option<u64> {
        self.onset().filter(|_| !matches!(self, Self::StillImproving { .. }))
    }

    /// First step of the final rise, if there is one.
    pub fn rises(self) -> Option<u64> {
        match self {
            Self::Overfits { from, .. } => Some(from),
            _ => None,
        }
    }

    /// The step that the verdict names.
    fn step(self) -> Option<u64> {
        match self {
            Self::Collapsed { at: step } | Self::NotFinite { step } | Self::Diverged { step } => Some(step),
            _ => self.rises().or(self.onset()),
        }
    }
}

/// The evaluation loss under the centred smoother. With too few points it is returned as measured.
pub fn smoothed_eval(points: &[Point]) -> Vec<Point> {
    match curve::interval(points) {
        Some(interval) if points.len() >= FEWEST_TO_SMOOTH => curve::smooth(points, EVAL_HALF_WIDTH * interval),
        _ => points.to_vec(),
    }
}

/// Judges the shape of a trial's evaluation loss. `delta`: the smallest change that counts, in nats.
pub fn judge(measured: &Measured<'_>, status: Status, delta: f64) -> Shape {
    if status == Status::Failed {
        return Shape::Failed;
    }
    if let Some(step) = first_not_finite(measured, status) {
        return Shape::NotFinite { step };
    }
    match status {
        Status::Diverged => return Shape::Diverged { step: measured.end() },
        Status::Pending | Status::Running => return Shape::Unfinished,
        _ if has_diverged(measured) => return Shape::Diverged { step: measured.end() },
        _ => {}
    }
    let shape = of_evaluations(measured, delta);
    // A loss that comes back to guessing has collapsed.
    let diverges = |rise: &Rise| rise.is_above_all || !shape.failed();
    late_rise(measured).filter(diverges).map_or(shape, |Rise { step, .. }| Shape::Diverged { step })
}

fn of_evaluations(measured: &Measured<'_>, delta: f64) -> Shape {
    let points = &measured.eval;
    if points.len() < FEWEST_EVALS {
        return Shape::TooShort;
    }
    let smoothed = smoothed_eval(points);
    let found = match measured.eval_chance() {
        Some(chance) => against_chance(measured, points, &smoothed, chance),
        None => is_stuck_at_guessing(measured).then_some(Shape::Stuck),
    };
    // Whether it would have learned in its other steps is not known.
    let found = found.filter(|shape| !(measured.is_outdone && *shape == Shape::Stuck));
    found.unwrap_or_else(|| settle(&smoothed, delta))
}

/// The shape of a smoothed, finite curve: a plateau, a rise after it, or neither.
///
/// The onset is the first step after which no value is lower by more than `delta`. The curve rises from the step after
/// which it stays more than `delta` above its lowest point, if at least three evaluations do.
pub fn settle(smoothed: &[Point], delta: f64) -> Shape {
    let lowest = smoothed.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    let settled = |point: &Point| point.y <= lowest + delta;
    let (Some(first), Some(end)) = (smoothed.iter().find(|point| settled(point)), smoothed.last()) else {
        return Shape::TooShort;
    };
    let onset = first.x as u64;
    let last = smoothed.iter().rposition(settled).filter(|last| last + RISE_EVALS < smoothed.len());
    match last.and_then(|last| smoothed.get(last + 1)) {
        Some(rise) => Shape::Overfits { onset, from: rise.x as u64 },
        None if first.x > end.x - LATE * (end.x - begin(smoothed)) => Shape::StillImproving { onset },
        None => Shape::Plateaued { onset },
    }
}

/// The step at which the log of a curve begins: one interval before its first point. A resumed run does not begin at 0.
fn begin(curve: &[Point]) -> f64 {
    match curve {
        [first, second, ..] => (2.0 * first.x - second.x).max(0.0),
        _ => 0.0,
    }
}

/// Stuck or collapsed: the curve ends at chance or above, and the accuracy is that of the majority class. Overfitting also
/// lifts a loss above chance, but the accuracy stays. A loss that falls slowly and ends below chance is still learning.
fn against_chance(measured: &Measured<'_>, points: &[Point], smoothed: &[Point], chance: f64) -> Option<Shape> {
    let majority = measured.eval_prior.iter().copied().fold(0.0, f64::max);
    let guesses = |accuracy: f64| accuracy <= majority + limit::MAJORITY_MARGIN;
    let end = smoothed.last()?;
    // One good evaluation shows that the model learned. The smoother may hide it.
    let lowest = points.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    // A loss that was never below chance is stuck, even if the accuracy is above the baseline by chance.
    let accuracies = measured.accuracies();
    let above_majority = accuracies.last().is_some_and(|last| !guesses(*last));
    // Neither is one whose last accuracy alone is above it while the loss does not move.
    let stays_above = || accuracies.last_chunk::<3>().is_some_and(|last| !guesses(last.iter().sum::<f64>() / 3.0));
    let learned_something = above_majority && (lowest < MOVED * chance || lowest < chance && stays_above());
    // If the training set is memorised, a high evaluation loss is overfitting, even from the first evaluation.
    let knows_something = above_majority || measured.ranks_above_guessing();
    let memorised = knows_something && measured.probe.last().is_some_and(|last| last.y < MEMORISED * chance);
    let is_known_to_learn = learned_something || memorised || measured.scores_above_guessing();
    if end.y < limit::AT_PRIOR * chance || is_known_to_learn || is_on_its_way(points, smoothed, chance) {
        return None;
    }
    if is_surely_above(measured, &accuracies, majority) {
        return Some(Shape::Overconfident);
    }
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let clearly_better = best > majority + 2.0 * limit::MAJORITY_MARGIN;
    let learned = lowest < limit::BELOW_PRIOR * chance || (lowest < MOVED * chance && clearly_better);
    let learned_below = f64::max(limit::AT_PRIOR * chance, f64::midpoint(lowest, chance));
    let back = points.iter().rposition(|point| point.y < learned_below).filter(|_| learned);
    // A model that still knows its training data has not collapsed, however bad its last evaluation is.
    if back.is_some() && training_end(measured).is_some_and(|end| end < MEMORISED * chance) {
        return None;
    }
    match back.and_then(|last| points.get(last + 1)) {
        Some(at) => Some(Shape::Collapsed { at: at.x as u64 }),
        None if end.y < MOVED * chance || has_just_arrived(points, chance) || measured.learns_to_rank() => None,
        // An early checkpoint is better than guessing, and the training loss shows that the model learned.
        None if lowest < CLEARLY_MOVED * chance
            && training_end(measured).is_some_and(|end| end < limit::AT_PRIOR * chance) =>
        {
            None
        }
        None => Some(Shape::Stuck),
    }
}

/// Whether the loss fell from the level of a fresh head, far above chance, and was at chance in too few evaluations to say that
/// it stays there.
fn has_just_arrived(points: &[Point], chance: f64) -> bool {
    let is_above = |point: &&Point| point.y > limit::OVER_PRIOR * chance;
    let on_the_way = points.iter().take_while(is_above).count();
    on_the_way > 0 && (1..UNMOVED_EVALS).contains(&(points.len() - on_the_way))
}

/// The clean training loss at the end; where it was not measured, the median of the last training losses.
fn training_end(measured: &Measured<'_>) -> Option<f64> {
    let losses = &measured.train;
    let last = &losses[losses.len() - (losses.len() / 20).max(5).min(losses.len())..];
    let median = (!last.is_empty()).then(|| median(&last.iter().map(|point| point.y).collect::<Vec<_>>()));
    measured.probe.last().map(|point| point.y).or(median)
}

/// Whether the loss still falls from the level of a fresh head, which on unequal classes is far above chance.
fn is_on_its_way(points: &[Point], smoothed: &[Point], chance: f64) -> bool {
    let (Some(first), Some(end)) = (points.first(), smoothed.last()) else { return false };
    let lowest = smoothed.iter().map(|point| point.y).fold(f64::INFINITY, f64::min);
    end.y > limit::OVER_PRIOR * chance && end.y < MOVED * first.y && end.y <= lowest + 0.1 * (first.y - end.y)
}

/// Whether the last accuracies are above the majority class by more than two standard errors.
fn is_surely_above(measured: &Measured<'_>, accuracies: &[f64], majority: f64) -> bool {
    let Some(last) = accuracies.last_chunk::<3>() else { return false };
    let error = |n: u64| 2.0 * (majority * (1.0 - majority) / n as f64).sqrt();
    let margin = measured.eval_size().filter(|n| *n > 0).map_or(limit::SURE_MARGIN, error);
    last.iter().sum::<f64>() / 3.0 > majority + margin.max(limit::MAJORITY_MARGIN)
}

/// Whether evaluations without a known class prior show a model that guesses: the loss does not move, and lies at ln K of a few
/// classes, or the accuracy is 1/K or constant.
fn is_stuck_at_guessing(measured: &Measured<'_>) -> bool {
    let losses: Vec<f64> = measured.eval.iter().map(|point| point.y).collect();
    let accuracies = measured.accuracies();
    let span = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low
    };
    let middle = median(&losses);
    let is_unmoved = |losses: &[f64]| losses.len() >= UNMOVED_EVALS && span(losses) < UNMOVED * median(losses);
    let unmoved = is_unmoved(&losses);
    let at_uniform = is_uniform_guess(middle);
    let guess = |accuracy: f64| {
        (2..=limit::FEW_CLASSES).any(|classes| (accuracy - 1.0 / classes as f64).abs() < limit::MAJORITY_MARGIN / 2.0)
    };
    let constant = accuracies.len() >= UNMOVED_EVALS && span(&accuracies) < CONSTANT_ACCURACY;
    let guesses = accuracies.len() >= UNMOVED_EVALS && accuracies.iter().all(|accuracy| guess(*accuracy));
    let learns = accuracies.iter().any(|accuracy| *accuracy > limit::KNOWS) || train_falls(measured);
    // A head may come down to guessing first. Answers that are all along those of a guess show that it learns nothing else.
    let latter = &losses[losses.len() / 2..];
    let settles = guesses && is_unmoved(latter) && is_uniform_guess(median(latter));
    let rests_at_uniform = at_uniform && accuracies.is_empty() && !come_down(&losses);
    let alike = constant_accuracy(measured).is_some() || guesses_uniformly(measured);
    alike || !learns && (unmoved && (rests_at_uniform || constant || guesses) || settles)
}

/// Whether a loss is ln K of a few classes, in nats or bits.
fn is_uniform_guess(loss: f64) -> bool {
    (2..=limit::FEW_CLASSES).any(|classes| {
        let nats = (classes as f64).ln();
        [nats, nats / std::f64::consts::LN_2].iter().any(|guess| (loss / guess - 1.0).abs() < limit::NEAR_UNIFORM)
    })
}

/// Whether the last third of the training losses lies clearly below the first ones. A fall from the level of a fresh head to that
/// of guessing is not learning.
fn train_falls(measured: &Measured<'_>) -> bool {
    let losses: Vec<f64> = measured.train.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
    let (few, third) = ((losses.len() / 20).max(1), losses.len() / 3);
    let start = losses.get(..few).map(median);
    let end = losses.get(losses.len() - third..).filter(|end| !end.is_empty()).map(median);
    start.zip(end).is_some_and(|(start, end)| end < limit::POOR_FALL * start && !is_uniform_guess(end))
}

/// First step of a loss that is not finite. A gradient norm that is not finite counts only if it ended the trial, or stays so to
/// the end: a single one is a step that mixed-precision loss scaling skipped. That of a loss of exactly 0 says nothing of its own.
fn first_not_finite(measured: &Measured<'_>, status: Status) -> Option<u64> {
    let losses = [&measured.train, &measured.eval].into_iter();
    let first = losses.filter_map(|curve| curve.iter().find(|point| !point.y.is_finite()));
    let norms = &measured.grad_norm;
    let broken = norms.iter().rev().take_while(|point| !point.y.is_finite()).count();
    let stays = broken >= NORMS_TO_THE_END || status == Status::Diverged;
    let norm = norms.get(norms.len() - broken).filter(|norm| stays && !is_zero(&measured.train, norm.x));
    first.chain(norm).map(|point| point.x as u64).min()
}

/// Whether the training loss at `step` is exactly 0.
fn is_zero(train: &[Point], step: f64) -> bool {
    train.iter().find(|point| point.x >= step).is_some_and(|point| point.y == 0.0)
}

/// Whether the trial ended early with a loss far above its start.
fn has_diverged(measured: &Measured<'_>) -> bool {
    let losses = &measured.train;
    let tenth = (losses.len() / 10).max(1);
    let mean = |points: &[Point]| points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64;
    match (losses.get(..tenth), losses.get(losses.len().saturating_sub(DIVERGED_TAIL.min(tenth))..)) {
        (Some(start), Some(end)) => measured.end() < measured.steps && mean(end) > DIVERGED * mean(start),
        _ => false,
    }
}

/// `shape` in plain words, with its numbers.
pub fn verdict(measured: &Measured<'_>, shape: Shape, delta: f64) -> Verdict {
    let raw = &measured.eval;
    let smoothed = smoothed_eval(raw);
    let at = |step: u64| smoothed.iter().find(|point| point.x as u64 == step).map_or(f64::NAN, |point| point.y);
    let lowest = raw.iter().map(|point| point.y).filter(|y| y.is_finite()).fold(f64::INFINITY, f64::min);
    let last = smoothed.last().map_or(f64::NAN, |point| point.y);
    let chance = measured.eval_chance().unwrap_or(f64::NAN);
    let end = measured.end();
    let text = match shape {
        Shape::Plateaued { onset } => {
            format!("plateaued at step {onset}: eval loss {:.3}, no gain above {delta:.3} up to step {end}", at(onset))
        }
        Shape::StillImproving { onset } => {
            format!("still improving: eval loss {last:.3} at step {end}, gains above {delta:.3} up to step {onset}")
        }
        Shape::Overfits { onset, from } => format!(
            "overfits from step {from}: eval loss {lowest:.3} at its best (flat from step {onset}), {last:.3} at step {end}"
        ),
        Shape::Collapsed { at } => format!(
            "collapsed at step {at}: eval loss {lowest:.3} at its best, {last:.3} at step {end}, chance is {chance:.3}"
        ),
        Shape::Stuck if chance.is_nan() => format!("stuck: eval loss never below {lowest:.3}, and it does not move"),
        Shape::Stuck => format!("stuck at chance: eval loss never below {lowest:.3}, chance is {chance:.3}"),
        Shape::Overconfident => format!(
            "over-confident from the first evaluation: accuracy {:.1} %, but an eval loss never below {lowest:.3}; chance is {chance:.3}",
            100.0 * measured.accuracies().last().copied().unwrap_or(f64::NAN)
        ),
        Shape::NotFinite { step } => not_finite(measured, step),
        Shape::Diverged { step } => {
            let loss = measured.train.last().map_or(f64::NAN, |point| point.y);
            match late_rise(measured) {
                Some(rise) if rise.is_eval => {
                    format!("diverged at step {step}: eval loss {:.3} after {:.3}", rise.to, rise.from)
                }
                Some(rise) => format!("diverged from step {step}: train loss {:.3} after {:.3}", rise.to, rise.from),
                None => format!("diverged at step {step}: train loss {loss:.3}"),
            }
        }
        Shape::Failed => "failed to run: no outcome".into(),
        Shape::Unfinished => format!("unfinished: at step {end} of {}", measured.steps),
        Shape::TooShort => format!("too few evaluations to see a shape: {}", raw.len()),
    };
    Verdict::shape(shape.kind(), shape.step(), text)
}

/// Loss and gradient norm before the first value that is not finite.
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

    fn points(values: &[f64]) -> Vec<Point> {
        values.iter().enumerate().map(|(x, &y)| Point { x: 10.0 * x as f64, y }).collect()
    }

    fn check(values: &[f64], expected: Shape) {
        assert_eq!(settle(&points(values), 0.01), expected, "{values:?}");
    }

    #[test]
    fn shapes() {
        check(&[0.7, 0.5, 0.4, 0.3, 0.3, 0.295, 0.3, 0.3, 0.3], Shape::Plateaued { onset: 30 });
        check(&[0.7, 0.6, 0.5, 0.4, 0.3, 0.2], Shape::StillImproving { onset: 50 });
        check(&[0.7, 0.4, 0.3, 0.3, 0.32, 0.35, 0.4], Shape::Overfits { onset: 20, from: 40 });
        // A flat part before the loss falls further is not the plateau.
        check(&[0.7, 0.7, 0.7, 0.5, 0.3, 0.3, 0.3, 0.3], Shape::Plateaued { onset: 40 });
        // A bump that comes back is no overfitting.
        check(&[0.7, 0.3, 0.5, 0.3, 0.3, 0.3], Shape::Plateaued { onset: 10 });
        check(&[0.7, 0.8, 0.9, 1.0], Shape::Overfits { onset: 0, from: 10 });
        // One high value at the end is no rise.
        check(&[0.7, 0.4, 0.3, 0.3, 0.3, 0.3, 0.4], Shape::Plateaued { onset: 20 });
        check(&[], Shape::TooShort);
        let plateaus = [
            Shape::Plateaued { onset: 40 },
            Shape::Overfits { onset: 20, from: 40 },
            Shape::StillImproving { onset: 50 },
            Shape::Stuck,
        ];
        assert_eq!(plateaus.map(Shape::plateau), [Some(40), Some(20), None, None]);
    }

    proptest! {
        #[test]
        fn nothing_after_the_onset_is_lower_by_more_than_delta(values in proptest::collection::vec(0.0..1.0_f64, 1..40)) {
            let points = points(&values);
            let onset = settle(&points, 0.05).onset().unwrap();
            let after: Vec<f64> = points.iter().filter(|p| p.x as u64 >= onset).map(|p| p.y).collect();
            prop_assert!(after.iter().all(|later| after[0] - later <= 0.05 + 1e-12));
            let before = points.iter().filter(|p| (p.x as u64) < onset);
            prop_assert!(before.clone().all(|p| after.iter().any(|later| p.y - later > 0.05)));
        }
    }
}
