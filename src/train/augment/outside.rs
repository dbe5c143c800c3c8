//! What methods need from outside of the data: dictionary folders, checkpoints, programs. Finds them before anything is
//! trained, and says by which content they enter a trial's id.

use std::path::{Path, PathBuf};

use super::command;
use super::marian;
use super::mlm;
use super::wordnet::WordNet;
use crate::train::TrainError;
use crate::train::data::source::{find, locate_model, locate_translator};
use crate::trial::{Augmentation, Translator};

/// An augmentation as found.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// With absolute paths.
    pub method: Augmentation,
    /// With the hash of each source's content in the place of its path, and without what does not bear on the result.
    pub identity: Augmentation,
}

/// Finds and looks into what an augmentation as written needs. Paths are looked up in `roots` in turn.
pub fn locate(written: &Augmentation, roots: &[PathBuf]) -> Result<Located, TrainError> {
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
            *hash = mlm::check(at)?;
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
            for ((at, hash), usual) in [(out, out_hash), (home, home_hash)].into_iter().zip(marian::PAIR) {
                let found = locate_translator(at.as_deref().unwrap_or(usual), roots)?;
                *hash = Some(marian::check(&found)?);
                *at = Some(found);
            }
        }
        _ => {}
    }
    Ok(Located { method, identity })
}
