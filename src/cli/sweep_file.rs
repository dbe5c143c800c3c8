//! Finds the sweep file that a path or a bare name means, and reads it. The sweeps of the repository are compiled in, so
//! that their names work in any folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::spec;

/// Largest sweep file that is read, in bytes. The largest plan, of 100,000 trials, takes a tenth of it.
const LARGEST: u64 = 16 << 20;
/// Folder of the sweeps that a bare name means.
const SWEEPS: &str = "sweeps";

/// The sweeps that are compiled in, by name.
const EMBEDDED: [(&str, &str); 5] = [
    ("architectures", include_str!("../../sweeps/architectures.yaml")),
    ("augmentation", include_str!("../../sweeps/augmentation.yaml")),
    ("lr-grid", include_str!("../../sweeps/lr-grid.yaml")),
    ("search", include_str!("../../sweeps/search.yaml")),
    ("smoke", include_str!("../../sweeps/smoke.yaml")),
];

/// A sweep file as it was read.
pub(crate) struct SweepFile {
    /// Its path, or `embedded:NAME.yaml` for one that is compiled in.
    pub path: PathBuf,
    pub text: String,
}

impl SweepFile {
    /// Reads the sweep file that a path or a bare name means. A file in `sweeps/` wins over a compiled-in sweep of the same
    /// name.
    pub(crate) fn read(sweep: &str) -> Result<Self, Failure> {
        let path = Path::new(sweep);
        if path.is_file() {
            return Self::read_path(path.to_owned());
        }
        let is_bare =
            path.components().count() == 1 && path.extension().is_none_or(|ext| ext != "yaml" && ext != "yml");
        if is_bare {
            for extension in ["yaml", "yml"] {
                let named = Path::new(SWEEPS).join(format!("{sweep}.{extension}"));
                if named.is_file() {
                    return Self::read_path(named);
                }
            }
            if let Some((_, text)) = EMBEDDED.iter().find(|(name, _)| *name == sweep) {
                return Ok(Self { path: format!("embedded:{sweep}.yaml").into(), text: (*text).to_owned() });
            }
        }
        if path.is_dir() {
            return Err(Failure::input(format!("{sweep} is a folder: name a sweep file, such as {sweep}/NAME.yaml")));
        }
        if path.exists() {
            return Err(Failure::input(format!("{sweep} is not a regular file: name a sweep file")));
        }
        Err(Failure::input(no_such_file(sweep, is_bare)))
    }

    fn read_path(path: PathBuf) -> Result<Self, Failure> {
        let text = read_text(&path)?;
        Ok(Self { path, text })
    }

    /// The sweep's name if the text gives none: the name of the file without its extension.
    pub(crate) fn stem(&self) -> &str {
        let stem = self.path.file_stem().and_then(OsStr::to_str).unwrap_or("sweep");
        stem.strip_prefix("embedded:").unwrap_or(stem)
    }

    /// The path for messages.
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// The error for a sweep that does not exist, with the nearest name or all names.
fn no_such_file(sweep: &str, is_bare: bool) -> String {
    if is_bare {
        let known = all_names();
        let beside = PathBuf::from(format!("{sweep}.yaml"));
        let hint = match spec::nearest(sweep, known.iter().map(String::as_str)) {
            _ if beside.is_file() => format!("Did you mean the file {}?", beside.display()),
            Some(near) => format!("Did you mean `{near}`? Known sweeps: {}", known.join(", ")),
            None => format!("Known sweeps: {}. Give the path of any other sweep file", known.join(", ")),
        };
        return format!("there is no sweep `{sweep}` and no file sweeps/{sweep}.yaml. {hint}");
    }
    let path = Path::new(sweep);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files: Vec<String> = yaml_files(folder).into_iter().map(|(_, name)| name).collect();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let hint = match spec::nearest(name, files.iter().map(String::as_str)) {
        _ if !folder.is_dir() => format!("There is no folder {}", folder.display()),
        Some(near) => format!("Did you mean {}?", path.with_file_name(near).display()),
        None if files.is_empty() => format!("There is no .yaml file in {}", folder.display()),
        None => format!("Sweep files there: {}", files.join(", ")),
    };
    format!("{sweep}: no such file. {hint}")
}

/// Stem and name of each YAML file in a folder, sorted.
fn yaml_files(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
    let text = |part: Option<&OsStr>| part.and_then(OsStr::to_str).map(str::to_owned);
    let mut found: Vec<(String, String)> =
        files.filter(is_yaml).filter_map(|path| Some((text(path.file_stem())?, text(path.file_name())?))).collect();
    found.sort_unstable();
    found
}

/// Stems of the files in `sweeps/`.
pub(crate) fn known_sweeps() -> Vec<String> {
    yaml_files(Path::new(SWEEPS)).into_iter().map(|(stem, _)| stem).collect()
}

/// All bare names that mean a sweep, sorted.
fn all_names() -> Vec<String> {
    let mut names = known_sweeps();
    names.extend(EMBEDDED.map(|(name, _)| name.to_owned()));
    names.sort_unstable();
    names.dedup();
    names
}

/// The name of the sweep that a bare name means: the file's `name`, or the bare name.
pub(crate) fn name_of(bare: &str) -> String {
    let file = SweepFile::read(bare);
    file.map_or_else(|_| bare.to_owned(), |file| spec::draft("", bare, &file.text, &[]).spec.name)
}

/// The absolute path of a file. A compiled-in sweep has none and keeps its name.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Reads a UTF-8 text file of at most [`LARGEST`] bytes.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    if bytes.len() as u64 > LARGEST {
        let message = format!("{}: more than {LARGEST} bytes, which is too large for a sweep file", path.display());
        return Err(Failure::input(message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].split(|&byte| byte == b'\n').count();
        Failure::input(format!("{}:{line}: not UTF-8: save the file as UTF-8", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_sweep_is_embedded_and_valid() {
        let shipped: Vec<String> =
            yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(SWEEPS)).into_iter().map(|(stem, _)| stem).collect();
        assert_eq!(EMBEDDED.map(|(name, _)| name).to_vec(), shipped);
        for (name, text) in EMBEDDED {
            assert_eq!(spec::parse(name, name, text, &[]).unwrap().name, name);
        }
    }
}
