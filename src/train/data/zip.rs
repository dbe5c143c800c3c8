//! Finds the only data file in a zip archive (APPNOTE.TXT of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16).
//!
//! Stored and deflated files are read. Archives of more than 4 GiB (Zip64) and encrypted ones are not supported.

use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use super::columns::list_names;
use super::error::{DataError, DataErrorKind};
use super::split_name::{SplitName, begins_with};

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub name: String,
    method: u16,
    /// From the beginning of the packed content to the end of the archive.
    packed: &'a [u8],
    packed_length: usize,
}

impl<'a> Member<'a> {
    /// Unpacks the content.
    pub fn content(&self) -> std::io::Result<Box<dyn Read + 'a>> {
        let packed = self.packed.get(..self.packed_length).ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
        match self.method {
            0 => Ok(Box::new(packed)),
            8 => Ok(Box::new(flate2::read::DeflateDecoder::new(packed))),
            other => Err(Error::new(ErrorKind::Unsupported, format!("compression method {other} is not supported"))),
        }
    }
}

/// The data file in an archive: the only one, or the only one whose name is that of `split`. Hidden files, folders, and files such as README and LICENSE do not count. `source` names
/// the archive in errors.
pub(super) fn only_file<'a>(source: &str, archive: &'a [u8], split: SplitName) -> Result<Member<'a>, DataError> {
    let members = members(archive).ok_or_else(|| {
        let message = format!("{source}: cannot be unpacked: not a complete zip archive; copy the file again");
        DataError::new(DataErrorKind::Unreadable, message)
    })?;
    if members.iter().any(|member| member.name == "xl/workbook.xml") {
        let message = format!("{source}: this is an Excel workbook; save the sheet as CSV and give that file");
        return Err(DataError::new(DataErrorKind::Unsupported, message));
    }
    let is_hidden = |name: &str| name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    let mut files: Vec<Member<'a>> =
        members.into_iter().filter(|member| !member.name.ends_with('/') && !is_hidden(&member.name)).collect();
    // A text file or a file without an ending is data only if there is nothing better.
    for is_better in [|name: &str| !is_description(name), |name: &str| is_table(name)] {
        if files.len() > 1 && files.iter().any(|file| is_better(&file.name)) {
            files.retain(|file| is_better(&file.name));
        }
    }
    for prefix in split.prefixes() {
        let is_of_split = |file: &Member<'_>| begins_with(Path::new(&file.name), prefix);
        if files.len() > 1 && files.iter().filter(|file| is_of_split(file)).count() == 1 {
            files.retain(is_of_split);
        }
    }
    if files.len() == 1 {
        return Ok(files.remove(0));
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let which = if names.is_empty() { String::new() } else { format!(": {}", list_names(names.into_iter())) };
    let message = format!(
        "{source}: the archive has {} data files{which}; expected one, or one whose name begins with `train`. Unpack it and give the path of one of them, or of \
         their folder",
        files.len()
    );
    Err(DataError::new(DataErrorKind::Unsupported, message))
}

/// Whether a file describes the data, by its name.
fn is_description(name: &str) -> bool {
    const NAMES: [&str; 8] = ["readme", "license", "licence", "copying", "changelog", "citation", "notice", "metadata"];
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let is_document = [".md", ".pdf", ".html", ".htm", ".rst", ".doc", ".docx", ".bib", ".py", ".ipynb"];
    NAMES.iter().any(|start| name.starts_with(start)) || is_document.iter().any(|ending| name.ends_with(ending))
}

/// Whether the ending of a file's name is that of a table.
fn is_table(name: &str) -> bool {
    const ENDINGS: [&str; 7] = [".conll", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"];
    let name = name.to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The entries of the central directory; None if the archive is damaged.
fn members(archive: &[u8]) -> Option<Vec<Member<'_>>> {
    const END: &[u8] = b"PK\x05\x06";
    const ENTRY: &[u8] = b"PK\x01\x02";
    const LOCAL: &[u8] = b"PK\x03\x04";
    // A comment of at most 64 KiB may follow the end record of 22 bytes.
    let tail = archive.len().saturating_sub(22 + (1 << 16));
    let end = tail + archive[tail..].windows(END.len()).rposition(|window| window == END)?;
    archive.get(end..end + 22 + length_at(archive, end + 20)?)?;
    let count = u16_at(archive, end + 10)?;
    let mut at = u32_at(archive, end + 16)? as usize;
    let mut members = Vec::new();
    for _ in 0..count {
        if !archive.get(at..)?.starts_with(ENTRY) {
            return None;
        }
        let method = u16_at(archive, at + 10)?;
        let packed_length = u32_at(archive, at + 20)? as usize;
        let (name, extra, comment) =
            (length_at(archive, at + 28)?, length_at(archive, at + 30)?, length_at(archive, at + 32)?);
        let local = u32_at(archive, at + 42)? as usize;
        let name_bytes = archive.get(at + 46..at + 46 + name)?;
        if !archive.get(local..)?.starts_with(LOCAL) {
            return None;
        }
        let content = local + 30 + length_at(archive, local + 26)? + length_at(archive, local + 28)?;
        members.push(Member {
            name: String::from_utf8_lossy(name_bytes).into_owned(),
            method,
            packed: archive.get(content..)?,
            packed_length,
        });
        at += 46 + name + extra + comment;
    }
    Some(members)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    u16_at(bytes, at).map(usize::from)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;

    /// An archive with files of these names, all with the same content.
    pub fn archive(names: &[&str], content: &[u8], deflated: bool) -> Vec<u8> {
        let packed = if deflated {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            content.to_vec()
        };
        let (mut archive, mut directory) = (Vec::new(), Vec::new());
        for name in names {
            let mut common = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            common.extend((packed.len() as u32).to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend((archive.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
            archive.extend(b"PK\x03\x04");
            archive.extend(&common);
            archive.extend(name.as_bytes());
            archive.extend(&packed);
        }
        let start = archive.len() as u32;
        archive.extend(&directory);
        archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
        archive.extend([(names.len() as u16).to_le_bytes(), (names.len() as u16).to_le_bytes()].concat());
        archive.extend((directory.len() as u32).to_le_bytes());
        archive.extend(start.to_le_bytes());
        archive.extend([0, 0]);
        archive
    }

    #[test]
    fn stored_and_deflated_files_are_read_and_damage_is_an_error() {
        for deflated in [false, true] {
            let whole = archive(&["a.csv"], b"text,label\n", deflated);
            let mut content = String::new();
            only_file("FILE", &whole, SplitName::Train)
                .unwrap()
                .content()
                .unwrap()
                .read_to_string(&mut content)
                .unwrap();
            assert_eq!(content, "text,label\n");
            for length in 0..whole.len() {
                assert!(only_file("FILE", &whole[..length], SplitName::Train).is_err());
            }
        }
    }
}
