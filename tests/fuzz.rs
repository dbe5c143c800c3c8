//! Readers of files on randomly damaged input: no input may crash or hang the process, or be taken for something else.
//!
//! Takes a second in `cargo test` and a minute in `just fuzz` (`PLATEAU_FUZZ_SECONDS`, for all targets together). Inputs are
//! made from good files by cuts, repetitions, splices and difficult words. An input that gives a new kind of answer joins
//! the good files; this replaces the coverage of libFuzzer, for which `cargo fuzz` would rebuild all dependencies with
//! instrumentation. A failure prints its seed (`PLATEAU_FUZZ_SEED`) and leaves its input in a file.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]
#![expect(clippy::disallowed_methods, reason = "tests make and break files of their own")]
#![expect(clippy::print_stdout, reason = "how to have the same again, and how much was tried")]

#[path = "program/dice.rs"]
mod dice;

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dice::{Dice, setting};
use plateau::event::{Event, Handle, Record};
use plateau::spec::{ResolvedSources, parse};
use plateau::state::SweepState;
use plateau::store::{CurveFollower, CurveRow, CurveWriter, Journal, read_curve, read_journal};
use plateau::train::data::labelled_texts;
use plateau::trial::{DataConfig, DiagnosticRow, EvalRow, MetricRow, Scores, TrialId};

const TARGETS: u64 = 6;
/// No input may take longer, on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);
/// Bytes that inputs grow to.
const LARGEST: usize = 1 << 14;

/// Words that are difficult for readers.
const WORDS: &[&str] = &[
    "NaN",
    "inf",
    "-inf",
    "-0.0",
    "1e308",
    "1e-400",
    "18446744073709551616",
    "-1",
    "4294967295",
    "9007199254740993",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\"",
    "\"\"",
    "'",
    ",",
    ",,,",
    ":",
    "{",
    "}",
    "[",
    "]",
    "#",
    "&a",
    "*a",
    "<<",
    "|",
    ">",
    "~",
    "null",
    "\u{feff}",
    "\0",
    "\u{1}end of file\u{1}\n",
    "é",
    "\u{202e}",
    "𝄞",
    "true",
    "\\",
    "\\u0000",
    "\\ud800",
    "- ",
    "? ",
    "%",
    "!!str ",
    "---\n",
    "e9",
    ".",
    "0x1f",
];

/// Good inputs, and the path of the current damaged one.
struct Corpus {
    name: &'static str,
    inputs: Vec<Vec<u8>>,
    words: Vec<&'static str>,
    dice: Dice,
    file: PathBuf,
}

impl Corpus {
    fn new(name: &'static str, extension: &str, inputs: &[&str], words: &[&'static str]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = setting("PLATEAU_FUZZ_SEED").unwrap_or(now);
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{}.{extension}", std::process::id()));
        println!("{name}: PLATEAU_FUZZ_SEED={seed}, the current input is {}", file.display());
        let inputs = inputs.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self { name, inputs, words: [words, WORDS].concat(), dice: Dice(seed), file }
    }

    /// Gives `reader` the path and the content of damaged files until the time is up. It returns the kind of its answer.
    fn fuzz(mut self, reader: impl Fn(&Path, &[u8]) -> String) {
        let limit = Duration::from_millis(setting("PLATEAU_FUZZ_SECONDS").unwrap_or(1) * 1000 / TARGETS);
        let (start, mut kinds, mut runs) = (Instant::now(), HashSet::new(), 0_u64);
        while start.elapsed() < limit {
            let input =
                if (runs as usize) < self.inputs.len() { self.inputs[runs as usize].clone() } else { self.damaged() };
            fs::write(&self.file, &input).unwrap();
            let began = Instant::now();
            let answer = reader(&self.file, &input);
            assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
            // Numbers and names in answers vary without end; their letters tell the kind.
            let kind: String = answer.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(60).collect();
            if kinds.insert(kind) && self.inputs.len() < 2000 {
                self.inputs.push(input);
            }
            runs += 1;
        }
        println!("{}: {runs} inputs, {} kinds of answers", self.name, kinds.len());
        fs::remove_file(&self.file).unwrap();
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        self.dice.below(bytes.len() as u64 + 1) as usize
    }

    fn damaged(&mut self) -> Vec<u8> {
        let mut bytes = self.any().to_vec();
        for _ in 0..=self.dice.below(6) {
            let (a, b) = (self.place(&bytes), self.place(&bytes));
            let (start, end) = (a.min(b), a.max(b));
            match self.dice.below(7) {
                0 => drop(bytes.drain(start..end.min(start + 40))),
                1 => bytes.truncate(end),
                2 => {
                    let part = bytes[start..end].to_vec();
                    bytes.splice(start..start, part);
                }
                3 => {
                    let other = self.any().to_vec();
                    let from = self.place(&other);
                    bytes.splice(start.., other[from..].iter().copied());
                }
                4 if !bytes.is_empty() => {
                    let at = start.min(bytes.len() - 1);
                    bytes[at] ^= 1 << self.dice.below(8);
                }
                5 => self.replace_a_word(&mut bytes, start),
                _ => {
                    let word = self.word();
                    bytes.splice(start..start, word.bytes());
                }
            }
        }
        bytes.truncate(LARGEST);
        bytes
    }

    /// Replaces the word at `at` by another one.
    fn replace_a_word(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
        let start = at - bytes[..at].iter().rev().take_while(|byte| is_part(byte)).count();
        let end = at + bytes[at..].iter().take_while(|byte| is_part(byte)).count();
        let word = self.word();
        bytes.splice(start..end, word.bytes());
    }

    fn any(&mut self) -> &[u8] {
        let at = self.dice.below(self.inputs.len() as u64) as usize;
        &self.inputs[at]
    }

    fn word(&mut self) -> &'static str {
        self.words[self.dice.below(self.words.len() as u64) as usize]
    }
}

/// A sweep that can be read can be written and read again with the same sources.
#[test]
fn sweep_files() {
    let seeds = [
        include_str!("../sweeps/lr-grid.yaml"),
        include_str!("../sweeps/augmentation.yaml"),
        include_str!("../sweeps/smoke.yaml"),
        "optimizer: {name: adamw, betas: [0.9, 0.999], eps: 1e-8, layer_decay: 0.9}\nscheduler: {name: cosine, cycles: 2}\n\
         zip:\n  batch_size: [16, 32]\n  epochs: [2, 4]\ninclude:\n  - {lr: 2e-5, scheduler: constant}\nexclude:\n  - lr: 3e-4\n\
         seeds: [1, 2, 3]\nstop: {diverged: false, patience: {metric: eval_loss, evals: 5, min_delta: 0.001}, median: {min_trials: 2}, asha: {eta: 3}}\n\
         run: {devices: 'cuda:0,1', jobs: 2, threads: auto, retries: 3, checkpoint_every: 10s, keep: best, max_memory: 8GB, time_limit: 2h}\n",
        "base: &b {lr: 1e-4}\ngrid:\n  <<: *b\n  data.max_length: [64, 128]\n  model.dropout: [0, 0.1]\n  augmentation: [none, {name: eda, alpha: 0.1}, [synonym, mixup]]\n",
        "grid: {lr: [1e-5, 1e-4]}",
        "",
    ];
    let words =
        ["grid:", "zip:", "lr", "[1e-5, 1e-4]", "warmup", "epochs", "steps", "include: [{lr: 1}]", "run:", "stop:"];
    Corpus::new("sweeps", "yaml", &seeds, &words).fuzz(|_, bytes| {
        let text = String::from_utf8_lossy(bytes);
        match parse("sweep.yaml", "sweep", &text, &[]) {
            Ok(spec) => {
                let sources = spec.sources();
                let again = spec.to_yaml(&ResolvedSources::default()).unwrap();
                let read =
                    parse("again.yaml", &spec.name, &again, &[]).unwrap_or_else(|error| panic!("{error}\n{again}"));
                assert_eq!(read.sources().data.len(), sources.data.len(), "{again}");
                format!("sweep {}", "x".repeat(sources.data.len().min(9)))
            }
            Err(problems) => problems.to_string().lines().map(|line| line.rsplit(": ").next().unwrap()).collect(),
        }
    });
}

fn a_journal() -> String {
    let trial = TrialId::parse("0123456789ab").unwrap();
    let events = [
        Event::SweepOpened {
            sweep: "s".into(),
            version: "0.1.0".into(),
            host: "h".into(),
            pid: 7,
            trials: vec![trial.clone()],
        },
        Event::AttemptStarted { trial: trial.clone(), attempt: 1, handle: Handle::local(8) },
        Event::AttemptInterrupted { trial: trial.clone(), attempt: 1 },
        Event::TrialRequeued { trial: trial.clone() },
        Event::TrialContinued { trial },
        Event::SweepInterrupted,
        Event::SearchEnded { why: "`search.until` is reached".into() },
        Event::SweepClosed { finished: 1, failed: 0 },
    ];
    let line = |event| serde_json::to_string(&Record { at: 1, event }).unwrap() + "\n";
    events.into_iter().map(line).collect()
}

/// A journal that was opened takes another line, and then holds its old records and that line.
#[test]
fn journals() {
    let more = concat!(
        r#"{"at":3,"event":"attempt_claimed","trial":"0123456789ab","attempt":1,"slot":{"index":0,"device":"cpu","threads":1}}"#,
        "\n",
        r#"{"at":4,"event":"attempt_failed","trial":"0123456789ab","attempt":1,"failure":{"kind":"crashed","message":"m","log_tail":["a"]}}"#,
        "\n",
        r#"{"at":5,"event":"trial_finished","trial":"0123456789ab","attempt":2,"outcome":{"status":"finished","reason":null,"steps":20,"final_train_loss":0.5,"final_eval_loss":0.5,"best_eval_loss":0.5,"best_eval_step":20,"final_accuracy":0.8,"best_accuracy":0.8,"best_macro_f1":null,"seconds":1.5,"tokens_per_second":9.0,"peak_memory":null,"labels":["a","b"],"class_prior":[0.5,0.5],"eval_prior":[0.5,0.5],"verdicts":[]}}"#,
        "\n",
        r#"{"at":6,"event":"trial_judged","trial":"0123456789ab","judgement":{"rule":"asha","metric":"eval_loss","step":10,"rung":0,"value":1.5,"bound":1.0,"among":3,"stops":true}}"#,
        "\n",
    );
    let words =
        ["trial_finished", "attempt_claimed", "attempt", "event", "0123456789ab", "trial_judged", "rung", "null"];
    Corpus::new("journals", "jsonl", &[&a_journal(), more], &words).fuzz(|path, _| {
        let (mut journal, reading) = Journal::open(path).unwrap();
        let mut state = SweepState::new(&[TrialId::parse("0123456789ab").unwrap()]);
        reading.records.iter().for_each(|record| state.apply(&record.event));
        let (finished, failed) = state.over();
        assert_eq!(state.open().count() + finished + failed, 1);
        journal.append(&Record { at: 9, event: Event::SweepInterrupted }).unwrap();
        let again = read_journal(path).unwrap();
        assert_eq!((again.records.len(), again.damaged.len()), (reading.records.len() + 1, reading.damaged.len()));
        assert_eq!(again.records[..reading.records.len()], reading.records);
        let damage = reading.damaged.first().map_or("whole", |damage| damage.message.as_str());
        format!("{damage} {}", "x".repeat(reading.records.len().min(9)))
    });
}

/// The steps of a curve rise. A writer continues after any of them, and its row is read back.
fn check_curve<R: CurveRow + Clone>(path: &Path, row: impl Fn(u64) -> R) -> String {
    let curve = read_curve::<R>(path).unwrap();
    let steps: Vec<u64> = curve.rows.iter().map(CurveRow::step).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    CurveFollower::<R>::new(path.to_owned()).poll();
    let last = steps.get(steps.len() / 2).copied().unwrap_or_default();
    let mut writer = CurveWriter::<R>::open(path, Some(last)).unwrap();
    let kept = steps.iter().filter(|step| **step <= last).count();
    assert_eq!(writer.rows() as usize, kept);
    if let Some(next) = last.checked_add(1) {
        writer.append(&row(next)).unwrap();
        assert_eq!(read_curve::<R>(path).unwrap().rows.len(), kept + 1);
    }
    format!("{} {}", if curve.damaged.is_some() { "damaged" } else { "whole" }, "x".repeat(steps.len().min(9)))
}

#[test]
fn curves() {
    let metrics = "step,epoch,train_loss,lr,grad_norm,tokens,seconds\n1,0.5,0.69,3e-5,1.5,800,0.25\n2,1.0,NaN,0.0,inf,900,0.5\n3,1.5,0.5,1e-5,,900,0.75\n";
    let evals = "step,eval_loss,accuracy,macro_f1,train_probe_loss\n0,0.7,0.5,0.4,\n10,0.6,0.7,0.6,0.55\n";
    let diagnostics = "step,first_grad_norm,last_grad_norm,update_ratio,predicted,surest_wrong,surest_expected\n0,,,,12 8,2,0.5\n10,0.5,1.5,0.001,10 10,,\n";
    Corpus::new("curves", "csv", &[metrics, evals, diagnostics], &["\n4,", ",0,"]).fuzz(|path, bytes| {
        let metric =
            |step| MetricRow { step, epoch: 1.0, train_loss: 0.5, lr: 1e-5, grad_norm: 1.0, tokens: 9, seconds: 1.0 };
        let eval = |step| EvalRow {
            step,
            eval_loss: 0.5,
            accuracy: 0.5,
            macro_f1: 0.5,
            train_probe_loss: f32::NAN,
            scores: Scores::default(),
        };
        let diagnostic = |step| DiagnosticRow {
            step,
            first_grad_norm: None,
            last_grad_norm: Some(1.0),
            update_ratio: None,
            predicted: vec![3, 4],
            surest_wrong: Some(1),
            surest_expected: Some(0.5),
        };
        let mut answers = check_curve(path, metric);
        fs::write(path, bytes).unwrap();
        answers += &check_curve(path, eval);
        fs::write(path, bytes).unwrap();
        answers + &check_curve(path, diagnostic)
    });
}

/// Data files of every format: every row has a text.
#[test]
fn data_files() {
    let seeds = [
        "text,label\ngood film,pos\n\"bad, \"\"very\"\" bad\nfilm\",neg\n",
        "label\ttext\npos\tgood \"film\nneg\tbad film\n",
        "{\"text\": \"good film\", \"label\": 1}\n{\"label\": \"neg\", \"text\": \"b\\u00e4d\"}\n",
    ];
    let config = DataConfig::default();
    Corpus::new("data", "csv", &seeds, &["text", "label", "text,label\n", "\"text\""]).fuzz(|path, bytes| {
        let mut answers = String::new();
        for (kind, pack) in [("csv", false), ("tsv", false), ("jsonl", false), ("csv.gz", true)] {
            let path = path.with_extension(kind);
            if pack {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packer.write_all(bytes).unwrap();
                let mut packed = packer.finish().unwrap();
                // The second half of the inputs is no archive any more.
                if bytes.len() % 2 == 1 {
                    packed.truncate(packed.len() * bytes.len() % 97);
                }
                fs::write(&path, packed).unwrap();
            } else {
                fs::write(&path, bytes).unwrap();
            }
            match labelled_texts(path.to_str().unwrap(), &config, true).map(|texts| texts.examples) {
                Ok(rows) => answers += if rows.is_empty() { "none" } else { "rows" },
                Err(error) => answers.extend(error.to_string().rsplit(": ").next().unwrap().chars().take(15)),
            }
            // The input itself is removed, or kept for a look, by the caller.
            if kind != "csv" {
                fs::remove_file(&path).unwrap();
            }
        }
        fs::write(path, bytes).unwrap();
        answers
    });
}

/// `plateau diagnose` on foreign logs: it judges them or says what is wrong.
#[test]
fn logs() {
    let seeds = [
        "step,loss,eval_loss,lr,grad_norm\n10,0.7,,1e-5,1.5\n20,0.6,0.65,5e-6,1.2\n30,0.5,0.6,0,inf\n",
        "{\"global_step\": 20, \"log_history\": [{\"loss\": 0.7, \"learning_rate\": 1e-5, \"step\": 10}, {\"eval_loss\": NaN, \"step\": 20}, {\"train_runtime\": 1.5}]}",
        "{\"step\": 1, \"loss\": 0.7}\n{\"step\": 2, \"loss\": \"nan\"}\n{\"step\": 3",
        "iter\tloss\tacc\n0\t2.3\t0.1\n1\t2.2\t0.2\n",
        include_str!("../docs/diagnosis.md"),
    ];
    Corpus::new("logs", "log", &seeds, &["step", "loss", "eval_loss", "lr", "grad_norm", "log_history"]).fuzz(
        |path, _| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_plateau"));
            let ended =
                command.args(["diagnose", "--classes", "0.5,0.5", "--format", "json"]).arg(path).output().unwrap();
            let message = String::from_utf8(ended.stderr).unwrap();
            match ended.status.code() {
                Some(0) => serde_json::from_slice::<serde_json::Value>(&ended.stdout).unwrap()["logs"][0]["verdicts"]
                    .to_string(),
                Some(2) => message,
                other => panic!("{other:?}: {message}"),
            }
        },
    );
}

/// `plateau plan` with a damaged `config.json`: the checkpoint is used, or the message says what is wrong with it.
#[test]
fn checkpoints() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/finetune-tiny");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("checkpoint")).unwrap();
    for name in ["train.tsv", "checkpoint/tokenizer.json", "checkpoint/model.safetensors"] {
        fs::copy(fixture.join(name), folder.path().join(name)).unwrap();
    }
    let sweep = "data: {train: train.tsv}\nmodel: {from: checkpoint}\nsteps: 3\ngrid: {lr: [1e-4]}\n";
    fs::write(folder.path().join("sweep.yaml"), sweep).unwrap();
    let config = include_str!("fixtures/finetune-tiny/checkpoint/config.json");
    let words =
        ["hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings", "gelu", "bert", "id2label"];
    Corpus::new("checkpoints", "json", &[config], &words).fuzz(|_, bytes| {
        fs::write(folder.path().join("checkpoint/config.json"), bytes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plateau"));
        let ended = command.args(["plan", "sweep.yaml"]).current_dir(folder.path()).output().unwrap();
        let message = String::from_utf8(ended.stderr).unwrap();
        match ended.status.code() {
            Some(0) => "planned".into(),
            Some(2) => message.lines().nth(2).unwrap_or_default().rsplit(": ").next().unwrap().to_owned(),
            other => panic!("{other:?}: {message}"),
        }
    });
}
