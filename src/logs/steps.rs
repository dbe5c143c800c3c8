//! Numbers the rows of a log by optimizer steps, or by the next best thing.
//!
//! A column of steps is taken as it is, unless it starts anew in each epoch: then the epochs are joined. Without such a column,
//! epochs number the rows, and without epochs the rows themselves do.

use std::collections::BTreeSet;

use super::names::{EPOCH, STEP};
use super::sheet::{Row, number};

/// No run has more steps: whole numbers up to 2^53 are exact in a `f64`, and sums of a few of them fit into a `u64`.
pub(super) const MOST_STEPS: u64 = 1 << 53;
/// Share of whole numbers in a column of steps. A fraction of an epoch is none.
const WHOLE: f64 = 0.95;
/// Rows at each side of a restart, at most, whose losses are compared to tell a new epoch from a new run.
const COMPARED: usize = 5;

/// The place of each row of a log; None where it has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Numbered {
    pub(super) steps: Vec<Option<f64>>,
    /// What was assumed.
    pub(super) notes: Vec<String>,
    /// Whether no column holds optimizer steps.
    pub(super) are_counted: bool,
}

/// A row as far as its place matters.
struct Entry {
    step: Option<f64>,
    epoch: Option<f64>,
    train: Option<f64>,
    is_eval: bool,
}

/// Numbers the rows. `train` is the column of the training loss, `evals` those of what was measured on held-out examples.
pub(super) fn number_rows(rows: &[Row], train: Option<&str>, evals: &[&str]) -> Numbered {
    let step = step_column(rows, train, evals);
    let epoch = EPOCH.iter().find(|name| rows.iter().any(|row| number(row, name).is_some_and(f64::is_finite)));
    let (mut last_step, mut last_epoch) = (None, None);
    let entry = |row: &Row| {
        // A row without a step belongs to the step before it.
        last_step = step
            .and_then(|name| number(row, name))
            .filter(|x| x.is_finite() && *x >= 0.0)
            .map(f64::trunc)
            .or(last_step);
        last_epoch = epoch.and_then(|name| number(row, name)).filter(|x| x.is_finite()).or(last_epoch);
        Entry {
            step: last_step,
            epoch: last_epoch,
            train: train.and_then(|name| number(row, name)),
            is_eval: evals.iter().any(|name| number(row, name).is_some()),
        }
    };
    let entries: Vec<Entry> = rows.iter().map(entry).collect();
    let mut numbered = if step.is_some() {
        by_step(&entries)
    } else if entries.iter().any(|entry| entry.epoch.is_some()) {
        by_epoch(&entries)
    } else {
        by_row(&entries)
    };
    numbered.are_counted |= step.is_none();
    numbered.steps.iter_mut().for_each(|step| *step = step.filter(|step| *step <= MOST_STEPS as f64));
    numbered
}

/// The likeliest column of steps: of those with enough whole numbers, the first in the list of names.
fn step_column(rows: &[Row], train: Option<&str>, evals: &[&str]) -> Option<&'static str> {
    let is_measured = |row: &&Row| train.iter().chain(evals).any(|name| row.contains_key(*name));
    // Such as the steps of an epoch, in each row.
    let is_constant = |name: &str| {
        let values: Vec<f64> = rows
            .iter()
            .filter(|row| train.is_some_and(|train| number(row, train).is_some()))
            .filter_map(|row| number(row, name))
            .collect();
        values.len() > 2 && values.iter().all(|x| x.to_bits() == values[0].to_bits())
    };
    let count = |name: &str| {
        let values: Vec<f64> =
            rows.iter().filter(is_measured).filter_map(|row| number(row, name)).filter(|x| x.is_finite()).collect();
        let whole = values.iter().filter(|x| x.fract() == 0.0 && **x >= 0.0).count();
        if is_constant(name) || (whole as f64) < WHOLE * values.len() as f64 { 0 } else { values.len() }
    };
    let counts: Vec<(usize, &str)> = STEP.iter().map(|name| (count(name), *name)).collect();
    let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
    counts.into_iter().find(|(count, _)| *count > 0 && count * 2 >= most).map(|(_, name)| name)
}

/// The stretches of rows over which the step of the training losses (of the evaluations, where there are none) never falls:
/// the number of its stretch for each row.
fn stretches(entries: &[Entry]) -> Vec<usize> {
    let by_train = entries.iter().filter(|entry| entry.train.is_some()).count() > 1;
    let (mut stretch, mut last) = (0, f64::NEG_INFINITY);
    let place = |entry: &Entry| {
        let counts = if by_train { entry.train.is_some() } else { entry.is_eval };
        if let Some(step) = entry.step.filter(|_| counts) {
            stretch += usize::from(step < last);
            last = step;
        }
        stretch
    };
    entries.iter().map(place).collect()
}

fn by_step(entries: &[Entry]) -> Numbered {
    let stretch = stretches(entries);
    let steps: Vec<Option<f64>> = entries.iter().map(|entry| entry.step).collect();
    let count = stretch.last().map_or(0, |last| last + 1);
    let plain = Numbered { steps: steps.clone(), ..Numbered::default() };
    if count < 2 {
        return plain;
    }
    let of = |wanted: usize| {
        entries.iter().zip(&stretch).filter(move |(_, stretch)| **stretch == wanted).map(|(entry, _)| entry)
    };
    let ends = |wanted: usize| {
        let steps = || of(wanted).filter_map(|entry| entry.step);
        (steps().fold(f64::INFINITY, f64::min), steps().fold(0.0, f64::max))
    };
    let gap =
        (ends(0).1 - ends(0).0) / of(0).filter(|entry| entry.step.is_some()).count().saturating_sub(1).max(1) as f64;
    let new_epoch = |wanted: &usize| {
        let epoch = |wanted: usize| of(wanted).filter_map(|entry| entry.epoch).fold(f64::NAN, f64::max);
        epoch(*wanted) > epoch(wanted - 1)
    };
    let are_epochs = (1..count).filter(new_epoch).count() as f64 >= 0.8 * (count - 1) as f64;
    let restarts = (1..count).all(|wanted| ends(wanted).0 <= ends(0).0 + gap.max(1.0));
    let are_long = (0..count).all(|wanted| of(wanted).count() > 1);
    if !(restarts && (are_epochs || are_long)) {
        // A table in no order has many such stretches, a run that was resumed has few.
        let note = format!("the steps go back as after a resume ({}): the last value of each step counts", count - 1);
        let notes = if are_long && count * 3 < entries.len() { vec![note] } else { Vec::new() };
        return Numbered { notes, ..plain };
    }
    if !are_epochs
        && are_runs(count, &|wanted| of(wanted).filter_map(|entry| entry.train).filter(|y| y.is_finite()).collect())
    {
        let last = |(step, stretch): (&Option<f64>, &usize)| step.filter(|_| stretch + 1 == count);
        let steps = steps.iter().zip(&stretch).map(last).collect();
        let notes = vec![format!("the file holds {count} runs one after the other: the last one is judged")];
        return Numbered { steps, notes, ..Numbered::default() };
    }
    // Epochs that count from 0 end a step before the next begins.
    let first = if ends(0).0 == 0.0 { gap.max(1.0).round() } else { 0.0 };
    let mut offsets = vec![0.0];
    for wanted in 0..count {
        offsets.push(offsets[wanted] + ends(wanted).1 + first);
    }
    let steps = steps.iter().zip(&stretch).map(|(step, stretch)| Some((*step)? + offsets[*stretch])).collect();
    let notes =
        vec![format!("the steps start again in each epoch: {count} epochs are joined to {} steps", offsets[count])];
    Numbered { steps, notes, ..Numbered::default() }
}

/// Whether the loss starts again with each stretch, rather than continuing where the one before ended.
fn are_runs(count: usize, losses: &dyn Fn(usize) -> Vec<f64>) -> bool {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let few = |values: &[f64]| (values.len() / 4).clamp(1, COMPARED).min(values.len());
    let first = losses(0);
    let start = mean(&first[..few(&first)]);
    let is_new = |wanted: &usize| {
        let (before, here) = (losses(wanted - 1), losses(*wanted));
        let end = mean(&before[before.len() - few(&before)..]);
        let head = mean(&here[..few(&here)]);
        (head - start).abs() < (head - end).abs()
    };
    (1..count).filter(is_new).count() * 2 > count - 1
}

fn by_epoch(entries: &[Entry]) -> Numbered {
    let train: Vec<f64> =
        entries.iter().filter(|entry| entry.train.is_some()).filter_map(|entry| entry.epoch).collect();
    let evals: Vec<f64> = entries.iter().filter(|entry| entry.is_eval).filter_map(|entry| entry.epoch).collect();
    let all = || train.iter().chain(&evals);
    let is_whole = all().all(|epoch| epoch.fract() == 0.0);
    if is_whole && rises(&train) && rises(&evals) {
        // The evaluation after the first epoch is not that of an untrained model.
        let shift = f64::from(u8::from(all().any(|epoch| *epoch == 0.0)));
        let steps = entries.iter().map(|entry| Some(entry.epoch? + shift)).collect();
        return Numbered {
            steps,
            notes: vec!["no column holds the steps: epochs number the rows".into()],
            are_counted: true,
        };
    }
    if is_whole || train.len() < 2 || !rises_or_stays(&train) {
        return if train.len() < 2 { by_rank(entries) } else { by_row(entries) };
    }
    // Training losses come at equal distances, and epochs are rounded: the rows are counted, and evaluations placed between.
    let (first, last, count) = (train[0], train[train.len() - 1], train.len() as f64);
    let start = (first - (last - first) / (count - 1.0)).max(0.0);
    let start = if start * count < last { 0.0 } else { start };
    let (mut counted, mut places) = (0.0, BTreeSet::new());
    let mut steps = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.train.is_some() {
            counted += 1.0;
            steps.push(Some(counted));
        } else {
            let step = entry.epoch.map(|epoch| ((epoch - start) / (last - start) * count).round());
            let step = step.map(|step| if entry.epoch > Some(0.0) { step.max(1.0) } else { 0.0 });
            if entry.is_eval && step.is_some_and(|step| !places.insert(step as u64)) {
                return by_rank(entries);
            }
            steps.push(step);
        }
    }
    let notes = vec![format!("no column holds the steps: the {count} rows with a training loss number them")];
    Numbered { steps, notes, are_counted: true }
}

fn rises(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[1] > pair[0])
}

fn rises_or_stays(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[1] >= pair[0])
}

/// The rows in the order of their epochs, those of one epoch together.
fn by_rank(entries: &[Entry]) -> Numbered {
    let is_counted = |entry: &&Entry| entry.train.is_some() || entry.is_eval;
    let mut epochs: Vec<f64> =
        entries.iter().filter(is_counted).filter_map(|entry| entry.epoch).filter(|epoch| *epoch > 0.0).collect();
    epochs.sort_by(f64::total_cmp);
    epochs.dedup();
    let rank = |epoch: f64| epochs.partition_point(|other| *other <= epoch) as f64;
    let steps = entries.iter().map(|entry| entry.epoch.map(rank)).collect();
    Numbered {
        steps,
        notes: vec!["no column holds the steps: the order of the epochs numbers the rows".into()],
        are_counted: true,
    }
}

fn by_row(entries: &[Entry]) -> Numbered {
    let count = entries.iter().filter(|entry| entry.train.is_some()).count();
    let mut notes = vec![format!(
        "no column holds the steps: the {} rows number them",
        if count == 0 { entries.len() } else { count }
    )];
    if count == 0 {
        let steps = (1..=entries.len()).map(|row| Some(row as f64)).collect();
        return Numbered { steps, notes, are_counted: true };
    }
    let mut counted = 0.0;
    let place = |entry: &Entry| {
        counted += f64::from(u8::from(entry.train.is_some()));
        Some(counted)
    };
    let mut steps: Vec<Option<f64>> = entries.iter().map(place).collect();
    // Evaluations that stand together at the end of the file are spread over the run.
    let evals: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].is_eval).collect();
    let places: BTreeSet<u64> = evals.iter().filter_map(|at| steps[*at]).map(|step| step as u64).collect();
    if places.len() < evals.len() && evals.iter().all(|at| entries[*at].train.is_none()) {
        for (index, at) in evals.iter().enumerate() {
            steps[*at] = Some((counted * (index + 1) as f64 / evals.len() as f64).round());
        }
        notes.push("the evaluations are spread evenly over the run".into());
    }
    Numbered { steps, notes, are_counted: true }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    /// Steps of the rows with a training loss, of those with an evaluation loss, and the notes.
    fn numbered(text: &str) -> (Vec<f64>, Vec<f64>, String) {
        let rows = table::read(text).unwrap().rows;
        let numbered = number_rows(&rows, Some("loss"), &["val_loss"]);
        let of = |name: &str| {
            let has = |(row, step): (&Row, &Option<f64>)| number(row, name).and(*step);
            rows.iter().zip(&numbered.steps).filter_map(has).collect()
        };
        (of("loss"), of("val_loss"), numbered.notes.join("; "))
    }

    #[test]
    fn steps_that_restart_in_each_epoch_are_joined() {
        let text = "epoch,step,loss,val_loss\n1,1,0.7,\n1,2,0.6,0.6\n2,1,0.5,\n2,2,0.5,0.5\n3,1,0.4,\n3,2,0.4,0.45\n";
        let note = "the steps start again in each epoch: 3 epochs are joined to 6 steps";
        assert_eq!(numbered(text), ((1..=6).map(f64::from).collect(), vec![2.0, 4.0, 6.0], note.into()));
        let from_zero = "epoch,batch,loss\n0,0,0.7\n0,50,0.6\n1,0,0.5\n1,50,0.5\n";
        assert_eq!(numbered(from_zero).0, [0.0, 50.0, 100.0, 150.0]);
        let unsaid = "step,loss,val_loss\n1,0.7,\n2,0.5,\n2,,0.5\n1,0.5,\n2,0.4,\n2,,0.4\n";
        assert_eq!(
            numbered(unsaid),
            (
                vec![1.0, 2.0, 3.0, 4.0],
                vec![2.0, 4.0],
                "the steps start again in each epoch: 2 epochs are joined to 4 steps".into()
            )
        );
    }

    #[test]
    fn a_second_run_and_a_resumed_run_are_no_epochs() {
        let two = "step,loss\n1,0.7\n2,0.5\n3,0.3\n1,0.7\n2,0.4\n3,0.2\n";
        assert_eq!(
            numbered(two),
            (vec![1.0, 2.0, 3.0], vec![], "the file holds 2 runs one after the other: the last one is judged".into())
        );
        let resumed = "step,loss\n1,0.7\n2,0.6\n3,0.5\n4,0.4\n3,0.5\n4,0.45\n5,0.4\n";
        let (steps, _, note) = numbered(resumed);
        assert_eq!(
            (steps.len(), note.as_str()),
            (7, "the steps go back as after a resume (1): the last value of each step counts")
        );
        assert_eq!(numbered("step,loss\n20,0.6\n10,0.7\n"), (vec![20.0, 10.0], vec![], String::new()));
    }

    #[test]
    fn fractions_of_epochs_are_no_steps() {
        let text = "epoch,update,loss,num_updates\n1,0.5,0.7,500\n1,1.0,0.6,1000\n2,1.5,0.5,1500\n";
        assert_eq!(numbered(text).0, [500.0, 1000.0, 1500.0]);
    }

    #[test]
    fn many_programs_name_their_steps() {
        for name in ["train_num_updates", "iter_num", "completed_steps", "cur_iter", "global_steps", "batch_id"] {
            let text = format!("{name},loss\n20,0.7\n40,0.6\n60,0.5\n");
            assert_eq!(numbered(&text).0, [20.0, 40.0, 60.0], "{name}");
        }
    }

    #[test]
    fn epochs_number_rows_without_steps() {
        let keras = numbered("epoch,loss,val_loss\n0,0.7,0.69\n1,0.6,0.65\n");
        assert_eq!(keras, (vec![1.0, 2.0], vec![1.0, 2.0], "no column holds the steps: epochs number the rows".into()));
        let rounded = numbered("epoch,loss,val_loss\n0.03,0.7,\n0.05,0.6,\n0.07,0.5,\n0.1,0.5,\n0.1,,0.6\n");
        assert_eq!((rounded.0, rounded.1), (vec![1.0, 2.0, 3.0, 4.0], vec![4.0]));
        let sparse = numbered("epoch,loss,val_loss\n1.0,,0.6\n1.8,0.5,\n2.0,,0.5\n3.0,,0.4\n");
        assert_eq!((sparse.0, sparse.1), (vec![2.0], vec![1.0, 3.0, 4.0]));
    }

    #[test]
    fn rows_number_themselves_where_nothing_else_does() {
        assert_eq!(
            numbered("loss,val_loss\n0.7,\n0.6,\n,0.6\n0.5,\n0.4,\n,0.5\n"),
            (vec![1.0, 2.0, 3.0, 4.0], vec![2.0, 4.0], "no column holds the steps: the 4 rows number them".into())
        );
        assert_eq!(numbered("loss,val_loss\n0.7,\n0.6,\n0.5,\n0.4,\n,0.6\n,0.5\n").1, [2.0, 4.0]);
    }
}
