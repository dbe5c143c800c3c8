//! The rules that compare trials (`stop.median`, `stop.asha`). Pure.
//!
//! A non-finite value counts as the worst value and is never left out. So does a trial that diverged before it came as far
//! as the others.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::event::{StopJudgement, StopRule};
use crate::spec::{Asha, AshaOrder, Median, StopAcross};
use crate::state::{SweepState, TrialPhase, TrialState};
use crate::trial::{EvalRow, Metric, Status, TrialId};

/// The evaluations of every trial by step: the data of the rules.
#[derive(Debug, Clone, Default)]
pub struct EvalHistory {
    evals: HashMap<TrialId, BTreeMap<u64, EvalRow>>,
    /// Steps up to which the median rule has let a trial continue. A step is judged once.
    passed: HashMap<TrialId, u64>,
}

impl EvalHistory {
    /// Adds evaluations. Rows that an attempt computes again are equal to the old ones.
    pub fn see(&mut self, trial: &TrialId, rows: impl IntoIterator<Item = EvalRow>) {
        self.evals.entry(trial.clone()).or_default().extend(rows.into_iter().map(|row| (row.step, row)));
    }
}

/// The next judgement of a rule. None if there is no new one. The median rule reports only judgements
/// that stop a trial, successive halving reports all. `is_wanted`: whether a trial belongs to this run.
///
/// The median rule compares a trial with those before it in the plan, and waits until they have come as far and are judged
/// themselves: which trials it judges to stop does not depend on their speed. Successive halving does so by [`JudgingOrder`].
#[must_use]
pub fn judge_across(
    state: &SweepState,
    scores: &mut EvalHistory,
    rules: &StopAcross,
    order: JudgingOrder,
    is_wanted: impl Fn(&TrialId) -> bool,
) -> Option<(TrialId, StopJudgement)> {
    let EvalHistory { evals, passed } = scores;
    let none = BTreeMap::new();
    let candidate =
        |(id, known)| Candidate { id, known, evals: evals.get(id).unwrap_or(&none), is_to_come: is_wanted(id) };
    let judged = |(at, (id, known))| {
        let own = candidate((id, known));
        let others = || state.planned().filter(|(other, _)| *other != id).map(candidate);
        let before = || state.planned().take(at).map(candidate);
        let asha = rules.asha.as_ref().and_then(|rule| match order.distance {
            None => by_asha(rule, &own, others().filter_map(|other| other.at_rung(rule, own.rung()))),
            Some(distance) => {
                let earlier = || state.planned().take((at + 1).saturating_sub(distance)).map(candidate);
                let are_there = earlier().all(|other| other.is_settled(rule, own.rung()));
                let values = earlier().filter_map(|other| other.at_rung_in_plan(rule, own.rung()));
                are_there.then(|| by_asha(rule, &own, values)).flatten()
            }
        });
        let median = || rules.median.as_ref().and_then(|rule| by_median(rule, &own, before, passed, order));
        Some((id.clone(), asha.or_else(median)?))
    };
    state.planned().enumerate().filter(|(_, (_, known))| can_be_judged(known, order)).find_map(judged)
}

/// Whose judgements count, and with whom successive halving compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JudgingOrder {
    /// With trials that are at least so many places before it in the plan, for which a trial waits. None: with all that have
    /// reached the rung, and it waits for none.
    pub distance: Option<usize>,
    /// Ended trials are judged, too: a search and later trials go by the judgement, however fast a trial ended.
    pub judges_ended: bool,
}

impl JudgingOrder {
    /// The order of a sweep. `of_search`: the distance in a search, None for a grid. A search judges in the order of the plan
    /// unless the file says otherwise, so that its sequence depends on no machine.
    #[must_use]
    pub fn new(rules: &StopAcross, of_search: Option<usize>) -> Self {
        let default = if of_search.is_some() { AshaOrder::Plan } else { AshaOrder::Arrival };
        let order = rules.asha.as_ref().and_then(|rule| rule.order).unwrap_or(default);
        let distance = (order == AshaOrder::Plan).then_some(of_search.unwrap_or(1));
        // Otherwise trials would wait without end for one that ended before it was judged.
        Self { distance, judges_ended: of_search.is_some() || distance.is_some() || rules.median.is_some() }
    }
}

fn can_be_judged(known: &TrialState, order: JudgingOrder) -> bool {
    let is_there = match known.phase {
        TrialPhase::Running { .. } => true,
        TrialPhase::Ended(_) => order.judges_ended,
        TrialPhase::Pending | TrialPhase::Failed(_) => false,
    };
    is_there && !known.ignores_stop_rules && known.stop.is_none() && known.outdone.is_none()
}

/// Ended trials that are still to be judged, because they wait for others. Until then a search takes them to be running.
#[must_use]
pub fn unjudged(state: &SweepState, scores: &EvalHistory, rules: &StopAcross, order: JudgingOrder) -> HashSet<TrialId> {
    let none = BTreeMap::new();
    let waits = |(id, known): &(&TrialId, &TrialState)| {
        let own = Candidate { id, known, evals: scores.evals.get(*id).unwrap_or(&none), is_to_come: false };
        let at_rung = |rule: &Asha| rule.rung_step(own.rung()).is_some_and(|step| own.first_from(step).is_some());
        let at_step = |rule: &Median| own.evals.range(next_step(rule, scores.passed.get(*id))..).next().is_some();
        matches!(known.phase, TrialPhase::Ended(_))
            && can_be_judged(known, order)
            && (rules.asha.as_ref().is_some_and(at_rung) || rules.median.as_ref().is_some_and(at_step))
    };
    state.planned().filter(waits).map(|(id, _)| id.clone()).collect()
}

/// The first step that the median rule has not judged.
fn next_step(rule: &Median, passed: Option<&u64>) -> u64 {
    passed.map_or(rule.min_steps, |passed| rule.min_steps.max(passed + 1))
}

/// A trial with the data that the rules use.
struct Candidate<'a> {
    id: &'a TrialId,
    known: &'a TrialState,
    evals: &'a BTreeMap<u64, EvalRow>,
    is_to_come: bool,
}

impl Candidate<'_> {
    fn has_diverged(&self) -> bool {
        matches!(&self.known.phase, TrialPhase::Ended(outcome) if outcome.status == Status::Diverged)
    }

    /// The first evaluation at `step` or later.
    fn first_from(&self, step: u64) -> Option<&EvalRow> {
        self.evals.range(step..).next().map(|(_, row)| row)
    }

    /// The lowest badness up to `step`.
    fn best_until(&self, step: u64, metric: Metric) -> f64 {
        self.evals.range(..=step).map(|(_, row)| badness(row, metric)).fold(f64::INFINITY, f64::min)
    }

    /// The value at `step` with which the median rule compares others. `unjudged`: the first step at which this one is not judged.
    fn at_median(&self, step: u64, metric: Metric, unjudged: u64) -> AtStep {
        // How far a stopped trial ran before it saw the request is chance. The step of the judgement counts.
        if self.known.outdone.as_ref().is_some_and(|judgement| judgement.step < step) {
            return AtStep::Never;
        }
        // It may be stopped before that step.
        let waits =
            self.known.outdone.is_none() && unjudged < step && self.evals.range(unjudged..step).next().is_some();
        match &self.known.phase {
            TrialPhase::Pending if !self.is_to_come => AtStep::Never,
            _ if waits => AtStep::NotYet,
            _ if self.first_from(step).is_some() => AtStep::Reached(self.best_until(step, metric)),
            TrialPhase::Ended(_) if self.has_diverged() => AtStep::Reached(f64::INFINITY),
            TrialPhase::Ended(_) | TrialPhase::Failed(_) => AtStep::Never,
            TrialPhase::Pending | TrialPhase::Running { .. } => AtStep::NotYet,
        }
    }

    /// The rung at which it is judged next.
    fn rung(&self) -> usize {
        self.known.rungs.len()
    }

    /// Whether it is certain what it shows at a rung: it was judged there, or never will be.
    fn is_settled(&self, rule: &Asha, rung: usize) -> bool {
        let next = rule.rung_step(self.rung()).and_then(|step| self.first_from(step));
        match self.known.phase {
            _ if self.rung() > rung || self.known.outdone.is_some() => true,
            TrialPhase::Failed(_) => true,
            TrialPhase::Ended(_) => self.known.ignores_stop_rules || next.is_none(),
            TrialPhase::Pending => !self.is_to_come,
            TrialPhase::Running { .. } => false,
        }
    }

    /// As [`Self::at_rung`], where a trial that a judgement stops is at no later rung, even if it ran on.
    fn at_rung_in_plan(&self, rule: &Asha, rung: usize) -> Option<f64> {
        let is_out = self.known.outdone.is_some() && self.rung() <= rung;
        if is_out { None } else { self.at_rung(rule, rung) }
    }

    /// Badness at a rung, if the trial takes part there.
    fn at_rung(&self, rule: &Asha, rung: usize) -> Option<f64> {
        if let Some(value) = self.known.rungs.get(rung) {
            return Some(value.map_or(f64::INFINITY, |value| badness_of(value, rule.metric)));
        }
        if !matches!(self.known.phase, TrialPhase::Ended(_)) || self.known.stop.is_some() {
            return None;
        }
        let reached = |rung: usize| self.first_from(rule.rung_step(rung)?);
        let came_close = rung == 0 || reached(rung - 1).is_some();
        match reached(rung) {
            Some(row) => Some(badness(row, rule.metric)),
            None => (self.has_diverged() && came_close).then_some(f64::INFINITY),
        }
    }
}

/// The state of another trial at a step.
enum AtStep {
    Reached(f64),
    NotYet,
    /// It ended before that step.
    Never,
}

/// Like Optuna's `MedianPruner`, with the best values of the others up to that step.
fn by_median<'a, I: Iterator<Item = Candidate<'a>>>(
    rule: &Median,
    candidate: &Candidate<'_>,
    before: impl Fn() -> I,
    passed: &mut HashMap<TrialId, u64>,
    order: JudgingOrder,
) -> Option<StopJudgement> {
    let from = next_step(rule, passed.get(candidate.id));
    for (&step, _) in candidate.evals.range(from..) {
        let mut others = Vec::new();
        for other in before() {
            let is_judged = can_be_judged(other.known, order);
            let unjudged = if is_judged { next_step(rule, passed.get(other.id)) } else { u64::MAX };
            match other.at_median(step, rule.metric, unjudged) {
                AtStep::Reached(value) => others.push(value),
                AtStep::NotYet => return None,
                AtStep::Never => {}
            }
        }
        passed.insert(candidate.id.clone(), step);
        if (others.len() as u64) < rule.min_trials.max(1) {
            continue;
        }
        let (value, bound) = (candidate.best_until(step, rule.metric), median(&mut others));
        if value > bound {
            let [value, bound] = [value, bound].map(|badness| shown(badness, rule.metric));
            let (metric, among) = (rule.metric, others.len());
            let judgement =
                StopJudgement { rule: StopRule::Median, metric, step, rung: None, value, bound, among, stops: true };
            return Some(judgement);
        }
    }
    None
}

/// Like Optuna's `SuccessiveHalvingPruner`: at each rung a trial continues if it is among the best `1/eta` of the trials that
/// have reached the rung so far; with fewer than `eta` trials, if it is the best.
fn by_asha(rule: &Asha, candidate: &Candidate<'_>, others: impl Iterator<Item = f64>) -> Option<StopJudgement> {
    let rung = candidate.rung();
    let row = candidate.first_from(rule.rung_step(rung)?)?;
    let own = badness(row, rule.metric);
    let compared = if rule.best { candidate.best_until(row.step, rule.metric) } else { own };
    let mut competing: Vec<f64> = others.collect();
    competing.push(own);
    competing.sort_by(f64::total_cmp);
    let last = (competing.len() / usize::try_from(rule.eta).unwrap_or(usize::MAX)).saturating_sub(1);
    let bound = competing[last];
    Some(StopJudgement {
        rule: StopRule::Asha,
        metric: rule.metric,
        step: row.step,
        rung: u32::try_from(rung).ok(),
        value: shown(own, rule.metric),
        bound: shown(bound, rule.metric),
        among: competing.len(),
        stops: !own.is_finite() || compared > bound,
    })
}

/// A value with its sign changed so that lower is better.
fn badness_of(value: f32, metric: Metric) -> f64 {
    if value.is_finite() { metric.cost(f64::from(value)) } else { f64::INFINITY }
}

fn badness(row: &EvalRow, metric: Metric) -> f64 {
    badness_of(metric.value(row), metric)
}

/// The inverse of [`badness_of`]. None for the worst value.
fn shown(badness: f64, metric: Metric) -> Option<f32> {
    Some(metric.cost(badness) as f32).filter(|value| value.is_finite())
}

/// The median of at least one value. Sorts the values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Event, Failure};
    use crate::state::tests::{id, outcome, slot};
    use crate::trial::{Outcome, Scores};

    /// A sweep of running trials with a loss at step 10, 20, ...
    struct Field {
        state: SweepState,
        scores: EvalHistory,
    }

    impl Field {
        fn new(losses: &[&[f32]]) -> Self {
            let ids: Vec<_> = (0..losses.len() as u64).map(id).collect();
            let mut field = Self { state: SweepState::new(&ids), scores: EvalHistory::default() };
            for (at, losses) in losses.iter().enumerate() {
                let (trial, slot) = (id(at as u64), slot(at));
                field.state.apply(&Event::AttemptClaimed { trial, attempt: 1, slot });
                field.see(at as u64, losses);
            }
            field
        }

        fn see(&mut self, trial: u64, losses: &[f32]) {
            let row = |(step, &eval_loss): (u64, &f32)| EvalRow {
                step,
                eval_loss,
                accuracy: -eval_loss,
                macro_f1: 0.5,
                train_probe_loss: 0.5,
                scores: Scores::default(),
            };
            self.scores.see(&id(trial), (10..).step_by(10).zip(losses).map(row));
        }

        fn end(&mut self, trial: u64, status: Status) {
            let outcome = Box::new(Outcome { status, ..outcome(10) });
            self.state.apply(&Event::TrialFinished { trial: id(trial), attempt: 1, outcome });
        }

        /// All judgements, each applied to the state: trial, step, and whether the trial stops.
        fn judge(&mut self, rules: &StopAcross) -> Vec<(u64, u64, bool)> {
            self.judge_in(JudgingOrder::default(), rules)
        }

        fn judge_in(&mut self, order: JudgingOrder, rules: &StopAcross) -> Vec<(u64, u64, bool)> {
            let mut judgements = Vec::new();
            while let Some((trial, judgement)) = judge_across(&self.state, &mut self.scores, rules, order, |_| true) {
                judgements.push((u64::from_str_radix(trial.as_str(), 16).unwrap(), judgement.step, judgement.stops));
                self.state.apply(&Event::TrialJudged { trial, judgement });
                assert!(judgements.len() < 100, "it does not end");
            }
            judgements
        }
    }

    fn asha(eta: u64) -> StopAcross {
        let metric = Metric::EvalLoss;
        StopAcross { median: None, asha: Some(Asha { metric, eta, min_steps: 10, ..Asha::default() }) }
    }

    fn by_median(min_trials: u64) -> StopAcross {
        let metric = Metric::EvalLoss;
        StopAcross { asha: None, median: Some(Median { metric, min_trials, min_steps: 10 }) }
    }

    #[test]
    fn halving_judges_trials_in_the_order_of_arrival() {
        let mut field = Field::new(&[&[3.0], &[2.0], &[2.5], &[1.0], &[1.5]]);
        // The first is alone. The second is the best of two, the third is not. Of four and of five, two continue.
        let expected =
            [(0, 10, true), (1, 10, true), (2, 10, false), (3, 10, true), (4, 10, true)].map(|(t, s, ok)| (t, s, !ok));
        assert_eq!(field.judge(&asha(2)), expected);
        assert_eq!(field.judge(&asha(2)), [], "each rung is judged once");
        // The second rung (step 20) compares the trials that passed the first.
        field.see(3, &[1.0, 0.9]);
        field.see(1, &[2.0, 1.9]);
        assert_eq!(field.judge(&asha(2)), [(1, 20, false), (3, 20, false)]);
        field.see(4, &[1.5, 2.5]);
        assert_eq!(field.judge(&asha(2)), [(4, 20, true)]);
    }

    /// Every decision of Optuna's `SuccessiveHalvingPruner`, report by report. `PLATEAU_REFERENCES` names a folder with more.
    #[test]
    fn halving_decides_as_optuna_does() {
        let mut decisions = 0;
        for case in references("asha") {
            let rule = &case["rule"]["asha"];
            let number = |key: &str| rule[key].as_u64().unwrap();
            let metric = match case["direction"].as_str().unwrap() {
                "minimize" => Metric::EvalLoss,
                _ => Metric::Accuracy,
            };
            let (eta, min_steps, s) = (number("eta"), number("min_steps"), number("s"));
            let asha = Asha { metric, eta, min_steps, s, ..Asha::default() };
            let rules = StopAcross { median: None, asha: Some(asha) };
            let mut field = Field::new(&[&[] as &[f32]; 64]);
            for report in case["reports"].as_array().unwrap() {
                let (trial, step) = (report[0].as_u64().unwrap(), report[1].as_u64().unwrap());
                // A value that is no number is written as text.
                let value = report[2].as_f64().map_or(f32::NAN, |value| value as f32);
                let row = EvalRow {
                    step,
                    eval_loss: value,
                    accuracy: value,
                    macro_f1: 0.5,
                    train_probe_loss: 0.5,
                    scores: Scores::default(),
                };
                field.scores.see(&id(trial), [row]);
                let stops = field.judge(&rules).iter().any(|(judged, _, stops)| *judged == trial && *stops);
                assert_eq!(Some(stops), report[3].as_bool(), "{}: trial {trial}, step {step}", case["name"]);
                decisions += 1;
            }
        }
        assert!(decisions > 0);
    }

    /// The cases of `halving.json` and of the files below `PLATEAU_REFERENCES` for a rule without further parameters.
    fn references(rule: &str) -> Vec<serde_json::Value> {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samplers");
        let mut folders = vec![fixtures];
        folders.extend(std::env::var_os("PLATEAU_REFERENCES").map(std::path::PathBuf::from));
        let mut cases = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "json") {
                    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                    let all = file["cases"].as_array().cloned().unwrap_or_default();
                    cases.extend(all.into_iter().filter(|case| {
                        case["rule"][rule].as_object().is_some_and(|rule| !rule.contains_key("bootstrap"))
                    }));
                }
            }
        }
        cases
    }

    #[test]
    fn halving_can_skip_rungs_and_compare_best_values() {
        let rules = |s, best| {
            let asha = Asha { eta: 2, min_steps: 10, s, best, ..Asha::default() };
            StopAcross { median: None, asha: Some(asha) }
        };
        let losses: [&[f32]; 3] = [&[3.0, 3.0], &[1.0, 4.0], &[5.0, 2.0]];
        assert_eq!(Field::new(&losses).judge(&rules(1, false)), [(0, 20, false), (1, 20, true), (2, 20, false)]);
        let best = Field::new(&losses).judge(&rules(1, true));
        assert_eq!(best, [(0, 20, false), (1, 20, false), (2, 20, false)], "the second was at 1.0");
    }

    /// With `order: plan`, the same trials stop at the same rungs, whatever their speed, even if they end before they are
    /// judged. It is what Optuna's rule decides when the trials come to each rung in the order of the plan.
    #[test]
    fn halving_in_the_order_of_the_plan_does_not_depend_on_speed() {
        let losses: [&[f32]; 6] = [
            &[3.0, 2.0, 1.0, 1.0],
            &[2.0, 1.5, 1.0, 0.9],
            &[2.5, 1.0, 1.0, 1.0],
            &[1.0, 1.2, 1.0, 0.5],
            &[1.5, 0.5, 0.4, 0.3],
            &[0.5, 3.0, 3.0, 3.0],
        ];
        let plan = JudgingOrder { distance: Some(1), judges_ended: true };
        let judged = |order: JudgingOrder, arrival: &[u64], ends: bool| {
            let mut field = Field::new(&[&[] as &[f32]; 6]);
            let mut judgements = Vec::new();
            for &trial in arrival {
                field.see(trial, losses[trial as usize]);
                if ends {
                    field.end(trial, Status::Finished);
                }
                judgements.extend(field.judge_in(order, &asha(2)));
            }
            judgements.sort_unstable();
            judgements
        };
        let expected = judged(plan, &[0, 1, 2, 3, 4, 5], false);
        assert!(expected.iter().any(|(_, step, stops)| *step == 20 && *stops), "{expected:?}");
        for arrival in [[5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [0, 1, 2, 3, 4, 5]] {
            assert_eq!(judged(plan, &arrival, false), expected, "{arrival:?}");
            assert_eq!(judged(plan, &arrival, true), expected, "{arrival:?}, already ended");
        }
        assert_eq!(judged(JudgingOrder::default(), &[0, 1, 2, 3, 4, 5], false), expected, "in that order both agree");
        assert_ne!(judged(JudgingOrder::default(), &[5, 4, 3, 2, 1, 0], false), expected, "by arrival, speed decides");
        // Farther back, fewer are compared: the last with the first two alone.
        let back = judged(JudgingOrder { distance: Some(4), judges_ended: true }, &[0, 1, 2, 3, 4, 5], false);
        assert!(back.contains(&(2, 10, false)) && back.contains(&(5, 10, false)), "{back:?}");
    }

    /// A grid with `order: plan`: the first trial ends before it is judged, and the second does not wait for it for ever.
    #[test]
    fn in_the_order_of_the_plan_a_grid_waits_for_no_ended_trial() {
        let mut rules = asha(2);
        assert_eq!(JudgingOrder::new(&rules, None), JudgingOrder { distance: None, judges_ended: false });
        assert_eq!(JudgingOrder::new(&rules, Some(4)), JudgingOrder { distance: Some(4), judges_ended: true });
        rules.asha.as_mut().unwrap().order = Some(AshaOrder::Plan);
        let mut field = Field::new(&[&[1.0, 1.0], &[2.0, 2.0]]);
        field.end(0, Status::Finished);
        let judged = field.judge_in(JudgingOrder::new(&rules, None), &rules);
        assert_eq!(judged, [(0, 10, false), (0, 20, false), (1, 10, true)]);
    }

    #[test]
    fn a_missed_rung_is_judged_at_the_next_evaluation() {
        let mut field = Field::new(&[&[3.0, 2.0, 1.0], &[3.0, 2.0, 9.0]]);
        assert_eq!(
            field.judge(&asha(3)),
            [(0, 10, false), (0, 30, false), (1, 10, false), (1, 30, true)],
            "rungs at 10, 30, 90"
        );
    }

    #[test]
    fn non_finite_values_are_the_worst_and_never_left_out() {
        let mut field = Field::new(&[&[f32::NAN], &[5.0], &[6.0]]);
        assert_eq!(field.judge(&asha(2)), [(0, 10, true), (1, 10, false), (2, 10, true)]);
        // Three that diverged before the rung leave room for the second best of five.
        let mut field = Field::new(&[&[], &[], &[f32::INFINITY], &[5.0], &[6.0]]);
        for trial in 0..3 {
            field.end(trial, Status::Diverged);
        }
        assert_eq!(field.judge(&asha(2)), [(3, 10, false), (4, 10, false)]);
    }

    #[test]
    fn finished_trials_take_part_and_continued_ones_are_left_alone() {
        let mut field = Field::new(&[&[1.0, 1.0], &[5.0]]);
        field.end(0, Status::Finished);
        assert_eq!(field.judge(&asha(2)), [(1, 10, true)]);
        field.end(1, Status::Stopped);
        field.state.apply(&Event::TrialContinued { trial: id(1) });
        assert_eq!(field.state.get(&id(1)).unwrap().phase, TrialPhase::Pending);
        field.state.apply(&Event::AttemptClaimed { trial: id(1), attempt: 2, slot: slot(1) });
        field.see(1, &[5.0, 5.0, 5.0]);
        assert_eq!(field.judge(&asha(2)), []);
        assert_eq!(field.judge(&by_median(1)), []);
    }

    #[test]
    fn the_median_rule_waits_for_earlier_trials() {
        let mut field = Field::new(&[&[1.0, 1.0], &[3.0], &[1.9, 2.4], &[9.0, 1.5]]);
        // At step 10 the fourth is worse than the median of 1.9. The others have too few trials before them.
        assert_eq!(field.judge(&by_median(2)), [(3, 10, true)]);
        // At step 20 the third is judged once the second has come as far: 1.9 against the median of 1.0 and 2.0.
        field.see(1, &[3.0, 2.0]);
        assert_eq!(field.judge(&by_median(2)), [(2, 20, true)]);
    }

    #[test]
    fn the_median_rule_uses_the_best_value_up_to_a_step_and_counts_diverged_trials() {
        let mut field = Field::new(&[&[], &[4.0, 4.0], &[f32::NAN, 1.0], &[3.0, 8.0]]);
        assert_eq!(field.judge(&by_median(2)), [], "the first may yet come");
        field.end(0, Status::Diverged);
        // Infinite and 4.0 have no finite median: nothing is worse than it.
        assert_eq!(field.judge(&by_median(2)), []);
        let mut field = Field::new(&[&[], &[4.0, 4.0, 4.0], &[f32::NAN, 1.0, 1.0], &[9.0, 8.0, 7.0]]);
        field.end(0, Status::Diverged);
        assert_eq!(field.judge(&by_median(3)), [(3, 20, true)], "4.0 is the median of three, of which one diverged");
    }

    /// The median rule stops the same trials at the same steps, whatever their speed.
    #[test]
    fn the_median_rule_does_not_depend_on_the_speed_of_trials() {
        let losses: [&[f32]; 5] =
            [&[3.0, 2.0, 1.0], &[4.0, 3.0, 3.0], &[2.0, 2.5, 2.0], &[9.0, 1.0, 1.0], &[2.0, 1.9, 1.8]];
        let stopped = |order: &[u64]| {
            let mut field = Field::new(&[&[] as &[f32]; 5]);
            let mut stopped = Vec::new();
            for round in 1..=3 {
                for &trial in order {
                    field.see(trial, &losses[trial as usize][..round]);
                    stopped.extend(field.judge(&by_median(2)));
                }
            }
            stopped.sort_unstable();
            stopped
        };
        let expected = stopped(&[0, 1, 2, 3, 4]);
        assert!(!expected.is_empty());
        for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [3, 4, 0, 1, 2]] {
            assert_eq!(stopped(&order), expected, "{order:?}");
        }
    }

    /// The judgements of a run in which trials evaluate or end in the order of `choices`, then one after the other. `overrun`: how often
    /// each still evaluates after its judgement.
    fn judged_in_some_order(losses: &[Vec<f32>], choices: &[usize], overrun: &[usize]) -> Vec<(u64, u64, bool)> {
        let rules = by_median(2);
        let order = JudgingOrder::new(&rules, None);
        let mut field = Field::new(&vec![&[] as &[f32]; losses.len()]);
        let (mut seen, mut left) = (vec![0; losses.len()], overrun.to_vec());
        let mut judged = Vec::new();
        let mut choices = choices.iter().chain(std::iter::repeat(&0));
        loop {
            let is_open = |at: &usize| !field.state.get(&id(*at as u64)).unwrap().phase.is_over();
            let open: Vec<usize> = (0..losses.len()).filter(is_open).collect();
            if open.is_empty() {
                judged.sort_unstable();
                return judged;
            }
            let choice = choices.next().unwrap();
            if choice % 10 == 9 {
                // A new run reads the evaluations and the judgements, and has to find out the rest.
                field.scores.passed.clear();
            }
            let at = open[choice % open.len()];
            let is_out = field.state.get(&id(at as u64)).unwrap().stop.is_some();
            if is_out && left[at] == 0 {
                field.end(at as u64, Status::Stopped);
            } else if seen[at] == losses[at].len() {
                field.end(at as u64, Status::Finished);
            } else {
                left[at] -= usize::from(is_out);
                seen[at] += 1;
                field.see(at as u64, &losses[at][..seen[at]]);
            }
            judged.extend(field.judge_in(order, &rules));
        }
    }

    proptest! {
        /// Neither the speed of trials nor how far they run on after their judgement changes a judgement.
        #[test]
        fn the_median_rule_judges_the_same_in_any_order(
            losses in prop::collection::vec(prop::collection::vec((0u8..20).prop_map(f32::from), 5), 6),
            choices in prop::collection::vec(0usize..60, 0..80),
            overrun in prop::collection::vec(0usize..4, 6),
        ) {
            let one_after_the_other = judged_in_some_order(&losses, &[], &[0; 6]);
            prop_assert_eq!(judged_in_some_order(&losses, &choices, &overrun), one_after_the_other);
        }
    }

    #[test]
    fn the_median_rule_does_not_wait_for_failed_trials() {
        let mut field = Field::new(&[&[], &[1.0], &[2.0]]);
        assert_eq!(field.judge(&by_median(1)), []);
        field.state.apply(&Event::TrialFailed { trial: id(0), failure: Failure::Lost });
        assert_eq!(field.judge(&by_median(1)), [(2, 10, true)]);
    }

    #[test]
    fn judgements_have_a_text() {
        let mut field = Field::new(&[&[1.0], &[2.0]]);
        let (_, first) =
            judge_across(&field.state, &mut field.scores, &asha(2), JudgingOrder::default(), |_| true).unwrap();
        insta::assert_snapshot!(first, @"stop.asha: eval_loss at step 10 is 1.0000, among the best of 1 trials at rung 0 (1.0000 or better continues)");
        field.see(1, &[f32::NAN]);
        let metric = Metric::Accuracy;
        let rules = StopAcross { median: Some(Median { metric, min_trials: 1, min_steps: 10 }), asha: None };
        let (_, second) =
            judge_across(&field.state, &mut field.scores, &rules, JudgingOrder::default(), |_| true).unwrap();
        insta::assert_snapshot!(second, @"stop.median: best accuracy up to step 10 is not finite, worse than the median -1.0000 of 1 trials");
    }
}
