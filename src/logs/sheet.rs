//! What every format is read into: rows of named fields, in the order of the file.

use std::collections::BTreeMap;

/// The fields of a row by the name of their column, as [`spelled`].
pub(super) type Row = BTreeMap<String, Field>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    Number(f64),
    Text(String),
    /// The row has the column, but its field is empty.
    Missing,
}

/// The rows of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sheet {
    pub(super) rows: Vec<Row>,
    /// Optimizer steps that the run was planned for, where the file says so.
    pub(super) planned: Option<u64>,
    /// What the reader of the format assumed or ignored.
    pub(super) notes: Vec<String>,
}

impl Sheet {
    pub(super) fn of(rows: Vec<Row>) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Values of a column, row by row.
    #[cfg(test)]
    pub(super) fn numbers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = f64> + 'a {
        self.rows.iter().filter_map(move |row| number(row, name))
    }
}

pub(super) fn number(row: &Row, name: &str) -> Option<f64> {
    match row.get(name) {
        Some(Field::Number(number)) => Some(*number),
        _ => None,
    }
}

/// One spelling of a column's name: `train/loss`, `Train Loss` and `trainLoss` are `train_loss`.
pub(super) fn spelled(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.trim().trim_matches(['"', '\'']).chars() {
        let is_word = c.is_alphanumeric();
        let starts_word = c.is_uppercase() && before.is_lowercase();
        if (starts_word || !is_word) && (!spelled.ends_with('_') || spelled.trim_matches('_').is_empty()) {
            spelled.push('_');
        }
        if is_word {
            spelled.extend(c.to_lowercase());
        }
        before = c;
    }
    if spelled.len() > 1 { spelled.trim_end_matches('_').to_owned() } else { spelled }
}

/// A field as it stands in a file.
pub(super) fn field(text: &str) -> Field {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    let is_missing = ["", "none", "null", "-", "--", "na", "n/a", "#n/a", "no log", "<na>"]
        .iter()
        .any(|missing| text.eq_ignore_ascii_case(missing));
    if is_missing {
        return Field::Missing;
    }
    parsed(text).map_or_else(|| Field::Text(text.to_owned()), Field::Number)
}

/// A number, also with a per cent sign or as Python prints it: `50.9%`, `tensor(0.5, device='cuda:0')`, `np.float64(0.5)`.
pub(super) fn parsed(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some((call, inside)) = text.split_once('(') {
        let is_call =
            call.ends_with("tensor") || call.contains("float") || call.contains("int") || call.ends_with("array");
        let end = inside.find([',', ')']).unwrap_or(inside.len());
        return is_call.then(|| parsed(&inside[..end])).flatten();
    }
    let text = text.strip_suffix('%').unwrap_or(text).trim_end();
    // Rust reads "infinity" and "nan" in any case, as Python writes them.
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for name in ["train/loss", "Train Loss", "trainLoss", "train_loss", " Train-Loss ", "\"train loss\""] {
            assert_eq!(spelled(name), "train_loss");
        }
        assert_eq!(
            ["LR", "_step", "Wall time", "lr-AdamW/pg1", "gradNorm"].map(spelled),
            ["lr", "_step", "wall_time", "lr_adam_w_pg1", "grad_norm"]
        );
    }

    #[test]
    fn fields_are_numbers_texts_or_missing() {
        for text in ["", " ", "NA", "N/A", "None", "null", "-", "No log"] {
            assert_eq!(field(text), Field::Missing, "{text}");
        }
        for (text, number) in
            [("0.5", 0.5), (".5", 0.5), ("1e-5", 1e-5), ("50.9%", 50.9), ("'0.7'", 0.7), ("inf", f64::INFINITY)]
        {
            assert_eq!(field(text), Field::Number(number), "{text}");
        }
        assert_eq!(field("tensor(0.5, device='cuda:0')"), Field::Number(0.5));
        assert_eq!(field("np.float64(0.25)"), Field::Number(0.25));
        assert!(matches!(field("NaN"), Field::Number(nan) if nan.is_nan()));
        assert_eq!(field("a lot"), Field::Text("a lot".into()));
    }
}
