//! Writes the sweep as it is run, with every default, as YAML that reads back to the same trials.

use std::collections::HashMap;

use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::keys;
use super::sweep::{Arm, AxisKey, Choice, Entry, SweepSpec};
use crate::trial::{Pooling, TrialConfig};

/// What is known of a sweep's sources once they are found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedSources {
    /// Absolute paths by the names of files and folders as written.
    pub files: HashMap<String, String>,
    /// The values of the checkpoint for keys that the sweep leaves open, if they are the same for all trials.
    pub pooling: Option<Pooling>,
    pub dropout: Option<f64>,
}

impl ResolvedSources {
    /// Replaces the name of a source by its path, in a value of the key `path`.
    pub fn locate(&self, path: &str, value: &mut Value) {
        match value {
            // A single name in place of a section names its file or folder.
            Value::String(text)
                if matches!(
                    path,
                    "data"
                        | "data.train"
                        | "data.eval"
                        | "data.test"
                        | "model"
                        | "model.from"
                        | EMBEDDINGS
                        | EMBEDDINGS_FROM
                ) =>
            {
                if let Some(found) = self.files.get(text) {
                    text.clone_from(found);
                }
            }
            Value::Object(entries) if matches!(path, "data" | "model" | EMBEDDINGS) => {
                entries.iter_mut().for_each(|(key, value)| self.locate(&format!("{path}.{key}"), value));
            }
            Value::Object(entries) if matches!(path, "data.eval" | "data.test") => {
                entries.get_mut("file").into_iter().for_each(|file| self.locate(path, file));
            }
            _ => {}
        }
    }
}

const EMBEDDINGS: &str = "model.embeddings";
const EMBEDDINGS_FROM: &str = "model.embeddings.from";

/// First line of the file.
const HEADER: &str = "# The sweep as run, with every default and full paths. Keys that are missing in `model` keep the checkpoint's own value.\n";

impl SweepSpec {
    /// The sweep as it is run: with every default and override, and with the paths at which sources were found. It reads
    /// back to the same trials, wherever the file lies.
    ///
    /// # Errors
    /// Only if YAML cannot be written at all.
    pub fn to_yaml(&self, resolved: &ResolvedSources) -> Result<String, serde_yaml::Error> {
        let mut file = Mapping::new();
        file.insert("name".into(), self.name.as_str().into());
        if let Yaml::Mapping(base) = serde_yaml::to_value(self.resolved_base(resolved))? {
            file.extend(base);
        }
        // `null` would look like a value, but it means that the checkpoint decides.
        if let Some(Yaml::Mapping(model)) = file.get_mut("model") {
            model.retain(|_, value| !value.is_null());
            if let Some(Yaml::Mapping(embeddings)) = model.get_mut("embeddings") {
                embeddings.retain(|_, value| !value.is_null());
            }
        }
        // Beside `data.folds`, an evaluation set must not stand.
        if let Some(Yaml::Mapping(data)) = file.get_mut("data")
            && self.base.data.folds.is_some()
        {
            data.remove("eval");
        }
        if let (Some(Yaml::Mapping(stop)), Yaml::Mapping(across)) =
            (file.get_mut("stop"), serde_yaml::to_value(&self.run.stop)?)
        {
            stop.extend(across);
        }
        if self.leaves_warmup_open() {
            file.remove("warmup");
        }
        for key in self.all_factors().flat_map(|factor| &factor.keys) {
            // Beside an axis of one, the other must not stand.
            match key.path.as_str() {
                "steps" => drop(file.remove("epochs")),
                "epochs" => drop(file.remove("steps")),
                _ => {}
            }
        }
        let (mut grid, mut zip) = (Mapping::new(), Mapping::new());
        for (index, factor) in self.factors.iter().enumerate() {
            if Some(index) == self.seeds && index + 1 == self.factors.len() {
                let seeds = factor.keys.iter().map(|key| axis(key, resolved)).collect::<Result<Vec<_>, _>>()?;
                file.extend(seeds.into_iter().map(|values| ("seeds".into(), values)));
                continue;
            }
            // `data.folds` makes this axis again.
            if Some(index) == self.folds {
                continue;
            }
            let section = if factor.keys.len() == 1 { &mut grid } else { &mut zip };
            for key in &factor.keys {
                section.insert(key.path.as_str().into(), axis(key, resolved)?);
            }
        }
        // The order of the two is the order of the product.
        let zip_first = self.factors.first().is_some_and(|first| first.keys.len() > 1);
        let mut sections = [("grid", grid), ("zip", zip)];
        if zip_first {
            sections.reverse();
        }
        for (name, section) in sections {
            if !section.is_empty() {
                file.insert(name.into(), section.into());
            }
        }
        if !self.arms.is_empty() {
            let arms = self.arms.iter().map(|arm| arm_to_yaml(arm, resolved)).collect::<Result<Vec<_>, _>>()?;
            file.insert("arms".into(), arms.into());
        }
        if let Some(search) = &self.search {
            for key in search.drawn.factors.iter().flat_map(|factor| &factor.keys) {
                // Fixed values of a group stay beside the values that a list gives to other keys of it.
                let replaced = key.choices.iter().flat_map(|choice| &choice.settings).map(|setting| &setting.path);
                let replaced = replaced.filter(|path| key.replaces(path)).map(String::as_str);
                let own = keys::key(&key.path).map(|key| key.path);
                replaced.chain(own).for_each(|path| remove(&mut file, path));
            }
            file.insert("space".into(), search.drawn.to_yaml().into());
            file.insert("search".into(), serde_yaml::to_value(&search.config)?);
        }
        for (name, list) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !list.is_empty() {
                file.insert(
                    name.into(),
                    list.iter().map(|one| entry(one, resolved)).collect::<Result<Vec<_>, _>>()?.into(),
                );
            }
        }
        file.insert("run".into(), self.run.to_yaml().into());
        Ok(HEADER.to_owned() + &serde_yaml::to_string(&file)?)
    }

    /// What decides the configurations of a search, as text: the file without what says how many there are, and how they run.
    pub(crate) fn drawing_rules(&self) -> String {
        let text = self.to_yaml(&ResolvedSources::default());
        let Ok(mut file) = text.and_then(|text| serde_yaml::from_str::<Mapping>(&text)) else { return String::new() };
        for section in ["name", "run"] {
            file.remove(section);
        }
        if let Some(Yaml::Mapping(search)) = file.get_mut("search") {
            for key in ["trials", "time", "patience", "until"] {
                search.remove(key);
            }
        }
        serde_yaml::to_string(&file).unwrap_or_default()
    }

    fn resolved_base(&self, resolved: &ResolvedSources) -> TrialConfig {
        let mut base = self.base.clone();
        let locate = |name: &mut String| {
            if let Some(found) = resolved.files.get(name) {
                name.clone_from(found);
            }
        };
        locate(&mut base.data.train);
        base.data.held_out_files_mut().for_each(locate);
        locate(&mut base.model.from);
        if let Some(from) = &mut base.model.embeddings.from {
            locate(from);
        }
        // Networks without an encoder have values of their own, and modules on top of one a pooling of their own.
        if !self.has_own_pooling() {
            base.model.pooling = base.model.pooling.or(resolved.pooling);
            base.model.dropout = base.model.dropout.or(resolved.dropout);
        }
        base
    }
}

/// Removes the value at a dotted path.
fn remove(file: &mut Mapping, path: &str) {
    match path.split_once('.') {
        None => drop(file.remove(path)),
        Some((first, rest)) => {
            if let Some(Yaml::Mapping(inner)) = file.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

/// A key with one value stays fixed, unless that value is a list.
fn arm_to_yaml(arm: &Arm, resolved: &ResolvedSources) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::from_iter([("name".into(), arm.name.as_str().into())]);
    for key in arm.keys() {
        let mut values = axis(key, resolved)?;
        if let Yaml::Sequence(list) = &mut values
            && list.len() == 1
            && !list[0].is_sequence()
        {
            values = list.remove(0);
        }
        map.insert(key.path.as_str().into(), values);
    }
    Ok(map.into())
}

fn axis(key: &AxisKey, resolved: &ResolvedSources) -> Result<Yaml, serde_yaml::Error> {
    let values = key.choices.iter().map(|choice| {
        let mut value = complete(&key.path, choice);
        resolved.locate(&key.path, &mut value);
        serde_yaml::to_value(value)
    });
    Ok(values.collect::<Result<Vec<_>, _>>()?.into())
}

/// The value of a choice with every default; of a group, only what was written.
fn complete(path: &str, choice: &Choice) -> Value {
    match choice.settings.as_slice() {
        [only] if only.path == path => only.value.clone(),
        _ => choice.shown.value.clone(),
    }
}

fn entry(entry: &Entry, resolved: &ResolvedSources) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::new();
    for (path, choice) in &entry.values {
        // Only what was written, so that an entry of `exclude` matches the same trials.
        let mut value = match choice.settings.as_slice() {
            [only] if only.path == *path => only.given.clone(),
            _ => choice.shown.value.clone(),
        };
        resolved.locate(path, &mut value);
        map.insert(path.as_str().into(), serde_yaml::to_value(value)?);
    }
    Ok(map.into())
}
