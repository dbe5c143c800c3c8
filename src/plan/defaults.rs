//! Defaults that depend on other values: what the checkpoint decides, and the warm-up of schedules that rise on their own.

use super::Bf16Found;
use crate::trial::{FractionOrSteps, ModelFacts, Pooling, PrecisionName, TaskName, TrialConfig};

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

/// Replaces `auto` by the precision that the devices of the run have.
pub(super) fn settle_precision(config: &mut TrialConfig, bf16: &Bf16Found) {
    if config.precision == PrecisionName::Auto {
        config.precision = match bf16 {
            Bf16Found::Available => PrecisionName::Bf16,
            Bf16Found::Lacking(_) => PrecisionName::F32,
        };
    }
}

/// Without a written warm-up, a schedule that rises on its own has none.
pub(super) fn settle_warmup(config: &mut TrialConfig, written: bool) {
    if !written && config.scheduler.rises() {
        config.warmup = FractionOrSteps(0.0);
    }
}
