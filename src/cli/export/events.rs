//! A sweep as TensorBoard's event files: one a trial, which grows with it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::analysis::Run;
use crate::cli::Failure;
use crate::cli::track::Tracker;
use crate::report::tensorboard::{self, Written};
use crate::store;
use crate::trial::TrialId;

/// Event files in a folder, one for each trial in a folder of its own.
pub(crate) struct EventFiles {
    folder: PathBuf,
    written: HashMap<TrialId, Written>,
}

impl EventFiles {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, written: HashMap::new() }
    }

    /// What the file at `path` holds. Others may have changed it since it was last looked at.
    fn written(&self, trial: &TrialId, path: &Path) -> Written {
        let size = fs::metadata(path).map_or(0, |about| about.len());
        match self.written.get(trial) {
            Some(written) if written.length == size => *written,
            // One that cannot be read is written anew; what stands in its way is told by that.
            _ => Written::of(&fs::read(path).unwrap_or_default()),
        }
    }
}

impl Tracker for EventFiles {
    fn take(&mut self, run: &Run, _: u64) -> Result<bool, Failure> {
        let path = self.folder.join(folder_name(run)).join(tensorboard::FILE);
        let mut written = self.written(&run.trial.id, &path);
        let before = written.length;
        let records = written.grow(run);
        if !records.is_empty() {
            store::append(&path, before, &records)?;
        }
        self.written.insert(run.trial.id.clone(), written);
        Ok(!records.is_empty())
    }
}

/// The values of a run, in characters that every file system takes, and its id.
fn folder_name(run: &Run) -> String {
    const MOST: usize = 120;
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '_' };
    let value = |text: &str| text.chars().map(plain).collect::<String>();
    let values: Vec<String> = run.trial.values.iter().map(|(key, of)| format!("{key}={}", value(&of.text))).collect();
    let name: String = values.join(",").chars().take(MOST).collect();
    if name.is_empty() { run.trial.id.to_string() } else { format!("{name},{}", run.trial.id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{self, axis};

    #[test]
    fn a_folder_is_named_by_the_values() {
        let axes = [axis("lr", &["1e-5", "3e-5"]), axis("augmentation", &["none", "{name: eda, alpha: 0.1}"])];
        let sweep = synthetic::sweep("s", &axes, 48);
        assert_eq!(folder_name(&sweep.runs[1]), "lr=1e-5,augmentation=_name__eda__alpha__0.1_,123456789abc");
    }

    /// Also one that somebody removed, or wrote anew, while it grew.
    #[test]
    fn files_hold_what_was_measured() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(folder_name(&run)).join(tensorboard::FILE);
        let mut files = EventFiles::new(folder.path().to_owned());
        let mut begun = run.clone();
        begun.metrics.truncate(5);
        assert!(files.take(&begun, 0).unwrap() && !files.take(&begun, 0).unwrap() && files.take(&run, 0).unwrap());
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(files.take(&run, 0).unwrap());
        let anew = fs::read(&path).unwrap();
        assert_eq!(anew.len(), whole.len());
        fs::write(&path, &anew[..anew.len() / 2]).unwrap();
        assert!(files.take(&run, 0).unwrap() && fs::read(&path).unwrap() == anew);
    }
}
