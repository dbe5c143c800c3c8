//! The same trial gives the same bytes: run twice, beside others, on more threads, interrupted, killed.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::place::{Curves, Ended, Place, signal, wait};

/// All sources of randomness are on, and checkpoints are frequent.
pub const SWEEP: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0.1}
batch_size: 8
steps: 60
eval_every: 15
augmentation: [{name: synonym, rate: 0.3}, {name: random_swap, rate: 0.2}]
grid: {lr: [1e-3, 1e-4], scheduler: [linear, cosine]}
run: {checkpoint_every: 10}
";

/// Time limit for all workers to end: two seconds, and two more for a busy machine.
const SOON: Duration = Duration::from_secs(4);

/// The curves of an undisturbed run.
static UNDISTURBED: LazyLock<BTreeMap<String, Curves>> = LazyLock::new(|| curves("--jobs 1 --threads 1"));

fn curves(options: &str) -> BTreeMap<String, Curves> {
    let place = Place::new(SWEEP);
    place.expect(0, &format!("run sweep.yaml {options}"));
    place.curves()
}

/// Compares with the undisturbed run, byte by byte.
pub fn check(found: &BTreeMap<String, Curves>) {
    assert_eq!(found.len(), 4);
    assert!(found.keys().eq(UNDISTURBED.keys()));
    for (id, (metrics, evals)) in found {
        let (expected_metrics, expected_evals) = &UNDISTURBED[id];
        assert_eq!(metrics.lines().count(), 61, "trial {id}");
        assert!(metrics.lines().eq(expected_metrics.lines()), "metrics of {id}:\n{metrics}\n{expected_metrics}");
        assert_eq!((metrics, evals), (expected_metrics, expected_evals), "trial {id}");
    }
}

#[test]
fn two_runs_are_equal() {
    check(&curves("--jobs 1 --threads 1"));
}

#[test]
fn jobs_and_threads_change_nothing() {
    check(&curves("--jobs 2"));
    check(&curves("--jobs 1 --threads 2"));
}

#[test]
fn dropout_and_augmentation_are_on() {
    let plain = Place::new(&SWEEP.replace("augmentation", "# augmentation"));
    let still = Place::new(&SWEEP.replace("dropout: 0.1", "dropout: 0"));
    for place in [plain, still] {
        place.expect(0, "run sweep.yaml --only lr=1e-3 --only scheduler=linear");
        let (metrics, _) = place.curves().into_values().next().unwrap();
        assert!(UNDISTURBED.values().all(|(other, _)| *other != metrics));
    }
}

#[test]
fn an_interrupted_sweep_continues_to_the_same_curves() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml --jobs 2");
    place.wait_for_steps(15);
    signal(parent.id() as i32, Signal::INT);
    let took = wait(|| place.workers().is_empty());
    assert!(took <= SOON, "workers lived on for {took:?}");
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(ended.err.contains("of 4 trials left. Run the same command again to continue"), "{}", ended.err);
    assert!(place.path("results/sweep/report/curves.png").is_file());
    assert!(place.count("attempt_interrupted") > 0);
    place.expect(0, "run sweep.yaml --jobs 2");
    check(&place.curves());
    let before = place.count("attempt_started");
    assert!(before > 4, "some trial was resumed");
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.count("attempt_started"), before);
}

#[test]
fn a_killed_sweep_ends_its_workers_and_continues_to_the_same_curves() {
    let place = Place::new(SWEEP);
    let mut parent = place.start("run sweep.yaml --jobs 2");
    place.wait_for_steps(15);
    parent.kill().unwrap();
    let took = wait(|| place.workers().is_empty());
    assert!(took <= SOON, "workers lived on for {took:?}");
    parent.wait().unwrap();
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(status.contains("4 trials, 0 finished, 0 running, 0 failed, 4 left"), "{status}");
    place.expect(0, "run sweep.yaml --jobs 2");
    check(&place.curves());
}
