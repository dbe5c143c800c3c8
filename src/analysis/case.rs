//! The case that the rules judge: one trial's curves with the quantities and questions that several rules share.
//!
//! "H" is the entropy of the class prior, the loss of the best guess that ignores the input.

use std::f64::consts::LN_2;
use std::fmt;

use super::curve::Point;
use super::detector::{Detection, detect};
use super::measured::{Measured, chance};
use super::shape::{self, Shape};
use super::statistics::{mean, median, robust_deviation};
use super::thresholds as limit;
use crate::trial::{Architecture, DiagnosticRow, Status, TRAIN_PROBE_EXAMPLES, TrialConfig};

/// One trial, as the rules see it.
pub struct Case<'a> {
    pub measured: &'a Measured<'a>,
    /// What became of the evaluation loss.
    pub shape: Shape,
    /// What the training loss does at the end.
    pub detection: Detection,
    /// Means over pieces of the whole training loss, in order.
    pub blocks: Vec<Block>,
    /// H of the training split with label smoothing included. None where the class prior is unknown.
    pub chance: Option<f64>,
}

/// A piece of the training loss.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// First and last step.
    pub from: u64,
    pub to: u64,
    pub mean: f64,
}

/// Equal probabilities for all of a few classes.
pub struct Guess {
    pub classes: usize,
    pub loss: f64,
    /// `ln` in nats, `log2` in bits.
    log: &'static str,
}

impl Guess {
    /// Whether it is one in nats among so few classes that a loss seldom has its level for another reason.
    pub fn is_plain(&self) -> bool {
        self.log == "ln" && self.classes <= limit::FEWEST_CLASSES
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a guess over {} classes ({} {} = {:.3})", self.classes, self.log, self.classes, self.loss)
    }
}

impl<'a> Case<'a> {
    /// `delta`: the smallest change of the evaluation loss that counts, in nats.
    pub fn of(measured: &'a Measured<'a>, status: Status, delta: f64) -> Self {
        Self {
            measured,
            shape: shape::judge(measured, status, delta),
            detection: detect(measured),
            blocks: blocks(&measured.train),
            chance: smoothed_chance(measured),
        }
    }

    pub fn config(&self) -> Option<&'a TrialConfig> {
        self.measured.config
    }

    // The training loss.

    /// Mean training loss of the last third.
    pub fn tail(&self) -> f64 {
        self.detection.tail.level
    }

    /// Whether there are enough blocks to describe a course.
    pub fn has_course(&self) -> bool {
        self.blocks.len() >= limit::FEWEST_BLOCKS && self.blocks.iter().all(|block| block.mean.is_finite())
    }

    /// Lowest block mean.
    pub fn lowest_block(&self) -> f64 {
        self.blocks.iter().map(|block| block.mean).fold(f64::INFINITY, f64::min)
    }

    /// Mean of the first training losses: a twentieth of them, at most twenty.
    pub fn train_start(&self) -> Option<f64> {
        let all = &self.measured.train;
        let first = all.get(..(all.len() / 20).clamp(1, 20))?;
        Some(mean(&first.iter().map(|point| point.y).collect::<Vec<_>>())).filter(|start| start.is_finite())
    }

    /// Standard deviation of a single training loss, from the differences of neighbours.
    fn noise(&self) -> f64 {
        let jumps: Vec<f64> = self.measured.train.windows(2).map(|pair| pair[1].y - pair[0].y).collect();
        let noise = robust_deviation(&jumps, median(&jumps)) / std::f64::consts::SQRT_2;
        if noise.is_finite() { noise } else { 0.0 }
    }

    /// Whether the training loss ever came clearly below its start: some eighth of it lies lower by 5 % and by more than three
    /// standard errors.
    pub fn has_fallen(&self) -> bool {
        let (all, Some(start)) = (&self.measured.train, self.train_start()) else { return false };
        let (few, length) = ((all.len() / 20).clamp(1, 20), (all.len() / 8).max(4));
        let error = self.noise() * (1.0 / few as f64 + 1.0 / length as f64).sqrt();
        all.chunks(length).any(|piece| {
            let level = mean(&piece.iter().map(|point| point.y).collect::<Vec<_>>());
            level < limit::BELOW_START * start && start - level > 3.0 * error
        })
    }

    /// Whether the training loss is seen from its start, and ends no lower than its noise explains: neither below its first losses nor
    /// below its first third by more than two standard errors.
    pub fn stays_within_its_noise(&self) -> bool {
        let all = &self.measured.train;
        let third = &all[..all.len() / 3];
        let Some(start) = self.train_start().filter(|_| self.has_course() && self.sees_the_start()) else {
            return false;
        };
        let first = mean(&third.iter().map(|point| point.y).collect::<Vec<_>>());
        let error = |few: f64| self.noise() * (1.0 / few + 1.0 / third.len() as f64).sqrt();
        let falls = |from: f64, few: f64| from - self.tail() > 2.0 * error(few);
        !self.has_fallen() && !falls(start, self.few_first()) && !falls(first, third.len() as f64)
    }

    /// Whether the run ends clearly below the loss of guessing.
    pub fn recovers(&self) -> bool {
        self.chance.is_some_and(|chance| self.clean_end() < limit::BELOW_PRIOR * chance)
    }

    /// The loss of an untrained model: the greatest of H, the loss ln K of a fresh head of K classes, and the run's own start. Where H
    /// is unknown: the start alone.
    pub fn untrained(&self) -> Option<f64> {
        let start = self.train_start();
        let Some(chance) = self.chance else { return start.filter(|_| self.has_course()) };
        Some(chance.max(self.uniform()).max(start.unwrap_or(0.0)))
    }

    /// ln K, the loss of equal probabilities for all K classes. 0 where the classes or the loss are others.
    fn uniform(&self) -> f64 {
        let classes = if self.measured.is_plain_classification() { self.measured.train_prior.len() } else { 0 };
        (classes.max(1) as f64).ln()
    }

    /// Whether the log shows the first steps of the run. A resumed run does not.
    pub fn sees_the_start(&self) -> bool {
        let first = self.measured.train.first().map_or(0.0, |point| point.x);
        let interval = self.measured.train.get(1).map_or(0.0, |second| second.x - first);
        first <= (limit::SEEN_START * self.measured.end() as f64).max(1.5 * interval).max(1.0)
    }

    /// Whether the log ends within the warm-up of a longer run. Then it does not show what the run learns.
    pub fn ends_in_warmup(&self) -> bool {
        let (peak, end) = (self.measured.rate_peak() as f64, self.measured.end() as f64);
        let first = self.measured.lr.first().map_or(0.0, |rate| rate.y);
        let rises = self.logged_peak().is_some_and(|highest| first < limit::BELOW_PRIOR * highest);
        self.measured.steps > self.measured.end() && rises && peak >= limit::COMPLETE * end
    }

    /// The guess among few classes that has the loss `level`, in nats or in bits.
    pub fn guess_at(level: f64) -> Option<Guess> {
        let of = |classes: usize| {
            let nats = (classes as f64).ln();
            [(nats, "ln"), (nats / LN_2, "log2")].map(|(loss, log)| Guess { classes, loss, log })
        };
        let off = |guess: &Guess| (level / guess.loss - 1.0).abs();
        let nearest = (2..=limit::FEW_CLASSES).flat_map(of).min_by(|a, b| off(a).total_cmp(&off(b)));
        nearest.filter(|guess| off(guess) < limit::AT_UNIFORM)
    }

    /// Whether the loss may be one of preferences (DPO and its kin): the log says so, or a log of nothing but a training loss starts at
    /// ln 2 so exactly as only a policy does that equals its reference.
    pub fn may_be_of_preferences(&self) -> bool {
        let measured = self.measured;
        let bare = self.chance.is_none() && measured.eval.is_empty() && measured.accuracy.is_empty();
        let starts_exactly = |first: &Point| {
            // The loss of the first step alone has no noise yet. A first row of more steps is their mean.
            let (starts, within) = if first.x > 1.0 {
                ([LN_2; 2], limit::NEAR_START)
            } else {
                ([LN_2, limit::LN_2_IN_BF16], limit::EXACT_START)
            };
            starts.iter().any(|start| (first.y / start - 1.0).abs() < within)
        };
        measured.of_preferences || bare && measured.train.first().is_some_and(starts_exactly)
    }

    /// Whether the losses of another program start and end at those of guessing in bits, where guessing in nats has less.
    pub fn is_in_bits(&self) -> bool {
        let Some(nats) = self.chance.filter(|_| self.config().is_none()) else { return false };
        let is_guess = |loss: f64| (loss * LN_2 / nats - 1.0).abs() < limit::NEAR_UNIFORM;
        self.train_start().is_some_and(|start| start < limit::ROSE * self.tail() + 3.0 * self.noise())
            && is_guess(self.tail())
            && finite(&self.measured.eval).into_iter().all(is_guess)
    }

    /// Whether the training loss comes from its start to its end by more than noise.
    pub fn falls_from_start(&self) -> bool {
        let few = (self.measured.train.len() / 20).clamp(1, 20) as f64;
        let margin = (3.0 * self.noise() / few.sqrt()).max((limit::ROSE - 1.0) * self.tail());
        self.train_start().is_some_and(|start| start > self.tail() + margin)
    }

    /// Whether the loss is that of guessing among a few classes, in nats; in bits too where the start of the run is seen. For
    /// runs of unknown class prior.
    pub fn is_near_uniform(&self, level: f64) -> bool {
        let is_near = |guess: f64| (level / guess - 1.0).abs() < limit::NEAR_UNIFORM;
        let nats = |classes: usize| (classes as f64).ln();
        if self.sees_the_start() {
            (2..=limit::FEW_CLASSES).any(|k| is_near(nats(k)) || is_near(nats(k) / LN_2))
        } else {
            (2..=limit::FEWEST_CLASSES).any(|k| is_near(nats(k)))
        }
    }

    /// Loss of the clean training examples at the end. Where they were not measured: the training loss without what label
    /// smoothing adds.
    pub fn clean_end(&self) -> f64 {
        let probe: Vec<f64> = self.measured.probe.iter().map(|point| point.y).filter(|y| y.is_finite()).collect();
        match probe.last_chunk::<3>() {
            Some(last) => mean(last),
            None => self.tail() - self.smoothing_floor(),
        }
    }

    /// Least loss under label smoothing e with C classes: -a ln a - (C - 1)(e/C) ln(e/C), where a = 1 - e + e/C.
    pub fn smoothing_floor(&self) -> f64 {
        let e = self.config().map_or(0.0, |config| config.label_smoothing);
        let classes = self.measured.train_prior.len() as f64;
        if e <= 0.0 || classes < 2.0 {
            return 0.0;
        }
        let (a, b) = (1.0 - e + e / classes, e / classes);
        -a * a.ln() - (classes - 1.0) * b * b.ln()
    }

    /// Whether the training data are fitted, so that nothing worth a fault is left.
    pub fn is_fitted(&self) -> bool {
        let floor = self.chance.unwrap_or(self.detection.start);
        self.tail() < limit::FITTED * floor + self.smoothing_floor()
    }

    /// Whether little was learned of the training data. False where the class prior is unknown.
    pub fn learned_little(&self) -> bool {
        self.measured.train_chance().is_some_and(|chance| self.clean_end() > limit::POOR * chance)
    }

    /// As [`Self::learned_little`]. Where the class prior is unknown, the start of the run stands in for it.
    pub fn seems_to_learn_little(&self) -> bool {
        let known = self.chance.is_some();
        let little = || self.train_start().is_some_and(|start| self.tail() > limit::LITTLE_OF_START * start);
        if known { self.learned_little() } else { little() }
    }

    /// Whether the learning rate more than doubles after step `from`. The losses of a cyclical schedule rise with it.
    pub fn rate_rises_after(&self, from: f64) -> bool {
        let mut lowest = f64::INFINITY;
        self.measured.lr.iter().filter(|rate| rate.x >= from).any(|rate| {
            lowest = lowest.min(rate.y);
            rate.y > 2.0 * lowest
        })
    }

    /// Steps of single losses far above their neighbours.
    pub fn spike_steps(&self) -> Vec<u64> {
        spike_steps(&self.measured.train)
    }

    /// Step of the first value that is not finite.
    pub fn non_finite_step(&self) -> Option<u64> {
        match self.shape {
            Shape::NotFinite { step } => Some(step),
            _ => None,
        }
    }

    /// First step of the blocks that stay above the untrained model to the end.
    pub fn overshoot_step(&self) -> Option<u64> {
        let over = limit::OVER_PRIOR * self.untrained().filter(|_| self.chance.is_some())?;
        let stays = self.blocks.iter().rev().take_while(|block| block.mean > over).last()?;
        self.ends_above_untrained().then_some(stays.from)
    }

    /// Whether the training loss ends above that of the untrained model by more than its noise.
    pub fn ends_above_untrained(&self) -> bool {
        let tail = &self.detection.tail;
        let Some(untrained) = self.untrained() else { return false };
        // Half the interval of the change bounds the error of the mean from above. The start is the mean of few losses.
        let of_start = if self.chance.is_none() { 3.0 * self.noise() / self.few_first().sqrt() } else { 0.0 };
        let error = (tail.half * self.detection.scale / 2.0).max(of_start);
        untrained > 0.0 && tail.level > limit::OVER_PRIOR * untrained && tail.level - untrained > error
    }

    /// How many losses [`Self::train_start`] is the mean of.
    fn few_first(&self) -> f64 {
        (self.measured.train.len() / 20).clamp(1, 20) as f64
    }

    /// Whether an evaluation or a block of training losses was above the start by more than its noise.
    pub fn rose_above_start(&self) -> bool {
        self.evaluations_rose_above_start() || self.training_rose_above_start()
    }

    /// Whether an evaluation was above the start.
    pub fn evaluations_rose_above_start(&self) -> bool {
        let Some(start) = self.level_at_start() else { return false };
        self.measured.eval.iter().any(|point| point.x > 0.0 && point.y > limit::ROSE * start)
    }

    /// Whether a block of training losses was above the start by more than its noise.
    fn training_rose_above_start(&self) -> bool {
        let Some(start) = self.level_at_start() else { return false };
        let length = self.measured.train.len() as f64 / self.blocks.len().max(1) as f64;
        let of_start = if self.untrained_eval().is_some() { 0.0 } else { 1.0 / self.few_first() };
        let margin = 2.0 * self.noise() * (1.0 / length.max(1.0) + of_start).sqrt();
        self.blocks.iter().any(|block| block.mean > start + margin)
    }

    /// The evaluation before the first step.
    fn untrained_eval(&self) -> Option<f64> {
        self.measured.eval.first().filter(|point| point.x == 0.0).map(|point| point.y)
    }

    /// The evaluation before the first step, or else the first training losses.
    fn level_at_start(&self) -> Option<f64> {
        // Of a steep fall, the mean of the first losses lies well below the first one.
        let first = self.measured.train.first().map(|point| point.y);
        let seen = || self.train_start().map(|start| first.map_or(start, |first| start.max(first)));
        self.untrained_eval().or_else(seen)
    }

    /// First step at which the loss stands clearly above that of the untrained model: in the evaluations, which have little noise,
    /// or in the mean of the first batches.
    pub fn blow_up_step(&self) -> Option<u64> {
        if self.largest_update().is_some_and(|ratio| ratio < limit::RATIO_OF_JUMP) {
            return None;
        }
        // A loss that is no higher than at its start may be in another unit.
        let start = self.train_start().filter(|_| self.config().is_none()).unwrap_or(0.0);
        let fresh = self.measured.train_chance()?.max(self.uniform()).max(start);
        let evals = [&self.measured.eval, &self.measured.probe];
        let over = |curve: &&Vec<Point>| {
            let start = curve.first().filter(|point| point.x == 0.0).map_or(fresh, |point| point.y.max(fresh));
            curve.iter().find(|point| point.x > 0.0 && point.y > limit::JUMP * start).map(|point| point.x as u64)
        };
        let early = self.measured.train.get(1..limit::FEWEST_TAIL_POINTS.max(self.measured.train.len() / 10))?;
        let early_level = mean(&early.iter().map(|point| point.y).collect::<Vec<_>>());
        let first_batch = self.measured.train.first().map_or(fresh, |point| point.y);
        let measured = self.measured.eval.first().filter(|point| point.x == 0.0).map_or(first_batch, |point| point.y);
        let jumped = early_level > limit::JUMP * fresh.max(measured) + self.smoothing_floor();
        let at_once = early.first().filter(|_| jumped).map(|point| point.x as u64);
        at_once.or_else(|| evals.iter().filter_map(over).min())
    }

    /// First step of the final stay at H, of a run that had learned something.
    pub fn collapse_step(&self) -> Option<u64> {
        let chance = self.chance.filter(|_| self.has_course())?;
        let learned = self.blocks.iter().filter(|block| block.mean < limit::BELOW_PRIOR * chance).count();
        let stay: Vec<_> =
            self.blocks.iter().rev().take_while(|block| block.mean >= limit::AT_PRIOR * chance).collect();
        let enough = learned as f64 >= limit::LEARNED_BLOCKS * self.blocks.len() as f64 && stay.len() >= 2;
        let from = stay.last().filter(|_| enough)?.from;
        (self.rises_from(from) && !self.ends_learned() && !self.never_learned()).then_some(from)
    }

    /// Whether the evaluations and the clean loss, which have little noise, were never clearly below guessing. Blocks of few batches
    /// may lie below it by chance, above all on unequal classes.
    fn never_learned(&self) -> bool {
        let measured = self.measured;
        let known = [(&measured.eval, measured.eval_chance()), (&measured.probe, measured.train_chance())];
        let stays = |(curve, chance): (&Vec<Point>, Option<f64>)| {
            let lowest = curve.iter().map(|point| point.y).filter(|y| y.is_finite()).fold(f64::INFINITY, f64::min);
            chance.is_none_or(|chance| lowest >= limit::AT_PRIOR * chance)
        };
        self.measured.eval.len() > limit::FROZEN_EVALS && known.into_iter().all(stays)
    }

    /// Whether the losses from step `from` on are higher than the lowest fifth of the blocks by more than two standard errors.
    fn rises_from(&self, from: u64) -> bool {
        let mut levels: Vec<f64> = self.blocks.iter().map(|block| block.mean).collect();
        levels.sort_unstable_by(f64::total_cmp);
        let low = &levels[..(levels.len() / 5).max(1)];
        let after: Vec<f64> =
            self.measured.train.iter().filter(|point| point.x as u64 >= from).map(|point| point.y).collect();
        let before = (self.measured.train.len() - after.len()).max(1);
        let level = mean(&after);
        let spread = (after.iter().map(|y| (y - level).powi(2)).sum::<f64>() / after.len() as f64).sqrt();
        let lowest_points = (before / 5).max(1) as f64;
        level - mean(low) > 2.0 * spread * (1.0 / after.len() as f64 + 1.0 / lowest_points).sqrt()
    }

    /// Whether the clean loss or the evaluations show at the end that the model has learned.
    fn ends_learned(&self) -> bool {
        let clean = self
            .chance
            .is_some_and(|chance| !self.measured.probe.is_empty() && self.clean_end() < limit::BELOW_PRIOR * chance);
        let chance = self.measured.eval_chance();
        let eval = self.eval_end().zip(chance).is_some_and(|(end, chance)| end < limit::BELOW_PRIOR * chance);
        clean || eval
    }

    // The learning rate.

    /// Greatest learning rate, as configured or as logged.
    pub fn peak_rate(&self) -> Option<f64> {
        self.config().map(|config| config.lr).or(self.logged_peak()).filter(|rate| *rate > 0.0)
    }

    fn logged_peak(&self) -> Option<f64> {
        self.measured.lr.iter().map(|point| point.y).filter(|rate| rate.is_finite()).reduce(f64::max)
    }

    /// Summed learning rate of the steps that `belongs` takes.
    pub fn summed_rate(&self, belongs: impl Fn(f64) -> bool) -> f64 {
        self.measured.lr.iter().filter(|rate| rate.y.is_finite() && belongs(rate.x)).map(|rate| rate.y).sum()
    }

    /// What the clean loss would have fallen by, as a share of H, if the whole run had gone at its peak learning rate with
    /// the same gain per summed rate.
    pub fn reach(&self) -> Option<f64> {
        let chance = self.measured.train_chance()?;
        let start = self.measured.probe.first().map_or(self.detection.start, |point| point.y);
        let share = self.summed_rate(|_| true) / (self.logged_peak()? * self.measured.lr.len() as f64);
        Some((start - self.clean_end()) / share / chance).filter(|reach| reach.is_finite())
    }

    /// Mean |change| over mean |weight| of each watched step at a learning rate above zero.
    pub fn update_ratios(&self) -> Vec<f64> {
        let rate =
            |step: u64| self.measured.lr.iter().find(|rate| rate.x as u64 == step).is_none_or(|rate| rate.y > 0.0);
        let rows = self.measured.diagnostics.iter().filter(|row| rate(row.step));
        rows.filter_map(|row| row.update_ratio).map(f64::from).filter(|ratio| ratio.is_finite()).collect()
    }

    /// Whether the network has no pretrained encoder. Then large steps are usual: its weights are random and small at first, and there is
    /// nothing to spoil.
    pub fn is_without_encoder(&self) -> bool {
        self.config().is_some_and(|config| config.model.architecture != Architecture::None)
    }

    /// Greatest of the update ratios. None for a network without an encoder: no ratio is known to be too large or too small for it.
    pub fn largest_update(&self) -> Option<f64> {
        self.update_ratios().into_iter().reduce(f64::max).filter(|_| !self.is_without_encoder())
    }

    /// Whether a step changed the weights by far more than fine-tuning does.
    pub fn takes_large_steps(&self) -> bool {
        self.largest_update().is_some_and(|ratio| ratio > limit::RATIO_HIGH)
    }

    /// Whether an evaluation loss, or the clean loss, came back above an earlier one by more than what matters.
    pub fn swings(&self) -> bool {
        self.comes_back(&self.measured.eval) || self.clean_loss_swings()
    }

    /// Whether the clean loss came back above an earlier one by more than what matters.
    pub fn clean_loss_swings(&self) -> bool {
        self.comes_back(&self.measured.probe)
    }

    fn comes_back(&self, curve: &[Point]) -> bool {
        let Some(chance) = self.measured.train_chance() else { return false };
        let mut lowest = f64::INFINITY;
        curve.iter().any(|point| {
            lowest = lowest.min(point.y);
            point.y - lowest > limit::NEIGHBOUR * chance
        })
    }

    /// Whether the clean loss falls from one evaluation to the next, with few exceptions, and is lowest at the end. Larger steps would
    /// have brought such a run further.
    pub fn clean_loss_only_falls(&self) -> bool {
        let probe = finite(&self.measured.probe);
        let down = probe.windows(2).filter(|pair| pair[1] < pair[0]).count();
        let lowest_last = probe.last().is_some_and(|last| probe.iter().all(|loss| last <= loss));
        probe.len() > limit::SHORT_EVALS && lowest_last && down as f64 >= limit::DOWNWARD * (probe.len() - 1) as f64
    }

    /// Whether the clean loss only falls, and for its learning rate about as fast in the last third of the steps as in the middle one.
    /// A loss that comes to a floor slows down.
    pub fn clean_loss_falls_steadily(&self) -> bool {
        let (probe, end) = (&self.measured.probe, self.measured.end() as f64);
        let from = |share: f64| probe.iter().find(|point| point.x >= share * end);
        let speed = |from: &Point, to: &Point| {
            let rate = self.summed_rate(|step| step > from.x && step <= to.x);
            (from.y - to.y) / if rate > 0.0 { rate } else { to.x - from.x }
        };
        let (Some(second), Some(third), Some(last)) = (from(1.0 / 3.0), from(2.0 / 3.0), probe.last()) else {
            return false;
        };
        self.clean_loss_only_falls() && speed(third, last) >= limit::SLOW_STEADY * speed(second, third)
    }

    /// Whether the clean loss was measured and ends below that of guessing, by more than the choice of its examples explains.
    pub fn clean_loss_shows_learning(&self) -> bool {
        let Some(chance) = self.measured.train_chance().filter(|_| !finite(&self.measured.probe).is_empty()) else {
            return false;
        };
        // The loss of guessing, of one example: its mean is H.
        let prior = &self.measured.train_prior;
        let variance: f64 = prior.iter().filter(|p| **p > 0.0).map(|p| p * (-p.ln() - chance).powi(2)).sum();
        let error = (variance / TRAIN_PROBE_EXAMPLES as f64).sqrt();
        self.clean_end() < (limit::AT_PRIOR * chance).min(chance - 2.0 * error)
    }

    /// Whether steps are far too large in a run whose loss does not fall, or the loss blew up.
    pub fn rate_is_high(&self) -> bool {
        self.has_large_steps() || self.blow_up_step().is_some()
    }

    /// Whether steps are far too large and the loss does not steadily fall. Under unequal classes, a fall from the start to the
    /// level of guessing is none.
    pub fn has_large_steps(&self) -> bool {
        let guessing = |chance: f64| limit::BELOW_PRIOR * chance..limit::OVER_PRIOR * chance;
        let rests = self.chance.is_some_and(|chance| guessing(chance).contains(&self.tail()));
        let falls = self.detection.tail.trend.is_falling() && self.has_fallen() && !rests;
        self.takes_large_steps() && !falls
    }

    /// Whether the steps are known to be small, and a constant learning rate at the peak would not have gained much more.
    pub fn rate_is_low(&self) -> bool {
        self.largest_update().is_some_and(|ratio| ratio < limit::RATIO_LOW)
            && self.reach().is_some_and(|reach| reach < limit::SLOW_REACH)
    }

    /// Whether a learning rate that is too high explains why little was learned.
    pub fn high_rate_prevents_learning(&self) -> bool {
        self.learned_little() && self.rate_is_high()
    }

    /// The eps of Adam, if it makes the steps far smaller than the learning rate alone would.
    pub fn shrinking_eps(&self) -> Option<f64> {
        let (config, ratio, peak) = (self.config()?, self.largest_update()?, self.logged_peak()?);
        let eps = config.optimizer.eps;
        (ratio < limit::RATIO_OF_RATE * peak && eps > limit::USUAL_EPS).then_some(eps)
    }

    /// Share of the steps over which the learning rate rises, as configured or as logged.
    pub fn warmup_share(&self) -> f64 {
        let steps = self.measured.steps.max(self.measured.end());
        if let Some(config) = self.config() {
            return config.warmup.steps(steps) as f64 / steps.max(1) as f64;
        }
        if self.shows_warmup() { self.measured.rate_peak() as f64 / steps.max(1) as f64 } else { 0.0 }
    }

    /// Whether the learning rate rises over several rows to its peak and falls afterwards.
    pub fn shows_warmup(&self) -> bool {
        let rates: Vec<f64> = self.measured.lr.iter().map(|point| point.y).filter(|rate| rate.is_finite()).collect();
        let peak = rates.iter().copied().fold(0.0, f64::max);
        let first = rates.iter().position(|rate| *rate >= peak * (1.0 - 1e-9)).unwrap_or(0);
        let rises = rates[..first].windows(2).all(|pair| pair[0] < pair[1]);
        let falls = rates.last().is_some_and(|last| *last < peak * (1.0 - 1e-6));
        first >= limit::SEEN_WARMUP && rises && falls
    }

    // Gradients.

    /// Median gradient norms of the lowest and of the highest trained encoder layer.
    pub fn layer_gradients(&self) -> Option<(f64, f64)> {
        let of = |pick: fn(&DiagnosticRow) -> Option<f32>| {
            let norms = self.measured.diagnostics.iter().filter_map(pick).map(f64::from);
            let norms: Vec<f64> = norms.filter(|norm| norm.is_finite()).collect();
            (!norms.is_empty()).then(|| median(&norms))
        };
        Some((of(|row| row.first_grad_norm)?, of(|row| row.last_grad_norm)?))
    }

    /// The finite gradient norms.
    pub fn gradient_norms(&self) -> Vec<f64> {
        finite(&self.measured.grad_norm)
    }

    // The evaluations.

    /// Mean of the last three evaluation losses.
    pub fn eval_end(&self) -> Option<f64> {
        self.measured.eval.last_chunk::<3>().map(|last| mean(&last.map(|point| point.y)))
    }

    /// Whether the evaluation loss ends little below H.
    pub fn generalises_little(&self) -> bool {
        let chance = self.measured.eval_chance();
        self.eval_end().zip(chance).is_some_and(|(level, chance)| level > limit::BELOW_PRIOR * chance)
    }

    /// Index and point of the lowest evaluation loss.
    pub fn best_eval(&self) -> Option<(usize, Point)> {
        let finite = self.measured.eval.iter().copied().enumerate().filter(|(_, point)| point.y.is_finite());
        finite.min_by(|a, b| a.1.y.total_cmp(&b.1.y))
    }

    /// Whether the best evaluation comes in the last quarter. True where there is none.
    pub fn is_best_late(&self) -> bool {
        self.best_eval().is_none_or(|(_, best)| best.x >= limit::SLOW_LATE * self.measured.end() as f64)
    }

    pub fn overfits(&self) -> bool {
        matches!(self.shape, Shape::Overfits { .. })
    }

    pub fn best_accuracy(&self) -> Option<f64> {
        self.measured.accuracies().into_iter().reduce(f64::max)
    }

    /// The share of the most frequent class in the evaluation set, and the greatest accuracy that chance explains.
    pub fn majority(&self) -> Option<(f64, f64)> {
        let majority = self.measured.eval_prior.iter().copied().reduce(f64::max)?;
        let margin = self.accuracy_error(majority).map_or(limit::MAJORITY_MARGIN, |error| 2.0 * error);
        Some((majority, majority + margin))
    }

    /// Standard error of an accuracy, where the size of the evaluation set is known.
    pub fn accuracy_error(&self, accuracy: f64) -> Option<f64> {
        let n = self.measured.eval_size().filter(|n| *n > 0)?;
        Some((accuracy * (1.0 - accuracy) / n as f64).sqrt())
    }

    /// Lowest evaluation loss after the untrained model.
    pub fn lowest_eval(&self) -> f64 {
        let after = self.measured.eval.iter().filter(|point| point.x > 0.0);
        after.map(|point| point.y).filter(|y| y.is_finite()).fold(f64::INFINITY, f64::min)
    }

    /// Share of the most frequent answer at the last evaluation.
    pub fn one_class_share(&self) -> Option<f64> {
        let last = self.measured.diagnostics.last()?;
        let (most, all) = (last.predicted.iter().max()?, last.examples());
        (all > 0).then(|| f64::from(*most) / all as f64)
    }

    // Steps that a verdict rests on.

    pub fn all_steps(&self) -> (u64, u64) {
        (self.measured.train.first().map_or(0, |point| point.x as u64), self.measured.end())
    }

    pub fn tail_steps(&self) -> (u64, u64) {
        (self.detection.tail.from, self.detection.tail.to)
    }
}

/// The finite values of a curve.
pub fn finite(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.y).filter(|y| y.is_finite()).collect()
}

/// H with label smoothing: the entropy of the prior that a smoothed loss sees.
fn smoothed_chance(measured: &Measured<'_>) -> Option<f64> {
    if !measured.is_plain_classification() {
        return measured.train_chance();
    }
    let smoothing = measured.config.map_or(0.0, |config| config.label_smoothing);
    let classes = measured.train_prior.len() as f64;
    let smoothed: Vec<f64> = measured.train_prior.iter().map(|p| (1.0 - smoothing) * p + smoothing / classes).collect();
    measured.train_chance().and(chance(&smoothed))
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

fn spike_steps(points: &[Point]) -> Vec<u64> {
    const HALF: usize = limit::SPIKE_WINDOW / 2;
    let (mut steps, mut sum) = (Vec::new(), 0.0);
    // For most points a running mean shows that the two medians are not needed.
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(points.iter().map(|point| {
            sum += point.y;
            sum
        }))
        .collect();
    for (i, point) in points.iter().enumerate() {
        let (from, to) = (i.saturating_sub(HALF), (i + HALF + 1).min(points.len()));
        let around = (sums[to] - sums[from]) / (to - from) as f64;
        if to - from < HALF || point.y <= 1.2 * around || !point.y.is_finite() {
            continue;
        }
        let window: Vec<f64> = points[from..to].iter().map(|point| point.y).collect();
        let middle = median(&window);
        let z = (point.y - middle) / robust_deviation(&window, middle);
        if z > limit::SPIKE_Z && stands_out(point.y, &points[from..i]) && stands_out(point.y, &points[i + 1..to]) {
            steps.push(point.x as u64);
        }
    }
    steps
}

/// Whether a loss is far above its neighbours on one side. On a steep fall, only those after it are low. The first loss is no spike.
fn stands_out(loss: f64, side: &[Point]) -> bool {
    let side: Vec<f64> = side.iter().map(|point| point.y).collect();
    !side.is_empty() && loss > limit::SPIKE_HEIGHT * median(&side)
}
