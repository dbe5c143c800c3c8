//! Counts the trials of a sweep file before anything is made of its values.

use super::problem::{Place, Problem};
use super::run_config::RunConfig;
use super::yaml::Node;

/// The mistake of a sweep file with more trials than `run.max_trials`. `most`: the limit that the command line gives. None also
/// for a file with arms, a search or folds, whose trials are counted later.
pub(super) fn too_many_trials(entries: &[(Node, Node)], most: Option<u128>) -> Option<Problem> {
    let find = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value);
    let inside = |section: &str, name: &str| {
        let entries = find(section).and_then(Node::map).unwrap_or_default();
        let found = entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value);
        found.or_else(|| find(&format!("{section}.{name}")))
    };
    if find("arms").or_else(|| find("space")).or_else(|| inside("data", "folds")).is_some() {
        return None;
    }
    let in_file = inside("run", "max_trials").and_then(|value| value.text()?.parse().ok());
    let most = most.or(in_file).unwrap_or(RunConfig::default().max_trials as u128);
    let (count, place) = least_trials(entries).filter(|(count, _)| *count > most)?;
    Some(problem(place, count, most))
}

/// The mistake of a sweep with `count` trials.
pub(super) fn problem(place: Place, count: u128, most: u128) -> Problem {
    let what = format!("this sweep has {} trials, more than {}", grouped(count), grouped(most));
    Problem::new(place, what).hint("shorten an axis, or raise `run.max_trials`")
}

/// The number of trials that a sweep file has at least, with the place of what varies. Counts the items of lists and builds
/// nothing.
fn least_trials(entries: &[(Node, Node)]) -> Option<(u128, Place)> {
    let length = |values: &Node| values.list().map_or(1, |items| items.len().max(1)) as u128;
    let lengths = |section: &Node| section.map().unwrap_or_default().iter().map(|(_, values)| length(values)).collect();
    let (mut count, mut place) = (1u128, None);
    for name in ["grid", "zip", "seeds"] {
        let Some((key, value)) = entries.iter().find(|(key, _)| key.text() == Some(name)) else { continue };
        let lengths: Vec<u128> = lengths(value);
        let factor = match name {
            "grid" => lengths.into_iter().fold(1, u128::saturating_mul),
            "zip" => lengths.into_iter().max().unwrap_or(1),
            _ => length(value),
        };
        count = count.saturating_mul(factor);
        place = place.or(Some(key.place));
    }
    Some((count, place?))
}

/// `1,200,000`.
fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
