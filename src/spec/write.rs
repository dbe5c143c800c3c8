//! The sweep as run, defaults filled in, as YAML that reads back to the same trials.

use std::collections::HashMap;

use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::run_config::{Probing, checkpoint_text, limit_text};
use super::sweep::{AxisKey, Choice, Entry, SweepSpec};
use crate::trial::{EvalSource, Keep, Pooling, TrialConfig};

/// What is known of a sweep's sources once they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// Absolute paths by the names of files and folders as written.
    pub files: HashMap<String, String>,
    /// What the checkpoint decides where the sweep does not, if that is one and the same for all trials.
    pub pooling: Option<Pooling>,
    pub dropout: Option<f64>,
}

impl Settled {
    /// Puts where it lies in place of a source's name, in a value of the key `path`.
    pub fn locate(&self, path: &str, value: &mut Value) {
        match value {
            // A lone name in place of a section is its file or folder.
            Value::String(text) if matches!(path, "data" | "data.train" | "data.eval" | "model" | "model.from") => {
                if let Some(found) = self.files.get(text) {
                    text.clone_from(found);
                }
            }
            Value::Object(entries) if matches!(path, "data" | "model") => {
                entries.iter_mut().for_each(|(key, value)| self.locate(&format!("{path}.{key}"), value));
            }
            _ => {}
        }
    }
}

/// Heads the file.
const HEADER: &str = "# The sweep as run: defaults filled in, files by their full paths. What is left out of `model` is the checkpoint's own.\n";

impl SweepSpec {
    /// The sweep as it is run, every default filled in, overrides applied, sources where they were found. Parses back to
    /// the same trials, wherever the file lies.
    ///
    /// # Errors
    /// Only if YAML cannot be written at all.
    pub fn to_yaml(&self, settled: &Settled) -> Result<String, serde_yaml::Error> {
        let mut file = Mapping::new();
        file.insert("name".into(), self.name.as_str().into());
        if let Yaml::Mapping(base) = serde_yaml::to_value(self.settled_base(settled))? {
            file.extend(base);
        }
        // What nobody decided stays the checkpoint's: `null` would only look like a value.
        if let Some(Yaml::Mapping(model)) = file.get_mut("model") {
            model.retain(|_, value| !value.is_null());
        }
        if let (Some(Yaml::Mapping(stop)), Yaml::Mapping(across)) =
            (file.get_mut("stop"), serde_yaml::to_value(&self.run.stop)?)
        {
            stop.extend(across);
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
                let seeds = dimension.keys.iter().map(|key| axis(key, settled)).collect::<Result<Vec<_>, _>>()?;
                file.extend(seeds.into_iter().map(|values| ("seeds".into(), values)));
                continue;
            }
            let section = if dimension.keys.len() == 1 { &mut grid } else { &mut zip };
            for key in &dimension.keys {
                section.insert(key.path.as_str().into(), axis(key, settled)?);
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
                file.insert(
                    name.into(),
                    list.iter().map(|one| entry(one, settled)).collect::<Result<Vec<_>, _>>()?.into(),
                );
            }
        }
        file.insert("run".into(), self.run_section().into());
        Ok(HEADER.to_owned() + &serde_yaml::to_string(&file)?)
    }

    fn settled_base(&self, settled: &Settled) -> TrialConfig {
        let mut base = self.base.clone();
        let locate = |name: &mut String| {
            if let Some(found) = settled.files.get(name) {
                name.clone_from(found);
            }
        };
        locate(&mut base.data.train);
        if let EvalSource::File(eval) = &mut base.data.eval {
            locate(eval);
        }
        locate(&mut base.model.from);
        base.model.pooling = base.model.pooling.or(settled.pooling);
        base.model.dropout = base.model.dropout.or(settled.dropout);
        base
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
        let probe = match run.probe {
            Probing::Off => "off",
            Probing::Plateaus => "plateaus",
        };
        let log_to: Vec<Yaml> = run.log_to.iter().map(|to| to.name().into()).collect();
        let every = checkpoint_text(run.checkpoint_every);
        Mapping::from_iter([
            ("devices".into(), run.devices.to_string().into()),
            ("jobs".into(), automatic(run.jobs)),
            ("threads".into(), automatic(run.threads)),
            ("max_memory".into(), run.max_memory.map_or_else(|| "auto".into(), |bytes| format!("{bytes}B").into())),
            ("retries".into(), u64::from(run.retries).into()),
            ("checkpoint_every".into(), every.parse::<u64>().map_or_else(|_| every.into(), Yaml::from)),
            ("stall_timeout".into(), limit_text(run.stall_timeout).into()),
            ("time_limit".into(), limit_text(run.time_limit).into()),
            ("keep".into(), keep.into()),
            ("probe".into(), probe.into()),
            ("log_to".into(), if log_to.is_empty() { "off".into() } else { log_to.into() }),
            ("max_trials".into(), (run.max_trials as u64).into()),
        ])
    }
}

fn axis(key: &AxisKey, settled: &Settled) -> Result<Yaml, serde_yaml::Error> {
    let values = key.choices.iter().map(|choice| {
        let mut value = complete(&key.path, choice);
        settled.locate(&key.path, &mut value);
        serde_yaml::to_value(value)
    });
    Ok(values.collect::<Result<Vec<_>, _>>()?.into())
}

/// The value of a choice with nothing left to defaults; of a group, only what was said.
fn complete(path: &str, choice: &Choice) -> Value {
    match choice.settings.as_slice() {
        [only] if only.path == path => only.value.clone(),
        _ => choice.shown.value.clone(),
    }
}

fn entry(entry: &Entry, settled: &Settled) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::new();
    for (path, choice) in &entry.values {
        // As far as written, so that an entry of `exclude` matches no less than it did.
        let mut value = match choice.settings.as_slice() {
            [only] if only.path == *path => only.given.clone(),
            _ => choice.shown.value.clone(),
        };
        settled.locate(path, &mut value);
        map.insert(path.as_str().into(), serde_yaml::to_value(value)?);
    }
    Ok(map.into())
}
