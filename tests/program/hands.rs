//! Manual edits of the sweep file and the results folder between two runs: the program reports and repairs them.

use std::fs;

use crate::place::{Place, small};

const SWEEP: &str = small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-2, 1e-3, 1e-4, 1e-5]}\n");

#[test]
fn a_removed_value_keeps_its_results() {
    let place = Place::new(&SWEEP.replace("1e-2, 1e-3, 1e-4, 1e-5", "1e-3, 1e-4"));
    place.expect(0, "run sweep.yaml");
    let first = place.expect(0, "plan sweep.yaml --format csv").out.lines().nth(1).unwrap()[..12].to_owned();
    place.write("sweep.yaml", SWEEP.replace("1e-2, 1e-3, 1e-4, 1e-5", "1e-4, 1e-5"));
    let warnings = place.expect(0, "run sweep.yaml").err;
    let words = format!("are no longer in the sweep: kept there, and left out of tables and figures ({first})");
    assert!(warnings.contains(&words.replace("are no", "is no")), "{warnings}");
    assert_eq!((place.count("attempt_started"), place.trials().len()), (3, 3));
    let table = place.read("results/sweep/trials.csv");
    assert!(table.lines().count() == 3 && !table.contains(&first), "{table}");
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(
        status.ends_with(&format!("\nno longer in the sweep, results kept: 1 trial ({first} finished)\n")),
        "{status}"
    );
    place.write("sweep.yaml", SWEEP.replace("1e-2, ", ""));
    let warnings = place.expect(0, "run sweep.yaml").err;
    assert!(!warnings.contains("no longer"), "{warnings}");
    assert_eq!(place.count("attempt_started"), 3, "its old results are used again");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a user deletes a trial")]
fn a_changed_folder_is_repaired() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    let (before, table) = (place.curves(), place.read("results/sweep/trials.csv"));
    let trials: Vec<String> = place.trials().into_keys().collect();
    let [gone, cut, holed, spoilt] = &trials[..] else { panic!("{trials:?}") };
    let inside = |id: &str, name: &str| format!("results/sweep/trials/{id}/{name}");

    fs::remove_dir_all(place.path(&inside(gone, ""))).unwrap();
    let metrics = place.read(&inside(cut, "metrics.csv"));
    place.write(&inside(cut, "metrics.csv"), &metrics[..metrics.len() / 2]);
    let evals = place.read(&inside(holed, "evals.csv"));
    place.write(&inside(holed, "evals.csv"), evals.replace("\n8,", "\neight,"));
    place.write(&inside(spoilt, "outcome.json"), "{\"status\": \"fini");
    place.write("results/sweep/trials/notes.txt", "mine");
    place.write("results/sweep/trials.csv", &table[..table.len() / 2]);
    let journal = place.read("results/sweep/journal.jsonl");
    place.write("results/sweep/journal.jsonl", journal.replacen('\n', "\n{\"at\":1,\"event\":\"sneezed\"}\n", 1));

    let warnings = place.plain(&place.expect(0, "run sweep.yaml").err);
    for words in [
        "/here/results/sweep/journal.jsonl:2: invalid journal line skipped (unknown variant `sneezed`".to_owned(),
        format!(
            "trial {gone} has ended by the journal, but /here/{} is gone: it is trained",
            inside(gone, "outcome.json")
        ),
        format!("trial {cut}: it has ended after 12 steps, but /here/{} holds ", inside(cut, "metrics.csv")),
        format!("trial {holed}: it has ended after 12 steps, but /here/{} ends before", inside(holed, "evals.csv")),
        format!("trial {spoilt}: /here/{} cannot be read (EOF ", inside(spoilt, "outcome.json")),
        "written again from the journal".to_owned(),
        "/here/results/sweep/trials/notes.txt: not a trial; left alone".to_owned(),
    ] {
        assert!(warnings.contains(&words), "{words}\n{warnings}");
    }
    assert_eq!(place.count("attempt_started"), 4 + 3, "an outcome in the journal is not trained again");
    fs::remove_file(place.path("results/sweep/trials/notes.txt")).unwrap();
    assert_eq!(place.curves(), before);
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(status.contains("4 trials, 4 finished"), "{status}");
    let untimed = |table: &str| -> Vec<Vec<String>> {
        let rows = table.lines().map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
        rows.map(|row| row[..9].to_vec()).collect()
    };
    assert_eq!(untimed(&place.read("results/sweep/trials.csv")), untimed(&table));
    let again = place.expect(0, "run sweep.yaml").err;
    assert!(!again.contains("trained again") && place.count("attempt_started") == 7, "{again}");
}
