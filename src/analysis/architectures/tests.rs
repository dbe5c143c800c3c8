//! Synthetic sweeps with known truth: each finding where it holds, and none where a piece of its evidence is missing.

use super::super::arms::{Arm, Inputs, TrialInputs, arms};
use super::super::finding::FindingKind;
use super::super::probes::{Answer, ProbeResult, Probed, Settled};
use super::super::study::Study;
use super::super::sweep::Sweep;
use super::super::synthetic::{self, axis};
use super::{findings, next};
use crate::trial::{Architecture, EvalRow, InputFloors, ProbeKind, Scores, SplitReport, Status, Vectors};

const LN2: f64 = std::f64::consts::LN_2;

/// One arm of a synthetic sweep.
#[derive(Clone)]
struct Planned {
    name: &'static str,
    architecture: Architecture,
    max_length: usize,
    /// Final evaluation loss at each of three learning rates.
    losses: [f64; 3],
    /// Fall of the loss in the second half of the steps.
    late_fall: f64,
    inputs: TrialInputs,
    random: bool,
}

fn bert(losses: [f64; 3]) -> Planned {
    Planned {
        name: "bert",
        architecture: Architecture::None,
        max_length: 128,
        losses,
        late_fall: 0.0,
        inputs: TrialInputs { parameters: 8_700_000, ..TrialInputs::default() },
        random: false,
    }
}

fn bag(losses: [f64; 3]) -> Planned {
    Planned { name: "bag_of_words", architecture: Architecture::BagOfWords { hidden: 0 }, ..bert(losses) }
}

fn cnn(losses: [f64; 3]) -> Planned {
    let architecture = Architecture::Textcnn { kernels: vec![3, 4, 5], filters: 100 };
    Planned { name: "textcnn", architecture, ..bert(losses) }
}

fn floors(texts: f64, ids: f64, bags: f64) -> InputFloors {
    InputFloors { prior: LN2, texts, lowercase: ids, ids, bags }
}

const SEEDS: [&str; 3] = ["1", "2", "3"];

/// A sweep with the same three seeds for each learning rate of each arm.
fn sweep(planned: &[Planned], rates: [&str; 3]) -> (Sweep, Inputs) {
    let names: Vec<&str> = planned.iter().map(|arm| arm.name).collect();
    let mut sweep = synthetic::sweep("s", &[axis("arm", &names), axis("lr", &rates), axis("seed", &SEEDS)], 100);
    let mut inputs = Inputs::new();
    for run in &mut sweep.runs {
        let name = run.trial.value("arm").unwrap().text.clone();
        let arm = planned.iter().find(|arm| arm.name == name).unwrap();
        let rate = rates.iter().position(|rate| *rate == run.trial.value("lr").unwrap().text).unwrap();
        let seed = run.trial.config.seed;
        run.trial.config.model.architecture = arm.architecture.clone();
        run.trial.config.data.max_length = arm.max_length;
        if arm.random {
            run.trial.config.model.embeddings.vectors = Vectors::Random;
        }
        run.status = Status::Finished;
        run.diagnostics.clear();
        // Deviations of one thousandth between seeds.
        let end = arm.losses[rate] + 0.001 * (seed as f64 - 2.0);
        let row = |step: u64| {
            let fast = (1.0 - step as f64 / 30.0).max(0.0);
            let slow = if step >= 50 { 1.0 - (step as f64 - 50.0) / 50.0 } else { 1.0 };
            let eval_loss = (end + (0.7 - end).max(0.0) * fast * fast + arm.late_fall * slow) as f32;
            let accuracy = if end < 0.6 { 0.9 } else { 0.5 };
            EvalRow {
                step,
                eval_loss,
                accuracy,
                macro_f1: accuracy,
                train_probe_loss: eval_loss,
                scores: Scores::default(),
            }
        };
        run.evals = (0..=10).map(|i| row(10 * i)).collect();
        for metric in &mut run.metrics {
            metric.train_loss = row(metric.step).eval_loss;
        }
        let outcome = run.outcome.as_mut().unwrap();
        (outcome.eval_prior, outcome.class_prior) = (vec![0.5, 0.5], vec![0.5, 0.5]);
        outcome.seconds = if arm.architecture == Architecture::None { 70.0 } else { 10.0 };
        inputs.insert(run.trial.id.clone(), arm.inputs.clone());
    }
    (sweep, inputs)
}

const RATES: [&str; 3] = ["1e-4", "3e-4", "1e-3"];

fn kinds(planned: &[Planned]) -> Vec<FindingKind> {
    texts_of(planned).into_iter().map(|(kind, _)| kind).collect()
}

fn texts_of(planned: &[Planned]) -> Vec<(FindingKind, String)> {
    let (sweep, inputs) = sweep(planned, RATES);
    let found = findings(&sweep, &Study::of(&sweep), &[], &inputs);
    found.into_iter().map(|finding| (finding.kind, finding.text)).collect()
}

/// The level of one loss at all three learning rates.
const STUCK: [f64; 3] = [0.694, 0.693, 0.694];
const LEARNED: [f64; 3] = [0.3, 0.05, 0.2];

#[test]
fn the_better_network_is_named_with_what_it_costs() {
    let near = InputFloors { prior: LN2, bags: LN2, ..InputFloors::default() };
    let inputs = TrialInputs { train: SplitReport { floors: near, ..SplitReport::default() }, parameters: 3_100_000 };
    let found = texts_of(&[bert(LEARNED), Planned { inputs, ..bag(STUCK) }]);
    assert_eq!(found.len(), 1, "{found:?}");
    insta::assert_snapshot!(found[0].1, @"bert has the lowest eval loss, 0.050 (70 s, 8.7 million parameters); behind by more than noise: bag_of_words by 0.643 (3 pairs of seeds, p = 0.25) (10 s, 3.1 million parameters), 7 times faster, because labels depend on the order of words and no bag of words gets below 0.693 (ARCH_BETTER).");
}

#[test]
fn all_arms_at_one_level_are_no_fault_of_an_architecture() {
    let found = texts_of(&[bert(STUCK), bag(STUCK), cnn([0.70, 0.694, 0.71])]);
    assert_eq!(found.len(), 1, "{found:?}");
    insta::assert_snapshot!(found[0].1, @"All 3 arms are flat at one eval loss, each at its best learning rate: bert 0.693, bag_of_words 0.693 and textcnn 0.694. Their networks differ, so the labels or the data set the limit, not the architecture (NOT_ARCHITECTURE).");
    // Low losses leave nothing to explain.
    assert_eq!(kinds(&[bert([0.02, 0.01, 0.02]), bag([0.03, 0.02, 0.03])]), []);
}

#[test]
fn equal_inputs_with_unlike_labels_explain_a_level_first() {
    let blind = TrialInputs {
        train: SplitReport { floors: floors(0.0, LN2, LN2), ..SplitReport::default() },
        ..TrialInputs::default()
    };
    let arms = [Planned { inputs: blind.clone(), ..bert(STUCK) }, Planned { inputs: blind.clone(), ..bag(STUCK) }];
    let found = texts_of(&arms);
    assert_eq!(found.len(), 1, "{found:?}");
    insta::assert_snapshot!(found[0].1, @"bert (0.693) and bag_of_words (0.693) end at the least eval loss that the token ids allow, 0.693; the texts allow 0.000. No network can do better with this tokenizer and length: a cased checkpoint reads the capitals that tell them apart (ARCH_BLIND).");
    let (sweep, inputs) = sweep(&arms, RATES);
    let study = Study::of(&sweep);
    let next = next(&sweep, &study, &findings(&sweep, &study, &[], &inputs), &inputs).unwrap();
    assert_eq!(next.line, "model: {from: hf:google-bert/bert-base-cased}");
    // A cased arm that learns the task is better for its inputs, not for its network.
    assert_eq!(kinds(&[Planned { inputs: blind, ..bag(STUCK) }, bert(LEARNED)]), [FindingKind::ArchBlind]);
}

#[test]
fn a_longer_input_that_helps_says_so_and_nothing_else() {
    let cut = TrialInputs {
        train: SplitReport {
            truncated_share: 1.0,
            lost_tokens_share: 0.38,
            longest_tokens: 104,
            ..SplitReport::default()
        },
        ..TrialInputs::default()
    };
    let short = |arm: Planned, name| Planned { name, max_length: 64, inputs: cut.clone(), ..arm };
    let arms = [short(bert(STUCK), "bert 64"), short(bag(STUCK), "bag 64"), bert(LEARNED)];
    let found = texts_of(&arms);
    assert_eq!(found.len(), 1, "{found:?}");
    insta::assert_snapshot!(found[0].1, @"bert 64 cuts 100 % of the texts and loses 38 % of their tokens. bert lowers the eval loss of the same network from 0.693 to 0.050 (3 pairs of seeds, p = 0.25): the input is too short, not the network unfit (ARCH_CUT).");
    // Without a longer arm there is no evidence, but the next experiment is one.
    let (sweep, inputs) = sweep(&arms[..2], RATES);
    let study = Study::of(&sweep);
    let found = findings(&sweep, &study, &[], &inputs);
    assert_eq!(found, []);
    let next = next(&sweep, &study, &found, &inputs).unwrap();
    assert!(next.line == "data: {max_length: 128}" && next.reason.contains("100 % of the texts are cut"), "{next:?}");
    // A length that is equal for texts of few tokens helps no one.
    assert_eq!(kinds(&[short(bert(LEARNED), "bert 64"), bert(LEARNED)]), []);
}

#[test]
fn a_bag_that_is_as_good_as_the_encoder_shows_idle_order() {
    let found = texts_of(&[bert([0.31, 0.30, 0.31]), bag([0.32, 0.31, 0.32]), cnn([0.5, 0.45, 0.5])]);
    let kinds: Vec<FindingKind> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [FindingKind::ArchBetter, FindingKind::OrderIdle]);
    insta::assert_snapshot!(found[1].1, @"bag_of_words (0.310) is not worse than the best encoder, bert (0.300), by 0.035 or more: the order of words does not matter in this task (ORDER_IDLE).");
    // The control: all solve the task.
    assert_eq!(self::kinds(&[bert([0.02, 0.003, 0.01]), bag([0.03, 0.016, 0.02])]), []);
}

fn one_batch(sweep: &Sweep, fits: impl Fn(&str) -> bool) -> Vec<Probed> {
    let at_best = sweep.runs.iter().filter(|run| run.trial.value("lr").unwrap().text == "3e-4");
    let probed = at_best.map(|run| {
        let fitted = usize::from(fits(&run.trial.value("arm").unwrap().text));
        let result = ProbeResult::Memorised { fitted, seeds: 1, steps: 100 };
        Probed {
            trial: run.trial.id.clone(),
            step: 0,
            rate: 3e-4,
            peak: 3e-4,
            level: None,
            answers: vec![Answer { kind: ProbeKind::OneBatch, lr: 3e-4, result }],
            open: 0,
            settled: Settled::Open,
        }
    });
    probed.collect()
}

#[test]
fn a_network_that_cannot_memorise_what_another_does_is_too_weak() {
    let (sweep, inputs) = sweep(&[bert(LEARNED), bag(STUCK)], RATES);
    let study = Study::of(&sweep);
    let kinds = |probed: &[Probed]| {
        findings(&sweep, &study, probed, &inputs).into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    let weak = one_batch(&sweep, |arm| arm == "bert");
    assert_eq!(kinds(&weak), [FindingKind::ArchTooWeak, FindingKind::ArchBetter]);
    assert_eq!(kinds(&one_batch(&sweep, |_| true)), [FindingKind::ArchBetter]);
    assert_eq!(kinds(&one_batch(&sweep, |_| false)), [FindingKind::ArchBetter]);
}

/// Each condition of a comparison, taken away alone.
#[test]
fn missing_evidence_gives_no_finding() {
    let whole = [bert(LEARNED), bag(STUCK)];
    assert_eq!(kinds(&whole), [FindingKind::ArchBetter]);
    let check = |change: &dyn Fn(&mut Sweep), why: &str| {
        let (mut sweep, inputs) = sweep(&whole, RATES);
        change(&mut sweep);
        assert_eq!(findings(&sweep, &Study::of(&sweep), &[], &inputs), [], "{why}");
    };
    check(&|sweep| sweep.runs.retain(|run| run.trial.config.seed == 1), "one seed");
    check(&|sweep| sweep.runs.retain(|run| run.trial.value("arm").unwrap().text == "bag_of_words"), "one arm");
    check(&|sweep| sweep.runs.retain(|run| run.trial.config.lr < 5e-4), "two learning rates");
    check(&|sweep| sweep.runs.last_mut().unwrap().status = Status::Running, "a trial that runs");
    let other = |sweep: &mut Sweep, change: &dyn Fn(&mut crate::trial::TrialConfig)| {
        let bags = sweep.runs.iter_mut().filter(|run| run.trial.value("arm").unwrap().text == "bag_of_words");
        bags.for_each(|run| change(&mut run.trial.config));
    };
    check(&|sweep| other(sweep, &|config| config.batch_size = 64), "another batch size");
    check(&|sweep| other(sweep, &|config| config.data.limit = Some(100)), "other rows");
    check(&|sweep| other(sweep, &|config| config.model.embeddings.vectors = Vectors::Random), "random vectors");
    assert_eq!(kinds(&[bert(LEARNED), bag([0.9, 0.8, 0.5])]), [], "the best learning rate is at the edge");
    assert_eq!(kinds(&[bert(LEARNED), Planned { late_fall: 0.2, ..bag([0.4, 0.35, 0.4]) }]), [], "slow, not unfit");
    assert_eq!(kinds(&[bert(LEARNED), cnn([0.1, 0.07, 0.1])]), [], "a difference below 0.05 H");
    let narrow = sweep(&whole, ["2e-4", "3e-4", "4e-4"]);
    assert_eq!(findings(&narrow.0, &Study::of(&narrow.0), &[], &narrow.1), [], "a narrow grid");
}

/// Without the section `arms`, each different network is an arm.
#[test]
fn an_axis_of_networks_makes_arms() {
    let (mut sweep, inputs) = sweep(&[bert(LEARNED), bag(STUCK)], RATES);
    for run in &mut sweep.runs {
        "model.architecture".clone_into(&mut run.trial.values[0].0);
    }
    let study = Study::of(&sweep);
    let names: Vec<String> = arms(&sweep, &study).iter().map(|arm: &Arm| arm.name.clone()).collect();
    assert_eq!(names, ["model.architecture bert", "model.architecture bag_of_words"]);
    assert_eq!(findings(&sweep, &study, &[], &inputs).len(), 1);
    // A sweep over learning rates alone has no arms.
    assert!(arms(&synthetic::default_sweep(), &Study::of(&synthetic::default_sweep())).is_empty());
}
