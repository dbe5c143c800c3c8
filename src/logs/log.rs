//! The curves of a log, from the rows of its file.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::Measured;
use crate::analysis::curve::Point;

use super::names::{PLANNED, Quantity, Reading, is_bookkeeping, is_of_preferences, reading, says_where};
use super::sheet::{Field, Row, Sheet, number, spelled};
use super::steps::{self, MOST_STEPS, Numbered};
use super::{console, events, json, table};

/// Share of the rows before it that held a value, for a row without one to hold a NaN that was written as a blank.
const ALWAYS: f64 = 0.95;
const FEWEST_ROWS: u32 = 3;
/// Times that numbers come back after NaNs, and share of NaNs, for these to mean that nothing was measured.
const RETURNS: usize = 3;
const MOSTLY: f64 = 0.3;
/// Accuracies above this are per cents.
const CERTAIN: f64 = 1.5;
/// Ignored columns that are named, and columns that an error lists.
const NAMED: usize = 6;
const LISTED: usize = 12;
/// Share of numbers among the fields of a file that is no table.
const FEW_NUMBERS: f64 = 0.3;

/// The curves of one log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    train: Vec<Point>,
    eval: Vec<Point>,
    rate: Vec<Point>,
    grad_norm: Vec<Point>,
    accuracy: Vec<Point>,
    probe: Vec<Point>,
    /// Whether its columns are those of a preference loss, as of DPO.
    of_preferences: bool,
    /// Optimizer steps that the run was planned for, where the log says so.
    planned: Option<u64>,
    notes: Vec<String>,
}

impl Log {
    /// Reads a log. `name`, that of its file, tells what a column without a name of its own holds. The error says what is wrong
    /// with it, without its name.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, String> {
        if events::is_event_file(bytes) {
            return Self::of(events::read(bytes));
        }
        let text = decoded(bytes);
        let text = text.trim_start_matches('\u{feff}');
        if text.trim().is_empty() {
            return Err("the file is empty; a log has a row for each step".into());
        }
        let seems_json = text.trim_start().starts_with(['{', '[']);
        let first = if seems_json { json::read(text.trim_start()) } else { table::read(text) };
        let first = first.map(|sheet| with_value_named(sheet, name));
        // What is JSON throughout is no printed text.
        if first.as_ref().is_ok_and(|sheet| seems_json || has_losses(sheet)) {
            return Self::of(first?);
        }
        // Text that only looks like JSON or a table.
        let printed = console::read(text);
        if has_losses(&printed) { Self::of(printed) } else { Self::of(first?) }
    }

    /// Reads the event files of one run. Each comes with the name of its folder within the run, empty if it lies in none.
    pub fn read_events(files: &[(String, Vec<u8>)]) -> Result<Self, String> {
        let mut sheet = Sheet::default();
        for (folder, bytes) in files {
            let part = events::read(bytes);
            sheet.notes.extend(part.notes);
            sheet.rows.extend(part.rows.into_iter().map(|row| in_folder(row, folder)));
        }
        Self::of(sheet)
    }

    /// Whether a folder of this name holds a part of a run, as `validation` does, rather than a run.
    pub fn is_part_of_a_run(folder: &str) -> bool {
        says_where(&spelled(folder))
    }

    /// Adds something that was assumed when the log was found.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn of(mut sheet: Sheet) -> Result<Self, String> {
        // The Trainer of transformers ends with a row of means over the whole run.
        let has_number = |row: &Row, name: &str| matches!(row.get(name), Some(Field::Number(_)));
        let has_losses = sheet.rows.iter().filter(|row| has_number(row, "loss")).count() > 1;
        let is_summary = |row: &Row| has_losses && !has_number(row, "loss") && has_number(row, "total_flos");
        let means = |row: &Row| has_number(row, "train_runtime") || is_summary(row);
        if sheet.rows.len() == 1 && sheet.rows.iter().any(means) {
            return Err("it holds the means of the run only; the losses of its steps are in trainer_state.json".into());
        }
        sheet.rows.retain(|row| !means(row));
        let columns = Columns::of(&sheet.rows);
        let used = columns.chosen();
        if used.train.is_none() && used.eval.is_empty() {
            return Err(columns.no_loss());
        }
        let numbered = steps::number_rows(&sheet.rows, used.train, &[&used.eval[..], &used.accuracy[..]].concat());
        let planned = sheet.planned.or_else(|| planned_in_rows(&sheet.rows)).filter(|steps| *steps <= MOST_STEPS);
        let of_preferences = columns.0.keys().any(|name| is_of_preferences(name));
        let mut log = Self { planned, of_preferences, notes: sheet.notes, ..Self::default() };
        log.notes.extend(numbered.notes.iter().cloned());
        let curves = Curves { rows: &sheet.rows, numbered: &numbered, columns: &columns };
        log.train = used.train.map_or_else(Vec::new, |name| curves.loss(name, &curves.blanks_in_training(name)));
        log.eval = Curves::mean(&used.eval, |name| curves.loss(name, &curves.blanks_in_evaluation(name)));
        log.rate = used.rate.map_or_else(Vec::new, |name| curves.points(name));
        log.grad_norm = used.grad_norm.map_or_else(Vec::new, |name| curves.points(name));
        log.probe = used.probe.map_or_else(Vec::new, |name| curves.loss(name, &BTreeSet::new()));
        log.accuracy = Curves::mean(&used.accuracy, |name| curves.points(name));
        log.say_what_was_taken(&used, &columns);
        log.place_evaluations_of_epochs();
        log.in_shares();
        if log.train.is_empty() && log.eval.is_empty() {
            let column = used.train.or(used.eval.first().copied()).unwrap_or_default();
            return Err(format!(
                "nothing in its column {column} can be read: a row needs a number there, with a point (0.5), and a step from 0 up"
            ));
        }
        Ok(log)
    }

    /// The curves of this log, and those of `other` that it lacks, as for `metrics.csv` and `evals.csv` of one run.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let pick = |own: Vec<Point>, other: Vec<Point>| if own.is_empty() { other } else { own };
        let mut notes = self.notes;
        notes.extend(other.notes.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        Self {
            train: pick(self.train, other.train),
            eval: pick(self.eval, other.eval),
            rate: pick(self.rate, other.rate),
            grad_norm: pick(self.grad_norm, other.grad_norm),
            accuracy: pick(self.accuracy, other.accuracy),
            probe: pick(self.probe, other.probe),
            of_preferences: self.of_preferences || other.of_preferences,
            planned: self.planned.or(other.planned),
            notes,
        }
    }

    /// Notes, one sentence each: what was assumed, joined and ignored.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What there is to judge. `prior`: share of each class, empty if unknown.
    pub fn measured<'a>(&self, prior: &'a [f64]) -> Measured<'a> {
        let mut measured = Measured {
            train: self.train.clone(),
            lr: self.rate.clone(),
            grad_norm: self.grad_norm.clone(),
            eval: self.eval.clone(),
            accuracy: self.accuracy.clone(),
            probe: self.probe.clone(),
            train_prior: prior,
            eval_prior: prior,
            of_preferences: self.of_preferences,
            ..Measured::default()
        };
        measured.steps = measured.end().max(self.planned.unwrap_or(0));
        measured
    }

    fn say_what_was_taken(&mut self, used: &Chosen<'_>, columns: &Columns<'_>) {
        if used.eval.len() > 1 {
            self.notes.push(format!("the evaluation loss is the mean of {}", used.eval.join(", ")));
        }
        for column in used.train.iter().chain(&used.eval) {
            if columns.0.get(column).is_some_and(|column| column.reading.as_ref().is_some_and(|of| of.is_perplexity)) {
                self.notes.push(format!("{column} is taken for a perplexity: the loss is its logarithm"));
            }
        }
        let ignored: Vec<&str> = columns.ignored(used);
        if !ignored.is_empty() {
            let more = ignored.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            self.notes.push(format!("columns not used: {}{more}", ignored[..ignored.len().min(NAMED)].join(", ")));
        }
    }

    /// Many programs count training losses by steps and evaluations by epochs, in one column.
    fn place_evaluations_of_epochs(&mut self) {
        let (Some(end), Some(last)) = (self.train.last(), self.eval.last().or(self.accuracy.last())) else { return };
        let first = self.eval.first().or(self.accuracy.first()).map_or(0.0, |point| point.x);
        let are_counted = |curve: &[Point]| curve.windows(2).all(|pair| (pair[1].x - pair[0].x - 1.0).abs() < 1e-9);
        let shift = 1.0 - first;
        let is_counted = first <= 1.0
            && last.x - first >= 1.0
            && are_counted(&self.eval)
            && are_counted(&self.accuracy)
            && self.train.len() > 5 * (last.x - first) as usize
            && end.x > 10.0 * last.x;
        if is_counted {
            let every = end.x / (last.x + shift);
            let moved = |point: &Point| Point { x: ((point.x + shift) * every).round(), y: point.y };
            self.eval = self.eval.iter().map(moved).collect();
            self.accuracy = self.accuracy.iter().map(moved).collect();
            self.notes.push("the evaluations are numbered by epochs: each is placed at the end of its epoch".into());
        }
    }

    /// Accuracies in per cent as shares.
    fn in_shares(&mut self) {
        let most = self.accuracy.iter().map(|point| point.y).filter(|y| y.is_finite()).fold(0.0, f64::max);
        if most > CERTAIN && most <= 100.0 {
            self.accuracy.iter_mut().for_each(|point| point.y /= 100.0);
            self.notes.push("the accuracy is in per cent".into());
        }
    }
}

/// The text of a file: UTF-8, or UTF-16 as Windows writes it. What is neither is replaced, as a log is mostly numbers.
fn decoded(bytes: &[u8]) -> String {
    let units =
        |of: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect::<Vec<u16>>();
    match bytes {
        [0xFF, 0xFE, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xFE, 0xFF, ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn has_losses(sheet: &Sheet) -> bool {
    let is_loss = |(name, field): (&String, &Field)| {
        matches!(field, Field::Number(_))
            && reading(name).is_some_and(|of| matches!(of.quantity, Quantity::Train | Quantity::Eval))
    };
    sheet.rows.iter().any(|row| row.iter().any(&is_loss))
}

/// TensorBoard exports one scalar as `Wall time,Step,Value`: the name of the file says what it is.
fn with_value_named(mut sheet: Sheet, name: &str) -> Sheet {
    let is_scalar = sheet.rows.iter().all(|row| row.contains_key("value") && row.contains_key("step"));
    if !is_scalar || sheet.rows.is_empty() {
        return sheet;
    }
    let stem = spelled(name.rsplit_once('.').map_or(name, |(stem, _)| stem));
    let column = if reading(&stem).is_some() {
        stem
    } else {
        sheet.notes.push(
            "its column Value is taken for the training loss: the name of the file does not say what it is".into(),
        );
        "loss".to_owned()
    };
    for row in &mut sheet.rows {
        if let Some(value) = row.remove("value") {
            row.insert(column.clone(), value);
        }
    }
    sheet
}

/// The planned number of steps, where each row says the same.
fn planned_in_rows(rows: &[Row]) -> Option<u64> {
    PLANNED.iter().find_map(|name| {
        let mut steps = rows.iter().filter_map(|row| number(row, name));
        let first = steps.next()?;
        steps.all(|other| other.to_bits() == first.to_bits()).then_some(first as u64)
    })
}

/// A row of an event file in a folder such as `validation`, which says what its scalars were measured on.
fn in_folder(row: Row, folder: &str) -> Row {
    let folder = spelled(folder);
    let named = |name: String| {
        if says_where(&folder) && name != "step" && name != "epoch" { format!("{folder}_{name}") } else { name }
    };
    row.into_iter().map(|(name, field)| (named(name), field)).collect()
}

struct Column {
    /// Rows that have it, and those with a number in it.
    rows: usize,
    count: usize,
    reading: Option<Reading>,
}

/// The columns of a log by name.
struct Columns<'a>(BTreeMap<&'a str, Column>);

/// The columns that are judged.
#[derive(Default)]
struct Chosen<'a> {
    train: Option<&'a str>,
    eval: Vec<&'a str>,
    rate: Option<&'a str>,
    grad_norm: Option<&'a str>,
    accuracy: Vec<&'a str>,
    probe: Option<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let mut columns: BTreeMap<&str, Column> = BTreeMap::new();
        for (name, field) in rows.iter().flatten() {
            let column = columns.entry(name).or_insert_with(|| Column { rows: 0, count: 0, reading: reading(name) });
            column.rows += 1;
            column.count += usize::from(matches!(field, Field::Number(_)));
        }
        Self(columns)
    }

    /// The columns of a quantity that hold numbers, the likeliest first: those with many numbers, then those with a plain name.
    fn of_quantity(&self, quantity: Quantity) -> Vec<(&'a str, &Reading)> {
        let of: Vec<(&'a str, &Column, &Reading)> = self
            .0
            .iter()
            .filter_map(|(name, column)| Some((*name, column, column.reading.as_ref()?)))
            .filter(|(_, column, reading)| reading.quantity == quantity && column.count > 0)
            .collect();
        let most = of.iter().map(|(_, column, _)| column.count).max().unwrap_or(0);
        let mut often: Vec<_> = of.into_iter().filter(|(_, column, _)| column.count * 2 >= most).collect();
        often.sort_by_key(|(_, column, reading)| (reading.cost, most - column.count));
        often.into_iter().map(|(name, _, reading)| (name, reading)).collect()
    }

    fn likeliest(&self, quantity: Quantity) -> Option<&'a str> {
        self.of_quantity(quantity).first().map(|(name, _)| *name)
    }

    /// The column with a plain name, or else all those that name their evaluation set.
    fn sets(&self, quantity: Quantity, is_held_out: bool) -> Vec<&'a str> {
        let mut of = self.of_quantity(quantity);
        of.retain(|(_, reading)| reading.is_held_out == is_held_out);
        let Some((first, likeliest)) = of.first().copied() else { return Vec::new() };
        if likeliest.part.is_empty() {
            return vec![first];
        }
        of.iter().filter(|(_, reading)| !reading.part.is_empty()).map(|(name, _)| *name).collect()
    }

    fn chosen(&self) -> Chosen<'a> {
        let eval = self.sets(Quantity::Eval, true);
        let mut accuracy = self.sets(Quantity::Accuracy, true);
        // A plain `accuracy` beside an evaluation loss is that of the evaluation; else it is that of the training batches.
        if accuracy.is_empty() && !eval.is_empty() {
            accuracy = self.sets(Quantity::Accuracy, false);
            accuracy.truncate(1);
            let count = |name: &str| self.0.get(name).map_or(0, |column| column.count);
            accuracy.retain(|name| count(name) <= 2 * count(eval[0]));
        }
        Chosen {
            train: self.likeliest(Quantity::Train),
            eval,
            rate: self.likeliest(Quantity::Rate),
            grad_norm: self.likeliest(Quantity::GradNorm),
            accuracy,
            probe: self.likeliest(Quantity::Probe),
        }
    }

    /// Columns of numbers that are neither judged nor kept for the books.
    fn ignored(&self, used: &Chosen<'a>) -> Vec<&'a str> {
        let judged = [&used.train, &used.rate, &used.grad_norm, &used.probe].into_iter().flatten();
        let judged: BTreeSet<&str> = judged.chain(&used.eval).chain(&used.accuracy).copied().collect();
        // A further average of a judged quantity needs no note.
        let is_average = |column: &Column| {
            column.reading.as_ref().is_some_and(|of| of.part.is_empty() && of.quantity != Quantity::Accuracy)
        };
        let is_ignored = |(name, column): &(&&'a str, &Column)| {
            column.count > 0 && !judged.contains(**name) && !is_bookkeeping(name) && !is_average(column)
        };
        self.0.iter().filter(is_ignored).map(|(name, _)| *name).collect()
    }

    fn no_loss(&self) -> String {
        let is_loss = |(_, column): &(&&str, &Column)| {
            column.reading.as_ref().is_some_and(|of| matches!(of.quantity, Quantity::Train | Quantity::Eval))
        };
        if let Some((name, _)) = self.0.iter().find(is_loss) {
            return format!(
                "nothing in its column {name} can be read: a row needs a number there, with a point (0.5), and a step from 0 up"
            );
        }
        let names: Vec<&str> = self.0.keys().copied().take(LISTED).collect();
        let sum = |of: fn(&Column) -> usize| self.0.values().map(of).sum::<usize>() as f64;
        // Lines of text are no table.
        if sum(|column| column.count) <= FEW_NUMBERS * sum(|column| column.rows) {
            return "no loss found: it is no table with a column train_loss or eval_loss, no JSON, and holds no lines such as \
                    {'loss': 0.69, 'step': 10} or \"step 10 | loss 0.69\""
                .to_owned();
        }
        format!(
            "no loss found; its columns are {}; name one of them train_loss or loss (training) or eval_loss or val_loss (evaluation)",
            names.join(", ")
        )
    }
}

/// Makes curves of columns.
struct Curves<'a> {
    rows: &'a [Row],
    numbered: &'a Numbered,
    columns: &'a Columns<'a>,
}

impl Curves<'_> {
    /// The points of a column in order of steps. Of several values of a step the last counts.
    fn points(&self, name: &str) -> Vec<Point> {
        self.points_with(name, &BTreeSet::new())
    }

    /// As [`Self::points`], with NaN at the rows `blanks`, and logarithms of perplexities.
    fn loss(&self, name: &str, blanks: &BTreeSet<usize>) -> Vec<Point> {
        let mut points = self.points_with(name, blanks);
        if self.columns.0.get(name).is_some_and(|column| column.reading.as_ref().is_some_and(|of| of.is_perplexity)) {
            for point in &mut points {
                point.y = point.y.ln();
            }
        }
        points
    }

    fn points_with(&self, name: &str, blanks: &BTreeSet<usize>) -> Vec<Point> {
        let at = |(index, row): (usize, &Row)| {
            let y = number(row, name).or(blanks.contains(&index).then_some(f64::NAN))?;
            Some(Point { x: self.numbered.steps[index]?, y })
        };
        let mut points: Vec<Point> = self.rows.iter().enumerate().filter_map(at).collect();
        if is_sparse(&points) {
            points.retain(|point| !point.y.is_nan());
        }
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

    /// The mean of several columns at the steps where all of them have a point.
    fn mean(names: &[&str], curve: impl Fn(&str) -> Vec<Point>) -> Vec<Point> {
        let curves: Vec<Vec<Point>> = names.iter().map(|name| curve(name)).collect();
        let Some((first, others)) = curves.split_first() else { return Vec::new() };
        let at = |point: &Point| {
            let same = |curve: &Vec<Point>| {
                curve.iter().find(|other| other.x.to_bits() == point.x.to_bits()).map(|other| other.y)
            };
            let sum: Option<f64> = others.iter().map(same).sum();
            Some(Point { x: point.x, y: (point.y + sum?) / curves.len() as f64 })
        };
        first.iter().filter_map(at).collect()
    }

    /// The rows whose blank in the training loss is a NaN that pandas wrote: the learning rate or the gradient norm of the step is there,
    /// or nothing else is, and the rows like it before had a loss.
    fn blanks_in_training(&self, name: &str) -> BTreeSet<usize> {
        let companions: Vec<&str> = [Quantity::Rate, Quantity::GradNorm]
            .into_iter()
            .flat_map(|quantity| self.columns.of_quantity(quantity))
            .map(|(name, _)| name)
            .collect();
        let is_alone = |row: &Row| {
            row.iter()
                .all(|(other, field)| other == name || !matches!(field, Field::Number(_)) || is_bookkeeping(other))
        };
        let has_companion = |row: &Row| companions.iter().any(|other| number(row, other).is_some());
        let is_evaluated = self.has(Quantity::Eval);
        let mut blanks = self.blanks(name, is_evaluated, |row| has_companion(row) || is_alone(row));
        // A log may end with a row that says that the run has ended.
        if self.rows.last().is_some_and(|row| !has_companion(row)) && blanks.len() == 1 {
            blanks.remove(&(self.rows.len() - 1));
        }
        blanks
    }

    /// The rows whose blank in the evaluation loss is a NaN: another figure of the same evaluation, or the training loss of an
    /// epoch, is there.
    fn blanks_in_evaluation(&self, name: &str) -> BTreeSet<usize> {
        let is_beside = |other: &str| self.columns.0.get(other).is_some_and(|column| column.reading.is_some());
        let is_trained = self.has(Quantity::Train);
        self.blanks(name, is_trained, |row| {
            row.iter().any(|(other, field)| other != name && matches!(field, Field::Number(_)) && is_beside(other))
        })
    }

    /// The rows that lack a value which those like them had before. A log may hold rows of two kinds, such as those of steps and those of
    /// evaluations: each is held against its own.
    fn blanks(
        &self,
        name: &str,
        is_of_other_kind: impl Fn(&Row) -> bool,
        is_like: impl Fn(&Row) -> bool,
    ) -> BTreeSet<usize> {
        let (mut present, mut like, mut blanks) = ([0_u32; 2], [0_u32; 2], BTreeSet::new());
        for (index, row) in self.rows.iter().enumerate() {
            let kind = usize::from(is_of_other_kind(row));
            if number(row, name).is_some() {
                (present[kind], like[kind]) = (present[kind] + 1, like[kind] + 1);
            } else if row.get(name) == Some(&Field::Missing) && is_like(row) {
                if present[kind] >= FEWEST_ROWS && f64::from(present[kind]) >= ALWAYS * f64::from(like[kind]) {
                    blanks.insert(index);
                } else {
                    like[kind] += 1;
                }
            }
        }
        blanks
    }

    /// Tells whether a row has a number of this quantity.
    fn has(&self, quantity: Quantity) -> impl Fn(&Row) -> bool + use<'_> {
        let names: Vec<&str> = self.columns.of_quantity(quantity).into_iter().map(|(name, _)| name).collect();
        move |row| names.iter().any(|name| number(row, name).is_some())
    }
}

/// Whether NaN stands in a column where nothing was measured, as where pandas joined two tables.
fn is_sparse(points: &[Point]) -> bool {
    let missing = points.iter().filter(|point| point.y.is_nan()).count();
    let returns = points.windows(2).filter(|pair| pair[0].y.is_nan() && !pair[1].y.is_nan()).count();
    returns >= RETURNS && missing as f64 >= MOSTLY * points.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn xy(points: &[Point]) -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.x, point.y)).collect()
    }

    fn read(text: &str) -> Log {
        Log::read(text.as_bytes(), "log").unwrap()
    }

    #[test]
    fn the_last_row_of_a_table_that_pandas_wrote_from_a_history_is_a_summary() {
        let header = "loss,step,eval_loss,train_runtime,total_flos,train_loss\n";
        let rows = (1..=4).map(|i| format!("0.{},{},,,,\n,{},0.{},,,\n", 9 - i, 10 * i, 10 * i, 8 - i));
        let table = format!("{header}{},40,,12.5,1e15,0.65\n", rows.collect::<String>());
        for table in [table.clone(), table.replace("train_runtime", "runtime_of_training")] {
            let log = Log::read(table.as_bytes(), "a.csv").unwrap();
            assert_eq!(xy(&log.train), [(10.0, 0.8), (20.0, 0.7), (30.0, 0.6), (40.0, 0.5)], "{table}");
            assert_eq!(xy(&log.eval), [(10.0, 0.7), (20.0, 0.6), (30.0, 0.5), (40.0, 0.4)], "{table}");
        }
    }

    #[test]
    fn a_row_of_an_evaluation_may_hold_the_learning_rate() {
        let rows = (1..=9).map(|i| {
            if i % 3 == 0 { format!("{i},,0.{},1e-5\n", 9 - i / 3) } else { format!("{i},0.{},,1e-5\n", 10 - i) }
        });
        let table: String = std::iter::once("step,train_loss,val_loss,lr\n".to_owned()).chain(rows).collect();
        let log = Log::read(table.as_bytes(), "a.csv").unwrap();
        assert!(log.train.iter().chain(&log.eval).all(|point| point.y.is_finite()), "{log:?}");
        assert_eq!((log.train.len(), log.eval.len()), (6, 3));
    }

    #[test]
    fn logs_of_many_origins_say_the_same() {
        let trainer = r#"{"global_step": 20, "log_history": [
            {"epoch": 0.5, "loss": 0.7, "learning_rate": 1e-5, "grad_norm": 1.5, "step": 10},
            {"epoch": 0.5, "eval_loss": 0.65, "eval_accuracy": 0.6, "step": 10},
            {"epoch": 1.0, "loss": NaN, "learning_rate": 0.0, "grad_norm": Infinity, "step": 20},
            {"step": 20, "train_loss": 0.6, "train_runtime": 12.5}]}"#;
        let logs = [
            trainer,
            "step,train/loss,LR,grad_norm,val_loss,val_acc\n10,0.7,1e-5,1.5,0.65,0.6\n20,nan,0,inf,,\n",
            "global_step\tloss\tlearning-rate\tgradient norm\teval_loss\taccuracy\n20\tNaN\t0\tinf\t\t\n10\t.7\t1e-5\t1.5\t0.65\t0.6\n",
            "{\"step\": 10, \"loss\": 9.0}\n{\"step\": 10, \"loss\": 0.7, \"lr\": 1e-5, \"grad_norm\": 1.5}\n{\"step\": 10, \"val_loss\": 0.65, \"acc\": 0.6}\n{\"step\": 20, \"loss\": NaN, \"lr\": 0, \"grad_norm\": \"inf\"}\n{\"step\": 3",
            "INFO start\n{'step': 10, 'loss': 0.7, 'lr': 1e-05, 'grad_norm': 1.5}\n{'step': 10, 'eval_loss': 0.65, 'eval_acc': 60.0}\n{'step': 20, 'loss': nan, 'lr': 0.0, 'grad_norm': inf}\n",
            "# a comment\nstep loss lr gnorm valid_loss validation_accuracy\n10 0.7 1e-5 1.5 0.65 0.6\n20 nan 0 inf - -\n",
            r#"{"step": [10, 20], "loss": [0.7, NaN], "lr": [1e-5, 0], "grad_norm": [1.5, Infinity], "val_loss": [0.65], "val_accuracy": [0.6]}"#,
        ];
        for text in logs {
            let log = read(text);
            assert!(log.train.len() == 2 && log.train[1].y.is_nan(), "{text}\n{log:?}");
            assert!(log.grad_norm[1].y.is_infinite(), "{text}");
            assert_eq!((xy(&log.train[..1]), xy(&log.rate)), (vec![(10.0, 0.7)], vec![(10.0, 1e-5), (20.0, 0.0)]));
            assert_eq!((xy(&log.eval), xy(&log.accuracy)), (vec![(10.0, 0.65)], vec![(10.0, 0.6)]), "{text}");
        }
    }

    #[test]
    fn a_blank_where_a_loss_always_stood_is_not_a_number() {
        let log = read("step,loss,lr\n1,0.7,1e-3\n2,0.6,1e-3\n3,0.5,1e-3\n4,,1e-3\n5,NA,1e-3\n6,0.4,1e-3\n");
        let finite: Vec<bool> = log.train.iter().map(|point| point.y.is_finite()).collect();
        assert_eq!(finite, [true, true, true, false, false, true]);
        let log = read("epoch,train_loss,val_loss\n1,0.7,0.7\n2,0.6,0.6\n3,0.5,0.6\n4,0.4,\n");
        assert!(log.eval.len() == 4 && log.eval[3].y.is_nan());
    }

    #[test]
    fn a_blank_in_a_sparse_table_is_nothing() {
        // Lightning writes learning rates, training and evaluation losses in rows of their own.
        let lightning = "epoch,lr-AdamW,step,train_loss_step,train_loss_epoch,val_loss\n\
            ,0.001,9,,,\n0,,9,0.7,,\n,0.001,19,,,\n0,,19,0.6,,\n0,,19,,,0.65\n0,,19,,0.65,\n,0.001,29,,,\n1,,29,0.5,,\n1,,39,0.4,,\n1,,39,,,0.6\n";
        let log = read(lightning);
        assert_eq!(xy(&log.train), [(9.0, 0.7), (19.0, 0.6), (29.0, 0.5), (39.0, 0.4)]);
        assert_eq!((xy(&log.eval), log.rate.len()), (vec![(19.0, 0.65), (39.0, 0.6)], 3));
        let joined = "step,loss,val_loss\n1,0.7,nan\n2,nan,0.7\n3,0.6,nan\n4,nan,0.6\n5,0.5,nan\n6,nan,0.5\n7,0.4,nan\n8,nan,0.4\n";
        assert!(read(joined).train.iter().chain(&read(joined).eval).all(|point| point.y.is_finite()));
    }

    #[test]
    fn a_last_row_without_losses_is_no_divergence() {
        let log = read("step,loss\n1,0.7\n2,0.6\n3,0.5\n4,0.4\n4,\n");
        assert!(log.train.iter().all(|point| point.y.is_finite()), "{log:?}");
    }

    #[test]
    fn losses_of_several_evaluation_sets_are_averaged() {
        let log = read(
            "{\"step\": 1, \"loss\": 0.7}\n{\"step\": 1, \"eval_a_loss\": 0.6}\n{\"step\": 1, \"eval_b_loss\": 0.8}\n",
        );
        assert_eq!(xy(&log.eval).len(), 1);
        assert!((log.eval[0].y - 0.7).abs() < 1e-12);
        assert_eq!(log.notes, ["the evaluation loss is the mean of eval_a_loss, eval_b_loss"]);
    }

    #[test]
    fn accuracy_is_that_of_held_out_examples_and_a_share() {
        let keras = read("epoch,accuracy,loss,val_accuracy,val_loss\n0,0.9,0.3,0.6,0.7\n1,0.95,0.2,0.62,0.72\n");
        assert_eq!(xy(&keras.accuracy), [(1.0, 0.6), (2.0, 0.62)]);
        assert!(read("epoch,accuracy,loss\n0,0.9,0.3\n1,0.95,0.2\n").accuracy.is_empty());
        let percent = read("step,loss,valid_acc\n1,0.7,50.9\n2,0.7,51\n");
        assert_eq!(xy(&percent.accuracy), [(1.0, 0.509), (2.0, 0.51)]);
    }

    #[test]
    fn exports_of_one_scalar_are_named_by_their_file() {
        let text = "Wall time,Step,Value\n1700000001.0,10,0.74\n1700000002.0,20,0.72\n";
        assert_eq!(
            xy(&Log::read(text.as_bytes(), "run-1-tag-eval_loss.csv").unwrap().eval),
            [(10.0, 0.74), (20.0, 0.72)]
        );
        let unnamed = Log::read(text.as_bytes(), "export.csv").unwrap();
        assert_eq!((unnamed.train.len(), unnamed.notes.len()), (2, 1));
        let wandb = "\"Step\",\"calm-sun-3 - train/loss\",\"calm-sun-3 - train/loss__MIN\",\"calm-sun-3 - train/loss__MAX\"\n\"10\",\"0.7\",\"0.6\",\"0.8\"\n\"20\",\"0.6\",\"0.5\",\"0.7\"\n";
        assert_eq!(xy(&read(wandb).train), [(10.0, 0.7), (20.0, 0.6)]);
    }

    #[test]
    fn evaluations_that_epochs_number_are_placed_among_the_steps() {
        let mut text = "step,loss,val_loss\n".to_owned();
        for step in 1..=30 {
            text.push_str(&(step * 10).to_string());
            text.push_str(",0.5,\n");
        }
        text.push_str("0,,0.6\n1,,0.5\n2,,0.4\n");
        assert_eq!(read(&text).eval.iter().map(|point| point.x).collect::<Vec<_>>(), [100.0, 200.0, 300.0]);
    }

    #[test]
    fn perplexities_are_logarithms_of_losses() {
        let log = read("step,train_ppl\n1,1.0\n2,2.718281828459045\n");
        assert!(log.train[0].y.abs() < 1e-12 && (log.train[1].y - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_planned_length_counts() {
        let log = read(r#"{"max_steps": 2500, "log_history": [{"loss": 0.42, "step": 500}]}"#);
        assert_eq!(log.measured(&[]).steps, 2500);
        let log = read(
            "{\"current_steps\": 5, \"total_steps\": 90, \"loss\": 0.7}\n{\"current_steps\": 10, \"total_steps\": 90, \"loss\": 0.6}\n",
        );
        assert_eq!(log.measured(&[]).steps, 90);
    }

    #[test]
    fn a_file_that_is_no_log_is_explained() {
        let message = |text: &str| Log::read(text.as_bytes(), "log").unwrap_err();
        insta::assert_snapshot!(message("a,b\n1,2\n"), @"no loss found; its columns are a, b; name one of them train_loss or loss (training) or eval_loss or val_loss (evaluation)");
        insta::assert_snapshot!(message("nohup: ignoring input\nNothing was lost, and 3 things were found\n"), @r#"no loss found: it is no table with a column train_loss or eval_loss, no JSON, and holds no lines such as {'loss': 0.69, 'step': 10} or "step 10 | loss 0.69""#);
        insta::assert_snapshot!(message("{\"global_step\": 50, \"logging_steps\": 500, \"log_history\": []}"), @"its log_history holds no loss: the run has made 50 steps and logs every 500; set logging_steps to 10");
        assert!(
            message("{\"stats\": {\"wins\": 70, \"losses\": 76}, \"balance\": -186.4}").starts_with("no loss found")
        );
        insta::assert_snapshot!(message(" \n"), @"the file is empty; a log has a row for each step");
        insta::assert_snapshot!(message("{\"train_loss\": 0.5, \"train_runtime\": 12.0}"), @"it holds the means of the run only; the losses of its steps are in trainer_state.json");
    }

    #[test]
    fn a_number_that_no_run_reaches_is_no_step() {
        let log = read("step,loss,max_steps\n1,0.7,1e19\n2,0.6,1e19\n18446744073709551615,0.5,1e19\n");
        assert_eq!((log.train.len(), log.measured(&[]).steps), (2, 2));
        let log = read("epoch,loss\n0.5,0.7\n1e300,0.6\n");
        assert!(log.train.iter().all(|point| point.x <= MOST_STEPS as f64));
        let log =
            read("{'loss': 0.7}\n100%|##| 18446744073709551614/18446744073709551615 [00:01<00:00]\n{'loss': 0.6}\n");
        assert!(log.measured(&[]).steps <= MOST_STEPS);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[\\PC\n]{0,200}", json in "[\\[{]{0,2}[\\PC\n\"]{0,80}") {
            let _ = (Log::read(text.as_bytes(), "a"), Log::read(json.as_bytes(), "b"), super::super::label_shares(&text));
        }

        #[test]
        fn no_numbers_break_the_reader(rows in proptest::collection::vec(proptest::collection::vec(-2.0..50.0_f64, 4), 0..40), fine in any::<bool>()) {
            let mut text = String::from("epoch,step,loss,val_loss\n");
            for row in rows {
                let fields: Vec<String> = row.iter().map(|x| if fine { format!("{x:.1}") } else { format!("{x:.0}") }).collect();
                text.push_str(&(fields.join(",") + "\n"));
            }
            for columns in ["epoch,step,loss,val_loss", "epoch,a,loss,val_loss", "a,b,loss,val_loss", "a,step,loss,loss"] {
                let _ = Log::read(text.replacen("epoch,step,loss,val_loss", columns, 1).as_bytes(), "log");
            }
        }
    }
}
