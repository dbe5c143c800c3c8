//! The table of keys: everything that a sweep file can say about a trial. A new key is a row in the file of its section, and a
//! field in [`crate::trial`]. Schedules, augmentations and the names of other programs have tables of their own.

mod data;
mod key;
mod model;
mod stop;
mod table;
mod training;

pub(super) use key::{METRIC, put, switch};
pub(super) use model::{ARCHITECTURE, EXTRA};
pub(crate) use table::greatest;
pub(super) use table::{GROUPS, Group, Target, all, group, key, kind, owners, parameter, paths, variants};
