//! Decodes the bytes of a text file.
//!
//! A byte-order mark decides first, then `data.encoding`, then UTF-8 with at most a few faulty bytes. Otherwise the encoding is detected from the
//! content: UTF-16 by its zero bytes, other encodings by `chardetng`, the detector of Firefox.

use std::borrow::Cow;

use chardetng::EncodingDetector;
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};

use super::error::DataError;

/// The text of a file and the encoding that was used.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub text: Cow<'a, str>,
    pub encoding: &'static Encoding,
    /// Faulty characters of a UTF-8 file that became `U+FFFD`.
    pub replaced: usize,
}

/// Finds an encoding by a name of web browsers or of Python, such as `latin-1`, `windows-1252`, `cp1252`, `utf-16`.
pub(super) fn by_name(name: &str) -> Option<&'static Encoding> {
    let name = name.trim().to_ascii_lowercase().replace('_', "-").replace("cp-", "cp");
    let name = match name.as_str() {
        "utf-8-sig" => "utf-8",
        "utf-16-le" => "utf-16le",
        "utf-16-be" => "utf-16be",
        "latin-1" => "latin1",
        "cp932" | "shift-jisx0213" => "shift-jis",
        "cp936" => "gbk",
        "cp949" => "euc-kr",
        "cp950" => "big5",
        "cp874" => "windows-874",
        "iso2022-jp" => "iso-2022-jp",
        "mac-roman" => "macintosh",
        other => other,
    };
    Encoding::for_label(name.as_bytes())
}

/// What to do about a file in an encoding that is not read.
pub(super) fn conversion(name: &str) -> String {
    format!("convert it: iconv -f {name} -t UTF-8 FILE > NEW_FILE")
}

/// Decodes a file. `source` names it in errors. `wanted` is the value of `data.encoding`.
pub(super) fn decode<'a>(
    source: &str,
    bytes: &'a [u8],
    wanted: Option<&'static Encoding>,
) -> Result<Decoded<'a>, DataError> {
    if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
        return Err(DataError::malformed(format!("{source}: the file is UTF-32; {}", conversion("UTF-32"))));
    }
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return decode_as(source, &bytes[mark..], encoding);
    }
    if let Some(encoding) = wanted {
        return decode_as(source, bytes, encoding);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && utf16_without_mark(bytes).is_none()
    {
        // Japanese mails switch between character sets with escape sequences of ASCII.
        if text.contains("\x1b$")
            && let Some(text) = ISO_2022_JP.decode_without_bom_handling_and_without_replacement(bytes)
        {
            return Ok(Decoded { text, encoding: ISO_2022_JP, replaced: 0 });
        }
        // Some programs fill the last block of a file with zeros.
        return Ok(Decoded { text: text.trim_end_matches('\0').into(), encoding: UTF_8, replaced: 0 });
    }
    if let Some(decoded) = mostly_utf8(bytes) {
        return Ok(decoded);
    }
    let encoding = utf16_without_mark(bytes).unwrap_or_else(|| {
        let mut detector = EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
        detector.feed(bytes, true);
        detector.guess(None, chardetng::Utf8Detection::Deny)
    });
    decode_as(source, bytes, encoding)
}

fn decode_as<'a>(source: &str, bytes: &'a [u8], encoding: &'static Encoding) -> Result<Decoded<'a>, DataError> {
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(Decoded { text, encoding, replaced: 0 }),
        None => Err(undecodable(source, bytes, encoding)),
    }
}

/// UTF-8 with a few faulty bytes, as in a file that was put together from several. Text of another encoding hardly ever holds
/// valid characters of several bytes.
fn mostly_utf8(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (mut valid, mut faulty) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        faulty += usize::from(!chunk.invalid().is_empty());
    }
    let text = || String::from_utf8_lossy(bytes);
    (faulty > 0 && valid >= 4 * faulty).then(|| Decoded { text: text(), encoding: UTF_8, replaced: faulty })
}

fn undecodable(source: &str, bytes: &[u8], encoding: &'static Encoding) -> DataError {
    let name = encoding.name();
    if encoding == UTF_8
        && let Err(error) = std::str::from_utf8(bytes)
    {
        let valid = error.valid_up_to();
        let line = bytes[..valid].split(|byte| *byte == b'\n').count();
        return DataError::malformed(format!(
            "{source}:{line}: byte 0x{:02x} is not {name}; set data.encoding to the encoding of the file, such as \
             windows-1252, or leave data.encoding out",
            bytes[valid]
        ))
        .caused_by(error);
    }
    DataError::malformed(format!(
        "{source}: the file is not valid {name}; set data.encoding to the encoding of the file"
    ))
}

/// UTF-16 if at least a third of the bytes at even or at odd offsets is zero, and hardly any of the others. Texts without Latin
/// letters have fewer zeros: those of the line ends then decide.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(4096) & !1];
    let (units, _) = sample.as_chunks::<2>();
    let lines = |unit: [u8; 2]| units.iter().filter(|other| **other == unit).count();
    let line_ends = sample.split(|byte| *byte == b'\n').count() - 1;
    // Some other characters have a byte that is a line end.
    match (lines([b'\n', 0]), lines([0, b'\n'])) {
        (little @ 1.., 0) if 2 * little >= line_ends => return Some(UTF_16LE),
        (0, big @ 1..) if 2 * big >= line_ends => return Some(UTF_16BE),
        _ => {}
    }
    let (mut even, mut odd) = (0, 0);
    for (offset, _) in sample.iter().enumerate().filter(|(_, byte)| **byte == 0) {
        *(if offset % 2 == 0 { &mut even } else { &mut odd }) += 1;
    }
    let many = |zeros: usize| 6 * zeros > sample.len() && zeros > 1;
    match (many(even), many(odd)) {
        (false, true) if 20 * even <= odd => Some(UTF_16LE),
        (true, false) if 20 * odd <= even => Some(UTF_16BE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], wanted: Option<&str>, expected: (&str, &str)) {
        let decoded = decode("FILE", bytes, wanted.map(|name| by_name(name).unwrap())).unwrap();
        assert_eq!((&*decoded.text, decoded.encoding.name()), expected);
    }

    #[test]
    fn encodings_are_detected() {
        check("naïve".as_bytes(), None, ("naïve", "UTF-8"));
        check("\u{feff}naïve".as_bytes(), None, ("naïve", "UTF-8"));
        check(
            b"text,label\nun caf\xe9 cher \xe0 la gare,1\n",
            None,
            ("text,label\nun café cher à la gare,1\n", "windows-1252"),
        );
        check(b"it\x92s \x805,1\n", None, ("it’s €5,1\n", "windows-1252"));
        let utf16: Vec<u8> = "text,label\nnaïve,1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&utf16, None, ("text,label\nnaïve,1\n", "UTF-16LE"));
        check(&[b"\xff\xfe".as_slice(), &utf16].concat(), None, ("text,label\nnaïve,1\n", "UTF-16LE"));
        check(b"caf\xe9", Some("latin-1"), ("café", "windows-1252"));
        check(b"one\0two", None, ("one\0two", "UTF-8"));
        check(b"one\0two\nthree\0\n", None, ("one\0two\nthree\0\n", "UTF-8"));
        let chinese = "文本\t标签\n这部电影很好\t1\n一般\t0\n";
        let little: Vec<u8> = chinese.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = chinese.encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(&little, None, (chinese, "UTF-16LE"));
        check(&big, None, (chinese, "UTF-16BE"));
        check(b"\x1b$B$3$l\x1b(B,1\n", None, ("これ,1\n", "ISO-2022-JP"));
    }

    #[test]
    fn a_faulty_byte_does_not_make_a_file_another_encoding() {
        let decoded = decode("FILE", b"\xc3\xa9t\xc3\xa9 \xc3\xa0 \xc3\xa8 caf\xe9\n", None).unwrap();
        assert_eq!((&*decoded.text, decoded.encoding.name(), decoded.replaced), ("été à è caf\u{fffd}\n", "UTF-8", 1));
        assert_ne!(decode("FILE", b"\xc3\xa9 caf\xe9 \xe0\n", None).unwrap().encoding, UTF_8);
    }

    #[test]
    fn names_of_encodings() {
        for (name, expected) in
            [("Latin-1", "windows-1252"), ("cp1252", "windows-1252"), ("utf_8", "UTF-8"), ("UTF-16", "UTF-16LE")]
                .into_iter()
                .chain([
                    ("cp932", "Shift_JIS"),
                    ("shift_jis", "Shift_JIS"),
                    ("utf_16_be", "UTF-16BE"),
                    ("cp-1252", "windows-1252"),
                ])
        {
            assert_eq!(by_name(name).unwrap().name(), expected);
        }
        assert!(by_name("klingon").is_none());
    }

    #[test]
    fn an_encoding_that_is_not_read_is_named() {
        let utf32: Vec<u8> = "\u{feff}text".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        let message = decode("FILE", &utf32, None).unwrap_err().to_string();
        assert_eq!(message, "FILE: the file is UTF-32; convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW_FILE");
    }

    #[test]
    fn a_wrong_encoding_names_the_line() {
        let message = decode("FILE", b"a\nb\xe9c\n", Some(UTF_8)).unwrap_err().to_string();
        assert!(message.starts_with("FILE:2: byte 0xe9 is not UTF-8; "), "{message}");
    }
}
