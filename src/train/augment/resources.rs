//! Finds the resources of an augmentation (dictionary folders, checkpoints, programs) before training, and hashes their
//! content for the trial's id.

use std::path::{Path, PathBuf};

use super::command;
use super::marian;
use super::masked_lm;
use super::wordnet::WordNet;
use crate::train::TrainError;
use crate::train::data::{file_hashes, find, locate_model, locate_translator};
use crate::trial::{Augmentation, FileHashes, Translator};

/// The augmentation with absolute paths. Paths are looked up in `roots` in turn, and checkpoints are downloaded. The content
/// of the resources is left to [`identify`].
pub fn locate(written: &Augmentation, roots: &[PathBuf]) -> Result<Augmentation, TrainError> {
    let mut method = written.clone();
    match &mut method {
        Augmentation::Synonym { wordnet: Some(at), .. }
        | Augmentation::RandomInsertion { wordnet: Some(at), .. }
        | Augmentation::Eda { wordnet: Some(at), .. }
        | Augmentation::EdaExact { wordnet: Some(at), .. } => {
            *at = find(at, roots, "WordNet dictionary")?.display().to_string();
        }
        Augmentation::Contextual { model: Some(at), .. } => *at = locate_model(at, roots)?,
        Augmentation::BackTranslation { engine: Translator::Command, out, home, .. } => {
            for line in [out, home].into_iter().flatten() {
                *line = command::locate(line, roots)?;
            }
        }
        Augmentation::BackTranslation { engine: Translator::Marian, out, home, .. } => {
            for (at, usual) in [out, home].into_iter().zip(marian::DEFAULT_PAIR) {
                *at = Some(locate_translator(at.as_deref().unwrap_or(usual), roots)?);
            }
        }
        _ => {}
    }
    Ok(method)
}

/// Reads the resources of a `located` augmentation and checks them. Returns the augmentation as `written`, with the hash of
/// each resource instead of its path, and without settings that do not change the result.
pub fn identify(written: &Augmentation, located: &Augmentation) -> Result<Augmentation, TrainError> {
    let mut identity = written.clone();
    match (&mut identity, located) {
        (
            Augmentation::Synonym { wordnet: Some(hash), .. }
            | Augmentation::RandomInsertion { wordnet: Some(hash), .. }
            | Augmentation::Eda { wordnet: Some(hash), .. }
            | Augmentation::EdaExact { wordnet: Some(hash), .. },
            Augmentation::Synonym { wordnet: Some(at), .. }
            | Augmentation::RandomInsertion { wordnet: Some(at), .. }
            | Augmentation::Eda { wordnet: Some(at), .. }
            | Augmentation::EdaExact { wordnet: Some(at), .. },
        ) => *hash = WordNet::read(Path::new(at))?.1,
        (Augmentation::Contextual { model: Some(hash), .. }, Augmentation::Contextual { model: Some(at), .. }) => {
            *hash = masked_lm::check(at)?;
        }
        (Augmentation::BackTranslation { engine: Translator::Command, timeout, beams, samples, .. }, _) => {
            (*timeout, *beams, *samples) = (0.0, 0, 0);
        }
        (
            Augmentation::BackTranslation {
                engine: Translator::Marian, timeout, out: out_hash, home: home_hash, ..
            },
            Augmentation::BackTranslation { out: Some(out), home: Some(home), .. },
        ) => {
            *timeout = 0.0;
            for (hash, at) in [(out_hash, out), (home_hash, home)] {
                *hash = Some(marian::check(at)?);
            }
        }
        _ => {}
    }
    Ok(identity)
}

/// The folders and files whose content `located` depends on. What is compiled in has none.
#[must_use]
pub fn resources(located: &Augmentation) -> Vec<&Path> {
    let named = match located {
        Augmentation::Synonym { wordnet: at, .. }
        | Augmentation::RandomInsertion { wordnet: at, .. }
        | Augmentation::Eda { wordnet: at, .. }
        | Augmentation::EdaExact { wordnet: at, .. }
        | Augmentation::Contextual { model: at, .. } => [at.as_deref(), None],
        Augmentation::BackTranslation { engine: Translator::Marian, out, home, .. } => {
            [out.as_deref(), home.as_deref()]
        }
        _ => [None, None],
    };
    named.into_iter().flatten().filter(|at| !at.starts_with("embedded:")).map(Path::new).collect()
}

/// blake3 over each file that `located` depends on.
#[must_use]
pub fn hashes(located: &Augmentation) -> FileHashes {
    file_hashes(resources(located))
}
