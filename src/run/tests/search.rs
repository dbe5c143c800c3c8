//! Searches of toys.

use std::cell::RefCell;

use super::*;
use crate::plan::tests::facts;
use crate::plan::{SearchPlan, expand_after};
use crate::spec::parse;

/// The next configurations are drawn while the search runs. A search that is interrupted comes to the same ones.
#[test]
fn a_search_draws_its_trials() {
    let text =
        "model: {from: fine}\nsteps: 20\nspace: {lr: {log: [1e-6, 1e-3]}}\nsearch: {trials: 8, startup: 3, ahead: 2}";
    let spec = parse("a.yaml", "toys", text, &[]).unwrap();
    let facts = facts(&spec);
    let run = |interrupts: bool| {
        let mut bench = Bench::new(&[]);
        bench.plan = expand_after(&spec, &facts, &[], []).unwrap();
        assert_eq!(bench.plan.trials.len(), 3);
        let mut runs = 0;
        loop {
            let records = read_journal(&bench.dir().journal()).unwrap().records;
            let search = RefCell::new(SearchPlan::new(&spec, &facts, &[], Event::suggested(&records)).unwrap());
            let interrupt = (interrupts && runs == 0).then_some(Press::AtEvent(16));
            let mut watch = Watch { interrupt, ..Watch::default() };
            let summary = bench.run_search(bench.engine(), Some(&search), &mut watch).unwrap();
            runs += 1;
            assert_eq!(summary.finished + summary.left + summary.undrawn, 8, "all trials of the search count");
            if !summary.interrupted {
                assert_eq!((summary.finished, summary.left), (8, 0));
                let sweep = survey(&bench.plan, &bench.dir()).unwrap();
                let order: Vec<(TrialId, f64)> =
                    sweep.runs.iter().map(|run| (run.trial.id.clone(), run.trial.config.lr)).collect();
                return (order, runs);
            }
        }
    };
    let (undisturbed, _) = run(false);
    assert_eq!(undisturbed.len(), 8);
    let (interrupted, runs) = run(true);
    assert_eq!((interrupted, runs), (undisturbed, 2));
}
