//! From a checked sweep to its trials: product, zip, include, exclude, seeds, ids. Pure.

use crate::trial::{Axis, DataConfig, DataFacts, ModelFacts, Trial};

/// The trials of a sweep, in order, each id once.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub name: String,
    /// What varies, in the order of the sweep file; `seed` last if it varies.
    pub axes: Vec<Axis>,
    pub trials: Vec<Trial>,
    /// What the user should know, such as an `exclude` entry that matches nothing.
    pub warnings: Vec<String>,
}

/// What the plan must know of the outside world: each source of [`crate::spec::SweepSpec`] as found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub data: Vec<DataFound>,
    pub models: Vec<ModelFound>,
}

/// A data section with the tokenizer it is read with.
#[derive(Debug, Clone)]
pub struct DataFound {
    /// As written (sources not located), and `model.from` as written.
    pub written: DataConfig,
    pub model: String,
    /// The same with located sources.
    pub located: DataConfig,
    pub facts: DataFacts,
}

#[derive(Debug, Clone)]
pub struct ModelFound {
    /// `model.from` as written.
    pub written: String,
    pub located: String,
    pub facts: ModelFacts,
}
