//! The jobs that are submitted at the end of a turn: which trials share one, and which are submitted together.

use crate::decide::{JobLoad, Packing};
use crate::exec::Launch;

/// What a job needs that not all jobs of a sweep need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobNeeds {
    /// Bytes of each trial. None: as the cluster gives.
    pub(super) memory: Option<u64>,
    /// Nodes on which it must not run.
    pub(super) avoid: Vec<String>,
}

/// Jobs with the same needs.
#[derive(Debug)]
pub(super) struct NewBatch {
    pub(super) needs: JobNeeds,
    /// The launches of each job.
    pub(super) jobs: Vec<Vec<Launch>>,
}

#[derive(Debug)]
struct NewJob {
    needs: JobNeeds,
    load: JobLoad,
    launches: Vec<Launch>,
}

/// The jobs of a turn.
#[derive(Debug, Default)]
pub(super) struct NewJobs {
    jobs: Vec<NewJob>,
    /// So many jobs may be submitted in this turn.
    free: usize,
    /// How many trials one after another a job takes in this turn.
    turns: usize,
}

impl NewJobs {
    /// Begins a turn in which `waiting` trials wait, and `free` jobs may be submitted. Returns how many trials they take at most.
    pub(super) fn begin_turn(&mut self, packing: &Packing, waiting: usize, free: usize) -> usize {
        (self.free, self.turns) = (free, packing.turns(waiting));
        free.saturating_mul(packing.pack).saturating_mul(self.turns)
    }

    /// A job for one more trial with these needs, which is estimated to take `seconds`. None if no job may take it in this turn.
    pub(super) fn place(&mut self, packing: &Packing, needs: JobNeeds, seconds: f64) -> Option<usize> {
        // Jobs are filled one after the other.
        let last = self.jobs.iter().rposition(|job| job.needs == needs);
        let at = match last.filter(|at| packing.has_room(&self.jobs[*at].load, seconds, self.turns)) {
            Some(at) => at,
            None if self.jobs.len() >= self.free => return None,
            None => {
                self.jobs.push(NewJob { needs, load: JobLoad::default(), launches: Vec::new() });
                self.jobs.len() - 1
            }
        };
        self.jobs[at].load.add(seconds);
        Some(at)
    }

    pub(super) fn put(&mut self, at: usize, launch: Launch) {
        if let Some(job) = self.jobs.get_mut(at) {
            job.launches.push(launch);
        }
    }

    /// Ends the turn. Jobs with the same needs are submitted together, at most `most` of them.
    pub(super) fn take(&mut self, most: usize) -> Vec<NewBatch> {
        let mut batches: Vec<NewBatch> = Vec::new();
        for NewJob { needs, launches, .. } in self.jobs.drain(..) {
            match batches.iter_mut().rfind(|batch| batch.needs == needs && batch.jobs.len() < most) {
                Some(batch) => batch.jobs.push(launches),
                None => batches.push(NewBatch { needs, jobs: vec![launches] }),
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Slot;
    use crate::exec::WorkerId;
    use crate::trial::{Device, TrialId};

    fn needs(memory: u64) -> JobNeeds {
        JobNeeds { memory: Some(memory), avoid: Vec::new() }
    }

    /// Offers a trial for each of `memory`, and tells how many trials the jobs of each batch have.
    fn batches(packing: Packing, free: usize, memory: &[u64]) -> Vec<Vec<usize>> {
        let mut new = NewJobs::default();
        new.begin_turn(&packing, memory.len(), free);
        for memory in memory {
            let Some(at) = new.place(&packing, needs(*memory), 10.0) else { continue };
            let worker = WorkerId { trial: TrialId::parse("0123456789ab").unwrap(), attempt: 1 };
            let slot = Slot::alone(0, Device::Cpu, 1);
            new.put(at, Launch { worker, folder: "/f".into(), log: None, slot });
        }
        new.take(2).iter().map(|batch| batch.jobs.iter().map(Vec::len).collect()).collect()
    }

    #[test]
    fn alike_trials_share_jobs_and_alike_jobs_a_batch() {
        let packing = |jobs, pack| Packing { jobs, pack, chain: Some(100.0) };
        assert_eq!(batches(packing(4, 1), 4, &[1; 3]), [vec![1, 1], vec![1]]);
        assert_eq!(batches(packing(1, 1), 1, &[1; 8]), [vec![8]]);
        assert_eq!(batches(packing(1, 1), 1, &[1; 30]), [vec![10]], "ten times ten seconds");
        assert_eq!(batches(packing(2, 2), 2, &[1; 8]), [vec![4, 4]]);
        assert_eq!(batches(packing(2, 2), 1, &[1; 8]), [vec![4]], "one job still runs");
        assert_eq!(batches(packing(9, 2), 9, &[1, 2, 1, 2, 1]), [vec![2, 1], vec![2]]);
        assert!(batches(packing(2, 2), 0, &[1; 8]).is_empty());
    }
}
