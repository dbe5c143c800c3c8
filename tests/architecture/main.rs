//! The import rules of the crate: who may import whom, where crates and effects live, and that no files import each other in a
//! circle. The rules are functions of a parsed source tree, so that a test can plant violations in a copy and see them found.
//!
//! A new arrow or a new room fails here first. Change a table in `rules.rs` only with a reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests write files of their own")]

mod planted;
mod rules;
mod source;

use std::path::Path;

use source::Tree;

fn check(rule: fn(&Tree) -> Vec<String>) {
    let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let violations = rule(&tree);
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn imports_follow_the_table() {
    check(rules::imports);
}

#[test]
fn crates_and_effects_stay_in_their_rooms() {
    check(rules::effects);
}

#[test]
fn the_store_touches_the_disk_in_one_file() {
    check(rules::disk);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    check(rules::no_circles);
}

#[test]
fn module_files_declare_and_hold_no_logic() {
    check(rules::module_files);
}

#[test]
fn every_module_is_documented() {
    check(rules::documentation);
}
