//! Sweeps whose trials are drawn from a space.

use crate::place::{Place, small};

const SWEEP: &str = small!(
    "steps: 2\neval_every: 2\nspace:\n  lr: {log: [1e-5, 1e-3]}\n  scheduler: [linear, constant]\nsearch: {trials: 4, startup: 2, ahead: 1}\n"
);

/// The ids of the trials, in order.
fn ids(place: &Place) -> Vec<String> {
    let table = place.read("results/sweep/trials.csv");
    table.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn trials_are_drawn_while_the_sweep_runs_and_a_larger_budget_continues() {
    let place = Place::new(SWEEP);
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.out.contains("2 trials, and up to 2 that are drawn while the sweep runs"), "{}", planned.out);
    place.expect(0, "run sweep.yaml --jobs 1");
    let four = ids(&place);
    assert_eq!(four.len(), 4);
    let status = place.expect(0, "status sweep.yaml");
    assert!(four.iter().all(|id| status.out.contains(id)), "{}", status.out);
    assert!(place.expect(0, "run sweep.yaml").err.contains("nothing left to train"));
    place.write("sweep.yaml", SWEEP.replace("trials: 4", "trials: 5"));
    place.expect(0, "run sweep.yaml");
    let five = ids(&place);
    assert_eq!((five.len(), &five[..4]), (5, four.as_slice()));
    // The sweep as it was run reads back to the same search.
    let copy = place.read("results/sweep/sweep.yaml");
    place.write("copy.yaml", copy);
    let again = place.expect(0, "plan copy.yaml");
    assert!(five.iter().all(|id| again.out.contains(id)), "{}", again.out);
}

#[test]
fn the_next_sweep_and_the_confirmation_of_a_search_can_be_run() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    place.expect(0, "refine sweep.yaml -o next.yaml");
    let next = place.read("next.yaml");
    assert!(!next.contains("space:") && !next.contains("search:"), "{next}");
    place.expect(0, "plan next.yaml");
    let confirmed = place.expect(0, "confirm sweep.yaml --top 2 --seeds 2");
    assert!(confirmed.out.starts_with("The winner "), "{}", confirmed.out);
    assert_eq!(place.read("results/sweep-confirm/trials.csv").lines().count(), 5);
}

#[test]
fn a_search_that_ends_early_says_why() {
    let place = Place::new(&SWEEP.replace("lr: {log: [1e-5, 1e-3]}", "lr: [1e-4]"));
    let ended = place.expect(0, "run sweep.yaml");
    let why = "The search ended after 2 trials: every configuration of the space is there.";
    assert!(ended.err.contains(why), "{}", ended.err);
}
