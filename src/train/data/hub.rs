//! Checkpoints from the Hugging Face hub, kept in its usual cache (`HF_HOME`, else `~/.cache/huggingface`).
//!
//! What is in the cache is not asked for again, so a checkpoint fetched once works without a network.

use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Repo, RepoType};

use super::source;
use crate::train::TrainError;

/// Fetches what a BERT needs of `org/name[@revision]` and gives the folder that holds it.
pub(super) fn download(repository: &str) -> Result<PathBuf, TrainError> {
    fetch(repository, ApiBuilder::from_env().with_progress(false), Kind::Bert)
}

/// The same of a Marian model.
pub(super) fn download_translator(repository: &str) -> Result<PathBuf, TrainError> {
    fetch(repository, ApiBuilder::from_env().with_progress(false), Kind::Marian)
}

/// What is fetched, and how one would do without.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bert,
    Marian,
}

fn fetch(name: &str, api: ApiBuilder, kind: Kind) -> Result<PathBuf, TrainError> {
    let repo = parse(name)?;
    let (files, key) = match kind {
        Kind::Bert => ("config.json, tokenizer.json, model.safetensors", "as model.from"),
        Kind::Marian => ("config.json, source.spm, vocab.json, pytorch_model.bin", "as `out` or `home`"),
    };
    let fail = |what: &str, error: &dyn std::fmt::Display| {
        TrainError::Input(format!(
            "hf:{name}: {what} cannot be fetched: {error}. Check the name and the network, or copy the checkpoint's folder \
             ({files}) here and give its path {key}"
        ))
    };
    let api = api.build().map_err(|error| fail("the repository", &error))?.repo(repo);
    let get = |file: &str| api.get(file).map_err(|error| fail(file, &error));
    let config = get("config.json")?;
    let tokenizer = api.get("tokenizer.json");
    match kind {
        Kind::Bert => {
            if tokenizer.is_err() {
                get("vocab.txt")?;
                // Says whether the vocabulary is cased; older checkpoints have none.
                let _ = api.get("tokenizer_config.json");
            }
            weights(&api, &get)?;
        }
        Kind::Marian => {
            if tokenizer.is_err() {
                get("source.spm")?;
                get("vocab.json")?;
            }
            if api.get("model.safetensors").is_err() {
                get("pytorch_model.bin")?;
            }
        }
    }
    Ok(config.parent().map(PathBuf::from).unwrap_or_default())
}

fn weights(api: &ApiRepo, get: &dyn Fn(&str) -> Result<PathBuf, TrainError>) -> Result<(), TrainError> {
    // The whole file first: it is the common case, and in the cache it needs no network.
    let Err(no_whole) = get("model.safetensors") else { return Ok(()) };
    let Ok(index) = api.get("model.safetensors.index.json") else { return Err(no_whole) };
    let name = index.display().to_string();
    let content = std::fs::read(&index).map_err(|error| {
        TrainError::Input(format!("{name}: cannot be read: {error}. Remove this file to have it fetched again"))
    })?;
    let shards = source::shards(&name, &content)?;
    shards.iter().try_for_each(|shard| get(shard).map(drop))
}

/// `org/name`, `name`, each with `@revision`.
fn parse(repository: &str) -> Result<Repo, TrainError> {
    let (name, revision) = repository.split_once('@').unwrap_or((repository, "main"));
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if name.split('/').count() > 2 || !name.split('/').all(plain) || !revision.split('/').all(plain) {
        return Err(TrainError::Input(format!(
            "`hf:{repository}` is no repository; write hf:org/name or hf:org/name@revision, such as hf:google-bert/bert-base-uncased"
        )));
    }
    Ok(Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_as_written() {
        let check = |written: &str, expected: (&str, &str)| {
            let repo = parse(written).unwrap();
            assert_eq!((repo.url().as_str(), repo.revision()), expected);
        };
        check("google-bert/bert-base-uncased", ("google-bert/bert-base-uncased", "main"));
        check("bert-base-uncased", ("bert-base-uncased", "main"));
        check("org/name@refs/pr/1", ("org/name", "refs/pr/1"));
        for wrong in ["", "/", "a/b/c", "a/", "a b", "org/name@", "../../etc", "https://huggingface.co/a/b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// An address where nobody answers, and a cache.
    fn offline(cache: &std::path::Path) -> ApiBuilder {
        ApiBuilder::new()
            .with_progress(false)
            .with_cache_dir(cache.to_path_buf())
            .with_endpoint("http://127.0.0.1:1".into())
    }

    #[test]
    fn no_network_says_what_to_do() {
        let cache = tempfile::tempdir().unwrap();
        let message = fetch("org/name", offline(cache.path()), Kind::Bert).unwrap_err().to_string();
        assert!(message.starts_with("hf:org/name: config.json cannot be fetched"), "{message}");
        assert!(message.contains("copy the checkpoint's folder"), "{message}");
    }

    #[test]
    fn what_is_in_the_cache_needs_no_network() {
        let cache = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = cache.path().join("models--org--name").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), content.as_bytes()).unwrap();
        };
        let get = || fetch("org/name", offline(cache.path()), Kind::Bert);
        write("refs/main", "c0ffee");
        write("snapshots/c0ffee/config.json", "{}");
        write("snapshots/c0ffee/tokenizer.json", "{}");
        assert!(get().unwrap_err().to_string().contains("model.safetensors cannot be fetched"));
        let index = r#"{"weight_map": {"a": "1.safetensors"}}"#;
        write("snapshots/c0ffee/model.safetensors.index.json", index);
        assert!(get().unwrap_err().to_string().contains("1.safetensors cannot be fetched"));
        write("snapshots/c0ffee/1.safetensors", "");
        let folder = cache.path().join("models--org--name/snapshots/c0ffee");
        assert_eq!(get().unwrap(), folder);
    }
}
