//! Searches of toys whose process is killed, with one, two and eight slots in turn: in the end they have drawn and measured
//! the same as an undisturbed search with one slot.
//!
//! Takes some seconds; `just torture-search KILLS` kills more often (`PLATEAU_TORTURE_KILLS`). A failure prints its seed; set
//! it as `PLATEAU_TORTURE_SEED` to repeat the run.

use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::dice::{Dice, setting};
use crate::plan::tests::facts;
use crate::plan::{SearchPlan, expand_after};
use crate::spec::parse;

const FOLDER: &str = "PLATEAU_TEST_SEARCH_IN";
const SLOTS: &str = "PLATEAU_TEST_SLOTS";
const RULE: &str = "PLATEAU_TEST_RULE";

/// What stops trials: nothing, successive halving, or the median.
const RULES: [&str; 3] = ["", "asha: {min_steps: 5, eta: 2}", "median: {min_trials: 3, min_steps: 5}"];

/// A search that learns from its results, with one of [`RULES`].
fn sweep(rule: usize) -> String {
    format!(
        "model: {{from: fine}}\nsteps: 20\nspace: {{lr: {{log: [1e-6, 1e-2]}}, weight_decay: {{uniform: [0, 1]}}}}\n\
         search: {{trials: 24, startup: 4, ahead: 8}}\nstop: {{{}}}",
        RULES[rule]
    )
}

/// Runs the search in `folder` to its end, with what is there.
fn run(folder: &Path, slots: usize, rule: usize) {
    let spec = parse("a.yaml", "toys", &sweep(rule), &[]).unwrap();
    let facts = facts(&spec);
    let mut bench = Bench::new(&[]);
    (bench.results, bench.slots) = (Results::new(folder).unwrap(), slots);
    bench.config.stop = spec.run.stop.clone();
    let records = read_journal(&bench.dir().journal()).map(|journal| journal.records).unwrap_or_default();
    bench.plan = expand_after(&spec, &facts, &[], Event::suggested(&records)).unwrap();
    let search = SearchPlan::new(&spec, &facts, &[], Event::suggested(&records)).unwrap();
    let summary = bench.run_search(bench.engine(), Some(&RefCell::new(search)), &mut Watch::default()).unwrap();
    assert_eq!((summary.finished, summary.left), (24, 0));
}

/// The process that is killed.
#[test]
fn helper_search() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        run(Path::new(&folder), setting(SLOTS).unwrap() as usize, setting(RULE).unwrap() as usize);
    }
}

/// What a search has done: its table, where nothing was stopped; what was drawn; and all judgements.
#[derive(Debug, PartialEq)]
struct Done {
    ids: Vec<String>,
    table: Option<String>,
    drawn: Vec<(u64, Vec<TrialId>)>,
    judged: Vec<(TrialId, u64, bool)>,
}

fn done(folder: &Path, rule: usize) -> Done {
    let dir = Results::new(folder).unwrap().sweep("toys").unwrap();
    let records = read_journal(&dir.journal()).unwrap().records;
    let ids = |trials: &[Trial]| trials.iter().map(|trial| trial.id.clone()).collect();
    let mut judged: Vec<(TrialId, u64, bool)> = Vec::new();
    for record in &records {
        if let Event::TrialJudged { trial, judgement } = &record.event {
            let measured = dir.trial(trial).outcome().unwrap().map(|outcome| outcome.steps);
            assert!(measured >= Some(judgement.step), "{trial} was judged at step {}: {measured:?}", judgement.step);
            judged.push((trial.clone(), judgement.step, judgement.stops));
        }
    }
    judged.sort();
    let table = fs::read_to_string(dir.trials_csv()).unwrap();
    Done {
        ids: table.lines().map(|row| row.split(',').next().unwrap_or_default().to_owned()).collect(),
        // How soon a trial sees that it is stopped is chance.
        table: (rule == 0).then_some(table),
        drawn: Event::suggested(&records).map(|(number, _, trials)| (number, ids(trials))).collect(),
        judged,
    }
}

/// Kills a search until it ends by itself. Returns the number of kills.
fn torture(folder: &Path, rule: usize, dice: &mut Dice) -> u64 {
    let mut kills = 0;
    loop {
        let slots = [1, 2, 8][dice.below(3) as usize];
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["run::tests::torture_search::helper_search", "--exact"])
            .env(FOLDER, folder)
            .env(SLOTS, slots.to_string())
            .env(RULE, rule.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each lives longer than the one before, for slow machines.
        let end = Instant::now() + Duration::from_millis(20 + dice.below(100) + 5 * kills);
        let ended = loop {
            match process.try_wait().unwrap() {
                Some(ended) => break Some(ended),
                None if Instant::now() > end => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if let Some(ended) = ended {
            assert!(ended.success(), "{ended}");
            return kills;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        kills += 1;
    }
}

#[test]
fn a_search_survives_kills() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    println!("PLATEAU_TORTURE_SEED={seed}");
    let (mut dice, wanted, start) = (Dice(seed), setting("PLATEAU_TORTURE_KILLS").unwrap_or(10), Instant::now());
    // In memory if possible: the disk is slow and not part of this run.
    let folder = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let undisturbed = |slots: usize, rule: usize| {
        let folder = folder();
        run(folder.path(), slots, rule);
        done(folder.path(), rule)
    };
    let expected = [0, 1, 2].map(|rule| undisturbed(1, rule));
    for (rule, expected) in expected.iter().enumerate() {
        assert_eq!(undisturbed(8, rule), *expected, "eight slots");
        assert_eq!(
            expected.judged.iter().any(|(_, _, stops)| *stops),
            rule > 0,
            "what is stopped by {:?}",
            RULES[rule]
        );
    }
    let (mut kills, mut searches) = (0, 0);
    while kills < wanted {
        let (folder, rule) = (folder(), searches % RULES.len());
        kills += torture(folder.path(), rule, &mut dice);
        assert_eq!(done(folder.path(), rule), expected[rule], "after {kills} kills");
        searches += 1;
    }
    println!("{kills} kills survived over {searches} searches in {:?}", start.elapsed());
}
