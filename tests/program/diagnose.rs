//! `plateau diagnose` on logs of other programs, and on a trial of its own.

use std::fmt::Write as _;
use std::io::Write as _;

use insta::assert_snapshot;

use crate::place::{Ended, Place};

/// A log that stays at ln 2, as of a model that always answers alike.
fn stuck() -> String {
    (1..=200).fold("step,loss,learning_rate\n".to_owned(), |mut text, step| {
        let wiggle = f64::from((step * 7919) % 211 - 105) * 0.000_12;
        let _ = writeln!(text, "{step},{},{}", 0.693 + wiggle, 1e-3 * f64::from(200 - step) / 200.0);
        text
    })
}

#[test]
fn a_foreign_log_is_judged_against_its_classes() {
    let place = Place::new("");
    place.write("log.csv", stuck());
    assert_snapshot!(place.expect(0, "diagnose log.csv --classes 0.5,0.5").out, @"
    log.csv: PRIOR_STUCK
      nothing is learned: the training loss stays at 0.693, and guessing has 0.693. The learning rate is too high
      try: lr: 1e-4, warmup: 0.1
      train loss: flat from step 1 at 0.693; change -0.001 ± 0.005 over steps 135 to 200, with 11 % of the learning rate
    ");
    let unknown = place.expect(0, "diagnose log.csv").out;
    assert!(unknown.contains("The class frequencies are unknown") && !unknown.contains("PRIOR_STUCK"), "{unknown}");
    place.write("labels.txt", "yes\nno\nyes\nno\n");
    let json = place.expect(0, "diagnose log.csv --labels labels.txt --format json").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let log = &json["logs"][0];
    assert_eq!((&log["primary"], &log["train_loss"]["tail"]["trend"]), (&"PRIOR_STUCK".into(), &"flat".into()));
    assert!(log["verdicts"][0]["advice"].is_string() && log["verdicts"][0]["evidence"][0]["value"].is_number());
}

#[test]
fn compressed_logs_and_labels_are_unpacked() {
    let place = Place::new("");
    let compressed = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    place.write("log.csv", stuck());
    place.write("log.csv.gz", compressed(&stuck()));
    place.write("labels.txt.gz", compressed("yes\nno\nyes\nno\n"));
    let plain = place.expect(0, "diagnose log.csv --classes 0.5,0.5").out;
    let unpacked = place.expect(0, "diagnose log.csv.gz --labels labels.txt.gz").out;
    assert_eq!(unpacked.replace("log.csv.gz", "log.csv"), plain);
    place.write("labels.txt.gz", &compressed("yes\nno\n")[..20]);
    let damaged = place.expect(2, "diagnose log.csv --labels labels.txt.gz").err;
    assert!(damaged.contains("labels.txt.gz: cannot be unpacked") && damaged.contains("copy it again"), "{damaged}");
}

#[test]
fn a_log_that_cannot_be_read_hides_no_other() {
    let place = Place::new("");
    place.write("good.csv", stuck());
    place.write("bad.csv", "a,b\n1,2\n");
    let ended = place.expect(2, "diagnose bad.csv good.csv");
    assert!(ended.out.starts_with("good.csv: ") && ended.err.contains("error: bad.csv: "), "{ended:?}");
    assert!(place.expect(2, "diagnose bad.csv").out.is_empty());
}

/// What the Trainer of transformers leaves, in the forms in which people have it, is judged alike.
#[test]
fn a_trainers_log_is_found_in_every_form() {
    let place = Place::new("");
    let losses = |form: &dyn Fn(u32, f64) -> String| -> String {
        (1..=60).map(|row| form(row, 0.693 + f64::from((row * 7919) % 13) * 0.002 - 0.012)).collect()
    };
    let rows = losses(&|row, loss| format!(r#"{{"loss": {loss:.4}, "learning_rate": 1e-3, "step": {}}},"#, row * 10));
    let state = format!(r#"{{"max_steps": 600, "log_history": [{}]}}"#, rows.trim_end_matches(','));
    std::fs::create_dir_all(place.path("output/checkpoint-600")).unwrap();
    std::fs::create_dir_all(place.path("output/checkpoint-90")).unwrap();
    place.write("output/checkpoint-600/trainer_state.json", &state);
    place.write("output/checkpoint-90/trainer_state.json", "{}");
    let printed = losses(&|row, loss| {
        format!(
            " {}%|##   | {}/600 [00:01<00:09, 9.9it/s]\n{{'loss': {loss:.4}, 'learning_rate': 0.001, 'epoch': {:.2}}}\n",
            row,
            row * 10,
            f64::from(row) / 20.0
        )
    });
    place.write("printed.log", printed);
    let judged = |arguments: &str| -> serde_json::Value {
        let out = place.expect(0, &format!("diagnose --format json --classes 1,1 {arguments}")).out;
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["logs"][0].clone()
    };
    let expected = judged("output/checkpoint-600/trainer_state.json");
    assert_eq!(expected["train_loss"]["tail"]["to"], 600, "{expected}");
    for form in ["output", "output/checkpoint-600", "printed.log"] {
        let found = judged(form);
        assert_eq!(
            (&found["verdicts"], &found["train_loss"]),
            (&expected["verdicts"], &expected["train_loss"]),
            "{form}"
        );
    }
    assert_eq!(judged("printed.log")["notes"][0], "lines without a loss are ignored (60)");
}

/// A note states what was assumed when a log was read.
#[test]
fn notes_say_how_a_log_was_read() {
    let place = Place::new("");
    let rows: String = (1..=3)
        .flat_map(|epoch| {
            (1..=40).map(move |step| format!("{epoch},{step},{},1\n", 0.7 / f64::from(epoch * step).sqrt()))
        })
        .collect();
    place.write("log.csv", format!("epoch,step,loss,f1\n{rows}"));
    let out = place.expect(0, "diagnose log.csv").out;
    let notes: Vec<&str> = out.lines().filter(|line| line.starts_with("  note:")).collect();
    assert_snapshot!(notes.join("\n"), @"
      note: the steps start again in each epoch: 3 epochs are joined to 120 steps
      note: columns not used: f1
    ");
}

/// The event files that `plateau export` writes are read back.
#[test]
fn event_files_are_read() {
    let place = Place::new(
        "data: {train: train.tsv, max_length: 32}\nmodel: {from: checkpoint}\nbatch_size: 8\nsteps: 12\neval_every: 4\n",
    );
    place.expect(0, "run sweep.yaml");
    place.expect(0, "export sweep.yaml --format tensorboard");
    let (_, folder) = place.trials().pop_first().unwrap();
    let judged = |path: &str| -> serde_json::Value {
        let out = place.expect(0, &format!("diagnose --format json {path}")).out;
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["logs"][0].clone()
    };
    let curves = judged(&folder.join("metrics.csv").display().to_string());
    let events = judged("results/sweep/tensorboard");
    assert_eq!(events["train_loss"]["tail"]["to"], curves["train_loss"]["tail"]["to"]);
    // Event files hold f32.
    let scale = |log: &serde_json::Value| log["train_loss"]["scale"].as_f64().unwrap();
    assert!((scale(&events) - scale(&curves)).abs() < 1e-6, "{events} {curves}");
}

#[test]
fn several_logs_are_a_sweep() {
    let place = Place::new("");
    for name in ["a", "b", "c"] {
        place.write(&format!("{name}.csv"), stuck());
    }
    let found = place.expect(0, "diagnose a.csv b.csv c.csv --classes 1,1").out;
    let findings: Vec<&str> = found.lines().skip_while(|line| !line.starts_with("Primary causes")).collect();
    assert_snapshot!(findings.join("\n"), @"
    Primary causes by the curves of 3 trials: stuck at the class prior (PRIOR_STUCK) in 3.
    3 of 3 gave no usable model (95 % confidence interval of the share: 44 to 100 %).
    ");
}

#[test]
fn mistakes() {
    let place = Place::new("");
    place.write("log.csv", "a,b\n1,2\n");
    let message = |arguments: &str| place.plain(&place.expect(2, arguments).err);
    assert_snapshot!(message("diagnose log.csv"), @"error: log.csv: no loss found; its columns are a, b; name one of them train_loss or loss (training) or eval_loss or val_loss (evaluation)");
    place.write("text.csv", "step,loss\n1,a lot\n2,less\n");
    assert_snapshot!(message("diagnose text.csv"), @"error: text.csv: nothing in its column loss can be read: a row needs a number there, with a point (0.5), and a step from 0 up");
    assert_snapshot!(message("diagnose none.csv"), @"error: none.csv: No such file or directory (os error 2)");
    assert_snapshot!(message("diagnose log.csv --classes 1"), @"error: --classes takes a positive share or number for each of two or more classes: --classes 0.7,0.3");
    assert_snapshot!(message("diagnose checkpoint"), @"error: checkpoint: the folder holds no log that is known by its name (trainer_state.json, metrics.csv, history.json, events.out.tfevents..., checkpoint-N/, version_N/): name the file");
}

#[test]
fn a_trial_of_our_own_leaves_what_is_needed() {
    let place = Place::new(
        "data: {train: train.tsv, max_length: 32}\nmodel: {from: checkpoint}\nbatch_size: 8\nsteps: 12\neval_every: 4\n",
    );
    place.expect(0, "run sweep.yaml");
    let (_, folder) = place.trials().pop_first().unwrap();
    let diagnostics = std::fs::read_to_string(folder.join("diagnostics.csv")).unwrap();
    let lines: Vec<&str> = diagnostics.lines().collect();
    let header = "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong,surest_expected";
    assert_eq!((lines[0], lines.len()), (header, 5));
    assert!(lines[1].starts_with("0,,,,") && lines[4].starts_with("12,"), "{diagnostics}");
    let found = place.expect(0, &format!("diagnose {}", folder.display())).out;
    assert!(found.contains("train loss") && found.contains("eval loss"), "{found}");
    // The folder says what the classes are and what was trained; its curves alone do not.
    let unknown = "The class frequencies are unknown";
    assert!(!found.contains(unknown), "{found}");
    let outcome: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("outcome.json")).unwrap()).unwrap();
    let judged = |arguments: &str| -> serde_json::Value {
        let out = place.expect(0, &format!("diagnose --format json {}{arguments}", folder.display())).out;
        serde_json::from_str(&out).unwrap()
    };
    let causes = |verdicts: &serde_json::Value| -> Vec<String> {
        let of = verdicts.as_array().unwrap().iter().map(|verdict| verdict["id"].as_str().unwrap().to_owned());
        of.filter(|id| id.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect()
    };
    assert_eq!(causes(&judged("")["logs"][0]["verdicts"]), causes(&outcome["verdicts"]), "as when it was trained");
    std::fs::remove_file(folder.join("config.json")).unwrap();
    assert!(place.expect(0, &format!("diagnose {}", folder.display())).out.contains(unknown));
}

/// Faults of the data are named by `diagnose` and in the report: a class without training rows, other class frequencies, and
/// evaluation rows that are training rows.
#[test]
fn faults_of_the_data_are_named() {
    let place = Place::new(
        "data: {train: some.tsv, eval: other.tsv, max_length: 32}\nmodel: {from: checkpoint}\nbatch_size: 8\nsteps: 12\neval_every: 4\n",
    );
    let all = place.read("train.tsv");
    let of =
        |label: &str, most: usize| all.lines().filter(|line| line.starts_with(label)).take(most).collect::<Vec<_>>();
    let file = |rows: &[&str]| format!("label\ttext\n{}\n", rows.join("\n"));
    place.write("some.tsv", file(&[of("positive", 90), of("negative", 20)].concat()));
    place.write("other.tsv", file(&[of("positive", 10), of("negative", 60), of("neutral", 37)].concat()));
    // A class that only the evaluation set has must be known to the checkpoint, or is refused.
    let refused = place.command("run sweep.yaml").output().unwrap();
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("neutral"), "{message}");
    place.write("other.tsv", file(&[of("positive", 10), of("negative", 60)].concat()));
    place.expect(0, "run sweep.yaml");
    let (_, folder) = place.trials().pop_first().unwrap();
    let found = place.expect(0, &format!("diagnose {}", folder.display())).out;
    let summary = place.read("results/sweep/report/summary.md");
    for (text, escaped) in [(&found, "_"), (&summary, "\\_")] {
        let name = |name: &str| name.replace('_', escaped);
        assert!(text.contains(&name("PRIOR_SHIFT")) && text.contains("differ: 18 %, 82 % and 86 %, 14 %"), "{text}");
        assert!(text.contains(&name("LEAKED_ROWS")) && text.contains("30 of 70 evaluation texts (43 %)"), "{text}");
    }
    let outcome: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("outcome.json")).unwrap()).unwrap();
    let shift = outcome["verdicts"].as_array().unwrap().iter().find(|verdict| verdict["id"] == "PRIOR_SHIFT").unwrap();
    let names: Vec<&str> =
        shift["evidence"].as_array().unwrap().iter().map(|number| number["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["distance", "chi_squared", "p", "train_class_0", "train_class_1", "eval_class_0", "eval_class_1"]
    );
}

const GRID: &str = "data: {train: train.tsv, max_length: 32}\nmodel: {from: checkpoint}\nbatch_size: 8\nsteps: 80\neval_every: 10\ngrid: {lr: [3e-3, 5e-3], scheduler: [constant, cosine]}\n";

#[test]
fn the_next_sweep_is_a_sweep() {
    let place = Place::new(GRID);
    assert_snapshot!(place.plain(&place.expect(2, "refine sweep.yaml").err), @"error: sweep: no trial has produced a usable model yet");
    place.expect(0, "run sweep.yaml");
    let next = place.expect(0, "refine sweep.yaml").out;
    assert!(next.starts_with("# Written by `plateau refine`") && next.contains("\nname: sweep-2\n"), "{next}");
    place.expect(0, "refine sweep.yaml -o next.yaml");
    assert_eq!(place.read("next.yaml"), next);
    place.expect(0, "plan next.yaml");
    assert_snapshot!(place.plain(&place.expect(2, "refine sweep.yaml -o next.yaml").err), @"error: next.yaml exists already: choose another name with -o");
    // The next sweep elsewhere: its data and its model stay where they are.
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    place.expect(0, "refine sweep.yaml -o elsewhere/next.yaml");
    let mut elsewhere = place.command("plan next.yaml");
    let ended = Ended::new(elsewhere.current_dir(place.path("elsewhere")).output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn leaders_are_trained_again_with_new_seeds() {
    let place = Place::new(GRID);
    place.expect(0, "run sweep.yaml");
    let confirmed = place.expect(0, "confirm sweep.yaml --top 2 --seeds 2").out;
    assert!(confirmed.starts_with("The winner ") && confirmed.contains("(pairs of seeds: "), "{confirmed}");
    assert_eq!(place.read("results/sweep-confirm/trials.csv").lines().count(), 5);
    // Again, it is all there.
    assert_eq!(place.expect(0, "confirm sweep.yaml --top 2 --seeds 2").out, confirmed);
}

/// A random search of a network without an encoder, on few examples of a hard task.
#[test]
fn a_hard_task_is_neither_wrong_labels_nor_a_learning_rate_too_high() {
    let place = Place::new(
        "data: {train: embedded:tweets, eval: 0.1, limit: 200, max_length: 16}\nmodel: {architecture: bag_of_words}\nsteps: 60\n\
         space: {lr: {log: [1e-4, 1e-1]}, weight_decay: {log: [1e-4, 1e-2]}, batch_size: [8, 16]}\nsearch: {trials: 8, sampler: random}\n",
    );
    place.expect(0, "run sweep.yaml");
    let read = |folder: &std::path::PathBuf, name: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let trials: Vec<(f64, f64, String)> = (place.trials().values())
        .map(|folder| {
            let (config, outcome) = (read(folder, "config.json"), read(folder, "outcome.json"));
            let lr = config["config"]["lr"].as_f64().unwrap();
            (outcome["best_eval_loss"].as_f64().unwrap(), lr, outcome["verdicts"].to_string())
        })
        .collect();
    assert_eq!(trials.len(), 8);
    let (_, best, _) = trials.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let lower = || trials.iter().filter(|(_, lr, _)| lr < best);
    assert!(lower().count() > 2, "{trials:?}");
    for (_, lr, verdicts) in lower() {
        assert!(!verdicts.contains("too high"), "{lr}: {verdicts}");
    }
    assert!(lower().any(|(_, _, verdicts)| verdicts.contains("too low")), "{trials:?}");
    assert!(trials.iter().all(|(_, _, verdicts)| !verdicts.contains("LABEL_FLOOR")), "{trials:?}");
}
