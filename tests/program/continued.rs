//! Sweeps that start from the exported model of another sweep.

use crate::place::{Place, small};

const SWEEP: &str = small!("steps: 12\neval_every: 4\nlr: 1e-3\nrun: {keep: winner}\n");

/// `evals.csv` of the only trial of a sweep: the loss and the accuracy of each row.
fn evaluations(place: &Place, sweep: &str) -> Vec<(f32, f32)> {
    let trials = std::fs::read_dir(place.path(&format!("results/{sweep}/trials"))).unwrap();
    let folders: Vec<_> = trials.flatten().map(|entry| entry.path()).collect();
    assert_eq!(folders.len(), 1);
    let mut reader = csv::Reader::from_path(folders[0].join("evals.csv")).unwrap();
    let at = |name: &str, header: &csv::StringRecord| header.iter().position(|column| column == name).unwrap();
    let header = reader.headers().unwrap().clone();
    let (loss, accuracy) = (at("eval_loss", &header), at("accuracy", &header));
    reader.records().flatten().map(|row| (row[loss].parse().unwrap(), row[accuracy].parse().unwrap())).collect()
}

/// The sweep `next` on the exported folder `out`, and what it says of its head in the plan, at its start and in its report.
fn next(place: &Place, pooling: &str, data: &str) -> (f32, String) {
    let model = format!("{{from: out, dropout: 0{pooling}}}");
    place.write(
        "next.yaml",
        format!("data: {{train: {data}, max_length: 32}}\nmodel: {model}\nbatch_size: 8\nsteps: 1\nlr: 1e-9\n"),
    );
    let of = |text: &str| text.lines().find(|line| line.starts_with("head: ")).unwrap_or_default().to_owned();
    let planned = of(&place.expect(0, "plan next.yaml").err);
    let started = of(&place.expect(0, "run next.yaml --progress none --fresh").err);
    assert_eq!(planned, started);
    assert!(place.read("results/next/report/index.html").contains(&planned), "{planned}");
    (evaluations(place, "next")[0].0, planned)
}

fn check(pooling: &str, other: &str) {
    let place = Place::new(&SWEEP.replace("dropout: 0}", &format!("dropout: 0{pooling}}}")));
    place.expect(0, "run sweep.yaml --progress none");
    place.expect(0, "export sweep.yaml --format hf -o out");
    let best = evaluations(&place, "sweep").into_iter().map(|(loss, _)| loss).fold(f32::INFINITY, f32::min);
    for pooling in ["", pooling] {
        let (loss, line) = next(&place, pooling, "train.tsv");
        assert!((loss - best).abs() < 1e-5, "{pooling}: {loss} {best}");
        assert_eq!(line, "head: that of the checkpoint, with the same labels: negative, neutral, positive");
    }
    let (loss, line) = next(&place, other, "train.tsv");
    assert!((loss - best).abs() > 1e-3, "{other}: {loss} {best}");
    assert!(
        line.starts_with("head: new; that of the checkpoint is not used, because it reads model.pooling: "),
        "{line}"
    );
}

#[test]
fn the_head_of_an_exported_model_is_that_of_the_next_trial() {
    check("", ", pooling: mean");
    check(", pooling: mean", ", pooling: cls");
    check(", pooling: cls", ", pooling: mean");
}

#[test]
fn a_head_for_other_labels_is_not_used() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --progress none");
    place.expect(0, "export sweep.yaml --format hf -o out");
    place.write("other.tsv", place.read("train.tsv").replace("positive\t", "A_positive\t"));
    let (_, line) = next(&place, "", "other.tsv");
    let why = "it has other labels: negative, neutral, positive";
    assert_eq!(line, format!("head: new; that of the checkpoint is not used, because {why}"));
}
