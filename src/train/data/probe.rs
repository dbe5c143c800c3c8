//! The data of a probe: blank texts, or a single batch.

use std::collections::BTreeMap;

use super::dataset::{Dataset, Split};
use super::split::batches;
use super::tokens::Tokens;
use crate::trial::{Probe, ProbeKind};

impl Dataset {
    /// The data that a trial with this probe and seed trains on.
    #[must_use]
    pub fn of_probe(self, probe: Option<&Probe>, seed: u64) -> Self {
        match probe.map(|probe| probe.kind) {
            Some(ProbeKind::Blank) => {
                let blank = |split: Split| Split { tokens: first_and_last(&split.tokens), ..split };
                Self { train: blank(self.train), eval: blank(self.eval), ..self }
            }
            Some(kind) if kind.is_one_batch() => {
                let batch = self.train.select(&one_batch(&self.train, seed));
                Self { train: batch.clone(), eval: batch, ..self }
            }
            _ => self,
        }
    }
}

/// The first and the last token of every example: `[CLS]` and `[SEP]`. If words have outputs, their tokens stay, and each becomes
/// the last one.
fn first_and_last(tokens: &Tokens) -> Tokens {
    if !tokens.outputs.is_empty() {
        let mut blank = tokens.clone();
        for bounds in tokens.offsets.windows(2) {
            let (first, end) = (bounds[0] as usize, bounds[1] as usize);
            let last = tokens.ids[end - 1];
            blank.ids[(first + 1).min(end)..end].fill(last);
        }
        return blank;
    }
    let mut ends = Tokens::default();
    for bounds in tokens.offsets.windows(2) {
        let (first, last) = (bounds[0] as usize, (bounds[1] as usize).saturating_sub(1));
        let both = if first < last { vec![first, last] } else { vec![first] };
        ends.ids.extend(both.iter().map(|&at| tokens.ids[at]));
        ends.types.extend(both.iter().map(|_| 0));
        ends.positions.extend(0..both.len() as u32);
        ends.offsets.push(ends.ids.len() as u32);
    }
    ends
}

/// The rows of [`Probe::EXAMPLES`] examples. Classes take turns while they have rows, so that guessing the most frequent
/// class is not enough.
fn one_batch(train: &Split, seed: u64) -> Vec<u32> {
    let rows = train.examples.len();
    let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in batches(seed, 0, rows, rows, true).into_iter().flatten() {
        classes.entry(train.examples[row as usize].target.stratum()).or_default().push(row);
    }
    let longest = classes.values().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|turn| classes.values().filter_map(move |rows| rows.get(turn).copied()));
    let mut chosen: Vec<u32> = in_turn.take(Probe::EXAMPLES).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::Example;
    use crate::train::tasks::Target;

    fn dataset() -> Dataset {
        let label = |i: u32| u32::from(i.is_multiple_of(10));
        let examples = (0..100)
            .map(|i| Example { target: Target::Class(label(i)), ..Example::unlabelled(i.to_string()) })
            .collect();
        // Example i is [CLS], i + 10, [SEP].
        let ids = (0..100).flat_map(|i| [1, i + 10, 2]).collect();
        let tokens = Tokens::whole(ids, vec![0; 300], (0..=100).map(|i| i * 3).collect());
        let train = Split { examples, tokens, ..Split::default() };
        Dataset {
            labels: vec!["a".into(), "b".into()],
            class_prior: vec![0.9, 0.1],
            eval: train.clone(),
            train,
            vocabulary: 0,
        }
    }

    fn probe(kind: ProbeKind) -> Probe {
        Probe { trial: crate::trial::TrialId::parse("0123456789ab").unwrap(), step: 3, kind }
    }

    #[test]
    fn one_batch_has_all_classes_and_is_its_own_evaluation_set() {
        let data = dataset().of_probe(Some(&probe(ProbeKind::OneBatch)), 1);
        assert_eq!((data.train.examples.len(), &data.train), (Probe::EXAMPLES, &data.eval));
        assert_eq!(data.train.prior(2), [0.5, 0.5]);
        for (example, bounds) in data.train.examples.iter().zip(data.train.tokens.offsets.windows(2)) {
            let id = data.train.tokens.ids[bounds[0] as usize + 1];
            assert_eq!(example.text, (id - 10).to_string(), "tokens go with their example");
        }
        let other = dataset().of_probe(Some(&probe(ProbeKind::OneBatch)), 2);
        assert_ne!(other.train, data.train);
    }

    #[test]
    fn blank_texts_keep_their_labels_and_nothing_else() {
        let data = dataset().of_probe(Some(&probe(ProbeKind::Blank)), 1);
        assert_eq!(data.train.examples, dataset().train.examples);
        assert_eq!(data.train.tokens.ids, [1, 2].repeat(100));
        assert_eq!(data.train.tokens.positions, [0, 1].repeat(100));
        assert_eq!(dataset().of_probe(Some(&probe(ProbeKind::LrUp)), 1), dataset());
        assert_eq!(dataset().of_probe(None, 1), dataset());
    }
}
