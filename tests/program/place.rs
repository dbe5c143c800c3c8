//! A temporary folder with data, a checkpoint and a sweep file, in which the program runs.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than any test waits, also on a busy machine.
const LONGEST: Duration = Duration::from_mins(5);

/// `metrics.csv` without its column `seconds`, and `evals.csv`.
pub type Curves = (String, String);

/// A quick sweep without dropout over the data and checkpoint of the folder, followed by more lines.
macro_rules! small {
    ($more:literal) => {
        concat!(
            "data: {train: train.tsv, max_length: 32}\nmodel: {from: checkpoint, dropout: 0}\nbatch_size: 8\n",
            $more
        )
    };
}
pub(crate) use small;

pub struct Place {
    folder: TempDir,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// A folder with `train.tsv`, `checkpoint/` and `sweep.yaml`.
    pub fn new(sweep: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["train.tsv", "checkpoint/config.json", "checkpoint/tokenizer.json", "checkpoint/model.safetensors"]
        {
            place.write(name, fs::read(fixture(name)).unwrap());
        }
        place.write("sweep.yaml", sweep);
        place
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Writes a file, and the folders on its way.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(path).unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    /// Writes a program for `/bin/sh`.
    pub fn write_program(&self, name: &str, script: &str) {
        self.write(name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Replaces a file as a whole: no reader sees a part of it.
    #[cfg(feature = "faults")]
    #[expect(clippy::disallowed_methods, reason = "a test plays an editor")]
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write("replacement", content);
        fs::rename(self.path("replacement"), self.path(name)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `plateau` with `arguments` (separated by spaces), in this folder and without a network.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plateau"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("HF_HOME", self.path("hub"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    pub fn plateau(&self, arguments: &str) -> Ended {
        Ended::new(self.command(arguments).output().unwrap())
    }

    /// Like [`Place::plateau`]; the exit code must be `code`.
    pub fn expect(&self, code: i32, arguments: &str) -> Ended {
        let ended = self.plateau(arguments);
        assert_eq!(ended.code, code, "plateau {arguments}\n{}{}", ended.out, ended.err);
        ended
    }

    /// Starts the program and leaves it running.
    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The folders of the trials of the sweep `sweep`, by id.
    pub fn trials(&self) -> BTreeMap<String, PathBuf> {
        let entries = fs::read_dir(self.path("results/sweep/trials")).into_iter().flatten().flatten();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect()
    }

    /// The curves of all trials, by id.
    pub fn curves(&self) -> BTreeMap<String, Curves> {
        let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|_| panic!("no {}", path.display()));
        let curves = |folder: PathBuf| {
            let metrics = read(folder.join("metrics.csv"));
            let untimed = metrics.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n").collect();
            (untimed, read(folder.join("evals.csv")))
        };
        self.trials().into_iter().map(|(id, folder)| (id, curves(folder))).collect()
    }

    /// The files that ended trials keep in their `checkpoint/`: trial, name, content.
    pub fn kept_states(&self) -> Vec<(String, String, Vec<u8>)> {
        let mut kept = Vec::new();
        for (id, folder) in self.trials() {
            for entry in fs::read_dir(folder.join("checkpoint")).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap();
                // A checksum stands beside each.
                if entry.path().extension().is_none_or(|extension| extension != "b3") {
                    kept.push((id.clone(), name, fs::read(entry.path()).unwrap()));
                }
            }
        }
        kept
    }

    /// The records of the journal, in order. Lines that are not JSON are skipped.
    pub fn records(&self) -> Vec<serde_json::Value> {
        self.read("results/sweep/journal.jsonl").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The names of the journaled events, in order.
    pub fn events(&self) -> Vec<String> {
        self.records().iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect()
    }

    /// How often the journal holds `event`.
    pub fn count(&self, event: &str) -> usize {
        self.events().iter().filter(|name| *name == event).count()
    }

    /// Waits until some trial has taken `steps` steps.
    pub fn wait_for_steps(&self, steps: usize) {
        wait(|| {
            let rows =
                |folder: &PathBuf| fs::read_to_string(folder.join("metrics.csv")).unwrap_or_default().lines().count();
            self.trials().values().any(|folder| rows(folder) > steps)
        });
    }

    /// Process ids of the workers of this folder (on Linux; elsewhere none are found).
    pub fn workers(&self) -> Vec<i32> {
        let here = self.folder.path().to_str().unwrap();
        let is_ours = |pid: &i32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.contains("\0worker\0") && words.contains(here)
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }

    /// Process ids of the children that open checkpoints for this folder (on Linux; elsewhere none are found).
    pub fn inspectors(&self) -> Vec<i32> {
        let here = self.folder.path().to_str().unwrap();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            words.contains("\0inspect\0") && folder.starts_with(here)
        })
        .collect()
    }

    /// Every file and folder under `results`, relative to it.
    pub fn written(&self) -> Vec<String> {
        let root = self.path("results");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                found.push(entry.path().strip_prefix(&root).unwrap().display().to_string());
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    /// Sizes of the event files in `folder`, by the folder of each trial. Two with the same steps have the same size.
    pub fn events_files(&self, folder: &str) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let size =
            |path: PathBuf| fs::metadata(path.join("events.out.tfevents.0.plateau")).map_or(0, |about| about.len());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), size(entry.path()))).collect()
    }

    /// A message with `/here` in place of the path of this folder.
    pub fn plain(&self, message: &str) -> String {
        let roots = [self.folder.path().canonicalize().unwrap(), self.folder.path().to_owned()];
        let plain = roots.iter().fold(message.to_owned(), |text, root| text.replace(root.to_str().unwrap(), "/here"));
        plain.trim_end().to_owned()
    }
}

impl Ended {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        // A process that a signal ended has no exit code. The program never returns -1.
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/finetune-tiny").join(name)
}

/// Waits until `is_so`. Returns how long that took.
pub fn wait(is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONGEST, "waited too long");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

pub fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
