//! `journal.jsonl`: the record of what ran, one [`Record`] per line, append-only.
//!
//! A line is a single write, so a killed process leaves at most one incomplete last line. It is cut off when the journal is
//! opened. A damaged line elsewhere is skipped and reported: the folders of the trials mostly hold the same facts.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::disk::TABLE;
use super::{StoreError, atomic, disk};
use crate::event::Record;

/// The content of a journal.
#[derive(Debug, Default)]
pub struct JournalContent {
    pub records: Vec<Record>,
    /// Lines that are not records.
    pub damaged: Vec<DamagedLine>,
    /// Bytes up to the end of the last complete line.
    pub length: u64,
}

/// A line that is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedLine {
    /// Counts from 1.
    pub line: usize,
    pub message: String,
}

/// Reads the bytes of a journal. A last line without a line end is ignored.
fn parse(bytes: &[u8]) -> JournalContent {
    let length = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut content = JournalContent { length: length as u64, ..JournalContent::default() };
    for (index, line) in bytes[..length].split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(record) => content.records.push(record),
            Err(error) => content.damaged.push(DamagedLine { line: index + 1, message: error.to_string() }),
        }
    }
    content
}

/// Reads the journal at `path`, also while another process appends. A missing journal is empty.
pub fn read(path: &Path) -> Result<JournalContent, StoreError> {
    Ok(atomic::read_up_to(path, TABLE)?.map_or_else(JournalContent::default, |bytes| parse(&bytes)))
}

/// Follows a journal that another process writes, and reads each record once.
#[derive(Debug)]
pub struct JournalFollower {
    path: PathBuf,
    /// The inode of the file and how many bytes of it were read. None before the file exists.
    seen: Option<(u64, u64)>,
}

/// The records that were appended since the last look.
#[derive(Debug, Default, PartialEq)]
pub struct NewRecords {
    pub records: Vec<Record>,
    /// The file was replaced, as by `run --fresh`. Then `records` is its whole content, and earlier records no longer hold.
    pub is_new_file: bool,
}

impl JournalFollower {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The complete records since the last call. Damaged lines are skipped.
    pub fn poll(&mut self) -> Result<NewRecords, StoreError> {
        match self.read_new() {
            Ok(new) => Ok(new),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(NewRecords::default()),
            Err(error) => Err(StoreError::at(&self.path)(error)),
        }
    }

    fn read_new(&mut self) -> io::Result<NewRecords> {
        let mut file = disk::open(&self.path)?;
        let metadata = file.metadata()?;
        let known = self.seen.filter(|(inode, read)| *inode == metadata.ino() && *read <= metadata.len());
        let start = known.map_or(0, |(_, read)| read);
        file.seek(SeekFrom::Start(start))?;
        let content = parse(&disk::read_rest(&mut file, TABLE)?);
        let is_new_file = known.is_none() && self.seen.is_some();
        self.seen = Some((metadata.ino(), start + content.length));
        Ok(NewRecords { records: content.records, is_new_file })
    }
}

/// An open journal. Its owner holds the lock of the sweep.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Length in complete lines.
    length: u64,
}

impl Journal {
    /// Opens or creates the journal, cuts off an incomplete last line, and reads the rest.
    pub fn open(path: &Path) -> Result<(Self, JournalContent), StoreError> {
        let content = read(path)?;
        let file = disk::open_to_append(path).map_err(StoreError::at(path))?;
        let length = content.length;
        file.set_len(length).map_err(StoreError::at(path))?;
        Ok((Self { path: path.to_owned(), file, length }, content))
    }

    /// Appends one line. After an error the journal is as before.
    ///
    /// Does not wait for the disk: after a power cut the last events may be missing. The next run finds them in the folders of the trials.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(record).map_err(|error| StoreError::damaged(&self.path, error))?;
        line.push(b'\n');
        if let Err(error) = disk::write(&mut self.file, &line) {
            let _ = self.file.set_len(self.length);
            return Err(StoreError::at(&self.path)(error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Restores the journal if a user has deleted or replaced the file. True if it had to.
    pub fn restore(&mut self) -> Result<bool, StoreError> {
        let named = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino())).ok();
        let opened =
            self.file.metadata().map(|found| (found.dev(), found.ino())).map_err(StoreError::at(&self.path))?;
        if named == Some(opened) {
            return Ok(false);
        }
        // The deleted file can still be read through the open handle.
        let mut bytes = Vec::new();
        self.file.rewind().map_err(StoreError::at(&self.path))?;
        bytes.extend(disk::read_rest(&mut self.file, TABLE).map_err(StoreError::at(&self.path))?);
        atomic::write(&self.path, &bytes)?;
        self.file = disk::open_to_append(&self.path).map_err(StoreError::at(&self.path))?;
        self.length = bytes.len() as u64;
        Ok(true)
    }

    /// Waits until all appended lines are on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        disk::sync(&self.file).map_err(StoreError::at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::trial::TrialId;

    fn record(at: u64) -> Record {
        Record { at, event: Event::TrialRequeued { trial: TrialId::parse("0123456789ab").unwrap() } }
    }

    #[test]
    fn a_journal_cut_at_any_byte_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        for at in 0..3 {
            journal.append(&record(at)).unwrap();
        }
        let bytes = fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, content) = Journal::open(&path).unwrap();
            let whole = bytes[..cut].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(content.records, (0..whole as u64).map(record).collect::<Vec<_>>());
            journal.append(&record(9)).unwrap();
            let again = read(&path).unwrap();
            assert_eq!(again.records.len(), whole + 1);
            assert!(again.damaged.is_empty());
        }
    }

    #[test]
    fn a_follower_reads_each_record_once_and_notices_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut follower = JournalFollower::new(path.clone());
        assert_eq!(follower.poll().unwrap(), NewRecords::default(), "nothing happened yet");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&record(1)).unwrap();
        assert_eq!(follower.poll().unwrap(), NewRecords { records: vec![record(1)], is_new_file: false });
        let mut line = serde_json::to_vec(&record(2)).unwrap();
        line.push(b'\n');
        let (half, rest) = line.split_at(9);
        for (piece, expected) in [(half, vec![]), (rest, vec![record(2)]), (b"", vec![])] {
            disk::write(&mut journal.file, piece).unwrap();
            assert_eq!(follower.poll().unwrap(), NewRecords { records: expected, is_new_file: false });
        }
        fs::rename(&path, folder.path().join("old.jsonl")).unwrap();
        let (mut journal, _) = Journal::open(&path).unwrap();
        (3..6).for_each(|at| journal.append(&record(at)).unwrap());
        let expected = NewRecords { records: (3..6).map(record).collect(), is_new_file: true };
        assert_eq!(follower.poll().unwrap(), expected);
    }

    #[test]
    fn a_deleted_journal_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&record(1)).unwrap();
        assert!(!journal.restore().unwrap());
        fs::remove_file(&path).unwrap();
        assert!(journal.restore().unwrap());
        journal.append(&record(2)).unwrap();
        assert_eq!(read(&path).unwrap().records, [record(1), record(2)]);
        // Lines are appended to a file that a user has emptied; there is no hole before them.
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        journal.append(&record(3)).unwrap();
        assert_eq!(read(&path).unwrap().records, [record(3)]);
    }

    #[test]
    fn a_damaged_line_is_skipped_and_reported() {
        let mut bytes = serde_json::to_vec(&record(1)).unwrap();
        bytes.extend(b"\n{\"at\":2,\"event\":\"from the fu\0\xff\n\n");
        bytes.extend(serde_json::to_vec(&record(3)).unwrap());
        bytes.push(b'\n');
        let content = parse(&bytes);
        assert_eq!(content.records, [record(1), record(3)]);
        assert_eq!(content.damaged.iter().map(|damage| damage.line).collect::<Vec<_>>(), [2]);
    }
}
