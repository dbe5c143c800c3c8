//! Finds the resources of an augmentation (dictionary folders, checkpoints, programs) before training, and hashes their
//! content for the trial's id.

use std::path::{Path, PathBuf};

use super::command;
use super::marian;
use super::masked_lm;
use super::wordnet::WordNet;
use crate::train::TrainError;
use crate::train::data::{find, locate_model, locate_translator};
use crate::trial::{Augmentation, Translator};

/// An augmentation with its resources.
#[derive(Debug, Clone, PartialEq)]
pub struct LocatedAugmentation {
    /// The augmentation with absolute paths.
    pub method: Augmentation,
    /// The augmentation with the hash of each resource instead of its path, and without settings that do not change the
    /// result.
    pub identity: Augmentation,
}

/// Finds and checks the resources of an augmentation. Paths are looked up in `roots` in turn.
pub fn locate(written: &Augmentation, roots: &[PathBuf]) -> Result<LocatedAugmentation, TrainError> {
    let (mut method, mut identity) = (written.clone(), written.clone());
    match (&mut method, &mut identity) {
        (
            Augmentation::Synonym { wordnet: Some(at), .. }
            | Augmentation::RandomInsertion { wordnet: Some(at), .. }
            | Augmentation::Eda { wordnet: Some(at), .. }
            | Augmentation::EdaExact { wordnet: Some(at), .. },
            Augmentation::Synonym { wordnet: Some(hash), .. }
            | Augmentation::RandomInsertion { wordnet: Some(hash), .. }
            | Augmentation::Eda { wordnet: Some(hash), .. }
            | Augmentation::EdaExact { wordnet: Some(hash), .. },
        ) => {
            *at = find(at, roots, "WordNet dictionary")?.display().to_string();
            *hash = WordNet::read(Path::new(at))?.1;
        }
        (Augmentation::Contextual { model: Some(at), .. }, Augmentation::Contextual { model: Some(hash), .. }) => {
            *at = locate_model(at, roots)?;
            *hash = masked_lm::check(at)?;
        }
        (
            Augmentation::BackTranslation { engine: Translator::Command, out, home, .. },
            Augmentation::BackTranslation { timeout, beams, samples, .. },
        ) => {
            (*timeout, *beams, *samples) = (0.0, 0, 0);
            for line in [out, home].into_iter().flatten() {
                *line = command::locate(line, roots)?;
            }
        }
        (
            Augmentation::BackTranslation { engine: Translator::Marian, out, home, .. },
            Augmentation::BackTranslation { timeout, out: out_hash, home: home_hash, .. },
        ) => {
            *timeout = 0.0;
            for ((at, hash), usual) in [(out, out_hash), (home, home_hash)].into_iter().zip(marian::DEFAULT_PAIR) {
                let found = locate_translator(at.as_deref().unwrap_or(usual), roots)?;
                *hash = Some(marian::check(&found)?);
                *at = Some(found);
            }
        }
        _ => {}
    }
    Ok(LocatedAugmentation { method, identity })
}
