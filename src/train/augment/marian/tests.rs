//! Compares a tiny random checkpoint with the results of transformers. `make.py` beside the fixture made both.

use serde::Deserialize;

use super::decode::{self, Limits};
use super::tokenizer::MarianTokenizer;
use super::translator::Translator;
use crate::train::testing::fixture;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    texts_decoded: Vec<String>,
    given: Vec<u32>,
    logits: Vec<Vec<Vec<f32>>>,
    greedy: Vec<Vec<u32>>,
    beam: Vec<Vec<u32>>,
    decoded: Vec<String>,
}

fn tiny() -> (Translator, Expected) {
    let folder = fixture("marian-tiny");
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    (Translator::new(&folder).unwrap(), serde_json::from_slice(&expected).unwrap())
}

#[test]
fn texts_are_tokenised_and_decoded_as_by_transformers() {
    let (translator, expected) = tiny();
    assert_eq!(expected.texts.len(), 10);
    for ((text, tokens), decoded) in expected.texts.iter().zip(&expected.tokens).zip(&expected.texts_decoded) {
        assert_eq!(translator.tokens(text).unwrap(), *tokens, "{text}");
        assert_eq!(translator.tokenizer.decode(tokens).unwrap(), *decoded);
    }
    for (tokens, decoded) in expected.greedy.iter().zip(&expected.decoded) {
        assert_eq!(translator.tokenizer.decode(tokens).unwrap(), *decoded);
    }
}

#[test]
fn scores_are_those_of_transformers_in_a_padded_batch() {
    let (translator, expected) = tiny();
    let sources = [expected.tokens[0].as_slice(), expected.tokens[3].as_slice()];
    let mut state = translator.model.encode(&sources).unwrap();
    for (position, &token) in expected.given.iter().enumerate() {
        let scores = translator.model.step(&mut state, &[token, token], position).unwrap().to_vec2::<f32>().unwrap();
        for (row, expected) in scores.iter().zip(&expected.logits) {
            assert_eq!(row.len(), expected[position].len());
            for (ours, theirs) in row.iter().zip(&expected[position]) {
                assert!((ours - theirs).abs() < 1e-4 * theirs.abs().max(1.0), "{position}: {ours} {theirs}");
            }
        }
    }
}

#[test]
fn translations_are_those_of_transformers_greedy_and_by_beam() {
    let (translator, expected) = tiny();
    let sources: Vec<&[u32]> = expected.tokens.iter().map(Vec::as_slice).collect();
    // The `max_length` of 24 in transformers counts the start token.
    let limits = Limits { longest: 23, ..translator.limits };
    for (beams, expected) in [(1, &expected.greedy), (4, &expected.beam)] {
        assert_eq!(decode::beam(&translator.model, &sources, beams, limits).unwrap(), *expected, "{beams}");
        for (source, expected) in sources.iter().zip(expected) {
            assert_eq!(decode::beam(&translator.model, &[source], beams, limits).unwrap()[0], *expected, "alone");
        }
    }
}

#[test]
fn a_drawn_translation_depends_on_its_text_alone() {
    let (translator, expected) = tiny();
    let lines: Vec<String> = expected.texts.iter().map(|text| text.trim().to_owned()).collect();
    let together = translator.best_or_drawn(&lines, 1, 3).unwrap();
    assert_eq!(together.len(), 3 * 9, "all but the empty one");
    let alone: Vec<_> =
        translator.best_or_drawn(&lines[3..4], 1, 3).unwrap().into_iter().map(|drawn| drawn.1).collect();
    let of_three: Vec<_> = together.into_iter().filter(|drawn| drawn.0 == 3).map(|drawn| drawn.1).collect();
    assert_eq!(alone, of_three);
    assert!(alone[0] != alone[1] || alone[1] != alone[2], "{alone:?}");
}

#[test]
fn a_text_that_is_too_long_is_not_translated() {
    let (translator, _) = tiny();
    let lines = ["not good".to_owned(), "good ".repeat(10_000), String::new()];
    let best = translator.best(&lines, 1).unwrap();
    assert!(best[0].is_some() && best[1].is_none() && best[2].is_none());
}

#[test]
fn an_incomplete_sentencepiece_file_never_panics() {
    let whole = std::fs::read(fixture("marian-tiny").join("source.spm")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("marian-tiny").join("vocab.json"), folder.path().join("vocab.json")).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(folder.path().join("source.spm"), &whole[..length]).unwrap();
        // A file that is cut between two pieces is a smaller valid model.
        if let Ok(pieces) = MarianTokenizer::read(folder.path(), 0, 1) {
            pieces.encode("not good").unwrap();
        }
    }
    std::fs::write(folder.path().join("source.spm"), &whole[..20]).unwrap();
    assert!(MarianTokenizer::read(folder.path(), 0, 1).is_err());
}
