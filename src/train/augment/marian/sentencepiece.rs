//! Reads a `SentencePiece` unigram model: a protocol buffer (<https://github.com/google/sentencepiece>,
//! `sentencepiece_model.proto`).
//!
//! The pieces with their scores and the table of the normaliser are read; other fields are ignored.

use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;

/// The sign for a space in pieces.
pub(super) const SPACE: char = '\u{2581}';
pub(super) const UNKNOWN: &str = "<unk>";

/// The error of a damaged file.
const BROKEN: &str = "not a SentencePiece model, or incomplete; copy it again from the checkpoint's page";

/// A `SentencePiece` unigram model.
pub(super) struct SentencePieceModel {
    model: Unigram,
    table: Option<Precompiled>,
}

impl SentencePieceModel {
    /// Parses a file. The error says why it cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut vocabulary = vec![(UNKNOWN.to_owned(), 0.0)];
        let mut table = None;
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => vocabulary.extend(normal_piece(piece)?),
                (2, Value::Bytes(trainer)) => {
                    let kind = number(trainer, 3)?.unwrap_or(1);
                    if kind != 1 {
                        return Err("only unigram SentencePiece models are supported; \
                                    add a tokenizer.json made by transformers to the folder");
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

    /// The pieces of a text.
    pub fn pieces(&self, text: &str) -> tokenizers::Result<Vec<String>> {
        self.model.encode(&self.normalise(text))
    }

    /// Normalises characters, and puts one space sign before each word.
    fn normalise(&self, text: &str) -> String {
        let text = self.table.as_ref().map_or_else(|| text.to_owned(), |table| table.normalize_string(text));
        text.split(' ').filter(|word| !word.is_empty()).flat_map(|word| [SPACE.to_string(), word.to_owned()]).collect()
    }
}

/// Parses the table of the normaliser. It starts with its length.
fn read_table(bytes: &[u8]) -> Result<Precompiled, ()> {
    let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
    if length.is_none_or(|length| length == 0 || length % 4 != 0 || length + 4 > bytes.len()) {
        return Err(());
    }
    Precompiled::from(bytes).map_err(drop)
}

/// Parses a piece and its score. None if the piece does not stand for text.
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
    let is_text = [NORMAL, USER_DEFINED].contains(&kind);
    Ok(piece.filter(|piece| is_text && !piece.is_empty()).map(|piece| (piece, score)))
}

/// The number in the field `wanted` of a message.
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

/// The value of a protocol buffer field.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Other,
}

/// The numbers and values of the fields of a message. Damaged content gives an error and ends the iteration.
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
