//! The words of the project: one plain term for each concept, the same in documents, messages, comments and names.
//!
//! The test reads everything that people read: documents, source, tests, benchmarks, sweep files and recipes. A name counts by
//! its parts: `THROWN_AWAY` and `ThrownAway` both hold the word `thrown`.

use std::fs;
use std::path::{Path, PathBuf};

/// Words and phrases that say nothing to a newcomer, or that compete with the term of the field. With each: what to write.
const FORBIDDEN: &[(&str, &str)] = &[
    ("luck", "chance, or: the seeds differ"),
    ("lucky", "above the baseline by chance"),
    ("nobody", "no process, no user, or the passive voice"),
    ("somebody", "a user, or another process"),
    ("anybody", "a user, or another process"),
    ("whoever", "the process that"),
    ("said", "`message`, `text`, or what the text is"),
    ("told", "`message`, or: distinguished, known"),
    ("spared", "pruned, or not stopped"),
    ("lane", "gradient buffer, or slot"),
    ("lanes", "gradient buffers, or slots"),
    ("thrown", "diverged, or: the loss jumps"),
    ("by heart", "memorise the training set"),
    ("word table", "embedding table"),
    ("gain and shift", "LayerNorm weight and bias"),
    ("doubt", "standard error, or confidence interval"),
    ("go on", "continue, or resume"),
    ("goes on", "continues, or resumes"),
    ("going on", "continuing, or running"),
    ("went on", "continued, or resumed"),
    ("take up", "resume, or retry"),
    ("takes up", "resumes, or retries"),
    ("taken up", "resumed, or retried"),
    ("passed over", "skipped"),
    ("is away", "is unreachable"),
    ("a number that is none", "non-finite"),
    ("numbers that are none", "non-finite numbers"),
    ("strand", "what it is"),
    ("manner", "what it is"),
];

/// Where a forbidden word may stand, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/train/augment/word_lists.rs", "nobody", "an English negation, which an augmentation must keep"),
    ("src/train/augment/word_lists.rs", "somebody", "an English pronoun, which an augmentation must keep"),
    ("src/train/augment/word_lists.rs", "anybody", "an English pronoun, which an augmentation must keep"),
];

const FOLDERS: &[&str] = &["docs", "src", "tests", "benches", "crates", "sweeps"];
const FILES: &[&str] = &["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "justfile", "Cargo.toml"];
const EXTENSIONS: &[&str] = &["md", "rs", "snap", "yaml", "html", "css", "js", "py", "toml"];

#[test]
fn the_words_are_those_of_the_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = FILES.iter().map(|file| root.join(file)).collect();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files);
    }
    let mut violations = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    for path in files.iter().filter(|path| !path.ends_with(file!())) {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        for (line, word, instead) in forbidden(&fs::read_to_string(path).unwrap()) {
            match EXCEPTIONS.iter().position(|(file, excused, _)| *file == name && *excused == word) {
                Some(exception) => used[exception] = true,
                None => violations.push(format!("{name}:{line}: `{word}`; write: {instead}")),
            }
        }
    }
    let unused = EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used);
    violations.extend(unused.map(|((file, word, _), _)| format!("{file}: no `{word}`: remove the exception")));
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn words_are_found_in_prose_and_in_names() {
    let found = |text| forbidden(text).iter().map(|(line, word, _)| (*line, *word)).collect::<Vec<_>>();
    assert_eq!(found("The seed decides.\nLuck does not."), [(2, "luck")]);
    assert_eq!(found("let all_lanes = 3;"), [(1, "lanes")]);
    assert_eq!(found("struct WasThrown; const THROWN: f64 = 1.2;"), [(1, "thrown"), (1, "thrown")]);
    assert_eq!(found("/// The trials go\n/// on at a checkpoint."), [(1, "go on")]);
    assert!(found("The planes go over the mountain; nobodys; let go. On it.").is_empty());
}

/// All text files below `folder` that people read.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_unstable();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
}

/// Every forbidden word or phrase of a text: the line where it starts, the word, and what to write.
fn forbidden(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let mut found = Vec::new();
    for (start, first) in words.iter().enumerate() {
        for (phrase, instead) in FORBIDDEN.iter().filter(|(phrase, _)| phrase.starts_with(&first.text)) {
            let mut rest = words[start..].iter();
            let matches = phrase.split(' ').enumerate().all(|(index, part)| {
                rest.next().is_some_and(|word| word.text == part && (index == 0 || word.continues))
            });
            if matches {
                found.push((first.line, *phrase, *instead));
            }
        }
    }
    found
}

struct Word {
    text: String,
    line: usize,
    /// Whether only blanks, line ends and comment signs stand between it and the word before.
    continues: bool,
}

/// The words of a text in lower case. A name is split at `_` and at its capitals.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut continues, mut before) = (1, true, ' ');
    for c in text.chars() {
        if c.is_alphabetic() {
            if !before.is_alphabetic() || before.is_lowercase() && c.is_uppercase() {
                words.push(Word { text: String::new(), line, continues });
                continues = true;
            }
            words.last_mut().unwrap().text.extend(c.to_lowercase());
        } else if c == '\n' {
            line += 1;
        } else {
            continues &= matches!(c, ' ' | '_' | '/' | '#' | '\\') || before == '/' && c == '!';
        }
        before = c;
    }
    words
}
