//! A sweep file as written, checked: every mistake at once, with its place.
//!
//! [`parse`] turns the text of a sweep file into a [`SweepSpec`]; what it cannot read it reports as [`Problems`], in the
//! order of the file. The table of keys (`keys.rs`) says what may stand where; every value, on an axis or fixed, is read
//! once and applied to configurations later. Pure: whether data files and checkpoints exist is for the caller to find out,
//! who asks [`SweepSpec::sources`] and reports what is missing with the same [`Problem`]s.

mod across;
mod axes;
mod check;
mod keys;
mod kind;
#[cfg(test)]
mod messages;
mod problem;
mod read;
mod run_config;
mod schedulers;
mod sweep;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

pub use across::{Asha, Median, StopAcross};
pub(crate) use problem::nearest;
pub use problem::{Place, Problem, Problems};
pub use read::{Draft, draft, parse};
pub use run_config::{Devices, LogTo, NotDevices, Probing, RunConfig};
pub(crate) use sweep::{Choice, Setting, in_short, lookup, place_of, sets_seed, shown, source_key};
pub use sweep::{DataSource, ModelSource, Sources, SweepSpec};
pub use write::Settled;
