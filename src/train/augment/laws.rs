//! What every method owes to a text, as property tests; and the methods on real tweets.

use proptest::prelude::*;

use super::words::{Kind, Words};
use super::*;

#[test]
fn print() {
    let text = include_str!("../../../assets/data/tweets.tsv");
    for method in [
        Augmentation::Synonym { rate: 0.1 },
        Augmentation::RandomDeletion { rate: 0.1 },
        Augmentation::RandomSwap { rate: 0.1 },
    ] {
        println!("== {method:?}");
        let augmenter = Augmenter::new(&[method], 1).unwrap();
        for (i, line) in text.lines().skip(1).step_by(101).enumerate() {
            let example = Example { text: line.split('\t').nth(1).unwrap().into(), pair: None, label: 0 };
            println!("- {}\n+ {}", example.text, augmenter.apply(0, i, &example).text);
        }
    }
}
