//! Attempts with a toy in place of the trainer.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::sink::TrialSink;
use super::stop::Orders;
use crate::event::{Failure, Slot};
use crate::store::{Assignment, AttemptDir, CurvePosition, Results, StoreError, TrialDir, exit, read_curve};
use crate::train::{Job, Sink, TrainError};
use crate::trial::{
    BestEvaluation, BestScore, Cause, CheckpointEvery, DataConfig, Device, DiagnosticRow, EvalRow, FractionOrSteps,
    Keep, Length, Metric, MetricRow, ModelConfig, Outcome, Plateau, Scores, Status, Trial, TrialConfig, TrialId,
};

/// A trial of `steps` steps whose toy shows `behaviour`.
pub(crate) fn trial(behaviour: &str, seed: u64, steps: u64) -> Trial {
    let default = TrialConfig::default();
    let config = TrialConfig {
        data: DataConfig { train: "embedded:none".into(), ..default.data },
        model: ModelConfig { from: behaviour.into(), ..default.model },
        batch_size: 4,
        length: Length::Steps(steps),
        eval_every: FractionOrSteps(5.0),
        seed,
        ..TrialConfig::default()
    };
    let name = blake3::hash(format!("{behaviour} {seed} {steps}").as_bytes()).to_hex();
    Trial { id: TrialId::parse(&name[..TrialId::LENGTH]).unwrap(), values: Vec::new(), steps, config }
}

fn details(step: u64) -> BestEvaluation {
    let (labels, scores) = (Vec::new(), Scores::default().classes);
    let (confusion, calibration, mistakes) = (Vec::new(), Vec::new(), Vec::new());
    BestEvaluation { step, labels, confusion, scores, calibration, calibration_error: None, mistakes }
}

/// Behaves like the trainer without training. Its numbers depend on the step before, and its training state holds all of them.
/// Half-way it shows the behaviour that `model.from` of the trial names.
pub(crate) fn toy(job: Job<'_>, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
    let Length::Steps(steps) = job.config.length else { panic!("toys count steps") };
    let CheckpointEvery::Steps(every) = job.checkpoint_every else { panic!("toys count steps") };
    let state = |step: u64, carried: u64| [step.to_le_bytes(), carried.to_le_bytes()].concat();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let (mut step, mut carried) = job.resume.map_or((0, job.config.seed), |b| (word(&b[..8]), word(&b[8..])));
    // A toy with the rule `stop.plateau` is on a plateau.
    let is_flat = job.config.stop.plateau.is_some();
    // The loss of a toy of a search depends on what was drawn.
    let is_drawn = job.config.lr.to_bits() != TrialConfig::default().lr.to_bits();
    let distance = (job.config.lr / 1e-4).ln().powi(2) + job.config.weight_decay;
    let loss = |carried: u64| match (is_flat, is_drawn) {
        (true, _) => 0.5,
        (false, true) => (distance * (1.0 + (carried >> 60) as f64 / 100.0)) as f32,
        (false, false) => (carried >> 40) as f32 / 1e6,
    };
    let eval = |step, carried| EvalRow {
        step,
        eval_loss: loss(carried),
        accuracy: 0.5,
        macro_f1: 0.5,
        train_probe_loss: f32::NAN,
        scores: Scores::default(),
    };
    sink.chance(Some(std::f64::consts::LN_2));
    if step == 0 {
        sink.eval(&eval(0, carried))?;
    }
    while step < steps {
        if sink.interrupted() {
            sink.checkpoint(step, false, state(step, carried))?;
            return Err(TrainError::Interrupted);
        }
        if let Some(reason) = sink.stop_reason(step) {
            sink.checkpoint(step, false, state(step, carried))?;
            let outcome = crate::state::tests::outcome(step);
            return Ok(Outcome { status: Status::Stopped, reason: Some(reason), ..outcome });
        }
        step += 1;
        carried = carried.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
        let (epoch, seconds) = (step as f64 / 7.0, step as f64);
        let train_loss = loss(carried);
        sink.metric(&MetricRow { step, epoch, train_loss, lr: 3e-5, grad_norm: 1.0, tokens: 9, seconds })?;
        if step % 5 == 0 {
            sink.eval(&eval(step, carried))?;
            sink.best_evaluation(&details(step))?;
            sink.diagnostic(&diagnosed(step))?;
        }
        if step % every == 0 {
            sink.checkpoint(step, true, state(step, carried))?;
        }
        if step == steps / 2 {
            misbehave(&job.config.model.from, job.resume.is_none(), sink)?;
            if job.config.model.from == "greedy" && job.micro_batch_splits == 0 {
                exit::out_of_memory();
            }
        }
    }
    let outcome = crate::state::tests::outcome(steps);
    if is_drawn {
        sink.best_evaluation(&details(steps))?;
    }
    let best = is_drawn.then(|| BestScore { metric: Metric::EvalLoss, step: steps, value: loss(carried) });
    Ok(Outcome { final_train_loss: Some(loss(carried)), best, seconds: f64::NAN, ..outcome })
}

fn diagnosed(step: u64) -> DiagnosticRow {
    let norm = Some(1.0);
    DiagnosticRow {
        step,
        first_grad_norm: norm,
        last_grad_norm: norm,
        update_ratio: None,
        predicted: vec![1, 1],
        surest_wrong: None,
        surest_expected: None,
    }
}

fn misbehave(behaviour: &str, first: bool, sink: &dyn Sink) -> Result<(), TrainError> {
    match behaviour {
        "crashes-once" if first => panic!("on purpose"),
        "crashes" => panic!("on purpose"),
        "bad-input" => return Err(TrainError::Input("column `text` is not there".into())),
        "device-fault" => return Err(TrainError::Device("fell off the bus".into())),
        "full-disk" => return Err(TrainError::Sink(io::ErrorKind::StorageFull.into())),
        "bad-sector" => {
            let error = StoreError::at(Path::new("results"))(io::Error::from_raw_os_error(5));
            return Err(TrainError::Sink(io::Error::other(error)));
        }
        "hangs" => {
            while !sink.interrupted() && sink.stop_reason(u64::MAX).is_none() {
                thread::sleep(Duration::from_millis(2));
            }
        }
        "deaf" => thread::sleep(Duration::from_secs(6)),
        _ => {}
    }
    Ok(())
}

/// The folder of a trial with one attempt after another.
struct Bench {
    _folder: tempfile::TempDir,
    trial: Trial,
    dir: TrialDir,
    keep: Keep,
    micro_batch_splits: u32,
    ignores_stop_rules: bool,
}

impl Bench {
    fn new(behaviour: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trial = trial(behaviour, 1, 20);
        let dir = Results::new(folder.path()).unwrap().sweep("s").unwrap().trial(&trial.id);
        Self { _folder: folder, trial, dir, keep: Keep::None, micro_batch_splits: 0, ignores_stop_rules: false }
    }

    fn claim(&self) -> AttemptDir {
        let attempt = self.dir.claim(1).unwrap();
        let assignment = Assignment {
            trial: self.trial.clone(),
            attempt: attempt.number(),
            slot: Slot::alone(0, Device::Cpu, 1),
            device: Device::Cpu,
            checkpoint_every: CheckpointEvery::Steps(4),
            keep: self.keep,
            keep_weights: matches!(self.keep, Keep::Top(_)),
            micro_batch_tokens: None,
            micro_batch_splits: self.micro_batch_splits,
            ignores_stop_rules: self.ignores_stop_rules,
            sources: None,
            start: None,
            cache: self.dir.path().join("cache"),
            git_commit: None,
            parameters: Some(17),
        };
        attempt.assign(&assignment).unwrap();
        assert_eq!(attempt.assignment().unwrap(), assignment);
        attempt
    }

    /// The exit code, and the reason of the failure.
    fn run(&self) -> (u8, Option<Failure>) {
        let attempt = self.claim();
        (super::attempt(attempt.path(), &AtomicBool::new(false), toy), attempt.failure())
    }

    fn curves(&self) -> [String; 3] {
        [self.dir.metrics(), self.dir.evals(), self.dir.diagnostics()].map(|path| fs::read_to_string(path).unwrap())
    }
}

/// Waits until the trial has made `rows` steps.
pub(crate) fn wait_for_rows(trial: &TrialDir, rows: usize) {
    let start = std::time::Instant::now();
    while read_curve::<MetricRow>(&trial.metrics()).unwrap().rows.len() < rows {
        assert!(start.elapsed() < Duration::from_mins(1), "the trial makes no progress");
        thread::sleep(Duration::from_millis(5));
    }
}

fn undisturbed() -> [String; 3] {
    let bench = Bench::new("fine");
    assert_eq!(bench.run(), (exit::PUBLISHED, None));
    bench.curves()
}

#[test]
fn a_trial_leaves_the_documented_files() {
    let bench = Bench::new("fine");
    assert_eq!(bench.run(), (exit::PUBLISHED, None));
    let outcome = bench.dir.outcome().unwrap().unwrap();
    assert_eq!((outcome.status, outcome.steps, outcome.seconds), (Status::Finished, 20, 0.0));
    assert!(!cfg!(target_os = "linux") || outcome.peak_memory.is_some());
    let record = bench.dir.record().unwrap().unwrap();
    assert_eq!((record.trial, record.made_by.parameters), (bench.trial.clone(), Some(17)));
    let lines = bench.curves().map(|curve| curve.lines().count());
    assert_eq!(lines, [21, 6, 5]);
}

#[test]
fn an_interrupted_trial_continues_to_the_same_bytes() {
    let bench = Bench::new("hangs");
    let attempt = bench.claim();
    let stop = AtomicBool::new(false);
    let code = thread::scope(|scope| {
        let worker = scope.spawn(|| super::attempt(attempt.path(), &stop, toy));
        wait_for_rows(&bench.dir, 10);
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap()
    });
    assert_eq!((code, attempt.failure()), (exit::INTERRUPTED, None));
    assert_eq!(bench.dir.checkpoints().newest().unwrap().unwrap().position.step, 10);
    assert_eq!(bench.run(), (exit::PUBLISHED, None));
    assert_eq!(bench.curves(), undisturbed());
}

#[test]
fn a_crashed_trial_continues_from_its_checkpoint() {
    let bench = Bench::new("crashes-once");
    let attempt = bench.claim();
    let crash =
        thread::scope(|scope| scope.spawn(|| super::attempt(attempt.path(), &AtomicBool::new(false), toy)).join());
    assert!(crash.is_err());
    assert_eq!(bench.curves()[0].lines().count(), 11, "rows past the checkpoint at step 8 were written");
    assert_eq!(bench.run(), (exit::PUBLISHED, None));
    assert_eq!(bench.curves(), undisturbed());
}

#[test]
fn a_checkpoint_without_its_rows_is_not_used() {
    let hurt = |damage: &str, curve: fn(&TrialDir) -> std::path::PathBuf| {
        let bench = Bench::new("fine");
        bench.run();
        fs::remove_file(bench.dir.outcome_file()).unwrap();
        let path = curve(&bench.dir);
        let kept = if damage.is_empty() { String::new() } else { fs::read_to_string(&path).unwrap() };
        fs::write(&path, kept.replace(damage, "")).unwrap();
        assert!(bench.dir.checkpoints().newest().unwrap().is_some());
        assert_eq!(bench.run(), (exit::PUBLISHED, None));
        assert_eq!(bench.curves(), undisturbed(), "{damage:?}");
    };
    // The whole file, a line break, the start of a line.
    for damage in ["", "\n5,", "5,"] {
        hurt(damage, TrialDir::metrics);
        hurt(damage, TrialDir::evals);
        hurt(damage, TrialDir::diagnostics);
    }
}

#[test]
fn a_checkpoint_that_the_trainer_cannot_read_is_not_used() {
    let bench = Bench::new("fine");
    bench.run();
    fs::remove_file(bench.dir.outcome_file()).unwrap();
    let attempt = bench.claim();
    let newer = |job: Job<'_>, sink: &mut dyn Sink| {
        if job.resume.is_some() { Err(TrainError::TrainingState("of another version".into())) } else { toy(job, sink) }
    };
    assert_eq!(super::attempt(attempt.path(), &AtomicBool::new(false), newer), exit::PUBLISHED);
    assert_eq!(bench.curves(), undisturbed());
}

#[test]
fn failures_are_distinguished() {
    let check = |behaviour: &str, expected: (u8, Failure)| {
        let (code, failure) = Bench::new(behaviour).run();
        assert_eq!((code, failure.unwrap()), expected, "{behaviour}");
    };
    check("bad-input", (exit::BAD_INPUT, Failure::BadInput { message: "column `text` is not there".into() }));
    check("device-fault", (exit::DEVICE, Failure::DeviceFault { message: "device: fell off the bus".into() }));
    let message = "cannot write results: no storage space".to_owned();
    check("full-disk", (exit::DISK, Failure::Disk { message }));
    let message =
        "results: Input/output error (os error 5). Check the disk, or choose another folder with --results".to_owned();
    check("bad-sector", (exit::CRASHED, Failure::DiskError { message }));
}

#[test]
fn smaller_micro_batches_are_noted_also_after_a_resume() {
    let mut bench = Bench::new("hangs");
    let notes = |bench: &Bench| {
        let verdicts = bench.dir.outcome().unwrap().unwrap().verdicts;
        verdicts.into_iter().filter(|verdict| verdict.id == Cause::SmallerMicroBatches).map(|note| note.text).collect()
    };
    bench.micro_batch_splits = 1;
    let attempt = bench.claim();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| super::attempt(attempt.path(), &stop, toy));
        wait_for_rows(&bench.dir, 10);
        stop.store(true, Ordering::Relaxed);
    });
    bench.micro_batch_splits = 0;
    assert_eq!(bench.run(), (exit::PUBLISHED, None));
    let found: Vec<String> = notes(&bench);
    insta::assert_snapshot!(found.join("\n"), @"out of memory: continued with micro-batches of 256 tokens in place of 512; the numbers are those of a machine with more memory, up to rounding");
    let bench = Bench::new("fine");
    bench.run();
    assert_eq!(notes(&bench), [""; 0]);
}

/// The record of a trial says how large the micro-batches of its rows were. The details of its best evaluation are written once.
#[test]
fn without_its_record_or_its_details_a_trial_starts_over() {
    for name in ["config.json", "best_evaluation.json"] {
        let bench = Bench::new("crashes-once");
        assert!(thread::scope(|scope| scope.spawn(|| bench.run()).join()).is_err());
        assert!(bench.dir.checkpoints().newest().unwrap().is_some());
        fs::remove_file(bench.dir.path().join(name)).unwrap();
        // It begins without a state, and crashes again.
        assert!(thread::scope(|scope| scope.spawn(|| bench.run()).join()).is_err(), "{name}");
        assert_eq!(bench.run(), (exit::PUBLISHED, None));
        assert_eq!(bench.curves(), undisturbed());
    }
}

#[test]
fn a_second_attempt_after_the_outcome_trains_nothing() {
    let bench = Bench::new("fine");
    bench.run();
    let attempt = bench.claim();
    let code = super::attempt(attempt.path(), &AtomicBool::new(false), |_, _| panic!("trained twice"));
    assert_eq!(code, exit::PUBLISHED);
}

#[test]
fn a_later_attempt_makes_an_earlier_one_stop() {
    let bench = Bench::new("hangs");
    let first = bench.claim();
    thread::scope(|scope| {
        let orphan = scope.spawn(|| super::attempt(first.path(), &AtomicBool::new(false), toy));
        wait_for_rows(&bench.dir, 10);
        assert_eq!(bench.run(), (exit::PUBLISHED, None));
        assert_eq!(orphan.join().unwrap(), exit::INTERRUPTED);
    });
    assert_eq!(bench.curves(), undisturbed());
}

/// A user deletes or cuts a curve, or the whole folder, while the trial runs.
#[test]
fn a_trial_whose_files_vanish_is_not_finished() {
    let spoil = |spoil: fn(&TrialDir)| {
        let bench = Bench::new("fine");
        let attempt = bench.claim();
        let spoiled = |job: Job<'_>, sink: &mut dyn Sink| toy(job, &mut Halfway(sink, &|| spoil(&bench.dir)));
        assert_ne!(super::attempt(attempt.path(), &AtomicBool::new(false), spoiled), exit::PUBLISHED);
        assert!(!bench.dir.has_outcome());
        assert_eq!(bench.run(), (exit::PUBLISHED, None));
        assert_eq!(bench.curves(), undisturbed());
    };
    spoil(|trial| fs::remove_file(trial.metrics()).unwrap());
    spoil(|trial| fs::write(trial.evals(), "").unwrap());
    spoil(|trial| fs::remove_file(trial.diagnostics()).unwrap());
    spoil(|trial| fs::write(trial.diagnostics(), "").unwrap());
    // The attempt may write a file while its folder is being emptied.
    spoil(|trial| while fs::remove_dir_all(trial.path()).is_err() {});
}

/// A link in place of a folder above the trial leads to the files of another program.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_written_through_a_folder_that_became_a_link() {
    for levels in [1, 2] {
        let bench = Bench { keep: Keep::WINNER, ..Bench::new("fine") };
        let attempt = bench.claim();
        let folder = bench.dir.path().ancestors().nth(levels).unwrap();
        let link = folder.with_file_name("link");
        let elsewhere = folder.with_file_name("elsewhere");
        let swap = || {
            let within = elsewhere.join(bench.dir.path().strip_prefix(folder).unwrap());
            fs::create_dir_all(within.join("checkpoint")).unwrap();
            for name in ["outcome.json", "best_evaluation.json", ".writer", "checkpoint/weights.safetensors"] {
                fs::write(within.join(name), "precious").unwrap();
            }
            std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
            // At once, because a worker may write at any moment.
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(rustix::fs::CWD, &link, rustix::fs::CWD, folder, exchange).unwrap();
        };
        let swapped = |job: Job<'_>, sink: &mut dyn Sink| {
            let ended = toy(job, &mut Halfway(sink, &swap));
            let _ = sink.weights(b"weights");
            ended
        };
        assert_ne!(super::attempt(attempt.path(), &AtomicBool::new(false), swapped), exit::PUBLISHED);
        let within = elsewhere.join(bench.dir.path().strip_prefix(folder).unwrap());
        for name in ["outcome.json", "best_evaluation.json", ".writer", "checkpoint/weights.safetensors"] {
            assert_eq!(fs::read_to_string(within.join(name)).unwrap(), "precious", "{name}");
        }
        let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
        assert_eq!((count(&within), count(&within.join("checkpoint"))), (4, 1), "nothing was added");
    }
}

/// Runs a function at step 10.
struct Halfway<'a>(&'a mut dyn Sink, &'a dyn Fn());

impl Sink for Halfway<'_> {
    fn metric(&mut self, row: &MetricRow) -> io::Result<()> {
        if row.step == 10 {
            (self.1)();
        }
        self.0.metric(row)
    }
    fn eval(&mut self, row: &EvalRow) -> io::Result<()> {
        self.0.eval(row)
    }
    fn diagnostic(&mut self, row: &DiagnosticRow) -> io::Result<()> {
        self.0.diagnostic(row)
    }
    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> io::Result<()> {
        self.0.checkpoint(step, best, state)
    }
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

#[test]
fn the_best_state_is_kept_when_asked_for() {
    let mut bench = Bench::new("fine");
    bench.keep = Keep::All;
    bench.run();
    assert!(bench.dir.checkpoints().best().exists());
    bench.dir.checkpoints().prune(bench.keep).unwrap();
    assert!(bench.dir.checkpoints().best().exists() && bench.dir.checkpoints().last().exists());
}

#[test]
fn a_flat_trial_ends_at_the_same_step_after_a_resume_and_can_continue() {
    let flat = |behaviour: &str| {
        let mut bench = Bench::new(behaviour);
        bench.trial.config.stop.plateau = Some(Plateau { evals: 2, min_steps: 50 });
        (bench.trial.config.length, bench.trial.steps) = (Length::Steps(80), 80);
        bench
    };
    let mut bench = flat("fine");
    assert_eq!(bench.run().0, exit::PUBLISHED);
    let outcome = bench.dir.outcome().unwrap().unwrap();
    let note = outcome.verdicts.iter().find(|verdict| verdict.id == Cause::StoppedFlat).unwrap();
    assert_eq!((outcome.status, outcome.steps, note.step), (Status::Stopped, 55, Some(55)), "judged at 50 and at 55");
    assert_eq!(outcome.reason.as_ref(), Some(&note.text));
    assert!(note.evidence.iter().any(|evidence| evidence.name == "change" && evidence.value == Some(0.0)));
    let crashed = flat("crashes-once");
    assert!(thread::scope(|scope| scope.spawn(|| crashed.run()).join()).is_err());
    assert_eq!(crashed.curves()[0].lines().count(), 41);
    assert_eq!(crashed.run().0, exit::PUBLISHED);
    assert_eq!(crashed.curves(), bench.curves());
    // It was killed after it saved its state and before it published its outcome.
    crashed.dir.set_stopped_outcome_aside().unwrap();
    assert_eq!(crashed.run().0, exit::PUBLISHED);
    assert_eq!(crashed.curves(), bench.curves());
    bench.dir.set_stopped_outcome_aside().unwrap();
    bench.ignores_stop_rules = true;
    assert_eq!(bench.run().0, exit::PUBLISHED);
    let outcome = bench.dir.outcome().unwrap().unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Finished, 80));
    assert!(bench.curves()[0].starts_with(&crashed.curves()[0]));
}

#[test]
fn states_are_written_in_the_background() {
    let bench = Bench::new("fine");
    let attempt = bench.claim();
    fs::create_dir_all(bench.dir.path()).unwrap();
    let stop = AtomicBool::new(false);
    let orders = Orders::new(&stop, false);
    let assignment = attempt.assignment().unwrap();
    let mut sink = TrialSink::open(&attempt, None, &assignment, &orders).unwrap();
    let newest = || bench.dir.checkpoints().newest().unwrap().map(|saved| (saved.position.step, saved.state));
    let row = |step| MetricRow { step, epoch: 0.0, train_loss: 1.0, lr: 1.0, grad_norm: 1.0, tokens: 1, seconds: 0.0 };
    sink.metric(&row(1)).unwrap();
    sink.checkpoint(1, false, b"one".to_vec()).unwrap();
    sink.wait_for_state().unwrap();
    assert_eq!(newest(), Some((1, b"one".to_vec())));
    sink.metric(&row(2)).unwrap();
    sink.checkpoint(2, false, vec![2; 1 << 20]).unwrap();
    drop(sink);
    assert_eq!(newest(), Some((2, vec![2; 1 << 20])), "the end of a trial waits for its last state");
    let position = CurvePosition { step: 2, evals: 0, diagnostics: 0 };
    let mut sink = TrialSink::open(&attempt, Some(&position), &assignment, &orders).unwrap();
    fs::remove_dir_all(bench.dir.path().join("checkpoint")).unwrap();
    fs::write(bench.dir.path().join("checkpoint"), "a file").unwrap();
    sink.checkpoint(2, false, b"two".to_vec()).expect("the trainer does not wait for the disk");
    let error = sink.checkpoint(2, false, b"two".to_vec()).expect_err("the next call reports the error");
    assert!(error.to_string().contains("but a folder of results belongs there"), "{error}");
}

/// Between the look at a state and the opening of the curves.
#[test]
fn rows_that_vanish_at_the_start_of_an_attempt_end_it() {
    let bench = Bench::new("fine");
    let attempt = bench.claim();
    let (stop, assignment) = (AtomicBool::new(false), attempt.assignment().unwrap());
    let orders = Orders::new(&stop, false);
    let row = |step| MetricRow { step, epoch: 0.0, train_loss: 1.0, lr: 1.0, grad_norm: 1.0, tokens: 1, seconds: 0.0 };
    let mut sink = TrialSink::open(&attempt, None, &assignment, &orders).unwrap();
    (1..=2).for_each(|step| sink.metric(&row(step)).unwrap());
    sink.diagnostic(&diagnosed(2)).unwrap();
    drop(sink);
    let vanished =
        |position: CurvePosition| match TrialSink::open(&attempt, Some(&position), &assignment, &orders).map(drop) {
            Ok(()) => None,
            Err(StoreError::Vanished { path }) => Some(path),
            Err(other) => panic!("{other}"),
        };
    let whole = CurvePosition { step: 2, evals: 0, diagnostics: 1 };
    assert_eq!(vanished(whole.clone()), None);
    assert_eq!(vanished(CurvePosition { step: 3, ..whole.clone() }), Some(bench.dir.metrics()));
    assert_eq!(vanished(CurvePosition { evals: 1, ..whole.clone() }), Some(bench.dir.evals()));
    assert_eq!(vanished(CurvePosition { diagnostics: 2, ..whole }), Some(bench.dir.diagnostics()));
}

#[test]
fn a_folder_without_an_assignment_is_no_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = |_: Job<'_>, _: &mut dyn Sink| -> Result<Outcome, TrainError> { panic!("nothing to train") };
    assert_eq!(super::attempt(&folder.path().join("x"), &AtomicBool::new(false), nothing), exit::BAD_INPUT);
    let attempt = folder.path().join("attempts/1");
    fs::create_dir_all(&attempt).unwrap();
    // The assignment was deleted: the next attempt gets another one.
    assert_eq!(super::attempt(&attempt, &AtomicBool::new(false), nothing), exit::CRASHED);
}
