//! What a plan must know of a checkpoint before any trial starts.

use super::model::Bert;
use super::model::config::{Config, DropoutRates};
use super::model::parameters::Tensors;
use super::{TrainError, data};
use crate::trial::{ModelConfig, ModelFacts};

/// Reads a located checkpoint, checks that its weights match `config.json`, and returns its sizes.
pub fn model_facts(model: &str) -> Result<ModelFacts, TrainError> {
    let files = data::CheckpointFiles::read(model)?;
    let config = Config::parse(&files.config)?;
    let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    let tensors = Tensors::read(&weights)?;
    check_weights(&files.config, &weights)?;
    if let Some(name) = tensors.first_non_finite() {
        return Err(TrainError::Input(format!(
            "the weights contain NaN or infinite values, first in `{name}`; copy model.safetensors again, or take an earlier \
             checkpoint of that training"
        )));
    }
    let DropoutRates { hidden, attention, classifier } = config.dropout;
    let all: [u64; 3] = [hidden, attention, classifier].map(f64::to_bits);
    Ok(ModelFacts {
        hash: files.hash(),
        parameters: tensors.elements(),
        vocabulary: config.vocabulary,
        layers: config.layers,
        hidden: config.hidden,
        heads: config.heads,
        intermediate: config.intermediate,
        max_positions: config.positions,
        token_types: config.types,
        has_pooler: tensors.has_pooler(),
        dropout: all.iter().all(|bits| *bits == all[0]).then_some(hidden),
    })
}

/// Refuses weights without a tensor that `config.json` requires, or with one of another shape. The head may have any shape.
fn check_weights(config: &[u8], weights: &[&[u8]]) -> Result<(), TrainError> {
    const CLASSES: usize = 2;
    let plain = ModelConfig { from: String::new(), pooling: None, dropout: None, freeze: 0, reinit: 0 };
    Bert::load(config, weights, &plain, CLASSES, 0, &candle_core::Device::Cpu).map(drop)
}
