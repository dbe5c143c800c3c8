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
    /// Trials side by side in one job.
    pub pack: usize,
    /// Seconds that short trials one after another may take in one job; None: they are not put together.
    pub chain: Option<f64>,
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
            pack: 1,
            chain: Some(1800.0),
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
        self.gpus() > 0
    }

    /// How many GPUs each job asks for: `gpus: a100:2`, or `gres: gpu:a100:2`. Without a number it is one.
    #[must_use]
    pub fn gpus(&self) -> usize {
        let number = |text: &str| text.rsplit(':').next().and_then(|count| count.parse().ok()).unwrap_or(1);
        let gres =
            self.passed("gres").into_iter().flat_map(|all| all.split(',')).filter(|each| each.starts_with("gpu"));
        self.passed("gpus").map_or_else(|| gres.map(number).sum(), number)
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
