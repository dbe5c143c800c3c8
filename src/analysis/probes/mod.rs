//! Probes: which trials to ask, where, and what the answers say.
//!
//! [`choose`] says which trials are asked, [`plateau`] and [`place`] at which step; [`probed`] reads the probes' curves, compares every
//! fork with the control of its seed ([`paired()`]) and reads the answers together (`settle`). `docs/diagnosis.md` states
//! all of it. Training them is left to others.

mod paired;
mod settle;
mod words;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub use paired::{Change, Effect, paired};
pub use settle::{Answers, Conclusion, Settled};

use super::Run;
use super::measured::chance;
use super::statistics::mean;
use crate::trial::{EvalRow, Outcome, Probe, ProbeKind, Status, TrialId, VerdictKind};

/// Smallest effect that matters, as a share of the entropy of the class prior.
const LEAST_EFFECT: f64 = 0.01;
/// How far into its plateau a trial is asked: at its onset the rate may not yet have done all that it can.
const INTO_PLATEAU: f64 = 0.25;

/// Of the trials that went flat or stuck, the one with the lowest loss for each cause, the lowest first.
///
/// Whoever is not chosen among some trials is not among more of them.
pub fn choose<'a>(ended: impl Iterator<Item = (&'a TrialId, &'a Outcome)>) -> Vec<&'a TrialId> {
    let mut best: BTreeMap<&str, (f32, &TrialId)> = BTreeMap::new();
    let before = |a: &(f32, &TrialId), b: &(f32, &TrialId)| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)).is_lt();
    for (id, outcome) in ended.filter(|(_, outcome)| is_flat(outcome)) {
        let cause = outcome.verdicts.iter().find(|verdict| verdict.kind == VerdictKind::Cause);
        let candidate = (outcome.best_eval_loss.unwrap_or(f32::INFINITY), id);
        let entry = best.entry(cause.map_or("", |cause| cause.id.as_str())).or_insert(candidate);
        if before(&candidate, entry) {
            *entry = candidate;
        }
    }
    let mut chosen: Vec<_> = best.into_values().collect();
    chosen.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    chosen.into_iter().map(|(_, id)| id).collect()
}

fn is_flat(outcome: &Outcome) -> bool {
    let shape = outcome.verdicts.first().map_or("", |verdict| verdict.id.as_str());
    outcome.steps > 0 && matches!(shape, "plateaued" | "overfits" | "stuck_at_chance" | "collapsed")
}

/// The steps between which a trial is flat, from 1: up to where it overfits. Of one without a plateau, the last two thirds.
#[must_use]
pub fn plateau(outcome: &Outcome) -> RangeInclusive<u64> {
    let of = |id: &str| outcome.verdicts.iter().find(|verdict| verdict.id == id).and_then(|verdict| verdict.step);
    let end = of("overfits").unwrap_or(outcome.steps).max(1);
    let onset = of("plateaued").or(of("collapsed")).filter(|onset| *onset < end);
    onset.unwrap_or(end / 3).max(1)..=end
}

/// The step at which a trial is best asked: some way into its plateau.
#[must_use]
pub fn place(outcome: &Outcome) -> u64 {
    let (from, to) = plateau(outcome).into_inner();
    from + ((to - from) as f64 * INTO_PLATEAU) as u64
}

/// A trial that was asked, and what came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    pub trial: TrialId,
    /// Steps of the trial before the forks.
    pub step: u64,
    /// The rate there, and the peak of the trial's schedule.
    pub rate: f64,
    pub peak: f64,
    /// Mean training loss of the control.
    pub level: Option<f64>,
    /// In the order of [`ProbeKind::ALL`], without the control.
    pub answers: Vec<Answer>,
    /// Probes that have not ended.
    pub open: usize,
    pub settled: Settled,
}

impl Probed {
    /// The primary cause of the probed trial, `run`, after all.
    #[must_use]
    pub fn conclusion<'a>(&self, run: &'a Run) -> Conclusion<'a> {
        let verdicts = run.outcome.as_ref().map_or(&[][..], |outcome| &outcome.verdicts);
        let own = verdicts.iter().find(|verdict| verdict.kind == VerdictKind::Cause);
        Conclusion::of(self.settled, own.map(|own| own.id.as_str()))
    }
}

/// What became of one kind of probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub kind: ProbeKind,
    pub lr: f64,
    pub finding: Finding,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Not enough has ended.
    Missing,
    /// Of a fork against the control.
    Difference {
        measure: Measure,
        effect: Effect,
        change: Change,
        /// Of the evaluation loss at the end.
        eval: Option<(Effect, Change)>,
    },
    /// More than half of the forks ran away, and the control did not; or the other way round.
    RanAway(Change),
    /// Of one batch: how many of the seeds learnt it by heart, and the steps that most of them took.
    ByHeart { fitted: usize, seeds: usize, steps: u64 },
}

/// The loss that a probe is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Of the training batches, of which forks and control read the same.
    Train,
    /// Of clean training texts, at the end: where an augmentation is taken away, the batches get easier by themselves.
    Clean,
    /// Of the evaluation set, at the end.
    Eval,
}

impl Measure {
    fn of(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::AugmentationOff => Self::Clean,
            ProbeKind::AugmentationOn => Self::Eval,
            _ => Self::Train,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train loss",
            Self::Clean => "clean train loss",
            Self::Eval => "eval loss",
        }
    }

    fn series(self, run: &Run) -> Vec<f64> {
        let last = |of: fn(&EvalRow) -> f32| {
            let end = run.evals.last().filter(|row| row.step == run.trial.steps);
            end.map(|row| f64::from(of(row))).into_iter().collect()
        };
        match self {
            Self::Train => run.metrics.iter().map(|row| f64::from(row.train_loss)).collect(),
            Self::Clean => last(|row| row.train_probe_loss),
            Self::Eval => last(|row| row.eval_loss),
        }
    }
}

impl Finding {
    /// What the probe did to the loss that it is about, where that is known.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        match self {
            // Texts learnt by heart are no progress.
            Self::Difference {
                measure: Measure::Train,
                change: Change::Lowered,
                eval: Some((_, Change::Raised)),
                ..
            } => Some(Change::Undetected),
            Self::Difference { change, .. } | Self::RanAway(change) => Some(*change),
            Self::Missing | Self::ByHeart { .. } => None,
        }
    }

    /// Whether most seeds learnt their batch by heart.
    #[must_use]
    pub fn fits(&self) -> Option<bool> {
        match self {
            Self::ByHeart { fitted, seeds, .. } if *seeds > 0 => Some(2 * fitted > *seeds),
            _ => None,
        }
    }
}

/// What the probes among `runs` say, by probed trial.
#[must_use]
pub fn probed(runs: &[Run]) -> Vec<Probed> {
    let mut asked: Vec<(&TrialId, u64)> = Vec::new();
    for probe in runs.iter().filter_map(|run| run.trial.config.probe.as_ref()) {
        if probe.kind != ProbeKind::Approach && !asked.contains(&(&probe.trial, probe.step)) {
            asked.push((&probe.trial, probe.step));
        }
    }
    asked.into_iter().filter_map(|(trial, step)| Forks::of(runs, trial, step).read()).collect()
}

/// The probes of one trial.
struct Forks<'a> {
    trial: &'a TrialId,
    step: u64,
    /// By kind, then in the order of seeds.
    runs: BTreeMap<ProbeKind, Vec<&'a Run>>,
}

impl<'a> Forks<'a> {
    fn of(runs: &'a [Run], trial: &'a TrialId, step: u64) -> Self {
        let is_of = |probe: &&Probe| probe.trial == *trial && probe.step == step;
        let mut by_kind: BTreeMap<ProbeKind, Vec<&Run>> = BTreeMap::new();
        for run in runs {
            if let Some(probe) = run.trial.config.probe.as_ref().filter(is_of) {
                by_kind.entry(probe.kind).or_default().push(run);
            }
        }
        by_kind.remove(&ProbeKind::Approach);
        for runs in by_kind.values_mut() {
            runs.sort_by_key(|run| run.trial.config.seed);
        }
        Self { trial, step, runs: by_kind }
    }

    fn kind(&self, kind: ProbeKind) -> &[&'a Run] {
        self.runs.get(&kind).map_or(&[], Vec::as_slice)
    }

    fn lr(&self, kind: ProbeKind) -> Option<f64> {
        self.kind(kind).first().map(|run| run.trial.config.lr)
    }

    fn read(&self) -> Option<Probed> {
        let rate = self.lr(ProbeKind::Control)?;
        let peak = self.lr(ProbeKind::OneBatch).unwrap_or(rate);
        let of_kind = |(&kind, runs): (&ProbeKind, &Vec<&Run>)| Answer {
            kind,
            lr: runs.first().map_or(f64::NAN, |run| run.trial.config.lr),
            finding: if kind.is_one_batch() { by_heart(runs) } else { self.compare(kind) },
        };
        let answers: Vec<Answer> =
            self.runs.iter().filter(|(kind, _)| **kind != ProbeKind::Control).map(of_kind).collect();
        let finding = |kind| answers.iter().find(|answer| answer.kind == kind).map(|answer| answer.finding);
        let change = |kind| finding(kind).and_then(|finding| finding.change());
        let fits = |kind| finding(kind).and_then(|finding| finding.fits());
        let settled = Settled::by(&Answers {
            lr_down: change(ProbeKind::LrDown),
            lr_up: change(ProbeKind::LrUp),
            lr_peak: change(ProbeKind::LrPeak),
            augmentation_off: change(ProbeKind::AugmentationOff),
            augmentation_on: change(ProbeKind::AugmentationOn),
            blank: change(ProbeKind::Blank),
            one_batch: fits(ProbeKind::OneBatch),
            one_batch_usual: fits(ProbeKind::OneBatchUsualLr),
            above_usual: self.lr(ProbeKind::OneBatchUsualLr).is_some_and(|usual| peak > usual),
        });
        let open = self.runs.values().flatten().filter(|run| !run.status.is_over()).count();
        Some(Probed {
            trial: self.trial.clone(),
            step: self.step,
            rate,
            peak,
            level: self.level(),
            answers,
            open,
            // An answer that is still to come may be one of an earlier line.
            settled: if open > 0 { Settled::Open } else { settled },
        })
    }

    fn level(&self) -> Option<f64> {
        let losses: Vec<f64> =
            self.kind(ProbeKind::Control).iter().flat_map(|run| Measure::Train.series(run)).collect();
        Some(mean(&losses)).filter(|level| level.is_finite())
    }

    /// A fork against the control, seed by seed where both have ended.
    fn compare(&self, kind: ProbeKind) -> Finding {
        let control = self.kind(ProbeKind::Control);
        let pair = |run: &&'a Run| {
            let of_seed = control.iter().find(|other| other.trial.config.seed == run.trial.config.seed)?;
            (run.status.is_over() && of_seed.status.is_over()).then_some((*run, *of_seed))
        };
        let pairs: Vec<(&Run, &Run)> = self.kind(kind).iter().filter_map(pair).collect();
        let ran_away = |of: fn(&(&'a Run, &'a Run)) -> &'a Run| {
            2 * pairs.iter().filter(|pair| of(pair).status == Status::Diverged).count() > pairs.len()
        };
        match (ran_away(|pair| pair.0), ran_away(|pair| pair.1)) {
            (true, false) => return Finding::RanAway(Change::Raised),
            (false, true) => return Finding::RanAway(Change::Lowered),
            _ => {}
        }
        let least = pairs.first().map_or(f64::NAN, |(run, _)| LEAST_EFFECT * entropy(run));
        let effect = |measure: Measure| {
            let series = |of: fn(&(&'a Run, &'a Run)) -> &'a Run| -> Vec<Vec<f64>> {
                pairs.iter().map(|pair| measure.series(of(pair))).collect()
            };
            let effect = paired(&series(|pair| pair.0), &series(|pair| pair.1))?;
            Some((effect, effect.change(least)))
        };
        let measure = Measure::of(kind);
        match effect(measure) {
            Some((found, change)) => {
                Finding::Difference { measure, effect: found, change, eval: effect(Measure::Eval) }
            }
            None => Finding::Missing,
        }
    }
}

/// Entropy of the class prior; 1 where there are no two classes.
fn entropy(run: &Run) -> f64 {
    run.outcome.as_ref().and_then(|outcome| chance(&outcome.class_prior)).unwrap_or(1.0)
}

fn by_heart(runs: &[&Run]) -> Finding {
    let ended: Vec<&Outcome> = runs.iter().filter_map(|run| run.outcome.as_ref()).collect();
    let mut steps: Vec<u64> = ended
        .iter()
        .filter(|outcome| outcome.best_accuracy.is_some_and(|best| best >= Probe::FITTED))
        .map(|outcome| outcome.steps)
        .collect();
    steps.sort_unstable();
    let middle = steps.get(steps.len() / 2).copied();
    match ended.len() {
        0 => Finding::Missing,
        seeds => Finding::ByHeart { fitted: steps.len(), seeds, steps: middle.unwrap_or(Probe::STEPS) },
    }
}

#[cfg(test)]
mod tests;
