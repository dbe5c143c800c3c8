//! The table of learning-rate schedules: their names, parameters and defaults. What only the length of a run can refute is
//! checked when a sweep is planned.

use super::keys::fraction_or_steps;
use super::kind::{Kind, MOST_STEPS, Parameter, Variant};

const CYCLES: Parameter = Parameter {
    name: "cycles",
    kind: Kind::Number { fits: |x| x > 0.0, expected: "a number of cycles above 0" },
    default: "0.5",
};
const RATE: Kind = Kind::Number { fits: |x| x >= 0.0, expected: "a learning rate, such as 1e-6, or 0" };
const SHARE: Kind = Kind::Number { fits: |x| (0.0..=1.0).contains(&x), expected: "a share of the peak, from 0 to 1" };
const DIVISOR: Kind = Kind::Number { fits: |x| x >= 1.0, expected: "a divisor of at least 1" };
const STEPS: Kind =
    Kind::Whole { fits: |n| n >= 1 && n <= MOST_STEPS.into(), expected: "a whole number of steps, at least 1" };
const EVALUATIONS: Kind =
    Kind::Whole { fits: |n| n <= MOST_STEPS.into(), expected: "a whole number of evaluations, from 0" };
const LENGTH: Kind = Kind::Number {
    fits: fraction_or_steps,
    expected: "a fraction of all steps (from 0 to below 1) or whole steps (from 1)",
};

/// `null` stands for what has no default: it is needed, or follows from other parameters.
pub(super) static SCHEDULERS: &[Variant] = &[
    Variant { name: "constant", parameters: &[] },
    Variant { name: "linear", parameters: &[] },
    Variant { name: "cosine", parameters: &[CYCLES] },
    Variant { name: "cosine_with_restarts", parameters: &[Parameter { default: "1", ..CYCLES }] },
    Variant {
        name: "cosine_with_min_lr",
        parameters: &[
            CYCLES,
            Parameter { name: "min_lr", kind: Kind::Optional(&RATE), default: "null" },
            Parameter { name: "min_lr_ratio", kind: Kind::Optional(&SHARE), default: "null" },
        ],
    },
    Variant {
        name: "polynomial",
        parameters: &[
            Parameter {
                name: "power",
                kind: Kind::Number { fits: |x| x > 0.0, expected: "an exponent above 0" },
                default: "1",
            },
            Parameter { name: "end_lr", kind: RATE, default: "1e-7" },
        ],
    },
    Variant {
        name: "inverse_sqrt",
        parameters: &[Parameter { name: "timescale", kind: Kind::Optional(&STEPS), default: "null" }],
    },
    Variant {
        name: "warmup_stable_decay",
        parameters: &[
            Parameter { name: "decay", kind: Kind::Optional(&LENGTH), default: "null" },
            Parameter { name: "decay_shape", kind: Kind::Choice(&["linear", "cosine", "1-sqrt"]), default: "linear" },
            Parameter { name: "min_lr_ratio", kind: SHARE, default: "0" },
        ],
    },
    Variant {
        name: "cyclical",
        parameters: &[
            Parameter {
                name: "shape",
                kind: Kind::Choice(&["triangular", "triangular2", "exp_range"]),
                default: "triangular",
            },
            Parameter { name: "min_lr", kind: Kind::Optional(&RATE), default: "null" },
            Parameter { name: "step_up", kind: Kind::Optional(&STEPS), default: "null" },
            Parameter { name: "step_down", kind: Kind::Optional(&STEPS), default: "null" },
            Parameter {
                name: "gamma",
                kind: Kind::Number { fits: |x| x > 0.0 && x <= 1.0, expected: "a factor above 0, at most 1" },
                default: "1",
            },
        ],
    },
    Variant {
        name: "one_cycle",
        parameters: &[
            Parameter {
                name: "pct_start",
                kind: Kind::Number {
                    fits: |x| (0.0..=1.0).contains(&x),
                    expected: "a share of all steps, from 0 to 1",
                },
                default: "0.3",
            },
            Parameter { name: "anneal", kind: Kind::Choice(&["cosine", "linear"]), default: "cosine" },
            Parameter { name: "div_factor", kind: DIVISOR, default: "25" },
            Parameter { name: "final_div_factor", kind: DIVISOR, default: "1e4" },
        ],
    },
    Variant {
        name: "reduce_on_plateau",
        parameters: &[
            Parameter {
                name: "factor",
                kind: Kind::Number { fits: |x| x > 0.0 && x < 1.0, expected: "a factor above 0 and below 1" },
                default: "0.1",
            },
            Parameter { name: "patience", kind: EVALUATIONS, default: "10" },
            Parameter {
                name: "threshold",
                kind: Kind::Number { fits: |x| (0.0..1.0).contains(&x), expected: "a share from 0 to below 1" },
                default: "1e-4",
            },
            Parameter { name: "cooldown", kind: EVALUATIONS, default: "0" },
            Parameter { name: "min_lr", kind: RATE, default: "0" },
        ],
    },
];
