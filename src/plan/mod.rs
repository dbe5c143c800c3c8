//! Expands a checked sweep into its trials: product, zip, include, exclude, seeds and ids. Pure.
//!
//! Trials come in the order of the file: the last key varies fastest, and `include` follows the product. Each id occurs
//! once. An id depends on the trial's configuration and data, not on how the sweep is written or where its files lie.

mod check;
mod estimate;
mod expand;
mod identity;
mod idle;
mod probes;
mod schedules;
#[cfg(test)]
mod tests;

pub use check::augmentation_mistakes;
pub use estimate::{Estimate, PastTrial, PlanEstimate, estimate};
pub use expand::expand;
pub use probes::{Question, approach, probe_plan, probes};
pub use schedules::{PlannedSchedule, schedules};

use serde::{Deserialize, Serialize};

use crate::spec::{Place, Settled};
use crate::trial::{Augmentation, Axis, DataConfig, DataFacts, EvalSource, ModelFacts, Trial, TrialConfig};

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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    pub data: Vec<DataFound>,
    pub models: Vec<ModelFound>,
    pub augmentations: Vec<AugmentationFound>,
}

impl Facts {
    /// What is known of the data and the checkpoint of a planned trial.
    pub fn of(&self, config: &TrialConfig) -> Option<(&DataFacts, &ModelFacts)> {
        let data = self.data.iter().find(|found| found.located == config.data && self.reads(found, config))?;
        let model = self.models.iter().find(|found| found.located == config.model.from)?;
        Some((&data.facts, &model.facts))
    }

    /// Where the sources lie, and what the checkpoints decide, for [`SweepSpec::to_yaml`].
    ///
    /// [`SweepSpec::to_yaml`]: crate::spec::SweepSpec::to_yaml
    #[must_use]
    pub fn settled(&self) -> Settled {
        let mut settled = Settled::default();
        for DataFound { written, located, .. } in &self.data {
            settled.files.insert(written.train.clone(), located.train.clone());
            if let (EvalSource::File(written), EvalSource::File(located)) = (&written.eval, &located.eval) {
                settled.files.insert(written.clone(), located.clone());
            }
        }
        for ModelFound { written, located, facts } in &self.models {
            // A name on the hub says more than its place in this machine's cache.
            if !written.starts_with("hf:") {
                settled.files.insert(written.clone(), located.clone());
            }
            (settled.pooling, settled.dropout) = (Some(facts.default_pooling()), facts.dropout);
        }
        if self.models.len() > 1 {
            (settled.pooling, settled.dropout) = (None, None);
        }
        settled
    }

    /// Whether `found` was read with the tokenizer of the trial's checkpoint.
    fn reads(&self, found: &DataFound, config: &TrialConfig) -> bool {
        self.models.iter().any(|model| model.written == found.model && model.located == config.model.from)
    }
}

/// A data section with the tokenizer it is read with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataFound {
    /// As written (sources not located), and `model.from` as written.
    pub written: DataConfig,
    pub model: String,
    /// The same with located sources.
    pub located: DataConfig,
    pub facts: DataFacts,
}

/// An augmentation with what it needs from outside: a lexicon, a checkpoint, programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AugmentationFound {
    /// As written.
    pub written: Augmentation,
    /// The same with located sources.
    pub located: Augmentation,
    /// The same with the hash of each source's content in its place: what enters the id.
    pub identity: Augmentation,
    /// Where it stands.
    pub place: Place,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelFound {
    /// `model.from` as written.
    pub written: String,
    pub located: String,
    pub facts: ModelFacts,
}
