//! The house keeps its plan: who may import whom, and which crates and effects live in which room.
//!
//! Reads the sources as text. A new arrow or a new room fails here first; change the table only with a reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may import. Data flows from the top of this list to its bottom.
const ROOMS: &[(&str, &[&str])] = &[
    ("trial", &[]),
    ("event", &["trial"]),
    ("spec", &["trial", "event"]),
    ("plan", &["trial", "event", "spec"]),
    ("state", &["trial", "event", "spec", "plan"]),
    ("analysis", &["trial", "event"]),
    ("logs", &["trial", "event", "analysis"]),
    ("decide", &["trial", "event", "spec", "plan", "state", "analysis"]),
    ("store", &["trial", "event"]),
    ("exec", &["trial", "event"]),
    ("train", &["trial"]),
    ("worker", &["trial", "event", "train", "store", "analysis"]),
    ("run", &["trial", "event", "spec", "plan", "state", "analysis", "decide", "store", "exec", "worker"]),
    ("report", &["trial", "event", "analysis", "store"]),
    ("track", &["trial", "event", "store"]),
    (
        "cli",
        &[
            "trial", "event", "spec", "plan", "state", "analysis", "logs", "decide", "store", "exec", "train",
            "worker", "run", "report", "track",
        ],
    ),
];

/// Words that belong to some rooms alone: (text, rooms that may hold it, why).
const BELONGINGS: &[(&str, &[&str], &str)] = &[
    ("candle_", &["train"], "tensors stay in the training room"),
    ("tokio::", &["run", "exec"], "everything else is plain blocking code"),
    ("plotters::", &["report"], "figures are drawn in one place"),
    ("println!", &["cli", "report"], "libraries do not print"),
    ("eprintln!", &["cli", "report"], "libraries do not print"),
    ("SystemTime::now", &["store", "run", "worker", "cli"], "the pure rooms have no clock"),
    (
        "Instant::now",
        &["store", "exec", "run", "worker", "train", "report", "track", "cli"],
        "the pure rooms have no clock",
    ),
];

struct Source {
    path: PathBuf,
    room: String,
    /// Without comments and without the test module at the end of a file.
    code: String,
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .into_iter()
        .filter(|path| {
            path.strip_prefix(&src).unwrap().with_extension("").components().all(|part| part.as_os_str() != "tests")
        })
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
            let room = first.trim_end_matches(".rs").to_owned();
            let code = code_of(&fs::read_to_string(&path).unwrap());
            Source { path, room, code }
        })
        .collect()
}

fn code_of(text: &str) -> String {
    let body = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Rooms named after `crate::` anywhere in the code, grouped imports included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let group =
            if let Some(inner) = rest.strip_prefix('{') { top_level_names(inner) } else { vec![first_name(rest)] };
        rooms.extend(group.into_iter().filter(|name| !name.is_empty()));
    }
    rooms
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn top_level_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut at_start = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.push(first_name(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn imports_follow_the_table() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !matches!(source.room.as_str(), "main" | "lib")) {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room) else {
            wrong.push(format!("{}: the room `{}` is not in the table", source.path.display(), source.room));
            continue;
        };
        for target in imports(&source.code) {
            let known = ROOMS.iter().any(|(room, _)| *room == target);
            if known && target != source.room && !allowed.contains(&target.as_str()) {
                wrong.push(format!("{}: `{}` may not import `{target}`", source.path.display(), source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn crates_and_effects_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (text, rooms, why) in BELONGINGS {
            if source.room != "main" && !rooms.contains(&source.room.as_str()) && source.code.contains(text) {
                wrong.push(format!("{}: `{text}` belongs in {rooms:?}: {why}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What the disk may fail at is asked for in one file, so that tests can have it fail.
#[test]
fn the_store_reads_and_writes_through_one_door() {
    let asked = [
        "fs::write",
        "fs::read(",
        "read_to_end",
        "fs::copy",
        "hard_link",
        "fs::rename",
        "create_dir",
        "File::create",
        ".write_all(",
        "options()",
        "sync_all",
        "sync_data",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room == "store" && !source.path.ends_with("disk.rs")) {
        let found = asked.iter().filter(|text| source.code.contains(**text));
        wrong.extend(found.map(|text| format!("{}: `{text}` belongs in disk.rs", source.path.display())));
    }
    // The log of faults is not to fail.
    wrong.retain(|line| !line.contains("faults.rs: `.write_all("));
    wrong.retain(|line| !line.contains("atomic.rs: `sync_all"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|source| !fs::read_to_string(&source.path).unwrap().starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

#[test]
fn the_reader_sees_every_form_of_import() {
    let code = code_of(
        "use crate::trial::Trial;\nuse crate::{event::{Event, Slot}, store};\n// use crate::cli::x;\nlet x = crate::plan::expand();\n#[cfg(test)]\nmod tests { use crate::report::x; }",
    );
    assert_eq!(imports(&code).into_iter().collect::<Vec<_>>(), ["event", "plan", "store", "trial"]);
}
