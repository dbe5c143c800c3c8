//! Words and pieces of a Marian checkpoint, as transformers' `MarianTokenizer` reads them: a `SentencePiece` unigram model
//! cuts a text, `vocab.json` numbers the pieces, an end stands behind. A folder with `tokenizer.json` is read by that.
//!
//! Of a `SentencePiece` file (a protocol buffer, <https://github.com/google/sentencepiece>, `sentencepiece_model.proto`)
//! the pieces with their scores and the table of the normaliser are read.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;

use super::files::read;
use crate::train::TrainError;

/// The sign for a blank in pieces.
const BLANK: char = '\u{2581}';
const UNKNOWN: &str = "<unk>";
const BROKEN: &str = "no SentencePiece model, broken or cut short; copy it again from the checkpoint's page";

/// Between texts and token ids.
pub(super) struct Pieces {
    kind: Kind,
    end: u32,
    pad: u32,
}

enum Kind {
    Whole(Box<Tokenizer>),
    Cut { source: Box<Source>, ids: HashMap<String, u32>, names: HashMap<u32, String>, unknown: u32 },
}

impl Pieces {
    /// Of a folder that has the files; `end` and `pad` are ids of its model.
    pub fn read(folder: &Path, end: u32, pad: u32) -> Result<Self, TrainError> {
        let whole = folder.join("tokenizer.json");
        let fail = |path: &Path, what: &str| TrainError::Input(format!("{}: {what}", path.display()));
        let kind = if whole.is_file() {
            let tokenizer = Tokenizer::from_bytes(read(&whole)?).map_err(|error| fail(&whole, &error.to_string()))?;
            Kind::Whole(Box::new(tokenizer))
        } else {
            let (spm, vocabulary) = (folder.join("source.spm"), folder.join("vocab.json"));
            let source = Source::parse(&read(&spm)?).map_err(|what| fail(&spm, what))?;
            let broken = "not a vocabulary (a map of pieces to numbers); copy it again from the checkpoint's page";
            let ids: HashMap<String, u32> =
                serde_json::from_slice(&read(&vocabulary)?).map_err(|_| fail(&vocabulary, broken))?;
            let unknown = *ids.get(UNKNOWN).ok_or_else(|| fail(&vocabulary, "it has no <unk>"))?;
            let names = ids.iter().map(|(piece, id)| (*id, piece.clone())).collect();
            Kind::Cut { source: Box::new(source), ids, names, unknown }
        };
        Ok(Self { kind, end, pad })
    }

    /// The tokens of a text, the end behind them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TrainError> {
        let fail = |error: tokenizers::Error| TrainError::Input(format!("`{text}` cannot be cut into pieces: {error}"));
        let mut tokens = match &self.kind {
            Kind::Whole(tokenizer) => tokenizer.encode(text, true).map_err(fail)?.get_ids().to_vec(),
            Kind::Cut { source, ids, unknown, .. } => {
                let pieces = source.model.encode(&source.normalise(text)).map_err(fail)?;
                pieces.iter().map(|piece| ids.get(piece).copied().unwrap_or(*unknown)).collect()
            }
        };
        if tokens.last() != Some(&self.end) {
            tokens.push(self.end);
        }
        Ok(tokens)
    }

    /// The text of tokens; those that stand for no piece are left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TrainError> {
        let text = match &self.kind {
            Kind::Whole(tokenizer) => tokenizer
                .decode(tokens, true)
                .map_err(|error| TrainError::Input(format!("tokens cannot be turned into text: {error}")))?,
            Kind::Cut { names, unknown, .. } => {
                let pieces = tokens.iter().filter(|&id| ![self.end, self.pad, *unknown].contains(id));
                pieces.filter_map(|id| names.get(id)).map(String::as_str).collect()
            }
        };
        Ok(text.replace(BLANK, " ").trim().to_owned())
    }
}

/// A `SentencePiece` unigram model.
struct Source {
    model: Unigram,
    table: Option<Precompiled>,
}

impl Source {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut vocabulary = vec![(UNKNOWN.to_owned(), 0.0)];
        let mut table = None;
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => vocabulary.extend(normal_piece(piece)?),
                (2, Value::Bytes(trainer)) => {
                    let kind = number(trainer, 3)?.unwrap_or(1);
                    if kind != 1 {
                        return Err("a SentencePiece model of another kind than unigram; \
                                    give the folder a tokenizer.json made by transformers");
                    }
                }
                (3, Value::Bytes(normaliser)) => {
                    let found = fields(normaliser).find_map(|field| match field {
                        Ok((2, Value::Bytes(table))) => Some(table),
                        _ => None,
                    });
                    table = found.filter(|table| !table.is_empty()).map(read_table).transpose().map_err(|()| BROKEN)?;
                }
                _ => {}
            }
        }
        if vocabulary.len() == 1 {
            return Err(BROKEN);
        }
        let model = Unigram::from(vocabulary, Some(0), false).map_err(|_| BROKEN)?;
        Ok(Self { model, table })
    }

    /// Letters as the model knows them, words parted by one blank each, another before the first.
    fn normalise(&self, text: &str) -> String {
        let text = self.table.as_ref().map_or_else(|| text.to_owned(), |table| table.normalize_string(text));
        text.split(' ').filter(|word| !word.is_empty()).flat_map(|word| [BLANK.to_string(), word.to_owned()]).collect()
    }
}

/// The table says its own length first.
fn read_table(bytes: &[u8]) -> Result<Precompiled, ()> {
    let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
    if length.is_none_or(|length| length == 0 || length % 4 != 0 || length + 4 > bytes.len()) {
        return Err(());
    }
    Precompiled::from(bytes).map_err(drop)
}

/// Piece and score; none of the signs that do not stand for text.
fn normal_piece(bytes: &[u8]) -> Result<Option<(String, f64)>, &'static str> {
    const NORMAL: u64 = 1;
    const USER_DEFINED: u64 = 4;
    let (mut piece, mut score, mut kind) = (None, 0.0, NORMAL);
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => piece = Some(std::str::from_utf8(text).map_err(|_| BROKEN)?.to_owned()),
            (2, Value::Float(value)) => score = f64::from(value),
            (3, Value::Number(value)) => kind = value,
            _ => {}
        }
    }
    let stands = [NORMAL, USER_DEFINED].contains(&kind);
    Ok(piece.filter(|piece| stands && !piece.is_empty()).map(|piece| (piece, score)))
}

/// The number in a field of a message.
fn number(bytes: &[u8], wanted: u64) -> Result<Option<u64>, &'static str> {
    let mut found = None;
    for field in fields(bytes) {
        if let (name, Value::Number(value)) = field?
            && name == wanted
        {
            found = Some(value);
        }
    }
    Ok(found)
}

/// What a field of a protocol buffer holds.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Other,
}

/// Numbers and values of a message's fields; an error and the end where it is broken.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), &'static str>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field.ok_or(BROKEN))
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => bytes.split_off(..8).map(|_| Value::Other)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(bytes.split_off(..length)?)
        }
        5 => Value::Float(f32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let byte = bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
