//! Which queued trials the parent looks at: a file server bears only so many looks a second.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::follow::RunningTrial;
use super::queue::QueuedJob;
use crate::event::JobState;
use crate::store::RunDir;
use crate::trial::TrialId;

/// The most trials that are looked at in one turn, beside those that have just ended.
const LOOKS: usize = 10;
/// Time between two listings of the folders of batches.
const LISTING: Duration = Duration::from_secs(1);

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct QueueLooks {
    /// The place among the trials in question at which the next look begins.
    next: usize,
    listed: Option<Instant>,
    /// The files about ends that were seen, by batch.
    ends: HashMap<String, HashSet<String>>,
}

impl QueueLooks {
    /// The places of the trials that are looked at now: those that have just ended, and some of those that may run. `pack`: so many
    /// trials of a job run side by side.
    pub(super) fn due(&mut self, running: &[RunningTrial], dir: &RunDir, pack: usize) -> Vec<usize> {
        let mut due = self.just_ended(running, dir);
        let may_run = may_run(running, pack);
        let first = self.next.min(may_run.len());
        due.extend(may_run.iter().cycle().skip(first).take(LOOKS.min(may_run.len())));
        self.next = (first + LOOKS) % may_run.len().max(1);
        due.sort_unstable();
        due.dedup();
        due
    }

    /// The trials that have left an exit code since the last listing.
    fn just_ended(&mut self, running: &[RunningTrial], dir: &RunDir) -> Vec<usize> {
        if self.listed.is_some_and(|listed| listed.elapsed() < LISTING) {
            return Vec::new();
        }
        self.listed = Some(Instant::now());
        let mut batches = HashMap::<&str, Vec<(usize, &QueuedJob, &TrialId)>>::new();
        for (at, running) in running.iter().enumerate() {
            if let Some(job) = running.job.as_ref().filter(|job| !matches!(job.state, JobState::Queued { .. })) {
                batches.entry(job.name.batch.as_str()).or_default().push((at, job, &running.worker.trial));
            }
        }
        self.ends.retain(|batch, _| batches.contains_key(batch.as_str()));
        let mut ended = Vec::new();
        for (batch, jobs) in batches {
            let seen = self.ends.entry(batch.to_owned()).or_default();
            let new: HashSet<String> = dir.batch(batch).ends().into_iter().filter(|end| !seen.contains(end)).collect();
            if new.is_empty() {
                continue;
            }
            let has_ended = |job: &QueuedJob, trial: &TrialId| {
                let index = job.name.index;
                new.contains(&format!("{index}.{trial}.exit")) || new.contains(&format!("{index}.exit"))
            };
            ended.extend(jobs.iter().filter(|(_, job, trial)| has_ended(job, trial)).map(|(at, ..)| at));
            seen.extend(new);
        }
        ended
    }
}

/// The trials whose workers run or may run: those of a shared job start in order.
fn may_run(running: &[RunningTrial], pack: usize) -> Vec<usize> {
    let mut all = Vec::new();
    let mut not_begun = HashMap::<_, Vec<(usize, usize)>>::new();
    for (at, running) in running.iter().enumerate() {
        let Some(job) = running.job.as_ref().filter(|job| !matches!(job.state, JobState::Queued { .. })) else {
            continue;
        };
        if job.worker.is_some() {
            all.push(at);
        } else {
            not_begun.entry(&job.name).or_default().push((job.place, at));
        }
    }
    for mut places in not_begun.into_values() {
        places.sort_unstable();
        all.extend(places.into_iter().take(pack).map(|(_, at)| at));
    }
    all.sort_unstable();
    all
}
