//! Multiple choice: the network gives each choice of a question one score.
//!
//! The loss is the cross-entropy of the softmax over a question's choices, as in transformers' models for multiple choice.

use std::collections::BTreeMap;

use super::classification::cross_entropy;
use super::target::Target;
use super::task::{Evaluated, Task};
use crate::train::metrics::best_class;

/// The loss and the metrics of questions with this many choices.
#[derive(Debug)]
pub struct MultipleChoice {
    pub choices: usize,
}

/// The right choice that a field of the label column names: by its number from 0, or by the column that it stands in.
pub(super) fn read(text: &str, numbers: &BTreeMap<&str, u32>) -> Result<Target, String> {
    // A number that could be both is never guessed at.
    let are_named_by_numbers = numbers.keys().any(|name| name.parse::<u32>().is_ok());
    let place = text.parse().ok().filter(|place| (*place as usize) < numbers.len());
    let number = place.filter(|_| !are_named_by_numbers);
    number.or(numbers.get(text).copied()).map(Target::Choice).ok_or_else(|| {
        let last = numbers.len().saturating_sub(1);
        let columns: Vec<&str> = numbers.keys().copied().collect();
        format!(
            "the label `{text}` names none of the {} choices; expected a number from 0 to {last}, or a column of data.choices ({})",
            numbers.len(),
            columns.join(", ")
        )
    })
}

/// The right choice of a question.
fn right(target: &Target) -> Option<usize> {
    if let Target::Choice(choice) = target { Some(*choice as usize) } else { None }
}

impl Task for MultipleChoice {
    fn outputs(&self) -> usize {
        self.choices
    }

    fn loss(&self, outputs: &[f64], target: &Target) -> f64 {
        self.gradient(outputs, target).0
    }

    fn gradient(&self, outputs: &[f64], target: &Target) -> (f64, Vec<f64>) {
        match right(target) {
            Some(choice) => cross_entropy(outputs, choice),
            None => (f64::NAN, vec![f64::NAN; outputs.len()]),
        }
    }

    fn evaluate(&self, outputs: &[&[f32]], targets: &[&Target]) -> Evaluated {
        let hits = outputs.iter().zip(targets).filter(|(row, target)| right(target) == Some(best_class(row)));
        let accuracy = (!targets.is_empty()).then(|| (hits.count() as f64 / targets.len() as f64) as f32);
        Evaluated { accuracy, ..Evaluated::default() }
    }

    /// Without the texts, each choice is as likely as any other: ln of their number.
    fn chance(&self, _targets: &[Target]) -> Option<f64> {
        Some((self.choices as f64).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::testing::slopes_agree;

    #[test]
    fn the_gradient_is_the_slope() {
        let task = MultipleChoice { choices: 3 };
        slopes_agree(&task, &[0.3, -1.2, 2.0], &Target::Choice(1));
        assert!(task.loss(&[0.0; 3], &Target::Unknown).is_nan());
        assert!((task.loss(&[0.5; 3], &Target::Choice(2)) - task.chance(&[]).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn accuracy_is_the_share_of_right_choices() {
        let task = MultipleChoice { choices: 2 };
        let rows: [&[f32]; 3] = [&[0.1, 0.2], &[3.0, 0.0], &[0.0, 1.0]];
        let targets = [1, 0, 0].map(Target::Choice);
        let found = task.evaluate(&rows, &targets.iter().collect::<Vec<_>>());
        assert!((found.accuracy.unwrap() - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(task.evaluate(&[], &[]).accuracy, None);
    }

    #[test]
    fn a_label_is_a_number_or_a_column() {
        let numbers = BTreeMap::from([("ending0", 0), ("ending1", 1)]);
        assert_eq!(read("1", &numbers), Ok(Target::Choice(1)));
        assert_eq!(read("ending0", &numbers), Ok(Target::Choice(0)));
        // Where columns are named by numbers, a label is a name.
        let named = BTreeMap::from([("1", 0), ("2", 1)]);
        assert_eq!(read("1", &named), Ok(Target::Choice(0)));
        assert!(read("0", &named).is_err());
        insta::assert_snapshot!(read("2", &numbers).unwrap_err(), @"the label `2` names none of the 2 choices; expected a number from 0 to 1, or a column of data.choices (ending0, ending1)");
    }
}
