//! Chooses synonyms by context: the candidate that changes the embedding of the sentence least.
//!
//! The embedding is the mean of the last layer's token vectors; the distance is Euclidean. The other words of the sentence
//! stay unchanged during the comparison. Only the first [`MAX_CANDIDATES`] candidates are compared, which are those of the
//! most frequent senses.

use rayon::prelude::*;

use super::context::AugmentContext;
use super::sentence_encoder::SentenceEncoder;
use super::suggestions::{Suggestion, SuggestionTable, TextSuggestions, cached_suggestions};
use super::synonym::{EditedText, SynonymFinder};
use super::tokenize::Words;
use super::wordnet::WordNet;
use crate::train::TrainError;
use crate::train::data::CheckpointFiles;

/// Candidates of a word that are compared. Each costs one forward pass of the sentence.
const MAX_CANDIDATES: usize = 8;

/// The chosen synonym of each word of each text. `lexicon` identifies the content of the lexicon.
pub(super) fn nearest_synonyms(
    context: &AugmentContext<'_>,
    wordnet: &WordNet,
    lexicon: &str,
    pos: bool,
) -> Result<SuggestionTable, TrainError> {
    let files = CheckpointFiles::read(context.model)?;
    let key = format!("context {} {} {lexicon} {pos}", files.hash(), context.max_length);
    cached_suggestions(context, &key, |texts| {
        let encoder = SentenceEncoder::new(context.model, &files, context.max_length)?;
        texts.par_iter().map(|text| nearest(&encoder, wordnet, text, pos)).collect()
    })
}

fn nearest(encoder: &SentenceEncoder, wordnet: &WordNet, text: &str, pos: bool) -> Result<TextSuggestions, TrainError> {
    let words = Words::parse(text);
    let synonyms = SynonymFinder::new(wordnet, &words, pos);
    let mut candidates: Vec<Vec<String>> = (0..words.len()).map(|index| synonyms.of(index)).collect();
    for some in &mut candidates {
        some.truncate(MAX_CANDIDATES);
    }
    let mut variants = vec![text.to_owned()];
    for (index, candidates) in candidates.iter().enumerate().filter(|(_, candidates)| candidates.len() > 1) {
        variants.extend(candidates.iter().map(|candidate| {
            let mut edited = EditedText::new(&words);
            edited.replace(index, candidate);
            edited.text()
        }));
    }
    if variants.len() == 1 {
        return Ok(candidates.into_iter().map(|some| some.into_iter().map(only).collect()).collect());
    }
    let means: Vec<Vec<f64>> = {
        let vectors = encoder.vectors(&encoder.tokens(variants)?)?;
        vectors.iter().map(|rows| mean(rows, encoder.width())).collect()
    };
    let (original, mut rest) = (&means[0], &means[1..]);
    let chosen = candidates.into_iter().map(|mut candidates| {
        if candidates.len() > 1 {
            let (own, later) = rest.split_at(candidates.len());
            rest = later;
            let distances: Vec<f64> = own.iter().map(|mean| distance(mean, original)).collect();
            let best = (1..own.len()).fold(0, |best, i| if distances[i] < distances[best] { i } else { best });
            candidates = vec![candidates.swap_remove(best)];
        }
        candidates.into_iter().map(only).collect()
    });
    Ok(chosen.collect())
}

/// A suggestion without alternatives.
fn only(word: String) -> Suggestion {
    Suggestion(word, 1.0)
}

fn mean(rows: &[f32], width: usize) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let count = (rows.len() / width).max(1) as f64;
    mean.into_iter().map(|sum| sum / count).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}
