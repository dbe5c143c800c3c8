//! What a plan must know of a checkpoint before any trial starts.

use super::model::Network;
use super::model::declarations::Group;
use super::model::parameters::Tensors;
use super::stored_head::stored_head;
use super::{TrainError, data, peft};
use crate::trial::{ModelConfig, ModelFacts, Pooling};

/// Reads a located checkpoint, checks that its weights match `config.json`, and returns its sizes.
pub fn model_facts(model: &str) -> Result<ModelFacts, TrainError> {
    /// The head may have any shape, so any number does.
    const CLASSES: usize = 2;
    let files = data::CheckpointFiles::read(model)?;
    let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    let plain = ModelConfig { from: String::new(), ..ModelConfig::default() };
    let network = Network::load(&files.config, &weights, &plain, CLASSES, 0, &candle_core::Device::Cpu)?;
    let shape = network.shape();
    let tensors = Tensors::read(&weights, shape.prefix)?;
    let names = network.parameters.iter().map(|parameter| parameter.name.as_str());
    if let Some(name) = tensors.first_non_finite(names) {
        return Err(TrainError::Input(format!(
            "the weights contain NaN or infinite values, first in `{name}`; copy model.safetensors again, or take an earlier \
             checkpoint of that training"
        )));
    }
    let has_own_head = network.head.pooling == Pooling::Pooler;
    let is_counted = |name: &str, group: Group| {
        group != Group::Head
            || (shape.head.dense.is_some_and(|dense| name.starts_with(dense))
                && !name.starts_with(shape.head.classifier))
    };
    let counted = network.parameters.iter().filter(|parameter| is_counted(&parameter.name, parameter.group));
    let all: [u64; 3] = [shape.dropout.hidden, shape.dropout.attention, shape.dropout.classifier].map(f64::to_bits);
    Ok(ModelFacts {
        modules: network.modules.clone(),
        adapter: files.adapter.as_ref().map(|adapter| peft::read(&adapter.config)).transpose()?,
        head: stored_head(&files)?,
        hash: files.hash(),
        files: files.hashes(model),
        parameters: counted.map(|parameter| parameter.value.elem_count() as u64).sum(),
        vocabulary: shape.vocabulary,
        layers: shape.layers,
        hidden: shape.hidden,
        embedding_width: shape.embeddings.width,
        heads: shape.heads,
        intermediate: shape.intermediate,
        max_positions: shape.positions,
        attention_spans: (0..shape.layers).map(|number| network.encoder.attention_span(number)).collect(),
        // Without token types, any pair of texts can be encoded.
        token_types: shape.types.unwrap_or(2),
        has_pooler: has_own_head,
        dropout: all.iter().all(|bits| *bits == all[0]).then_some(shape.dropout.hidden),
    })
}
