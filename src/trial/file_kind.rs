//! The kinds of files in words, for messages.

use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;

/// What stands at a path.
#[must_use]
pub fn file_kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_file() => "a file",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}
