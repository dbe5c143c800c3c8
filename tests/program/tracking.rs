//! Curves in TensorBoard and MLflow, sent by `plateau export` and, with `run.log_to`, during the run.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::place::{Ended, Place, signal, small, wait};
use crate::skip::skip;

const SWEEP: &str = small!(
    "steps: 600
eval_every: 100
grid: {lr: [1e-3, 1e-4]}
run: {jobs: 1, checkpoint_every: 50}
"
);

const FILES: &str = "results/sweep/tensorboard";

fn tracked(to: &str) -> Place {
    Place::new(&SWEEP.replace("run: {", &format!("run: {{log_to: {to}, ")))
}

/// Kills a run when `is_so` becomes true.
fn kill_when(place: &Place, mut run: Child, is_so: impl Fn() -> bool) {
    long_wait(is_so);
    signal(run.id() as i32, Signal::KILL);
    run.wait().unwrap();
    wait(|| place.workers().is_empty());
}

#[test]
fn event_files_grow_with_the_sweep_and_hold_no_step_twice() {
    let place = tracked("tensorboard");
    // Many steps, because event files grow every two seconds, and the sweep must last longer on any machine.
    let run = place.start("run sweep.yaml --set steps=1500 --progress none");
    kill_when(&place, run, || place.events_files(FILES).values().any(|size| *size > 0));
    let begun = place.events_files(FILES);
    assert!(place.count("trial_finished") < 2, "the kill came before the sweep ended");
    let ended = place.expect(0, "run sweep.yaml --set steps=1500");
    assert!(!ended.err.contains("log_to"), "{ended:?}");
    let grown = place.events_files(FILES);
    assert!(begun.keys().next().unwrap().starts_with("lr=1e-3,"), "{begun:?}");
    assert!(begun.values().sum::<u64>() < grown.values().sum(), "{begun:?} {grown:?}");
    place.expect(0, "export sweep.yaml --set steps=1500 --format tensorboard -o anew");
    assert_eq!((grown.len(), &grown), (2, &place.events_files("anew")));
}

#[test]
fn unwritable_event_files_warn_once() {
    let place = tracked("tensorboard");
    place.write(FILES, "a file in the way of the folder");
    let ended = place.expect(0, "run sweep.yaml");
    let lines: Vec<&str> = ended.err.lines().filter(|line| line.contains("tensorboard")).collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(lines[0].starts_with("warning: run.log_to: tensorboard: ") && lines[0].contains("is a file"), "{lines:?}");
    let later =
        "tensorboard: 2 trials are incomplete. Run `plateau export sweep.yaml --format tensorboard` to send the rest";
    assert_eq!(lines[2], later);
}

#[test]
fn an_unreachable_server_never_fails_a_sweep() {
    let place = tracked("mlflow");
    let run = |arguments: &str| {
        let mut command = place.command(arguments);
        Ended::new(command.env("MLFLOW_TRACKING_URI", "http://127.0.0.1:1").output().unwrap())
    };
    let ended = run("run sweep.yaml --set steps=12");
    assert_eq!((ended.code, ended.err.matches("no MLflow server").count()), (0, 1), "{ended:?}");
    assert!(
        ended.err.contains(
            "mlflow: 2 trials are incomplete. Run `plateau export sweep.yaml --set 'steps=12' --format mlflow` to send the rest"
        ),
        "{ended:?}"
    );
    assert_eq!((place.count("trial_finished"), run("run sweep.yaml --set steps=12 -q").err.as_str()), (2, ""));
}

/// An MLflow server, if `PLATEAU_PYTHON` (or python3) has MLflow.
struct Server {
    url: String,
    process: Child,
}

/// A run as the server has it.
#[derive(Debug)]
struct Run {
    status: String,
    trial: String,
    /// Steps of its training losses and of its evaluations, sorted.
    trained: Vec<u64>,
    evaluated: Vec<u64>,
}

impl Server {
    /// None if there is no MLflow, or if it does not start.
    fn start(place: &Place) -> Option<Self> {
        let python = std::env::var("PLATEAU_PYTHON").unwrap_or_else(|_| "python3".into());
        let known = Command::new(&python).args(["-c", "import mlflow.server"]).output();
        if !known.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = format!("sqlite:///{}", place.path("mlflow.db").display());
        let mut process = Command::new(&python)
            .args([
                "-m",
                "mlflow",
                "server",
                "--port",
                &port.to_string(),
                "--workers",
                "1",
                "--backend-store-uri",
                &store,
            ])
            .current_dir(place.path("."))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        long_wait(|| process.try_wait().unwrap().is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let has_died = process.try_wait().unwrap().is_some();
        (!has_died).then(|| Self { url: format!("http://127.0.0.1:{port}"), process })
    }

    fn request(&self, path: &str, body: Option<&Value>) -> Value {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}/api/2.0/mlflow/{path}", self.url);
        let response = match body {
            Some(body) => agent.post(url).header("content-type", "application/json").send(body.to_string()),
            None => agent.get(url).call(),
        };
        serde_json::from_str(&response.unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    /// The runs of the experiment `sweep`.
    fn runs(&self) -> Vec<Run> {
        let experiment = self.request("experiments/get-by-name?experiment_name=sweep", None);
        let Some(id) = experiment["experiment"]["experiment_id"].as_str() else { return Vec::new() };
        let found = self.request("runs/search", Some(&json!({"experiment_ids": [id]})));
        found["runs"].as_array().into_iter().flatten().map(|run| self.run(run)).collect()
    }

    fn run(&self, run: &Value) -> Run {
        let id = run["info"]["run_id"].as_str().unwrap();
        let steps = |key: &str| {
            let path = format!("metrics/get-history?run_id={id}&metric_key={key}&max_results=25000");
            let found = self.request(&path, None);
            let steps = found["metrics"].as_array().into_iter().flatten();
            let mut steps: Vec<u64> = steps.map(|metric| metric["step"].as_u64().unwrap_or(0)).collect();
            steps.sort_unstable();
            steps
        };
        let tags = run["data"]["tags"].as_array().unwrap();
        let trial = tags.iter().find(|tag| tag["key"] == "plateau.trial").unwrap()["value"].as_str().unwrap();
        let status = run["info"]["status"].as_str().unwrap().to_owned();
        Run { status, trial: trial.to_owned(), trained: steps("train_loss"), evaluated: steps("eval_loss") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_raw(self.process.id() as i32).unwrap(), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// Waits long: a Python server starts slowly on a busy machine.
fn long_wait(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_mins(5), "waited in vain");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn mlflow_receives_a_sweep_during_the_run_and_after() {
    let place = tracked("mlflow");
    let Some(server) = Server::start(&place) else {
        return skip("mlflow", "no MLflow that starts in python3 (PLATEAU_PYTHON names another interpreter)");
    };
    let command = |arguments: &str| {
        let mut command = place.command(arguments);
        command.env("MLFLOW_TRACKING_URI", &server.url).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // A trial that runs until its rows arrive, is killed, and is continued.
    let mut trained = 0;
    for _ in 0..2 {
        let run = command("run sweep.yaml --progress none --set steps=1000000").spawn().unwrap();
        kill_when(&place, run, || server.runs().first().is_some_and(|run| run.trained.len() > trained));
        let runs = server.runs();
        assert_eq!((runs.len(), runs[0].status.as_str()), (1, "RUNNING"), "{runs:?}");
        trained = runs[0].trained.len();
        assert_eq!(runs[0].trained, (1..=trained as u64).collect::<Vec<_>>(), "each step once");
    }

    // Trials that have ended are exported once.
    let ended = Ended::new(command("run sweep.yaml --fresh --set run.log_to=off").output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    for expected in
        ["2 trials sent to the experiment sweep, 0 sent before", "0 trials sent to the experiment sweep, 2 sent before"]
    {
        let ended = place.expect(0, &format!("export sweep.yaml --format mlflow --url {}", server.url));
        assert!(ended.err.contains(expected), "{ended:?}");
    }
    let finished: Vec<_> = server.runs().into_iter().filter(|run| run.status == "FINISHED").collect();
    assert_eq!(finished.len(), 2, "{finished:?}");
    for run in finished {
        assert!(
            run.trained == (1..=600).collect::<Vec<_>>() && run.evaluated == [0, 100, 200, 300, 400, 500, 600],
            "{run:?}"
        );
        assert!(place.trials().contains_key(&run.trial), "{run:?}");
    }
}
