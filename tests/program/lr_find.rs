//! `plateau lr-find`: the range test, its files and its mistakes.

use insta::assert_snapshot;

use crate::place::Place;

const SWEEP: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0}
scheduler: cosine
warmup: 0.5
epochs: 1
grid: {lr: [1e-3, 1e-4], batch_size: [8, 4], augmentation: [synonym, none]}
seeds: [1, 2]
";

#[test]
fn the_test_suggests_rates_and_writes_its_files() {
    let place = Place::new(SWEEP);
    let ended = place.expect(0, "lr-find sweep.yaml");
    assert_snapshot!(ended.err, @r"
    batch_size varies in this sweep, tested with 8. Choose a value with --only
    augmentation varies in this sweep and is left out of the test. Choose a value with --only
    ");
    let mut files = place.written();
    files.retain(|file| !file.starts_with(".cache"));
    assert_eq!(
        files,
        [
            "sweep",
            "sweep/lr-find",
            "sweep/lr-find/lr-find.csv",
            "sweep/lr-find/lr-find.png",
            "sweep/lr-find/lr-find.svg"
        ]
    );
    let csv = place.read("results/sweep/lr-find/lr-find.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["step", "lr", "loss", "smoothed"]);
    let rows: Vec<(u64, f64, f64, f64)> = reader.deserialize().map(Result::unwrap).collect();
    assert!(rows.len() > 20 && rows.len() <= 100, "{} steps", rows.len());
    for (k, (step, lr, ..)) in rows.iter().enumerate() {
        let expected = 1e-7_f64.powf(1.0 - k as f64 / 99.0);
        assert!(*step == k as u64 + 1 && (lr / expected - 1.0).abs() < 1e-12, "{step}: {lr}");
    }
    let best = rows.iter().map(|row| row.3).fold(f64::INFINITY, f64::min);
    let before_last = &rows[..rows.len() - 1];
    assert!(before_last.iter().all(|row| row.3 <= 4.0 * best), "the test stops at the first loss far above the best");
    assert!(rows.len() == 100 || rows[rows.len() - 1].3 > 4.0 * best);
    for line in ["  valley  ", "  steep  ", "  minimum / 10  ", "\ngrid: {lr: [", "figure: ", "lr-find.png\n"] {
        assert!(ended.out.contains(line), "{line:?} in {}", ended.out);
    }
    assert!(place.read("results/sweep/lr-find/lr-find.svg").contains("valley"));
    // A second test gives the same numbers, and the line fits into a sweep file.
    let again = place.expect(0, "lr-find sweep.yaml --format csv --threads 1");
    assert_eq!(again.out, csv);
    let line = ended.out.lines().find(|line| line.starts_with("grid:")).unwrap();
    place.write(
        "next.yaml",
        SWEEP.replace("grid: {lr: [1e-3, 1e-4], batch_size: [8, 4], augmentation: [synonym, none]}", line),
    );
    assert_eq!(place.expect(0, "plan next.yaml --format csv").out.lines().count(), 11);
}

#[test]
fn only_chooses_values() {
    let place = Place::new(SWEEP);
    let csv = |options: &str| place.expect(0, &format!("lr-find sweep.yaml --format csv {options}"));
    let plain = csv("--only batch_size=8 --only augmentation=none");
    assert_eq!(plain.err, "");
    assert_eq!(csv("").out, plain.out, "the default is the first value of each key, without augmentation");
    assert_ne!(csv("--only batch_size=4").out, plain.out);
    assert_ne!(csv("--only augmentation=synonym").out, plain.out);
    assert_ne!(csv("--set max_grad_norm=0.01").out, plain.out);
    assert_eq!(csv("--set head_lr=null").out, plain.out);
}

#[test]
fn mistakes() {
    let place = Place::new(SWEEP);
    let message = |arguments: &str| place.plain(&place.expect(2, &format!("lr-find {arguments}")).err);
    assert_snapshot!(message("sweep.yaml --only batch_size=5"), @"error: --only batch_size=5: no trial has this value. Values of `batch_size`: 8, 4");
    assert_snapshot!(message("sweep.yaml --set lr=1"), @r"
    error: the sweep has a mistake

    --set lr=1: `lr` varies in this sweep
        --set changes fixed values; --only trains some values of an axis
    ");
    assert!(!place.path("results").exists());
    place.expect(0, "lr-find sweep.yaml --only batch_size=4");
    assert_snapshot!(message("sweep.yaml --only batch_size=5 --format csv"), @"error: --only batch_size=5: no trial has this value. Values of `batch_size`: 8, 4");
    assert_snapshot!(place.plain(&place.expect(2, "report sweep.yaml").err), @"error: /here/results/sweep: nothing was run yet. Run it with `plateau run sweep.yaml`");
}
