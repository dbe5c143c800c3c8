//! Splits a text into words and the gaps between them, so that words can be replaced, moved or deleted while the rest of
//! the text is kept.
//!
//! A word is a run of letters and digits with single apostrophes, hyphens or underscores inside. A link, an address, an
//! @name or a #hashtag is one word. Emoticons, emoji, punctuation and white space belong to the gaps.

use std::ops::Range;

use super::word_lists::{is_negation, is_number_word};

/// Whether a word may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordKind {
    /// May be deleted or replaced.
    Editable,
    /// A negation, number, link, @name or hashtag. It stays in the text, but may be moved.
    Protected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    span: Range<usize>,
    kind: WordKind,
}

#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    text: &'a str,
    words: Vec<Word>,
}

impl<'a> Words<'a> {
    pub fn parse(text: &'a str) -> Self {
        let mut words = Vec::new();
        let mut at = 0;
        for chunk in text.split_inclusive(char::is_whitespace) {
            let end = at + chunk.len();
            parse_chunk(chunk.trim_end(), at, &mut words);
            at = end;
        }
        Self { text, words }
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn word(&self, index: usize) -> &'a str {
        &self.text[self.words[index].span.clone()]
    }

    /// The byte range of word `index` in the text.
    pub fn span(&self, index: usize) -> Range<usize> {
        self.words[index].span.clone()
    }

    pub fn kind(&self, index: usize) -> WordKind {
        self.words[index].kind
    }

    /// The gap before word `index`; for `index == len()` the gap after the last word.
    pub fn gap(&self, index: usize) -> &'a str {
        let start = index.checked_sub(1).map_or(0, |before| self.words[before].span.end);
        let end = self.words.get(index).map_or(self.text.len(), |word| word.span.start);
        &self.text[start..end]
    }

    /// The text with each word i replaced by `word(i)`.
    pub fn rebuild<'b>(&self, mut word: impl FnMut(usize) -> &'b str) -> String {
        let mut text = String::with_capacity(self.text.len() + 16);
        for index in 0..self.len() {
            text.push_str(self.gap(index));
            text.push_str(word(index));
        }
        text.push_str(self.gap(self.len()));
        text
    }

    /// The text with each piece inserted directly before its word. Indices must be in rising order.
    pub fn with_insertions<'b>(&self, pieces: impl Iterator<Item = (usize, &'b str)>) -> String {
        let mut text = String::with_capacity(self.text.len() + 16);
        let mut done = 0;
        for (index, piece) in pieces {
            let at = self.words[index].span.start;
            text.push_str(&self.text[done..at]);
            text.push_str(piece);
            done = at;
        }
        text.push_str(&self.text[done..]);
        text
    }

    /// The text without the words of `deleted`. Punctuation stays. White space before a deleted word is deleted too.
    pub fn without(&self, deleted: &[bool]) -> String {
        let mut text = String::with_capacity(self.text.len());
        for index in 0..=self.len() {
            let gap = self.gap(index);
            let after_deleted = index > 0 && deleted[index - 1];
            let before = text.trim_end_matches(['(', '[', '{', '“', '‘']);
            let opens = before.trim_end().is_empty() || (before.len() < text.len() && before.ends_with(' '));
            text.push_str(if after_deleted && opens { gap.trim_start() } else { gap });
            match deleted.get(index) {
                Some(true) => text.truncate(text.trim_end().len()),
                Some(false) => text.push_str(self.word(index)),
                None => {}
            }
        }
        text
    }
}

/// Appends the words of a chunk of text without white space. The chunk begins at byte `start` of the text.
fn parse_chunk(chunk: &str, start: usize, words: &mut Vec<Word>) {
    let before = chunk.len() - chunk.trim_start_matches(OPENING).len();
    let core = chunk[before..].trim_end_matches(CLOSING);
    if is_protected_chunk(core) {
        words.push(Word { span: start + before..start + before + core.len(), kind: WordKind::Protected });
        return;
    }
    let mut rest = chunk;
    while !rest.is_empty() && !is_emoticon(rest) {
        let length = word_length(rest);
        if length == 0 {
            rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
            continue;
        }
        let at = start + chunk.len() - rest.len();
        let kind = if is_protected(&rest[..length]) { WordKind::Protected } else { WordKind::Editable };
        words.push(Word { span: at..at + length, kind });
        rest = &rest[length..];
    }
}

const OPENING: &[char] = &['(', '[', '{', '<', '"', '\'', '“', '‘', '*', '~', '-', '.', ','];
const CLOSING: &[char] =
    &['.', ',', '!', '?', ';', ':', ')', ']', '}', '>', '"', '\'', '”', '’', '…', '*', '~', '-', '–', '—', '|'];

/// The length in bytes of the word at the start of `text`; 0 if there is none.
fn word_length(text: &str) -> usize {
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        let joined = || text[at + letter.len_utf8()..].starts_with(char::is_alphanumeric);
        let digits = || {
            text[..at].ends_with(|c: char| c.is_ascii_digit())
                && text[at + 1..].starts_with(|c: char| c.is_ascii_digit())
        };
        let inside = match letter {
            '\'' | '’' | '-' | '_' => at > 0 && end == at && joined(),
            '.' | ',' | ':' | '/' => at > 0 && digits(),
            _ => letter.is_alphanumeric() || (at > 0 && is_combining_mark(letter)),
        };
        if !inside {
            break;
        }
        end = at + letter.len_utf8();
    }
    end
}

/// Whether a character that is not alphabetic belongs to the letter before it, such as a vowel sign.
fn is_combining_mark(letter: char) -> bool {
    matches!(letter,
        '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{900}'..='\u{963}' | '\u{966}'..='\u{109f}' | '\u{1780}'..='\u{17d3}' | '\u{200c}' | '\u{200d}')
}

/// Whether a word must stay in the text.
fn is_protected(word: &str) -> bool {
    word.chars().any(char::is_numeric) || is_negation(word) || is_number_word(word)
}

/// Whether a chunk without its surrounding punctuation is a link, an address, an @name or a #hashtag.
fn is_protected_chunk(chunk: &str) -> bool {
    let marked = |mark: char| {
        chunk.split_once(mark).is_some_and(|(_, name)| name.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let lower = chunk.to_ascii_lowercase();
    let host = lower.split(['/', '?']).next().unwrap_or_default();
    let top = host.rsplit_once('.').filter(|(name, _)| name.ends_with(|c: char| c.is_ascii_alphanumeric()));
    let host_and_path = host.len() < lower.len() && top.is_some_and(|(_, top)| top.len() >= 2);
    let domain = top.is_some_and(|(_, top)| TOP_LEVEL.contains(&top));
    marked('@') || marked('#') || lower.contains("://") || lower.starts_with("www.") || host_and_path || domain
}

const TOP_LEVEL: [&str; 14] =
    ["com", "org", "net", "edu", "gov", "io", "co", "uk", "de", "fr", "tv", "info", "html", "pdf"];

/// Whether all of `chunk` is an emoticon with letters or digits in it, such as `:D`. Punctuation may follow it.
fn is_emoticon(chunk: &str) -> bool {
    let face = chunk.trim_end_matches(['.', ',', '!', '?']);
    if ["xD", "XD", "xP", "XP", "xd"].contains(&face) {
        return true;
    }
    let count = face.chars().count();
    let letters = face.chars().filter(|c| c.is_alphanumeric()).count();
    let adjacent = face.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_alphanumeric));
    (2..=5).contains(&count)
        && (1..=2).contains(&letters)
        && !adjacent
        && face.chars().all(|c| "DPpOoxXSscbdTvVu38:;=<>^_-'*/\\()|0".contains(c))
        && face.contains([':', ';', '=', '<', '>', '^', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` has the words with bars between them. A star marks a protected word.
    fn check(text: &str, expected: &str) {
        let words = Words::parse(text);
        let shown: Vec<String> = (0..words.len())
            .map(|i| format!("{}{}", words.word(i), if words.kind(i) == WordKind::Protected { "*" } else { "" }))
            .collect();
        assert_eq!(shown.join("|"), expected, "{text}");
        assert_eq!(words.rebuild(|i| words.word(i)), text);
    }

    #[test]
    fn words_of_a_text() {
        check("Hello, world!", "Hello|world");
        check("I don't, can’t", "I|don't*|can’t*");
        check("a well-known trick -- yes", "a|well-known|trick|yes");
        check("not-so-good 'quoted' rock'n'roll", "not-so-good*|quoted|rock'n'roll");
        check("good/bad...really", "good|bad|really");
        check("at 10:30, $3.50 or 1,000 (2nd) two", "at|10:30*|3.50*|or|1,000*|2nd*|two*");
        check("see http://t.co/x?y=1, www.a.b or bit.ly/abc.", "see|http://t.co/x?y=1*|www.a.b*|or|bit.ly/abc*");
        check("(@bob) RT @ann: #cricket! a@b.org", "@bob*|RT|@ann*|#cricket*|a@b.org*");
        check("fun :D and xD <3 :P great:D o_O =D", "fun|and|great");
        check("🎉🎉 wow❤you", "wow|you");
        check("नमस्ते दुनिया। привет мир 你好，世界", "नमस्ते|दुनिया|привет|мир|你好|世界");
        check("  \t\n", "");
        check("", "");
        check("and/or he/she", "and|or|he|she");
    }

    #[test]
    fn deleting_words_keeps_the_rest() {
        let check = |text: &str, gone: &[usize], expected: &str| {
            let words = Words::parse(text);
            let flags: Vec<bool> = (0..words.len()).map(|i| gone.contains(&i)).collect();
            assert_eq!(words.without(&flags), expected);
        };
        check("Hello, big world!", &[1], "Hello, world!");
        check("Hello, big world!", &[2], "Hello, big!");
        check("Big world. Yes", &[0], "world. Yes");
        check("a (big) world", &[1], "a () world");
        check("one small", &[1], "one");
        check("a b c d", &[0, 1, 2], "d");
        check("so (a b) sad :-( a b", &[1, 4], "so (b) sad :-( b");
        check("keep  two  spaces", &[], "keep  two  spaces");
    }
}
