//! Estimates of time, memory and disk.

use super::facts;
use crate::plan::{Accelerator, Estimate, PastTrial, PlanEstimate, estimate, expand};
use crate::spec::parse;
use crate::trial::{DEVICE_MICRO_BATCH_TOKENS, Keep, MAX_DEVICE_MICRO_BATCH_TOKENS, MICRO_BATCH_TOKENS};

fn estimated(text: &str, past: &[PastTrial], threads: usize) -> Estimate {
    estimated_with(text, past, threads, &[])
}

/// `spans`: tokens that a token sees in each layer.
fn estimated_with(text: &str, past: &[PastTrial], threads: usize, spans: &[Option<usize>]) -> Estimate {
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    let mut facts = facts(&spec);
    for model in &mut facts.models {
        model.facts.attention_spans = spans.to_vec();
    }
    let plan = expand(&spec, &facts).unwrap();
    let (data, model) = facts.of(&plan.trials[0].config).unwrap();
    estimate(&plan.trials[0], data, &model, past, threads, None)
}

#[test]
fn an_estimate_grows_with_the_work() {
    let of = |text| estimated(text, &[], 1);
    let default = of("");
    assert!((10.0..600.0).contains(&default.seconds), "{default:?}");
    assert!((140 << 20..2 << 30).contains(&default.memory) && default.checkpoint == 12 * 8_700_000, "{default:?}");
    assert!(of("epochs: 6").seconds > 1.8 * default.seconds && of("eval_every: 0.1").seconds > default.seconds);
    assert!(of("model: {freeze: 3}").seconds < default.seconds && of("steps: 1").files < default.files);
    assert!(of("batch_size: 64").memory > default.memory);
    assert!(of("grad_accumulation: 4").memory < default.memory);
    assert!(of("task: masked_lm").memory > default.memory + (10 << 20), "scores of the whole vocabulary");
    let beyond_all_buffers = of("batch_size: 3312").memory - of("batch_size: 200").memory;
    assert!(
        beyond_all_buffers < 20 << 20,
        "memory grows with the gradient buffers, not with the batch: {beyond_all_buffers}"
    );
    assert!(estimated("", &[], 2).seconds < default.seconds);
    assert!(of("steps: 1\ndata: {limit: 1}\nbatch_size: 1").seconds > 0.1, "a process has to start");
}

#[test]
fn attention_in_windows_takes_less_memory() {
    let memory = |spans: &[Option<usize>]| estimated_with("data: {max_length: 512}", &[], 1, spans).memory;
    let whole = memory(&[]);
    assert_eq!(memory(&[None; 3]), whole);
    assert_eq!(memory(&[Some(512); 3]), whole);
    // Two layers of three see 64 tokens.
    let windows = memory(&[None, Some(64), Some(64)]);
    let rows = (whole - memory(&[Some(64); 3])) as f64;
    assert!(rows > 0.0 && ((whole - windows) as f64 / rows - 2.0 / 3.0).abs() < 0.01, "{whole} and {windows}");
}

/// Without evaluation to speak of, a trial like the past one takes its tokens over its speed.
#[test]
fn a_past_trial_replaces_the_assumed_speed() {
    let past = |parameters, tokens_per_second| PastTrial {
        parameters,
        tokens_per_second,
        threads: 1,
        peak_memory: Some(1 << 30),
        device_memory: None,
    };
    let list = [past(110_000_000, 300.0), past(8_700_000, 5000.0), past(8_700_001, f64::NAN)];
    let estimate = estimated("steps: 10000\neval_every: 1000000", &list, 1);
    let tokens = 10_000.0 * 32.0 * 25.0;
    let ratio = estimate.seconds / (tokens / 5000.0);
    assert!((1.0..1.02).contains(&ratio), "{ratio}");
    assert_eq!(estimate.memory, 1 << 30);
    let smaller = estimated("steps: 10000\neval_every: 1000000", &list[..1], 1).seconds;
    assert!((smaller / (tokens / (300.0 * 110.0 / 8.7)) - 1.0).abs() < 0.02, "speed scales with size");
}

#[test]
fn a_plan_takes_as_long_as_its_fullest_place() {
    let one =
        |seconds, memory| Estimate { seconds, memory, files: 10, checkpoint: 100 * memory, ..Estimate::default() };
    let list = [one(5.0, 1), one(1.0, 7), one(1.0, 3), one(2.0, 2)];
    let of = |jobs| PlanEstimate::of(&list, jobs, Keep::None);
    assert_eq!(of(2), PlanEstimate { seconds: 5.0, memory: 10, disk: 1040 });
    assert_eq!(of(1), PlanEstimate { seconds: 9.0, memory: 7, disk: 740 });
    assert_eq!(PlanEstimate::of(&list, 2, Keep::Best).disk, 1340, "every trial's checkpoint stays");
    assert_eq!(PlanEstimate::of(&list, 2, Keep::WINNER).disk, 1240, "those that run, and the winner");
    assert_eq!(PlanEstimate::of(&[], 3, Keep::None), PlanEstimate::default());
}

#[test]
fn micro_batches_fill_a_part_of_an_accelerator() {
    let of = |text: &str, share: Option<u64>, past: &[PastTrial]| {
        let spec = parse("a.yaml", "a", text, &[]).unwrap();
        let facts = facts(&spec);
        let plan = expand(&spec, &facts).unwrap();
        let (data, model) = facts.of(&plan.trials[0].config).unwrap();
        let found = estimate(&plan.trials[0], data, &model, past, 1, Some(Accelerator { share }));
        (found.micro_batch_tokens.unwrap(), found.device_memory)
    };
    let (tokens, memory) = of("", Some(80 << 30), &[]);
    assert!(tokens.is_power_of_two() && (MICRO_BATCH_TOKENS..=MAX_DEVICE_MICRO_BATCH_TOKENS).contains(&tokens));
    assert_eq!(of("", Some(u64::MAX), &[]).0, MAX_DEVICE_MICRO_BATCH_TOKENS);
    assert_eq!(of("", Some(1), &[]).0, MICRO_BATCH_TOKENS);
    assert_eq!(of("", None, &[]).0, DEVICE_MICRO_BATCH_TOKENS);
    assert!(of("", Some(2 << 30), &[]).0 < tokens);
    let big = "batch_size: 512";
    assert!(of(big, Some(80 << 30), &[]).1 > memory && of(big, Some(2 << 30), &[]).1 < of(big, Some(80 << 30), &[]).1);
    // A measured trial of the same model replaces the estimate.
    let past = PastTrial {
        parameters: 8_700_000,
        tokens_per_second: 1.0,
        threads: 1,
        peak_memory: None,
        device_memory: Some(3 << 30),
    };
    assert_eq!(of("", Some(80 << 30), &[past]).1, 3 << 30);
    assert_eq!(estimated("", &[past], 1).device_memory, 0, "on the CPU");
}
