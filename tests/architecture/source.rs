//! The source tree as `syn` parses it: modules, the paths that their product code names, and the macros that it calls.
//!
//! The walk starts at `lib.rs` and `main.rs` and follows `mod` declarations. Whatever stands under `#[cfg(test)]` is left out,
//! whether it is an item, a module in the file or a module in a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemUse, UseTree, Visibility};

/// All product code below one `src` folder.
pub struct Tree {
    pub files: Vec<File>,
    /// Index into `files` of each module, inline modules included.
    modules: BTreeMap<Vec<String>, usize>,
    /// For each module, what it hands on under a name: `pub use`.
    exports: BTreeMap<Vec<String>, Vec<Export>>,
    /// A file, and code that counts as its end.
    planted: (PathBuf, String),
}

/// One file of product code.
pub struct File {
    pub path: PathBuf,
    /// The path below `src`.
    pub name: String,
    /// The first folder or file below `src`; `lib` and `main` for the two roots.
    pub room: String,
    pub has_documentation: bool,
    /// The first item that is neither a `mod` nor a `use`, by kind and name.
    pub first_logic: Option<String>,
    /// Paths that the code names, `crate`, `self` and `super` resolved to start with `crate`.
    pub names: Vec<Name>,
    /// Macros that the code calls.
    pub macros: BTreeSet<String>,
    /// Methods that the code calls.
    pub methods: BTreeSet<String>,
}

/// A path in the code.
pub struct Name {
    pub path: Vec<String>,
    /// A `pub use` declares what a module offers; it is no import of the module file.
    pub is_export: bool,
}

struct Export {
    /// None for a glob.
    name: Option<String>,
    target: Vec<String>,
}

impl Tree {
    pub fn read(src: &Path) -> Self {
        Self::read_with(src, "", "")
    }

    /// Reads the tree as if `code` stood at the end of `file`.
    pub fn read_with(src: &Path, file: &str, code: &str) -> Self {
        let planted = (src.join(file), code.to_owned());
        let mut tree = Self { files: Vec::new(), modules: BTreeMap::new(), exports: BTreeMap::new(), planted };
        for root in ["lib.rs", "main.rs"] {
            let path = src.join(root);
            if path.exists() {
                tree.read_file(src, &path, &["crate".to_owned()], src);
            }
        }
        tree
    }

    /// Reads the file of module `module`; its child modules stand in `folder`.
    fn read_file(&mut self, src: &Path, path: &Path, module: &[String], folder: &Path) {
        let mut text = fs::read_to_string(path).unwrap();
        if self.planted.0 == path {
            text.push_str(&self.planted.1);
        }
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let first = path.strip_prefix(src).unwrap().components().next().unwrap().as_os_str().to_string_lossy();
        let index = self.files.len();
        self.files.push(File {
            path: path.to_owned(),
            name: path.strip_prefix(src).unwrap().to_string_lossy().into_owned(),
            room: first.trim_end_matches(".rs").to_owned(),
            has_documentation: text.starts_with("//!"),
            first_logic: parsed.items.iter().find_map(logic),
            names: Vec::new(),
            macros: BTreeSet::new(),
            methods: BTreeSet::new(),
        });
        self.modules.entry(module.to_vec()).or_insert(index);
        let mut reader = Reader { module: module.to_vec(), folder: folder.to_owned(), ..Reader::default() };
        reader.visit_file(&parsed);
        for inline in reader.inline {
            self.modules.entry(inline).or_insert(index);
        }
        for (module, export) in reader.exports {
            self.exports.entry(module).or_default().push(export);
        }
        self.files[index].names = reader.names;
        self.files[index].macros = reader.macros;
        self.files[index].methods = reader.methods;
        for (child, folder) in reader.children {
            let name = child.last().unwrap();
            let flat = folder.join(format!("{name}.rs"));
            let path = if flat.exists() { flat } else { folder.join(name).join("mod.rs") };
            self.read_file(src, &path, &child, &folder.join(name));
        }
    }

    /// Index of the file that defines what `path` names, `pub use` followed. None for other crates.
    pub fn definition(&self, path: &[String]) -> Option<usize> {
        self.follow(path, 0)
    }

    fn follow(&self, path: &[String], depth: usize) -> Option<usize> {
        let module = (1..=path.len()).rev().map(|end| &path[..end]).find(|part| self.modules.contains_key(*part))?;
        let file = self.modules[module];
        let Some(next) = path.get(module.len()) else { return Some(file) };
        if depth > 8 {
            return Some(file);
        }
        let exports = self.exports.get(module).map_or(&[][..], Vec::as_slice);
        let named = exports.iter().find(|export| export.name.as_ref() == Some(next));
        named.and_then(|export| self.follow(&export.target, depth + 1)).or(Some(file))
    }
}

/// Kind and name of an item that does more than declare or import.
fn logic(item: &Item) -> Option<String> {
    if is_test(attributes(item)) {
        return None;
    }
    match item {
        Item::Mod(module) if module.content.is_none() => None,
        Item::Use(_) => None,
        Item::Fn(function) => Some(format!("fn {}", function.sig.ident)),
        Item::Struct(item) => Some(format!("struct {}", item.ident)),
        Item::Enum(item) => Some(format!("enum {}", item.ident)),
        Item::Trait(item) => Some(format!("trait {}", item.ident)),
        Item::Mod(module) => Some(format!("mod {} {{ .. }}", module.ident)),
        Item::Impl(_) => Some("impl".to_owned()),
        Item::Const(item) => Some(format!("const {}", item.ident)),
        Item::Static(item) => Some(format!("static {}", item.ident)),
        Item::Type(item) => Some(format!("type {}", item.ident)),
        _ => Some("an item".to_owned()),
    }
}

#[derive(Default)]
struct Reader {
    /// The module that is being read, inline modules included.
    module: Vec<String>,
    /// Where its child modules stand.
    folder: PathBuf,
    names: Vec<Name>,
    macros: BTreeSet<String>,
    methods: BTreeSet<String>,
    exports: Vec<(Vec<String>, Export)>,
    inline: Vec<Vec<String>>,
    /// Modules in files of their own, with the folder that holds the file.
    children: Vec<(Vec<String>, PathBuf)>,
}

impl Reader {
    /// The path from the root of the crate, or of another crate.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate" | "plateau") => base.truncate(1),
            Some("self") => {}
            Some("super") => {
                base.pop();
            }
            _ => return path.to_vec(),
        }
        rest = &rest[1..];
        while rest.first().is_some_and(|part| part == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        base
    }

    fn name(&mut self, path: &[String], is_export: bool) {
        let path = self.resolve(path);
        self.names.push(Name { path, is_export });
    }

    /// Paths and macro calls in the unparsed body of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Punct(punct) => {
                    if punct.as_char() == '!' {
                        self.macros.extend(path.last().cloned());
                    }
                    self.end(&mut path);
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Literal(_) => {
                    self.end(&mut path);
                    colons = 0;
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.name(path, false);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(function) => &function.attrs[..],
            ImplItem::Const(constant) => &constant.attrs[..],
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        let inside = self.folder.join(item.ident.to_string());
        if item.content.is_some() {
            self.inline.push(self.module.clone());
            let outside = std::mem::replace(&mut self.folder, inside);
            visit::visit_item_mod(self, item);
            self.folder = outside;
        } else {
            self.children.push((self.module.clone(), self.folder.clone()));
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        for (path, name) in paths {
            if is_export {
                let target = self.resolve(&child_of(&self.module, &path));
                self.exports.push((self.module.clone(), Export { name, target }));
            }
            self.name(&path, is_export);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.name(&parts, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.methods.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.macros.extend(item.path.segments.last().map(|segment| segment.ident.to_string()));
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

/// `pub use` names children of its own module without `self::`.
fn child_of(module: &[String], path: &[String]) -> Vec<String> {
    let relative = !matches!(path.first().map(String::as_str), Some("crate" | "self" | "super"));
    if relative { module.iter().chain(path).cloned().collect() } else { path.to_vec() }
}

/// Every path of a `use` with the name that it gets in this module; no name for a glob.
fn flatten(tree: &UseTree, before: &mut Vec<String>, paths: &mut Vec<(Vec<String>, Option<String>)>) {
    let with = |part: &syn::Ident, before: &[String]| {
        let mut path = before.to_vec();
        if part != "self" || path.is_empty() {
            path.push(part.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, paths);
            before.pop();
        }
        UseTree::Name(name) => {
            let path = with(&name.ident, before);
            let last = path.last().cloned();
            paths.push((path, last));
        }
        UseTree::Rename(rename) => paths.push((with(&rename.ident, before), Some(rename.rename.to_string()))),
        UseTree::Glob(_) => {
            let mut path = before.clone();
            path.push("*".to_owned());
            paths.push((path, None));
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, paths)),
    }
}

/// Whether the item exists in test builds alone: `cfg(test)` or `cfg(all(test, ..))`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut found = false;
        if attribute.path().is_ident("cfg") {
            // A condition of another form is no error here: the item counts as product code.
            let _ = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("test") {
                    found = true;
                } else if meta.path.is_ident("all") {
                    meta.parse_nested_meta(|inner| {
                        found |= inner.path.is_ident("test");
                        if inner.input.peek(syn::Token![=]) {
                            inner.value()?.parse::<syn::Lit>()?;
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            });
        }
        found
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
