//! A sweep in MLflow: an experiment with a run for each trial that has ended, through the REST interface 2.0 of a
//! tracking server.
//!
//! A trial is sent once: its id is a tag, and what the server holds is asked for first. A run that an earlier export left
//! half-way is deleted there and sent again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::rows::rows;
use crate::analysis::{Run, Sweep};
use crate::cli::Failure;
use crate::report;
use crate::trial::{Status, TrialId};

/// Metrics, and parameters, in one request: more are refused.
const MOST_METRICS: usize = 1000;
const MOST_PARAMETERS: usize = 100;
/// For one request.
const PATIENCE: Duration = Duration::from_mins(1);
/// Holds the id of the trial that a run is of.
const TRIAL: &str = "plateau.trial";

/// How many trials were sent, and how many the server had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub new: usize,
    pub known: usize,
}

/// Sends what the server at `url` does not hold. `began`: when each trial was first started, milliseconds since 1970.
pub(super) fn send(sweep: &Sweep, began: &HashMap<TrialId, u64>, url: &str) -> Result<Sent, Failure> {
    let server = Server::new(url);
    let experiment = server.experiment(&sweep.name)?;
    let known = server.complete_runs(&experiment)?;
    let mut sent = Sent { new: 0, known: 0 };
    for run in sweep.runs.iter().filter(|run| run.status.is_over() || run.status == Status::Failed) {
        if known.contains(run.trial.id.as_str()) {
            sent.known += 1;
        } else {
            server.send(&experiment, run, began.get(&run.trial.id).copied().unwrap_or(0))?;
            sent.new += 1;
        }
    }
    Ok(sent)
}

struct Server {
    agent: Agent,
    url: String,
}

impl Server {
    fn new(url: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
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
        let hint = "`mlflow server` starts one, --url names another";
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

    /// The trials that the server holds whole. What was left half-way is deleted.
    fn complete_runs(&self, experiment: &str) -> Result<BTreeSet<String>, Failure> {
        let mut known = BTreeSet::new();
        let mut page = Value::Null;
        loop {
            let mut wanted = json!({"experiment_ids": [experiment], "max_results": 1000});
            if !page.is_null() {
                wanted["page_token"] = page;
            }
            let found = self.post("runs/search", &wanted)?;
            for run in found["runs"].as_array().into_iter().flatten() {
                let tags = run["data"]["tags"].as_array().into_iter().flatten();
                let trial = tags.filter(|tag| tag["key"] == TRIAL).find_map(|tag| tag["value"].as_str());
                match (trial, run["info"]["status"].as_str()) {
                    (Some(_), Some("RUNNING")) => {
                        self.post("runs/delete", &json!({"run_id": run["info"]["run_id"]}))?;
                    }
                    (Some(trial), _) => {
                        known.insert(trial.to_owned());
                    }
                    (None, _) => {}
                }
            }
            page = found["next_page_token"].clone();
            if page.as_str().is_none_or(str::is_empty) {
                return Ok(known);
            }
        }
    }

    fn send(&self, experiment: &str, run: &Run, began: u64) -> Result<(), Failure> {
        let tag = |key: &str, value: &str| json!({"key": key, "value": value});
        let verdicts: Vec<&str> =
            run.outcome.iter().flat_map(|outcome| &outcome.verdicts).map(|verdict| verdict.id.as_str()).collect();
        let tags = [
            tag(TRIAL, run.trial.id.as_str()),
            tag("plateau.status", run.status.name()),
            tag("plateau.verdicts", &verdicts.join(" ")),
        ];
        let name = report::trial_name(run);
        let new = json!({"experiment_id": experiment, "start_time": began, "run_name": name, "tags": tags});
        let made = self.post("runs/create", &new)?;
        let id = &made["run"]["info"]["run_id"];
        let parameters: BTreeMap<String, String> = report::configuration(run);
        let parameters: Vec<Value> = parameters.iter().map(|(key, value)| tag(key, value)).collect();
        for part in parameters.chunks(MOST_PARAMETERS) {
            self.post("runs/log-batch", &json!({"run_id": id, "params": part}))?;
        }
        for part in metrics(run, began).chunks(MOST_METRICS) {
            self.post("runs/log-batch", &json!({"run_id": id, "metrics": part}))?;
        }
        let seconds = run.outcome.as_ref().map_or(0.0, |outcome| outcome.seconds);
        let status = if run.status == Status::Failed { "FAILED" } else { "FINISHED" };
        let end = json!({"run_id": id, "status": status, "end_time": began + (seconds * 1000.0) as u64});
        self.post("runs/update", &end).map(drop)
    }
}

/// Everything that was measured, in order of steps.
fn metrics(run: &Run, began: u64) -> Vec<Value> {
    let mut all = Vec::new();
    let mut seconds = 0.0;
    for row in rows(run) {
        seconds = row.metric.map_or(seconds, |metric| metric.seconds);
        let at = began + (seconds * 1000.0) as u64;
        let mut add = |key: &str, value: f64| {
            all.push(json!({"key": key, "value": number(value), "timestamp": at, "step": row.step}));
        };
        if let Some(metric) = row.metric {
            add("train_loss", metric.train_loss.into());
            add("learning_rate", metric.lr);
            add("grad_norm", metric.grad_norm.into());
        }
        if let Some(eval) = row.eval {
            add("eval_loss", eval.eval_loss.into());
            add("accuracy", eval.accuracy.into());
            add("macro_f1", eval.macro_f1.into());
        }
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

    #[test]
    fn a_trial_is_sent_once_and_whole() {
        let mut sweep = synthetic::sweep("a name", &[axis("lr", &["1e-5", "3e-5", "1e-4"])], 400);
        sweep.runs[1].metrics[2].train_loss = f32::NAN;
        sweep.runs[2].status = Status::Running;
        let known = |index: usize, status: &str| {
            let tags = json!([{"key": TRIAL, "value": sweep.runs[index].trial.id.as_str()}]);
            json!({"info": {"run_id": format!("r{index}"), "status": status}, "data": {"tags": tags}})
        };
        let count = metrics(&sweep.runs[1], 0).len();
        assert!(count > 1200 && count < 2000, "{count}");
        let answers = vec![
            (400, json!({"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there"})),
            (200, json!({"experiment": {"experiment_id": "7"}})),
            (200, json!({"runs": [known(0, "FINISHED")], "next_page_token": "more"})),
            (200, json!({"runs": [known(1, "RUNNING")]})),
            (200, json!({})),
            (200, json!({"run": {"info": {"run_id": "new"}}})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
            (200, json!({})),
        ];
        let (url, asked) = server(answers);
        let began = sweep.runs.iter().map(|run| (run.trial.id.clone(), 5000)).collect();
        assert_eq!(send(&sweep, &began, &format!("{url}/")).unwrap(), Sent { new: 1, known: 1 });
        let asked = asked.join().unwrap();
        let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "experiments/create",
                "experiments/get-by-name?experiment_name=a%20name",
                "runs/search",
                "runs/search",
                "runs/delete",
                "runs/create",
                "runs/log-batch",
                "runs/log-batch",
                "runs/log-batch",
                "runs/update",
            ]
        );
        assert_eq!((&asked[3].1["page_token"], &asked[4].1["run_id"]), (&"more".into(), &"r1".into()));
        assert_eq!((&asked[5].1["run_name"], &asked[5].1["start_time"]), (&"LR 3e-5".into(), &5000.into()));
        let parameters = asked[6].1["params"].as_array().unwrap();
        assert!(parameters.contains(&json!({"key": "batch_size", "value": "32"})), "{parameters:?}");
        let sent: Vec<&Value> = asked[7..9].iter().flat_map(|(_, body)| body["metrics"].as_array().unwrap()).collect();
        assert_eq!((sent.len(), asked[7].1["metrics"].as_array().unwrap().len()), (count, MOST_METRICS));
        let third = sent.iter().find(|metric| metric["key"] == "train_loss" && metric["step"] == 3).unwrap();
        assert_eq!(third["value"], "NaN");
        assert_eq!((&asked[9].1["status"], &asked[9].1["run_id"]), (&"FINISHED".into(), &"new".into()));
    }

    #[test]
    fn who_is_no_such_server_is_told() {
        let sweep = synthetic::sweep("s", &[], 10);
        let (url, _) = server(vec![(404, json!({"message": "no such page"}))]);
        let message = send(&sweep, &HashMap::new(), &url).unwrap_err().to_string().replace(&url, "URL");
        insta::assert_snapshot!(message, @r#"URL: `experiments/create` was refused (404 Not Found): {"message":"no such page"}. Is it an MLflow server? `mlflow server` starts one, --url names another"#);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let message = send(&sweep, &HashMap::new(), &format!("http://{nobody}")).unwrap_err().to_string();
        assert!(message.contains("no MLflow server") && message.contains("--url names another"), "{message}");
    }
}
