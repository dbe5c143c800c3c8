//! The rules. Each takes the tree and gives one line for every violation.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Tree};

/// Each room with the rooms that it may import. Data flows from the top of this list to its bottom.
pub const ROOMS: &[(&str, &[&str])] = &[
    ("trial", &[]),
    ("event", &["trial"]),
    ("search", &["trial"]),
    ("spec", &["trial", "event", "search"]),
    ("plan", &["trial", "event", "search", "spec"]),
    ("state", &["trial", "event", "spec", "plan"]),
    ("analysis", &["trial", "event", "search"]),
    ("logs", &["trial", "event", "analysis"]),
    ("decide", &["trial", "event", "search", "spec", "plan", "state", "analysis"]),
    ("store", &["trial", "event"]),
    ("exec", &["trial", "event"]),
    ("train", &["trial"]),
    ("worker", &["trial", "event", "train", "store", "analysis"]),
    ("run", &["trial", "event", "search", "spec", "plan", "state", "analysis", "decide", "store", "exec", "worker"]),
    ("report", &["trial", "event", "search", "analysis", "store"]),
    ("track", &["trial", "event", "store", "logs"]),
    (
        "cli",
        &[
            "trial", "event", "search", "spec", "plan", "state", "analysis", "logs", "decide", "store", "exec",
            "train", "worker", "run", "report", "track",
        ],
    ),
];

/// What belongs to some rooms alone, the rooms, and the reason. A path belongs to a crate if it starts with its name.
const CRATES: &[(&str, &[&str], &str)] = &[
    ("candle_core", &["train"], "tensors stay in the training room"),
    ("candle_nn", &["train"], "tensors stay in the training room"),
    ("candle_transformers", &["train"], "tensors stay in the training room"),
    ("plateau_kernels", &["train"], "only training needs the arithmetic"),
    ("plateau_random", &["search", "train"], "whatever else is drawn would not be a function of the sweep"),
    ("tokio", &["run", "exec"], "everything else is plain blocking code"),
    ("plotters", &["report"], "figures are drawn in one place"),
];

const MACROS: &[(&str, &[&str], &str)] = &[
    ("println", &["cli", "report"], "libraries do not print"),
    ("eprintln", &["cli", "report"], "libraries do not print"),
    ("print", &["cli", "report"], "libraries do not print"),
    ("eprint", &["cli", "report"], "libraries do not print"),
];

const CLOCKS: &[(&str, &[&str])] = &[
    ("SystemTime", &["store", "run", "worker", "cli"]),
    ("Instant", &["store", "exec", "run", "worker", "train", "report", "track", "cli"]),
];

/// Functions and methods by which a file is read or written: they stand in `store/disk.rs`, where tests make them fail.
const DISK: &[&[&str]] = &[
    &["fs", "write"],
    &["fs", "read"],
    &["fs", "copy"],
    &["fs", "hard_link"],
    &["fs", "rename"],
    &["fs", "create_dir"],
    &["fs", "create_dir_all"],
    &["File", "create"],
];

const DISK_METHODS: &[&str] = &["read_to_end", "write_all", "sync_all", "sync_data"];

/// The log of injected faults must not fail itself; a folder is synced where a file is published.
const DISK_EXCEPTIONS: &[(&str, &str)] = &[("faults.rs", "write_all"), ("atomic.rs", "sync_all")];

pub fn imports(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in product(tree) {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == file.room) else {
            violations.push(format!("{}: the room `{}` is not in the table", file.path.display(), file.room));
            continue;
        };
        let rooms: BTreeSet<_> = file
            .names
            .iter()
            .filter(|name| name.path[0] == "crate")
            .map(|name| name.path.get(1).map_or("", String::as_str))
            .collect();
        for room in rooms {
            if matches!(room, "" | "*") {
                violations.push(format!("{}: imports the whole crate; name the room", file.path.display()));
            } else if ROOMS.iter().any(|(known, _)| *known == room) && room != file.room && !allowed.contains(&room) {
                violations.push(format!("{}: `{}` may not import `{room}`", file.path.display(), file.room));
            }
        }
    }
    violations
}

pub fn effects(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in product(tree) {
        let room = file.room.as_str();
        for (name, rooms, reason) in CRATES {
            if !rooms.contains(&room) && file.names.iter().any(|found| found.path[0] == *name) {
                violations.push(format!("{}: `{name}` belongs in {rooms:?}: {reason}", file.path.display()));
            }
        }
        for (name, rooms, reason) in MACROS {
            if !rooms.contains(&room) && file.macros.contains(*name) {
                violations.push(format!("{}: `{name}!` belongs in {rooms:?}: {reason}", file.path.display()));
            }
        }
        for (name, rooms) in CLOCKS {
            if !rooms.contains(&room) && file.names.iter().any(|found| found.path.ends_with(&[name, "now"])) {
                violations.push(format!("{}: `{name}::now`: the pure rooms have no clock", file.path.display()));
            }
        }
    }
    violations
}

pub fn disk(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| file.room == "store" && !file.path.ends_with("disk.rs")) {
        for method in DISK_METHODS.iter().filter(|method| file.methods.contains(**method)) {
            if !DISK_EXCEPTIONS.iter().any(|(name, excused)| file.path.ends_with(name) && excused == method) {
                violations.push(format!("{}: `{method}` belongs in store/disk.rs", file.path.display()));
            }
        }
        for call in DISK {
            if file.names.iter().any(|found| found.path.ends_with(call)) {
                violations.push(format!("{}: `{}` belongs in store/disk.rs", file.path.display(), call.join("::")));
            }
        }
    }
    violations
}

pub fn documentation(tree: &Tree) -> Vec<String> {
    let silent = tree.files.iter().filter(|file| !file.has_documentation);
    silent.map(|file| format!("{}: no `//!` at the top", file.path.display())).collect()
}

pub fn module_files(tree: &Tree) -> Vec<String> {
    let modules = tree.files.iter().filter(|file| file.path.ends_with("mod.rs"));
    modules
        .filter_map(|file| {
            let logic = file.first_logic.as_ref()?;
            Some(format!("{}: `{logic}` belongs in a file with a name", file.path.display()))
        })
        .collect()
}

/// Files that import each other, one line a circle.
pub fn no_circles(tree: &Tree) -> Vec<String> {
    let line = |circle: Vec<String>| format!("these files import each other in a circle: {}", circle.join(", "));
    circles(tree).into_iter().map(line).collect()
}

/// Groups of files that import each other, directly or by way of others.
fn circles(tree: &Tree) -> Vec<Vec<String>> {
    let arrows: Vec<BTreeSet<usize>> = (0..tree.files.len()).map(|file| arrows(tree, file)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..arrows.len()).map(|file| reach(&arrows, file)).collect();
    let mut circles = BTreeMap::new();
    for file in 0..arrows.len() {
        let circle: BTreeSet<_> =
            reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
        if circle.len() > 1 {
            circles.entry(circle.first().copied()).or_insert(circle);
        }
    }
    let names = |circle: &BTreeSet<usize>| circle.iter().map(|file| tree.files[*file].name.clone()).collect();
    let mut circles: Vec<Vec<String>> = circles.values().map(names).collect();
    for circle in &mut circles {
        circle.sort_unstable();
    }
    circles
}

fn arrows(tree: &Tree, file: usize) -> BTreeSet<usize> {
    let names = tree.files[file].names.iter().filter(|name| !name.is_export);
    names.filter_map(|name| tree.definition(&name.path)).filter(|target| *target != file).collect()
}

fn reach(arrows: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<usize> = arrows[from].iter().copied().collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(&arrows[file]);
        }
    }
    reached
}

/// All files but the two roots, which only declare the rooms and start the program.
fn product(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| !matches!(file.room.as_str(), "lib" | "main"))
}

/// Whether a path ends with these parts.
trait EndsWith {
    fn ends_with(&self, parts: &[&str]) -> bool;
}

impl EndsWith for Vec<String> {
    fn ends_with(&self, parts: &[&str]) -> bool {
        self.len() >= parts.len() && self[self.len() - parts.len()..].iter().zip(parts).all(|(own, part)| own == part)
    }
}
