//! The tokenizer of a Marian checkpoint, equal to transformers' `MarianTokenizer`.
//!
//! A `SentencePiece` model splits a text into pieces, `vocab.json` gives their ids, and an end token is appended. A folder
//! with `tokenizer.json` uses that instead.

use std::collections::HashMap;
use std::path::Path;

use tokenizers::Tokenizer;

use super::sentencepiece::{SPACE, SentencePieceModel, UNKNOWN};
use crate::train::data::{DataError, read};

/// Converts texts to token ids and back.
pub(super) struct MarianTokenizer {
    kind: TokenizerKind,
    end: u32,
    pad: u32,
}

enum TokenizerKind {
    TokenizerJson(Box<Tokenizer>),
    SentencePiece {
        model: Box<SentencePieceModel>,
        ids: HashMap<String, u32>,
        names: HashMap<u32, String>,
        unknown: u32,
    },
}

impl MarianTokenizer {
    /// Reads the files of a checkpoint folder. `end` and `pad` are token ids of its model.
    pub fn read(folder: &Path, end: u32, pad: u32) -> Result<Self, DataError> {
        let whole = folder.join("tokenizer.json");
        let malformed = |path: &Path, what: &str| DataError::malformed(format!("{}: {what}", path.display()));
        let kind = if whole.is_file() {
            let tokenizer = Tokenizer::from_bytes(read(&whole)?)
                .map_err(|error| malformed(&whole, &error.to_string()).caused_by(error))?;
            TokenizerKind::TokenizerJson(Box::new(tokenizer))
        } else {
            let (spm, vocabulary) = (folder.join("source.spm"), folder.join("vocab.json"));
            let model = SentencePieceModel::parse(&read(&spm)?).map_err(|what| malformed(&spm, what))?;
            let broken = "not a vocabulary (a map of pieces to numbers); copy it again from the checkpoint's page";
            let ids: HashMap<String, u32> = serde_json::from_slice(&read(&vocabulary)?)
                .map_err(|error| malformed(&vocabulary, broken).caused_by(error))?;
            let unknown = *ids.get(UNKNOWN).ok_or_else(|| malformed(&vocabulary, "there is no <unk>"))?;
            let names = ids.iter().map(|(piece, id)| (*id, piece.clone())).collect();
            TokenizerKind::SentencePiece { model: Box::new(model), ids, names, unknown }
        };
        Ok(Self { kind, end, pad })
    }

    /// The token ids of a text, with the end token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let fail = |error: tokenizers::Error| {
            DataError::malformed(format!("`{text}` cannot be tokenised: {error}")).caused_by(error)
        };
        let mut tokens = match &self.kind {
            TokenizerKind::TokenizerJson(tokenizer) => tokenizer.encode(text, true).map_err(fail)?.get_ids().to_vec(),
            TokenizerKind::SentencePiece { model, ids, unknown, .. } => {
                let pieces = model.pieces(text).map_err(fail)?;
                pieces.iter().map(|piece| ids.get(piece).copied().unwrap_or(*unknown)).collect()
            }
        };
        if tokens.last() != Some(&self.end) {
            tokens.push(self.end);
        }
        Ok(tokens)
    }

    /// The text of token ids. Tokens that do not stand for text are left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        let text = match &self.kind {
            TokenizerKind::TokenizerJson(tokenizer) => tokenizer.decode(tokens, true).map_err(|error| {
                DataError::malformed(format!("token ids cannot be decoded: {error}")).caused_by(error)
            })?,
            TokenizerKind::SentencePiece { names, unknown, .. } => {
                let pieces = tokens.iter().filter(|&id| ![self.end, self.pad, *unknown].contains(id));
                pieces.filter_map(|id| names.get(id)).map(String::as_str).collect()
            }
        };
        Ok(text.replace(SPACE, " ").trim().to_owned())
    }
}
