//! What a folder of results was made from: kept beside the results, so that they can be looked at when the sweep file,
//! the data or the checkpoint are gone, and so that two sweeps of one name are noticed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::prepare::option;
use crate::plan::{Facts, Plan, expand};
use crate::spec;
use crate::store::RunDir;

/// A sweep file as it was when it was last run, and what was found out about its sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// As the user named it, for messages.
    shown: String,
    /// Where it lies.
    file: PathBuf,
    stem: String,
    text: String,
    set: Vec<(String, String)>,
    facts: Facts,
}

impl Origin {
    pub(crate) fn new(stem: &str, path: &Path, text: &str, set: &[(String, String)], facts: &Facts) -> Self {
        Self {
            shown: path.display().to_string(),
            file: path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            stem: stem.to_owned(),
            text: text.to_owned(),
            set: set.to_vec(),
            facts: facts.clone(),
        }
    }

    /// Of an earlier run; None where there was none, or one that kept no origin that can be read.
    pub(crate) fn read(dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.origin()).ok()?).ok()
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The trials that were planned.
    pub(crate) fn plan(&self) -> Option<Plan> {
        expand(&spec::parse(&self.shown, &self.stem, &self.text, &self.set).ok()?, &self.facts).ok()
    }

    /// Whether `other` says the same in the same place, whatever was found out about the sources.
    pub(crate) fn is_of(&self, path: &Path, text: &str, set: &[(String, String)]) -> bool {
        let here = path.canonicalize().is_ok_and(|path| path == self.file);
        here && self.text == text && (set.is_empty() || self.set == set)
    }

    /// What to say when `new` is run in the folder that this was run in: nothing if it is the same sweep, changed or not.
    pub(crate) fn clash(&self, new: &Self, dir: &RunDir) -> Option<String> {
        let folder = dir.path().display();
        let stays = "the trials of both stay there, and the report shows those of this run";
        // A file that is no more where it was has been moved, not doubled.
        if self.file != new.file && self.file.exists() {
            let (old, new) = (self.file.display(), new.file.display());
            return Some(format!(
                "warning: {folder} holds the results of {old}, and now {new} is run there: {stays}. Give one of them another \
                 `name` to keep them apart"
            ));
        }
        (self.set != new.set).then(|| {
            let (old, new) = (options(&self.set), options(&new.set));
            format!(
                "warning: {folder} was last run {old}, and now {new}: {stays}. Add --set name=... to keep them apart"
            )
        })
    }
}

fn options(set: &[(String, String)]) -> String {
    let options: Vec<String> = set.iter().map(option).collect();
    if options.is_empty() { "without --set".to_owned() } else { format!("with {}", options.join(" ")) }
}

/// The default name of the sweep in this file.
pub(crate) fn stem(path: &Path) -> &str {
    path.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or("sweep")
}
