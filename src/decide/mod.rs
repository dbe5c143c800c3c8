//! Decides what to do next, as functions of the state, the slots and the rules. Pure: starts nothing and reads no clock.
//!
//! Which trials start and which are retried ([`decide`]), how many run side by side ([`slots()`], [`Steps`]), which fit into memory
//! ([`MemoryBudget`]), how many share a device ([`Occupancy`]) or a job of a cluster ([`Packing`]), which are stopped because others are
//! better ([`judge_across`]), and which take too long ([`overdue()`]).

mod across;
mod allocation;
mod failures;
mod jobs;
mod memory;
mod next_actions;
mod occupancy;
mod overdue;
mod packing;
mod search_results;
mod slots;

pub use across::{EvalHistory, JudgingOrder, judge_across, unjudged};
pub use allocation::{Allocation, AllocationError, Steps};
pub use failures::{MAX_FAULTS, MemoryEvidence, QueueRules, killed, nodes_to_avoid, oom_policy};
pub use jobs::{JobAction, JobFacts, job_action, state_of_part};
pub use memory::MemoryBudget;
pub use next_actions::{Action, DeviceSharing, Policy, decide};
pub use occupancy::Occupancy;
pub use overdue::{Pulse, overdue};
pub use packing::{JobLoad, Packing};
pub use search_results::trial_result;
pub use slots::{Machine, SlotError, TrialMemory, device_limit, devices, memory_limit, slots};
