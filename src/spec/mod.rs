//! Reads and checks sweep files.
//!
//! [`parse`] turns the text of a sweep file into a [`SweepSpec`], or reports all mistakes as [`Problems`], in the order of
//! the file and each with its place. The tables of keys (`keys/`, `schedulers.rs`, `augmentations.rs`, `run_config.rs`)
//! define what a file can say. The reader, [`reference()`] and [`schema()`] are all made from them. Every value, fixed or on an
//! axis, is read once and applied to configurations later.
//!
//! The room is pure. The caller finds out whether data files and checkpoints exist: [`SweepSpec::sources`] lists them, and
//! missing ones are reported as [`Problem`]s, too.

mod across;
mod architectures;
mod arm_checks;
mod arms;
mod augmentations;
mod axes;
mod check;
mod count;
mod exclusion;
mod keys;
mod kind;
mod lookup;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod messages_about_searches;
mod names;
mod normal;
mod problem;
mod range;
mod read;
mod reference;
mod run_config;
mod run_section;
mod schedulers;
mod schema;
mod search;
mod sections;
mod slurm_config;
mod slurm_keys;
mod space;
mod sweep;
#[cfg(test)]
mod tests;
mod wandb;
mod write;
mod yaml;

pub use across::{Asha, AshaOrder, Median, StopAcross};
pub(crate) use exclusion::Exclusion;
pub(crate) use keys::greatest;
pub(crate) use lookup::{lookup, settings};
pub(crate) use problem::nearest;
pub use problem::{Place, Problem, Problems};
pub use read::{Draft, Import, draft, import, parse};
pub use reference::{Chapter, KeyDoc, look_up, reference, reference_page};
pub use run_config::{Devices, EngineKind, LogTo, NotAnEngine, NotDevices, OnFullDisk, Probing, RunConfig};
pub use schema::schema;
pub use search::{Evaluation, SamplerName, SearchConfig};
pub use slurm_config::{JobMemory, SlurmConfig, Within};
pub(crate) use sweep::{Arm, Choice, Entry, Factor, Setting, in_short, place_of, shown, source_key};
pub use sweep::{DataSource, ModelSource, SearchSpec, Sources, SweepSpec};
#[cfg(test)]
pub(crate) use tests::conditional_ranges;
pub use wandb::ImportOptions;
pub use write::ResolvedSources;
