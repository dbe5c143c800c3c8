//! The section `arms`: each entry spans a grid of its own beside the common one.
//!
//! A list in an arm varies, as in `grid`; any other value is fixed for the arm. The name of an arm labels its trials in tables
//! and figures. It is no setting, so it does not enter a trial's id.

use super::problem::{Place, Problem};
use super::read::Reader;
use super::sweep::{Arm, AxisKey, Factor};
use super::yaml::Node;
use crate::trial::Key;

impl Reader {
    pub(super) fn arms(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        self.arms_place = Some(key.place);
        let example = "[{name: bert, lr: [3e-5, 1e-4, 3e-4]}]";
        let Some(items) = value.list().filter(|items| !items.is_empty()) else {
            let what = format!("`arms` cannot be {}", value.described());
            return self.error(value, what, format!("expected a list of maps, such as {example}"));
        };
        for item in items {
            let Some(entries) = item.map() else {
                let what = format!("an arm cannot be {}", item.described());
                self.error(item, what, format!("expected a map, such as {}", &example[1..example.len() - 1]));
                continue;
            };
            let arm = self.arm(item, entries);
            if let Some(earlier) = self.arms.iter().find(|earlier| earlier.name == arm.name && !arm.name.is_empty()) {
                let hint = format!("the first is in line {}; give each arm a name of its own", earlier.place.line());
                self.errors.push(Problem::new(arm.place, format!("two arms have the name `{}`", arm.name)).hint(hint));
            }
            self.arms.push(arm);
        }
    }

    fn arm(&mut self, item: &Node, entries: &[(Node, Node)]) -> Arm {
        let mut arm = Arm { name: String::new(), place: item.place, factors: Vec::new() };
        let mut has_name = false;
        for (key, value) in entries {
            if key.text() == Some("name") {
                has_name = true;
                match value.text().filter(|text| !value.is_null() && !text.trim().is_empty()) {
                    Some(text) => (arm.name, arm.place) = (text.to_owned(), value.place),
                    None => {
                        let what = format!("the name of an arm cannot be {}", value.described());
                        self.error(value, what, "expected a text, such as `name: bilstm`");
                    }
                }
                continue;
            }
            let before = self.errors.len();
            if let Some(axis) = self.arm_key(&arm, key, value) {
                arm.factors.push(Factor { keys: vec![axis] });
            }
            self.mark_uncertain_since(before, key);
        }
        if !has_name {
            self.error(item, "this arm has no name", "add one, such as `name: bilstm`: it labels the arm in tables");
        }
        arm
    }

    /// A key of an arm, with its list of values or its only one.
    fn arm_key(&mut self, arm: &Arm, key: &Node, value: &Node) -> Option<AxisKey> {
        self.can_vary(key)?;
        let resolved = self.resolve("", key)?;
        if let Some(earlier) = arm.keys().find(|earlier| earlier.path == resolved.path) {
            let hint = format!("first in line {}", earlier.place.line());
            self.error(key, format!("`{}` is in this arm twice", resolved.written), hint);
            return None;
        }
        match value.list() {
            Some(items) => self.axis_of(&resolved, key, value, items),
            None => {
                let choice = self.choice(&resolved.path, key, value)?;
                let path = resolved.scalar_path().filter(|_| value.text().is_some()).unwrap_or(&resolved.path);
                Some(AxisKey { path: path.to_owned(), place: key.place, choices: vec![choice] })
            }
        }
    }
}

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
