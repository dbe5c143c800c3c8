//! The probes of a trial: short runs that find out why it reached a plateau.
//!
//! A fork continues from the trial's state at a constant learning rate, for a few steps, with several seeds. The forks of
//! one seed read the same batches and draw the same random numbers, so that they differ in one setting only. Two more
//! probes memorise one batch from the start. [`crate::analysis`] interprets the results.

use super::identity::Identities;
use super::{Facts, Plan};
use crate::trial::{
    Augmentation, Axis, AxisValue, FractionOrSteps, Key, Length, Probe, ProbeKind, Scheduler, StopRules, Trial,
    TrialConfig, TrialId,
};

/// Fewest steps of a fork.
const FEWEST_STEPS: u64 = 20;
/// Learning rate that fine-tunes most models: the highest that Devlin et al. 2019 tried on BERT.
const USUAL_LR: f64 = 5e-5;
/// A learning rate below the peak by more than this factor is also probed at the peak. A peak within this factor of the
/// usual learning rate is not probed at the usual one.
const FAR: f64 = 3.0;
/// Strength of the augmentation that a probe switches on.
const ALPHA: f64 = 0.1;

/// What to probe.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest<'a> {
    pub trial: &'a Trial,
    /// Step of the trial to start from; at least 1.
    pub step: u64,
    /// The learning rate of the trial at that step.
    pub rate: f64,
    /// Length of each fork, as a share of the trial's steps; at least 20 steps.
    pub budget: f64,
    pub seeds: u16,
}

/// The probes that answer `request`, sorted by kind, then by seed.
#[must_use]
pub fn probes(request: &ProbeRequest<'_>, facts: &Facts) -> Vec<Trial> {
    let kinds = kinds(request);
    let seeds = (0..u64::from(request.seeds)).map(|i| request.trial.config.seed.wrapping_add(i));
    let of_seed = |seed| kinds.iter().filter_map(move |&(kind, lr)| trial(config(request, kind, lr, seed), facts));
    let mut trials: Vec<Trial> = seeds.flat_map(of_seed).collect();
    trials.sort_by_key(|trial| trial.config.probe.as_ref().map(|probe| probe.kind));
    trials
}

/// The probed trial up to `step`, which gives the state that forks start from.
#[must_use]
pub fn approach(of: &Trial, step: u64, facts: &Facts) -> Option<Trial> {
    let probe = Probe { trial: of.id.clone(), step, kind: ProbeKind::Approach };
    // The trial is known to reach the step.
    let stop = StopRules { diverged: false, patience: None, plateau: None };
    trial(TrialConfig { probe: Some(probe), stop, ..of.config.clone() }, facts)
}

/// The kinds of probes that apply, each with its learning rate.
fn kinds(request: &ProbeRequest<'_>) -> Vec<(ProbeKind, f64)> {
    let ProbeRequest { trial, rate, .. } = request;
    let (peak, config) = (trial.config.lr, &trial.config);
    let rate = rate.max(peak * 1e-6);
    let switched = match (config.data.task, config.augmentation.is_empty()) {
        // Outputs of tokens do not follow changes of the text.
        (task, _) if task.is_of_tokens() => None,
        (_, true) => Some(ProbeKind::AugmentationOn),
        (_, false) => Some(ProbeKind::AugmentationOff),
    };
    let mut kinds = vec![(ProbeKind::Control, rate), (ProbeKind::LrDown, 0.1 * rate), (ProbeKind::LrUp, 3.0 * rate)];
    kinds.extend(switched.map(|kind| (kind, rate)));
    kinds.extend([(ProbeKind::Blank, rate), (ProbeKind::OneBatch, peak)]);
    if rate * FAR < peak {
        kinds.push((ProbeKind::LrPeak, peak));
    }
    if !(USUAL_LR / FAR..=USUAL_LR * FAR).contains(&peak) {
        kinds.push((ProbeKind::OneBatchUsualLr, USUAL_LR));
    }
    kinds
}

fn config(request: &ProbeRequest<'_>, kind: ProbeKind, lr: f64, seed: u64) -> TrialConfig {
    let of = &request.trial.config;
    let steps = ((request.trial.steps as f64 * request.budget).ceil() as u64).max(FEWEST_STEPS);
    let mut config = TrialConfig {
        lr,
        warmup: FractionOrSteps(0.0),
        scheduler: Scheduler::Constant,
        length: Length::Steps(steps),
        // One evaluation at the start and one at the end.
        eval_every: FractionOrSteps(steps as f64),
        seed,
        stop: StopRules { diverged: of.stop.diverged, patience: None, plateau: None },
        probe: Some(Probe { trial: request.trial.id.clone(), step: request.step, kind }),
        ..of.clone()
    };
    // The learning rate of the head keeps its ratio to `lr`.
    config.optimizer.head_lr = of.optimizer.head_lr.map(|head| head / of.lr * lr);
    match kind {
        ProbeKind::AugmentationOff => config.augmentation.clear(),
        ProbeKind::AugmentationOn => config.augmentation = vec![Augmentation::Eda { alpha: ALPHA, wordnet: None }],
        // The texts are empty, so that nothing can be changed in them.
        ProbeKind::Blank => config.augmentation.retain(|method| matches!(method, Augmentation::Mixup { .. })),
        ProbeKind::OneBatch | ProbeKind::OneBatchUsualLr => {
            config.augmentation.clear();
            config.length = Length::Steps(Probe::STEPS);
            config.eval_every = FractionOrSteps(Probe::LOOK as f64);
            (config.batch_size, config.grad_accumulation) = (Probe::EXAMPLES, 1);
        }
        _ => {}
    }
    config
}

/// The trial of a configuration with located sources; None if nothing is known of them.
fn trial(config: TrialConfig, facts: &Facts) -> Option<Trial> {
    let (data, model) = facts.of(&config)?;
    let probe = config.probe.as_ref()?;
    let mut values = probe.values();
    values.push((Key::Seed.path().to_owned(), AxisValue { value: config.seed.into(), text: config.seed.to_string() }));
    let identity = |method: &Augmentation| {
        let found = facts.augmentations.iter().find(|found| found.located == *method);
        found.map_or_else(|| method.clone(), |found| found.identity.clone())
    };
    let id = Identities::new().id(&config, identity, data, &model)?;
    Some(Trial { id, values, steps: config.steps(data.train_rows), config })
}

/// A plan of `trials` under the name `name`, each id once.
#[must_use]
pub fn probe_plan(name: &str, mut trials: Vec<Trial>) -> Plan {
    let mut seen: Vec<TrialId> = Vec::new();
    trials.retain(|trial| {
        let is_new = !seen.contains(&trial.id);
        seen.extend(is_new.then(|| trial.id.clone()));
        is_new
    });
    let mut axes: Vec<Axis> = Vec::new();
    for (key, value) in trials.iter().flat_map(|trial| &trial.values) {
        match axes.iter_mut().find(|axis| axis.key == *key) {
            Some(axis) if axis.values.iter().any(|known| known.value == value.value) => {}
            Some(axis) => axis.values.push(value.clone()),
            None => axes.push(Axis { key: key.clone(), values: vec![value.clone()], drawn: false, greatest: None }),
        }
    }
    // Kinds are sorted in their own order.
    let place = |value: &AxisValue| ProbeKind::ALL.iter().position(|kind| value.value == kind.name());
    if let Some(axis) = axes.iter_mut().find(|axis| axis.key == Probe::KIND) {
        axis.values.sort_by_key(place);
    }
    Plan { name: name.to_owned(), axes, trials, search: None, warnings: Vec::new() }
}
