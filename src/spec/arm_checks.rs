//! Mistakes of arms that involve several keys: what they share with the common grid, with a search, and with each other.

use super::problem::{Place, Problem};
use super::sweep::{Arm, AxisKey, Factor};
use crate::trial::Key;

/// Keys of arms that the common grid varies, too, and two ways to say how long to train.
pub(super) fn conflicts(arms: &[Arm], factors: &[Factor]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in arms.iter().flat_map(Arm::keys) {
        let clash =
            |other: &&AxisKey| other.path == key.path || Key::is_length(&other.path) && Key::is_length(&key.path);
        let Some(common) = factors.iter().flat_map(|factor| &factor.keys).find(clash) else { continue };
        let problem = if common.path == key.path {
            Problem::new(key.place, format!("`{}` is in this arm and in the common grid", key.path))
        } else {
            Problem::new(key.place, "`epochs` and `steps` both say how long to train")
        };
        problems.push(problem.hint(format!("the other one is in line {}; keep one of the two", common.place.line())));
    }
    problems
}

/// Reports arms beside a search.
pub(super) fn beside_search(arms: Option<Place>, space: Option<Place>) -> Option<Problem> {
    let (arms, space) = (arms?, space?);
    let problem = Problem::new(arms, format!("`arms` does not work with `space` (line {})", space.line()));
    Some(problem.hint(
        "write the architectures into `grid`, such as `grid: {model.architecture: [bilstm, textcnn]}`: each of them is \
         searched on its own",
    ))
}

/// Warnings about arms with one learning rate: their difference may be that of the rates.
pub(super) fn one_rate(place: Option<Place>, arms: &[Arm], factors: &[Factor]) -> Vec<Problem> {
    let rates = |arm: &Arm| {
        let common = factors.iter().flat_map(|factor| &factor.keys);
        let key = arm.keys().chain(common).find(|key| Key::LearningRate.is(&key.path));
        key.map_or(1, |key| key.choices.len())
    };
    let single: Vec<&Arm> = arms.iter().filter(|arm| rates(arm) == 1).collect();
    let hint = "each architecture has a best learning rate of its own: give each arm several, such as \
                lr: [3e-5, 1e-4, 3e-4]";
    match place {
        Some(place) if arms.len() > 1 && single.len() == arms.len() => {
            vec![Problem::new(place, "`arms` with one learning rate each compares nothing").hint(hint)]
        }
        _ if arms.len() > 1 => {
            let warn = |arm: &&Arm| {
                let what = format!("the arm `{}` has one learning rate, so it compares nothing", arm.name);
                Problem::new(arm.place, what).hint(hint)
            };
            single.iter().map(warn).collect()
        }
        _ => Vec::new(),
    }
}
