//! TensorBoard's event files: records of protocol-buffer messages, framed with CRC32C checksums.
//!
//! Formats, from TensorFlow: `core/lib/io/record_writer.cc` (framing), `core/util/event.proto` and
//! `core/framework/summary.proto` (messages). Wall times count from the start of the trial.

use super::TrialCurves;
use super::rows::scores;
use crate::logs::events::{ProtoField, fields, record};
use crate::trial::EvalRow;

/// Name of the file in a run's folder. TensorBoard looks for `tfevents` in it.
pub(super) const FILE_NAME: &str = "events.out.tfevents.0.plateau";

/// First tag of an event of a training step, and of an evaluation.
const TRAIN_TAG: &str = "loss/train";
const EVAL_TAG: &str = "loss/eval";

/// What an event file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    /// Length of its whole records in bytes.
    pub length: u64,
    /// Last training step in the file.
    trained: Option<u64>,
    /// Step of the last evaluation in the file.
    evaluated: Option<u64>,
}

impl Written {
    /// Reads an event file up to the first damaged or incomplete record, such as a killed process leaves.
    pub(super) fn read(mut file: &[u8]) -> Self {
        let mut written = Self::default();
        while let Some((content, size)) = whole_record(file) {
            match first_value(content) {
                Some((step, tag)) if tag == TRAIN_TAG.as_bytes() => written.trained = written.trained.max(Some(step)),
                Some((step, tag)) if tag == EVAL_TAG.as_bytes() => {
                    written.evaluated = written.evaluated.max(Some(step));
                }
                _ => {}
            }
            written.length += size as u64;
            file = &file[size..];
        }
        written
    }

    /// The records to append so that the file holds all of `curves`, in the order of steps. They count as written from
    /// here on. No step appears twice.
    pub(super) fn missing_records(&mut self, curves: &TrialCurves<'_>) -> Vec<u8> {
        let mut records = Vec::new();
        let metrics = &curves.metrics[curves.metrics.partition_point(|row| Some(row.step) <= self.trained)..];
        let evals = &curves.evals[curves.evals.partition_point(|row| Some(row.step) <= self.evaluated)..];
        if self.length == 0 && !(metrics.is_empty() && evals.is_empty()) {
            let mut version = wall_time(0.0);
            field(&mut version, 3, b"brain.Event:2");
            append_record(&mut records, &version);
        }
        let mut evals = evals.iter().peekable();
        for row in metrics {
            while let Some(eval) = evals.next_if(|eval| eval.step < row.step) {
                append_record(&mut records, &evaluation(curves, eval));
            }
            let values = [(TRAIN_TAG, row.train_loss), ("lr", row.lr as f32), ("grad_norm", row.grad_norm)];
            append_record(&mut records, &event(row.seconds, row.step, &values));
        }
        evals.for_each(|eval| append_record(&mut records, &evaluation(curves, eval)));
        self.trained = self.trained.max(curves.metrics.last().map(|row| row.step));
        self.evaluated = self.evaluated.max(curves.evals.last().map(|row| row.step));
        self.length += records.len() as u64;
        records
    }
}

/// An evaluation, with the time of the training step before it.
fn evaluation(curves: &TrialCurves<'_>, row: &EvalRow) -> Vec<u8> {
    let values: Vec<(&str, f32)> = std::iter::once((EVAL_TAG, row.eval_loss)).chain(scores(row)).collect();
    event(curves.seconds_at(row.step), row.step, &values)
}

/// The content of the first record of `file`, and the size of the record; None if it is incomplete or damaged.
fn whole_record(file: &[u8]) -> Option<(&[u8], usize)> {
    let (content, size) = record(file)?;
    let (head, foot) = (file.get(8..12)?, file.get(size - 4..size)?);
    let is_sound = head == masked(&file[..8]).to_le_bytes() && foot == masked(content).to_le_bytes();
    is_sound.then_some((content, size))
}

/// Step and first tag of an event that [`event`] wrote.
fn first_value(content: &[u8]) -> Option<(u64, &[u8])> {
    let event = fields(content)?;
    let step = event.iter().find_map(|field| field.integer(2))?;
    let value = inner(&fields(inner(&event, 5)?)?, 1)?;
    Some((step, inner(&fields(value)?, 1)?))
}

/// The content of the field `number` of a message.
fn inner<'a>(message: &[ProtoField<'a>], number: u32) -> Option<&'a [u8]> {
    message.iter().find_map(|field| field.bytes(number))
}

/// An Event: wall time (1), step (2), and a Summary (5) of values (1), each a tag (1) and a float (2).
fn event(seconds: f64, step: u64, values: &[(&str, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        field(&mut value, 1, tag.as_bytes());
        value.push(2 << 3 | 5);
        value.extend(number.to_le_bytes());
        field(&mut summary, 1, &value);
    }
    let mut event = wall_time(seconds);
    event.push(2 << 3);
    varint(&mut event, step);
    field(&mut event, 5, &summary);
    event
}

fn wall_time(seconds: f64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(seconds.to_le_bytes());
    event
}

/// Appends a field of bytes: key, length, content.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Appends a record: length, checksum of the length, content, checksum of the content.
fn append_record(file: &mut Vec<u8>, content: &[u8]) {
    let length = (content.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&masked(&length).to_le_bytes());
    file.extend_from_slice(content);
    file.extend_from_slice(&masked(content).to_le_bytes());
}

/// The checksum as the format stores it: rotated and shifted, so that a checksum over checksums stays meaningful.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli, reflected), as in RFC 3720.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc: u32, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::testing::curves;
    use super::*;
    use crate::analysis::{Run, synthetic};

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    fn missing(written: &mut Written, run: &Run) -> Vec<u8> {
        written.missing_records(&curves(run, "", &[]))
    }

    fn events(run: &Run) -> Vec<u8> {
        missing(&mut Written::default(), run)
    }

    /// Whatever was written before, and wherever a kill cut the file, it ends up with each step once.
    #[test]
    fn a_file_that_grows_holds_every_step_once() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let whole = events(&run);
        let mut file = Vec::new();
        for steps in [0, 1, 7, 7, 3, 20] {
            let mut part = run.clone();
            part.metrics.retain(|row| row.step <= steps);
            part.evals.retain(|row| row.step <= steps);
            let records = missing(&mut Written::read(&file), &part);
            file.extend(records);
        }
        assert_eq!((file.len(), Written::read(&file).trained), (whole.len(), Some(20)));
        assert!(file == whole);
        for cut in (0..whole.len()).step_by(13) {
            let mut written = Written::read(&whole[..cut]);
            let mut file = whole[..written.length as usize].to_vec();
            file.extend(missing(&mut written, &run));
            assert!(file == whole && written == Written::read(&whole), "{cut}");
        }
        let mut damaged = whole.clone();
        damaged[100] ^= 1;
        assert!(Written::read(&damaged).length < 100 && Written::read(b"not an event file at all").length == 0);
        let nothing = Run { metrics: Vec::new(), evals: Vec::new(), ..run };
        assert!(events(&nothing).is_empty());
    }

    #[test]
    fn records_are_framed() {
        let mut file = &events(&synthetic::sweep("s", &[], 20).runs[0])[..];
        let mut count = 0;
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert_eq!(masked(&file[..8]).to_le_bytes(), file[8..12]);
            let content = &file[12..12 + length];
            assert_eq!(masked(content).to_le_bytes(), file[12 + length..16 + length]);
            assert_eq!(content[0], 9, "an event begins with its wall time");
            file = &file[16 + length..];
            count += 1;
        }
        assert_eq!(count, 1 + 20 + 21);
    }

    /// Reads the file with TensorBoard, where Python has it.
    #[test]
    fn tensorboard_reads_it() {
        const SCRIPT: &str = "import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
for tag in sorted(events.Tags()['scalars']):
    last = events.Scalars(tag)[-1]; print(tag, len(events.Scalars(tag)), last.step, round(last.value, 4))";
        let python = std::env::var("PLATEAU_PYTHON").unwrap_or_else(|_| "python3".into());
        let known = std::process::Command::new(&python).args(["-c", "import tensorboard"]).output();
        if !known.is_ok_and(|output| output.status.success()) {
            return crate::skip::skip(
                "tensorboard",
                "no tensorboard in python3 (PLATEAU_PYTHON names another interpreter)",
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let mut run = synthetic::sweep("s", &[], 20).runs.remove(0);
        run.metrics[19].train_loss = f32::NAN;
        std::fs::write(folder.path().join(FILE_NAME), events(&run)).unwrap();
        let output = std::process::Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), 6, "{stdout} {}", String::from_utf8_lossy(&output.stderr));
        let eval = run.evals.last().unwrap();
        assert!(lines[2].starts_with("loss/eval 21 20 "), "{stdout}");
        assert!(
            (lines[2].rsplit(' ').next().unwrap().parse::<f32>().unwrap() - eval.eval_loss).abs() < 1e-3,
            "{stdout}"
        );
        assert_eq!(lines[3..5], ["loss/train 20 20 nan", "lr 20 20 0.0"]);
    }
}
