//! The examples that a trial trains and evaluates on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::example::Example;
use super::origins::Origins;
use super::tokens::Tokens;
use crate::train::TrainError;
use crate::train::tasks::{self, Target, Task};
use crate::trial::TrialConfig;

/// The training and the evaluation split.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Label names in class order; empty if the task has none.
    pub labels: Vec<String>,
    /// Share of each class in `train`; empty if an example does not have exactly one.
    pub class_prior: Vec<f64>,
    pub train: Split,
    pub eval: Split,
    /// Number of token embeddings of the checkpoint.
    pub vocabulary: usize,
}

impl Dataset {
    /// The task of a trial on these data. Balanced class weights come from the rows of `train`.
    ///
    /// # Errors
    /// If the class weights name other labels.
    pub fn task(&self, config: &TrialConfig) -> Result<Arc<dyn Task>, TrainError> {
        tasks::of(config, &self.labels, &self.train.prior(self.labels.len()), self.vocabulary)
    }

    /// Share of each class in `eval`; empty where `class_prior` is.
    #[must_use]
    pub fn eval_prior(&self) -> Vec<f64> {
        if self.class_prior.is_empty() { Vec::new() } else { self.eval.prior(self.labels.len()) }
    }

    /// Evaluation examples whose text is also in the training split. Empty texts do not count.
    #[must_use]
    pub fn leaked_rows(&self) -> usize {
        self.eval.rows_shared_with(&self.train)
    }
}

/// The target of each output of examples with these tokens.
#[must_use]
pub fn output_targets(examples: &[Example], tokens: &Tokens) -> Vec<Target> {
    let indexed = examples.iter().enumerate();
    indexed.flat_map(|(index, example)| tokens.targets_of(index, &example.target)).collect()
}

/// One split, in the order of the file. Example i has the tokens `tokens.get(i)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Split {
    pub examples: Vec<Example>,
    pub tokens: Tokens,
    /// Empty if they are not known.
    pub origins: Origins,
    /// Tokens of each example's longest sequence without truncation. Empty if they are not known.
    pub full_lengths: Vec<u32>,
}

impl Split {
    /// Share of each of `classes` classes.
    #[must_use]
    pub fn prior(&self, classes: usize) -> Vec<f64> {
        let mut counts = vec![0_usize; classes];
        for class in self.examples.iter().filter_map(|example| example.target.class()) {
            if let Some(count) = counts.get_mut(class as usize) {
                *count += 1;
            }
        }
        counts.into_iter().map(|count| count as f64 / self.examples.len().max(1) as f64).collect()
    }

    /// Examples whose text is also in `other`. Empty texts do not count.
    pub(super) fn rows_shared_with(&self, other: &Self) -> usize {
        let known: HashSet<_> = other.examples.iter().map(Example::content).collect();
        let texts = self.examples.iter().filter(|example| !example.is_empty());
        texts.filter(|example| known.contains(&example.content())).count()
    }

    /// The number of each example's stratum: splits and limits keep their shares. An example with several labels belongs to the
    /// rarest of them.
    pub(super) fn strata(&self) -> Vec<u32> {
        let mut rows: BTreeMap<u32, usize> = BTreeMap::new();
        for example in &self.examples {
            if let Target::Labels(labels) = &example.target {
                for label in labels {
                    *rows.entry(*label).or_default() += 1;
                }
            }
        }
        let rarest = |labels: &[u32]| labels.iter().copied().min_by_key(|label| (rows.get(label), *label));
        let stratum = |example: &Example| match &example.target {
            // 0 is for examples without labels.
            Target::Labels(labels) => rarest(labels).map_or(0, |label| label + 1),
            target => target.stratum(),
        };
        self.examples.iter().map(stratum).collect()
    }

    /// The target of each output.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        output_targets(&self.examples, &self.tokens)
    }

    /// The examples with these indices, in the order of the indices.
    #[must_use]
    pub(super) fn select(&self, indices: &[u32]) -> Self {
        let examples = indices.iter().map(|&index| self.examples[index as usize].clone()).collect();
        // Empty stays empty.
        let full_lengths = indices.iter().filter_map(|&index| self.full_lengths.get(index as usize).copied()).collect();
        Self { examples, tokens: self.tokens.select(indices), origins: self.origins.select(indices), full_lengths }
    }
}
