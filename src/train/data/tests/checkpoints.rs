//! Checkpoints, and where sources are found.

use std::path::PathBuf;

use super::*;

#[test]
fn a_source_is_found_or_the_error_lists_the_paths_that_were_tried() {
    let file = file("mine.tsv", "x");
    let root = PathBuf::from(&file.path).parent().unwrap().to_path_buf();
    let roots = [PathBuf::from("/nowhere"), root.clone()];
    assert_eq!(locate_data("mine.tsv", &roots).unwrap(), file.path);
    assert_eq!(locate_data(&file.path, &[]).unwrap(), file.path);
    assert_eq!(locate_data("embedded:tweets", &roots).unwrap(), "embedded:tweets");
    assert_eq!(locate_model(MODEL, &roots).unwrap(), MODEL);
    let message =
        |result: Result<String, DataError>| result.unwrap_err().to_string().replace(root.to_str().unwrap(), "ROOT");
    assert_eq!(
        message(locate_data("other.tsv", &roots)),
        "data file `other.tsv` not found; looked for /nowhere/other.tsv and ROOT/other.tsv"
    );
    assert_eq!(
        message(locate_data("embedded:news", &roots)),
        "`embedded:news` is not embedded in this binary; known names: embedded:tweets"
    );
    assert_eq!(
        message(locate_model("embedded:bert", &roots)),
        "`embedded:bert` is not embedded in this binary; known names: embedded:minilm-l3"
    );
    assert_eq!(
        message(locate_model(".", &roots)),
        "ROOT: not a checkpoint folder; it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors"
    );
    assert!(message(locate_model("hf:a/b/c", &roots)).contains("is not the name of a repository"));
}

/// A checkpoint folder with the tokenizer of the embedded checkpoint as `vocab.txt`.
fn folder_with_vocabulary(settings: &str, label2id: &str) -> tempfile::TempDir {
    let files = CheckpointFiles::read(MODEL).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_slice(&files.tokenizer).unwrap();
    let pieces = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut pieces: Vec<(&String, u64)> = pieces.iter().map(|(piece, id)| (piece, id.as_u64().unwrap())).collect();
    pieces.sort_by_key(|(_, id)| *id);
    let vocabulary: Vec<&str> = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(content).unwrap();
    };
    write("vocab.txt", vocabulary.join("\n").as_bytes());
    write("tokenizer_config.json", settings.as_bytes());
    write(
        "config.json",
        format!("{{\"max_position_embeddings\": 64, \"vocab_size\": 8192, \"label2id\": {label2id}}}").as_bytes(),
    );
    write("model.safetensors", b"weights");
    folder
}

#[test]
fn a_vocabulary_makes_the_same_tokens() {
    let folder = folder_with_vocabulary("{}", "null");
    let model = folder.path().to_str().unwrap();
    let with_tokenizer = load(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(load(&config("embedded:tweets"), model, &MemoryCache::default()).unwrap(), with_tokenizer);
    assert_eq!(CheckpointFiles::read(model).unwrap().weights, [b"weights".as_slice()]);
    let left = folder_with_vocabulary("{\"truncation_side\": \"left\"}", "null");
    let left = load(&config("embedded:tweets"), left.path().to_str().unwrap(), &MemoryCache::default()).unwrap();
    let long = (0..left.train.examples.len()).find(|&i| left.train.tokens.get(i).0.len() == 16).unwrap();
    let (right, left) = (with_tokenizer.train.tokens.get(long).0, left.train.tokens.get(long).0);
    assert_eq!((right.len(), right[0], right[15]), (left.len(), left[0], left[15]), "both are truncated");
    assert_ne!(right[1..15], left[1..15]);
    let cased = folder_with_vocabulary("{\"do_lower_case\": false}", "null");
    let cased = load(&config("embedded:tweets"), cased.path().to_str().unwrap(), &MemoryCache::default()).unwrap();
    assert_ne!(cased.train.tokens, with_tokenizer.train.tokens);
}

#[test]
fn the_checkpoint_may_order_the_labels() {
    let order = |label2id: &str| {
        let folder = folder_with_vocabulary("{}", label2id);
        load(&config("embedded:tweets"), folder.path().to_str().unwrap(), &MemoryCache::default()).unwrap().labels
    };
    let by_name = ["negative", "neutral", "positive"];
    assert_eq!(order(r#"{"positive": 0, "negative": 1, "neutral": 2}"#), ["positive", "negative", "neutral"]);
    assert_eq!(order(r#"{"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}"#), by_name);
    assert_eq!(order(r#"{"positive": 0, "negative": 1}"#), by_name);
    assert_eq!(order(r#"{"positive": 0, "negative": 1, "neutral": 1}"#), by_name);
    assert_eq!(order(r#"{"positive": "a"}"#), by_name);
}

#[test]
fn a_checkpoint_that_cannot_be_used() {
    let folder = folder_with_vocabulary("{}", "null");
    let model = folder.path().to_str().unwrap().to_owned();
    let fail = |config: &DataConfig| {
        load(config, &model, &MemoryCache::default()).unwrap_err().to_string().replace(&model, "MODEL")
    };
    let tweets = config("embedded:tweets");
    assert_eq!(
        fail(&DataConfig { max_length: 2, ..tweets.clone() }),
        "data.max_length is 2, but the special tokens ([CLS], [SEP]) alone need 2; raise it"
    );
    let remove = |name: &str| std::fs::remove_file(folder.path().join(name)).unwrap();
    remove("model.safetensors");
    let weights = |model: &str| CheckpointFiles::read(model).unwrap_err().to_string().replace(model, "MODEL");
    assert_eq!(
        weights(&model),
        "MODEL: no model.safetensors; a checkpoint folder holds config.json, tokenizer.json and model.safetensors"
    );
    std::fs::File::create(folder.path().join("vocab.txt")).unwrap().write_all(b"[PAD]\n[UNK]\n").unwrap();
    assert_eq!(
        fail(&tweets),
        "MODEL/vocab.txt: no line `[CLS]`; the vocabulary of a BERT has one word piece per line, among them [UNK], [CLS] and [SEP]"
    );
    remove("vocab.txt");
    assert_eq!(
        fail(&tweets),
        "MODEL: the folder has neither tokenizer.json nor vocab.txt; copy one of them from the checkpoint's page into the folder"
    );
}

#[test]
fn shards_of_a_checkpoint_are_read_by_name() {
    let folder = folder_with_vocabulary("{}", "null");
    let write = |name: &str, content: &[u8]| {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(content).unwrap();
    };
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    write("b.safetensors", b"second");
    write("a.safetensors", b"first");
    let index = |map: &str| {
        write("model.safetensors.index.json", format!("{{\"weight_map\": {map}}}").as_bytes());
        CheckpointFiles::read(folder.path().to_str().unwrap())
    };
    let found = index(r#"{"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}"#).unwrap();
    assert_eq!(found.weights, [b"first".as_slice(), b"second"]);
    for wrong in [r#"{"x": "../secret"}"#, r#"{"x": 1}"#, "{}", "null"] {
        assert!(index(wrong).unwrap_err().to_string().contains("not an index of shards"), "{wrong}");
    }
}
