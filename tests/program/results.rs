//! The files of a sweep, and how a second run, an added value, `--only` and `--fresh` change them.

use std::fs;

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};

const SWEEP: &str = small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\nseeds: [1, 2]\n");

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Checks that every field of the columns `floats` is empty or a number.
fn check_numbers(text: &str, floats: &[&str]) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    for row in reader.records().map(Result::unwrap) {
        for (name, field) in header.iter().zip(&row).filter(|(name, _)| floats.contains(name)) {
            assert!(field.is_empty() || field.parse::<f64>().is_ok(), "{name}: {field}");
        }
    }
    assert!(text.ends_with('\n'));
}

/// The page exists from the start, is redrawn as trials end, and reloads only while a process runs the sweep.
#[test]
fn the_page_follows_the_run() {
    const RELOADS: &str = r#"<meta http-equiv="refresh""#;
    let place = Place::new(&SWEEP.replace("steps: 12", "").replace("{lr: [1e-3, 1e-4]}", "{steps: [4, 1000000]}"));
    let running = place.start("run sweep.yaml --jobs 1");
    let page = || fs::read_to_string(place.path("results/sweep/report/index.html")).unwrap_or_default();
    wait(|| page().contains("2 of 4 trials have not finished"));
    assert!(page().contains(RELOADS));
    signal(running.id() as i32, Signal::INT);
    assert_eq!(Ended::new(running.wait_with_output().unwrap()).code, 130);
    assert!(!page().contains(RELOADS), "no process runs the sweep");
    place.write("sweep.yaml", SWEEP.replace("steps: 12", "steps: 4"));
    place.expect(0, "run sweep.yaml");
    assert!(!page().contains(RELOADS));
}

/// Of an ended trial the table needs the outcome alone, which says what the curves say.
#[test]
fn status_reads_no_curves_of_ended_trials() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    let table = place.expect(0, "status sweep.yaml").out;
    for (id, folder) in place.trials() {
        let column = |file: &str, name: &str| -> Vec<f32> {
            let mut reader = csv::Reader::from_path(folder.join(file)).unwrap();
            let at = reader.headers().unwrap().iter().position(|column| column == name).unwrap();
            reader.records().map(|row| row.unwrap()[at].parse().unwrap()).collect()
        };
        let (train, eval) = (column("metrics.csv", "train_loss"), column("evals.csv", "eval_loss"));
        let best = eval.iter().copied().reduce(f32::min).unwrap();
        let losses = [train[11], eval[3], best].map(|loss| format!("{loss:.4}"));
        let line = table.lines().find(|line| line.starts_with(&id)).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[3..], ["finished", "12/12", &losses[0], &losses[1], &losses[2]], "{table}");
        for file in ["metrics.csv", "evals.csv", "diagnostics.csv"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
    }
    assert_eq!(place.expect(0, "status sweep.yaml").out, table);
}

#[test]
fn equal_results_give_equal_reports() {
    let place = Place::new(SWEEP);
    let files = || {
        let names = ["index.html", "summary.md", "curves.png", "curves.svg", "ranking.png", "ranking.svg"];
        names.map(|name| fs::read(place.path("results/sweep/report").join(name)).unwrap())
    };
    place.expect(0, "run sweep.yaml");
    let first = files();
    assert!(String::from_utf8_lossy(&first[1]).contains("· seeds 1, 2 ·"));
    place.expect(0, "report sweep.yaml");
    assert!(first == files());
    // A run with nothing left to train keeps the date of the report.
    place.expect(0, "run sweep.yaml");
    assert!(first == files());
}

#[test]
fn every_result_file_is_written() {
    const METRICS: &str = "step,epoch,train_loss,lr,grad_norm,tokens,seconds";
    const EVALS: &str = "step,eval_loss,accuracy,macro_f1,train_probe_loss,weighted_f1,mcc,auroc,average_precision,\
         class_precision,class_recall,class_f1,class_support,mse,mae,r2,pearson,spearman,micro_f1,subset_accuracy,macro_auroc,\
         macro_average_precision,entity_precision,entity_recall,entity_f1,token_accuracy,perplexity";
    const NUMBERS: usize = 9;
    const TRIALS: &str = "id,lr,seed,status,steps,final_train_loss,final_eval_loss,best_eval_loss,best_eval_step,\
         best_accuracy,plateau_step,verdict,cause,seconds,tokens_per_second,error";
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    let table = place.read("results/sweep/trials.csv");
    assert_eq!((first_line(&table), table.lines().count()), (TRIALS, 5));
    let words = ["id", "status", "verdict", "cause", "error"];
    check_numbers(&table, &TRIALS.split(',').filter(|name| !words.contains(name)).collect::<Vec<_>>());
    for line in place.read("results/sweep/journal.jsonl").lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(place.trials().len(), 4);
    for (id, folder) in place.trials() {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|_| panic!("{id}: no {name}"));
        let (metrics, evals) = (read("metrics.csv"), read("evals.csv"));
        assert_eq!((first_line(&metrics), metrics.lines().count()), (METRICS, 13));
        assert_eq!((first_line(&evals), evals.lines().count()), (EVALS, 5));
        check_numbers(&metrics, &METRICS.split(',').collect::<Vec<_>>());
        check_numbers(&evals, &EVALS.split(',').take(NUMBERS).collect::<Vec<_>>());
        let support = EVALS.split(',').position(|name| name == "class_support").unwrap();
        let classes = evals.lines().last().and_then(|line| line.split(',').nth(support)).unwrap();
        assert_eq!(classes.split(';').filter(|count| count.parse::<u32>().is_ok()).count(), 3, "{classes}");
        let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
        let (config, outcome) = (json("config.json"), json("outcome.json"));
        assert_eq!((&config["id"], &config["config"]["steps"]), (&id.into(), &12.into()));
        assert!(config["made_by"]["host"].is_string() && config["made_by"]["device"].is_string());
        assert_eq!((&outcome["status"], &outcome["steps"]), (&"finished".into(), &12.into()));
        assert!(outcome["verdicts"].is_array());
        assert!(folder.join("attempts/1/assignment.json").is_file() && folder.join("attempts/1/log").is_file());
    }
    let kept = place.kept_states();
    assert!(kept.iter().all(|(_, name, _)| name == "weights.safetensors") && kept.len() == 1, "of the leading trial");
    check_report(&place);
}

/// The models of a sweep are there after `run.keep` has changed and trials were added.
#[test]
fn another_keep_leaves_the_model_of_the_leader() {
    let sweep = |keep: &str, rates: &str| {
        let keep = if keep.is_empty() { String::new() } else { format!("run: {{keep: {keep}}}\n") };
        format!(
            "{}{keep}",
            small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\n").replace("[1e-3, 1e-4]", rates)
        )
    };
    for (before, after) in [("best", ""), ("last", "winner"), ("all", "{top: 1}")] {
        let place = Place::new(&sweep(before, "[1e-3, 1e-4]"));
        place.expect(0, "run sweep.yaml --progress none");
        assert_eq!(place.trials().len(), 2);
        let predict = || place.expect(0, "predict sweep train.tsv --quiet").out;
        let predicted = predict();
        let kept = || place.kept_states().into_iter().map(|(trial, ..)| trial).collect::<Vec<_>>();
        place.write("sweep.yaml", sweep(after, "[1e-3, 1e-4]"));
        place.expect(0, "run sweep.yaml --progress none");
        let [leader] = kept().try_into().unwrap();
        assert_eq!(predict(), predicted, "{before} -> {after}");
        // At this rate the network stays as it was at the start, which is never the best evaluation.
        place.write("sweep.yaml", sweep(after, "[1e-3, 1e-4, 1e-12]"));
        place.expect(0, "run sweep.yaml --progress none");
        assert_eq!((kept(), predict()), (vec![leader], predicted), "{before} -> {after}, with another trial");
    }
}

fn check_report(place: &Place) {
    let folder = place.path("results/sweep/report");
    for name in ["curves", "ranking"] {
        let png = fs::read(folder.join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{name}.png");
        let svg = fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
        resvg::usvg::Tree::from_str(&svg, &resvg::usvg::Options::default()).unwrap();
    }
    let page = fs::read_to_string(folder.join("index.html")).unwrap();
    assert!(page.contains("<html") && !page.contains("src=\"http"), "the page needs no network");
    assert!(!fs::read_to_string(folder.join("summary.md")).unwrap().trim().is_empty());
}

#[test]
fn the_written_sweep_has_the_same_trials() {
    let place = Place::new(SWEEP);
    let plan = place.expect(0, "plan sweep.yaml --format csv").out;
    place.expect(0, "run sweep.yaml --only lr=1e-3 --only seed=1");
    let again = place.expect(0, "plan results/sweep/sweep.yaml --format csv").out;
    let ids = |plan: &str| plan.lines().map(|line| line.split(',').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&plan), ids(&again));
}

#[test]
fn finished_trials_are_never_trained_again() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --only lr=1e-3 --only seed=2");
    assert_eq!(place.trials().len(), 1, "--only leaves one trial");
    let curves = place.curves();
    place.expect(0, "run sweep.yaml --only lr=1e-3 --only seed=2");
    assert_eq!((place.curves(), place.count("attempt_started")), (curves, 1));
    place.expect(0, "run sweep.yaml");
    assert_eq!((place.trials().len(), place.count("attempt_started")), (4, 4));
    place.write("sweep.yaml", SWEEP.replace("1e-3, 1e-4", "1e-3, 3e-4, 0.0001"));
    place.expect(0, "run sweep.yaml");
    assert_eq!(
        (place.trials().len(), place.count("attempt_started")),
        (6, 6),
        "two more, for two seeds of the added value"
    );
}

#[test]
fn fresh_archives_the_old_results() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --only lr=1e-3");
    let before = place.curves();
    place.expect(0, "run sweep.yaml --only lr=1e-3 --fresh");
    assert_eq!(place.curves(), before);
    assert_eq!(place.count("attempt_started"), 2, "a new journal");
    let archived = place.path("results/sweep.archived-1");
    assert!(archived.join("journal.jsonl").is_file());
    assert!(before.keys().all(|id| archived.join("trials").join(id).join("metrics.csv").is_file()));
}

#[test]
fn plan_and_status_during_a_run_and_after() {
    let place = Place::new(&SWEEP.replace("steps: 12", "steps: 2000"));
    let nothing = place.expect(0, "status sweep.yaml").out;
    assert!(nothing.contains("4 trials, 0 finished, 0 running, 0 failed, 4 left"), "{nothing}");
    check_plan(&place);
    assert!(place.written().iter().all(|name| name.starts_with(".cache")), "{:?}", place.written());
    let mut parent = place.start("run sweep.yaml --jobs 2 --progress json");
    place.wait_for_steps(3);
    let running = place.expect(0, "status sweep.yaml").out;
    assert!(running.contains("4 trials, 0 finished, 2 running, 0 failed, 2 left"), "{running}");
    check_plan(&place);
    let refused = place.expect(3, "run sweep.yaml").err;
    assert!(refused.contains(&format!("in use by process {}", parent.id())), "{refused}");
    signal(parent.id() as i32, Signal::INT);
    parent.wait().unwrap();
    let after = place.expect(0, "status sweep.yaml").out;
    assert!(after.contains("4 trials, 0 finished, 0 running, 0 failed, 4 left"), "{after}");
    fs::remove_file(place.path("results/sweep/report/curves.png")).unwrap();
    place.expect(0, "report sweep.yaml");
    check_report(&place);
}

fn check_plan(place: &Place) {
    let json = place.expect(0, "plan sweep.yaml --format json").out;
    let trials: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(trials.len(), 4);
    assert_eq!(trials[3]["values"], serde_json::json!({"lr": 1e-4, "seed": 2}));
    assert!(
        trials.iter().all(|trial| trial["id"].is_string() && trial["steps"].is_u64() && trial["config"].is_object())
    );
    let csv = place.expect(0, "plan sweep.yaml --format csv").out;
    assert_eq!((first_line(&csv), csv.lines().count()), ("id,lr,seed,steps,seconds,memory_bytes,disk_bytes,status", 5));
    check_numbers(&csv, &["lr", "seed", "steps", "seconds", "memory_bytes", "disk_bytes"]);
    let table = place.expect(0, "plan sweep.yaml").out;
    assert!(table.contains("4 trials"), "{table}");
}

#[test]
fn progress_as_json_is_the_journal_line_by_line() {
    let place = Place::new(SWEEP);
    let ended = place.expect(0, "run sweep.yaml --progress json --only lr=1e-3");
    assert_eq!((ended.out, ended.err.as_str()), (place.read("results/sweep/journal.jsonl"), ""));
}

#[test]
fn finished_trials_leave_the_estimate() {
    let place = Place::new(SWEEP);
    let ran = place.expect(0, "run sweep.yaml --progress lines --only lr=1e-3").err;
    assert!(ran.contains("\nsweep: 2 trials; ") && ran.contains(" at a time on cpu, "), "{ran}");
    let table = place.expect(0, "plan sweep.yaml").out;
    assert!(table.contains("\n4 trials, 2 finished, 2 left; "), "{table}");
    assert_eq!((table.matches(" finished\n").count(), table.matches(" pending\n").count()), (2, 2), "{table}");
    let dry = |options: &str| place.expect(0, &format!("run sweep.yaml --dry-run {options}")).out;
    assert!(dry("--only lr=1e-3").contains("2 trials, 2 finished, nothing left to train"));
    assert!(dry("--fresh").contains("\n4 trials; "));
    let json = place.expect(0, "plan sweep.yaml --format json").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["status"], &json[3]["status"]), (&"finished".into(), &"pending".into()));
}

#[test]
fn shipped_sweeps_run_in_any_folder() {
    let place = Place::new("");
    place.expect(0, "run smoke --only lr=1e-3 --only scheduler=linear --set steps=2");
    assert!(place.path("results/smoke/report/index.html").is_file());
    let status = place.expect(0, "status smoke").out;
    assert!(status.contains("4 trials, 1 finished, 0 running, 0 failed, 3 left"), "{status}");
}

#[test]
fn results_are_read_without_their_sources() {
    let place = Place::new(SWEEP);
    place.write("sweeps/other.yaml", "grid: {lr: [1, 2]}");
    let nothing = place.expect(0, "status").out;
    assert!(nothing.contains("no sweep was run in") && nothing.contains("not run yet: other"), "{nothing}");
    place.expect(0, "run sweep.yaml --only lr=1e-3");
    for gone in ["sweep.yaml", "train.tsv", "checkpoint/config.json", "checkpoint/model.safetensors"] {
        fs::remove_file(place.path(gone)).unwrap();
    }
    let all = place.expect(0, "status").out;
    assert_eq!(all.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["sweep", "4", "2", "0", "0", "2"]);
    let one = place.expect(0, "status sweep");
    assert!(one.out.contains("4 trials, 2 finished, 0 running, 0 failed, 2 left") && one.err.is_empty(), "{one:?}");
    fs::remove_file(place.path("results/sweep/report/curves.png")).unwrap();
    place.expect(0, "report sweep");
    check_report(&place);
    place.write("sweep.yaml", SWEEP.replace("1e-4", "1e-5"));
    let changed = place.expect(0, "status sweep.yaml");
    assert!(changed.out.contains("4 trials, 2 finished"), "{changed:?}");
    assert!(changed.err.contains("`train.tsv` not found") && changed.err.contains("as it was last run"), "{changed:?}");
}

/// The warning about the results folder, if there is one.
fn about_results(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("warning: /here/results/")).unwrap_or_default()
}

#[test]
fn two_sweeps_of_one_name_warn() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --only lr=1e-3 --only seed=1");
    place.write("other/sweep.yaml", SWEEP.replace("1e-4", "1e-5"));
    let run = |command: &str| place.plain(&place.expect(0, &format!("run {command} --only lr=1e-3 --only seed=1")).err);
    let clash = run("other/sweep.yaml");
    insta::assert_snapshot!(about_results(&clash), @"warning: /here/results/sweep holds the results of /here/sweep.yaml, and now /here/other/sweep.yaml runs there: the trials of both stay there, and the report shows those of this run. Give one of them another `name` to keep them apart");
    let set = run("other/sweep.yaml --set warmup=0");
    insta::assert_snapshot!(about_results(&set), @"warning: /here/results/sweep was last run without --set, and now with --set 'warmup=0': the trials of both stay there, and the report shows those of this run. Add --set name=... to keep them apart");
    assert_eq!(about_results(&run("other/sweep.yaml --set warmup=0")), "", "the same sweep again gives no warning");
    fs::remove_file(place.path("other/sweep.yaml")).unwrap();
    let moved = run("sweep.yaml --set warmup=0");
    assert_eq!(about_results(&moved), "", "a moved file gives no warning: {moved}");
}

#[test]
fn a_longer_trial_starts_again_with_a_warning() {
    let sweep = small!("steps: 4\neval_every: 2\ngrid: {lr: [1e-3, 1e-4]}\n");
    let place = Place::new(sweep);
    place.expect(0, "run sweep.yaml --progress none");
    let again = place.expect(0, "run sweep.yaml --progress none").err;
    assert!(!again.contains("distinguishes"), "{again}");
    let data = place.read("train.tsv");
    place.write("train.tsv", data.replacen(' ', "  ", 1));
    let other_data = place.expect(0, "plan sweep.yaml").err;
    assert!(!other_data.contains("distinguishes"), "{other_data}");
    place.write("train.tsv", data);
    place.write("sweep.yaml", sweep.replace("steps: 4", "steps: 6"));
    let planned = place.expect(0, "plan sweep.yaml").err;
    let line = planned.lines().find(|line| line.starts_with("warning: only the length")).unwrap();
    insta::assert_snapshot!(line, @"warning: only the length (4 steps, now 6) distinguishes 2 trials from the last run. Such trials start from step 0, because the learning rate depends on the length. The earlier ones stay in the results folder and leave the report");
    assert!(place.expect(0, "run sweep.yaml --progress none").err.contains(line));
    assert_eq!(place.trials().len(), 4);
}
