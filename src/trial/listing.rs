//! Lists of names in messages.

/// Names that a message shows. A folder from another person may hold hundreds of thousands.
pub const SHOWN_NAMES: usize = 10;

/// The first [`SHOWN_NAMES`] of `names`, and how many more of `count` there are.
#[must_use]
pub fn first_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>, count: usize) -> String {
    let names: Vec<S> = names.into_iter().take(SHOWN_NAMES).collect();
    let shown = names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    match count.saturating_sub(names.len()) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
        assert_eq!(first_names(&names[..2], 2), "1, 2");
        assert_eq!(first_names(&names, 12), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
        assert_eq!(first_names(&names[..10], 300_000), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 299990 more");
    }
}
