//! `metrics.csv`, `evals.csv` and `diagnostics.csv`: rows appended as complete lines and read back to the same bits.
//!
//! A row is one write. Readers ignore an incomplete last line of a killed process; the next writer cuts it off.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::disk::TABLE;
use super::{AttemptDir, CurveRow, StoreError, atomic, disk};

/// A curve file as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve<R> {
    pub rows: Vec<R>,
    /// The first line (counted from 1) that is not a row. Nothing after it is read.
    pub damaged: Option<usize>,
    /// Bytes up to the end of the last row that was read.
    length: u64,
}

/// Reads the rows at `path`, also while a worker writes them. A missing file has none. An incomplete last line is ignored.
pub fn read<R: CurveRow>(path: &Path) -> Result<Curve<R>, StoreError> {
    check_folder(path)?;
    Ok(scan(&atomic::read_up_to(path, TABLE)?.unwrap_or_default(), u64::MAX))
}

/// Fails if the folder of a curve is a symbolic link.
fn check_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    disk::check_folder(folder).map_err(StoreError::at(folder))
}

/// The leading rows up to step `last`, each with a higher step than the row before.
fn scan<R: CurveRow>(bytes: &[u8], last: u64) -> Curve<R> {
    // A damaged file may hold nothing but line ends.
    const RESERVED: usize = 1 << 16;
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').take(RESERVED).count();
    let mut curve = Curve { rows: Vec::<R>::with_capacity(lines.saturating_sub(1)), damaged: None, length: 0 };
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(text) = line.strip_suffix(b"\n") else { break };
        let row = std::str::from_utf8(text).ok().map(|text| text.trim_end_matches('\r'));
        let is_row = match row {
            Some(text) if index == 0 => text == R::HEADER || R::OLD_HEADERS.contains(&text),
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
        if !is_row {
            curve.damaged = Some(index + 1);
            break;
        }
        curve.length += line.len() as u64;
    }
    curve
}

/// Appends rows to a curve file. A file has one writer.
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

impl<R: CurveRow> CurveWriter<R> {
    /// Opens `path` to continue after step `last`: later rows, and everything from a damaged line on, are cut off.
    /// None starts an empty file.
    pub fn open(path: &Path, last: Option<u64>) -> Result<Self, StoreError> {
        let (kept, _) = Self::kept(path, last)?;
        Self::from(path, &kept, disk::open_to_write(path).map_err(StoreError::at(path))?)
    }

    /// Continues the curve at `path` after step `last` in the attempt's own file, of which `path` becomes another name. A process
    /// of an earlier attempt, which may still run, then writes to a file that no process reads. Where the file system has no hard
    /// links, this is as [`Self::open`].
    pub fn of_attempt(attempt: &AttemptDir, path: &Path, last: Option<u64>) -> Result<Self, StoreError> {
        let (kept, bytes) = Self::kept(path, last)?;
        let own = attempt.own(path);
        let mut file = disk::open_to_write(&own).map_err(StoreError::at(&own))?;
        disk::write(&mut file, &bytes).map_err(StoreError::at(&own))?;
        let writer = Self::from(&own, &kept, file)?;
        if atomic::replace_by_link(&own, path)? {
            return Ok(writer);
        }
        atomic::remove_file_if(&own, |_| true)?;
        Self::open(path, last)
    }

    /// The rows at `path` up to step `last`, and their bytes.
    fn kept(path: &Path, last: Option<u64>) -> Result<(Curve<R>, Vec<u8>), StoreError> {
        check_folder(path)?;
        let Some(last) = last else { return Ok((scan::<R>(&[], 0), Vec::new())) };
        let mut bytes = atomic::read_up_to(path, TABLE)?.unwrap_or_default();
        let kept = scan::<R>(&bytes, last);
        bytes.truncate(kept.length as usize);
        Ok((kept, bytes))
    }

    /// A writer after the rows `kept` of the opened `file`.
    fn from(path: &Path, kept: &Curve<R>, file: File) -> Result<Self, StoreError> {
        let last = kept.rows.last().map(R::step);
        let (length, rows) = (kept.length, kept.rows.len() as u64);
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

    /// Appends one row. A row whose step is already in the file was computed again after a resume, and is dropped.
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

    /// A function for another thread: it waits until all rows so far are on the disk.
    pub fn syncing(&self) -> Result<impl FnOnce() -> Result<(), StoreError> + Send + use<R>, StoreError> {
        let (file, path) = (self.file.try_clone().map_err(StoreError::at(&self.path))?, self.path.clone());
        Ok(move || disk::sync(&file).map_err(StoreError::at(&path)))
    }

    fn put(&mut self) -> Result<(), StoreError> {
        if let Err(error) = disk::write(&mut self.file, self.line.as_bytes()) {
            // Part of the line may be in the file; readers must not see it.
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

/// Follows a curve file while it grows, and reads only new rows.
#[derive(Debug)]
pub struct CurveFollower<R> {
    path: PathBuf,
    offset: u64,
    row: PhantomData<R>,
}

impl<R: CurveRow> CurveFollower<R> {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, row: PhantomData }
    }

    /// The complete rows since the last call. A file that cannot be read has none: this is for display only.
    pub fn poll(&mut self) -> Vec<R> {
        self.read_new().unwrap_or_default()
    }

    fn read_new(&mut self) -> io::Result<Vec<R>> {
        self.path.parent().map_or(Ok(()), disk::check_folder)?;
        let mut file = disk::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            // A new attempt has cut it.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let bytes = disk::read_rest(&mut file, TABLE)?;
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
    use crate::trial::{DiagnosticRow, EvalRow, MetricRow};

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

    proptest! {
        /// A file that was cut anywhere and is continued at a step equals the file of an undisturbed run.
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
            prop_assert!(curve.length <= text.len() as u64);
        }
    }

    #[test]
    fn a_new_file_starts_empty_and_repeated_rows_are_dropped() {
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
    fn diagnostics_without_their_last_columns_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diagnostics.csv");
        let read_after = |old: &str, rows: [&str; 2]| {
            fs::write(&path, format!("{old}\n0,,,,{}\n10,0.5,1.5,0.001,{}\n", rows[0], rows[1])).unwrap();
            CurveWriter::open(&path, Some(10)).unwrap().append(&DiagnosticRow { step: 20, ..row(Some(3)) }).unwrap();
            let curve = read::<DiagnosticRow>(&path).unwrap();
            assert_eq!(curve.damaged, None);
            let answers = curve.rows.iter().map(|row| (row.predicted.len(), row.surest_wrong, row.surest_expected));
            answers.collect::<Vec<_>>()
        };
        let [second, first] = DiagnosticRow::OLD_HEADERS else { panic!("two") };
        let now = (2, Some(3), Some(1.5));
        assert_eq!(read_after(second, ["12 8,2", "10 10,"]), [(2, Some(2), None), (2, None, None), now]);
        assert_eq!(read_after(first, ["12 8", "10 10"]), [(2, None, None), (2, None, None), now]);
    }

    fn row(surest_wrong: Option<u32>) -> DiagnosticRow {
        DiagnosticRow {
            step: 1,
            first_grad_norm: None,
            last_grad_norm: None,
            update_ratio: None,
            predicted: vec![1, 2],
            surest_wrong,
            surest_expected: surest_wrong.map(|_| 1.5),
        }
    }

    #[test]
    fn a_damaged_line_ends_the_curve_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        assert!(read::<MetricRow>(&path).unwrap().rows.is_empty());
        let text = file(&[metric(1), metric(2), metric(3)]).replace("\n2,", "\ntwo,");
        fs::write(&path, text).unwrap();
        let curve = read::<MetricRow>(&path).unwrap();
        assert_eq!((curve.rows.len(), curve.damaged), (1, Some(3)));
    }

    #[test]
    fn a_follower_sees_each_row_once_also_after_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut follower = CurveFollower::<MetricRow>::new(path.clone());
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
