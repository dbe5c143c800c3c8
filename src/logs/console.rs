//! Reads what a program printed while it trained. Two forms are known, alone or between progress bars and other lines:
//! dictionaries as the Trainer of transformers prints them (`{'loss': 0.7, 'epoch': 0.5}`), and lines of names and numbers
//! (`step 10 | loss 0.7`).

use std::collections::BTreeSet;

use super::names::{EPOCH, PLANNED, Quantity, STEP, reading};
use super::sheet::{Field, Row, Sheet, field, number, parsed, spelled};
use super::steps::MOST_STEPS;

/// Lines over which a printed dictionary may extend.
const MOST_LINES: usize = 40;
/// Words at the beginning of a line about an evaluation.
const EVALUATION: [&str; 7] = ["valid", "validation", "val", "eval", "evaluation", "dev", "test"];
/// Share of the dictionaries that follow a progress bar for the bar to count their steps.
const WITH_BAR: f64 = 0.8;

/// Reads what was printed. The sheet is empty where nothing looks like a training log.
pub(super) fn read(text: &str) -> Sheet {
    // A progress bar returns to the start of its line.
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    let printed = dictionaries(&lines);
    if printed.iter().any(|printed| has_loss(&printed.row)) {
        return of_dictionaries(printed, lines.iter().filter(|line| !line.trim().is_empty()).count());
    }
    of_lines(&lines)
}

fn has_loss(row: &Row) -> bool {
    row.iter().any(|(name, value)| matches!(value, Field::Number(_)) && reading(name).is_some())
}

/// A dictionary, with the newest progress bar before it: steps done, and their total.
struct Printed {
    row: Row,
    bar: Option<(u64, u64)>,
}

fn dictionaries(lines: &[&str]) -> Vec<Printed> {
    let (mut printed, mut bar) = (Vec::new(), None);
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        let start = line.find('{');
        bar = progress(&line[..start.unwrap_or(line.len())]).or(bar);
        let Some(start) = start else { continue };
        // Until the braces are closed.
        let mut text = line[start..].to_owned();
        let mut more = at;
        while !text.contains('}') && more < lines.len().min(at + MOST_LINES) {
            text.push(' ');
            text.push_str(lines[more]);
            more += 1;
        }
        if let Some(mut row) = dictionary(&text) {
            // The step or the epoch may stand before the dictionary.
            for (name, value) in pairs(&line[..start]).named.into_iter().filter(|(name, _)| is_place(name)) {
                row.entry(name).or_insert(value);
            }
            at = at.max(more);
            printed.push(Printed { row, bar });
        }
    }
    printed
}

/// The fields of a dictionary as Python or JSON writes it; None if `text` does not begin with one.
fn dictionary(text: &str) -> Option<Row> {
    let inside = text.strip_prefix('{')?;
    let mut row = Row::new();
    let (mut depth, mut start) = (0_usize, 0);
    let mut add = |entry: &str| {
        if let Some((name, value)) = entry.split_once(':') {
            let name = spelled(name);
            if !name.is_empty() {
                row.insert(name, field(value));
            }
        }
    };
    for (at, c) in inside.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            '}' if depth == 0 => {
                add(&inside[start..at]);
                return (!row.is_empty()).then_some(row);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                add(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// Steps done and their total, of a bar of tqdm: ` 10%|#    | 12/120 [00:05<00:45,  2.4it/s]`.
fn progress(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.rsplit_once("| ")?;
    let (counts, _) = counts.split_once(" [")?;
    let (done, total) = counts.trim().split_once('/')?;
    let counts: (u64, u64) = (done.trim().parse().ok()?, total.trim().parse().ok()?);
    (counts.0.max(counts.1) <= MOST_STEPS).then_some(counts)
}

fn of_dictionaries(mut printed: Vec<Printed>, lines: usize) -> Sheet {
    printed.retain(|printed| has_loss(&printed.row) || printed.row.contains_key("train_runtime"));
    let is_train = |printed: &Printed| printed.row.contains_key("loss") && !printed.row.contains_key("train_runtime");
    let has_steps = printed.iter().any(|printed| STEP.iter().any(|name| number(&printed.row, name).is_some()));
    let planned = planned(&printed);
    if !has_steps && let Some(steps) = planned.and_then(|total| steps(&printed, total)) {
        let mut steps = steps.into_iter();
        for printed in printed.iter_mut().filter(|printed| is_train(printed)) {
            let step = steps.next().map_or(Field::Missing, |step| Field::Number(step as f64));
            printed.row.insert("step".into(), step);
        }
    }
    let mut sheet = Sheet { planned, ..Sheet::default() };
    let ignored = lines.saturating_sub(printed.len());
    if ignored > 0 {
        sheet.notes.push(format!("lines without a loss are ignored ({ignored})"));
    }
    sheet.rows = printed.into_iter().map(|printed| printed.row).collect();
    sheet
}

/// The total of the bar of the training: the one that most losses follow.
fn planned(printed: &[Printed]) -> Option<u64> {
    let totals: Vec<u64> = printed
        .iter()
        .filter(|printed| printed.row.contains_key("loss"))
        .filter_map(|printed| printed.bar.map(|(_, total)| total))
        .collect();
    let count = |total: u64| totals.iter().filter(|other| **other == total).count();
    totals.iter().copied().max_by_key(|total| count(*total))
}

/// The steps of the training losses, by the bars before them, or by their number where they are as many as the bar's total
/// allows.
fn steps(printed: &[Printed], total: u64) -> Option<Vec<u64>> {
    let losses: Vec<&Printed> = printed.iter().filter(|printed| printed.row.contains_key("loss")).collect();
    let bars: Vec<u64> =
        losses.iter().filter_map(|printed| printed.bar.filter(|(_, of)| *of == total)).map(|(done, _)| done).collect();
    let rising = bars.windows(2).filter(|pair| pair[1] > pair[0]).count() + 1;
    let count = losses.len() as u64;
    if bars.len() == losses.len() && rising as f64 >= WITH_BAR * bars.len() as f64 && bars.len() > 1 {
        // A bar is drawn some steps late or early; the losses come at equal distances.
        let every = ((bars[bars.len() - 1] as f64 / count as f64).round() as u64).max(1);
        let is_regular = bars.iter().enumerate().all(|(index, bar)| bar.abs_diff((index as u64 + 1) * every) <= every);
        return if is_regular { Some((1..=count).map(|row| row * every).collect()) } else { Some(bars) };
    }
    let has_ended = printed.iter().any(|printed| printed.row.contains_key("train_runtime"));
    let every = total.checked_div(count)?;
    (has_ended && every > 0 && total / every == count).then(|| (1..=count).map(|row| row * every).collect())
}

/// Lines of names and numbers. An epoch or a step stands for the lines after it, too, until the next.
fn of_lines(lines: &[&str]) -> Sheet {
    let mut sheet = Sheet::default();
    let (mut place, mut ignored, mut one_each) = (Row::new(), 0, true);
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let mut row = pairs(line).with_counters();
        if is_of_evaluation(line) {
            let of_training = |name: &str| reading(name).is_some_and(|reading| reading.quantity == Quantity::Train);
            let named = |(name, value): (String, Field)| {
                (if of_training(&name) { format!("eval_{name}") } else { name }, value)
            };
            row = row.into_iter().map(named).collect();
        }
        if let Some(total) = PLANNED.iter().find_map(|name| number(&row, name)) {
            sheet.planned = Some(total as u64);
        }
        let here: Row = row.iter().filter(|(name, _)| is_place(name)).map(|(n, f)| (n.clone(), f.clone())).collect();
        let own_steps = here.keys().filter(|name| is_step(name)).count();
        one_each &= own_steps < 2;
        if own_steps > 0 {
            place.retain(|name, _| !is_step(name));
        }
        // A new epoch counts its steps anew.
        place.extend(here);
        if has_loss(&row) {
            for (name, value) in &place {
                row.entry(name.clone()).or_insert_with(|| value.clone());
            }
            sheet.rows.push(row);
        } else {
            ignored += 1;
        }
    }
    // nanoGPT counts the same steps as `iter` in one line and as `step` in another.
    let names: BTreeSet<&String> = sheet.rows.iter().flat_map(Row::keys).filter(|name| is_step(name)).collect();
    if one_each && names.len() > 1 {
        sheet.rows = sheet.rows.into_iter().map(with_one_name).collect();
    }
    if ignored > 0 && !sheet.rows.is_empty() {
        sheet.notes.push(format!("lines without a loss are ignored ({ignored})"));
    }
    sheet
}

/// Whether a line is about an evaluation as a whole: `valid | epoch 1 | loss 0.6`, `Test set: average loss: 0.6`.
fn is_of_evaluation(line: &str) -> bool {
    let line = line.to_lowercase();
    let before = line.split_once("loss").map_or("", |(before, _)| before);
    let words = || before.split(|c: char| c.is_whitespace() || ":|[](),;='\"".contains(c));
    words().any(|word| EVALUATION.contains(&word)) && !words().any(|word| word.starts_with("train"))
}

fn with_one_name(row: Row) -> Row {
    row.into_iter().map(|(name, field)| (if is_step(&name) { "step".to_owned() } else { name }, field)).collect()
}

fn is_step(name: &str) -> bool {
    STEP.contains(&name)
}

fn is_place(name: &str) -> bool {
    is_step(name) || EPOCH.contains(&name)
}

/// The numbers of a line.
#[derive(Default)]
struct Pairs {
    /// Each with the words before it.
    named: Vec<(String, Field)>,
    /// Those of `[3/5][100/600]`, which have no name: how many are done of how many.
    counters: Vec<f64>,
}

impl Pairs {
    /// The row of a line. A counter without a name counts steps; the first of two counts epochs.
    fn with_counters(self) -> Row {
        let mut row: Row = self.named.into_iter().collect();
        let has_epoch = row.keys().any(|name| EPOCH.contains(&name.as_str()));
        let (epoch, step) = match self.counters[..] {
            [step] => (None, Some(step)),
            [_, step, ..] if has_epoch => (None, Some(step)),
            [epoch, step, ..] => (Some(epoch), Some(step)),
            [] => (None, None),
        };
        if !row.keys().any(|name| is_step(name)) {
            let counted = [("epoch", epoch), ("step", step)];
            row.extend(counted.iter().filter_map(|(name, value)| Some(((*name).to_owned(), Field::Number((*value)?)))));
        }
        row
    }
}

/// The numbers of a line, each with the words before it: `Epoch 1/10 - loss: 0.7 | val loss 0.6`, `Epoch [1/5], Step [100/600]`.
fn pairs(line: &str) -> Pairs {
    let mut pairs = Pairs::default();
    let mut words: Vec<&str> = Vec::new();
    let is_end =
        |c: char| c.is_whitespace() || matches!(c, ':' | '=' | ',' | ';' | '|' | '[' | ']' | '(' | ')' | '"' | '\'');
    let mut rest = line;
    let mut new_part = true;
    while let Some(start) = rest.find(|c: char| !is_end(c)) {
        // A separator ends what the words before it can be a name of. `Step [100/600]` is a step.
        let opens = !rest[..start].contains([',', ';', '|', ']', ')']);
        let names_place = opens && name(&words).is_some_and(|name| is_place(&name));
        if rest[..start].contains([',', ';', '|', '[', ']', '(', ')']) && !names_place {
            new_part = true;
        }
        rest = &rest[start..];
        let end = rest.find(is_end).unwrap_or(rest.len());
        let token = &rest[..end];
        rest = &rest[end..];
        if new_part {
            words.clear();
            new_part = false;
        }
        if token == "-" || token == "--" || token == "->" {
            words.clear();
            continue;
        }
        let Some(value) = value(token) else {
            words.push(token);
            continue;
        };
        if let Some(name) = name(&words) {
            pairs.named.retain(|(known, _)| *known != name);
            pairs.named.push((name, value));
        } else if words.is_empty() {
            pairs.counters.extend(counter(token));
        }
        words.clear();
    }
    pairs
}

/// What is done of `100/600`.
fn counter(token: &str) -> Option<f64> {
    let (done, total) = token.split_once('/')?;
    let (done, total): (u64, u64) = (done.parse().ok()?, total.parse().ok()?);
    (done <= total).then_some(done as f64)
}

/// A number. Of `10/100` it is the first one. A number with a unit, such as `0.7s`, is not read.
fn value(token: &str) -> Option<Field> {
    let token = token.trim_end_matches(['.', '/']);
    let first = token.split_once('/').filter(|(done, total)| parsed(done).is_some() && parsed(total).is_some());
    let number = parsed(first.map_or(token, |(done, _)| done))?;
    // The words "nan" and "inf" count as numbers. So does "infinity" in a sentence, which is too rare for a rule.
    Some(Field::Number(number))
}

/// The name of a number: the longest known name that ends the words before it.
fn name(words: &[&str]) -> Option<String> {
    let from = words.len().saturating_sub(4);
    (from..words.len()).find_map(|start| {
        let name = spelled(&words[start..].join("_"));
        let is_known = is_place(&name) || PLANNED.contains(&name.as_str());
        let exact = reading(&name).is_some_and(|reading| reading.cost < 10);
        (is_known || exact).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, name: &str) -> Vec<f64> {
        read(text).numbers(name).collect()
    }

    #[test]
    fn dictionaries_are_read_between_other_lines() {
        let text = "Some weights were not initialized: ['classifier.bias']\n\
            \x20 0%|          | 0/40 [00:00<?, ?it/s]\r 25%|##5       | 10/40 [00:01<00:03,  9.9it/s]\
            {'loss': 0.7, 'grad_norm': inf, 'learning_rate': 1e-05, 'epoch': 0.5}\n\
            100%|##########| 5/5 [00:00<00:00, 50.1it/s]\n\
            {'eval_loss': '0.65', 'eval_accuracy': np.float64(0.6), 'epoch': 1.0}\n\
            \x20 50%|#####     | 20/40 [00:02<00:02,  9.9it/s]\r{'loss': tensor(nan), 'epoch': 1.0}\n\
            {'train_runtime': 4.0, 'train_loss': 0.65, 'epoch': 2.0}\n";
        let sheet = read(text);
        assert_eq!(sheet.planned, Some(40));
        assert_eq!((numbers(text, "step"), numbers(text, "eval_loss")), (vec![10.0, 20.0], vec![0.65]));
        assert_eq!(numbers(text, "grad_norm"), [f64::INFINITY]);
        assert!(numbers(text, "loss")[1].is_nan() && numbers(text, "eval_accuracy") == [0.6]);
        assert_eq!(sheet.notes, ["lines without a loss are ignored (4)"]);
    }

    #[test]
    fn lines_of_names_and_numbers_are_read() {
        let keras = "Epoch 1/2\n32/32 [====] - 3s 2ms/step - accuracy: 0.5 - loss: 0.7 - val_accuracy: 0.5 - val_loss: 0.69\n\
            Epoch 2/2\n32/32 [====] - 3s - loss: 0.6 - val_loss: 0.65\n";
        assert_eq!((numbers(keras, "epoch"), numbers(keras, "loss")), (vec![1.0, 2.0], vec![0.7, 0.6]));
        assert_eq!((numbers(keras, "val_loss"), numbers(keras, "val_accuracy")), (vec![0.69, 0.65], vec![0.5]));
        for text in [
            "step 10: train loss 0.7, val loss 0.65\nstep 20: train loss 0.6, val loss 0.6\n",
            "2024-01-02 10:00:00 INFO [main] Step: 10 | Train Loss: 0.7 | Val Loss: 0.65\n2024-01-02 10:00:01 INFO [main] Step: 20 | Train Loss: 0.6 | Val Loss: 0.6\n",
            "[step 10/20] train_loss=0.7 val_loss=0.65 (3.1 s)\n[step 20/20] train_loss=0.6 val_loss=0.6 (3.1 s)\n",
        ] {
            assert_eq!(numbers(text, "step"), [10.0, 20.0], "{text}");
            assert_eq!(
                (numbers(text, "train_loss"), numbers(text, "val_loss")),
                (vec![0.7, 0.6], vec![0.65, 0.6]),
                "{text}"
            );
        }
        let megatron = " iteration      100/  500000 | learning rate: 1.500E-04 | lm loss: 6.5E+00 | loss scale: 4096.0 | grad norm: 1.2 |\n";
        let row = &read(megatron).rows[0];
        assert_eq!(
            ["iteration", "learning_rate", "loss", "grad_norm"].map(|name| number(row, name)),
            [Some(100.0), Some(1.5e-4), Some(6.5), Some(1.2)]
        );
    }

    #[test]
    fn a_step_may_stand_before_the_dictionary() {
        let text = "step 10: {'loss': 0.7}\n2024-01-02 | INFO | train_inner | {\"epoch\": 1, \"loss\": \"0.6\", \"num_updates\": \"20\"}\n";
        assert_eq!((numbers(text, "step"), numbers(text, "num_updates")), (vec![10.0], vec![20.0]));
        assert_eq!(numbers(text, "loss"), [0.7, 0.6]);
    }

    #[test]
    fn counters_without_a_name_count_steps() {
        for (text, steps) in [
            ("[00030/03000] train_loss=0.7 lr=0.001\n[00060/03000] train_loss=0.6 lr=0.001\n", [30.0, 60.0]),
            ("Epoch [1/5], Step [100/600], Loss: 0.7\nEpoch [1/5], Step [200/600], Loss: 0.6\n", [100.0, 200.0]),
            ("Train Epoch: 1 [0/60000 (0%)]\tLoss: 0.7\nTrain Epoch: 1 [640/60000 (1%)]\tLoss: 0.6\n", [0.0, 640.0]),
            ("[1/5][50/300] Loss: 0.7\n[1/5][100/300] Loss: 0.6\n", [50.0, 100.0]),
            ("Epoch: [1][  50/5005]\tLoss 0.7 (0.7)\nEpoch: [1][ 100/5005]\tLoss 0.6 (0.65)\n", [50.0, 100.0]),
            ("30/3000: loss=0.7\n60/3000: loss=0.6\n", [30.0, 60.0]),
        ] {
            assert_eq!(numbers(text, "step"), steps, "{text}");
            assert_eq!([numbers(text, "loss"), numbers(text, "train_loss")].concat(), [0.7, 0.6], "{text}");
            let epochs = [numbers(text, "epoch"), numbers(text, "train_epoch")].concat();
            assert_eq!(epochs.len(), if text.contains('[') && !text.contains("3000") { 2 } else { 0 }, "{text}");
        }
        let nano = "step 0: train loss 0.9, val loss 0.95\niter 0: loss 0.9, time 3ms\niter 10: loss 0.8, time 3ms\n";
        assert_eq!(numbers(nano, "step"), [0.0, 0.0, 10.0]);
    }

    #[test]
    fn a_line_about_an_evaluation_has_its_loss() {
        let text = "2021-03-01 10:00:00 | INFO | train | epoch 001 | loss 0.7 | num_updates 100 | lr 1e-05\n\
            2021-03-01 10:00:00 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 0.6 | num_updates 100\n\
            Test set: Average loss: 0.5, Accuracy: 0.9\nTrain loss in test mode: 0.4\n[dev] loss=0.3\n";
        assert_eq!((numbers(text, "loss"), numbers(text, "eval_loss")), (vec![0.7], vec![0.6, 0.3]));
        let sheet = read(text);
        let of_training = |name: &&String| reading(name).is_some_and(|reading| reading.quantity == Quantity::Train);
        assert_eq!(sheet.rows[2].keys().filter(of_training).count(), 0, "{:?}", sheet.rows[2]);
    }

    #[test]
    fn prose_holds_no_losses() {
        assert!(read("The training took 3 hours.\nNothing was lost.\n").rows.is_empty());
    }
}
