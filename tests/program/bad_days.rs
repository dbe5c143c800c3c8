//! Bad days, continued: links in place of folders, files of dead writers, numbers with which no network can be computed, and
//! programs that outlive their parents.

#![expect(clippy::disallowed_methods, reason = "the tests move files of the program away")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};

use crate::place::{Ended, Place, signal, small, wait};

const SHORT: &str = small!("steps: 4\neval_every: 2\ngrid: {lr: [1e-3]}\nrun: {jobs: 1}\n");
const LONG: &str = small!("steps: 100000\neval_every: 50000\nrun: {jobs: 1}\n");

/// The report is drawn again after each evaluation.
#[cfg(target_os = "linux")]
const BUSY: &str = small!("steps: 100000\neval_every: 5\nrun: {jobs: 1}\n");

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Puts `other` in the place of `path` while `test` runs.
fn in_place_of(path: &Path, other: impl Fn(&Path), test: impl Fn()) {
    let kept = path.with_file_name("kept-aside");
    fs::rename(path, &kept).unwrap();
    other(path);
    test();
    fs::remove_file(path).unwrap();
    fs::rename(&kept, path).unwrap();
}

#[test]
fn no_command_follows_a_link_below_the_results_of_a_sweep() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml --quiet");
    let id = place.trials().into_keys().next().unwrap();
    // The folder of all results may be a link: that is where the user wants them.
    fs::rename(place.path("results"), place.path("disk")).unwrap();
    symlink(place.path("disk"), place.path("results")).unwrap();
    place.expect(0, "run sweep.yaml --quiet");
    for name in ["trials", &format!("trials/{id}"), &format!("trials/{id}/attempts")] {
        let folder = place.path(&format!("results/sweep/{name}"));
        let real = folder.with_file_name("kept-aside");
        in_place_of(
            &folder,
            |link| symlink(&real, link).unwrap(),
            || {
                for command in [
                    "run",
                    "status",
                    "report",
                    "watch",
                    "compare sweep.yaml",
                    "export --format csv",
                    "predict train.tsv",
                ] {
                    let (verb, more) = command.split_once(' ').unwrap_or((command, ""));
                    let ended = place.expect(3, &format!("{verb} sweep.yaml {more}"));
                    let message = format!("results/sweep/{name} is a symbolic link");
                    assert!(ended.err.contains(&message) && ended.err.contains("Put the"), "{command}: {}", ended.err);
                }
                let all = place.expect(0, "status").err;
                assert!(all.contains(&format!("sweep: {}", folder.display())), "{all}");
            },
        );
    }
    let sweep = place.path("results/sweep");
    in_place_of(
        &sweep,
        |link| symlink(place.path("results/kept-aside"), link).unwrap(),
        || {
            assert!(place.expect(3, "status sweep.yaml").err.contains("results/sweep is a symbolic link"));
        },
    );
    place.expect(0, "run sweep.yaml --quiet");
}

/// The folder of a running trial is moved away, and a link to it takes its place.
#[test]
fn a_link_that_appears_during_a_run_ends_it() {
    let place = Place::new(LONG);
    let parent = place.start("run sweep.yaml --quiet");
    place.wait_for_steps(1);
    let (id, folder) = place.trials().into_iter().next().unwrap();
    fs::rename(&folder, place.path("moved")).unwrap();
    symlink(place.path("moved"), &folder).unwrap();
    let start = Instant::now();
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains(&format!("trials/{id} is a symbolic link")), "{}", ended.err);
    assert!(!place.path("moved/outcome.json").exists());
}

/// The live report is drawn by a thread of its own.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_drawn_through_a_link_in_place_of_the_sweep() {
    let place = Place::new(BUSY);
    let parent = place.start("run sweep.yaml --quiet");
    wait(|| place.path("results/sweep/report/index.html").exists());
    let [folder, link, elsewhere] = ["results/sweep", "results/link", "elsewhere"].map(|name| place.path(name));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    // At once, because the run may write at any moment.
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, &link, rustix::fs::CWD, &folder, exchange).unwrap();
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("results/sweep is a symbolic link"), "{}", ended.err);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn messages_say_what_stands_in_the_place_of_a_folder_or_a_file() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml --quiet");
    let id = place.trials().into_keys().next().unwrap();
    in_place_of(&place.path(&format!("results/sweep/trials/{id}/attempts")), make_fifo, || {
        let message = place.expect(3, "run sweep.yaml").err;
        assert!(message.contains("/attempts is a FIFO, but a folder of results belongs there"), "{message}");
    });
    // Also where the sweep is given by its name.
    for name in ["report", ".origin.json"] {
        in_place_of(&place.path(&format!("results/sweep/{name}")), make_fifo, || {
            let message = place.expect(3, "status sweep").err;
            assert!(message.contains(&format!("results/sweep/{name} is a FIFO")), "{message}");
        });
    }
    place.write("checkpoint/vocab.txt", "[PAD]\n[UNK]\n");
    fs::remove_file(place.path("checkpoint/tokenizer.json")).unwrap();
    for name in ["config.json", "model.safetensors", "vocab.txt"] {
        let file = place.path(&format!("checkpoint/{name}"));
        in_place_of(&file, make_fifo, || {
            let message = place.expect(2, "plan sweep.yaml").err;
            assert!(message.contains(&format!("checkpoint/{name}: this is a FIFO; put the file")), "{message}");
        });
        in_place_of(
            &file,
            |path| symlink("nowhere", path).unwrap(),
            || {
                let message = place.expect(2, "plan sweep.yaml").err;
                assert!(message.contains("this is a symbolic link to a file that does not exist"), "{message}");
            },
        );
    }
    fs::create_dir(place.path("checkpoint/tokenizer.json")).unwrap();
    assert!(place.expect(2, "plan sweep.yaml").err.contains("checkpoint/tokenizer.json: this is a folder"));
}

#[test]
fn numbers_with_which_no_network_can_be_computed_are_refused_at_plan() {
    let place = Place::new(SHORT);
    let config = place.read("checkpoint/config.json");
    for (key, value) in [("layer_norm_eps", "-1e-12"), ("initializer_range", "1e300"), ("hidden_dropout_prob", "1.5")] {
        let mut changed: serde_json::Value = serde_json::from_str(&config).unwrap();
        changed[key] = serde_json::from_str(value).unwrap();
        place.write("checkpoint/config.json", changed.to_string());
        let message = place.expect(2, "plan sweep.yaml").err;
        assert!(message.contains(&format!("config.json: {key} is ")) && message.contains("it must be"), "{message}");
    }
}

/// A process that is killed while it writes leaves a temporary file.
#[test]
fn files_of_dead_writers_are_removed_and_those_of_living_ones_stay() {
    let place = Place::new(SHORT);
    place.expect(0, "run sweep.yaml --quiet");
    let [dead, living, table] = ["report/.index.html", "report/.curves.png", ".trials.csv"]
        .map(|name| format!("results/sweep/{name}.0123456789abcdef.unfinished"));
    for name in [&dead, &living, &table] {
        place.write(name, "half");
    }
    let writer = File::open(place.path(&living)).unwrap();
    writer.lock().unwrap();
    place.expect(0, "report sweep.yaml");
    assert_eq!([&dead, &living, &table].map(|name| place.path(name).exists()), [false, true, false]);
    drop(writer);
    place.expect(0, "run sweep.yaml --quiet");
    assert!(!place.path(&living).exists());
}

#[test]
fn a_run_whose_lock_file_was_deleted_still_counts_as_running() {
    let place = Place::new(LONG);
    let mut parent = place.start("run sweep.yaml --quiet");
    place.wait_for_steps(1);
    for _ in 0..4 {
        let _ = fs::remove_file(place.path("results/sweep/.lock"));
        let status = place.expect(0, "status sweep.yaml").out;
        assert!(status.contains("1 running"), "{status}");
    }
    signal(parent.id() as i32, Signal::INT);
    assert_eq!(parent.wait().unwrap().code(), Some(130));
    assert!(place.expect(0, "status sweep.yaml").out.contains("0 running"));
}

/// A translator starts a process in a session of its own, as a daemon does. Nothing may tell it that the run has ended.
#[test]
#[cfg(target_os = "linux")]
fn no_process_of_a_translator_outlives_the_run() {
    let sweep = "steps: 2\naugmentation: {name: back_translation, out: ./out.sh, home: cat}\n";
    for end in [Signal::KILL, Signal::TERM] {
        let place = Place::new(&format!("{}{sweep}", small!("")));
        place.write_program(
            "out.sh",
            "(setsid sh -c 'echo $$ > daemon; sleep 600' &)\necho $$ > program\nexec sleep 600",
        );
        let mut parent = place.start("run sweep.yaml --trust");
        let pids = || -> Vec<Pid> {
            let pid = |name| fs::read_to_string(place.path(name)).ok()?.trim().parse().ok().and_then(Pid::from_raw);
            ["program", "daemon"].into_iter().filter_map(pid).collect()
        };
        wait(|| pids().len() == 2);
        signal(parent.id() as i32, end);
        parent.wait().unwrap();
        let took = wait(|| pids().into_iter().all(|pid| test_kill_process(pid).is_err()));
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
