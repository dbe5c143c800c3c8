//! `plateau refine`: writes the next sweep file, with a comment for each decision. `plateau confirm`: trains the leaders
//! again with new seeds, and says whether the winner stands.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::failure::printed;
use super::prepare::{self, Prepared, SweepArguments};
use super::words::{say, warn};
use super::{Failure, run};
use crate::analysis::effects::confirmed;
use crate::analysis::findings::next;
use crate::analysis::refine::{Choice, Decision, refine as decide};
use crate::analysis::{Study, Sweep};
use crate::run::survey;
use crate::spec::{self, Settled, SweepSpec};
use crate::store;
use crate::trial::number_text;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sweep: SweepArguments,
    /// Where to write; standard output without it. A file that exists stays
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn refine(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let prepared = prepare::prepare(&arguments.sweep, None)?;
    let (sweep, study) = studied(&prepared)?;
    // Files that the sweep file names from its own folder are found from that of the next one, too.
    let stays = match &arguments.output {
        Some(path) => folder(path) == folder(&prepare::find(&arguments.sweep.sweep)?),
        None => true,
    };
    let files = if stays { HashMap::new() } else { prepared.facts.settled().files };
    let settled = Settled { files, ..Settled::default() };
    let file = written(&prepared.spec, &settled)?;
    let tied: Vec<String> = match file.get("zip") {
        Some(Yaml::Mapping(zip)) => zip.keys().filter_map(Yaml::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let Some(mut decisions) = decide(&sweep, &study, &tied) else {
        let hint = next(&sweep, &study).map_or_else(String::new, |next| format!(": {} ({})", next.reason, next.line));
        return Err(Failure::input(format!("{}: no trial has given a usable model yet{hint}", sweep.name)));
    };
    let open = sweep.runs.iter().filter(|run| !run.status.is_over()).count();
    if open > 0 {
        let all = sweep.runs.len();
        warn(&[format!(
            "warning: {open} of {all} trials have not ended: what follows may change. `plateau run` goes on"
        )]);
    }
    for Decision { key, choice, .. } in &mut decisions {
        match choice {
            Choice::Fix(value) => settled.locate(key, value),
            Choice::Vary(values) => values.iter_mut().for_each(|value| settled.locate(key, value)),
        }
    }
    let text = next_file(file, &sweep.name, &decisions)?;
    match &arguments.output {
        None => printed(io::stdout().lock().write_all(text.as_bytes()))?,
        Some(path) if path.exists() => {
            return Err(Failure::input(format!("{} exists already: choose another name with -o", path.display())));
        }
        Some(path) => {
            store::write_file(path, text.as_bytes())?;
            let next = SweepArguments {
                sweep: path.display().to_string(),
                results: arguments.sweep.results.clone(),
                set: Vec::new(),
            };
            let path = path.display();
            say(&format!(
                "{path} is written: `plateau plan {next}` lists its trials, `plateau run {next}` trains them"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the trials so far say.
fn studied(prepared: &Prepared) -> Result<(Sweep, Study), Failure> {
    let sweep = survey(&prepared.plan, &prepared.dir)?;
    let study = Study::of(&sweep);
    Ok((sweep, study))
}

/// Where a file lies.
fn folder(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()?.parent()?.canonicalize().ok()
}

/// The sweep as run, as a map.
fn written(spec: &SweepSpec, settled: &Settled) -> Result<Mapping, Failure> {
    let text = spec.to_yaml(settled).map_err(unwritable)?;
    serde_yaml::from_str(&text).map_err(unwritable)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn unwritable(error: serde_yaml::Error) -> Failure {
    Failure::input(format!("cannot write the sweep: {error}"))
}

/// The map without what varies and what says how to run.
fn without_axes(mut file: Mapping) -> Mapping {
    for section in ["name", "grid", "zip", "include", "exclude", "seeds", "seed", "run"] {
        file.remove(section);
    }
    file
}

/// Drops what is as it would be by default. What has a name stays whole: its name decides its defaults.
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

/// The next sweep file.
fn next_file(file: Mapping, name: &str, decisions: &[Decision]) -> Result<String, Failure> {
    let mut file = without_axes(file);
    let mut text = format!("# Made by `plateau refine` from what the trials of {name} say.\n");
    for Decision { key, choice, why } in decisions {
        if let Choice::Fix(value) = choice {
            if matches!(key.as_str(), "epochs" | "steps") {
                file.remove("epochs");
                file.remove("steps");
            }
            set(&mut file, key, yaml(value)?);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {key} is {}: {why}.", flow(value));
        }
    }
    drop_equal(&mut file, &written(&spec::parse("defaults", name, "", &[])?, &Settled::default())?);
    let fixed = if file.is_empty() { String::new() } else { serde_yaml::to_string(&file).map_err(unwritable)? };
    let _ = write!(text, "\nname: {}\n{fixed}", successor(name));
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
    for (Decision { key, why, .. }, values) in varying(true) {
        let _ = writeln!(text, "\n# {why}\n{key}: {}", flow(&Value::from(values.clone())));
    }
    Ok(text)
}

/// `lr-grid-2` after `lr-grid`, then `lr-grid-3`.
fn successor(name: &str) -> String {
    match name.rsplit_once('-').and_then(|(stem, number)| Some((stem, number.parse::<u32>().ok()?))) {
        Some((stem, number)) => format!("{stem}-{}", number.saturating_add(1)),
        None => format!("{name}-2"),
    }
}

fn yaml(value: &Value) -> Result<Yaml, Failure> {
    serde_yaml::to_value(value).map_err(unwritable)
}

/// Sets a dotted key; what stands in the way of a map gives way to one.
fn set(file: &mut Mapping, key: &str, value: Yaml) {
    let Some((group, rest)) = key.split_once('.') else {
        file.insert(key.into(), value);
        return;
    };
    let inner = file.entry(group.into()).or_insert_with(|| Mapping::new().into());
    if !inner.is_mapping() {
        // A group in short, `scheduler: cosine`, is its name.
        *inner = Mapping::from_iter([("name".into(), inner.clone())]).into();
    }
    if let Yaml::Mapping(inner) = inner {
        set(inner, rest, value);
    }
}

/// A value in one line.
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

#[derive(Debug, Args)]
pub(crate) struct ConfirmArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: run::MachineArguments,
    /// How many of the best configurations to train again
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// How many new seeds each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    seeds: u16,
}

pub(crate) fn confirm(arguments: ConfirmArguments) -> Result<ExitCode, Failure> {
    let first = prepare::prepare(&arguments.sweep, None)?;
    let (sweep, study) = studied(&first)?;
    let leaders: Vec<_> =
        study.configs.iter().filter(|config| config.best.is_some()).take(usize::from(arguments.top)).collect();
    let Some(winner) = leaders.first().map(|config| config.values.clone()) else {
        return Err(Failure::input(format!(
            "{}: no trial has given a usable model yet: nothing to confirm",
            sweep.name
        )));
    };
    let mut file = without_axes(written(&first.spec, &Settled::default())?);
    let mut zip = Mapping::new();
    for (key, _) in &winner {
        let values = leaders.iter().filter_map(|config| config.value(key)).map(|value| yaml(&value.value));
        zip.insert(key.as_str().into(), values.collect::<Result<Vec<_>, _>>()?.into());
    }
    if !zip.is_empty() {
        file.insert("zip".into(), zip.into());
    }
    // Seeds that chose the leaders would favour them.
    let used = sweep.runs.iter().map(|run| run.trial.config.seed).max().unwrap_or(0);
    let seeds = (1..=u64::from(arguments.seeds)).map(|i| Yaml::from(used.saturating_add(i)));
    file.insert("seeds".into(), seeds.collect::<Vec<_>>().into());
    let text = serde_yaml::to_string(&file).map_err(unwritable)?;
    let name = format!("{}-confirm", sweep.name);
    let prepared = prepare::prepare_text(&arguments.sweep, &name, &text)?;
    let code = run::train(&prepared, arguments.sweep, arguments.machine)?;
    let (sweep, study) = studied(&prepared)?;
    printed(writeln!(io::stdout().lock(), "{}", confirmed(&winner, &sweep, &study)))?;
    Ok(code)
}
