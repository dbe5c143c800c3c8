//! `config.json` of a Hugging Face BERT: what of it the trainer reads, and what it refuses.

use serde::Deserialize;

use crate::train::TrainError;
use plateau_kernels::activation::Activation;

/// The shape of a BERT.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    pub vocabulary: usize,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub positions: usize,
    pub types: usize,
    pub activation: Activation,
    pub epsilon: f64,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    pub dropout: DropoutRates,
}

impl Config {
    /// Refuses sizes far beyond the `elements` that the weights hold, before anything of these sizes is created.
    pub fn check_size(&self, elements: u64) -> Result<(), TrainError> {
        let described = self.elements();
        // A pooler or a head may be missing in the weights.
        let allowed = u128::from(elements) * 2 + (1 << 20);
        if described <= allowed {
            return Ok(());
        }
        Err(TrainError::Input(format!(
            "config.json describes a model of {described} parameters, but the weights hold {elements}: the two files do not \
             belong together"
        )))
    }

    /// Parameters of embeddings and layers.
    fn elements(&self) -> u128 {
        let [vocabulary, hidden, layers, intermediate, positions, types] =
            [self.vocabulary, self.hidden, self.layers, self.intermediate, self.positions, self.types]
                .map(|size| size as u128);
        let product = |a: u128, b: u128| a.saturating_mul(b);
        let embeddings = product(vocabulary.saturating_add(positions).saturating_add(types), hidden);
        let attention = product(4, product(hidden, hidden));
        let layer = attention.saturating_add(product(2, product(hidden, intermediate)));
        embeddings.saturating_add(product(layers, layer))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutRates {
    pub hidden: f64,
    pub attention: f64,
    pub classifier: f64,
}

impl DropoutRates {
    pub fn all(rate: f64) -> Self {
        Self { hidden: rate, attention: rate, classifier: rate }
    }
}

#[derive(Deserialize)]
struct Written {
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
    #[serde(default = "range")]
    initializer_range: f64,
    #[serde(default = "tenth")]
    hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

/// Defaults of transformers' `BertConfig`.
fn two() -> usize {
    2
}
fn gelu() -> String {
    "gelu".into()
}
fn epsilon() -> f64 {
    1e-12
}
fn range() -> f64 {
    0.02
}
fn tenth() -> f64 {
    0.1
}

impl Config {
    pub fn parse(json: &[u8]) -> Result<Self, TrainError> {
        /// Read first, because the other keys of another kind of model have other names.
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        if let Some(kind) = serde_json::from_slice::<Kind>(json).ok().and_then(|kind| kind.model_type)
            && kind != "bert"
        {
            return Err(TrainError::Input(format!("config.json: model_type is '{kind}'; only 'bert' can be trained")));
        }
        let written: Written = serde_json::from_slice(json).map_err(|e| {
            TrainError::Input(format!("config.json: not that of a BERT: {e}; copy it again from the checkpoint's page"))
        })?;
        let refuse = |what: String| Err(TrainError::Input(format!("config.json: {what}")));
        if let Some(kind) = written.position_embedding_type.as_deref().filter(|&kind| kind != "absolute") {
            return refuse(format!("position_embedding_type is '{kind}'; only 'absolute' is known"));
        }
        if written.is_decoder {
            return refuse("is_decoder is true; only encoders can be trained".into());
        }
        let activation = match written.hidden_act.as_str() {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                return refuse(format!(
                    "hidden_act is '{other}'; known are gelu, gelu_new, gelu_pytorch_tanh and relu"
                ));
            }
        };
        let sizes = [
            ("vocab_size", written.vocab_size),
            ("hidden_size", written.hidden_size),
            ("num_hidden_layers", written.num_hidden_layers),
            ("num_attention_heads", written.num_attention_heads),
            ("intermediate_size", written.intermediate_size),
            ("max_position_embeddings", written.max_position_embeddings),
            ("type_vocab_size", written.type_vocab_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return refuse(format!("{name} is 0"));
        }
        // What no BERT has, so that nobody makes this program count to it.
        let most = |name: &str| if name == "num_hidden_layers" { 10_000 } else { 100_000_000 };
        if let Some((name, size)) = sizes.iter().find(|(name, size)| *size > most(name)) {
            return refuse(format!("{name} is {size}, more than {}", most(name)));
        }
        if !written.hidden_size.is_multiple_of(written.num_attention_heads) {
            let (hidden, heads) = (written.hidden_size, written.num_attention_heads);
            return refuse(format!("hidden_size {hidden} is no multiple of num_attention_heads {heads}"));
        }
        Ok(Self {
            vocabulary: written.vocab_size,
            hidden: written.hidden_size,
            layers: written.num_hidden_layers,
            heads: written.num_attention_heads,
            intermediate: written.intermediate_size,
            positions: written.max_position_embeddings,
            types: written.type_vocab_size,
            activation,
            epsilon: written.layer_norm_eps,
            initializer_range: written.initializer_range,
            dropout: DropoutRates {
                hidden: written.hidden_dropout_prob,
                attention: written.attention_probs_dropout_prob,
                classifier: written.classifier_dropout.unwrap_or(written.hidden_dropout_prob),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#""vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 8"#;

    fn parse(more: &str) -> Result<Config, String> {
        Config::parse(format!("{{{SMALL}{more}}}").as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let config = parse("").unwrap();
        assert_eq!(config.types, 2);
        assert_eq!(config.activation, Activation::Gelu);
        assert_eq!(config.dropout, DropoutRates::all(0.1));
        let rates = parse(r#", "classifier_dropout": 0.3"#).unwrap().dropout;
        assert_eq!(rates, DropoutRates { classifier: 0.3, ..DropoutRates::all(0.1) });
        assert_eq!(parse(r#", "hidden_act": "gelu_new""#).unwrap().activation, Activation::GeluTanh);
    }

    #[test]
    fn what_is_no_such_bert_is_refused_in_words() {
        let message = |more: &str| parse(more).unwrap_err();
        insta::assert_snapshot!(message(r#", "model_type": "roberta""#), @"config.json: model_type is 'roberta'; only 'bert' can be trained");
        insta::assert_snapshot!(message(r#", "hidden_act": "silu""#), @"config.json: hidden_act is 'silu'; known are gelu, gelu_new, gelu_pytorch_tanh and relu");
        insta::assert_snapshot!(message(r#", "position_embedding_type": "relative_key""#), @"config.json: position_embedding_type is 'relative_key'; only 'absolute' is known");
        assert!(message(r#", "type_vocab_size": 0"#).contains("type_vocab_size is 0"));
        assert!(Config::parse(b"{}").unwrap_err().to_string().contains("vocab_size"));
    }

    #[test]
    fn sizes_beyond_the_weights_are_refused() {
        let sized = |vocabulary: u64, hidden: u64, layers: u64| {
            let config = format!(
                r#"{{"vocab_size": {vocabulary}, "hidden_size": {hidden}, "num_hidden_layers": {layers}, "num_attention_heads": 1,
                    "intermediate_size": 8, "max_position_embeddings": 8}}"#
            );
            Config::parse(config.as_bytes()).unwrap()
        };
        assert!(sized(100, 4, 2).check_size(1000).is_ok());
        for huge in [sized(100_000_000, 1_000_000, 2), sized(100, 4, 10_000), sized(100, 100_000_000, 2)] {
            let message = huge.check_size(1000).unwrap_err().to_string();
            assert!(message.contains("but the weights hold 1000"), "{message}");
        }
    }
}
