//! The names by which files and folders say which split they hold.

use std::path::Path;

/// Which rows of a source are wanted, where its files belong to splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitName {
    Train,
    Eval,
    Test,
}

impl SplitName {
    /// The names that files and folders of this split begin with, the best first.
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Eval => &["validation", "valid", "dev", "val", "test"],
            Self::Test => &["test"],
        }
    }

    /// As it stands in messages.
    pub fn title(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Eval => "evaluation",
            Self::Test => "test",
        }
    }

    /// Whether the name of a file or folder begins with that of a split.
    pub fn is_in(path: &Path) -> bool {
        [Self::Train, Self::Eval, Self::Test]
            .iter()
            .any(|split| split.prefixes().iter().any(|prefix| begins_with(path, prefix)))
    }
}

/// Whether the name of a file or folder begins with the name of a split: `train.csv`, `train-00000-of-00001.parquet`.
pub(super) fn begins_with(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}
