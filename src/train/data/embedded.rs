//! Data sets and checkpoints that are compiled into the binary (`embedded:NAME`).

use super::error::{DataError, DataErrorKind};

const PREFIX: &str = "embedded:";

/// Data sets, each a `.tsv` file.
const DATA: [(&str, &[u8]); 1] = [("tweets", include_bytes!("../../../assets/data/tweets.tsv"))];

/// Checkpoints: name, `config.json`, `tokenizer.json`, `model.safetensors`.
const CHECKPOINTS: [(&str, [&[u8]; 3]); 1] = [(
    "minilm-l3",
    [
        include_bytes!("../../../assets/models/minilm-l3/config.json"),
        include_bytes!("../../../assets/models/minilm-l3/tokenizer.json"),
        include_bytes!("../../../assets/models/minilm-l3/model.safetensors"),
    ],
)];

/// The content of an embedded data set; None if `source` is not of the form `embedded:NAME`.
pub(super) fn data(source: &str) -> Result<Option<&'static [u8]>, DataError> {
    look_up(source, &DATA)
}

/// `config.json`, `tokenizer.json` and `model.safetensors` of an embedded checkpoint; None if `source` is not of the form
/// `embedded:NAME`.
pub(super) fn checkpoint(source: &str) -> Result<Option<[&'static [u8]; 3]>, DataError> {
    look_up(source, &CHECKPOINTS)
}

fn look_up<T: Copy>(source: &str, known: &[(&str, T)]) -> Result<Option<T>, DataError> {
    let Some(name) = source.strip_prefix(PREFIX) else { return Ok(None) };
    let found = known.iter().find(|(known, _)| *known == name).map(|(_, found)| Some(*found));
    found.ok_or_else(|| {
        let known: Vec<String> = known.iter().map(|(name, _)| format!("{PREFIX}{name}")).collect();
        let message = format!("`{source}` is not embedded in this binary; known names: {}", known.join(", "));
        DataError::new(DataErrorKind::NotFound, message)
    })
}
