//! The least loss that the inputs of a split allow. A model gives equal inputs the same answer, so rows
//! with equal inputs and different labels bound its mean cross-entropy. The numbers are exact: sums over groups of equal inputs.

use super::dataset::Split;
use super::example::Example;
use crate::trial::InputFloors;

/// The first bytes of a hash. Equal ones stand for equal inputs.
type InputKey = [u8; 16];

/// The floors of a split, in nats.
pub(super) fn input_floors(split: &Split) -> InputFloors {
    let text_key = |lowercase: bool| {
        move |index: usize| {
            let (text, pair, choices) = split.examples[index].content();
            let written = |text: &str| if lowercase { text.to_lowercase() } else { text.to_owned() };
            let pair = pair.map(&written);
            let choices: Vec<String> = choices.iter().map(|choice| written(choice)).collect();
            let start = [written(text), u8::from(pair.is_some()).to_string(), pair.unwrap_or_default()];
            key(&start.iter().chain(&choices).map(String::as_bytes).collect::<Vec<_>>())
        }
    };
    let ids = |index: usize| {
        let (ids, types) = split.tokens.get(index);
        key(&[&bytes(ids), types])
    };
    let bag = |index: usize| {
        let mut ids = split.tokens.get(index).0.to_vec();
        ids.sort_unstable();
        key(&[&bytes(&ids)])
    };
    InputFloors {
        prior: floor(&split.examples, |_| InputKey::default()),
        texts: floor(&split.examples, text_key(false)),
        lowercase: floor(&split.examples, text_key(true)),
        ids: floor(&split.examples, ids),
        bags: floor(&split.examples, bag),
    }
}

/// Sum over groups of equal keys of `n_g / N H(labels in the group)`, in nats.
fn floor(examples: &[Example], key: impl Fn(usize) -> InputKey) -> f64 {
    let mut rows: Vec<(InputKey, u32)> =
        examples.iter().enumerate().map(|(index, example)| (key(index), example.target.stratum())).collect();
    rows.sort_unstable();
    let mut sum = 0.0;
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        for label in group.chunk_by(|a, b| a.1 == b.1) {
            sum += label.len() as f64 * (group.len() as f64 / label.len() as f64).ln();
        }
    }
    sum / examples.len().max(1) as f64
}

fn key(parts: &[&[u8]]) -> InputKey {
    let mut hash = blake3::Hasher::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let mut key = InputKey::default();
    key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    key
}

fn bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::Tokens;
    use crate::train::tasks::Target;

    /// A split of texts, each with its label and its token ids.
    fn split(rows: &[(&str, u32, &[u32])]) -> Split {
        let mut offsets = vec![0];
        let ids: Vec<u32> = rows.iter().flat_map(|(_, _, ids)| ids.iter().copied()).collect();
        for (_, _, ids) in rows {
            offsets.push(offsets.last().unwrap() + ids.len() as u32);
        }
        let types = vec![0; ids.len()];
        let examples = rows
            .iter()
            .map(|&(text, label, _)| Example { target: Target::Class(label), ..Example::unlabelled(text) })
            .collect();
        Split { examples, tokens: Tokens::whole(ids, types, offsets), ..Split::default() }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn each_view_of_the_input_has_its_floor() {
        // Four rows in two classes. Rows 1 and 2 differ in capitals, rows 3 and 4 in the order of words.
        let rows: [(&str, u32, &[u32]); 4] =
            [("see PAUL", 0, &[1, 5]), ("see paul", 1, &[1, 5]), ("a b", 0, &[7, 8]), ("b a", 1, &[8, 7])];
        let floors = input_floors(&split(&rows));
        let ln2 = std::f64::consts::LN_2;
        assert!(near(floors.prior, ln2) && near(floors.texts, 0.0), "{floors:?}");
        // Half of the rows stand in one group with both labels: 2 / 4 ln 2.
        assert!(near(floors.lowercase, ln2 / 2.0) && near(floors.ids, ln2 / 2.0), "{floors:?}");
        assert!(near(floors.bags, ln2), "{floors:?}");
    }

    #[test]
    fn equal_texts_with_different_labels_bound_every_floor() {
        // A group of three rows with labels 0, 0, 1, and one row alone.
        let rows: [(&str, u32, &[u32]); 4] = [("x", 0, &[1]), ("x ", 0, &[1]), ("x", 1, &[1]), ("y", 1, &[2])];
        let floors = input_floors(&split(&rows));
        let expected = (2.0 * 1.5_f64.ln() + 3.0_f64.ln()) / 4.0;
        let all = [floors.texts, floors.lowercase, floors.ids, floors.bags];
        assert!(all.iter().all(|floor| near(*floor, expected)), "{floors:?}");
        assert!(near(input_floors(&Split::default()).prior, 0.0));
    }

    /// Token types are part of what the model gets.
    #[test]
    fn types_tell_inputs_apart() {
        let mut pair = split(&[("a", 0, &[1, 2]), ("b", 1, &[1, 2])]);
        assert!(near(input_floors(&pair).ids, std::f64::consts::LN_2));
        pair.tokens.types = vec![0, 0, 0, 1];
        assert!(near(input_floors(&pair).ids, 0.0));
    }
}
