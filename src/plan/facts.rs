//! What is known of the outside world when a sweep is planned: data, checkpoints, augmentations.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::spec::{Place, ResolvedSources};
use crate::trial::{
    Architecture, Augmentation, DataConfig, DataFacts, Extra, FileHashes, ModelConfig, ModelFacts, SourceHashes,
    TrialConfig,
};

/// What is known of each source that [`SweepSpec::sources`] lists.
///
/// [`SweepSpec::sources`]: crate::spec::SweepSpec::sources
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    pub data: Vec<DataFound>,
    pub models: Vec<ModelFound>,
    pub augmentations: Vec<AugmentationFound>,
    #[serde(default)]
    pub bf16: Bf16Found,
}

/// Whether the devices of the run multiply bf16 factors faster than f32.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Bf16Found {
    #[default]
    Available,
    /// What is missing, and where: `this processor has neither ...`.
    Lacking(String),
}

impl Facts {
    /// What is known of the data and the checkpoint of a planned trial.
    pub fn of(&self, config: &TrialConfig) -> Option<(&DataFacts, Cow<'_, ModelFacts>)> {
        let data = self.data.iter().find(|found| found.located == config.data && self.reads(found, config))?;
        let model = self.models.iter().find(|found| found.located == config.model.from)?;
        Some((&data.facts, model.facts_of(&config.model)))
    }

    /// The content hashes that the id of a planned trial was made from. None for a trial whose facts are unknown.
    #[must_use]
    pub fn source_hashes(&self, config: &TrialConfig) -> Option<SourceHashes> {
        let (data, model) = self.of(config)?;
        let found = |method: &Augmentation| self.augmentations.iter().find(|found| found.located == *method);
        let identity =
            |method: &Augmentation| found(method).map_or_else(|| method.clone(), |found| found.identity.clone());
        let augmentation = config.augmentation.iter().map(identity).collect();
        let resources = config.augmentation.iter().filter_map(found).flat_map(|found| &found.files);
        let files = data.files.iter().chain(&model.files).chain(resources);
        let files = files.map(|(name, hash)| (name.clone(), hash.clone())).collect();
        Some(SourceHashes { data: data.hash.clone(), model: model.hash.clone(), files, augmentation })
    }

    /// The paths of the sources, and what the checkpoints decide, for [`SweepSpec::to_yaml`].
    ///
    /// [`SweepSpec::to_yaml`]: crate::spec::SweepSpec::to_yaml
    #[must_use]
    pub fn resolved(&self) -> ResolvedSources {
        let mut resolved = ResolvedSources::default();
        for DataFound { written, located, .. } in &self.data {
            resolved.files.insert(written.train.clone(), located.train.clone());
            let files = written.held_out_files().zip(located.held_out_files());
            resolved.files.extend(files.map(|(written, located)| (written.to_owned(), located.to_owned())));
        }
        for ModelFound { written, located, facts } in &self.models {
            // The name on the hub is more useful than a path in the cache of this machine.
            if !written.starts_with("hf:") {
                resolved.files.insert(written.clone(), located.clone());
            }
            (resolved.pooling, resolved.dropout) = (Some(facts.default_pooling()), facts.dropout);
        }
        if self.models.len() > 1 {
            (resolved.pooling, resolved.dropout) = (None, None);
        }
        resolved
    }

    /// Whether `found` was read with the tokenizer of the trial's checkpoint.
    fn reads(&self, found: &DataFound, config: &TrialConfig) -> bool {
        self.models.iter().any(|model| model.written == found.model && model.located == config.model.from)
    }
}

/// A data section, read with the tokenizer of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataFound {
    /// As written, with sources that are not located.
    pub written: DataConfig,
    /// `model.from` as written, of the checkpoint with the tokenizer.
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
    /// The same with the hash of its content in place of each source. It enters the id.
    pub identity: Augmentation,
    /// The files behind it.
    #[serde(default)]
    pub files: FileHashes,
    /// Its place in the sweep file.
    pub place: Place,
}

/// A checkpoint as found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelFound {
    /// `model.from` as written.
    pub written: String,
    pub located: String,
    pub facts: ModelFacts,
}

impl ModelFound {
    /// What is known of the network of a trial that reads this checkpoint.
    pub fn facts_of(&self, config: &ModelConfig) -> Cow<'_, ModelFacts> {
        match (&config.architecture, &config.extra, &config.adapters) {
            (Architecture::None, Extra::None, None) => Cow::Borrowed(&self.facts),
            (Architecture::None, ..) => Cow::Owned(self.facts.with_modules(config)),
            (architecture, ..) => Cow::Owned(self.facts.of_network(architecture)),
        }
    }
}
