//! The trainer as a whole: equal to PyTorch, to itself on other numbers of threads, and to itself interrupted.

use std::path::Path;

use serde::Deserialize;

use super::TrainError;
use super::data::{Dataset, Tokens};
use super::testing::{Checkpoint, Kept, config, dataset, fixture, train, train_at};
use crate::trial::{FractionOrSteps, Keep, Length, Patience, PatienceMetric, Pooling, Status, TrialConfig};

/// `expected.json`: what PyTorch and transformers made of a checkpoint and a data file.
#[derive(Deserialize)]
struct Expected {
    config: Settings,
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr: Vec<f64>,
    tokens: Vec<u64>,
    logits_after: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Settings {
    steps: u64,
    batch: usize,
    lr: f64,
    max_length: usize,
    rows: usize,
}

/// Trains as PyTorch did and compares every step; returns the largest relative deviations of loss and norm, and the largest
/// absolute one of the logits after.
fn compare(folder: &Path) -> (f64, f64, f64) {
    let expected: Expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let checkpoint = Checkpoint::read(&folder.join("checkpoint"));
    let settings = &expected.config;
    let data = dataset(&folder.join("train.tsv"), &checkpoint, settings.max_length, settings.rows, 0);
    let data = Dataset { eval: data.train.clone(), ..data };
    let mut config = config();
    config.data.shuffle = false;
    config.batch_size = settings.batch;
    config.length = Length::Steps(settings.steps);
    config.lr = settings.lr;
    let mut engine = checkpoint.engine(&config, 3, 2);
    let mut kept = Kept::default();
    let rate = |k: u64| expected.lr[k as usize];
    train_at(&config, &data, &mut engine, &rate, None, &mut kept).unwrap();
    assert_eq!(kept.metrics.iter().map(|row| row.tokens).collect::<Vec<_>>(), expected.tokens);
    let worst = |ours: &dyn Fn(usize) -> f32, theirs: &[f64]| {
        theirs.iter().enumerate().map(|(i, x)| (f64::from(ours(i)) - x).abs() / x.abs()).fold(0.0, f64::max)
    };
    let n = expected.logits_after.len();
    let logits = logits(&data, &mut engine, n);
    let off = logits.iter().zip(expected.logits_after.iter().flatten());
    let off = off.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    (
        worst(&|i| kept.metrics[i].train_loss, &expected.loss),
        worst(&|i| kept.metrics[i].grad_norm, &expected.grad_norm),
        off,
    )
}

fn logits(data: &Dataset, engine: &mut super::engine::Engine, n: usize) -> Vec<f32> {
    let all: Vec<u32> = (0..n as u32).collect();
    let batch = super::batch::MicroBatch::pack(&data.train.tokens, &all, |_| 0, 0);
    engine.logits(&[batch.into()], &|| false).unwrap().unwrap().remove(0)
}

#[test]
fn training_a_tiny_bert_equals_pytorch_step_by_step() {
    let (loss, norm, logits) = compare(&fixture("finetune-tiny"));
    assert!(loss < 1e-4 && norm < 1e-3 && logits < 1e-3, "loss {loss:e}, norm {norm:e}, logits {logits:e}");
}

/// The same for a folder of the same form that the environment names.
#[test]
#[ignore = "needs PLATEAU_REFERENCE, a folder with checkpoint, train.tsv and expected.json"]
fn training_equals_pytorch_for_a_given_reference() {
    let folder = std::env::var("PLATEAU_REFERENCE").unwrap();
    let (loss, norm, logits) = compare(Path::new(&folder));
    println!("loss {loss:e}, norm {norm:e}, logits {logits:e}");
    assert!(loss < 1e-4 && norm < 1e-3 && logits < 1e-3);
}
