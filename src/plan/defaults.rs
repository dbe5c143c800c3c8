//! Defaults that depend on other values: what the checkpoint decides, and the warm-up of schedules that rise on their own.

use crate::trial::{FractionOrSteps, ModelFacts, Pooling, TaskName, TrialConfig};

/// Fills in what the checkpoint and other keys decide where the sweep does not.
pub(super) fn settle_model(config: &mut TrialConfig, model: &ModelFacts) {
    match config.data.task {
        task if task.is_of_tokens() => {}
        // Other libraries have no other head for choices.
        TaskName::MultipleChoice => {
            config.model.pooling.get_or_insert(Pooling::Pooler);
        }
        _ => {
            config.model.pooling.get_or_insert(model.default_pooling());
        }
    }
    config.model.dropout = config.model.dropout.or(model.dropout);
    if let Some(patience) = &mut config.stop.patience {
        patience.metric.get_or_insert(config.metric);
    }
}

/// Without a written warm-up, a schedule that rises on its own has none.
pub(super) fn settle_warmup(config: &mut TrialConfig, written: bool) {
    if !written && config.scheduler.rises() {
        config.warmup = FractionOrSteps(0.0);
    }
}
