//! `plateau confirm`: trains the best configurations again with new seeds, and says whether the winner holds.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_yaml::{Mapping, Value as Yaml};

use super::Failure;
use super::arguments::{DisplayArguments, MachineArguments, RunOptions, SweepArguments};
use super::output::print;
use super::pipeline::run_all;
use super::prepare::{prepare_as_run, prepare_text};
use super::refine::{complete_file, study, to_yaml, unwritable, without_axes};
use crate::analysis::effects::confirmed;
use crate::analysis::{Config, Sweep};
use crate::spec::{Arm, ResolvedSources, SweepSpec, lookup, shown};
use crate::trial::{AxisValue, Key};

#[derive(Debug, Args)]
pub(crate) struct ConfirmArguments {
    #[command(flatten)]
    sweep: SweepArguments,
    #[command(flatten)]
    machine: MachineArguments,
    /// How many of the best configurations to train again
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// New seeds for each configuration
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    seeds: u16,
}

/// What tells a configuration from the others. The name of its arm is replaced by the keys that the arms set.
fn settings(spec: &SweepSpec, sweep: &Sweep, config: &Config) -> Vec<(String, AxisValue)> {
    /// Groups whose keys depend on each other, so that they are set together.
    const WHOLE: [&str; 8] = [
        "model.lora",
        "model.adapters",
        "model.extra",
        "model.architecture",
        "model.embeddings",
        "scheduler",
        "augmentation",
        "optimizer",
    ];
    let mut values = config.values.clone();
    if spec.arms.is_empty() {
        return values;
    }
    values.retain(|(key, _)| !Key::Arm.is(key));
    let trial = config.runs.first().map(|&run| &sweep.runs[run].trial);
    let json = trial.and_then(|trial| serde_json::to_value(&trial.config).ok()).unwrap_or_default();
    for key in spec.arms.iter().flat_map(Arm::keys) {
        let group = WHOLE.into_iter().find(|group| key.path.starts_with(&format!("{group}.")));
        let path = group.unwrap_or(&key.path);
        if values.iter().all(|(known, _)| known != path) {
            values.push((path.to_owned(), shown(path, lookup(&json, path).unwrap_or(&Value::Null))));
        }
    }
    values
}

pub(crate) fn confirm(arguments: ConfirmArguments) -> Result<ExitCode, Failure> {
    let prepared = prepare_as_run(&arguments.sweep)?;
    let (sweep, results) = study(&prepared)?;
    let leaders: Vec<_> =
        results.configs.iter().filter(|config| config.best.is_some()).take(usize::from(arguments.top)).collect();
    let leaders: Vec<Vec<(String, AxisValue)>> =
        leaders.into_iter().map(|config| settings(&prepared.spec, &sweep, config)).collect();
    let Some(winner) = leaders.first().cloned() else {
        return Err(Failure::input(format!(
            "{}: no trial has produced a usable model yet, so there is nothing to confirm",
            sweep.name
        )));
    };
    let mut file = without_axes(complete_file(&prepared.spec, &ResolvedSources::default())?);
    let mut zip = Mapping::new();
    for (key, _) in &winner {
        let of_leader = |leader: &Vec<(String, AxisValue)>| {
            leader.iter().find(|(name, _)| name == key).map(|(_, value)| to_yaml(&value.value))
        };
        let values = leaders.iter().filter_map(of_leader);
        zip.insert(key.as_str().into(), values.collect::<Result<Vec<_>, _>>()?.into());
    }
    if !zip.is_empty() {
        file.insert("zip".into(), zip.into());
    }
    // The leaders were chosen by their results with the old seeds, which therefore favour them.
    let last = sweep.runs.iter().map(|run| run.trial.config.seed).max().unwrap_or(0);
    let seeds = (1..=u64::from(arguments.seeds)).map(|i| Yaml::from(last.saturating_add(i)));
    file.insert("seeds".into(), seeds.collect::<Vec<_>>().into());
    let text = serde_yaml::to_string(&file).map_err(unwritable)?;
    let name = format!("{}-confirm", sweep.name);
    let prepared = prepare_text(&arguments.sweep, &name, &text)?;
    let options = RunOptions::new(arguments.sweep, arguments.machine, DisplayArguments::default());
    let code = run_all(&prepared, &options)?;
    let (sweep, results) = study(&prepared)?;
    print(format!("{}\n", confirmed(&winner, &sweep, &results)))?;
    Ok(code)
}
