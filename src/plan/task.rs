//! Settings that a task does not have, and class weights that do not fit the labels. Pure.

use super::check::Mistake;
use crate::spec::StopAcross;
use crate::trial::{Architecture, ClassWeights, DataFacts, Extra, LossName, Metric, TaskName, TrialConfig, Truncate};

/// The mistakes of a trial that its task explains.
pub(super) fn mistakes(config: &TrialConfig, data: &DataFacts) -> Vec<Mistake> {
    let task = config.data.task;
    let mut mistakes = mistakes_of_sequences(config);
    let mut mistake = |key, or_else, what, hint| mistakes.push(Mistake { key, or_else, what, hint });
    let patience = config.stop.patience.as_ref().and_then(|patience| patience.metric);
    for (key, metric) in [("metric", Some(config.metric)), ("stop.patience.metric", patience)] {
        if let Some(metric) = metric.filter(|metric| !task.metrics().contains(metric)) {
            let what = format!("`{key}` is {}, which `task: {}` does not measure", metric.name(), task.name());
            let names: Vec<&str> = task.metrics().iter().map(|metric| metric.name()).collect();
            mistake(key, "data.task", what, format!("expected one of {}", names.join(", ")));
        }
    }
    let loss = &config.loss;
    if task != TaskName::Classification {
        let others = [
            ("loss.name", loss.name == LossName::Focal, "focal loss"),
            ("loss.class_weights", loss.class_weights.is_some(), "class weights"),
            ("label_smoothing", config.label_smoothing > 0.0, "label smoothing"),
        ];
        if task.is_of_tokens() {
            mistakes_of_tokens(config, &mut mistake);
        }
        for (key, _, name) in others.into_iter().filter(|(_, is_set, _)| *is_set) {
            let what = format!("`{key}` needs classes: `task: {}` has no {name}", task.name());
            mistake(key, "data.task", what, "leave it out".to_owned());
        }
        return mistakes;
    }
    if loss.name == LossName::Focal && config.label_smoothing > 0.0 {
        let what = "the focal loss has no label smoothing".to_owned();
        mistake("label_smoothing", "loss.name", what, "set one of the two".to_owned());
    }
    if let Some(what) = loss.class_weights.as_ref().and_then(|weights| ClassWeights::mismatch(weights, &data.labels)) {
        let names: Vec<String> = data.labels.iter().take(20).map(|label| format!("`{label}`")).collect();
        mistake("loss.class_weights", "data.train", what, format!("the labels are {}", names.join(", ")));
    }
    mistakes
}

/// The settings of texts that are several sequences: questions with choices, and windows of long texts.
fn mistakes_of_sequences(config: &TrialConfig) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut mistake = |key, or_else, what: String, hint: &str| {
        mistakes.push(Mistake { key, or_else, what, hint: hint.to_owned() });
    };
    let (task, data) = (config.data.task, &config.data);
    let has_choices = task == TaskName::MultipleChoice;
    if !has_choices && !data.choices.is_empty() {
        let what = format!("`data.choices` does not apply to `task: {}`", task.name());
        mistake("data.choices", "data.task", what, "leave it out, or write task: multiple_choice");
    }
    if has_choices && config.mixup().is_some() {
        let what = "`mixup` does not apply to `task: multiple_choice`, whose loss compares the choices of one question";
        mistake("augmentation", "data.task", what.to_owned(), "leave it out");
    }
    if data.windows.is_some() {
        let others = [
            (has_choices || task.is_of_tokens(), "data.task", format!("`task: {}`", task.name())),
            (data.text_pair.is_some(), "data.text_pair", "pairs of texts".to_owned()),
            (
                data.truncate != Truncate::Head,
                "data.truncate",
                "`data.truncate`, because windows cut nothing".to_owned(),
            ),
        ];
        for (_, or_else, with) in others.into_iter().filter(|(is_set, ..)| *is_set) {
            mistake(
                "data.windows",
                or_else,
                format!("`data.windows` does not apply to {with}"),
                "leave one of them out",
            );
        }
    }
    mistakes
}

/// The settings that need one output for a text.
fn mistakes_of_tokens(config: &TrialConfig, mistake: &mut impl FnMut(&'static str, &'static str, String, String)) {
    let task = config.data.task;
    let is_masked = task == TaskName::MaskedLm;
    let architecture = match &config.model.architecture {
        Architecture::BagOfWords { .. } => Some("bag_of_words"),
        Architecture::Textcnn { .. } => Some("textcnn"),
        Architecture::Bilstm { .. } if is_masked => Some("bilstm"),
        Architecture::None | Architecture::Bilstm { .. } => None,
    };
    if let Some(name) = architecture {
        let (needs, use_other) = if is_masked {
            ("a head for masked tokens", "an encoder")
        } else {
            ("a vector for each word", "an encoder or bilstm")
        };
        let what = format!("`task: {}` needs {needs}, which {name} does not have", task.name());
        mistake("model.architecture", "data.task", what, format!("use {use_other}"));
    }
    let others = [
        ("model.pooling", config.model.pooling.is_some()),
        ("model.extra", config.model.extra != Extra::None),
        ("augmentation", !config.augmentation.is_empty()),
        ("data.text_pair", config.data.text_pair.is_some()),
        ("data.test", is_masked && config.data.test.is_some()),
    ];
    for (key, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
        let what = format!("`{key}` does not apply to `task: {}`, which has outputs for tokens", task.name());
        mistake(key, "data.task", what, "leave it out".to_owned());
    }
}

/// Why two trials of a sweep cannot be compared: their losses differ, and something compares losses.
pub(super) fn unlike_losses(first: &TrialConfig, other: &TrialConfig, across: &StopAcross) -> Option<Mistake> {
    let rules = [
        ("stop.asha.metric", across.asha.as_ref().map(|rule| rule.metric)),
        ("stop.median.metric", across.median.as_ref().map(|rule| rule.metric)),
    ];
    let metrics = std::iter::once(("metric", Some(other.metric))).chain(rules);
    let (key, _) = metrics.into_iter().find(|(_, metric)| metric.is_some_and(Metric::is_loss))?;
    let differing = [
        ("loss.name", first.loss.name != other.loss.name),
        ("loss.gamma", first.loss.gamma.total_cmp(&other.loss.gamma).is_ne()),
        ("loss.class_weights", first.loss.class_weights != other.loss.class_weights),
    ];
    let (varying, _) = differing.into_iter().find(|(_, differs)| *differs)?;
    Some(Mistake {
        key: varying,
        or_else: "loss.name",
        what: format!("`{varying}` varies, and trials with different losses cannot be compared by `eval_loss`"),
        hint: format!("choose another metric, such as {key}: macro_f1"),
    })
}
