//! Convolutions of several widths over the token embeddings, each with its maximum over the text (Kim, "Convolutional neural
//! networks for sentence classification", 2014). No window sees more than its own tokens.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::config::{check_sizes, parse, wrong};
use super::declarations::{Declarations, Group, Initial};
use super::encoder::{Encoder, HeadLayout, Pool, Shape};
use super::operations::{Convolution, Operations, Rows};
use super::token_table::{TokenTable, TokenTableKeys};
use crate::train::TrainError;
use plateau_kernels::convolution::Kernel;

/// The keys of `config.json`.
#[derive(Deserialize)]
struct Keys {
    #[serde(flatten)]
    table: TokenTableKeys,
    filters: usize,
    kernels: Vec<usize>,
}

#[derive(Debug)]
struct Textcnn {
    shape: Shape,
    convolutions: Vec<Convolution>,
}

/// Reads `config.json` and declares the parameters.
pub fn read(json: &[u8], declarations: &mut Declarations) -> std::result::Result<Box<dyn Encoder>, TrainError> {
    let keys: Keys = parse(json)?;
    check_sizes(&[("filters", keys.filters)])?;
    if keys.kernels.is_empty() {
        return Err(wrong("kernels is empty; it must list at least one width"));
    }
    for &size in &keys.kernels {
        check_sizes(&[("kernels", size)])?;
    }
    let table = TokenTable::declare(&keys.table, declarations)?;
    let width = table.embeddings.width;
    let convolutions = declare(declarations, "convolutions", width, keys.filters, &keys.kernels, Group::Layer(0));
    // The only layer gives one row for each sequence.
    let head = HeadLayout::of_network(Pool::First, None);
    let shape = table.shape(keys.filters * convolutions.len(), 1, head);
    Ok(Box::new(Textcnn { shape, convolutions }))
}

/// Declares a convolution over vectors of `width` elements for each of the `kernels`, which are widths in tokens.
pub fn declare(
    declarations: &mut Declarations,
    stem: &str,
    width: usize,
    filters: usize,
    kernels: &[usize],
    group: Group,
) -> Vec<Convolution> {
    let kernel = |size: usize| Kernel { size, width, filters };
    let sizes = kernels.iter().enumerate();
    sizes
        .map(|(number, &size)| convolution(declarations, &format!("{stem}.convs.{number}"), kernel(size), group))
        .collect()
}

/// Declares a convolution. Its values start as in torch's `Conv1d`.
fn convolution(declarations: &mut Declarations, stem: &str, kernel: Kernel, group: Group) -> Convolution {
    let Kernel { size, width, filters } = kernel;
    let initial = Initial::Uniform(1.0 / ((width * size) as f64).sqrt());
    let weight = declarations.add(format!("{stem}.weight"), &[filters, width, size], initial, group);
    let bias = declarations.add(format!("{stem}.bias"), &[filters], initial, group);
    Convolution { weight, bias, kernel }
}

impl Encoder for Textcnn {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn embed(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        super::token_table::embed(&self.shape, ops)
    }

    fn layer(&self, _number: usize, x: &Tensor, _rows: Rows, ops: &mut dyn Operations) -> Result<Tensor> {
        ops.convolve(x, &self.convolutions)
    }
}
