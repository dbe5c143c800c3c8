//! The keys of the section `stop` that judge a trial by itself.

use super::key::{Key, METRIC, NOT_NEGATIVE, put, switch};
use crate::spec::kind::{Doc, Kind, MOST_STEPS};
use crate::trial::{Patience, Plateau, TrialConfig};

const EVALS: Kind = Kind::Whole { from: 1, to: 1_000_000, expected: "a whole number from 1" };
const STEPS_FROM_0: Kind = Kind::Whole { from: 0, to: MOST_STEPS as u64, expected: "a whole number from 0" };

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "stop.diverged",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.stop.diverged, v),
        doc: Doc {
            about: "Whether a trial ends when its loss is NaN or infinite, or when the smoothed loss exceeds three times its \
                    start.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "stop.patience",
        kind: Kind::Switch { expected: "none, or a map such as {metric: eval_loss, evals: 5}" },
        put: |c, v| switch(&mut c.stop.patience, v),
        doc: Doc {
            about: "Early stopping: ends a trial whose evaluations no longer improve.",
            unit: "",
            example: "{metric: eval_loss, evals: 5, min_delta: 0.001}",
        },
    },
    Key {
        path: "stop.patience.metric",
        kind: Kind::Optional(&METRIC),
        put: |c, v| put(&mut patience(c).metric, v),
        doc: Doc { about: "The metric that has to improve; `null`: that of `metric`.", unit: "", example: "accuracy" },
    },
    Key {
        path: "stop.patience.evals",
        kind: EVALS,
        put: |c, v| put(&mut patience(c).evals, v),
        doc: Doc {
            about: "Evaluations in a row without an improvement after which the trial ends.",
            unit: "evaluations",
            example: "3",
        },
    },
    Key {
        path: "stop.patience.min_delta",
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut patience(c).min_delta, v),
        doc: Doc {
            about: "An improvement counts only if it is larger than this.",
            unit: "that of the metric",
            example: "0.001",
        },
    },
    Key {
        path: "stop.plateau",
        kind: Kind::Switch { expected: "none, true, or a map such as {evals: 3}" },
        put: |c, v| switch(&mut c.stop.plateau, v),
        doc: Doc {
            about: "Ends a trial whose training loss reached a plateau that the remaining steps would not leave.",
            unit: "",
            example: "{evals: 3, min_steps: 50}",
        },
    },
    Key {
        path: "stop.plateau.evals",
        kind: EVALS,
        put: |c, v| put(&mut plateau(c).evals, v),
        doc: Doc { about: "Evaluations in a row at which the curve must be flat.", unit: "evaluations", example: "5" },
    },
    Key {
        path: "stop.plateau.min_steps",
        kind: STEPS_FROM_0,
        put: |c, v| put(&mut plateau(c).min_steps, v),
        doc: Doc { about: "Evaluations before this step are not judged.", unit: "optimizer steps", example: "100" },
    },
];

fn patience(config: &mut TrialConfig) -> &mut Patience {
    config.stop.patience.get_or_insert_default()
}

fn plateau(config: &mut TrialConfig) -> &mut Plateau {
    config.stop.plateau.get_or_insert_default()
}
