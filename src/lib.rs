//! `plateau` answers one question by experiment: *why is my loss not decreasing?*
//!
//! A YAML file spans a grid over learning rate, warm-up, scheduler, augmentation or anything else that describes a
//! fine-tuning run. Every point of the grid is trained, many at a time. The report shows where the loss of each
//! configuration becomes flat, at what level, and which configuration to use.
//!
//! # How data flows
//!
//! ```text
//! YAML -> SweepSpec -> Plan -> executor -> worker writes files -> events -> journal -> SweepState -> analysis -> report
//! ```
//!
//! | room | is |
//! |---|---|
//! | [`trial`], [`event`] | the vocabulary: plain data, with the terms of the field |
//! | [`spec`] | from YAML to a checked `SweepSpec`; all mistakes at once, each with its place |
//! | [`plan`] | product, zip, include, exclude, seeds, ids; what it will cost |
//! | [`state`] | a fold over events: what is done, running, left |
//! | [`search`] | what to try next in a space: samplers, importance of keys |
//! | [`decide`] | plan, state, capacity -> launch, retry, give up |
//! | [`store`] | knows every path of the results folder; journal, atomic files, locks: all writes there |
//! | [`exec`] | starts and stops workers: processes, or threads in tests |
//! | [`run`] | the loop: observe, journal, fold, decide, act |
//! | [`worker`] | the process that trains: one attempt at one trial |
//! | [`train`] | one trial: data, tokens, augmentation, model, schedule, optimizer, the loop on one page |
//! | [`analysis`] | numbers from curves: plateau, verdict, ranking |
//! | [`logs`] | training logs of other programs: bytes in, curves with notes out |
//! | [`report`] | figures, page, summary, terminal |
//! | [`track`] | the curves in other programs: TensorBoard, MLflow |
//! | [`cli`] | the command line: one file for each command |
//!
//! Two crates stand beside the rooms: `plateau_kernels` (arithmetic on the CPU, with backward passes) and `plateau_random`
//! (random numbers as functions of seed, purpose and indices).
//!
//! # What always holds
//!
//! * `spec`, `plan`, `state`, `search`, `decide`, `analysis` and `logs` are functions of data: no clock, no disk,
//!   no printing.
//! * candle appears in `train` alone, tokio in `run` and `exec`, file writes in `store`, printing in `cli` and the
//!   terminal part of `report`. `tests/architecture/` enforces it.
//! * The journal is the truth about what ran, and state is its fold. Resuming is not a mode: the loop compares plan,
//!   state, files and living processes, and the first turn after a crash is an ordinary turn.
//! * A trial's numbers are a function of its configuration and its data: the same bits alone or beside others, in one
//!   go or interrupted, with one thread or many.
//! * A diverged trial is a result, not an error.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make and break files of their own"))]

pub mod analysis;
pub mod cli;
pub mod decide;
#[cfg(all(test, feature = "faults"))]
#[path = "../tests/program/dice.rs"]
mod dice;
pub mod event;
pub mod exec;
pub mod logs;
pub mod plan;
pub mod report;
pub mod run;
pub mod search;
#[cfg(test)]
#[path = "../tests/program/skip.rs"]
mod skip;
pub mod spec;
pub mod state;
pub mod store;
#[cfg(all(test, feature = "faults"))]
#[path = "../tests/program/tally.rs"]
mod tally;
pub mod track;
pub mod train;
pub mod trial;
pub mod worker;
