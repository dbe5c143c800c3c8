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
