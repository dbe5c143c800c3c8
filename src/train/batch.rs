//! Micro-batches: how the examples of a batch are split into packed pieces, the unit of memory and of parallelism.
//!
//! The split depends only on the batch, never on the number of threads, so sums over micro-batches have one order.

use std::ops::Range;

use super::data::Tokens;
use super::tasks::{Target, Task};
use plateau_random::Random;

/// Whole sequences, packed without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch {
    pub ids: Vec<u32>,
    pub types: Vec<u32>,
    /// Position of each token in its sequence, from 0. If tokens were removed, their positions are missing.
    pub positions: Vec<u32>,
    /// Sequence s has the tokens `offsets[s]..offsets[s + 1]`.
    pub offsets: Vec<u32>,
    /// The tokens with an output, in ascending order. None: the first of each sequence.
    pub outputs: Option<Vec<u32>>,
    /// One for each output, or for each question's choices.
    pub targets: Vec<Target>,
    /// Index of each sequence in its batch. Dropout masks depend on it.
    pub places: Vec<u32>,
    /// How the sequences are mixed in training. None without mixup.
    pub mix: Option<Mix>,
    /// The output of the frozen part of the model for these tokens ([`super::frozen`]). None if it must be computed.
    pub frozen: Option<Vec<f32>>,
}

/// Mixup (Zhang et al. 2018) of a micro-batch: the pooled output of sequence i becomes `shares[i]` times its own plus
/// `1 - shares[i]` times its partner's. Its loss is the sum of both labels' losses with the same weights. Partners are a
/// permutation within the micro-batch, so micro-batches are independent.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    pub partners: Vec<u32>,
    /// Each is drawn from Beta(alpha, alpha).
    pub shares: Vec<f64>,
}

impl Mix {
    /// Draws partners and shares for the sequences at `places` of their batch. `random` depends on seed and step.
    pub fn draw(random: Random, places: &[u32], alpha: f64) -> Self {
        let mut partners: Vec<u32> = (0..places.len() as u32).collect();
        random.at(0).at(places.first().copied().unwrap_or(0).into()).shuffle(&mut partners);
        Self { partners, shares: places.iter().map(|&place| random.at(1).beta(place.into(), alpha)).collect() }
    }

    /// Mixes rows of `width` elements, one row for each sequence.
    pub fn forward(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut mixed = Vec::with_capacity(rows.len());
        for (row, (&partner, &share)) in rows.chunks_exact(width).zip(self.partners.iter().zip(&self.shares)) {
            let other = &rows[partner as usize * width..][..width];
            let share = share as f32;
            mixed.extend(row.iter().zip(other).map(|(x, y)| share * x + (1.0 - share) * y));
        }
        mixed
    }

    /// The gradient of the rows from the gradient of the mixed rows.
    pub fn backward(&self, gradient: &[f32], width: usize) -> Vec<f32> {
        let mut rows = vec![0.0; gradient.len()];
        let mut add = |row: usize, share: f32, values: &[f32]| {
            rows[row * width..][..width].iter_mut().zip(values).for_each(|(sum, x)| *sum += share * x);
        };
        for (row, values) in gradient.chunks_exact(width).enumerate() {
            let share = self.shares[row] as f32;
            add(row, share, values);
            add(self.partners[row] as usize, 1.0 - share, values);
        }
        rows
    }
}

impl MicroBatch {
    /// Packs `examples`, which are indices into `tokens`. The first of their sequences has index `place` in its batch.
    pub fn pack(tokens: &Tokens, examples: &[u32], targets: impl Fn(u32) -> Target, place: usize) -> Self {
        let mut packed = Self {
            ids: Vec::new(),
            types: Vec::new(),
            positions: Vec::new(),
            offsets: vec![0],
            outputs: (!tokens.outputs.is_empty()).then(Vec::new),
            targets: Vec::new(),
            places: Vec::new(),
            mix: None,
            frozen: None,
        };
        for &example in examples {
            let span = span(tokens, example);
            let start = packed.ids.len();
            let target = targets(example);
            match &mut packed.outputs {
                None if matches!(target, Target::Choice(_)) => packed.targets.push(target),
                None => packed.targets.resize(packed.targets.len() + tokens.row_count(example as usize), target),
                Some(outputs) => {
                    let rows = tokens.outputs_of(example as usize);
                    outputs.extend(rows.map(|(token, _)| (start + token as usize - span.start) as u32));
                    packed.targets.extend(tokens.targets_of(example as usize, &target));
                }
            }
            packed.positions.extend_from_slice(&tokens.positions[span.clone()]);
            packed.ids.extend_from_slice(&tokens.ids[span.clone()]);
            packed.types.extend(tokens.types[span.clone()].iter().copied().map(u32::from));
            packed
                .offsets
                .extend(tokens.sequences(example as usize).map(|sequence| (start + sequence.end - span.start) as u32));
        }
        packed.places = (place as u32..).take(packed.sequences()).collect();
        packed
    }

    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The tokens with an output. A head that pools all tokens of a sequence has one output for it as well.
    pub fn rows(&self) -> &[u32] {
        self.outputs.as_deref().unwrap_or(&self.offsets[..self.sequences()])
    }

    /// Sequence s has the outputs `row_offsets[s]..row_offsets[s + 1]`.
    pub fn row_offsets(&self) -> Vec<u32> {
        match &self.outputs {
            Some(rows) => self.offsets.iter().map(|offset| rows.partition_point(|row| row < offset) as u32).collect(),
            None => (0..=self.sequences() as u32).collect(),
        }
    }

    /// The targets in the loss of output `index`, each with its share. Only outputs of whole sequences are mixed.
    pub fn shared_targets(&self, index: usize) -> impl Iterator<Item = (&Target, f64)> {
        let own = &self.targets[index];
        let (share, other) = match &self.mix {
            None => (1.0, None),
            Some(mix) => {
                let share = mix.shares[index];
                (share, Some((&self.targets[mix.partners[index] as usize], 1.0 - share)))
            }
        };
        std::iter::once((own, share)).chain(other)
    }

    /// The sum of the outputs' weights in the mean loss.
    pub fn weight(&self, task: &dyn Task) -> f64 {
        let of = |index| self.shared_targets(index).map(|(target, share)| share * task.weight(target)).sum::<f64>();
        (0..self.targets.len()).map(of).sum()
    }
}

/// Splits `examples` in their order into pieces of at most `limit` tokens each. A longer example is a piece of its own.
pub fn pieces(examples: &[u32], tokens: &Tokens, limit: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for (i, &example) in examples.iter().enumerate() {
        let n = length(tokens, example);
        if i > first && sum + n > limit {
            pieces.push(first..i);
            (first, sum) = (i, 0);
        }
        sum += n;
    }
    if first < examples.len() {
        pieces.push(first..examples.len());
    }
    pieces
}

/// The range of `example` in `tokens`.
pub fn span(tokens: &Tokens, example: u32) -> Range<usize> {
    tokens.offsets[example as usize] as usize..tokens.offsets[example as usize + 1] as usize
}

/// Number of tokens of `example`.
pub fn length(tokens: &Tokens, example: u32) -> usize {
    span(tokens, example).len()
}

/// Splits a batch of sequences with these lengths into `parts` pieces of about equal numbers of sequences. Splits each of
/// those into pieces of about equal numbers of tokens, at most about `limit` each.
pub fn split(lengths: &[usize], parts: usize, limit: usize) -> Vec<Range<usize>> {
    let size = lengths.len().div_ceil(parts.max(1)).max(1);
    let mut pieces = Vec::new();
    for start in (0..lengths.len()).step_by(size) {
        let part = &lengths[start..lengths.len().min(start + size)];
        let tokens: usize = part.iter().sum();
        let wanted = tokens.div_ceil(limit.max(1)).max(1);
        let (mut first, mut seen, mut done) = (start, 0, 1);
        for (i, length) in part.iter().enumerate() {
            // A sequence belongs to the piece that contains its middle.
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

/// Joins each piece with a single sequence to the piece before it, or the first piece to the one after it. So every sequence
/// has a partner for mixup if its batch has two sequences.
pub fn paired(pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if piece.len() == 1 || last.len() == 1 => last.end = piece.end,
            _ => joined.push(piece),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial::MICRO_BATCH_TOKENS;

    proptest! {
        #[test]
        fn pieces_cover_the_batch_in_order_and_have_bounded_size(
            lengths in prop::collection::vec(1usize..300, 1..80), parts in 1usize..5, micro_batch_splits in 0..3,
        ) {
            let limit = MICRO_BATCH_TOKENS >> micro_batch_splits;
            let pieces = split(&lengths, parts, limit);
            let covered: Vec<usize> = pieces.iter().flat_map(Clone::clone).collect();
            prop_assert_eq!(covered, (0..lengths.len()).collect::<Vec<_>>());
            for piece in pieces {
                prop_assert!(!piece.is_empty());
                prop_assert!(lengths[piece].iter().sum::<usize>() <= limit + 300);
            }
        }
    }

    #[test]
    fn every_sequence_has_a_partner_for_mixup() {
        // Both slices are the ends of pieces.
        let check = |pieces: &[usize], expected: &[usize]| {
            let starts = std::iter::once(&0).chain(pieces);
            let joined = paired(starts.zip(pieces).map(|(start, end)| *start..*end).collect());
            assert!(joined.iter().map(|piece| piece.end).eq(expected.iter().copied()), "{joined:?}");
        };
        check(&[4, 8], &[4, 8]);
        check(&[1, 4, 5, 6], &[6]);
        check(&[3, 4, 7], &[4, 7]);
        check(&[1, 2, 3, 4], &[4]);
        check(&[1], &[1]);
    }

    #[test]
    fn mixing_is_a_function_of_seed_step_and_place() {
        let random = |step| Random::new(1, plateau_random::Purpose::Mixup).at(step);
        let mix = Mix::draw(random(0), &[3, 4, 5, 6], 0.2);
        assert_eq!(mix, Mix::draw(random(0), &[3, 4, 5, 6], 0.2));
        assert_ne!(mix.shares, Mix::draw(random(1), &[3, 4, 5, 6], 0.2).shares);
        assert_eq!(mix.shares[2..], Mix::draw(random(0), &[5, 6], 0.2).shares);
        let mut partners = mix.partners.clone();
        partners.sort_unstable();
        assert_eq!(partners, [0, 1, 2, 3]);
    }

    #[test]
    fn the_gradient_of_a_mix_is_its_transpose() {
        let mix = Mix { partners: vec![1, 2, 0], shares: vec![0.25, 1.0, 0.5] };
        assert_eq!(mix.forward(&[4.0, 8.0, 16.0], 1), [7.0, 8.0, 10.0]);
        assert_eq!(mix.backward(&[1.0, 0.0, 0.0], 1), [0.25, 0.75, 0.0]);
        assert_eq!(mix.backward(&[0.0, 1.0, 1.0], 1), [0.5, 1.0, 0.5]);
    }

    #[test]
    fn packing_keeps_order_places_and_positions() {
        let tokens = Tokens::whole(vec![1, 2, 3, 4, 5], vec![0, 1, 0, 0, 1], vec![0, 2, 5]);
        let packed = MicroBatch::pack(&tokens, &[1, 0], |example| Target::Class(example + 10), 4);
        assert_eq!(packed.ids, [3, 4, 5, 1, 2]);
        assert_eq!(packed.types, [0, 0, 1, 0, 1]);
        assert_eq!(packed.positions, [0, 1, 2, 0, 1]);
        assert_eq!(packed.targets, [11, 10].map(Target::Class));
        assert_eq!((packed.offsets, packed.places), (vec![0, 3, 5], vec![4, 5]));
    }
}
