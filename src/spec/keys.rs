//! The table of keys: everything that a sweep file can say about a trial. A new key is a row here and a field in
//! [`crate::trial`]. Schedules, augmentations and the names of other programs have tables of their own.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::architectures::{ARCHITECTURES, EXTRAS};
use super::augmentations::AUGMENTATIONS;
use super::kind::{COUNT, Doc, Kind, MOST_EPOCHS, MOST_STEPS, Parameter, STEPS, Variant};
use super::range::Range;
use super::schedulers::SCHEDULERS;
use crate::trial::{AdaptersConfig, Key as Role, Length, LoraConfig, Patience, Plateau, TrialConfig, Windows};

/// Puts a canonical value of a key into a configuration. Fails only if the table and the types disagree.
type Put = fn(&mut TrialConfig, &Value) -> Result<(), String>;

/// One key of a trial.
#[derive(Debug)]
pub(super) struct Key {
    /// Dotted. Also the place of the value in the JSON of a configuration.
    pub path: &'static str,
    pub kind: Kind,
    pub put: Put,
    pub doc: Doc,
}

/// A map of keys. A lone scalar in its place is the value of the key `scalar`.
#[derive(Debug)]
pub(super) struct Group {
    pub path: &'static str,
    pub scalar: Option<&'static str>,
}

pub(super) static GROUPS: &[Group] = &[
    Group { path: "data", scalar: Some("data.train") },
    Group { path: "data.windows", scalar: Some("data.windows") },
    Group { path: "model", scalar: Some("model.from") },
    Group { path: "model.embeddings", scalar: Some("model.embeddings.from") },
    Group { path: "model.lora", scalar: Some("model.lora") },
    Group { path: "model.adapters", scalar: Some("model.adapters") },
    Group { path: "loss", scalar: Some("loss.name") },
    Group { path: "optimizer", scalar: Some("optimizer.name") },
    Group { path: "stop", scalar: None },
    Group { path: "stop.patience", scalar: Some("stop.patience") },
    Group { path: "stop.plateau", scalar: Some("stop.plateau") },
];

const LEARNING_RATE: Kind = Kind::Number { range: Range::above(0.0), expected: "a number above 0, such as 3e-5" };
const POSITIVE: Kind = Kind::Number { range: Range::above(0.0), expected: "a number above 0" };
const NOT_NEGATIVE: Kind = Kind::Number { range: Range::from(0.0), expected: "0 or a number above" };
const EVALS: Kind = Kind::Whole { from: 1, to: 1_000_000, expected: "a whole number from 1" };
const STEPS_FROM_0: Kind = Kind::Whole { from: 0, to: MOST_STEPS as u64, expected: "a whole number from 0" };
const LAYERS: Kind = Kind::Whole { from: 0, to: 99_999, expected: "a number of layers, 0 for none" };
const SEED: Kind = Kind::Whole { from: 0, to: u64::MAX, expected: "a whole number from 0" };
const COLUMN: Kind = Kind::Text { expected: "the name of a column" };
const DROPOUT: Kind = Kind::Number { range: Range::from(0.0).below(1.0), expected: "a probability from 0 to below 1" };
/// The key of networks without an encoder.
pub(super) const ARCHITECTURE: &str = "model.architecture";
/// The key of modules on top of an encoder.
pub(super) const EXTRA: &str = "model.extra";
/// Those of all tasks.
pub(super) const METRIC: Kind = Kind::Choice(&[
    "eval_loss",
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "auroc",
    "average_precision",
    "mse",
    "mae",
    "r2",
    "pearson",
    "spearman",
    "micro_f1",
    "subset_accuracy",
    "macro_auroc",
    "macro_average_precision",
    "entity_precision",
    "entity_recall",
    "entity_f1",
    "token_accuracy",
    "perplexity",
]);

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "data.train",
        kind: Kind::Files,
        put: |c, v| put(&mut c.data.train, v),
        doc: Doc {
            about: "The training data: a file (.csv, .tsv, .txt, .json, .jsonl, .ndjson, .parquet, each also as .gz, .zst or \
                    .zip), a folder, a pattern of files, or a list of files. Paths are relative to the sweep file, then to the \
                    working directory. `embedded:tweets` is compiled into the program.",
            unit: "",
            example: "reviews.csv",
        },
    },
    Key {
        path: "data.eval",
        kind: Kind::FractionOrFile,
        put: |c, v| put(&mut c.data.eval, v),
        doc: Doc {
            about: "The evaluation set: a fraction of the training rows, held out with the class shares kept; a file; or a map \
                    of a file and the columns that have other names in it.",
            unit: "fraction of the rows",
            example: "{file: test.csv, text: sentence, label: target}",
        },
    },
    Key {
        path: "data.test",
        kind: Kind::Optional(&Kind::FractionOrFile),
        put: |c, v| put(&mut c.data.test, v),
        doc: Doc {
            about: "The test set, written like `data.eval`; `null`: there is none. No trial reads it. When the sweep has ended, the \
                    kept weights of the best trial are evaluated on it, and `test.json` records each such evaluation. A fraction is \
                    taken from the training rows first; `data.eval` is then a fraction of the rest.",
            unit: "fraction of the rows",
            example: "test.csv",
        },
    },
    Key {
        path: "data.folds",
        kind: Kind::Optional(&Kind::Whole { from: 2, to: 1000, expected: "a whole number from 2" }),
        put: |c, v| put(&mut c.data.folds, v),
        doc: Doc {
            about: "Cross-validation: the training rows are divided into this many folds with the class shares kept, and every \
                    configuration is trained once for each fold, which is its evaluation set. Folds repeat a configuration as \
                    `seeds` do. They take the place of `data.eval`.",
            unit: "folds",
            example: "5",
        },
    },
    Key {
        path: Role::Fold.path(),
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.fold, v),
        doc: Doc {
            about: "The fold that is the evaluation set, from 1. `data.folds` makes a trial for each; give it to train only some of \
                    them.",
            unit: "",
            example: "1",
        },
    },
    Key {
        path: "data.text",
        kind: Kind::Columns,
        put: |c, v| put(&mut c.data.text, v),
        doc: Doc {
            about: "The column with the text, or several columns that are joined with spaces. A name with dots reaches into \
                    nested JSON.",
            unit: "",
            example: "[title, review]",
        },
    },
    Key {
        path: "data.text_pair",
        kind: Kind::Optional(&COLUMN),
        put: |c, v| put(&mut c.data.text_pair, v),
        doc: Doc {
            about: "The column with the second sentence, for sentence pairs; `null`: there is none.",
            unit: "",
            example: "hypothesis",
        },
    },
    Key {
        path: "data.choices",
        kind: Kind::Names { expected: "the columns of the choices, such as [ending0, ending1]" },
        put: |c, v| put(&mut c.data.choices, v),
        doc: Doc {
            about: "The columns of the choices of `task: multiple_choice`. Each choice is read after the text, as the second text of a \
                    pair; a column `data.text_pair` stands before each choice.",
            unit: "",
            example: "[ending0, ending1, ending2, ending3]",
        },
    },
    Key {
        path: "data.label",
        kind: COLUMN,
        put: |c, v| put(&mut c.data.label, v),
        doc: Doc {
            about: "The column with the class, the number, the labels, the tags or the right choice, as `data.task` says.",
            unit: "",
            example: "stars",
        },
    },
    Key {
        path: "data.task",
        kind: Kind::Choice(&["classification", "regression", "multi_label", "tokens", "masked_lm", "multiple_choice"]),
        put: |c, v| put(&mut c.data.task, v),
        doc: Doc {
            about: "What the label of a text is; `task` at the top level is the same key. `classification`: every distinct value is \
                    a class. `regression`: a number. `multi_label`: any number of labels, also none, such as `a|b`, or a list in \
                    JSON. `tokens`: a tag for each word, such as `O B-LOC`, a list, or a CoNLL file. `masked_lm`: no label, the \
                    tokens that masks hide. `multiple_choice`: the number of the right one of `data.choices`, from 0, or its \
                    column. It cannot vary within a sweep.",
            unit: "",
            example: "regression",
        },
    },
    Key {
        path: "data.max_length",
        kind: Kind::Whole { from: 3, to: u64::MAX, expected: "tokens, at least 3 ([CLS], one of the text, [SEP])" },
        put: |c, v| put(&mut c.data.max_length, v),
        doc: Doc {
            about: "Longest text, `[CLS]` and `[SEP]` included. Longer texts are cut.",
            unit: "tokens",
            example: "64",
        },
    },
    Key {
        path: "data.truncate",
        kind: Kind::Choice(&["head", "tail", "head_tail"]),
        put: |c, v| put(&mut c.data.truncate, v),
        doc: Doc {
            about: "What is kept of a longer text: its beginning, its end, or a quarter of `data.max_length` from the beginning and the \
                    rest from the end (Sun et al. 2019). `head_tail` is for single texts, not for pairs.",
            unit: "",
            example: "head_tail",
        },
    },
    Key {
        path: "data.windows",
        kind: Kind::Switch { expected: "none, true, or a map such as {stride: 64, combine: mean}" },
        put: |c, v| switch(&mut c.data.windows, v),
        doc: Doc {
            about: "Reads a text that is longer than `data.max_length` in several windows and cuts nothing. In training each window has \
                    the label of its text. Evaluations and predictions combine the outputs of a text's windows.",
            unit: "",
            example: "{stride: 64, combine: max}",
        },
    },
    Key {
        path: "data.windows.stride",
        kind: Kind::Whole { from: 0, to: u64::MAX, expected: "a number of tokens" },
        put: |c, v| put(&mut windows(c).stride, v),
        doc: Doc {
            about: "Tokens that a window shares with the one before it, as `stride` of transformers' tokenizers.",
            unit: "tokens",
            example: "64",
        },
    },
    Key {
        path: "data.windows.combine",
        kind: Kind::Choice(&["mean", "max"]),
        put: |c, v| put(&mut windows(c).combine, v),
        doc: Doc {
            about: "How the outputs of a text's windows become one: the mean or the largest value of each output.",
            unit: "",
            example: "max",
        },
    },
    Key {
        path: "data.limit",
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.limit, v),
        doc: Doc {
            about: "Number of training rows that are used, drawn by `data.seed` after the split with the class shares kept; `null`: all \
                    rows.",
            unit: "rows",
            example: "2000",
        },
    },
    Key {
        path: "data.eval_limit",
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.eval_limit, v),
        doc: Doc {
            about: "Number of evaluation rows that are used, drawn like those of `data.limit`; `null`: all rows.",
            unit: "rows",
            example: "1000",
        },
    },
    Key {
        path: "data.shuffle",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.data.shuffle, v),
        doc: Doc {
            about: "Whether the training rows come in a new random order each epoch; `false`: in the order of the file.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "data.seed",
        kind: SEED,
        put: |c, v| put(&mut c.data.seed, v),
        doc: Doc {
            about: "Seed of the split into training, evaluation and test rows, or into folds. `seed` does not change the split.",
            unit: "",
            example: "7",
        },
    },
    Key {
        path: "data.format",
        kind: Kind::Optional(&Kind::Choice(&["csv", "tsv", "json", "jsonl", "parquet", "fasttext", "conll"])),
        put: |c, v| put(&mut c.data.format, v),
        doc: Doc {
            about: "The format of the data files; `null`: by the extension or the content of a file.",
            unit: "",
            example: "csv",
        },
    },
    Key {
        path: "data.delimiter",
        kind: Kind::Optional(&Kind::Text { expected: "comma, tab, semicolon, pipe, or a single character" }),
        put: |c, v| put(&mut c.data.delimiter, v),
        doc: Doc {
            about: "The character between the fields of a row: comma, tab, semicolon, pipe, or the character itself; `null`: the \
                    one that fits the columns.",
            unit: "",
            example: "semicolon",
        },
    },
    Key {
        path: "data.header",
        kind: Kind::Optional(&Kind::Flag),
        put: |c, v| put(&mut c.data.header, v),
        doc: Doc {
            about: "Whether the first line names the columns. Without a header, columns are numbers from 1; `null`: detected.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "data.encoding",
        kind: Kind::Optional(&Kind::Text { expected: "an encoding such as utf-8, latin-1, windows-1252, utf-16" }),
        put: |c, v| put(&mut c.data.encoding, v),
        doc: Doc {
            about: "The encoding of text files, such as latin-1 or utf-16; `null`: detected.",
            unit: "",
            example: "latin-1",
        },
    },
    Key {
        path: "data.bad_rows",
        kind: Kind::Choice(&["error", "skip"]),
        put: |c, v| put(&mut c.data.bad_rows, v),
        doc: Doc {
            about: "What happens to rows with a missing label or a wrong number of fields: `error` reports them, `skip` leaves \
                    them out and counts them.",
            unit: "",
            example: "skip",
        },
    },
    Key {
        path: "model.from",
        kind: Kind::Text { expected: "a checkpoint folder, hf:org/name or embedded:minilm-l3" },
        put: |c, v| put(&mut c.model.from, v),
        doc: Doc {
            about: "The checkpoint to fine-tune. It is a folder as `save_pretrained` writes it, `hf:org/name[@revision]` from \
                    the Hugging Face hub, or `embedded:minilm-l3`, which is compiled into the program.",
            unit: "",
            example: "hf:google-bert/bert-base-uncased",
        },
    },
    Key {
        path: ARCHITECTURE,
        kind: Kind::Named(ARCHITECTURES),
        put: |c, v| put(&mut c.model.architecture, v),
        doc: Doc {
            about: "A network without an encoder, in place of the checkpoint. It starts from the token embeddings of a \
                    checkpoint and uses its tokenizer; everything else starts from random values.",
            unit: "",
            example: "{name: bilstm, hidden: 64}",
        },
    },
    Key {
        path: "model.embeddings.from",
        kind: Kind::Optional(&Kind::Text { expected: "a checkpoint, as for `model.from`" }),
        put: |c, v| put(&mut c.model.embeddings.from, v),
        doc: Doc {
            about: "The checkpoint with the tokenizer and the token embeddings for `model.architecture`; `null`: that of \
                    `model.from`.",
            unit: "",
            example: "embedded:minilm-l3",
        },
    },
    Key {
        path: "model.embeddings.vectors",
        kind: Kind::Choice(&["pretrained", "random"]),
        put: |c, v| put(&mut c.model.embeddings.vectors, v),
        doc: Doc {
            about: "Whether the token embeddings start from those of the checkpoint or from random values.",
            unit: "",
            example: "random",
        },
    },
    Key {
        path: "model.lora",
        kind: Kind::Switch { expected: "none, true, or a map such as {r: 8, alpha: 16}" },
        put: |c, v| switch(&mut c.model.lora, v),
        doc: Doc {
            about: "LoRA: the weights of the checkpoint are frozen, and each chosen linear layer gets a trained change of low \
                    rank (Hu et al. 2022). The classifier is trained too. The values start as in peft.",
            unit: "",
            example: "{r: 8, alpha: 16, targets: [query, value]}",
        },
    },
    Key {
        path: "model.lora.r",
        kind: Kind::Whole { from: 1, to: 10_000, expected: "a rank, at least 1" },
        put: |c, v| put(&mut lora(c).r, v),
        doc: Doc { about: "Rank of the changes.", unit: "", example: "16" },
    },
    Key {
        path: "model.lora.alpha",
        kind: POSITIVE,
        put: |c, v| put(&mut lora(c).alpha, v),
        doc: Doc { about: "A change is multiplied by this and divided by `r`.", unit: "", example: "32" },
    },
    Key {
        path: "model.lora.targets",
        kind: Kind::Names { expected: "the ends of the names of linear layers, such as [query, value], or all-linear" },
        put: |c, v| put(&mut lora(c).targets, v),
        doc: Doc {
            about: "Ends of the names of the linear layers that are changed, as in peft; `all-linear`: all but the classifier.",
            unit: "",
            example: "[query, key, value, dense]",
        },
    },
    Key {
        path: "model.lora.rslora",
        kind: Kind::Flag,
        put: |c, v| put(&mut lora(c).rslora, v),
        doc: Doc {
            about: "Whether `alpha` is divided by the square root of `r` (Kalajdzievski 2023).",
            unit: "",
            example: "true",
        },
    },
    Key {
        path: "model.adapters",
        kind: Kind::Switch { expected: "none, true, or a map such as {size: 48}" },
        put: |c, v| switch(&mut c.model.adapters, v),
        doc: Doc {
            about: "Adapters: the weights of the checkpoint are frozen, and each layer gets small trained layers (Houlsby et al. \
                    2019). Every LayerNorm and the head are trained too.",
            unit: "",
            example: "{size: 48, after: [attention, mlp]}",
        },
    },
    Key {
        path: "model.adapters.size",
        kind: Kind::Whole { from: 1, to: 100_000, expected: "a number of elements, at least 1" },
        put: |c, v| put(&mut adapters(c).size, v),
        doc: Doc { about: "Size of the inner layer of an adapter.", unit: "elements", example: "64" },
    },
    Key {
        path: "model.adapters.after",
        kind: Kind::Choices(&["attention", "mlp"]),
        put: |c, v| put(&mut adapters(c).after, v),
        doc: Doc {
            about: "The parts of a layer that an adapter follows, before the residual sum.",
            unit: "",
            example: "[attention]",
        },
    },
    Key {
        path: "model.adapters.activation",
        kind: Kind::Choice(&["gelu", "gelu_new", "relu", "tanh"]),
        put: |c, v| put(&mut adapters(c).activation, v),
        doc: Doc { about: "The activation within an adapter.", unit: "", example: "relu" },
    },
    Key {
        path: EXTRA,
        kind: Kind::Named(EXTRAS),
        put: |c, v| put(&mut c.model.extra, v),
        doc: Doc {
            about: "A module between the encoder and the classifier, in place of the architecture's own head. `model.pooling` \
                    does not apply then.",
            unit: "",
            example: "{name: bilstm, hidden: 64}",
        },
    },
    Key {
        path: "model.pooling",
        kind: Kind::Optional(&Kind::Choice(&["cls", "mean", "pooler"])),
        put: |c, v| put(&mut c.model.pooling, v),
        doc: Doc {
            about: "How the token vectors become one vector. `cls`: that of `[CLS]`. `mean`: the mean over all tokens. \
                    `pooler`: the architecture's own head, for BERT a dense layer and tanh over `[CLS]`. `null`: `pooler`, \
                    but `mean` for a BERT checkpoint without one.",
            unit: "",
            example: "mean",
        },
    },
    Key {
        path: "model.dropout",
        kind: Kind::Optional(&DROPOUT),
        put: |c, v| put(&mut c.model.dropout, v),
        doc: Doc {
            about: "Dropout of hidden states, attention and classifier; `null`: the checkpoint's own three probabilities.",
            unit: "probability",
            example: "0.1",
        },
    },
    Key {
        path: "model.freeze",
        kind: LAYERS,
        put: |c, v| put(&mut c.model.freeze, v),
        doc: Doc {
            about: "Freezes the embeddings and this many layers, counted from the input; 0: everything is trained.",
            unit: "layers",
            example: "2",
        },
    },
    Key {
        path: "model.reinit",
        kind: LAYERS,
        put: |c, v| put(&mut c.model.reinit, v),
        doc: Doc {
            about: "Starts this many layers, counted from the output, and the pooler from random values; 0: none.",
            unit: "layers",
            example: "1",
        },
    },
    Key {
        path: "optimizer.name",
        kind: Kind::Choice(&["adamw"]),
        put: |c, v| put(&mut c.optimizer.name, v),
        doc: Doc {
            about: "The optimizer. AdamW is the only one (Loshchilov and Hutter 2019).",
            unit: "",
            example: "adamw",
        },
    },
    Key {
        path: "optimizer.betas",
        kind: Kind::Pair {
            each: Range::from(0.0).below(1.0),
            expected: "two numbers from 0 to below 1, such as [0.9, 0.999]",
        },
        put: |c, v| put(&mut c.optimizer.betas, v),
        doc: Doc {
            about: "Decay of AdamW's running means of the gradient and of its square.",
            unit: "",
            example: "[0.9, 0.98]",
        },
    },
    Key {
        path: "optimizer.eps",
        kind: POSITIVE,
        put: |c, v| put(&mut c.optimizer.eps, v),
        doc: Doc {
            about: "Added to the denominator of AdamW's update, against a division by zero.",
            unit: "",
            example: "1e-6",
        },
    },
    Key {
        path: "optimizer.bias_correction",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.optimizer.bias_correction, v),
        doc: Doc {
            about: "Whether AdamW's running means are corrected for their start at zero; `false`: as in the original BERT.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "optimizer.layer_decay",
        kind: Kind::Number { range: Range::above(0.0).to(1.0), expected: "a factor above 0, at most 1" },
        put: |c, v| put(&mut c.optimizer.layer_decay, v),
        doc: Doc {
            about: "The learning rate of a layer is that of the next higher layer times this; 1: one learning rate for all.",
            unit: "",
            example: "0.95",
        },
    },
    Key {
        path: "optimizer.head_lr",
        kind: Kind::Optional(&LEARNING_RATE),
        put: |c, v| put(&mut c.optimizer.head_lr, v),
        doc: Doc {
            about: "Peak learning rate of the head (classifier and pooler), which follows the same schedule; `null`: `lr`.",
            unit: "",
            example: "1e-3",
        },
    },
    Key {
        path: Role::LearningRate.path(),
        kind: LEARNING_RATE,
        put: |c, v| put(&mut c.lr, v),
        doc: Doc { about: "Peak learning rate.", unit: "", example: "5e-5" },
    },
    Key {
        path: Role::Warmup.path(),
        kind: Kind::FractionOrSteps {
            range: STEPS,
            expected: "a fraction of all steps (from 0 to below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.warmup, v),
        doc: Doc {
            about: "Length of the linear rise of the learning rate from 0 to its peak. A fraction is rounded up to whole \
                    steps. With `cyclical` and `one_cycle`, which rise on their own, the default is 0.",
            unit: "fraction of all steps (below 1), or optimizer steps (from 1)",
            example: "100",
        },
    },
    Key {
        path: Role::Scheduler.path(),
        kind: Kind::Named(SCHEDULERS),
        put: |c, v| put(&mut c.scheduler, v),
        doc: Doc {
            about: "The learning rate after the warm-up, as transformers and torch define it.",
            unit: "",
            example: "{name: cosine_with_restarts, cycles: 3}",
        },
    },
    Key {
        path: Role::Augmentation.path(),
        kind: Kind::NamedList(AUGMENTATIONS),
        put: |c, v| put(&mut c.augmentation, v),
        doc: Doc {
            about: "How the training texts are changed, differently each epoch. The items of a list are applied one after the other.",
            unit: "",
            example: "[synonym, {name: mixup, alpha: 0.4}]",
        },
    },
    Key {
        path: Role::WeightDecay.path(),
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut c.weight_decay, v),
        doc: Doc {
            about: "Decoupled weight decay. Biases and LayerNorm parameters are left out, as in transformers.",
            unit: "",
            example: "0.1",
        },
    },
    Key {
        path: "max_grad_norm",
        kind: Kind::Number { range: Range::from(0.0), expected: "a number above 0, or 0 for no clipping" },
        put: |c, v| put(&mut c.max_grad_norm, v),
        doc: Doc {
            about: "Gradients are scaled down where their global norm exceeds this; 0: no clipping.",
            unit: "",
            example: "0.5",
        },
    },
    Key {
        path: "label_smoothing",
        kind: Kind::Number { range: Range::from(0.0).below(1.0), expected: "a number from 0 to below 1" },
        put: |c, v| put(&mut c.label_smoothing, v),
        doc: Doc {
            about: "Share of the training target that is spread evenly over all classes. The evaluation loss has none.",
            unit: "probability",
            example: "0.1",
        },
    },
    Key {
        path: "loss.name",
        kind: Kind::Choice(&["cross_entropy", "focal"]),
        put: |c, v| put(&mut c.loss.name, v),
        doc: Doc {
            about: "The loss of a classifier for a class of probability p. `cross_entropy`: -ln p. `focal`: (1 - p)^gamma times \
                    that (Lin et al. 2017).",
            unit: "",
            example: "focal",
        },
    },
    Key {
        path: "loss.gamma",
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut c.loss.gamma, v),
        doc: Doc { about: "The power of the focal loss.", unit: "", example: "1.5" },
    },
    Key {
        path: "loss.class_weights",
        kind: Kind::Optional(&Kind::ClassWeights),
        put: |c, v| put(&mut c.loss.class_weights, v),
        doc: Doc {
            about: "The weight of each class in the mean loss, in training and evaluation. `balanced`: rows / (classes * rows of \
                    the class). A map gives each label its weight. `null`: all classes are equal.",
            unit: "",
            example: "{negative: 1, positive: 4}",
        },
    },
    Key {
        path: Role::BatchSize.path(),
        kind: COUNT,
        put: |c, v| put(&mut c.batch_size, v),
        doc: Doc { about: "Examples per optimizer step.", unit: "examples", example: "16" },
    },
    Key {
        path: "grad_accumulation",
        kind: COUNT,
        put: |c, v| put(&mut c.grad_accumulation, v),
        doc: Doc {
            about: "Splits a batch into at least this many micro-batches, which needs less memory. `batch_size` stays the \
                    number of examples per optimizer step, unlike in transformers.",
            unit: "micro-batches",
            example: "4",
        },
    },
    Key {
        path: Role::Epochs.path(),
        kind: Kind::Number { range: Range::above(0.0).to(MOST_EPOCHS as f64), expected: "a number above 0" },
        put: |c, v| with(v, |epochs| c.length = Length::Epochs(epochs)),
        doc: Doc {
            about: "How long a trial trains, in passes over the training rows. Give `epochs` or `steps`, not both.",
            unit: "epochs",
            example: "2",
        },
    },
    Key {
        path: Role::Steps.path(),
        kind: Kind::Whole { from: 1, to: MOST_STEPS as u64, expected: "a whole number from 1" },
        put: |c, v| with(v, |steps| c.length = Length::Steps(steps)),
        doc: Doc {
            about: "How long a trial trains, in optimizer steps, in place of `epochs`.",
            unit: "optimizer steps",
            example: "500",
        },
    },
    Key {
        path: Role::EvalEvery.path(),
        kind: Kind::FractionOrSteps {
            range: Range::above(0.0).to(MOST_STEPS as f64),
            expected: "a fraction of an epoch (below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.eval_every, v),
        doc: Doc {
            about: "How often the model is evaluated. It is also evaluated before the first and after the last step.",
            unit: "fraction of an epoch (below 1), or optimizer steps (from 1)",
            example: "50",
        },
    },
    Key {
        path: Role::Seed.path(),
        kind: SEED,
        put: |c, v| put(&mut c.seed, v),
        doc: Doc {
            about: "Seed of the head's initial values, the order of the rows, dropout and augmentation. The list `seeds` at \
                    the top level repeats every configuration.",
            unit: "",
            example: "1",
        },
    },
    Key {
        path: "metric",
        kind: METRIC,
        put: |c, v| put(&mut c.metric, v),
        doc: Doc {
            about: "The metric that ranks configurations, chooses the best checkpoint, and must improve for `stop.patience`. \
                    Curves and plateaus are always those of the loss. It cannot vary within a sweep.",
            unit: "",
            example: "macro_f1",
        },
    },
    Key {
        path: "stop.diverged",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.stop.diverged, v),
        doc: Doc {
            about: "Whether a trial ends when its loss is NaN or infinite, or when the smoothed loss exceeds three times its \
                    start.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "stop.patience",
        kind: Kind::Switch { expected: "none, or a map such as {metric: eval_loss, evals: 5}" },
        put: |c, v| switch(&mut c.stop.patience, v),
        doc: Doc {
            about: "Early stopping: ends a trial whose evaluations no longer improve.",
            unit: "",
            example: "{metric: eval_loss, evals: 5, min_delta: 0.001}",
        },
    },
    Key {
        path: "stop.patience.metric",
        kind: Kind::Optional(&METRIC),
        put: |c, v| put(&mut patience(c).metric, v),
        doc: Doc { about: "The metric that has to improve; `null`: that of `metric`.", unit: "", example: "accuracy" },
    },
    Key {
        path: "stop.patience.evals",
        kind: EVALS,
        put: |c, v| put(&mut patience(c).evals, v),
        doc: Doc {
            about: "Evaluations in a row without an improvement after which the trial ends.",
            unit: "evaluations",
            example: "3",
        },
    },
    Key {
        path: "stop.patience.min_delta",
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut patience(c).min_delta, v),
        doc: Doc {
            about: "An improvement counts only if it is larger than this.",
            unit: "that of the metric",
            example: "0.001",
        },
    },
    Key {
        path: "stop.plateau",
        kind: Kind::Switch { expected: "none, true, or a map such as {evals: 3}" },
        put: |c, v| switch(&mut c.stop.plateau, v),
        doc: Doc {
            about: "Ends a trial whose training loss reached a plateau that the remaining steps would not leave.",
            unit: "",
            example: "{evals: 3, min_steps: 50}",
        },
    },
    Key {
        path: "stop.plateau.evals",
        kind: EVALS,
        put: |c, v| put(&mut plateau(c).evals, v),
        doc: Doc { about: "Evaluations in a row at which the curve must be flat.", unit: "evaluations", example: "5" },
    },
    Key {
        path: "stop.plateau.min_steps",
        kind: STEPS_FROM_0,
        put: |c, v| put(&mut plateau(c).min_steps, v),
        doc: Doc { about: "Evaluations before this step are not judged.", unit: "optimizer steps", example: "100" },
    },
];

fn patience(config: &mut TrialConfig) -> &mut Patience {
    config.stop.patience.get_or_insert_default()
}

fn lora(config: &mut TrialConfig) -> &mut LoraConfig {
    config.model.lora.get_or_insert_default()
}

/// The settings of windows, which a key of them switches on.
fn windows(config: &mut TrialConfig) -> &mut Windows {
    config.data.windows.get_or_insert_default()
}

fn adapters(config: &mut TrialConfig) -> &mut AdaptersConfig {
    config.model.adapters.get_or_insert_default()
}

fn plateau(config: &mut TrialConfig) -> &mut Plateau {
    config.stop.plateau.get_or_insert_default()
}

/// On with its defaults, or off.
pub(super) fn switch<T: Default>(slot: &mut Option<T>, value: &Value) -> Result<(), String> {
    *slot = match value {
        Value::Null => None,
        Value::Bool(true) => Some(T::default()),
        other => return Err(format!("{other} switches nothing on or off")),
    };
    Ok(())
}

pub(super) fn put<T: DeserializeOwned>(slot: &mut T, value: &Value) -> Result<(), String> {
    with(value, |read| *slot = read)
}

fn with<T: DeserializeOwned>(value: &Value, then: impl FnOnce(T)) -> Result<(), String> {
    T::deserialize(value).map(then).map_err(|error| error.to_string())
}

/// Sets one parameter of a thing with parameters, if it has it.
fn put_parameter<T: Serialize + DeserializeOwned>(slot: &mut T, name: &str, value: &Value) -> Result<(), String> {
    let mut json = serde_json::to_value(&*slot).map_err(|error| error.to_string())?;
    let owner = json.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match json.get_mut(name) {
        Some(parameter) => *parameter = value.clone(),
        None => return Err(format!("`{owner}` has no parameter `{name}`")),
    }
    put(slot, &json)
}

/// Sets `scheduler.NAME`.
fn put_scheduler(config: &mut TrialConfig, name: &str, value: &Value) -> Result<(), String> {
    put_parameter(&mut config.scheduler, name, value)
}

/// Sets `augmentation.NAME`, which needs exactly one augmentation to be set.
fn put_augmentation(config: &mut TrialConfig, name: &str, value: &Value) -> Result<(), String> {
    match config.augmentation.as_mut_slice() {
        [one] => put_parameter(one, name, value),
        [] => Err(format!("`none` has no parameter `{name}`")),
        _ => Err(format!("`augmentation.{name}` is ambiguous: there are several augmentations")),
    }
}

type PutParameter = fn(&mut TrialConfig, &str, &Value) -> Result<(), String>;

/// What a dotted path means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Key(&'static Key),
    /// A parameter inside `scheduler` or `augmentation`.
    Parameter(&'static Parameter, PutParameter),
}

impl Target {
    pub fn apply(self, config: &mut TrialConfig, value: &Value) -> Result<(), String> {
        match self {
            Self::Key(key) => (key.put)(config, value),
            Self::Parameter(parameter, put) => put(config, parameter.name, value),
        }
    }
}

pub(super) fn key(path: &str) -> Option<&'static Key> {
    /// A large sweep file asks for one key 100,000 times.
    static BY_PATH: LazyLock<HashMap<&str, &Key>> = LazyLock::new(|| KEYS.iter().map(|key| (key.path, key)).collect());
    BY_PATH.get(path).copied()
}

pub(super) fn group(path: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.path == path)
}

/// The schedules or augmentations, if `path` is theirs.
pub(super) fn variants(path: &str) -> Option<&'static [Variant]> {
    match key(path)?.kind {
        Kind::Named(variants) | Kind::NamedList(variants) => Some(variants),
        _ => None,
    }
}

/// `scheduler.cycles` and the like: a parameter that some schedule or augmentation has.
pub(super) fn parameter(path: &str) -> Option<(&'static Kind, Target)> {
    let (owner, name) = path.split_once('.')?;
    let put: PutParameter = match Role::of(owner) {
        Some(Role::Scheduler) => put_scheduler,
        Some(Role::Augmentation) => put_augmentation,
        _ => return None,
    };
    let mut all = variants(owner)?.iter().flat_map(|variant| variant.parameters);
    let parameter = all.find(|parameter| parameter.name == name)?;
    Some((&parameter.kind, Target::Parameter(parameter, put)))
}

/// The schedules or augmentations that have the parameter at `path`; none if it is no parameter.
pub(super) fn owners(path: &str) -> Vec<&'static str> {
    let Some((owner, name)) = path.split_once('.') else { return Vec::new() };
    let has = |variant: &&Variant| variant.parameters.iter().any(|parameter| parameter.name == name);
    variants(owner).unwrap_or_default().iter().filter(has).map(|variant| variant.name).collect()
}

/// Dotted names of all keys and groups, each once.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let alone = |group: &&Group| group.scalar != Some(group.path);
    KEYS.iter().map(|key| key.path).chain(GROUPS.iter().filter(alone).map(|group| group.path))
}
