//! Table columns for the parameters of configurations. They are as wide as their cells, and shrink to fit the space.

use crate::analysis::{Config, Sweep, groups};
use crate::report::canvas::font;
use crate::report::format;

/// Space between columns, px.
pub const GAP: f64 = 18.0;
/// Font size, px.
pub const SIZE: f64 = 12.0;
/// The smallest width that a column shrinks to, px.
const LEAST: f64 = 34.0;

/// The column of one parameter.
pub struct Column {
    pub key: String,
    pub title: String,
    pub cells: Vec<String>,
    pub numeric: bool,
    pub width: f64,
    /// Whether the cells are letters, which a note explains.
    pub lettered: bool,
}

/// A column for every axis, as wide as its widest cell.
pub fn columns(sweep: &Sweep, shown: &[&Config]) -> Vec<Column> {
    let column = |axis: &crate::trial::Axis| {
        let value = |config: &&Config| {
            config.value(&axis.key).map(|value| (format::value_cell(&axis.key, value), value.value.is_number()))
        };
        let found: Vec<Option<(String, bool)>> = shown.iter().map(value).collect();
        let numeric = found.iter().flatten().all(|(_, number)| *number);
        let cells =
            found.into_iter().map(|cell| cell.map_or_else(|| "–".into(), |cell| font::printable(&cell.0, false)));
        let cells: Vec<String> = cells.collect();
        let title = font::printable(format::short_axis_name(&axis.key), false);
        let widest = cells.iter().map(|cell| font::width(cell, SIZE, true).max(font::width(cell, SIZE, false)));
        let widest = widest.fold(0.0, f64::max);
        let width = widest.max(font::width(&title, SIZE, false)).ceil();
        Column { key: axis.key.clone(), title, cells, numeric, width, lettered: false }
    };
    groups::axes(sweep).map(column).collect()
}

/// Makes the columns fit into `space` px, and returns notes for the caption. First, columns with one value in all rows
/// are removed. Then the widest ones shrink. Values that would look the same when cut become letters.
pub fn fit(mut columns: Vec<Column>, space: f64) -> (Vec<Column>, Vec<String>) {
    let total = |columns: &[Column]| columns.iter().map(|column| column.width + GAP).sum::<f64>();
    let mut notes = Vec::new();
    if total(&columns) > space && columns.first().is_some_and(|column| column.cells.len() > 1) {
        columns.retain(|column| {
            let same = column.cells.windows(2).all(|pair| pair[0] == pair[1]);
            if let (true, Some(value)) = (same, column.cells.first()) {
                notes.push(format!("in all rows: {} {value}", column.key));
            }
            !same
        });
    }
    // Too many axes for one row: the last ones are removed. A number that is cut is another number.
    let least_width = |column: &Column| if column.numeric { column.width } else { column.width.min(LEAST) };
    let least = |columns: &[Column]| columns.iter().map(|column| least_width(column) + GAP).sum::<f64>();
    let all = columns.len();
    while least(&columns) > space && columns.len() > 1 {
        columns.pop();
    }
    if columns.len() < all {
        notes.push(format!("{} in trials.csv", format::count(all - columns.len(), "more parameter")));
    }
    let natural: Vec<f64> = columns.iter().map(|column| column.width).collect();
    shrink(&mut columns, space);
    let lettered = columns.iter_mut().filter_map(|column| letter(column, &mut notes).then_some(())).count();
    if lettered > 0 {
        for (column, natural) in columns.iter_mut().zip(natural) {
            column.width = if column.lettered { font::width(&column.title, SIZE, false).ceil() } else { natural };
        }
        shrink(&mut columns, space);
    }
    for column in columns.iter().filter(|column| !column.lettered) {
        notes.extend(cut(column));
    }
    (columns, notes)
}

/// Shrinks the widest columns of names until all fit, or until none can shrink further.
fn shrink(columns: &mut [Column], space: f64) {
    for _ in 0..columns.len() * 8 {
        let excess = columns.iter().map(|column| column.width + GAP).sum::<f64>() - space;
        let names = columns.iter_mut().filter(|column| !column.numeric);
        let Some(widest) = names.max_by(|a, b| a.width.total_cmp(&b.width)) else { break };
        if excess <= 0.0 || widest.width <= LEAST {
            break;
        }
        widest.width = (widest.width - excess).max(widest.width * 0.8).max(LEAST);
    }
}

/// Notes with the full values of the cells that are cut.
fn cut(column: &Column) -> Vec<String> {
    let mut notes = Vec::new();
    for cell in &column.cells {
        let shown = font::elide(cell, SIZE, false, column.width);
        let note = format!("{} {shown}: {cell}", column.title);
        if shown != *cell && !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// Replaces the values of a column by letters if two of them would look the same when cut.
fn letter(column: &mut Column, notes: &mut Vec<String>) -> bool {
    let mut values: Vec<String> = Vec::new();
    for cell in &column.cells {
        if !values.contains(cell) {
            values.push(cell.clone());
        }
    }
    let mut cut: Vec<String> = values.iter().map(|value| font::elide(value, SIZE, true, column.width)).collect();
    cut.sort();
    column.lettered = cut.windows(2).any(|pair| pair[0] == pair[1]);
    if column.lettered {
        let letter = |index: usize| char::from_u32('A' as u32 + index as u32).unwrap_or('?');
        let place = |cell: &String| values.iter().position(|value| value == cell).unwrap_or(0);
        column.cells = column.cells.iter().map(|cell| letter(place(cell)).to_string()).collect();
        let named =
            values.iter().enumerate().map(|(index, value)| format!("{} {}: {value}", column.title, letter(index)));
        notes.extend(named);
    }
    column.lettered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(width: f64, cells: &[&str]) -> Column {
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        Column { key: "k".into(), title: "k".into(), cells, numeric: false, width, lettered: false }
    }

    #[test]
    fn columns_are_made_to_fit() {
        let (columns, notes) = fit(vec![column(50.0, &["a", "b"]), column(60.0, &["c", "c"])], 100.0);
        assert_eq!((columns.len(), notes), (1, vec!["in all rows: k c".to_owned()]));
        let (columns, notes) = fit((0..5).map(|_| column(120.0, &["a", "b"])).collect(), 300.0);
        assert!(columns.len() == 5 && notes.is_empty());
        assert!(columns.iter().map(|column| column.width + GAP).sum::<f64>() <= 300.0);
        let (columns, _) = fit((0..40).map(|_| column(120.0, &["a", "b"])).collect(), 300.0);
        assert!(columns.iter().map(|column| column.width + GAP).sum::<f64>() <= 300.0);
    }

    #[test]
    fn numbers_are_shown_whole_or_not_at_all() {
        let number = |width: f64| Column { numeric: true, ..column(width, &["0.00965", "0.00713"]) };
        let (columns, notes) = fit(vec![number(50.0), number(50.0), column(120.0, &["linear", "cosine"])], 160.0);
        assert_eq!(columns.iter().map(|column| column.cells[0].as_str()).collect::<Vec<_>>(), ["0.00965", "0.00965"]);
        assert_eq!(notes, ["1 more parameter in trials.csv"]);
    }

    #[test]
    fn values_that_would_look_the_same_get_letters() {
        let long = ["synonym rate 0.1 then swap", "synonym rate 0.1 then deletion", "none"];
        let (columns, notes) = fit(vec![column(190.0, &long)], 90.0);
        assert_eq!(columns[0].cells, ["A", "B", "C"]);
        assert_eq!(notes[1], "k B: synonym rate 0.1 then deletion");
    }
}
