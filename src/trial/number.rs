//! Numbers as text, short and exact.

/// A number as people write it: `3e-5`, `0.1`, `2`.
#[must_use]
pub fn number_text(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e6).contains(&x.abs()) { format!("{x:e}") } else { format!("{x}") }
}

/// A number as people write it, rounded to `digits` significant digits.
#[must_use]
pub fn rounded_text(x: f64, digits: usize) -> String {
    number_text(format!("{x:.*e}", digits.saturating_sub(1)).parse().unwrap_or(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        let exact = [3e-5, 0.1, 2.0, 0.0, 1e6].map(number_text);
        assert_eq!(exact, ["3e-5", "0.1", "2", "0", "1e6"]);
        let rounded = [1e-5 / 3.0, 3e-4 * 10.0, 0.15, 12.0, 3e4, f64::NAN].map(|x| rounded_text(x, 2));
        assert_eq!(rounded, ["3.3e-6", "0.003", "0.15", "12", "30000", "NaN"]);
    }
}
