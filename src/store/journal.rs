//! `journal.jsonl`: the truth about what ran, one [`Record`] a line, append-only.
//!
//! A line is a single write, so a killed process leaves at most a torn last line, which is cut when the journal is opened.
//! A damaged line elsewhere is skipped and reported: what it said can mostly be seen from the trial folders.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{StoreError, atomic, disk};
use crate::event::Record;

/// What a journal's bytes say.
#[derive(Debug, Default)]
pub struct Reading {
    pub records: Vec<Record>,
    /// Lines that are no records.
    pub damaged: Vec<Damage>,
    /// Bytes up to the end of the last complete line.
    pub whole: u64,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Counts from 1.
    pub line: usize,
    pub message: String,
}

/// Reads a journal's bytes. A torn last line (no line end) is ignored.
fn parse(bytes: &[u8]) -> Reading {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut reading = Reading { whole: whole as u64, ..Reading::default() };
    for (index, line) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(record) => reading.records.push(record),
            Err(error) => reading.damaged.push(Damage { line: index + 1, message: error.to_string() }),
        }
    }
    reading
}

/// Reads the journal at `path`, also while another process appends. None yet: nothing happened.
pub fn read(path: &Path) -> Result<Reading, StoreError> {
    Ok(atomic::read(path)?.map_or_else(Reading::default, |bytes| parse(&bytes)))
}

/// Reads a journal that another process writes, each record once.
#[derive(Debug)]
pub struct JournalFollower {
    path: PathBuf,
    /// Which file it was, and how much of it was read. None before there was one.
    seen: Option<(u64, u64)>,
}

/// What was appended since the last look.
#[derive(Debug, Default, PartialEq)]
pub struct News {
    pub records: Vec<Record>,
    /// The file is another one, as after a fresh start: the records are all of it, and earlier ones count no more.
    pub anew: bool,
}

impl JournalFollower {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The complete records since the last call; damaged lines are passed over.
    pub fn poll(&mut self) -> Result<News, StoreError> {
        match self.read_new() {
            Ok(news) => Ok(news),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(News::default()),
            Err(error) => Err(StoreError::at(&self.path)(error)),
        }
    }

    fn read_new(&mut self) -> io::Result<News> {
        let mut file = disk::open(&self.path)?;
        let metadata = file.metadata()?;
        let known = self.seen.filter(|(inode, read)| *inode == metadata.ino() && *read <= metadata.len());
        let start = known.map_or(0, |(_, read)| read);
        file.seek(SeekFrom::Start(start))?;
        let reading = parse(&disk::read_rest(&mut file)?);
        let anew = known.is_none() && self.seen.is_some();
        self.seen = Some((metadata.ino(), start + reading.whole));
        Ok(News { records: reading.records, anew })
    }
}

/// An open journal. Its holder has the sweep's lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Length in complete lines.
    length: u64,
}

impl Journal {
    /// Opens or makes the journal, cuts a torn last line, and reads the rest.
    pub fn open(path: &Path) -> Result<(Self, Reading), StoreError> {
        let reading = read(path)?;
        let mut file = disk::open_to_write(path).map_err(StoreError::at(path))?;
        let length = reading.whole;
        file.set_len(length).and_then(|()| file.seek(SeekFrom::End(0))).map_err(StoreError::at(path))?;
        Ok((Self { path: path.to_owned(), file, length }, reading))
    }

    /// Appends one line. After an error the journal is as before.
    ///
    /// Does not wait for the disk: after a power cut the last events may be missing, and are found again in the trial folders.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let mut line =
            serde_json::to_vec(record).map_err(|error| StoreError::damaged(&self.path, error.to_string()))?;
        line.push(b'\n');
        if let Err(error) = disk::write(&mut self.file, &line) {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(StoreError::at(&self.path)(error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until everything appended is on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        disk::sync(&self.file).map_err(StoreError::at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::event::Event;
    use crate::trial::TrialId;

    fn record(at: u64) -> Record {
        Record { at, event: Event::TrialRequeued { trial: TrialId::parse("0123456789ab").unwrap() } }
    }

    #[test]
    fn every_cut_gives_a_prefix_and_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        for at in 0..3 {
            journal.append(&record(at)).unwrap();
        }
        let bytes = fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, reading) = Journal::open(&path).unwrap();
            let whole = bytes[..cut].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(reading.records, (0..whole as u64).map(record).collect::<Vec<_>>());
            journal.append(&record(9)).unwrap();
            let again = read(&path).unwrap();
            assert_eq!(again.records.len(), whole + 1);
            assert!(again.damaged.is_empty());
        }
    }

    #[test]
    fn a_follower_reads_each_record_once_and_notices_another_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut follower = JournalFollower::new(path.clone());
        assert_eq!(follower.poll().unwrap(), News::default(), "nothing happened yet");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&record(1)).unwrap();
        assert_eq!(follower.poll().unwrap(), News { records: vec![record(1)], anew: false });
        let mut line = serde_json::to_vec(&record(2)).unwrap();
        line.push(b'\n');
        let (half, rest) = line.split_at(9);
        for (piece, expected) in [(half, vec![]), (rest, vec![record(2)]), (b"", vec![])] {
            disk::write(&mut journal.file, piece).unwrap();
            assert_eq!(follower.poll().unwrap(), News { records: expected, anew: false });
        }
        fs::rename(&path, folder.path().join("old.jsonl")).unwrap();
        let (mut journal, _) = Journal::open(&path).unwrap();
        (3..6).for_each(|at| journal.append(&record(at)).unwrap());
        let expected = News { records: (3..6).map(record).collect(), anew: true };
        assert_eq!(follower.poll().unwrap(), expected);
    }

    #[test]
    fn a_damaged_line_is_skipped_and_reported() {
        let mut bytes = serde_json::to_vec(&record(1)).unwrap();
        bytes.extend(b"\n{\"at\":2,\"event\":\"from the fu\0\xff\n\n");
        bytes.extend(serde_json::to_vec(&record(3)).unwrap());
        bytes.push(b'\n');
        let reading = parse(&bytes);
        assert_eq!(reading.records, [record(1), record(3)]);
        assert_eq!(reading.damaged.iter().map(|damage| damage.line).collect::<Vec<_>>(), [2]);
    }
}
