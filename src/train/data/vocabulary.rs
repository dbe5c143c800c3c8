//! Makes the `tokenizer.json` that transformers would use for a checkpoint folder.
//!
//! A folder with only `vocab.txt` gets a BERT tokenizer with the settings of its other files. For a folder with
//! `tokenizer.json`, the settings in `tokenizer_config.json` win, as in transformers.

use serde_json::{Map, Value, json};

use super::error::DataError;

/// The optional files of a checkpoint folder that change its tokenizer, as JSON.
#[derive(Debug, Default)]
pub(super) struct TokenizerSettings {
    /// `tokenizer_config.json`.
    pub config: Value,
    /// `special_tokens_map.json`.
    pub special_tokens: Value,
    /// `added_tokens.json`.
    pub added_tokens: Value,
}

/// The special tokens of a BERT: the key in the settings, and the usual name.
const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];

impl TokenizerSettings {
    fn flag(&self, key: &str) -> Option<bool> {
        self.config.get(key)?.as_bool()
    }

    /// `truncation` of a `tokenizer.json` with the direction of `truncation_side`. None if that setting is absent.
    fn truncation(&self, of_file: Option<&Value>) -> Option<Value> {
        let direction = match self.config.get("truncation_side")?.as_str()? {
            "left" => "Left",
            "right" => "Right",
            _ => return None,
        };
        let mut truncation = match of_file {
            Some(Value::Object(truncation)) => truncation.clone(),
            _ => Map::from_iter([
                ("max_length".to_owned(), 512.into()),
                ("strategy".to_owned(), "LongestFirst".into()),
                ("stride".to_owned(), 0.into()),
            ]),
        };
        truncation.insert("direction".into(), direction.into());
        Some(truncation.into())
    }

    /// The name of a special token.
    fn special<'a>(&'a self, key: &str, usual: &'a str) -> &'a str {
        let name = |value: &'a Value| {
            let value = value.get(key)?;
            value.as_str().or_else(|| value.get("content")?.as_str())
        };
        name(&self.config).or_else(|| name(&self.special_tokens)).unwrap_or(usual)
    }

    /// Tokens beside the vocabulary: (id, token as in `tokenizer.json`), sorted by id.
    fn added(&self) -> Vec<(u64, Value)> {
        let names: Vec<&str> = SPECIAL.iter().map(|(key, usual)| self.special(key, usual)).collect();
        let token = |id: u64, content: &str, entry: &Value| {
            let special = entry.get("special").and_then(Value::as_bool).unwrap_or_else(|| names.contains(&content));
            let flag = |key: &str, default: bool| entry.get(key).and_then(Value::as_bool).unwrap_or(default);
            json!({"id": id, "content": content, "single_word": flag("single_word", false), "lstrip": flag("lstrip", false),
                   "rstrip": flag("rstrip", false), "normalized": flag("normalized", !special), "special": special})
        };
        let mut all = std::collections::BTreeMap::new();
        for (content, id) in self.added_tokens.as_object().into_iter().flatten() {
            if let Some(id) = id.as_u64() {
                all.insert(id, token(id, content, &Value::Null));
            }
        }
        for (id, entry) in self.config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
            if let (Ok(id), Some(content)) = (id.parse(), entry.get("content").and_then(Value::as_str)) {
                all.insert(id, token(id, content, entry));
            }
        }
        all.into_iter().collect()
    }
}

/// Makes a tokenizer of a `vocab.txt`: one word piece per line; the line number is its id. `name` names the file in errors.
pub(super) fn from_vocabulary(
    name: &str,
    vocabulary: &[u8],
    settings: &TokenizerSettings,
) -> Result<Vec<u8>, DataError> {
    let wrong = |why: &str| DataError::malformed(format!("{name}: {why}"));
    let text = std::str::from_utf8(vocabulary)
        .map_err(|error| wrong("this file is not UTF-8; copy it again from the checkpoint's page").caused_by(error))?;
    let pieces: Map<String, Value> =
        text.lines().enumerate().map(|(id, piece)| (piece.trim_end().to_owned(), id.into())).collect();
    let added = settings.added();
    let id = |key: &str, usual: &str| {
        let token = settings.special(key, usual).to_owned();
        let among_added = || added.iter().find(|(_, added)| added["content"] == token).map(|(id, _)| (*id).into());
        let id = pieces.get(&token).cloned().or_else(among_added);
        let missing = || {
            wrong(&format!(
                "no line `{token}`; the vocabulary of a BERT has one word piece per line, among them [UNK], [CLS] and [SEP]"
            ))
        };
        let id: Value = id.ok_or_else(missing)?;
        Ok::<_, DataError>((token, id))
    };
    let ((unknown, _), (cls, cls_id), (sep, sep_id)) =
        (id("unk_token", "[UNK]")?, id("cls_token", "[CLS]")?, id("sep_token", "[SEP]")?);
    let mut tokens: Vec<Value> = SPECIAL
        .iter()
        .map(|(key, usual)| settings.special(key, usual))
        .filter_map(|token| Some((token, pieces.get(token)?)))
        .map(|(token, id)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let known: Vec<Value> = tokens.iter().map(|token| token["content"].clone()).collect();
    tokens.extend(added.iter().filter(|(_, token)| !known.contains(&token["content"])).map(|(_, token)| token.clone()));
    let tokenizer = json!({
        "version": "1.0",
        "truncation": settings.truncation(None),
        "padding": null,
        "added_tokens": tokens,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
                       "handle_chinese_chars": settings.flag("tokenize_chinese_chars").unwrap_or(true),
                       "strip_accents": settings.flag("strip_accents"),
                       "lowercase": settings.flag("do_lower_case").unwrap_or(true)},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": [sep, sep_id], "cls": [cls, cls_id]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": pieces},
    });
    Ok(tokenizer.to_string().into_bytes())
}

/// Applies the settings of a folder to its `tokenizer.json`. Returns the same bytes if nothing changes.
pub(super) fn with_settings(tokenizer_json: Vec<u8>, settings: &TokenizerSettings) -> Vec<u8> {
    let wanted = [
        ("lowercase", settings.flag("do_lower_case")),
        ("strip_accents", settings.flag("strip_accents")),
        ("handle_chinese_chars", settings.flag("tokenize_chinese_chars")),
    ];
    if wanted.iter().all(|(_, value)| value.is_none()) && settings.config.get("truncation_side").is_none() {
        return tokenizer_json;
    }
    // A file that is not JSON is reported by the tokenizer.
    let Ok(mut tokenizer) = serde_json::from_slice::<Map<String, Value>>(&tokenizer_json) else {
        return tokenizer_json;
    };
    let before = tokenizer.clone();
    if let Some(truncation) = settings.truncation(tokenizer.get("truncation")) {
        tokenizer.insert("truncation".into(), truncation);
    }
    let normalizer = tokenizer.get_mut("normalizer").filter(|normalizer| normalizer["type"] == "BertNormalizer");
    if let Some(normalizer) = normalizer {
        for (key, value) in wanted {
            if let Some(value) = value {
                normalizer[key] = value.into();
            }
        }
    }
    if tokenizer == before { tokenizer_json } else { Value::Object(tokenizer).to_string().into_bytes() }
}
