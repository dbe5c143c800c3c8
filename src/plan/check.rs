//! What can only be seen once data and checkpoints are known: a warm-up longer than the run, layers that are not there.

use crate::spec::Problem;
use crate::trial::{ModelFacts, TrialConfig};

/// A mistake of a resolved configuration: the key it is about, another key that it also depends on, and what is wrong.
pub(super) struct Mistake {
    pub key: &'static str,
    pub or_else: &'static str,
    pub what: String,
    pub hint: String,
}

impl Mistake {
    pub fn at(self, place: crate::spec::Place) -> Problem {
        Problem::new(place, self.what).hint(self.hint)
    }
}

/// The mistakes of a trial of `steps` steps.
pub(super) fn mistakes(config: &TrialConfig, steps: u64, model: &ModelFacts) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut mistake = |key, or_else, what, hint| mistakes.push(Mistake { key, or_else, what, hint });
    let warmup = config.warmup.steps(steps);
    if warmup > steps {
        let what = format!("a warm-up of {warmup} steps is longer than the run of {steps}");
        mistake("warmup", "epochs", what, "shorten it, or write a fraction such as 0.1".into());
    }
    for (key, layers) in [("model.freeze", config.model.freeze), ("model.reinit", config.model.reinit)] {
        if layers > model.layers {
            let what = format!("`{key}` is {layers}, but the checkpoint has {} layers", model.layers);
            mistake(key, "model.from", what, format!("expected at most {}", model.layers));
        }
    }
    if config.data.max_length > model.max_positions {
        let (length, positions) = (config.data.max_length, model.max_positions);
        let what = format!("`data.max_length` is {length}, but the checkpoint has {positions} positions");
        mistake("data.max_length", "model.from", what, format!("expected at most {positions}"));
    }
    mistakes
}
