//! Finds and reads the log that a path names: a file, or a folder in which a trainer left one.

use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::logs::Log;
use crate::train::data;
use crate::trial::file_kind;

/// Files of a folder that hold a whole log, the likeliest first.
const NAMES: &[&str] = &[
    "trainer_state.json",
    "trainer_log.jsonl",
    "metrics.csv",
    "history.json",
    "history.csv",
    "training_log.csv",
    "training.log",
    "log.csv",
    "log.jsonl",
    "log.txt",
    "train.log",
];
/// Folders that hold a folder for each run, or for each checkpoint, numbered.
const NUMBERED: &[&str] = &["checkpoint-", "version_"];
/// How deep event files may lie: `runs/<run>/validation`.
const DEPTH: usize = 3;

/// Reads the log at `path`.
pub(super) fn read(path: &Path) -> Result<Log, Failure> {
    if !path.is_dir() {
        return read_file(path);
    }
    if let Some(file) = file_in(path) {
        let log = read_file(&file)?;
        let evals = path.join("evals.csv");
        return Ok(if file.ends_with("metrics.csv") && evals.is_file() { log.or(read_file(&evals)?) } else { log });
    }
    let mut events = Vec::new();
    event_files(path, DEPTH, &mut events);
    if events.is_empty() {
        return Err(Failure::input(format!(
            "{}: the folder holds no log that is known by its name (trainer_state.json, metrics.csv, history.json, events.out.tfevents..., \
             checkpoint-N/, version_N/): name the file",
            path.display()
        )));
    }
    read_events(path, &events)
}

fn read_file(path: &Path) -> Result<Log, Failure> {
    let (name, bytes) = unpacked(path)?;
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
    Log::read(&bytes, &name).map_err(|error| Failure::input(format!("{}: {error}", path.display())))
}

/// Reads a log or a file of labels. Unpacks it if it is compressed, as data files are. Returns its name without the extension of the
/// compression, and the content.
pub(super) fn unpacked(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    data::unpack(&path.to_string_lossy(), bytes(path)?).map_err(|error| Failure::input(error.to_string()))
}

/// Reads a file. A FIFO or a device might never end, but the pipe of a shell (`<(zcat log.gz)`, `/dev/stdin`) is read.
fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |what: String| Failure::input(format!("{}: {what}", path.display()));
    let is_pipe_of_shell = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|start| path.starts_with(start));
    let found = path.metadata().map_err(|error| fail(error.to_string()))?;
    if !found.is_file() && !is_pipe_of_shell {
        return Err(fail(format!("this is {}, not a file", file_kind(found.file_type()))));
    }
    fs::read(path).map_err(|error| fail(error.to_string()))
}

/// The log in a folder: one of a known name, else that of the newest checkpoint or run in it.
fn file_in(folder: &Path) -> Option<PathBuf> {
    let known = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    known.or_else(|| {
        let lightning = folder.join("lightning_logs");
        let inner = numbered_folders(folder).into_iter().chain(numbered_folders(&lightning));
        inner.flat_map(|folder| NAMES.iter().map(move |name| folder.join(name))).find(|path| path.is_file())
    })
}

/// The checkpoints or runs in a folder, the one of the greatest number first.
fn numbered_folders(folder: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        NUMBERED.iter().find_map(|start| name.strip_prefix(start)?.parse::<u64>().ok())
    };
    let mut folders: Vec<(u64, PathBuf)> =
        entries(folder).into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.into_iter().map(|(_, path)| path).collect()
}

/// What is in a folder, by name; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn event_files(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.is_dir() && depth > 0 {
            event_files(&path, depth - 1, found);
        } else if path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents")) {
            found.push(path);
        }
    }
}

/// The event files of one run: those of a folder, and of its folders `train` and `validation`.
fn read_events(folder: &Path, files: &[PathBuf]) -> Result<Log, Failure> {
    let part = |path: &Path| {
        let name = path.parent().filter(|parent| *parent != folder)?.file_name()?.to_string_lossy().into_owned();
        Log::is_part_of_a_run(&name).then_some(name)
    };
    let run = |path: &Path| {
        let parent = path.parent().unwrap_or(path);
        if part(path).is_some() { parent.parent().unwrap_or(parent) } else { parent }.to_owned()
    };
    let mut runs: Vec<PathBuf> = files.iter().map(|path| run(path)).collect();
    runs.sort();
    runs.dedup();
    // Runs are named by their date or number.
    let newest = runs.last().cloned().unwrap_or_default();
    let parts: Vec<(String, Vec<u8>)> = files
        .iter()
        .filter(|path| run(path) == newest)
        .map(|path| Ok((part(path).unwrap_or_default(), bytes(path)?)))
        .collect::<Result<_, Failure>>()?;
    let mut log = Log::read_events(&parts).map_err(|error| Failure::input(format!("{}: {error}", newest.display())))?;
    if runs.len() > 1 {
        log.note(format!("the folder holds the event files of {} runs: {} is judged", runs.len(), newest.display()));
    }
    Ok(log)
}
