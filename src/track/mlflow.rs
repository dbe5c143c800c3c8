//! A sweep in MLflow: an experiment with a run for each trial, through the REST API 2.0 of a tracking server.
//!
//! A tag of the run holds the trial's id. The server is asked first which steps each run has, so a run that a kill or a
//! lost connection cut short is continued, and no step is sent twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

use super::rows::{Row, rows, scores};
use super::{TrackError, Tracker, TrialCurves};
use crate::trial::{Status, TrialId};

/// Limits of the server for one request.
const MAX_METRICS: usize = 1000;
const MAX_PARAMETERS: usize = 100;
/// Metrics of one step.
const METRICS_A_STEP: usize = 6;
/// A server with more pages of runs than this does not answer `runs/search` as MLflow does.
const MAX_PAGES: usize = 100;
/// The tag that holds the id of a run's trial.
const TRIAL_TAG: &str = "plateau.trial";

/// The address in `MLFLOW_TRACKING_URI`, or port 5000 of this machine.
#[must_use]
pub fn default_url() -> String {
    std::env::var("MLFLOW_TRACKING_URI").unwrap_or_else(|_| "http://127.0.0.1:5000".into())
}

/// An experiment on a tracking server.
pub struct Mlflow {
    server: Server,
    experiment: String,
    /// What the server holds; None until it is asked, and after a failed request.
    session: Option<Session>,
}

struct Session {
    experiment_id: String,
    runs: HashMap<TrialId, ServerRun>,
}

/// A run as the server has it.
struct ServerRun {
    id: String,
    status: String,
    /// Last training step.
    trained: Option<u64>,
    /// Step of the last evaluation.
    evaluated: Option<u64>,
}

impl ServerRun {
    fn new(id: &str, status: &str) -> Self {
        Self { id: id.to_owned(), status: status.to_owned(), trained: None, evaluated: None }
    }
}

impl Mlflow {
    /// The experiment of this name on the server at `url`. `timeout` bounds each request.
    #[must_use]
    pub fn new(url: &str, experiment: &str, timeout: Duration) -> Self {
        Self { server: Server::new(url, timeout), experiment: experiment.to_owned(), session: None }
    }

    fn send(&mut self, curves: &TrialCurves<'_>) -> Result<bool, TrackError> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.server.session(&self.experiment)?),
        };
        let run = match session.runs.entry(curves.trial.id.clone()) {
            Entry::Occupied(run) => run.into_mut(),
            Entry::Vacant(place) => place.insert(self.server.create_run(&session.experiment_id, curves)?),
        };
        let status = match curves.status {
            Status::Failed => "FAILED",
            status if status.is_over() => "FINISHED",
            _ => "RUNNING",
        };
        let added = self.server.log_rows(run, curves)?;
        if run.status == status && (!added || status == "RUNNING") {
            return Ok(added);
        }
        self.server.set_status(run, curves, status)?;
        Ok(true)
    }
}

impl Tracker for Mlflow {
    fn update(&mut self, curves: &TrialCurves<'_>) -> Result<bool, TrackError> {
        // Part of a failed request may have arrived: the next call asks the server again.
        self.send(curves).inspect_err(|_| self.session = None)
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.server.deadline = Some(deadline);
    }
}

struct Server {
    agent: Agent,
    url: String,
    /// For one request.
    timeout: Duration,
    /// For all requests from now on.
    deadline: Option<Instant>,
}

impl Server {
    fn new(url: &str, timeout: Duration) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).build();
        let url = url.trim_end_matches('/').to_owned();
        Self { agent: Agent::new_with_config(config), url, timeout, deadline: None }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, TrackError> {
        let request = self.agent.post(self.path(path)).header("content-type", "application/json");
        let request = request.config().timeout_global(Some(self.time_left()?)).build();
        self.response(path, request.send(body.to_string()))
    }

    /// The time for the next request, from connecting to the last byte of the answer.
    fn time_left(&self) -> Result<Duration, TrackError> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if left.is_zero() => Err(TrackError::Server(format!("{}: the server is too slow", self.url))),
            left => Ok(left.map_or(self.timeout, |left| left.min(self.timeout))),
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.url)
    }

    fn response(
        &self,
        path: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, TrackError> {
        let hint = "`mlflow server` starts one; MLFLOW_TRACKING_URI, or --url of `plateau export`, names another";
        let unreachable =
            |error: ureq::Error| TrackError::Server(format!("{}: no MLflow server ({error}). {hint}", self.url));
        let mut response = response.map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let status = response.status();
        let refused = || {
            let start: String = text.chars().take(300).collect();
            TrackError::Server(format!(
                "{}: `{path}` was refused ({status}): {start}. Is it an MLflow server? {hint}",
                self.url
            ))
        };
        // [`Server::experiment_id`] handles this one error.
        match serde_json::from_str::<Value>(&text) {
            Ok(value) if status.is_success() || value["error_code"] == "RESOURCE_ALREADY_EXISTS" => Ok(value),
            _ => Err(refused()),
        }
    }

    /// The id of the experiment of this name, which is created if there is none.
    fn experiment_id(&self, name: &str) -> Result<String, TrackError> {
        let created = self.post("experiments/create", &json!({"name": name}))?;
        if let Some(id) = created["experiment_id"].as_str() {
            return Ok(id.to_owned());
        }
        let path = format!("experiments/get-by-name?experiment_name={}", percent_encoded(name));
        let request = self.agent.get(self.path(&path)).config().timeout_global(Some(self.time_left()?)).build();
        let found = self.response(&path, request.call())?;
        let id = found["experiment"]["experiment_id"].as_str();
        id.map(str::to_owned).ok_or_else(|| TrackError::Server(format!("{}: no experiment `{name}`", self.url)))
    }

    /// The experiment of this name and its runs of trials.
    fn session(&self, name: &str) -> Result<Session, TrackError> {
        let experiment_id = self.experiment_id(name)?;
        let mut runs = HashMap::new();
        let mut page = Value::Null;
        for _ in 0..MAX_PAGES {
            let mut query = json!({"experiment_ids": [experiment_id], "max_results": 1000});
            if !page.is_null() {
                query["page_token"] = page;
            }
            let found = self.post("runs/search", &query)?;
            runs.extend(found["runs"].as_array().into_iter().flatten().filter_map(server_run));
            page = found["next_page_token"].clone();
            if page.as_str().is_none_or(str::is_empty) {
                return Ok(Session { experiment_id, runs });
            }
        }
        Err(TrackError::Server(format!("{}: `runs/search` has more than {MAX_PAGES} pages", self.url)))
    }

    fn create_run(&self, experiment_id: &str, curves: &TrialCurves<'_>) -> Result<ServerRun, TrackError> {
        let tags = [pair(TRIAL_TAG, curves.trial.id.as_str())];
        let new = json!({
            "experiment_id": experiment_id, "start_time": curves.started, "run_name": curves.name, "tags": tags,
        });
        let created = self.post("runs/create", &new)?;
        let id = created["run"]["info"]["run_id"].as_str();
        let no_id = || TrackError::Server(format!("{}: the response to `runs/create` has no run_id", self.url));
        id.map(|id| ServerRun::new(id, "RUNNING")).ok_or_else(no_id)
    }

    /// Sends the rows that the server does not have. Returns whether there were any.
    fn log_rows(&self, run: &mut ServerRun, curves: &TrialCurves<'_>) -> Result<bool, TrackError> {
        let rows = rows(curves.metrics, curves.evals);
        let missing = |row: &Row<'_>| missing_metrics(row, run, milliseconds_at(curves, row.step));
        let missing: Vec<Vec<Value>> = rows.iter().map(missing).filter(|metrics| !metrics.is_empty()).collect();
        if run.trained.is_none() && run.evaluated.is_none() {
            // Also for a run that a killed process created without them.
            let parameters: Vec<Value> = curves.parameters.iter().map(|(key, value)| pair(key, value)).collect();
            for batch in parameters.chunks(MAX_PARAMETERS) {
                self.post("runs/log-batch", &json!({"run_id": run.id, "params": batch}))?;
            }
        }
        // A request holds whole steps, because the last loss tells which step the server has.
        for batch in missing.chunks(MAX_METRICS / METRICS_A_STEP) {
            let metrics: Vec<&Value> = batch.iter().flatten().collect();
            self.post("runs/log-batch", &json!({"run_id": run.id, "metrics": metrics}))?;
        }
        run.trained = run.trained.max(curves.metrics.last().map(|row| row.step));
        run.evaluated = run.evaluated.max(curves.evals.last().map(|row| row.step));
        Ok(!missing.is_empty())
    }

    /// Sends the trial's status and verdicts. This is the last request of a trial that has ended.
    fn set_status(&self, run: &mut ServerRun, curves: &TrialCurves<'_>, status: &str) -> Result<(), TrackError> {
        let verdicts: Vec<&str> =
            curves.outcome.iter().flat_map(|outcome| &outcome.verdicts).map(|verdict| verdict.id.as_str()).collect();
        let tags = [pair("plateau.status", curves.status.name()), pair("plateau.verdicts", &verdicts.join(" "))];
        self.post("runs/log-batch", &json!({"run_id": run.id, "tags": tags}))?;
        let mut update = json!({"run_id": run.id, "status": status});
        if status != "RUNNING" {
            let trained = curves.metrics.last().map_or(0.0, |row| row.seconds);
            let seconds = curves.outcome.map_or(trained, |outcome| outcome.seconds);
            update["end_time"] = (curves.started + (seconds * 1000.0) as u64).into();
        }
        self.post("runs/update", &update)?;
        status.clone_into(&mut run.status);
        Ok(())
    }
}

/// A tag or a parameter.
fn pair(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value})
}

/// The trial of a run that `runs/search` found, and the steps that the run has; None for a run of another program.
fn server_run(found: &Value) -> Option<(TrialId, ServerRun)> {
    let info = &found["info"];
    let tags = found["data"]["tags"].as_array().into_iter().flatten();
    let trial = tags.filter(|tag| tag["key"] == TRIAL_TAG).find_map(|tag| tag["value"].as_str())?;
    // Some servers write 64-bit integers as JSON strings.
    let step = |metric: &Value| metric["step"].as_u64().or_else(|| metric["step"].as_str()?.parse().ok()).unwrap_or(0);
    let last_step = |key: &str| {
        let metrics = found["data"]["metrics"].as_array().into_iter().flatten();
        metrics.filter(|metric| metric["key"] == key).map(step).max()
    };
    let run = ServerRun::new(info["run_id"].as_str()?, info["status"].as_str().unwrap_or_default());
    Some((
        TrialId::parse(trial)?,
        ServerRun { trained: last_step("train_loss"), evaluated: last_step("eval_loss"), ..run },
    ))
}

/// When the step `step` was done, in milliseconds since 1970.
fn milliseconds_at(curves: &TrialCurves<'_>, step: u64) -> u64 {
    curves.started + (curves.seconds_at(step) * 1000.0) as u64
}

/// The numbers of a row that the server does not have.
fn missing_metrics(row: &Row<'_>, run: &ServerRun, timestamp: u64) -> Vec<Value> {
    let mut metrics = Vec::with_capacity(METRICS_A_STEP);
    let mut add = |key: &str, value: f64| {
        metrics.push(json!({"key": key, "value": number(value), "timestamp": timestamp, "step": row.step}));
    };
    if let Some(metric) = row.metric.filter(|metric| Some(metric.step) > run.trained) {
        add("train_loss", metric.train_loss.into());
        add("learning_rate", metric.lr);
        add("grad_norm", metric.grad_norm.into());
    }
    if let Some(eval) = row.eval.filter(|eval| Some(eval.step) > run.evaluated) {
        add("eval_loss", eval.eval_loss.into());
        scores(eval).for_each(|(name, value)| add(name, value.into()));
    }
    metrics
}

/// A number in the JSON of protocol buffers, which writes NaN and infinity as strings.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

/// A text as part of a URL.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::super::testing::curves;
    use super::*;
    use crate::analysis::Run;
    use crate::analysis::synthetic::{self, axis};

    /// A server that sends these responses in turn. The thread returns the path and body of each request.
    fn server(responses: Vec<(u16, Value)>) -> (String, JoinHandle<Vec<(String, Value)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            let mut requests = Vec::new();
            for (status, response) in responses {
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
                requests.push((path, serde_json::from_slice(&body).unwrap_or_default()));
                let response = response.to_string();
                let head =
                    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", response.len());
                reader.get_mut().write_all((head + &response).as_bytes()).unwrap();
            }
            requests
        };
        (url, thread::spawn(serve))
    }

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// A run as `runs/search` returns it.
    fn found(run: &Run, status: &str, steps: [Option<Value>; 2]) -> Value {
        let metrics = ["train_loss", "eval_loss"].into_iter().zip(steps).filter_map(|(key, step)| {
            let mut metric = json!({"key": key, "value": 1});
            metric["step"] = step?;
            Some(metric)
        });
        let data = json!({"tags": [pair(TRIAL_TAG, run.trial.id.as_str())], "metrics": metrics.collect::<Vec<_>>()});
        json!({"info": {"run_id": format!("run of {}", run.trial.id), "status": status}, "data": data})
    }

    const STARTED: u64 = 5000;

    fn update(mlflow: &mut Mlflow, run: &Run) -> Result<bool, TrackError> {
        let parameters = [("batch_size".to_owned(), "32".to_owned())];
        let values = run.trial.values.iter().map(|(key, value)| format!("{key} {}", value.text));
        let name = values.collect::<Vec<_>>().join(" ");
        mlflow.update(&TrialCurves { started: STARTED, ..curves(run, &name, &parameters) })
    }

    fn paths(requests: &[(String, Value)]) -> Vec<&str> {
        requests.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn a_trial_is_sent_once_and_whole() {
        let mut sweep = synthetic::sweep("a name", &[axis("lr", &["1e-5", "3e-5"])], 400);
        sweep.runs[1].metrics[2].train_loss = f32::NAN;
        let whole = found(&sweep.runs[0], "FINISHED", [Some(400.into()), Some("400".into())]);
        let count = 3 * (sweep.runs[1].metrics.len() + sweep.runs[1].evals.len());
        assert!(count > 1200 && count < 1990, "{count}");
        let responses = vec![
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
        let (url, requests) = server(responses);
        let mut mlflow = Mlflow::new(&format!("{url}/"), "a name", TIMEOUT);
        assert!(!update(&mut mlflow, &sweep.runs[0]).unwrap(), "it was there");
        assert!(update(&mut mlflow, &sweep.runs[1]).unwrap());
        assert!(!update(&mut mlflow, &sweep.runs[1]).unwrap(), "and now it is");
        let requests = requests.join().unwrap();
        let start =
            ["experiments/create", "experiments/get-by-name?experiment_name=a%20name", "runs/search", "runs/search"];
        let batches = ["runs/create", "runs/log-batch", "runs/log-batch", "runs/log-batch", "runs/log-batch"];
        assert_eq!(paths(&requests)[..9], [&start[..], &batches].concat());
        assert_eq!(requests[3].1["page_token"], "more");
        assert_eq!((&requests[4].1["run_name"], &requests[4].1["start_time"]), (&"lr 3e-5".into(), &STARTED.into()));
        let parameters = requests[5].1["params"].as_array().unwrap();
        assert!(parameters.contains(&json!({"key": "batch_size", "value": "32"})), "{parameters:?}");
        let parts: Vec<&Vec<Value>> = requests[6..].iter().filter_map(|(_, body)| body["metrics"].as_array()).collect();
        assert!(parts.iter().all(|part| part.len() <= MAX_METRICS));
        let sent: Vec<&Value> = parts.into_iter().flatten().collect();
        assert_eq!(sent.len(), count);
        let third = sent.iter().find(|metric| metric["key"] == "train_loss" && metric["step"] == 3).unwrap();
        assert_eq!(third["value"], "NaN");
        let (path, last) = requests.last().unwrap();
        assert_eq!(
            (path.as_str(), &last["status"], &last["run_id"]),
            ("runs/update", &"FINISHED".into(), &"new".into())
        );
    }

    /// From the steps that the server has, whichever process sent them.
    #[test]
    fn a_partial_run_is_continued() {
        let mut run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let there = found(&run, "RUNNING", [Some(12.into()), Some(15.into())]);
        let mut responses = vec![(200, json!({"experiment_id": "7"})), (200, json!({"runs": [there]}))];
        responses.extend(vec![(200, json!({})); 3]);
        let (url, requests) = server(responses);
        let mut mlflow = Mlflow::new(&url, "s", TIMEOUT);
        assert!(update(&mut mlflow, &run).unwrap());
        let requests = requests.join().unwrap();
        let end = ["runs/log-batch", "runs/log-batch", "runs/update"];
        assert_eq!(paths(&requests), [&["experiments/create", "runs/search"][..], &end].concat());
        let sent = requests[2].1["metrics"].as_array().unwrap();
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
        let mut responses = vec![
            (200, json!({"experiment_id": "7"})),
            (200, json!({})),
            (200, json!({"run": {"info": {"run_id": "new"}}})),
        ];
        responses.extend(vec![(200, json!({})); 5]);
        let (url, requests) = server(responses);
        let mut mlflow = Mlflow::new(&url, "s", TIMEOUT);
        assert!(
            update(&mut mlflow, &run).unwrap()
                && !update(&mut mlflow, &run).unwrap()
                && update(&mut mlflow, &later).unwrap()
        );
        assert!(update(&mut mlflow, &Run { status: Status::Failed, ..later }).unwrap());
        let requests = requests.join().unwrap();
        let counts: Vec<_> = requests[4..6].iter().map(|(_, body)| body["metrics"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [33, 3 * (10 + 20)]);
        assert_eq!(requests[7].1["status"], "FAILED");
    }

    /// Part of the failed request may have arrived.
    #[test]
    fn after_a_failed_request_the_server_is_asked_for_its_steps() {
        let run = synthetic::sweep("s", &[], 20).runs.remove(0);
        let start = |runs: Value| [(200, json!({"experiment_id": "7"})), (200, json!({"runs": runs}))];
        let mut responses = start(json!([found(&run, "RUNNING", [Some(1.into()), None])])).to_vec();
        responses.push((500, json!({"message": "no"})));
        responses.extend(start(json!([found(&run, "FINISHED", [Some(20.into()), Some(20.into())])])));
        let (url, requests) = server(responses);
        let mut mlflow = Mlflow::new(&url, "s", TIMEOUT);
        assert!(update(&mut mlflow, &run).is_err());
        assert!(!update(&mut mlflow, &run).unwrap());
        assert_eq!(requests.join().unwrap().len(), 5);
    }

    #[test]
    fn an_error_names_the_server() {
        let run = synthetic::sweep("s", &[], 10).runs.remove(0);
        let (url, _) = server(vec![(404, json!({"message": "no such page"}))]);
        let message =
            |url: &str| update(&mut Mlflow::new(url, "s", TIMEOUT), &run).unwrap_err().to_string().replace(url, "URL");
        insta::assert_snapshot!(message(&url), @r#"URL: `experiments/create` was refused (404 Not Found): {"message":"no such page"}. Is it an MLflow server? `mlflow server` starts one; MLFLOW_TRACKING_URI, or --url of `plateau export`, names another"#);
        let unused_address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let message = message(&format!("http://{unused_address}"));
        assert!(message.starts_with("URL: no MLflow server") && message.contains("MLFLOW_TRACKING_URI"), "{message}");
    }
}
