//! Time and memory of `plateau report` over made-up results. Each size runs in its own process.
//! `cargo bench --bench report [-- TRIALSxSTEPS ...]`; without sizes 150 trials of 400 steps, and 2,000 of 1,000.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Time between two readings of the program's peak memory.
const LOOK: Duration = Duration::from_millis(2);

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Result<()> {
    let sizes: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let sizes = if sizes.is_empty() { vec!["150x400".to_owned(), "2000x1000".to_owned()] } else { sizes };
    println!("{:>7} {:>6} {:>9} {:>9} {:>9}", "trials", "steps", "seconds", "peak, MB", "page, kB");
    for size in sizes {
        let (trials, steps) = size.split_once('x').ok_or("a size is TRIALSxSTEPS")?;
        let (trials, steps) = (trials.parse()?, steps.parse()?);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{size}"));
        make(&folder, trials, steps)?;
        let (seconds, peak) = report(&folder)?;
        let page = fs::metadata(folder.join("results/sweep/report/index.html"))?.len() / 1000;
        println!("{trials:>7} {steps:>6} {seconds:>9.2} {peak:>9} {page:>9}");
    }
    Ok(())
}

fn plateau(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plateau"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

/// Seconds, and peak resident memory in MB.
fn report(folder: &Path) -> Result<(f64, u64)> {
    let start = Instant::now();
    let mut child = plateau(folder, &["report", "sweep.yaml"]).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024 / 1_000_000);
        thread::sleep(LOOK);
    }
    if child.wait()?.success() { Ok((start.elapsed().as_secs_f64(), peak)) } else { Err("the report failed".into()) }
}

/// A sweep of about `trials` trials with made-up results.
fn make(folder: &Path, trials: usize, steps: u64) -> Result<()> {
    let seeds = if trials >= 1000 { 5 } else { 3 };
    let each = trials.div_ceil(seeds * 2 * 5);
    let list = |n: usize, of: &dyn Fn(usize) -> String| (0..n).map(of).collect::<Vec<_>>().join(", ");
    let sweep = format!(
        "name: sweep\nsteps: {steps}\neval_every: {}\nwarmup: 0.1\ngrid:\n  lr: [1e-5, 2e-5, 5e-5, 1e-4, 3e-4]\n  model.dropout: [{}]\n  \
         scheduler: [linear, cosine]\nseeds: [{}]\n",
        (steps / 40).max(1),
        list(each, &|i| format!("{:.4}", i as f64 * 0.9 / each as f64)),
        list(seeds, &|i| (i + 1).to_string()),
    );
    put(&folder.join("sweep.yaml"), &sweep)?;
    let plan = plateau(folder, &["plan", "sweep.yaml", "--format", "json"]).stderr(Stdio::inherit()).output()?;
    let plan: Vec<Value> = serde_json::from_slice(&plan.stdout)?;
    let ids: Vec<&Value> = plan.iter().map(|trial| &trial["id"]).collect();
    let opened = json!({"at": 0, "event": "sweep_opened", "sweep": "sweep", "version": "0", "host": "here", "pid": 1, "trials": ids});
    let mut journal = opened.to_string() + "\n";
    for (index, trial) in plan.iter().enumerate() {
        let id = trial["id"].as_str().ok_or("a trial without an id")?;
        let folder = folder.join("results/sweep/trials").join(id);
        let (metrics, evals, outcome) = curves(index, steps);
        put(&folder.join("metrics.csv"), &metrics)?;
        put(&folder.join("evals.csv"), &evals)?;
        put(&folder.join("attempts/1/log"), "a line\n")?;
        put(&folder.join("outcome.json"), &outcome.to_string())?;
        let made_by = json!({"version": "0.1.0", "host": "here", "platform": "linux", "device": "cpu", "threads": 1});
        let values: Vec<Value> = Vec::new();
        let config = json!({"id": id, "values": values, "steps": steps, "config": trial["config"], "made_by": made_by});
        put(&folder.join("config.json"), &config.to_string())?;
        let event = json!({"at": index, "event": "trial_finished", "trial": id, "attempt": 1, "outcome": outcome});
        writeln!(journal, "{event}")?;
    }
    put(&folder.join("results/sweep/journal.jsonl"), &journal)
}

#[expect(clippy::disallowed_methods, reason = "makes what the program is to read, in a folder of its own")]
fn put(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    Ok(fs::write(path, text)?)
}

/// Losses that fall, become flat and rise a little. Their noise is the same in every run of the benchmark.
fn curves(index: usize, steps: u64) -> (String, String, Value) {
    let noise = |step: u64| ((index as u64 * 7919 + step * 104_729) % 1000) as f64 / 1000.0 - 0.5;
    let speed = 2.0 + (index % 7) as f64;
    let loss = |share: f64| 0.3 + 0.4 * (-speed * share).exp();
    let mut metrics = "step,epoch,train_loss,lr,grad_norm,tokens,seconds\n".to_owned();
    let mut evals = "step,eval_loss,accuracy,macro_f1,train_probe_loss\n".to_owned();
    let (mut best, mut last) = ((0, f64::INFINITY), 0.0);
    for step in 0..=steps {
        let share = step as f64 / steps as f64;
        let train = loss(share) - 0.1 * share + 0.15 * noise(step);
        if step > 0 {
            let (norm, rate) = (1.5 + noise(step * 31), 1e-4 * (1.0 - share));
            let _ = writeln!(
                metrics,
                "{step},{share:.5},{train:.7},{rate:e},{norm:.7},{},{:.6}",
                700 + step % 90,
                step as f64 * 0.3
            );
        }
        if step % (steps / 40).max(1) == 0 {
            last = loss(share) + 0.05 * share * share + 0.01 * noise(step * 17);
            if last < best.1 {
                best = (step, last);
            }
            let _ = writeln!(evals, "{step},{last:.7},{:.7},{:.7},{train:.7}", 1.0 - 0.5 * last, 0.95 - 0.5 * last);
        }
    }
    let outcome = json!({
        "status": "finished", "reason": null, "steps": steps, "final_train_loss": 0.3, "final_eval_loss": last,
        "best_eval_loss": best.1, "best_eval_step": best.0, "final_accuracy": 0.8, "best_accuracy": 0.8,
        "best_macro_f1": 0.8, "seconds": 60.0, "tokens_per_second": 1000.0, "peak_memory": 1, "labels": ["a", "b"],
        "class_prior": [0.5, 0.5], "eval_prior": [0.5, 0.5], "verdicts": [],
    });
    (metrics, evals, outcome)
}
