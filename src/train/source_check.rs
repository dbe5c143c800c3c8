//! Compares what a trial reads with the hashes that its id was made from.
//!
//! A file may change between planning and training, or between two attempts. Its numbers would then stand under the id of the
//! old content, so the trial fails before its first step.

use super::data::{CheckpointFiles, LoadedHashes};
use super::{TrainError, augment};
use crate::trial::{Augmentation, SourceHashes, Translator, TrialConfig};

/// The expectations of a trial. Without expectations everything passes: a toy has no plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceCheck<'a> {
    pub config: &'a TrialConfig,
    pub expected: Option<&'a SourceHashes>,
}

impl SourceCheck<'_> {
    pub(super) fn data(&self, found: &LoadedHashes) -> Result<(), TrainError> {
        let data = &self.config.data;
        let files = match data.eval.file() {
            Some(eval) => format!("{} or {eval}", data.train),
            None => data.train.clone(),
        };
        self.compare(&files, |expected| expected.data == found.data)
    }

    /// The checkpoint, whose tokenizer must also be the one that made the tokens.
    pub(super) fn checkpoint(&self, files: &CheckpointFiles, loaded: &LoadedHashes) -> Result<(), TrainError> {
        self.tokenizer(blake3::hash(&files.tokenizer), loaded)?;
        self.compare(&self.config.model.from, |expected| expected.model == files.hash())
    }

    pub(super) fn tokenizer(&self, found: blake3::Hash, loaded: &LoadedHashes) -> Result<(), TrainError> {
        self.compare(&self.config.model.from, |_| found == loaded.tokenizer)
    }

    /// The files of the augmentations: dictionaries and models.
    pub(super) fn augmentations(&self) -> Result<(), TrainError> {
        let Some(expected) = self.expected else { return Ok(()) };
        for (method, expected) in self.config.augmentation.iter().zip(&expected.augmentation) {
            // The id holds the command line as written, and no content.
            if matches!(method, Augmentation::BackTranslation { engine: Translator::Command, .. }) {
                continue;
            }
            let found = augment::identify(method, method)?;
            self.compare(&format!("the files of the augmentation `{}`", method.name()), |_| found == *expected)?;
        }
        Ok(())
    }

    fn compare(&self, what: &str, is_equal: impl Fn(&SourceHashes) -> bool) -> Result<(), TrainError> {
        if self.expected.is_none_or(is_equal) {
            return Ok(());
        }
        Err(TrainError::Input(format!(
            "{what}: the content has changed since the sweep was planned, and the id of this trial belongs to the old \
             content. Put the old content back and run with --retry-failed, or run the sweep again: the new content gives \
             new trials"
        )))
    }
}
