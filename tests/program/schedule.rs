//! `plateau schedule`: learning rates as csv and as a figure, from options and from a file.

use std::f64::consts::PI;

use insta::assert_snapshot;

use crate::place::Place;

/// The `step,lr` lines that the program prints.
fn rates(place: &Place, arguments: &str) -> Vec<f64> {
    let ended = place.expect(0, &format!("schedule {arguments}"));
    assert_eq!(ended.err, "", "{arguments}");
    let mut lines = ended.out.lines();
    assert_eq!(lines.next(), Some("step,lr"));
    let numbered = lines.enumerate().map(|(k, line)| {
        let (step, rate) = line.split_once(',').unwrap();
        assert_eq!(step, k.to_string());
        rate.parse().unwrap()
    });
    numbered.collect()
}

/// The first rate, the highest rate with its step, the last rate.
fn shape(rates: &[f64]) -> (f64, (usize, f64), f64) {
    let peak = rates.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
    (rates[0], peak, *rates.last().unwrap())
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-12 * expected.abs(), "{got:e} against {expected:e}");
}

#[test]
fn schedules_of_options() {
    let place = Place::new("");
    let check = |arguments: &str, steps: usize, (first, (at, peak), last): (f64, (usize, f64), f64)| {
        let rates = rates(&place, arguments);
        assert_eq!(rates.len(), steps, "{arguments}");
        let (got_first, (got_at, got_peak), got_last) = shape(&rates);
        assert_eq!(got_at, at, "{arguments}");
        close(got_first, first);
        close(got_peak, peak);
        close(got_last, last);
    };
    let typed =
        |scheduler: &str, others: &str| format!("--set scheduler={scheduler} --set lr=2e-4 --steps 300 {others}");
    check(&typed("linear", "--set warmup=0.1"), 300, (0.0, (30, 2e-4), 2e-4 / 270.0));
    check(&typed("linear", "--set warmup=50"), 300, (0.0, (50, 2e-4), 2e-4 / 250.0));
    check(&typed("cosine", "--set warmup=0.1"), 300, (0.0, (30, 2e-4), 1e-4 * (1.0 + (PI * 269.0 / 270.0).cos())));
    check(&typed("inverse_sqrt", "--set warmup=100"), 300, (0.0, (100, 2e-4), 2e-4 / 2.99_f64.sqrt()));
    // The peak, at 0.3 of 301 steps, and the end lie between two steps.
    let between = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + (PI * share).cos());
    let (peak, last) = (between(8e-6, 2e-4, 89.0 / 89.3), between(2e-4, 8e-10, 209.7 / 210.7));
    check(&typed("one_cycle", ""), 300, (8e-6, (89, peak), last));
    // transformers starts this warm-up at the minimum, not at 0.
    let stable = "--set scheduler.decay=0.2 --set scheduler.min_lr_ratio=0.1 --set warmup=0.1";
    check(&typed("warmup_stable_decay", stable), 300, (2e-5, (240, 2e-4), 2e-5 + 1.8e-4 / 60.0));
}

#[test]
fn schedules_of_a_file() {
    let sweep = "lr: 1e-3\nwarmup: 0\nscheduler: {name: polynomial, power: 2, end_lr: 0}\nsteps: 40\n\
        data: {train: train.tsv, max_length: 32}\nmodel: {from: checkpoint}\n";
    let place = Place::new(sweep);
    let own = rates(&place, "--config sweep.yaml");
    assert_eq!(own.len(), 40);
    own.iter().enumerate().for_each(|(k, rate)| close(*rate, 1e-3 * (1.0 - k as f64 / 40.0).powi(2)));
    assert_eq!(rates(&place, "--config sweep.yaml --set lr=1e-3"), own);
    close(rates(&place, "--config sweep.yaml --set lr=2e-3")[1], 2.0 * own[1]);
    // With --steps, data and checkpoint are not needed.
    place.write("piece.yaml", "lr: 1e-3\nscheduler: constant\nwarmup: 2\ndata: {train: gone.tsv}\n");
    assert_eq!(rates(&place, "--config piece.yaml --steps 4"), [0.0, 5e-4, 1e-3, 1e-3]);
    place.expect(0, "schedule --config piece.yaml --steps 4 -o rates.csv");
    assert_eq!(place.read("rates.csv"), "step,lr\n0,0.0\n1,0.0005\n2,0.001\n3,0.001\n");
    assert!(place.written().is_empty(), "the command writes no results");
}

#[test]
fn several_schedules() {
    let place = Place::new("");
    place.write(
        "several.yaml",
        "lr: 1e-3\nwarmup: 0\ngrid: {scheduler: [linear, constant, {name: cosine, cycles: 1}]}\n",
    );
    let ended = place.expect(0, "schedule --config several.yaml --steps 2");
    assert_snapshot!(ended.out, @r#"
    step,lr,schedule
    0,0.001,"scheduler=linear"
    1,0.0005,"scheduler=linear"
    0,0.001,"scheduler=constant"
    1,0.001,"scheduler=constant"
    0,0.001,"scheduler=cosine 1"
    1,0.0,"scheduler=cosine 1"
    "#);
    place.expect(0, "schedule --config several.yaml --steps 400 --format png -o deep/several.png");
    let figure = std::fs::read(place.path("deep/several.png")).unwrap();
    assert!(figure.starts_with(b"\x89PNG") && figure.len() > 10_000, "{} bytes", figure.len());
    let warned = place.expect(0, "schedule --set scheduler=reduce_on_plateau --steps 2").err;
    assert_snapshot!(warned, @"warning: reduce_on_plateau depends on the evaluation loss. Shown is its learning rate before any reduction");
}

#[test]
fn mistakes() {
    let place = Place::new("scheduler: one_cycle\nwarmup: 0.1\n");
    let message = |arguments: &str| {
        let ended = place.expect(2, &format!("schedule {arguments}"));
        assert_eq!(ended.out, "", "{arguments}");
        place.plain(&ended.err)
    };
    assert_snapshot!(message("--set scheduler=linear"), @"error: the number of steps is missing: add --steps N");
    assert_snapshot!(message("--steps 9 --format png"), @"error: --format png needs a file: add -o schedule.png");
    assert_snapshot!(message("--steps 9 --config gone.yaml"), @"error: gone.yaml: no such file. Sweep files there: sweep.yaml");
    assert_snapshot!(message("--steps 0"), @r"
    error: invalid value '0' for '--steps <N>': 0 is not in 1..=100000000

    For more information, try '--help'.
    ");
    assert_snapshot!(message("--steps 9 --set scheduler=cosin"), @r"
    error: the sweep has a mistake

    --set scheduler=cosin: unknown scheduler `cosin`
        did you mean `cosine`?
    ");
    assert_snapshot!(message("--steps 9 --set scheduler=range_test"), @r"
    error: the sweep has a mistake

    --set scheduler=range_test: unknown scheduler `range_test`
        known: constant, linear, cosine, cosine_with_restarts, cosine_with_min_lr, polynomial, inverse_sqrt, warmup_stable_decay, cyclical, one_cycle, reduce_on_plateau
    ");
    assert_snapshot!(message("--steps 9 --set warmup=10"), @r"
    error: the sweep has a mistake

    --set warmup=10: a warm-up of 10 steps is longer than the run of 9
        shorten it, or write a fraction such as 0.1
    ");
    assert_snapshot!(message("--steps 9 --config sweep.yaml"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:9: `one_cycle` rises on its own and takes no warm-up
      2 | warmup: 0.1
        |         ^^^ write 0, or leave `warmup` out: its default is 0 with this schedule
    ");
    let cyclical = "--set scheduler=cyclical --set scheduler.min_lr=1e-6 --set scheduler.step_up=3 --set warmup=2";
    assert_snapshot!(message(&format!("--steps 9 {cyclical}")), @r"
    error: the sweep has a mistake

    --set warmup=2: `cyclical` rises on its own and takes no warm-up
        write 0, or leave `warmup` out: its default is 0 with this schedule
    ");
}
