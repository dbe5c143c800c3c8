//! Shared parts of the trainer's tests: small models and data, and a sink that records everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use tokenizers::Tokenizer;

use super::augment::{AugmentContext, Augmenter};
use super::batch::MicroBatch;
use super::data::{Dataset, Encoder, Example, Split, Tokens};
use super::engine::Engine;
use super::frozen::FrozenSplits;
use super::model::declarations::{Declarations, Initial};
use super::model::gradient_buffer::GradientBuffer;
use super::model::head::{Head, Outputs};
use super::model::{Network, Pass, Training, architectures};
use super::optim::{RowGradients, Settings};
use super::pipeline::precision;
use super::tasks::{self, Evaluated, Target, Task};
use super::{Cache, Sink, fit};
use crate::trial::{
    Augmentation, CheckpointEvery, DataConfig, DiagnosticRow, EvalRow, FractionOrSteps, Keep, Length, Metric,
    MetricRow, ModelConfig, Outcome, Pooling, Scheduler, TaskName, TrialConfig,
};
use plateau_kernels::vector::add;
use plateau_random::{Purpose, Random};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a checkpoint folder.
pub struct Checkpoint {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
    /// The weights of an adapter of peft.
    pub adapter: Option<Vec<u8>>,
    pub tokenizer: PathBuf,
}

impl Checkpoint {
    pub fn read(folder: &Path) -> Self {
        Self {
            config: std::fs::read(folder.join("config.json")).unwrap(),
            weights: std::fs::read(folder.join("model.safetensors")).unwrap(),
            adapter: std::fs::read(folder.join("adapter/adapter_model.safetensors")).ok(),
            tokenizer: folder.join("tokenizer.json"),
        }
    }

    /// `vocab_size`.
    pub fn vocabulary(&self) -> usize {
        let config: serde_json::Value = serde_json::from_slice(&self.config).unwrap();
        config["vocab_size"].as_u64().unwrap_or(0) as usize
    }

    pub fn tiny() -> Self {
        Self::read(&fixture("finetune-tiny/checkpoint"))
    }

    pub fn embedded() -> Self {
        Self::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/minilm-l3"))
    }

    /// A small BERT with random weights. `more` is appended to its `config.json`.
    pub fn random(seed: u64, more: &str) -> Self {
        let sizes = r#""vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 40, "max_position_embeddings": 40, "type_vocab_size": 2, "model_type": "bert""#;
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("bert.embeddings.word_embeddings.weight".into(), vec![50, 24]),
            ("bert.embeddings.position_embeddings.weight".into(), vec![40, 24]),
            ("bert.embeddings.token_type_embeddings.weight".into(), vec![2, 24]),
            ("bert.embeddings.LayerNorm.gamma".into(), vec![24]),
            ("bert.embeddings.LayerNorm.beta".into(), vec![24]),
        ];
        for layer in 0..2 {
            let dense = [
                ("attention.self.query", 24, 24),
                ("attention.self.key", 24, 24),
                ("attention.self.value", 24, 24),
                ("attention.output.dense", 24, 24),
                ("intermediate.dense", 40, 24),
                ("output.dense", 24, 40),
            ];
            for (name, outputs, inputs) in dense {
                shapes.push((format!("bert.encoder.layer.{layer}.{name}.weight"), vec![outputs, inputs]));
                shapes.push((format!("bert.encoder.layer.{layer}.{name}.bias"), vec![outputs]));
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                shapes.push((format!("bert.encoder.layer.{layer}.{name}.weight"), vec![24]));
                shapes.push((format!("bert.encoder.layer.{layer}.{name}.bias"), vec![24]));
            }
        }
        let random = Random::new(seed, Purpose::Initialisation);
        let tensors = shapes.into_iter().zip(0..).map(|((name, shape), number)| {
            let (random, n) = (random.at(number), shape.iter().product::<usize>() as u64);
            let centre = if name.ends_with("LayerNorm.weight") || name.ends_with("gamma") { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..n).map(|i| (centre + 0.2 * random.normal(i)) as f32).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        });
        let tensors: Vec<(String, Tensor)> = tensors.collect();
        Self {
            config: format!("{{{sizes}{more}}}").into_bytes(),
            weights: safetensors::serialize(tensors, None).unwrap(),
            adapter: None,
            tokenizer: PathBuf::new(),
        }
    }

    /// Random weights for all parameters of this `config.json`, with a head for three classes.
    pub fn of_architecture(config: &str, pooling: Pooling, seed: u64) -> Self {
        Self::of_model(config, &ModelConfig { pooling: Some(pooling), ..ModelConfig::default() }, seed)
    }

    /// The same with what `model` adds to the network. The head is the architecture's own if `model` names no pooling.
    pub fn of_model(config: &str, model: &ModelConfig, seed: u64) -> Self {
        let mut declarations = Declarations::of(model);
        let encoder = architectures::read(config.as_bytes(), &mut declarations).unwrap();
        let pooling = model.pooling.unwrap_or(Pooling::Pooler);
        Head::declare(&mut declarations, encoder.shape(), pooling, &model.extra, 3.into());
        let random = Random::new(seed, Purpose::Initialisation);
        let tensors = declarations.all.iter().zip(0..).map(|(declaration, number)| {
            let (random, n) = (random.at(number), declaration.shape.iter().product::<usize>() as u64);
            let centre = if declaration.initial == Initial::Constant(1.0) { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..n).map(|i| (centre + 0.2 * random.normal(i)) as f32).collect();
            (declaration.name.clone(), Tensor::from_vec(values, declaration.shape.as_slice(), &Device::Cpu).unwrap())
        });
        let weights = safetensors::serialize(tensors.collect::<Vec<_>>(), None).unwrap();
        Self { config: config.as_bytes().to_vec(), weights, adapter: None, tokenizer: PathBuf::new() }
    }

    pub fn network(&self, config: &TrialConfig, classes: usize) -> Network {
        let weights: Vec<&[u8]> = std::iter::once(&self.weights).chain(&self.adapter).map(Vec::as_slice).collect();
        Network::load(
            &self.config,
            &weights,
            &config.model,
            Outputs::of(config.data.task, classes),
            config.seed,
            &Device::Cpu,
        )
        .unwrap()
        .with_precision(precision(config.precision).unwrap())
    }

    pub fn engine(&self, config: &TrialConfig, classes: usize, threads: usize) -> Engine {
        Engine::new(self.network(config, classes), Settings::new(config), threads).unwrap()
    }
}

/// The first `rows` rows of a file with the columns `label`, `text` and perhaps `text_pair` as the training split, and the
/// next `eval` rows as the evaluation set.
pub fn dataset(file: &Path, checkpoint: &Checkpoint, max_length: usize, rows: usize, eval: usize) -> Dataset {
    dataset_of(TaskName::Classification, file, checkpoint, max_length, (rows, eval))
}

/// The same for any task.
pub fn dataset_of(
    task: TaskName,
    file: &Path,
    checkpoint: &Checkpoint,
    max_length: usize,
    (rows, eval): (usize, usize),
) -> Dataset {
    let mut tokenizer = Tokenizer::from_file(&checkpoint.tokenizer).unwrap();
    tokenizer.with_padding(None);
    let truncation = tokenizers::TruncationParams { max_length, ..Default::default() };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(text.as_bytes());
    let read: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let names: BTreeSet<&str> = read.iter().flat_map(|row| tasks::label_names(task, &row[0])).collect();
    let mut labels: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut words = DataConfig { task, max_length, ..DataConfig::default() };
    if task == TaskName::MultipleChoice {
        labels = reader.headers().unwrap().iter().skip(2).map(str::to_owned).collect();
        words.choices.clone_from(&labels);
    }
    let numbers: BTreeMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
    let encoder = Encoder::of("", &std::fs::read(&checkpoint.tokenizer).unwrap(), &words).unwrap();
    let split = |rows: &[csv::StringRecord]| {
        let mut tokens = Tokens::default();
        let examples = rows
            .iter()
            .map(|row| {
                let (text, pair) = (row[1].to_owned(), row.get(2).map(str::to_owned));
                let target = tasks::read_target(task, &row[0], &numbers).unwrap();
                if matches!(task, TaskName::Tokens | TaskName::MultipleChoice) {
                    let choices = row.iter().skip(2).map(str::to_owned).collect();
                    let example = Example { text, pair: None, choices, target };
                    encoder.append(&example, &mut tokens).unwrap();
                    return example;
                }
                let input = match &pair {
                    Some(pair) => tokenizers::EncodeInput::from((text.as_str(), pair.as_str())),
                    None => tokenizers::EncodeInput::from(text.as_str()),
                };
                let encoding = tokenizer.encode(input, true).unwrap();
                tokens.ids.extend(encoding.get_ids());
                tokens.types.extend(encoding.get_type_ids().iter().map(|&kind| kind as u8));
                tokens.positions.extend(0..encoding.len() as u32);
                tokens.offsets.push(tokens.ids.len() as u32);
                Example { text, pair, target, ..Example::default() }
            })
            .collect();
        Split { examples, tokens, ..Split::default() }
    };
    let (train, eval) = (split(&read[..rows]), split(&read[rows..(rows + eval).min(read.len())]));
    let classes = if task == TaskName::Classification { labels.len() } else { 0 };
    let class_prior = vec![1.0 / labels.len() as f64; classes];
    Dataset { labels, class_prior, train, eval, vocabulary: checkpoint.vocabulary() }
}

/// A configuration for quick tests, with everything random or optional switched off.
pub fn config() -> TrialConfig {
    let default = TrialConfig::default();
    TrialConfig {
        data: DataConfig { train: String::new(), max_length: 32, seed: 0, ..default.data },
        model: ModelConfig { from: String::new(), dropout: Some(0.0), ..default.model },
        lr: 1e-3,
        warmup: FractionOrSteps(0.0),
        scheduler: Scheduler::Constant,
        batch_size: 8,
        length: Length::Steps(10),
        eval_every: FractionOrSteps(1000.0),
        ..TrialConfig::default()
    }
}

/// A cache that stores nothing.
pub struct NoCache;

impl Cache for NoCache {
    fn get(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _key: &str, _bytes: &[u8]) {}
}

/// An augmenter that needs no precomputed answers.
pub fn plain(methods: &[Augmentation], seed: u64) -> Result<Augmenter, super::TrainError> {
    Augmenter::new(
        methods,
        seed,
        &AugmentContext { examples: &[], model: "", max_length: 32, cache: &NoCache, notify: &|_| () },
    )
}

/// A sink that records everything and interrupts the trial after `stop_after` rows.
#[derive(Default)]
pub struct Recorder {
    pub metrics: Vec<MetricRow>,
    pub evals: Vec<EvalRow>,
    pub diagnostics: Vec<DiagnosticRow>,
    pub states: Vec<(u64, bool, Vec<u8>)>,
    pub stop_after: Option<usize>,
    /// Ends the trial after this many steps, as a rule of the sweep would.
    pub end_after: Option<usize>,
    pub keep: Option<Keep>,
    pub keeps_weights: bool,
    /// The weights that were handed over, in order.
    pub weights: Vec<Vec<u8>>,
    /// The trial ignores its own stop rules.
    pub ignores_stop_rules: bool,
}

impl Sink for Recorder {
    fn metric(&mut self, row: &MetricRow) -> std::io::Result<()> {
        self.metrics.push(MetricRow { seconds: 0.0, ..*row });
        Ok(())
    }

    fn eval(&mut self, row: &EvalRow) -> std::io::Result<()> {
        self.evals.push(row.clone());
        Ok(())
    }

    fn diagnostic(&mut self, row: &DiagnosticRow) -> std::io::Result<()> {
        self.diagnostics.push(row.clone());
        Ok(())
    }

    fn checkpoint(&mut self, step: u64, best: bool, state: Vec<u8>) -> std::io::Result<()> {
        self.states.push((step, best, state));
        Ok(())
    }

    fn interrupted(&self) -> bool {
        self.stop_after.is_some_and(|rows| self.metrics.len() >= rows)
    }

    fn stop_reason(&self, _: u64) -> Option<String> {
        self.end_after.filter(|rows| self.metrics.len() >= *rows).map(|_| "others were better".to_owned())
    }

    fn keeps_weights(&self) -> bool {
        self.keeps_weights
    }

    fn weights(&mut self, weights: &[u8]) -> std::io::Result<()> {
        self.weights.push(weights.to_vec());
        Ok(())
    }

    fn keep(&self) -> Keep {
        self.keep.unwrap_or(Keep::None)
    }
}

/// Trains with a constant learning rate.
pub fn train(
    config: &TrialConfig,
    dataset: &Dataset,
    engine: &mut Engine,
    resume: Option<&[u8]>,
    sink: &mut Recorder,
) -> Result<Outcome, super::TrainError> {
    let lr = config.lr;
    train_at(config, dataset, engine, &|_, _| lr, resume, sink)
}

pub fn train_at(
    config: &TrialConfig,
    dataset: &Dataset,
    engine: &mut Engine,
    learning_rate: &dyn Fn(u64, &[Option<f32>]) -> f64,
    resume: Option<&[u8]>,
    sink: &mut Recorder,
) -> Result<Outcome, super::TrainError> {
    let tokens = Arc::new(dataset.train.tokens.clone());
    let checkpoint_every = CheckpointEvery::Seconds(1e9);
    let setup = fit::TrainingSetup {
        config,
        dataset,
        tokens: &mut |_| Ok(tokens.clone()),
        learning_rate,
        checkpoint_every,
        frozen: FrozenSplits::default(),
        forked_at: 0,
        start: None,
        ignores_stop_rules: sink.ignores_stop_rules,
    };
    fit::fit(setup, engine, resume, sink)
}

/// Random token sequences of these lengths with random types and labels.
pub fn batch(seed: u64, lengths: &[usize], vocabulary: usize, classes: usize) -> MicroBatch {
    let random = Random::new(seed, Purpose::Shuffle);
    let n: usize = lengths.iter().sum();
    let mut offsets = vec![0];
    offsets.extend(lengths.iter().scan(0, |sum, &length| {
        *sum += length as u32;
        Some(*sum)
    }));
    MicroBatch {
        ids: (0..n as u64).map(|i| random.below(i, vocabulary) as u32).collect(),
        types: (0..n as u64).map(|i| random.at(1).below(i, 2) as u32).collect(),
        positions: lengths.iter().flat_map(|&length| 0..length as u32).collect(),
        offsets,
        outputs: None,
        targets: (0..lengths.len() as u64).map(|i| Target::Class(random.at(2).below(i, classes) as u32)).collect(),
        places: (0..lengths.len() as u32).collect(),
        mix: None,
        frozen: None,
    }
}

/// The loss, and the gradient of every parameter with its name. None for a frozen parameter.
pub type Gradients = (f64, Vec<(String, Option<Vec<f64>>)>);

/// Forward and backward pass of one micro-batch, with a fixed seed for dropout.
pub fn gradients(model: Network, micro: &MicroBatch, smoothing: f64) -> Gradients {
    let task = classification(model.outputs, smoothing);
    gradients_of(model, micro, task)
}

/// A task of plain classification.
pub fn classification(classes: usize, label_smoothing: f64) -> Arc<dyn Task> {
    let labels: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    tasks::of(&TrialConfig { label_smoothing, ..config() }, &labels, &[], 0).unwrap()
}

/// The same for any task.
pub fn gradients_of(model: Network, micro: &MicroBatch, task: Arc<dyn Task>) -> Gradients {
    let model = Arc::new(model);
    let buffer = Arc::new(GradientBuffer::new(&model.parameters));
    let scale = 1.0 / micro.weight(&*task);
    let random = Random::new(3, Purpose::Dropout).at(9);
    let training = Training { random, gradients: buffer.clone(), scale, task };
    let pass =
        Pass { model: model.clone(), batch: Arc::new(micro.clone()), training: Some(training), packed: Arc::default() };
    let loss = pass.train().unwrap();
    let width = model.shape().embeddings.width;
    let tensors = buffer.take_tensors();
    let rows = RowGradients::sum(&buffer.take_token_gradients(), width);
    let gradient = |i: usize| -> Option<Vec<f64>> {
        if let Some(tensor) = tensors.get(&i) {
            return Some(tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap());
        }
        if i == model.shape().embeddings.tokens && !rows.ids.is_empty() {
            let mut dense = vec![0.0; model.parameters[i].value.elem_count()];
            for (&id, row) in rows.ids.iter().zip(rows.values.chunks(width)) {
                add(&mut dense[id as usize * width..][..width], row);
            }
            return Some(dense.into_iter().map(f64::from).collect());
        }
        buffer.parameter(i).gradient().map(|g| g.iter().map(|&x| f64::from(x)).collect())
    };
    let names = model.parameters.iter().enumerate();
    (loss, names.map(|(i, parameter)| (parameter.name.clone(), gradient(i))).collect())
}

/// Whether the gradient of an example's loss is its slope, by central differences.
pub fn slopes_agree(task: &dyn Task, outputs: &[f64], target: &Target) {
    let (_, gradient) = task.gradient(outputs, target);
    for (i, found) in gradient.into_iter().enumerate() {
        let at = |step: f64| {
            let mut moved = outputs.to_vec();
            moved[i] += step;
            task.gradient(&moved, target).0
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((slope - found).abs() < 1e-8, "{task:?}: {slope} against {found}");
    }
}

/// The cases of scikit-learn's and scipy's metrics for a task.
pub fn metric_references(task: &str) -> Vec<serde_json::Value> {
    let text = include_str!("../../tests/fixtures/metrics/tasks.json");
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = all[task].as_array().unwrap().clone();
    assert!(cases.len() > 3, "{task}");
    cases
}

/// Whether these metrics are those of a case to the precision of f32.
pub fn check_scores(found: &Evaluated, metrics: &[Metric], case: &serde_json::Value) {
    let row = found.row(0, 0.0, 0.0);
    for metric in metrics {
        let (ours, theirs) = (f64::from(metric.value(&row)), case[metric.name()].as_f64());
        let is_equal = theirs.map_or(ours.is_nan(), |theirs| (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0));
        assert!(is_equal, "{}: {} is {ours}, not {theirs:?}", case["name"], metric.name());
    }
}
