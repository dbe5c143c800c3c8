//! What `squeue` prints about the jobs of a user.

use std::collections::HashMap;

use crate::event::{JobEnd, JobName, JobState};

/// The columns that are asked for: job and index in its array, state, nodes, reason, start, name.
pub(super) const FORMAT: &str = "%F_%K|%T|%N|%r|%S|%j";

/// A job, or an element of an array of jobs, as `squeue` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedJob {
    /// The number of the job, or of its array.
    pub id: u64,
    /// The index in the array. None: a single job, or all elements of an array that are not listed by themselves.
    pub index: Option<u32>,
    pub name: String,
    pub state: JobState,
}

impl ListedJob {
    /// How `scancel` names it.
    pub(super) fn text(&self) -> String {
        self.index.map_or_else(|| self.id.to_string(), |index| format!("{}_{index}", self.id))
    }
}

/// Reads the lines of `squeue`. A line that cannot be read is skipped: it is about a job of another kind.
pub(super) fn read(text: &str) -> Vec<ListedJob> {
    text.lines().filter_map(job).collect()
}

fn job(line: &str) -> Option<ListedJob> {
    // A reason may contain anything but the separator.
    let mut columns = line.split('|');
    let (job, state, nodes, reason) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let (start, name) = (columns.next()?, columns.next()?);
    let (id, index) = job.trim().split_once('_')?;
    let known = |text: &str| {
        Some(text.trim()).filter(|text| !matches!(*text, "" | "N/A" | "(null)" | "None")).map(str::to_owned)
    };
    let node = known(nodes);
    let ended = |how| JobState::Ended { how, node: node.clone() };
    let state = match state.trim() {
        "RUNNING" | "COMPLETING" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            JobState::Running { node: node.clone().unwrap_or_default() }
        }
        "COMPLETED" => ended(JobEnd::Completed),
        "FAILED" | "SPECIAL_EXIT" => ended(JobEnd::Failed),
        "CANCELLED" | "REVOKED" => ended(JobEnd::Cancelled),
        "TIMEOUT" | "DEADLINE" => ended(JobEnd::TimedOut),
        "PREEMPTED" => ended(JobEnd::Preempted),
        "OUT_OF_MEMORY" => ended(JobEnd::OutOfMemory),
        "NODE_FAIL" | "BOOT_FAIL" => ended(JobEnd::NodeFailed),
        // PENDING, CONFIGURING, SUSPENDED, STOPPED, REQUEUED, REQUEUE_HOLD and what later versions add.
        other => {
            let reason = known(reason).unwrap_or_else(|| other.to_lowercase());
            JobState::Queued { reason, start: known(start) }
        }
    };
    Some(ListedJob { id: id.parse().ok()?, index: index.trim().parse().ok(), name: name.trim().to_owned(), state })
}

/// The listed jobs by name. Several jobs may have one name, if a submission that seemed to fail has succeeded after all.
pub(super) fn by_name(jobs: &[ListedJob]) -> HashMap<&str, Vec<&ListedJob>> {
    let mut named = HashMap::<&str, Vec<&ListedJob>>::new();
    for job in jobs {
        named.entry(job.name.as_str()).or_default().push(job);
    }
    named
}

/// The job of this name among those of its batch: the one that runs, else one that waits, else the newest.
pub(super) fn find<'a>(jobs: &[&'a ListedJob], name: &JobName) -> Option<&'a ListedJob> {
    // The line about all other elements of an array counts for those that have none of their own. A single job has no index.
    let own = jobs.iter().filter(|job| job.index == Some(name.index));
    let of_array = jobs.iter().filter(|job| {
        job.index.is_none() && !jobs.iter().any(|other| other.id == job.id && other.index == Some(name.index))
    });
    let rank = |job: &ListedJob| match job.state {
        JobState::Running { .. } => 2,
        JobState::Queued { .. } => 1,
        _ => 0,
    };
    own.chain(of_array).max_by_key(|job| (rank(job), job.id)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(line: &str) -> JobState {
        job(line).unwrap().state
    }

    #[test]
    fn the_lines_of_squeue_are_read() {
        let listed = job("12_3|PENDING||Priority|2026-11-28T12:53:21|plateau-1a2b3c4d-1").unwrap();
        let start = Some("2026-11-28T12:53:21".to_owned());
        assert_eq!(listed.state, JobState::Queued { reason: "Priority".into(), start });
        assert_eq!((listed.text().as_str(), listed.name.as_str()), ("12_3", "plateau-1a2b3c4d-1"));
        let single = job("7_N/A|RUNNING|n1|None|2026-11-28T12:53:21|t").unwrap();
        assert_eq!((single.text().as_str(), &single.state), ("7", &JobState::Running { node: "n1".into() }));
        let reason = "ReqNodeNotAvail, UnavailableNodes:n2";
        assert_eq!(
            state(&format!("7_0|PENDING||{reason}|N/A|t")),
            JobState::Queued { reason: reason.into(), start: None }
        );
        assert_eq!(state("7_0|REQUEUED||None|N/A|t"), JobState::Queued { reason: "requeued".into(), start: None });
        for (text, how) in [
            ("COMPLETED", JobEnd::Completed),
            ("FAILED", JobEnd::Failed),
            ("CANCELLED", JobEnd::Cancelled),
            ("TIMEOUT", JobEnd::TimedOut),
            ("PREEMPTED", JobEnd::Preempted),
            ("OUT_OF_MEMORY", JobEnd::OutOfMemory),
            ("NODE_FAIL", JobEnd::NodeFailed),
            ("BOOT_FAIL", JobEnd::NodeFailed),
        ] {
            assert_eq!(state(&format!("7_0|{text}|n2|None|N/A|t")), JobState::Ended { how, node: Some("n2".into()) });
        }
        for wrong in ["", "7|RUNNING", "x_0|RUNNING|n1|None|N/A|t", "slurm_load_jobs error: Unable to contact"] {
            assert_eq!(job(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_job_that_lives_stands_for_its_name() {
        let jobs = read(
            "1_0|FAILED|n1|None|N/A|b\n2_0|RUNNING|n2|None|N/A|b\n3_0|PENDING||None|N/A|b\n3_1|COMPLETED|n1|None|N/A|b\n4_1|FAILED|n1|None|N/A|b\n5_0|RUNNING|n1|None|N/A|other\n",
        );
        let named = by_name(&jobs);
        let text = |index| find(&named["b"], &JobName { batch: "b".into(), index }).map(ListedJob::text);
        assert_eq!([text(0), text(1), text(2)], [Some("2_0".into()), Some("4_1".into()), None]);
        // A cancelled array is listed as one line for all elements that had not started.
        let jobs = read("2_1|COMPLETED|n1|None|N/A|b\n2_N/A|CANCELLED||None|N/A|b\n");
        let named = by_name(&jobs);
        let how = |index| match &find(&named["b"], &JobName { batch: "b".into(), index }).unwrap().state {
            JobState::Ended { how, .. } => *how,
            other => panic!("{other:?}"),
        };
        assert_eq!([how(0), how(1)], [JobEnd::Cancelled, JobEnd::Completed]);
    }
}
