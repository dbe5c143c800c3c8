//! Training logs of any origin: rows of named numbers, as CSV, TSV, JSON lines or Hugging Face's `trainer_state.json`.
//!
//! The kind is told from the content, the columns from their names. A field that is empty, or no number, was not measured;
//! NaN and infinities were. Rows may come in any order and say different things; the last word about a step counts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::analysis::Measured;
use crate::analysis::curve::Point;

/// A field by its column's name, in one spelling.
type Row = BTreeMap<String, Field>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Number(f64),
    Text(String),
}

/// The names that a quantity goes by, the likeliest first: lower case, `_` for any other sign.
const STEP: &[&str] =
    &["step", "global_step", "_step", "trainer_global_step", "steps", "iteration", "iter", "batch", "update"];
const TRAIN: &[&str] = &["train_loss", "loss", "training_loss", "train_loss_step", "loss_train", "train_batch_loss"];
const EVAL: &[&str] = &[
    "eval_loss",
    "val_loss",
    "valid_loss",
    "validation_loss",
    "dev_loss",
    "test_loss",
    "loss_val",
    "loss_eval",
    "val_loss_epoch",
];
const RATE: &[&str] = &["learning_rate", "lr", "train_learning_rate", "train_lr", "lr_adamw", "lr_adam", "lr_0"];
const NORM: &[&str] = &["grad_norm", "gradient_norm", "train_grad_norm", "train_gradient_norm", "gnorm"];
const ACCURACY: &[&str] =
    &["eval_accuracy", "val_accuracy", "val_acc", "eval_acc", "valid_accuracy", "accuracy", "acc"];
const PROBE: &[&str] = &["train_probe_loss"];
const LABEL: &[&str] = &["label", "labels", "class", "target", "gold"];

/// The curves of one log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Log {
    train: Vec<Point>,
    eval: Vec<Point>,
    rate: Vec<Point>,
    norm: Vec<Point>,
    accuracy: Vec<Point>,
    probe: Vec<Point>,
    /// Whether no column numbers the steps, so that rows do.
    pub counted: bool,
}

impl Log {
    /// Reads a log; the error says what is wrong with it, without its name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rows = rows(text)?;
        // The Trainer of transformers ends with a row of means over the whole run.
        rows.retain(|row| !row.contains_key("train_runtime"));
        let steps = column(&rows, STEP);
        let mut log = Self { counted: steps.is_none(), ..Self::default() };
        let curve = |names: &[&str]| column(&rows, names).map_or_else(Vec::new, |name| points(&rows, steps, name));
        log.train = curve(TRAIN);
        log.eval = curve(EVAL);
        log.rate = curve(RATE);
        log.norm = curve(NORM);
        log.accuracy = curve(ACCURACY);
        log.probe = curve(PROBE);
        if log.train.is_empty() && log.eval.is_empty() {
            let mut found: Vec<&str> = rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
            found.sort_unstable();
            found.dedup();
            if let Some(name) = TRAIN.iter().chain(EVAL).find(|name| found.contains(name)) {
                return Err(format!(
                    "nothing in its column {name} can be read: a row needs a number there, with a point (0.5), and a step from 0 up"
                ));
            }
            return Err(format!(
                "no loss found; its columns are {}; name one of them {} (training) or {} (evaluation)",
                if found.is_empty() { "none".to_owned() } else { found.join(", ") },
                TRAIN[..2].join(" or "),
                EVAL[..2].join(" or ")
            ));
        }
        Ok(log)
    }

    /// This log's curves where it has them, else those of `other`, as for `metrics.csv` and `evals.csv`.
    pub(crate) fn or(self, other: Self) -> Self {
        let pick = |own: Vec<Point>, other: Vec<Point>| if own.is_empty() { other } else { own };
        Self {
            train: pick(self.train, other.train),
            eval: pick(self.eval, other.eval),
            rate: pick(self.rate, other.rate),
            norm: pick(self.norm, other.norm),
            accuracy: pick(self.accuracy, other.accuracy),
            probe: pick(self.probe, other.probe),
            counted: self.counted || other.counted,
        }
    }

    /// What there is to judge. `prior`: share of each class, empty if unknown.
    pub(crate) fn measured<'a>(&self, prior: &'a [f64]) -> Measured<'a> {
        let mut measured = Measured {
            train: self.train.clone(),
            lr: self.rate.clone(),
            grad_norm: self.norm.clone(),
            eval: self.eval.clone(),
            accuracy: self.accuracy.clone(),
            probe: self.probe.clone(),
            train_prior: prior,
            eval_prior: prior,
            ..Measured::default()
        };
        measured.steps = measured.end();
        measured
    }
}

/// Share of each class, by name, in a table with a column of labels or a file with a label a line.
pub(crate) fn label_shares(text: &str) -> Result<Vec<f64>, String> {
    let table = rows(text).ok().filter(|rows| rows.iter().any(|row| LABEL.iter().any(|name| row.contains_key(*name))));
    let labels: Vec<String> = match table {
        Some(rows) => {
            let label = |row: &Row| {
                LABEL.iter().find_map(|name| row.get(*name)).map(|field| match field {
                    Field::Number(number) => number.to_string(),
                    Field::Text(text) => text.clone(),
                })
            };
            rows.iter().filter_map(label).collect()
        }
        None => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect(),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for label in &labels {
        *counts.entry(label.clone()).or_default() += 1;
    }
    match counts.len() {
        0 | 1 => Err("holds fewer than two classes; it needs a label a line, or a column `label`".into()),
        n if n * 2 > labels.len() => Err(format!(
            "holds {n} different lines of {}, too many to be classes; it needs a label a line, or a column `label`",
            labels.len()
        )),
        _ => Ok(counts.values().map(|count| *count as f64 / labels.len() as f64).collect()),
    }
}

/// Of the columns called by one of `names`, that with most numbers.
fn column<'n>(rows: &[Row], names: &[&'n str]) -> Option<&'n str> {
    let count = |name: &str| rows.iter().filter(|row| number(row, name).is_some()).count();
    let counted = names.iter().map(|name| (count(name), *name)).filter(|(count, _)| *count > 0);
    // The first of equals: max_by_key takes the last.
    counted.rev().max_by_key(|(count, _)| *count).map(|(_, name)| name)
}

fn number(row: &Row, name: &str) -> Option<f64> {
    match row.get(name) {
        Some(Field::Number(number)) => Some(*number),
        _ => None,
    }
}

/// The points of a column, in order of steps.
fn points(rows: &[Row], steps: Option<&str>, name: &str) -> Vec<Point> {
    let at = |(index, row): (usize, &Row)| {
        let y = number(row, name)?;
        let x = steps.map_or(Some(index as f64 + 1.0), |steps| number(row, steps))?;
        (x.is_finite() && x >= 0.0).then_some(Point { x: x.trunc(), y })
    };
    let mut points: Vec<Point> = rows.iter().enumerate().filter_map(at).collect();
    // Stable, so that of several rows of one step the last stays last.
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut kept: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        match kept.last_mut() {
            Some(last) if last.x >= point.x => *last = point,
            _ => kept.push(point),
        }
    }
    kept
}

/// The rows of a file of any kind.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let start = text.trim_start();
    if start.is_empty() {
        return Err("the file is empty; a log has a row for each step".into());
    }
    if start.starts_with(['{', '[']) { json(start) } else { table(text) }
}

/// `train/loss` and `Train Loss` as `train_loss`.
fn spelled(name: &str) -> String {
    name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn field(text: &str) -> Option<Field> {
    match text.trim() {
        "" | "None" | "null" | "-" => None,
        text => Some(text.parse().map_or_else(|_| Field::Text(text.to_owned()), Field::Number)),
    }
}

fn table(text: &str) -> Result<Vec<Row>, String> {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let delimiter = [b'\t', b';', b','].into_iter().find(|sign| header.as_bytes().contains(sign)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().map_err(|error| error.to_string())?.iter().map(spelled).collect();
    let row = |record: csv::StringRecord| {
        names.iter().zip(record.iter()).filter_map(|(name, text)| Some((name.clone(), field(text)?))).collect()
    };
    reader.records().map(|record| record.map(row).map_err(|error| error.to_string())).collect()
}

/// An object a line, a list of objects, or an object with such a list as `log_history`.
fn json(text: &str) -> Result<Vec<Row>, String> {
    let text = quoted(text);
    if let Ok(whole) = serde_json::from_str::<Value>(&text) {
        let list = whole.get("log_history").or(whole.is_array().then_some(&whole)).and_then(Value::as_array);
        return match list {
            Some(rows) => Ok(rows.iter().filter_map(object).collect()),
            None => Ok(object(&whole).into_iter().collect()),
        };
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("line {}: no JSON: {error}", index + 1))?;
        object(&value)
            .ok_or_else(|| format!("line {}: a row is an object such as {{\"step\": 1, \"loss\": 0.7}}", index + 1))
    });
    let mut rows: Vec<Result<Row, String>> = parsed.collect();
    // A log that is still being written may end within a line.
    if rows.len() > 1 && rows.last().is_some_and(Result::is_err) {
        rows.pop();
    }
    rows.into_iter().collect()
}

fn object(value: &Value) -> Option<Row> {
    let entry = |(name, value): (&String, &Value)| {
        let field = match value {
            Value::Number(number) => Field::Number(number.as_f64()?),
            Value::String(text) => field(text)?,
            _ => return None,
        };
        Some((spelled(name), field))
    };
    Some(value.as_object()?.iter().filter_map(entry).collect())
}

/// Python's NaN and Infinity, which are no JSON, in quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped, mut rest) = (false, false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !inside && rest.starts_with(word));
        if let Some(word) = word {
            out.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        inside ^= c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn xy(points: &[Point]) -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.x, point.y)).collect()
    }

    #[test]
    fn logs_of_many_origins_say_the_same() {
        let trainer = r#"{"global_step": 20, "log_history": [
            {"epoch": 0.5, "loss": 0.7, "learning_rate": 1e-5, "grad_norm": 1.5, "step": 10},
            {"epoch": 0.5, "eval_loss": 0.65, "eval_accuracy": 0.6, "step": 10},
            {"epoch": 1.0, "loss": NaN, "learning_rate": 0.0, "grad_norm": Infinity, "step": 20},
            {"step": 20, "train_loss": 0.6, "train_runtime": 12.5}]}"#;
        let logs = [
            trainer.to_owned(),
            "step,train/loss,LR,grad_norm,val_loss,val_acc\n10,0.7,1e-5,1.5,0.65,0.6\n20,nan,0,inf,,\n".into(),
            "global_step\tloss\tlearning-rate\tgradient norm\teval_loss\taccuracy\n20\tNaN\t0\tinf\t\t\n10\t.7\t1e-5\t1.5\t0.65\t0.6\n".into(),
            "{\"step\": 10, \"loss\": 9.0}\n{\"step\": 10, \"loss\": 0.7, \"lr\": 1e-5, \"grad_norm\": 1.5}\n{\"step\": 10, \"val_loss\": 0.65, \"acc\": 0.6}\n{\"step\": 20, \"loss\": NaN, \"lr\": 0, \"grad_norm\": \"inf\"}\n{\"step\": 3".into(),
        ];
        for text in logs {
            let log = Log::parse(&text).unwrap();
            assert!(log.train.len() == 2 && log.train[1].y.is_nan() && log.norm[1].y == f64::INFINITY, "{log:?}");
            assert_eq!((xy(&log.train[..1]), xy(&log.rate)), (vec![(10.0, 0.7)], vec![(10.0, 1e-5), (20.0, 0.0)]));
            assert_eq!((xy(&log.eval), xy(&log.accuracy)), (vec![(10.0, 0.65)], vec![(10.0, 0.6)]));
        }
    }

    #[test]
    fn rows_number_steps_where_nothing_else_does() {
        let log = Log::parse("loss\n0.7\n0.6\n").unwrap();
        assert!(log.counted && xy(&log.train) == [(1.0, 0.7), (2.0, 0.6)]);
    }

    #[test]
    fn what_is_no_log_is_told_so() {
        let told = |text: &str| Log::parse(text).unwrap_err();
        insta::assert_snapshot!(told("a,b\n1,2\n"), @"no loss found; its columns are a, b; name one of them train_loss or loss (training) or eval_loss or val_loss (evaluation)");
        insta::assert_snapshot!(told(" \n"), @"the file is empty; a log has a row for each step");
        insta::assert_snapshot!(told("{\"step\": 1}\n7\n{\"step\": 2}"), @r#"line 2: a row is an object such as {"step": 1, "loss": 0.7}"#);
    }

    #[test]
    fn labels_are_counted() {
        assert_eq!(label_shares("a\nb\na\na\n").unwrap(), [0.75, 0.25]);
        assert_eq!(label_shares("text\tlabel\nx\t0\ny\t1\nz\t1\nw\t0\n").unwrap(), [0.5, 0.5]);
        assert!(label_shares("a\n").is_err() && label_shares("x\ny\nz\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[\\PC\n]{0,200}", json in "[\\[{]{0,2}[\\PC\n\"]{0,80}") {
            let _ = (Log::parse(&text), Log::parse(&json), label_shares(&text));
        }
    }
}
