//! The command line: one file for each command, and the one place where errors become messages and exit codes.
//!
//! [`command`] lists the commands. They share their options ([`arguments`]), the way from a sweep file to a plan
//! ([`prepare`]), the forecast of its cost ([`forecast`]) and the way from a plan to a report ([`pipeline`]).

mod arguments;
mod augment;
mod command;
mod compare;
mod completions;
mod confirm;
mod consent;
mod contained;
mod data_report;
mod deferred_cache;
mod diagnose;
mod export;
mod failure;
mod forecast;
mod format;
mod import;
mod init;
mod inspect;
mod inspector;
mod jobs;
mod kept_models;
mod keys;
mod limits;
mod live;
mod log_files;
mod lr_find;
mod origin;
mod output;
mod pipeline;
mod plan;
mod predict;
mod prepare;
mod probe;
mod refine;
mod report;
mod run;
mod schedule;
mod schema;
mod selection;
mod sources;
mod status;
mod stop;
mod sweep_file;
mod test_set;
mod tracking;
mod watch;

pub use command::main;
pub(crate) use failure::Failure;
