//! All access to the results folder: every path below `results/`, every read and every write.
//!
//! Guarantees:
//! * A document is complete or absent: it is written to a temporary file and renamed.
//! * An appended line is complete or absent: it is one write, and the store cuts off what a failed write leaves.
//! * A trial has one outcome: the first attempt that links `outcome.json` into place wins.
//! * One process at a time holds the folder of a sweep ([`Lock`]).
//! * Only regular files are opened, and never through a symbolic link.
//!
//! Readers accept what a killed process or a full disk leaves behind, and report what is damaged. The cargo feature
//! `faults` lets tests make the disk fail. What the files mean is left to [`crate::state`] and [`crate::analysis`].

mod append;
mod atomic;
mod attempt;
mod batch;
mod cache;
mod checkpoint;
mod curve;
mod disk;
mod error;
pub mod exit;
#[cfg(feature = "faults")]
mod faults;
mod folders;
mod history;
mod journal;
mod limits;
mod lock;
mod paths;
mod probe_list;
mod process;
mod rows;
mod test_record;
mod trial;
mod trials_csv;

pub use append::append;
pub use atomic::{read as read_file, remove_file_if, write as write_file, write_in_folder, write_output};
pub use attempt::{Assignment, Heart, Requests, Start, StopRequest};
pub use batch::{BatchDocument, BatchEntry, ScriptEnd};
pub use cache::Blobs;
pub use checkpoint::{Checkpoints, CurvePosition, SavedState, link_or_copy, read_kept, remove_state};
pub use curve::{Curve, CurveFollower, CurveWriter, read as read_curve};
#[cfg(test)]
pub(crate) use disk::counted::reads;
pub use disk::{Refusal, free_space, has_room, prefer_as_oom_victim, read_state};
pub use error::StoreError;
#[cfg(feature = "faults")]
pub use faults::{fail_device, fail_step, fail_training};
pub use history::EndedTrial;
pub use journal::{DamagedLine, Journal, JournalContent, JournalFollower, NewRecords, read as read_journal};
pub use limits::{die_of_time_limit, report_limits, time_limit_kills};
pub use lock::{HEARTBEAT, Lock, host};
pub use paths::{AttemptDir, BatchDir, Results, RunDir, TrialDir};
pub use process::{
    hear_stop_signals, ignore_hangups, is_asked_to_stop, leave_hangups, leave_stop_signals, note_stop_signals,
};
pub use rows::CurveRow;
pub use trial::{MadeBy, TrialRecord};
pub use trials_csv::TrialRow;
