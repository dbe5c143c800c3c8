//! How trials share the jobs of a cluster: side by side, and short ones one after another. Pure.

/// A trial that takes longer has a job of its own: the wait in the queue is short beside it.
const SHORT: f64 = 300.0;

/// How many trials a job takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packing {
    /// Jobs that wait and run together.
    pub jobs: usize,
    /// Trials side by side in a job.
    pub pack: usize,
    /// Seconds that short trials one after another may take in a job. None: they are not put together.
    pub chain: Option<f64>,
}

/// The trials of a job that is not submitted yet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct JobLoad {
    trials: usize,
    /// Estimates of the training time: of all trials together, and of the longest.
    seconds: f64,
    longest: f64,
}

impl JobLoad {
    /// Puts a trial into the job that is estimated to take so many seconds.
    pub fn add(&mut self, seconds: f64) {
        self.trials += 1;
        self.seconds += seconds;
        self.longest = self.longest.max(seconds);
    }
}

impl Packing {
    /// How many trials one after another a job takes at most when so many trials wait: with fewer of them than there are places,
    /// every trial starts at once.
    #[must_use]
    pub fn turns(&self, waiting: usize) -> usize {
        if self.chain.is_none() { 1 } else { waiting.div_ceil(self.jobs.saturating_mul(self.pack).max(1)).max(1) }
    }

    /// Whether a job takes one more trial.
    #[must_use]
    pub fn has_room(&self, load: &JobLoad, seconds: f64, turns: usize) -> bool {
        if load.trials < self.pack {
            return true;
        }
        let are_short = load.longest.max(seconds) < SHORT;
        let is_in_time = self.chain.is_some_and(|chain| load.seconds + seconds <= chain * self.pack as f64);
        load.trials < self.pack.saturating_mul(turns) && are_short && is_in_time
    }

    /// How many jobs trials that take so many seconds become.
    #[must_use]
    pub fn count_jobs(&self, seconds: &[f64]) -> usize {
        let (mut jobs, mut load, mut turns) = (0, JobLoad::default(), self.turns(seconds.len()));
        for (started, seconds_of_trial) in seconds.iter().enumerate() {
            if jobs == 0 || !self.has_room(&load, *seconds_of_trial, turns) {
                jobs += 1;
                load = JobLoad::default();
                // The first jobs start together. What is left then is shared among those that follow.
                if jobs > self.jobs {
                    turns = self.turns(seconds.len() - started);
                }
            }
            load.add(*seconds_of_trial);
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing(jobs: usize, pack: usize) -> Packing {
        Packing { jobs, pack, chain: Some(1800.0) }
    }

    #[test]
    fn trials_are_put_together_only_if_they_would_wait_otherwise() {
        let check = |packing: Packing, trials: usize, seconds: f64, jobs: usize| {
            assert_eq!(packing.count_jobs(&vec![seconds; trials]), jobs, "{packing:?}, {trials} trials of {seconds} s");
        };
        check(packing(50, 1), 12, 10.0, 12);
        check(packing(50, 1), 1000, 10.0, 50);
        check(packing(50, 1), 100, 200.0, 50);
        // Two thousand seconds are more than half an hour.
        check(packing(10, 1), 100, 200.0, 20);
        check(packing(50, 1), 100, 300.0, 100);
        check(packing(50, 4), 100, 300.0, 25);
        check(packing(2, 4), 80, 10.0, 2);
        check(Packing { chain: None, ..packing(2, 1) }, 80, 10.0, 80);
        check(packing(2, 4), 0, 10.0, 0);
    }

    #[test]
    fn a_long_trial_is_not_put_behind_short_ones() {
        let packing = packing(1, 1);
        assert_eq!(packing.count_jobs(&[10.0, 10.0, 4000.0, 10.0]), 3);
    }
}
