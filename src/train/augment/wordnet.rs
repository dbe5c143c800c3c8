//! The lexicon: synonyms by part of speech and sense, and irregular forms with their bases. WordNet 3.0 is embedded in the
//! binary.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::train::data::{DataError, DataErrorKind, read};

/// The parts of speech of WordNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pos {
    Noun,
    Verb,
    Adjective,
    Adverb,
}

impl Pos {
    pub const ALL: [Self; 4] = [Self::Noun, Self::Verb, Self::Adjective, Self::Adverb];

    fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "n" => Some(Self::Noun),
            "v" => Some(Self::Verb),
            "a" => Some(Self::Adjective),
            "r" => Some(Self::Adverb),
            _ => None,
        }
    }
}

/// Words of lower-case letters that have at least one synonym of a single word.
#[derive(Debug, Default)]
pub(super) struct WordNet {
    text: String,
    /// The byte range of the synonyms in `text`, by part of speech.
    entries: HashMap<Box<str>, [Option<Range<usize>>; 4]>,
    /// From an irregular form to its bases, without part of speech.
    bases: HashMap<Box<str>, Vec<Box<str>>>,
    /// From a base to its irregular forms.
    irregular: HashMap<Box<str>, Vec<Box<str>>>,
}

impl WordNet {
    /// The embedded lexicon, unpacked at the first call.
    #[expect(clippy::expect_used, reason = "the packed text is part of the binary and a test unpacks it")]
    pub fn embedded() -> &'static Arc<Self> {
        static EMBEDDED: OnceLock<Arc<WordNet>> = OnceLock::new();
        EMBEDDED.get_or_init(|| {
            let synonyms = zstd::decode_all(include_bytes!("../../../assets/wordnet/synonyms.tsv.zst").as_slice());
            let synonyms = synonyms.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let exceptions = include_str!("../../../assets/wordnet/morph-exceptions.txt");
            Arc::new(WordNet::parse(synonyms.expect("the embedded synonyms are zstd of UTF-8"), exceptions))
        })
    }

    /// Reads a WordNet dictionary folder: the files `index.POS`, `data.POS` and, if it exists, `POS.exc`. Returns the lexicon
    /// and the hash of the files. Words with characters other than a-z (such as names) are left out.
    pub fn read(folder: &Path) -> Result<(Self, String), DataError> {
        let mut hash = blake3::Hasher::new();
        let mut file = |name: String, needed: bool| -> Result<String, DataError> {
            let path = folder.join(&name);
            if !needed && !path.exists() {
                return Ok(String::new());
            }
            let bytes = read(&path).map_err(|error| {
                let message = format!("{}: not a WordNet dictionary folder: {error}", folder.display());
                DataError::new(DataErrorKind::Unreadable, message).caused_by(error)
            })?;
            hash.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (mut synonyms, mut exceptions) = (String::new(), String::new());
        for (name, letter) in [("noun", "n"), ("verb", "v"), ("adj", "a"), ("adv", "r")] {
            let (index, data) = (file(format!("index.{name}"), true)?, file(format!("data.{name}"), true)?);
            exceptions += &file(format!("{name}.exc"), false)?;
            let sets: HashMap<&str, Vec<&str>> = data.lines().filter_map(synset).collect();
            for (lemma, offsets) in index.lines().filter_map(entry) {
                let others = |offset: &&str| {
                    let words = sets.get(offset)?.iter().copied().filter(|word| *word != lemma);
                    Some(words.collect::<Vec<_>>().join(" ")).filter(|words| !words.is_empty())
                };
                let senses: Vec<String> = offsets.iter().filter_map(others).collect();
                if !senses.is_empty() {
                    synonyms.extend([lemma, "\t", letter, "\t", &senses.join("|"), "\n"]);
                }
            }
        }
        if synonyms.is_empty() {
            let message =
                format!("{}: not a WordNet dictionary folder: its files contain no synonyms", folder.display());
            return Err(DataError::malformed(message));
        }
        Ok((Self::parse(synonyms, &exceptions), hash.finalize().to_hex().to_string()))
    }

    /// Parses lines of word, part of speech and senses (separated by tabs), and lines of an irregular form and its bases.
    fn parse(text: String, exceptions: &str) -> Self {
        let mut wordnet = Self::default();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let mut fields = line.trim_end().splitn(3, '\t');
            if let (Some(word), Some(pos), Some(senses)) =
                (fields.next(), fields.next().and_then(Pos::from_letter), fields.next())
            {
                let end = at + line.trim_end().len();
                wordnet.entries.entry(word.into()).or_default()[pos as usize] = Some(end - senses.len()..end);
            }
            at += line.len();
        }
        for line in exceptions.lines() {
            let mut words = line.split(' ');
            let Some(form) = words.next() else { continue };
            for base in words {
                wordnet.bases.entry(form.into()).or_default().push(base.into());
                wordnet.irregular.entry(base.into()).or_default().push(form.into());
            }
        }
        wordnet.text = text;
        wordnet
    }

    /// The synonyms of each sense of a base form, the most frequent sense first. None if there are no synonyms.
    pub fn senses(&self, base: &str, pos: Pos) -> Option<impl Iterator<Item = impl Iterator<Item = &str>>> {
        let place = self.entries.get(base)?[pos as usize].clone()?;
        Some(self.text[place].split('|').map(|sense| sense.split(' ')))
    }

    /// A base form as stored in the lexicon.
    pub fn headword(&self, base: &str) -> Option<&str> {
        self.entries.get_key_value(base).map(|(word, _)| &**word)
    }

    pub fn has(&self, base: &str, pos: Pos) -> bool {
        self.entries.get(base).is_some_and(|places| places[pos as usize].is_some())
    }

    /// All base forms.
    #[cfg(test)]
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(AsRef::as_ref)
    }

    /// The bases of an irregular form.
    pub fn bases(&self, form: &str) -> impl Iterator<Item = &str> {
        self.bases.get(form).into_iter().flatten().map(AsRef::as_ref)
    }

    /// The irregular forms of a base.
    pub fn irregular(&self, base: &str) -> impl Iterator<Item = &str> {
        self.irregular.get(base).into_iter().flatten().map(AsRef::as_ref)
    }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())
}

/// Parses a line of `data.POS`: the offset and the plain words of a synset, without markers such as `(a)`.
fn synset(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut fields = line.split(' ');
    let offset = fields.next().filter(|offset| !offset.is_empty())?;
    let count = usize::from_str_radix(fields.nth(2)?, 16).ok()?;
    let words = fields.step_by(2).take(count).map(|word| word.split('(').next().unwrap_or_default());
    Some((offset, words.filter(|word| is_plain(word)).collect()))
}

/// Parses a line of `index.POS`: a plain lemma and the offsets of its synsets, the most frequent first.
fn entry(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut fields = line.split_ascii_whitespace();
    let lemma = fields.next().filter(|lemma| is_plain(lemma) && !line.starts_with(' '))?;
    let synsets: usize = fields.nth(1)?.parse().ok()?;
    let pointers: usize = fields.next()?.parse().ok()?;
    Some((lemma, fields.skip(pointers + 2).take(synsets).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_lexicon_reads() {
        let wordnet = WordNet::embedded();
        let senses: Vec<Vec<&str>> = wordnet.senses("profit", Pos::Noun).unwrap().map(Iterator::collect).collect();
        assert_eq!(senses, [vec!["net", "lucre", "profits", "earnings"], vec!["gain"]]);
        assert!(
            wordnet.has("rise", Pos::Verb) && !wordnet.has("rise", Pos::Adverb) && !wordnet.has("xyzzy", Pos::Noun)
        );
        assert_eq!(wordnet.bases("children").collect::<Vec<_>>(), ["child"]);
        assert!(wordnet.irregular("rise").eq(["risen", "rose"]));
    }
}
