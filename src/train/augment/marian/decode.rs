//! Decodes translations with a beam search, or by drawing tokens.
//!
//! The beam search equals transformers' `generate` with the settings of the OPUS checkpoints. The padding token is never
//! generated. The score of a translation is its log probability divided by its length. A text is done if no open hypothesis
//! can become better than the worst finished one. A beam of one is a greedy search.

use candle_core::Tensor;
use rayon::prelude::*;

use super::model::Marian;
use crate::train::TrainError;
use plateau_random::Random;

/// A token is drawn from the ten most probable ones, which keeps translations sensible (Edunov et al., "Understanding
/// back-translation at scale", 2018).
const DRAW_TOP_K: usize = 10;

/// The special tokens, and the maximal length of a translation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub start: u32,
    pub end: u32,
    pub pad: u32,
    /// Maximal number of tokens, with the end token.
    pub longest: usize,
}

/// A partial or finished translation.
#[derive(Debug, Clone, Default)]
struct Hypothesis {
    tokens: Vec<u32>,
    /// The sum of log probabilities; divided by the length once the hypothesis is finished.
    score: f64,
}

impl Hypothesis {
    /// The hypothesis with one more token and the new score.
    fn extended(&self, token: u32, score: f64) -> Self {
        Self { tokens: self.tokens.iter().copied().chain([token]).collect(), score }
    }
}

/// The beam search of one text.
struct Beam {
    /// Index of the text.
    text: usize,
    open: Vec<Hypothesis>,
    /// Sorted, the best first.
    finished: Vec<Hypothesis>,
}

/// The best translation of each source with `beams` hypotheses, including the end token.
pub(super) fn beam(
    model: &Marian,
    sources: &[&[u32]],
    beams: usize,
    limits: Limits,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let mut state = model.encode(sources)?;
    let start = |text| Beam { text, open: vec![Hypothesis::default()], finished: Vec::new() };
    let mut live: Vec<Beam> = (0..sources.len()).map(start).collect();
    let mut found = vec![Vec::new(); sources.len()];
    for position in 0..limits.longest {
        let open = live.iter().flat_map(|beam| &beam.open);
        let last: Vec<u32> = open.map(|open| open.tokens.last().copied().unwrap_or(limits.start)).collect();
        let scores = most_probable(&model.step(&mut state, &last, position)?, 2 * beams, limits, position)?;
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
        state.select_rows(&rows)?;
    }
    Ok(found)
}

impl Beam {
    /// Extends the open hypotheses by one token. `candidates` are the most probable next tokens of each. Returns the row that
    /// each new open hypothesis came from.
    fn advance(&mut self, candidates: &[Vec<(u32, f64)>], beams: usize, end: u32) -> Vec<usize> {
        let mut all: Vec<(usize, u32, f64)> = Vec::new();
        for (row, (open, tokens)) in self.open.iter().zip(candidates).enumerate() {
            all.extend(tokens.iter().map(|&(token, score)| (row, token, open.score + score)));
        }
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        all.truncate(2 * beams);
        let next = |&(row, token, score): &(usize, u32, f64)| self.open[row].extended(token, score);
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

/// One translation of each source with tokens drawn by their probability. `random` has the random numbers of each source.
pub(super) fn draw(
    model: &Marian,
    sources: &[&[u32]],
    random: &[Random],
    limits: Limits,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let mut state = model.encode(sources)?;
    let mut found: Vec<Vec<u32>> = vec![Vec::new(); sources.len()];
    let mut live: Vec<usize> = (0..sources.len()).collect();
    for position in 0..limits.longest {
        let last: Vec<u32> = live.iter().map(|&text| found[text].last().copied().unwrap_or(limits.start)).collect();
        let scores = most_probable(&model.step(&mut state, &last, position)?, DRAW_TOP_K, limits, position)?;
        for (&text, tokens) in live.iter().zip(&scores) {
            let mut left = random[text].unit(position as u64) * tokens.iter().map(|token| token.1.exp()).sum::<f64>();
            let drawn = tokens.iter().find(|token| {
                left -= token.1.exp();
                left < 0.0
            });
            found[text].extend(drawn.or(tokens.last()).map(|token| token.0));
        }
        let is_open = |&row: &usize| found[live[row]].last() != Some(&limits.end);
        let rows: Vec<usize> = (0..live.len()).filter(is_open).collect();
        live = rows.iter().map(|&row| live[row]).collect();
        if live.is_empty() {
            break;
        }
        state.select_rows(&rows.iter().map(|&row| row as u32).collect::<Vec<_>>())?;
    }
    Ok(found)
}

/// The `count` most probable tokens of each row with their log probabilities, the most probable first. At the last
/// position, the only token is the end.
fn most_probable(
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
        let mut tokens: Vec<(u32, f32)> = (0..).zip(row).collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if tokens.len() > count {
            tokens.select_nth_unstable_by(count, order);
            tokens.truncate(count);
        }
        tokens.sort_by(order);
        tokens.into_iter().map(|(token, score)| (token, f64::from(score) - log)).collect()
    };
    Ok(rows.into_par_iter().map(of_row).collect())
}
