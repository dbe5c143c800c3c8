//! The import rules of the crate: who may import whom, where crates and effects live, and that no files import each other in a
//! circle. The rules are functions of a parsed source tree, so that a test can plant violations and see them found.
//! Beside them stand a list of words that the project does not use (`language.rs`), and a check that the documents name files and
//! rooms that exist (`documents.rs`).
//!
//! A new arrow or a new room fails here first. Change a table in `rules.rs` only with a reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests write files of their own")]

mod documents;
mod language;
mod planted;
mod rules;
mod source;

use std::path::Path;

use source::Tree;

/// The source folders of the program and of the crates beside it.
const SOURCES: [&str; 3] = ["src", "crates/kernels/src", "crates/random/src"];

fn check(rule: fn(&Tree) -> Vec<String>) {
    check_in(&SOURCES[..1], rule);
}

fn check_in(sources: &[&str], rule: fn(&Tree) -> Vec<String>) {
    let trees = sources.iter().map(|source| Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source)));
    let violations: Vec<String> = trees.flat_map(|tree| rule(&tree)).collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn imports_follow_the_table() {
    check(rules::imports);
}

#[test]
fn crates_and_effects_stay_in_their_rooms() {
    check_in(&SOURCES, rules::effects);
}

#[test]
fn the_store_touches_the_disk_in_one_file() {
    check(rules::disk);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    check_in(&SOURCES, rules::no_circles);
}

#[test]
fn module_files_declare_and_hold_no_logic() {
    check_in(&SOURCES, rules::module_files);
}

#[test]
fn every_module_is_documented() {
    check_in(&SOURCES, rules::documentation);
}
