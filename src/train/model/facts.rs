//! What a plan must know of a checkpoint, from its headers.

use super::config::Config;
use super::parameters::Tensors;
use crate::train::TrainError;
use crate::train::data::source;
use crate::trial::ModelFacts;

/// Reads a located checkpoint's configuration and headers and says what a plan must know.
pub fn model_facts(model: &str) -> Result<ModelFacts, TrainError> {
    let files = source::checkpoint(model)?;
    let config = Config::parse(&files.config)?;
    let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    let tensors = Tensors::read(&weights)?;
    let mut hasher = blake3::Hasher::new();
    for content in [&[files.config.as_ref(), files.tokenizer.as_ref()], &weights[..]].concat() {
        hasher.update(&(content.len() as u64).to_le_bytes()).update(content);
    }
    let rates = config.dropout;
    let one_rate = rates.hidden == rates.attention && rates.attention == rates.classifier;
    Ok(ModelFacts {
        hash: hasher.finalize().to_hex().to_string(),
        parameters: tensors.elements(&["embeddings.", "encoder.", "pooler."]),
        vocabulary: config.vocabulary,
        layers: config.layers,
        hidden: config.hidden,
        heads: config.heads,
        intermediate: config.intermediate,
        max_positions: config.positions,
        has_pooler: tensors.has_pooler(),
        dropout: one_rate.then_some(rates.hidden),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_checkpoint_is_what_its_origin_says() {
        let facts = model_facts("embedded:minilm-l3").unwrap();
        assert_eq!((facts.vocabulary, facts.layers, facts.hidden, facts.heads), (8192, 3, 384, 12));
        assert_eq!((facts.intermediate, facts.max_positions, facts.has_pooler), (1536, 512, false));
        assert_eq!(facts.dropout, Some(0.1));
        // 8.67 million, as assets/ORIGIN.md says.
        assert_eq!(facts.parameters / 10_000, 866);
    }
}
