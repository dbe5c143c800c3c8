//! The table of learning-rate schedules: their names, parameters and defaults. Planning checks what depends on the length
//! of the run.
//!
//! The default `null` means that there is no default: the parameter must be given, or it follows from others.

use super::kind::{Doc, Kind, MOST_STEPS, Parameter, STEPS, Variant};
use super::range::Range;

const CYCLES: Parameter = Parameter {
    name: "cycles",
    kind: Kind::Number { range: Range::above(0.0), expected: "a number of cycles above 0" },
    default: "0.5",
    doc: Doc {
        about: "Number of cosine periods; 0.5 falls once, from the peak to the end.",
        unit: "cycles",
        example: "1",
    },
};
const RATE: Kind = Kind::Number { range: Range::from(0.0), expected: "a learning rate, such as 1e-6, or 0" };
const SHARE: Kind = Kind::Number { range: Range::from(0.0).to(1.0), expected: "a share of the peak, from 0 to 1" };
const DIVISOR: Kind = Kind::Number { range: Range::from(1.0), expected: "a divisor of at least 1" };
const WHOLE_STEPS: Kind =
    Kind::Whole { from: 1, to: MOST_STEPS as u64, expected: "a whole number of steps, at least 1" };
const EVALUATIONS: Kind =
    Kind::Whole { from: 0, to: MOST_STEPS as u64, expected: "a whole number of evaluations, from 0" };
const LENGTH: Kind = Kind::FractionOrSteps {
    range: STEPS,
    expected: "a fraction of all steps (from 0 to below 1) or whole steps (from 1)",
};

pub(super) static SCHEDULERS: &[Variant] = &[
    Variant { name: "constant", about: "The learning rate stays at its peak.", parameters: &[] },
    Variant { name: "linear", about: "Falls in a straight line to 0 at the last step.", parameters: &[] },
    Variant { name: "cosine", about: "Falls along a cosine to 0.", parameters: &[CYCLES] },
    Variant {
        name: "cosine_with_restarts",
        about: "Falls along a cosine to 0 and starts again at the peak.",
        parameters: &[Parameter {
            default: "1",
            doc: Doc { about: "Number of falls from the peak to 0.", unit: "cycles", example: "3" },
            ..CYCLES
        }],
    },
    Variant {
        name: "cosine_with_min_lr",
        about: "Falls along a cosine to a minimum, which one of `min_lr` and `min_lr_ratio` gives.",
        parameters: &[
            CYCLES,
            Parameter {
                name: "min_lr",
                kind: Kind::Optional(&RATE),
                default: "null",
                doc: Doc { about: "The minimum.", unit: "learning rate", example: "1e-6" },
            },
            Parameter {
                name: "min_lr_ratio",
                kind: Kind::Optional(&SHARE),
                default: "null",
                doc: Doc { about: "The minimum as a share of the peak.", unit: "share", example: "0.1" },
            },
        ],
    },
    Variant {
        name: "polynomial",
        about: "Falls as a power of the remaining steps.",
        parameters: &[
            Parameter {
                name: "power",
                kind: Kind::Number { range: Range::above(0.0), expected: "an exponent above 0" },
                default: "1",
                doc: Doc { about: "The exponent; 1: a straight line.", unit: "", example: "2" },
            },
            Parameter {
                name: "end_lr",
                kind: RATE,
                default: "1e-7",
                doc: Doc { about: "The learning rate at the end.", unit: "learning rate", example: "1e-6" },
            },
        ],
    },
    Variant {
        name: "inverse_sqrt",
        about: "Falls with the inverse square root of the step.",
        parameters: &[Parameter {
            name: "timescale",
            kind: Kind::Optional(&WHOLE_STEPS),
            default: "null",
            doc: Doc {
                about: "Steps after which the fall becomes visible; `null`: the length of the warm-up, or 10000 without one.",
                unit: "optimizer steps",
                example: "500",
            },
        }],
    },
    Variant {
        name: "warmup_stable_decay",
        about: "Stays at the peak, then falls at the end of the run.",
        parameters: &[
            Parameter {
                name: "decay",
                kind: Kind::Optional(&LENGTH),
                default: "null",
                doc: Doc {
                    about: "Length of the fall. It must be given.",
                    unit: "fraction of all steps (below 1), or optimizer steps (from 1)",
                    example: "0.2",
                },
            },
            Parameter {
                name: "decay_shape",
                kind: Kind::Choice(&["linear", "cosine", "1-sqrt"]),
                default: "linear",
                doc: Doc { about: "The form of the fall.", unit: "", example: "1-sqrt" },
            },
            Parameter {
                name: "min_lr_ratio",
                kind: SHARE,
                default: "0",
                doc: Doc { about: "Where the fall ends, as a share of the peak.", unit: "share", example: "0.1" },
            },
        ],
    },
    Variant {
        name: "cyclical",
        about: "Rises and falls between a minimum and the peak, without a warm-up (Smith 2017).",
        parameters: &[
            Parameter {
                name: "shape",
                kind: Kind::Choice(&["triangular", "triangular2", "exp_range"]),
                default: "triangular",
                doc: Doc {
                    about: "How the cycles shrink: not at all, by half each cycle, or by `gamma` each step.",
                    unit: "",
                    example: "triangular2",
                },
            },
            Parameter {
                name: "min_lr",
                kind: Kind::Optional(&RATE),
                default: "null",
                doc: Doc {
                    about: "The learning rate between cycles. It must be given.",
                    unit: "learning rate",
                    example: "1e-6",
                },
            },
            Parameter {
                name: "step_up",
                kind: Kind::Optional(&WHOLE_STEPS),
                default: "null",
                doc: Doc {
                    about: "Steps from the minimum to the peak. It must be given.",
                    unit: "optimizer steps",
                    example: "50",
                },
            },
            Parameter {
                name: "step_down",
                kind: Kind::Optional(&WHOLE_STEPS),
                default: "null",
                doc: Doc {
                    about: "Steps from the peak to the minimum; `null`: as many as `step_up`.",
                    unit: "optimizer steps",
                    example: "100",
                },
            },
            Parameter {
                name: "gamma",
                kind: Kind::Number { range: Range::above(0.0).to(1.0), expected: "a factor above 0, at most 1" },
                default: "1",
                doc: Doc { about: "Factor on the amplitude at each step of `exp_range`.", unit: "", example: "0.999" },
            },
        ],
    },
    Variant {
        name: "one_cycle",
        about: "One rise and one fall over the whole run, without a warm-up (Smith and Topin 2018).",
        parameters: &[
            Parameter {
                name: "pct_start",
                kind: Kind::Number { range: Range::from(0.0).to(1.0), expected: "a share of all steps, from 0 to 1" },
                default: "0.3",
                doc: Doc { about: "Share of the steps that rise.", unit: "share", example: "0.1" },
            },
            Parameter {
                name: "anneal",
                kind: Kind::Choice(&["cosine", "linear"]),
                default: "cosine",
                doc: Doc { about: "The form of both halves.", unit: "", example: "linear" },
            },
            Parameter {
                name: "div_factor",
                kind: DIVISOR,
                default: "25",
                doc: Doc { about: "Peak over initial learning rate.", unit: "", example: "10" },
            },
            Parameter {
                name: "final_div_factor",
                kind: DIVISOR,
                default: "1e4",
                doc: Doc { about: "Initial over final learning rate.", unit: "", example: "1e3" },
            },
        ],
    },
    Variant {
        name: "reduce_on_plateau",
        about: "Reduces the learning rate when the evaluation loss no longer improves.",
        parameters: &[
            Parameter {
                name: "factor",
                kind: Kind::Number { range: Range::above(0.0).below(1.0), expected: "a factor above 0 and below 1" },
                default: "0.1",
                doc: Doc { about: "Factor on the learning rate at each reduction.", unit: "", example: "0.5" },
            },
            Parameter {
                name: "patience",
                kind: EVALUATIONS,
                default: "10",
                doc: Doc {
                    about: "Evaluations without an improvement that are accepted. One more reduces the learning rate.",
                    unit: "evaluations",
                    example: "2",
                },
            },
            Parameter {
                name: "threshold",
                kind: Kind::Number { range: Range::from(0.0).below(1.0), expected: "a share from 0 to below 1" },
                default: "1e-4",
                doc: Doc {
                    about: "A loss is an improvement if it is below the best loss times (1 - threshold).",
                    unit: "share",
                    example: "0.001",
                },
            },
            Parameter {
                name: "cooldown",
                kind: EVALUATIONS,
                default: "0",
                doc: Doc {
                    about: "Evaluations after a reduction that are not counted.",
                    unit: "evaluations",
                    example: "1",
                },
            },
            Parameter {
                name: "min_lr",
                kind: RATE,
                default: "0",
                doc: Doc {
                    about: "The learning rate is not reduced below this.",
                    unit: "learning rate",
                    example: "1e-6",
                },
            },
        ],
    },
];
