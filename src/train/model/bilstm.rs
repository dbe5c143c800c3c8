//! Bidirectional LSTM layers over the token embeddings, with the names of torch's `LSTM`.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{check_sizes, parse, wrong};
use super::declarations::{Declarations, Group, Initial};
use super::encoder::{Encoder, HeadLayout, Pool, Shape, WordHead};
use super::operations::{Lstm, LstmDirection, Operations, Rows};
use super::token_table::{TokenTable, TokenTableKeys};
use crate::train::TrainError;

/// The keys of `config.json`.
#[derive(Deserialize)]
struct Keys {
    #[serde(flatten)]
    table: TokenTableKeys,
    /// Of one direction.
    hidden_size: usize,
    #[serde(default = "one")]
    num_layers: usize,
    #[serde(default = "max")]
    pooling: String,
}

fn one() -> usize {
    1
}
fn max() -> String {
    "max".into()
}

#[derive(Debug)]
struct Bilstm {
    shape: Shape,
    layers: Vec<Lstm>,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_sizes(&[("hidden_size", keys.hidden_size), ("num_layers", keys.num_layers)])?;
    let pool = match keys.pooling.as_str() {
        "max" => Pool::Max,
        "last" => Pool::LastStates,
        other => return Err(wrong(format!("pooling is '{other}': not supported; supported are max and last"))),
    };
    let table = TokenTable::declare(&keys.table, declarations)?;
    let layers = declare(declarations, "lstm", table.embeddings.width, keys.hidden_size, keys.num_layers, Group::Layer);
    let head = HeadLayout { words: Some(WordHead::PLAIN), ..HeadLayout::of_network(pool, None) };
    let shape = table.shape(2 * keys.hidden_size, keys.num_layers, head);
    Ok(Box::new(Bilstm { shape, layers }))
}

/// Declares LSTM layers over vectors of `width` elements, with the group of each layer.
pub fn declare(
    declarations: &mut Declarations,
    stem: &str,
    width: usize,
    size: usize,
    layers: usize,
    group: impl Fn(usize) -> Group,
) -> Vec<Lstm> {
    let input = |number: usize| if number == 0 { width } else { 2 * size };
    (0..layers).map(|number| layer(declarations, stem, number, input(number), size, group(number))).collect()
}

/// Declares layer `number` (from 0) of an LSTM. Its values start as in torch.
fn layer(declarations: &mut Declarations, stem: &str, number: usize, width: usize, size: usize, group: Group) -> Lstm {
    let initial = Initial::Uniform(1.0 / (size as f64).sqrt());
    let mut direction = |suffix: &str| {
        let mut add = |name: &str, shape: &[usize]| {
            declarations.add(format!("{stem}.{name}_l{number}{suffix}"), shape, initial, group)
        };
        LstmDirection {
            input: add("weight_ih", &[4 * size, width]),
            hidden: add("weight_hh", &[4 * size, size]),
            input_bias: add("bias_ih", &[4 * size]),
            hidden_bias: add("bias_hh", &[4 * size]),
        }
    };
    let (forward, backward) = (direction(""), direction("_reverse"));
    Lstm { size, forward, backward }
}

impl Encoder for Bilstm {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        super::token_table::embed(&self.shape, ops)
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        let x = ops.lstm(x, &self.layers[number])?;
        match rows {
            Rows::All => Ok(x),
            Rows::Outputs => ops.output_rows(&x),
        }
    }
}
