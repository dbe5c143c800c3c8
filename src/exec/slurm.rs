//! Workers as jobs of Slurm: one for each, or several that share a job.
//!
//! A task of its own, the clerk, calls `sbatch`, `squeue` and `scancel`, so that a controller that does not answer blocks no other.
//! Guarantees:
//! * Jobs are found by their names, which are chosen before they are submitted. A submission that seemed to fail may have
//!   happened: it is looked up, and its workers are reported as [`JobState::Absent`] only after two looks, ten seconds apart.
//! * At most one look in five seconds, and one call for all jobs. Without a change the pause doubles up to a minute.
//! * Jobs continue when the engine is dropped.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout};

use super::job_script::{array, contradicting};
use super::queue_listing::{self, ListedJob};
use super::{Batch, Engine, JobRequest, JobTemplate, Sighting, Submission, WorkerId};
use crate::event::{JobName, JobState};

/// The shortest and the longest pause between two looks at the queue.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// How long a job must have been missing from the queue.
const ABSENT: Duration = Duration::from_secs(10);
/// How long a command of Slurm may take. `sbatch` itself waits while the controller takes no jobs.
const ANSWER: Duration = Duration::from_secs(20);
/// From the end of an attempt until its job is cancelled, if it still runs.
const LEFT_OVER: Duration = Duration::from_secs(20);
/// From a submission that was put off to the next try.
const PUT_OFF: Duration = Duration::from_secs(30);

/// The engine. Make it inside a tokio runtime.
#[derive(Debug)]
pub struct Slurm {
    orders: UnboundedSender<Order>,
    sightings: UnboundedReceiver<Sighting>,
}

/// What the clerk is to do.
#[derive(Debug)]
enum Order {
    Submit {
        request: JobRequest,
        workers: Vec<WorkerId>,
    },
    Adopt {
        worker: WorkerId,
        job: JobName,
    },
    /// Send the signal that asks for a checkpoint, or cancel a job that waits.
    Stop(WorkerId),
    Kill(WorkerId),
    Forget(WorkerId),
    CancelAll,
}

impl Slurm {
    /// `folder`: where the programs of Slurm are; empty: on the path. `single`: submit each job by itself.
    #[must_use]
    pub fn new(template: JobTemplate, folder: &Path, single: bool) -> Self {
        let (orders, received) = unbounded_channel();
        let (news, sightings) = unbounded_channel();
        let clerk = Clerk {
            template,
            folder: folder.to_owned(),
            single,
            user: std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned()),
            news,
            jobs: HashMap::new(),
            places: HashMap::new(),
            waiting: VecDeque::new(),
            hold_until: None,
            is_unreachable: false,
            pause: FIRST_PAUSE,
            next_look: Instant::now() + Duration::from_secs(1),
        };
        tokio::spawn(clerk.work(received));
        Self { orders, sightings }
    }

    fn order(&self, order: Order) {
        // The clerk ends only with this engine.
        let _ = self.orders.send(order);
    }
}

impl Engine for Slurm {
    fn submit(&mut self, batch: Batch) -> Vec<Submission> {
        let workers: Vec<WorkerId> = batch.launches.into_iter().map(|launch| launch.worker).collect();
        let answers = workers.iter().map(|_| Submission::Unknown).collect();
        if let Some(request) = batch.request {
            self.order(Order::Submit { request, workers });
        }
        answers
    }

    async fn poll(&mut self) -> Sighting {
        match self.sightings.recv().await {
            Some(sighting) => sighting,
            None => std::future::pending().await,
        }
    }

    fn stop(&mut self, worker: &WorkerId) {
        self.order(Order::Stop(worker.clone()));
    }

    fn kill(&mut self, worker: &WorkerId) {
        self.order(Order::Kill(worker.clone()));
    }

    fn adopt(&mut self, worker: WorkerId, job: JobName) {
        self.order(Order::Adopt { worker, job });
    }

    fn forget(&mut self, worker: &WorkerId) {
        self.order(Order::Forget(worker.clone()));
    }

    fn cancel_all(&mut self) {
        self.order(Order::CancelAll);
    }
}

/// A job that the clerk looks after.
#[derive(Debug)]
struct Tracked {
    /// The workers that are not over. Each with whether it is to be killed.
    workers: Vec<(WorkerId, bool)>,
    state: JobState,
    /// How `scancel` names it, once it was listed.
    id: Option<String>,
    /// Since when it is missing from the queue.
    missing_since: Option<Instant>,
    /// Whether it has been submitted, as far as is known.
    is_submitted: bool,
    /// Since when all of its attempts are over.
    over_since: Option<Instant>,
}

impl Tracked {
    /// Whether it is to be cancelled as soon as it is known.
    fn is_unwanted(&self) -> bool {
        !self.workers.is_empty() && self.workers.iter().all(|(_, is_unwanted)| *is_unwanted)
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, JobState::Ended { .. } | JobState::Absent)
    }
}

/// Indices of a batch that are to be submitted.
#[derive(Debug, Clone)]
struct Chunk {
    request: JobRequest,
    indices: Range<u32>,
}

/// Talks to Slurm.
struct Clerk {
    template: JobTemplate,
    folder: PathBuf,
    single: bool,
    user: String,
    news: UnboundedSender<Sighting>,
    jobs: HashMap<JobName, Tracked>,
    /// The job of each worker.
    places: HashMap<WorkerId, JobName>,
    waiting: VecDeque<Chunk>,
    /// No submission before, because the last one was put off.
    hold_until: Option<Instant>,
    is_unreachable: bool,
    pause: Duration,
    next_look: Instant,
}

/// The answer of `sbatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Taken,
    /// Too many jobs for now: later, or fewer.
    PutOff(String),
    /// Never.
    Refused(String),
    /// It may have happened.
    Unknown(String),
}

impl Clerk {
    async fn work(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            let can_submit = !self.waiting.is_empty() && !self.is_unreachable;
            let submit_at = self.hold_until.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                () = sleep_until(submit_at), if can_submit => self.submit_next().await,
                () = sleep_until(self.next_look), if !self.jobs.is_empty() => self.look().await,
            }
        }
    }

    fn tell(&self, sighting: Sighting) {
        let _ = self.news.send(sighting);
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Submit { request, workers } => {
                let count = request.indices.iter().max().map_or(0, |last| last + 1);
                for (worker, index) in workers.into_iter().zip(&request.indices) {
                    self.track(worker, JobName { batch: request.name.clone(), index: *index }, false);
                }
                let size = if self.single { 1 } else { count.max(1) };
                let starts = (0..count).step_by(size as usize);
                let chunks =
                    starts.map(|start| Chunk { request: request.clone(), indices: start..count.min(start + size) });
                self.waiting.extend(chunks);
            }
            Order::Adopt { worker, job } => {
                self.track(worker, job, true);
                // What waits for an adopted job should not wait for the pause.
                self.next_look = self.next_look.min(Instant::now() + Duration::from_millis(100));
            }
            Order::Stop(worker) => self.stop(&worker).await,
            Order::Kill(worker) => self.kill(&worker).await,
            Order::Forget(worker) => self.forget(&worker),
            Order::CancelAll => self.cancel_all().await,
        }
    }

    /// A job whose attempts are over ends by itself in a moment. What is still there after that is cancelled.
    fn forget(&mut self, worker: &WorkerId) {
        let Some(name) = self.places.remove(worker) else { return };
        let Some(tracked) = self.jobs.get_mut(&name) else { return };
        tracked.workers.retain(|(known, _)| known != worker);
        if !tracked.workers.is_empty() {
            return;
        }
        if tracked.has_ended() {
            self.jobs.remove(&name);
        } else {
            tracked.over_since = Some(Instant::now());
        }
    }

    /// A job is known under one name. The attempt of a trial changes when Slurm starts the job again.
    fn track(&mut self, worker: WorkerId, job: JobName, is_submitted: bool) {
        self.places.insert(worker.clone(), job.clone());
        let tracked = self.jobs.entry(job).or_insert_with(|| Tracked {
            workers: Vec::new(),
            state: JobState::Unknown,
            id: None,
            missing_since: None,
            is_submitted,
            over_since: None,
        });
        if let Some(at) = tracked.workers.iter().position(|(known, _)| known.trial == worker.trial) {
            let (earlier, _) = std::mem::replace(&mut tracked.workers[at], (worker, false));
            self.places.remove(&earlier);
        } else {
            tracked.workers.push((worker, false));
        }
    }

    async fn submit_next(&mut self) {
        let Some(chunk) = self.waiting.pop_front() else { return };
        self.hold_until = None;
        let names: Vec<JobName> =
            chunk.indices.clone().map(|index| JobName { batch: chunk.request.name.clone(), index }).collect();
        let is_wanted = |tracked: &Tracked| tracked.workers.iter().any(|(_, is_unwanted)| !is_unwanted);
        let wanted = names.iter().any(|name| self.jobs.get(name).is_some_and(is_wanted));
        if !wanted {
            return;
        }
        let answer = self.sbatch(&chunk).await;
        match answer {
            Answer::Taken | Answer::Unknown(_) => {
                for name in &names {
                    if let Some(tracked) = self.jobs.get_mut(name) {
                        tracked.is_submitted = true;
                    }
                }
                self.pause = FIRST_PAUSE;
                self.next_look = self.next_look.min(Instant::now() + FIRST_PAUSE);
                match answer {
                    Answer::Unknown(message) => self.go_away(message),
                    _ => self.tell(Sighting::Submitted { workers: self.workers(&names) }),
                }
            }
            Answer::PutOff(_) if chunk.indices.len() > 1 => {
                let middle = chunk.indices.start + chunk.indices.len() as u32 / 2;
                let Chunk { mut request, indices } = chunk;
                // Both halves together keep the bound.
                request.throttle = request.throttle.map(|most| most.div_ceil(2));
                self.waiting.push_front(Chunk { request: request.clone(), indices: middle..indices.end });
                self.waiting.push_front(Chunk { request, indices: indices.start..middle });
            }
            Answer::PutOff(message) => {
                self.tell(Sighting::PutOff { message });
                self.waiting.push_front(chunk);
                self.hold_until = Some(Instant::now() + PUT_OFF);
            }
            Answer::Refused(message) => {
                let workers = self.workers(&names);
                for name in &names {
                    self.jobs.remove(name);
                }
                for worker in &workers {
                    self.places.remove(worker);
                }
                self.tell(Sighting::Refused { workers, message });
            }
        }
    }

    fn workers(&self, names: &[JobName]) -> Vec<WorkerId> {
        let jobs = names.iter().filter_map(|name| self.jobs.get(name));
        jobs.flat_map(|tracked| &tracked.workers).map(|(worker, _)| worker.clone()).collect()
    }

    async fn sbatch(&self, chunk: &Chunk) -> Answer {
        let script = self.template.script(&chunk.request);
        let mut command = self.command("sbatch");
        command.args(["--parsable", &format!("--array={}", array(&chunk.indices, chunk.request.throttle))]);
        match run(command, &script).await {
            Ok(output) if output.status.success() => Answer::Taken,
            Ok(output) => judge(String::from_utf8_lossy(&output.stderr).trim()),
            Err(message) => Answer::Unknown(message),
        }
    }

    /// Looks at the queue once, and tells what has changed.
    async fn look(&mut self) {
        let mut command = self.command("squeue");
        command.args(["--noheader", "--array", "--states=all", "--user", &self.user]);
        command.arg(format!("--format={}", queue_listing::FORMAT));
        let listed = match run(command, "").await {
            Ok(output) if output.status.success() => queue_listing::read(&String::from_utf8_lossy(&output.stdout)),
            Ok(output) => {
                self.go_away(String::from_utf8_lossy(&output.stderr).trim().to_owned());
                return self.plan_next_look(false);
            }
            Err(message) => {
                self.go_away(message);
                return self.plan_next_look(false);
            }
        };
        if self.is_unreachable {
            self.is_unreachable = false;
            self.tell(Sighting::Back);
        }
        let has_changed = self.compare(&listed);
        let is_left_over =
            |tracked: &Tracked| tracked.over_since.is_some_and(|since: Instant| since.elapsed() >= LEFT_OVER);
        let unwanted = self.jobs.iter().filter(|(_, tracked)| {
            tracked.id.is_some() && !tracked.has_ended() && (tracked.is_unwanted() || is_left_over(tracked))
        });
        let unwanted: Vec<JobName> = unwanted.map(|(name, _)| name.clone()).collect();
        for name in unwanted {
            self.cancel(&name, false).await;
        }
        self.plan_next_look(has_changed);
    }

    /// Tells what has changed since the last look. Jobs that are over are forgotten. True if something has changed.
    fn compare(&mut self, listed: &[ListedJob]) -> bool {
        let named = queue_listing::by_name(listed);
        let now = Instant::now();
        let mut has_changed = false;
        let mut over = Vec::new();
        for (name, tracked) in &mut self.jobs {
            if !tracked.is_submitted {
                continue;
            }
            let found = named.get(name.batch.as_str()).and_then(|jobs| queue_listing::find(jobs, name));
            let state = if let Some(job) = found {
                tracked.id = Some(job.text());
                tracked.missing_since = None;
                job.state.clone()
            } else {
                let since = *tracked.missing_since.get_or_insert(now);
                if now.duration_since(since) < ABSENT {
                    continue;
                }
                JobState::Absent
            };
            if state == tracked.state {
                continue;
            }
            has_changed = true;
            tracked.state = state.clone();
            for (worker, _) in &tracked.workers {
                let _ = self.news.send(Sighting::Job { worker: worker.clone(), state: state.clone() });
            }
            if tracked.has_ended() && tracked.over_since.is_some() {
                over.push(name.clone());
            }
        }
        for name in &over {
            self.jobs.remove(name);
        }
        has_changed
    }

    fn plan_next_look(&mut self, has_changed: bool) {
        let is_missing =
            self.jobs.values().any(|tracked| tracked.missing_since.is_some() && tracked.state != JobState::Absent);
        self.pause = if has_changed || is_missing { FIRST_PAUSE } else { LAST_PAUSE.min(self.pause * 2) };
        self.next_look = Instant::now() + self.pause;
    }

    /// Slurm has not answered. Nothing is submitted until it does.
    fn go_away(&mut self, message: String) {
        for tracked in self.jobs.values_mut() {
            // Counted anew once it answers.
            tracked.missing_since = None;
            if tracked.state != JobState::Unknown && !matches!(tracked.state, JobState::Ended { .. }) {
                tracked.state = JobState::Unknown;
                for (worker, _) in &tracked.workers {
                    let _ = self.news.send(Sighting::Job { worker: worker.clone(), state: JobState::Unknown });
                }
            }
        }
        if !self.is_unreachable {
            self.is_unreachable = true;
            self.pause = FIRST_PAUSE;
            self.tell(Sighting::Away { message });
        }
    }

    /// Ends a worker, if no other worker needs its job.
    async fn kill(&mut self, worker: &WorkerId) {
        let Some(name) = self.places.get(worker).cloned() else { return };
        let Some(tracked) = self.jobs.get_mut(&name) else { return };
        if let Some((_, is_unwanted)) = tracked.workers.iter_mut().find(|(known, _)| known == worker) {
            *is_unwanted = true;
        }
        if tracked.is_unwanted() {
            self.cancel(&name, false).await;
        }
    }

    /// Asks a worker for a checkpoint, if it has its job for itself.
    async fn stop(&mut self, worker: &WorkerId) {
        let Some(name) = self.places.get(worker).cloned() else { return };
        if self.jobs.get(&name).is_some_and(|tracked| tracked.workers.len() == 1) {
            self.cancel(&name, true).await;
        }
    }

    /// Cancels a job. `gently`: one that runs is asked for a checkpoint instead.
    async fn cancel(&self, name: &JobName, gently: bool) {
        let Some(Tracked { state, id: Some(id), .. }) = self.jobs.get(name) else { return };
        let is_running = matches!(state, JobState::Running { .. });
        let mut command = self.command("scancel");
        // Job ids come again after a crash of the controller: the name keeps others out.
        command.arg(format!("--name={}", name.batch));
        if gently && is_running {
            command.args(["--signal=USR1", "--batch"]);
        }
        command.arg(id);
        // A job that could not be cancelled ends by itself: its attempt is superseded or has an outcome.
        drop(run(command, "").await);
    }

    /// Cancels what waits, and asks what runs to save its state and end.
    async fn cancel_all(&mut self) {
        self.waiting.clear();
        let mut batches = BTreeSet::new();
        for (name, tracked) in &mut self.jobs {
            tracked.workers.iter_mut().for_each(|(_, is_unwanted)| *is_unwanted = true);
            batches.insert(name.batch.clone());
        }
        let names: Vec<&str> = batches.iter().map(String::as_str).collect();
        // Command lines have a bounded length.
        for names in names.chunks(100) {
            let names = format!("--name={}", names.join(","));
            for options in
                [["--state=PENDING", "--quiet"].as_slice(), &["--state=RUNNING", "--signal=USR1", "--batch", "--quiet"]]
            {
                let mut command = self.command("scancel");
                command.arg(&names).args(["--user", &self.user]).args(options);
                drop(run(command, "").await);
            }
        }
        self.tell(Sighting::Cancelled);
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        for name in contradicting() {
            command.env_remove(name);
        }
        command
    }
}

/// Runs a command of Slurm with `input` as its standard input.
async fn run(mut command: Command, input: &str) -> Result<Output, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends before it has read its input says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await.map_err(|error| error.to_string())
    };
    timeout(ANSWER, talk).await.unwrap_or_else(|_| Err(format!("Slurm has not answered in {} s", ANSWER.as_secs())))
}

/// What a message of `sbatch` means.
fn judge(message: &str) -> Answer {
    const AWAY: [&str; 8] = [
        "Socket timed out",
        "Unable to contact slurm controller",
        "Connection refused",
        "Connection reset",
        "Transport endpoint",
        "Zero Bytes were transmitted",
        "Unexpected message received",
        "Communication connection failure",
    ];
    const TOO_MANY: [&str; 6] = [
        "job submit limit",
        "MaxSubmitJob",
        "temporarily unable to accept job",
        "Job violates accounting/QOS policy",
        "Resource temporarily unavailable",
        "Too many",
    ];
    if AWAY.iter().any(|text| message.contains(text)) {
        Answer::Unknown(message.to_owned())
    } else if TOO_MANY.iter().any(|text| message.contains(text)) {
        Answer::PutOff(message.to_owned())
    } else {
        Answer::Refused(message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_sbatch_are_distinguished() {
        let away = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation";
        assert!(matches!(judge(away), Answer::Unknown(_)));
        let connect =
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
        assert!(matches!(judge(connect), Answer::Unknown(_)));
        let limit = "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        assert_eq!(judge(limit), Answer::PutOff(limit.into()));
        let partition = "sbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job submission failed: Invalid partition name specified";
        assert_eq!(judge(partition), Answer::Refused(partition.into()));
    }
}
