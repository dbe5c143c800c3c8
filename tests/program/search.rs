//! Sweeps whose trials are drawn from a space.

use crate::place::{Place, small};

const SWEEP: &str = small!(
    "steps: 2\neval_every: 2\nspace:\n  lr: {log: [1e-5, 1e-3]}\n  scheduler: [linear, constant]\nsearch: {trials: 4, startup: 2, ahead: 1}\n"
);

/// The same with trials that learn something.
const LEARNS: &str = small!(
    "steps: 60\neval_every: 10\nspace:\n  lr: {log: [3e-3, 5e-3]}\n  scheduler: [linear, constant]\nsearch: {trials: 4, startup: 2, ahead: 1}\n"
);

/// The ids of the trials, in order.
fn ids(place: &Place) -> Vec<String> {
    let table = place.read("results/sweep/trials.csv");
    table.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn trials_are_drawn_while_the_sweep_runs_and_a_larger_budget_continues() {
    let place = Place::new(SWEEP);
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.out.contains("2 trials, and up to 2 that tpe draws while the sweep runs"), "{}", planned.out);
    let lines: Vec<Vec<&str>> = planned.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let head = lines.iter().position(|line| line.starts_with(&["#", "id"])).unwrap();
    let by = lines[head].iter().position(|name| *name == "by").unwrap();
    assert!(lines[head + 1][0] == "0" && ["sobol", "random"].contains(&lines[head + 1][by]), "{}", planned.out);
    place.expect(0, "run sweep.yaml --jobs 1");
    let four = ids(&place);
    assert_eq!(four.len(), 4);
    let table = place.read("results/sweep/trials.csv");
    let ends: Vec<&str> = table.lines().map(|line| &line[line.match_indices(',').rev().nth(1).unwrap().0..]).collect();
    assert_eq!(ends, [",number,by", ",0,sobol", ",1,sobol", ",2,tpe", ",3,tpe"]);
    let status = place.expect(0, "status sweep.yaml");
    assert!(four.iter().all(|id| status.out.contains(id)), "{}", status.out);
    assert!(place.expect(0, "run sweep.yaml").err.contains("nothing left to train"));
    place.write("sweep.yaml", SWEEP.replace("trials: 4", "trials: 5"));
    place.expect(0, "run sweep.yaml");
    let five = ids(&place);
    assert_eq!((five.len(), &five[..4]), (5, four.as_slice()));
    // The sweep as it was run reads back to the same search.
    let copy = place.read("results/sweep/sweep.yaml");
    place.write("copy.yaml", copy);
    let again = place.expect(0, "plan copy.yaml");
    assert!(five.iter().all(|id| again.out.contains(id)), "{}", again.out);
}

/// The table has the best value of the metric that ranks the trials.
#[test]
fn the_metric_of_a_search_has_a_column() {
    let place = Place::new(&SWEEP.replace("ahead: 1", "ahead: 1, metric: macro_f1"));
    place.expect(0, "run sweep.yaml");
    let table = place.read("results/sweep/trials.csv");
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    assert_eq!(rows.headers().unwrap().iter().next_back(), Some("best_macro_f1"), "{table}");
    for row in rows.records().map(Result::unwrap) {
        let evals = place.read(&format!("results/sweep/trials/{}/evals.csv", &row[0]));
        let best = evals.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse::<f32>().unwrap());
        assert_eq!(row.iter().next_back().unwrap().parse(), Ok(best.fold(0.0, f32::max)), "{table}");
    }
}

#[test]
fn the_next_sweep_and_the_confirmation_of_a_search_can_be_run() {
    let place = Place::new(&format!("{LEARNS}run: {{retries: 1}}\n"));
    place.expect(0, "run sweep.yaml --set weight_decay=0.02");
    // The overrides of the run count, and how trials run stays.
    place.expect(0, "refine sweep.yaml -o next.yaml");
    let next = place.read("next.yaml");
    assert!(next.contains("weight_decay: 0.02") && next.contains("retries: 1"), "{next}");
    assert!(next.contains("\nspace:\n  # ") && next.contains("\n  lr: {log: ["), "{next}");
    assert!(next.contains("\nsearch: {ahead: 1, ") && !next.contains("\ngrid:"), "{next}");
    let planned = place.expect(0, "plan next.yaml");
    assert!(planned.out.contains("2 trials, and up to 2 that tpe draws"), "{}", planned.out);
    let confirmed = place.expect(0, "confirm sweep.yaml --top 2 --seeds 2");
    assert!(confirmed.out.starts_with("The winner "), "{}", confirmed.out);
    assert_eq!(place.read("results/sweep-confirm/trials.csv").lines().count(), 5);
}

#[test]
fn a_search_that_ends_early_says_why() {
    let place = Place::new(&SWEEP.replace("lr: {log: [1e-5, 1e-3]}", "lr: [1e-4]"));
    let ended = place.expect(0, "run sweep.yaml");
    let why = "The search ended after 2 trials: every configuration of the space is there.";
    assert!(ended.err.contains(why), "{}", ended.err);
}

/// The table of the sweep without times.
fn table(place: &Place) -> Vec<Vec<String>> {
    let table = place.read("results/sweep/trials.csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    let is_timeless = |at: &usize| !["seconds", "tokens_per_second"].contains(&&header[*at]);
    let row =
        |record: csv::StringRecord| (0..header.len()).filter(is_timeless).map(|at| record[at].to_owned()).collect();
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// With real workers. `just torture-search` kills searches of toys hundreds of times.
#[test]
fn a_killed_search_draws_the_same_and_is_verified() {
    let sweep = SWEEP.replace("steps: 2", "steps: 8");
    let sweep = sweep.replace("trials: 4, startup: 2, ahead: 1", "trials: 6, startup: 2, ahead: 2");
    // A killed worker is a failed attempt.
    let sweep = sweep + "run: {retries: 9}\n";
    let undisturbed = Place::new(&sweep);
    undisturbed.expect(0, "run sweep.yaml --jobs 1");
    let place = Place::new(&sweep);
    for jobs in [1, 2, 8] {
        let mut parent = place.start(&format!("run sweep.yaml --quiet --jobs {jobs}"));
        place.wait_for_steps(jobs);
        if let Some(worker) = place.workers().first() {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(*worker).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(50 * jobs as u64));
        parent.kill().unwrap();
        parent.wait().unwrap();
    }
    place.expect(0, "run sweep.yaml --jobs 8");
    assert_eq!(table(&place), table(&undisturbed));
    let verified = place.expect(0, "status sweep.yaml --verify");
    assert_eq!(verified.out, "sweep: all 6 drawn configurations are those that the file gives\n");
    // Another result of the first trial changes what follows.
    let first = &ids(&place)[0];
    let journal = place.read("results/sweep/journal.jsonl");
    let changed: Vec<String> = journal
        .lines()
        .filter(|line| !(line.contains("\"trial_finished\"") && line.contains(first.as_str())))
        .map(str::to_owned)
        .collect();
    place.write("results/sweep/journal.jsonl", changed.join("\n") + "\n");
    let differs = place.expect(1, "status sweep.yaml --verify");
    assert!(differs.out.contains("configuration 2 differs: "), "{}", differs.out);
    let none = place.expect(2, "status other --verify");
    assert!(none.err.contains("there are no results"), "{}", none.err);
}

#[test]
fn a_search_ends_after_its_time_and_knows_other_sweeps() {
    let place =
        Place::new(small!("steps: 2\neval_every: 2\nspace: {lr: {log: [1e-5, 1e-3]}}\nsearch: {time: 0.001s}\n"));
    let ended = place.expect(0, "run sweep.yaml");
    // A quick machine may have drawn two trials before the clock moves.
    assert!(ended.err.contains("trials: `search.time` has passed."), "{}", ended.err);
    place.write("grid.yaml", small!("steps: 2\neval_every: 2\ngrid: {lr: [1e-4, 1e-1]}\nseed: 3\n"));
    let from = small!(
        "steps: 2\neval_every: 2\nspace: {lr: {log: [1e-5, 1e-3]}}\nsearch: {from: [grid], trials: 3, startup: 3, ahead: 1}\n"
    );
    place.write("after.yaml", from);
    let missing = place.expect(2, "plan after.yaml");
    assert!(missing.err.contains("there are no results of a sweep `grid`"), "{}", missing.err);
    place.expect(0, "run grid.yaml");
    place.expect(0, "run after.yaml");
    let journal = place.read("results/after/journal.jsonl");
    let opened = journal.lines().find(|line| line.contains("search_opened")).unwrap();
    assert!(opened.contains("\"from\":[\"grid\"]") && opened.matches("\"point\"").count() == 1, "{opened}");
    assert_eq!(place.read("results/after/trials.csv").lines().count(), 4);
    place.expect(0, "status after.yaml --verify");
}

#[test]
fn a_sweep_file_of_wandb_is_run_as_it_is_and_translated() {
    let place = Place::new("");
    let wandb = "
program: train.py
method: random
metric: {name: eval/loss, goal: minimize}
parameters:
  train_file: {value: train.tsv}
  max_seq_length: {value: 32}
  model_name_or_path: {value: ./checkpoint}
  dropout: {value: 0}
  max_steps: {value: 2}
  eval_steps: {value: 2}
  per_device_train_batch_size: {value: 8}
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}
run_cap: 2
";
    place.write("sweep.yaml", wandb);
    let run = place.expect(0, "run sweep.yaml");
    assert!(run.err.contains("set aside, because only W&B uses them: program"), "{}", run.err);
    let two = ids(&place);
    assert_eq!(two.len(), 2);
    place.expect(0, "import sweep.yaml -o ours.yaml");
    let again = place.expect(2, "import sweep.yaml -o ours.yaml");
    assert!(again.err.contains("exists already"), "{}", again.err);
    let planned = place.expect(0, "plan ours.yaml");
    assert!(two.iter().all(|id| planned.out.contains(id)), "{}", planned.out);
    place.write("own.yaml", wandb.replace("learning_rate:", "my_rate:"));
    let unknown = place.expect(2, "run own.yaml");
    assert!(unknown.err.contains("`plateau import --drop my_rate`"), "{}", unknown.err);
    place.expect(0, "import own.yaml --key my_rate=lr");
}

#[test]
fn what_is_left_of_a_search_counts_what_is_not_drawn() {
    let place = Place::new(LEARNS);
    place.expect(0, "run sweep.yaml");
    let line = |out: &str| out.lines().find(|line| line.starts_with("sweep: ")).unwrap_or_default().to_owned();
    let four = line(&place.expect(0, "status sweep.yaml").out);
    assert!(
        four.starts_with("sweep: 4/4 trials, best ") && four.ends_with("4 finished, 0 running, 0 failed, 0 left"),
        "{four}"
    );
    assert!(four.contains(" (#"), "{four}");
    // The file asks for more than was run: the report and `refine` know it.
    place.write("sweep.yaml", LEARNS.replace("trials: 4", "trials: 6"));
    let six = line(&place.expect(0, "status sweep.yaml").out);
    assert!(six.starts_with("sweep: 4/6 trials, best ") && six.ends_with("0 failed, 2 left"), "{six}");
    place.expect(0, "report sweep.yaml");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("2 of 6 trials have not finished"), "{summary}");
    let refined = place.expect(0, "refine sweep.yaml");
    assert!(refined.err.contains("2 of 6 trials have not ended"), "{}", refined.err);
    assert!(refined.err.contains("4 configurations have ended, which is few"), "{}", refined.err);
    // An edited sampler counts from the next configuration on, and one that ends the search leaves nothing.
    let edited = LEARNS.replace("trials: 4, startup: 2", "trials: 6, startup: 2, sampler: random, until: 1000");
    place.write("sweep.yaml", edited);
    let ended = place.expect(0, "run sweep.yaml");
    assert!(
        ended.err.contains("`sampler` of the search has changed since the last run. Configurations from 4 on"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("The search ended after 4 trials: `search.until` is reached.\n"), "{}", ended.err);
    let over = line(&place.expect(0, "status sweep.yaml").out);
    assert!(
        over.contains(", the search has ended: `search.until` is reached, 4 finished") && over.ends_with("0 left"),
        "{over}"
    );
    let all = place.expect(0, "status").out;
    let row = all.lines().filter(|line| line.starts_with("sweep ")).nth(1).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["sweep", "4", "4", "0", "0", "0"], "{all}");
}

/// Earlier trials outside a narrower space are no part of the progress.
#[test]
fn a_narrowed_space_is_counted_by_what_is_in_it() {
    let place = Place::new(&SWEEP.replace("tpe", "random").replace("startup: 2", "sampler: random"));
    place.expect(0, "run sweep.yaml");
    let rates = |place: &Place| {
        let table = place.read("results/sweep/trials.csv");
        table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect::<Vec<f64>>()
    };
    let least = rates(&place).into_iter().fold(f64::INFINITY, f64::min);
    let narrow =
        SWEEP.replace("startup: 2", "sampler: random").replace("log: [1e-5", &format!("log: [{:e}", 1.5 * least));
    place.write("sweep.yaml", narrow);
    let run = place.expect(0, "run sweep.yaml");
    assert!(run.err.contains("`space` of the search has changed"), "{}", run.err);
    assert!(run.err.contains("sweep  4/4 trials"), "{}", run.err);
    assert_eq!(rates(&place).len(), 4);
    // What was drawn before the edit is not held against the file as it is now.
    let verified = place.expect(0, "status sweep.yaml --verify").out;
    assert!(verified.contains("drawn configurations are those that the file gives"), "{verified}");
    assert!(verified.contains("4 earlier configurations followed another version of the sweep file"), "{verified}");
}

/// The report of a fresh run is that of its own draws.
#[test]
fn a_fresh_run_forgets_earlier_draws() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    place.write("sweep.yaml", SWEEP.replace("startup: 2", "startup: 2, seed: 3"));
    let run = place.expect(0, "run sweep.yaml --fresh");
    assert!(run.err.contains("sweep: 2 trials, and up to 2 that tpe draws"), "{}", run.err);
    let summary = place.read("results/sweep/report/summary.md");
    assert!(!summary.contains("finished yet") && !summary.contains("have not finished"), "{summary}");
}

/// `refine` may ask for more seeds, and then for as many configurations as before.
#[test]
fn more_seeds_are_more_trials() {
    let place = Place::new(&LEARNS.replace("trials: 4", "trials: 8").replace("space:", "seeds: [1, 2]\nspace:"));
    place.expect(0, "run sweep.yaml");
    let refined = place.expect(0, "refine sweep.yaml").out;
    let line = refined.lines().find(|line| line.starts_with("seeds: [")).unwrap();
    let seeds = line.split(',').count();
    assert!(refined.contains(&format!("trials: {}}}", 4 * seeds)), "{refined}");
    assert_ne!(seeds, 2, "{refined}");
}

/// A grid beside a space: its values stay in the next sweep while they are as good, and only they are compared in pairs.
#[test]
fn a_grid_beside_a_space_is_compared() {
    let text = LEARNS.replace("space:", "grid: {augmentation: [none, aeda]}\nspace:").replace("trials: 4", "trials: 6");
    let place = Place::new(&text);
    place.expect(0, "run sweep.yaml");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("matched pairs exist for the keys of \\`grid\\` alone"), "{summary}");
    assert!(summary.contains("The best eval loss at each point of the grid: augmentation "), "{summary}");
    let refined = place.expect(0, "refine sweep.yaml").out;
    assert!(refined.contains("augmentation"), "{refined}");
}
