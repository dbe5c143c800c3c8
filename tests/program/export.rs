//! What leaves a sweep: comparisons with another, and its numbers for other programs.

use std::fs;

use crate::place::{Place, small};

const SWEEP: &str = small!(
    "steps: 12
eval_every: 4
grid: {lr: [1e-3, 1e-4]}
seeds: [1, 2]
"
);

#[test]
fn two_sweeps_are_compared() {
    let place = Place::new(SWEEP);
    place.write("other.yaml", format!("{SWEEP}warmup: 0.5\n"));
    let alone = place.expect(2, "compare sweep.yaml").err;
    assert!(alone.contains("2 values required"), "{alone}");
    let nothing = place.expect(2, "compare sweep.yaml other.yaml").err;
    assert!(nothing.contains("sweep.yaml: nothing was run yet. Run it with `plateau run sweep.yaml`"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    place.expect(0, "run other.yaml --only lr=1e-3");
    let compared = place.expect(0, "compare sweep.yaml other.yaml");
    let lines: Vec<&str> = compared.out.lines().collect();
    assert_eq!(lines[0], "warmup: 0.1 | 0.5", "{compared:?}");
    let head: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(head, ["configuration", "sweep", "other", "difference"]);
    // In twelve steps this model learns nothing, and the mean leaves out trials that did not survive.
    let row: Vec<&str> = lines[3].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row, ["LR 1e-3", "2 of 2 stuck", "2 of 2 stuck", "–"], "{compared:?}");
    assert!(lines[4].contains("unfinished"), "{compared:?}");
    assert_eq!(lines[6], "other: no configuration in common with sweep that survived in both", "{compared:?}");
    assert!(compared.err.ends_with("results/compare/sweep-vs-other.png\n"), "{compared:?}");
    assert!(fs::read(place.path("results/compare/sweep-vs-other.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(place.path("results/compare/sweep-vs-other.svg").is_file());
}

#[test]
fn exports_hold_every_measurement() {
    let place = Place::new(SWEEP);
    let nothing = place.expect(2, "export sweep.yaml --format csv").err;
    assert!(nothing.contains("nothing was run yet, so there is nothing to export"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    let table = place.expect(0, "export sweep.yaml --format csv").out;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let head = "id,lr,seed,status,step,train_loss,learning_rate,grad_norm,eval_loss,accuracy,macro_f1";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), head);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4 * 13, "step 0 is evaluated, and the twelve others are measured");
    for (id, folder) in place.trials() {
        let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
        let last: Vec<&str> = metrics.lines().last().unwrap().split(',').collect();
        let row = rows.iter().find(|row| row[0] == *id && &row[4] == "12").unwrap();
        assert_eq!((&row[3], &row[5], &row[6], &row[7]), ("finished", last[2], last[3], last[4]));
    }
    place.expect(0, "export sweep.yaml --format csv -o out/table.csv");
    assert_eq!(place.read("out/table.csv"), table);
    let document = place.expect(0, "export sweep.yaml --format json").out;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["trials"].as_array().unwrap().len(), 4);
    assert_eq!(document["trials"][0]["metrics"].as_array().unwrap().len(), 12);
    let note = place.expect(0, "export sweep.yaml --format tensorboard").err;
    assert!(note.starts_with("see it with: tensorboard --logdir "), "{note}");
    assert!(note.ends_with("results/sweep/tensorboard\n"), "{note}");
    let folders: Vec<_> = fs::read_dir(place.path("results/sweep/tensorboard")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 4);
    assert!(folders.iter().all(|folder| folder.path().join("events.out.tfevents.0.plateau").is_file()));
    let before = place.events_files("results/sweep/tensorboard");
    place.expect(0, "export sweep.yaml --format tensorboard");
    assert_eq!(place.events_files("results/sweep/tensorboard"), before, "a second export adds nothing");
}
