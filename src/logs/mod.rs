//! Training logs of any origin: bytes in, curves with notes out.
//!
//! The format is recognised by its content, a column by its name. One file of this room reads one format into rows of named
//! fields: [`table`] (CSV, TSV, columns split by spaces, Markdown), [`json`] (objects, lists, histories), [`console`] (what a
//! program printed) and [`events`] (TensorBoard). [`names`] says which quantity a column holds, [`steps`] numbers the rows, and
//! [`log`] makes the curves. Everything that was assumed, joined or ignored is a note. The room is pure: `cli` reads the files.

mod console;
pub(crate) mod events;
mod json;
mod labels;
mod log;
mod names;
mod sheet;
mod steps;
mod table;

pub use labels::label_shares;
pub use log::Log;
