//! Translates lines with one Marian checkpoint in batches of similar length, and back-translates texts with two.

use std::path::Path;

use super::checkpoint::{self, MarianConfig, Weights};
use super::decode::{self, Limits};
use super::model::Marian;
use super::tokenizer::MarianTokenizer;
use crate::train::TrainError;
use crate::train::augment::context::AugmentContext;
use crate::train::augment::suggestions::{Suggestion, SuggestionTable, cached_suggestions};
use crate::train::data::DataError;
use plateau_random::{Purpose, Random};

/// The default checkpoints: from English to French, and back.
pub(crate) const DEFAULT_PAIR: [&str; 2] = ["hf:Helsinki-NLP/opus-mt-en-fr", "hf:Helsinki-NLP/opus-mt-fr-en"];

/// The lengths of the texts of a batch differ by less than this number of tokens.
const BUCKET: usize = 8;
/// Source tokens of all hypotheses of a batch. With 6 layers of width 512 their keys and values need 200 MB.
const BATCH_TOKENS: usize = 8192;

/// The back-translations of each text: the best one, or those of `samples` drawn translations. A back-translation that
/// equals its text is no suggestion.
pub(crate) fn back_translate(
    context: &AugmentContext<'_>,
    [out, home]: [&str; 2],
    beams: usize,
    samples: usize,
) -> Result<SuggestionTable, TrainError> {
    let (out_hash, home_hash) = (checkpoint::hash(Path::new(out))?, checkpoint::hash(Path::new(home))?);
    cached_suggestions(context, &format!("marian 1 {out_hash} {home_hash} {beams} {samples}"), |texts| {
        let lines: Vec<String> =
            texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let translated = Translator::new(Path::new(out))?.best_or_drawn(&lines, beams, samples)?;
        let (line_numbers, translated): (Vec<usize>, Vec<String>) = translated.into_iter().unzip();
        let back = Translator::new(Path::new(home))?.best(&translated, beams)?;
        let mut suggestions = vec![vec![Vec::new()]; texts.len()];
        for (line, back) in line_numbers.into_iter().zip(back) {
            let changed = back.filter(|back| !back.is_empty() && *back != lines[line] && back != texts[line]);
            suggestions[line][0].extend(changed.map(|back| Suggestion(back, 1.0)));
        }
        Ok(suggestions)
    })
}

/// Refuses a located folder that is not a complete Marian checkpoint. Returns the hash of its content.
pub(crate) fn check(folder: &str) -> Result<String, TrainError> {
    Translator::new(Path::new(folder))?;
    Ok(checkpoint::hash(Path::new(folder))?)
}

/// A Marian checkpoint with its tokenizer.
pub(super) struct Translator {
    pub model: Marian,
    pub tokenizer: MarianTokenizer,
    pub limits: Limits,
    /// The number of tokens that the encoder knows.
    vocabulary: usize,
}

impl Translator {
    /// Reads a checkpoint folder.
    pub fn new(folder: &Path) -> Result<Self, TrainError> {
        checkpoint::needed_files(folder)?;
        let config = MarianConfig::read(folder)?;
        let (end, pad) = (config.eos_token_id, config.pad_token_id);
        let tokenizer = MarianTokenizer::read(folder, end, pad)?;
        let mut weights = Weights::read(folder)?;
        let model = Marian::new(&config, &mut weights)?;
        weights.check()?;
        let limits = Limits { start: config.start(), end, pad, longest: config.max_position_embeddings };
        Ok(Self { model, tokenizer, limits, vocabulary: config.vocab_size })
    }

    /// The best translation of each line, or `samples` drawn ones. Each comes with the index of its line.
    pub fn best_or_drawn(
        &self,
        lines: &[String],
        beams: usize,
        samples: usize,
    ) -> Result<Vec<(usize, String)>, TrainError> {
        let mut found = Vec::new();
        if samples == 0 {
            let best = self.best(lines, beams)?;
            found.extend(best.into_iter().enumerate().filter_map(|(line, best)| Some((line, best?))));
        }
        for sample in 0..samples as u64 {
            let drawn = self.translate(lines, 1, |batch, sources, limits| {
                let random = |&line: &usize| random_of_text(&lines[line]).at(sample);
                let random: Vec<Random> = batch.iter().map(random).collect();
                decode::draw(&self.model, sources, &random, limits)
            })?;
            found.extend(drawn.into_iter().enumerate().filter_map(|(line, drawn)| Some((line, drawn?))));
        }
        Ok(found)
    }

    /// The best translation of each line. None for an empty line and for one that is too long.
    pub fn best(&self, lines: &[String], beams: usize) -> Result<Vec<Option<String>>, TrainError> {
        self.translate(lines, beams, |_, sources, limits| decode::beam(&self.model, sources, beams, limits))
    }

    /// Groups lines into batches. `search` gets the indices of the lines of a batch, their tokens and the limits.
    fn translate(
        &self,
        lines: &[String],
        beams: usize,
        search: impl Fn(&[usize], &[&[u32]], Limits) -> Result<Vec<Vec<u32>>, TrainError>,
    ) -> Result<Vec<Option<String>>, TrainError> {
        let tokens: Vec<Vec<u32>> = lines.iter().map(|line| self.tokens(line)).collect::<Result<_, _>>()?;
        let fits = |&line: &usize| !lines[line].is_empty() && tokens[line].len() <= self.limits.longest;
        let mut order: Vec<usize> = (0..lines.len()).filter(fits).collect();
        order.sort_by_key(|&line| (tokens[line].len(), line));
        let mut found = vec![None; lines.len()];
        for bucket in order.chunk_by(|&a, &b| tokens[a].len() / BUCKET == tokens[b].len() / BUCKET) {
            let longest = (tokens[bucket[0]].len() / BUCKET + 1) * BUCKET;
            // Some models never end the translation of some texts.
            let limits = Limits { longest: self.limits.longest.min(2 * longest + 16), ..self.limits };
            for batch in bucket.chunks((BATCH_TOKENS / (longest * beams)).max(1)) {
                let sources: Vec<&[u32]> = batch.iter().map(|&line| tokens[line].as_slice()).collect();
                for (&line, translated) in batch.iter().zip(search(batch, &sources, limits)?) {
                    found[line] = Some(self.tokenizer.decode(&translated)?);
                }
            }
        }
        Ok(found)
    }

    /// The token ids of a line.
    pub fn tokens(&self, line: &str) -> Result<Vec<u32>, TrainError> {
        let tokens = self.tokenizer.encode(line)?;
        match tokens.iter().find(|&&id| id as usize >= self.vocabulary) {
            Some(id) => Err(DataError::malformed(format!(
                "token id {id} is out of range: the Marian checkpoint has {} embeddings; vocab.json (or tokenizer.json) \
                 belongs to another checkpoint",
                self.vocabulary
            ))
            .into()),
            None => Ok(tokens),
        }
    }
}

/// Random numbers that depend only on the text.
fn random_of_text(text: &str) -> Random {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(text.as_bytes()).as_bytes();
    Random::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]), Purpose::Augmentation)
}
