//! A folder of TensorBoard event files: one file for each trial, which grows with the trial.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::tfevents::{FILE_NAME, Written};
use super::{TrackError, Tracker, TrialCurves};
use crate::store;
use crate::trial::{Trial, TrialId};

/// Event files in a folder, each in a sub-folder named after its trial.
pub struct EventFiles {
    folder: PathBuf,
    written: HashMap<TrialId, Written>,
}

impl EventFiles {
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, written: HashMap::new() }
    }

    /// What the file at `path` holds. It is read again if its size is not the one that this process left.
    fn written(&self, trial: &TrialId, path: &Path) -> Written {
        let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
        match self.written.get(trial) {
            Some(written) if written.length == size => *written,
            // An unreadable file counts as empty: appending to it reports what is wrong.
            _ => Written::read(&store::read_file(path).ok().flatten().unwrap_or_default()),
        }
    }
}

impl Tracker for EventFiles {
    fn update(&mut self, curves: &TrialCurves<'_>) -> Result<bool, TrackError> {
        let trial = curves.trial;
        let path = self.folder.join(folder_name(trial)).join(FILE_NAME);
        let mut written = self.written(&trial.id, &path);
        let length = written.length;
        let records = written.missing_records(curves);
        if !records.is_empty() {
            store::append(&path, length, &records)?;
        }
        self.written.insert(trial.id.clone(), written);
        Ok(!records.is_empty())
    }
}

/// The varying values and the id, in characters that every file system accepts.
fn folder_name(trial: &Trial) -> String {
    const MAX_CHARACTERS: usize = 120;
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '_' };
    let value = |text: &str| text.chars().map(plain).collect::<String>();
    let values: Vec<String> = trial.values.iter().map(|(key, of)| format!("{key}={}", value(&of.text))).collect();
    let name: String = values.join(",").chars().take(MAX_CHARACTERS).collect();
    if name.is_empty() { trial.id.to_string() } else { format!("{name},{}", trial.id) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::curves;
    use super::*;
    use crate::analysis::synthetic::{self, axis};

    #[test]
    fn a_folder_is_named_by_the_values() {
        let axes = [axis("lr", &["1e-5", "3e-5"]), axis("augmentation", &["none", "{name: eda, alpha: 0.1}"])];
        let sweep = synthetic::sweep("s", &axes, 48);
        assert_eq!(folder_name(&sweep.runs[1].trial), "lr=1e-5,augmentation=_name__eda__alpha__0.1_,123456789abc");
    }

    /// Also a file that a user removed or cut while the trial was running.
    #[test]
    fn a_file_holds_what_was_measured() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(folder_name(&run.trial)).join(FILE_NAME);
        let mut files = EventFiles::new(folder.path().to_owned());
        let mut update = |run| files.update(&curves(run, "", &[])).unwrap();
        let mut begun = run.clone();
        begun.metrics.truncate(5);
        assert!(update(&begun) && !update(&begun) && update(&run));
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(update(&run));
        let rewritten = fs::read(&path).unwrap();
        assert_eq!(rewritten.len(), whole.len());
        fs::write(&path, &rewritten[..rewritten.len() / 2]).unwrap();
        assert!(update(&run) && fs::read(&path).unwrap() == rewritten);
    }
}
