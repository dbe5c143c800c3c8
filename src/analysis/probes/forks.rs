//! The probes of one trial: comparing the forks with their controls.

use std::collections::BTreeMap;

use super::paired::{Change, paired};
use super::probed::{Answer, Measure, ProbeResult, Probed};
use super::settle::{Answers, Settled};
use crate::analysis::measured::eval_chance;
use crate::analysis::statistics::mean;
use crate::analysis::sweep::Run;
use crate::trial::{Outcome, Probe, ProbeKind, Status, TrialId};

/// Smallest effect that matters, as a share of the entropy of the class prior.
const LEAST_EFFECT: f64 = 0.01;
/// The results of all probes among `runs`, by probed trial.
#[must_use]
pub fn probed(runs: &[Run]) -> Vec<Probed> {
    let mut probed: Vec<(&TrialId, u64)> = Vec::new();
    for probe in runs.iter().filter_map(|run| run.trial.config.probe.as_ref()) {
        if probe.kind != ProbeKind::Approach && !probed.contains(&(&probe.trial, probe.step)) {
            probed.push((&probe.trial, probe.step));
        }
    }
    probed.into_iter().filter_map(|(trial, step)| Forks::of(runs, trial, step).read()).collect()
}

/// The probes of one trial.
struct Forks<'a> {
    trial: &'a TrialId,
    step: u64,
    /// By kind, in the order of seeds.
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
            result: if kind.is_one_batch() { memorised(runs) } else { self.compare(kind) },
        };
        let answers: Vec<Answer> =
            self.runs.iter().filter(|(kind, _)| **kind != ProbeKind::Control).map(of_kind).collect();
        let result = |kind| answers.iter().find(|answer| answer.kind == kind).map(|answer| answer.result);
        let change = |kind| result(kind).and_then(|result| result.change());
        let fits = |kind| result(kind).and_then(|result| result.fits());
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
            // A missing result may match an earlier line of the table.
            settled: if open > 0 { Settled::Open } else { settled },
        })
    }

    fn level(&self) -> Option<f64> {
        let losses: Vec<f64> =
            self.kind(ProbeKind::Control).iter().flat_map(|run| Measure::Train.series(run)).collect();
        Some(mean(&losses)).filter(|level| level.is_finite())
    }

    /// Compares the forks with the control, seed by seed where both have ended.
    fn compare(&self, kind: ProbeKind) -> ProbeResult {
        let control = self.kind(ProbeKind::Control);
        let pair = |run: &&'a Run| {
            let of_seed = control.iter().find(|other| other.trial.config.seed == run.trial.config.seed)?;
            (run.status.is_over() && of_seed.status.is_over()).then_some((*run, *of_seed))
        };
        let pairs: Vec<(&Run, &Run)> = self.kind(kind).iter().filter_map(pair).collect();
        let diverged = |of: fn(&(&'a Run, &'a Run)) -> &'a Run| {
            2 * pairs.iter().filter(|pair| of(pair).status == Status::Diverged).count() > pairs.len()
        };
        match (diverged(|pair| pair.0), diverged(|pair| pair.1)) {
            (true, false) => return ProbeResult::Diverged(Change::Raised),
            (false, true) => return ProbeResult::Diverged(Change::Lowered),
            _ => {}
        }
        let least = pairs.first().map_or(f64::NAN, |(run, _)| LEAST_EFFECT * chance_of(run));
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
                ProbeResult::Difference { measure, effect: found, change, eval: effect(Measure::Eval) }
            }
            None => ProbeResult::Missing,
        }
    }
}

/// The loss of the best model that ignores its input. 1 where it is unknown.
fn chance_of(run: &Run) -> f64 {
    run.measured().train_chance().unwrap_or(1.0)
}

fn memorised(runs: &[&Run]) -> ProbeResult {
    let ended: Vec<&Outcome> = runs.iter().filter_map(|run| run.outcome.as_ref()).collect();
    let mut steps: Vec<u64> = ended
        .iter()
        .filter(|outcome| Probe::is_fitted(outcome.best_accuracy, outcome.best_eval_loss, || eval_chance(outcome)))
        .map(|outcome| outcome.steps)
        .collect();
    steps.sort_unstable();
    let middle = steps.get(steps.len() / 2).copied();
    match ended.len() {
        0 => ProbeResult::Missing,
        seeds => ProbeResult::Memorised { fitted: steps.len(), seeds, steps: middle.unwrap_or(Probe::STEPS) },
    }
}
