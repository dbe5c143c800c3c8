//! Makes a BERT `tokenizer.json` from a `vocab.txt`, for checkpoints that have no `tokenizer.json`.

use serde_json::{Map, Value, json};

use super::error::DataError;

/// The `tokenizer.json` that transformers makes of a `vocab.txt` (one word piece per line; the line number is its id).
/// `settings` is `tokenizer_config.json`. Its `do_lower_case` is obeyed; the default is true.
pub(super) fn tokenizer_json(name: &str, vocabulary: &[u8], settings: Option<&[u8]>) -> Result<Vec<u8>, DataError> {
    let wrong = |why: &str| DataError::malformed(format!("{name}: {why}"));
    let text = std::str::from_utf8(vocabulary)
        .map_err(|_| wrong("this file is not UTF-8; copy it again from the checkpoint's page"))?;
    let pieces: Map<String, Value> =
        text.lines().enumerate().map(|(id, piece)| (piece.trim_end().to_owned(), id.into())).collect();
    let id = |token: &str| {
        pieces.get(token).cloned().ok_or_else(|| {
            wrong(&format!("no line `{token}`; the vocabulary of a BERT has one word piece per line, among them [UNK], [CLS] and [SEP]"))
        })
    };
    let (_, cls, sep) = (id("[UNK]")?, id("[CLS]")?, id("[SEP]")?);
    let lowercase = settings
        .and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok())
        .and_then(|settings| settings.get("do_lower_case")?.as_bool())
        .unwrap_or(true);
    let special: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .filter_map(|token| Some((token, pieces.get(*token)?)))
        .map(|(token, id)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", sep], "cls": ["[CLS]", cls]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": pieces},
    });
    Ok(tokenizer.to_string().into_bytes())
}
