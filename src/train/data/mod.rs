//! Data as the trainer sees it: examples, and their tokens packed.

/// The two splits of a data section, and the classes they share.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Names in class order.
    pub labels: Vec<String>,
    /// Share of each class in `train`.
    pub class_prior: Vec<f64>,
    pub train: Split,
    pub eval: Split,
}

#[derive(Debug, Clone)]
pub struct Split {
    pub examples: Vec<Example>,
    pub tokens: Tokens,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub text: String,
    pub pair: Option<String>,
    /// Index into [`Dataset::labels`].
    pub label: u32,
}

/// Tokens of all examples, packed: example i owns `offsets[i]..offsets[i + 1]`, `[CLS]` and `[SEP]` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// 0 for the first sentence, 1 for the second.
    pub types: Vec<u8>,
    pub offsets: Vec<u32>,
}
