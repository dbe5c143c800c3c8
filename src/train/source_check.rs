//! Compares what a trial reads with the hashes that its id was made from.
//!
//! A file may change between planning and training, or between two attempts. Its numbers would then stand under the id of the
//! old content, so the trial fails before its first step.

use std::collections::BTreeSet;

use super::data::{CheckpointFiles, LoadedHashes, tokenizer_hashes};
use super::{TrainError, augment};
use crate::trial::{Augmentation, FileHashes, SourceHashes, Translator, TrialConfig};

/// The expectations of a trial. Without expectations everything passes: a toy has no plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceCheck<'a> {
    pub config: &'a TrialConfig,
    pub expected: Option<&'a SourceHashes>,
}

impl SourceCheck<'_> {
    pub(super) fn data(&self, found: &LoadedHashes) -> Result<(), TrainError> {
        let data = &self.config.data;
        let sources = match data.eval.file() {
            Some(eval) => format!("{} or {eval}", data.train),
            None => data.train.clone(),
        };
        self.compare(|expected| expected.data == found.data, || (sources, found.files.clone()))
    }

    /// The checkpoint, whose tokenizer must also be the one that made the tokens.
    pub(super) fn checkpoint(&self, files: &CheckpointFiles, loaded: &LoadedHashes) -> Result<(), TrainError> {
        self.tokenizer(blake3::hash(&files.tokenizer), loaded)?;
        let model = &self.config.model.from;
        self.compare(|expected| expected.model == files.hash(), || (model.clone(), files.hashes(model)))
    }

    pub(super) fn tokenizer(&self, found: blake3::Hash, loaded: &LoadedHashes) -> Result<(), TrainError> {
        let what = || {
            let model = &self.config.model.from;
            (format!("the tokenizer of {model}"), tokenizer_hashes(model))
        };
        self.compare(|_| found == loaded.tokenizer, what)
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
            let what = || {
                let files: BTreeSet<String> =
                    augment::resources(method).iter().map(|path| path.display().to_string()).collect();
                let files: Vec<String> = files.into_iter().collect();
                (format!("{} of the augmentation `{}`", files.join(" or "), method.name()), augment::hashes(method))
            };
            self.compare(|_| found == *expected, what)?;
        }
        Ok(())
    }

    /// Fails unless the content is the expected one. `what` names the sources, and the files that were read with their hashes.
    fn compare(
        &self,
        is_equal: impl FnOnce(&SourceHashes) -> bool,
        what: impl FnOnce() -> (String, FileHashes),
    ) -> Result<(), TrainError> {
        let Some(expected) = self.expected else { return Ok(()) };
        if is_equal(expected) {
            return Ok(());
        }
        let (sources, found) = what();
        let changed = changed_files(&expected.files, &found).unwrap_or(sources);
        Err(TrainError::Input(format!(
            "{changed}: the content has changed since the sweep was planned, and the id of this trial belongs to the old \
             content. Put the old content back and run with --retry-failed, or run the sweep again: the new content gives \
             new trials"
        )))
    }
}

/// The names of the files whose content is not the expected one, and of those that are new, at most five. None if the hashes
/// do not tell: a file is gone.
fn changed_files(expected: &FileHashes, found: &FileHashes) -> Option<String> {
    const NAMED: usize = 5;
    let changed = found.iter().filter(|(name, hash)| expected.get(*name) != Some(*hash));
    let name =
        |(name, _): (&String, _)| if expected.contains_key(name) { name.clone() } else { format!("{name} (new)") };
    // Where no hash is known, every file would be new.
    let names: Vec<String> = changed.filter(|_| !expected.is_empty()).map(name).take(NAMED).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changed_files_are_named() {
        let hashes = |files: &[(&str, &str)]| -> FileHashes {
            files.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect()
        };
        let planned = hashes(&[("train.csv", "a"), ("eval.csv", "b"), ("m/config.json", "c")]);
        let changed = |found: &[(&str, &str)]| changed_files(&planned, &hashes(found));
        assert_eq!(changed(&[("train.csv", "a"), ("eval.csv", "x")]).as_deref(), Some("eval.csv"));
        assert_eq!(changed(&[("train.csv", "x"), ("eval.csv", "x")]).as_deref(), Some("eval.csv, train.csv"));
        assert_eq!(changed(&[("train.csv", "a"), ("more.csv", "x")]).as_deref(), Some("more.csv (new)"));
        assert_eq!(changed(&[("train.csv", "a")]), None, "a file is gone");
    }
}
