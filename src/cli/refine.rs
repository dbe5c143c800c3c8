//! `plateau refine`: writes the next sweep file, with a comment for each decision.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::Failure;
use super::arguments::SweepArguments;
use super::output::{notify, print};
use super::prepare::{Prepared, prepare_as_run};
use super::sweep_file::SweepFile;
use crate::analysis::findings::next;
use crate::analysis::refine::{Choice, Decision, LEAST_LEADERS, refine as decide};
use crate::analysis::search::Search;
use crate::analysis::{Study, Sweep};
use crate::run::survey;
use crate::search::digits;
use crate::spec::{self, ResolvedSources, SweepSpec};
use crate::store;
use crate::trial::{Key, number_text, rounded_text};

#[derive(Debug, Args)]
pub(crate) struct RefineArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// Where to write; default standard output. A file that exists is not replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn refine(arguments: &RefineArguments) -> Result<ExitCode, Failure> {
    let prepared = prepare_as_run(&arguments.sweep)?;
    if !prepared.spec.arms.is_empty() {
        return Err(Failure::input(format!(
            "{}: `refine` does not work with `arms`, because each arm has a grid of its own. Narrow the lists of the best arms in the \
             sweep file; the figure architectures.png shows their best learning rates",
            prepared.spec.name
        )));
    }
    let (sweep, study) = study(&prepared)?;
    // Relative paths in a sweep file start at its folder. In another folder they have to be absolute.
    let stays = match &arguments.output {
        Some(path) => folder(path) == folder(&SweepFile::read(&arguments.sweep.sweep)?.path),
        None => true,
    };
    let files = if stays { HashMap::new() } else { prepared.facts.resolved().files };
    let resolved = ResolvedSources { files, ..ResolvedSources::default() };
    let file = complete_file(&prepared.spec, &resolved)?;
    let tied: Vec<String> = match file.get("zip") {
        Some(Yaml::Mapping(zip)) => zip.keys().filter_map(Yaml::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let Some(mut decisions) = decide(&sweep, &study, &tied) else {
        let hint = next(&sweep, &study).map_or_else(String::new, |next| format!(": {} ({})", next.reason, next.line));
        let what = match study.best() {
            Some(_) => {
                "no configuration is clearly better than guessing, and other learning rates alone would not help"
            }
            None => "no trial has produced a usable model yet",
        };
        return Err(Failure::input(format!("{}: {what}{hint}", sweep.name)));
    };
    let undrawn = sweep.undrawn();
    let open = sweep.runs.iter().filter(|run| !run.status.is_over()).count() + undrawn;
    if open > 0 {
        let (all, sweep) = (sweep.runs.len() + undrawn, &arguments.sweep);
        notify(&format!(
            "warning: {open} of {all} trials have not ended, and their results may change the decisions. `plateau run {sweep}` \
             continues them"
        ));
    }
    if let Some(few) = few_configurations(&sweep, &study) {
        notify(&few);
    }
    for Decision { key, choice, .. } in &mut decisions {
        match choice {
            Choice::Fix(value) => resolved.locate(key, value),
            Choice::Vary(values) => values.iter_mut().for_each(|value| resolved.locate(key, value)),
            // The file that is written has its paths already.
            Choice::Draw(..) | Choice::DrawFrom(_) | Choice::DrawAgain => {}
        }
    }
    let mut text = next_file(file.clone(), &sweep, &decisions)?;
    // Values of one key may bound those of another: a batch is split into micro-batches. They hardly ever bound the learning rate.
    let mut order: Vec<usize> = (0..decisions.len()).collect();
    order.sort_by_key(|&index| Key::is_learning_rate(&decisions[index].key));
    for index in order {
        if spec::parse("", &sweep.name, &text, &[]).is_ok() {
            break;
        }
        within_what_was_tried(&sweep, &mut decisions[index]);
        text = next_file(file.clone(), &sweep, &decisions)?;
    }
    match &arguments.output {
        None => print(text)?,
        Some(path) if path.exists() => {
            return Err(Failure::input(format!("{} exists already: choose another name with -o", path.display())));
        }
        Some(path) => {
            store::write_output(path, text.as_bytes())?;
            let path = path.display();
            let next = SweepArguments::new(path.to_string(), &arguments.sweep.results);
            notify(&format!("wrote {path}. `plateau plan {next}` lists its trials, `plateau run {next}` trains them"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes back what widens a range or an axis.
fn within_what_was_tried(sweep: &Sweep, Decision { key, choice, why }: &mut Decision) {
    const WHY: &str = "the best is at an edge, and no value beyond it goes together with the other keys";
    match choice {
        Choice::Draw(low, high) => {
            let history = sweep.search.as_ref();
            let found = history.and_then(|history| {
                let index = history.names.iter().position(|name| name.path == *key)?;
                Some(history.space.dimensions[index].domain.ends())
            });
            let Some((least, greatest)) = found.filter(|(least, greatest)| *low < *least || *high > *greatest) else {
                return;
            };
            *choice = Choice::Draw(low.max(least), high.min(greatest));
            WHY.clone_into(why);
        }
        Choice::Vary(values) => {
            let axis = sweep.axes.iter().find(|axis| axis.key == *key);
            let tried: Vec<f64> =
                axis.into_iter().flat_map(|axis| &axis.values).filter_map(|v| v.value.as_f64()).collect();
            let (least, greatest) =
                tried.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
            let before = values.len();
            values.retain(|value| value.as_f64().is_none_or(|x| tried.is_empty() || (least..=greatest).contains(&x)));
            if values.len() < before {
                WHY.clone_into(why);
            }
        }
        Choice::Fix(_) | Choice::DrawFrom(_) | Choice::DrawAgain => {}
    }
}

/// A warning that the ranges of a search rest on few configurations.
fn few_configurations(sweep: &Sweep, study: &Study) -> Option<String> {
    let over = Search::of(sweep, study)?.over().count();
    let enough = (LEAST_LEADERS - 1) * 10 + 1;
    (over < enough).then(|| {
        format!(
            "warning: {over} configurations have ended, which is few: each range rests on the best {} of them. From {enough} on \
             it rests on the best tenth",
            LEAST_LEADERS.min(over)
        )
    })
}

/// The results of a sweep so far, and what they say.
pub(super) fn study(prepared: &Prepared) -> Result<(Sweep, Study), Failure> {
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let study = Study::of(&sweep);
    Ok((sweep, study))
}

/// The folder of a file.
fn folder(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()?.parent()?.canonicalize().ok()
}

/// The sweep file with its defaults filled in.
pub(super) fn complete_file(spec: &SweepSpec, resolved: &ResolvedSources) -> Result<Mapping, Failure> {
    let text = spec.to_yaml(resolved).map_err(unwritable)?;
    serde_yaml::from_str(&text).map_err(unwritable)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` needs")]
pub(super) fn unwritable(error: serde_yaml::Error) -> Failure {
    Failure::input(format!("cannot write the sweep: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` needs")]
fn unwritable_json(error: serde_json::Error) -> Failure {
    Failure::input(format!("cannot write the sweep: {error}"))
}

/// Removes the name and the keys that vary.
pub(super) fn without_axes(mut file: Mapping) -> Mapping {
    for section in ["name", "grid", "zip", "arms", "space", "search", "include", "exclude", "seeds", Key::Seed.path()] {
        file.remove(section);
    }
    file
}

/// Removes values that equal the defaults. A map with a `name` stays whole, because its name decides its defaults.
fn drop_equal(file: &mut Mapping, defaults: &Mapping) {
    file.retain(|key, value| match (value, defaults.get(key)) {
        (value, Some(default)) if value == default => false,
        (Yaml::Mapping(value), Some(Yaml::Mapping(default))) if !value.contains_key("name") => {
            drop_equal(value, default);
            true
        }
        _ => true,
    });
}

/// The text of the next sweep file, with a comment for each decision.
fn next_file(file: Mapping, sweep: &Sweep, decisions: &[Decision]) -> Result<String, Failure> {
    let name = &sweep.name;
    let [space, search, seeds, exclude] =
        ["space", "search", "seeds", "exclude"].map(|section| file.get(section).cloned());
    let exclude = still_excluded(exclude.unwrap_or_default(), decisions);
    let trials =
        seeds.as_ref().and_then(Yaml::as_sequence).and_then(|seeds| next_trials(sweep, seeds.len(), decisions));
    let space = space.map(serde_json::to_value).transpose().map_err(unwritable_json)?.unwrap_or_default();
    let mut file = without_axes(file);
    for Decision { key, .. } in decisions.iter().filter(|decision| matches!(decision.choice, Choice::Vary(_))) {
        file.remove(key.as_str());
    }
    let mut text = format!("# Written by `plateau refine`, based on the trials of {name}.\n");
    for Decision { key, choice, why } in decisions {
        if let Choice::Fix(value) = choice {
            if Key::is_length(key) {
                file.remove(Key::Epochs.path());
                file.remove(Key::Steps.path());
            }
            for (path, value) in spec::settings(key, value) {
                set(&mut file, &path, to_yaml(&value)?);
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {key} is {}: {why}.", flow(value));
        }
    }
    drop_equal(&mut file, &complete_file(&spec::parse("defaults", name, "", &[])?, &ResolvedSources::default())?);
    let fixed = if file.is_empty() { String::new() } else { serde_yaml::to_string(&file).map_err(unwritable)? };
    let _ = write!(text, "\nname: {}\n{fixed}", successor(name));
    let is_drawn = |choice: &Choice| matches!(choice, Choice::Draw(..) | Choice::DrawFrom(_) | Choice::DrawAgain);
    let drawn: Vec<&Decision> = decisions.iter().filter(|decision| is_drawn(&decision.choice)).collect();
    if !drawn.is_empty() {
        text.push_str("\nspace:\n");
    }
    for Decision { key, choice, why } in &drawn {
        let range = refined(space.get(key).unwrap_or(&Value::Null), choice);
        let _ = writeln!(text, "  # {why}\n  {key}: {}", flow(&range));
    }
    if let Some(search) = search.filter(|_| !drawn.is_empty()) {
        let mut search = serde_json::to_value(search).map_err(unwritable_json)?;
        if let Value::Object(settings) = &mut search {
            // Where the file gives a time alone, its trials are the most that any sweep may have.
            let is_timed = sweep.search.as_ref().is_some_and(|search| search.budget.is_none());
            settings.retain(|key, value| !(value.is_null() || is_timed && key == "trials"));
            settings.extend(trials.map(|trials| ("trials".to_owned(), trials.into())));
        }
        let _ = writeln!(text, "\nsearch: {}", flow(&search));
    }
    let varying = |seeds: bool| {
        decisions.iter().filter_map(move |decision| match &decision.choice {
            Choice::Vary(values) if (decision.key == "seeds") == seeds => Some((decision, values)),
            _ => None,
        })
    };
    if varying(false).next().is_some() {
        text.push_str("\ngrid:\n");
    }
    for (Decision { key, why, .. }, values) in varying(false) {
        let _ = writeln!(text, "  # {why}\n  {key}: {}", flow(&Value::from(values.clone())));
    }
    if !exclude.is_empty() {
        let _ = writeln!(text, "\n# as before\nexclude: {}", flow(&exclude.into()));
    }
    for (Decision { key, why, .. }, values) in varying(true) {
        let _ = writeln!(text, "\n# {why}\n{key}: {}", flow(&Value::from(values.clone())));
    }
    Ok(text)
}

/// The entries of `exclude` that can still match: without the keys that are fixed at the excluded value.
fn still_excluded(exclude: Yaml, decisions: &[Decision]) -> Vec<Value> {
    let entries: Vec<serde_json::Map<String, Value>> = serde_yaml::from_value(exclude).unwrap_or_default();
    let fixed = |key: &str| {
        let mut choices = decisions.iter().filter(|decision| decision.key == key).map(|decision| &decision.choice);
        choices.find_map(|choice| if let Choice::Fix(value) = choice { Some(value) } else { None })
    };
    let is_same =
        |a: &Value, b: &Value| a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b).is_eq());
    let has = |excluded: &Value, value: &Value| match excluded {
        Value::Array(several) => several.iter().any(|one| is_same(one, value)),
        one => is_same(one, value),
    };
    let left = entries.into_iter().filter_map(|mut entry| {
        let matches = entry.iter().all(|(key, excluded)| fixed(key).is_none_or(|value| has(excluded, value)));
        entry.retain(|key, _| fixed(key).is_none());
        (matches && !entry.is_empty()).then_some(Value::Object(entry))
    });
    left.collect()
}

/// Trials of the next search with as many configurations, if their number of seeds changes. `seeds`: that of this sweep.
fn next_trials(sweep: &Sweep, seeds: usize, decisions: &[Decision]) -> Option<u64> {
    let search = sweep.search.as_ref()?;
    let next = decisions.iter().find_map(|decision| match &decision.choice {
        Choice::Vary(next) if decision.key == "seeds" => Some(next.len() as u64),
        _ => None,
    });
    // Folds repeat a configuration, too.
    let repetitions = search.repetitions / seeds.max(1) as u64 * next?;
    Some(search.budget? / search.repetitions.max(1) * repetitions)
}

/// From this ratio of its ends on a range is drawn from evenly in logarithm.
const WIDE: f64 = 100.0;

/// What a key of `space` is drawn from next.
fn refined(written: &Value, choice: &Choice) -> Value {
    let mut next = written.clone();
    match (choice, &mut next) {
        (Choice::Draw(low, high), _) => {
            let digits = digits(*low, *high);
            let ends = [*low, *high].map(|x| Value::from(rounded_text(x, digits).parse().unwrap_or(x)));
            // A range has one word beside `step`.
            let word = written.as_object().and_then(|entries| entries.keys().find(|word| *word != "step"));
            let word = match word.map(String::as_str) {
                // Even draws from a wide range are hardly ever small. Lists are drawn from a range for the learning rate alone.
                Some("uniform" | "normal") if *low > 0.0 && high / low >= WIDE => "log",
                Some("choice") | None => "log",
                // A part of the distribution is nearly even.
                Some("normal") => "uniform",
                Some(word) => word,
            };
            let step = written.get("step").filter(|_| word != "log");
            let entries =
                [(word, Value::from(ends.to_vec()))].into_iter().chain(step.map(|step| ("step", step.clone())));
            next = Value::Object(entries.map(|(key, value)| (key.to_owned(), value)).collect());
        }
        (Choice::DrawFrom(kept), Value::Array(values)) => *values = picked(values, kept),
        (Choice::DrawFrom(kept), Value::Object(entries)) => {
            for list in entries.values_mut().filter_map(Value::as_array_mut) {
                *list = picked(list, kept);
            }
        }
        _ => {}
    }
    next
}

fn picked(values: &[Value], kept: &[usize]) -> Vec<Value> {
    kept.iter().filter_map(|&index| values.get(index).cloned()).collect()
}

/// The name of the next sweep: `lr-grid-2` after `lr-grid`, `lr-grid-3` after `lr-grid-2`.
fn successor(name: &str) -> String {
    match name.rsplit_once('-').and_then(|(stem, number)| Some((stem, number.parse::<u32>().ok()?))) {
        Some((stem, number)) => format!("{stem}-{}", number.saturating_add(1)),
        None => format!("{name}-2"),
    }
}

pub(super) fn to_yaml(value: &Value) -> Result<Yaml, Failure> {
    serde_yaml::to_value(value).map_err(unwritable)
}

/// Sets a dotted key. A short form on its way, such as `scheduler: cosine`, becomes a map.
fn set(file: &mut Mapping, key: &str, value: Yaml) {
    let Some((group, rest)) = key.split_once('.') else {
        file.insert(key.into(), value);
        return;
    };
    let inner = file.entry(group.into()).or_insert_with(|| Mapping::new().into());
    if inner.is_null() {
        *inner = Mapping::new().into();
    } else if !inner.is_mapping() {
        // The short form of a group is its name.
        *inner = Mapping::from_iter([("name".into(), inner.clone())]).into();
    }
    if let Yaml::Mapping(inner) = inner {
        set(inner, rest, value);
    }
}

/// A value in YAML's flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), number_text),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;

    #[test]
    fn entries_of_exclude_stay_while_they_can_match() {
        let exclude = "[{scheduler: linear, warmup: 0}, {warmup: 0.1}, {scheduler: cosine, lr: 1e-3}, {scheduler: [linear, cosine], lr: 1e-4}]";
        let fix =
            |key: &str, value: Value| Decision { key: key.into(), choice: Choice::Fix(value), why: String::new() };
        let left = |decisions: &[Decision]| {
            serde_json::to_string(&still_excluded(serde_yaml::from_str(exclude).unwrap(), decisions)).unwrap()
        };
        assert_eq!(
            left(&[fix("scheduler", "cosine".into()), fix("warmup", 0.0.into())]),
            r#"[{"lr":0.001},{"lr":0.0001}]"#
        );
        assert_eq!(left(&[fix("scheduler", "linear".into())]), r#"[{"warmup":0},{"warmup":0.1},{"lr":0.0001}]"#);
        assert_eq!(left(&[fix("lr", 0.5.into())]), r#"[{"scheduler":"linear","warmup":0},{"warmup":0.1}]"#);
    }

    #[test]
    fn what_was_widened_is_taken_back() {
        let taken_back = |sweep: &Sweep, key: &str, choice: Choice| {
            let mut decision = Decision { key: key.into(), choice, why: "widened".into() };
            within_what_was_tried(sweep, &mut decision);
            (decision.choice, decision.why != "widened")
        };
        let search = synthetic::search("s", 30, 60);
        let lr = |low: f64, high: f64| taken_back(&search, "lr", Choice::Draw(low, high));
        assert_eq!(lr(1e-5, 3e-3), (Choice::Draw(1e-5, 1e-3), true));
        assert_eq!(lr(1e-5, 1e-4), (Choice::Draw(1e-5, 1e-4), false));
        let grid = synthetic::sweep("s", &[synthetic::axis("batch_size", &["8", "16"])], 10);
        let sizes = |sizes: &[u64]| Choice::Vary(sizes.iter().map(|size| Value::from(*size)).collect());
        assert_eq!(taken_back(&grid, "batch_size", sizes(&[16, 48])), (sizes(&[16]), true));
        assert_eq!(taken_back(&grid, "seeds", sizes(&[1, 2])), (sizes(&[1, 2]), false));
    }

    #[test]
    fn a_range_keeps_its_word_while_it_is_narrow() {
        let drawn = |written: &str, low: f64, high: f64| {
            refined(&serde_yaml::from_str::<Value>(written).unwrap(), &Choice::Draw(low, high)).to_string()
        };
        assert_eq!(drawn("{uniform: [0, 1], step: 0.1}", 0.2, 0.5), r#"{"step":0.1,"uniform":[0.2,0.5]}"#);
        assert_eq!(drawn("{normal: [0.1, 0.03]}", 0.08, 0.1), r#"{"uniform":[0.08,0.1]}"#);
        assert_eq!(drawn("{uniform: [1e-5, 1e-3]}", 1e-6, 0.01), r#"{"log":[1e-6,0.01]}"#);
        assert_eq!(drawn("[1e-5, 1e-4]", 1e-6, 0.001), r#"{"log":[1e-6,0.001]}"#);
    }

    /// The values of a group that are fixed beside its axis stay.
    #[test]
    fn a_fixed_value_of_a_group_leaves_the_keys_beside_it() {
        let spec =
            spec::parse("a.yaml", "a", "optimizer: {eps: 1e-6}\nmodel: {architecture: bag_of_words}", &[]).unwrap();
        let mut file = complete_file(&spec, &ResolvedSources::default()).unwrap();
        let chosen = serde_json::json!({"optimizer": {"name": "adamw", "layer_decay": 0.9}, "model.lora": {"r": 2}});
        for (path, value) in chosen.as_object().unwrap().iter().flat_map(|(key, value)| spec::settings(key, value)) {
            set(&mut file, &path, to_yaml(&value).unwrap());
        }
        let text = serde_yaml::to_string(&file).unwrap();
        for line in ["  eps: 1e-6\n", "  layer_decay: 0.9\n", "  lora:\n    r: 2\n", "    name: bag_of_words\n"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
