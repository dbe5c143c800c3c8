//! The live view of a running sweep. `tally` and `pace` hold what is known, `lines` formats it, `view` draws it.

mod lines;
mod pace;
mod tally;
mod view;

pub use self::view::{Mode, Terminal};
