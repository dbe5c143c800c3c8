//! Tokens, their cache, and what a plan knows of the data.

use super::*;
use crate::train::testing::plain;
use crate::trial::{Augmentation, EvalSource};

#[test]
fn tokens_are_made_once_for_all_splits() {
    let memory = MemoryCache::default();
    let first = load(&config("embedded:tweets"), MODEL, &memory).unwrap();
    assert_eq!((memory.entries.lock().unwrap().len(), *memory.hits.lock().unwrap()), (1, 0));
    assert_eq!(load(&config("embedded:tweets"), MODEL, &memory).unwrap(), first);
    load(&DataConfig { seed: 1, limit: Some(2000), ..config("embedded:tweets") }, MODEL, &memory).unwrap();
    assert_eq!((memory.entries.lock().unwrap().len(), *memory.hits.lock().unwrap()), (1, 2));
    load(&DataConfig { max_length: 20, ..config("embedded:tweets") }, MODEL, &memory).unwrap();
    assert_eq!(memory.entries.lock().unwrap().len(), 2, "another length has other tokens");
    // A damaged entry is a miss.
    for entry in memory.entries.lock().unwrap().values_mut() {
        entry[100] ^= 1;
    }
    assert_eq!(load(&config("embedded:tweets"), MODEL, &memory).unwrap(), first);
}

#[test]
fn texts_are_measured_once_for_all_folds_and_draws() {
    let memory = MemoryCache::default();
    let facts = |config: DataConfig| data_facts(&config, MODEL, &memory).unwrap().report;
    let of_fold = |fold| facts(DataConfig { folds: Some(9), fold: Some(fold), ..config("embedded:tweets") });
    let longest = of_fold(1).train.longest_tokens;
    let entries = || memory.entries.lock().unwrap().len();
    assert_eq!(entries(), 2, "tokens and lengths");
    assert_eq!(of_fold(7).train.rows, 3680);
    let drawn = facts(DataConfig { limit: Some(50), ..config("embedded:tweets") });
    assert!(drawn.train.rows == 50 && drawn.train.longest_tokens < longest, "{drawn:?}");
    assert_eq!(entries(), 2);
}

#[test]
fn a_damaged_cache_entry_is_a_miss() {
    let tokens = Tokens::whole(vec![2, 70_000, 3, 2, 3], vec![0, 0, 1, 0, 0], vec![0, 3, 5]);
    let bytes = tokens.to_bytes();
    assert_eq!(Tokens::from_bytes(&bytes), Some(tokens));
    for cut in 0..bytes.len() {
        assert_eq!(Tokens::from_bytes(&bytes[..cut]), None);
        let mut flipped = bytes.clone();
        flipped[cut] ^= 0x10;
        assert_eq!(Tokens::from_bytes(&flipped), None);
    }
    assert_eq!(Tokens::from_bytes(&[bytes.as_slice(), b"x"].concat()), None);
}

#[test]
fn facts_of_the_data() {
    let facts = data_facts(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(facts.report.files, ["embedded:tweets: tsv, 4140 rows"]);
    assert_eq!(facts.report.train.class_rows.iter().sum::<usize>(), 3312);
    assert!(facts.report.train.longest_tokens > 16 && facts.report.train.truncated_share > 0.3, "{:?}", facts.report);
    assert_eq!((facts.train_rows, facts.eval_rows), (3312, 828));
    assert!(facts.mean_tokens > 8.0 && facts.mean_tokens <= 16.0, "{}", facts.mean_tokens);
    let other = DataConfig { eval: EvalSource::File("embedded:tweets".into()), ..config("embedded:tweets") };
    let other = data_facts(&other, MODEL, &MemoryCache::default()).unwrap();
    assert_ne!(other.hash, facts.hash, "the eval file is part of the content");
    let moved = file("elsewhere.tsv", include_bytes!("../../../../assets/data/tweets.tsv"));
    assert_eq!(data_facts(&config(&moved.path), MODEL, &MemoryCache::default()).unwrap().hash, facts.hash);
}

#[test]
fn the_end_of_a_very_long_text_is_not_read() {
    let huge = "word ".repeat(4_000_000);
    let file = file("a.tsv", format!("label\ttext\na\t{huge}\nb\tx\na\ty\nb\tz\n"));
    let dataset = load_file(&file).unwrap();
    let all = dataset.train.examples.iter().chain(&dataset.eval.examples);
    assert_eq!(all.map(|example| example.text.len()).max(), Some(16 * CHARACTERS_PER_TOKEN));
    assert_eq!(dataset.train.tokens.get(0).0.len().max(dataset.eval.tokens.get(0).0.len()), 16);
}

/// The order of the calls does not change the tokens, and an [`Epochs`] can be dropped early.
#[test]
fn epochs_are_a_function_of_the_epoch() {
    let config = DataConfig { limit: Some(150), ..config("embedded:tweets") };
    let train = load(&config, MODEL, &MemoryCache::default()).unwrap().train;
    let epochs = |first| {
        let methods =
            [Augmentation::RandomInsertion { rate: 0.2, wordnet: None }, Augmentation::RandomSwap { rate: 0.1 }];
        Epochs::new(&train, plain(&methods, 5).unwrap(), || Ok(encoder(&config, MODEL)?.0), first).unwrap()
    };
    let mut straight = epochs(0);
    let expected: Vec<_> = (0..4).map(|epoch| straight.epoch(epoch).unwrap()).collect();
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(expected.iter().all(|tokens| tokens.len() == 150 && **tokens != train.tokens));
    let mut jumping = epochs(2);
    for epoch in [2, 0, 3, 3, 1] {
        assert_eq!(jumping.epoch(epoch).unwrap(), expected[epoch as usize]);
    }
    drop(epochs(9));
    let none = plain(&[], 5).unwrap();
    let mut clean = Epochs::new(&train, none, || panic!("nothing to encode"), 0).unwrap();
    assert_eq!(*clean.epoch(0).unwrap(), train.tokens);
    assert!(std::sync::Arc::ptr_eq(&clean.epoch(0).unwrap(), &clean.epoch(1).unwrap()));
}
