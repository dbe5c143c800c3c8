use super::*;
use crate::analysis::synthetic;
use std::ops::RangeInclusive;

use crate::analysis::sweep::Run;
use crate::trial::{
    Cause, EvalRow, MetricRow, Outcome, Probe, ProbeKind, Scores, ShapeKind, Status, Trial, TrialId, Verdict,
};

const SEEDS: u64 = 3;

fn id(number: u64) -> TrialId {
    TrialId::parse(&format!("{number:012x}")).unwrap()
}

/// Noise that all forks of a seed share.
fn batch_noise(seed: u64, step: u64) -> f64 {
    ((seed * 7919 + step * 104_729) % 1000) as f64 / 1000.0 - 0.5
}

/// A probe whose losses are 1, the noise of its seed's batches, and `shift`.
fn run(kind: ProbeKind, lr: f64, seed: u64, shift: f64) -> Run {
    let steps = 20;
    let mut run = synthetic::default_sweep().runs.remove(0);
    let Trial { config, .. } = &mut run.trial;
    (config.lr, config.seed) = (lr, seed);
    config.probe = Some(Probe { trial: id(7), step: 100, kind });
    run.trial.steps = steps;
    run.status = Status::Finished;
    let loss = |step: u64| 1.0 + 0.4 * batch_noise(seed, step) + shift * (1.0 + 0.02 * batch_noise(seed + 9, step));
    let row = |step: u64| MetricRow {
        step,
        epoch: 1.0,
        train_loss: loss(step) as f32,
        lr,
        grad_norm: 1.0,
        tokens: 9,
        seconds: 1.0,
    };
    run.metrics = (1..=steps).map(row).collect();
    let at = |step: u64, loss: f64| EvalRow {
        step,
        eval_loss: loss as f32,
        accuracy: 0.5,
        macro_f1: 0.5,
        train_probe_loss: loss as f32,
        scores: Scores::default(),
    };
    let end = 1.0 + 0.01 * batch_noise(seed, 0) + shift * (1.0 + 0.1 * batch_noise(seed, 1));
    run.evals = vec![at(0, 1.0), at(steps, end)];
    run
}

fn kind(kind: ProbeKind, lr: f64, shift: f64) -> Vec<Run> {
    (1..=SEEDS).map(|seed| run(kind, lr, seed, shift)).collect()
}

fn one_batch(kind: ProbeKind, lr: f64, fits: [bool; 3]) -> Vec<Run> {
    let of = |(seed, fits): (u64, bool)| {
        let mut run = run(kind, lr, seed, 0.0);
        if let Some(outcome) = &mut run.outcome {
            (outcome.best_accuracy, outcome.steps) = (Some(if fits { 1.0 } else { 0.6 }), 30 + seed);
        }
        run
    };
    (1..).zip(fits).map(of).collect()
}

/// All probes of a trial that nothing helps.
fn floor() -> Vec<Run> {
    [
        kind(ProbeKind::Control, 1e-4, 0.0),
        kind(ProbeKind::LrDown, 1e-5, 0.0),
        kind(ProbeKind::LrUp, 3e-4, 0.2),
        kind(ProbeKind::AugmentationOn, 1e-4, 0.0),
        kind(ProbeKind::Blank, 1e-4, 0.5),
        one_batch(ProbeKind::OneBatch, 1e-4, [true, true, false]),
    ]
    .concat()
}

fn only(runs: &[Run]) -> Probed {
    let mut probed = probed(runs);
    assert_eq!(probed.len(), 1);
    probed.remove(0)
}

fn change(probed: &Probed, kind: ProbeKind) -> Option<Change> {
    probed.answers.iter().find(|answer| answer.kind == kind).unwrap().result.change()
}

#[test]
fn forks_are_held_against_the_control_of_their_seed() {
    let probed = only(&floor());
    assert_eq!((probed.trial.clone(), probed.step, probed.open, probed.settled), (id(7), 100, 0, Settled::Floor));
    let changes = [ProbeKind::LrDown, ProbeKind::LrUp, ProbeKind::Blank].map(|kind| change(&probed, kind));
    assert_eq!(changes, [Some(Change::Undetected), Some(Change::Raised), Some(Change::Raised)]);
    // Both forks read the same batches, so their noise of 0.4 cancels in the difference.
    let ProbeResult::Difference { effect, .. } = probed.answers[1].result else { panic!("a difference") };
    assert!((effect.mean - 0.2).abs() < 0.01 && effect.error < 0.005, "{effect:?}");
    let lines: Vec<String> =
        probed.answers.iter().map(|answer| format!("{}: {}", answer.question(), answer.answer())).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    lr × 0.1 (1e-5): no detectable effect on the train loss (+0.000 ± 0.000)
    lr × 3 (3e-4): raises the train loss by 0.200 ± 0.000
    augmentation on: no detectable effect on the eval loss (+0.000 ± 0.000)
    inputs blanked: raises the train loss by 0.500 ± 0.000
    memorise one batch (1e-4): memorised in 32 steps (2 of 3 seeds)
    ");
    insta::assert_snapshot!(format!("{}\n{}", probed.place(), probed.reading()), @"
    step 100, where its lr was 1e-4
    FLOOR: labels and data allow no lower loss; neither learning rate nor architecture is the limit: near zero, nothing is left to learn; otherwise check the labels of the examples with the highest loss, or add data
    ");
    // In any order.
    let mut backwards = floor();
    backwards.reverse();
    assert_eq!(only(&backwards), probed);
}

#[test]
fn what_each_cause_looks_like() {
    let check = |replaced: Vec<Run>, expected: Settled| {
        let kind_of = |run: &Run| run.trial.config.probe.as_ref().map(|probe| probe.kind);
        let mut runs = floor();
        runs.retain(|run| !replaced.iter().any(|new| kind_of(new) == kind_of(run)));
        runs.extend(replaced);
        assert_eq!(only(&runs).settled, expected);
    };
    check(kind(ProbeKind::LrDown, 1e-5, -0.1), Settled::RateTooHigh);
    check(kind(ProbeKind::LrDown, 1e-5, -0.005), Settled::Floor);
    check(kind(ProbeKind::Blank, 1e-4, 0.0), Settled::Labels);
    check(kind(ProbeKind::AugmentationOn, 1e-4, -0.1), Settled::DataVariety);
    check(one_batch(ProbeKind::OneBatch, 1e-4, [false, false, true]), Settled::Architecture);
    let too_high = one_batch(ProbeKind::OneBatch, 1e-2, [false; 3]);
    check([too_high, one_batch(ProbeKind::OneBatchUsualLr, 5e-5, [true; 3])].concat(), Settled::RateTooHigh);
    let too_low = one_batch(ProbeKind::OneBatch, 1e-8, [false; 3]);
    check([too_low, one_batch(ProbeKind::OneBatchUsualLr, 5e-5, [true; 3])].concat(), Settled::RateTooLow);
    check(kind(ProbeKind::LrPeak, 1e-3, -0.1), Settled::RateExhausted);
    check(kind(ProbeKind::LrUp, 3e-4, -0.1), Settled::RateTooLow);
    // Lower on the batches while the evaluation loss rises: memorised.
    let mut memorising = kind(ProbeKind::LrUp, 3e-4, -0.1);
    for row in memorising.iter_mut().filter_map(|run| run.evals.last_mut()) {
        row.eval_loss = 1.3;
    }
    check(memorising, Settled::Floor);
    let mut runaway = kind(ProbeKind::Control, 1e-4, 0.0);
    for run in &mut runaway {
        run.status = Status::Diverged;
        run.metrics.truncate(4);
    }
    check(runaway, Settled::RateTooHigh);
}

#[test]
fn probes_that_have_not_ended_settle_nothing() {
    let mut runs = floor();
    let last = runs.last_mut().unwrap();
    last.status = Status::Running;
    let probed = only(&runs);
    assert_eq!((probed.open, probed.settled), (1, Settled::Open));
    assert_eq!(probed.reading(), "OPEN: one probe has not ended");
    runs.truncate(3);
    assert_eq!(only(&runs).settled, Settled::Open, "the control alone");
    assert!(super::probed(&synthetic::default_sweep().runs).is_empty());
}

fn outcome(shape: ShapeKind, step: Option<u64>, cause: Option<Cause>, best: f32) -> Outcome {
    let mut outcome = synthetic::sweep("s", &[], 200).runs.remove(0).outcome.unwrap();
    outcome.verdicts = vec![Verdict::shape(shape, step, "")];
    outcome.verdicts.extend(cause.map(|cause| Verdict::cause(cause, "")));
    outcome.best_eval_loss = Some(best);
    outcome
}

#[test]
fn the_best_of_each_cause_is_probed() {
    let trials = [
        (id(1), outcome(ShapeKind::Plateaued, Some(80), None, 0.6)),
        (id(2), outcome(ShapeKind::Plateaued, Some(80), None, 0.5)),
        (id(3), outcome(ShapeKind::Stuck, None, Some(Cause::PriorStuck), 1.1)),
        (id(4), outcome(ShapeKind::StillImproving, Some(190), Some(Cause::TooSlow), 0.4)),
        (id(5), outcome(ShapeKind::NotFinite, Some(9), Some(Cause::NonFinite), 0.3)),
        (id(6), outcome(ShapeKind::Overfits, Some(90), Some(Cause::Overfit), 0.45)),
        (id(9), outcome(ShapeKind::Plateaued, Some(80), None, 0.5)),
    ];
    let chosen = |trials: &[&(TrialId, Outcome)]| -> Vec<TrialId> {
        choose(trials.iter().map(|(id, outcome)| (id, outcome))).into_iter().cloned().collect()
    };
    let all: Vec<_> = trials.iter().collect();
    assert_eq!(chosen(&all), [id(6), id(2), id(3)]);
    let reversed: Vec<_> = trials.iter().rev().collect();
    assert_eq!(chosen(&reversed), [id(6), id(2), id(3)]);
    // As trials end one by one, a trial that was dropped is never needed again.
    let mut kept: Vec<&(TrialId, Outcome)> = Vec::new();
    for trial in &trials {
        kept.push(trial);
        let stays = chosen(&kept);
        kept.retain(|(id, _)| stays.contains(id));
    }
    assert_eq!(chosen(&kept), [id(6), id(2), id(3)]);
}

#[test]
fn a_trial_is_probed_within_its_plateau() {
    let check = |outcome: &Outcome, flat: RangeInclusive<u64>, at: u64| {
        assert_eq!((plateau(outcome), place(outcome)), (flat, at));
    };
    check(&outcome(ShapeKind::Plateaued, Some(80), None, 0.6), 80..=200, 110);
    check(&outcome(ShapeKind::Plateaued, Some(0), None, 0.6), 1..=200, 50);
    check(&outcome(ShapeKind::Stuck, None, None, 1.1), 66..=200, 99);
    check(&outcome(ShapeKind::Collapsed, Some(100), None, 1.1), 100..=200, 125);
    let mut overfits = outcome(ShapeKind::Overfits, Some(120), None, 0.4);
    check(&overfits, 40..=120, 60);
    overfits.verdicts.push(Verdict::shape(ShapeKind::Plateaued, Some(60), ""));
    check(&overfits, 60..=120, 75);
}
