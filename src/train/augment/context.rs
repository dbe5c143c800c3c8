//! Synonyms chosen by context: of a word's candidates the one that moves the sentence's embedding least, by Euclidean
//! distance of the mean of the last layer's vectors. Each word is judged with all others as they are, and of many
//! candidates the first [`MOST`], those of the most frequent senses.

use rayon::prelude::*;

use super::Around;
use super::answers::{Answer, Answers, Proposal, answers};
use super::reader::Reader;
use super::synonym::{Replaced, Substitutes};
use super::wordnet::WordNet;
use super::words::Words;
use crate::train::TrainError;
use crate::train::data::source;

/// Candidates of a word that are tried; each costs a reading of the sentence.
const MOST: usize = 8;

/// For each word of each text the chosen synonym, if it has any. `lexicon` names the lexicon by its content.
pub(super) fn choose(around: &Around<'_>, wordnet: &WordNet, lexicon: &str, pos: bool) -> Result<Answers, TrainError> {
    let files = source::checkpoint(around.model)?;
    let key = format!("context {} {} {lexicon} {pos}", files.hash(), around.max_length);
    answers(around, &key, |texts| {
        let reader = Reader::new(around.model, &files, around.max_length)?;
        texts.par_iter().map(|text| nearest(&reader, wordnet, text, pos)).collect()
    })
}

fn nearest(reader: &Reader, wordnet: &WordNet, text: &str, pos: bool) -> Result<Answer, TrainError> {
    let words = Words::parse(text);
    let substitutes = Substitutes::new(wordnet, &words, pos);
    let mut candidates: Vec<Vec<String>> = (0..words.len()).map(|index| substitutes.of(index)).collect();
    for some in &mut candidates {
        some.truncate(MOST);
    }
    let mut variants = vec![text.to_owned()];
    for (index, candidates) in candidates.iter().enumerate().filter(|(_, candidates)| candidates.len() > 1) {
        variants.extend(candidates.iter().map(|candidate| {
            let mut replaced = Replaced::new(&words);
            replaced.put(index, candidate);
            replaced.text()
        }));
    }
    if variants.len() == 1 {
        return Ok(candidates.into_iter().map(|some| some.into_iter().map(sure).collect()).collect());
    }
    let means: Vec<Vec<f64>> = {
        let vectors = reader.vectors(&reader.tokens(variants)?)?;
        vectors.iter().map(|rows| mean(rows, reader.width())).collect()
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
        candidates.into_iter().map(sure).collect()
    });
    Ok(chosen.collect())
}

fn sure(word: String) -> Proposal {
    Proposal(word, 1.0)
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
