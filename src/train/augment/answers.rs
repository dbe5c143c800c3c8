//! What a model or a program answers about each text: asked once, kept between trials.
//!
//! Answers do not depend on seed and epoch; draws among them do. So an epoch costs nothing but draws, however dear the
//! asking was, and all trials of a sweep share it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Around;
use crate::train::TrainError;
use crate::train::random::Random;

/// For each word of the text (or the whole text as the only entry) what may stand in its place, each with a weight.
pub(super) type Answer = Vec<Vec<Proposal>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Proposal(pub String, pub f32);

/// One of the proposals, drawn by weight.
pub(super) fn draw(proposals: &[Proposal], random: Random, index: u64) -> Option<&str> {
    let total: f64 = proposals.iter().map(|proposal| f64::from(proposal.1)).sum();
    let mut left = random.unit(index) * total;
    let drawn = proposals.iter().find(|proposal| {
        left -= f64::from(proposal.1);
        left < 0.0
    });
    drawn.or(proposals.last()).map(|proposal| proposal.0.as_str())
}

/// Answers by text.
pub(super) type Answers = Arc<HashMap<String, Answer>>;

/// The answers about all texts of the training split. `key` names all that they depend on beside the text; `ask` is given
/// the texts that the cache knows nothing of, and answers in their order.
pub(super) fn answers(
    around: &Around<'_>,
    key: &str,
    ask: impl FnOnce(&[&str]) -> Result<Vec<Answer>, TrainError>,
) -> Result<Answers, TrainError> {
    let examples = around.examples.iter();
    let texts: BTreeSet<&str> = examples.flat_map(|e| std::iter::once(&e.text).chain(&e.pair)).map(|t| &**t).collect();
    let key = format!("answers 1 {key}");
    let mut known: HashMap<String, Answer> =
        around.cache.get(&key).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let unknown: Vec<&str> = texts.iter().copied().filter(|text| !known.contains_key(*text)).collect();
    if !unknown.is_empty() {
        (around.tell)(unknown.len());
        known.extend(unknown.iter().map(|text| (*text).to_owned()).zip(ask(&unknown)?));
        if let Ok(bytes) = serde_json::to_vec(&known) {
            around.cache.put(&key, &bytes);
        }
    }
    known.retain(|text, _| texts.contains(&**text));
    Ok(Arc::new(known))
}
