//! Decodes the bytes of a text file.
//!
//! A byte-order mark decides first, then `data.encoding`, then UTF-8 with at most a few faulty bytes. Otherwise the encoding is detected from the
//! content: UTF-16 by its zero bytes, other encodings by `chardetng`, the detector of Firefox. A file with few letters beyond ASCII is
//! Windows-1252, and that is called a guess: the detector would take `£100` for Polish. Some files that the detector
//! takes for others are found by what its choice makes of them: Hungarian, Lithuanian, and those of old Macs.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chardetng::EncodingDetector;
use encoding_rs::{
    Encoding, ISO_2022_JP, MACINTOSH, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1252, WINDOWS_1257,
};

use super::error::DataError;

/// The text of a file and the encoding that was used.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub text: Cow<'a, str>,
    pub encoding: &'static Encoding,
    /// Faulty characters of a UTF-8 file that became `U+FFFD`.
    pub replaced: usize,
    /// Whether the encoding is not sure: the file has too few letters beyond ASCII, or they stand where none belong.
    pub is_guess: bool,
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
            return Ok(Decoded { text, encoding: ISO_2022_JP, replaced: 0, is_guess: false });
        }
        // Some programs fill the last block of a file with zeros.
        return Ok(Decoded { text: text.trim_end_matches('\0').into(), encoding: UTF_8, replaced: 0, is_guess: false });
    }
    if let Some(decoded) = mostly_utf8(bytes) {
        return Ok(decoded);
    }
    if let Some(encoding) = utf16_without_mark(bytes) {
        return decode_as(source, bytes, encoding);
    }
    let mut detector = EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(&without_symbols(bytes), true);
    let encoding = match detector.guess(None, chardetng::Utf8Detection::Deny) {
        western if western == WINDOWS_1252 && is_hungarian(bytes) => WINDOWS_1250,
        central if central == WINDOWS_1250 && is_lithuanian(bytes) => WINDOWS_1257,
        other => other,
    };
    let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
    let misplaced = misplaced_characters(&text);
    let is_odd = misplaced >= ENOUGH_LETTERS;
    if is_odd {
        let (of_mac, _) = MACINTOSH.decode_without_bom_handling(bytes);
        if 4 * misplaced_characters(&of_mac) <= misplaced {
            return Ok(Decoded { text: of_mac, encoding: MACINTOSH, replaced: 0, is_guess: true });
        }
    }
    match (foreign_letters(&text), has_errors) {
        (ENOUGH_LETTERS.., true) => Err(undecodable(source, bytes, encoding)),
        (ENOUGH_LETTERS.., false) => Ok(Decoded { text, encoding, replaced: 0, is_guess: is_odd }),
        (few, _) => {
            let is_guess = few == 0 || encoding != WINDOWS_1252 || is_odd;
            Ok(Decoded { is_guess, ..decode_as(source, bytes, WINDOWS_1252)? })
        }
    }
}

/// The bytes with a space for each one beyond ASCII that stands between spaces, digits and punctuation, such as `£` and `±`. It says
/// nothing about the language, which decides between encodings.
fn without_symbols(bytes: &[u8]) -> Vec<u8> {
    let is_of_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    let is_symbol = |at: usize| {
        !bytes[at].is_ascii()
            && !is_of_word(bytes.get(at + 1))
            && !is_of_word(at.checked_sub(1).and_then(|at| bytes.get(at)))
    };
    (0..bytes.len()).map(|at| if is_symbol(at) { b' ' } else { bytes[at] }).collect()
}

/// Whether bytes are Hungarian in Windows-1250 (or ISO-8859-2). It shares all letters with Windows-1252 but ő and ű, which are õ and û
/// there. No language has these beside accents and umlauts.
fn is_hungarian(bytes: &[u8]) -> bool {
    let letters = letters_beyond_ascii(bytes, WINDOWS_1252);
    let [acute, umlaut, double_acute] = ["áéíóú", "öü", "õû"].map(|some| count_of(some, &letters));
    acute.min(umlaut).min(double_acute) > 0 && is_nearly_all(acute + umlaut + double_acute, &letters)
}

/// Whether bytes are Lithuanian in Windows-1257 (or ISO-8859-13). In Windows-1250 they are letters that no language has together.
fn is_lithuanian(bytes: &[u8]) -> bool {
    let letters = letters_beyond_ascii(bytes, WINDOWS_1257);
    let [e, others] = ["ė", "ąčęįšųūž"].map(|some| count_of(some, &letters));
    e.min(others) > 0 && is_nearly_all(e + others, &letters)
}

/// The letters beyond ASCII of a text, as small letters.
fn letters_beyond_ascii(bytes: &[u8], encoding: &'static Encoding) -> String {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

fn count_of(some: &str, letters: &str) -> usize {
    letters.chars().filter(|c| some.contains(*c)).count()
}

/// All but one in twenty: a text may hold a foreign name.
fn is_nearly_all(known: usize, letters: &str) -> bool {
    20 * (letters.chars().count() - known) <= known
}

/// The number of characters beyond ASCII between two small letters that are neither small letters nor punctuation of words. They
/// are the letters of another encoding.
fn misplaced_characters(text: &str) -> usize {
    const PUNCTUATION: &str = "’‘´–—…·\u{ad}\u{a0}";
    let mut around = ['\0'; 2];
    let mut count = 0;
    for after in text.chars() {
        let [before, c] = around;
        let stands_in_word = before.is_lowercase() && after.is_lowercase();
        let belongs = c.is_ascii() || c.is_lowercase() || PUNCTUATION.contains(c);
        let has_no_case = c.is_alphabetic() && !c.is_uppercase();
        count += usize::from(stands_in_word && !belongs && !has_no_case);
        around = [c, after];
    }
    count
}

/// So many different letters beyond ASCII tell the encoding of a file.
const ENOUGH_LETTERS: usize = 3;

/// The number of different letters beyond ASCII in the words of a text, up to [`ENOUGH_LETTERS`].
fn foreign_letters(text: &str) -> usize {
    let mut found = BTreeSet::new();
    let mut before = ' ';
    for after in text.chars() {
        if before.is_alphabetic() && after.is_alphabetic() {
            found.extend([before, after].into_iter().filter(|letter| !letter.is_ascii()));
        }
        if found.len() >= ENOUGH_LETTERS {
            return ENOUGH_LETTERS;
        }
        before = after;
    }
    found.len()
}

fn decode_as<'a>(source: &str, bytes: &'a [u8], encoding: &'static Encoding) -> Result<Decoded<'a>, DataError> {
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(Decoded { text, encoding, replaced: 0, is_guess: false }),
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
    (faulty > 0 && valid >= 4 * faulty).then(|| Decoded {
        text: text(),
        encoding: UTF_8,
        replaced: faulty,
        is_guess: false,
    })
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
    fn symbols_do_not_make_a_file_another_encoding() {
        for text in [
            "Claim your £100\n",
            "it’s £0 - ok\n",
            "€0 or £0\n",
            "a naïve view\n",
            "error ±5 volts\n",
            "they wrote «yes»\n",
            "5 µm thick\n",
            "add 5 ½ cups\n",
            "it is 5°C\n",
            "Brand® is nice\n",
            "don´t\n",
            "hello\u{a0}world\n",
            "a naïve café, £100 or ±5 %\n",
        ] {
            let (bytes, _, is_lossy) = WINDOWS_1252.encode(text);
            assert!(!is_lossy);
            for count in [1, 60] {
                let decoded = decode("FILE", &bytes.repeat(count), None).map(|decoded| decoded.text.into_owned());
                assert_eq!(decoded.unwrap(), text.repeat(count));
            }
        }
        assert!(decode("FILE", b"Claim your \xa3100\n", None).unwrap().is_guess);
        assert!(!decode("FILE", b"un caf\xe9 \xe0 la gare\n", None).unwrap().is_guess);
    }

    #[test]
    fn letters_decide_between_encodings() {
        for (label, text) in [
            ("windows-1252", "un café à la crème brûlée, £5\n"),
            ("windows-1250", "Książka jest świetna, ale film był nudny i za długi\n"),
            ("iso-8859-2", "Tenhle film byl opravdu skvělý, ale knížka je ještě lepší než všechno\n"),
            ("windows-1250", "Az idő rövid volt, de a gyűrű tetszik és a pincér kedves\n"),
            ("iso-8859-2", "Jövő héten újra jövünk, őszintén ajánlom, bár szűk a hely és kicsi az étel\n"),
            (
                "windows-1257",
                "Labai geras maistas, tačiau kambarys mažas, pusryčiai prasti ir naktį triukšmauja gatvėje\n",
            ),
            ("windows-1252", "não há reclamações, põe o avô à mesa e não é freqüente\n"),
            ("windows-1252", "où êtes-vous, c’est gênant, sûr, ça fait plaisir\n"),
            ("windows-1252", "Väga hea toit, ilus õhtu, täname, hommikusöök külm\n"),
            ("windows-1251", "Этот фильм мне очень понравился\n"),
            ("windows-1254", "Bu film çok güzeldi ama başı biraz sıkıcıydı, yine de beğendim\n"),
            ("shift_jis", "この映画はとても面白かったです\n"),
            ("gbk", "这部电影非常好看，我很喜欢\n"),
            ("euc-kr", "이 영화는 정말 재미있었어요\n"),
        ] {
            let encoding = by_name(label).unwrap();
            let (bytes, _, is_lossy) = encoding.encode(text);
            assert!(!is_lossy);
            let bytes = bytes.repeat(3);
            let decoded = decode("FILE", &bytes, None).unwrap();
            assert_eq!((&*decoded.text, decoded.is_guess), (text.repeat(3).as_str(), false), "{label}");
        }
    }

    /// Files of Excel on a Mac, and of DOS.
    #[test]
    fn letters_that_stand_where_none_belong() {
        let text = "Un café était propre, le déjeuner médiocre, très cher, ça gêne\n".repeat(3);
        // The encoding library of browsers does not write this encoding.
        let mac = |c: char| match c {
            'é' => 0x8e,
            'è' => 0x8f,
            'ê' => 0x90,
            'ç' => 0x8d,
            c => c as u8,
        };
        let decoded =
            decode("FILE", &text.chars().map(mac).collect::<Vec<u8>>(), None).map(|decoded| decoded.text.into_owned());
        assert_eq!(decoded.unwrap(), text);
        let dos = |c: char| match c {
            'é' => 0x82,
            'è' => 0x8a,
            'ê' => 0x88,
            'ç' => 0x87,
            c => c as u8,
        };
        assert!(decode("FILE", &text.chars().map(dos).collect::<Vec<u8>>(), None).unwrap().is_guess);
        let clean = "un café à la crème, l’été—déjà… c·est naïf\n".repeat(3);
        let (bytes, _, _) = WINDOWS_1252.encode(&clean);
        assert!(!decode("FILE", &bytes, None).unwrap().is_guess);
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
