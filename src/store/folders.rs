//! Folders of results may not be links: what is written there would land elsewhere.

use std::path::Path;

use super::{StoreError, disk};

/// The folders of a trial lie so deep in that of their sweep: `trials/<id>`.
pub(super) const FOLDERS_ABOVE_TRIAL: usize = 2;

/// Fails if `folder`, or one of as many folders `above` it, is a symbolic link or no folder. A link in place of a folder above leads
/// elsewhere, too.
pub(super) fn check_within(folder: &Path, above: usize) -> Result<(), StoreError> {
    let folders: Vec<&Path> =
        folder.ancestors().take(above + 1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.into_iter().rev().try_for_each(|folder| disk::check_folder(folder).map_err(StoreError::at(folder)))
}

pub(super) fn check_all(folders: &[&Path]) -> Result<(), StoreError> {
    folders.iter().try_for_each(|folder| disk::check_folder(folder).map_err(StoreError::at(folder)))
}
