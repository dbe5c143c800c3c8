//! Chooses the class order, the rows that are held out, and the batches of an epoch. Pure functions of names, counts and
//! seeds.

use std::collections::{BTreeMap, BTreeSet};

use plateau_random::{Purpose, Random};

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

/// Separate the draws of [`hold_out`].
pub(super) const EVAL_SPLIT: Option<u64> = None;
pub(super) const TEST_SPLIT: Option<u64> = Some(3);
const FOLDS: u64 = 4;

/// Splits rows, given by their labels, into training and evaluation indices, both in file order.
///
/// `round(rows * fraction)` rows of each label are held out, but at least one row and not all. A label with one row keeps
/// it for training. The choice depends only on `seed`, on `stream` and on the index of a row, not on the names or the order of labels.
pub(super) fn hold_out<L: Ord>(labels: &[L], fraction: f64, seed: u64, stream: Option<u64>) -> (Vec<u32>, Vec<u32>) {
    let random = Random::new(seed, Purpose::Split);
    let random = stream.map_or(random, |stream| random.at(stream));
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

/// Divides rows, given by their labels, into `folds` folds of equal size, up to one row. Returns the rows outside of the fold
/// number `fold`, from 1, and those in it, both in file order.
///
/// Each row is in exactly one fold. Every label has the same number of rows in each fold, up to one. The choice depends on
/// `seed`.
pub(super) fn fold_rows(labels: &[u32], (fold, folds): (usize, usize), seed: u64) -> (Vec<u32>, Vec<u32>) {
    let random = Random::new(seed, Purpose::Split).at(FOLDS);
    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    order.sort_by_cached_key(|&row| (labels[row as usize], random.words(u64::from(row)), row));
    let mut held = vec![false; labels.len()];
    // Dealt in turn: a label begins where the one before has ended.
    order.iter().skip(fold - 1).step_by(folds).for_each(|&row| held[row as usize] = true);
    (0..labels.len() as u32).partition(|&row| !held[row as usize])
}

/// Draws `limit` rows, given by their labels, in file order. Every label keeps its share, and at least one row if there are
/// as many rows as labels. The choice depends on `seed` and on `stream`, which separates the draws of the two splits.
pub(super) fn draw_rows(labels: &[u32], limit: usize, seed: u64, stream: u64) -> Vec<u32> {
    if limit >= labels.len() {
        return (0..labels.len() as u32).collect();
    }
    let random = Random::new(seed, Purpose::Split).at(stream);
    let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, &label) in (0..).zip(labels) {
        classes.entry(label).or_default().push(row);
    }
    let sizes: Vec<usize> = classes.values().map(Vec::len).collect();
    let mut chosen = Vec::with_capacity(limit);
    for (rows, quota) in classes.values_mut().zip(quotas(&sizes, limit)) {
        rows.sort_by_cached_key(|&row| (random.words(u64::from(row)), row));
        chosen.extend_from_slice(&rows[..quota]);
    }
    chosen.sort_unstable();
    chosen
}

/// Divides `limit` among classes in proportion to their sizes (largest remainders), at least one each if possible.
fn quotas(sizes: &[usize], limit: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let least = usize::from(limit >= sizes.len());
    let share = |size: usize| limit as u128 * size as u128;
    let mut quotas: Vec<usize> =
        sizes.iter().map(|&size| ((share(size) / total as u128) as usize).max(least).min(size)).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&class| (std::cmp::Reverse(share(sizes[class]) % total as u128), class));
    while quotas.iter().sum::<usize>() < limit {
        let Some(&class) = order.iter().find(|&&class| {
            let wanted = share(sizes[class]).div_ceil(total as u128) as usize;
            quotas[class] < wanted.min(sizes[class])
        }) else {
            break;
        };
        quotas[class] += 1;
    }
    while quotas.iter().sum::<usize>() > limit {
        let Some(class) = (0..quotas.len()).max_by_key(|&class| (quotas[class], std::cmp::Reverse(class))) else {
            break;
        };
        quotas[class] -= 1;
    }
    quotas
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
        fn a_limit_keeps_the_share_of_every_label(labels in prop::collection::vec(0u32..5, 1..200), limit in 1usize..200, seed: u64) {
            let rows = draw_rows(&labels, limit, seed, 1);
            prop_assert_eq!(rows.len(), limit.min(labels.len()));
            prop_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
            let classes = labels.iter().collect::<BTreeSet<_>>().len();
            for label in 0..5 {
                let count = |rows: &mut dyn Iterator<Item = u32>| rows.filter(|&other| other == label).count();
                let all = count(&mut labels.iter().copied());
                let drawn = count(&mut rows.iter().map(|&row| labels[row as usize]));
                let expected = all as f64 * rows.len() as f64 / labels.len() as f64;
                prop_assert!(all == 0 || limit < classes || drawn >= 1);
                // Classes that are raised to one row take rows from the largest class.
                prop_assert!((drawn as f64 - expected).abs() <= classes as f64, "{drawn} for {expected}");
            }
        }

        #[test]
        fn every_row_is_in_one_fold(labels in prop::collection::vec(0u32..4, 1..150), folds in 2usize..12, seed: u64) {
            let mut all = Vec::new();
            let share = |rows: usize| rows / folds..=rows.div_ceil(folds);
            for fold in 1..=folds {
                let (rest, held) = fold_rows(&labels, (fold, folds), seed);
                prop_assert!(share(labels.len()).contains(&held.len()) && rest.len() + held.len() == labels.len());
                for label in 0..4 {
                    let count = |rows: &mut dyn Iterator<Item = u32>| rows.filter(|&other| other == label).count();
                    let held = count(&mut held.iter().map(|&row| labels[row as usize]));
                    prop_assert!(share(count(&mut labels.iter().copied())).contains(&held));
                }
                all.extend(held);
            }
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..labels.len() as u32));
        }

        #[test]
        fn every_label_is_held_out_in_its_share(labels in prop::collection::vec(0u8..5, 1..200), fraction in 0.01..0.99, seed: u64) {
            let (train, eval) = hold_out(&labels, fraction, seed, EVAL_SPLIT);
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
            prop_assert_eq!(hold_out(&renamed, fraction, seed, EVAL_SPLIT), (train, eval));
        }
    }
}
