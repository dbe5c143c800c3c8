//! Loads whole data sections: from the files of users to splits, tokens and messages.

mod cache;
mod checkpoints;
mod formats;
mod rows;
mod splits;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;

use super::*;
use crate::train::{Cache, TrainError};
use crate::trial::DataConfig;

const MODEL: &str = "embedded:minilm-l3";

/// A cache in memory that counts its hits.
#[derive(Default)]
struct MemoryCache {
    entries: Mutex<HashMap<String, Vec<u8>>>,
    hits: Mutex<usize>,
}

impl Cache for MemoryCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.entries.lock().unwrap().get(key).cloned();
        *self.hits.lock().unwrap() += usize::from(found.is_some());
        found
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "a key is hex: {key}");
        self.entries.lock().unwrap().insert(key.to_owned(), bytes.to_vec());
    }
}

fn config(train: &str) -> DataConfig {
    DataConfig { train: train.to_owned(), max_length: 16, ..DataConfig::default() }
}

/// A folder with one file in it.
struct File {
    _folder: tempfile::TempDir,
    path: String,
}

fn file(name: &str, content: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join(name);
    std::fs::File::create(&path).unwrap().write_all(content.as_ref()).unwrap();
    File { path: path.to_str().unwrap().to_owned(), _folder: folder }
}

fn load_file(file: &File) -> Result<Dataset, TrainError> {
    load(&config(&file.path), MODEL, &MemoryCache::default())
}

/// All examples, of both splits, as `label text` in some order.
fn contents(dataset: &Dataset) -> Vec<String> {
    let of = |example: &Example| format!("{} {}", dataset.labels[example.target.stratum() as usize], example.text);
    let mut all: Vec<String> = dataset.train.examples.iter().chain(&dataset.eval.examples).map(of).collect();
    all.sort();
    all
}

/// The message of a load that fails, with FILE for the path.
fn message(name: &str, content: impl AsRef<[u8]>) -> String {
    let file = file(name, content);
    load_file(&file).unwrap_err().to_string().replace(&file.path, "FILE")
}

/// Loads `content` with a changed configuration, and returns all examples as `label text`, or the message.
fn loaded(name: &str, content: impl AsRef<[u8]>, change: impl FnOnce(&mut DataConfig)) -> Result<Vec<String>, String> {
    let file = file(name, content);
    let mut config = config(&file.path);
    change(&mut config);
    let dataset = load(&config, MODEL, &MemoryCache::default());
    dataset.map(|dataset| contents(&dataset)).map_err(|error| error.to_string().replace(&file.path, "FILE"))
}

const ROWS: [&str; 4] = ["neg bad day", "neg so sad", "pos good day", "pos so glad"];
