//! How many trials run side by side in a Slurm job, and on how many processors each. Pure.

use crate::event::Slot;
use crate::spec::{Devices, RunConfig};
use crate::trial::Device;

/// What Slurm has given to the job of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub job: String,
    /// The number of CPUs on each node.
    pub cpus: Vec<usize>,
    /// CPUs of each task, if the user asked for a number of them.
    pub cpus_per_task: Option<usize>,
    /// Bytes on each node. None: Slurm bounds no memory, or bounds that of each CPU.
    pub memory_per_node: Option<u64>,
    /// GPUs on each node.
    pub gpus_per_node: usize,
}

/// The workers of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    pub slots: Vec<Slot>,
    /// Bytes of each step, so that those of a node fit beside one another. None: as the job has it.
    pub memory: Option<u64>,
}

/// An allocation that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    #[error(
        "`engine: slurm` starts trials as steps of a Slurm job, and this command runs in none. Start it in one, for example \
         `salloc --nodes 2 --ntasks 16 plateau run SWEEP`, or set `--engine local`"
    )]
    NoJob,
    #[error("cannot understand {name}={value} in the environment of the Slurm job. Set `--engine local`")]
    Unreadable { name: &'static str, value: String },
    #[error("`devices: {0}` are not in the Slurm job {1}: ask for them, for example with `--gpus-per-node 4`")]
    NoGpus(String, String),
}

impl Allocation {
    /// Reads the environment of a process of a Slurm job. `variable` looks a name up.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, AllocationError> {
        let job = variable("SLURM_JOB_ID").ok_or(AllocationError::NoJob)?;
        let unreadable = |name, value: &str| AllocationError::Unreadable { name, value: value.to_owned() };
        let number = |name| match variable(name) {
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| unreadable(name, &text)),
            None => Ok(None),
        };
        let per_node = variable("SLURM_JOB_CPUS_PER_NODE").ok_or(AllocationError::NoJob)?;
        let cpus = counts(&per_node).ok_or_else(|| unreadable("SLURM_JOB_CPUS_PER_NODE", &per_node))?;
        let gpus = variable("SLURM_GPUS_ON_NODE").or_else(|| variable("SLURM_GPUS_PER_NODE"));
        // With a type: `a100:4`.
        let gpus = gpus.as_deref().and_then(|text| text.rsplit(':').next()?.parse().ok());
        Ok(Self {
            job,
            cpus,
            cpus_per_task: number("SLURM_CPUS_PER_TASK")?.map(|count| count as usize),
            // In units of 2^20 bytes; 0 is all memory of the node, of which the value says nothing.
            memory_per_node: number("SLURM_MEM_PER_NODE")?.filter(|size| *size > 0).map(|size| size << 20),
            gpus_per_node: gpus.unwrap_or(0),
        })
    }

    /// The workers for at most `trials` trials at a time. `memory_per_trial`: the estimated peak in bytes. `has_cuda`: whether
    /// this build can use GPUs.
    pub fn steps(
        &self,
        config: &RunConfig,
        trials: usize,
        memory_per_trial: Option<u64>,
        has_cuda: bool,
    ) -> Result<Steps, AllocationError> {
        let uses_gpus = has_cuda && self.gpus_per_node > 0 && config.devices != Devices::Cpu;
        if !uses_gpus && !matches!(config.devices, Devices::Cpu | Devices::Auto) {
            return Err(AllocationError::NoGpus(config.devices.to_string(), self.job.clone()));
        }
        let fewest = self.cpus.iter().copied().min().unwrap_or(1).max(1);
        let on_gpus = uses_gpus.then_some((fewest / self.gpus_per_node.max(1)).max(1));
        let threads = config.threads.or(self.cpus_per_task).or(on_gpus).unwrap_or(1).clamp(1, fewest);
        let fit = match (self.memory_per_node, memory_per_trial) {
            (Some(node), Some(trial)) if trial > 0 => ((node / trial) as usize).max(1),
            _ => usize::MAX,
        };
        let most = if uses_gpus { fit.min(self.gpus_per_node) } else { fit };
        let on_node = |cpus: usize| (cpus / threads).max(1).min(most);
        let jobs = config.jobs.unwrap_or(usize::MAX).min(trials).max(1);
        let all: usize = self.cpus.iter().map(|&cpus| on_node(cpus)).sum();
        // Inside a step the GPU that Slurm chose is the first and only one.
        let device = if uses_gpus { Device::Cuda(0) } else { Device::Cpu };
        let slots = (0..all.min(jobs)).map(|index| Slot::alone(index, device, threads)).collect();
        let largest = self.cpus.iter().map(|&cpus| on_node(cpus)).max().unwrap_or(1);
        Ok(Steps { slots, memory: self.memory_per_node.map(|node| node / largest as u64) })
    }
}

/// Reads Slurm's counts of all nodes, such as `4(x3),2`.
fn counts(text: &str) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (count, times) = match part.split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1),
        };
        let count: usize = count.parse().ok().filter(|count| *count > 0)?;
        // More nodes than any cluster has would only fill the memory.
        if times > 100_000 {
            return None;
        }
        all.extend(std::iter::repeat_n(count, times));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation(variables: &[(&str, &str)]) -> Result<Allocation, AllocationError> {
        Allocation::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
    }

    const JOB: [(&str, &str); 2] = [("SLURM_JOB_ID", "7"), ("SLURM_JOB_CPUS_PER_NODE", "4(x2),2")];

    #[test]
    fn the_environment_of_a_job_is_read() {
        let job = allocation(&JOB).unwrap();
        assert_eq!((job.job.as_str(), job.cpus.as_slice(), job.memory_per_node), ("7", [4, 4, 2].as_slice(), None));
        let all = [("SLURM_CPUS_PER_TASK", "2"), ("SLURM_MEM_PER_NODE", "1000"), ("SLURM_GPUS_ON_NODE", "a100:4")];
        let job = allocation(&[&JOB[..], &all].concat()).unwrap();
        assert_eq!((job.cpus_per_task, job.memory_per_node, job.gpus_per_node), (Some(2), Some(1000 << 20), 4));
        assert_eq!(allocation(&[]), Err(AllocationError::NoJob));
        for wrong in ["", "x", "0", "4(x", "4(xy)", "4(x9999999999)"] {
            let variables = [("SLURM_JOB_ID", "7"), ("SLURM_JOB_CPUS_PER_NODE", wrong)];
            assert!(matches!(allocation(&variables), Err(AllocationError::Unreadable { .. })), "{wrong}");
        }
    }

    #[test]
    fn steps_fill_the_nodes() {
        let job = allocation(&JOB).unwrap();
        let of = |job: &Allocation, config: &RunConfig, trials, memory, has_cuda| {
            let steps = job.steps(config, trials, memory, has_cuda).unwrap();
            let first = steps.slots[0];
            (steps.slots.len(), first.threads, first.device, steps.memory)
        };
        let config = RunConfig::default();
        assert_eq!(of(&job, &config, 100, None, false), (10, 1, Device::Cpu, None));
        assert_eq!(of(&job, &config, 3, None, false).0, 3, "no more than there are trials");
        let wide = RunConfig { threads: Some(2), jobs: Some(4), ..config.clone() };
        assert_eq!(of(&job, &wide, 100, None, false), (4, 2, Device::Cpu, None));
        let threads = RunConfig { threads: Some(64), ..config.clone() };
        assert_eq!(of(&job, &threads, 100, None, false).1, 2, "the smallest node bounds the threads");
        let small = Allocation { memory_per_node: Some(250), ..job.clone() };
        assert_eq!(of(&small, &config, 100, Some(100), false), (6, 1, Device::Cpu, Some(125)));
        let gpus = Allocation { gpus_per_node: 2, ..job };
        assert_eq!(of(&gpus, &config, 100, None, true), (6, 1, Device::Cuda(0), None));
        assert_eq!(of(&gpus, &config, 100, None, false).2, Device::Cpu, "a build without CUDA uses the processors");
        let wanted = RunConfig { devices: Devices::Cuda(Vec::new()), ..config };
        assert!(matches!(gpus.steps(&wanted, 1, None, false), Err(AllocationError::NoGpus(..))));
    }
}
