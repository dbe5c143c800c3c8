//! Texts that several commands print: sizes, tables, values.

use crate::trial::Trial;

/// `1.2 GB`, decimal.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Aligns the fields of `lines` in columns, two spaces apart. The first line is the header.
pub(crate) fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|field| field.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(field, &width)| format!("{field:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The value of a varying key, as the sweep file writes it; empty where the trial has none.
pub(crate) fn axis_value(trial: &Trial, key: &str) -> String {
    trial.value(key).map_or_else(String::new, |value| value.text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, expected) in
            [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (123_456_789, "123 MB"), (999_999, "1.0 MB")]
        {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn columns_line_up() {
        let lines = [vec!["id".to_owned(), "lr".to_owned()], vec!["x".to_owned(), "3e-5".to_owned()]];
        assert_eq!(table(&lines), "id  lr\nx   3e-5\n");
    }
}
