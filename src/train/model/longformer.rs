//! Longformer (Beltagy et al., 2020): `RoBERTa` whose tokens see a window around themselves.
//!
//! With its own head for whole texts, the first token of a text is global: every token sees it, and it sees all tokens through
//! projections of its own. With `pooling: cls | mean`, and in tasks on tokens, no token is global. All of this is as in transformers.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::bert;
use super::config::{BertConfig, parse, wrong};
use super::declarations::{Declarations, Group};
use super::encoder::{ChoiceHead, Encoder, HeadLayout, Shape, WordHead};
use super::operations::{Attention, DropoutKind, Linear, Operations, Rows};
use super::roberta;
use super::stack::Stack;
use super::transformer_layer::TransformerLayer;
use crate::train::TrainError;

/// The keys of `config.json` beside those of BERT.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    attention_window: Windows,
}

/// The tokens that each token sees, itself not counted: in every layer, or in each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Windows {
    All(u32),
    Each(Vec<u32>),
}

impl Default for Windows {
    /// That of transformers.
    fn default() -> Self {
        Self::All(512)
    }
}

impl Windows {
    /// The largest distance between a token and another that it sees in each layer.
    fn distances(&self, layers: usize) -> std::result::Result<Vec<u32>, TrainError> {
        let windows = match self {
            Self::All(window) => vec![*window; layers],
            Self::Each(windows) => windows.clone(),
        };
        if windows.len() != layers {
            let count = windows.len();
            return Err(wrong(format!(
                "attention_window has {count} numbers; there must be one for each of {layers} layers"
            )));
        }
        match windows.iter().find(|&&window| window == 0 || window % 2 == 1) {
            Some(window) => Err(wrong(format!("attention_window is {window}; it must be an even number above 0"))),
            None => Ok(windows.into_iter().map(|window| window / 2).collect()),
        }
    }
}

/// The projections of the global token in a layer.
#[derive(Debug)]
struct Global {
    query: Linear,
    key: Linear,
    value: Linear,
}

#[derive(Debug)]
struct Longformer {
    stack: Stack,
    global: Vec<Global>,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let config = BertConfig::parse(json, roberta::PADDING)?;
    let distances = parse::<Keys>(json)?.attention_window.distances(config.layers)?;
    let (shape, embedding_norm) = roberta::embeddings(&config, "longformer", declarations)?;
    // The class for tokens has dropout of this probability.
    let words = Some(WordHead { dropout: DropoutKind::Hidden, ..WordHead::PLAIN });
    let shape = Shape { head: HeadLayout { words, choices: ChoiceHead::None, ..shape.head }, ..shape };
    let (mut layers, mut global) = (Vec::new(), Vec::new());
    for (number, distance) in distances.into_iter().enumerate() {
        let layer = bert::layer(declarations, &config, number);
        let attention = Attention { window: Some(distance), ..layer.attention };
        layers.push(TransformerLayer { attention, ..layer });
        let mut linear = |name: &str| {
            let stem = format!("encoder.layer.{number}.attention.self.{name}_global");
            declarations.linear(&stem, config.hidden, config.hidden, Group::Layer(number))
        };
        global.push(Global { query: linear("query"), key: linear("key"), value: linear("value") });
    }
    Ok(Box::new(Longformer { stack: Stack { shape, embedding_norm, projection: None, layers }, global }))
}

impl Encoder for Longformer {
    fn shape(&self) -> &Shape {
        &self.stack.shape
    }

    fn attention_span(&self, number: usize) -> Option<usize> {
        // The global token is one more.
        self.stack.layers[number].attention.window.map(|distance| 2 * distance as usize + 2)
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        self.stack.embed(ops)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        let (layer, global) = (&self.stack.layers[number], &self.global[number]);
        let (asking, context) = if ops.has_global_token() {
            self.with_global_token(number, x, rows, ops)?
        } else {
            for unread in [global.query, global.key, global.value] {
                ops.unread(unread)?;
            }
            layer.attend(ops, x, rows)?
        };
        layer.finish(ops, &context, &asking)
    }
}

impl Longformer {
    /// The rows whose context is computed, and their context, if the first token of each text is global.
    fn with_global_token(
        &self,
        number: usize,
        x: &Tensor,
        rows: Rows,
        ops: &mut dyn Operations,
    ) -> Result<(Tensor, Tensor)> {
        let (layer, global) = (&self.stack.layers[number], &self.global[number]);
        let v = ops.linear(x, global.value)?;
        let k = ops.linear(x, global.key)?;
        let first = ops.output_rows(x)?;
        let q = ops.linear(&first, global.query)?;
        let own = ops.attention(&q, &k, &v, &Attention { window: None, ..layer.attention })?;
        if rows == Rows::Outputs {
            // transformers computes the others too and reads none of them.
            for unread in [layer.query, layer.key, layer.value] {
                ops.unread(unread)?;
            }
            return Ok((first, own));
        }
        let near = TransformerLayer { attention: Attention { sees_first: true, ..layer.attention }, ..*layer };
        let (asking, context) = near.attend(ops, x, Rows::All)?;
        Ok((asking, ops.with_output_rows(&context, &own)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_even_and_one_for_each_layer() {
        let distances = |json: &str| {
            let keys: Keys = serde_json::from_str(json).unwrap();
            keys.attention_window.distances(2).map_err(|error| error.to_string())
        };
        assert_eq!(distances("{}"), Ok(vec![256, 256]));
        assert_eq!(distances(r#"{"attention_window": 4}"#), Ok(vec![2, 2]));
        assert_eq!(distances(r#"{"attention_window": [4, 8]}"#), Ok(vec![2, 4]));
        insta::assert_snapshot!(distances(r#"{"attention_window": [4]}"#).unwrap_err(), @"config.json: attention_window has 1 numbers; there must be one for each of 2 layers");
        insta::assert_snapshot!(distances(r#"{"attention_window": 5}"#).unwrap_err(), @"config.json: attention_window is 5; it must be an even number above 0");
    }
}
