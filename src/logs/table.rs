//! Tables: CSV, TSV, columns split by spaces, Markdown, with or without a header; what pandas, Excel, R and gnuplot write.

use super::names::reading;
use super::sheet::{Field, Row, Sheet, field, spelled};

/// Headers of several words that a table split by spaces may have, with one word for each.
const PHRASES: &[(&str, &str)] = &[
    ("training loss", "training_loss"),
    ("train loss", "train_loss"),
    ("validation loss", "validation_loss"),
    ("val loss", "val_loss"),
    ("eval loss", "eval_loss"),
    ("test loss", "test_loss"),
    ("learning rate", "learning_rate"),
    ("grad norm", "grad_norm"),
    ("validation accuracy", "validation_accuracy"),
    ("val accuracy", "val_accuracy"),
    ("no log", "nan_"),
];

/// Reads a table. The error says what is wrong, without the name of the file.
pub(super) fn read(text: &str) -> Result<Sheet, String> {
    let mut sheet = Sheet::default();
    let comment = |line: &&str| line.trim_start().starts_with('#');
    let comments: Vec<&str> = text.lines().filter(comment).collect();
    // A rule between header and rows, of Markdown or of a program that draws its tables.
    let is_rule = |line: &&str| line.chars().all(|c| matches!(c, '|' | '-' | ':' | '+' | '=' | ' '));
    let mut lines: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty() && !comment(line) && !is_rule(line)).collect();
    let above = lines.windows(2).take(MOST_ABOVE).position(|pair| is_header_of(pair[0], pair[1])).unwrap_or(0);
    if above > 0 {
        sheet.notes.push(format!("lines above the header are ignored ({above})"));
        lines.drain(..above);
    }
    let Some(first) = lines.first().copied() else {
        return Err("the file is empty; a log has a row for each step".into());
    };
    let separator = Separator::of(first, &lines);
    let names: Vec<String> = if is_header(&separator.split(first)) {
        lines.remove(0);
        let names = of_one_run(separator.split(first), &lines, separator, &mut sheet.notes);
        names.iter().map(|name| spelled(name)).collect()
    } else {
        let columns = separator.split(first).len();
        let commented =
            comments.iter().rev().map(|line| header_of_comment(line, separator)).find(|names| names.len() == columns);
        match (commented, columns) {
            (Some(names), _) => names,
            (None, 1) => {
                sheet.notes.push("the file has no header: its column is taken for the training loss".into());
                vec!["loss".to_owned()]
            }
            (None, 2) => {
                sheet
                    .notes
                    .push("the file has no header: its columns are taken for the step and the training loss".into());
                vec!["step".to_owned(), "loss".to_owned()]
            }
            // Lines of text are no table.
            (None, _) if separator.split(first).iter().all(|text| !matches!(field(text), Field::Number(_))) => {
                return Ok(sheet);
            }
            (None, _) => {
                return Err(format!(
                    "the table has no header, and {columns} columns; put a line such as step,train_loss,eval_loss before its first row"
                ));
            }
        }
    };
    let names = unnamed_index(names);
    sheet.rows = match separator {
        Separator::Sign(sign) if text.contains('"') => quoted(&lines, sign, &names)?,
        _ => lines.iter().map(|line| row(&names, &separator.split(line), separator)).collect(),
    };
    Ok(sheet)
}

/// Lines that a program may have printed before it wrote the header.
const MOST_ABOVE: usize = 50;

/// Whether `line` names a loss and `next` is a row below it.
fn is_header_of(line: &str, next: &str) -> bool {
    let separator = Separator::of(line, &[line, next]);
    let (names, fields) = (separator.split(line), separator.split(next));
    let is_row = fields.iter().any(|text| matches!(field(text), Field::Number(_)));
    let names_loss = names.iter().any(|name| reading(&spelled(name)).is_some());
    is_header(&names) && names_loss && is_row && fields.len() >= names.len() && fields.len() <= names.len() + 1
}

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Sign(char),
    Bars,
    Spaces,
}

impl Separator {
    fn of(header: &str, lines: &[&str]) -> Self {
        if header.trim_start().starts_with('|') {
            return Self::Bars;
        }
        for sign in ['\t', ';', ','] {
            if header.contains(sign) {
                return Self::Sign(sign);
            }
        }
        if header.contains('|') {
            return Self::Sign('|');
        }
        // A header of one word may still be that of one column: then no row has a second field.
        let fields = |line: &&str| line.split_whitespace().count();
        if lines.iter().skip(1).all(|line| fields(line) == 1) && fields(&header) == 1 {
            Self::Sign(',')
        } else {
            Self::Spaces
        }
    }

    fn split(self, line: &str) -> Vec<String> {
        match self {
            Self::Sign(sign) => line.split(sign).map(|field| field.trim().to_owned()).collect(),
            Self::Bars => {
                let line = line.trim().trim_start_matches('|');
                line.strip_suffix('|').unwrap_or(line).split('|').map(|field| field.trim().to_owned()).collect()
            }
            Self::Spaces => {
                let mut line = line.to_owned();
                for (phrase, word) in PHRASES {
                    if let Some(at) = line.to_ascii_lowercase().find(phrase) {
                        line.replace_range(at..at + phrase.len(), word);
                    }
                }
                line.split_whitespace().map(str::to_owned).collect()
            }
        }
    }
}

/// Whether no field of the line is a number.
fn is_header(fields: &[String]) -> bool {
    fields.iter().all(|text| !matches!(field(text), Field::Number(_))) && fields.iter().any(|text| !text.is_empty())
}

/// The names in a comment such as `# step loss`.
fn header_of_comment(line: &str, separator: Separator) -> Vec<String> {
    let line = line.trim_start().trim_start_matches('#').trim();
    let fields = separator.split(line);
    let fields = if fields.len() == 1 { Separator::Spaces.split(line) } else { fields };
    if is_header(&fields) { fields.iter().map(|name| spelled(name)).collect() } else { Vec::new() }
}

/// The header of an export of Weights & Biases (`my-run - train/loss`, with `__MIN` and `__MAX`) without the name of the run; of
/// several runs that with most values stays.
fn of_one_run(names: Vec<String>, lines: &[&str], separator: Separator, notes: &mut Vec<String>) -> Vec<String> {
    let unquoted = |name: &str| name.trim_matches('"').to_owned();
    let run_of = |name: &str| unquoted(name).rsplit_once(" - ").map(|(run, _)| run.to_owned());
    let runs: Vec<Option<String>> = names.iter().map(|name| run_of(name)).collect();
    let rows: Vec<Vec<String>> = lines.iter().map(|line| separator.split(line)).collect();
    let values = |run: &str| {
        let of = |row: &Vec<String>| {
            let is_value =
                |(of, text): &(&Option<String>, &String)| of.as_deref() == Some(run) && field(text) != Field::Missing;
            runs.iter().zip(row).filter(is_value).count()
        };
        rows.iter().map(of).sum::<usize>()
    };
    let mut known: Vec<&String> = runs.iter().flatten().collect();
    known.sort_unstable();
    known.dedup();
    // The first of equals: max_by_key takes the last.
    let Some(kept) = known.iter().rev().max_by_key(|run| values(run)) else { return names };
    if known.len() > 1 {
        notes.push(format!("the file holds {} runs: {kept}, which has most values, is judged", known.len()));
    }
    let name_of = |(name, run): (&String, &Option<String>)| match (unquoted(name).rsplit_once(" - "), run) {
        (Some((_, metric)), Some(run)) if run == *kept && !metric.contains("__M") => metric.to_owned(),
        (Some(_), _) => String::new(),
        (None, _) => name.clone(),
    };
    names.iter().zip(&runs).map(name_of).collect()
}

/// pandas leaves the header of its index empty.
fn unnamed_index(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| if name.is_empty() { "unnamed".to_owned() } else { name }).collect()
}

fn row(names: &[String], fields: &[String], separator: Separator) -> Row {
    // What pandas prints has an index without a header before each row.
    let shift = usize::from(separator == Separator::Spaces && fields.len() == names.len() + 1);
    let decimal_comma = separator == Separator::Sign(';');
    let value = |text: &String| match field(text) {
        Field::Text(text) if text == "nan_" => Field::Missing,
        Field::Text(text) if decimal_comma => field(&text.replacen(',', ".", 1)),
        other => other,
    };
    let mut row: Row = names.iter().cloned().zip(fields.iter().skip(shift).map(value)).collect();
    row.remove("unnamed");
    row
}

/// Rows with quoted fields, in which a separator or a line end may stand.
fn quoted(lines: &[&str], sign: char, names: &[String]) -> Result<Vec<Row>, String> {
    let text = lines.join("\n");
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(u8::try_from(sign).unwrap_or(b','))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let records = reader.records().map(|record| {
        let record = record.map_err(|error| error.to_string())?;
        let fields: Vec<String> = record.iter().map(str::to_owned).collect();
        Ok(row(names, &fields, Separator::Sign(sign)))
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use super::super::sheet::number;
    use super::*;

    /// Step and loss of every row.
    fn losses(text: &str, loss: &str) -> Vec<(f64, Option<f64>)> {
        read(text).unwrap().rows.iter().map(|row| (number(row, "step").unwrap(), number(row, loss))).collect()
    }

    #[test]
    fn tables_of_many_programs_say_the_same() {
        let expected = [(10.0, Some(0.7)), (20.0, None), (30.0, Some(0.5))];
        for text in [
            "step,loss\n10,0.7\n20,\n30,0.5\n",
            "\"step\",\"loss\"\n10,\"0.7\"\n20,NA\n30,0.5\n",
            "step\tLoss\n10\t.7\n20\tNone\n30\t5e-1\n",
            "step;loss\n10;0,7\n20;\n30;0,5\n",
            "# run 3, 2024-01-02\n# lr 1e-5\nstep loss\n10 0.7\n20 NA\n30 0.5\n",
            "# step loss\n10 0.7\n20 -\n30 0.5\n",
            "   step  loss\n0   10   0.7\n1   20   NA\n2   30   0.5\n",
            ",step,loss\n0,10,0.7\n1,20,\n2,30,0.5\n",
            "| Step | Loss |\n|:----:|:----:|\n| 10 | 0.7 |\n| 20 | No log |\n| 30 | 0.5 |\n",
        ] {
            assert_eq!(losses(text, "loss"), expected, "{text}");
        }
    }

    #[test]
    fn headers_of_several_words_are_read_without_commas() {
        let text = "Step Training Loss Validation Loss\n500 No log 0.6\n1000 0.4 0.5\n";
        assert_eq!(losses(text, "training_loss"), [(500.0, None), (1000.0, Some(0.4))]);
        assert_eq!(losses(text, "validation_loss"), [(500.0, Some(0.6)), (1000.0, Some(0.5))]);
    }

    #[test]
    fn of_several_runs_that_with_most_values_is_read() {
        let text = "\"Step\",\"b - loss\",\"b - loss__MIN\",\"a - loss\"\n\"10\",\"0.7\",\"0.1\",\"0.5\"\n\"20\",\"0.6\",\"0.1\",\"\"\n";
        let sheet = read(text).unwrap();
        assert_eq!(sheet.numbers("loss").collect::<Vec<_>>(), [0.7, 0.6]);
        assert_eq!(sheet.notes, ["the file holds 2 runs: b, which has most values, is judged"]);
    }

    #[test]
    fn a_table_without_a_header_is_read_where_it_is_clear() {
        assert_eq!(losses("10,0.7\n20,0.6\n", "loss"), [(10.0, Some(0.7)), (20.0, Some(0.6))]);
        assert_eq!(read("0.7\n0.6\n").unwrap().numbers("loss").collect::<Vec<_>>(), [0.7, 0.6]);
        insta::assert_snapshot!(read("1 0.7 0.6\n2 0.6 0.5\n").unwrap_err(), @"the table has no header, and 3 columns; put a line such as step,train_loss,eval_loss before its first row");
    }
}
