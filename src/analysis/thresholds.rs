//! Every threshold of the detector and the rules, with its source. `docs/diagnosis.md` explains the rules.
//!
//! "Own" means set on runs of this project: synthetic curves, or the injected faults of `tests/faults`.

// The detector. Own: chosen on synthetic curves so that trendless tails are called falling or rising in 5 % each.

/// A tail with fewer points has no trend.
pub const FEWEST_TAIL_POINTS: usize = 12;
/// Least number of blocks of a tail.
pub const FEWEST_BLOCKS: usize = 6;
/// Greatest number of blocks of a tail.
pub const MOST_BLOCKS: usize = 30;
/// Deviations from the median beyond which a loss is an outlier (Tukey's far-out fence is at 4.7).
pub const WINSOR: f64 = 5.0;
/// Change over a tail that does not matter, as a share of the scale.
pub const FLAT: f64 = 0.10;
/// Half of [`FLAT`].
pub const TIGHT: f64 = 0.05;
/// Share of the summed learning rate below which a tail may be flat because the schedule ended. The last third has 11 % under
/// linear decay, 6 % under a cosine, 33 % at a constant learning rate.
pub const SPENT_SHARE: f64 = 0.15;
/// Share of the summed learning rate that the tail has at a nearly constant rate: a third, less a margin.
pub const FULL_SHARE: f64 = 0.25;
/// Share of the peak above which a learning rate is effective: it still changes the loss.
pub const ACTIVE_RATE: f64 = 0.3;
/// Least gain of as many steps again that matters, in nats.
pub const LEAST_GAIN: f64 = 0.01;
/// Gain of twice the steps that is worth them, as a share of the scale.
pub const WORTH_STEPS: f64 = 0.05;

// The rules. H is the entropy of the class prior: the loss of the best guess that ignores the input.

/// Share of H from which a loss is at H. Set on 218 public fine-tuning runs.
pub const AT_PRIOR: f64 = 0.92;
/// Share of H below which a loss is clearly below H (source as for [`AT_PRIOR`]).
pub const BELOW_PRIOR: f64 = 0.85;
/// Share of blocks that may lie below H in a run that is stuck at it (source as above).
pub const STUCK_BLOCKS: f64 = 0.10;
/// Share of blocks below H that shows that something was learned (COLLAPSED); share of blocks at H before a late start
/// (`ESCAPED_LATE`).
pub const LEARNED_BLOCKS: f64 = 0.20;
/// Share of H above which a model is worse than guessing.
pub const OVER_PRIOR: f64 = 1.1;
/// Share of the first loss below which something was learned, where H is unknown.
pub const BELOW_START: f64 = 0.95;
/// Last loss divided by the lowest loss, of a rise (trainspotter).
pub const RISE: f64 = 1.5;
/// `BAD_INIT`: relative distance of the first loss from ln C that gives a note (Karpathy's recipe).
pub const BAD_INIT_NOTE: f64 = 0.25;
/// `BAD_INIT`: relative distance of the first loss from ln C that gives a cause (`TheDeepChecker`).
pub const BAD_INIT: f64 = 1.0;
/// Accuracy above the majority class that chance may explain, where the size of the evaluation set is unknown (own).
pub const MAJORITY_MARGIN: f64 = 0.03;
/// Accuracy above the majority class that chance does not explain, where the size of the evaluation set is unknown: two standard errors
/// of [`FEW_EXAMPLES`] (own).
pub const SURE_MARGIN: f64 = 0.08;
/// Examples of an evaluation set of unknown size.
pub const FEW_EXAMPLES: u64 = 160;
/// Area under the ROC curve from which a model knows something of the classes, whatever its loss and its answers are (own).
pub const RANKS: f64 = 0.8;
/// Relative distance from ln K, or log2 K, within which a loss is that of guessing among K classes (own).
pub const NEAR_UNIFORM: f64 = 0.02;
/// The same distance within which a text says so (own).
pub const AT_UNIFORM: f64 = 0.01;
/// Greatest K for which a loss is compared with that of guessing among K classes (own).
pub const FEW_CLASSES: usize = 10;
/// `NEVER_FELL`: share of the start above which a loss has not moved (own).
pub const UNMOVED: f64 = 0.98;
/// Share of their first loss below which the last of evaluations has come down, and the share of their steps that then lead down (own).
pub const COME_DOWN: f64 = 0.985;
pub const DOWNWARD: f64 = 0.75;
/// `NEVER_FELL`: loss in nats that leaves something to learn (own).
pub const MUCH_LOSS: f64 = 0.3;
/// `NEVER_FELL`: accuracy that guessing does not reach (own).
pub const KNOWS: f64 = 0.9;
/// `NEVER_FELL`: share of the run by whose end a loss is flat that has not moved since its first steps (own).
pub const SOON: f64 = 0.2;
/// `NEVER_FELL`: share of the summed learning rate that the tail then has at least: a cosine leaves it 6 % (own).
pub const TAIL_SHARE: f64 = 0.05;
/// `NEVER_FELL`: nats above which a loss that rests shows hardly more than frequencies: a perplexity of 55 (own).
pub const FREQUENCIES_ALONE: f64 = 4.0;
/// `NEVER_FELL`: relative distance of evaluations from their median within which they are one number (own).
pub const ONE_NUMBER: f64 = 0.0025;
/// Relative distance from ln 2 within which the first step of a preference loss lies: its policy equals its reference, and logs have
/// three decimals or more (own).
pub const EXACT_START: f64 = 5e-4;
/// ln 2 rounded to the seven bits of a bfloat16.
pub const LN_2_IN_BF16: f64 = 0.691_406_25;
/// Relative distance from ln 2 of the mean over the first steps of a preference loss (own).
pub const NEAR_START: f64 = 0.01;
/// Share of the first training losses below which the last third shows learning (own).
pub const POOR_FALL: f64 = 0.9;
/// Greatest K of which ln K is taken for guessing where the start of the loss is not seen: with more, any level would do (own).
pub const FEWEST_CLASSES: usize = 4;
/// A loss that starts within this share of the steps, or within one and a half logging intervals, is seen from its start.
pub const SEEN_START: f64 = 0.02;
/// Multiple of the level before above which the last losses, or the last evaluation, diverge (own).
pub const DIVERGES: f64 = 2.0;
/// Nats by which such a loss must rise (own).
pub const LEAST_RISE: f64 = 0.02;
/// Multiple of the greatest value before that such a leap must exceed as well (own).
pub const ABOVE_ALL: f64 = 1.25;
/// Greatest number of evaluations that stay high after a leap (own).
pub const LEAPT_EVALS: usize = 3;
/// Share of the fall that losses below the start must give back to diverge (own).
pub const GIVEN_BACK: f64 = 1.0 / 3.0;
/// Standard deviations of a single loss that such a rise must exceed (own: the greatest of 10,000 normal values lies at 4).
pub const BEYOND_NOISE: f64 = 8.0;
/// Fewest losses that stay high (own).
pub const FEWEST_HIGH: usize = 3;
/// Multiple of the lowest level below which a last loss is near it (own).
pub const NEAR_LEVEL: f64 = 1.1;
/// Share of the run that such a stay may last. A longer one is no late rise, and the level before was hardly reached (own).
pub const LATE_STAY: f64 = 0.75;
/// Rows over which a loss leaps. Over more it climbs (own).
pub const LEAP_ROWS: usize = 3;
/// Share of a rise that its first two losses have if it is a leap (own).
pub const LEAPS: f64 = 0.6;
/// Learning little, where H is unknown: share of the loss at the start (own).
pub const LITTLE_OF_START: f64 = 0.8;
/// `PRIOR_SHIFT`: p-value of the chi-squared test of the class frequencies (own).
pub const SHIFT_P: f64 = 1e-6;
/// `PRIOR_SHIFT`: total variation distance of the class frequencies (own).
pub const SHIFT_DISTANCE: f64 = 0.10;
/// Multiple of the first evaluation loss above which a later one has risen (own).
pub const ROSE: f64 = 1.02;
/// Share of the evaluation set that may also be in the training data: short texts repeat (own).
pub const LEAKED: f64 = 0.01;
/// `ZERO_LOSS`: share of the start above which the loss lies before it drops to 0 (own).
pub const DROPS_TO_ZERO: f64 = 0.1;
/// `ZERO_LOSS`: share of the start below which a loss that is fitted step by step comes before it is 0 (own).
pub const CLOSE_TO_ZERO: f64 = 0.01;
/// `ZERO_LOSS`: number of zeros at the end (own).
pub const FEWEST_ZEROS: usize = 3;
/// `ESCAPED_LATE`: fall during the stay at guessing divided by the fall after it over as many blocks. A steady fall has 1 (own).
pub const STAYS_STILL: f64 = 0.25;
/// Relative distance within which a number that is advised is the one in force (own).
pub const IN_FORCE: f64 = 0.05;
/// Share of the greatest learning rate that an earlier cycle of the schedule has at its peak, and share below which it fell in between
/// (own).
pub const AT_PEAK: f64 = 0.98;
pub const OFF_PEAK: f64 = 0.8;
/// Usual share of the steps for a warm-up (tuning playbook).
pub const USUAL_WARMUP: f64 = 0.1;
/// Rows of a log that show a warm-up before the peak (own).
pub const SEEN_WARMUP: usize = 3;
/// Share of the planned steps that a log of a complete run covers. Also the share of a log up to its peak learning rate, above
/// which the warm-up has not ended (own).
pub const COMPLETE: f64 = 0.9;
/// Noisy training losses that the comparison with clean ones needs.
pub const FEWEST_NOISY: usize = 8;
/// Share of predictions that are one class in a degenerate model (Mosbach et al. 2021).
pub const ONE_CLASS: f64 = 0.95;
/// Share of the steps after the peak learning rate within which trouble is caused by the peak (tuning playbook).
pub const AFTER_PEAK: f64 = 0.10;
/// `SPIKES`: robust z-score of a spike among its neighbours (trainspotter, runmedic).
pub const SPIKE_Z: f64 = 6.0;
/// `SPIKES`: height of a spike over the median of its neighbours (trainspotter, runmedic).
pub const SPIKE_HEIGHT: f64 = 1.5;
/// `SPIKES`: number of steps that are neighbours, the spike included.
pub const SPIKE_WINDOW: usize = 21;
/// `SPIKES`: number of spikes that make a pattern (runmedic).
pub const SPIKES: usize = 3;
/// `CLIP_BOUND`: share of clipped steps that gives a note (tuning playbook).
pub const CLIPPED: f64 = 0.5;
/// `CLIP_BOUND`: median gradient norm divided by the limit that gives a cause (own: fine-tuning of BERT at a limit of 1 clips most
/// steps by less, and is healthy).
pub const CLIP_STARVES: f64 = 100.0;
/// Variance of block means divided by what batch noise explains (own).
pub const BOUNCE: f64 = 3.0;
/// `NOISE_FLOOR`: range of the evaluations of the latter half, as a share of their median, that no running mean explains (own).
pub const SWINGS: f64 = 1.0;
/// `TOO_SLOW`: least fall in the tail, as a share of the scale (own).
pub const SLOW_FALL: f64 = -0.05;
/// `TOO_SLOW`: least fall in the tail divided by the fall in the middle third, each per summed learning rate (own).
pub const SLOW_STEADY: f64 = 0.7;
/// `TOO_SLOW`: share of the run after which the best evaluation comes (tuning playbook).
pub const SLOW_LATE: f64 = 0.75;
/// `TOO_SLOW`: share of H that the whole run at its peak learning rate would have gained. Below it, a low learning rate is too low
/// (own, `tests/faults`).
pub const SLOW_REACH: f64 = 0.6;
/// Share of H above which the final loss of clean training examples shows that little was learned (own, `tests/faults`: good
/// runs of 100 steps end at 0.3 to 0.45).
pub const POOR: f64 = 0.55;
/// Greatest mean |change| over mean |weight| of a run's steps below which the learning rate is low, if little was learned (own,
/// `tests/faults`: 2e-4 has 9e-4, 1e-5 has 5e-5; BERT at 2e-5 has 5e-4).
pub const RATIO_LOW: f64 = 1.5e-4;
/// The same ratio above which the learning rate is high, if little was learned (own, `tests/faults`: 3e-3 has 5e-3 to 1e-2).
pub const RATIO_HIGH: f64 = 2.5e-3;
/// The same ratio divided by the learning rate, below which the optimizer shrinks the steps (own: about 5 for `MiniLM` and 25 for
/// BERT, 0.015 at an eps of 1e-2).
pub const RATIO_OF_RATE: f64 = 0.5;
/// Greatest usual eps of Adam.
pub const USUAL_EPS: f64 = 1e-6;
/// Multiple of H, or of the first evaluation if that is greater, above which a loss blew up (own, `tests/faults`).
pub const JUMP: f64 = 1.2;
/// Update ratio that a step must have for its jump to count, where the ratio is known. Without inputs a loss jumps at good learning
/// rates too (own, `tests/faults`).
pub const RATIO_OF_JUMP: f64 = 1.2e-3;
/// Share of the summed learning rate in the second half of the steps below which a schedule ends early: linear decay has 25 %,
/// a cosine 18 % (own).
pub const SPENT_EARLY: f64 = 0.10;
/// Share of H by which two trials must differ for one to correct the other (own).
pub const NEIGHBOUR: f64 = 0.05;
/// Share of the steps after which a peak learning rate comes too late (own; the tuning playbook warms up over 10 %).
pub const LATE_PEAK: f64 = 0.5;
/// Share of H above which an evaluation loss is no better than guessing. Overfitting to there is more than over-confidence
/// (own).
pub const NO_BETTER: f64 = 0.95;
/// Number of half confidence intervals that a rise must exceed. Noise on a falling loss seldom makes a rise of 3.3 standard
/// errors (own).
pub const RISE_INTERVALS: f64 = 2.0;
/// `OVERFIT`: least number of evaluations after the best one (runmedic).
pub const OVERFIT_EVALS: usize = 3;
/// `OVERFIT`: mean of these evaluations divided by the best one that gives a verdict (runmedic).
pub const OVERFIT: f64 = 1.05;
/// `OVERFIT`: the same ratio from which the loss rises "steeply" (runmedic).
pub const OVERFIT_SEVERE: f64 = 1.15;
/// `OVERFIT`: least fall of the training loss since the best evaluation (tuning playbook).
pub const OVERFIT_FALL: f64 = 0.03;
/// `OVERFIT`: training loss divided by that at the best evaluation, up to which it rests (own: more than the noise of few rows).
pub const AT_REST: f64 = 1.1;
/// `OVERFIT`: the same ratio from which the loss overfits although the training loss does not fall (own).
pub const OVERFIT_AT_REST: f64 = 1.5;
/// `OVERFIT`: least rise of the evaluation loss, as a share of its fall before. A smaller one is none in losses close to 0 (own, public
/// logs).
pub const OVERFIT_OF_FALL: f64 = 0.02;
/// `OVERFIT`: accuracy below which a model knows so little that a constant accuracy excuses nothing (own, public logs of many classes).
pub const WORTH_ACCURACY: f64 = 0.05;
/// Number of evaluations whose neighbours tell the noise, and that are enough for a verdict where training losses are few (own).
pub const NOISY_EVALS: usize = 8;
/// Logs too short for a trend: relative change of the evaluation loss that counts as none (own, development half of 70 public logs).
pub const SHORT_CHANGE: f64 = 0.01;
/// Logs too short for a trend: evaluations that show that nothing is learned (source as for [`SHORT_CHANGE`]).
pub const SHORT_EVALS: usize = 4;
/// The same at ln 2, ln 3 or ln 4 (own).
pub const SHORT_EVALS_AT_UNIFORM: usize = 3;
/// Share of H below which the training data are fitted (21 of 218 public runs).
pub const FITTED: f64 = 0.05;
/// `LABEL_FLOOR`: share of wrong answers among the most confident ones above which labels are wrong, at the evaluation with the
/// fewest (own: clean tweets leave 2 to 6 % once they are learned; with a fifth of the labels shuffled, so that 11 % are wrong, it is
/// 11 to 20 %).
pub const SURELY_WRONG: f64 = 0.06;
/// `LABEL_FLOOR`: least number of most confident answers (own).
pub const FEWEST_SURE: usize = 75;
/// `LABEL_FLOOR`: share of H by which the clean training loss must lie below the best evaluation loss (own: 0.13 or more with a fifth of the
/// labels shuffled).
pub const MEMORISED_GAP: f64 = 0.12;
/// `LABEL_FLOOR`: share of H below which the clean loss shows that the training data are learned in part (own, `tests/faults`).
pub const KNOWS_TRAINING: f64 = 0.8;
/// `LABEL_FLOOR`: standard deviations beyond which errors are surely more than expected: one-sided, 95 %.
pub const SURELY_MORE: f64 = 1.645;
/// `LABEL_FLOOR`: standard deviations beyond which errors are far fewer than expected (own: with a fifth of the labels shuffled, a
/// pretrained encoder has 1.8 fewer to 3.9 more).
pub const FAR_FEWER: f64 = 3.0;
/// `LABEL_FLOOR`: number of lowest evaluations that show this of a network without an encoder (own).
pub const LOWEST_EVALS: usize = 3;
/// `LABEL_FLOOR`: least number of such evaluations (own).
pub const SURE_EVALS: usize = 2;
/// Share of the run: if the best evaluation comes within it, the rest is wasted (tuning playbook).
pub const WASTED: f64 = 0.10;
/// `AUG_TOO_STRONG`: training loss minus the clean loss, as a share of the scale (own).
pub const AUGMENTATION_GAP: f64 = 0.15;
/// `DROPOUT_TOO_STRONG`: the same with dropout alone (own).
pub const DROPOUT_GAP: f64 = 0.30;
/// Rate of augmentation or dropout probability that explains why little is learned (own).
pub const STRONG_NOISE: f64 = 0.5;
/// Median change between evaluations divided by the range of all evaluations (trainspotter).
pub const EVAL_NOISE: f64 = 0.15;
/// `IMBALANCED`: share of the labels in one class (own). With 90 %, runs that fail for another reason answer one class too.
pub const ONE_CLASS_LABELS: f64 = 0.925;
/// `IMBALANCED`: share of the other labels that the model does not answer (own).
pub const UNANSWERED: f64 = 0.5;
/// `TRUNCATED`: greatest `max_length` (own).
pub const FEW_TOKENS: usize = 16;
/// `TRUNCATED`: share of `max_length` that the mean example fills (own).
pub const CUT_TOKENS: f64 = 0.95;
/// `DECAY_TOO_STRONG`: share of their size that weight decay takes from the weights (own).
pub const DECAYED: f64 = 0.1;
/// `NOISY_BATCHES`: number of examples of a small batch (own).
pub const SMALL_BATCH: usize = 4;
/// `NOISY_BATCHES`: standard deviation of the loss of a batch, as a share of the scale (own).
pub const BATCH_NOISE: f64 = 0.2;
/// Share of H above which a floor that no rule explains is reported (own; also of the floors that trials share).
pub const HIGH_FLOOR: f64 = 0.2;
/// `UPDATE_RATIO`: log10 of the median update ratio above which steps are too large (`TheDeepChecker`).
pub const UPDATE_FAST: f64 = -1.0;
/// `UPDATE_RATIO`: log10 of the median update ratio below which steps are too small (`TheDeepChecker` warns from -4; BERT at 2e-5 has
/// -3.3, and less in its last steps).
pub const UPDATE_SLOW: f64 = -5.0;
/// Gradient norm of the first step that only broken weights give (own, `tests/faults`).
pub const FIRST_NORM: f64 = 30.0;
/// `VANISH`: gradient norm of the lowest layer divided by that of the highest (`AutoTrainer`).
pub const VANISHING: f64 = 1e-3;
/// `VANISH`: gradient norm below which that of the lowest layer must lie as well (`SageMaker` Debugger).
pub const VANISHED: f64 = 1e-4;
/// The same ratio in a run that learned little at a good learning rate (own, `tests/faults`: 0.1 to 3 in other runs; Mosbach et
/// al. 2021 see such runs of BERT fail).
pub const STARVED: f64 = 0.03;
/// The same ratio above which gradients explode (`AutoTrainer`).
pub const EXPLODING: f64 = 70.0;
/// Fewest equal accuracies for answers that are all one class, where the class frequencies are unknown (own).
pub const ALIKE_EVALS: usize = 6;
/// Fewest of them where the evaluation losses stay still as well (own).
pub const FEW_ALIKE_EVALS: usize = 3;
/// Difference of accuracies that are alike then: an example or two (own).
pub const ALIKE: f64 = 0.002;
/// Range of evaluation losses, as a share of their median, that is no movement (own).
pub const STILL: f64 = 0.02;
/// More evaluations than this must be equal to the last bit for FROZEN (`SageMaker` Debugger).
pub const FROZEN_EVALS: usize = 3;
/// Learning rate from which it explains a stuck BERT, where nothing else does (transformers#12041: 1e-3 is stuck).
pub const RATE_HIGH: f64 = 2e-4;
/// Learning rate below which it explains a stuck BERT, where nothing else does (Mosbach et al. 2021: 1e-5 to 3e-5 is safe).
pub const RATE_LOW: f64 = 2e-6;
