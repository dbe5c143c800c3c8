//! A bag of words: the mean of the token embeddings, with a hidden layer if `hidden_size` is not 0. It does not see the order
//! of tokens.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{check_sizes, parse};
use super::declarations::Declarations;
use super::encoder::{Encoder, HeadLayout, Pool, Shape};
use super::operations::{Operations, Rows};
use super::token_table::{TokenTable, TokenTableKeys};
use crate::train::TrainError;

/// The keys of `config.json`.
#[derive(Deserialize)]
struct Keys {
    #[serde(flatten)]
    table: TokenTableKeys,
    #[serde(default)]
    hidden_size: usize,
}

#[derive(Debug)]
struct BagOfWords(Shape);

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_sizes(&[("hidden_size", keys.hidden_size.max(1))])?;
    let table = TokenTable::declare(&keys.table, declarations)?;
    let dense = (keys.hidden_size > 0).then_some(("dense", keys.hidden_size));
    let head = HeadLayout::of_network(Pool::Mean, dense);
    Ok(Box::new(BagOfWords(table.shape(table.embeddings.width, 0, head))))
}

impl Encoder for BagOfWords {
    fn shape(&self) -> &Shape {
        &self.0
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        super::token_table::embed(&self.0, ops)
    }

    fn layer(&self, _number: usize, x: &Tensor, _rows: Rows, _ops: &mut dyn Operations) -> Result<Tensor> {
        Ok(x.clone())
    }
}
