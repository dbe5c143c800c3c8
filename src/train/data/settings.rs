//! The settings that say how files are written: `data.format`, `data.delimiter`, `data.header`, `data.encoding`.

use encoding_rs::Encoding;

use super::encoding;
use crate::train::{KeyFault, TrainError};
use crate::trial::{DataConfig, DataFormat};

/// The checked settings; None means that the file decides.
#[derive(Debug, Clone, Default)]
pub(super) struct FileSettings {
    pub format: Option<DataFormat>,
    pub delimiter: Option<u8>,
    pub header: Option<bool>,
    pub encoding: Option<&'static Encoding>,
}

impl FileSettings {
    /// Checks the settings of a data section. All wrong values are reported together.
    pub fn new(config: &DataConfig) -> Result<Self, TrainError> {
        let mut faults = Vec::new();
        let delimiter = config.delimiter.as_deref().and_then(|written| {
            let found = delimiter(written);
            if found.is_none() {
                let message = format!(
                    "data.delimiter is `{written}`; expected comma, tab, semicolon, pipe, or a single ASCII character"
                );
                faults.push(KeyFault { key: "data.delimiter", message });
            }
            found
        });
        let encoding = config.encoding.as_deref().and_then(|written| {
            let found = encoding::by_name(written);
            if found.is_none() {
                let message = format!(
                    "data.encoding is `{written}`, which is not one of the encodings that are read: utf-8, utf-16, latin-1, \
                     windows-1252, shift_jis and the others of web browsers. If the file has this encoding, {}",
                    encoding::conversion(written)
                );
                faults.push(KeyFault { key: "data.encoding", message });
            }
            found
        });
        if faults.is_empty() {
            Ok(Self { format: config.format, delimiter, header: config.header, encoding })
        } else {
            Err(TrainError::Keys(faults))
        }
    }
}

fn delimiter(written: &str) -> Option<u8> {
    match written {
        "comma" => Some(b','),
        "tab" | "\\t" => Some(b'\t'),
        "semicolon" => Some(b';'),
        "pipe" => Some(b'|'),
        "space" => Some(b' '),
        other => match other.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
            _ => None,
        },
    }
}
