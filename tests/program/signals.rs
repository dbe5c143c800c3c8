//! What signals do to a sweep, and to its user.

use rustix::process::Signal;

use crate::place::{Ended, Place, signal};

const SWEEP: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0}
batch_size: 8
steps: 60
eval_every: 30
grid: {lr: [1e-3, 1e-4]}
run: {jobs: 1, checkpoint_every: 5}
";

#[test]
fn a_cluster_that_says_stop_is_heard_like_a_user() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(6);
    signal(parent.id() as i32, Signal::TERM);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(ended.err.contains("Run the same command again to go on"), "{}", ended.err);
    assert!(place.workers().is_empty());
    assert_eq!((place.count("attempt_interrupted"), place.count("attempt_failed")), (1, 0));
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.count("trial_finished"), 2);
}

#[test]
fn a_sweep_survives_its_terminal() {
    let place = Place::new(SWEEP);
    let mut parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    // Nobody reads any more: every write from here on fails.
    drop((parent.stdout.take(), parent.stderr.take()));
    signal(parent.id() as i32, Signal::HUP);
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    assert_eq!(place.count("trial_finished"), 2);
    assert!(place.path("results/sweep/report/index.html").is_file());
}
