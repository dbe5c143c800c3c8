//! `metrics.csv`, `evals.csv` and `diagnostics.csv`: rows appended as complete lines, read back to the same bits.
//!
//! Floats are written with the fewest digits that give the same value back, missing ones as empty fields. A row is one
//! write; what a killed process left half is cut when the file is opened again, and ignored by readers.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::{StoreError, atomic, disk};
use crate::trial::{DiagnosticRow, EvalRow, MetricRow};

/// A line of a curve file.
pub trait Row: Sized {
    const HEADER: &'static str;
    /// The header of files from before the last column came to be.
    const EARLIER: Option<&'static str> = None;
    /// Optimizer step that the row is about; strictly rising in a file.
    fn step(&self) -> u64;
    /// Appends the row with its line end.
    fn write(&self, line: &mut String);
    /// Reads a line without its end; None if it is no row.
    fn parse(line: &str) -> Option<Self>;
}

impl Row for MetricRow {
    const HEADER: &'static str = "step,epoch,train_loss,lr,grad_norm,tokens,seconds";

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, epoch, train_loss, lr, grad_norm, tokens, seconds } = self;
        // Writing to a String cannot fail.
        let _ = writeln!(line, "{step},{epoch:?},{train_loss:?},{lr:?},{grad_norm:?},{tokens},{seconds:.6}");
    }

    fn parse(line: &str) -> Option<Self> {
        let [step, epoch, train_loss, lr, grad_norm, tokens, seconds] = fields(line)?;
        Some(Self {
            step: step.parse().ok()?,
            epoch: double(epoch)?,
            train_loss: single(train_loss)?,
            lr: double(lr)?,
            grad_norm: single(grad_norm)?,
            tokens: tokens.parse().ok()?,
            seconds: double(seconds)?,
        })
    }
}

impl Row for EvalRow {
    const HEADER: &'static str = "step,eval_loss,accuracy,macro_f1,train_probe_loss";

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, eval_loss, accuracy, macro_f1, train_probe_loss } = self;
        let _ = writeln!(line, "{step},{eval_loss:?},{accuracy:?},{macro_f1:?},{train_probe_loss:?}");
    }

    fn parse(line: &str) -> Option<Self> {
        let [step, eval_loss, accuracy, macro_f1, train_probe_loss] = fields(line)?;
        Some(Self {
            step: step.parse().ok()?,
            eval_loss: single(eval_loss)?,
            accuracy: single(accuracy)?,
            macro_f1: single(macro_f1)?,
            train_probe_loss: single(train_probe_loss)?,
        })
    }
}

impl Row for DiagnosticRow {
    const HEADER: &'static str = "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong";
    const EARLIER: Option<&'static str> = Some("step,first_grad_norm,last_grad_norm,update_ratio,predicted");

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, first_grad_norm, last_grad_norm, update_ratio, predicted, surest_wrong } = self;
        let number = |value: &Option<f32>| value.map_or_else(String::new, |value| format!("{value:?}"));
        let [first, last, ratio] = [first_grad_norm, last_grad_norm, update_ratio].map(number);
        let counts: Vec<String> = predicted.iter().map(u32::to_string).collect();
        let wrong = surest_wrong.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(line, "{step},{first},{last},{ratio},{},{wrong}", counts.join(" "));
    }

    fn parse(line: &str) -> Option<Self> {
        let earlier =
            || fields(line).map(|[step, first, last, ratio, predicted]| [step, first, last, ratio, predicted, ""]);
        let [step, first, last, ratio, predicted, wrong] = fields(line).or_else(earlier)?;
        let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
        Some(Self {
            step: step.parse().ok()?,
            first_grad_norm: number(first)?,
            last_grad_norm: number(last)?,
            update_ratio: number(ratio)?,
            predicted: predicted.split_whitespace().map(|count| count.parse().ok()).collect::<Option<_>>()?,
            surest_wrong: if wrong.is_empty() { None } else { Some(wrong.parse().ok()?) },
        })
    }
}

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut parts = line.split(',');
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    parts.next().is_none().then_some(fields)
}

fn single(text: &str) -> Option<f32> {
    if text.is_empty() { Some(f32::NAN) } else { text.parse().ok() }
}

fn double(text: &str) -> Option<f64> {
    if text.is_empty() { Some(f64::NAN) } else { text.parse().ok() }
}

/// A curve file as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve<R> {
    pub rows: Vec<R>,
    /// First line (from 1) that is no row. Nothing after it is read.
    pub damaged: Option<usize>,
    /// Bytes up to the end of the last row read.
    whole: u64,
}

/// Reads the rows at `path`, also while they are being written. A missing file has none; a torn last line is ignored.
pub fn read<R: Row>(path: &Path) -> Result<Curve<R>, StoreError> {
    Ok(scan(&atomic::read(path)?.unwrap_or_default(), u64::MAX))
}

/// The leading rows of at most `last` steps, each above the one before.
fn scan<R: Row>(bytes: &[u8], last: u64) -> Curve<R> {
    let mut curve = Curve { rows: Vec::<R>::new(), damaged: None, whole: 0 };
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(text) = line.strip_suffix(b"\n") else { break };
        let row = std::str::from_utf8(text).ok().map(|text| text.trim_end_matches('\r'));
        let read = match row {
            Some(text) if index == 0 => text == R::HEADER || Some(text) == R::EARLIER,
            Some(text) => match R::parse(text) {
                Some(row) if row.step() > last => break,
                Some(row) if curve.rows.last().is_none_or(|before| before.step() < row.step()) => {
                    curve.rows.push(row);
                    true
                }
                _ => false,
            },
            None => false,
        };
        if !read {
            curve.damaged = Some(index + 1);
            break;
        }
        curve.whole += line.len() as u64;
    }
    curve
}

/// Appends rows to a curve file. One writer a file.
#[derive(Debug)]
pub struct CurveWriter<R> {
    path: PathBuf,
    file: File,
    length: u64,
    last: Option<u64>,
    rows: u64,
    line: String,
    row: PhantomData<R>,
}

impl<R: Row> CurveWriter<R> {
    /// Opens `path` to go on after step `last`: later rows, and everything from a damaged line on, are cut.
    /// None starts the file anew.
    pub fn open(path: &Path, last: Option<u64>) -> Result<Self, StoreError> {
        let kept = match last {
            Some(last) => scan::<R>(&atomic::read(path)?.unwrap_or_default(), last),
            None => scan::<R>(&[], 0),
        };
        let file = disk::open_to_write(path).map_err(StoreError::at(path))?;
        let last = kept.rows.last().map(R::step);
        let (length, rows) = (kept.whole, kept.rows.len() as u64);
        let mut writer =
            Self { path: path.to_owned(), file, length, last, rows, line: String::new(), row: PhantomData };
        writer.cut_back().map_err(StoreError::at(path))?;
        if writer.length == 0 {
            writer.line.push_str(R::HEADER);
            writer.line.push('\n');
            writer.put()?;
        }
        Ok(writer)
    }

    /// Appends one row. A row whose step is already there is the same row made again after a resume, and is dropped.
    pub fn append(&mut self, row: &R) -> Result<(), StoreError> {
        if self.last.is_some_and(|last| row.step() <= last) {
            return Ok(());
        }
        self.line.clear();
        row.write(&mut self.line);
        self.put()?;
        self.last = Some(row.step());
        self.rows += 1;
        Ok(())
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What waits until all rows so far are on the disk; for another thread.
    pub fn syncing(&self) -> Result<impl FnOnce() -> Result<(), StoreError> + Send + use<R>, StoreError> {
        let (file, path) = (self.file.try_clone().map_err(StoreError::at(&self.path))?, self.path.clone());
        Ok(move || disk::sync(&file).map_err(StoreError::at(&path)))
    }

    fn put(&mut self) -> Result<(), StoreError> {
        if let Err(error) = disk::write(&mut self.file, self.line.as_bytes()) {
            // Part of the line may be written; readers must not meet it.
            let _ = self.cut_back();
            return Err(StoreError::at(&self.path)(error));
        }
        self.length += self.line.len() as u64;
        Ok(())
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }
}

/// Follows a curve file as it grows, reading only what is new.
#[derive(Debug)]
pub struct Follower<R> {
    path: PathBuf,
    offset: u64,
    row: PhantomData<R>,
}

impl<R: Row> Follower<R> {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, row: PhantomData }
    }

    /// The complete rows since the last call. A file that cannot be read has none: this is for display, not for truth.
    pub fn poll(&mut self) -> Vec<R> {
        self.read_new().unwrap_or_default()
    }

    fn read_new(&mut self) -> io::Result<Vec<R>> {
        let mut file = disk::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            // Cut back by a new attempt.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let bytes = disk::read_rest(&mut file)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        let text = String::from_utf8_lossy(&bytes[..whole]);
        Ok(text.lines().filter_map(R::parse).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn metric(step: u64) -> MetricRow {
        let epoch = step as f64 / 3.0;
        MetricRow { step, epoch, train_loss: 0.7, lr: 3e-5, grad_norm: f32::INFINITY, tokens: 512, seconds: 0.25 }
    }

    fn file(rows: &[MetricRow]) -> String {
        let mut text = format!("{}\n", MetricRow::HEADER);
        for row in rows {
            row.write(&mut text);
        }
        text
    }

    #[test]
    fn rows_look_as_promised() {
        insta::assert_snapshot!(file(&[metric(1), MetricRow { train_loss: f32::NAN, ..metric(2) }]), @r"
        step,epoch,train_loss,lr,grad_norm,tokens,seconds
        1,0.3333333333333333,0.7,3e-5,inf,512,0.250000
        2,0.6666666666666666,NaN,3e-5,inf,512,0.250000
        ");
        assert!(EvalRow::parse("5,0.5,,NaN,inf").is_some_and(|row| row.accuracy.is_nan() && row.macro_f1.is_nan()));
        for bad in ["", "5", "5,1,1,1", "5,1,1,1,1,1", "x,1,1,1,1", "5,one,1,1,1"] {
            assert_eq!(EvalRow::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn floats_come_back_to_the_bit(bits in any::<u32>(), wide in any::<u64>()) {
            let row = MetricRow { train_loss: f32::from_bits(bits), lr: f64::from_bits(wide), ..metric(1) };
            let mut line = String::new();
            row.write(&mut line);
            let back = MetricRow::parse(line.trim_end()).unwrap();
            prop_assert!(back.train_loss.is_nan() && row.train_loss.is_nan() || back.train_loss.to_bits() == bits);
            prop_assert!(back.lr.is_nan() && row.lr.is_nan() || back.lr.to_bits() == wide);
        }

        /// Whatever the cut, reopening at a step and writing on gives the file of an undisturbed run.
        #[test]
        fn a_cut_file_is_continued_without_a_trace(share in 0.0..=1.0, resume in 0_u64..6) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.csv");
            let rows: Vec<_> = (1..=6).map(metric).collect();
            let whole = file(&rows);
            let cut = &whole.as_bytes()[..(whole.len() as f64 * share) as usize];
            fs::write(&path, cut).unwrap();
            let kept = scan::<MetricRow>(cut, resume).rows.len() as u64;
            let mut writer = CurveWriter::<MetricRow>::open(&path, Some(resume)).unwrap();
            for row in &rows[kept as usize..] {
                writer.append(row).unwrap();
            }
            prop_assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        }

        #[test]
        fn no_bytes_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut text = format!("{}\n", EvalRow::HEADER).into_bytes();
            text.extend(&bytes);
            let curve = scan::<EvalRow>(&text, u64::MAX);
            prop_assert!(curve.whole <= text.len() as u64);
        }
    }

    #[test]
    fn none_starts_anew_and_repeated_rows_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        fs::write(&path, file(&[metric(1), metric(2)])).unwrap();
        let mut writer = CurveWriter::open(&path, None).unwrap();
        for step in [1, 1, 2, 1, 3] {
            writer.append(&metric(step)).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), file(&[metric(1), metric(2), metric(3)]));
    }

    #[test]
    fn diagnostics_from_before_their_last_column_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diagnostics.csv");
        let old = DiagnosticRow::EARLIER.unwrap();
        fs::write(&path, format!("{old}\n0,,,,12 8\n10,0.5,1.5,0.001,10 10\n")).unwrap();
        CurveWriter::open(&path, Some(10)).unwrap().append(&DiagnosticRow { step: 20, ..row(Some(3)) }).unwrap();
        let curve = read::<DiagnosticRow>(&path).unwrap();
        assert_eq!(curve.damaged, None);
        let wrong: Vec<_> = curve.rows.iter().map(|row| (row.predicted.len(), row.surest_wrong)).collect();
        assert_eq!(wrong, [(2, None), (2, None), (2, Some(3))]);
    }

    fn row(surest_wrong: Option<u32>) -> DiagnosticRow {
        let [first_grad_norm, last_grad_norm, update_ratio] = [None; 3];
        DiagnosticRow { step: 1, first_grad_norm, last_grad_norm, update_ratio, predicted: vec![1, 2], surest_wrong }
    }

    #[test]
    fn a_damaged_line_ends_the_curve_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        assert!(read::<MetricRow>(&path).unwrap().rows.is_empty());
        let text = file(&[metric(1), metric(2), metric(3)]).replace("\n2,", "\ntwo,");
        fs::write(&path, text).unwrap();
        let curve = read::<MetricRow>(&path).unwrap();
        assert_eq!((curve.rows.len(), curve.damaged), (1, Some(3)));
    }

    #[test]
    fn a_follower_sees_each_row_once_and_copes_with_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut follower = Follower::<MetricRow>::new(path.clone());
        assert!(follower.poll().is_empty());
        let text = file(&[metric(1), metric(2)]);
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        assert_eq!(follower.poll(), [metric(1)]);
        fs::write(&path, &text).unwrap();
        assert_eq!(follower.poll(), [metric(2)]);
        assert!(follower.poll().is_empty());
        fs::write(&path, file(&[metric(1)])).unwrap();
        assert_eq!(follower.poll(), [metric(1)]);
    }
}
