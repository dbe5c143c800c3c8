//! The rows of the curve files and their text form.
//!
//! Floats are written with the fewest digits that give the same value back. A missing value is an empty field.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::trial::{ClassScores, DiagnosticRow, EvalRow, MetricRow, Scores};

/// Separates the items of a list within a field.
const LIST: &str = ";";

/// Columns of `evals.csv`, now and in each earlier form.
const EVAL_COLUMNS: usize = 27;
const EVAL_COUNTS: [usize; 4] = [EVAL_COLUMNS, 22, 13, 5];

/// A row of a curve file.
pub trait CurveRow: Sized {
    const HEADER: &'static str;
    /// The headers of older files, which lack the last columns.
    const OLD_HEADERS: &'static [&'static str] = &[];
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
        average_precision,class_precision,class_recall,class_f1,class_support,mse,mae,r2,pearson,spearman,micro_f1,\
        subset_accuracy,macro_auroc,macro_average_precision,entity_precision,entity_recall,entity_f1,token_accuracy,\
        perplexity";
    const OLD_HEADERS: &'static [&'static str] = &[
        "step,eval_loss,accuracy,macro_f1,train_probe_loss",
        "step,eval_loss,accuracy,macro_f1,train_probe_loss,weighted_f1,mcc,auroc,average_precision,class_precision,\
         class_recall,class_f1,class_support",
        "step,eval_loss,accuracy,macro_f1,train_probe_loss,weighted_f1,mcc,auroc,average_precision,class_precision,\
         class_recall,class_f1,class_support,mse,mae,r2,pearson,spearman,micro_f1,subset_accuracy,macro_auroc,\
         macro_average_precision",
    ];

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, eval_loss, accuracy, macro_f1, train_probe_loss, scores } = self;
        let Scores { weighted_f1, mcc, auroc, average_precision, classes, .. } = scores;
        let ClassScores { precision, recall, f1, support } = classes;
        let defined = |score: &f32| if score.is_nan() { String::new() } else { format!("{score:?}") };
        let _ = write!(line, "{step},{eval_loss:?},{},{},{train_probe_loss:?}", defined(accuracy), defined(macro_f1));
        write_scores(line, [weighted_f1, mcc, auroc, average_precision]);
        for scores in [precision, recall, f1] {
            let scores: Vec<String> =
                scores.iter().map(|score| score.map_or_else(String::new, |score| format!("{score:?}"))).collect();
            line.push(',');
            line.push_str(&scores.join(LIST));
        }
        let support: Vec<String> = support.iter().map(u32::to_string).collect();
        let _ = write!(line, ",{}", support.join(LIST));
        let Scores { mse, mae, r2, pearson, spearman, micro_f1, subset_accuracy, .. } = scores;
        let Scores { macro_auroc, macro_average_precision, .. } = scores;
        write_scores(line, [mse, mae, r2, pearson, spearman]);
        write_scores(line, [micro_f1, subset_accuracy, macro_auroc, macro_average_precision]);
        let Scores { entity_precision, entity_recall, entity_f1, token_accuracy, perplexity, .. } = scores;
        write_scores(line, [entity_precision, entity_recall, entity_f1, token_accuracy, perplexity]);
        line.push('\n');
    }

    fn parse(line: &str) -> Option<Self> {
        // Older rows end earlier.
        let mut row = [""; EVAL_COLUMNS];
        let count = line.split(',').count();
        if !EVAL_COUNTS.contains(&count) {
            return None;
        }
        line.split(',').zip(&mut row).for_each(|(field, place)| *place = field);
        let [step, eval_loss, accuracy, macro_f1, train_probe_loss, weighted_f1, mcc, auroc, average_precision, ..] =
            row;
        let [precision, recall, f1, support] = [row[9], row[10], row[11], row[12]];
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
            mse: optional(row[13])?,
            mae: optional(row[14])?,
            r2: optional(row[15])?,
            pearson: optional(row[16])?,
            spearman: optional(row[17])?,
            micro_f1: optional(row[18])?,
            subset_accuracy: optional(row[19])?,
            macro_auroc: optional(row[20])?,
            macro_average_precision: optional(row[21])?,
            entity_precision: optional(row[22])?,
            entity_recall: optional(row[23])?,
            entity_f1: optional(row[24])?,
            token_accuracy: optional(row[25])?,
            perplexity: optional(row[26])?,
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
    const HEADER: &'static str =
        "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong,surest_expected";
    const OLD_HEADERS: &'static [&'static str] = &[
        "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong",
        "step,first_grad_norm,last_grad_norm,update_ratio,predicted",
    ];

    fn step(&self) -> u64 {
        self.step
    }

    fn write(&self, line: &mut String) {
        let Self { step, first_grad_norm, last_grad_norm, update_ratio, predicted, surest_wrong, surest_expected } =
            self;
        let number = |value: &Option<f32>| value.map_or_else(String::new, |value| format!("{value:?}"));
        let [first, last, ratio, expected] =
            [first_grad_norm, last_grad_norm, update_ratio, surest_expected].map(number);
        let counts: Vec<String> = predicted.iter().map(u32::to_string).collect();
        let wrong = surest_wrong.map_or_else(String::new, |count| count.to_string());
        let _ = writeln!(line, "{step},{first},{last},{ratio},{},{wrong},{expected}", counts.join(" "));
    }

    fn parse(line: &str) -> Option<Self> {
        let second = || fields(line).map(|[a, b, c, d, predicted, wrong]| [a, b, c, d, predicted, wrong, ""]);
        let first = || fields(line).map(|[a, b, c, d, predicted]| [a, b, c, d, predicted, "", ""]);
        let [step, first, last, ratio, predicted, wrong, expected] = fields(line).or_else(second).or_else(first)?;
        Some(Self {
            step: step.parse().ok()?,
            first_grad_norm: optional(first)?,
            last_grad_norm: optional(last)?,
            update_ratio: optional(ratio)?,
            predicted: predicted.split_whitespace().map(|count| count.parse().ok()).collect::<Option<_>>()?,
            surest_wrong: if wrong.is_empty() { None } else { Some(wrong.parse().ok()?) },
            surest_expected: optional(expected)?,
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

/// Appends fields; what is undefined is empty.
fn write_scores<'a>(line: &mut String, scores: impl IntoIterator<Item = &'a Option<f32>>) {
    for score in scores {
        line.push(',');
        line.push_str(&score.map_or_else(String::new, |score| format!("{score:?}")));
    }
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
        let (weighted_f1, average_precision, mae) = (Some(0.1), Some(0.5), Some(2.0));
        let scores = Scores { weighted_f1, average_precision, classes, mae, ..Scores::default() };
        let row = EvalRow { step: 5, eval_loss: 0.5, accuracy: 0.25, macro_f1: 0.5, train_probe_loss: 1.0, scores };
        let mut line = String::new();
        row.write(&mut line);
        assert_eq!(line, "5,0.5,0.25,0.5,1.0,0.1,,,0.5,0.6666666666666666;,1.0;0.0,;0.25,3;0,,2.0,,,,,,,,,,,,\n");
        assert_eq!(line.matches(',').count() + 1, EVAL_COLUMNS);
        assert_eq!(EvalRow::HEADER.matches(',').count() + 1, EVAL_COLUMNS);
        assert_eq!(EvalRow::parse(line.trim_end()), Some(row));
        let earlier = EvalRow::parse("5,0.5,0.25,0.5,1.0").unwrap();
        assert_eq!((earlier.train_probe_loss, earlier.scores), (1.0, Scores::default()));
        let regression = EvalRow { accuracy: f32::NAN, macro_f1: f32::NAN, ..EvalRow::parse("5,0.5,1,1,1").unwrap() };
        let mut line = String::new();
        regression.write(&mut line);
        assert!(line.starts_with("5,0.5,,,1.0,"), "{line}");
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
