//! Measures how much an augmentation changes texts, and whether it changes negations and sentiment words, on which labels
//! often depend.

use super::tokenize::Words;
use super::word_lists::{is_negation, lower};

/// Counts over pairs of a text and its variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeStats {
    pub texts: usize,
    pub texts_changed: usize,
    /// Words of all texts.
    pub words: usize,
    /// Words that were replaced, deleted, moved or inserted. These are the words outside the longest common subsequence of
    /// both word lists. A replaced word counts once.
    pub words_changed: usize,
    /// Negations in all texts.
    pub negations: usize,
    /// Sentiment words in all texts.
    pub sentiment: usize,
    /// Negations that are missing in the variant or have moved among the other words.
    pub negations_changed: usize,
    /// Sentiment words that are missing in the variant or have moved among the other words.
    pub sentiment_changed: usize,
}

impl ChangeStats {
    /// Adds a text and its variant.
    pub fn add(&mut self, text: &str, variant: &str) {
        let (before, after) = (Words::parse(text), Words::parse(variant));
        let list = |words: &Words<'_>| (0..words.len()).map(|i| words.word(i).to_owned()).collect::<Vec<_>>();
        let (before, after) = (list(&before), list(&after));
        let kept = common_words(&before, &after);
        self.texts += 1;
        self.texts_changed += usize::from(text != variant);
        self.words += before.len();
        self.words_changed += before.len().max(after.len()) - kept.iter().filter(|kept| **kept).count();
        for (word, kept) in before.iter().zip(kept) {
            if is_negation(word) {
                self.negations += 1;
                self.negations_changed += usize::from(!kept);
            } else if is_sentiment(word) {
                self.sentiment += 1;
                self.sentiment_changed += usize::from(!kept);
            }
        }
    }
}

/// Whether a word is in the list of sentiment words.
fn is_sentiment(word: &str) -> bool {
    const LIST: &str = include_str!("../../../assets/sentiment/words.txt");
    let word = lower(word);
    LIST.lines().any(|listed| listed == word)
}

/// For each word of `before`, whether it is in a longest common subsequence with `after`.
fn common_words(before: &[String], after: &[String]) -> Vec<bool> {
    let start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (b, a) = (&before[start..], &after[start..]);
    let end = b.iter().rev().zip(a.iter().rev()).take_while(|(x, y)| x == y).count();
    let (b, a) = (&b[..b.len() - end], &a[..a.len() - end]);
    let mut kept = vec![true; before.len()];
    kept[start..start + b.len()].fill(false);
    // longest[i][j] is the length for b[i..] and a[j..].
    let width = a.len() + 1;
    let mut longest = vec![0u32; (b.len() + 1) * width];
    for i in (0..b.len()).rev() {
        for j in (0..a.len()).rev() {
            longest[i * width + j] = if b[i] == a[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < b.len() && j < a.len() {
        if b[i] == a[j] {
            kept[start + i] = true;
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: words changed, negations changed, sentiment words changed.
    fn check(text: &str, variant: &str, expected: (usize, usize, usize)) {
        let mut stats = ChangeStats::default();
        stats.add(text, variant);
        let found = (stats.words_changed, stats.negations_changed, stats.sentiment_changed);
        assert_eq!(found, expected, "{text} -> {variant}");
    }

    #[test]
    fn changes_are_counted() {
        check("Profits rose", "Profits rose", (0, 0, 0));
        check("Profits rose", "Earnings rose", (1, 0, 0));
        check("it is not good", "it is good", (1, 1, 0));
        check("it is not good", "it is not great", (1, 0, 1));
        check("it is not good", "it good is not", (1, 0, 1));
        check("it is not good", "it is really not good", (1, 0, 0));
        check("a b c d", "d b c a", (2, 0, 0));
        check("Good, good.", "Good , ! good.", (0, 0, 0));
        check("", "", (0, 0, 0));
        let mut stats = ChangeStats::default();
        stats.add("I don't love it", "I don't love it");
        stats.add("so bad", "bad so");
        assert_eq!((stats.texts, stats.texts_changed, stats.words), (2, 1, 6));
        assert_eq!((stats.negations, stats.sentiment, stats.sentiment_changed), (1, 2, 0));
    }

    #[test]
    fn the_list_is_sorted_and_plain() {
        let words: Vec<&str> = include_str!("../../../assets/sentiment/words.txt").lines().collect();
        assert!(words.len() > 300 && words.is_sorted() && words.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        assert!(is_sentiment("Great") && is_sentiment("hates") && !is_sentiment("table"));
    }
}
