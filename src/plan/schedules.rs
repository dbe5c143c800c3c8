//! The learning-rate schedules of a sweep. They need no data when the number of steps is given.

use std::collections::HashSet;

use serde_json::Value;

use super::defaults::settle_warmup;
use super::{Plan, check};
use crate::spec::{Place, Problems, SweepSpec, lookup, place_of, shown};
use crate::trial::{AxisValue, Key, TrialConfig};

/// A checked schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSchedule {
    /// The varying ones of `lr`, `warmup`, `scheduler` and its parameters. `steps` comes last if runs differ in length.
    pub values: Vec<(String, AxisValue)>,
    pub config: TrialConfig,
    /// Optimizer steps of the whole run.
    pub steps: u64,
}

/// The keys that decide the learning rate of a step.
const KEYS: &[&str] = &[Key::LearningRate.path(), Key::Warmup.path(), Key::Scheduler.path()];

/// The distinct schedules of a sweep, each over `steps` steps, in place of the sweep's own length.
///
/// # Errors
/// Every length and parameter that does not fit, with its place.
pub fn schedules(spec: &SweepSpec, steps: u64) -> Result<Vec<PlannedSchedule>, Problems> {
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let varying: Vec<&str> = spec.varying(KEYS).collect();
    for (mut config, settings) in spec.variations(KEYS) {
        let place = |key| place_of(settings.iter().copied(), key);
        settle_warmup(&mut config, place(Key::Warmup.path()).is_some());
        for mistake in check::schedule(&config, steps) {
            let at = place(mistake.key).unwrap_or(Place::NOWHERE);
            let problem = mistake.at(at);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let json = serde_json::to_value(&config).unwrap_or_default();
        let value = |key: &&str| ((*key).to_owned(), shown(key, lookup(&json, key).unwrap_or(&Value::Null)));
        found.push(PlannedSchedule { values: varying.iter().map(value).collect(), config, steps });
    }
    if problems.is_empty() { Ok(distinct(found)) } else { Err(spec.problems(problems)) }
}

impl Plan {
    /// The distinct schedules of the trials, each over its trial's own steps.
    #[must_use]
    pub fn schedules(&self) -> Vec<PlannedSchedule> {
        let decides = |key: &str| KEYS.iter().any(|decisive| key.split('.').next() == Some(decisive));
        let found = self.trials.iter().map(|trial| PlannedSchedule {
            values: trial.values.iter().filter(|(key, _)| decides(key)).cloned().collect(),
            config: trial.config.clone(),
            steps: trial.steps,
        });
        let mut found = distinct(found.collect());
        if found.iter().any(|schedule| schedule.steps != found[0].steps) {
            for schedule in &mut found {
                let steps = schedule.steps;
                let value = AxisValue { value: steps.into(), text: steps.to_string() };
                schedule.values.retain(|(key, _)| !Key::Steps.is(key));
                schedule.values.push((Key::Steps.path().to_owned(), value));
            }
        }
        found
    }
}

/// Each schedule once, in order.
fn distinct(mut found: Vec<PlannedSchedule>) -> Vec<PlannedSchedule> {
    let mut seen = HashSet::new();
    found.retain(|PlannedSchedule { config, steps, .. }| {
        let scheduler = serde_json::to_string(&config.scheduler).unwrap_or_default();
        seen.insert((*steps, config.lr.to_bits(), config.warmup.0.to_bits(), scheduler))
    });
    found
}
