//! `data.test`: the best trial of a sweep that has ended is evaluated on the test set, once. `data.folds`: cross-validation.

use insta::assert_snapshot;
use serde_json::Value;

use crate::place::{Place, small};

const SWEEP: &str = small!("steps: 8\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\n");

/// The sweep with a test set.
fn with_test(test: &str) -> String {
    SWEEP.replacen("data: {", &format!("data: {{test: {test}, "), 1)
}

fn evaluations(place: &Place) -> Vec<Value> {
    let record: Value = serde_json::from_str(&place.read("results/sweep/test.json")).unwrap();
    record["evaluations"].as_array().unwrap().clone()
}

#[test]
fn the_winner_is_evaluated_once_and_reported_apart() {
    let place = Place::new(&with_test("0.2"));
    let run = place.expect(0, "run sweep.yaml --progress none").err;
    assert!(run.contains("test rows"), "the size of the data: {run}");
    let [evaluation] = evaluations(&place).try_into().unwrap();
    let (kept, _, _) = place.kept_states().remove(0);
    assert_eq!(evaluation["trial"], kept.as_str());
    let scores = format!("accuracy {:.4}", evaluation["accuracy"].as_f64().unwrap());
    let summary = place.read("results/sweep/report/summary.md");
    let page = place.read("results/sweep/report/index.html");
    for text in [&run, &place.expect(0, "status sweep").out, &summary, &page] {
        assert!(text.contains(&scores), "{scores} in {text}");
    }
    assert!(summary.contains("## Test set\n") && page.contains("<section id=\"test\">"));
    place.expect(0, "export sweep --format hf -o model");
    assert!(
        place
            .read("model/README.md")
            .contains(&format!("| Test set | loss {:.4}", evaluation["loss"].as_f64().unwrap()))
    );
    // Nothing is evaluated again.
    place.expect(0, "run sweep.yaml --progress none");
    place.expect(0, "report sweep");
    assert_eq!(evaluations(&place).len(), 1);
}

/// A process that was killed before the evaluation leaves it to the next command.
#[test]
fn report_makes_up_for_a_missing_evaluation() {
    let place = Place::new(&with_test("0.2"));
    place.expect(0, "run sweep.yaml --progress none");
    let before = evaluations(&place);
    std::fs::remove_file(place.path("results/sweep/test.json")).unwrap();
    place.expect(0, "report sweep");
    let after = evaluations(&place);
    assert_eq!((&after[0]["loss"], &after[0]["trial"]), (&before[0]["loss"], &before[0]["trial"]));
}

#[test]
fn each_use_of_the_test_set_is_recorded() {
    // The rows of the training file as a test set: known labels, and many warnings.
    let place = Place::new(&with_test("train.tsv"));
    place.expect(0, "run sweep.yaml --progress none");
    // With other learning rates another trial leads.
    place.write("sweep.yaml", with_test("train.tsv").replace("1e-4", "5e-3, 1e-2"));
    let before = evaluations(&place)[0]["trial"].clone();
    let run = place.expect(0, "run sweep.yaml --progress none").err;
    let uses = evaluations(&place);
    if uses.last().unwrap()["trial"] == before {
        assert_eq!(uses.len(), 1, "the same leader");
    } else {
        assert_eq!(uses.len(), 2);
        assert!(
            run.contains("The test set was evaluated 2 times")
                && place.expect(0, "status sweep").out.contains("2 times")
        );
    }
    // Another test set is another use.
    place.write("other.tsv", place.read("train.tsv").split_inclusive('\n').take(9).collect::<String>());
    place.write("sweep.yaml", with_test("other.tsv").replace("1e-4", "5e-3, 1e-2"));
    place.expect(0, "run sweep.yaml --progress none");
    assert_eq!(evaluations(&place).len(), uses.len() + 1);
}

#[test]
fn without_weights_the_test_set_is_not_evaluated() {
    let place = Place::new(&(with_test("0.2") + "run: {keep: none}\n"));
    let warned = place.expect(0, "plan sweep.yaml").err;
    assert!(warned.contains("the test set cannot be evaluated, because `run.keep: none` keeps no weights"), "{warned}");
    let run = place.expect(0, "run sweep.yaml --progress none").err;
    let line = run.lines().find(|line| line.starts_with("warning: the test set was not")).unwrap();
    assert_snapshot!(line, @"warning: the test set was not evaluated: the best trial kept no weights. Set `run: {keep: winner}` in the sweep file, and train again with `plateau run sweep --fresh`");
    assert!(!place.path("results/sweep/test.json").exists());
}

#[test]
fn folds_repeat_the_configurations_of_a_sweep() {
    let place = Place::new(&SWEEP.replacen("data: {", "data: {folds: 3, ", 1));
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.out.contains("6 trials") && planned.out.contains("data.fold"), "{}", planned.out);
    assert!(planned.err.contains("3 folds, of which the first is described:"), "{}", planned.err);
    place.expect(0, "run sweep.yaml --progress none");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("2 configurations × 3 folds") && summary.contains("| successful folds |"), "{summary}");
    let table = place.read("results/sweep/trials.csv");
    assert!(table.starts_with("id,lr,data.fold,seed,"), "{table}");
    let only = place.expect(0, "plan sweep.yaml --only data.fold=2 --format csv").out;
    assert_eq!(only.lines().count(), 3, "{only}");
}
