//! Mistakes that show only when a trial is complete and its data and checkpoint are known: a warm-up longer than the run, a
//! schedule that lacks a parameter, or more frozen layers than the checkpoint has.

use super::Bf16Found;
use crate::spec::Problem;
use crate::trial::{
    Augmentation, DataFacts, Extra, Key, ModelFacts, Pooling, PrecisionName, Scheduler, Translator, TrialConfig,
};

/// A mistake of a resolved configuration: its key, another key that it depends on, and what is wrong.
pub(super) struct Mistake {
    pub key: &'static str,
    pub or_else: &'static str,
    pub what: String,
    pub hint: String,
}

impl Mistake {
    pub fn at(self, place: crate::spec::Place) -> Problem {
        Problem::new(place, self.what).hint(self.hint)
    }
}

/// The mistakes of a trial of `steps` steps.
pub(super) fn mistakes(config: &TrialConfig, steps: u64, data: &DataFacts, model: &ModelFacts) -> Vec<Mistake> {
    let mut mistakes = schedule(config, steps);
    let mut mistake = |key, or_else, what, hint| mistakes.push(Mistake { key, or_else, what, hint });
    for (key, layers) in [("model.freeze", config.model.freeze), ("model.reinit", config.model.reinit)] {
        if layers > model.layers {
            let what = format!("`{key}` is {layers}, but the checkpoint has {} layers", model.layers);
            mistake(key, "model.from", what, format!("expected at most {}", model.layers));
        }
    }
    // Without attention heads there is no encoder.
    if model.heads == 0 && config.model.pooling.is_some_and(|pooling| pooling != Pooling::Pooler) {
        let what = "`model.pooling` does not apply to a network without an encoder, which has its own".to_owned();
        mistake("model.pooling", "model.architecture", what, "leave it out".to_owned());
    }
    mistakes.extend(modules(config, model));
    let mut mistake = |key, or_else, what, hint| mistakes.push(Mistake { key, or_else, what, hint });
    if let Some(what) = config.model.lora.as_ref().and_then(|lora| lora.unmatched(&model.modules)) {
        let hint = "write the ends of names, such as model.lora.targets: [query, value], or all-linear";
        mistake("model.lora", "model.from", what, hint.to_owned());
    }
    if let (Some(lora), Some(adapter)) = (&config.model.lora, &model.adapter)
        && let Some(what) = lora.mismatch(adapter)
    {
        mistake("model.lora", "model.from", what, "use the same settings, or remove the adapter's files".to_owned());
    }
    if config.data.max_length > model.max_positions {
        let (length, positions) = (config.data.max_length, model.max_positions);
        let what = format!("`data.max_length` is {length}, but the checkpoint has {positions} positions");
        mistake("data.max_length", "model.from", what, format!("expected at most {positions}"));
    }
    if config.data.fold.is_some() && config.data.folds.is_none() {
        let hint = "say how many folds there are, such as `data.folds: 5`";
        mistake("data.fold", "data.train", "`data.fold` needs `data.folds`".to_owned(), hint.to_owned());
    }
    if data.largest_token as usize >= model.vocabulary {
        let (token, embeddings) = (data.largest_token, model.vocabulary);
        let what = format!(
            "token id {token} is out of range: the checkpoint has {embeddings} embeddings, so its tokenizer does not match \
             it"
        );
        let hint = "copy the tokenizer and the weights of one checkpoint, or resize the embeddings and save it again";
        mistake("model.from", "data.train", what, hint.to_owned());
    }
    if !config.data.choices.is_empty() && model.token_types < 2 {
        let what = format!("`data.choices` needs two token types, but the checkpoint has {}", model.token_types);
        mistake("data.choices", "model.from", what, "use a checkpoint whose type_vocab_size is 2".to_owned());
    }
    if config.data.text_pair.is_some() && model.token_types < 2 {
        let what = format!("`data.text_pair` needs two token types, but the checkpoint has {}", model.token_types);
        let hint = "use a checkpoint whose type_vocab_size is 2, or join both texts: data.text: [first, second]";
        mistake("data.text_pair", "model.from", what, hint.to_owned());
    }
    for (what, hint) in augmentation_mistakes(&config.augmentation) {
        mistake("augmentation", "augmentation", what, hint);
    }
    mistakes
}

/// The mistake of a precision that the devices of the run do not have.
pub(super) fn precision(config: &TrialConfig, bf16: &Bf16Found) -> Option<Mistake> {
    let Bf16Found::Lacking(what) = bf16 else { return None };
    (config.precision == PrecisionName::Bf16).then(|| Mistake {
        key: Key::Precision.path(),
        or_else: Key::Precision.path(),
        what: format!("`precision: bf16` cannot be trained here: {what}"),
        hint: "write `precision: auto`, which means f32 here, or f32".to_owned(),
    })
}

/// The mistakes of modules that are added to an encoder.
fn modules(config: &TrialConfig, model: &ModelFacts) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut mistake = |key, or_else, what: &str, hint: &str| {
        mistakes.push(Mistake { key, or_else, what: what.to_owned(), hint: hint.to_owned() });
    };
    let has_extra = config.model.extra != Extra::None;
    for (key, is_given) in [("model.extra", has_extra), ("model.adapters", config.model.adapters.is_some())] {
        if is_given && model.heads == 0 {
            let what = format!("`{key}` needs an encoder, and this network has none");
            mistake(key, "model.architecture", &what, "leave it out, or leave `model.architecture` out");
        }
    }
    if has_extra && model.heads > 0 && config.model.pooling.is_some_and(|pooling| pooling != Pooling::Pooler) {
        let what = "`model.pooling` does not apply with `model.extra`, which has its own";
        mistake("model.pooling", "model.extra", what, "leave it out");
    }
    if config.model.adapters.is_some() && config.model.lora.is_some() {
        mistake("model.adapters", "model.lora", "`model.adapters` and `model.lora` are both set", "keep one of them");
    }
    mistakes
}

/// The mistakes in a list of augmentations: for each, what is wrong and what to do.
pub fn augmentation_mistakes(methods: &[Augmentation]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (place, method) in methods.iter().enumerate() {
        let (name, before) = (method.name(), &methods[..place]);
        if !method.changes_texts() && before.iter().any(|other| other.name() == name) {
            found.push((format!("`{name}` is applied twice"), "keep one of them".to_owned()));
        }
        if method.is_precomputed() && before.iter().any(Augmentation::changes_texts) {
            let what =
                format!("`{name}` is computed from the original texts, but another augmentation changes them first");
            found.push((what, format!("put `{name}` first")));
        }
        if let Augmentation::BackTranslation { engine: Translator::Command, out, home, .. } = method {
            let missing = [("out", out), ("home", home)].into_iter().find(|(_, command)| command.is_none());
            if let Some((parameter, _)) = missing {
                let example =
                    "{name: back_translation, out: apertium -u eng-spa, home: apertium -u spa-eng}, or engine: marian";
                found.push((format!("`back_translation` needs `{parameter}`"), example.to_owned()));
            }
        }
    }
    found
}

/// The mistakes of a trial's learning-rate schedule over `steps` steps.
pub(super) fn schedule(config: &TrialConfig, steps: u64) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let warmup = config.warmup.steps(steps);
    let mut mistake = |key, what, hint: &str| {
        mistakes.push(Mistake { key, or_else: "epochs", what, hint: hint.to_owned() });
    };
    if config.scheduler.rises() && warmup > 0 {
        let what = format!("`{}` rises on its own and takes no warm-up", config.scheduler.name());
        mistake("warmup", what, "write 0, or leave `warmup` out: its default is 0 with this schedule");
    } else if warmup > steps {
        let what = format!("a warm-up of {warmup} steps is longer than the run of {steps}");
        mistake("warmup", what, "shorten it, or write a fraction such as 0.1");
    }
    for (what, hint) in parameters(&config.scheduler, config.lr, warmup.min(steps), steps) {
        mistake("scheduler", what, hint);
    }
    mistakes
}

/// The mistakes in the parameters of a schedule: for each, what is wrong and what to do.
fn parameters(scheduler: &Scheduler, lr: f64, warmup: u64, steps: u64) -> Vec<(String, &'static str)> {
    let name = scheduler.name();
    let needs = |parameter: &str| format!("`{name}` needs `{parameter}`");
    let above = |parameter: &str, value: f64| {
        (format!("`{parameter}` of `{name}` is {value:e}, above the peak `lr` of {lr:e}"), "lower it, or raise `lr`")
    };
    let mut found = Vec::new();
    match scheduler {
        Scheduler::CosineWithMinLr { min_lr: None, min_lr_ratio: None, .. } => {
            found.push((needs("min_lr"), "or its share of the peak: {name: cosine_with_min_lr, min_lr_ratio: 0.1}"));
        }
        Scheduler::CosineWithMinLr { min_lr: Some(_), min_lr_ratio: Some(_), .. } => {
            found.push(("`min_lr` and `min_lr_ratio` both set the minimum".to_owned(), "keep one of them"));
        }
        Scheduler::CosineWithMinLr { min_lr: Some(least), .. } if *least > lr => found.push(above("min_lr", *least)),
        Scheduler::Polynomial { end_lr, .. } if *end_lr > lr => found.push(above("end_lr", *end_lr)),
        Scheduler::WarmupStableDecay { decay: None, .. } => {
            found.push((needs("decay"), "whole steps, or a fraction of all: {name: warmup_stable_decay, decay: 0.2}"));
        }
        Scheduler::WarmupStableDecay { decay: Some(decay), .. } => {
            let decay = decay.steps(steps);
            if decay > steps {
                let what = format!("a decay of {decay} steps is longer than the run of {steps}");
                found.push((what, "shorten it, or write a fraction such as 0.2"));
            } else if warmup + decay > steps {
                let what = format!("a warm-up of {warmup} and a decay of {decay} steps do not fit into {steps} steps");
                found.push((what, "shorten one of them"));
            }
        }
        Scheduler::Cyclical { min_lr, step_up, .. } => {
            match min_lr {
                None => found
                    .push((needs("min_lr"), "the learning rate between cycles: {name: cyclical, min_lr: 1e-6, ...}")),
                Some(least) if *least > lr => found.push(above("min_lr", *least)),
                Some(_) => {}
            }
            if step_up.is_none() {
                found.push((
                    needs("step_up"),
                    "the steps from the minimum to the peak: {name: cyclical, step_up: 50, ...}",
                ));
            }
        }
        Scheduler::ReduceOnPlateau { min_lr, .. } if *min_lr > lr => found.push(above("min_lr", *min_lr)),
        _ => {}
    }
    found
}
