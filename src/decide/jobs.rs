//! What to do about a job of a cluster: a table of what the cluster says and what the folder of the trial shows. Pure.
//!
//! The folder is the verdict, and the word of the cluster is a hint: it may report a finished trial as lost, forget a job that
//! runs, or start one twice.

use std::time::Duration;

use crate::event::{JobEnd, JobState};

/// A worker shows that it lives this often.
const BEAT: Duration = Duration::from_secs(10);
/// A worker without a heartbeat for so long is dead: some may be lost, and a network file system shows a change late.
const SILENCE: Duration = Duration::from_secs(5 * BEAT.as_secs() + 60);
/// From the end of a job until a file that it must have written counts as missing.
const PATIENCE: Duration = Duration::from_secs(90);
/// The exit codes of a worker that matter here.
const PUBLISHED: i32 = 0;
const NEEDLESS: i32 = 7;
const INTERRUPTED: i32 = 130;
/// What a shell reports of a process that died by these signals.
const USR1: i32 = 138;
const TERM: i32 = 143;

/// What is known about a job and its attempt.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the table")]
pub struct JobFacts<'a> {
    /// The last word of the cluster.
    pub state: &'a JobState,
    /// For how long it is so.
    pub since: Duration,
    /// Whether the trial has an outcome.
    pub has_outcome: bool,
    /// Whether the worker has left the reason of a failure.
    pub has_failure: bool,
    /// The exit code that the job script has left.
    pub exit: Option<i32>,
    /// Whether the worker has started.
    pub has_started: bool,
    /// For how long no new heartbeat was seen. None: never one.
    pub quiet: Option<Duration>,
    /// Whether a checkpoint is newer than the start of the attempt.
    pub has_progressed: bool,
    /// Whether this program has cancelled the job.
    pub is_cancelled_by_us: bool,
}

/// What to do about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    Wait,
    /// The trial has an outcome. Cancel what is left of the job.
    Finish,
    /// The attempt has failed by itself, as its folder says. Cancel what is left of the job.
    Fail,
    /// The attempt was interrupted: another one continues it.
    Resubmit,
    /// The same, but no checkpoint was saved: that counts as a failure.
    ResubmitWithoutCheckpoint,
    /// The job needs more memory.
    RaiseMemory,
    /// The node is at fault.
    BlameNode,
    /// A person has cancelled the job: the trial waits until they want it again.
    Pause,
    /// The job has ended and nothing tells how.
    Lose,
}

/// The state of a worker that shares its job with others, from that of the job and from the exit code that the worker has left. Its part
/// is over while the job runs. An interruption waits for the end of the job: the cluster may start it again.
#[must_use]
pub fn state_of_part(job: &JobState, exit: Option<i32>) -> JobState {
    match (job, exit) {
        (JobState::Running { .. }, Some(NEEDLESS | INTERRUPTED | USR1 | TERM)) => job.clone(),
        (JobState::Running { node }, Some(code)) => {
            let how = if code == PUBLISHED { JobEnd::Completed } else { JobEnd::Failed };
            JobState::Ended { how, node: Some(node.clone()) }
        }
        _ => job.clone(),
    }
}

/// Decides what to do about a job.
#[must_use]
pub fn job_action(facts: &JobFacts<'_>) -> JobAction {
    let is_quiet = facts.quiet.is_none_or(|quiet| quiet > SILENCE);
    if facts.has_outcome {
        return JobAction::Finish;
    }
    match facts.state {
        // A program that the job script has started can keep the job running after the worker has failed.
        JobState::Running { .. } if facts.has_failure && facts.exit.is_some() => JobAction::Fail,
        // If the state is unknown, the controller does not answer, or the new job is not known yet: only the folder speaks.
        JobState::Unknown | JobState::Queued { .. } | JobState::Running { .. } => JobAction::Wait,
        // Not known to the cluster: it has forgotten a job that ended, or one that runs.
        JobState::Absent if facts.has_failure => JobAction::Fail,
        JobState::Absent => match facts.exit {
            Some(code) => after_exit(facts, code),
            None if facts.has_started && !is_quiet => JobAction::Wait,
            None => JobAction::Resubmit,
        },
        JobState::Ended { how, .. } => match how {
            JobEnd::OutOfMemory => JobAction::RaiseMemory,
            _ if facts.has_failure => JobAction::Fail,
            JobEnd::NodeFailed if facts.has_started && !is_quiet => JobAction::Wait,
            JobEnd::NodeFailed => JobAction::BlameNode,
            JobEnd::TimedOut | JobEnd::Preempted => interrupted(facts),
            JobEnd::Cancelled if facts.is_cancelled_by_us => JobAction::Resubmit,
            JobEnd::Cancelled => JobAction::Pause,
            JobEnd::Completed | JobEnd::Failed => match facts.exit {
                Some(code) => after_exit(facts, code),
                None if facts.since < PATIENCE => JobAction::Wait,
                None if !facts.has_started => JobAction::BlameNode,
                None => JobAction::Lose,
            },
        },
    }
}

fn after_exit(facts: &JobFacts<'_>, code: i32) -> JobAction {
    match code {
        PUBLISHED if facts.since < PATIENCE => JobAction::Wait,
        PUBLISHED => JobAction::Lose,
        NEEDLESS => JobAction::Resubmit,
        // The signal came before the worker could hear it.
        USR1 | TERM if !facts.has_started => JobAction::Resubmit,
        INTERRUPTED | USR1 | TERM => interrupted(facts),
        // The job script failed before it came to the worker.
        _ if !facts.has_started && facts.since < PATIENCE / 9 => JobAction::Wait,
        _ if !facts.has_started => JobAction::BlameNode,
        _ => JobAction::Fail,
    }
}

fn interrupted(facts: &JobFacts<'_>) -> JobAction {
    if facts.has_progressed { JobAction::Resubmit } else { JobAction::ResubmitWithoutCheckpoint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUST_NOW: Duration = Duration::ZERO;
    const LONG_AGO: Duration = Duration::from_secs(1000);

    fn queued() -> JobState {
        JobState::Queued { reason: "Priority".into(), start: None }
    }

    fn running() -> JobState {
        JobState::Running { node: "n1".into() }
    }

    fn ended(how: JobEnd) -> JobState {
        JobState::Ended { how, node: Some("n1".into()) }
    }

    /// A worker that has started, beats, and has left nothing else.
    fn facts(state: &JobState) -> JobFacts<'_> {
        JobFacts {
            state,
            since: JUST_NOW,
            has_outcome: false,
            has_failure: false,
            exit: None,
            has_started: true,
            quiet: Some(JUST_NOW),
            has_progressed: false,
            is_cancelled_by_us: false,
        }
    }

    const ENDS: [JobEnd; 7] = [
        JobEnd::Completed,
        JobEnd::Failed,
        JobEnd::Cancelled,
        JobEnd::TimedOut,
        JobEnd::Preempted,
        JobEnd::OutOfMemory,
        JobEnd::NodeFailed,
    ];

    #[test]
    fn an_outcome_is_final_whatever_the_cluster_says() {
        for state in [JobState::Unknown, JobState::Absent, queued(), running()].into_iter().chain(ENDS.map(ended)) {
            let facts = JobFacts { has_outcome: true, has_failure: true, exit: Some(1), ..facts(&state) };
            assert_eq!(job_action(&facts), JobAction::Finish, "{state:?}");
        }
    }

    #[test]
    fn an_unreachable_cluster_decides_nothing() {
        let quiet = JobFacts {
            quiet: Some(LONG_AGO),
            since: LONG_AGO,
            has_failure: true,
            exit: Some(1),
            ..facts(&JobState::Unknown)
        };
        assert_eq!(job_action(&quiet), JobAction::Wait);
    }

    #[test]
    fn a_job_that_waits_or_runs_is_left_alone() {
        for state in [queued(), running()] {
            for quiet in [None, Some(JUST_NOW), Some(LONG_AGO)] {
                let facts = JobFacts { quiet, has_started: quiet.is_some(), since: LONG_AGO, ..facts(&state) };
                assert_eq!(
                    job_action(&facts),
                    JobAction::Wait,
                    "{state:?} {quiet:?}: also a split brain, and a slow start"
                );
            }
        }
        let state = running();
        let failed = JobFacts { has_failure: true, exit: Some(2), ..facts(&state) };
        assert_eq!(job_action(&failed), JobAction::Fail, "something keeps the job running");
        assert_eq!(job_action(&JobFacts { exit: None, ..failed }), JobAction::Wait, "the script is about to end");
    }

    #[test]
    fn the_folder_explains_the_end_of_a_job() {
        let check = |how: JobEnd, change: fn(&mut JobFacts<'_>), expected: JobAction| {
            let state = ended(how);
            let mut facts = JobFacts { since: LONG_AGO, quiet: Some(LONG_AGO), ..facts(&state) };
            change(&mut facts);
            assert_eq!(job_action(&facts), expected, "{facts:?}");
        };
        // Completed, and no outcome is seen: network file systems show a new file late.
        check(JobEnd::Completed, |it| (it.exit, it.since) = (Some(0), JUST_NOW), JobAction::Wait);
        check(JobEnd::Completed, |it| it.exit = Some(0), JobAction::Lose);
        check(JobEnd::Completed, |_| {}, JobAction::Lose);
        check(JobEnd::Failed, |it| it.exit = Some(7), JobAction::Resubmit);
        check(JobEnd::Failed, |it| (it.exit, it.has_started) = (Some(143), false), JobAction::Resubmit);
        check(JobEnd::Failed, |it| it.exit = Some(143), JobAction::ResubmitWithoutCheckpoint);
        // Saved and ended, as the cluster asked.
        for how in [JobEnd::Failed, JobEnd::Preempted, JobEnd::TimedOut] {
            check(how, |it| (it.exit, it.has_progressed) = (Some(130), true), JobAction::Resubmit);
            check(how, |it| it.exit = Some(130), JobAction::ResubmitWithoutCheckpoint);
        }
        check(JobEnd::TimedOut, |it| it.has_progressed = true, JobAction::Resubmit);
        check(JobEnd::TimedOut, |_| {}, JobAction::ResubmitWithoutCheckpoint);
        check(JobEnd::OutOfMemory, |_| {}, JobAction::RaiseMemory);
        check(JobEnd::OutOfMemory, |it| it.has_failure = true, JobAction::RaiseMemory);
        check(JobEnd::Failed, |it| it.has_failure = true, JobAction::Fail);
        check(JobEnd::Failed, |it| it.exit = Some(139), JobAction::Fail);
        check(JobEnd::NodeFailed, |it| it.quiet = Some(JUST_NOW), JobAction::Wait);
        check(JobEnd::NodeFailed, |_| {}, JobAction::BlameNode);
        // The job script itself failed.
        check(JobEnd::Failed, |it| (it.exit, it.has_started) = (Some(1), false), JobAction::BlameNode);
        check(JobEnd::Failed, |it| (it.has_started, it.quiet) = (false, None), JobAction::BlameNode);
        check(JobEnd::Failed, |it| (it.has_started, it.since) = (false, JUST_NOW), JobAction::Wait);
        check(JobEnd::Cancelled, |_| {}, JobAction::Pause);
        check(JobEnd::Cancelled, |it| it.is_cancelled_by_us = true, JobAction::Resubmit);
        check(JobEnd::Cancelled, |it| it.exit = Some(130), JobAction::Pause);
    }

    #[test]
    fn a_worker_of_a_shared_job_ends_before_its_job() {
        let check = |job: JobState, exit: Option<i32>, expected: JobState| {
            assert_eq!(state_of_part(&job, exit), expected, "{job:?} {exit:?}");
        };
        check(running(), None, running());
        check(running(), Some(0), ended(JobEnd::Completed));
        check(running(), Some(1), ended(JobEnd::Failed));
        check(running(), Some(137), ended(JobEnd::Failed));
        for interrupted in [7, 130, 138, 143] {
            check(running(), Some(interrupted), running());
        }
        check(queued(), Some(1), queued());
        check(ended(JobEnd::TimedOut), Some(130), ended(JobEnd::TimedOut));
        check(JobState::Unknown, Some(1), JobState::Unknown);
    }

    #[test]
    fn a_forgotten_job_is_judged_by_its_folder() {
        let absent = JobState::Absent;
        let facts = JobFacts { since: LONG_AGO, ..facts(&absent) };
        assert_eq!(job_action(&facts), JobAction::Wait, "it is alive");
        assert_eq!(job_action(&JobFacts { quiet: Some(LONG_AGO), ..facts }), JobAction::Resubmit);
        assert_eq!(job_action(&JobFacts { has_started: false, quiet: None, ..facts }), JobAction::Resubmit);
        assert_eq!(job_action(&JobFacts { has_failure: true, ..facts }), JobAction::Fail);
        assert_eq!(job_action(&JobFacts { exit: Some(1), ..facts }), JobAction::Fail);
        assert_eq!(job_action(&JobFacts { exit: Some(130), has_progressed: true, ..facts }), JobAction::Resubmit);
    }
}
