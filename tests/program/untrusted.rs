//! Files from others, in every place where the program opens some: translation models, models for `predict`, files among the
//! results, and texts that reach a terminal or a file that people read on one.

#![expect(clippy::disallowed_methods, reason = "the tests put files in the way of the program")]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::place::{Ended, Place, signal, small, wait};
use crate::skip::skip;

const SWEEP: &str = small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1, keep: winner}\n");
const TRANSLATED: &str =
    small!("steps: 3\naugmentation: {name: back_translation, engine: marian, out: there, home: there, beams: 1}\n");

/// A normalizer that makes ten letters of every `a`, twelve times.
fn bomb() -> Value {
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(10)});
    json!({"type": "Sequence", "normalizers": vec![replace; 12]})
}

/// A normalizer with a table that makes its library panic.
fn broken_table() -> Value {
    json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"})
}

fn edit(place: &Place, name: &str, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&place.read(name)).unwrap();
    change(&mut value);
    place.write(name, value.to_string());
}

fn copy(place: &Place, fixture: &str, name: &str, files: &[&str]) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    for file in files {
        place.write(&format!("{name}/{file}"), fs::read(fixture.join(file)).unwrap());
    }
}

/// A Marian checkpoint is opened in the process with limits, like every checkpoint.
#[test]
fn hostile_translation_models_are_bad_input() {
    let place = Place::new(TRANSLATED);
    copy(&place, "marian-tiny", "there", &["config.json", "model.safetensors", "source.spm", "vocab.json"]);
    place.expect(0, "plan sweep.yaml");
    let good = place.read("there/config.json");
    edit(&place, "there/config.json", |config| {
        config["vocab_size"] = 2_000_000_000_u64.into();
        config["d_model"] = 65536.into();
    });
    let ended = place.expect(2, "plan sweep.yaml");
    assert!(!ended.err.contains("panicked") && ended.err.contains("there"), "{}", ended.err);
    place.write("there/config.json", good);
    // A table whose length is right and whose content is not.
    let spm = fs::read(place.path("there/source.spm")).unwrap();
    let table = [&[26, 12, 18, 10, 4, 0, 0, 0][..], &[255; 6]].concat();
    place.write("there/source.spm", [&spm[..], &table].concat());
    let ended = place.plateau("run sweep.yaml --quiet");
    assert!(ended.code == 2 || ended.code == 0, "{}", ended.err);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    // The tokenizer of transformers, in the folder of a Marian checkpoint.
    let tokenizer = place.read("checkpoint/tokenizer.json");
    for (normalizer, what) in [(bomb(), "needs more than"), (broken_table(), "crashes the library")] {
        place.write("there/tokenizer.json", &tokenizer);
        edit(&place, "there/tokenizer.json", |tokenizer| tokenizer["normalizer"] = normalizer);
        let ended = place.expect(2, "run sweep.yaml --quiet");
        assert!(ended.err.contains(what) && ended.err.contains("back_translation"), "{}", ended.err);
        assert!(!place.path("results/sweep/journal.jsonl").exists());
    }
}

/// `predict` opens a model from elsewhere in its own process.
#[test]
fn hostile_models_do_not_take_predict_down() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --quiet");
    place.expect(0, "export sweep.yaml --format hf -o model");
    let good = place.read("model/tokenizer.json");
    for (normalizer, what) in [(bomb(), "far more memory than their sizes"), (broken_table(), "crash the library")] {
        edit(&place, "model/tokenizer.json", |tokenizer| tokenizer["normalizer"] = normalizer);
        let ended = place.expect(2, "predict model train.tsv --quiet");
        assert!(ended.err.contains(what), "{}", ended.err);
    }
    place.write("model/tokenizer.json", good);
    place.expect(0, "predict model train.tsv --quiet");
}

/// The test set is evaluated in a child process with limits, after training too.
#[test]
fn hostile_files_do_not_take_the_evaluation_of_a_test_set_down() {
    let place = Place::new(&SWEEP.replacen("data: {", "data: {test: 0.2, ", 1));
    place.expect(0, "run sweep.yaml --quiet");
    let record = place.read("results/sweep/test.json");
    let good = place.read("checkpoint/tokenizer.json");
    for (normalizer, what) in [(bomb(), "needs more than"), (broken_table(), "crashes the library")] {
        fs::remove_file(place.path("results/sweep/test.json")).unwrap();
        edit(&place, "checkpoint/tokenizer.json", |tokenizer| tokenizer["normalizer"] = normalizer);
        let ended = place.expect(0, "report sweep");
        assert!(
            ended.err.contains("warning: the test set was not evaluated: ") && ended.err.contains(what),
            "{}",
            ended.err
        );
        assert!(!place.path("results/sweep/test.json").exists());
        place.write("checkpoint/tokenizer.json", &good);
        place.expect(0, "report sweep");
    }
    let without_date = |record: &str| record.lines().filter(|line| !line.contains("\"date\"")).collect::<String>();
    assert_eq!(without_date(&place.read("results/sweep/test.json")), without_date(&record));
}

#[test]
fn a_safetensors_header_of_any_size_is_refused_at_once() {
    let place = Place::new(SWEEP);
    let tensors = (0..400_000).map(|i| format!("\"k{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"));
    let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    place.write("checkpoint/model.safetensors", [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat());
    let ended = place.expect(2, "plan sweep.yaml");
    assert!(ended.err.contains("the header of a checkpoint can have"), "{}", ended.err);
}

/// The files that only `export` and `predict` read.
#[test]
fn special_files_do_not_hang_export_or_predict() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --quiet");
    let figure = place.path("results/sweep/report/curves.png");
    fs::remove_file(&figure).unwrap();
    assert!(Command::new("mkfifo").arg(&figure).status().unwrap().success());
    let start = Instant::now();
    place.expect(0, "export sweep.yaml --format hf -o model");
    assert!(start.elapsed() < Duration::from_mins(1));
    let kept = place.kept_states();
    let (id, name, _) = kept.iter().find(|(_, name, _)| name.ends_with(".safetensors")).unwrap();
    let weights = place.path(&format!("results/sweep/trials/{id}/checkpoint/{name}"));
    fs::rename(&weights, place.path("kept")).unwrap();
    symlink(place.path("kept"), &weights).unwrap();
    let ended = place.expect(3, "predict sweep train.tsv --quiet");
    assert!(ended.err.contains("is a symbolic link"), "{}", ended.err);
    fs::remove_file(&weights).unwrap();
    assert!(Command::new("mkfifo").arg(&weights).status().unwrap().success());
    let ended = place.expect(3, "predict sweep train.tsv --quiet");
    assert!(ended.err.contains("is a FIFO, not a regular file"), "{}", ended.err);
}

/// `-o /dev/null` and `-o /dev/stdout` do not replace the device.
#[test]
fn an_output_goes_into_the_fifo_that_the_user_names() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --quiet");
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    place.expect(0, "export sweep.yaml --format csv -o fifo");
    assert!(reader.join().unwrap().starts_with("id,"));
    assert!(!fifo.is_file());
}

/// As a power cut leaves it.
#[test]
fn a_damaged_record_of_the_test_set_is_kept_aside() {
    let place = Place::new(&SWEEP.replacen("data: {", "data: {test: 0.2, ", 1));
    place.expect(0, "run sweep.yaml --quiet");
    let record = place.read("results/sweep/test.json");
    place.write("results/sweep/test.json", "");
    assert!(place.expect(0, "status sweep.yaml").out.contains("test.json is damaged"));
    let ended = place.expect(0, "run sweep.yaml");
    assert!(ended.err.contains("warning: test.json is damaged"), "{}", ended.err);
    place.write("results/sweep/test.json", "cut off");
    place.expect(0, "run sweep.yaml");
    assert_eq!(place.read("results/sweep/test.json.damaged"), "");
    assert_eq!(place.read("results/sweep/test.json.damaged-2"), "cut off");
    let without_date = |record: &str| record.lines().filter(|line| !line.contains("\"date\"")).collect::<String>();
    assert_eq!(without_date(&place.read("results/sweep/test.json")), without_date(&record));
}

/// Below the results folder, beside the folders of sweeps.
#[test]
fn linked_folders_of_comparisons_and_of_the_cache_are_not_used() {
    let place = Place::new(SWEEP);
    fs::create_dir_all(place.path("results")).unwrap();
    for (elsewhere, link) in [("figures", "compare"), ("entries", ".cache")] {
        fs::create_dir(place.path(elsewhere)).unwrap();
        symlink(place.path(elsewhere), place.path("results").join(link)).unwrap();
    }
    place.expect(0, "run sweep.yaml --quiet");
    place.write("other.yaml", place.read("sweep.yaml").replace("steps: 12", "steps: 8"));
    place.expect(0, "run other.yaml --quiet");
    let ended = place.expect(3, "compare sweep other");
    assert!(ended.err.contains("compare is a symbolic link"), "{}", ended.err);
    for elsewhere in ["figures", "entries"] {
        fs::remove_dir(place.path(elsewhere)).expect("it is still empty");
    }
}

#[test]
fn a_fifo_of_labels_is_refused() {
    let place = Place::new(SWEEP);
    place.write("log.csv", "step,loss\n1,0.7\n2,0.6\n3,0.5\n");
    assert!(Command::new("mkfifo").arg(place.path("labels")).status().unwrap().success());
    let ended = place.expect(2, "diagnose log.csv --labels labels");
    assert!(ended.err.contains("labels: this is a FIFO, not a file"), "{}", ended.err);
}

/// Commands that write results without the lock of the sweep.
#[test]
fn report_and_lr_find_write_nothing_into_linked_folders() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --quiet");
    for (folder, command) in [("report", "report sweep.yaml"), ("lr-find", "lr-find sweep.yaml")] {
        fs::create_dir(place.path("elsewhere")).unwrap();
        let _ = fs::remove_dir_all(place.path(&format!("results/sweep/{folder}")));
        symlink(place.path("elsewhere"), place.path(&format!("results/sweep/{folder}"))).unwrap();
        let ended = place.expect(3, command);
        assert!(ended.err.contains("is a symbolic link"), "{}", ended.err);
        fs::remove_dir(place.path("elsewhere")).expect("it is still empty");
        fs::remove_file(place.path(&format!("results/sweep/{folder}"))).unwrap();
    }
}

/// `cp -al` copies a results folder by giving its files second names.
#[test]
fn a_copy_by_hard_links_does_not_change_with_the_original() {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --quiet");
    let copied = Command::new("cp").args(["-al", "results", "copy"]).current_dir(place.path(".")).status().unwrap();
    assert!(copied.success());
    let journal = place.read("copy/sweep/journal.jsonl");
    let id = place.trials().into_keys().next().unwrap();
    let metrics = place.read(&format!("copy/sweep/trials/{id}/metrics.csv"));
    for file in ["outcome.json", "metrics.csv"] {
        assert!(place.path(&format!("results/sweep/trials/{id}/{file}")).metadata().unwrap().nlink() > 1);
    }
    // The trial is trained again, into its old files.
    for file in ["outcome.json", "evals.csv"] {
        fs::remove_file(place.path(&format!("results/sweep/trials/{id}/{file}"))).unwrap();
    }
    assert!(place.expect(0, "run sweep.yaml").err.contains("trained again"));
    assert_eq!(place.read("copy/sweep/journal.jsonl"), journal);
    assert_eq!(place.read(&format!("copy/sweep/trials/{id}/metrics.csv")), metrics);
}

/// After the death of its parent a sweep does not run, and the table and the page say so.
#[test]
fn the_report_of_a_killed_run_does_not_say_that_it_runs() {
    let place = Place::new(small!("steps: 200000\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1}\n"));
    let mut parent = place.start("run sweep.yaml --quiet");
    place.wait_for_steps(2);
    wait(|| place.read("results/sweep/trials.csv").contains(",running,"));
    signal(parent.id() as i32, Signal::KILL);
    parent.wait().unwrap();
    wait(|| place.workers().is_empty());
    place.expect(0, "report sweep.yaml");
    assert!(!place.read("results/sweep/trials.csv").contains(",running,"));
    let page = place.read("results/sweep/report/index.html");
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("still running"));
}

/// A limit of the process is named, and no file is blamed for it.
#[test]
fn limits_are_named_before_the_sweep_starts() {
    let place = Place::new(SWEEP);
    let limited = |limit: &str| {
        let script = format!("ulimit {limit}; exec \"$@\"");
        let arguments = ["-c", &script, "sh", env!("CARGO_BIN_EXE_plateau"), "run", "sweep.yaml", "--quiet"];
        Ended::new(Command::new("/bin/sh").args(arguments).current_dir(place.path(".")).output().unwrap())
    };
    for limit in ["-n 8", "-n 10", "-n 12", "-n 14"] {
        let ended = limited(limit);
        assert_eq!(ended.code, 3, "{limit}: {}", ended.err);
        assert!(ended.err.contains("ulimit -n"), "{limit}: {}", ended.err);
    }
    place.expect(0, "run sweep.yaml --quiet");
}

#[test]
fn arguments_and_reports_are_escaped_too() {
    let place = Place::new(SWEEP);
    let escape = "\u{1b}[2J\u{9b}2J";
    for arguments in [vec!["plan", "sweep.yaml", escape], vec![escape], vec!["run", "sweep.yaml", "--jobs", escape]] {
        let ended = Ended::new(place.command("").args(&arguments).output().unwrap());
        assert_eq!(ended.code, 2);
        assert!(!ended.err.contains(['\u{1b}', '\u{9b}']) && ended.err.contains("\\u009b2J"), "{:?}", ended.err);
    }
    let data = place.read("train.tsv");
    place.write("train.tsv", data.replace("positive", &format!("positive{escape}")));
    place.expect(0, "run sweep.yaml --quiet");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(!summary.contains(['\u{1b}', '\u{9b}']) && summary.contains("positive\\u001b"), "{summary}");
    let page = place.read("results/sweep/report/index.html");
    assert!(!page.contains(['\u{1b}', '\u{9b}']) && page.contains("positive\\u001b"));
}

#[test]
fn a_huge_sweep_file_is_not_read() {
    let place = Place::new(SWEEP);
    fs::File::create(place.path("huge.yaml")).unwrap().set_len(8 << 30).unwrap();
    let ended = place.expect(2, "plan huge.yaml");
    assert!(ended.err.contains("too large for a sweep file"), "{}", ended.err);
}

/// The question about the programs of a sweep file, on a terminal.
#[test]
fn a_terminal_shows_the_programs_and_asks() {
    let sweep = |program: &str| {
        let written = serde_json::to_string(program).unwrap();
        small!("steps: 2\naugmentation: {name: back_translation, out: PROGRAM, home: cat}\nrun: {jobs: 1}\n")
            .replace("PROGRAM", &written)
    };
    let place = Place::new(&sweep("tee ran"));
    let known = Command::new("script").arg("--version").output();
    if !known.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        return skip("script", "the program `script` of util-linux is missing");
    }
    // Answers the question once it is there. `script` reads the answer from its own input.
    let answer = |keys: &str| {
        let program = env!("CARGO_BIN_EXE_plateau");
        let line = format!("exec {program} run sweep.yaml --progress none");
        let wait_and_type =
            format!("for i in $(seq 600); do grep -q 'y/N' screen && break; sleep 0.1; done; printf '{keys}'; sleep 1");
        place.write("screen", "");
        let shell = format!("({wait_and_type}) | script -qefc '{line}' screen");
        let status = Command::new("/bin/sh")
            .args(["-c", &shell])
            .current_dir(place.path("."))
            .env("XDG_STATE_HOME", place.path("state"))
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        (status.success(), place.read("screen"))
    };
    for keys in ["n\\n", "\\n", "yess\\n", "\\003"] {
        let (ended_well, screen) = answer(keys);
        assert!(!ended_well && screen.contains("tee ran") && screen.contains("Run them? [y/N]"), "{keys} {screen}");
        assert!(!place.path("ran").exists(), "{keys}");
    }
    assert!(answer("y\\n").0 && place.path("ran").exists());
    // Other programs are asked about again, and what they hide is shown.
    place.write("sweep.yaml", sweep("tee ran \u{1b}[2J\u{1b}[1;1H\n  cat"));
    let (ended_well, screen) = answer("n\\n");
    let question = screen.split("since then:").nth(1).unwrap().split("Run them").next().unwrap();
    assert!(!ended_well && question.contains("tee ran \\u001b[2J\\u001b[1;1H\\u000a  cat"), "{question}");
}
