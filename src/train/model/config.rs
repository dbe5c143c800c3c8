//! Reading of `config.json`: the keys that BERT and its relatives share, and checks for all architectures.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::transformer_layer::LayerSizes;
use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// The shared keys of BERT, `RoBERTa` and ELECTRA, with the defaults of transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub positions: usize,
    pub types: usize,
    pub activation: Activation,
    pub epsilon: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    pub dropout: DropoutRates,
    /// Id of the padding token. `RoBERTa` derives positions from it.
    pub padding: u32,
    /// Elements of an embedding, if it differs from `hidden`.
    pub embedding_size: Option<usize>,
}

/// Dropout probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutRates {
    pub hidden: f64,
    pub attention: f64,
    pub classifier: f64,
}

impl DropoutRates {
    pub fn all(probability: f64) -> Self {
        Self { hidden: probability, attention: probability, classifier: probability }
    }
}

#[derive(Deserialize)]
struct BertKeys {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "initializer_range")]
    initializer_range: f64,
    #[serde(default = "tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
    pad_token_id: Option<u32>,
    embedding_size: Option<usize>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

/// Defaults of transformers.
fn two() -> usize {
    2
}
pub fn gelu() -> String {
    "gelu".into()
}
pub fn epsilon() -> f64 {
    1e-12
}
pub fn initializer_range() -> f64 {
    0.02
}
pub fn tenth() -> f64 {
    0.1
}

impl BertConfig {
    /// `padding` is the default of `pad_token_id`.
    pub fn parse(json: &[u8], padding: u32) -> Result<Self, TrainError> {
        let keys: BertKeys = parse(json)?;
        check_positions(keys.position_embedding_type.as_deref())?;
        check_encoder(keys.is_decoder)?;
        check_sizes(&[
            ("vocab_size", keys.vocab_size),
            ("hidden_size", keys.hidden_size),
            ("num_hidden_layers", keys.num_hidden_layers),
            ("num_attention_heads", keys.num_attention_heads),
            ("intermediate_size", keys.intermediate_size),
            ("max_position_embeddings", keys.max_position_embeddings),
            ("type_vocab_size", keys.type_vocab_size),
            ("embedding_size", keys.embedding_size.unwrap_or(1)),
        ])?;
        check_heads(("hidden_size", keys.hidden_size), ("num_attention_heads", keys.num_attention_heads))?;
        Ok(Self {
            vocabulary: keys.vocab_size,
            hidden: keys.hidden_size,
            layers: keys.num_hidden_layers,
            heads: keys.num_attention_heads,
            intermediate: keys.intermediate_size,
            positions: keys.max_position_embeddings,
            types: keys.type_vocab_size,
            activation: activation("hidden_act", &keys.hidden_act)?,
            epsilon: keys.layer_norm_eps,
            initializer_range: keys.initializer_range,
            dropout: DropoutRates {
                hidden: keys.hidden_dropout_prob,
                attention: keys.attention_probs_dropout_prob,
                classifier: keys.classifier_dropout.unwrap_or(keys.hidden_dropout_prob),
            },
            padding: keys.pad_token_id.unwrap_or(padding),
            embedding_size: keys.embedding_size,
        })
    }

    pub fn layer_sizes(&self) -> LayerSizes {
        LayerSizes {
            hidden: self.hidden,
            intermediate: self.intermediate,
            heads: self.heads,
            epsilon: self.epsilon,
            activation: self.activation,
        }
    }
}

/// `model_type`; `bert` if it is missing, because the first BERT checkpoints have none.
pub fn model_type(json: &[u8]) -> Result<String, TrainError> {
    #[derive(Deserialize)]
    struct ModelType {
        model_type: Option<String>,
    }
    Ok(parse::<ModelType>(json)?.model_type.unwrap_or_else(|| "bert".into()))
}

/// Reads the keys of an architecture.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, TrainError> {
    serde_json::from_slice(json)
        .map_err(|error| wrong(format!("{error}; copy the file again from the checkpoint's page")))
}

/// The error for a value that cannot be used.
pub fn wrong(what: impl std::fmt::Display) -> TrainError {
    TrainError::Input(format!("config.json: {what}"))
}

/// The activation with this name.
pub fn activation(key: &str, name: &str) -> Result<Activation, TrainError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "tanh" => Ok(Activation::Tanh),
        other => Err(wrong(format!(
            "{key} is '{other}': not supported; supported are gelu, gelu_new, gelu_pytorch_tanh, relu and tanh"
        ))),
    }
}

/// Refuses sizes that are zero, or so large that they can only be an error.
pub fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), TrainError> {
    let limit = |name: &str| if name.contains("layers") { 10_000 } else { 100_000_000 };
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return Err(wrong(format!("{name} is 0; it must be at least 1")));
    }
    match sizes.iter().find(|(name, size)| *size > limit(name)) {
        Some((name, size)) => Err(wrong(format!("{name} is {size}; the largest supported value is {}", limit(name)))),
        None => Ok(()),
    }
}

/// Keys of `config.json`, the numbers that they may have, and those in words.
type Range = (&'static [&'static str], fn(f64) -> bool, &'static str);

/// The numbers with which a network can be computed, for the keys of all architectures. The defaults are among them.
const RANGES: [Range; 6] = [
    // A smaller one is 0 in f32, and the LayerNorm of equal elements divides by its root.
    (&["layer_norm_eps", "norm_eps"], |x| (1e-20..=1.0).contains(&x), "from 1e-20 to 1"),
    (&["initializer_range"], |x| (0.0..=1.0).contains(&x), "from 0 to 1"),
    (
        &[
            "attention_dropout",
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "classifier_dropout_prob",
            "cls_dropout",
            "dropout",
            "embedding_dropout",
            "hidden_dropout_prob",
            "mlp_dropout",
            "pooler_dropout",
            "seq_classif_dropout",
        ],
        |x| (0.0..1.0).contains(&x),
        "at least 0 and below 1",
    ),
    (&["global_rope_theta", "local_rope_theta", "rope_theta"], |x| (1.0..=1e12).contains(&x), "from 1 to 1e12"),
    (&["conv_kernel_size"], |x| (0.0..=1000.0).contains(&x), "from 0 to 1000"),
    (&["max_relative_positions", "pad_token_id", "position_buckets"], |x| x <= 1e8, "at most 100000000"),
];

/// Refuses numbers with which no network can be computed.
pub fn check_numbers(json: &[u8]) -> Result<(), TrainError> {
    check_numbers_in(&parse(json)?)
}

fn check_numbers_in(keys: &Map<String, Value>) -> Result<(), TrainError> {
    for (names, fits, range) in RANGES {
        for name in names {
            if let Some(number) = keys.get(*name).filter(|value| value.as_f64().is_some_and(|number| !fits(number))) {
                return Err(wrong(format!("{name} is {number}; it must be {range}")));
            }
        }
    }
    // The rotations of transformers 5 are one or two levels deeper.
    let inner = keys
        .iter()
        .filter(|(key, _)| ["rope_parameters", "full_attention", "sliding_attention"].contains(&key.as_str()));
    inner.filter_map(|(_, value)| value.as_object()).try_for_each(check_numbers_in)
}

/// Refuses a hidden size that the heads cannot share equally.
pub fn check_heads(hidden: (&str, usize), heads: (&str, usize)) -> Result<(), TrainError> {
    if hidden.1.is_multiple_of(heads.1) {
        return Ok(());
    }
    Err(wrong(format!("{} is {}; it must be a multiple of {}, which is {}", hidden.0, hidden.1, heads.0, heads.1)))
}

/// Refuses relative positions where only absolute ones are implemented.
pub fn check_positions(kind: Option<&str>) -> Result<(), TrainError> {
    match kind.filter(|&kind| kind != "absolute") {
        Some(kind) => {
            Err(wrong(format!("position_embedding_type is '{kind}': not supported; supported is 'absolute'")))
        }
        None => Ok(()),
    }
}

/// Refuses decoders.
pub fn check_encoder(is_decoder: bool) -> Result<(), TrainError> {
    if is_decoder { Err(wrong("is_decoder is true; only encoders are supported")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#""vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 8"#;

    fn read(more: &str) -> Result<BertConfig, String> {
        BertConfig::parse(format!("{{{SMALL}{more}}}").as_bytes(), 0).map_err(|e| e.to_string())
    }

    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let config = read("").unwrap();
        assert_eq!(config.types, 2);
        assert_eq!(config.activation, Activation::Gelu);
        assert_eq!(config.dropout, DropoutRates::all(0.1));
        let rates = read(r#", "classifier_dropout": 0.3"#).unwrap().dropout;
        assert_eq!(rates, DropoutRates { classifier: 0.3, ..DropoutRates::all(0.1) });
        assert_eq!(read(r#", "hidden_act": "gelu_new""#).unwrap().activation, Activation::GeluTanh);
    }

    #[test]
    fn unsupported_values_are_errors() {
        let message = |more: &str| read(more).unwrap_err();
        insta::assert_snapshot!(message(r#", "hidden_act": "silu""#), @"config.json: hidden_act is 'silu': not supported; supported are gelu, gelu_new, gelu_pytorch_tanh, relu and tanh");
        insta::assert_snapshot!(message(r#", "position_embedding_type": "relative_key""#), @"config.json: position_embedding_type is 'relative_key': not supported; supported is 'absolute'");
        insta::assert_snapshot!(message(r#", "type_vocab_size": 0"#), @"config.json: type_vocab_size is 0; it must be at least 1");
        insta::assert_snapshot!(message(r#", "is_decoder": true"#), @"config.json: is_decoder is true; only encoders are supported");
        insta::assert_snapshot!(check_numbers(br#"{"layer_norm_eps": 0}"#).unwrap_err(), @"config.json: layer_norm_eps is 0; it must be from 1e-20 to 1");
        insta::assert_snapshot!(check_numbers(br#"{"initializer_range": 1e300}"#).unwrap_err(), @"config.json: initializer_range is 1e+300; it must be from 0 to 1");
        insta::assert_snapshot!(check_numbers(br#"{"hidden_dropout_prob": 1.0}"#).unwrap_err(), @"config.json: hidden_dropout_prob is 1.0; it must be at least 0 and below 1");
        assert!(BertConfig::parse(b"{}", 0).unwrap_err().to_string().contains("vocab_size"));
    }
}
