//! The forward pass of BERT and of the encoders that differ from it only in names, sizes, positions and head.

use candle_core::{Result, Tensor};

use super::encoder::{Encoder, Shape};
use super::operations::{Linear, Norm, Operations, Place, Rows};
use super::transformer_layer::TransformerLayer;

/// Embeddings with LayerNorm and dropout, then a stack of layers.
#[derive(Debug)]
pub struct Stack {
    pub shape: Shape,
    pub embedding_norm: Norm,
    /// From the width of the embeddings to the hidden size, if they differ.
    pub projection: Option<Linear>,
    pub layers: Vec<TransformerLayer>,
}

impl Encoder for Stack {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let x = ops.embed(&self.shape.embeddings)?;
        let x = ops.layer_norm(&x, self.embedding_norm)?;
        let x = ops.dropout(&x, Place::EMBEDDINGS)?;
        match self.projection {
            Some(projection) => ops.linear(&x, projection),
            None => Ok(x),
        }
    }

    fn layer(&self, number: usize, x: &Tensor, rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        self.layers[number].forward(ops, x, rows)
    }
}
