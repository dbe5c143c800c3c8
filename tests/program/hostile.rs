//! Bad days and hostile folders: files that change or vanish during a run, links and FIFOs among the results, foreign text
//! with control characters, and sweep files made to exhaust the program.

#![expect(clippy::disallowed_methods, reason = "the tests move files of the program away")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};
use crate::skip::skip;

const SWEEP: &str = small!("steps: 300\neval_every: 150\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1}\n");
const SHORT: &str = small!("steps: 10\neval_every: 5\ngrid: {lr: [1e-3, 1e-4]}\nrun: {jobs: 1}\n");

/// An id stands for the content of the files. A trial whose files have changed since the plan is not trained.
#[test]
fn a_trial_does_not_train_on_data_that_changed_after_planning() {
    let place = Place::new(SWEEP);
    let data = place.read("train.tsv");
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    place.write("train.tsv", data.replace("the ", "a "));
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("train.tsv: the content has changed since the sweep was planned"), "{}", ended.err);
    assert_eq!((place.count("trial_finished"), place.count("trial_failed")), (1, 1));
    place.write("train.tsv", data);
    place.expect(0, "run sweep.yaml --retry-failed");
    let undisturbed = Place::new(SWEEP);
    undisturbed.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed.curves());
}

#[test]
fn of_the_files_of_a_trial_the_changed_one_is_named() {
    /// A dictionary with one word.
    const WORDNET: [(&str, &str); 8] = [
        ("data.noun", "00001740 03 n 02 cat 0 mog 0 000 | an animal\n"),
        ("index.noun", "cat n 1 1 @ 1 1 00001740  \nmog n 1 1 @ 1 0 00001740  \n"),
        ("data.verb", ""),
        ("index.verb", ""),
        ("data.adj", ""),
        ("index.adj", ""),
        ("data.adv", ""),
        ("index.adv", ""),
    ];
    let sweep = SWEEP.replace("train: train.tsv", "train: train.tsv, eval: eval.tsv")
        + "augmentation: {name: synonym, rate: 0.1, wordnet: dictionary}\n";
    for (name, old, new) in [
        ("eval.tsv", "the ", "a "),
        ("checkpoint/config.json", "{", "{\"note\": 1,"),
        ("checkpoint/tokenizer.json", "\"single_word\":false", "\"single_word\":true"),
        ("dictionary/data.noun", "an animal", "a beast"),
    ] {
        let place = Place::new(&sweep);
        place.write("eval.tsv", place.read("train.tsv"));
        fs::create_dir(place.path("dictionary")).unwrap();
        for (file, content) in WORDNET {
            place.write(&format!("dictionary/{file}"), content);
        }
        let parent = place.start("run sweep.yaml");
        place.wait_for_steps(1);
        place.write(name, place.read(name).replacen(old, new, 1));
        let ended = Ended::new(parent.wait_with_output().unwrap());
        assert_eq!(ended.code, 1, "{}", ended.err);
        let message = format!("{}: the content has changed since the sweep was planned", place.path(name).display());
        assert!(ended.err.contains(&message) && !ended.err.contains("train.tsv"), "{}", ended.err);
    }
}

/// On a small disk of its own, which fills up in the middle of a run and has room again later.
#[test]
fn a_sweep_on_a_full_disk_keeps_its_lock_and_continues() {
    const SCRIPT: &str = r#"
        set -u
        mkdir results
        mount -t tmpfs -o size=48m none results || exit 1
        "$PLATEAU" run sweep.yaml 2>run.log &
        run=$!
        until grep -qs '^5,' results/sweep/trials/*/metrics.csv; do sleep 0.05; done
        # To the last page: rows of a curve find no room either.
        dd if=/dev/zero of=results/ballast bs=4k 2>dd.log
        until grep -q 'The sweep waits for room' run.log; do sleep 0.1; done
        "$PLATEAU" status sweep >status.log
        "$PLATEAU" run sweep.yaml 2>second.log
        echo $? >second.code
        rm results/ballast
        wait $run
        echo $? >run.code
        # Room for a trial, but not for a report.
        rm -r results/sweep/report
        dd if=/dev/zero of=results/ballast bs=4k 2>dd.log
        truncate -s -400K results/ballast
        "$PLATEAU" run sweep.yaml 2>report.log &
        run=$!
        until grep -q 'The report waits for room' report.log; do sleep 0.1; done
        rm results/ballast
        wait $run
        echo $? >report.code
        test -s results/sweep/report/index.html || exit 1
        # Room for a part of a model: none of it stays, so that the same command works again.
        dd if=/dev/zero of=results/ballast bs=4k 2>dd.log
        truncate -s -50K results/ballast
        "$PLATEAU" export sweep --format hf -o results/hf 2>export.log && exit 3
        rm results/ballast
        "$PLATEAU" export sweep --format hf -o results/hf 2>export.log || exit 4
        rm -r results/hf
        # No room from the start, and the old results are to be archived.
        dd if=/dev/zero of=results/ballast bs=4k 2>dd.log
        "$PLATEAU" run sweep.yaml --fresh 2>fresh.log &
        run=$!
        until grep -q 'The sweep waits for room' fresh.log; do sleep 0.1; done
        rm results/ballast
        wait $run
        echo $? >fresh.code
        test -s results/sweep.archived-1/trials.csv || exit 2
        cp -r results kept
    "#;
    let place = Place::new(SWEEP);
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "timeout", "120", "sh", "-c", SCRIPT]).current_dir(place.path(""));
    let shell = shell.env("PLATEAU", env!("CARGO_BIN_EXE_plateau")).output();
    if !place.path("run.log").exists() {
        return skip("unshare", "this system lets no process have a disk of its own");
    }
    let ended = Ended::new(shell.unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(place.read("status.log").contains("the disk is full: the sweep waits until there is room"));
    assert!(place.read("second.log").contains("in use by process"), "{}", place.read("second.log"));
    assert_eq!(
        (place.read("second.code").trim(), place.read("run.code").trim()),
        ("3", "0"),
        "{}",
        place.read("run.log")
    );
    assert_eq!(place.read("report.code").trim(), "0", "{}", place.read("report.log"));
    assert_eq!(place.read("fresh.code").trim(), "0", "{}", place.read("fresh.log"));
    fs::remove_dir(place.path("results")).unwrap();
    fs::rename(place.path("kept"), place.path("results")).unwrap();
    let undisturbed = Place::new(SWEEP);
    undisturbed.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed.curves());
}

#[test]
fn nothing_is_written_through_links() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml");
    let id = place.trials().into_keys().next().unwrap();
    for name in ["journal.jsonl", ".lock", "sweep.yaml", &format!("trials/{id}/metrics.csv"), &format!("trials/{id}")] {
        let [link, kept, victim] =
            [format!("results/sweep/{name}"), "kept".to_owned(), "victim".to_owned()].map(|name| place.path(&name));
        fs::rename(&link, &kept).unwrap();
        place.write("victim", "mine");
        symlink(&victim, &link).unwrap();
        let ended = place.plateau("run sweep.yaml");
        assert_eq!(place.read("victim"), "mine", "{name}");
        // A document that is replaced as a whole replaces the link.
        assert!(name == "sweep.yaml" || ended.code == 3, "{name}: {} {}", ended.code, ended.err);
        fs::remove_file(&link).unwrap();
        fs::rename(&kept, &link).unwrap();
    }
    place.expect(0, "run sweep.yaml");
}

#[test]
fn a_fifo_among_the_results_is_an_error_at_once() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml");
    let id = place.trials().into_keys().next().unwrap();
    for name in ["journal.jsonl", ".origin.json", &format!("trials/{id}/metrics.csv")] {
        let fifo = place.path(&format!("results/sweep/{name}"));
        fs::rename(&fifo, place.path("kept")).unwrap();
        Command::new("mkfifo").arg(&fifo).status().unwrap();
        for command in ["status sweep.yaml", "run sweep.yaml --quiet"] {
            let start = Instant::now();
            let ended = place.plateau(command);
            assert!(start.elapsed() < Duration::from_mins(1), "{name}: {command}");
            assert!(name == ".origin.json" || ended.err.contains("is a FIFO, not a regular file"), "{}", ended.err);
        }
        let _ = fs::remove_file(&fifo);
        fs::rename(place.path("kept"), &fifo).unwrap();
    }
    Command::new("mkfifo").arg(place.path("fifo.yaml")).status().unwrap();
    assert!(place.expect(2, "plan fifo.yaml").err.contains("fifo.yaml is not a regular file"));
}

/// A user deletes the folder of the trial that runs. The run must not report success without it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a user deletes a trial")]
fn a_trial_that_is_deleted_while_it_runs_is_trained_again() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(5);
    for folder in place.trials().into_values() {
        fs::remove_dir_all(folder).unwrap();
    }
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    let undisturbed = Place::new(SWEEP);
    undisturbed.expect(0, "run sweep.yaml");
    assert_eq!(place.curves(), undisturbed.curves());
}

#[test]
fn a_second_run_is_refused_although_a_user_deleted_the_lock_file() {
    let place = Place::new(SWEEP);
    let parent = place.start("run sweep.yaml");
    place.wait_for_steps(1);
    fs::remove_file(place.path("results/sweep/.lock")).unwrap();
    let second = place.expect(3, "run sweep.yaml --quiet");
    assert!(second.err.contains("is in use by"), "{}", second.err);
    signal(parent.id() as i32, Signal::TERM);
    wait(|| place.workers().is_empty());
    assert_eq!(Ended::new(parent.wait_with_output().unwrap()).code, 130);
}

#[test]
fn foreign_text_cannot_talk_to_the_terminal() {
    let place = Place::new(SHORT);
    let escape = "\u{1b}[2J\u{1b}]0;title\u{7}";
    place.write("labels.tsv", format!("text\tlabel\ngood\t{escape}\n"));
    place.write("labels.yaml", small!("steps: 3\n").replace("train.tsv", "labels.tsv"));
    place.write("key.yaml", "\"\\e[2Jkey\": 1\n");
    place.write("value.yaml", small!("steps: 3\nscheduler: \"\\e[2Jx\"\n"));
    for name in ["labels", "key", "value"] {
        let ended = place.plateau(&format!("plan {name}.yaml"));
        assert_eq!(ended.code, 2, "{name}: {}", ended.err);
        assert!(!ended.err.contains(['\u{1b}', '\u{7}']) && ended.err.contains("\\u001b"), "{name}: {:?}", ended.err);
    }
}

#[test]
fn sizes_that_the_weights_do_not_hold_are_refused_at_once() {
    let place = Place::new(SHORT);
    let config = place.read("checkpoint/config.json");
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["vocab_size"] = 100_000_000.into();
    config["hidden_size"] = 1_000_000.into();
    place.write("checkpoint/config.json", config.to_string());
    let start = Instant::now();
    let ended = place.expect(2, "plan sweep.yaml");
    assert!(ended.err.contains("but the weights hold"), "{}", ended.err);
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// A `tokenizer.json` is a small program. What it does to the process that opens it is bad input.
#[test]
fn hostile_tokenizers_are_bad_input() {
    let place = Place::new(SHORT);
    let good: serde_json::Value = serde_json::from_str(&place.read("checkpoint/tokenizer.json")).unwrap();
    let replace = serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(10)});
    let bomb = serde_json::json!({"type": "Sequence", "normalizers": vec![replace; 12]});
    let charsmap = |bytes: &str| serde_json::json!({"type": "Precompiled", "precompiled_charsmap": bytes});
    let regex = serde_json::json!({"Regex": "(?=(a+)+$)x|(\\w+\\s?)*\\1$"});
    let split = serde_json::json!({"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": false});
    // One of them takes about ten seconds of processor time.
    let splits = serde_json::json!({"type": "Sequence", "pretokenizers": vec![split; 20]});
    for (name, key, value, what) in [
        ("bomb", "normalizer", bomb, "needs more than"),
        ("charsmap", "normalizer", charsmap("AAAAAAAA"), "tokenizer.json"),
        ("other charsmap", "normalizer", charsmap("/////wAAAAA="), "tokenizer.json"),
        ("regex", "pre_tokenizer", splits, "tokenizer.json"),
    ] {
        let mut tokenizer = good.clone();
        tokenizer[key] = value;
        place.write("checkpoint/tokenizer.json", tokenizer.to_string());
        let start = Instant::now();
        let ended = place.expect(2, "plan sweep.yaml");
        assert!(ended.err.contains(what) && ended.err.contains("checkpoint"), "{name}: {}", ended.err);
        assert!(start.elapsed() < Duration::from_mins(2), "{name}: {:?}", start.elapsed());
    }
    place.write("checkpoint/tokenizer.json", good.to_string());
    place.expect(0, "plan sweep.yaml");
}

#[test]
fn files_of_a_checkpoint_above_sane_sizes_are_not_read() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let place = Place::new(SHORT);
        let file = fs::OpenOptions::new().write(true).open(place.path(&format!("checkpoint/{name}"))).unwrap();
        file.set_len(8 << 30).unwrap();
        let start = Instant::now();
        let ended = place.expect(2, "plan sweep.yaml");
        assert!(ended.err.contains(name) && ended.err.contains("8589934592"), "{}", ended.err);
        assert!(start.elapsed() < Duration::from_secs(30), "{name}: {:?}", start.elapsed());
    }
}

/// The child that opens checkpoints must not survive its parent.
#[test]
fn no_process_outlives_a_plan_that_is_killed() {
    let place = Place::new(SHORT);
    let mut parent = place.start("plan sweep.yaml");
    std::thread::sleep(Duration::from_millis(100));
    signal(parent.id() as i32, Signal::KILL);
    parent.wait().unwrap();
    let took = wait(|| place.inspectors().is_empty());
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A sweep file from another person may name programs. They do not run before the user agrees.
#[test]
fn programs_of_a_sweep_file_run_after_consent() {
    let sweep = |program: &str| {
        small!("steps: 2\naugmentation: {name: back_translation, out: PROGRAM, home: cat}\n")
            .replace("PROGRAM", program)
    };
    let place = Place::new(&sweep("tee ran"));
    let refused = place.expect(2, "run sweep.yaml --quiet").err;
    assert!(refused.contains("\n  tee ran\n  cat\n") && refused.contains("--trust"), "{refused}");
    assert!(!place.path("ran").exists() && !place.path("results/sweep").exists());
    place.expect(0, "plan sweep.yaml");
    assert!(!place.path("ran").exists(), "a plan runs no programs");
    place.expect(0, "run sweep.yaml --quiet --trust");
    assert!(place.path("ran").exists());
    place.expect(0, "run sweep.yaml --quiet");
    // Another program, and the same programs in another file.
    place.write("sweep.yaml", sweep("tee -a ran"));
    place.expect(2, "run sweep.yaml --quiet");
    place.write("other.yaml", sweep("tee ran"));
    place.expect(2, "run other.yaml --quiet");
    // The same command line, but the script behind it has another content.
    place.write("sweep.yaml", sweep("./translate.sh"));
    place.write_program("translate.sh", "exec cat");
    place.expect(2, "run sweep.yaml --quiet");
    place.expect(0, "run sweep.yaml --quiet --trust");
    place.expect(0, "run sweep.yaml --quiet");
    place.write_program("translate.sh", "exec tee hidden");
    assert!(place.expect(2, "run sweep.yaml --quiet").err.contains("whose files have changed"));
    // The same for a script of an interpreter.
    place.write("sweep.yaml", sweep("sh talk.sh"));
    place.write("talk.sh", "exec cat\n");
    place.expect(0, "run sweep.yaml --quiet --trust");
    place.write("talk.sh", "exec tee hidden\n");
    place.expect(2, "run sweep.yaml --quiet");
    assert!(!place.path("hidden").exists());
    // What the user types himself needs no consent.
    place.write("plain.yaml", small!("steps: 2\n"));
    let mut command = place.command("run plain.yaml --quiet --set");
    command.arg("augmentation={name: back_translation, out: tee typed, home: cat}");
    assert_eq!(Ended::new(command.output().unwrap()).code, 0);
    assert!(place.path("typed").exists());
}

/// Processor time of `plateau plan` on `sweep`, in seconds, and its exit code. Other programs on the machine do not count.
fn cost_of_plan(place: &Place, sweep: &str) -> (f64, i32) {
    place.write("huge.yaml", sweep);
    // The second line of `times` is that of the children: minutes and seconds in user mode, then in the kernel.
    let script = "\"$@\" >plan.log 2>&1; code=$?; times; exit $code";
    let shell = ["-c", script, "sh", env!("CARGO_BIN_EXE_plateau"), "plan", "huge.yaml"];
    let ended = Ended::new(Command::new("/bin/sh").args(shell).current_dir(place.path(".")).output().unwrap());
    let seconds = |time: &str| {
        let (minutes, seconds) = time.strip_suffix('s').unwrap().split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    };
    (ended.out.lines().nth(1).unwrap().split_whitespace().map(seconds).sum(), ended.code)
}

/// Four times as much takes about four times as long, and would take sixteen times as long if the time grew with the square.
#[test]
fn the_time_to_plan_grows_with_the_size_of_the_sweep_file() {
    type OfSize<'s> = &'s dyn Fn(usize) -> String;
    let place = Place::new(SHORT);
    let head = small!("steps: 3\n");
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    let seeds = |n: usize| format!("{head}seeds: [{}]\n", list(n, &|i| i.to_string()));
    let rates = |n: usize| format!("{head}zip: {{lr: [{}]}}\n", list(n, &|i| format!("{}e-9", i + 1)));
    let equal = |n: usize| format!("{head}zip: {{lr: [{}]}}\n", list(n, &|_| "1e-3".into()));
    let cases: [(&str, OfSize<'_>, usize, i32); 3] =
        [("seeds", &seeds, 4_000, 0), ("rates", &rates, 4_000, 0), ("equal rates", &equal, 15_000, 2)];
    // The costs that do not depend on the size are not compared.
    let (fixed, _) = cost_of_plan(&place, &seeds(1));
    for (name, sweep, size, code) in cases {
        let [(one, first), (four, second)] = [size, 4 * size].map(|size| cost_of_plan(&place, &sweep(size)));
        assert_eq!(
            [first, second],
            [code; 2],
            "{name}: {}",
            place.read("plan.log").chars().take(500).collect::<String>()
        );
        assert!(four - fixed < 9.0 * (one - fixed).max(0.05), "{name}: {one} s, and {four} s for four times as much");
    }
}

/// What is far beyond any use is refused before it is expanded.
#[test]
fn huge_sweep_files_are_refused() {
    let place = Place::new(SHORT);
    let head = small!("steps: 3\n");
    let aliases = vec!["*a"; 100_000].join(",");
    for (sweep, expected) in [
        ((0..200_000).map(|i| format!("k{i}: 1")).collect::<Vec<_>>().join("\n"), "a map of more than 1000 keys"),
        (
            format!("seeds: [{}]\n", (0..100_001).map(|i| i.to_string()).collect::<Vec<_>>().join(",")),
            "more than 100,000",
        ),
        (format!("name: &a \"{}\"\ngrid: {{lr: [{aliases}]}}\n", "x".repeat(1_000_000)), "too large for a sweep"),
    ] {
        let (_, code) = cost_of_plan(&place, &(head.to_owned() + &sweep));
        let message = place.read("plan.log");
        assert!(
            code == 2 && message.contains(expected),
            "{expected}: {}",
            message.chars().take(500).collect::<String>()
        );
    }
}
