//! The classifier of a sentence-transformers folder: its modules are Transformer, Pooling and Dense, as `plateau export` writes them.

use std::path::Path;

use serde_json::Value;

use super::error::DataError;
use super::files::{is_there, read_document};
use super::weight_file::read_weights;
use crate::trial::Pooling;

/// A pooling and a linear layer over it.
#[derive(Debug, Clone)]
pub struct SentenceHead {
    pub pooling: Pooling,
    /// The path of the layer's weights in the folder.
    pub name: String,
    /// Safetensors with `linear.weight` and `linear.bias`.
    pub weights: Vec<u8>,
}

impl SentenceHead {
    /// The head in a checkpoint folder. None if it has no such modules, or others than these.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let modules = folder.join("modules.json");
        if !is_there(&modules)? {
            return Ok(None);
        }
        let modules = json(&modules)?;
        let modules: Option<Vec<(&str, &str)>> = modules.as_array().and_then(|all| all.iter().map(module).collect());
        let Some([("Transformer", ""), ("Pooling", pooling), ("Dense", dense)]) = modules.as_deref() else {
            return Ok(None);
        };
        let name = format!("{dense}/model.safetensors");
        if !is_there(&folder.join(&name))? {
            return Ok(None);
        }
        let (pooling, layer) =
            (json(&folder.join(pooling).join("config.json"))?, json(&folder.join(dense).join("config.json"))?);
        let is_linear =
            layer["activation_function"].as_str().is_some_and(|activation| activation.ends_with("Identity"));
        let Some(pooling) = pooling_of(&pooling).filter(|_| is_linear) else { return Ok(None) };
        let weights = read_weights(&folder.join(&name))?;
        Ok(Some(Self { pooling, name, weights }))
    }
}

/// Type and path of a module.
fn module(module: &Value) -> Option<(&str, &str)> {
    let kind = module["type"].as_str()?;
    Some((kind.rsplit('.').next()?, module["path"].as_str()?))
}

/// None for several at once, and for those that no network here has.
fn pooling_of(config: &Value) -> Option<Pooling> {
    let modes =
        config.as_object()?.iter().filter(|(key, on)| key.starts_with("pooling_mode_") && **on == Value::Bool(true));
    match modes.map(|(key, _)| key.as_str()).collect::<Vec<_>>()[..] {
        ["pooling_mode_cls_token"] => Some(Pooling::Cls),
        ["pooling_mode_mean_tokens"] => Some(Pooling::Mean),
        _ => None,
    }
}

fn json(path: &Path) -> Result<Value, DataError> {
    serde_json::from_slice(&read_document(path)?).map_err(|error| {
        let message = format!("{}: not JSON: {error}; copy it again from the model's folder", path.display());
        DataError::malformed(message).caused_by(error)
    })
}
