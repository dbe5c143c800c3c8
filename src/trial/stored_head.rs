//! The classifier that a checkpoint holds, and whether a trial starts from it.

use serde::{Deserialize, Serialize};

use super::{Architecture, Extra, ModelConfig, Pooling, SHOWN_NAMES, TaskName};

/// The classifier of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredHead {
    /// How its input was made from the vectors of the tokens. None: it has outputs for each word.
    pub pooling: Option<Pooling>,
    /// Numbers for each target.
    pub outputs: usize,
    /// Their names in order. Empty: the checkpoint does not name them.
    pub labels: Vec<String>,
    /// Whether it stands beside the encoder, as in a sentence-transformers folder. The trials then pool as it does by default.
    pub is_module: bool,
}

impl StoredHead {
    /// Why a trial with these label names does not start from this head. None: it does, or its network has no such head.
    #[must_use]
    pub fn mismatch(&self, task: TaskName, model: &ModelConfig, labels: &[String]) -> Option<String> {
        let is_of_words = task == TaskName::Tokens;
        if !Self::applies(task, model) {
            return None;
        }
        if self.pooling.is_none() != is_of_words {
            let what = if is_of_words { "for whole texts" } else { "for single words" };
            return Some(format!("it has outputs {what}"));
        }
        if model.extra != Extra::None {
            return Some("model.extra makes another input for it".to_owned());
        }
        if let Some((stored, wanted)) = self.pooling.zip(model.pooling).filter(|(stored, wanted)| stored != wanted) {
            return Some(format!(
                "it reads model.pooling: {}, and the trial has {}",
                format!("{stored:?}").to_lowercase(),
                format!("{wanted:?}").to_lowercase()
            ));
        }
        let names = if self.labels.is_empty() { String::new() } else { format!(": {}", shown(&self.labels)) };
        if self.outputs != task.outputs(labels.len()) {
            return Some(format!("it has {} outputs{names}", self.outputs));
        }
        let differ = !self.labels.is_empty() && !labels.is_empty() && self.labels != labels;
        differ.then(|| format!("it has other labels{names}"))
    }

    /// Whether trials of this task and network have a head of this kind.
    fn applies(task: TaskName, model: &ModelConfig) -> bool {
        let has_classifier = !matches!(task, TaskName::MultipleChoice | TaskName::MaskedLm);
        has_classifier && model.architecture == Architecture::None
    }

    /// What the trial starts from, in a line. None: its network has no such head.
    #[must_use]
    pub fn line(&self, task: TaskName, model: &ModelConfig, labels: &[String]) -> Option<String> {
        if !Self::applies(task, model) {
            return None;
        }
        Some(match self.mismatch(task, model, labels) {
            Some(why) => format!("head: new; that of the checkpoint is not used, because {why}"),
            None if labels.is_empty() => "head: that of the checkpoint".to_owned(),
            None if self.labels.is_empty() => {
                format!(
                    "head: that of the checkpoint, which names no labels; they are taken in the order {}",
                    shown(labels)
                )
            }
            None => format!("head: that of the checkpoint, with the same labels: {}", shown(labels)),
        })
    }
}

/// The first of these names.
fn shown(names: &[String]) -> String {
    let first = names.iter().take(SHOWN_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN_NAMES { format!("{first} and {} more", names.len() - SHOWN_NAMES) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_with_other_labels_or_another_input_is_not_used() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let head = StoredHead {
            pooling: Some(Pooling::Mean),
            outputs: 3,
            labels: names(&["neg", "neu", "pos"]),
            is_module: true,
        };
        let model = |pooling| ModelConfig { pooling: Some(pooling), ..ModelConfig::default() };
        let line = |head: &StoredHead, task, pooling, labels: &[&str]| {
            head.line(task, &model(pooling), &names(labels)).unwrap_or_default()
        };
        let single = TaskName::Classification;
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(
            line(&head, single, Pooling::Mean, &["neg", "neu", "pos"]),
            "head: that of the checkpoint, with the same labels: neg, neu, pos",
        );
        let new = "head: new; that of the checkpoint is not used, because it";
        check(
            line(&head, single, Pooling::Mean, &["A_pos", "neg", "neu"]),
            &format!("{new} has other labels: neg, neu, pos"),
        );
        check(line(&head, single, Pooling::Mean, &["neg", "pos"]), &format!("{new} has 3 outputs: neg, neu, pos"));
        check(
            line(&head, single, Pooling::Cls, &["neg", "neu", "pos"]),
            &format!("{new} reads model.pooling: mean, and the trial has cls"),
        );
        check(
            line(&head, TaskName::Tokens, Pooling::Mean, &["B", "I", "O"]),
            &format!("{new} has outputs for whole texts"),
        );
        assert_eq!(head.line(TaskName::MaskedLm, &model(Pooling::Mean), &[]), None);
        let unnamed = StoredHead { labels: Vec::new(), ..head.clone() };
        check(
            line(&unnamed, single, Pooling::Mean, &["a", "b", "c"]),
            "head: that of the checkpoint, which names no labels; they are taken in the order a, b, c",
        );
        let number = StoredHead { outputs: 1, ..unnamed };
        check(line(&number, TaskName::Regression, Pooling::Mean, &[]), "head: that of the checkpoint");
    }
}
