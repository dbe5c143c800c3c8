//! The lexicon: synonyms by part of speech and sense, and irregular forms with their bases (WordNet 3.0, embedded).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Parts of speech that WordNet knows.
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

/// Words in lower case without anything but letters; only those that have a synonym of a single word.
#[derive(Debug, Default)]
pub(super) struct WordNet {
    text: String,
    /// By part of speech, the place of the synonyms in `text`.
    entries: HashMap<Box<str>, [Option<Range<usize>>; 4]>,
    /// Irregular form to its bases, and back; parts of speech are not told.
    bases: HashMap<Box<str>, Vec<Box<str>>>,
    irregular: HashMap<Box<str>, Vec<Box<str>>>,
}

impl WordNet {
    /// The embedded one, unpacked when first asked for.
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

    /// From lines of word, part of speech and senses (tabs between them), and lines of irregular form and bases.
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

    /// The senses of a base form, most frequent first, each as its synonyms; None if it has none.
    pub fn senses(&self, base: &str, pos: Pos) -> Option<impl Iterator<Item = impl Iterator<Item = &str>>> {
        let place = self.entries.get(base)?[pos as usize].clone()?;
        Some(self.text[place].split('|').map(|sense| sense.split(' ')))
    }

    /// The lexicon's own copy of a base form.
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
