//! Finds the sweep file that a path or a bare name means, and reads it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::spec;

/// Folder of the sweeps that a bare name means.
const SWEEPS: &str = "sweeps";

/// The sweep file that a path or a bare name means.
pub(crate) fn find(sweep: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(sweep);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let is_bare = path.components().count() == 1 && path.extension().is_none_or(|ext| ext != "yaml" && ext != "yml");
    if is_bare {
        for extension in ["yaml", "yml"] {
            let named = Path::new(SWEEPS).join(format!("{sweep}.{extension}"));
            if named.is_file() {
                return Ok(named);
            }
        }
    }
    if path.is_dir() {
        return Err(Failure::input(format!("{sweep} is a folder: name a sweep file, such as {sweep}/NAME.yaml")));
    }
    Err(Failure::input(no_such_file(sweep, is_bare)))
}

/// The error for a sweep that does not exist, with the nearest name or all names.
fn no_such_file(sweep: &str, is_bare: bool) -> String {
    if is_bare {
        let known = known_sweeps();
        let beside = PathBuf::from(format!("{sweep}.yaml"));
        let hint = match spec::nearest(sweep, known.iter().map(String::as_str)) {
            _ if beside.is_file() => format!("Did you mean the file {}?", beside.display()),
            Some(near) => format!("Did you mean `{near}`? Sweeps here: {}", known.join(", ")),
            None if known.is_empty() => "There are no sweeps in sweeps/ here: give the path of a sweep file".to_owned(),
            None => format!("Sweeps here: {}", known.join(", ")),
        };
        return format!("there is no sweep `{sweep}`, no file sweeps/{sweep}.yaml. {hint}");
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

/// The name of the sweep in `sweeps/STEM.yaml`: the file's `name`, or the stem.
pub(crate) fn name_of(stem: &str) -> String {
    let text = find(stem).and_then(|path| read_text(&path));
    text.map_or_else(|_| stem.to_owned(), |text| spec::draft("", stem, &text, &[]).spec.name)
}

/// The default name of the sweep in this file.
pub(crate) fn stem(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).unwrap_or("sweep")
}

/// Reads a UTF-8 text file.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].split(|&byte| byte == b'\n').count();
        Failure::input(format!("{}:{line}: not UTF-8: save the file as UTF-8", path.display()))
    })
}
