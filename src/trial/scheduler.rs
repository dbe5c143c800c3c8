//! The learning-rate schedules, with their parameters.

use serde::{Deserialize, Serialize};

use super::FractionOrSteps;

/// Learning-rate schedules. [`crate::train::schedule`] holds the formulas. A parameter without a default is None until it is
/// given, and planning refuses a schedule that lacks one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Scheduler {
    Constant,
    Linear,
    Cosine {
        /// Half a period (0.5) ends at zero.
        cycles: f64,
    },
    CosineWithRestarts {
        /// Falls from the peak to zero.
        cycles: f64,
    },
    /// One of the two minima is given.
    CosineWithMinLr {
        cycles: f64,
        min_lr: Option<f64>,
        /// The minimum as a share of the peak.
        min_lr_ratio: Option<f64>,
    },
    Polynomial {
        power: f64,
        end_lr: f64,
    },
    InverseSqrt {
        /// Steps; None: the length of the warm-up, or 10000 without one.
        timescale: Option<u64>,
    },
    WarmupStableDecay {
        /// Length of the fall at the end of the run. It must be given.
        decay: Option<FractionOrSteps>,
        decay_shape: DecayShape,
        /// Where the fall ends, as a share of the peak.
        min_lr_ratio: f64,
    },
    Cyclical {
        shape: CycleShape,
        /// Minimum of each cycle. It must be given.
        min_lr: Option<f64>,
        /// Steps from the minimum to the peak. It must be given.
        step_up: Option<u64>,
        /// Steps from the peak to the minimum; None: as many.
        step_down: Option<u64>,
        /// Factor on the amplitude at each step, for `exp_range`.
        gamma: f64,
    },
    OneCycle {
        /// Share of the steps that rise.
        pct_start: f64,
        anneal: Anneal,
        /// Peak over initial rate.
        div_factor: f64,
        /// Initial over final rate.
        final_div_factor: f64,
    },
    ReduceOnPlateau {
        factor: f64,
        /// Evaluations without a better loss that are accepted. One more reduces the learning rate.
        patience: u64,
        /// A loss is better below the best times (1 - threshold).
        threshold: f64,
        /// Evaluations after a reduction that are not counted.
        cooldown: u64,
        min_lr: f64,
    },
    /// Rises from `from` at the first step to the peak at the last, by the same factor each step. Sweep files do not offer
    /// it: it is a variant so that `plateau lr-find` trains through the ordinary loop, which takes one kind of schedule.
    RangeTest {
        from: f64,
    },
}

impl Scheduler {
    /// The name used in sweep files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cosine { .. } => "cosine",
            Self::CosineWithRestarts { .. } => "cosine_with_restarts",
            Self::CosineWithMinLr { .. } => "cosine_with_min_lr",
            Self::Polynomial { .. } => "polynomial",
            Self::InverseSqrt { .. } => "inverse_sqrt",
            Self::WarmupStableDecay { .. } => "warmup_stable_decay",
            Self::Cyclical { .. } => "cyclical",
            Self::OneCycle { .. } => "one_cycle",
            Self::ReduceOnPlateau { .. } => "reduce_on_plateau",
            Self::RangeTest { .. } => "range_test",
        }
    }

    /// Whether it rises on its own, so that it takes no warm-up.
    #[must_use]
    pub fn rises(&self) -> bool {
        matches!(self, Self::Cyclical { .. } | Self::OneCycle { .. })
    }
}

/// How `warmup_stable_decay` falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayShape {
    Linear,
    Cosine,
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// How the cycles of `cyclical` grow smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleShape {
    /// Not at all.
    Triangular,
    /// By half each cycle.
    Triangular2,
    /// By `gamma` each step.
    ExpRange,
}

/// The form of both halves of `one_cycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    Cosine,
    Linear,
}
