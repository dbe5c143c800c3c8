//! What the results of a folder were made from, kept beside them. With it the results can be read when the sweep file,
//! the data or the checkpoint is gone, and two sweeps of one name are noticed.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::arguments::set_option;
use super::sweep_file::{SweepFile, absolute};
use crate::event::{Event, KnownResult, Record};
use crate::plan::{Facts, Plan, expand_after};
use crate::report::count;
use crate::spec::{self, SweepSpec};
use crate::store::{self, RunDir};
use crate::trial::{Key, Scheduler, Trial, TrialConfig, TrialId};

/// A sweep file at the time of its last run, with the facts about its sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The path as the user typed it, for messages.
    shown: String,
    /// The absolute path, or `embedded:NAME.yaml`.
    file: PathBuf,
    stem: String,
    text: String,
    set: Vec<(String, String)>,
    facts: Facts,
}

impl Origin {
    pub(crate) fn new(stem: &str, file: &SweepFile, set: &[(String, String)], facts: &Facts) -> Self {
        Self {
            shown: file.shown(),
            file: absolute(&file.path),
            stem: stem.to_owned(),
            text: file.text.clone(),
            set: set.to_vec(),
            facts: facts.clone(),
        }
    }

    /// The origin of the last run in `dir`; None if there is none or it cannot be read.
    pub(crate) fn read(dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&store::read_file(&dir.origin()).ok()??).ok()
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The trials that were planned.
    pub(crate) fn plan(&self, dir: &RunDir) -> Option<Plan> {
        let records = store::read_journal(&dir.journal()).map(|journal| journal.records).unwrap_or_default();
        let spec = self.spec()?;
        expand_after(&spec, &self.facts, known(&spec, &records), Event::suggested(&records)).ok()
    }

    /// The sweep file.
    pub(crate) fn spec(&self) -> Option<SweepSpec> {
        spec::parse(&self.shown, &self.stem, &self.text, &self.set).ok()
    }

    /// What was known of the sources.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The overrides, if the sweep file of `other` is the same.
    pub(crate) fn set_for(self, other: &Self) -> Vec<(String, String)> {
        if self.file == other.file && self.text == other.text { self.set } else { Vec::new() }
    }

    /// Whether the file, its text and the overrides are the same. Without overrides, those of the last run count.
    pub(crate) fn is_of(&self, file: &SweepFile, set: &[(String, String)]) -> bool {
        absolute(&file.path) == self.file && self.text == file.text && (set.is_empty() || self.set == set)
    }

    /// The warning if another metric makes all trials of `new` others than those of the last run.
    pub(crate) fn changed_metric(&self, new: &Plan, dir: &RunDir) -> Option<String> {
        let old = self.plan(dir)?;
        let of = |plan: &Plan| plan.trials.first().map(|trial| trial.config.metric);
        let (before, now) = of(&old).zip(of(new)).filter(|(before, now)| before != now)?;
        Some(format!(
            "warning: `metric` was {} in the last run, and is {} now. It chooses the checkpoint that is kept, so that all trials are \
             trained again. The earlier ones stay in the results folder and leave the report",
            before.name(),
            now.name()
        ))
    }

    /// The warning if trials of `new` differ from those of the last run only in their length. None of them continues an earlier
    /// one, because a schedule depends on the length.
    pub(crate) fn changed_length(&self, new: &Plan, dir: &RunDir) -> Option<String> {
        let old = self.plan(dir)?;
        let alone = |plan: &Plan, other: &Plan| -> Vec<(String, u64)> {
            let known: HashSet<&TrialId> = other.trials.iter().map(|trial| &trial.id).collect();
            let trials = plan.trials.iter().filter(|trial| !known.contains(&trial.id));
            trials.filter_map(|trial| Some((without_length(&trial.config)?, trial.steps))).collect()
        };
        let before: HashMap<String, u64> = alone(&old, new).into_iter().collect();
        // With the same length, it is a changed data file or checkpoint that gave a new id.
        let longer: Vec<(u64, u64)> = alone(new, &old)
            .into_iter()
            .filter_map(|(key, steps)| Some((*before.get(&key)?, steps)))
            .filter(|(from, to)| from != to)
            .collect();
        let (from, to) = longer.first()?;
        // A warm-up of a share of the steps depends on the length, too.
        let is_constant = |trial: &Trial| {
            let warmup = trial.config.warmup.0;
            trial.config.scheduler == Scheduler::Constant && (warmup == 0.0 || warmup >= 1.0)
        };
        let why = if new.trials.iter().all(is_constant) {
            "because no trial starts from the state of another"
        } else {
            "because the learning rate depends on the length"
        };
        Some(format!(
            "warning: only the length ({from} steps, now {to}) distinguishes {} from the last run. Such trials start from step 0, \
             {why}. The earlier ones stay in the results folder and leave the report",
            count(longer.len(), "trial")
        ))
    }

    /// The warning if `new` is another sweep in the same folder; None for the same sweep, edited or not.
    pub(crate) fn clash(&self, new: &Self, dir: &RunDir) -> Option<String> {
        let folder = dir.path().display();
        let both = "the trials of both stay there, and the report shows those of this run";
        // A file that is gone was moved or renamed: `new` is its successor.
        if self.file != new.file && self.file.exists() {
            let (old, new) = (self.file.display(), new.file.display());
            return Some(format!(
                "warning: {folder} holds the results of {old}, and now {new} runs there: {both}. Give one of them another \
                 `name` to keep them apart"
            ));
        }
        (self.set != new.set).then(|| {
            let (old, new) = (set_options(&self.set), set_options(&new.set));
            format!(
                "warning: {folder} was last run {old}, and now {new}: {both}. Add --set name=... to keep them apart"
            )
        })
    }
}

/// What the search of a sweep knew of other sweeps when it was run.
pub(crate) fn known<'r>(spec: &SweepSpec, records: &'r [Record]) -> &'r [KnownResult] {
    let from = spec.search.as_ref().map_or(&[][..], |search| &search.config.from);
    Event::known(records, from, &spec.space_text()).unwrap_or_default()
}

/// A text that is equal for configurations that differ only in their length.
fn without_length(config: &TrialConfig) -> Option<String> {
    let mut json = serde_json::to_value(config).ok()?;
    json.as_object_mut()?.retain(|key, _| !Key::is_length(key));
    Some(json.to_string())
}

fn set_options(set: &[(String, String)]) -> String {
    let options: Vec<String> = set.iter().map(set_option).collect();
    if options.is_empty() { "without --set".to_owned() } else { format!("with {}", options.join(" ")) }
}
