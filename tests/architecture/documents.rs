//! The documents name what exists: every link and every path leads to a file, and the table of rooms is that of the rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::rules::ROOMS;

/// Paths in examples of files that a reader would write, and where they stand.
const EXAMPLES: &[(&str, &str)] =
    &[("docs/architecture.md", "src/train/augment/typos.rs"), ("README.md", "sweeps/lr-grid-2.yaml")];

/// Beginnings of the paths that documents give from the root of the repository.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "crates/", "benches/", "assets/", "sweeps/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let files = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|file| root().join(file));
    folder.chain(files).filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn links_and_paths_lead_to_files() {
    let mut missing = Vec::new();
    for document in documents() {
        let name = document.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if !document.parent().unwrap().join(&link).exists() {
                missing.push(format!("{name}: the link `{link}` leads nowhere"));
            }
        }
        for path in paths(&text) {
            let is_example = EXAMPLES.contains(&(name.as_str(), path.as_str()));
            if root().join(&path).exists() == is_example {
                let problem = if is_example { "exists, so it is no example" } else { "does not exist" };
                missing.push(format!("{name}: `{path}` {problem}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The targets of Markdown links to files, without anchors.
fn links(text: &str) -> BTreeSet<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    files.filter_map(|target| target.split('#').next()).map(str::to_owned).collect()
}

/// The paths from the root of the repository, between backticks or in commands.
fn paths(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_end_matches(['.', '/']));
    words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))).map(str::to_owned).collect()
}

#[test]
fn the_table_of_rooms_is_that_of_the_rules() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut documented = BTreeSet::new();
    for row in
        text.lines().skip_while(|line| !line.starts_with("| room ")).skip(2).take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let &[rooms, _, imports] = &cells[..] else { panic!("{row}") };
        for room in quoted(rooms) {
            let (_, allowed) =
                ROOMS.iter().find(|(known, _)| *known == room).unwrap_or_else(|| panic!("{room}: no rule"));
            let expected: BTreeSet<&str> = allowed.iter().copied().collect();
            let others: BTreeSet<&str> = ROOMS.iter().map(|(other, _)| *other).filter(|other| *other != room).collect();
            let found = if imports.trim().starts_with("all") { &others - &quoted(imports) } else { quoted(imports) };
            assert_eq!(found, expected, "docs/architecture.md: the imports of `{room}`");
            documented.insert(room);
        }
    }
    assert_eq!(documented.len(), ROOMS.len(), "docs/architecture.md: a room is missing in the table");
}

/// The words between backticks.
fn quoted(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
