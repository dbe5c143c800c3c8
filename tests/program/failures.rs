//! Trials that fail and trials that diverge: the others continue, and the user gets a message.

use std::fs::OpenOptions;
use std::io::Write;

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};

#[test]
fn bad_input_fails_one_trial_and_retry_failed_retries_it() {
    let place = Place::new(
        "
data: {eval: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0}
batch_size: 8
steps: 300
eval_every: 150
grid: {data.train: [train.tsv, other.tsv, third.tsv]}
",
    );
    let data = place.read("train.tsv");
    let other = data.replace("the ", "a ");
    place.write("other.tsv", &other);
    place.write("third.tsv", data.replace("the ", "one "));
    let parent = place.start("run sweep.yaml --jobs 1");
    place.wait_for_steps(1);
    std::fs::remove_file(place.path("other.tsv")).unwrap();
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert_eq!((place.count("trial_finished"), place.count("trial_failed")), (2, 1));
    assert_eq!(place.count("attempt_started"), 3, "bad input is not retried");
    for words in ["failed", "/other.tsv: cannot be read", "1 of 3 trials failed", "--retry-failed"] {
        assert!(ended.err.contains(words), "{words}:\n{}", ended.err);
    }
    place.write("other.tsv", &other);
    let table = place.read("results/sweep/trials.csv");
    assert!(
        table
            .lines()
            .any(|line| line.contains("other.tsv") && line.contains("failed") && line.contains("cannot be read"))
    );
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(status.contains("3 trials, 2 finished, 0 running, 1 failed, 0 left"), "{status}");
    let again = place.expect(1, "run sweep.yaml").err;
    assert!(again.contains("--retry-failed"), "{again}");
    assert_eq!(place.count("attempt_started"), 3, "without --retry-failed it stays failed");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.count("attempt_started"), 4);
}

#[test]
fn a_dead_worker_is_reported_with_the_end_of_its_log() {
    let place = Place::new(small!(
        "steps: 300
eval_every: 300
grid: {lr: [1e-3, 1e-4]}
run: {retries: 1, jobs: 1}
"
    ));
    let parent = place.start("run sweep.yaml");
    let attempt = |n: u32| {
        wait(|| !place.trials().is_empty());
        let (_, trial) = place.trials().pop_first().unwrap();
        let attempt = trial.join(format!("attempts/{n}"));
        wait(|| attempt.join("log").is_file());
        let worker = wait_for_worker(&place, &format!("attempts/{n}"));
        let mut log = OpenOptions::new().append(true).open(attempt.join("log")).unwrap();
        writeln!(log, "last words of attempt {n}").unwrap();
        signal(worker, Signal::ABORT);
        wait(|| !place.workers().contains(&worker));
    };
    attempt(1);
    attempt(2);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("last words of attempt 2") && ended.err.contains("signal 6"), "{}", ended.err);
    assert_eq!((place.count("trial_finished"), place.count("trial_failed")), (1, 1));
    assert!(place.path("results/sweep/report/curves.png").is_file());
    let quiet = place.expect(1, "run sweep.yaml --quiet").err;
    assert!(quiet.contains("failed after 2 attempts") && quiet.contains("  | last words of attempt 2\n"), "{quiet}");
    place.expect(0, "run sweep.yaml --retry-failed");
    assert_eq!(place.count("trial_finished"), 2);
}

fn wait_for_worker(place: &Place, attempt: &str) -> i32 {
    let command = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let find = || place.workers().into_iter().find(|&pid| command(pid).contains(attempt));
    wait(|| find().is_some());
    find().unwrap()
}

#[test]
fn a_diverging_trial_is_a_result() {
    let place = Place::new(small!(
        "steps: 30
eval_every: 10
grid: {lr: [1e-3, 1e6]}
"
    ));
    place.expect(0, "run sweep.yaml");
    let table = place.read("results/sweep/trials.csv");
    let row = table.lines().find(|line| line.contains(",1e6,")).unwrap();
    assert!(row.contains(",diverged,"), "{row}");
    let evidence = place.records().into_iter().find(|record| record["outcome"]["status"] == "diverged").unwrap();
    assert!(evidence["outcome"]["reason"].as_str().unwrap().contains("loss"), "{evidence}");
    assert!(place.path("results/sweep/report/curves.png").is_file());
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("NaN at "), "{summary}");
}
