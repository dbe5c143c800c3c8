//! Tests of the whole program: sweep files in, result files and messages out, with a tiny BERT and few texts.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod architectures;
mod augment;
mod bad_days;
#[cfg(feature = "faults")]
mod bad_server;
mod continued;
mod data;
mod diagnose;
#[cfg(feature = "faults")]
mod dice;
mod engines;
mod export;
mod failures;
#[cfg(feature = "faults")]
mod faults;
mod hands;
mod hostile;
mod live;
mod lr_find;
mod mistakes;
mod place;
mod predict;
mod probe;
mod pytorch;
mod reproducible;
mod results;
mod schedule;
mod search;
mod signals;
mod skip;
mod slurm;
mod stopping;
#[cfg(feature = "faults")]
mod tally;
mod tasks;
mod test_set;
#[cfg(feature = "faults")]
mod torture;
mod tracking;
mod untrusted;
