//! Names that other programs use: those that are accepted, those that are understood well enough to name the right key, and
//! those that are not needed here.

use super::kind::Kind;
use super::range::Range;

/// Another name of a key.
#[derive(Debug)]
pub(super) struct Alias {
    pub name: &'static str,
    pub path: &'static str,
    /// Narrower than the key's own kind, where the other name says more.
    pub kind: Option<Kind>,
}

/// From `transformers.TrainingArguments`. `head_lr` may also stand at the top level, beside `lr`, and `task`.
pub(super) static ALIASES: &[Alias] = &[
    Alias { name: "learning_rate", path: "lr", kind: None },
    Alias {
        name: "warmup_ratio",
        path: "warmup",
        kind: Some(Kind::Number { range: Range::from(0.0).below(1.0), expected: "a fraction from 0 to below 1" }),
    },
    Alias {
        name: "warmup_steps",
        path: "warmup",
        kind: Some(Kind::Steps { expected: "a whole number of steps, 0 for none" }),
    },
    Alias { name: "lr_scheduler_type", path: "scheduler", kind: None },
    Alias { name: "head_lr", path: "optimizer.head_lr", kind: None },
    Alias { name: "task", path: "data.task", kind: None },
    Alias { name: "num_train_epochs", path: "epochs", kind: None },
    Alias { name: "max_steps", path: "steps", kind: None },
    Alias { name: "per_device_train_batch_size", path: "batch_size", kind: None },
    Alias { name: "label_smoothing_factor", path: "label_smoothing", kind: None },
    Alias { name: "gradient_accumulation_steps", path: "grad_accumulation", kind: None },
];

/// The key that `name` is another name of.
pub(super) fn alias(name: &str) -> Option<&'static Alias> {
    ALIASES.iter().find(|alias| alias.name == name)
}

/// Arguments of other programs that have no counterpart here, and why.
const NEEDLESS: &[(&str, &str)] = &[
    ("fp16", "leave it out; `precision` says how exactly matrices are multiplied"),
    ("bf16", "leave it out; `precision` says how exactly matrices are multiplied"),
    ("logging_steps", "every step is logged: leave it out"),
    ("logging_strategy", "every step is logged: leave it out"),
    ("per_device_eval_batch_size", "it changes no result: leave it out"),
    ("dataloader_num_workers", "the texts are read once, before training: leave it out"),
    ("tf32", "training is in f32: leave it out"),
    ("logging_dir", "leave it out; `run.log_to` says where curves are also sent"),
    ("eval_strategy", "use `eval_every`: a fraction of an epoch, or steps"),
    ("evaluation_strategy", "use `eval_every`: a fraction of an epoch, or steps"),
    ("save_steps", "leave it out; `run.checkpoint_every` says how often a checkpoint is saved"),
    ("save_strategy", "leave it out; `run.checkpoint_every` says how often a checkpoint is saved"),
    ("save_total_limit", "leave it out: `run.keep` says which checkpoints stay"),
    ("metric_for_best_model", "write `metric`, such as `metric: macro_f1`"),
    ("greater_is_better", "leave it out: the goal follows from `metric`"),
    ("run_name", "use `name`, the name of the sweep"),
    ("load_best_model_at_end", "leave it out: `run.keep` keeps the weights of the best evaluation"),
    ("output_dir", "use `--results DIR` on the command line"),
];

/// Why an argument of another program has no counterpart here.
pub(super) fn needless(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase();
    NEEDLESS.iter().find(|(other, _)| *other == plain).map(|(_, why)| *why)
}

/// Names that other programs use for keys. None is close enough in spelling to be guessed.
pub(super) const MISNOMERS: &[(&str, &str)] = &[
    ("num_epochs", "epochs"),
    ("n_epochs", "epochs"),
    ("train_epochs", "epochs"),
    ("num_steps", "steps"),
    ("total_steps", "steps"),
    ("lr_schedule", "scheduler"),
    ("lr_scheduler", "scheduler"),
    ("learning_rate_schedule", "scheduler"),
    ("bs", "batch_size"),
    ("train_batch_size", "batch_size"),
    ("accumulation_steps", "grad_accumulation"),
    ("gradient_clipping", "max_grad_norm"),
    ("grad_clip", "max_grad_norm"),
    ("clip_grad_norm", "max_grad_norm"),
    ("wd", "weight_decay"),
    ("report_to", "run.log_to"),
    ("eval_steps", "eval_every"),
    ("eval_interval", "eval_every"),
    ("early_stopping", "stop.patience"),
    ("early_stopping_patience", "stop.patience"),
    ("augmentations", "augmentation"),
    ("optim", "optimizer"),
    ("llrd", "optimizer.layer_decay"),
    ("model_name", "model.from"),
    ("model_name_or_path", "model.from"),
    ("checkpoint", "model.from"),
    ("hidden_dropout_prob", "model.dropout"),
    ("dataset", "data.train"),
    ("train_file", "data.train"),
    ("validation_file", "data.eval"),
    ("valid", "data.eval"),
    ("validation", "data.eval"),
    ("test_file", "data.test"),
    ("test", "data.test"),
    ("text_column", "data.text"),
    ("label_column", "data.label"),
    ("max_len", "data.max_length"),
    ("max_seq_length", "data.max_length"),
    ("axes", "grid"),
    ("parameters", "grid"),
    ("gpus", "run.devices"),
    ("device", "run.devices"),
    ("workers", "run.jobs"),
    ("num_workers", "run.jobs"),
];

/// The key that other programs call `name`.
pub(super) fn misnomer(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    MISNOMERS.iter().find(|(other, _)| *other == plain).map(|(_, path)| *path)
}
