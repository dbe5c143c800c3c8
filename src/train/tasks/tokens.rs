//! Token classification: every word of a text has a tag, such as `B-PER` for the first word of a person's name.
//!
//! The first token of a word has an output, and its other tokens have none. The loss is the cross-entropy, the mean over words,
//! in nats. Scores over entities equal those of seqeval 1.2 in its default mode: an entity begins with `B-` or `S-`, or with a tag
//! whose type differs from that of the word before it.

use std::collections::{BTreeMap, BTreeSet};

use super::classification::{cross_entropy, entropy};
use super::target::{Target, unknown_label};
use super::task::{Evaluated, Task};
use crate::train::metrics::{accuracy, best_class, class_scores, single};
use crate::trial::Scores;

/// A tagger's loss and metrics.
#[derive(Debug)]
pub struct Tokens {
    /// In class order.
    pub tags: Vec<String>,
}

/// The words of a text, or the tags of a label.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

/// The tags that a field of the label column names.
pub(super) fn read(text: &str, numbers: &BTreeMap<&str, u32>) -> Result<Target, String> {
    let number = |name| numbers.get(name).copied().ok_or_else(|| unknown_label(name, numbers));
    words(text).map(number).collect::<Result<_, _>>().map(Target::Tags)
}

impl Tokens {
    /// The entities of all texts.
    fn entities(&self, tags: impl Iterator<Item = (u32, bool)>) -> BTreeSet<Entity<'_>> {
        let (mut found, mut open) = (BTreeSet::new(), None);
        let mut last = OUTSIDE;
        for (place, (tag, starts_text)) in tags.enumerate() {
            let tag = parts(&self.tags[tag as usize]);
            for (last, next) in if starts_text { vec![(last, OUTSIDE), (OUTSIDE, tag)] } else { vec![(last, tag)] } {
                if ends(last, next)
                    && let Some(start) = open.take()
                {
                    found.insert(Entity { start, end: place, name: last.1 });
                }
                if begins(last, next) {
                    open = Some(place);
                }
            }
            last = tag;
        }
        found.extend(open.map(|start| Entity { start, end: usize::MAX, name: last.1 }));
        found
    }

    /// Whether a tag other than `O` has the form `B-PER`.
    fn has_entities(&self) -> bool {
        self.tags.iter().any(|tag| tag.len() > 2 && tag[1..].starts_with('-') && "BIES".contains(&tag[..1]))
    }
}

/// Words of one entity: the first of them, the word after the last one, and the type.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entity<'a> {
    start: usize,
    end: usize,
    name: &'a str,
}

/// The part of a tag before the hyphen, and the type.
type Parts<'a> = (char, &'a str);

const OUTSIDE: Parts<'static> = ('O', "_");

fn parts(tag: &str) -> Parts<'_> {
    let Some(first) = tag.chars().next() else { return OUTSIDE };
    let rest = &tag[first.len_utf8()..];
    let name = rest.split_once('-').map_or(rest, |(_, name)| name);
    (first, if name.is_empty() { "_" } else { name })
}

/// Whether an entity ends between two words with these tags.
fn ends(last: Parts<'_>, next: Parts<'_>) -> bool {
    match (last.0, next.0) {
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
        ('O' | '.', _) => false,
        _ => last.1 != next.1,
    }
}

/// Whether an entity begins with the second of two words with these tags.
fn begins(last: Parts<'_>, next: Parts<'_>) -> bool {
    match (last.0, next.0) {
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
        (_, 'O' | '.') => false,
        _ => last.1 != next.1,
    }
}

/// A word's tag, and whether the word is the first of its text.
fn word(target: &Target) -> (u32, bool) {
    match target {
        Target::Word(tag, starts) => (*tag, *starts),
        _ => (0, true),
    }
}

impl Task for Tokens {
    fn outputs(&self) -> usize {
        self.tags.len()
    }

    fn loss(&self, outputs: &[f64], target: &Target) -> f64 {
        self.gradient(outputs, target).0
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        match target {
            Target::Word(tag, _) => cross_entropy(outputs, *tag as usize),
            _ => (f64::NAN, vec![f64::NAN; outputs.len()]),
        }
    }

    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated {
        let truth: Vec<(u32, bool)> = targets.iter().map(|target| word(target)).collect();
        let predicted: Vec<u32> = outputs.iter().map(|row| best_class(row) as u32).collect();
        let mut confusion = vec![vec![0; self.tags.len()]; self.tags.len()];
        for ((tag, _), predicted) in truth.iter().zip(&predicted) {
            confusion[*tag as usize][*predicted as usize] += 1;
        }
        let wanted = self.entities(truth.iter().copied());
        let found = self.entities(predicted.iter().zip(&truth).map(|(tag, (_, starts))| (*tag, *starts)));
        let hits = wanted.intersection(&found).count() as f64;
        let share = |of: usize| (of > 0 && self.has_entities()).then(|| hits / of as f64);
        Evaluated {
            scores: Scores {
                entity_precision: single(share(found.len())),
                entity_recall: single(share(wanted.len())),
                entity_f1: single(share(wanted.len() + found.len()).map(|half| 2.0 * half)),
                token_accuracy: single(accuracy(&confusion)),
                classes: class_scores(&confusion),
                ..Scores::default()
            },
            ..Evaluated::default()
        }
    }

    /// The entropy of the tags.
    fn chance(&self, targets: &[Target]) -> Option<f64> {
        let mut counts = vec![0.0; self.tags.len()];
        for target in targets {
            counts[word(target).0 as usize] += 1.0;
        }
        Some(entropy(&counts)).filter(|level| *level > 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::{check_scores, metric_references, slopes_agree};
    use crate::trial::Metric;

    #[test]
    fn the_gradient_is_the_slope() {
        let task = Tokens { tags: ["B-X", "I-X", "O"].map(str::to_owned).into() };
        slopes_agree(&task, &[0.3, -1.2, 2.0], &Target::Word(1, false));
        assert!(task.loss(&[0.0; 3], &Target::Unknown).is_nan());
    }

    #[test]
    fn metrics_equal_those_of_seqeval() {
        for case in metric_references("tokens") {
            let texts = |key: &str| -> Vec<Vec<String>> { serde_json::from_value(case[key].clone()).unwrap() };
            let (labels, predicted) = (texts("labels"), texts("predicted"));
            let tags: BTreeSet<&String> = labels.iter().chain(&predicted).flatten().collect();
            let task = Tokens { tags: tags.into_iter().cloned().collect() };
            let number = |tag: &String| task.tags.iter().position(|other| other == tag).unwrap() as u32;
            let words = |text: &Vec<String>| -> Vec<Target> {
                text.iter().enumerate().map(|(place, tag)| Target::Word(number(tag), place == 0)).collect()
            };
            let targets: Vec<Target> = labels.iter().flat_map(words).collect();
            let one_hot = |tag: &String| {
                let mut row = vec![0.0; task.tags.len()];
                row[number(tag) as usize] = 1.0;
                row
            };
            let rows: Vec<Vec<f32>> = predicted.iter().flatten().map(one_hot).collect();
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let metrics = [Metric::EntityPrecision, Metric::EntityRecall, Metric::EntityF1, Metric::TokenAccuracy];
            check_scores(&task.evaluate(&rows, &targets.iter().collect::<Vec<_>>()), &metrics, &case);
        }
    }

    #[test]
    fn chance_is_the_entropy_of_the_tags() {
        let task = Tokens { tags: ["B-X", "O"].map(str::to_owned).into() };
        let targets = [Target::Word(1, true), Target::Word(0, false)];
        assert!((task.chance(&targets).unwrap() - 2f64.ln()).abs() < 1e-12);
        assert_eq!(task.chance(&targets[..1]), None);
    }

    #[test]
    fn tags_are_read_at_spaces() {
        let numbers = BTreeMap::from([("B-X", 0), ("O", 1)]);
        assert_eq!(read(" O  B-X O", &numbers), Ok(Target::Tags(vec![1, 0, 1])));
        assert!(read("O B-Y", &numbers).unwrap_err().contains("the label `B-Y` does not occur"));
    }
}
