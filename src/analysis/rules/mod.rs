//! Why a loss does not fall: rules that read one trial's curves, each a function of them.
//!
//! [`diagnose`] gives all that hold. Causes come before notes, and among causes those that explain others come first: a
//! NaN explains a collapse, not the other way round; the first cause is the trial's primary one. Every verdict carries its
//! numbers, the steps it rests on and what to change. A rule that lacks what it needs (the prior, the rate, the gradients)
//! stays silent. What several trials say together is in `effects`.

mod fit;
mod rate;
mod setting;
mod signal;
mod stability;
#[cfg(test)]
mod tests;

use super::curve::Point;
use super::detector::{Detection, detect};
use super::measured::{Measured, chance};
use super::plateau::{self, Judgement};
use super::statistics::mean;
use super::thresholds as limit;
use crate::trial::{Evidence, Status, Verdict, VerdictKind, rounded_text};

/// What is known of one trial in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// What became of the evaluation loss.
    pub judgement: Judgement,
    /// What the training loss does.
    pub detection: Detection,
    /// Causes, the primary one first; then notes. Never empty.
    pub verdicts: Vec<Verdict>,
}

impl Diagnosis {
    /// The primary cause, if anything is wrong.
    pub fn cause(&self) -> Option<&Verdict> {
        self.verdicts.first().filter(|verdict| verdict.kind == VerdictKind::Cause)
    }
}

/// A trial with what several rules ask for.
struct Case<'a> {
    measured: &'a Measured<'a>,
    judgement: Judgement,
    detection: Detection,
    /// Means over the whole training loss, in order.
    blocks: Vec<Block>,
    /// Entropy of the training prior, label smoothing included.
    chance: Option<f64>,
}

/// A piece of the training loss.
#[derive(Debug, Clone, Copy)]
struct Block {
    from: u64,
    to: u64,
    mean: f64,
}

type Rule = fn(&Case<'_>) -> Option<Verdict>;

/// The order of causes. First what makes all later numbers void, then what cuts learning off, then a rate too high, what
/// was never learned, a rate too low, and what is learned but does not carry over. Notes sort themselves behind.
const RULES: &[Rule] = &[
    stability::non_finite,
    signal::frozen,
    signal::bad_init,
    signal::explode,
    fit::noise_too_strong,
    setting::decay_too_strong,
    stability::after_warmup,
    stability::overshoot,
    setting::imbalanced,
    stability::collapsed,
    signal::vanish,
    setting::truncated,
    setting::warmup_too_long,
    rate::exhausted,
    signal::prior_stuck,
    signal::never_fell,
    fit::memorised,
    stability::clip_bound,
    setting::noisy_batches,
    rate::too_slow,
    rate::noise_floor,
    fit::label_floor,
    fit::overfit,
    signal::update_ratio,
    rate::stalled,
    stability::spikes,
    signal::escaped_late,
    fit::wasted,
    fit::eval_noisy,
    rate::unresolved,
];

/// Everything the curves of one trial say. `delta` is the change of the evaluation loss that counts (nats).
pub fn diagnose(measured: &Measured<'_>, status: Status, delta: f64) -> Diagnosis {
    let judgement = plateau::judge(measured, status, delta);
    let case = Case {
        measured,
        judgement,
        detection: detect(measured),
        blocks: blocks(&measured.train),
        chance: smoothed_chance(measured),
    };
    let mut verdicts: Vec<Verdict> = match judgement {
        // Of what has not ended nothing is said that may change.
        Judgement::Unfinished | Judgement::Failed => Vec::new(),
        _ => RULES.iter().filter_map(|rule| rule(&case)).collect(),
    };
    verdicts.sort_by_key(|verdict| verdict.kind != VerdictKind::Cause);
    if !verdicts.iter().any(|verdict| verdict.kind == VerdictKind::Cause) {
        verdicts.insert(0, rate::without_cause(&case));
    }
    Diagnosis { judgement, detection: case.detection, verdicts }
}

/// Entropy of what a smoothed loss takes the prior for.
fn smoothed_chance(measured: &Measured<'_>) -> Option<f64> {
    let smoothing = measured.config.map_or(0.0, |config| config.label_smoothing);
    let classes = measured.train_prior.len() as f64;
    let smoothed: Vec<f64> = measured.train_prior.iter().map(|p| (1.0 - smoothing) * p + smoothing / classes).collect();
    chance(measured.train_prior).and(chance(&smoothed))
}

fn blocks(points: &[Point]) -> Vec<Block> {
    let n = points.len();
    let count = (n / 4).min(limit::MOST_BLOCKS);
    let block = |i: usize| {
        let piece = &points[i * n / count..(i + 1) * n / count];
        let mean = mean(&piece.iter().map(|point| point.y).collect::<Vec<_>>());
        Some(Block { from: piece.first()?.x as u64, to: piece.last()?.x as u64, mean })
    };
    (0..count).filter_map(block).collect()
}

impl Case<'_> {
    /// Mean training loss of the last third.
    fn tail(&self) -> f64 {
        self.detection.tail.level
    }

    /// Whether there are blocks enough to speak of a course.
    fn has_course(&self) -> bool {
        self.blocks.len() >= limit::FEWEST_BLOCKS && self.blocks.iter().all(|block| block.mean.is_finite())
    }

    /// Loss of the clean training examples in the end, of the training itself where they were not measured; without what
    /// label smoothing adds.
    fn clean_end(&self) -> f64 {
        let probe: Vec<f64> = self.measured.probe.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
        match probe.last_chunk::<3>() {
            Some(last) => mean(last),
            None => self.tail() - rate::smoothing_floor(self),
        }
    }

    /// Whether little was learned of the training data. False where the prior is unknown.
    fn is_poor(&self) -> bool {
        chance(self.measured.train_prior).is_some_and(|chance| self.clean_end() > limit::POOR * chance)
    }

    /// Mean of the last evaluations.
    fn eval_end(&self) -> Option<f64> {
        self.measured.eval.last_chunk::<3>().map(|last| mean(&last.map(|point| point.y)))
    }

    /// Whether the evaluation loss ends little below guessing.
    fn carries_little(&self) -> bool {
        let chance = chance(self.measured.eval_prior);
        self.eval_end().zip(chance).is_some_and(|(level, chance)| level > limit::BELOW_PRIOR * chance)
    }

    /// Greatest mean |change| over mean |weight| of a watched step.
    fn greatest_ratio(&self) -> Option<f64> {
        signal::ratios(self).into_iter().reduce(f64::max)
    }

    /// Summed learning rate of the steps that `belongs` takes.
    fn summed_rate(&self, belongs: impl Fn(f64) -> bool) -> f64 {
        self.measured.lr.iter().filter(|rate| rate.y.is_finite() && belongs(rate.x)).map(|rate| rate.y).sum()
    }

    /// Step of the first loss that is not finite.
    fn broken(&self) -> Option<u64> {
        match self.judgement {
            Judgement::NotFinite { step } => Some(step),
            _ => None,
        }
    }

    /// Greatest learning rate, as told or as logged.
    fn peak_rate(&self) -> Option<f64> {
        let logged = self.measured.lr.iter().map(|point| point.y).filter(|rate| rate.is_finite()).reduce(f64::max);
        self.measured.config.map(|config| config.lr).or(logged).filter(|rate| *rate > 0.0)
    }

    /// `lr: 3e-5` for a factor of the present rate, or words where that is unknown.
    fn rate_times(&self, factor: f64) -> String {
        match self.peak_rate() {
            Some(rate) => format!("lr: {}", rounded_text(rate * factor, 2)),
            None if factor < 1.0 => format!("a learning rate {} times lower", (1.0 / factor).round()),
            None => format!("a learning rate {} times higher", factor.round()),
        }
    }

    /// `epochs: 6` for twice as many, or words.
    fn twice_as_long(&self) -> String {
        match self.measured.config.map(|config| config.length) {
            Some(crate::trial::Length::Epochs(epochs)) => format!("epochs: {}", epochs * 2.0),
            Some(crate::trial::Length::Steps(steps)) => format!("steps: {}", steps * 2),
            None => "twice the steps".into(),
        }
    }

    /// The share of the greatest class, and that with what luck may add to it.
    fn majority(&self) -> Option<(f64, f64)> {
        let majority = self.measured.eval_prior.iter().copied().reduce(f64::max)?;
        let margin = self.accuracy_error(majority).map_or(limit::MAJORITY_MARGIN, |error| 2.0 * error);
        Some((majority, majority + margin))
    }

    /// Standard error of an accuracy, where the size of the evaluation set is known.
    fn accuracy_error(&self, accuracy: f64) -> Option<f64> {
        let n: u32 = self.measured.diagnostics.last()?.predicted.iter().sum();
        (n > 0).then(|| (accuracy * (1.0 - accuracy) / f64::from(n)).sqrt())
    }

    fn best_accuracy(&self) -> Option<f64> {
        self.measured.accuracy.iter().map(|point| point.y).filter(|y| y.is_finite()).reduce(f64::max)
    }

    /// Lowest evaluation loss with its step and place.
    fn best_eval(&self) -> Option<(usize, Point)> {
        let finite = self.measured.eval.iter().copied().enumerate().filter(|(_, point)| point.y.is_finite());
        finite.min_by(|a, b| a.1.y.total_cmp(&b.1.y))
    }

    fn whole(&self) -> (u64, u64) {
        (self.measured.train.first().map_or(0, |point| point.x as u64), self.measured.end())
    }

    fn tail_steps(&self) -> (u64, u64) {
        (self.detection.tail.from, self.detection.tail.to)
    }
}

/// Puts a verdict together.
fn verdict(id: &str, kind: VerdictKind, steps: (u64, u64), text: String, evidence: &[(&str, f64)]) -> Verdict {
    let evidence = evidence
        .iter()
        .map(|(name, value)| Evidence { name: (*name).into(), value: Some(*value).filter(|v| v.is_finite()) })
        .collect();
    Verdict { id: id.into(), kind, step: Some(steps.0), text, evidence, steps: Some(steps), advice: None }
}

pub(super) fn cause(id: &str, steps: (u64, u64), text: String, evidence: &[(&str, f64)]) -> Verdict {
    verdict(id, VerdictKind::Cause, steps, text, evidence)
}

fn note(id: &str, steps: (u64, u64), text: String, evidence: &[(&str, f64)]) -> Verdict {
    verdict(id, VerdictKind::Note, steps, text, evidence)
}

/// `verdict` with what to change.
#[expect(clippy::unnecessary_wraps, reason = "what every rule that holds ends with")]
pub(super) fn advised(verdict: Verdict, advice: impl Into<String>) -> Option<Verdict> {
    Some(Verdict { advice: Some(advice.into()), ..verdict })
}

/// A share in whole per cent.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The few words for causes of this id, where they are counted.
pub fn phrase(id: &str) -> &'static str {
    match id {
        "NONFINITE" => "numbers that are none",
        "FROZEN" => "nothing is trained",
        "BAD_INIT" => "a bad start",
        "AFTER_WARMUP" => "the peak of the learning rate is too high",
        "EXPLODE" => "gradients explode",
        "VANISH" => "gradients vanish",
        "OVERSHOOT" => "the learning rate is too high",
        "COLLAPSED" => "what was learned is lost again",
        "PRIOR_STUCK" => "nothing is learned",
        "NEVER_FELL" => "a loss that never falls",
        "MEMORISED" => "learned by heart",
        "CLIP_BOUND" => "clipping leaves little of the gradient",
        "IMBALANCED" => "one class holds nearly all labels",
        "TRUNCATED" => "texts are cut too short",
        "DECAY_TOO_STRONG" => "weight decay is too strong",
        "WARMUP_TOO_LONG" => "the warm-up takes too much of the run",
        "NOISY_BATCHES" => "batches are too small",
        "AUG_TOO_STRONG" => "augmentation is too strong",
        "DROPOUT_TOO_STRONG" => "dropout is too strong",
        "LR_EXHAUSTED" => "the schedule ended too early",
        "TOO_SLOW" => "the learning rate is too low or the run too short",
        "NOISE_FLOOR" => "the learning rate stays too high in the end",
        "LABEL_FLOOR" => "wrong labels",
        "OVERFIT" => "overfitting",
        "UPDATE_RATIO" => "steps of the wrong size",
        "STALLED" => "a floor that the rate does not explain",
        _ => "no fault",
    }
}
