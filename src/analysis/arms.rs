//! The arms of a sweep: groups of trials with one network and one length of input, each judged at its best learning rate.
//!
//! An arm is an entry of `arms` in the sweep file. In a sweep without that section, each different `model` makes one. Arms are
//! compared only if everything but the network and its training is the same: rows, batches, steps, augmentation, loss.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::groups::LEARNING_RATE;
use super::study::{Level, Study};
use super::sweep::{Run, Sweep};
use crate::trial::{Architecture, Cause, Key, SplitReport, TrialConfig, TrialId, Vectors};

/// Share of H by which losses must differ to count.
pub const COUNTS: f64 = 0.05;
/// An arm needs this many learning rates, and this factor between the greatest and the least.
const FEWEST_RATES: usize = 3;
const WIDTH: f64 = 9.99;

/// What is known of a trial before it trains.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialInputs {
    /// The training split, as the trial's tokenizer reads it.
    pub train: SplitReport,
    /// Parameters of the network without its classifier.
    pub parameters: u64,
}

/// What is known of the trials of a sweep before they train.
pub type Inputs = HashMap<TrialId, TrialInputs>;

/// One arm.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
pub struct Arm {
    pub name: String,
    pub architecture: Architecture,
    /// Whether its token embeddings start from random values.
    pub starts_random: bool,
    /// The section `model`, as JSON.
    pub network: Value,
    /// The keys that decide which part of a text is read.
    pub length: Value,
    /// What must be equal in arms that are compared.
    pub matched: Value,
    /// Entropy of the class prior of the evaluation set, nats.
    pub chance: Option<f64>,
    /// Whether trials of the arm have not ended.
    pub is_open: bool,
    /// Its configuration with the lowest evaluation loss. None if no configuration has usable trials only.
    pub best: Option<Setting>,
    /// Whether that learning rate is the best of at least three, a factor of ten wide, and not at their edge.
    pub has_best_rate: bool,
    /// Whether its best trials are not trained at all, or lack gradients.
    pub is_broken: bool,
}

/// A configuration of an arm.
#[derive(Debug, Clone)]
pub struct Setting {
    pub lr: f64,
    /// The learning rate as written.
    pub lr_text: String,
    /// Everything but the learning rate, seed and fold.
    others: String,
    /// Indices into the sweep's runs.
    pub runs: Vec<usize>,
    /// The step at which the mean evaluation loss over the seeds is lowest.
    pub step: u64,
    /// Evaluation loss of each repetition at that step.
    pub losses: BTreeMap<(u64, Option<usize>), f64>,
    /// Mean and deviation of these.
    pub level: Level,
    /// How much the mean evaluation loss falls in the second half of the steps.
    pub late_fall: f64,
}

impl Arm {
    /// Mean evaluation loss at the best learning rate.
    pub fn level(&self) -> f64 {
        self.best.as_ref().map_or(f64::NAN, |best| best.level.mean)
    }

    /// Whether its loss no longer falls. A slow arm is not an unfit one.
    pub fn is_flat(&self) -> bool {
        let chance = self.chance.unwrap_or(0.0);
        self.best.as_ref().is_some_and(|best| best.late_fall <= COUNTS * chance)
    }

    /// Whether its trials show how far the architecture gets: all trials have ended, with several seeds, and the loss is flat at a
    /// best learning rate.
    pub fn is_judged(&self) -> bool {
        let seeds = self.best.as_ref().map_or(0, |best| best.losses.len());
        !self.is_open && !self.is_broken && seeds > 1 && self.has_best_rate && self.is_flat()
    }
}

/// The arms in the order of the plan. Empty if all trials have one network and one length of input.
pub fn arms(sweep: &Sweep, study: &Study) -> Vec<Arm> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(Identity, Vec<usize>)> = Vec::new();
    for (index, run) in sweep.runs.iter().enumerate() {
        let identity = Identity::of(run);
        let place = *places.entry(identity.text()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, runs)) => runs.push(index),
            None => groups.push((identity, vec![index])),
        }
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    let differ = |of: fn(&Identity) -> &Value| groups.iter().any(|(identity, _)| of(identity) != of(&groups[0].0));
    if !differ(|identity| &identity.network) && !differ(|identity| &identity.length) {
        return Vec::new();
    }
    groups.into_iter().map(|(identity, runs)| arm(sweep, study, identity, &runs)).collect()
}

/// What tells arms apart.
struct Identity {
    /// The name in the sweep file; empty without `arms`.
    name: String,
    network: Value,
    length: Value,
    matched: Value,
}

/// Keys of `data` that decide which part of a text is read.
const LENGTH: [&str; 3] = ["max_length", "truncate", "windows"];
/// Keys that say how an arm is trained. Each arm may have its own.
const TRAINING: [&str; 9] =
    ["lr", "head_lr", "warmup", "scheduler", "weight_decay", "optimizer", "max_grad_norm", "stop", "seed"];

impl Identity {
    fn of(run: &Run) -> Self {
        let mut config = json(&run.trial.config);
        for key in TRAINING {
            config.remove(key);
        }
        let mut network = config.remove("model").unwrap_or_default();
        if let Value::Object(network) = &mut network {
            network.remove("dropout");
        }
        let mut length = Map::new();
        if let Some(Value::Object(data)) = config.get_mut("data") {
            length.extend(LENGTH.iter().filter_map(|key| data.remove(*key).map(|value| ((*key).to_owned(), value))));
            data.remove("fold");
        }
        let name = run.trial.value(Key::Arm.path()).map(|value| value.text.clone()).unwrap_or_default();
        Self { name, network, length: length.into(), matched: config.into() }
    }

    fn text(&self) -> String {
        serde_json::json!([self.name, self.network, self.length, self.matched]).to_string()
    }
}

fn json(config: &TrialConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(config)) => config,
        _ => Map::new(),
    }
}

fn arm(sweep: &Sweep, study: &Study, identity: Identity, runs: &[usize]) -> Arm {
    let first = &sweep.runs[runs[0]];
    let model = &first.trial.config.model;
    let settings = settings(sweep, runs);
    let chance = runs.iter().find_map(|&run| sweep.runs[run].measured().eval_chance());
    let (best, has_best_rate) = best(&settings, COUNTS * chance.unwrap_or(0.0));
    let breaks = |cause: Cause| matches!(cause, Cause::Frozen | Cause::Vanish);
    let is_broken = best.as_ref().is_some_and(|best| {
        best.runs
            .iter()
            .any(|&run| study.diagnoses[run].cause().and_then(|verdict| verdict.id.cause()).is_some_and(breaks))
    });
    Arm {
        name: name(&identity, first),
        architecture: model.architecture.clone(),
        starts_random: model.architecture != Architecture::None && model.embeddings.vectors == Vectors::Random,
        network: identity.network,
        length: identity.length,
        matched: identity.matched,
        chance,
        is_open: runs.iter().any(|&run| !sweep.runs[run].status.is_over()),
        best,
        has_best_rate,
        is_broken,
    }
}

/// The name in the sweep file, and the values of the common grid that no training changes.
fn name(identity: &Identity, run: &Run) -> String {
    let is_shown = |key: &str| {
        let section = key.split('.').next().unwrap_or_default();
        !Key::Arm.is(key) && !Key::is_repetition(key) && !Key::Dropout.is(key) && !TRAINING.contains(&section)
    };
    let named = (!identity.name.is_empty()).then(|| identity.name.clone());
    let values = run.trial.values.iter().filter(|(key, _)| is_shown(key));
    let values = values.map(|(key, value)| format!("{key} {}", value.label(key)));
    let parts: Vec<String> = named.into_iter().chain(values).collect();
    if parts.is_empty() { "the only arm".into() } else { parts.join(", ") }
}

/// The configurations with usable trials only, in the order of the plan.
fn settings(sweep: &Sweep, runs: &[usize]) -> Vec<Setting> {
    let mut groups: Vec<(String, f64, Vec<usize>)> = Vec::new();
    for &index in runs {
        let config = &sweep.runs[index].trial.config;
        let mut others = json(config);
        for key in ["lr", "seed"] {
            others.remove(key);
        }
        if let Some(Value::Object(data)) = others.get_mut("data") {
            data.remove("fold");
        }
        let others = Value::from(others).to_string();
        match groups.iter_mut().find(|group| group.0 == others && group.1.total_cmp(&config.lr).is_eq()) {
            Some(group) => group.2.push(index),
            None => groups.push((others, config.lr, vec![index])),
        }
    }
    groups.into_iter().filter_map(|(others, lr, runs)| setting(sweep, others, lr, runs)).collect()
}

fn setting(sweep: &Sweep, others: String, lr: f64, runs: Vec<usize>) -> Option<Setting> {
    let of = |run: &usize| &sweep.runs[*run];
    if runs.iter().any(|run| !of(run).status.is_over() || of(run).outcome.is_none()) {
        return None;
    }
    let mut sums: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in runs.iter().flat_map(|run| &of(run).evals) {
        sums.entry(row.step).or_default().push(f64::from(row.eval_loss));
    }
    let shared = sums.into_iter().filter(|(_, losses)| losses.len() == runs.len());
    let means: Vec<(u64, f64)> =
        shared.map(|(step, losses)| (step, losses.iter().sum::<f64>() / losses.len() as f64)).collect();
    let (&(step, _), &(end, last)) = (means.iter().min_by(|a, b| a.1.total_cmp(&b.1))?, means.last()?);
    if means.iter().any(|(_, mean)| !mean.is_finite()) {
        return None;
    }
    let middle = means.iter().find(|(step, _)| 2 * step >= end).map_or(last, |(_, mean)| *mean);
    let loss = |run: &usize| {
        let row = of(run).evals.iter().find(|row| row.step == step)?;
        Some((of(run).trial.repetition(), f64::from(row.eval_loss)))
    };
    let losses: BTreeMap<_, f64> = runs.iter().filter_map(loss).collect();
    let level = Level::of(&losses.values().copied().collect::<Vec<_>>())?;
    let written = of(runs.first()?).trial.value(LEARNING_RATE).map(|value| value.text.clone());
    let lr_text = written.unwrap_or_else(|| crate::trial::number_text(lr));
    Some(Setting { lr, lr_text, others, runs, step, losses, level, late_fall: middle - last })
}

/// The configuration with the lowest loss, and whether its learning rate is the best of a wide grid and not at an edge. Where
/// an inner learning rate is as good as the one at the edge, it is taken instead.
fn best(settings: &[Setting], tolerance: f64) -> (Option<Setting>, bool) {
    let Some(lowest) = settings.iter().min_by(|a, b| a.level.mean.total_cmp(&b.level.mean)) else {
        return (None, false);
    };
    let mut rates: Vec<&Setting> = settings.iter().filter(|setting| setting.others == lowest.others).collect();
    rates.sort_by(|a, b| a.lr.total_cmp(&b.lr));
    let (Some(first), Some(last)) = (rates.first(), rates.last()) else { return (None, false) };
    if rates.len() < FEWEST_RATES || last.lr / first.lr < WIDTH {
        return (Some(lowest.clone()), false);
    }
    let inner = rates[1..rates.len() - 1].iter().min_by(|a, b| a.level.mean.total_cmp(&b.level.mean));
    match inner {
        Some(inner) if inner.level.mean <= lowest.level.mean + tolerance => (Some((*inner).clone()), true),
        _ => (Some(lowest.clone()), false),
    }
}
