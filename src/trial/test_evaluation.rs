//! `test.json`: how the best trial of a sweep does on the test set.

use serde::{Deserialize, Serialize};

use super::{Scores, TrialId};

/// Every evaluation of the test set, the last one last. More than one means that the scores are too good: the sweep was changed
/// after its test scores were known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TestRecord {
    pub evaluations: Vec<TestEvaluation>,
    /// Whether the file cannot be read, so that earlier evaluations are unknown.
    #[serde(skip)]
    pub is_damaged: bool,
}

/// The scores of one trial on the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestEvaluation {
    pub trial: TrialId,
    /// The step of the weights that were evaluated.
    pub step: u64,
    /// When, such as `2026-11-22 22:15 UTC`.
    pub date: String,
    /// blake3 over the rows of the test set.
    pub data_hash: String,
    pub rows: usize,
    /// The evaluation loss of the task; None if it is not finite.
    pub loss: Option<f32>,
    pub accuracy: Option<f32>,
    pub macro_f1: Option<f32>,
    #[serde(flatten)]
    pub scores: Scores,
    /// Names in class order; none if the task has none.
    pub labels: Vec<String>,
    /// Number of rows of each class (row) that were predicted to be of each class (column).
    pub confusion: Vec<Vec<u32>>,
}

impl TestEvaluation {
    /// `loss 0.4120, accuracy 0.8500, ... on the 200 rows of the test set`.
    #[must_use]
    pub fn text(&self) -> String {
        let scores = [
            ("loss", self.loss),
            ("accuracy", self.accuracy),
            ("macro-F1", self.macro_f1),
            ("weighted F1", self.scores.weighted_f1),
            ("MCC", self.scores.mcc),
            ("AUROC", self.scores.auroc),
            ("average precision", self.scores.average_precision),
            ("MSE", self.scores.mse),
            ("MAE", self.scores.mae),
            ("R²", self.scores.r2),
            ("Pearson correlation", self.scores.pearson),
            ("Spearman correlation", self.scores.spearman),
            ("micro-F1", self.scores.micro_f1),
            ("subset accuracy", self.scores.subset_accuracy),
            ("macro-AUROC", self.scores.macro_auroc),
            ("macro average precision", self.scores.macro_average_precision),
            ("entity precision", self.scores.entity_precision),
            ("entity recall", self.scores.entity_recall),
            ("entity F1", self.scores.entity_f1),
            ("token accuracy", self.scores.token_accuracy),
            ("perplexity", self.scores.perplexity),
        ];
        let known = scores.iter().filter_map(|(name, value)| Some(format!("{name} {:.4}", (*value)?)));
        let scores: Vec<String> = known.collect();
        format!("{} on the {} rows of the test set", scores.join(", "), self.rows)
    }
}

impl TestRecord {
    /// A sentence that lists all evaluations, if there was more than one.
    #[must_use]
    pub fn repeated_use(&self) -> Option<String> {
        let uses: Vec<String> =
            self.evaluations.iter().map(|one| format!("trial {} on {}", one.trial, one.date)).collect();
        (uses.len() > 1).then(|| {
            format!(
                "The test set was evaluated {} times: {}. If earlier test scores influenced the sweep, the last ones are too \
                 good.",
                uses.len(),
                uses.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> TestEvaluation {
        TestEvaluation {
            trial: TrialId::parse("0123456789ab").unwrap(),
            step: 40,
            date: "2026-11-22 22:15 UTC".into(),
            data_hash: "h".into(),
            rows: 200,
            loss: None,
            accuracy: Some(0.85),
            macro_f1: Some(0.8),
            scores: Scores { mcc: Some(0.7), ..Scores::default() },
            labels: vec!["a".into(), "b".into()],
            confusion: vec![vec![1, 2], vec![3, 4]],
        }
    }

    #[test]
    fn what_is_undefined_is_left_out() {
        insta::assert_snapshot!(evaluation().text(), @"accuracy 0.8500, macro-F1 0.8000, MCC 0.7000 on the 200 rows of the test set");
        let json = serde_json::to_string(&evaluation()).unwrap();
        assert_eq!(serde_json::from_str::<TestEvaluation>(&json).unwrap(), evaluation());
    }

    #[test]
    fn only_a_repeated_use_is_mentioned() {
        let record = |n| TestRecord { evaluations: vec![evaluation(); n], is_damaged: false };
        assert_eq!(record(1).repeated_use(), None);
        insta::assert_snapshot!(record(2).repeated_use().unwrap(), @"The test set was evaluated 2 times: trial 0123456789ab on 2026-11-22 22:15 UTC, trial 0123456789ab on 2026-11-22 22:15 UTC. If earlier test scores influenced the sweep, the last ones are too good.");
    }
}
