//! `plateau probe`: probes of trials that plateaued, also killed and continued, and their conclusions.

use std::fs;
use std::path::PathBuf;

use insta::assert_snapshot;

use crate::place::{Place, signal, wait};

/// One learning rate is far too low, the other one works.
const SWEEP: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint, dropout: 0}
batch_size: 8
steps: 60
eval_every: 5
grid: {lr: [1e-9, 1e-3]}
";

const PROBE: &str = "probe sweep.yaml --seeds 2 --jobs 2";

fn ran(sweep: &str) -> Place {
    let place = Place::new(sweep);
    place.expect(0, "run sweep.yaml --progress none");
    place
}

fn probes(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("results/sweep/probes/trials")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The id of the trial with the low learning rate.
fn slow(place: &Place) -> String {
    let table = place.read("results/sweep/trials.csv");
    let row = table.lines().find(|line| line.contains(",1e-9,")).unwrap();
    row.split(',').next().unwrap().to_owned()
}

#[test]
fn a_low_rate_is_found_and_reported() {
    let place = ran(SWEEP);
    let id = slow(&place);
    let before = place.curves();
    let ended = place.expect(0, &format!("{PROBE} --trial {id}"));
    assert!(ended.err.contains("no training state of its plateau was kept"), "{}", ended.err);
    let mut last = ended.out.lines().rev();
    assert_eq!(last.next(), Some("  primary cause: RATE_TOO_LOW (by the curves alone: PRIOR_STUCK)"));
    let reading = last.next().unwrap();
    assert!(reading.starts_with("  RATE_TOO_LOW: the learning rate is too low; "), "{}", ended.out);
    for row in [
        "lr × 0.1 (5.6e-11)  ",
        "memorise one batch (1e-9)  not memorised in 1000 steps (2 of 2 seeds)",
        "one batch, usual lr (5e-5)  ",
    ] {
        let squeezed = ended.out.split('\n').map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert!(squeezed.iter().any(|line| squeeze(line).contains(&squeeze(row))), "{row:?} in {}", ended.out);
    }
    assert_eq!(place.curves(), before, "the probed trials do not change");
    // Probes are ordinary trials in a sub-folder: the approach, and two seeds of each of seven probes.
    let table = place.read("results/sweep/probes/trials.csv");
    assert!(table.starts_with("id,trial,probe,seed,status,"), "{table}");
    assert_eq!((table.lines().count(), probes(&place).len()), (16, 15));
    assert!(place.path("results/sweep/probes/report/index.html").is_file());
    assert!(!place.path("results/sweep/probes/starts").exists(), "training states are removed");
    for file in ["probes.png", "probes.svg"] {
        assert!(place.path("results/sweep/report").join(file).is_file(), "{file}");
    }
    assert!(place.read("results/sweep/report/summary.md").contains("**RATE\\_TOO\\_LOW: "));
    assert!(place.read("results/sweep/report/index.html").contains("RATE_TOO_LOW: the learning rate is too low"));
    // A second call trains nothing, and a redrawn report keeps the results.
    let journal = place.read("results/sweep/probes/journal.jsonl").matches("attempt_started").count();
    let again = place.expect(0, &format!("{PROBE} --trial {id}"));
    assert_eq!(again.out, ended.out);
    let quiet = place.expect(0, &format!("{PROBE} --trial {id} -q"));
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let events = place.expect(0, &format!("{PROBE} --trial {id} --progress json")).out;
    assert!(events.lines().count() > 1, "{events}");
    assert!(events.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{events}");
    assert_eq!(place.read("results/sweep/probes/journal.jsonl").matches("attempt_started").count(), journal);
    place.expect(0, "report sweep.yaml");
    assert!(place.read("results/sweep/report/summary.md").contains("**RATE\\_TOO\\_LOW: "));
}

/// Replaces each run of spaces by one space.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn killed_probes_continue_to_the_same_conclusion() {
    // One seed, for speed: half as many probes as above.
    const PROBE: &str = "probe sweep.yaml --seeds 1 --jobs 2";
    let undisturbed = ran(SWEEP);
    let id = slow(&undisturbed);
    let whole = undisturbed.expect(0, &format!("{PROBE} --trial {id}"));
    let place = ran(SWEEP);
    let rows = |folder: &PathBuf| fs::read_to_string(folder.join("metrics.csv")).unwrap_or_default().lines().count();
    for trials in [1, 3, 6] {
        let mut parent = place.start(&format!("{PROBE} --trial {id}"));
        wait(|| probes(&place).iter().filter(|folder| rows(folder) > 3).count() >= trials);
        signal(parent.id().cast_signed(), rustix::process::Signal::KILL);
        parent.wait().unwrap();
        wait(|| place.workers().is_empty());
    }
    let ended = place.expect(0, &format!("{PROBE} --trial {id}"));
    assert_eq!(ended.out, whole.out);
    assert_eq!(probes(&place).len(), probes(&undisturbed).len());
}

#[test]
fn a_run_can_end_with_its_probes() {
    let place = Place::new(&format!("{SWEEP}run: {{probe: plateaus, jobs: 2}}\n"));
    let ended = place.expect(0, "run sweep.yaml");
    assert!(!ended.err.contains("trained again"), "the states were kept: {}", ended.err);
    assert!(ended.out.contains("where its lr was "), "{}", ended.out);
    let kept = place.kept_states();
    assert!(kept.iter().all(|(_, name, _)| name == "weights.safetensors") && kept.len() == 1, "run.keep is winner");
    assert!(place.path("results/sweep/report/probes.png").is_file());
    let again = place.expect(0, "run sweep.yaml");
    assert_eq!(again.out, ended.out);
}

/// The probes of a search are those of a grid with the same trials: nothing is drawn for them.
#[test]
fn trials_of_a_search_are_probed() {
    let searched = SWEEP.replace("grid:", "search: {sampler: random, trials: 2}\nspace:");
    let place = Place::new(&format!("{searched}run: {{probe: plateaus, jobs: 2}}\n"));
    let ended = place.expect(0, "run sweep.yaml");
    assert!(ended.out.contains("where its lr was "), "{}", ended.out);
    let table = place.read("results/sweep/probes/trials.csv");
    assert!(table.starts_with("id,trial,probe,seed,status,"), "{table}");
    assert_eq!(place.read("results/sweep/trials.csv").lines().count(), 3);
    let id = slow(&place);
    let again = place.expect(0, &format!("{PROBE} --trial {id}"));
    assert!(again.out.contains("memorise one batch (1e-9)"), "{}", again.out);
    let trials = place.trials();
    for row in place.read("results/sweep/probes/trials.csv").lines().skip(1) {
        assert!(row.split(',').nth(1).is_some_and(|trial| trials.contains_key(trial)), "no probe of a trial: {row}");
    }
}

#[test]
fn mistakes() {
    let place = Place::new(SWEEP);
    let message = |arguments: &str| place.plain(&place.expect(2, arguments).err);
    assert_snapshot!(message("probe sweep.yaml"), @"error: sweep: nothing was run yet. Run it with `plateau run sweep.yaml`");
    assert!(!place.path("results").exists());
    place.expect(0, "run sweep.yaml --progress none --only lr=1e-3");
    assert_snapshot!(message("probe sweep.yaml --trial 0123456789ab"), @"error: --trial 0123456789ab: sweep has no such trial. `plateau plan sweep.yaml` lists them");
    let plan = place.expect(0, "plan sweep.yaml --format csv").out;
    let low = plan.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let open = message(&format!("probe sweep.yaml --trial {low}"));
    assert_snapshot!(open.replace(&low, "ID"), @"error: --trial ID: the trial has not ended. `plateau run sweep.yaml` continues it");
    assert!(message("probe sweep.yaml --budget 0").contains("expected a share such as 5% or 0.05"));
}
