//! Numbers as text.

/// A share in whole per cent: `12 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A p-value: `0.004`, or an upper bound if it is tiny.
pub fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "0.001 or less".into(),
        p if p < 0.01 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}
