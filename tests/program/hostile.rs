//! Bad days and hostile folders: files that change or vanish during a run, links and FIFOs among the results, foreign text
//! with control characters, and sweep files made to exhaust the program.

#![expect(clippy::disallowed_methods, reason = "the tests move files of the program away")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};

const SWEEP: &str = small!("steps: 300\neval_every: 150\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1}\n");
const SHORT: &str = small!("steps: 10\neval_every: 5\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1}\n");

/// An id stands for the content of the files. A trial whose files have changed since the plan is not trained.
#[test]
fn a_trial_does_not_train_on_data_that_changed_after_planning() {
    let place = Place::new(SWEEP);
    let data = place.read("train.tsv");
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    place.write("train.tsv", data.replace("the ", "a "));
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("train.tsv: the content has changed since the sweep was planned"), "{}", ended.err);
    assert_eq!((place.count("trial_finished"), place.count("trial_failed")), (1, 1));
    place.write("train.tsv", data);
    place.expect(0, "run sweep.yaml --retry-failed");
    let undisturbed = Place::new(SWEEP);
    undisturbed.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed.curves());
}

#[test]
fn nothing_is_written_through_links() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml");
    let id = place.trials().into_keys().next().unwrap();
    for name in ["journal.jsonl", ".lock", "sweep.yaml", &format!("trials/{id}/metrics.csv"), &format!("trials/{id}")] {
        let [link, kept, victim] =
            [format!("results/sweep/{name}"), "kept".to_owned(), "victim".to_owned()].map(|name| place.path(&name));
        fs::rename(&link, &kept).unwrap();
        place.write("victim", "mine");
        symlink(&victim, &link).unwrap();
        let ended = place.plateau("run sweep.yaml");
        assert_eq!(place.read("victim"), "mine", "{name}");
        // A document that is replaced as a whole replaces the link.
        assert!(name == "sweep.yaml" || ended.code == 3, "{name}: {} {}", ended.code, ended.err);
        fs::remove_file(&link).unwrap();
        fs::rename(&kept, &link).unwrap();
    }
    place.expect(0, "run sweep.yaml");
}

#[test]
fn a_fifo_among_the_results_is_an_error_at_once() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml");
    let id = place.trials().into_keys().next().unwrap();
    for name in ["journal.jsonl", ".origin.json", &format!("trials/{id}/metrics.csv")] {
        let fifo = place.path(&format!("results/sweep/{name}"));
        fs::rename(&fifo, place.path("kept")).unwrap();
        Command::new("mkfifo").arg(&fifo).status().unwrap();
        for command in ["status sweep.yaml", "run sweep.yaml --quiet"] {
            let start = Instant::now();
            let ended = place.plateau(command);
            assert!(start.elapsed() < Duration::from_mins(1), "{name}: {command}");
            assert!(name == ".origin.json" || ended.err.contains("is a FIFO, not a regular file"), "{}", ended.err);
        }
        let _ = fs::remove_file(&fifo);
        fs::rename(place.path("kept"), &fifo).unwrap();
    }
}

/// A user deletes the folder of the trial that runs. The run must not report success without it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a user deletes a trial")]
fn a_trial_that_is_deleted_while_it_runs_is_trained_again() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(5);
    for folder in place.trials().into_values() {
        fs::remove_dir_all(folder).unwrap();
    }
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    let undisturbed = Place::new(SWEEP);
    undisturbed.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed.curves());
}

#[test]
fn a_second_run_is_refused_although_a_user_deleted_the_lock_file() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    fs::remove_file(place.path("results/sweep/.lock")).unwrap();
    let second = place.expect(3, "run sweep.yaml --quiet");
    assert!(second.err.contains("is in use by"), "{}", second.err);
    signal(parent.id() as i32, Signal::TERM);
    wait(|| place.workers().is_empty());
    assert_eq!(Ended::new(parent.wait_with_output().unwrap()).code, 130);
}

#[test]
fn foreign_text_cannot_talk_to_the_terminal() {
    let place = Place::new(SHORT);
    let escape = "\u{1b}[2J\u{1b}]0;title\u{7}";
    place.write("labels.tsv", format!("text\tlabel\ngood\t{escape}\n"));
    place.write("labels.yaml", small!("steps: 3\n").replace("train.tsv", "labels.tsv"));
    place.write("key.yaml", "\"\\e[2Jkey\": 1\n");
    place.write("value.yaml", small!("steps: 3\nscheduler: \"\\e[2Jx\"\n"));
    for name in ["labels", "key", "value"] {
        let ended = place.plateau(&format!("plan {name}.yaml"));
        assert_eq!(ended.code, 2, "{name}: {}", ended.err);
        assert!(!ended.err.contains(['\u{1b}', '\u{7}']) && ended.err.contains("\\u001b"), "{name}: {:?}", ended.err);
    }
}

#[test]
fn sizes_that_the_weights_do_not_hold_are_refused_at_once() {
    let place = Place::new(SHORT);
    let config = place.read("checkpoint/config.json");
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["vocab_size"] = 100_000_000.into();
    config["hidden_size"] = 1_000_000.into();
    place.write("checkpoint/config.json", config.to_string());
    let start = Instant::now();
    let ended = place.expect(2, "plan sweep.yaml");
    assert!(ended.err.contains("but the weights hold"), "{}", ended.err);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn huge_sweep_files_are_planned_or_refused_in_linear_time() {
    let place = Place::new(SHORT);
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    let head = small!("steps: 3\n");
    for (name, more) in [
        ("keys", (0..200_000).map(|i| format!("k{i}: 1")).collect::<Vec<_>>().join("\n")),
        ("zip", format!("zip: {{lr: [{}]}}\n", list(300_000, &|_| "1e-3".into()))),
        (
            "bytes",
            format!("name: &a \"{}\"\ngrid: {{lr: [{}]}}\n", "x".repeat(1_000_000), list(100_000, &|_| "*a".into())),
        ),
    ] {
        place.write("huge.yaml", head.to_owned() + &more);
        let start = Instant::now();
        let ended = place.plateau("plan huge.yaml");
        assert_eq!(ended.code, 2, "{name}");
        assert!(start.elapsed() < Duration::from_mins(1), "{name}: {:?}", start.elapsed());
    }
}
