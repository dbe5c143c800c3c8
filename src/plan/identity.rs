//! Ids of trials: a hash over everything that determines a trial's numbers, and nothing else.

use serde_json::Value;

use crate::trial::{DataFacts, ModelFacts, TrialId};

/// Version of the trainer's numbers. Raised whenever the same configuration would give other numbers than before; every
/// trial then gets a new id, and no old result is taken for a new one.
const NUMERICS: u32 = 4;

/// The id of a resolved configuration, given as JSON: sources are replaced by the hashes of their content, keys are
/// sorted (a JSON map is), and the first digits of a blake3 hash are the name.
pub(super) fn id(mut config: Value, data: &DataFacts, model: &ModelFacts) -> Option<TrialId> {
    replace(&mut config, "/data/train", &data.hash);
    if config.pointer("/data/eval").is_some_and(Value::is_string) {
        // The hash of the data covers both files.
        replace(&mut config, "/data/eval", "file");
    }
    replace(&mut config, "/model/from", &model.hash);
    // A hasher fed byte by byte is slow.
    let mut canonical = Vec::with_capacity(2048);
    canonical.extend(NUMERICS.to_le_bytes());
    serde_json::to_writer(&mut canonical, &config).ok()?;
    TrialId::parse(&blake3::hash(&canonical).to_hex()[..TrialId::LENGTH])
}

fn replace(config: &mut Value, pointer: &str, content: &str) {
    if let Some(value) = config.pointer_mut(pointer) {
        *value = content.into();
    }
}
