//! Property tests of all methods over real tweets and arbitrary strings.

use proptest::prelude::*;
use proptest::sample::select;

use super::tokenize::{WordKind, Words};
use super::*;
use crate::train::data::Example;
use crate::train::tasks::Target;
use crate::train::testing::plain;
use crate::trial::{Augmentation, Choose};

fn synonym(rate: f64) -> Augmentation {
    Augmentation::Synonym { rate, choose: Choose::Random, pos: true, wordnet: None }
}

/// The methods that protect words.
fn methods(rate: f64) -> [Augmentation; 6] {
    [
        synonym(rate),
        Augmentation::RandomInsertion { rate, wordnet: None },
        Augmentation::RandomSwap { rate },
        Augmentation::RandomDeletion { rate },
        Augmentation::Eda { alpha: rate, wordnet: None },
        Augmentation::Aeda { share: rate },
    ]
}

fn eda_exact(alpha: f64, copies: usize) -> Augmentation {
    Augmentation::EdaExact { alpha, copies, wordnet: None }
}

fn tweets() -> Vec<&'static str> {
    let file = include_str!("../../../assets/data/tweets.tsv");
    file.lines().skip(1).filter_map(|line| line.split_once('\t')).map(|(_, text)| text).collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(tweets()).prop_map(str::to_owned), 1 => any::<String>(), 1 => "([a-z]{1,9}|[ .,!'#@:-]|no|3){0,40}"]
}

fn example(text: &str) -> Example {
    Example {
        text: text.to_owned(),
        pair: Some(text.chars().rev().collect()),
        choices: vec![text.to_owned()],
        target: Target::Class(7),
    }
}

fn vary(method: &Augmentation, seed: u64, text: &str) -> String {
    plain(std::slice::from_ref(method), seed).unwrap().apply(0, 0, &example(text)).text
}

/// Whether the letters of `part` occur in `whole` in the same order.
fn is_within(part: impl Iterator<Item = char>, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.into_iter().all(|letter| whole.any(|other| other == letter))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_variant_is_a_function_of_seed_epoch_and_example(texts in prop::collection::vec(text(), 1..6), rate in 0.0..=1.0, seed: u64) {
        let augmenter = plain(&methods(rate), seed).unwrap();
        let all = |epoch| texts.iter().enumerate().map(|(i, text)| augmenter.apply(epoch, i, &example(text))).collect::<Vec<_>>();
        let (first, second) = (all(0), all(1));
        let again = plain(&methods(rate), seed).unwrap();
        for (i, text) in texts.iter().enumerate().rev() {
            prop_assert_eq!(&again.apply(1, i, &example(text)), &second[i]);
            prop_assert_eq!(&again.apply(0, i, &example(text)), &first[i]);
            prop_assert_eq!(&first[i].target, &Target::Class(7));
            prop_assert!(first[i].pair.is_some());
        }
    }

    #[test]
    fn protected_words_and_gaps_stay(text in text(), rate in 0.0..=1.0, seed: u64) {
        let words = Words::parse(&text);
        let between = || (0..=words.len()).flat_map(|i| words.gap(i).chars()).filter(|c| !c.is_whitespace());
        for method in methods(rate) {
            let varied = vary(&method, seed, &text);
            prop_assert!(is_within(between(), &varied), "{:?}: {}", method, varied);
            for word in (0..words.len()).filter(|&i| words.kind(i) == WordKind::Protected).map(|i| words.word(i)) {
                prop_assert!(varied.matches(word).count() >= 1, "{:?}: {} is gone: {}", method, word, varied);
            }
        }
    }

    #[test]
    fn insertion_and_marks_only_add(text in select(tweets()), rate in 0.0..=1.0, seed: u64) {
        let before = Words::parse(text);
        let inserted = vary(&Augmentation::RandomInsertion { rate, wordnet: None }, seed, text);
        prop_assert!(is_within(text.chars(), &inserted), "{}", inserted);
        let more = Words::parse(&inserted).len() - before.len();
        prop_assert!(more == 0 || more == edits::edit_count(rate, before.len()), "{} more: {}", more, inserted);
        let marked = vary(&Augmentation::Aeda { share: rate }, seed, text);
        prop_assert!(is_within(text.chars(), &marked), "{}", marked);
        let after = Words::parse(&marked);
        prop_assert!((0..after.len()).map(|i| after.word(i)).eq((0..before.len()).map(|i| before.word(i))), "{}", marked);
        let marks = marked.len() - text.len();
        let most = ((rate * before.len() as f64) as usize).max(1);
        prop_assert!(marks.is_multiple_of(2) && marks >= 2 && marks / 2 <= most, "{} marks: {}", marks / 2, marked);
    }

    #[test]
    fn synonyms_change_few_words_and_nothing_else(text in select(tweets()), rate in 0.0..=1.0, seed: u64) {
        let varied = vary(&synonym(rate), seed, text);
        let (before, after) = (Words::parse(text), Words::parse(&varied));
        prop_assert_eq!(before.len(), after.len());
        let (mut changed, mut articles) = (0, 0);
        for i in 0..before.len() {
            prop_assert_eq!(before.gap(i), after.gap(i));
            let (old, new) = (before.word(i), after.word(i));
            if old != new {
                prop_assert_eq!(before.kind(i), WordKind::Editable);
                prop_assert_eq!(old.starts_with(char::is_uppercase), new.starts_with(char::is_uppercase));
                prop_assert!(!word_lists::is_stop_word(&old.to_lowercase()) || ["a", "an"].contains(&old.to_lowercase().as_str()));
                let article = ["a", "an"].contains(&new.to_lowercase().as_str());
                if article { articles += 1 } else { changed += 1 }
            }
        }
        let most = ((rate * before.len() as f64).round() as usize).max(1);
        prop_assert!(changed <= most && articles <= changed, "{} of {}: {}", changed, most, varied);
    }

    #[test]
    fn deletion_at_rate_one_leaves_protected_words_or_one_word(text in text(), seed: u64) {
        let words = Words::parse(&text);
        let kept = (0..words.len()).filter(|&i| words.kind(i) == WordKind::Protected).count();
        let varied = vary(&Augmentation::RandomDeletion { rate: 1.0 }, seed, &text);
        let left = varied.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).count();
        prop_assert!(words.len() == 0 || left >= 1, "{:?}", varied);
        if kept == 0 && words.len() > 0 {
            prop_assert!((0..words.len()).any(|i| varied.contains(words.word(i))));
            prop_assert!(varied.len() < text.len() || words.len() == 1);
        }
    }
}

#[test]
fn rate_zero_deletes_nothing() {
    for text in tweets() {
        assert_eq!(vary(&Augmentation::RandomDeletion { rate: 0.0 }, 5, text), text);
    }
}

#[test]
fn another_epoch_gives_another_text() {
    let texts: Vec<&str> = tweets().into_iter().filter(|text| Words::parse(text).len() >= 12).step_by(17).collect();
    assert!(texts.len() > 100);
    for method in methods(0.3).into_iter().chain([eda_exact(0.3, 9)]) {
        let augmenter = plain(std::slice::from_ref(&method), 3).unwrap();
        let differs = |(index, text): (usize, &&str)| {
            (1..6)
                .any(|epoch| augmenter.apply(epoch, index, &example(text)) != augmenter.apply(0, index, &example(text)))
        };
        assert!(texts.iter().enumerate().all(differs), "{method:?}");
    }
}

#[test]
fn examples_and_seeds_do_not_share_their_draws() {
    let text = example("one morning the old doctor walked slowly over the wide green fields near his house");
    let swap = [Augmentation::RandomSwap { rate: 0.3 }];
    let variants = |seed: u64| {
        let augmenter = plain(&swap, seed).unwrap();
        (0..20).map(|index| augmenter.apply(0, index, &text).text).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(variants(1).len(), 20);
    assert!(variants(1).is_disjoint(&variants(2)));
    let pair = Example { pair: Some(text.text.clone()), ..text.clone() };
    let varied = plain(&swap, 1).unwrap().apply(0, 0, &pair);
    assert_ne!(Some(varied.text), varied.pair, "each side draws for itself");
}

#[test]
fn odd_texts_pass_through() {
    let long = "the quick brown doctor walked ".repeat(2000);
    let foreign = ["привет мир, как дела", "你好，世界", "नमस्ते दुनिया", "مرحبا بالعالم", "zażółć gęślą jaźń"];
    for method in methods(0.5).into_iter().chain([eda_exact(0.5, 4)]) {
        let marks = matches!(method, Augmentation::Aeda { .. });
        let exact = matches!(method, Augmentation::EdaExact { .. });
        for text in ["", " ", "\n\t", "🎉", "🎉🎉 🙂", ":) :D <3", "?!", "42", "not"] {
            let varied = vary(&method, 1, text);
            // The program of the paper reads `:D` as the letter d.
            let is_read_as_letter = exact && text.contains('D') && varied == "d";
            assert!(varied == text || (marks && varied.ends_with(text)) || is_read_as_letter, "{method:?}: {varied:?}");
        }
        assert!(vary(&method, 1, "yes").contains("yes"));
        assert!(Words::parse(&vary(&method, 1, &long)).len() > 4_000);
        for text in foreign {
            assert!(!vary(&method, 1, text).is_empty(), "{method:?}: {text}");
        }
    }
    for text in foreign {
        assert_eq!(vary(&synonym(1.0), 1, text), text);
        assert_eq!(vary(&Augmentation::RandomInsertion { rate: 1.0, wordnet: None }, 1, text), text);
    }
}

#[test]
fn eda_is_one_of_the_four() {
    let text = "one morning the old doctor walked slowly over the wide green fields near his house";
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (mut longer, mut shorter, mut moved, mut replaced) = (0, 0, 0, 0);
    let count = text.split(' ').count();
    for seed in 0..400 {
        let varied = vary(&Augmentation::Eda { alpha: 0.1, wordnet: None }, seed, text);
        let now = varied.split(' ').count();
        match now.cmp(&count) {
            std::cmp::Ordering::Greater => longer += 1,
            std::cmp::Ordering::Less => shorter += 1,
            std::cmp::Ordering::Equal if words(&varied) == words(text) => moved += 1,
            std::cmp::Ordering::Equal => replaced += 1,
        }
    }
    // A share of 0.9^12 of the deletions deletes nothing. These count as swaps, which may also change nothing.
    assert!((70..130).contains(&longer) && (70..130).contains(&replaced), "{longer} longer, {replaced} replaced");
    assert!((40..100).contains(&shorter) && (90..170).contains(&moved), "{shorter} shorter, {moved} moved");
}

#[test]
fn eda_exact_shows_each_version_once_in_copies_and_one_epochs() {
    let text = example("One morning the Old doctor's dog walked slowly -- over 3 wide green fields!");
    let clean = "one morning the old doctors dog walked slowly over wide green fields";
    let augmenter = plain(&[eda_exact(0.1, 9)], 5).unwrap();
    for index in 0..20 {
        let versions: Vec<String> = (0..20).map(|epoch| augmenter.apply(epoch, index, &text).text).collect();
        assert_eq!(versions[..10], versions[10..]);
        assert!(versions[..10].iter().any(|version| version == clean), "{versions:?}");
        assert!(versions.iter().all(|version| version.bytes().all(|b| b == b' ' || b.is_ascii_lowercase())));
    }
    let starts = (0..200).filter(|&index| augmenter.apply(0, index, &text).text == clean).count();
    assert!((8..60).contains(&starts), "an epoch shows examples at different versions: {starts}");
}

#[test]
fn the_rate_is_the_rate() {
    let text = vec!["word"; 10_000].join(" ");
    let left = Words::parse(&vary(&Augmentation::RandomDeletion { rate: 0.3 }, 9, &text)).len();
    assert!((6_800..7_200).contains(&left), "{left}");
    let numbered: Vec<String> =
        (0..1000).map(|i| format!("{}{}", "w".repeat(1 + i / 26), (b'a' + (i % 26) as u8) as char)).collect();
    let numbered = numbered.join(" ");
    let swapped = vary(&Augmentation::RandomSwap { rate: 0.01 }, 9, &numbered);
    let moved = numbered.split(' ').zip(swapped.split(' ')).filter(|(a, b)| a != b).count();
    assert!((11..=20).contains(&moved), "ten swaps move up to twenty words, not {moved}");
}

#[test]
fn a_rate_outside_0_to_1_is_refused() {
    for rate in [-0.1, 1.1, f64::NAN] {
        for method in methods(rate) {
            let message = plain(&[method], 0).unwrap_err().to_string();
            assert!(message.contains("it must lie in 0..1"), "{message}");
        }
    }
}
