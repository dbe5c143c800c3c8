//! The report about a sweep: figures, summary, page, and the live view on the terminal.
//!
//! Data flows one way: [`analysis`](crate::analysis) computes the numbers, `figures` lays them out as scenes of plain
//! data, `canvas` renders a scene as SVG and PNG. [`draw()`] returns files as bytes; the caller writes them. Equal sweeps
//! give equal bytes. Ranking and loss curves are drawn for every sweep, even if no trial has finished. A figure that
//! has nothing to show is left out, and the page says why.
//!
//! To add a figure: write one file in `figures/` and add its function and its name to `figures/all.rs`.

mod canvas;
mod captions;
pub mod compare;
mod conclusions;
mod draw;
mod error;
mod figures;
mod format;
mod page;
mod provenance;
mod summary;
mod suspects;
pub mod terminal;
mod test_result;
mod winner;

pub use self::canvas::render::is_own_figure;
pub use self::draw::{Report, draw};
pub use self::error::ReportError;
pub use self::figures::comparison::draw_comparison;
pub use self::figures::range_test::draw_range_test;
pub use self::figures::schedule::{ScheduleCurve, draw_schedules};
pub use self::format::{clock, count, flat_configuration, trial_name};
pub use self::provenance::{Provenance, ProvenanceReader, date};
pub use self::suspects::{FILE_NAME as SUSPECT_LABELS, is_own_table};
pub use self::winner::ReadDetails;

#[cfg(test)]
mod tests;
