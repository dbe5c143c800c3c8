//! The section `run.slurm`: the jobs of a sweep that is run with `engine: slurm`.

/// How jobs are submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct SlurmConfig {
    pub within: Within,
    /// Options of `sbatch` that are passed as they are, by name.
    pub passed: Vec<(&'static str, String)>,
    /// Processors of each job; None: as `run.threads`, else one.
    pub cpus: Option<usize>,
    pub memory: JobMemory,
    /// Seconds of a job; None: as the partition gives.
    pub time: Option<f64>,
    /// Seconds before the end of a job at which its worker saves a checkpoint and ends.
    pub warn: f64,
    /// Lines of the job script before the worker.
    pub setup: Vec<String>,
    /// Image in which the worker runs.
    pub container: Option<String>,
    /// Jobs that wait and run together.
    pub max_jobs: usize,
    /// Whether jobs are submitted many at a time.
    pub array: bool,
    /// Further options of `sbatch`.
    pub extra: Vec<String>,
}

impl Default for SlurmConfig {
    fn default() -> Self {
        Self {
            within: Within::Auto,
            passed: Vec::new(),
            cpus: None,
            memory: JobMemory::Auto,
            time: None,
            warn: 120.0,
            setup: Vec::new(),
            container: None,
            max_jobs: 50,
            array: true,
            extra: Vec::new(),
        }
    }
}

impl SlurmConfig {
    /// The value of an option that is passed as it is.
    #[must_use]
    pub fn passed(&self, name: &str) -> Option<&str> {
        self.passed.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether jobs ask for GPUs.
    #[must_use]
    pub fn has_gpus(&self) -> bool {
        self.passed("gpus").is_some_and(|gpus| gpus != "0")
            || self.passed("gres").is_some_and(|gres| gres.split(',').any(|each| each.starts_with("gpu")))
    }
}

/// Where trials run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// In the job of the command, if it runs in one, else in jobs of their own.
    Auto,
    /// As steps of the job of the command.
    Allocation,
    /// In jobs of their own.
    Queue,
}

/// The memory of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMemory {
    /// By the estimate of the plan.
    Auto,
    Bytes(u64),
    PerCpu(u64),
}
