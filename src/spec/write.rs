//! The sweep as run, defaults filled in, as YAML that reads back to the same trials.

use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::run_config::{checkpoint_text, limit_text};
use super::sweep::{AxisKey, Choice, Entry, SweepSpec};
use crate::trial::Keep;

impl SweepSpec {
    /// The sweep as it is run, every default filled in, overrides applied. Parses back to the same trials.
    ///
    /// # Errors
    /// Only if YAML cannot be written at all.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        let mut file = Mapping::new();
        file.insert("name".into(), self.name.as_str().into());
        if let Yaml::Mapping(base) = serde_yaml::to_value(&self.base)? {
            file.extend(base);
        }
        if self.leaves_warmup_open() {
            file.remove("warmup");
        }
        for key in self.dimensions.iter().flat_map(|dimension| &dimension.keys) {
            // Beside an axis of one, the other must not stand.
            match key.path.as_str() {
                "steps" => drop(file.remove("epochs")),
                "epochs" => drop(file.remove("steps")),
                _ => {}
            }
        }
        let (mut grid, mut zip) = (Mapping::new(), Mapping::new());
        for (index, dimension) in self.dimensions.iter().enumerate() {
            if Some(index) == self.seeds && index + 1 == self.dimensions.len() {
                let seeds = dimension.keys.iter().map(axis).collect::<Result<Vec<_>, _>>()?;
                file.extend(seeds.into_iter().map(|values| ("seeds".into(), values)));
                continue;
            }
            let section = if dimension.keys.len() == 1 { &mut grid } else { &mut zip };
            for key in &dimension.keys {
                section.insert(key.path.as_str().into(), axis(key)?);
            }
        }
        // The order of the two is the order of the product.
        let zip_first = self.dimensions.first().is_some_and(|first| first.keys.len() > 1);
        let mut sections = [("grid", grid), ("zip", zip)];
        if zip_first {
            sections.reverse();
        }
        for (name, section) in sections {
            if !section.is_empty() {
                file.insert(name.into(), section.into());
            }
        }
        for (name, list) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !list.is_empty() {
                file.insert(name.into(), list.iter().map(entry).collect::<Result<Vec<_>, _>>()?.into());
            }
        }
        file.insert("run".into(), self.run_section().into());
        serde_yaml::to_string(&file)
    }

    fn run_section(&self) -> Mapping {
        let run = &self.run;
        let automatic = |count: Option<usize>| count.map_or_else(|| "auto".into(), |n| Yaml::from(n as u64));
        let keep = match run.keep {
            Keep::None => "none",
            Keep::Best => "best",
            Keep::Last => "last",
            Keep::All => "all",
        };
        let every = checkpoint_text(run.checkpoint_every);
        Mapping::from_iter([
            ("devices".into(), run.devices.to_string().into()),
            ("jobs".into(), automatic(run.jobs)),
            ("threads".into(), automatic(run.threads)),
            ("retries".into(), u64::from(run.retries).into()),
            ("checkpoint_every".into(), every.parse::<u64>().map_or_else(|_| every.into(), Yaml::from)),
            ("stall_timeout".into(), limit_text(run.stall_timeout).into()),
            ("time_limit".into(), limit_text(run.time_limit).into()),
            ("keep".into(), keep.into()),
            ("max_trials".into(), (run.max_trials as u64).into()),
        ])
    }
}

fn axis(key: &AxisKey) -> Result<Yaml, serde_yaml::Error> {
    let values = key.choices.iter().map(|choice| serde_yaml::to_value(complete(&key.path, choice)));
    Ok(values.collect::<Result<Vec<_>, _>>()?.into())
}

/// The value of a choice with nothing left to defaults; of a group, only what was said.
fn complete(path: &str, choice: &Choice) -> Value {
    match choice.settings.as_slice() {
        [only] if only.path == path => only.value.clone(),
        _ => choice.shown.value.clone(),
    }
}

fn entry(entry: &Entry) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::new();
    for (path, choice) in &entry.values {
        // As far as written, so that an entry of `exclude` matches no less than it did.
        let value = match choice.settings.as_slice() {
            [only] if only.path == *path => only.given.clone(),
            _ => choice.shown.value.clone(),
        };
        map.insert(path.as_str().into(), serde_yaml::to_value(value)?);
    }
    Ok(map.into())
}
