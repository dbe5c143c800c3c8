//! Tests of the whole trainer: it equals PyTorch, and its numbers do not depend on threads or interruptions.

mod references;

use std::collections::BTreeMap;

use self::references::logits;
use super::TrainError;
use super::data::{Dataset, Tokens};
use super::engine::Engine;
use super::model::{Backend, Network};
use super::optim::Settings as OptimizerSettings;
use super::testing::{Checkpoint, NoCache, Recorder, config, dataset, dataset_of, fixture, train};
use super::weights::{WeightType, convert};
use crate::trial::{
    Architecture, FractionOrSteps, Keep, Length, LoraConfig, LstmPooling, MICRO_BATCH_TOKENS, Metric, Patience,
    Pooling, PrecisionName, ProbeKind, Status, TaskName, TrialConfig, Vectors,
};

fn tiny(eval: usize) -> (Checkpoint, Dataset) {
    let checkpoint = Checkpoint::tiny();
    let data = dataset(&fixture("finetune-tiny/train.tsv"), &checkpoint, 32, 120, eval);
    (checkpoint, data)
}

/// Settings with everything random switched on, and several micro-batches for each batch.
fn busy() -> TrialConfig {
    let mut config = config();
    config.model.dropout = Some(0.1);
    config.batch_size = 40;
    config.grad_accumulation = 3;
    config.length = Length::Steps(8);
    config.eval_every = FractionOrSteps(3.0);
    config.label_smoothing = 0.1;
    config
}

/// The same with data and model from files, as a worker reads them.
fn on_disk() -> TrialConfig {
    let mut config = busy();
    config.data.train = fixture("finetune-tiny/train.tsv").display().to_string();
    config.model.from = fixture("finetune-tiny/checkpoint").display().to_string();
    config
}

fn job(config: &TrialConfig) -> super::Job<'_> {
    super::Job {
        config,
        device: crate::trial::Device::Cpu,
        threads: 2,
        checkpoint_every: crate::trial::CheckpointEvery::Steps(3),
        micro_batch_tokens: MICRO_BATCH_TOKENS,
        micro_batch_splits: 0,
        ignores_stop_rules: false,
        sources: None,
        resume: None,
        start: None,
        cache: &NoCache,
    }
}

fn run(config: &TrialConfig, threads: usize) -> Recorder {
    let (checkpoint, data) = tiny(40);
    let mut kept = Recorder { keep: Some(Keep::Last), ..Recorder::default() };
    train(config, &data, &mut checkpoint.engine(config, 3, threads), None, &mut kept).unwrap();
    kept
}

/// The tensors of a training state. The header is left out, because it contains times.
fn tensors(state: &[u8]) -> Vec<(String, Vec<u8>)> {
    let read = safetensors::SafeTensors::deserialize(state).unwrap();
    let mut tensors: Vec<_> = read.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    tensors.sort();
    tensors
}

#[test]
fn the_numbers_are_the_same_bits_on_any_number_of_threads() {
    let one = run(&busy(), 1);
    assert_eq!(one.metrics.len(), 8);
    assert_eq!(one.evals.iter().map(|row| row.step).collect::<Vec<_>>(), [0, 3, 6, 8]);
    for threads in [2, 3, 7] {
        let many = run(&busy(), threads);
        assert_eq!((&one.metrics, &one.evals), (&many.metrics, &many.evals), "{threads} threads");
        assert_eq!(one.diagnostics, many.diagnostics, "{threads} threads");
        assert_eq!(tensors(&one.states[0].2), tensors(&many.states[0].2), "{threads} threads");
    }
}

#[test]
fn bf16_has_the_same_bits_on_any_number_of_threads_and_after_a_resume() {
    let config = TrialConfig { precision: PrecisionName::Bf16, ..busy() };
    let (one, exact) = (run(&config, 1), run(&busy(), 1));
    assert_ne!(one.metrics, exact.metrics, "nothing was rounded");
    for (rounded, exact) in one.metrics.iter().zip(&exact.metrics) {
        assert!((rounded.train_loss - exact.train_loss).abs() < 0.02 * exact.train_loss, "{rounded:?} {exact:?}");
    }
    let many = run(&config, 3);
    assert_eq!((&one.metrics, &one.evals), (&many.metrics, &many.evals));
    assert_eq!(tensors(&one.states[0].2), tensors(&many.states[0].2));
    let (checkpoint, data) = tiny(40);
    let mut kept = Recorder { stop_after: Some(4), keep: Some(Keep::Last), ..Recorder::default() };
    train(&config, &data, &mut checkpoint.engine(&config, 3, 2), None, &mut kept).unwrap_err();
    kept.stop_after = None;
    let (_, _, state) = kept.states.pop().unwrap();
    train(&config, &data, &mut checkpoint.engine(&config, 3, 2), Some(&state), &mut kept).unwrap();
    assert_eq!((&one.metrics, &one.evals), (&kept.metrics, &kept.evals));
    assert_eq!(tensors(&one.states[0].2), tensors(&kept.states[0].2));
}

/// With less memory, batches are split into more pieces and added in fewer buffers.
#[test]
fn micro_batch_splits_change_numbers_by_rounding_only() {
    let (checkpoint, data) = tiny(40);
    let config = TrialConfig { batch_size: 60, grad_accumulation: 1, ..busy() };
    let run = |micro_batch_splits: u32, threads: usize| {
        let mut engine = checkpoint.engine(&config, 3, threads).with_micro_batch_splits(micro_batch_splits);
        let mut kept = Recorder::default();
        train(&config, &data, &mut engine, None, &mut kept).unwrap();
        kept
    };
    let usual = run(0, 1);
    for micro_batch_splits in [1, 2, 40] {
        let split = run(micro_batch_splits, 1);
        assert_ne!(split.metrics, usual.metrics, "{micro_batch_splits}: nothing was split");
        for (one, other) in split.metrics.iter().zip(&usual.metrics) {
            assert!((one.train_loss - other.train_loss).abs() < 1e-4, "{micro_batch_splits}: {one:?} {other:?}");
            assert!(
                (one.grad_norm - other.grad_norm).abs() < 1e-3 * other.grad_norm,
                "{micro_batch_splits}: {one:?} {other:?}"
            );
        }
        assert_eq!(split.metrics, run(micro_batch_splits, 3).metrics, "the same bits on any number of threads");
    }
    assert_eq!([0, 1, 2, 40].map(|splits| super::micro_batch_tokens(512, splits)), [512, 256, 128, 1]);
}

#[test]
fn signals_are_written_beside_evaluations() {
    let rows = run(&busy(), 1).diagnostics;
    assert_eq!(rows.iter().map(|row| row.step).collect::<Vec<_>>(), [0, 3, 6, 8]);
    assert!(rows[0].update_ratio.is_none() && rows.iter().all(|row| row.predicted.iter().sum::<u32>() == 40));
    for row in &rows[1..] {
        let all = [row.first_grad_norm, row.last_grad_norm, row.update_ratio].map(Option::unwrap);
        assert!(all.iter().all(|value| *value > 0.0) && all[2] < 0.5, "{row:?}");
    }
    let frozen = TrialConfig { model: crate::trial::ModelConfig { freeze: 2, ..busy().model }, ..busy() };
    assert!(run(&frozen, 1).diagnostics.iter().all(|row| row.last_grad_norm.is_none()));
}

#[test]
fn an_interrupted_trial_resumes_with_the_same_bits() {
    let whole = run(&busy(), 1);
    let (checkpoint, data) = tiny(40);
    for stop in [0, 1, 3, 7] {
        let mut kept = Recorder { stop_after: Some(stop), keep: Some(Keep::Last), ..Recorder::default() };
        let mut engine = checkpoint.engine(&busy(), 3, 2);
        let end = train(&busy(), &data, &mut engine, None, &mut kept);
        assert!(matches!(end, Err(TrainError::Interrupted)), "{end:?}");
        kept.stop_after = None;
        let (step, _, state) = kept.states.pop().unwrap();
        assert_eq!(step, stop as u64);
        let mut engine = checkpoint.engine(&busy(), 3, 2);
        train(&busy(), &data, &mut engine, Some(&state), &mut kept).unwrap();
        assert_eq!((&whole.metrics, &whole.evals), (&kept.metrics, &kept.evals), "stopped after {stop}");
        assert_eq!(whole.diagnostics, kept.diagnostics, "stopped after {stop}");
        assert_eq!(tensors(&whole.states[0].2), tensors(&kept.states[0].2), "stopped after {stop}");
    }
}

/// Tasks other than classification with everything random switched on.
#[test]
fn every_task_resumes_with_the_same_bits() {
    for (task, name) in [
        (TaskName::Regression, "bert-regression"),
        (TaskName::MultiLabel, "bert-multi-label"),
        (TaskName::Tokens, "bert-tokens"),
    ] {
        let folder = fixture(&format!("finetune-{name}"));
        let checkpoint = Checkpoint::read(&folder.join("checkpoint"));
        let data = dataset_of(task, &folder.join("train.tsv"), &checkpoint, 48, (80, 40));
        let mut config = TrialConfig { label_smoothing: 0.0, ..busy() };
        config.data.task = task;
        let engine = |threads| checkpoint.engine(&config, task.outputs(data.labels.len()), threads);
        let recorder = |stop_after| Recorder { stop_after, keep: Some(Keep::Last), ..Recorder::default() };
        let mut whole = recorder(None);
        let outcome = train(&config, &data, &mut engine(1), None, &mut whole).unwrap();
        let chance = outcome.train_chance.unwrap();
        assert!(outcome.class_prior.is_empty() && outcome.final_accuracy.is_none() && chance > 0.0, "{outcome:?}");
        let mut kept = recorder(Some(4));
        train(&config, &data, &mut engine(2), None, &mut kept).unwrap_err();
        kept.stop_after = None;
        let (_, _, state) = kept.states.pop().unwrap();
        train(&config, &data, &mut engine(3), Some(&state), &mut kept).unwrap();
        assert_eq!(whole.metrics, kept.metrics, "{name}");
        // NaN for metrics that the task does not have.
        assert_eq!(format!("{:?}", whole.evals), format!("{:?}", kept.evals), "{name}");
        assert_eq!(tensors(&whole.states[0].2), tensors(&kept.states[0].2), "{name}");
    }
}

#[test]
fn class_weights_count_over_the_whole_batch() {
    let (checkpoint, data) = tiny(40);
    let mut config = TrialConfig { length: Length::Steps(3), grad_accumulation: 1, ..busy() };
    config.loss.class_weights = serde_json::from_str("\"balanced\"").unwrap();
    config.model.dropout = Some(0.0);
    let run = |config: &TrialConfig| {
        let mut kept = Recorder::default();
        train(config, &data, &mut checkpoint.engine(config, 3, 2), None, &mut kept).unwrap();
        kept.metrics
    };
    let (whole, parts) = (run(&config), run(&TrialConfig { grad_accumulation: 4, ..config.clone() }));
    for (one, other) in whole.iter().zip(&parts) {
        assert!((one.train_loss - other.train_loss).abs() < 1e-5 * one.train_loss, "{one:?} {other:?}");
        assert!((one.grad_norm - other.grad_norm).abs() < 1e-4 * one.grad_norm, "{one:?} {other:?}");
    }
}

#[test]
fn a_trial_stopped_by_a_rule_resumes_with_the_same_bits() {
    let whole = run(&busy(), 1);
    let (checkpoint, data) = tiny(40);
    let mut kept = Recorder { end_after: Some(4), keep: Some(Keep::Last), ..Recorder::default() };
    let mut engine = checkpoint.engine(&busy(), 3, 2);
    let outcome = train(&busy(), &data, &mut engine, None, &mut kept).unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Stopped, 4));
    assert_eq!(outcome.reason.as_deref(), Some("others were better"));
    kept.end_after = None;
    let (step, _, state) = kept.states.pop().unwrap();
    assert_eq!(step, 4);
    let mut engine = checkpoint.engine(&busy(), 3, 2);
    train(&busy(), &data, &mut engine, Some(&state), &mut kept).unwrap();
    assert_eq!((&whole.metrics, &whole.evals), (&kept.metrics, &kept.evals));
    assert_eq!(tensors(&whole.states[0].2), tensors(&kept.states[0].2));
}

#[test]
fn a_training_state_of_another_model_or_a_truncated_one_is_refused() {
    let state = run(&busy(), 1).states.remove(0).2;
    let (checkpoint, data) = tiny(40);
    let resume = |config: &TrialConfig, classes: usize, state: &[u8]| {
        let mut engine = checkpoint.engine(config, classes, 1);
        train(config, &data, &mut engine, Some(state), &mut Recorder::default()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(resume(&busy(), 5, &state), @"the checkpoint of this trial cannot be read: 'classifier.weight' has 576 bytes, expected 960. Remove the trial's checkpoint folder to train it from the start");
    assert!(resume(&busy(), 3, &state[..state.len() / 2]).contains("cannot be read"));
}

#[test]
fn a_non_finite_loss_is_an_outcome_and_its_last_row_is_written() {
    let (checkpoint, data) = tiny(8);
    let mut config = config();
    config.length = Length::Steps(15);
    config.lr = f64::NAN;
    let train = |config: &TrialConfig, kept: &mut Recorder| {
        train(config, &data, &mut checkpoint.engine(config, 3, 1), None, kept).unwrap()
    };
    let mut kept = Recorder { keep: Some(Keep::All), ..Recorder::default() };
    let outcome = train(&config, &mut kept);
    assert_eq!((outcome.status, outcome.steps), (Status::Diverged, 2));
    assert!(kept.states.iter().all(|state| state.0 == 0), "no checkpoint is saved after divergence");
    assert_eq!(outcome.reason.as_deref(), Some("the training loss became NaN"));
    assert!(kept.metrics.len() == 2 && kept.metrics[1].train_loss.is_nan());
    assert!(outcome.final_train_loss.is_none() && outcome.final_eval_loss.is_some());
    config.stop.diverged = false;
    let outcome = train(&config, &mut Recorder::default());
    assert_eq!((outcome.status, outcome.steps), (Status::Finished, 15));
}

#[test]
fn patience_ends_a_trial_that_no_longer_improves() {
    let (checkpoint, data) = tiny(8);
    let mut config = config();
    config.lr = 0.0;
    config.length = Length::Steps(50);
    config.eval_every = FractionOrSteps(2.0);
    config.stop.patience = Some(Patience { metric: Some(Metric::EvalLoss), evals: 3, min_delta: 0.001 });
    let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), None, &mut Recorder::default()).unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Stopped, 6));
    assert!(outcome.reason.unwrap().contains("for 3 evaluations"));
}

#[test]
fn the_metric_of_the_trial_chooses_the_best_evaluation() {
    for metric in [Metric::EvalLoss, Metric::Accuracy, Metric::MacroF1] {
        let (checkpoint, data) = tiny(20);
        let mut config = config();
        config.metric = metric;
        config.length = Length::Steps(12);
        config.eval_every = FractionOrSteps(1.0);
        config.stop.patience = Some(Patience { metric: None, evals: 30, min_delta: 0.0 });
        let mut kept = Recorder { keep: Some(Keep::Best), ..Recorder::default() };
        let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), None, &mut kept).unwrap();
        let best = outcome.best().unwrap();
        assert_eq!((best.step, f64::from(best.value)), metric.best(&kept.evals).unwrap(), "{}", metric.name());
        assert_eq!(best.metric, metric);
        let saved = kept.states.iter().rfind(|(_, is_best, _)| *is_best).unwrap();
        assert_eq!(saved.0, best.step);
        assert_eq!(outcome.best_eval_loss, Metric::EvalLoss.best(&kept.evals).map(|(_, loss)| loss as f32));
    }
}

#[test]
fn patience_without_a_metric_watches_that_of_the_trial() {
    let (checkpoint, data) = tiny(20);
    let mut config = config();
    config.metric = Metric::Accuracy;
    config.length = Length::Steps(50);
    config.eval_every = FractionOrSteps(2.0);
    // An accuracy cannot rise by more than one.
    config.stop.patience = Some(Patience { metric: None, evals: 2, min_delta: 1.0 });
    let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), None, &mut Recorder::default()).unwrap();
    assert!(outcome.reason.unwrap().starts_with("accuracy has not improved"));
}

#[test]
fn a_trial_stopped_by_patience_can_continue_without_stop_rules() {
    let (checkpoint, data) = tiny(20);
    let mut config = config();
    config.length = Length::Steps(9);
    config.eval_every = FractionOrSteps(2.0);
    config.stop.patience = Some(Patience { metric: Some(Metric::Accuracy), evals: 2, min_delta: 1.0 });
    let of = |ignores_stop_rules: bool, resume: Option<&[u8]>| {
        let mut kept = Recorder { ignores_stop_rules, ..Recorder::default() };
        let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), resume, &mut kept).unwrap();
        (outcome, kept)
    };
    let (stopped, kept) = of(false, None);
    assert_eq!((stopped.status, stopped.steps), (Status::Stopped, 4));
    let (step, _, state) = kept.states.last().unwrap();
    assert_eq!(*step, 4);
    let (whole, undisturbed) = of(true, None);
    assert_eq!((whole.status, whole.steps), (Status::Finished, 9));
    let (gone_on, rest) = of(true, Some(state));
    assert_eq!((gone_on.status, gone_on.steps), (Status::Finished, 9));
    assert_eq!(rest.metrics, undisturbed.metrics[4..]);
    assert_eq!(of(false, Some(state)).0.steps, 4, "with its stop rules it stays stopped");
}

/// A training state contains the decision of its last evaluation, so a stopped trial stays stopped.
#[test]
fn patience_ends_a_trial_at_the_same_step_from_every_checkpoint() {
    let (checkpoint, data) = tiny(20);
    let mut config = config();
    config.length = Length::Steps(50);
    config.eval_every = FractionOrSteps(2.0);
    // An accuracy cannot rise by more than one.
    config.stop.patience = Some(Patience { metric: Some(Metric::Accuracy), evals: 3, min_delta: 1.0 });
    let train = |resume: Option<&[u8]>| {
        let mut kept = Recorder { keep: Some(Keep::All), ..Recorder::default() };
        let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), resume, &mut kept).unwrap();
        assert_eq!((outcome.status, outcome.steps), (Status::Stopped, 6));
        assert!(outcome.reason.unwrap().contains("for 3 evaluations"));
        kept
    };
    let whole = train(None);
    assert!(whole.states.len() > 1);
    assert_eq!(whole.states.last().unwrap().0, 6);
    for (step, _, state) in &whole.states {
        let resumed = train(Some(state));
        assert_eq!(resumed.metrics.len() as u64, 6 - step, "from step {step}");
    }
}

#[test]
fn the_best_checkpoint_is_kept_on_request() {
    let (checkpoint, data) = tiny(20);
    let mut config = config();
    config.eval_every = FractionOrSteps(2.0);
    let mut kept = Recorder { keep: Some(Keep::Best), ..Recorder::default() };
    let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 1), None, &mut kept).unwrap();
    let (step, best, _) = kept.states.last().unwrap();
    assert!(*best && Some(*step) == outcome.best_eval_step);
}

#[test]
fn the_weights_of_the_best_evaluation_are_handed_over() {
    let (checkpoint, data) = tiny(20);
    let mut config = config();
    config.eval_every = FractionOrSteps(2.0);
    let train = |kept: &mut Recorder, resume| {
        kept.keeps_weights = true;
        train(&config, &data, &mut checkpoint.engine(&config, 3, 1), resume, kept)
    };
    let mut whole = Recorder::default();
    train(&mut whole, None).unwrap();
    assert_eq!(whole.weights.len(), 1, "once, at the end");
    let mut states = Recorder { keep: Some(Keep::Best), ..Recorder::default() };
    train(&mut states, None).unwrap();
    let of_state = |state: &[u8]| {
        let keep = |name: &str| (!name.starts_with("adamw.")).then(|| name.to_owned());
        convert(state, WeightType::F32, keep).unwrap()
    };
    let best = of_state(&states.states.last().unwrap().2);
    assert!(of_state(&whole.weights[0]) == best, "the same as in the best training state");
    let mut resumed = Recorder { stop_after: Some(5), ..Recorder::default() };
    assert!(matches!(train(&mut resumed, None), Err(TrainError::Interrupted)));
    assert_eq!(resumed.weights.len(), 1, "before the checkpoint");
    resumed.stop_after = None;
    let state = resumed.states.remove(0).2;
    train(&mut resumed, Some(&state)).unwrap();
    assert!(of_state(resumed.weights.last().unwrap()) == best, "an interruption changes nothing");
}

#[test]
fn a_small_model_memorises_its_training_set() {
    let (checkpoint, data) = tiny(8);
    let mut config = config();
    config.model.pooling = Some(Pooling::Cls);
    config.length = Length::Epochs(25.0);
    let mut kept = Recorder::default();
    let outcome = train(&config, &data, &mut checkpoint.engine(&config, 3, 2), None, &mut kept).unwrap();
    assert!(kept.evals.last().unwrap().train_probe_loss < 0.1, "{outcome:?}");
    assert!((kept.metrics.last().unwrap().epoch - 25.0).abs() < 1e-9);
}

#[test]
fn tokens_without_an_embedding_are_refused() {
    let checkpoint = Checkpoint::tiny();
    let bert = checkpoint.network(&config(), 3);
    let message = |tokens: Tokens| bert.check(&tokens).unwrap_err().to_string();
    let long = Tokens::whole(vec![1; 200], vec![0; 200], vec![0, 200]);
    insta::assert_snapshot!(message(long), @"a text has 200 tokens, but the checkpoint supports at most 128: set data.max_length to 128 or less");
    let foreign = Tokens::whole(vec![9000], vec![0], vec![0, 1]);
    insta::assert_snapshot!(message(foreign), @"token id 9000 is out of range: the model has 8192 embeddings. tokenizer.json does not match the checkpoint");
    let pair = Tokens::whole(vec![1], vec![2], vec![0, 1]);
    assert!(message(pair).contains("text_pair"));
}

/// The device backend on the CPU gives the same losses up to rounding, and can resume.
#[test]
fn the_device_backend_trains_like_the_kernels() {
    let kernels = run(&busy(), 1);
    let (checkpoint, data) = tiny(40);
    let engine = || {
        let model = Network { backend: Backend::Candle, ..checkpoint.network(&busy(), 3) };
        Engine::new(model, OptimizerSettings::new(&busy()), 1).unwrap()
    };
    let mut kept = Recorder { stop_after: Some(4), ..Recorder::default() };
    assert!(matches!(train(&busy(), &data, &mut engine(), None, &mut kept), Err(TrainError::Interrupted)));
    kept.stop_after = None;
    let state = kept.states.remove(0).2;
    train(&busy(), &data, &mut engine(), Some(&state), &mut kept).unwrap();
    assert_eq!(kept.metrics.len(), kernels.metrics.len());
    for (a, b) in kept.metrics.iter().zip(&kernels.metrics) {
        assert!((a.train_loss - b.train_loss).abs() < 1e-4 * b.train_loss, "{a:?} and {b:?}");
        assert!((a.grad_norm - b.grad_norm).abs() < 1e-3 * b.grad_norm, "{a:?} and {b:?}");
    }
    for (a, b) in kept.evals.iter().zip(&kernels.evals) {
        assert!((a.eval_loss - b.eval_loss).abs() < 1e-4 * b.eval_loss, "{a:?} and {b:?}");
    }
}

/// From a configuration and files to an outcome, with augmentation, interrupted in the second epoch and resumed.
#[test]
fn a_job_runs_from_files_to_an_outcome_and_resumes() {
    let mut config = on_disk();
    config.augmentation = vec![
        crate::trial::Augmentation::RandomDeletion { rate: 0.2 },
        crate::trial::Augmentation::TokenCutoff { rate: 0.2 },
        crate::trial::Augmentation::Mixup { alpha: 0.5 },
    ];
    let job = job(&config);
    let mut whole = Recorder::default();
    let outcome = super::train(job, &mut whole).unwrap();
    assert_eq!((outcome.status, outcome.steps), (Status::Finished, 8));
    assert_eq!(outcome.labels, ["negative", "neutral", "positive"]);
    assert!(outcome.tokens_per_second > 0.0);
    assert_eq!(whole.states.iter().map(|state| state.0).collect::<Vec<_>>(), [3, 6]);
    let mut kept = Recorder { stop_after: Some(5), ..Recorder::default() };
    assert!(matches!(super::train(job, &mut kept), Err(TrainError::Interrupted)));
    kept.stop_after = None;
    let state = kept.states.pop().unwrap().2;
    super::train(super::Job { resume: Some(&state), threads: 4, ..job }, &mut kept).unwrap();
    assert_eq!((&whole.metrics, &whole.evals), (&kept.metrics, &kept.evals));
    for left_out in 0..3 {
        let mut fewer = config.clone();
        fewer.augmentation.remove(left_out);
        let mut other = Recorder::default();
        super::train(super::Job { config: &fewer, ..job }, &mut other).unwrap();
        assert_ne!(other.metrics, whole.metrics, "each augmentation has an effect");
    }
}

fn with_lora() -> TrialConfig {
    let mut config = on_disk();
    let targets = ["query", "value", "output.dense"].map(str::to_owned).into();
    config.model.lora = Some(LoraConfig { r: 4, targets, ..LoraConfig::default() });
    config
}

#[test]
fn lora_trains_only_its_changes_and_resumes_with_the_same_bits() {
    let config = with_lora();
    let job = job(&config);
    let mut whole = Recorder { keep: Some(Keep::Last), ..Recorder::default() };
    super::train(super::Job { threads: 1, ..job }, &mut whole).unwrap();
    let mut kept = Recorder { stop_after: Some(4), keep: Some(Keep::Last), ..Recorder::default() };
    assert!(matches!(super::train(super::Job { threads: 3, ..job }, &mut kept), Err(TrainError::Interrupted)));
    kept.stop_after = None;
    let state = kept.states.pop().unwrap().2;
    super::train(super::Job { resume: Some(&state), threads: 2, ..job }, &mut kept).unwrap();
    assert_eq!((&whole.metrics, &whole.evals, &whole.diagnostics), (&kept.metrics, &kept.evals, &kept.diagnostics));
    let state = tensors(&whole.states.last().unwrap().2);
    assert_eq!(state, tensors(&kept.states.last().unwrap().2));
    // The file holds some of them in f16.
    let before = convert(&Checkpoint::tiny().weights, WeightType::F32, |name| Some(name.to_owned())).unwrap();
    let before: BTreeMap<String, Vec<u8>> = tensors(&before).into_iter().collect();
    for (name, bytes) in &state {
        let is_trained = name.contains(".lora_") || name.starts_with("classifier");
        if let Some(old) = before.get(name) {
            assert_eq!(old != bytes, is_trained, "{name}");
        }
        // Only what is trained has moments.
        let has_moments =
            state.iter().any(|(other, _)| *other == format!("adamw.exp_avg.{}", name.trim_start_matches("bert.")));
        assert!(name.starts_with("adamw.") || has_moments == is_trained, "{name}");
    }
}

/// An adapter that is written is read back, and the merged weights give the same scores as weights and changes.
#[test]
fn an_adapter_is_written_read_and_merged() {
    let config = with_lora();
    let lora = config.model.lora.clone().unwrap();
    let mut kept = Recorder { keep: Some(Keep::Last), ..Recorder::default() };
    super::train(job(&config), &mut kept).unwrap();
    let state = &kept.states.last().unwrap().2;
    let trained =
        convert(state, WeightType::F32, |name| (!name.starts_with("adamw.")).then(|| name.to_owned())).unwrap();
    let files = super::peft::files(&trained, &lora, "base").unwrap();
    assert_eq!(super::peft::read(&files[0].1).unwrap(), lora);
    assert!(tensors(&files[1].1).iter().all(|(name, _)| name.starts_with("base_model.model.")));
    let (mut checkpoint, data) = tiny(0);
    let scores =
        |checkpoint: &Checkpoint, config: &TrialConfig| logits(&data, &mut checkpoint.engine(config, 3, 1), 20);
    let base = scores(&checkpoint, &config);
    checkpoint.adapter = Some(files[1].1.clone());
    let with_adapter = scores(&checkpoint, &config);
    assert_ne!(base, with_adapter);
    let merged =
        Checkpoint { weights: super::peft::merge(&trained, &lora).unwrap(), adapter: None, ..Checkpoint::tiny() };
    let plain =
        TrialConfig { model: crate::trial::ModelConfig { lora: None, ..config.model.clone() }, ..config.clone() };
    for (merged, beside) in scores(&merged, &plain).iter().zip(&with_adapter) {
        assert!((merged - beside).abs() < 1e-4, "{merged} merged, {beside} beside the weights");
    }
    let other = LoraConfig { r: 2, ..lora.clone() };
    insta::assert_snapshot!(other.mismatch(&lora).unwrap(), @"model.lora has r 2, alpha 16, rslora false, targets output.dense, query, value, but the adapter in the checkpoint's folder has r 4, alpha 16, rslora false, targets output.dense, query, value");
    assert_eq!(lora.mismatch(&lora), None);
}

/// Networks without an encoder start from the table of the tiny checkpoint.
fn networks() -> [Architecture; 4] {
    let bilstm = |layers, pooling| Architecture::Bilstm { hidden: 12, layers, pooling };
    [
        Architecture::BagOfWords { hidden: 8 },
        Architecture::Textcnn { kernels: vec![2, 3], filters: 6 },
        bilstm(1, LstmPooling::Max),
        bilstm(2, LstmPooling::Last),
    ]
}

#[test]
fn networks_without_an_encoder_train_and_resume_with_the_same_bits() {
    for architecture in networks() {
        let mut config = on_disk();
        config.model.architecture = architecture;
        let job = job(&config);
        let mut whole = Recorder { keep: Some(Keep::Last), ..Recorder::default() };
        let outcome = super::train(super::Job { threads: 1, ..job }, &mut whole).unwrap();
        assert_eq!(outcome.status, Status::Finished);
        let losses: Vec<f32> = whole.evals.iter().map(|row| row.eval_loss).collect();
        assert!(losses.first() != losses.last(), "{losses:?}");
        let mut kept = Recorder { stop_after: Some(4), keep: Some(Keep::Last), ..Recorder::default() };
        assert!(matches!(super::train(super::Job { threads: 3, ..job }, &mut kept), Err(TrainError::Interrupted)));
        kept.stop_after = None;
        let state = kept.states.pop().unwrap().2;
        super::train(super::Job { resume: Some(&state), threads: 2, ..job }, &mut kept).unwrap();
        assert_eq!((&whole.metrics, &whole.evals, &whole.diagnostics), (&kept.metrics, &kept.evals, &kept.diagnostics));
        let last = |kept: &Recorder| tensors(&kept.states.last().unwrap().2);
        assert_eq!(last(&whole), last(&kept));
    }
}

#[test]
fn a_network_without_an_encoder_starts_from_the_vectors_of_the_checkpoint() {
    let checkpoint = Checkpoint::tiny();
    let facts = super::model_facts(&fixture("finetune-tiny/checkpoint").display().to_string()).unwrap();
    for architecture in networks() {
        let mut config = config();
        config.model.architecture = architecture.clone();
        let table = |network: &Network| super::optim::values(&network.token_embeddings().value).unwrap();
        let network = checkpoint.network(&config, 3);
        let names: Vec<&str> = network.parameters.iter().map(|parameter| parameter.file_name.as_str()).collect();
        assert!(names.contains(&"embeddings.weight") && names.contains(&"classifier.bias"), "{names:?}");
        let encoder = checkpoint.network(&super::testing::config(), 3);
        assert!(table(&network) == table(&encoder), "{architecture:?}");
        let classifier = network.parameters.iter().filter(|parameter| parameter.name.starts_with("classifier"));
        let all: usize = network.parameters.iter().map(|parameter| parameter.value.elem_count()).sum();
        let counted = all - classifier.map(|parameter| parameter.value.elem_count()).sum::<usize>();
        assert_eq!(facts.of_network(&architecture).parameters, counted as u64, "{architecture:?}");
        config.model.embeddings.vectors = Vectors::Random;
        assert!(table(&checkpoint.network(&config, 3)) != table(&encoder));
        config.model.pooling = Some(Pooling::Mean);
        let wrong =
            Network::load(&checkpoint.config, &[&checkpoint.weights], &config.model, 3, 1, &candle_core::Device::Cpu);
        assert!(wrong.unwrap_err().to_string().contains("model.pooling"));
    }
}

/// The control run of a probe with the trial's own seed equals the trial's own continuation, bit for bit.
#[test]
fn a_fork_equals_the_continuation_of_its_trial() {
    let of = crate::trial::TrialId::parse("0123456789ab").unwrap();
    let probe = |kind, step| Some(crate::trial::Probe { trial: of.clone(), step, kind });
    let mut config = on_disk();
    config.augmentation = vec![crate::trial::Augmentation::RandomDeletion { rate: 0.2 }];
    (config.scheduler, config.warmup) = (crate::trial::Scheduler::Constant, FractionOrSteps(0.0));
    let job = job(&config);
    let mut whole = Recorder::default();
    super::train(job, &mut whole).unwrap();
    let state = whole.states[0].2.clone();
    let mut control = config.clone();
    (control.probe, control.length) = (probe(ProbeKind::Control, 3), Length::Steps(5));
    let curve =
        |kept: &Recorder| kept.metrics.iter().map(|row| (row.epoch, row.train_loss, row.grad_norm)).collect::<Vec<_>>();
    let fork = |config: &TrialConfig, start: &[u8], stop_after| {
        let job = super::Job { config, start: Some(start), ..job };
        let mut kept = Recorder { stop_after, ..Recorder::default() };
        if super::train(job, &mut kept).is_err() {
            kept.stop_after = None;
            let state = kept.states.pop().unwrap().2;
            super::train(super::Job { resume: Some(&state), ..job }, &mut kept).unwrap();
        }
        assert_eq!(kept.metrics.iter().map(|row| row.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        curve(&kept)
    };
    assert_eq!(fork(&control, &state, None), curve(&whole)[3..]);
    assert_eq!(fork(&control, &state, Some(2)), curve(&whole)[3..], "interrupted and resumed");
    // The trial trained again up to there gives the state as well.
    let approach = TrialConfig { probe: probe(ProbeKind::Approach, 3), ..config.clone() };
    let mut made = Recorder { keep: Some(crate::trial::Keep::Last), ..Recorder::default() };
    super::train(super::Job { config: &approach, ..job }, &mut made).unwrap();
    assert_eq!(curve(&made), curve(&whole)[..3]);
    assert_eq!(fork(&control, &made.states.last().unwrap().2, None), curve(&whole)[3..]);
    let other = TrialConfig { seed: config.seed + 1, ..control.clone() };
    assert_ne!(fork(&other, &state, None), curve(&whole)[3..]);
    // A training state of another step, an invalid one and a missing one: nothing is trained.
    for (step, start) in [(4, Some(&state[..])), (3, Some(&b"no state"[..])), (3, None)] {
        let config = TrialConfig { probe: probe(ProbeKind::Control, step), ..control.clone() };
        let ended = super::train(super::Job { config: &config, start, ..job }, &mut Recorder::default());
        let Err(TrainError::Input(message)) = ended else { panic!("{ended:?}") };
        assert!(message.contains("run `plateau probe` again"), "{message}");
    }
}

#[test]
fn a_one_batch_probe_ends_when_the_batch_is_memorised() {
    let mut config = on_disk();
    let trial = crate::trial::TrialId::parse("0123456789ab").unwrap();
    config.probe = Some(crate::trial::Probe { trial, step: 3, kind: ProbeKind::OneBatch });
    (config.scheduler, config.warmup) = (crate::trial::Scheduler::Constant, FractionOrSteps(0.0));
    (config.length, config.batch_size, config.grad_accumulation) = (Length::Steps(400), 16, 1);
    (config.lr, config.model.dropout, config.eval_every) = (2e-3, Some(0.0), FractionOrSteps(10.0));
    let job = super::Job { threads: 1, ..job(&config) };
    let outcome = super::train(job, &mut Recorder::default()).unwrap();
    assert_eq!(outcome.status, Status::Stopped, "{outcome:?}");
    assert_eq!(outcome.reason.as_deref(), Some("memorised its 16 examples"));
    assert!(outcome.steps < 400 && outcome.best_accuracy >= Some(0.95));
    let frozen = TrialConfig { lr: 1e-12, length: Length::Steps(20), ..config.clone() };
    let outcome = super::train(super::Job { config: &frozen, ..job }, &mut Recorder::default()).unwrap();
    assert_eq!(outcome.status, Status::Finished, "without updates the batch cannot be memorised");
}

/// A trial that resumes after a reduction of the learning rate keeps the reduced rate.
#[test]
fn a_learning_rate_reduced_on_a_plateau_stays_reduced_after_a_resume() {
    let mut config = on_disk();
    config.eval_every = FractionOrSteps(1.0);
    let (patience, threshold) = (1, 0.9);
    config.scheduler =
        crate::trial::Scheduler::ReduceOnPlateau { factor: 0.5, patience, threshold, cooldown: 1, min_lr: 0.0 };
    let job = super::Job {
        config: &config,
        device: crate::trial::Device::Cpu,
        threads: 1,
        checkpoint_every: crate::trial::CheckpointEvery::Steps(1),
        micro_batch_tokens: MICRO_BATCH_TOKENS,
        micro_batch_splits: 0,
        ignores_stop_rules: false,
        sources: None,
        resume: None,
        start: None,
        cache: &NoCache,
    };
    let mut whole = Recorder::default();
    super::train(job, &mut whole).unwrap();
    let rates: Vec<f64> = whole.metrics.iter().map(|row| row.lr / config.lr).collect();
    assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25], "reduces after evaluations 3, 6 and 9");
    for stop in [2, 3, 4, 6] {
        let mut kept = Recorder { stop_after: Some(stop), ..Recorder::default() };
        assert!(matches!(super::train(job, &mut kept), Err(TrainError::Interrupted)));
        kept.stop_after = None;
        let state = kept.states.pop().unwrap().2;
        super::train(super::Job { resume: Some(&state), ..job }, &mut kept).unwrap();
        assert_eq!((&whole.metrics, &whole.evals), (&kept.metrics, &kept.evals), "stopped after {stop}");
        assert_eq!(whole.diagnostics, kept.diagnostics, "stopped after {stop}");
    }
}

#[test]
fn the_facts_of_the_embedded_model_are_right() {
    let facts = super::model_facts("embedded:minilm-l3").unwrap();
    assert_eq!((facts.layers, facts.hidden, facts.heads, facts.vocabulary), (3, 384, 12, 8192));
    assert_eq!((facts.parameters, facts.has_pooler, facts.dropout), (8_667_264, false, Some(0.1)));
    assert_eq!(facts.hash.len(), 64);
}
