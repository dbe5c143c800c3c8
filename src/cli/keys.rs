//! `plateau keys`: the reference of all keys of a sweep file.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Failure;
use super::output::print;
use crate::spec::{self, Chapter, KeyDoc};

#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    /// A key such as `lr` or `data.max_length`, a group such as run, or the name of a schedule or an augmentation
    #[arg(value_name = "KEY")]
    key: Option<String>,
    #[arg(long, value_enum, default_value_t = KeysFormat::Text)]
    format: KeysFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeysFormat {
    Text,
    /// The page docs/reference.md, with every key
    Markdown,
}

pub(crate) fn keys(arguments: &KeysArguments) -> Result<ExitCode, Failure> {
    let text = match (&arguments.key, arguments.format) {
        (None, KeysFormat::Text) => list(&spec::reference()),
        (None, KeysFormat::Markdown) => spec::reference_page(),
        (Some(_), KeysFormat::Markdown) => {
            return Err(Failure::input("`--format markdown` writes the page of all keys: leave KEY out"));
        }
        (Some(key), KeysFormat::Text) => entry(&spec::look_up(key).map_err(|nearest| unknown(key, nearest))?),
    };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn unknown(key: &str, nearest: Option<String>) -> Failure {
    let hint = nearest.map_or_else(
        || "`plateau keys` lists all keys".to_owned(),
        |nearest| format!("did you mean `{nearest}`? `plateau keys` lists all keys"),
    );
    Failure::input(format!("unknown key `{key}`: {hint}"))
}

/// A line for each key: its path, its default, the first sentence about it.
fn list(chapters: &[Chapter]) -> String {
    let mut text = String::new();
    for chapter in chapters {
        let width = |of: fn(&KeyDoc) -> usize| chapter.keys.iter().map(of).max().unwrap_or(0);
        let path = width(|key| key.path.len());
        let default = width(|key| default(key).len());
        let blank = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{blank}{}{}", chapter.title, after_colon(chapter.about));
        for key in &chapter.keys {
            let about = first_sentence(key.about);
            let _ = writeln!(text, "  {:path$}  {:default$}  {about}", key.path, self::default(key));
        }
    }
    text
}

/// Everything there is to say of a few keys.
fn entry(chapters: &[Chapter]) -> String {
    let mut text = String::new();
    for chapter in chapters {
        let is_named = chapter.title.contains(' ');
        if is_named || chapter.keys.len() > 1 {
            let _ = writeln!(text, "{}{}\n", chapter.title, after_colon(chapter.about));
        }
        for key in &chapter.keys {
            let _ = writeln!(text, "{}\n  {}", key.path, key.about);
            let aliases = key.aliases.join(", ");
            let default = key.default.as_deref().unwrap_or_default();
            for (label, value) in [
                ("takes", key.takes.as_str()),
                ("unit", key.unit),
                ("default", default),
                ("example", key.example.as_str()),
                ("also", aliases.as_str()),
            ] {
                if !value.is_empty() {
                    let _ = writeln!(text, "  {label:<8} {value}");
                }
            }
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn default(key: &KeyDoc) -> &str {
    key.default.as_deref().unwrap_or("-")
}

fn after_colon(about: &str) -> String {
    if about.is_empty() { String::new() } else { format!(": {about}") }
}

/// The first sentence, without what follows a semicolon.
fn first_sentence(about: &str) -> &str {
    let sentence = about.split_inclusive(". ").next().unwrap_or(about).trim_end();
    sentence.split(';').next().unwrap_or(sentence)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn an_entry_says_everything_of_a_key() {
        assert_snapshot!(entry(&spec::look_up("learning_rate").unwrap()), @r"
        lr
          Peak learning rate.
          takes    number above 0
          default  3e-5
          example  lr: 5e-5
          also     learning_rate
        ");
        assert_snapshot!(entry(&spec::look_up("polynomial").unwrap()), @r"
        scheduler polynomial: Falls as a power of the remaining steps.

        scheduler.power
          The exponent; 1: a straight line.
          takes    number above 0
          default  1
          example  scheduler: {name: polynomial, power: 2}

        scheduler.end_lr
          The learning rate at the end.
          takes    number from 0
          unit     learning rate
          default  1e-7
          example  scheduler: {name: polynomial, end_lr: 1e-6}
        ");
    }

    #[test]
    fn the_list_has_a_line_for_each_key() {
        let text = list(&spec::reference());
        for key in spec::reference().iter().flat_map(|chapter| &chapter.keys) {
            assert!(text.contains(&format!("\n  {} ", key.path)), "{}", key.path);
        }
        assert!(text.lines().all(|line| line.chars().count() < 240), "{text}");
    }
}
