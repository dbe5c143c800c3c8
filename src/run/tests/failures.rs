//! Sweeps whose memory, devices or disk fail.

use super::*;

/// The first trial has too little memory until its micro-batches are halved.
#[test]
fn a_trial_out_of_memory_runs_alone_and_then_with_less() {
    let mut bench = Bench::new(&["greedy", "fine", "also-fine"]);
    bench.config.retries = 2;
    let mut watch = Watch::default();
    let summary = bench.run_on(processes(), &mut watch).unwrap();
    assert_eq!((summary.finished, summary.exit_code()), (3, 0), "{:?}", summary.failed);
    assert_eq!(bench.endings()["greedy"], ["attempt failed", "attempt failed", "finished"]);
    let greedy = &bench.plan.trials[0].id;
    let policies = watch.events.iter().filter_map(|event| match event {
        Event::OomPolicyApplied { trial, attempt, oom_policy } if trial == greedy => {
            Some((*attempt, oom_policy.to_string()))
        }
        _ => None,
    });
    let expected = [(2, "alone".to_owned()), (3, "alone, with micro-batches 1/2 as large".to_owned())];
    assert_eq!(policies.collect::<Vec<_>>(), expected);
    // From its second attempt to its end no other trial ran.
    let mut running = HashSet::new();
    for event in &watch.events {
        match event {
            Event::AttemptClaimed { trial, attempt, .. } => {
                assert!(running.is_empty() || !running.contains(greedy) || *attempt == 1, "{running:?}");
                running.insert(trial.clone());
                assert!(trial != greedy || *attempt == 1 || running.len() == 1, "{running:?}");
            }
            Event::AttemptFailed { trial, .. } | Event::TrialFinished { trial, .. } => drop(running.remove(trial)),
            _ => {}
        }
    }
    let record = bench.dir().trial(greedy).record().unwrap().unwrap();
    assert_eq!(record.made_by.micro_batch_splits, 1);
    let sweep = survey(&bench.plan, &bench.dir()).unwrap();
    assert!(sweep.runs[0].memory_note().is_some() && sweep.runs[1].memory_note().is_none());
}

#[test]
fn devices_that_keep_failing_end_the_run_and_fail_no_trial() {
    let mut bench = Bench::new(&["device-fault"; 3]);
    bench.config.retries = 9;
    let summary = bench.run();
    assert_eq!((summary.exit_code(), summary.finished, summary.failed.len(), summary.left), (1, 0, 0, 3));
    insta::assert_snapshot!(summary.next_step().unwrap(), @"3 of 3 trials are left, but no device works any more: cpu (slot 0): device fault: device: fell off the bus; cpu (slot 1): device fault: device: fell off the bus. Check the device, then run the same command again: finished trials stay finished, the others continue from their last checkpoint.");
    let again = bench.run();
    assert_eq!((again.left, again.retired_slots.len()), (3, 2), "the next run tries both again");
}

#[test]
fn a_full_disk_ends_the_run_and_fails_no_trial() {
    let bench = Bench::new(&["full-disk", "fine"]);
    let error = bench.run_with(&mut Watch::default()).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (3, "cannot write results: no storage space"));
    assert_eq!(bench.endings()["full-disk"], ["interrupted"]);
}
