//! Early stopping: which rule stops a trial, on what evidence, and how `--continue` takes the trial up again.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::place::{Ended, Place, signal, small, wait};

/// The second trial learns almost nothing, and would run for hours.
const HOPELESS: &str =
    small!("eval_every: 10\nzip: {lr: [1e-3, 1e-9], steps: [20, 1000000]}\nrun: {jobs: 1, checkpoint_every: 1000}\n");

/// Runs the sweep until `rule` stops its second trial. Returns the folder, the trial's id and the evidence.
fn stopped_by(rule: &str, parameters: &str) -> (Place, String, Value) {
    let place = Place::new(&format!("{HOPELESS}stop: {{{rule}: {parameters}}}\n"));
    place.expect(0, "run sweep.yaml");
    let mut records = place.records();
    records.retain(|record| record["event"] == "trial_judged" && record["judgement"]["stops"] == true);
    let [judged] = &records[..] else { panic!("{records:?}") };
    let evidence = judged["judgement"].clone();
    assert_eq!((&evidence["rule"], &evidence["metric"]), (&rule.into(), &"eval_loss".into()));
    assert!(evidence["value"].as_f64() > evidence["bound"].as_f64(), "{evidence}");
    let id = judged["trial"].as_str().unwrap().to_owned();
    let table = place.read("results/sweep/trials.csv");
    assert!(table.lines().any(|row| row.starts_with(&id) && row.contains(",stopped,")), "{table}");
    let outcome: Value = serde_json::from_str(&place.read(&format!("results/sweep/trials/{id}/outcome.json"))).unwrap();
    let reason = outcome["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("stop.{rule}: ")), "{reason}");
    assert!(
        place.path(&format!("results/sweep/trials/{id}/checkpoint/newest.json")).is_file(),
        "the trial keeps its training state"
    );
    (place, id, evidence)
}

#[test]
fn the_median_rule_stops_a_worse_trial() {
    let (_place, _id, evidence) = stopped_by("median", "{min_trials: 1, min_steps: 10}");
    assert_eq!((&evidence["step"], &evidence["among"]), (&10.into(), &1.into()));
}

#[test]
fn asha_stops_a_trial_and_continue_trains_it_further() {
    let (place, id, evidence) = stopped_by("asha", "{eta: 2, min_steps: 10}");
    assert_eq!((&evidence["rung"], &evidence["among"]), (&0.into(), &2.into()));
    let metrics = || fs::read_to_string(place.trials()[&id].join("metrics.csv")).unwrap();
    let before = metrics();
    let refused = place.expect(2, "run sweep.yaml --continue 0123456789ab").err;
    assert!(refused.contains("--continue 0123456789ab: sweep has no such trial"), "{refused}");
    let parent = place.start(&format!("run sweep.yaml --continue {id}"));
    wait(|| metrics().lines().count() > before.lines().count() + 50);
    signal(parent.id() as i32, Signal::INT);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(metrics().starts_with(&before), "it continues from its training state");
    assert_eq!((place.count("trial_continued"), place.count("attempt_started")), (1, 3));
    // It fails later rungs too, but --continue trains it to its last step.
    let stops = |record: &&Value| record["judgement"]["stops"] == true;
    assert_eq!(place.records().iter().filter(stops).count(), 1);
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(status.contains("2 trials, 1 finished, 0 running, 0 failed, 1 left"), "{status}");
}

#[test]
fn patience_stops_a_trial_that_does_not_improve() {
    let place = Place::new(small!(
        "steps: 100\neval_every: 5\nstop: {patience: {metric: eval_loss, evals: 2, min_delta: 9}}\n"
    ));
    place.expect(0, "run sweep.yaml");
    let finished = place.records().into_iter().find(|record| record["event"] == "trial_finished").unwrap();
    let outcome = &finished["outcome"];
    assert_eq!((&outcome["status"], &outcome["steps"]), (&"stopped".into(), &10.into()));
    let reason = outcome["reason"].as_str().unwrap();
    assert!(reason.starts_with("eval_loss has not improved on ") && reason.contains("by more than 9"), "{reason}");
    let id = finished["trial"].as_str().unwrap();
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.count("attempt_started"), 1, "the stopped trial has ended");
    let before = place.curves();
    place.expect(0, &format!("run sweep.yaml --continue {id}"));
    let (metrics, evals) = &place.curves()[id];
    assert!(
        metrics.starts_with(&before[id].0) && evals.starts_with(&before[id].1),
        "it continues from its training state"
    );
    assert_eq!((metrics.lines().count(), place.count("trial_continued")), (101, 1));
    let again = place.expect(0, &format!("run sweep.yaml --continue {id}")).err;
    assert!(again.contains("was not stopped by a rule of the sweep"), "the trial has finished: {again}");
}

/// At this learning rate the loss does not move. Interrupted or not, the trial stops at the same step.
#[test]
fn the_plateau_rule_stops_a_trial() {
    const FLAT: &str = small!(
        "lr: 1e-9\nwarmup: 0\nscheduler: constant\nsteps: 400\neval_every: 5\nstop: {plateau: {evals: 2, min_steps: 40}}\n\
         run: {checkpoint_every: 15}\n"
    );
    let place = Place::new(FLAT);
    place.expect(0, "run sweep.yaml");
    let finished = place.records().into_iter().find(|record| record["event"] == "trial_finished").unwrap();
    let outcome = &finished["outcome"];
    assert_eq!(outcome["status"], "stopped", "{outcome}");
    let reason = outcome["reason"].as_str().unwrap();
    assert!(reason.starts_with("stop.plateau: the training loss is flat at "), "{reason}");
    let notes = outcome["verdicts"].as_array().unwrap();
    let note = notes.iter().find(|verdict| verdict["id"] == "STOPPED_FLAT").unwrap();
    assert_eq!(note["step"], outcome["steps"]);
    let id = finished["trial"].as_str().unwrap();
    assert!(
        place.path(&format!("results/sweep/trials/{id}/checkpoint/newest.json")).is_file(),
        "the trial keeps its training state"
    );

    let disturbed = Place::new(FLAT);
    for steps in [20, 36] {
        let parent = disturbed.start("run sweep.yaml");
        disturbed.wait_for_steps(steps);
        signal(parent.id() as i32, Signal::KILL);
        parent.wait_with_output().unwrap();
    }
    disturbed.expect(0, "run sweep.yaml");
    assert_eq!(disturbed.curves(), place.curves());

    let before = place.curves();
    place.expect(0, &format!("run sweep.yaml --continue {id}"));
    let metrics = &place.curves()[id].0;
    assert!(metrics.starts_with(&before[id].0) && metrics.lines().count() == 401, "{metrics}");
}
