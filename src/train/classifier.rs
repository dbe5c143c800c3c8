//! A fine-tuned classifier outside training: its files, and the scores that it gives to texts.
//!
//! The files are those of a trial, or of a folder that `plateau export --format hf` wrote: a model for transformers'
//! `AutoModelForSequenceClassification` or `AutoModelForTokenClassification`, or a sentence-transformers folder where the pooling needs one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

use super::TrainError;
use super::batch::{MicroBatch, length, pieces};
use super::data::{Encoder, Example, Tokens, config_and_tokenizer, read, read_weights};
use super::model::config::model_type;
use super::model::declarations::Declarations;
use super::model::encoder::Shape;
use super::model::head::Outputs;
use super::model::network::default_pooling;
use super::model::new_network::NewNetwork;
use super::model::parameters::Tensors;
use super::model::{Network, Pass, architectures};
use super::peft;
use super::tasks::Target;
use super::weights::{WeightType, convert};
use super::windows::combine;
use crate::trial::{
    AdaptersConfig, Combine, DataConfig, Extra, MICRO_BATCH_TOKENS, ModelConfig, Pooling, TaskName, TrialConfig,
    Truncate,
};

/// Tokens that a micro-batch of predictions aims at, as the weights are packed anew for each: more than in training, where
/// activations are kept.
const PREDICTION_TOKENS: usize = 2048;
/// Micro-batches that many texts make at least, for the threads. It is no function of their number, so that none changes a result.
const FEWEST_MICRO_BATCHES: usize = 16;
/// Folders of a sentence-transformers model.
const POOLING: &str = "1_Pooling";
const DENSE: &str = "2_Dense";
/// Key of the [`COLUMNS`], settings of the training data in an exported `config.json`.
const PLATEAU: &str = "plateau";
const COLUMNS: [&str; 6] = ["text", "text_pair", "choices", "label", "truncate", "windows"];

/// Everything that a classifier is made of.
#[derive(Debug, Clone)]
pub struct ClassifierFiles {
    config: Map<String, Value>,
    tokenizer: Vec<u8>,
    /// With the names of transformers' model for the task.
    weights: Vec<u8>,
    pub pooling: Pooling,
    /// What was added to the encoder.
    modules: Modules,
    /// Names in class order; none if the task has none. `data` says what the task is.
    pub labels: Vec<String>,
    /// The files of peft. None: it was not trained with LoRA.
    adapter: Option<Vec<(String, Vec<u8>)>>,
    /// The columns of its texts and labels, and the length in tokens to which texts are cut. The files are not used.
    pub data: DataConfig,
}

/// What a trial added to an encoder, beside LoRA.
#[derive(Debug, Clone, Default)]
struct Modules {
    extra: Extra,
    adapters: Option<AdaptersConfig>,
}

impl Modules {
    fn of(model: &ModelConfig) -> Self {
        Self { extra: model.extra.clone(), adapters: model.adapters.clone() }
    }

    /// Refuses a model that no class of transformers describes.
    fn check_export(&self) -> Result<(), TrainError> {
        let key = match (&self.extra, &self.adapters) {
            (Extra::None, None) => return Ok(()),
            (Extra::None, Some(_)) => "model.adapters",
            _ => "model.extra",
        };
        Err(TrainError::Input(format!(
            "the trial was trained with {key}: transformers has no such class, so `plateau export --format hf` cannot write it. \
             `plateau predict` uses the model of the sweep"
        )))
    }
}

/// A folder of files for other programs.
#[derive(Debug, Clone)]
pub struct HubFolder {
    /// Whether sentence-transformers reads it; else transformers does.
    pub is_sentence_transformers: bool,
    /// Tokens that two windows of a long text share. None: texts have no windows.
    pub shared_tokens: Option<usize>,
    /// Paths in the folder, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl ClassifierFiles {
    /// The classifier of a trial. `state`: a training state or weights that the trial kept.
    pub fn of_trial(config: &TrialConfig, labels: &[String], state: &[u8]) -> Result<Self, TrainError> {
        let (json, tokenizer) = config_and_tokenizer(&config.model.from)?;
        let json = match NewNetwork::read(&json, &config.model)? {
            Some(network) => network.config.into(),
            None => json,
        };
        let weights = convert(state, WeightType::F32, |name| (!name.starts_with("adamw.")).then(|| name.to_owned()))?;
        let (weights, adapter) = match &config.model.lora {
            Some(lora) => (peft::merge(&weights, lora)?, Some(peft::files(&weights, lora, &config.model.from)?)),
            None => (weights, None),
        };
        let pooling = if config.data.task.is_of_tokens() {
            Pooling::Pooler
        } else if let Some(pooling) = config.model.pooling {
            pooling
        } else if config.model.extra != Extra::None {
            Pooling::Pooler
        } else {
            let architecture = architectures::read(&json, &mut Declarations::default())?;
            let tensors = Tensors::read(&[&weights], architecture.shape().prefix)?;
            default_pooling(architecture.shape(), &tensors)
        };
        Ok(Self {
            config: parse(&config.model.from, &json)?,
            tokenizer: tokenizer.into_owned(),
            pooling,
            weights,
            labels: labels.to_vec(),
            data: config.data.clone(),
            modules: Modules::of(&config.model),
            adapter,
        })
    }

    /// The classifier in a folder that `plateau export` wrote, or that transformers saved for sequence or token classification.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let name = folder.display().to_string();
        let (json, tokenizer) = config_and_tokenizer(&name)?;
        let config = parse(&name, &json)?;
        let task = task(&config);
        let labels = match (task, labels(&config)) {
            (TaskName::Regression | TaskName::MaskedLm, _) => Vec::new(),
            (TaskName::MultipleChoice, _) => data_config(&config).choices,
            (_, Some(labels)) => labels,
            (_, None) => {
                let message = format!("{name}: config.json has no `id2label`, so this is not a classifier");
                return Err(TrainError::Input(message));
            }
        };
        let architecture = architectures::read(&json, &mut Declarations::default())?;
        let weights = read_weights(&folder.join("model.safetensors"))?;
        let (weights, pooling) = if folder.join("modules.json").is_file() {
            let pooling = parse(&name, &read(&folder.join(POOLING).join("config.json"))?)?;
            let is_cls = pooling.get("pooling_mode_cls_token").and_then(Value::as_bool) == Some(true);
            let dense = read_weights(&folder.join(DENSE).join("model.safetensors"))?;
            let weights = with_classifier(&weights, &dense, architecture.shape().prefix)?;
            (weights, if is_cls { Pooling::Cls } else { Pooling::Mean })
        } else {
            (weights, Pooling::Pooler)
        };
        let settings = folder.join("tokenizer_config.json");
        let settings = if settings.is_file() { parse(&name, &read(&settings)?)? } else { Map::new() };
        let number = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let positions = architecture.shape().positions;
        let max_length = number(&settings, "model_max_length").unwrap_or(positions).min(positions);
        let data = DataConfig { task, max_length, ..data_config(&config) };
        let modules = Modules::default();
        Ok(Self { config, tokenizer: tokenizer.into_owned(), weights, pooling, modules, labels, data, adapter: None })
    }

    /// Bytes of its tokenizer and its weights.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.tokenizer.len() + self.weights.len()) as u64
    }

    /// The files for Hugging Face's libraries, with weights of this precision.
    pub fn hub_folder(&self, weight_type: WeightType) -> Result<HubFolder, TrainError> {
        self.modules.check_export()?;
        let json = self.config_json()?;
        let name = model_type(&json)?;
        let architecture = architectures::read(&json, &mut Declarations::default())?;
        let shape = architecture.shape();
        let is_sentence_transformers = self.pooling != Pooling::Pooler;
        let stem = architectures::class_stem(&name).ok_or_else(|| {
            TrainError::Input(format!(
                "model_type is '{name}': transformers has no such class, so `plateau export --format hf` cannot write it. `plateau \
                 predict` uses the model of the sweep"
            ))
        })?;
        if is_sentence_transformers && self.data.task == TaskName::MultipleChoice {
            let message = "transformers has no model for multiple choice with this pooling, so `plateau export --format hf` cannot write it. \
                           `plateau predict` uses the model of the sweep; model.pooling: pooler can be exported";
            return Err(TrainError::Input(message.into()));
        }
        let class = if is_sentence_transformers { "Model" } else { self.data.task.model_class() };
        let config = self.hub_config(&name, &format!("{stem}{class}"), weight_type);
        let mut files = vec![
            ("config.json".to_owned(), pretty(&Value::Object(config))?),
            ("tokenizer.json".to_owned(), self.hub_tokenizer()?),
            ("tokenizer_config.json".to_owned(), pretty(&self.tokenizer_config(shape)?)?),
        ];
        if is_sentence_transformers {
            files.extend(self.sentence_transformers_files(shape, weight_type)?);
        } else {
            files
                .push(("model.safetensors".into(), convert(&self.weights, weight_type, |name| Some(name.to_owned()))?));
        }
        let shared_tokens = Encoder::of(&name, &self.tokenizer, &self.data)?.shared_tokens();
        Ok(HubFolder { is_sentence_transformers, shared_tokens, files })
    }

    /// The files of peft with what LoRA trained, and the tokenizer.
    pub fn peft_files(&self) -> Result<Vec<(String, Vec<u8>)>, TrainError> {
        self.modules.check_export()?;
        let adapter = self.adapter.clone().ok_or_else(|| {
            TrainError::Input("the trial was trained without model.lora: use `plateau export --format hf`".into())
        })?;
        Ok(adapter.into_iter().chain([("tokenizer.json".to_owned(), self.tokenizer.clone())]).collect())
    }

    /// Elements of the output for a text.
    fn outputs(&self) -> usize {
        self.data.task.outputs(self.labels.len())
    }

    /// `config.json`.
    fn config_json(&self) -> Result<Vec<u8>, TrainError> {
        Ok(serde_json::to_vec(&self.config).map_err(std::io::Error::from)?)
    }

    fn hub_config(&self, name: &str, architecture: &str, weight_type: WeightType) -> Map<String, Value> {
        let mut config = self.config.clone();
        // transformers takes the number of outputs from the number of names.
        let unnamed = ["LABEL_0".to_owned()];
        let names = if self.labels.is_empty() { &unnamed } else { self.labels.as_slice() };
        let numbered = || names.iter().enumerate();
        let id2label: Map<String, Value> = numbered().map(|(i, name)| (i.to_string(), name.clone().into())).collect();
        let label2id: Map<String, Value> = numbered().map(|(i, name)| (name.clone(), i.into())).collect();
        for gone in ["_name_or_path", "torch_dtype", "num_labels"] {
            config.remove(gone);
        }
        config.insert("architectures".into(), json!([architecture]));
        config.insert("model_type".into(), name.into());
        if self.data.task.has_labels() && self.data.task != TaskName::MultipleChoice {
            config.insert("id2label".into(), id2label.into());
            config.insert("label2id".into(), label2id.into());
        } else {
            config.remove("id2label");
            config.remove("label2id");
        }
        match self.data.task.problem_type() {
            Some(problem_type) => config.insert("problem_type".into(), problem_type.into()),
            None => config.remove("problem_type"),
        };
        config.insert("dtype".into(), weight_type.name().into());
        config.insert(PLATEAU.into(), columns(&self.data));
        config
    }

    /// `tokenizer.json`. A truncation that it holds has the side of the training.
    fn hub_tokenizer(&self) -> Result<Vec<u8>, TrainError> {
        if self.data.truncate != Truncate::Tail {
            return Ok(self.tokenizer.clone());
        }
        let mut tokenizer = parse("tokenizer.json", &self.tokenizer)?;
        match tokenizer.get_mut("truncation") {
            Some(Value::Object(truncation)) => truncation.insert("direction".into(), "Left".into()),
            _ => return Ok(self.tokenizer.clone()),
        };
        pretty(&Value::Object(tokenizer))
    }

    /// The generic fast tokenizer: `tokenizer.json` holds everything else.
    fn tokenizer_config(&self, shape: &Shape) -> Result<Value, TrainError> {
        let inputs = if shape.types.is_some() {
            json!(["input_ids", "token_type_ids", "attention_mask"])
        } else {
            json!(["input_ids", "attention_mask"])
        };
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.data.max_length,
            "model_input_names": inputs,
            "clean_up_tokenization_spaces": false,
        });
        if self.data.truncate == Truncate::Tail {
            config["truncation_side"] = "left".into();
        }
        for (role, token) in special_tokens(&parse("tokenizer.json", &self.tokenizer)?) {
            config[role] = token.into();
        }
        Ok(config)
    }

    /// Encoder, pooling and classifier as three modules in a row.
    fn sentence_transformers_files(
        &self,
        shape: &Shape,
        weight_type: WeightType,
    ) -> Result<Vec<(String, Vec<u8>)>, TrainError> {
        let encoder = |name: &str| name.strip_prefix(shape.prefix)?.strip_prefix('.').map(str::to_owned);
        let dense = |name: &str| name.strip_prefix("classifier.").map(|rest| format!("linear.{rest}"));
        let hidden = shape.hidden;
        let modules: Vec<Value> = ["Transformer", "Pooling", "Dense"]
            .iter()
            .enumerate()
            .zip(["", POOLING, DENSE])
            .map(|((i, module), path)| {
                json!({"idx": i, "name": i.to_string(), "path": path, "type": format!("sentence_transformers.models.{module}")})
            })
            .collect();
        let pooling = json!({
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": self.pooling == Pooling::Cls,
            "pooling_mode_mean_tokens": self.pooling == Pooling::Mean,
            "pooling_mode_max_tokens": false,
            "pooling_mode_mean_sqrt_len_tokens": false,
        });
        let head = json!({
            "in_features": hidden,
            "out_features": self.outputs(),
            "bias": true,
            "activation_function": "torch.nn.modules.linear.Identity",
        });
        Ok(vec![
            ("model.safetensors".into(), convert(&self.weights, weight_type, encoder)?),
            ("modules.json".into(), pretty(&Value::Array(modules))?),
            (
                "sentence_bert_config.json".into(),
                pretty(&json!({"max_seq_length": self.data.max_length, "do_lower_case": false}))?,
            ),
            (format!("{POOLING}/config.json"), pretty(&pooling)?),
            (format!("{DENSE}/config.json"), pretty(&head)?),
            (format!("{DENSE}/model.safetensors"), convert(&self.weights, weight_type, dense)?),
        ])
    }
}

fn parse(name: &str, json: &[u8]) -> Result<Map<String, Value>, TrainError> {
    serde_json::from_slice(json).map_err(|error| TrainError::Input(format!("{name}: not a JSON object: {error}")))
}

fn pretty(value: &Value) -> Result<Vec<u8>, TrainError> {
    Ok(serde_json::to_vec_pretty(value).map_err(std::io::Error::from)?)
}

/// The special tokens by their roles in a `tokenizer_config.json`, each with the names that it has in different vocabularies.
const SPECIAL_TOKENS: [(&str, [&str; 2]); 5] = [
    ("unk_token", ["[UNK]", "<unk>"]),
    ("sep_token", ["[SEP]", "</s>"]),
    ("pad_token", ["[PAD]", "<pad>"]),
    ("cls_token", ["[CLS]", "<s>"]),
    ("mask_token", ["[MASK]", "<mask>"]),
];

/// The special tokens that a `tokenizer.json` has: those that it marks as such come first, then those of its vocabulary.
fn special_tokens(tokenizer: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let listed = tokenizer.get("added_tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let vocabulary = tokenizer.get("model").and_then(|model| model.get("vocab"));
    let is_listed =
        |token: &str| listed.iter().any(|added| added.get("content").and_then(Value::as_str) == Some(token));
    let is_known = |token: &str| match vocabulary {
        Some(Value::Object(ids)) => ids.contains_key(token),
        Some(Value::Array(pieces)) => pieces.iter().any(|piece| piece.get(0).and_then(Value::as_str) == Some(token)),
        _ => false,
    };
    let found = SPECIAL_TOKENS.map(|(role, names)| {
        let name = names.iter().find(|name| is_listed(name)).or_else(|| names.iter().find(|name| is_known(name)));
        name.map(|name| (role, *name))
    });
    found.into_iter().flatten()
}

/// The label names of a `config.json` in class order.
pub(super) fn labels(config: &Map<String, Value>) -> Option<Vec<String>> {
    let names: BTreeMap<usize, &str> = config
        .get("id2label")?
        .as_object()?
        .iter()
        .map(|(id, name)| Some((id.parse().ok()?, name.as_str()?)))
        .collect::<Option<_>>()?;
    let is_complete = !names.is_empty() && names.keys().copied().eq(0..names.len());
    is_complete.then(|| names.into_values().map(str::to_owned).collect())
}

/// The task by its name in transformers.
fn task(config: &Map<String, Value>) -> TaskName {
    let name = config.get("problem_type").and_then(Value::as_str);
    let class = config.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str).unwrap_or_default();
    if let Some(task) = [TaskName::Tokens, TaskName::MaskedLm, TaskName::MultipleChoice]
        .into_iter()
        .find(|task| class.ends_with(task.model_class()))
    {
        return task;
    }
    TaskName::ALL.into_iter().find(|task| name.is_some() && task.problem_type() == name).unwrap_or_default()
}

/// The names of the columns, as in the data section of a sweep file.
fn columns(data: &DataConfig) -> Value {
    let data = serde_json::to_value(data).unwrap_or_default();
    COLUMNS.iter().filter_map(|key| Some(((*key).to_owned(), data.get(key)?.clone()))).collect()
}

/// The inverse of [`columns`]. Other checkpoints have the default names.
fn data_config(config: &Map<String, Value>) -> DataConfig {
    let mut data = serde_json::to_value(DataConfig::default()).unwrap_or_default();
    if let Some(columns) = config.get(PLATEAU) {
        for key in COLUMNS {
            if let Some(value) = columns.get(key) {
                data[key] = value.clone();
            }
        }
    }
    serde_json::from_value(data).unwrap_or_default()
}

fn shape(weights: &[u8], name: &str) -> Option<Vec<usize>> {
    Some(SafeTensors::deserialize(weights).ok()?.tensor(name).ok()?.shape().to_vec())
}

/// The weights of an encoder and of a sentence-transformers `Dense` module, with the names of a classifier.
fn with_classifier(encoder: &[u8], dense: &[u8], prefix: &str) -> Result<Vec<u8>, TrainError> {
    let encoder = convert(encoder, WeightType::F32, |name| Some(format!("{prefix}.{name}")))?;
    super::weights::merge(&[&encoder, &classifier_weights(dense)?])
}

/// The weights of a sentence-transformers `Dense` module with the names of a classifier.
pub(super) fn classifier_weights(dense: &[u8]) -> Result<Vec<u8>, TrainError> {
    convert(dense, WeightType::F32, |name| name.strip_prefix("linear.").map(|rest| format!("classifier.{rest}")))
}

/// A classifier that gives scores to texts, on the CPU.
pub struct Classifier {
    model: Arc<Network>,
    encoder: Encoder,
    /// How the windows of a text are combined. None: texts have no windows.
    combine: Option<Combine>,
    pool: rayon::ThreadPool,
}

impl Classifier {
    pub fn new(files: &ClassifierFiles, threads: usize) -> Result<Self, TrainError> {
        let count = files.outputs();
        let outputs = Outputs::of(files.data.task, count);
        if outputs == Outputs::Vocabulary {
            return Err(TrainError::Input(
                "the model is a masked language model, which predicts no labels; use it as model.from of another sweep"
                    .into(),
            ));
        }
        let config = files.config_json()?;
        let architecture = architectures::read(&config, &mut Declarations::default())?;
        let Modules { extra, adapters } = files.modules.clone();
        let own_head = files.pooling == Pooling::Pooler && extra == Extra::None;
        let name = if own_head && matches!(outputs, Outputs::Sequences(_)) {
            architecture.shape().head.classifier
        } else {
            "classifier"
        };
        // A head of another shape would silently be replaced by random values.
        if shape(&files.weights, &format!("{name}.weight")).is_none_or(|shape| shape[0] != count) {
            return Err(TrainError::Input(format!("the weights have no classifier for {count} labels")));
        }
        let pooling = Some(files.pooling);
        let wanted = ModelConfig { from: String::new(), pooling, extra, adapters, ..ModelConfig::default() };
        let model = Network::load(&config, &[&files.weights], &wanted, outputs, 0, &candle_core::Device::Cpu)?;
        let encoder = Encoder::of("the model", &files.tokenizer, &files.data)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build()
            .map_err(|source| TrainError::Threads { count: threads, source })?;
        let combine = files.data.windows.map(|windows| windows.combine);
        Ok(Self { model: Arc::new(model), encoder, combine, pool })
    }

    /// The outputs of the network for each example. Targets are not used.
    pub fn outputs(&self, examples: &[Example]) -> Result<Vec<Vec<f32>>, TrainError> {
        self.outputs_of(&self.tokens(examples)?)
    }

    /// The tokens of each example.
    pub fn tokens(&self, examples: &[Example]) -> Result<Tokens, TrainError> {
        let tokens = self.pool.install(|| self.encoder.encode(examples))?;
        self.model.check(&tokens)?;
        Ok(tokens)
    }

    /// The outputs of the network for each tokenised example: those of its targets, one after another.
    pub fn outputs_of(&self, tokens: &Tokens) -> Result<Vec<Vec<f32>>, TrainError> {
        self.pool.install(|| {
            let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
            order.sort_by_key(|&example| length(tokens, example));
            let limit = (tokens.ids.len() / FEWEST_MICRO_BATCHES).clamp(MICRO_BATCH_TOKENS, PREDICTION_TOKENS);
            let batches: Vec<&[u32]> = pieces(&order, tokens, limit).into_iter().map(|piece| &order[piece]).collect();
            let scores: Vec<Vec<f32>> = batches
                .par_iter()
                .map(|batch| {
                    let batch = Arc::new(MicroBatch::pack(tokens, batch, |_| Target::Unknown, 0));
                    Pass { model: self.model.clone(), batch, training: None, packed: Arc::default() }.predictions()
                })
                .collect::<Result<_, TrainError>>()?;
            let mut outputs = vec![Vec::new(); tokens.len()];
            for (batch, scores) in batches.iter().zip(&scores) {
                let mut rest = scores.as_slice();
                for &example in *batch {
                    let (own, others) = rest.split_at(tokens.row_count(example as usize) * self.model.outputs);
                    outputs[example as usize] = match self.combine {
                        Some(how) => combine(how, own, &[tokens.row_count(example as usize)], self.model.outputs),
                        None => own.to_vec(),
                    };
                    rest = others;
                }
            }
            Ok(outputs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_have_the_names_of_the_vocabulary() {
        let check = |json: Value, expected: &[(&str, &str)]| {
            assert_eq!(special_tokens(json.as_object().unwrap()).collect::<Vec<_>>(), expected);
        };
        check(json!({"model": {"vocab": {"[UNK]": 0, "[PAD]": 1}}}), &[("unk_token", "[UNK]"), ("pad_token", "[PAD]")]);
        check(
            json!({"model": {"vocab": [["<pad>", 0.0], ["<s>", 0.0]]}}),
            &[("pad_token", "<pad>"), ("cls_token", "<s>")],
        );
        // The vocabulary of MPNet holds BERT's tokens too, but only its own are special.
        let added = json!([{"content": "<s>"}, {"content": "[UNK]"}]);
        check(
            json!({"added_tokens": added, "model": {"vocab": {"[CLS]": 0, "<s>": 1, "[UNK]": 2}}}),
            &[("unk_token", "[UNK]"), ("cls_token", "<s>")],
        );
        check(json!({}), &[]);
    }
}
