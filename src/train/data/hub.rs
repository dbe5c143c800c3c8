//! Downloads checkpoints from the Hugging Face hub into its usual cache (`HF_HOME`, else `~/.cache/huggingface`).
//!
//! Files in the cache are not downloaded again. A checkpoint that was downloaded once works without a network.

use std::path::PathBuf;

use super::download::{Hub, HubError, Repository};
use super::error::{DataError, DataErrorKind};
use super::files::read_document;
use super::shards::shard_files;

/// Downloads the files of a BERT checkpoint `org/name[@revision]`. Returns the folder that holds them.
pub(super) fn download_bert(repository: &str) -> Result<PathBuf, DataError> {
    download(repository, &Hub::from_env(), Architecture::Bert)
}

/// Downloads the files of a Marian checkpoint, like [`download_bert`].
pub(super) fn download_marian(repository: &str) -> Result<PathBuf, DataError> {
    download(repository, &Hub::from_env(), Architecture::Marian)
}

/// Decides which files are downloaded.
#[derive(Clone, Copy, PartialEq)]
enum Architecture {
    Bert,
    Marian,
}

fn download(name: &str, hub: &Hub, architecture: Architecture) -> Result<PathBuf, DataError> {
    let (repository, revision) = parse(name)?;
    let (files, key) = match architecture {
        Architecture::Bert => ("config.json, tokenizer.json, model.safetensors", "as model.from"),
        Architecture::Marian => ("config.json, source.spm, vocab.json, pytorch_model.bin", "as `out` or `home`"),
    };
    let unavailable = |what: &str, error: HubError| {
        let message = format!(
            "hf:{name}: {what} cannot be downloaded: {error}. Check the name and the network, or copy the checkpoint's \
             folder ({files}) here and give its path {key}"
        );
        DataError::new(DataErrorKind::Unavailable, message).caused_by(error)
    };
    let repository = hub.repository(repository, revision);
    let get = |file: &str| repository.get(file).map_err(|error| unavailable(file, error));
    let config = get("config.json")?;
    let tokenizer = repository.get("tokenizer.json");
    match architecture {
        Architecture::Bert => {
            // The settings of the tokenizer. Many checkpoints do not have all of these files.
            let _ = repository.get("tokenizer_config.json");
            if tokenizer.is_err() {
                get("vocab.txt")?;
                let _ = (repository.get("special_tokens_map.json"), repository.get("added_tokens.json"));
            }
            weights(&repository, &get)?;
        }
        Architecture::Marian => {
            if tokenizer.is_err() {
                get("source.spm")?;
                get("vocab.json")?;
            }
            if repository.get("model.safetensors").is_err() {
                get("pytorch_model.bin")?;
            }
        }
    }
    Ok(config.parent().map(PathBuf::from).unwrap_or_default())
}

fn weights(repository: &Repository<'_>, get: &dyn Fn(&str) -> Result<PathBuf, DataError>) -> Result<(), DataError> {
    // Most checkpoints have the whole file. If it is in the cache, no request is made.
    let Err(no_whole_file) = get("model.safetensors") else { return Ok(()) };
    let Ok(index) = repository.get("model.safetensors.index.json") else { return Err(no_whole_file) };
    let shards = shard_files(&index.display().to_string(), &read_document(&index)?)?;
    shards.iter().try_for_each(|shard| get(shard).map(drop))
}

/// Name and revision of `org/name` or `name`, each also with `@revision`.
fn parse(repository: &str) -> Result<(&str, &str), DataError> {
    let (name, revision) = repository.split_once('@').unwrap_or((repository, "main"));
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if name.split('/').count() > 2 || !name.split('/').all(plain) || !revision.split('/').all(plain) {
        let message = format!(
            "`hf:{repository}` is not the name of a repository; write hf:org/name or hf:org/name@revision, such as \
             hf:google-bert/bert-base-uncased"
        );
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    Ok((name, revision))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::download::Deadlines;
    use super::*;

    #[test]
    fn names_of_repositories_are_parsed() {
        let check = |written: &str, expected: (&str, &str)| {
            assert_eq!(parse(written).unwrap(), expected);
        };
        check("google-bert/bert-base-uncased", ("google-bert/bert-base-uncased", "main"));
        check("bert-base-uncased", ("bert-base-uncased", "main"));
        check("org/name@refs/pr/1", ("org/name", "refs/pr/1"));
        for wrong in ["", "/", "a/b/c", "a/", "a b", "org/name@", "../../etc", "https://huggingface.co/a/b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// A hub at an address where no server listens, with its own cache.
    fn offline(cache: &Path) -> Hub {
        Hub::new("http://127.0.0.1:1", cache.to_owned(), Deadlines::default())
    }

    #[test]
    fn without_a_network_the_error_says_what_to_do() {
        let cache = tempfile::tempdir().unwrap();
        let message = download("org/name", &offline(cache.path()), Architecture::Bert).unwrap_err().to_string();
        assert!(message.starts_with("hf:org/name: config.json cannot be downloaded"), "{message}");
        assert!(message.contains("copy the checkpoint's folder"), "{message}");
    }

    #[test]
    fn cached_files_need_no_network() {
        let cache = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = cache.path().join("models--org--name").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), content.as_bytes()).unwrap();
        };
        let get = || download("org/name", &offline(cache.path()), Architecture::Bert);
        write("refs/main", "c0ffee");
        write("snapshots/c0ffee/config.json", "{}");
        write("snapshots/c0ffee/tokenizer.json", "{}");
        assert!(get().unwrap_err().to_string().contains("model.safetensors cannot be downloaded"));
        let index = r#"{"weight_map": {"a": "1.safetensors"}}"#;
        write("snapshots/c0ffee/model.safetensors.index.json", index);
        assert!(get().unwrap_err().to_string().contains("1.safetensors cannot be downloaded"));
        write("snapshots/c0ffee/1.safetensors", "");
        let folder = cache.path().join("models--org--name/snapshots/c0ffee");
        assert_eq!(get().unwrap(), folder);
    }
}
