//! How much an augmentation changes, and whether it touches what labels hang on: the numbers by which a reviewer tells
//! meaningful variation from noise.

use super::lexicon::{is_negation, lower};
use super::words::Words;

/// Counts over pairs of a text and its variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touched {
    pub texts: usize,
    pub texts_changed: usize,
    /// Words of the texts.
    pub words: usize,
    /// Of those replaced, dropped or moved, and put in: what is not in the longest common sequence of both word lists;
    /// a replaced word counts once.
    pub words_changed: usize,
    /// Negations and sentiment words of the texts.
    pub negations: usize,
    pub sentiment: usize,
    /// Those of them that are not in the variant, or not in their place among the other words.
    pub negations_touched: usize,
    pub sentiment_touched: usize,
}

impl Touched {
    /// Adds a text and its variant.
    pub fn add(&mut self, text: &str, variant: &str) {
        let (before, after) = (Words::parse(text), Words::parse(variant));
        let list = |words: &Words<'_>| (0..words.len()).map(|i| words.word(i).to_owned()).collect::<Vec<_>>();
        let (before, after) = (list(&before), list(&after));
        let kept = common(&before, &after);
        self.texts += 1;
        self.texts_changed += usize::from(text != variant);
        self.words += before.len();
        self.words_changed += before.len().max(after.len()) - kept.iter().filter(|kept| **kept).count();
        for (word, kept) in before.iter().zip(kept) {
            if is_negation(word) {
                self.negations += 1;
                self.negations_touched += usize::from(!kept);
            } else if is_sentiment(word) {
                self.sentiment += 1;
                self.sentiment_touched += usize::from(!kept);
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

/// Which of `before` are in a longest common sequence with `after`.
fn common(before: &[String], after: &[String]) -> Vec<bool> {
    let start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (b, a) = (&before[start..], &after[start..]);
    let end = b.iter().rev().zip(a.iter().rev()).take_while(|(x, y)| x == y).count();
    let (b, a) = (&b[..b.len() - end], &a[..a.len() - end]);
    let mut kept = vec![true; before.len()];
    kept[start..start + b.len()].fill(false);
    // longest[i][j]: of b[i..] and a[j..].
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

    /// Words changed, negations touched, sentiment words touched.
    fn check(text: &str, variant: &str, expected: (usize, usize, usize)) {
        let mut touched = Touched::default();
        touched.add(text, variant);
        let found = (touched.words_changed, touched.negations_touched, touched.sentiment_touched);
        assert_eq!(found, expected, "{text} -> {variant}");
    }

    #[test]
    fn what_changed_is_counted() {
        check("Profits rose", "Profits rose", (0, 0, 0));
        check("Profits rose", "Earnings rose", (1, 0, 0));
        check("it is not good", "it is good", (1, 1, 0));
        check("it is not good", "it is not great", (1, 0, 1));
        check("it is not good", "it good is not", (1, 0, 1));
        check("it is not good", "it is really not good", (1, 0, 0));
        check("a b c d", "d b c a", (2, 0, 0));
        check("Good, good.", "Good , ! good.", (0, 0, 0));
        check("", "", (0, 0, 0));
        let mut touched = Touched::default();
        touched.add("I don't love it", "I don't love it");
        touched.add("so bad", "bad so");
        assert_eq!((touched.texts, touched.texts_changed, touched.words), (2, 1, 6));
        assert_eq!((touched.negations, touched.sentiment, touched.sentiment_touched), (1, 2, 0));
    }

    #[test]
    fn the_list_is_sorted_and_plain() {
        let words: Vec<&str> = include_str!("../../../assets/sentiment/words.txt").lines().collect();
        assert!(words.len() > 300 && words.is_sorted() && words.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        assert!(is_sentiment("Great") && is_sentiment("hates") && !is_sentiment("table"));
    }
}
