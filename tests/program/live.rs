//! The live view of a run: on terminals of several kinds, through a pipe, and from another process.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use console::{measure_text_width, strip_ansi_codes};
use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};
use crate::skip::skip;

const SWEEP: &str = small!(
    "steps: 12
eval_every: 4
grid: {lr: [1e-3, 1e-4]}
seeds: [1, 2]
"
);

fn endless() -> Place {
    Place::new(&SWEEP.replace("steps: 12", "steps: 2000000"))
}

const NO_SCRIPT: &str = "the program `script` of util-linux is missing";

/// `plateau` with `arguments` on a pseudo-terminal of this width, through `script` of util-linux. The files `screen`, `tty` and
/// `pid` receive its output, the terminal's name and the process id. None if there is no such program.
fn on_terminal(place: &Place, term: &str, columns: usize, arguments: &str) -> Option<Command> {
    let known = Command::new("script").arg("--version").output();
    if !known.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        return None;
    }
    let program = env!("CARGO_BIN_EXE_plateau");
    let line = format!("stty cols {columns} rows 24; tty > tty; echo $$ > pid; exec {program} {arguments}");
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).current_dir(place.path(".")).env("TERM", term);
    command.stdin(Stdio::null()).stdout(File::options().create(true).append(true).open(place.path("screen")).unwrap());
    Some(command)
}

/// The lines of the live view in the output for a terminal of this width. The view pads its lines to the width and writes no
/// line ends, so a line that is too long shifts all lines after it.
fn view(screen: &str, columns: usize) -> Vec<String> {
    let plain = strip_ansi_codes(screen);
    let words = ["sweep: ", "report: ", "Interrupted"];
    let sent = plain.split(['\r', '\n']).filter(|text| !text.trim().is_empty());
    let of_view = sent.filter(|text| !words.iter().any(|word| text.starts_with(word)));
    let lines = of_view.flat_map(|text| {
        let all: Vec<char> = text.chars().collect();
        all.chunks(columns).map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect::<Vec<_>>()
    });
    lines.collect()
}

/// Fails on a line that is too wide, or that does not start like a line of the view.
fn check_view(lines: &[String], columns: usize) {
    let starts = ["sweep  ", "cpu", "and ", "best so far ", "[", "     "];
    // Above the view stand the lines about the data, and below it what to do next.
    let view = lines.iter().skip_while(|line| !line.starts_with("sweep  "));
    let view = view.take_while(|line| !line.starts_with("Label new texts"));
    for line in view {
        let known = starts.iter().any(|start| line.starts_with(start));
        assert!(known && measure_text_width(line) < columns, "{line:?} of {lines:?}");
    }
}

/// The output to the terminal after its first `skipped` bytes.
fn screen(place: &Place, skipped: usize) -> String {
    let sent = fs::read(place.path("screen")).unwrap_or_default();
    String::from_utf8_lossy(&sent[skipped.min(sent.len())..]).into_owned()
}

#[test]
fn the_live_block_fits_its_terminal() {
    for columns in [80, 200] {
        let place = Place::new(&SWEEP.replace("steps: 12", "steps: 60"));
        let Some(mut command) = on_terminal(&place, "xterm", columns, "run sweep.yaml --jobs 2") else {
            return skip("script", NO_SCRIPT);
        };
        assert!(command.status().unwrap().success(), "{}", screen(&place, 0));
        let (screen, lines) = (screen(&place, 0), view(&screen(&place, 0), columns));
        assert!(screen.contains('\u{1b}') && lines.iter().any(|line| line.contains(" running")), "{screen}");
        check_view(&lines, columns);
        let plain = strip_ansi_codes(&screen).into_owned();
        for done in 1..=4 {
            assert!(plain.contains(&format!("[{done}/4]  ")), "a lasting line for each trial: {plain}");
        }
        assert!(plain.contains("results/sweep/report/index.html"), "{plain}");
    }
}

#[test]
fn the_live_block_follows_a_terminal_that_shrinks() {
    let place = endless();
    let Some(mut command) = on_terminal(&place, "xterm", 120, "run sweep.yaml --jobs 2") else {
        return skip("script", NO_SCRIPT);
    };
    let mut run = command.spawn().unwrap();
    wait(|| view(&screen(&place, 0), 120).iter().any(|line| line.contains(" step ")));
    let terminal = File::open(place.read("tty").trim()).unwrap();
    assert!(Command::new("stty").args(["cols", "40", "rows", "5"]).stdin(terminal).status().unwrap().success());
    // Wait for output that was on its way when the size changed.
    thread::sleep(Duration::from_secs(1));
    let before = fs::read(place.path("screen")).unwrap().len();
    wait(|| view(&screen(&place, before), 40).len() > 12);
    let shrunk = screen(&place, before);
    // The file may start and end in the middle of a line.
    let whole = shrunk.split_once('\r').map_or("", |(_, rest)| rest);
    let whole = whole.rsplit_once('\r').map_or("", |(first, _)| first);
    signal(place.read("pid").trim().parse().unwrap(), Signal::INT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let lines = view(whole, 40);
    assert!(lines.len() > 4, "{lines:?}");
    check_view(&lines, 40);
}

#[test]
fn pipes_and_dumb_terminals_get_plain_lines() {
    let place = Place::new(SWEEP);
    let piped = place.expect(0, "run sweep.yaml --only seed=1").err;
    assert!(piped.contains("[1/2]  ") && piped.contains("[2/2]  ") && !piped.contains('\u{1b}'), "{piped}");
    let Some(mut command) = on_terminal(&place, "dumb", 80, "run sweep.yaml") else { return skip("script", NO_SCRIPT) };
    assert!(command.status().unwrap().success());
    let dumb = screen(&place, 0);
    assert!(dumb.contains("[4/4]  ") && !dumb.contains('\u{1b}'), "{dumb}");
}

#[test]
fn a_run_is_watched_from_another_process() {
    let place = endless();
    let no_process = place.expect(2, "watch sweep.yaml").err;
    assert!(no_process.contains("no process is running sweep.yaml now. `plateau status sweep.yaml`"), "{no_process}");
    let mut run = place.start("run sweep.yaml --jobs 2 --progress none");
    place.wait_for_steps(3);
    // Ending the watcher does not end the run.
    let mut first = place.start("watch sweep.yaml");
    thread::sleep(Duration::from_millis(300));
    signal(first.id() as i32, Signal::INT);
    first.wait().unwrap();
    assert!(run.try_wait().unwrap().is_none());
    let status = place.expect(0, "status sweep.yaml").out;
    assert!(status.contains("4 trials, 0 finished, 2 running, 0 failed, 2 left"), "{status}");
    signal(run.id() as i32, Signal::INT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    // The watcher must start before the run ends. Each try gives it more time.
    let seen = [300, 1500, 7500].map(Duration::from_millis).into_iter().find_map(|pause| {
        let mut run = place.start("run sweep.yaml --jobs 2 --progress none");
        wait(|| place.workers().len() == 2);
        let watcher = place.start("watch sweep.yaml --progress lines");
        thread::sleep(pause);
        signal(run.id() as i32, Signal::INT);
        assert_eq!(run.wait().unwrap().code(), Some(130));
        Some(Ended::new(watcher.wait_with_output().unwrap())).filter(|seen| !seen.err.contains("no process is running"))
    });
    let seen = seen.unwrap();
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.err.ends_with("The run was interrupted. `plateau run sweep.yaml` continues it.\n"), "{seen:?}");
}

#[test]
fn a_run_is_watched_to_its_end() {
    let place = Place::new(&SWEEP.replace("steps: 12", "steps: 400"));
    let mut run = place.start("run sweep.yaml --jobs 1 --progress none");
    place.wait_for_steps(1);
    let seen = place.expect(0, "watch sweep.yaml").err;
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(seen.contains("[4/4]  ") && seen.contains("4/4 trials"), "{seen}");
    assert!(seen.trim_end().ends_with("results/sweep/report/index.html"), "{seen}");
}
