//! Schedules with their warm-up, and the distinct ones of a sweep.

use insta::assert_snapshot;

use super::{ids, mistakes, plan, table};
use crate::plan::{Plan, PlannedSchedule, schedules};
use crate::spec::{ResolvedSources, parse};
use crate::trial::AxisValue;

#[test]
fn a_schedule_with_a_rise_takes_the_place_of_the_default_warmup_alone() {
    let text = "grid: {scheduler: [linear, one_cycle]}";
    let warmups = |plan: &Plan| plan.trials.iter().map(|trial| trial.config.warmup.0).collect::<Vec<_>>();
    assert_eq!(warmups(&plan(text)), [0.1, 0.0]);
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    assert_eq!(ids(&spec.to_yaml(&ResolvedSources::default()).unwrap()), ids(text), "as run, it reads back");
    assert_eq!(ids("scheduler: one_cycle\nwarmup: 0"), ids("scheduler: one_cycle"));
    assert_eq!(
        warmups(&plan("warmup: 5\ngrid: {scheduler: [linear, one_cycle]}\nexclude: [{scheduler: one_cycle}]")),
        [5.0]
    );
    assert_snapshot!(mistakes("warmup: 5\ngrid:\n  scheduler: [linear, one_cycle]\n"), @r"
    a.yaml:1:9: `one_cycle` rises on its own and takes no warm-up
      1 | warmup: 5
        |         ^ write 0, or leave `warmup` out: its default is 0 with this schedule
    ");
}

#[test]
fn schedules_that_do_not_fit_are_refused_before_training() {
    let check = |text: &str, expected: &str| assert!(mistakes(text).contains(expected), "{}", mistakes(text));
    let decay = "steps: 100\nscheduler: {name: warmup_stable_decay, decay:";
    check(&format!("{decay} 101}}"), "a.yaml:2:12: a decay of 101 steps is longer than the run of 100");
    check(&format!("{decay} 95}}"), "a warm-up of 10 and a decay of 95 steps do not fit into 100 steps");
    check("scheduler: warmup_stable_decay", "`warmup_stable_decay` needs `decay`");
    check("scheduler: cyclical", "`cyclical` needs `min_lr`");
    check("scheduler: {name: cyclical, min_lr: 1e-6}", "`cyclical` needs `step_up`");
    check("scheduler: {name: cyclical, min_lr: 1e-3, step_up: 5}", "is 1e-3, above the peak `lr` of 3e-5");
    check("scheduler: cosine_with_min_lr", "needs `min_lr`");
    check("scheduler: {name: cosine_with_min_lr, min_lr: 0, min_lr_ratio: 0}", "keep one of them");
    check("scheduler: {name: polynomial, end_lr: 1}", "`end_lr` of `polynomial` is 1e0, above");
    check("scheduler: {name: reduce_on_plateau, min_lr: 1}", "`min_lr` of `reduce_on_plateau`");
    let several = "scheduler: warmup_stable_decay\ngrid: {scheduler.decay: [0.2, 30]}";
    assert_snapshot!(table(&plan(several)), @r"
    scheduler.decay=0.2
    scheduler.decay=30
    ");
}

#[test]
fn the_schedules_of_a_sweep_are_its_distinct_ones() {
    let text =
        "grid: {lr: [1e-4, 3e-5], batch_size: [8, 16], scheduler: [linear, {name: cosine, cycles: 1}]}\nseeds: [1, 2]";
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    let names = |schedules: &[PlannedSchedule]| {
        let name =
            |values: &[(String, AxisValue)]| values.iter().map(|(_, v)| v.text.clone()).collect::<Vec<_>>().join(" ");
        schedules.iter().map(|schedule| name(&schedule.values)).collect::<Vec<_>>()
    };
    let found = schedules(&spec, 50).unwrap();
    assert_eq!(names(&found), ["1e-4 linear", "1e-4 cosine 1", "3e-5 linear", "3e-5 cosine 1"]);
    assert!(found.iter().all(|schedule| schedule.steps == 50));
    let own = plan(text).schedules();
    assert_eq!(own.len(), 8);
    assert_eq!(names(&own)[0], "1e-4 linear 1242");
    let bad = parse("a.yaml", "a", "warmup: 60", &[]).unwrap();
    assert!(schedules(&bad, 50).unwrap_err().to_string().contains("longer than the run of 50"));
}
