//! Back-translation by a pair of Marian checkpoints, such as those of OPUS-MT (Tiedemann and Thottingal 2020), in batches
//! of texts of about one length, on the CPU.
//!
//! What comes out depends on the text and the checkpoints alone. A text that has more tokens than a checkpoint has
//! positions is not translated.

mod files;
mod model;
mod pieces;
mod search;

#[cfg(test)]
mod tests;

use std::path::Path;

use super::Around;
use super::answers::{Answers, Proposal, answers};
use crate::train::TrainError;
use crate::train::random::{Purpose, Random};
use model::Marian;
use pieces::Pieces;
use search::Limits;

/// The checkpoints where a sweep file names none: out of English, and home.
pub(super) const PAIR: [&str; 2] = ["hf:Helsinki-NLP/opus-mt-en-fr", "hf:Helsinki-NLP/opus-mt-fr-en"];

/// Texts of one batch differ in length by less than this many tokens.
const BUCKET: usize = 8;
/// Source tokens of all hypotheses of a batch; 6 layers of width 512 remember 200 MB of them.
const BATCH_TOKENS: usize = 8192;

/// The way out and home of each text: the best one, or `samples` that are drawn on the way out; none where it came back as
/// it went.
pub(super) fn translate(
    around: &Around<'_>,
    [out, home]: [&str; 2],
    beams: usize,
    samples: usize,
) -> Result<Answers, TrainError> {
    let (there, back) = (files::hash(Path::new(out))?, files::hash(Path::new(home))?);
    answers(around, &format!("marian 1 {there} {back} {beams} {samples}"), |texts| {
        let lines: Vec<String> =
            texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let abroad = Translator::new(Path::new(out))?.abroad(&lines, beams, samples)?;
        // Which line each of them belongs to.
        let (owners, abroad): (Vec<usize>, Vec<String>) = abroad.into_iter().unzip();
        let back = Translator::new(Path::new(home))?.best(&abroad, beams)?;
        let mut answers = vec![vec![Vec::new()]; texts.len()];
        for (owner, back) in owners.into_iter().zip(back) {
            let changed = back.filter(|back| !back.is_empty() && *back != lines[owner] && back != texts[owner]);
            answers[owner][0].extend(changed.map(|back| Proposal(back, 1.0)));
        }
        Ok(answers)
    })
}

/// Refuses a located folder that is no whole Marian checkpoint; the hash of its content.
pub(super) fn check(folder: &str) -> Result<String, TrainError> {
    Translator::new(Path::new(folder))?;
    files::hash(Path::new(folder))
}

struct Translator {
    model: Marian,
    pieces: Pieces,
    limits: Limits,
    /// Words that the model can read.
    vocabulary: usize,
}

impl Translator {
    fn new(folder: &Path) -> Result<Self, TrainError> {
        files::needed(folder)?;
        let config = files::Config::read(folder)?;
        let (end, pad) = (config.eos_token_id, config.pad_token_id);
        let pieces = Pieces::read(folder, end, pad)?;
        let mut weights = files::Weights::read(folder)?;
        let model = Marian::new(&config, &mut weights)?;
        weights.check()?;
        let limits = Limits { start: config.start(), end, pad, longest: config.max_position_embeddings };
        Ok(Self { model, pieces, limits, vocabulary: config.vocab_size })
    }

    /// Translations with the number of the line that each belongs to.
    fn abroad(&self, lines: &[String], beams: usize, samples: usize) -> Result<Vec<(usize, String)>, TrainError> {
        let mut found = Vec::new();
        if samples == 0 {
            let best = self.best(lines, beams)?;
            found.extend(best.into_iter().enumerate().filter_map(|(line, best)| Some((line, best?))));
        }
        for sample in 0..samples as u64 {
            let drawn = self.translate(lines, 1, |batch, sources, limits| {
                let random = |&line: &usize| of_text(&lines[line]).at(sample);
                let random: Vec<Random> = batch.iter().map(random).collect();
                search::draw(&self.model, sources, &random, limits)
            })?;
            found.extend(drawn.into_iter().enumerate().filter_map(|(line, drawn)| Some((line, drawn?))));
        }
        Ok(found)
    }

    /// The best translation of each line; None of an empty or an overlong one.
    fn best(&self, lines: &[String], beams: usize) -> Result<Vec<Option<String>>, TrainError> {
        self.translate(lines, beams, |_, sources, limits| search::beam(&self.model, sources, beams, limits))
    }

    /// Puts lines into batches; `search` is given the numbers of a batch's lines, their tokens and the limits.
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
            // Some models go on for ever about some texts.
            let limits = Limits { longest: self.limits.longest.min(2 * longest + 16), ..self.limits };
            for batch in bucket.chunks((BATCH_TOKENS / (longest * beams)).max(1)) {
                let sources: Vec<&[u32]> = batch.iter().map(|&line| tokens[line].as_slice()).collect();
                for (&line, translated) in batch.iter().zip(search(batch, &sources, limits)?) {
                    found[line] = Some(self.pieces.decode(&translated)?);
                }
            }
        }
        Ok(found)
    }

    fn tokens(&self, line: &str) -> Result<Vec<u32>, TrainError> {
        let tokens = self.pieces.encode(line)?;
        match tokens.iter().find(|&&id| id as usize >= self.vocabulary) {
            Some(id) => Err(TrainError::Input(format!(
                "the tokenizer gives token {id}, but the Marian checkpoint knows {} words: vocab.json (or tokenizer.json) \
                 belongs to another one",
                self.vocabulary
            ))),
            None => Ok(tokens),
        }
    }
}

/// Numbers that belong to a text, whatever the seed and its place among others.
fn of_text(text: &str) -> Random {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(text.as_bytes()).as_bytes();
    Random::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]), Purpose::Augmentation)
}
