//! What a model learns to predict, and the settings of its loss.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Metric;

/// What the label of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskName {
    /// One of several classes.
    #[default]
    Classification,
    /// A number.
    Regression,
    /// Any number of labels, also none.
    MultiLabel,
    /// A tag for each word.
    Tokens,
    /// No label: the tokens that masks hide.
    MaskedLm,
    /// The right one of several choices.
    MultipleChoice,
}

impl TaskName {
    pub const ALL: [Self; 6] =
        [Self::Classification, Self::Regression, Self::MultiLabel, Self::Tokens, Self::MaskedLm, Self::MultipleChoice];

    /// The name in sweep files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
            Self::MultiLabel => "multi_label",
            Self::Tokens => "tokens",
            Self::MaskedLm => "masked_lm",
            Self::MultipleChoice => "multiple_choice",
        }
    }

    /// The `problem_type` of transformers. None: the class of the model says it.
    #[must_use]
    pub fn problem_type(self) -> Option<&'static str> {
        match self {
            Self::Classification => Some("single_label_classification"),
            Self::Regression => Some("regression"),
            Self::MultiLabel => Some("multi_label_classification"),
            Self::Tokens | Self::MaskedLm | Self::MultipleChoice => None,
        }
    }

    /// The last part of the name of transformers' classes, as in `BertForTokenClassification` and
    /// `AutoModelForTokenClassification`.
    #[must_use]
    pub fn model_class(self) -> &'static str {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => "ForSequenceClassification",
            Self::Tokens => "ForTokenClassification",
            Self::MaskedLm => "ForMaskedLM",
            Self::MultipleChoice => "ForMultipleChoice",
        }
    }

    /// The pipeline of transformers that runs its models. None: it has none.
    #[must_use]
    pub fn pipeline(self) -> Option<&'static str> {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => Some("text-classification"),
            Self::Tokens => Some("token-classification"),
            Self::MaskedLm => Some("fill-mask"),
            Self::MultipleChoice => None,
        }
    }

    /// Whether there are labels. A masked language model has none.
    #[must_use]
    pub fn has_labels(self) -> bool {
        self != Self::MaskedLm
    }

    /// Whether the network has outputs for tokens, not for whole texts.
    #[must_use]
    pub fn is_of_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::MaskedLm)
    }

    /// Numbers that the network gives out for each sequence or word, given the number of label names.
    #[must_use]
    pub fn outputs(self, labels: usize) -> usize {
        if matches!(self, Self::Regression | Self::MultipleChoice) { 1 } else { labels }
    }

    /// The metric that tables show beside the loss.
    #[must_use]
    pub fn headline(self) -> Metric {
        match self {
            Self::Classification | Self::MaskedLm | Self::MultipleChoice => Metric::Accuracy,
            Self::Regression => Metric::R2,
            Self::MultiLabel => Metric::MicroF1,
            Self::Tokens => Metric::EntityF1,
        }
    }

    /// The unit of its loss.
    #[must_use]
    pub fn loss_unit(self) -> &'static str {
        if self == Self::Regression { "squared units of the label" } else { "nats" }
    }

    /// The metrics that it measures, the loss first.
    #[must_use]
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Classification => &[
                Metric::EvalLoss,
                Metric::Accuracy,
                Metric::MacroF1,
                Metric::WeightedF1,
                Metric::Mcc,
                Metric::Auroc,
                Metric::AveragePrecision,
            ],
            Self::Regression => {
                &[Metric::EvalLoss, Metric::Mse, Metric::Mae, Metric::R2, Metric::Pearson, Metric::Spearman]
            }
            Self::MultiLabel => &[
                Metric::EvalLoss,
                Metric::MicroF1,
                Metric::MacroF1,
                Metric::SubsetAccuracy,
                Metric::MacroAuroc,
                Metric::MacroAveragePrecision,
            ],
            Self::Tokens => &[
                Metric::EvalLoss,
                Metric::EntityPrecision,
                Metric::EntityRecall,
                Metric::EntityF1,
                Metric::TokenAccuracy,
            ],
            Self::MaskedLm => &[Metric::EvalLoss, Metric::Perplexity, Metric::Accuracy],
            Self::MultipleChoice => &[Metric::EvalLoss, Metric::Accuracy],
        }
    }
}

/// `loss`: the loss of a classifier. Other tasks have one loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossConfig {
    pub name: LossName,
    /// The power of [`LossName::Focal`].
    pub gamma: f64,
    /// The weight of each class in the mean loss; None: all are equal.
    pub class_weights: Option<ClassWeights>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { name: LossName::CrossEntropy, gamma: 2.0, class_weights: None }
    }
}

impl LossConfig {
    /// Whether this is the plain cross-entropy.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.name == LossName::CrossEntropy && self.class_weights.is_none()
    }
}

/// The loss of an example whose class has the probability p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// `-ln p`.
    #[default]
    CrossEntropy,
    /// `(1 - p)^gamma (-ln p)` (Lin et al. 2017, equation 4).
    Focal,
}

/// The weights of the classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    Named(Balanced),
    /// By label.
    Each(BTreeMap<String, f64>),
}

/// `rows / (classes * rows of the class)`, as scikit-learn's `class_weight="balanced"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balanced {
    Balanced,
}

impl ClassWeights {
    /// What is wrong with the names of the weights for these labels.
    #[must_use]
    pub fn mismatch(&self, labels: &[String]) -> Option<String> {
        let Self::Each(weights) = self else { return None };
        let listed = |names: &[&String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let missing: Vec<&String> = labels.iter().filter(|label| !weights.contains_key(*label)).collect();
        let unknown: Vec<&String> = weights.keys().filter(|name| !labels.contains(name)).collect();
        let what = match (missing.as_slice(), unknown.as_slice()) {
            ([], []) => return None,
            ([], unknown) => format!("names {}, which the data do not have", listed(unknown)),
            (missing, []) => format!("has no weight for {}", listed(missing)),
            (missing, unknown) => {
                format!(
                    "names {}, which the data do not have, and has no weight for {}",
                    listed(unknown),
                    listed(missing)
                )
            }
        };
        Some(format!("`loss.class_weights` {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_name_every_label_and_no_other() {
        let labels = ["neg".to_owned(), "pos".to_owned()];
        let weights = |names: &[&str]| {
            ClassWeights::Each(names.iter().map(|name| ((*name).to_owned(), 1.0)).collect()).mismatch(&labels)
        };
        assert_eq!((weights(&["neg", "pos"]), ClassWeights::Named(Balanced::Balanced).mismatch(&labels)), (None, None));
        insta::assert_snapshot!(weights(&["neg"]).unwrap(), @"`loss.class_weights` has no weight for `pos`");
        insta::assert_snapshot!(weights(&["neg", "pos", "x"]).unwrap(), @"`loss.class_weights` names `x`, which the data do not have");
        insta::assert_snapshot!(weights(&["neg", "Pos"]).unwrap(), @"`loss.class_weights` names `Pos`, which the data do not have, and has no weight for `pos`");
    }

    #[test]
    fn names_are_those_of_the_json_form() {
        for task in TaskName::ALL {
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
        }
    }
}
