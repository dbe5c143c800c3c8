//! The rows of the curve files and their text form.
//!
//! Floats are written with the fewest digits that give the same value back. A missing value is an empty field.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::trial::{ClassScores, DiagnosticRow, EvalRow, MetricRow, Scores};

/// Separates the items of a list within a field.
const LIST: &str = ";";

/// A row of a curve file.
pub trait CurveRow: Sized {
    const HEADER: &'static str;
    /// The header of older files, which lack the last columns.
    const OLD_HEADER: Option<&'static str> = None;
    /// The optimizer step of the row. Steps rise strictly within a file.
    fn step(&self) -> u64;
    /// Appends the row with its line end.
    fn write(&self, line: &mut String);
    /// Reads a line without its end. None if it is not a row.
    fn parse(line: &str) -> Option<Self>;
}

impl CurveRow for MetricRow {
    const HEADER: &'static str = "step,epoch,train_loss,lr,grad_norm,tokens,seconds";

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, epoch, train_loss, lr, grad_norm, tokens, seconds } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(line, "{step},{epoch:?},{train_loss:?},{lr:?},{grad_norm:?},{tokens},{seconds:.6}");
    }

    fn parse(line: &str) -> Option<Self> {
        let [step, epoch, train_loss, lr, grad_norm, tokens, seconds] = fields(line)?;
        Some(Self {
            step: step.parse().ok()?,
            epoch: double(epoch)?,
            train_loss: single(train_loss)?,
            lr: double(lr)?,
            grad_norm: single(grad_norm)?,
            tokens: tokens.parse().ok()?,
            seconds: double(seconds)?,
        })
    }
}

impl CurveRow for EvalRow {
    const HEADER: &'static str = "step,eval_loss,accuracy,macro_f1,train_probe_loss,weighted_f1,mcc,auroc,\
        average_precision,class_precision,class_recall,class_f1,class_support";
    const OLD_HEADER: Option<&'static str> = Some("step,eval_loss,accuracy,macro_f1,train_probe_loss");

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, eval_loss, accuracy, macro_f1, train_probe_loss, scores } = self;
        let Scores { weighted_f1, mcc, auroc, average_precision, classes } = scores;
        let ClassScores { precision, recall, f1, support } = classes;
        let _ = write!(line, "{step},{eval_loss:?},{accuracy:?},{macro_f1:?},{train_probe_loss:?}");
        for score in [weighted_f1, mcc, auroc, average_precision] {
            line.push(',');
            line.push_str(&score.map_or_else(String::new, |score| format!("{score:?}")));
        }
        for scores in [precision, recall, f1] {
            let scores: Vec<String> =
                scores.iter().map(|score| score.map_or_else(String::new, |score| format!("{score:?}"))).collect();
            line.push(',');
            line.push_str(&scores.join(LIST));
        }
        let support: Vec<String> = support.iter().map(u32::to_string).collect();
        let _ = writeln!(line, ",{}", support.join(LIST));
    }

    fn parse(line: &str) -> Option<Self> {
        let earlier = || {
            let [step, loss, accuracy, macro_f1, probe] = fields(line)?;
            Some([step, loss, accuracy, macro_f1, probe, "", "", "", "", "", "", "", ""])
        };
        let row = fields(line).or_else(earlier)?;
        let [step, eval_loss, accuracy, macro_f1, train_probe_loss, weighted_f1, mcc, auroc, ..] = row;
        let [.., average_precision, precision, recall, f1, support] = row;
        let classes = ClassScores {
            precision: list(precision, optional)?,
            recall: list(recall, optional)?,
            f1: list(f1, optional)?,
            support: list(support, |count| count.parse().ok())?,
        };
        let scores = Scores {
            weighted_f1: optional(weighted_f1)?,
            mcc: optional(mcc)?,
            auroc: optional(auroc)?,
            average_precision: optional(average_precision)?,
            classes,
        };
        Some(Self {
            step: step.parse().ok()?,
            eval_loss: single(eval_loss)?,
            accuracy: single(accuracy)?,
            macro_f1: single(macro_f1)?,
            train_probe_loss: single(train_probe_loss)?,
            scores,
        })
    }
}

impl CurveRow for DiagnosticRow {
    const HEADER: &'static str = "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong";
    const OLD_HEADER: Option<&'static str> = Some("step,first_grad_norm,last_grad_norm,update_ratio,predicted");

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, first_grad_norm, last_grad_norm, update_ratio, predicted, surest_wrong } = self;
        let number = |value: &Option<f32>| value.map_or_else(String::new, |value| format!("{value:?}"));
        let [first, last, ratio] = [first_grad_norm, last_grad_norm, update_ratio].map(number);
        let counts: Vec<String> = predicted.iter().map(u32::to_string).collect();
        let wrong = surest_wrong.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(line, "{step},{first},{last},{ratio},{},{wrong}", counts.join(" "));
    }

    fn parse(line: &str) -> Option<Self> {
        let earlier =
            || fields(line).map(|[step, first, last, ratio, predicted]| [step, first, last, ratio, predicted, ""]);
        let [step, first, last, ratio, predicted, wrong] = fields(line).or_else(earlier)?;
        Some(Self {
            step: step.parse().ok()?,
            first_grad_norm: optional(first)?,
            last_grad_norm: optional(last)?,
            update_ratio: optional(ratio)?,
            predicted: predicted.split_whitespace().map(|count| count.parse().ok()).collect::<Option<_>>()?,
            surest_wrong: if wrong.is_empty() { None } else { Some(wrong.parse().ok()?) },
        })
    }
}

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut parts = line.split(',');
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    parts.next().is_none().then_some(fields)
}

/// An empty field is None.
#[expect(clippy::option_option, reason = "a wrong field differs from an empty one")]
fn optional<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// The items of a list. An empty field has none.
fn list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.is_empty() { Some(Vec::new()) } else { text.split(LIST).map(item).collect() }
}

fn single(text: &str) -> Option<f32> {
    if text.is_empty() { Some(f32::NAN) } else { text.parse().ok() }
}

fn double(text: &str) -> Option<f64> {
    if text.is_empty() { Some(f64::NAN) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metric(step: u64) -> MetricRow {
        let epoch = step as f64 / 3.0;
        MetricRow { step, epoch, train_loss: 0.7, lr: 3e-5, grad_norm: f32::INFINITY, tokens: 512, seconds: 0.25 }
    }

    #[test]
    fn rows_have_the_documented_form() {
        let mut text = format!("{}\n", MetricRow::HEADER);
        for row in [metric(1), MetricRow { train_loss: f32::NAN, ..metric(2) }] {
            row.write(&mut text);
        }
        insta::assert_snapshot!(text, @r"
        step,epoch,train_loss,lr,grad_norm,tokens,seconds
        1,0.3333333333333333,0.7,3e-5,inf,512,0.250000
        2,0.6666666666666666,NaN,3e-5,inf,512,0.250000
        ");
        assert!(EvalRow::parse("5,0.5,,NaN,inf").is_some_and(|row| row.accuracy.is_nan() && row.macro_f1.is_nan()));
        for bad in ["", "5", "5,1,1,1", "5,1,1,1,1,1", "x,1,1,1,1", "5,one,1,1,1"] {
            assert_eq!(EvalRow::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn evaluations_come_back_and_undefined_scores_are_empty() {
        let classes = ClassScores {
            precision: vec![Some(2.0 / 3.0), None],
            recall: vec![Some(1.0), Some(0.0)],
            f1: vec![None, Some(0.25)],
            support: vec![3, 0],
        };
        let scores = Scores { weighted_f1: Some(0.1), mcc: None, auroc: None, average_precision: Some(0.5), classes };
        let row = EvalRow { step: 5, eval_loss: 0.5, accuracy: 0.25, macro_f1: 0.5, train_probe_loss: 1.0, scores };
        let mut line = String::new();
        row.write(&mut line);
        assert_eq!(line, "5,0.5,0.25,0.5,1.0,0.1,,,0.5,0.6666666666666666;,1.0;0.0,;0.25,3;0\n");
        assert_eq!(EvalRow::parse(line.trim_end()), Some(row));
        let earlier = EvalRow::parse("5,0.5,0.25,0.5,1.0").unwrap();
        assert_eq!((earlier.train_probe_loss, earlier.scores), (1.0, Scores::default()));
    }

    proptest! {
        #[test]
        fn floats_come_back_to_the_bit(bits in any::<u32>(), wide in any::<u64>()) {
            let row = MetricRow { train_loss: f32::from_bits(bits), lr: f64::from_bits(wide), ..metric(1) };
            let mut line = String::new();
            row.write(&mut line);
            let back = MetricRow::parse(line.trim_end()).unwrap();
            prop_assert!(back.train_loss.is_nan() && row.train_loss.is_nan() || back.train_loss.to_bits() == bits);
            prop_assert!(back.lr.is_nan() && row.lr.is_nan() || back.lr.to_bits() == wide);
        }
    }
}
