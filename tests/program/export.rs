//! What leaves a sweep: comparisons with another, and its numbers for other programs.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::place::{Place, small};

const SWEEP: &str = small!(
    "steps: 12
eval_every: 4
grid: {lr: [1e-3, 1e-4]}
seeds: [1, 2]
"
);

#[test]
fn two_sweeps_side_by_side() {
    let place = Place::new(SWEEP);
    place.write("other.yaml", format!("{SWEEP}warmup: 0.5\n"));
    let alone = place.expect(2, "compare sweep.yaml").err;
    assert!(alone.contains("2 values required"), "{alone}");
    let nothing = place.expect(2, "compare sweep.yaml other.yaml").err;
    assert!(nothing.contains("sweep.yaml: nothing was run yet. `plateau run sweep.yaml` does"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    place.expect(0, "run other.yaml --only lr=1e-3");
    let compared = place.expect(0, "compare sweep.yaml other.yaml");
    let lines: Vec<&str> = compared.out.lines().collect();
    assert_eq!(lines[0], "warmup: 0.1 | 0.5", "{compared:?}");
    let head: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(head, ["configuration", "sweep", "other", "difference"]);
    // Twelve steps teach this model nothing, and what did not survive enters no mean.
    let row: Vec<&str> = lines[3].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row, ["LR 1e-3", "2 of 2 stuck", "2 of 2 stuck", "–"], "{compared:?}");
    assert!(lines[4].contains("unfinished"), "{compared:?}");
    assert_eq!(lines[6], "other: no configuration in common with sweep that survived in both", "{compared:?}");
    assert!(compared.err.ends_with("results/compare/sweep-vs-other.png\n"), "{compared:?}");
    assert!(fs::read(place.path("results/compare/sweep-vs-other.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(place.path("results/compare/sweep-vs-other.svg").is_file());
}

#[test]
fn exports_hold_what_was_measured() {
    let place = Place::new(SWEEP);
    let nothing = place.expect(2, "export sweep.yaml --format csv").err;
    assert!(nothing.contains("nothing was run yet, so there is nothing to export"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    let table = place.expect(0, "export sweep.yaml --format csv").out;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let head = "id,lr,seed,status,step,train_loss,learning_rate,grad_norm,eval_loss,accuracy,macro_f1";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), head);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4 * 13, "step 0 is evaluated, each of the twelve others measured");
    for (id, folder) in place.trials() {
        let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
        let last: Vec<&str> = metrics.lines().last().unwrap().split(',').collect();
        let row = rows.iter().find(|row| row[0] == *id && &row[4] == "12").unwrap();
        assert_eq!((&row[3], &row[5], &row[6], &row[7]), ("finished", last[2], last[3], last[4]));
    }
    place.expect(0, "export sweep.yaml --format csv -o out/table.csv");
    assert_eq!(place.read("out/table.csv"), table);
    let document = place.expect(0, "export sweep.yaml --format json").out;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["trials"].as_array().unwrap().len(), 4);
    assert_eq!(document["trials"][0]["metrics"].as_array().unwrap().len(), 12);
    let said = place.expect(0, "export sweep.yaml --format tensorboard").err;
    assert!(said.starts_with("see it with: tensorboard --logdir "), "{said}");
    assert!(said.ends_with("results/sweep/tensorboard\n"), "{said}");
    let folders: Vec<_> = fs::read_dir(place.path("results/sweep/tensorboard")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 4);
    assert!(folders.iter().all(|folder| folder.path().join("events.out.tfevents.0.plateau").is_file()));
}

/// The server of MLflow itself, where `PLATEAU_PYTHON` (or python3) has it.
#[test]
fn mlflow_takes_a_sweep() {
    let python = std::env::var("PLATEAU_PYTHON").unwrap_or_else(|_| "python3".into());
    let known = Command::new(&python).args(["-c", "import mlflow.server"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: no mlflow in {python} (PLATEAU_PYTHON names another)");
    }
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let store = format!("sqlite:///{}", place.path("mlflow.db").display());
    let mut server = Command::new(&python)
        .args(["-m", "mlflow", "server", "--port", &port.to_string(), "--workers", "1", "--backend-store-uri", &store])
        .current_dir(place.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_mins(5) && server.try_wait().unwrap().is_none(), "no server");
        thread::sleep(Duration::from_millis(200));
    }
    let export = format!("export sweep.yaml --format mlflow --url {url}");
    let (first, second) = (place.plateau(&export), place.plateau(&export));
    let script = "import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1]); client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name('sweep')
runs = client.search_runs([experiment.experiment_id])
for run in sorted(runs, key=lambda run: run.data.params['lr'] + run.data.params['seed']):
    history = client.get_metric_history(run.info.run_id, 'train_loss')
    print(run.info.status, run.data.params['lr'], run.data.params['seed'], len(history), history[-1].step, run.data.tags['plateau.trial'])";
    let read = Command::new(&python).args(["-c", script, &url]).output().unwrap();
    let group = rustix::process::Pid::from_raw(server.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    server.wait().unwrap();
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    assert!(first.err.contains("4 trials sent to the experiment sweep, 0 were there"), "{first:?}");
    assert!(second.err.contains("0 trials sent to the experiment sweep, 4 were there"), "{second:?}");
    let said = String::from_utf8(read.stdout).unwrap();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 4, "{said}{}", String::from_utf8_lossy(&read.stderr));
    assert!(lines.iter().all(|line| line[0] == "FINISHED" && line[3..5] == ["12", "12"]), "{said}");
    assert!(lines.iter().all(|line| place.trials().contains_key(line[5])), "{said}");
}
