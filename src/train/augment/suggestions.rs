//! Suggestions of a model or a program for each text. They are computed once and kept in the cache for all trials.
//!
//! Suggestions do not depend on the seed or the epoch; only the draws among them do. An epoch therefore costs only draws,
//! and all trials of a sweep share the computation.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::AugmentContext;
use crate::train::TrainError;
use plateau_random::Random;

/// The suggestions for each word of a text. A translation has one entry for the whole text.
pub(super) type TextSuggestions = Vec<Vec<Suggestion>>;

/// A replacement and its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Suggestion(pub String, pub f32);

/// Draws one of the suggestions by weight.
pub(super) fn draw(suggestions: &[Suggestion], random: Random, index: u64) -> Option<&str> {
    let total: f64 = suggestions.iter().map(|suggestion| f64::from(suggestion.1)).sum();
    let mut left = random.unit(index) * total;
    let drawn = suggestions.iter().find(|suggestion| {
        left -= f64::from(suggestion.1);
        left < 0.0
    });
    drawn.or(suggestions.last()).map(|suggestion| suggestion.0.as_str())
}

/// Suggestions by text.
pub(super) type SuggestionTable = Arc<HashMap<String, TextSuggestions>>;

/// The suggestions for all texts of the training split. `key` names everything that they depend on except the text.
/// `compute` gets the texts that are not in the cache and returns their suggestions in the same order.
pub(super) fn cached_suggestions(
    context: &AugmentContext<'_>,
    key: &str,
    compute: impl FnOnce(&[&str]) -> Result<Vec<TextSuggestions>, TrainError>,
) -> Result<SuggestionTable, TrainError> {
    let examples = context.examples.iter();
    let texts: BTreeSet<&str> = examples.flat_map(|e| std::iter::once(&e.text).chain(&e.pair)).map(|t| &**t).collect();
    let key = format!("answers 1 {key}");
    let mut known: HashMap<String, TextSuggestions> =
        context.cache.get(&key).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let unknown: Vec<&str> = texts.iter().copied().filter(|text| !known.contains_key(*text)).collect();
    if !unknown.is_empty() {
        (context.notify)(unknown.len());
        known.extend(unknown.iter().map(|text| (*text).to_owned()).zip(compute(&unknown)?));
        if let Ok(bytes) = serde_json::to_vec(&known) {
            context.cache.put(&key, &bytes);
        }
    }
    known.retain(|text, _| texts.contains(&**text));
    Ok(Arc::new(known))
}
