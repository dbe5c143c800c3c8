//! Multiple choice: the network gives each choice of a question one score.
//!
//! The loss is the cross-entropy of the softmax over a question's choices, as in transformers' models for multiple choice.

use super::classification::cross_entropy;
use super::target::Target;
use super::task::{Evaluated, Task};
use crate::train::metrics::best_class;

/// The loss and the metrics of questions with this many choices.
#[derive(Debug)]
pub struct MultipleChoice {
    pub choices: usize,
}

/// The place of the right choice that a field of the label column names: by its number from 0, or by the column that it stands in.
pub(super) fn place(text: &str, columns: &[String]) -> Result<usize, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    // A number that could be both is never guessed at.
    let are_named_by_numbers = columns.iter().any(|name| name.parse::<u32>().is_ok());
    let name = number.map_or_else(|| text.to_owned(), |number| number.to_string());
    let named = columns.iter().position(|column| *column == text || are_named_by_numbers && *column == name);
    let counted = number.map(|number| number as usize).filter(|place| !are_named_by_numbers && *place < columns.len());
    named.or(counted).ok_or_else(|| {
        let counts_from_1 = !are_named_by_numbers && number.is_some_and(|number| number as usize == columns.len());
        let is_letter = text.len() == 1 && text.starts_with(|c: char| c.is_ascii_alphabetic());
        let advice = if counts_from_1 {
            "the first choice is 0, not 1: subtract 1 from every label".to_owned()
        } else if is_letter {
            "write 0 for the first letter, 1 for the second and so on, or give the columns of the choices these names"
                .to_owned()
        } else if are_named_by_numbers {
            format!("expected a column of data.choices ({})", columns.join(", "))
        } else {
            let last = columns.len().saturating_sub(1);
            format!("expected a number from 0 to {last}, or a column of data.choices ({})", columns.join(", "))
        };
        format!("the label `{text}` names none of the {} choices; {advice}", columns.len())
    })
}

/// The right choice by its number, of this many.
pub(super) fn read(text: &str, choices: usize) -> Result<Target, String> {
    let number = text.parse().ok().filter(|number| (*number as usize) < choices);
    number.map(Target::Choice).ok_or_else(|| format!("the label `{text}` is none of the {choices} choices"))
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
        let endings = ["ending0", "ending1"].map(str::to_owned);
        assert_eq!(["1", "1.0", "ending1"].map(|label| place(label, &endings)), [Ok(1), Ok(1), Ok(1)]);
        // Where columns are named by numbers, a label is a name.
        let named = ["1", "2"].map(str::to_owned);
        assert_eq!(["1", "1.0", "2"].map(|label| place(label, &named)), [Ok(0), Ok(0), Ok(1)]);
        let letters = ["A", "B"].map(str::to_owned);
        assert_eq!(["A", "B", "1"].map(|label| place(label, &letters)), [Ok(0), Ok(1), Ok(1)]);
        assert_eq!((read("1", 2), read("2", 2).is_err()), (Ok(Target::Choice(1)), true));
    }

    #[test]
    fn a_label_that_names_no_choice_is_explained() {
        let endings = ["ending0", "ending1"].map(str::to_owned);
        let message = |label: &str| place(label, &endings).unwrap_err();
        insta::assert_snapshot!(message("2"), @"the label `2` names none of the 2 choices; the first choice is 0, not 1: subtract 1 from every label");
        insta::assert_snapshot!(message("B"), @"the label `B` names none of the 2 choices; write 0 for the first letter, 1 for the second and so on, or give the columns of the choices these names");
        insta::assert_snapshot!(message("-1"), @"the label `-1` names none of the 2 choices; expected a number from 0 to 1, or a column of data.choices (ending0, ending1)");
        insta::assert_snapshot!(message("0.5"), @"the label `0.5` names none of the 2 choices; expected a number from 0 to 1, or a column of data.choices (ending0, ending1)");
        let named = ["1", "2"].map(str::to_owned);
        insta::assert_snapshot!(place("0", &named).unwrap_err(), @"the label `0` names none of the 2 choices; expected a column of data.choices (1, 2)");
    }
}
