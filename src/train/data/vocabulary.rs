//! Makes the `tokenizer.json` that transformers would use for a checkpoint folder.
//!
//! A folder with only `vocab.txt` gets a BERT tokenizer with the settings of its other files. For a folder with
//! `tokenizer.json`, the settings in `tokenizer_config.json` win, and tokens that other files add are added, as in transformers
//! (version 5.24).

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use tokenizers::{AddedToken, Tokenizer};

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

    /// The class of the tokenizer, without the `Fast` at its end.
    fn class(&self) -> &str {
        let class = self.config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        class.strip_suffix("Fast").unwrap_or(class)
    }

    /// Whether the class of the tokenizer takes `tokenizer.json` as it is.
    fn is_generic(&self) -> bool {
        matches!(self.class(), "PreTrainedTokenizer" | "TokenizersBackend")
    }

    /// The settings of a `BertNormalizer` that win over those in `tokenizer.json`. The classes of BERT and its kin make the normalizer
    /// anew, so that an absent setting has its default.
    fn normalizer(&self) -> Vec<(&'static str, Value)> {
        if self.is_generic() {
            return Vec::new();
        }
        let is_of_bert =
            ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"].contains(&self.class());
        let settings = [
            ("do_lower_case", "lowercase", Value::Bool(true)),
            ("strip_accents", "strip_accents", Value::Null),
            ("tokenize_chinese_chars", "handle_chinese_chars", Value::Bool(true)),
        ];
        let value = |(key, setting, default): (&str, &'static str, Value)| {
            let written =
                self.config.get(key).filter(|value| value.is_boolean() || value.is_null() && default.is_null());
            Some((setting, written.cloned().or_else(|| is_of_bert.then_some(default))?))
        };
        settings.into_iter().filter_map(value).collect()
    }

    /// Whether a space is put before each text, if that wins over `tokenizer.json`.
    fn prefix_space(&self) -> Option<bool> {
        let is_of_roberta = ["RobertaTokenizer", "LongformerTokenizer"].contains(&self.class());
        let written = self.flag("add_prefix_space").or_else(|| is_of_roberta.then_some(false));
        written.filter(|_| !self.is_generic())
    }

    /// The further special tokens, which may be in the vocabulary or not.
    fn further_special(&self) -> Vec<String> {
        let lists = [&self.config, &self.special_tokens]
            .into_iter()
            .flat_map(|file| ["additional_special_tokens", "extra_special_tokens"].map(|key| file.get(key)));
        let entries = lists.flatten().flat_map(|list| match list {
            Value::Array(entries) => entries.iter().collect(),
            Value::Object(named) => named.values().collect(),
            _ => Vec::new(),
        });
        let name = |entry: &Value| entry.as_str().or_else(|| entry.get("content")?.as_str()).map(str::to_owned);
        entries.filter_map(name).collect()
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
    Ok(with_added_tokens(tokenizer.to_string().into_bytes(), settings))
}

/// Applies the settings of a folder to its `tokenizer.json`. Returns the same bytes if nothing changes.
pub(super) fn with_settings(tokenizer_json: Vec<u8>, settings: &TokenizerSettings) -> Vec<u8> {
    with_added_tokens(with_flags(tokenizer_json, settings), settings)
}

/// Applies the settings of the normalizer, of the pre-tokenizer and of the truncation.
fn with_flags(tokenizer_json: Vec<u8>, settings: &TokenizerSettings) -> Vec<u8> {
    let (normalizer, prefix_space) = (settings.normalizer(), settings.prefix_space());
    if normalizer.is_empty() && prefix_space.is_none() && settings.config.get("truncation_side").is_none() {
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
    if let Some(of_file) = tokenizer.get_mut("normalizer").filter(|of_file| of_file["type"] == "BertNormalizer") {
        for (key, value) in normalizer {
            of_file[key] = value;
        }
    }
    let pre_tokenizer = tokenizer.get_mut("pre_tokenizer").filter(|of_file| of_file["type"] == "ByteLevel");
    if let (Some(of_file), Some(prefix_space)) = (pre_tokenizer, prefix_space) {
        of_file["add_prefix_space"] = prefix_space.into();
    }
    if tokenizer == before { tokenizer_json } else { Value::Object(tokenizer).to_string().into_bytes() }
}

/// Adds the tokens that other files than `tokenizer.json` name. They get the next free ids, or keep those that the vocabulary has.
fn with_added_tokens(tokenizer_json: Vec<u8>, settings: &TokenizerSettings) -> Vec<u8> {
    #[derive(serde::Deserialize)]
    struct Known {
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(serde::Deserialize)]
    struct Added {
        content: String,
    }
    let added = settings.added().into_iter().map(|(_, entry)| {
        let flag = |key: &str| entry[key] == true;
        let token = AddedToken::from(entry["content"].as_str().unwrap_or_default(), flag("special"));
        token
            .single_word(flag("single_word"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .normalized(flag("normalized"))
    });
    let special = settings.further_special().into_iter().map(|content| AddedToken::from(content, true));
    let mut wanted: Vec<AddedToken> = added.chain(special).collect();
    if wanted.is_empty() {
        return tokenizer_json;
    }
    // A file that is not JSON is reported by the tokenizer.
    let Ok(known) = serde_json::from_slice::<Known>(&tokenizer_json) else { return tokenizer_json };
    let mut known: HashSet<String> = known.added_tokens.into_iter().map(|token| token.content).collect();
    wanted.retain(|token| !token.content.is_empty() && known.insert(token.content.clone()));
    if wanted.is_empty() {
        return tokenizer_json;
    }
    let extended = || {
        let mut tokenizer = Tokenizer::from_bytes(&tokenizer_json).ok()?;
        for token in &wanted {
            if token.special {
                tokenizer.add_special_tokens([token.clone()]).ok()?;
            } else {
                tokenizer.add_tokens([token.clone()]).ok()?;
            }
        }
        tokenizer.to_string(false).ok()
    };
    extended().map_or_else(|| tokenizer_json.clone(), String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: Value, added_tokens: Value) -> TokenizerSettings {
        TokenizerSettings { config, special_tokens: Value::Null, added_tokens }
    }

    fn lowercasing() -> Vec<u8> {
        let pieces = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nzork\n[NEW]";
        from_vocabulary("vocab.txt", pieces, &TokenizerSettings::default()).unwrap()
    }

    fn ids(tokenizer: &[u8], text: &str) -> Vec<u32> {
        Tokenizer::from_bytes(tokenizer).unwrap().encode(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn tokens_that_only_other_files_name_are_added() {
        let plain = lowercasing();
        assert_eq!(ids(&plain, "a [NEW] covid"), [5, 1, 1, 1, 1]);
        let added =
            settings(json!({"additional_special_tokens": ["[NEW]", "[OTHER]"]}), json!({"covid": 8, "[MASK]": 4}));
        let extended = with_settings(plain.clone(), &added);
        assert_eq!(ids(&extended, "a [NEW] COVID [OTHER]"), [5, 7, 8, 9]);
        let decoder = json!({"8": {"content": "covid", "special": false, "normalized": true, "single_word": true}});
        let extended = with_settings(plain.clone(), &settings(json!({"added_tokens_decoder": decoder}), Value::Null));
        assert_eq!(ids(&extended, "covid covids"), [8, 1]);
        let named = settings(json!({"extra_special_tokens": {"other": "[OTHER]"}}), Value::Null);
        let pieces = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]";
        assert_eq!(ids(&from_vocabulary("vocab.txt", pieces, &named).unwrap(), "[OTHER]"), [5]);
        let known = settings(json!({"extra_special_tokens": ["[PAD]"]}), json!({"[SEP]": 3}));
        assert_eq!(with_settings(plain.clone(), &known), plain, "nothing is new");
    }

    #[test]
    fn the_class_of_the_tokenizer_decides_which_settings_win() {
        let normalizer = |config: Value| {
            let changed = with_settings(lowercasing(), &settings(config, Value::Null));
            let changed: Value = serde_json::from_slice(&changed).unwrap();
            ["lowercase", "strip_accents", "handle_chinese_chars"].map(|key| changed["normalizer"][key].clone())
        };
        let [yes, no, null] = [Value::Bool(true), Value::Bool(false), Value::Null];
        assert_eq!(normalizer(json!({"do_lower_case": false})), [no.clone(), null.clone(), yes.clone()]);
        let generic = json!({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": false});
        assert_eq!(normalizer(generic), [yes.clone(), null.clone(), yes.clone()]);
        // The class of BERT has a normalizer of its own: an absent setting is its default.
        let of_file = settings(json!({"do_lower_case": false, "strip_accents": true}), Value::Null);
        let cased = with_settings(lowercasing(), &of_file);
        let bert = settings(json!({"tokenizer_class": "BertTokenizerFast"}), Value::Null);
        let changed: Value = serde_json::from_slice(&with_settings(cased, &bert)).unwrap();
        assert_eq!((&changed["normalizer"]["lowercase"], &changed["normalizer"]["strip_accents"]), (&yes, &null));
        let prefix = |config: Value| {
            let bytes = br#"{"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true}}"#.to_vec();
            let changed: Value = serde_json::from_slice(&with_flags(bytes, &settings(config, Value::Null))).unwrap();
            changed["pre_tokenizer"]["add_prefix_space"].clone()
        };
        assert_eq!(prefix(json!({})), yes);
        assert_eq!(prefix(json!({"add_prefix_space": false})), no);
        assert_eq!(prefix(json!({"tokenizer_class": "RobertaTokenizer"})), no);
        assert_eq!(prefix(json!({"tokenizer_class": "TokenizersBackend", "add_prefix_space": false})), yes);
    }
}
