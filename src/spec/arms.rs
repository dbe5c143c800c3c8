//! The section `arms`: each entry spans a grid of its own beside the common one.
//!
//! A list in an arm varies, as in `grid`; any other value is fixed for the arm. The name of an arm labels its trials in tables
//! and figures. It is no setting, so it does not enter a trial's id.

use std::collections::HashMap;

use super::problem::Problem;
use super::read::Reader;
use super::sweep::{Arm, AxisKey, Factor};
use super::yaml::Node;

impl Reader {
    pub(super) fn arms(&mut self, key: &Node, value: &Node) {
        self.grid = self.grid.or(Some(key.place));
        self.arms_place = Some(key.place);
        let example = "[{name: bert, lr: [3e-5, 1e-4, 3e-4]}]";
        let Some(items) = value.list().filter(|items| !items.is_empty()) else {
            let what = format!("`arms` cannot be {}", value.described());
            return self.error(value, what, format!("expected a list of maps, such as {example}"));
        };
        let mut places = HashMap::new();
        for item in items {
            let Some(entries) = item.map() else {
                let what = format!("an arm cannot be {}", item.described());
                self.error(item, what, format!("expected a map, such as {}", &example[1..example.len() - 1]));
                continue;
            };
            let arm = self.arm(item, entries);
            if let Some(earlier) = places.get(&arm.name) {
                let hint = format!("the first is in line {earlier}; give each arm a name of its own");
                self.errors.push(Problem::new(arm.place, format!("two arms have the name `{}`", arm.name)).hint(hint));
            } else if !arm.name.is_empty() {
                places.insert(arm.name.clone(), arm.place.line());
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
                if let Some(text) = value.text().filter(|text| !value.is_null() && !text.trim().is_empty()) {
                    (arm.name, arm.place) = (text.to_owned(), value.place);
                } else {
                    let what = format!("the name of an arm cannot be {}", value.described());
                    self.error(value, what, "expected a text, such as `name: bilstm`");
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
        if let Some(items) = value.list() {
            return self.axis_of(&resolved, key, value, items);
        }
        let choice = self.choice(&resolved.path, key, value)?;
        let path = resolved.scalar_path().filter(|_| value.text().is_some()).unwrap_or(&resolved.path);
        Some(AxisKey { path: path.to_owned(), place: key.place, choices: vec![choice] })
    }
}
