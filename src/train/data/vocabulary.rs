//! A BERT tokenizer from a `vocab.txt`, for checkpoints older than `tokenizer.json`.

use serde_json::{Map, Value, json};

use crate::train::TrainError;

/// The `tokenizer.json` that transformers would make of a `vocab.txt` (a word piece a line, its number the line's).
/// `settings`: `tokenizer_config.json`, of which `do_lower_case` counts; without it texts are lower-cased.
pub(super) fn tokenizer_json(name: &str, vocabulary: &[u8], settings: Option<&[u8]>) -> Result<Vec<u8>, TrainError> {
    let wrong = |why: &str| TrainError::Input(format!("{name}: {why}"));
    let text = std::str::from_utf8(vocabulary).map_err(|_| wrong("not UTF-8"))?;
    let pieces: Map<String, Value> =
        text.lines().enumerate().map(|(id, piece)| (piece.trim_end().to_owned(), id.into())).collect();
    let id = |token: &str| {
        pieces.get(token).cloned().ok_or_else(|| {
            wrong(&format!("no line `{token}`; a BERT's vocabulary holds [UNK], [CLS] and [SEP], a word piece a line"))
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
