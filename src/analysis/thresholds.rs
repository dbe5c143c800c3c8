//! Every threshold of the detector and the rules, with where it comes from. Docs: `docs/diagnosis.md`.

// The detector. Own: chosen on synthetic curves so that trendless tails are called falling or rising in 5 % each.

/// Points below which a tail has no trend.
pub const FEWEST_TAIL_POINTS: usize = 12;
/// Blocks that a tail is cut into.
pub const FEWEST_BLOCKS: usize = 6;
pub const MOST_BLOCKS: usize = 30;
/// Deviations from the median beyond which a loss is an outlier (Tukey's far-out fence is at 4.7).
pub const WINSOR: f64 = 5.0;
/// Change over a tail, as a share of the scale, that is nobody's concern.
pub const FLAT: f64 = 0.10;
pub const TIGHT: f64 = 0.05;
/// Share of the summed learning rate below which a tail is flat because there was no rate left: a linear decay leaves its
/// last third 11 %, a cosine 6 %, a constant rate 33 %.
pub const SPENT_SHARE: f64 = 0.15;
/// Part of the peak above which a rate is worth something.
pub const ACTIVE_RATE: f64 = 0.3;
/// Gain of twice the steps, as a share of the scale, that is worth them.
pub const WORTH_STEPS: f64 = 0.05;

// Trial rules. "Share of H": of the entropy of the class prior, what the best guess that ignores the input loses.

/// Shares of H: at it, and clearly below it. Set on 218 public fine-tuning runs.
pub const AT_PRIOR: f64 = 0.92;
pub const BELOW_PRIOR: f64 = 0.85;
/// Share of blocks that may lie below the prior in a run that is stuck there (as above).
pub const STUCK_BLOCKS: f64 = 0.10;
/// Share of blocks below the prior that shows that something was learned: COLLAPSED, and at the prior: `ESCAPED_LATE`.
pub const LEARNED_BLOCKS: f64 = 0.20;
/// Share of H above which a model is worse than ignorant.
pub const OVER_PRIOR: f64 = 1.1;
/// Share of the loss at the start below which something was learned, where guessing is unknown.
pub const BELOW_START: f64 = 0.95;
/// Last loss over best loss of a rise (trainspotter).
pub const RISE: f64 = 1.5;
/// Relative distance of the first loss from ln C: worth a word, wrong (Karpathy's recipe; `TheDeepChecker`).
pub const BAD_INIT_NOTE: f64 = 0.25;
pub const BAD_INIT: f64 = 1.0;
/// Accuracy above the majority class that is still its, where the size of the evaluation set is unknown (own).
pub const MAJORITY_MARGIN: f64 = 0.03;
/// Share of predictions that are one class in a degenerate model (Mosbach et al. 2021).
pub const ONE_CLASS: f64 = 0.95;
/// Share of the steps after the peak of the rate within which trouble is the peak's (tuning playbook).
pub const AFTER_PEAK: f64 = 0.10;
/// A spike: robust z within 21 steps, height over their median, and how many make a pattern (trainspotter, runmedic).
pub const SPIKE_Z: f64 = 6.0;
pub const SPIKE_HEIGHT: f64 = 1.5;
pub const SPIKE_WINDOW: usize = 21;
pub const SPIKES: usize = 3;
/// Share of clipped steps worth a word (tuning playbook), and median norm over the limit that starves the step (own:
/// fine-tuning of BERT at a limit of 1 clips most steps by less and is well).
pub const CLIPPED: f64 = 0.5;
pub const CLIP_STARVES: f64 = 100.0;
/// Variance of block means over what batches alone explain (own).
pub const BOUNCE: f64 = 3.0;
/// `TOO_SLOW`: least fall in the tail; fall there over fall in the middle third, each by its summed rate; share of the run
/// that the best evaluation is in (tuning playbook); share of H that the whole run at its peak rate would have brought,
/// below which a rate known to be low is too low (own, `tests/faults`).
pub const SLOW_FALL: f64 = -0.05;
pub const SLOW_STEADY: f64 = 0.7;
pub const SLOW_LATE: f64 = 0.75;
pub const SLOW_REACH: f64 = 0.6;
/// Share of H above which the clean loss of training examples says that little was learned (own, `tests/faults`: good runs
/// of 100 steps end at 0.3 to 0.45).
pub const POOR: f64 = 0.55;
/// Greatest mean |change| over mean |weight| of a run's steps: below the first a rate is low, above the second high, where
/// little was learned (own, `tests/faults`: 2e-4 has 9e-4, 1e-5 has 5e-5, 3e-3 has 5e-3 to 1e-2; BERT at 2e-5 has 5e-4).
pub const RATIO_LOW: f64 = 1.5e-4;
pub const RATIO_HIGH: f64 = 2.5e-3;
/// That ratio over the learning rate, below which the optimizer swallows the steps (own: it is about 5 for `MiniLM` and
/// 25 for BERT, 0.015 at an eps of 1e-2); the greatest eps that is usual.
pub const RATIO_OF_RATE: f64 = 0.5;
pub const USUAL_EPS: f64 = 1e-6;
/// Share of H, or of the first evaluation where that is more, above which a loss was thrown; the ratio above that a step
/// that throws it must have, where ratios are known: without inputs a loss jumps at good rates too (own, `tests/faults`).
pub const THROWN: f64 = 1.2;
pub const RATIO_THROWS: f64 = 1.2e-3;
/// Share of the summed rate left to the second half of the steps, below which a schedule ends early: linear decay leaves
/// 25 %, a cosine 18 % (own).
pub const SPENT_EARLY: f64 = 0.10;
/// Share of H by which trials must differ for one to say something of the other (own).
pub const NEIGHBOUR: f64 = 0.05;
/// Share of the steps after which a peak of the rate comes too late (own; the tuning playbook warms up over 10 %).
pub const LATE_PEAK: f64 = 0.5;
/// Share of H at which an evaluation loss is no better than guessing, and above which overfitting is more than too much
/// confidence (own).
pub const NO_BETTER: f64 = 0.95;
/// Half intervals that a rise must be above zero: noise on a falling loss seldom makes one of 3.3 standard errors (own).
pub const RISE_INTERVALS: f64 = 2.0;
/// OVERFIT: evaluations after the best, rise of their mean over it (warning, severe), fall of the training loss meanwhile
/// (runmedic; tuning playbook).
pub const OVERFIT_EVALS: usize = 3;
pub const OVERFIT: f64 = 1.05;
pub const OVERFIT_SEVERE: f64 = 1.15;
pub const OVERFIT_FALL: f64 = 0.03;
/// Share of H below which the training data are fitted (21 of 218 public runs).
pub const FITTED: f64 = 0.05;
/// Share of wrong labels among what the model is surest of, at the evaluation that has fewest, above which labels are to blame:
/// clean ones leave 2 to 6 % there, and a fifth of them shuffled, so that 11 % are wrong, 11 to 16 % (embedded tweets). And how many such
/// evaluations there must be.
pub const SURELY_WRONG: f64 = 0.06;
pub const SURE_EVALS: usize = 2;
/// Share of the run in whose beginning a best evaluation makes the rest a waste (tuning playbook).
pub const WASTED: f64 = 0.10;
/// Gap of noisy training loss over clean probe loss, as a share of the scale: by augmentation, by dropout alone (own).
pub const AUGMENTATION_GAP: f64 = 0.15;
pub const DROPOUT_GAP: f64 = 0.30;
/// Rate of augmentation, dropout, that is to blame where little is learned even so (own).
pub const STRONG_NOISE: f64 = 0.5;
/// Median change between evaluations over the range of them all (trainspotter).
pub const EVAL_NOISE: f64 = 0.15;
/// Settings far outside the usual. Share of the labels that one class has, and of what is left to the others that a model
/// fails to answer; tokens an example, and their share of the most that are read; summed rate times weight decay: what
/// the weights lose of their size; examples of a small batch, and the deviation of its loss, as a share of the scale (own).
pub const ONE_CLASS_LABELS: f64 = 0.9;
pub const UNANSWERED: f64 = 0.5;
pub const FEW_TOKENS: usize = 16;
pub const CUT_TOKENS: f64 = 0.95;
pub const DECAYED: f64 = 0.1;
pub const SMALL_BATCH: usize = 4;
pub const BATCH_NOISE: f64 = 0.2;
/// Share of H above which a floor that no rule explains is worth asking about (own, as the sweep's SATURATED).
pub const HIGH_FLOOR: f64 = 0.2;
/// log10 of mean |change| over mean |weight| of a step: fast, slow (`TheDeepChecker`, which warns of slowness from -4; BERT at 2e-5 has -3.3, and its last steps less).
pub const UPDATE_FAST: f64 = -1.0;
pub const UPDATE_SLOW: f64 = -5.0;
/// Gradient norm of the first step that only a broken start has (own, `tests/faults`).
pub const FIRST_NORM: f64 = 30.0;
/// Ratio of gradient norms, lowest over highest layer: vanishing (with the lower norm below the second), exploding
/// (`AutoTrainer`, `SageMaker` Debugger).
pub const VANISHING: f64 = 1e-3;
pub const VANISHED: f64 = 1e-4;
/// The ratio below which little arrives in a run that learns little at a good rate (own, `tests/faults`: 0.1 to 3 in
/// others; Mosbach et al. 2021 see such runs of BERT fail).
pub const STARVED: f64 = 0.03;
pub const EXPLODING: f64 = 70.0;
/// Evaluations that must agree bit for bit before a model counts as frozen (`SageMaker` Debugger).
pub const FROZEN_EVALS: usize = 3;
/// Learning rates beyond which a stuck BERT blames them, where nothing else tells (Mosbach et al. 2021: 1e-5 to 3e-5 is
/// safe; transformers#12041: 1e-3 is stuck).
pub const RATE_HIGH: f64 = 2e-4;
pub const RATE_LOW: f64 = 2e-6;
