//! How many trials run side by side, and each on which device with how many threads. Pure.

use std::collections::BTreeMap;

use super::occupancy::MAX_PER_DEVICE;
use crate::event::Slot;
use crate::spec::{Devices, RunConfig};
use crate::trial::Device;

/// The processors, the memory and the devices of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub cores: usize,
    /// Bytes that this process may use. None where the system does not tell.
    pub memory: Option<u64>,
    /// Accelerators of this build and machine, best first; the CPU last.
    pub devices: Vec<Device>,
    /// Bytes of each accelerator, where it tells.
    pub device_memory: BTreeMap<Device, u64>,
}

/// The estimated peak memory of the largest trial in bytes. None: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrialMemory {
    /// Of the machine.
    pub host: Option<u64>,
    /// Of the device.
    pub device: Option<u64>,
}

/// A requested device that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    #[error("device `{requested}` does not exist: this build on this machine has {found}. {hint}")]
    NoSuchDevice { requested: String, found: String, hint: String },
}

/// Part of the memory that trials may fill. The rest is for the system and for errors of the estimates.
const USABLE: f64 = 0.8;

/// Part of the memory of a device that its trials may fill.
const USABLE_ON_DEVICE: f64 = 0.9;

/// The slots in which workers run.
///
/// On the CPU, jobs x threads never exceeds the cores. More trials with one thread each come before more threads: they lose
/// no time in waiting for each other. Cores that are left over become threads. An accelerator has as many slots as
/// [`trials_per_device`] says; the first slots are on different accelerators.
/// `memory`: it limits the number of slots, but never below one.
pub fn slots(
    config: &RunConfig,
    machine: &Machine,
    trials: usize,
    memory: TrialMemory,
) -> Result<Vec<Slot>, SlotError> {
    let accelerators = accelerators(&config.devices, machine)?;
    let (cores, trials) = (machine.cores.max(1), trials.max(1));
    if accelerators.is_empty() {
        return Ok(cpu_slots(config, cores, trials, memory_jobs(memory_limit(config, machine), memory.host)));
    }
    let counts = accelerators.iter().map(|device| trials_per_device(config, machine, *device, memory.device));
    let counts: Vec<usize> = counts.collect();
    let most: usize = counts.iter().sum();
    let jobs = config.jobs.unwrap_or(usize::MAX).min(trials.max(accelerators.len())).clamp(1, most);
    let threads = config.threads.unwrap_or(cores / jobs).clamp(1, cores);
    let in_round = |round: usize| counts.iter().enumerate().filter(move |(_, count)| round < **count);
    let places = (0..most).flat_map(in_round).map(|(number, _)| number);
    let slot = |(index, number): (usize, usize)| Slot {
        index,
        device: accelerators[number],
        threads,
        // The first slot on a device is that of the first round.
        shared_with: (counts[number] > 1).then_some(number),
    };
    Ok(places.take(jobs).enumerate().map(slot).collect())
}

/// How many trials may run at the same time on an accelerator: the number that the user sets, else as many as fit into its memory.
/// One, if it does not tell its memory. A run then starts with one, and adds others as [`super::Occupancy`] says.
fn trials_per_device(config: &RunConfig, machine: &Machine, device: Device, memory_per_trial: Option<u64>) -> usize {
    let fitting = || match (device_limit(machine, device), memory_per_trial) {
        (Some(limit), Some(trial)) if trial > 0 => ((limit / trial) as usize).clamp(1, MAX_PER_DEVICE),
        _ => 1,
    };
    config.jobs_per_device.unwrap_or_else(fitting)
}

/// Bytes that all trials on a device together may take.
#[must_use]
pub fn device_limit(machine: &Machine, device: Device) -> Option<u64> {
    machine.device_memory.get(&device).map(|memory| (*memory as f64 * USABLE_ON_DEVICE) as u64)
}

/// The devices on which trials run. Fails if the machine lacks the requested ones.
pub fn devices(request: &Devices, machine: &Machine) -> Result<Vec<Device>, SlotError> {
    let accelerators = accelerators(request, machine)?;
    Ok(if accelerators.is_empty() { vec![Device::Cpu] } else { accelerators })
}

/// Bytes that all trials together may take: a part of the free memory, and at most what the user allows. None if neither is
/// known.
#[must_use]
pub fn memory_limit(config: &RunConfig, machine: &Machine) -> Option<u64> {
    let usable = machine.memory.map(|memory| (memory as f64 * USABLE) as u64);
    match (usable, config.max_memory) {
        (Some(usable), Some(most)) => Some(usable.min(most)),
        (usable, most) => usable.or(most),
    }
}

/// Number of CPU jobs that fit into memory.
fn memory_jobs(limit: Option<u64>, memory_per_trial: Option<u64>) -> usize {
    match (limit, memory_per_trial) {
        (Some(limit), Some(trial)) if trial > 0 => ((limit / trial) as usize).max(1),
        _ => usize::MAX,
    }
}

fn cpu_slots(config: &RunConfig, cores: usize, trials: usize, memory_jobs: usize) -> Vec<Slot> {
    let requested_threads = config.threads.unwrap_or(1).clamp(1, cores);
    // A number of jobs that the user sets counts more than our estimate of the memory.
    let jobs = config.jobs.unwrap_or_else(|| (cores / requested_threads).min(memory_jobs)).min(trials).clamp(1, cores);
    let share = cores / jobs;
    let threads = |index: usize| match config.threads {
        Some(threads) => threads.clamp(1, share),
        None => share + usize::from(index < cores % jobs),
    };
    (0..jobs).map(|index| Slot::alone(index, Device::Cpu, threads(index))).collect()
}

/// The requested accelerators. An empty list means the CPU.
fn accelerators(request: &Devices, machine: &Machine) -> Result<Vec<Device>, SlotError> {
    let of = |fits: fn(&Device) -> bool| machine.devices.iter().copied().filter(fits).collect::<Vec<_>>();
    let refuse = |requested: String, feature: &str| {
        let found: Vec<_> = machine.devices.iter().map(Device::to_string).collect();
        let found = if found.is_empty() { "cpu".to_owned() } else { found.join(", ") };
        let hint = format!(
            "Build with `cargo build --release --features {feature}` on a machine that has one, or set `devices: auto`"
        );
        Err(SlotError::NoSuchDevice { requested, found, hint })
    };
    match request {
        Devices::Cpu => Ok(Vec::new()),
        Devices::Auto => Ok(of(|device| *device != Device::Cpu)),
        Devices::Metal => match of(|device| matches!(device, Device::Metal(_))) {
            none if none.is_empty() => refuse("metal".into(), "metal"),
            found => Ok(found),
        },
        Devices::Cuda(indices) if indices.is_empty() => match of(|device| matches!(device, Device::Cuda(_))) {
            none if none.is_empty() => refuse("cuda".into(), "cuda"),
            found => Ok(found),
        },
        Devices::Cuda(indices) => {
            let mut found = Vec::new();
            for device in indices.iter().map(|&index| Device::Cuda(index)) {
                if !machine.devices.contains(&device) {
                    return refuse(device.to_string(), "cuda");
                }
                if !found.contains(&device) {
                    found.push(device);
                }
            }
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu(cores: usize) -> Machine {
        Machine { cores, memory: Some(16 << 30), devices: vec![Device::Cpu], device_memory: BTreeMap::new() }
    }

    fn host(bytes: u64) -> TrialMemory {
        TrialMemory { host: Some(bytes), device: None }
    }

    fn check(jobs: Option<usize>, threads: Option<usize>, cores: usize, trials: usize, expected: &[usize]) {
        let config = RunConfig { jobs, threads, ..RunConfig::default() };
        let slots = slots(&config, &cpu(cores), trials, TrialMemory::default()).unwrap();
        assert_eq!(slots.iter().map(|slot| slot.threads).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn trials_side_by_side_come_first() {
        check(None, None, 4, 100, &[1, 1, 1, 1]);
        check(None, None, 8, 3, &[3, 3, 2]);
        check(None, None, 8, 1, &[8]);
        check(None, None, 2, 0, &[2]);
        check(Some(1), None, 8, 100, &[8]);
        check(Some(4), Some(2), 4, 100, &[1, 1, 1, 1]);
        check(None, Some(3), 8, 100, &[3, 3]);
        check(Some(9), None, 2, 100, &[1, 1]);
        check(None, Some(16), 8, 100, &[8]);
    }

    #[test]
    fn memory_limits_the_jobs() {
        let slots = slots(&RunConfig::default(), &cpu(16), 100, host(4 << 30)).unwrap();
        assert_eq!(slots.iter().map(|slot| slot.threads).collect::<Vec<_>>(), [6, 5, 5]);
        let config = RunConfig { max_memory: Some(9 << 30), ..RunConfig::default() };
        assert_eq!(super::slots(&config, &cpu(16), 100, host(4 << 30)).unwrap().len(), 2);
        let one = super::slots(&RunConfig::default(), &cpu(16), 100, host(1 << 40)).unwrap();
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn accelerators_are_one_slot_each() {
        let devices = vec![Device::Cuda(0), Device::Cuda(1), Device::Cpu];
        let machine = Machine { devices, ..cpu(8) };
        let of = |devices, jobs| {
            let config = RunConfig { devices, jobs, ..RunConfig::default() };
            let slots = slots(&config, &machine, 100, host(1 << 40));
            slots.map(|slots| slots.iter().map(|slot| (slot.device, slot.threads)).collect::<Vec<_>>())
        };
        assert_eq!(of(Devices::Auto, None).unwrap(), [(Device::Cuda(0), 4), (Device::Cuda(1), 4)]);
        assert_eq!(of(Devices::Cuda(vec![1]), None).unwrap(), [(Device::Cuda(1), 8)]);
        assert_eq!(of(Devices::Auto, Some(1)).unwrap(), [(Device::Cuda(0), 8)]);
        assert_eq!(of(Devices::Cpu, Some(1)).unwrap(), [(Device::Cpu, 8)]);
        insta::assert_snapshot!(of(Devices::Cuda(vec![0, 3]), None).unwrap_err(), @"device `cuda:3` does not exist: this build on this machine has cuda:0, cuda:1, cpu. Build with `cargo build --release --features cuda` on a machine that has one, or set `devices: auto`");
        insta::assert_snapshot!(of(Devices::Metal, None).unwrap_err(), @"device `metal` does not exist: this build on this machine has cuda:0, cuda:1, cpu. Build with `cargo build --release --features metal` on a machine that has one, or set `devices: auto`");
    }

    #[test]
    fn an_accelerator_has_as_many_slots_as_trials_fit() {
        let devices = vec![Device::Cuda(0), Device::Cuda(1), Device::Cpu];
        let device_memory = BTreeMap::from([(Device::Cuda(0), 10 << 30), (Device::Cuda(1), 5 << 30)]);
        let machine = Machine { devices, device_memory, ..cpu(8) };
        let of = |jobs_per_device, jobs, trials, device| {
            let config = RunConfig { jobs, jobs_per_device, ..RunConfig::default() };
            let slots = slots(&config, &machine, trials, TrialMemory { host: None, device }).unwrap();
            let number = |slot: &Slot| match slot.device {
                Device::Cuda(index) => index,
                other => panic!("{other}"),
            };
            // Slots with an equal place are those on one device.
            for (a, b) in slots.iter().flat_map(|a| slots.iter().map(move |b| (a, b))) {
                assert_eq!(a.place() == b.place(), a.device == b.device);
            }
            (slots.iter().map(number).collect::<Vec<_>>(), slots[0].threads)
        };
        assert_eq!(of(Some(2), None, 100, None), (vec![0, 1, 0, 1], 2));
        assert_eq!(of(Some(2), Some(3), 100, None), (vec![0, 1, 0], 2));
        assert_eq!(of(Some(4), None, 3, None), (vec![0, 1, 0], 2));
        assert_eq!(of(None, None, 100, Some(3 << 30)), (vec![0, 1, 0, 0], 2));
        assert_eq!(of(None, None, 100, Some(1 << 40)), (vec![0, 1], 4));
        assert_eq!(of(None, None, 100, None), (vec![0, 1], 4));
        assert_eq!(of(None, None, 100, Some(1 << 20)).0.len(), 2 * MAX_PER_DEVICE);
    }

    proptest! {
        #[test]
        fn cores_are_never_exceeded(
            cores in 1_usize..64, trials in 0_usize..100, jobs in proptest::option::of(1_usize..80), threads in proptest::option::of(1_usize..80),
        ) {
            let config = RunConfig { jobs, threads, ..RunConfig::default() };
            let slots = slots(&config, &cpu(cores), trials, TrialMemory::default()).unwrap();
            prop_assert!(!slots.is_empty() && slots.iter().all(|slot| slot.threads > 0));
            prop_assert!(slots.iter().map(|slot| slot.threads).sum::<usize>() <= cores);
        }
    }
}
