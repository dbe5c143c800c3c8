//! The folder of a new sweep file: sources in the file are read from there.

use std::path::{Component, Path, PathBuf};

use serde_yaml::Value;

/// Where a sweep file will be, and the working directory, from which the sources of the command line are read.
#[derive(Debug)]
pub(super) struct SweepFolder {
    folder: PathBuf,
    working: PathBuf,
}

impl SweepFolder {
    /// The folder of a file that need not exist.
    pub(super) fn of(file: &Path) -> Self {
        let working = Path::new(".").canonicalize().unwrap_or_default();
        let folder = working.join(file.parent().unwrap_or(Path::new("")));
        // The part that exists may lead through links.
        let there = folder.ancestors().find_map(|part| Some((part.canonicalize().ok()?, part)));
        let folder = match there {
            Some((real, part)) => plain(&real.join(folder.strip_prefix(part).unwrap_or(Path::new("")))),
            None => folder,
        };
        Self { folder, working }
    }

    /// A source of the command line as it stands in the sweep file: relative to its folder if that is in the working directory, else
    /// absolute.
    pub(super) fn source(&self, source: &str) -> String {
        if self.folder == self.working || source.starts_with("embedded:") || Path::new(source).is_absolute() {
            return source.to_owned();
        }
        let target = plain(&self.working.join(source));
        let relative = if self.folder.starts_with(&self.working) {
            let shared = self.folder.ancestors().find(|part| target.starts_with(part)).unwrap_or(&self.working);
            let up = self.folder.strip_prefix(shared).map_or(0, |inside| inside.components().count());
            let inside = target.strip_prefix(shared).unwrap_or(&target);
            std::iter::repeat_n(Path::new(".."), up).chain([inside]).collect()
        } else {
            target
        };
        // A folder inside itself.
        if relative.as_os_str().is_empty() { ".".to_owned() } else { relative.display().to_string() }
    }

    /// A value of `data.eval` or `data.test`: a fraction, a source, or a map with a source.
    pub(super) fn setting(&self, value: &str) -> String {
        let Ok(mut parsed) = serde_yaml::from_str::<Value>(value) else { return value.to_owned() };
        let file = if parsed.is_mapping() { parsed.get_mut("file") } else { Some(&mut parsed) };
        match file {
            Some(Value::String(file)) => *file = self.source(file),
            _ => return value.to_owned(),
        }
        // A JSON text is a YAML text.
        serde_json::to_string(&parsed).unwrap_or_else(|_| value.to_owned())
    }
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(folder: &str) -> SweepFolder {
        SweepFolder { folder: folder.into(), working: "/home/me".into() }
    }

    #[test]
    fn a_source_is_relative_to_the_folder_of_the_sweep_file() {
        for (inside, source, expected) in [
            ("/home/me", "data/a.csv", "data/a.csv"),
            ("/home/me/proj", "a.csv", "../a.csv"),
            ("/home/me/proj/deep", "./data/*.csv", "../../data/*.csv"),
            ("/home/me/data", "data/a.csv", "a.csv"),
            ("/home/me/data/x", "data/a.csv", "../a.csv"),
            ("/home/me/data", "data", "."),
            ("/home/me/proj", "../a.csv", "../../a.csv"),
            ("/tmp", "a.csv", "/home/me/a.csv"),
            ("/tmp", "/data/a.csv", "/data/a.csv"),
            ("/tmp", "embedded:tweets", "embedded:tweets"),
        ] {
            assert_eq!(folder(inside).source(source), expected, "{inside} {source}");
        }
    }

    #[test]
    fn files_in_settings_are_written_alike() {
        let folder = folder("/home/me/proj");
        assert_eq!(folder.setting("0.2"), "0.2");
        assert_eq!(folder.setting("dev.csv"), "\"../dev.csv\"");
        assert_eq!(folder.setting("{file: dev.csv, text: t}"), "{\"file\":\"../dev.csv\",\"text\":\"t\"}");
    }
}
