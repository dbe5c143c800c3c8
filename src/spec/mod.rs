//! A sweep file as written, checked: every mistake at once, with its place. Pure.

use crate::trial::{CheckpointEvery, Keep};

/// The `run` section: how, not what. Never part of a trial's identity.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    pub devices: Devices,
    /// Trials at a time; None: from the machine.
    pub jobs: Option<usize>,
    /// CPU threads a trial; None: from the machine.
    pub threads: Option<usize>,
    pub retries: u32,
    pub checkpoint_every: CheckpointEvery,
    pub keep: Keep,
    /// A plan above this is refused.
    pub max_trials: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            devices: Devices::Auto,
            jobs: None,
            threads: None,
            retries: 2,
            checkpoint_every: CheckpointEvery::Seconds(60.0),
            keep: Keep::None,
            max_trials: 100_000,
        }
    }
}

/// Which devices a sweep may use. Text form: `auto`, `cpu`, `cuda`, `cuda:0,1`, `metal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// Every accelerator that the build and the machine have, else the CPU.
    Auto,
    Cpu,
    /// The CUDA devices of these indices; empty: all.
    Cuda(Vec<usize>),
    Metal,
}
