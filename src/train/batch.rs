//! Batches and micro-batches: which examples a step reads, and how they are cut into packed pieces that are the unit of
//! memory and of parallelism.
//!
//! The cut depends on the batch alone, never on the number of threads, so sums over pieces have one order.

use std::ops::Range;

use super::data::Tokens;

/// Tokens that a micro-batch aims at: enough for the matrix products to run at full speed, little enough that its
/// activations stay small.
pub const MICRO_BATCH_TOKENS: usize = 512;

/// Whole sequences, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    pub ids: Vec<u32>,
    pub types: Vec<u32>,
    /// Place of each token in its sequence.
    pub positions: Vec<u32>,
    /// Sequence s owns tokens `offsets[s]..offsets[s + 1]`.
    pub offsets: Vec<u32>,
    pub labels: Vec<u32>,
    /// Place of each sequence in its batch; dropout masks hang on it.
    pub places: Vec<u32>,
}

impl MicroBatch {
    /// Packs `examples` (indices into `tokens`, with labels); the first of them stands at `place` of its batch.
    pub fn pack(tokens: &Tokens, examples: &[u32], labels: impl Fn(u32) -> u32, place: usize) -> Self {
        let mut packed = Self {
            ids: Vec::new(),
            types: Vec::new(),
            positions: Vec::new(),
            offsets: vec![0],
            labels: examples.iter().map(|&example| labels(example)).collect(),
            places: (place..place + examples.len()).map(|place| place as u32).collect(),
        };
        for &example in examples {
            let span = span(tokens, example);
            packed.positions.extend(0..span.len() as u32);
            packed.ids.extend_from_slice(&tokens.ids[span.clone()]);
            packed.types.extend(tokens.types[span].iter().copied().map(u32::from));
            packed.offsets.push(packed.ids.len() as u32);
        }
        packed
    }

    pub fn sequences(&self) -> usize {
        self.labels.len()
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }
}

/// Where `example` lies in `tokens`.
pub fn span(tokens: &Tokens, example: u32) -> Range<usize> {
    tokens.offsets[example as usize] as usize..tokens.offsets[example as usize + 1] as usize
}

/// Tokens of `example`.
pub fn length(tokens: &Tokens, example: u32) -> usize {
    span(tokens, example).len()
}

/// Cuts a batch of sequences of these lengths into `parts` pieces of about equal count, and each of those into pieces of
/// about equal tokens, at most about [`MICRO_BATCH_TOKENS`] each.
pub fn split(lengths: &[usize], parts: usize) -> Vec<Range<usize>> {
    let size = lengths.len().div_ceil(parts.max(1)).max(1);
    let mut pieces = Vec::new();
    for start in (0..lengths.len()).step_by(size) {
        let part = &lengths[start..lengths.len().min(start + size)];
        let tokens: usize = part.iter().sum();
        let wanted = tokens.div_ceil(MICRO_BATCH_TOKENS).max(1);
        let (mut first, mut seen, mut done) = (start, 0, 1);
        for (i, length) in part.iter().enumerate() {
            // A sequence belongs to the piece that holds its middle.
            let middle = seen + length / 2;
            if start + i > first && middle * wanted >= done * tokens {
                pieces.push(first..start + i);
                first = start + i;
                done = middle * wanted / tokens + 1;
            }
            seen += length;
        }
        pieces.push(first..start + part.len());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_cover_the_batch_in_order_and_are_of_bounded_size(
            lengths in prop::collection::vec(1usize..300, 1..80), parts in 1usize..5,
        ) {
            let pieces = split(&lengths, parts);
            let covered: Vec<usize> = pieces.iter().flat_map(Clone::clone).collect();
            prop_assert_eq!(covered, (0..lengths.len()).collect::<Vec<_>>());
            for piece in pieces {
                prop_assert!(!piece.is_empty());
                prop_assert!(lengths[piece].iter().sum::<usize>() <= MICRO_BATCH_TOKENS + 300);
            }
        }
    }

    #[test]
    fn packing_keeps_order_places_and_positions() {
        let tokens = Tokens { ids: vec![1, 2, 3, 4, 5], types: vec![0, 1, 0, 0, 1], offsets: vec![0, 2, 5] };
        let packed = MicroBatch::pack(&tokens, &[1, 0], |example| example + 10, 4);
        assert_eq!(packed.ids, [3, 4, 5, 1, 2]);
        assert_eq!(packed.types, [0, 0, 1, 0, 1]);
        assert_eq!(packed.positions, [0, 1, 2, 0, 1]);
        assert_eq!((packed.offsets, packed.labels, packed.places), (vec![0, 3, 5], vec![11, 10], vec![4, 5]));
    }
}
