//! Which running trials take too long. Pure: the caller has the clock.

use std::time::Duration;

use crate::event::Failure;
use crate::spec::RunConfig;

/// The progress of a running trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Time since the last step or evaluation of the attempt, or since its start.
    pub quiet: Duration,
    /// Training time up to the last step, including earlier attempts.
    pub trained: Duration,
}

/// Why a worker must be killed, if it must. The time limit comes first: no attempt follows it.
#[must_use]
pub fn overdue(pulse: Pulse, config: &RunConfig) -> Option<Failure> {
    let exceeded = |limit: Option<f64>, time: Duration| limit.filter(|limit| time.as_secs_f64() > *limit);
    let late = exceeded(config.time_limit, pulse.trained + pulse.quiet);
    late.map(|seconds| Failure::TimeLimit { seconds })
        .or_else(|| exceeded(config.stall_timeout, pulse.quiet).map(|seconds| Failure::Stalled { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_may_run_within_its_limits() {
        let check =
            |[stall_timeout, time_limit]: [Option<f64>; 2], [quiet, trained]: [u64; 2], expected: Option<Failure>| {
                let config = RunConfig { stall_timeout, time_limit, ..RunConfig::default() };
                let pulse = Pulse { quiet: Duration::from_secs(quiet), trained: Duration::from_secs(trained) };
                assert_eq!(overdue(pulse, &config), expected, "{pulse:?}");
            };
        let (stalled, late) = (Failure::Stalled { seconds: 60.0 }, Failure::TimeLimit { seconds: 600.0 });
        check([None, None], [1_000_000, 1_000_000], None);
        check([Some(60.0), None], [60, 1_000_000], None);
        check([Some(60.0), None], [61, 0], Some(stalled.clone()));
        check([None, Some(600.0)], [10, 590], None);
        check([None, Some(600.0)], [11, 590], Some(late.clone()));
        check([Some(60.0), Some(600.0)], [61, 0], Some(stalled));
        check([Some(60.0), Some(600.0)], [61, 600], Some(late));
    }
}
