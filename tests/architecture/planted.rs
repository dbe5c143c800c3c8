//! One violation of each rule, planted in the tree as it is read: a rule that finds nothing here checks nothing.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::rules;
use super::source::Tree;

/// What the rule finds in `src` with `code` at the end of `file`.
fn plant(file: &str, code: &str, rule: fn(&Tree) -> Vec<String>) -> Vec<String> {
    rule(&Tree::read_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), file, code))
}

/// Exactly one violation, in `file`, and the message holds `part`.
fn finds(file: &str, code: &str, rule: fn(&Tree) -> Vec<String>, part: &str) {
    let found = plant(file, code, rule);
    assert_eq!(found.len(), 1, "{file} with `{code}`: {found:?}");
    assert!(found[0].contains(file) && found[0].contains(part), "{}", found[0]);
}

#[test]
fn forbidden_imports_in_every_form() {
    let part = "`train` may not import `cli`";
    for code in [
        "use crate::cli::main as start;",
        "use crate::{cli as other, trial as words};",
        "use super::cli as other;",
        "fn planted() { let _ = crate::cli::main(); }",
        "fn planted() { assert!(true, \"{:?}\", crate::cli::main()); }",
        "mod planted { use super::super::cli as other; }",
    ] {
        finds("train/mod.rs", code, rules::imports, part);
    }
    finds("train/schedule.rs", "use crate::*;", rules::imports, "whole crate");
    finds("train/schedule.rs", "use super::super::cli as other;", rules::imports, part);
    finds("train/schedule.rs", "#[cfg(any(test, feature = \"x\"))]\nuse crate::cli;", rules::imports, part);
}

#[test]
fn test_code_may_import_anything() {
    for code in ["#[cfg(test)]\nuse crate::cli as other;", "#[cfg(test)]\nmod planted { use crate::cli as other; }"] {
        assert_eq!(plant("train/mod.rs", code, rules::imports), Vec::<String>::new());
    }
}

#[test]
fn a_room_that_is_not_in_the_table() {
    let copy = TempDir::new().unwrap();
    fs::write(copy.path().join("lib.rs"), "//! A crate.\nmod attic;").unwrap();
    fs::write(copy.path().join("attic.rs"), "//! A room.").unwrap();
    let found = rules::imports(&Tree::read(copy.path()));
    assert!(found.len() == 1 && found[0].contains("`attic` is not in the table"), "{found:?}");
}

#[test]
fn crates_macros_and_clocks_in_the_wrong_room() {
    finds("plan/mod.rs", "use candle_core::Tensor;", rules::effects, "`candle_core` belongs in");
    finds("plan/mod.rs", "fn planted() { println!(); }", rules::effects, "`println!` belongs in");
    finds("plan/mod.rs", "fn planted() { std::time::Instant::now(); }", rules::effects, "no clock");
    finds(
        "store/mod.rs",
        "async fn planted() { tokio::task::yield_now().await }",
        rules::effects,
        "`tokio` belongs in",
    );
}

#[test]
fn a_file_written_past_the_door() {
    finds("store/mod.rs", "fn planted() { let _ = std::fs::write(\"a\", \"b\"); }", rules::disk, "`fs::write`");
    finds("store/mod.rs", "fn planted(file: std::fs::File) { let _ = file.sync_all(); }", rules::disk, "`sync_all`");
}

#[test]
fn a_module_without_documentation() {
    let copy = TempDir::new().unwrap();
    fs::write(copy.path().join("lib.rs"), "//! A crate.\nmod silent;").unwrap();
    fs::write(copy.path().join("silent.rs"), "// A comment.").unwrap();
    let found = rules::documentation(&Tree::read(copy.path()));
    assert!(found.len() == 1 && found[0].contains("silent.rs"), "{found:?}");
}

#[test]
fn logic_in_a_module_file() {
    finds("plan/mod.rs", "fn planted() {}", rules::module_files, "`fn planted`");
}

#[test]
fn two_files_that_import_each_other() {
    let copy = TempDir::new().unwrap();
    let folder = copy.path().join("room");
    fs::create_dir(&folder).unwrap();
    fs::write(copy.path().join("lib.rs"), "mod room;").unwrap();
    fs::write(folder.join("mod.rs"), "mod one;\nmod two;\npub use one::One;\npub use two::Two;").unwrap();
    fs::write(folder.join("one.rs"), "use super::Two;\npub struct One(Two);").unwrap();
    fs::write(folder.join("two.rs"), "pub struct Two;").unwrap();
    assert!(rules::no_circles(&Tree::read(copy.path())).is_empty());

    fs::write(folder.join("two.rs"), "pub struct Two;\nfn planted() { let _: Option<super::one::One> = None; }")
        .unwrap();
    let found = rules::no_circles(&Tree::read(copy.path()));
    assert!(found.len() == 1 && found[0].contains("room/one.rs, room/two.rs"), "{found:?}");
}
