//! A sweep in MLflow: an experiment with a run for each trial, through the REST interface 2.0 of a tracking server.
//!
//! A run grows with its trial: the id of the trial is a tag, and how far the server's run is, is asked for first. What was left
//! half-way, by a kill or a lost connection, is gone on with, and nothing is sent twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::rows::{Row, rows};
use crate::analysis::Run;
use crate::cli::Failure;
use crate::cli::track::Tracker;
use crate::report;
use crate::trial::{Status, TrialId};

/// Metrics, and parameters, in one request: more are refused.
const MOST_METRICS: usize = 1000;
const MOST_PARAMETERS: usize = 100;
/// Metrics of one step.
const METRICS: usize = 6;
/// Holds the id of the trial that a run is of.
const TRIAL: &str = "plateau.trial";

/// The server of the variable `MLFLOW_TRACKING_URI`, else port 5000 of this machine.
pub(crate) fn usual_url() -> String {
    std::env::var("MLFLOW_TRACKING_URI").unwrap_or_else(|_| "http://127.0.0.1:5000".into())
}

/// An experiment on a tracking server.
pub(crate) struct Mlflow {
    server: Server,
    experiment: String,
    /// What is known of the server; None before it was asked.
    session: Option<Session>,
}

struct Session {
    /// Id of the experiment.
    experiment: String,
    runs: HashMap<TrialId, Held>,
}

/// A run as the server has it.
struct Held {
    id: String,
    status: String,
    /// Newest steps that were trained and evaluated.
    trained: Option<u64>,
    evaluated: Option<u64>,
}

impl Held {
    fn new(id: &str, status: &str) -> Self {
        Self { id: id.to_owned(), status: status.to_owned(), trained: None, evaluated: None }
    }
}

impl Mlflow {
    /// The experiment of this name on the server at `url`, which waits for an answer as long as `patience`.
    pub(crate) fn new(url: &str, experiment: &str, patience: Duration) -> Self {
        Self { server: Server::new(url, patience), experiment: experiment.to_owned(), session: None }
    }

    fn add(&mut self, run: &Run, began: u64) -> Result<bool, Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.server.session(&self.experiment)?),
        };
        let held = match session.runs.entry(run.trial.id.clone()) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(self.server.create(&session.experiment, run, began)?),
        };
        let status = match run.status {
            Status::Failed => "FAILED",
            status if status.is_over() => "FINISHED",
            _ => "RUNNING",
        };
        let added = self.server.send(held, run, began)?;
        if held.status == status && (!added || status == "RUNNING") {
            return Ok(added);
        }
        self.server.close(held, run, began, status)?;
        Ok(true)
    }
}

impl Tracker for Mlflow {
    fn take(&mut self, run: &Run, began: u64) -> Result<bool, Failure> {
        // How much of a request that failed arrived has to be asked for.
        self.add(run, began).inspect_err(|_| self.session = None)
    }
}

struct Server {
    agent: Agent,
    url: String,
}

impl Server {
    fn new(url: &str, patience: Duration) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience)).build();
        Self { agent: Agent::new_with_config(config), url: url.trim_end_matches('/').to_owned() }
    }

    /// The answer to a request.
    fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(self.path(path)).header("content-type", "application/json");
        self.answer(path, request.send(body.to_string()))
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.url)
    }

    fn answer(
        &self,
        path: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let hint = "`mlflow server` starts one; MLFLOW_TRACKING_URI, or --url of `plateau export`, names another";
        let unreachable =
            |error: ureq::Error| Failure::input(format!("{}: no MLflow server ({error}). {hint}", self.url));
        let mut answer = answer.map_err(unreachable)?;
        let text = answer.body_mut().read_to_string().map_err(unreachable)?;
        let status = answer.status();
        let refused = || {
            let start: String = text.chars().take(300).collect();
            Failure::input(format!(
                "{}: `{path}` was refused ({status}): {start}. Is it an MLflow server? {hint}",
                self.url
            ))
        };
        // An answer that holds an error is one; see [`Server::experiment`].
        match serde_json::from_str::<Value>(&text) {
            Ok(value) if status.is_success() || value["error_code"] == "RESOURCE_ALREADY_EXISTS" => Ok(value),
            _ => Err(refused()),
        }
    }

    /// The id of the experiment of this name, which is made if there is none.
    fn experiment(&self, name: &str) -> Result<String, Failure> {
        let made = self.post("experiments/create", &json!({"name": name}))?;
        if let Some(id) = made["experiment_id"].as_str() {
            return Ok(id.to_owned());
        }
        let path = format!("experiments/get-by-name?experiment_name={}", escaped(name));
        let found = self.answer(&path, self.agent.get(self.path(&path)).call())?;
        let id = found["experiment"]["experiment_id"].as_str();
        id.map(str::to_owned).ok_or_else(|| Failure::input(format!("{}: no experiment `{name}`", self.url)))
    }

    /// The experiment of this name, with the runs of trials that it holds.
    fn session(&self, name: &str) -> Result<Session, Failure> {
        let experiment = self.experiment(name)?;
        let mut runs = HashMap::new();
        let mut page = Value::Null;
        loop {
            let mut wanted = json!({"experiment_ids": [experiment], "max_results": 1000});
            if !page.is_null() {
                wanted["page_token"] = page;
            }
            let found = self.post("runs/search", &wanted)?;
            runs.extend(found["runs"].as_array().into_iter().flatten().filter_map(held));
            page = found["next_page_token"].clone();
            if page.as_str().is_none_or(str::is_empty) {
                return Ok(Session { experiment, runs });
            }
        }
    }

    /// Makes a run for a trial.
    fn create(&self, experiment: &str, run: &Run, began: u64) -> Result<Held, Failure> {
        let name = report::trial_name(run);
        let tags = [pair(TRIAL, run.trial.id.as_str())];
        let new = json!({"experiment_id": experiment, "start_time": began, "run_name": name, "tags": tags});
        let made = self.post("runs/create", &new)?;
        let id = made["run"]["info"]["run_id"].as_str();
        let nameless = || Failure::input(format!("{}: `runs/create` gave no run", self.url));
        id.map(|id| Held::new(id, "RUNNING")).ok_or_else(nameless)
    }

    /// Sends what `run` has measured and the server does not hold. Whether that was anything.
    fn send(&self, held: &mut Held, run: &Run, began: u64) -> Result<bool, Failure> {
        let rows = rows(run);
        let all: Vec<(u64, Vec<Value>)> =
            rows.iter().map(|row| (row.step, metrics(row, held, moment(run, row.step, began)))).collect();
        let new: Vec<_> = all.into_iter().filter(|(_, metrics)| !metrics.is_empty()).collect();
        if held.trained.is_none() && held.evaluated.is_none() {
            // Whoever made the run may not have come so far.
            let parameters = report::configuration(run);
            let parameters: Vec<Value> = parameters.iter().map(|(key, value)| pair(key, value)).collect();
            for part in parameters.chunks(MOST_PARAMETERS) {
                self.post("runs/log-batch", &json!({"run_id": held.id, "params": part}))?;
            }
        }
        // Whole steps: how far the server is, is told by the losses.
        for part in new.chunks(MOST_METRICS / METRICS) {
            let metrics: Vec<&Value> = part.iter().flat_map(|(_, metrics)| metrics).collect();
            self.post("runs/log-batch", &json!({"run_id": held.id, "metrics": metrics}))?;
        }
        held.trained = held.trained.max(run.metrics.last().map(|row| row.step));
        held.evaluated = held.evaluated.max(run.evals.last().map(|row| row.step));
        Ok(!new.is_empty())
    }

    /// Says how a trial stands, which is the last that is said of one that has ended.
    fn close(&self, held: &mut Held, run: &Run, began: u64, status: &str) -> Result<(), Failure> {
        let verdicts: Vec<&str> =
            run.outcome.iter().flat_map(|outcome| &outcome.verdicts).map(|verdict| verdict.id.as_str()).collect();
        let tags = [pair("plateau.status", run.status.name()), pair("plateau.verdicts", &verdicts.join(" "))];
        self.post("runs/log-batch", &json!({"run_id": held.id, "tags": tags}))?;
        let mut end = json!({"run_id": held.id, "status": status});
        if status != "RUNNING" {
            let trained = run.metrics.last().map_or(0.0, |row| row.seconds);
            let seconds = run.outcome.as_ref().map_or(trained, |outcome| outcome.seconds);
            end["end_time"] = (began + (seconds * 1000.0) as u64).into();
        }
        self.post("runs/update", &end)?;
        status.clone_into(&mut held.status);
        Ok(())
    }
}

/// A tag or a parameter.
fn pair(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value})
}

/// The trial of a run that was searched for, if it is one of ours, and how far it is.
fn held(run: &Value) -> Option<(TrialId, Held)> {
    let info = &run["info"];
    let tags = run["data"]["tags"].as_array().into_iter().flatten();
    let trial = tags.filter(|tag| tag["key"] == TRIAL).find_map(|tag| tag["value"].as_str())?;
    // Whole numbers of 64 bits are texts in the JSON of some.
    let step = |metric: &Value| metric["step"].as_u64().or_else(|| metric["step"].as_str()?.parse().ok()).unwrap_or(0);
    let newest = |key: &str| {
        let metrics = run["data"]["metrics"].as_array().into_iter().flatten();
        metrics.filter(|metric| metric["key"] == key).map(step).max()
    };
    let held = Held::new(info["run_id"].as_str()?, info["status"].as_str().unwrap_or_default());
    Some((TrialId::parse(trial)?, Held { trained: newest("train_loss"), evaluated: newest("eval_loss"), ..held }))
}

/// When `step` was taken, milliseconds since 1970.
fn moment(run: &Run, step: u64, began: u64) -> u64 {
    let trained = &run.metrics[..run.metrics.partition_point(|metric| metric.step <= step)];
    began + (trained.last().map_or(0.0, |metric| metric.seconds) * 1000.0) as u64
}

/// What was measured at a step and the server does not hold.
fn metrics(row: &Row<'_>, held: &Held, at: u64) -> Vec<Value> {
    let mut all = Vec::with_capacity(METRICS);
    let mut add = |key: &str, value: f64| {
        all.push(json!({"key": key, "value": number(value), "timestamp": at, "step": row.step}));
    };
    if let Some(metric) = row.metric.filter(|metric| Some(metric.step) > held.trained) {
        add("train_loss", metric.train_loss.into());
        add("learning_rate", metric.lr);
        add("grad_norm", metric.grad_norm.into());
    }
    if let Some(eval) = row.eval.filter(|eval| Some(eval.step) > held.evaluated) {
        add("eval_loss", eval.eval_loss.into());
        add("accuracy", eval.accuracy.into());
        add("macro_f1", eval.macro_f1.into());
    }
    all
}

/// As Protocol Buffers write numbers in JSON: those that JSON lacks are texts.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

/// A text as part of an address.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::analysis::synthetic::{self, axis};

    /// A server that gives these answers in turn; its requests, each path and body.
    fn server(answers: Vec<(u16, Value)>) -> (String, JoinHandle<Vec<(String, Value)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            let mut asked = Vec::new();
            for (status, answer) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let path = line.split(' ').nth(1).unwrap().replace("/api/2.0/mlflow/", "");
                let mut length = 0;
                while line.trim() != "" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                asked.push((path, serde_json::from_slice(&body).unwrap_or_default()));
                let answer = answer.to_string();
                let head =
                    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
                reader.get_mut().write_all((head + &answer).as_bytes()).unwrap();
            }
            asked
        };
        (url, thread::spawn(serve))
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A run as a server tells of it.
    fn told(run: &Run, status: &str, steps: [Option<Value>; 2]) -> Value {
        let metrics = ["train_loss", "eval_loss"].into_iter().zip(steps).filter_map(|(key, step)| {
            let mut metric = json!({"key": key, "value": 1});
            metric["step"] = step?;
            Some(metric)
        });
        let data = json!({"tags": [pair(TRIAL, run.trial.id.as_str())], "metrics": metrics.collect::<Vec<_>>()});
        json!({"info": {"run_id": format!("of {}", run.trial.id), "status": status}, "data": data})
    }

    fn paths(asked: &[(String, Value)]) -> Vec<&str> {
        asked.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn a_trial_is_sent_once_and_whole() {
        let mut sweep = synthetic::sweep("a name", &[axis("lr", &["1e-5", "3e-5"])], 400);
        sweep.runs[1].metrics[2].train_loss = f32::NAN;
        let whole = told(&sweep.runs[0], "FINISHED", [Some(400.into()), Some("400".into())]);
        let count = 3 * (sweep.runs[1].metrics.len() + sweep.runs[1].evals.len());
        assert!(count > 1200 && count < 1990, "{count}");
        let answers = vec![
            (400, json!({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there"})),
            (200, json!({"experiment": {"experiment_id": "7"}})),
            (200, json!({"runs": [whole], "next_page_token": "more"})),
            (200, json!({"runs": []})),
            (200, json!({"run": {"info": {"run_id": "new"}}})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
        ];
        let (url, asked) = server(answers);
        let mut mlflow = Mlflow::new(&format!("{url}/"), "a name", PATIENCE);
        assert!(!mlflow.take(&sweep.runs[0], 5000).unwrap(), "it was there");
        assert!(mlflow.take(&sweep.runs[1], 5000).unwrap());
        assert!(!mlflow.take(&sweep.runs[1], 5000).unwrap(), "and now it is");
        let asked = asked.join().unwrap();
        let start =
            ["experiments/create", "experiments/get-by-name?experiment_name=a%20name", "runs/search", "runs/search"];
        let batches = ["runs/create", "runs/log-batch", "runs/log-batch", "runs/log-batch", "runs/log-batch"];
        assert_eq!(paths(&asked)[..9], [&start[..], &batches].concat());
        assert_eq!(asked[3].1["page_token"], "more");
        assert_eq!((&asked[4].1["run_name"], &asked[4].1["start_time"]), (&"LR 3e-5".into(), &5000.into()));
        let parameters = asked[5].1["params"].as_array().unwrap();
        assert!(parameters.contains(&json!({"key": "batch_size", "value": "32"})), "{parameters:?}");
        let parts: Vec<&Vec<Value>> = asked[6..].iter().filter_map(|(_, body)| body["metrics"].as_array()).collect();
        assert!(parts.iter().all(|part| part.len() <= MOST_METRICS));
        let sent: Vec<&Value> = parts.into_iter().flatten().collect();
        assert_eq!(sent.len(), count);
        let third = sent.iter().find(|metric| metric["key"] == "train_loss" && metric["step"] == 3).unwrap();
        assert_eq!(third["value"], "NaN");
        let (path, last) = asked.last().unwrap();
        assert_eq!(
            (path.as_str(), &last["status"], &last["run_id"]),
            ("runs/update", &"FINISHED".into(), &"new".into())
        );
    }

    /// From where the server is, whoever brought it there.
    #[test]
    fn a_run_that_was_left_half_way_is_gone_on_with() {
        let mut run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let there = told(&run, "RUNNING", [Some(12.into()), Some(15.into())]);
        let mut answers = vec![(200, json!({"experiment_id": "7"})), (200, json!({"runs": [there]}))];
        answers.extend(vec![(200, json!({})); 3]);
        let (url, asked) = server(answers);
        let mut mlflow = Mlflow::new(&url, "s", PATIENCE);
        assert!(mlflow.take(&run, 0).unwrap());
        let asked = asked.join().unwrap();
        let end = ["runs/log-batch", "runs/log-batch", "runs/update"];
        assert_eq!(paths(&asked), [&["experiments/create", "runs/search"][..], &end].concat());
        let sent = asked[2].1["metrics"].as_array().unwrap();
        let steps = |key: &str| {
            sent.iter().filter(|metric| metric["key"] == key).map(|metric| metric["step"].as_u64()).collect::<Vec<_>>()
        };
        assert_eq!(
            (steps("train_loss"), steps("eval_loss")),
            ((13..=20).map(Some).collect(), (16..=20).map(Some).collect())
        );

        // While it runs, only its rows; once it has failed, that.
        run.status = Status::Running;
        run.outcome = None;
        let later = run.clone();
        run.metrics.truncate(10);
        run.evals.truncate(1);
        let mut answers = vec![
            (200, json!({"experiment_id": "7"})),
            (200, json!({})),
            (200, json!({"run": {"info": {"run_id": "new"}}})),
        ];
        answers.extend(vec![(200, json!({})); 5]);
        let (url, asked) = server(answers);
        let mut mlflow = Mlflow::new(&url, "s", PATIENCE);
        assert!(mlflow.take(&run, 0).unwrap() && !mlflow.take(&run, 0).unwrap() && mlflow.take(&later, 0).unwrap());
        assert!(mlflow.take(&Run { status: Status::Failed, ..later }, 0).unwrap());
        let asked = asked.join().unwrap();
        let counts: Vec<_> = asked[4..6].iter().map(|(_, body)| body["metrics"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [33, 3 * (10 + 20)]);
        assert_eq!(asked[7].1["status"], "FAILED");
    }

    /// How much of a request arrived that failed is asked for.
    #[test]
    fn after_a_fault_the_server_is_asked_how_far_it_is() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let start = |runs: Value| [(200, json!({"experiment_id": "7"})), (200, json!({"runs": runs}))];
        let mut answers = start(json!([told(&run, "RUNNING", [Some(1.into()), None])])).to_vec();
        answers.push((500, json!({"message": "no"})));
        answers.extend(start(json!([told(&run, "FINISHED", [Some(20.into()), Some(20.into())])])));
        let (url, asked) = server(answers);
        let mut mlflow = Mlflow::new(&url, "s", PATIENCE);
        assert!(mlflow.take(&run, 0).is_err());
        assert!(!mlflow.take(&run, 0).unwrap());
        assert_eq!(asked.join().unwrap().len(), 5);
    }

    #[test]
    fn who_is_no_such_server_is_told() {
        let run = synthetic::sweep("s", &[], 10).runs.remove(0);
        let (url, _) = server(vec![(404, json!({"message": "no such page"}))]);
        let message =
            |url: &str| Mlflow::new(url, "s", PATIENCE).take(&run, 0).unwrap_err().to_string().replace(url, "URL");
        insta::assert_snapshot!(message(&url), @r#"URL: `experiments/create` was refused (404 Not Found): {"message":"no such page"}. Is it an MLflow server? `mlflow server` starts one; MLFLOW_TRACKING_URI, or --url of `plateau export`, names another"#);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let message = message(&format!("http://{nobody}"));
        assert!(message.starts_with("URL: no MLflow server") && message.contains("MLFLOW_TRACKING_URI"), "{message}");
    }
}
