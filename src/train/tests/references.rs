//! Training equals PyTorch, step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::train::data::{Dataset, Example, NO_OUTPUT, Split, Tokens};
use crate::train::engine::Engine;
use crate::train::model::declarations::Declarations;
use crate::train::model::{Network, architectures};
use crate::train::tasks::{Target, Task};
use crate::train::testing::{Checkpoint, Recorder, config, dataset_of, fixture, gradients_of, train_at};
use crate::trial::{
    AdaptersConfig, ClassWeights, Extra, Length, LoraConfig, LossConfig, LossName, LstmPooling, Metric, TaskName,
};

/// `expected.json`: the results of PyTorch and transformers for a checkpoint and a data file.
#[derive(Deserialize)]
struct Expected {
    config: Settings,
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
    lr: Vec<f64>,
    tokens: Vec<u64>,
    logits_before: Option<Vec<Vec<f32>>>,
    logits_after: Vec<Vec<f32>>,
    /// The gradient norm of each parameter in the first step, and whether weight decay applies.
    parameters: Option<BTreeMap<String, (f64, bool)>>,
    /// Metrics on all rows.
    metrics_after: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Settings {
    steps: u64,
    batch: usize,
    lr: f64,
    max_length: usize,
    rows: usize,
    task: Option<String>,
    lora: Option<LoraConfig>,
    adapters: Option<AdaptersConfig>,
    extra: Option<ExtraSettings>,
    /// In class order.
    class_weights: Option<Vec<f64>>,
    focal: Option<f64>,
}

/// A module on top of the encoder, with the names of the references.
#[derive(Deserialize)]
struct ExtraSettings {
    name: String,
    #[serde(alias = "hidden")]
    hidden_size: Option<usize>,
    #[serde(alias = "layers")]
    num_layers: Option<usize>,
    pooling: Option<LstmPooling>,
    kernels: Option<Vec<usize>>,
    filters: Option<usize>,
}

impl ExtraSettings {
    fn extra(&self) -> Extra {
        let hidden = self.hidden_size.unwrap_or(128);
        match self.name.as_str() {
            "attention" => Extra::Attention { hidden },
            "bilstm" => Extra::Bilstm {
                hidden,
                layers: self.num_layers.unwrap_or(1),
                pooling: self.pooling.unwrap_or(LstmPooling::Max),
            },
            "textcnn" => Extra::Textcnn {
                kernels: self.kernels.clone().unwrap_or_else(|| vec![3, 4, 5]),
                filters: self.filters.unwrap_or(100),
            },
            name => panic!("no such module: {name}"),
        }
    }
}

impl Settings {
    /// What the reference needs and the trainer does not have.
    fn unsupported(&self) -> Option<String> {
        let task = self.task.as_deref().filter(|_| self.task().is_none());
        task.map(|task| format!("task {task}"))
    }
}

impl Settings {
    /// None if the trainer does not have it.
    fn task(&self) -> Option<TaskName> {
        match self.task.as_deref() {
            None | Some("pairs") => Some(TaskName::Classification),
            Some(name) => TaskName::ALL.into_iter().find(|task| task.name() == name),
        }
    }

    fn loss(&self, labels: &[String]) -> LossConfig {
        let weights = self.class_weights.as_ref();
        let weights = weights.map(|weights| labels.iter().cloned().zip(weights.iter().copied()).collect());
        LossConfig {
            name: if self.focal.is_some() { LossName::Focal } else { LossName::CrossEntropy },
            gamma: self.focal.unwrap_or(2.0),
            class_weights: weights.map(ClassWeights::Each),
        }
    }
}

/// The largest deviations from a reference. They are relative: those of logits to the largest logit.
#[derive(Debug, Default)]
struct Deviations {
    loss: f64,
    norm: f64,
    logits: f64,
    parameter_norm: f64,
    metrics: f64,
}

/// Trains like PyTorch did and compares every step. The error says why the reference cannot be compared.
fn compare(folder: &Path) -> Result<Deviations, String> {
    let mut expected: Expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    if let Some(parameters) = &mut expected.parameters {
        // torch lists a tied weight under one of its names.
        if let Some(tied) = parameters.remove("lm_head.decoder.weight") {
            parameters.insert("roberta.embeddings.word_embeddings.weight".to_owned(), tied);
        }
    }
    let settings = &expected.config;
    if let Some(what) = settings.unsupported() {
        return Err(what);
    }
    let checkpoint = Checkpoint::read(&folder.join("checkpoint"));
    if let Err(error) = architectures::read(&checkpoint.config, &mut Declarations::default()) {
        return Err(error.to_string());
    }
    let task = settings.task().unwrap_or_default();
    let data = match task {
        TaskName::MaskedLm => masked_dataset(&folder.join("masks.jsonl"), &checkpoint),
        _ => dataset_of(task, &folder.join("train.tsv"), &checkpoint, settings.max_length, (settings.rows, 0)),
    };
    let data = Dataset { eval: data.train.clone(), ..data };
    let mut config = config();
    config.data.shuffle = false;
    config.batch_size = settings.batch;
    config.length = Length::Steps(settings.steps);
    config.lr = settings.lr;
    config.model.lora.clone_from(&settings.lora);
    config.model.adapters.clone_from(&settings.adapters);
    config.model.extra = settings.extra.as_ref().map_or(Extra::None, ExtraSettings::extra);
    config.data.task = task;
    config.loss = settings.loss(&data.labels);
    let task = data.task(&config).unwrap();
    let outputs = task.outputs();
    let mut engine = checkpoint.engine(&config, outputs, 2);
    let mut deviations = Deviations::default();
    if let Some(before) = &expected.logits_before {
        deviations.logits = logit_deviation(&data, &mut engine, before);
    }
    if let Some(parameters) = &expected.parameters {
        let network = checkpoint.network(&config, outputs);
        deviations.parameter_norm = parameter_deviation(&data, network, task.clone(), settings.batch, parameters);
    }
    let mut kept = Recorder::default();
    let rate = |k: u64, _: &[Option<f32>]| expected.lr[k as usize];
    train_at(&config, &data, &mut engine, &rate, None, &mut kept).unwrap();
    assert_eq!(kept.metrics.iter().map(|row| row.tokens).collect::<Vec<_>>(), expected.tokens, "{}", folder.display());
    let worst = |ours: &dyn Fn(usize) -> f32, theirs: &[f64]| {
        theirs.iter().enumerate().map(|(i, x)| (f64::from(ours(i)) - x).abs() / x.abs()).fold(0.0, f64::max)
    };
    deviations.loss = worst(&|i| kept.metrics[i].train_loss, &expected.loss);
    deviations.norm = worst(&|i| kept.metrics[i].grad_norm, &expected.grad_norm);
    deviations.logits = deviations.logits.max(logit_deviation(&data, &mut engine, &expected.logits_after));
    let last = kept.evals.last().unwrap();
    for (name, theirs) in expected.metrics_after.iter().flatten() {
        let name = if name == "loss" { "eval_loss" } else { name };
        let metric: Metric = serde_json::from_value(name.into()).unwrap();
        deviations.metrics =
            deviations.metrics.max((f64::from(metric.value(last)) - theirs).abs() / theirs.abs().max(1.0));
    }
    Ok(deviations)
}

/// Texts whose masks are given: `ids`, and `labels` with -100 for tokens that are not predicted.
fn masked_dataset(masks: &Path, checkpoint: &Checkpoint) -> Dataset {
    #[derive(Deserialize)]
    struct Masks {
        ids: Vec<u32>,
        labels: Vec<i64>,
    }
    let (mut tokens, mut examples) = (Tokens::default(), Vec::new());
    for line in std::fs::read_to_string(masks).unwrap().lines() {
        let Masks { ids, labels } = serde_json::from_str(line).unwrap();
        tokens.positions.extend(0..ids.len() as u32);
        tokens.types.extend(ids.iter().map(|_| 0));
        tokens.outputs.extend(labels.iter().map(|label| u32::try_from(*label).unwrap_or(NO_OUTPUT)));
        tokens.ids.extend(ids);
        tokens.offsets.push(tokens.ids.len() as u32);
        examples.push(Example { target: Target::Masked, ..Example::default() });
    }
    let train = Split { examples, tokens, ..Split::default() };
    let vocabulary = checkpoint.vocabulary();
    Dataset { labels: Vec::new(), class_prior: Vec::new(), eval: train.clone(), train, vocabulary }
}

fn logit_deviation(data: &Dataset, engine: &mut Engine, expected: &[Vec<f32>]) -> f64 {
    let mut ours = logits(data, engine, expected.len());
    if data.train.examples[0].target == Target::Masked {
        // The references have the first scores of each masked token.
        ours = ours.chunks_exact(data.vocabulary).flat_map(|row| &row[..expected[0].len()]).copied().collect();
    }
    if let Target::Choice(_) = data.train.examples[0].target {
        // The references have the scores of each question less their mean.
        for row in ours.chunks_exact_mut(expected[0].len()) {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            for score in row {
                *score -= mean;
            }
        }
    }
    assert!(ours.len() >= expected.len() * expected[0].len());
    let largest = expected.iter().flatten().fold(0.0f64, |largest, x| largest.max(f64::from(x.abs())));
    let off = ours.iter().zip(expected.iter().flatten()).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    off / largest
}

/// The largest relative deviation of the parameters' gradient norms in the first step. Norms below a thousandth of the
/// global norm are compared at that scale, because the gradients of key biases are rounding errors.
fn parameter_deviation(
    data: &Dataset,
    network: Network,
    task: Arc<dyn Task>,
    batch: usize,
    expected: &BTreeMap<String, (f64, bool)>,
) -> f64 {
    let names: Vec<String> = network.parameters.iter().map(|parameter| parameter.file_name.clone()).collect();
    let trained: Vec<bool> = network.parameters.iter().map(|parameter| parameter.trainable).collect();
    let decays: BTreeMap<&str, bool> = network
        .parameters
        .iter()
        .zip(&names)
        .filter(|(parameter, _)| parameter.trainable)
        .map(|(parameter, name)| (name.as_str(), parameter.decays))
        .collect();
    assert_eq!(decays, expected.iter().map(|(name, (_, decays))| (name.as_str(), *decays)).collect());
    let target = |example: u32| data.train.examples[example as usize].target.clone();
    let examples: Vec<u32> = (0..batch as u32).collect();
    let micro = crate::train::batch::MicroBatch::pack(&data.train.tokens, &examples, target, 0);
    let norm = |gradient: Vec<f64>| gradient.iter().map(|x| x * x).sum::<f64>().sqrt();
    let all = gradients_of(network, &micro, task).1;
    let norms: BTreeMap<String, f64> = names
        .into_iter()
        .zip(all)
        .zip(trained)
        .filter(|(_, is_trained)| *is_trained)
        .map(|((name, (_, gradient)), _)| (name, norm(gradient.unwrap())))
        .collect();
    let global = norms.values().map(|norm| norm * norm).sum::<f64>().sqrt();
    let deviation =
        |(name, (theirs, _)): (&String, &(f64, bool))| (norms[name] - theirs).abs() / theirs.max(1e-3 * global);
    expected.iter().map(deviation).fold(0.0, f64::max)
}

pub(super) fn logits(data: &Dataset, engine: &mut Engine, n: usize) -> Vec<f32> {
    let all: Vec<u32> = (0..n as u32).collect();
    let mut batch = crate::train::batch::MicroBatch::pack(&data.train.tokens, &all, |_| Target::Unknown, 0);
    // The references have the logits of every token.
    if data.train.examples[0].target != Target::Masked {
        batch.outputs = batch.outputs.map(|_| (0..batch.ids.len() as u32).collect());
    }
    engine.logits(&[batch.into()], &|| false).unwrap().unwrap().remove(0)
}

/// The committed references, and every folder of this form below `PLATEAU_REFERENCES` if that variable is set.
fn references() -> Vec<PathBuf> {
    let committed = [
        "tiny",
        "albert",
        "modernbert",
        "mpnet-pairs",
        "longformer",
        "deberta-v3",
        "bag-of-words",
        "textcnn",
        "bilstm",
        "bert-lora",
        "bert-attention-pooling",
        "bert-bilstm",
        "bert-adapters",
        "bert-class-weights",
        "bert-focal",
        "bert-regression",
        "bert-multi-label",
        "bert-tokens",
        "bert-masked-lm",
        "bert-choices",
        "roberta-choices",
        "electra-choices",
    ];
    let mut found: Vec<PathBuf> = committed.map(|name| fixture(&format!("finetune-{name}"))).into();
    let mut folders: Vec<PathBuf> = std::env::var_os("PLATEAU_REFERENCES").map(PathBuf::from).into_iter().collect();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut below: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
        below.sort();
        let is_reference = |path: &PathBuf| path.join("expected.json").is_file() && path.join("checkpoint").is_dir();
        found.extend(below.iter().filter(|path| is_reference(path)).cloned());
        folders.extend(below);
    }
    found
}

#[test]
fn training_equals_pytorch_step_by_step() {
    let mut compared = 0;
    for folder in references() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match compare(&folder) {
            Ok(deviations) => {
                println!("{name}: {deviations:?}");
                let Deviations { loss, norm, logits, parameter_norm, metrics } = deviations;
                assert!(loss < 1e-4 && norm < 1e-3 && logits < 1e-3 && parameter_norm < 1e-3, "{name}: {deviations:?}");
                assert!(metrics < 1e-3, "{name}: {deviations:?}");
                compared += 1;
            }
            Err(what) => println!("{name}: skipped, not supported: {what}"),
        }
    }
    assert!(compared > 0, "no reference was compared");
}
