//! Token ids of many examples without padding, and their form in the cache.

use std::ops::Range;

use crate::train::tasks::Target;

/// Token ids of many examples, one after another without padding. Example i has the range `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// With `[CLS]` and `[SEP]`.
    pub ids: Vec<u32>,
    /// 0 for the first sentence, 1 for the second; as long as `ids`.
    pub types: Vec<u8>,
    /// Position of each token in its example. A token that was left out leaves a gap. As long as `ids`.
    pub positions: Vec<u32>,
    /// Starts with 0 and has one entry more than there are examples.
    pub offsets: Vec<u32>,
    /// What the output of each token predicts: the tag of the word with this index in its text, the token with this id that a mask
    /// hides, or nothing ([`NO_OUTPUT`]). Empty: there is one output for an example.
    pub outputs: Vec<u32>,
    /// The first token of each sequence of an example but its first one: of the windows of a long text, or of the choices of a
    /// question. In ascending order. Empty: each example is one sequence.
    pub breaks: Vec<u32>,
}

/// A token without an output, such as each token of a word but the first.
pub const NO_OUTPUT: u32 = u32::MAX;

impl Default for Tokens {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            types: Vec::new(),
            positions: Vec::new(),
            offsets: vec![0],
            outputs: Vec::new(),
            breaks: Vec::new(),
        }
    }
}

impl Tokens {
    /// Complete examples of one sequence, without gaps.
    #[must_use]
    pub fn whole(ids: Vec<u32>, types: Vec<u8>, offsets: Vec<u32>) -> Self {
        Self { ids, types, offsets, ..Self::default() }.with_positions()
    }

    /// Positions without gaps.
    fn with_positions(self) -> Self {
        let lengths = (0..self.len()).flat_map(|example| self.sequences(example)).map(|sequence| sequence.len() as u32);
        let positions = lengths.flat_map(|length| 0..length).collect();
        Self { positions, ..self }
    }

    /// The tokens of each sequence of example `index`.
    pub fn sequences(&self, index: usize) -> impl Iterator<Item = Range<usize>> {
        let (start, end) = (self.offsets[index], self.offsets[index + 1]);
        let first = self.breaks.partition_point(|token| *token <= start);
        let inner = self.breaks[first..].iter().copied().take_while(move |token| *token < end);
        let starts = std::iter::once(start).chain(inner.clone());
        starts.zip(inner.chain([end])).map(|(start, end)| start as usize..end as usize)
    }

    /// The tokens of example `index` with an output of their own, each with what it predicts.
    pub fn outputs_of(&self, index: usize) -> impl Iterator<Item = (u32, u32)> {
        let all = if self.outputs.is_empty() { 0..0 } else { self.offsets[index]..self.offsets[index + 1] };
        all.map(|token| (token, self.outputs[token as usize])).filter(|(_, output)| *output != NO_OUTPUT)
    }

    /// The targets of example `index`, which has this target: one, or one for each token with an output.
    pub fn targets_of<'a>(&'a self, index: usize, target: &'a Target) -> impl Iterator<Item = Target> + 'a {
        let whole = self.outputs.is_empty().then(|| target.clone());
        let of_output = move |(place, (_, output)): (usize, (u32, u32))| match target {
            Target::Tags(tags) => Target::Word(tags[output as usize], place == 0),
            Target::Masked => Target::Class(output),
            _ => Target::Unknown,
        };
        whole.into_iter().chain(self.outputs_of(index).enumerate().map(of_output))
    }

    /// Rows of the network's output for example `index`.
    #[must_use]
    pub fn row_count(&self, index: usize) -> usize {
        if self.outputs.is_empty() { self.sequences(index).count() } else { self.outputs_of(index).count() }
    }

    /// Number of targets of example `index`.
    #[must_use]
    pub fn target_count(&self, index: usize) -> usize {
        if self.outputs.is_empty() { 1 } else { self.outputs_of(index).count() }
    }

    /// What is appended next is another sequence of the last example.
    pub(super) fn start_sequence(&mut self) {
        let (start, end) = (self.offsets.last().copied().unwrap_or_default(), self.ids.len() as u32);
        if end > start {
            self.breaks.push(end);
        }
    }

    /// What is appended next is another example.
    pub(super) fn end_example(&mut self) {
        self.offsets.push(self.ids.len() as u32);
    }

    /// Appends the examples of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        let start = self.ids.len() as u32;
        self.offsets.extend(other.offsets[1..].iter().map(|end| start + end));
        self.ids.extend_from_slice(&other.ids);
        self.types.extend_from_slice(&other.types);
        self.positions.extend_from_slice(&other.positions);
        self.outputs.extend_from_slice(&other.outputs);
        self.breaks.extend(other.breaks.iter().map(|token| start + token));
    }

    /// The number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids and types of example `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> (&[u32], &[u8]) {
        let range = self.offsets[index] as usize..self.offsets[index + 1] as usize;
        (&self.ids[range.clone()], &self.types[range])
    }

    /// The examples with these indices, in the order of the indices.
    #[must_use]
    pub fn select(&self, indices: &[u32]) -> Self {
        let mut selected = Self::default();
        for &index in indices {
            let range = self.offsets[index as usize] as usize..self.offsets[index as usize + 1] as usize;
            selected.ids.extend_from_slice(&self.ids[range.clone()]);
            selected.types.extend_from_slice(&self.types[range.clone()]);
            selected.positions.extend_from_slice(&self.positions[range.clone()]);
            selected.outputs.extend_from_slice(self.outputs.get(range.clone()).unwrap_or_default());
            let start = selected.offsets.last().copied().unwrap_or_default();
            selected.breaks.extend(
                self.sequences(index as usize).skip(1).map(|sequence| start + (sequence.start - range.start) as u32),
            );
            selected.offsets.push(selected.ids.len() as u32);
        }
        selected
    }

    /// The cache format, for complete examples: a mark, blake3 of the rest, numbers of examples, tokens and breaks, offsets,
    /// breaks, ids (all little-endian u32), types, and outputs if there are any.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(12 + 4 * self.offsets.len() + 5 * self.ids.len());
        let counts = [self.len(), self.ids.len(), self.breaks.len()].map(|count| count as u32);
        for number in counts.iter().chain(&self.offsets).chain(&self.breaks).chain(&self.ids) {
            body.extend_from_slice(&number.to_le_bytes());
        }
        body.extend_from_slice(&self.types);
        body.extend(self.outputs.iter().flat_map(|output| output.to_le_bytes()));
        [MARK, blake3::hash(&body).as_bytes(), &body].concat()
    }

    /// None if the bytes were not written by [`Tokens::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, body) = bytes.strip_prefix(MARK)?.split_first_chunk::<32>()?;
        if blake3::hash(body).as_bytes() != hash {
            return None;
        }
        let (counts, rest) = body.split_at_checked(12)?;
        let counts = numbers(counts);
        let [examples, tokens, breaks] = [counts[0], counts[1], counts[2]].map(|count| count as usize);
        let (offsets, rest) = rest.split_at_checked(4 * (examples + 1))?;
        let (breaks, rest) = rest.split_at_checked(4 * breaks)?;
        let (ids, rest) = rest.split_at_checked(4 * tokens)?;
        let (types, outputs) = rest.split_at_checked(tokens)?;
        let outputs = [0, 4 * tokens].contains(&outputs.len()).then(|| numbers(outputs))?;
        let (ids, types, offsets) = (numbers(ids), types.to_vec(), numbers(offsets));
        Some(Self { ids, types, offsets, outputs, breaks: numbers(breaks), ..Self::default() }.with_positions())
    }
}

const MARK: &[u8] = b"plateau tokens 2\n";

fn numbers(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
