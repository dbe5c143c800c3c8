//! The files of the library peft: `adapter_config.json` and `adapter_model.safetensors`. They hold what LoRA trained.

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::TrainError;
use super::model::declarations::is_trained_whole;
use super::model::parameters::PEFT;
use super::weights::{Array, WeightType, convert, serialize};
use crate::trial::LoraConfig;

/// The keys of `adapter_config.json` that matter here.
#[derive(Deserialize)]
struct AdapterConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    target_modules: Targets,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    All(String),
    Names(Vec<String>),
}

/// The settings in an `adapter_config.json`.
pub fn read(json: &[u8]) -> Result<LoraConfig, TrainError> {
    let wrong = |what: String| TrainError::Input(format!("adapter_config.json: {what}"));
    let config: AdapterConfig = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    if config.peft_type != "LORA" {
        return Err(wrong(format!("peft_type is '{}': not supported; supported is 'LORA'", config.peft_type)));
    }
    // These change the formula or what is trained. Their plain values are `false`, `none`, null and an empty map.
    for key in [
        "use_dora",
        "use_qalora",
        "use_bdlora",
        "lora_bias",
        "bias",
        "alpha_pattern",
        "rank_pattern",
        "layers_to_transform",
    ] {
        let value = config.others.get(key).unwrap_or(&Value::Null);
        let is_plain =
            value.is_null() || *value == false || *value == "none" || value.as_object().is_some_and(Map::is_empty);
        if !is_plain {
            return Err(wrong(format!("{key} is {value}: not supported; plain LoRA is")));
        }
    }
    let targets = match config.target_modules {
        Targets::Names(names) => names,
        Targets::All(name) if name == LoraConfig::ALL => vec![name],
        Targets::All(pattern) => {
            return Err(wrong(format!("target_modules is the pattern '{pattern}'; list the names")));
        }
    };
    Ok(LoraConfig { r: config.r, alpha: config.lora_alpha, targets, rslora: config.use_rslora })
}

/// The files of an adapter, from the weights of a trial. `base` is the checkpoint that it changes.
pub fn files(weights: &[u8], lora: &LoraConfig, base: &str) -> Result<Vec<(String, Vec<u8>)>, TrainError> {
    let is_trained = |name: &str| is_change(name) || is_trained_whole(name);
    let weights = convert(weights, WeightType::F32, |name| is_trained(name).then(|| format!("{PEFT}{name}")))?;
    let targets = match lora.targets.as_slice() {
        [only] if only == LoraConfig::ALL => json!(only),
        names => json!(names),
    };
    let config = json!({
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "use_rslora": lora.rslora,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": ["classifier", "score"],
    });
    let config = serde_json::to_vec_pretty(&config).map_err(std::io::Error::from)?;
    Ok(vec![("adapter_config.json".into(), config), ("adapter_model.safetensors".into(), weights)])
}

/// Whether a parameter belongs to a change of LoRA.
fn is_change(name: &str) -> bool {
    name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight")
}

/// The weights with the changes added to the matrices that they change.
pub fn merge(weights: &[u8], lora: &LoraConfig) -> Result<Vec<u8>, TrainError> {
    let unreadable =
        |error: safetensors::SafeTensorError| TrainError::Input(format!("cannot read the weights: {error}"));
    let tensors = SafeTensors::deserialize(weights).map_err(unreadable)?;
    let matrix = |name: &str| -> Result<Option<Tensor>, TrainError> {
        let Ok(view) = tensors.tensor(name) else { return Ok(None) };
        Ok(Some(Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), &Device::Cpu)?))
    };
    let mut arrays = Vec::new();
    for (name, view) in tensors.tensors().into_iter().filter(|(name, _)| !is_change(name)) {
        let mut bytes = view.data().to_vec();
        let stem = name.strip_suffix(".weight").unwrap_or(&name);
        let change = (matrix(&format!("{stem}.lora_A.weight"))?, matrix(&format!("{stem}.lora_B.weight"))?);
        if let ((Some(a), Some(b)), Some(weight)) = (change, matrix(&name)?) {
            let merged = (weight + (b.matmul(&a)? * lora.scale())?)?;
            bytes.clear();
            merged.write_bytes(&mut bytes)?;
        }
        arrays.push((name, Array { dtype: view.dtype(), shape: view.shape().to_vec(), bytes }));
    }
    serialize(arrays, std::collections::HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_kinds_of_adapters_are_refused_by_name() {
        let message = |json: Value| read(json.to_string().as_bytes()).unwrap_err().to_string();
        let with = |key: &str, value: Value| {
            let mut config = json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["query"]});
            config[key] = value;
            config
        };
        assert_eq!(read(with("use_dora", false.into()).to_string().as_bytes()).unwrap().targets, ["query"]);
        insta::assert_snapshot!(message(with("peft_type", "IA3".into())), @"adapter_config.json: peft_type is 'IA3': not supported; supported is 'LORA'");
        insta::assert_snapshot!(message(with("use_dora", true.into())), @"adapter_config.json: use_dora is true: not supported; plain LoRA is");
        insta::assert_snapshot!(message(with("target_modules", ".*query".into())), @"adapter_config.json: target_modules is the pattern '.*query'; list the names");
    }
}
