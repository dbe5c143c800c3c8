//! The cost of everything around training: thousands of trials of a toy objective go through plan, journal, decisions, the
//! inline engine with two slots, result files, `trials.csv` and the lines on the terminal. `cargo bench --bench toy [--
//! TRIALS ...]`.
//!
//! `random-10000` is a search of as many trials in place of a grid.
//!
//! Each number of trials runs in its own process, so that its memory can be measured. The process measures a run that trains all
//! trials (with its memory after a quarter, a half and all of them), a run that finds nothing to do, the report, and the time of
//! `stop.median` and `stop.asha` for an evaluation of the last trial. A trial is 20 steps and 5 evaluations that cost nothing. Its files are those of a real trial, so most of the time goes to the disk (`TMPDIR`).

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use plateau::decide::{EvalHistory, JudgingOrder, MemoryBudget, judge_across};
use plateau::event::{Event, Record, Reporter, Slot, TrialProgress};
use plateau::exec::Inline;
use plateau::plan::{DataFound, Facts, ModelFound, Plan, expand};
use plateau::report::terminal::{Mode, Terminal};
use plateau::report::{self, ProvenanceReader};
use plateau::run::{self, RunOrder, survey};
use plateau::spec::{Asha, Median, RunConfig, StopAcross, SweepSpec, parse};
use plateau::state::SweepState;
use plateau::store::Results;
use plateau::train::{Job, Sink, TrainError};
use plateau::trial::{
    DataFacts, DataReport, Device, EvalRow, FileHashes, MetricRow, ModelFacts, Outcome, Scores, Status,
};
use plateau::worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: u64 = 20;
const EVERY: u64 = 5;

#[expect(clippy::print_stdout, reason = "a benchmark's result")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, trials] = &arguments[..]
        && word == "alone"
    {
        return measure(trials);
    }
    if arguments.is_empty() {
        arguments = ["2500", "5000", "10000", "random-10000"].map(str::to_owned).to_vec();
    }
    println!("                  MB after a part of the trials");
    println!("trials  trained s   1/4   1/2   all  peak  again s  peak MB  report s  peak MB  journal MB  judged ms");
    for trials in &arguments {
        let ended = Command::new(std::env::current_exe()?).args(["alone", trials]).output()?;
        if !ended.status.success() {
            return Err(String::from_utf8_lossy(&ended.stderr).into());
        }
        print!("{}", String::from_utf8_lossy(&ended.stdout));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result")]
fn measure(word: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let results = Results::new(folder.path())?;
    let text = match word.strip_prefix("random-") {
        Some(trials) => search(trials.parse()?),
        None => sweep(word.parse()?),
    };
    let spec = parse("toys.yaml", "toys", &text, &[])?;
    let start = Instant::now();
    let plan = expand(&spec, &facts(&spec))?;
    let dir = results.sweep(&plan.name)?;
    let sizes = train(&plan, &results)?;
    let mut line = format!("{:>6}  {:>9.2}", plan.trials.len(), start.elapsed().as_secs_f64());
    line.extend(sizes.iter().chain([&megabytes("VmHWM:")]).map(|size| format!(" {size:>5.1}")));
    let start = Instant::now();
    train(&plan, &results)?;
    write!(line, "  {:>7.2}  {:>7.1}", start.elapsed().as_secs_f64(), megabytes("VmHWM:"))?;
    let start = Instant::now();
    let sweep = survey(&plan, &dir)?;
    report::draw(&sweep, &[], &ProvenanceReader::default().read(&dir, &sweep)?, &|_| None)?;
    let journal = std::fs::metadata(dir.journal())?.len() as f64 / 1e6;
    let drawn = start.elapsed().as_secs_f64();
    println!("{line}  {drawn:>8.2}  {:>7.1}  {journal:>10.1}  {:>9.3}", megabytes("VmHWM:"), judging(&plan) * 1e3);
    Ok(())
}

/// Seconds that the rules over all trials take for an evaluation of the last one, when all others have ended.
fn judging(plan: &Plan) -> f64 {
    let slot = Slot::alone(0, Device::Cpu, 1);
    let mut state = SweepState::new(plan.trials.iter().map(|trial| &trial.id));
    let mut scores = EvalHistory::default();
    for trial in &plan.trials {
        scores.see(&trial.id, (EVERY..=STEPS).step_by(EVERY as usize).map(|step| eval_row(step, 0.5)));
        let trial = trial.id.clone();
        state.apply(&Event::AttemptClaimed { trial: trial.clone(), attempt: 1, slot });
        if plan.trials.last().is_some_and(|last| last.id != trial) {
            state.apply(&Event::TrialFinished { trial, attempt: 1, outcome: Box::new(outcome(0.5)) });
        }
    }
    let median = Some(Median { min_steps: EVERY, ..Median::default() });
    let rules = StopAcross { median, asha: Some(Asha { min_steps: EVERY, ..Asha::default() }) };
    let start = Instant::now();
    while let Some((trial, judgement)) = judge_across(&state, &mut scores, &rules, JudgingOrder::default(), |_| true) {
        state.apply(&Event::TrialJudged { trial, judgement });
    }
    start.elapsed().as_secs_f64() / (STEPS / EVERY) as f64
}

/// Ten learning rates, five schedulers, ten seeds, and as many warm-ups as `trials` needs.
fn sweep(trials: usize) -> String {
    let warmups: Vec<String> = (0..trials.div_ceil(500)).map(|warmup| warmup.to_string()).collect();
    format!(
        "steps: {STEPS}\neval_every: {EVERY}\ngrid:\n  lr: [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]\n  \
         scheduler: [constant, linear, cosine, polynomial, inverse_sqrt]\n  warmup: [{}]\n\
         seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n",
        warmups.join(", ")
    )
}

/// As many random trials.
fn search(trials: usize) -> String {
    format!(
        "steps: {STEPS}\neval_every: {EVERY}\nspace:\n  lr: {{log: [1e-6, 1e-2]}}\n  warmup: {{uniform: [0, 0.3]}}\n  \
         scheduler: [constant, linear, cosine, polynomial, inverse_sqrt]\nsearch: {{sampler: random, trials: {trials}}}\n"
    )
}

/// Makes up the facts about data and checkpoint: a toy objective has none.
fn facts(spec: &SweepSpec) -> Facts {
    let sources = spec.sources();
    let data = sources.data.into_iter().map(|source| DataFound {
        written: source.data.clone(),
        model: source.model,
        located: source.data,
        facts: DataFacts {
            test_hash: None,
            hash: "none".to_owned(),
            files: FileHashes::new(),
            train_rows: 1000,
            eval_rows: 200,
            labels: vec!["negative".to_owned(), "positive".to_owned()],
            class_prior: vec![0.5, 0.5],
            mean_tokens: 25.0,
            largest_token: 0,
            report: DataReport::default(),
        },
    });
    let models = sources.models.into_iter().map(|source| ModelFound {
        written: source.from.clone(),
        located: source.from,
        facts: ModelFacts {
            hash: "none".to_owned(),
            files: FileHashes::new(),
            parameters: 1,
            vocabulary: 1,
            layers: 3,
            hidden: 384,
            embedding_width: 0,
            modules: Vec::new(),
            adapter: None,
            heads: 12,
            intermediate: 1536,
            max_positions: 512,
            attention_spans: Vec::new(),
            token_types: 2,
            has_pooler: false,
            head: None,
            dropout: Some(0.1),
        },
    });
    Facts { data: data.collect(), models: models.collect(), augmentations: Vec::new(), ..Facts::default() }
}

/// Prints the lines of a run, and records the memory in use after each quarter of the trials.
struct Watched {
    terminal: Terminal,
    quarter: usize,
    finished: usize,
    sizes: Vec<f64>,
}

impl Reporter for Watched {
    fn event(&mut self, record: &Record) {
        self.terminal.event(record);
        if let Event::TrialFinished { .. } = record.event {
            self.finished += 1;
            if [1, 2, 4].map(|quarters| quarters * self.quarter).contains(&self.finished) {
                self.sizes.push(megabytes("VmRSS:"));
            }
        }
    }

    fn progress(&mut self, running: &[TrialProgress]) {
        self.terminal.progress(running);
    }
}

/// Trains the missing trials. Returns the memory in use after each quarter of them.
fn train(plan: &Plan, results: &Results) -> Result<Vec<f64>, Box<dyn Error>> {
    let slots = [0, 1].map(|index| Slot::alone(index, Device::Cpu, 1));
    let (config, parameters) = (RunConfig::default(), HashMap::new());
    let estimates = plan.trials.iter().map(|trial| (trial.id.clone(), 1 << 20)).collect();
    let order = RunOrder {
        search: None,
        plan,
        sweep_yaml: "",
        origin: b"{}",
        results,
        config: &config,
        slots: &slots,
        memory: Some(MemoryBudget::new(1 << 30, &estimates)),
        device_memory: &[],
        micro_batch_tokens: &HashMap::new(),
        only: None,
        retry_failed: false,
        continued: &[],
        facts: &plateau::plan::Facts::default(),
        fresh: false,
        queue: None,
        parameters: &parameters,
    };
    let engine = Inline::new(|folder: &Path, stop: &Arc<AtomicBool>| worker::attempt(folder, stop, toy));
    let terminal = Terminal::new(Mode::Lines, false, &plan.name, &plan.trials);
    let mut watched = Watched { terminal, quarter: plan.trials.len() / 4, finished: 0, sizes: Vec::new() };
    let summary = run::sweep(&order, || engine, &mut watched)?;
    if summary.finished != plan.trials.len() {
        return Err(format!("{} of {} trials finished", summary.finished, plan.trials.len()).into());
    }
    Ok(watched.sizes)
}

/// A loss that falls to a floor. A higher learning rate makes it fall faster.
fn toy(job: Job<'_>, sink: &mut dyn Sink) -> Result<Outcome, TrainError> {
    let floor = 0.3 + 0.05 * (job.config.lr.log10() + 4.0).abs() + 0.001 * job.config.seed as f64;
    let loss = |step: u64| floor + (0.69 - floor) * (-(step as f64) * job.config.lr.sqrt() * 10.0).exp();
    let evaluate = |sink: &mut dyn Sink, step: u64| sink.eval(&eval_row(step, loss(step) as f32));
    evaluate(sink, 0)?;
    for step in 1..=STEPS {
        let (epoch, train_loss, lr) = (step as f64 / 30.0, loss(step) as f32, job.config.lr);
        sink.metric(&MetricRow { step, epoch, train_loss, lr, grad_norm: 1.0, tokens: 800, seconds: step as f64 })?;
        if step % EVERY == 0 {
            evaluate(sink, step)?;
        }
    }
    Ok(outcome(loss(STEPS) as f32))
}

fn eval_row(step: u64, eval_loss: f32) -> EvalRow {
    EvalRow { step, eval_loss, accuracy: 0.8, macro_f1: 0.8, train_probe_loss: eval_loss, scores: Scores::default() }
}

fn outcome(last: f32) -> Outcome {
    Outcome {
        status: Status::Finished,
        reason: None,
        steps: STEPS,
        final_train_loss: Some(last),
        final_eval_loss: Some(last),
        best_eval_loss: Some(last),
        best_eval_step: Some(STEPS),
        final_accuracy: Some(0.8),
        best_accuracy: Some(0.8),
        best_macro_f1: Some(0.8),
        best: None,
        last: None,
        best_scores: Scores::default(),
        final_scores: Scores::default(),
        seconds: STEPS as f64,
        tokens_per_second: 800.0,
        peak_memory: None,
        device_memory: None,
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        class_prior: vec![0.5, 0.5],
        eval_prior: vec![0.5, 0.5],
        train_chance: None,
        eval_chance: None,
        leaked_rows: 0,
        verdicts: Vec::new(),
    }
}

/// A size of this process by its name in `/proc/self/status`; 0 where that file does not exist.
fn megabytes(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes: f64 = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or_default();
    kibibytes * 1024.0 / 1e6
}
