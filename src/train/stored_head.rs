//! Reads the classifier that a checkpoint holds.

use serde_json::Value;

use super::TrainError;
use super::classifier::{classifier_weights, labels};
use super::data::{CheckpointFiles, SentenceHead};
use super::model::architectures;
use super::model::declarations::Declarations;
use super::model::network::default_pooling;
use super::model::parameters::Tensors;
use crate::trial::{StoredHead, TaskName};

/// What the classifier of a checkpoint is. None if it holds none.
pub(super) fn stored_head(files: &CheckpointFiles) -> Result<Option<StoredHead>, TrainError> {
    let config: Value = serde_json::from_slice(&files.config).unwrap_or_default();
    let encoder = architectures::read(&files.config, &mut Declarations::default())?;
    let shape = encoder.shape();
    let class = config["architectures"][0].as_str().unwrap_or_default();
    let is_of_words = class.ends_with(TaskName::Tokens.model_class());
    let mut weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
    let module = files.head.as_ref().map(|head| classifier_weights(&head.weights)).transpose()?;
    weights.extend(module.as_deref());
    let tensors = Tensors::read(&weights, shape.prefix)?;
    let (name, pooling) = match &files.head {
        Some(SentenceHead { pooling, .. }) => ("classifier", Some(*pooling)),
        None if is_of_words => ("classifier", None),
        None => (shape.head.classifier, Some(default_pooling(shape, &tensors))),
    };
    let Some([outputs, _]) = tensors.shape(&format!("{name}.weight")) else { return Ok(None) };
    // transformers gives outputs without names such names.
    let is_named = |names: &Vec<String>| names.iter().enumerate().any(|(at, name)| *name != format!("LABEL_{at}"));
    let labels = config.as_object().and_then(labels).filter(is_named).unwrap_or_default();
    Ok(Some(StoredHead { pooling, outputs: *outputs, labels, is_module: files.head.is_some() }))
}
