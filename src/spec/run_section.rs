//! The section `run` as a whole: all of its keys, read into a [`RunConfig`] and written from one.

use serde_yaml::Mapping;

use super::problem::{Problem, suggestion};
use super::run_config::{RUN_KEYS, RunConfig, RunKey};
use super::slurm_keys::SLURM_KEYS;
use super::yaml::Node;

/// The keys of the section. Those of the section `run.slurm` have the prefix `slurm.`.
pub(super) fn run_keys() -> impl Iterator<Item = &'static RunKey> {
    RUN_KEYS.iter().chain(SLURM_KEYS)
}

impl RunConfig {
    /// Sets `run.NAME`. `key` is the node of the key.
    pub(super) fn set(&mut self, name: &str, key: &Node, value: &Node) -> Result<(), Problem> {
        let Some(run_key) = run_keys().find(|known| known.name == name) else {
            let hint = suggestion(name, run_keys().map(|known| known.name)).unwrap_or_default();
            return Err(Problem::new(key.place, format!("unknown key `run.{name}`")).hint(hint));
        };
        (run_key.read)(self, value).ok_or_else(|| {
            let what =
                if value.is_null() { "has no value".to_owned() } else { format!("cannot be {}", value.described()) };
            let problem = Problem::new(value.place, format!("`run.{name}` {what}"));
            problem.hint(format!("expected {}", run_key.expected))
        })
    }

    /// The section with every key, as a sweep file writes it.
    pub(super) fn to_yaml(&self) -> Mapping {
        let (mut section, mut slurm) = (Mapping::new(), Mapping::new());
        for key in run_keys() {
            match key.name.strip_prefix("slurm.") {
                Some(name) => slurm.insert(name.into(), (key.write)(self)),
                None => section.insert(key.name.into(), (key.write)(self)),
            };
        }
        section.insert("slurm".into(), slurm.into());
        section
    }
}
