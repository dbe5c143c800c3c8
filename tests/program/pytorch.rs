//! The program gives the same numbers as PyTorch and transformers on the same checkpoint and data.

use serde::Deserialize;

use crate::place::{Place, fixture};

const SWEEP: &str = "
data: {train: train.tsv, eval: train.tsv, max_length: 32, shuffle: false}
model: {from: checkpoint, dropout: 0}
lr: 1e-3
warmup: 5
batch_size: 8
steps: 40
eval_every: 40
grid: {scheduler: [cosine]}
";

#[derive(Deserialize)]
struct Expected {
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr: Vec<f64>,
    tokens: Vec<f64>,
}

#[test]
fn a_sweep_equals_pytorch_step_by_step() {
    let expected: Expected = serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --progress none");
    let trials = place.trials();
    assert_eq!(trials.len(), 1);
    let mut metrics = csv::Reader::from_path(trials.values().next().unwrap().join("metrics.csv")).unwrap();
    let header = metrics.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = metrics.records().map(Result::unwrap).collect();
    let compare = |name: &str, wanted: &[f64], tolerance: f64| {
        let column = header.iter().position(|column| column == name).unwrap();
        assert_eq!(rows.len(), wanted.len());
        for (row, wanted) in rows.iter().zip(wanted) {
            let found: f64 = row[column].parse().unwrap();
            let off = (found - wanted).abs();
            assert!(off <= tolerance * wanted.abs(), "{name} of step {}: {found}, PyTorch has {wanted}", &row[0]);
        }
    };
    compare("train_loss", &expected.loss, 1e-4);
    compare("grad_norm", &expected.grad_norm, 1e-3);
    compare("lr", &expected.lr, 1e-9);
    compare("tokens", &expected.tokens, 0.0);
}
