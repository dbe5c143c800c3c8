//! Chooses the class order, the rows that are held out, and the batches of an epoch. Pure functions of names, counts and
//! seeds.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::{Purpose, Random};

/// The class order of label names. It is the order of the checkpoint's `label2id` if that has the same names. Otherwise
/// names are sorted: by value if all are whole numbers, else as text.
pub(super) fn class_order(names: &BTreeSet<&str>, label2id: Option<&BTreeMap<String, u32>>) -> Vec<String> {
    let mut order: Vec<&str> = names.iter().copied().collect();
    let known = label2id.filter(|map| {
        let places: BTreeSet<u32> = map.values().copied().collect();
        map.len() == names.len()
            && map.keys().all(|name| names.contains(name.as_str()))
            && places.into_iter().eq(0..names.len() as u32)
    });
    if let Some(map) = known {
        order.sort_by_key(|name| map[*name]);
    } else if let Ok(numbers) = order.iter().map(|name| name.parse::<i64>()).collect::<Result<Vec<_>, _>>() {
        let mut both: Vec<_> = numbers.into_iter().zip(order).collect();
        both.sort_unstable();
        order = both.into_iter().map(|(_, name)| name).collect();
    }
    order.into_iter().map(str::to_owned).collect()
}

/// Splits rows, given by their labels, into training and evaluation indices, both in file order.
///
/// `round(rows * fraction)` rows of each label are held out, but at least one row and not all. A label with one row keeps
/// it for training. The choice depends only on `seed` and on the index of a row, not on the names or the order of labels.
pub(super) fn hold_out<L: Ord>(labels: &[L], fraction: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let random = Random::new(seed, Purpose::Split);
    let mut classes: BTreeMap<&L, Vec<u32>> = BTreeMap::new();
    for (row, label) in (0..).zip(labels) {
        classes.entry(label).or_default().push(row);
    }
    let mut held = vec![false; labels.len()];
    for rows in classes.values_mut().filter(|rows| rows.len() >= 2) {
        let wanted = (rows.len() as f64 * fraction).round() as usize;
        let wanted = wanted.clamp(1, rows.len() - 1);
        rows.sort_by_cached_key(|&row| (random.words(u64::from(row)), row));
        rows[..wanted].iter().for_each(|&row| held[row as usize] = true);
    }
    (0..labels.len() as u32).partition(|&row| !held[row as usize])
}

/// The batches of one epoch: each row once; the last batch may be short. With `shuffle` the order is a function of
/// (seed, epoch). Without it, rows keep the order of the file.
#[must_use]
pub fn batches(seed: u64, epoch: u64, rows: usize, batch_size: usize, shuffle: bool) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    if shuffle {
        Random::new(seed, Purpose::Shuffle).at(epoch).shuffle(&mut order);
    }
    order.chunks(batch_size.max(1)).map(<[u32]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_label_is_held_out_in_its_share(labels in prop::collection::vec(0u8..5, 1..200), fraction in 0.01..0.99, seed: u64) {
            let (train, eval) = hold_out(&labels, fraction, seed);
            prop_assert!(train.is_sorted() && eval.is_sorted());
            let mut all = [train.as_slice(), eval.as_slice()].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..labels.len() as u32));
            for label in 0..5 {
                let count = |rows: &[u32]| rows.iter().filter(|&&row| labels[row as usize] == label).count();
                let (train, eval) = (count(&train), count(&eval));
                let rows = train + eval;
                prop_assert!(rows < 2 || (train >= 1 && eval >= 1), "{train} and {eval}");
                prop_assert!(rows != 1 || train == 1);
                prop_assert!((eval as f64 - rows as f64 * fraction).abs() <= 1.0);
            }
            // Other label names give the same rows.
            let renamed: Vec<u8> = labels.iter().map(|label| 9 - label).collect();
            prop_assert_eq!(hold_out(&renamed, fraction, seed), (train, eval));
        }
    }
}
