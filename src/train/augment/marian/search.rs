//! How a translation is found: by a beam, or by drawing words.
//!
//! The beam is that of transformers' `generate` with the settings of the OPUS checkpoints: the word that pads is never
//! written, a translation's score is its log probability over its length, and a text is done once no open hypothesis can
//! be better than the worst of its finished ones. A beam of one is the greedy search.

use candle_core::Tensor;
use rayon::prelude::*;

use super::model::Marian;
use crate::train::TrainError;
use crate::train::random::Random;

/// Words among which a drawn one is: the ten likeliest, which keeps drawn translations sensible (Edunov et al.,
/// "Understanding back-translation at scale", 2018).
const DRAWN_AMONG: usize = 10;

/// The words that stand for no text, and how long a translation may grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub start: u32,
    pub end: u32,
    pub pad: u32,
    /// Tokens, the end included.
    pub longest: usize,
}

/// A translation on its way.
#[derive(Debug, Clone, Default)]
struct Hypothesis {
    tokens: Vec<u32>,
    /// The sum of log probabilities; over the length once it is finished.
    score: f64,
}

impl Hypothesis {
    /// One word further, with the new sum.
    fn and(&self, token: u32, score: f64) -> Self {
        Self { tokens: self.tokens.iter().copied().chain([token]).collect(), score }
    }
}

/// One text's search.
struct Beam {
    /// Index of the text.
    text: usize,
    open: Vec<Hypothesis>,
    /// The best first.
    finished: Vec<Hypothesis>,
}

/// The best translation of each source, by `beams` hypotheses each; the end included.
pub(super) fn beam(
    model: &Marian,
    sources: &[&[u32]],
    beams: usize,
    limits: Limits,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let mut memory = model.read(sources)?;
    let start = |text| Beam { text, open: vec![Hypothesis::default()], finished: Vec::new() };
    let mut live: Vec<Beam> = (0..sources.len()).map(start).collect();
    let mut found = vec![Vec::new(); sources.len()];
    for position in 0..limits.longest {
        let open = live.iter().flat_map(|beam| &beam.open);
        let last: Vec<u32> = open.map(|open| open.tokens.last().copied().unwrap_or(limits.start)).collect();
        let scores = likeliest(&model.step(&mut memory, &last, position)?, 2 * beams, limits, position)?;
        let (mut rows, mut first) = (Vec::new(), 0);
        for beam in &mut live {
            let count = beam.open.len();
            let kept = beam.advance(&scores[first..first + count], beams, limits.end);
            let done = beam.is_done(beams);
            if done || position + 1 == limits.longest {
                let best = beam.finished.first().or(beam.open.first());
                found[beam.text] = best.map(|best| best.tokens.clone()).unwrap_or_default();
                beam.open.clear();
            } else {
                rows.extend(kept.iter().map(|row| (first + row) as u32));
            }
            first += count;
        }
        live.retain(|beam| !beam.open.is_empty());
        if live.is_empty() {
            break;
        }
        memory.keep(&rows)?;
    }
    Ok(found)
}

impl Beam {
    /// One word further; `words` are the likeliest that follow each open hypothesis. The row that each of the new open ones
    /// came from.
    fn advance(&mut self, words: &[Vec<(u32, f64)>], beams: usize, end: u32) -> Vec<usize> {
        let mut all: Vec<(usize, u32, f64)> = Vec::new();
        for (row, (open, words)) in self.open.iter().zip(words).enumerate() {
            all.extend(words.iter().map(|&(token, score)| (row, token, open.score + score)));
        }
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        all.truncate(2 * beams);
        let next = |&(row, token, score): &(usize, u32, f64)| self.open[row].and(token, score);
        let ended = all
            .iter()
            .take(beams)
            .filter(|(_, token, _)| *token == end)
            .map(next)
            .map(|ended| Hypothesis { score: ended.score / ended.tokens.len() as f64, ..ended });
        self.finished.extend(ended.collect::<Vec<_>>());
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(beams);
        let open: Vec<&(usize, u32, f64)> = all.iter().filter(|(_, token, _)| *token != end).take(beams).collect();
        let (rows, open) = (open.iter().map(|open| open.0).collect(), open.iter().map(|open| next(open)).collect());
        self.open = open;
        rows
    }

    fn is_done(&self, beams: usize) -> bool {
        let Some(open) = self.open.first() else { return true };
        let worst = self.finished.get(beams - 1);
        worst.is_some_and(|worst| open.score / open.tokens.len() as f64 <= worst.score)
    }
}

/// One translation of each source, its words drawn by their probability; `random` is of each source.
pub(super) fn draw(
    model: &Marian,
    sources: &[&[u32]],
    random: &[Random],
    limits: Limits,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let mut memory = model.read(sources)?;
    let mut found: Vec<Vec<u32>> = vec![Vec::new(); sources.len()];
    let mut live: Vec<usize> = (0..sources.len()).collect();
    for position in 0..limits.longest {
        let last: Vec<u32> = live.iter().map(|&text| found[text].last().copied().unwrap_or(limits.start)).collect();
        let scores = likeliest(&model.step(&mut memory, &last, position)?, DRAWN_AMONG, limits, position)?;
        for (&text, words) in live.iter().zip(&scores) {
            let mut left = random[text].unit(position as u64) * words.iter().map(|word| word.1.exp()).sum::<f64>();
            let drawn = words.iter().find(|word| {
                left -= word.1.exp();
                left < 0.0
            });
            found[text].extend(drawn.or(words.last()).map(|word| word.0));
        }
        let goes_on = |&row: &usize| found[live[row]].last() != Some(&limits.end);
        let rows: Vec<usize> = (0..live.len()).filter(goes_on).collect();
        live = rows.iter().map(|&row| live[row]).collect();
        if live.is_empty() {
            break;
        }
        memory.keep(&rows.iter().map(|&row| row as u32).collect::<Vec<_>>())?;
    }
    Ok(found)
}

/// The `count` likeliest words of each row, the likeliest first, with their log probabilities. The last word is the end.
fn likeliest(
    scores: &Tensor,
    count: usize,
    limits: Limits,
    position: usize,
) -> Result<Vec<Vec<(u32, f64)>>, TrainError> {
    if position + 1 == limits.longest {
        return Ok(vec![vec![(limits.end, 0.0)]; scores.dim(0)?]);
    }
    let rows = scores.to_vec2::<f32>()?;
    let of_row = |mut row: Vec<f32>| {
        if let Some(pad) = row.get_mut(limits.pad as usize) {
            *pad = f32::NEG_INFINITY;
        }
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|score| f64::from((score - top).exp())).sum();
        let log = f64::from(top) + sum.ln();
        let mut words: Vec<(u32, f32)> = (0..).zip(row).collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if words.len() > count {
            words.select_nth_unstable_by(count, order);
            words.truncate(count);
        }
        words.sort_by(order);
        words.into_iter().map(|(word, score)| (word, f64::from(score) - log)).collect()
    };
    Ok(rows.into_par_iter().map(of_row).collect())
}
