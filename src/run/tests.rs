//! Whole sweeps of toys with the inline engine: nothing is lost, and nothing is done twice.
//!
//! Some tests need a second process. It is this test program again, with one of the tests `helper_*` and an environment
//! variable or argument. Without it a helper returns at once, so that all tests can run in any way.

mod failures;
mod search;
#[cfg(feature = "faults")]
mod torture;
#[cfg(feature = "faults")]
mod torture_search;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::signals::Call;
use super::sweep::sweep_until;
use super::*;
use crate::event::{Event, Failure, Record, Reporter, TrialProgress};
use crate::exec::{Engine, Inline, Local};
use crate::plan::{Facts, Plan};
use crate::spec::RunConfig;
use crate::state::tests::slot;
use crate::store::{AttemptDir, Results, RunDir, StoreError, read_journal};
use crate::trial::{Axis, AxisValue, CheckpointEvery, Status, Trial, TrialId};
use crate::worker;
use crate::worker::tests::toy;

/// A results folder and a plan over toys.
struct Bench {
    folder: TempDir,
    results: Results,
    plan: Plan,
    config: RunConfig,
    retry_failed: bool,
    continued: Vec<TrialId>,
    fresh: bool,
    only: Option<HashSet<TrialId>>,
    slots: usize,
    /// Trainings begun, and how many of them after the trial had its outcome.
    trained: Arc<AtomicUsize>,
    too_late: Arc<AtomicUsize>,
}

/// Keeps what it is shown. Can die, or press Ctrl-C, at an event.
#[derive(Default)]
struct Watch {
    events: Vec<Event>,
    seen: Vec<TrialProgress>,
    warnings: Vec<String>,
    die_at: Option<usize>,
    die_when_judged: bool,
    interrupt: Option<Press>,
    ctrl_c: Option<UnboundedSender<Call>>,
    /// Sent in place of a Ctrl-C.
    call: Call,
    hangups: usize,
    pressed: Option<Instant>,
    /// Done once after so many events.
    vandal: Option<(usize, Box<dyn Fn()>)>,
}

/// When Ctrl-C is pressed.
#[derive(PartialEq)]
enum Press {
    AtEvent(usize),
    WhenBothAreHalfway,
}

impl Watch {
    fn press_if(&mut self, now: bool) {
        if now && self.pressed.is_none() {
            self.ctrl_c.as_ref().unwrap().send(self.call).unwrap();
            self.pressed = Some(Instant::now());
        }
    }
}

impl Reporter for Watch {
    fn event(&mut self, record: &Record) {
        self.events.push(record.event.clone());
        let is_judged = matches!(&record.event, Event::TrialJudged { judgement, .. } if judgement.stops);
        if self.die_at == Some(self.events.len()) || (self.die_when_judged && is_judged) {
            // A panic without its message: from inside, the end of the process looks like this.
            resume_unwind(Box::new("killed"));
        }
        self.press_if(self.interrupt == Some(Press::AtEvent(self.events.len())));
        if let Some((_, act)) = self.vandal.take_if(|(at, _)| *at == self.events.len()) {
            act();
        }
    }

    fn progress(&mut self, running: &[TrialProgress]) {
        self.seen.extend_from_slice(running);
        let halfway = running.iter().filter(|progress| progress.step == 10).count();
        self.press_if(self.interrupt == Some(Press::WhenBothAreHalfway) && halfway == 2);
    }

    fn hangup(&mut self) {
        self.hangups += 1;
    }

    fn warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}

impl Bench {
    /// One trial for each behaviour of a toy.
    fn new(behaviours: &[&str]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), behaviours)
    }

    fn within(folder: TempDir, behaviours: &[&str]) -> Self {
        let value = |text: &str| AxisValue { value: text.into(), text: text.to_owned() };
        let trials: Vec<Trial> = behaviours
            .iter()
            .zip(1..)
            .map(|(behaviour, seed)| {
                let trial = worker::tests::trial(behaviour, seed, 20);
                Trial { values: vec![("model.from".into(), value(behaviour)), ("seed".into(), value("?"))], ..trial }
            })
            .collect();
        let axes = ["model.from", "seed"]
            .map(|key| Axis { key: key.into(), values: Vec::new(), drawn: false, greatest: None })
            .to_vec();
        Self {
            results: Results::new(folder.path()).unwrap(),
            folder,
            plan: Plan { name: "toys".into(), axes, trials, search: None, warnings: Vec::new() },
            config: RunConfig { checkpoint_every: CheckpointEvery::Steps(4), retries: 1, ..RunConfig::default() },
            retry_failed: false,
            continued: Vec::new(),
            fresh: false,
            only: None,
            slots: 2,
            trained: Arc::default(),
            too_late: Arc::default(),
        }
    }

    fn dir(&self) -> RunDir {
        self.results.sweep("toys").unwrap()
    }

    fn engine(&self) -> Inline {
        let (trained, too_late) = (Arc::clone(&self.trained), Arc::clone(&self.too_late));
        Inline::new(move |folder: &Path, stop: &Arc<AtomicBool>| {
            let trial = AttemptDir::open(folder).unwrap().trial();
            worker::attempt(folder, stop, |job, sink| {
                trained.fetch_add(1, Ordering::Relaxed);
                too_late.fetch_add(usize::from(trial.has_outcome()), Ordering::Relaxed);
                toy(job, sink)
            })
        })
    }

    fn run_with(&self, watch: &mut Watch) -> Result<RunSummary, RunError> {
        self.run_on(self.engine(), watch)
    }

    fn run_on(&self, engine: impl Engine, watch: &mut Watch) -> Result<RunSummary, RunError> {
        self.run_search(engine, None, watch)
    }

    fn run_search(
        &self,
        mut engine: impl Engine,
        search: Option<&dyn TrialSource>,
        watch: &mut Watch,
    ) -> Result<RunSummary, RunError> {
        let (slots, parameters): (Vec<_>, _) = ((0..self.slots).map(slot).collect(), HashMap::new());
        let order = RunOrder {
            search,
            plan: &self.plan,
            facts: &Facts::default(),
            sweep_yaml: "grid: {}\n",
            origin: b"{}",
            results: &self.results,
            config: &self.config,
            slots: &slots,
            memory: None,
            device_memory: &[],
            micro_batch_tokens: &HashMap::new(),
            only: self.only.as_ref(),
            retry_failed: self.retry_failed,
            continued: &self.continued,
            fresh: self.fresh,
            queue: None,
            parameters: &parameters,
        };
        let (sender, mut calls) = unbounded_channel();
        watch.ctrl_c = Some(sender);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(sweep_until(&order, &mut engine, watch, &mut calls))
    }

    fn run(&self) -> RunSummary {
        self.run_with(&mut Watch::default()).unwrap()
    }

    /// How attempts and trials ended according to the journal, by trial.
    fn endings(&self) -> BTreeMap<String, Vec<&'static str>> {
        let mut endings = BTreeMap::<_, Vec<_>>::new();
        for record in read_journal(&self.dir().journal()).unwrap().records {
            let (trial, ending) = match record.event {
                Event::TrialFinished { trial, .. } => (trial, "finished"),
                Event::TrialFailed { trial, .. } => (trial, "failed"),
                Event::AttemptFailed { trial, .. } => (trial, "attempt failed"),
                Event::AttemptInterrupted { trial, .. } => (trial, "interrupted"),
                Event::TrialRequeued { trial } => (trial, "requeued"),
                _ => continue,
            };
            let behaviour = &self.plan.trials.iter().find(|planned| planned.id == trial).unwrap().config.model.from;
            endings.entry(behaviour.clone()).or_default().push(ending);
        }
        endings
    }

    /// Both curves of every trial.
    fn curves(&self) -> Vec<[String; 2]> {
        let folders = self.plan.trials.iter().map(|trial| self.dir().trial(&trial.id));
        folders.map(|folder| [folder.metrics(), folder.evals()].map(|path| fs::read_to_string(path).unwrap())).collect()
    }

    fn trained(&self) -> usize {
        self.trained.swap(0, Ordering::Relaxed)
    }
}

const FINE: [&str; 4] = ["fine", "fine-too", "also-fine", "fine-last"];

#[test]
fn a_sweep_runs_once() {
    let bench = Bench::new(&FINE);
    let mut watch = Watch::default();
    let summary = bench.run_with(&mut watch).unwrap();
    assert_eq!((summary.finished, summary.left, summary.exit_code()), (4, 0, 0));
    assert_eq!((summary.next_step(), bench.trained()), (None, 4));
    assert!(matches!(watch.events.first(), Some(Event::SweepOpened { trials, .. }) if trials.len() == 4));
    assert_eq!(watch.events.last(), Some(&Event::SweepClosed { finished: 4, failed: 0 }));
    assert!(!bench.dir().trial(&bench.plan.trials[0].id).path().join("checkpoint").exists());
    assert_eq!(fs::read_to_string(bench.dir().sweep_yaml()).unwrap(), "grid: {}\n");
    let before = bench.curves();
    assert_eq!((bench.run().finished, bench.trained()), (4, 0), "finished trials are never trained again");
    assert_eq!(bench.curves(), before);
}

#[test]
fn failures_are_retried_and_then_reported() {
    let bench = Bench::new(&["crashes-once", "crashes", "bad-input", "fine"]);
    let summary = bench.run();
    let endings = bench.endings();
    assert_eq!(endings["crashes-once"], ["attempt failed", "finished"]);
    assert_eq!(endings["crashes"], ["attempt failed", "attempt failed", "failed"]);
    assert_eq!(endings["bad-input"], ["attempt failed", "failed"], "another try would give the same");
    assert_eq!(endings["fine"], ["finished"]);
    assert_eq!((summary.finished, summary.failed.len(), summary.exit_code()), (2, 2, 1));
    let [crashed, refused] = summary.failed.as_slice() else { panic!("two failed") };
    assert_eq!((crashed.failure.to_string().as_str(), crashed.attempts), ("worker died: exit code 101", 2));
    assert_eq!(refused.failure.to_string(), "bad input: column `text` is not there");
    let advice = summary.next_step().unwrap();
    insta::assert_snapshot!(advice, @"2 of 4 trials failed. Run again with --retry-failed to retry them.");
}

#[test]
fn failed_trials_are_retried_only_on_request() {
    let mut bench = Bench::new(&["bad-input", "fine"]);
    bench.run();
    bench.trained();
    assert_eq!((bench.run().exit_code(), bench.trained()), (1, 0));
    bench.retry_failed = true;
    assert_eq!((bench.run().exit_code(), bench.trained()), (1, 1));
    assert_eq!(bench.endings()["bad-input"], ["attempt failed", "failed", "requeued", "attempt failed", "failed"]);
}

#[test]
fn trials_csv_has_the_documented_form() {
    let bench = Bench::new(&["fine", "bad-input"]);
    bench.run();
    let table = fs::read_to_string(bench.dir().trials_csv()).unwrap();
    insta::assert_snapshot!(table, @"
    id,model.from,seed,status,steps,final_train_loss,final_eval_loss,best_eval_loss,best_eval_step,best_accuracy,plateau_step,verdict,cause,seconds,tokens_per_second,error
    2a2252dd6170,fine,1,finished,20,10.543646,0.5,0.375,10,0.8,,collapsed,OVERSHOOT,0.000,1000.0,
    d79fa6976718,bad-input,2,failed,,,,,,,,,,,,bad input: column `text` is not there
    ");
}

#[test]
fn an_interrupt_stops_everything_and_the_next_run_continues() {
    let bench = Bench::new(&["fine", "hangs", "deaf", "fine-last"]);
    // The second slot's second trial has started: one hangs and will listen, one is deaf.
    let mut watch = Watch { interrupt: Some(Press::AtEvent(8)), ..Watch::default() };
    let start = Instant::now();
    let summary = bench.run_with(&mut watch).unwrap();
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    assert_eq!((summary.exit_code(), summary.finished, summary.left), (130, 1, 3));
    assert_eq!(watch.events.last(), Some(&Event::SweepInterrupted));
    assert_eq!(bench.endings()["hangs"], ["interrupted"]);
    insta::assert_snapshot!(summary.next_step().unwrap(), @"Interrupted with 3 of 4 trials left. Run the same command again to continue: finished trials stay finished, the others continue from their last checkpoint.");
}

#[test]
fn only_the_requested_trials_are_trained() {
    let mut bench = Bench::new(&FINE);
    bench.only = Some(HashSet::from([bench.plan.trials[2].id.clone()]));
    let summary = bench.run();
    assert_eq!((summary.finished, summary.left, summary.exit_code(), bench.trained()), (1, 3, 0, 1));
    bench.only = None;
    assert_eq!((bench.run().finished, bench.trained()), (4, 3));
}

/// A worker for other tests. Its last argument is the folder of an attempt.
#[test]
fn helper_worker() {
    let folder = std::env::args_os().next_back().unwrap_or_default();
    if AttemptDir::open(Path::new(&folder)).is_some() {
        std::process::exit(i32::from(worker::run_with(Path::new(&folder), toy)));
    }
}

fn processes() -> Local {
    let arguments = ["run::tests::helper_worker", "--exact", "--nocapture"];
    Local::new(std::env::current_exe().unwrap(), &arguments)
}

#[test]
fn workers_as_processes_leave_the_same() {
    let behaviours = ["fine", "crashes-once", "also-fine"];
    let (inline, local) = (Bench::new(&behaviours), Bench::new(&behaviours));
    inline.run();
    let summary = local.run_on(processes(), &mut Watch::default()).unwrap();
    assert_eq!((summary.finished, summary.exit_code()), (3, 0));
    assert_eq!(local.curves(), inline.curves());
    let crashed = local.dir().trial(&local.plan.trials[1].id).attempt(1);
    let message = crashed.panic_message().unwrap();
    assert!(message.starts_with("panicked: on purpose (src/worker/tests.rs:"), "{message}");
    assert!(!crashed.log_tail(3).is_empty());
}

#[test]
fn processes_stop_within_two_seconds() {
    let bench = Bench::new(&["hangs", "deaf"]);
    let mut watch = Watch { interrupt: Some(Press::WhenBothAreHalfway), ..Watch::default() };
    let summary = bench.run_on(processes(), &mut watch).unwrap();
    let took = watch.pressed.unwrap().elapsed();
    // Asked at once, killed after 1.5 seconds. The deaf worker would take six.
    assert!(took < Duration::from_millis(4500), "{took:?}");
    assert_eq!((summary.exit_code(), summary.left), (130, 2));
    let hanging = bench.dir().trial(&bench.plan.trials[0].id).checkpoints();
    assert_eq!(hanging.newest().unwrap().unwrap().position.step, 10, "it has saved its state");
}

#[test]
fn a_stalled_worker_is_killed_and_retried() {
    let mut bench = Bench::new(&["hangs", "fine"]);
    bench.config.stall_timeout = Some(0.6);
    let summary = bench.run_on(processes(), &mut Watch::default()).unwrap();
    assert_eq!((summary.exit_code(), summary.finished, summary.left), (1, 1, 0));
    assert_eq!(summary.failed[0].failure, Failure::Stalled { seconds: 0.6 });
    assert_eq!(bench.endings()["hangs"], ["attempt failed", "attempt failed", "failed"]);
}

#[test]
fn a_trial_over_its_time_limit_is_given_up_and_keeps_its_checkpoint() {
    let mut bench = Bench::new(&["hangs"]);
    // Toys take a second a step, by their own account.
    bench.config.time_limit = Some(9.5);
    let summary = bench.run_on(processes(), &mut Watch::default()).unwrap();
    assert_eq!(summary.failed[0].failure, Failure::TimeLimit { seconds: 9.5 });
    assert_eq!(bench.endings()["hangs"], ["attempt failed", "failed"], "it is not tried again");
    let saved = bench.dir().trial(&bench.plan.trials[0].id).checkpoints().newest().unwrap().unwrap();
    assert_eq!(saved.position.step, 8, "its checkpoint stays");
}

/// A user changes files between two runs: the next run reports it and trains again.
#[test]
fn a_curve_that_was_cut_is_trained_again() {
    let bench = Bench::new(&["fine", "also-fine"]);
    bench.run();
    let before = bench.curves();
    bench.trained();
    let cut = |path: std::path::PathBuf, lines: usize| {
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.split_inclusive('\n').take(lines).collect::<String>()).unwrap();
    };
    let [first, second] = [0, 1].map(|at| bench.dir().trial(&bench.plan.trials[at].id));
    cut(first.metrics(), 12);
    cut(second.evals(), 3);
    fs::write(bench.dir().trials().join("notes.txt"), "mine").unwrap();
    let summary = bench.run();
    let root = bench.dir().trials().display().to_string();
    insta::assert_snapshot!(summary.warnings.join("\n").replace(&root, "TRIALS"), @r"
    trial 2a2252dd6170: it has ended after 20 steps, but TRIALS/2a2252dd6170/metrics.csv holds 11: its outcome is renamed, and it is trained again
    trial 6581825f9905: it has ended after 20 steps, but TRIALS/6581825f9905/evals.csv ends before: its outcome is renamed, and it is trained again
    TRIALS/notes.txt: not a trial; left alone
    ");
    assert_eq!((summary.finished, bench.trained()), (2, 2));
    assert_eq!(bench.curves(), before);
    fs::remove_dir_all(first.path()).unwrap();
    let summary = bench.run();
    assert!(summary.warnings[0].contains("is gone: it is trained again"), "{:?}", summary.warnings);
    assert_eq!((summary.finished, bench.trained(), bench.curves()), (2, 1, before));
}

/// The third toy hangs at step 10, where the two others were better.
#[test]
fn a_trial_with_a_worse_loss_is_stopped_and_can_continue() {
    let mut bench = Bench::new(&["fine", "also-fine", "hangs"]);
    let asha = crate::spec::Asha { eta: 2, min_steps: 10, ..crate::spec::Asha::default() };
    bench.config.stop.asha = Some(asha);
    let mut watch = Watch::default();
    let summary = bench.run_with(&mut watch).unwrap();
    assert_eq!((summary.finished, summary.exit_code()), (3, 0), "a stopped trial has an outcome");
    let third = &bench.plan.trials[2].id;
    // On a busy machine the others may still run after their last step.
    let judged = |event: &Event| match event {
        Event::TrialJudged { trial, judgement } if trial == third && judgement.stops => {
            Some((judgement.step, judgement.among))
        }
        _ => None,
    };
    assert_eq!(watch.events.iter().filter_map(judged).collect::<Vec<_>>(), [(10, 3)]);
    let stopped = bench.dir().trial(&bench.plan.trials[2].id);
    let outcome = stopped.outcome().unwrap().unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Stopped, 10));
    insta::assert_snapshot!(outcome.reason.unwrap(), @"stop.asha: eval_loss at step 10 is 13.9486, not among the best of 3 trials at rung 0 (1.3344 or better continues)");
    assert_eq!(stopped.checkpoints().newest().unwrap().unwrap().position.step, 10, "it keeps its state");
    assert_eq!((bench.run().finished, bench.trained()), (3, 3), "it is not trained again");
    let untouched = stopped.checkpoints().newest().unwrap();
    assert!(untouched.is_some(), "nor is its state removed by another run");

    bench.continued = vec![bench.plan.trials[2].id.clone(), bench.plan.trials[0].id.clone()];
    let summary = bench.run();
    assert_eq!((summary.finished, bench.trained()), (3, 1));
    insta::assert_snapshot!(summary.warnings.join("\n"), @"trial 2a2252dd6170 was not stopped by a rule of the sweep: there is nothing to continue");
    let outcome = stopped.outcome().unwrap().unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Finished, 20));
    assert!(stopped.checkpoints().newest().unwrap().is_none(), "an ended trial's state goes as ever");
    let never_stopped = Bench::new(&["fine", "also-fine", "fine"]);
    never_stopped.run();
    assert_eq!(bench.curves(), never_stopped.curves());
}

/// The parent dies right after it has decided to stop a trial: the next parent stops it.
#[test]
fn a_decision_to_stop_survives_its_parent() {
    let mut bench = Bench::new(&["fine", "also-fine", "hangs"]);
    bench.config.stop.asha = Some(crate::spec::Asha { eta: 2, min_steps: 10, ..crate::spec::Asha::default() });
    let mut watch = Watch { die_when_judged: true, ..Watch::default() };
    assert!(catch_unwind(AssertUnwindSafe(|| bench.run_with(&mut watch))).is_err());
    assert!(matches!(watch.events.last(), Some(Event::TrialJudged { .. })));
    assert_eq!(bench.run().finished, 3);
    let outcome = bench.dir().trial(&bench.plan.trials[2].id).outcome().unwrap().unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Stopped, 10));
}

#[test]
fn a_hangup_stops_nothing() {
    let bench = Bench::new(&["fine"]);
    let mut watch = Watch { interrupt: Some(Press::AtEvent(2)), call: Call::Hangup, ..Watch::default() };
    let summary = bench.run_with(&mut watch).unwrap();
    assert_eq!((summary.exit_code(), watch.hangups), (0, 1));
}

/// A parent that another test kills, with its results below the folder in this variable.
#[test]
fn helper_parent() {
    if let Some(folder) = std::env::var_os(PARENT) {
        let folder = tempfile::Builder::new().disable_cleanup(true).tempdir_in(folder).unwrap();
        let _ = Bench::within(folder, &["hangs", "deaf"]).run_on(processes(), &mut Watch::default());
    }
}

const PARENT: &str = "PLATEAU_TEST_PARENT";

#[test]
#[cfg(target_os = "linux")]
fn no_worker_survives_its_parent() {
    let results = tempfile::tempdir().unwrap();
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["run::tests::helper_parent", "--exact"])
        .env(PARENT, results.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let wait = |what: &str, limit: Duration, done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < limit, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let started = || {
        let folder = fs::read_dir(results.path()).unwrap().flatten().next().map(|entry| entry.path());
        let journal = folder.map(|folder| read_journal(&folder.join("toys/journal.jsonl")).unwrap().records);
        let pid = |record: Record| match record.event {
            Event::AttemptStarted { handle, .. } => Some(handle.pid),
            _ => None,
        };
        journal.unwrap_or_default().into_iter().filter_map(pid).collect::<Vec<_>>()
    };
    wait("both workers start", Duration::from_secs(20), &|| started().len() == 2);
    // At the halfway point one listens and the other does not.
    let sweep = fs::read_dir(results.path()).unwrap().flatten().next().unwrap().path().join("toys/trials");
    for trial in fs::read_dir(sweep).unwrap().flatten() {
        let trial = AttemptDir::open(&trial.path().join("attempts/1")).unwrap().trial();
        worker::tests::wait_for_rows(&trial, 10);
    }
    let lives = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("State:") && !status.contains("State:\tZ")
    };
    assert!(started().iter().all(lives));
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Within two seconds on a free processor. The deaf worker would take six.
    wait("both workers end", Duration::from_millis(4500), &|| !started().iter().any(lives));
}

#[test]
fn later_runs_learn_what_trials_cost() {
    let bench = Bench::new(&["fine", "bad-input", "also-fine"]);
    assert_eq!(bench.results.history(5), []);
    bench.run();
    let past = bench.results.history(5);
    assert_eq!(past.iter().map(|past| past.outcome.steps).collect::<Vec<_>>(), [20, 20]);
    assert_eq!(past[0].record.made_by.threads, 1);
    assert_eq!(bench.results.history(1).len(), 1);
}

#[test]
fn missing_and_damaged_files_are_reported_and_recovered() {
    let bench = Bench::new(&FINE);
    bench.run();
    bench.trained();
    let before = bench.curves();
    let [gone, damaged, ..] = [0, 1].map(|at| bench.dir().trial(&bench.plan.trials[at].id));
    fs::remove_dir_all(gone.path()).unwrap();
    fs::write(damaged.outcome_file(), "{").unwrap();
    let journal = fs::read_to_string(bench.dir().journal()).unwrap();
    let finished = |line: &&str| !(line.contains("trial_finished") && line.contains(bench.plan.trials[1].id.as_str()));
    let mut lines: Vec<_> = journal.lines().filter(finished).collect();
    lines.insert(2, "{\"at\":0}");
    fs::write(bench.dir().journal(), lines.join("\n") + "\n").unwrap();
    let mut watch = Watch::default();
    let summary = bench.run_with(&mut watch).unwrap();
    assert_eq!((summary.finished, bench.trained()), (4, 2));
    assert_eq!(bench.curves(), before);
    let folder = bench.folder.path().canonicalize().unwrap();
    let warnings = watch.warnings.join("\n").replace(folder.to_str().unwrap(), "R");
    insta::assert_snapshot!(warnings, @r"
    R/toys/journal.jsonl:3: invalid journal line skipped (missing field `event` at line 1 column 8); the folders of the trials show what happened
    trial 2a2252dd6170 has ended by the journal, but R/toys/trials/2a2252dd6170/outcome.json is gone: it is trained again
    R/toys/trials/ab468e23a089/outcome.json: EOF while parsing an object at line 1 column 1: renamed, and the trial is trained again
    ");
    assert_eq!(summary.warnings, watch.warnings);
}

/// A user deletes files while the sweep runs. The run must not end with exit code 0 and without them.
#[test]
fn files_that_vanish_during_a_run_are_trained_again_or_reported() {
    let undisturbed = Bench::new(&FINE);
    undisturbed.run();
    let vanish = |what: fn(&RunDir, &Path)| {
        let bench = Bench::new(&FINE);
        let (dir, root) = (bench.dir(), bench.folder.path().to_owned());
        let mut watch = Watch { vandal: Some((8, Box::new(move || what(&dir, &root)))), ..Watch::default() };
        match bench.run_with(&mut watch) {
            Ok(summary) => {
                assert_eq!(summary.finished, 4, "{:?}", summary.failed);
                assert_eq!(bench.curves(), undisturbed.curves());
            }
            Err(error) => assert!(matches!(error, RunError::Store(StoreError::Vanished { .. })), "{error}"),
        }
        assert_eq!((bench.run().finished, bench.curves()), (4, undisturbed.curves()));
    };
    vanish(|dir, _| fs::remove_dir_all(dir.trials()).unwrap_or_default());
    vanish(|dir, _| fs::remove_dir_all(dir.path()).unwrap_or_default());
    vanish(|dir, root| fs::rename(dir.path(), root.join("moved")).unwrap());
    vanish(|dir, _| fs::remove_file(dir.journal()).unwrap());
}

/// Every file of an ended trial is looked for at the end of the run; the documents of the sweep are written again.
#[test]
fn each_file_that_vanishes_during_a_run_is_noticed() {
    for name in ["config.json", "diagnostics.csv", "metrics.csv", "evals.csv", "outcome.json"] {
        let bench = Bench::new(&FINE);
        let file = bench.dir().trial(&bench.plan.trials[0].id).path().join(name);
        let (sweep, lost) = (bench.dir().path().to_owned(), file.clone());
        let vandal = move || {
            fs::remove_file(&lost).unwrap();
            fs::remove_file(sweep.join("sweep.yaml")).unwrap();
            fs::remove_file(sweep.join(".origin.json")).unwrap();
        };
        let finished = |event: &Event| matches!(event, Event::TrialFinished { .. });
        let mut calm = Watch::default();
        Bench::new(&FINE).run_with(&mut calm).unwrap();
        let at = calm.events.iter().rposition(finished).unwrap() + 1;
        let mut watch = Watch { vandal: Some((at, Box::new(vandal))), ..Watch::default() };
        assert_eq!(bench.run_with(&mut watch).unwrap().finished, 4);
        assert!(watch.warnings.iter().any(|warning| warning.contains(name)), "{name}: {:?}", watch.warnings);
        assert!(file.exists() && bench.dir().sweep_yaml().exists() && bench.dir().origin().exists(), "{name}");
    }
}

#[test]
fn fresh_archives_the_old_results() {
    let mut bench = Bench::new(&["fine"]);
    bench.run();
    bench.fresh = true;
    bench.run();
    assert_eq!(bench.trained(), 2);
    assert!(bench.folder.path().join("toys.archived-1/journal.jsonl").exists());
    std::fs::remove_file(bench.dir().journal()).unwrap();
    bench.run();
    assert_eq!(bench.trained(), 1, "trials without a journal are archived too");
}

#[test]
fn a_second_parent_is_refused() {
    let bench = Bench::new(&["fine"]);
    let _lock = bench.dir().lock().unwrap();
    let error = bench.run_with(&mut Watch::default()).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("in use by process"), "{error}");
}

#[test]
fn a_survey_shows_the_status_of_every_trial() {
    let bench = Bench::new(&["fine", "bad-input", "hangs", "never"]);
    let mut watch = Watch::default();
    let standings = |bench: &Bench| {
        let sweep = survey(&bench.plan, &bench.dir()).unwrap();
        sweep.runs.iter().map(|run| (run.status, run.metrics.len(), run.error.is_some())).collect::<Vec<_>>()
    };
    assert!(standings(&bench).iter().all(|run| *run == (Status::Pending, 0, false)));
    // Dies while the third trial runs.
    watch.die_at = Some(13);
    assert!(catch_unwind(AssertUnwindSafe(|| bench.run_with(&mut watch))).is_err());
    let found = standings(&bench);
    assert_eq!(found[..2], [(Status::Finished, 20, false), (Status::Failed, 10, true)]);
    assert_eq!(found[2].0, Status::Pending, "its parent is dead");
}

#[test]
fn progress_is_shown() {
    let bench = Bench::new(&["hangs"]);
    let mut watch = Watch::default();
    std::thread::scope(|scope| {
        let trial = bench.dir().trial(&bench.plan.trials[0].id);
        scope.spawn(move || {
            worker::tests::wait_for_rows(&trial, 10);
            std::thread::sleep(Duration::from_millis(600));
            // A later attempt supersedes the running one, which ends it.
            trial.claim(1).unwrap();
        });
        bench.run_with(&mut watch).unwrap();
    });
    let last = watch.seen.iter().rfind(|progress| progress.step == 10).expect("the trial hangs at step 10");
    assert_eq!((last.steps, last.recent_loss.len()), (20, 10));
    assert!(last.best_eval_loss.is_some() && last.eval_loss.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The parent dies several times, each right after some event. Then a run is left alone.
    #[test]
    fn a_dead_parent_loses_nothing(deaths in proptest::collection::vec(1_usize..20, 1..4)) {
        let undisturbed = Bench::new(&FINE);
        undisturbed.run();
        let bench = Bench::new(&FINE);
        for die_at in deaths {
            let mut watch = Watch { die_at: Some(die_at), ..Watch::default() };
            let _ = catch_unwind(AssertUnwindSafe(|| bench.run_with(&mut watch)));
        }
        let summary = bench.run();
        prop_assert_eq!((summary.finished, summary.left), (4, 0));
        prop_assert_eq!(bench.too_late.load(Ordering::Relaxed), 0);
        prop_assert_eq!(bench.curves(), undisturbed.curves());
        for (trial, endings) in bench.endings() {
            prop_assert_eq!(endings.iter().filter(|ending| **ending == "finished").count(), 1, "{}", trial);
        }
    }

    /// The journal is cut at any byte, as by a power cut: trials with an outcome are not trained again.
    #[test]
    fn a_cut_journal_is_completed(share in 0.0..1.0) {
        let bench = Bench::new(&["fine", "crashes-once", "also-fine", "fine-last"]);
        bench.run();
        bench.trained();
        let journal = fs::read(bench.dir().journal()).unwrap();
        let table = fs::read(bench.dir().trials_csv()).unwrap();
        fs::write(bench.dir().journal(), &journal[..(journal.len() as f64 * share) as usize]).unwrap();
        let summary = bench.run();
        prop_assert_eq!((summary.finished, summary.warnings.len(), bench.trained()), (4, 0, 0));
        prop_assert_eq!(fs::read(bench.dir().trials_csv()).unwrap(), table);
        for (trial, endings) in bench.endings() {
            prop_assert_eq!(endings.iter().filter(|ending| **ending == "finished").count(), 1, "{}", trial);
        }
    }
}

/// Trains many toys and prints how many bytes this process has read and written.
#[test]
fn helper_many_trials() {
    if let Some(trials) = std::env::var(MANY).ok().and_then(|trials| trials.parse().ok()) {
        let mut bench = Bench::new(&vec!["fine"; trials]);
        bench.config.checkpoint_every = CheckpointEvery::Steps(1000);
        let mut watch = Watch::default();
        assert_eq!(bench.run_with(&mut watch).unwrap().finished, trials);
        assert_eq!(watch.events.len(), 3 * trials + 2, "claimed, started, finished");
        println!("\n{}", fs::read_to_string("/proc/self/io").unwrap());
    }
}

const MANY: &str = "PLATEAU_TEST_MANY";

/// No trial that ends makes the parent read or write old files again. `just bench-toy` measures the times.
#[test]
#[cfg(target_os = "linux")]
fn four_times_the_trials_are_four_times_the_bytes() {
    let bytes = |trials: u64| {
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["run::tests::helper_many_trials", "--exact", "--nocapture"])
            .env(MANY, trials.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.success(), "{text}");
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u64>().unwrap();
        ["rchar: ", "wchar: "].map(|name| value(name) / trials)
    };
    let (few, many) = (bytes(75), bytes(300));
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few * 3 / 2, "bytes a trial: {few} of 75, {many} of 300");
    }
}
