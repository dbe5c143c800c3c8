//! The curves of a sweep in other programs: TensorBoard's event files, and the runs of an MLflow tracking server.
//!
//! A [`Tracker`] receives a trial's curves as often as they grow and adds what is missing at its end. How much is there
//! already is read from the event file or asked of the server, so a kill at any moment loses nothing and duplicates
//! nothing. A [`Destination`] adds what a live run needs: it retries an unreachable tracker later and never sends a
//! trial that ended twice. Reading the trials, and printing, are left to the command line.

mod destination;
mod event_files;
mod mlflow;
mod rows;
#[cfg(test)]
mod testing;
mod tfevents;
mod tracker;

pub use destination::{Destination, TrialVersion};
pub use event_files::EventFiles;
pub use mlflow::{Mlflow, default_url};
pub use rows::{Row, rows};
pub use tracker::{TrackError, Tracker, TrialCurves};
