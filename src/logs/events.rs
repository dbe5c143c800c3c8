//! TensorBoard event files: records with checksums around protocol-buffer messages.
//!
//! Formats, of TensorFlow: `core/lib/io/record_writer.cc` (framing), `core/util/event.proto`, `core/framework/summary.proto`
//! and `core/framework/tensor.proto` (messages). Only scalars are read. `track` writes such files, and reads them back with
//! [`record`] and [`fields`].

use std::collections::BTreeMap;

use super::sheet::{Field, Row, Sheet, spelled};

/// The largest record that is read: a greater length is damage.
const MOST_BYTES: u64 = 1 << 30;
/// Bytes around the content of a record: its length, and a checksum after each of the two.
const HEAD: usize = 12;
const FOOT: usize = 4;
/// `DT_FLOAT` and `DT_DOUBLE` of `types.proto`.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 2;

/// Whether the bytes begin as an event file does: a record whose event starts with its wall time.
pub(super) fn is_event_file(bytes: &[u8]) -> bool {
    let Some((content, _)) = record(bytes) else { return false };
    // Key of field 1, 64 bits: the wall time.
    content.first() == Some(&0x09) && bytes[4..8] == [0; 4]
}

/// Reads the scalars of an event file; what a killed program left of its last record is ignored.
pub(super) fn read(mut bytes: &[u8]) -> Sheet {
    let mut rows: BTreeMap<(&str, u64), Row> = BTreeMap::new();
    while let Some((content, size)) = record(bytes) {
        bytes = &bytes[size..];
        let Some(event) = fields(content) else { continue };
        // Protocol buffers leave out a step of 0.
        let step = event.iter().find_map(|field| field.integer(2)).unwrap_or(0);
        for summary in event.iter().filter_map(|field| field.bytes(5)) {
            let values = fields(summary).unwrap_or_default();
            for (tag, value) in values.iter().filter_map(|field| scalar(field.bytes(1)?)) {
                // The tags of Keras say where its steps are epochs.
                let unit = if tag.starts_with("epoch_") { "epoch" } else { "step" };
                let row = rows.entry((unit, step)).or_default();
                row.insert(unit.into(), Field::Number(step as f64));
                row.insert(spelled(&tag), Field::Number(value));
            }
        }
    }
    let mut sheet = Sheet::of(rows.into_values().collect());
    if !bytes.is_empty() {
        sheet.notes.push(format!("the last {} bytes are no whole record and are ignored", bytes.len()));
    }
    sheet
}

/// The content of the record that `bytes` begins with, and the bytes that it takes; None if it is not whole. The checksums are not
/// compared.
pub(crate) fn record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = HEAD + usize::try_from(length).ok().filter(|_| length < MOST_BYTES)?;
    bytes.get(..end + FOOT)?;
    Some((&bytes[HEAD..end], end + FOOT))
}

/// Tag and number of a `Summary.Value`; None if it is no scalar.
fn scalar(value: &[u8]) -> Option<(String, f64)> {
    let value = fields(value)?;
    let tag = String::from_utf8(value.iter().find_map(|field| field.bytes(1))?.to_vec()).ok()?;
    let simple = value.iter().find_map(|field| field.float(2));
    let number = simple.or_else(|| tensor(value.iter().find_map(|field| field.bytes(8))?))?;
    Some((tag, number))
}

/// The number of a `TensorProto` of one element.
fn tensor(bytes: &[u8]) -> Option<f64> {
    let tensor = fields(bytes)?;
    let kind = tensor.iter().find_map(|field| field.integer(1))?;
    let content = |number: u32| tensor.iter().find_map(|field| field.bytes(number));
    match kind {
        FLOAT => match content(4).or(content(5)) {
            Some(bytes) => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
            None => tensor.iter().find_map(|field| field.float(5)),
        },
        DOUBLE => Some(f64::from_le_bytes(content(4).or(content(6))?.try_into().ok()?)),
        _ => None,
    }
}

/// A field of a message: its number and its value.
pub(crate) struct ProtoField<'a> {
    number: u32,
    value: Wire<'a>,
}

enum Wire<'a> {
    Integer(u64),
    Bits64,
    Bytes(&'a [u8]),
    Bits32(u32),
}

impl<'a> ProtoField<'a> {
    /// The value of the integer field `number`; None if this is another field.
    pub(crate) fn integer(&self, number: u32) -> Option<u64> {
        matches!(self.value, Wire::Integer(_) if self.number == number).then(|| match self.value {
            Wire::Integer(value) => value,
            _ => 0,
        })
    }

    /// The content of the field `number`, a text or a message; None if this is another field.
    pub(crate) fn bytes(&self, number: u32) -> Option<&'a [u8]> {
        match self.value {
            Wire::Bytes(bytes) if self.number == number => Some(bytes),
            _ => None,
        }
    }

    fn float(&self, number: u32) -> Option<f64> {
        match self.value {
            Wire::Bits32(bits) if self.number == number => Some(f64::from(f32::from_bits(bits))),
            _ => None,
        }
    }
}

/// The fields of a message; None if it is damaged.
pub(crate) fn fields(mut bytes: &[u8]) -> Option<Vec<ProtoField<'_>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Wire::Integer(varint(&mut bytes)?),
            1 => {
                taken(&mut bytes, 8)?;
                Wire::Bits64
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(taken(&mut bytes, length)?)
            }
            5 => Wire::Bits32(u32::from_le_bytes(taken(&mut bytes, 4)?.try_into().ok()?)),
            _ => return None,
        };
        fields.push(ProtoField { number: u32::try_from(key >> 3).ok()?, value });
    }
    Some(fields)
}

fn taken<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = taken(bytes, 1)?[0];
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sheet::number;
    use super::*;

    /// A record around an event of one value. Checksums are left zero: the reader does without.
    fn event(step: u8, tag: &str, value: &[u8]) -> Vec<u8> {
        let mut inner = vec![0x0A, tag.len() as u8];
        inner.extend(tag.as_bytes());
        inner.extend(value);
        let mut summary = vec![0x0A, inner.len() as u8];
        summary.extend(inner);
        let mut event = vec![0x09];
        event.extend(1.5_f64.to_le_bytes());
        event.extend([0x10, step, 0x2A, summary.len() as u8]);
        event.extend(summary);
        let mut record = (event.len() as u64).to_le_bytes().to_vec();
        record.extend([0; 4]);
        record.extend(event);
        record.extend([0; 4]);
        record
    }

    fn simple(value: f32) -> Vec<u8> {
        [&[0x15][..], &value.to_le_bytes()].concat()
    }

    #[test]
    fn scalars_of_both_generations_are_read() {
        // TensorFlow 2 writes a tensor: its type, its shape, and its bytes.
        let tensor = [&[0x42, 0x0A, 0x08, 0x01, 0x12, 0x00, 0x22, 0x04][..], &0.5_f32.to_le_bytes()].concat();
        let mut file = event(10, "train/loss", &simple(0.75));
        file.extend(event(10, "eval/loss", &tensor));
        file.extend(event(20, "train/loss", &simple(f32::NAN)));
        let cut = event(30, "train/loss", &simple(0.5));
        file.extend(&cut[..cut.len() - 3]);
        assert!(is_event_file(&file) && !is_event_file(b"step,loss\n1,0.7\n2,0.6\n"));
        let sheet = read(&file);
        assert_eq!(sheet.rows.len(), 2);
        assert_eq!(
            ["step", "train_loss", "eval_loss"].map(|name| number(&sheet.rows[0], name)),
            [Some(10.0), Some(0.75), Some(0.5)]
        );
        assert!(number(&sheet.rows[1], "train_loss").unwrap().is_nan());
        assert_eq!(sheet.notes.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
            let _ = (is_event_file(&bytes), read(&bytes));
            let mut file = event(1, "loss", &simple(0.7));
            file.truncate(cut);
            file.extend(&bytes);
            let _ = read(&file);
        }
    }
}
