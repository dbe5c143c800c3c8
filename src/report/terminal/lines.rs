//! Formats the lines of the live view. Pure functions of the state and the width of the terminal.

use console::{measure_text_width, truncate_str};

use super::tally::{RankedConfiguration, Tally};
use crate::event::{Failure, OomPolicy, Slot, TrialProgress};
use crate::report::format::{self, clock, duration};
use crate::trial::{BestScore, Device, Outcome, ShapeKind, Status};

/// The most lines of the live block.
pub const BLOCK: usize = 14;
/// The most running trials that are shown.
const RUNNING: usize = 6;
/// The most configurations below the best one.
const LEADERS: usize = 5;
/// The most columns of the name of a trial.
const NAME: usize = 44;
/// Columns of a sparkline.
const SPARK: usize = 8;
/// The most log lines of a failed worker that are shown.
const LOG: usize = 5;

/// The newest losses as bars, scaled between their lowest and highest value; `×` for a non-finite one.
pub fn sparkline(losses: &[f32], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = &losses[losses.len().saturating_sub(width)..];
    let finite = || newest.iter().copied().filter(|loss| loss.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let bar = |loss: &f32| {
        let share = if high > low { (loss - low) / (high - low) } else { 0.0 };
        if loss.is_finite() { BARS[((share * 7.0).round() as usize).min(7)] } else { '×' }
    };
    newest.iter().map(bar).collect()
}

/// `[ 37/144]`.
fn place(done: usize, total: usize) -> String {
    let width = total.to_string().len();
    format!("[{done:>width$}/{total}]")
}

/// A name in exactly `width` columns.
fn column(name: &str, width: usize) -> String {
    let cut = truncate_str(name, width, "…");
    let missing = width.saturating_sub(measure_text_width(&cut));
    format!("{cut}{}", " ".repeat(missing))
}

/// The status of a trial, at most five columns.
fn status(outcome: &Outcome) -> &'static str {
    match outcome.verdicts.first().and_then(|verdict| verdict.id.shape()) {
        Some(ShapeKind::NotFinite) => "NaN",
        Some(ShapeKind::Stuck) => "stuck",
        Some(ShapeKind::Collapsed) => "coll.",
        _ => match outcome.status {
            Status::Diverged => "div.",
            Status::Stopped => "stop",
            _ => "ok",
        },
    }
}

/// The permanent line of a trial that has finished.
pub fn finished(tally: &Tally, name: &str, outcome: &Outcome) -> String {
    let result = match (outcome.status, outcome.best()) {
        (Status::Diverged, _) => {
            format!("@{} {}", outcome.steps, outcome.reason.as_deref().unwrap_or("diverged"))
        }
        (_, Some(BestScore { metric, step, value })) => {
            let name = if metric.is_loss() { "eval" } else { metric.title() };
            format!("{name} {value:.3} @{step}")
        }
        _ => format!("{} steps, not evaluated", outcome.steps),
    };
    let name = column(name, tally.name_width(NAME));
    let place = place(tally.done(), tally.total());
    format!("{place}  {:<5} {name}   {result}   {}", status(outcome), duration(outcome.seconds))
}

/// The permanent lines of a trial that failed permanently: the reason, and the last lines of its log.
pub fn failed(tally: &Tally, name: &str, failure: &Failure) -> Vec<String> {
    let name = column(name, tally.name_width(NAME));
    let mut lines = vec![format!("{}  {:<5} {name}   {failure}", place(tally.done(), tally.total()), "FAIL")];
    lines.extend(log_tail(failure).iter().map(|line| format!("{:>12}{line}", "| ")));
    lines
}

/// The permanent line of an attempt that failed and will be retried.
pub fn retried(tally: &Tally, name: &str, attempt: u32, failure: &Failure) -> String {
    let width = place(0, tally.total()).len();
    let name = column(name, tally.name_width(NAME));
    format!("{:width$}  {:<5} {name}   attempt {attempt}: {failure}", "", "retry")
}

/// The permanent line of an attempt that uses less memory than the one before.
pub fn eased(tally: &Tally, name: &str, attempt: u32, oom_policy: OomPolicy) -> String {
    let width = place(0, tally.total()).len();
    let name = column(name, tally.name_width(NAME));
    format!("{:width$}  {:<5} {name}   attempt {attempt} runs {oom_policy}", "", "retry")
}

/// The permanent line of a slot that is no longer used.
pub fn retired(tally: &Tally, slot: Slot, failure: &Failure) -> String {
    let width = place(0, tally.total()).len();
    format!("{:width$}  {:<5} {} failed too often and is no longer used: {failure}", "", "OUT", slot.place_name())
}

fn log_tail(failure: &Failure) -> &[String] {
    let lines = failure.log_tail();
    &lines[lines.len().saturating_sub(LOG)..]
}

/// The state of the whole sweep: `lr-grid  38/432 trials  2 running  2 failed  6:12 elapsed, about 1:04:10 left`.
pub fn header(tally: &Tally, running: usize, elapsed: f64, left: Option<f64>) -> String {
    let mut parts = vec![tally.sweep.clone(), format!("{}/{} trials", tally.done(), tally.total())];
    if running > 0 {
        parts.push(format!("{running} running"));
    }
    if tally.failed() > 0 {
        parts.push(format!("{} failed", tally.failed()));
    }
    let left = left.map_or_else(String::new, |left| format!(", about {} left", clock(left)));
    parts.push(format!("{} elapsed{left}", clock(elapsed)));
    parts.join("  ")
}

/// A running trial in at most `width` columns, with its name in at most `name_width`. Fields that do not fit are left out,
/// the least important first. Every field has a fixed width, so that the lines align.
pub fn running(progress: &TrialProgress, name: &str, name_width: usize, width: usize) -> String {
    let slot = match progress.slot.device {
        Device::Cpu => format!("cpu{}", progress.slot.index),
        device => device.to_string(),
    };
    let digits = progress.steps.to_string().len();
    let step = format!("step {:>digits$}/{}", progress.step, progress.steps);
    let train = progress.recent_loss.last().map_or_else(String::new, |value| format!("train {}", loss(*value)));
    let eval = progress.eval_loss.map_or_else(String::new, |value| format!("eval {}", loss(value)));
    let best = progress.best_eval_loss.map_or_else(String::new, |value| format!("(best {})", loss(value)));
    // Text, columns, and priority: the field with the highest number is left out first.
    let fields = [(train, 11, 1), (sparkline(&progress.recent_loss, SPARK), SPARK, 2), (eval, 10, 0), (best, 11, 3)];
    let taken = |kept: usize| fields.iter().filter(|field| field.2 < kept).map(|field| field.1 + 2).sum::<usize>();
    let fixed = measure_text_width(&slot) + measure_text_width(&step) + 3;
    let shortest = name_width.min(18);
    let kept = (0..=fields.len()).rev().find(|&kept| fixed + taken(kept) + shortest <= width).unwrap_or(0);
    let room = width.saturating_sub(fixed + taken(kept)).min(name_width);
    let mut line = format!("{slot} {}  {step}", column(name, room));
    for (text, columns, _) in fields.iter().filter(|field| field.2 < kept) {
        line.push_str("  ");
        line.push_str(&column(text, *columns));
    }
    truncate_str(line.trim_end(), width, "…").into_owned()
}

/// A loss in at most five columns.
fn loss(value: f32) -> String {
    if value.abs() < 100.0 || !value.is_finite() { format!("{value:.2}") } else { format!("{value:.0e}") }
}

/// A configuration and its best score: `0.307 ±0.008  3e-5 · 6 % · linear · eda  (3 seeds)`.
fn ranked(configuration: &RankedConfiguration) -> String {
    let noun = configuration.repetition.noun();
    let seeds = match (configuration.best.n, configuration.seeds) {
        (_, 1) => String::new(),
        (n, all) if n == all => format!("  ({n} {noun}s)"),
        (n, all) => format!("  ({n} of {all} {noun}s)"),
    };
    format!("{}  {}{seeds}", format::mean_and_sd(configuration.best), configuration.config)
}

/// The live block below the permanent lines: at most [`BLOCK`] lines and `rows`, none wider than `width` columns.
pub fn block(
    tally: &Tally,
    progress: &[TrialProgress],
    times: (f64, Option<f64>),
    (rows, width): (usize, usize),
) -> Vec<String> {
    let mut lines = vec![header(tally, progress.len(), times.0, times.1)];
    let names = tally.name_width(NAME);
    for one in progress.iter().take(RUNNING) {
        let name = tally.entry(&one.trial).map_or_else(|| one.trial.to_string(), |entry| entry.name.clone());
        lines.push(running(one, &name, names, width));
    }
    if progress.len() > RUNNING {
        lines.push(format!("and {} more", progress.len() - RUNNING));
    }
    let ranking = tally.ranking();
    if let Some(best) = ranking.first() {
        let metric = if best.metric.is_loss() { String::new() } else { format!("({}) ", best.metric.title()) };
        lines.push(format!("best so far {metric}{}", ranked(best)));
    }
    let complete = ranking.iter().filter(|other| other.best.n == other.seeds).skip(1);
    lines.extend(
        complete.take(LEADERS).enumerate().map(|(index, other)| format!("{:>11} {}", index + 2, ranked(other))),
    );
    lines.truncate(BLOCK.min(rows.max(1)));
    lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;
    use crate::event::Event;
    use crate::trial::{Trial, Verdict};

    fn sweep() -> (Vec<Trial>, Vec<Outcome>) {
        let axes = [
            synthetic::axis("lr", &["1e-5", "3e-5", "3e-4"]),
            synthetic::axis("warmup", &["0", "0.06"]),
            synthetic::axis("scheduler", &["linear"]),
            synthetic::axis("seed", &["1", "2"]),
        ];
        let runs = synthetic::sweep("lr-grid", &axes, 1200).runs;
        runs.into_iter().map(|run| (run.trial, run.outcome.unwrap())).unzip()
    }

    fn tally(done: usize) -> (Tally, Vec<Trial>, Vec<Outcome>) {
        let (trials, outcomes) = sweep();
        let mut tally = Tally::new("lr-grid", &trials);
        for (trial, outcome) in trials.iter().zip(&outcomes).take(done) {
            tally.fold(&Event::TrialFinished {
                trial: trial.id.clone(),
                attempt: 1,
                outcome: Box::new(outcome.clone()),
            });
        }
        (tally, trials, outcomes)
    }

    fn progress(trial: &Trial, index: usize, recent_loss: &[f32]) -> TrialProgress {
        TrialProgress {
            trial: trial.id.clone(),
            slot: Slot::alone(index, Device::Cpu, 1),
            step: 640,
            steps: 1200,
            recent_loss: recent_loss.to_vec(),
            eval_loss: (!recent_loss.is_empty()).then_some(0.33),
            best_eval_loss: (!recent_loss.is_empty()).then_some(0.32),
        }
    }

    #[test]
    fn permanent_lines() {
        let (tally, trials, outcomes) = tally(5);
        let name = &tally.entry(&trials[4].id).unwrap().name;
        insta::assert_snapshot!(finished(&tally, name, &outcomes[4]), @"[ 5/12]  ok    3e-5 · 0 % · linear · s1   eval 0.354 @550   4m00s");
        let mut outcome = outcomes[4].clone();
        outcome.status = Status::Diverged;
        (outcome.steps, outcome.reason) = (75, Some("the training loss became NaN".into()));
        outcome.verdicts = vec![Verdict::shape(ShapeKind::NotFinite, Some(75), "")];
        insta::assert_snapshot!(finished(&tally, name, &outcome), @"[ 5/12]  NaN   3e-5 · 0 % · linear · s1   @75 the training loss became NaN   4m00s");
        let log_tail = (1..=9).map(|line| format!("line {line}")).collect();
        let failure = Failure::Crashed { message: "exit code 101".into(), log_tail };
        insta::assert_snapshot!(failed(&tally, name, &failure).join("\n"), @"
        [ 5/12]  FAIL  3e-5 · 0 % · linear · s1   worker died: exit code 101
                  | line 5
                  | line 6
                  | line 7
                  | line 8
                  | line 9
        ");
        insta::assert_snapshot!(retried(&tally, name, 2, &Failure::Lost), @"         retry 3e-5 · 0 % · linear · s1   attempt 2: the worker disappeared without a trace");
    }

    #[test]
    fn live_block() {
        let (tally, trials, _) = tally(7);
        let running = [
            progress(&trials[7], 0, &[0.7, 0.6, 0.4, 0.3, 0.25, 0.2, 0.19, 0.18]),
            progress(&trials[8], 1, &[0.7, 3.0, f32::NAN]),
            progress(&trials[9], 2, &[]),
        ];
        let lines = |width, rows| block(&tally, &running, (372.0, Some(3850.0)), (rows, width)).join("\n");
        insta::assert_snapshot!(lines(80, 24), @"
        lr-grid  7/12 trials  3 running  6:12 elapsed, about 1:04:10 left
        cpu0 3e-5 · 6 % · linear · s2  step  640/1200  train 0.18   █▇▄▃▂▁▁▁  eval 0.33
        cpu1 3e-4 · 0 % · linear · s1  step  640/1200  train NaN    ▁█×       eval 0.33
        cpu2 3e-4 · 0 % · linear · s2  step  640/1200
        best so far 0.355 ±0.001  3e-5 · 0 % · linear  (2 seeds)
                  2 0.440 ±0.002  1e-5 · 0 % · linear  (2 seeds)
                  3 0.449 ±0.002  1e-5 · 6 % · linear  (2 seeds)
        ");
        insta::assert_snapshot!(lines(40, 5), @"
        lr-grid  7/12 trials  3 running  6:12 e…
        cpu0 3e-5 · 6 % · linea…  step  640/1200
        cpu1 3e-4 · 0 % · linea…  step  640/1200
        cpu2 3e-4 · 0 % · linea…  step  640/1200
        best so far 0.355 ±0.001  3e-5 · 0 % · …
        ");
    }

    #[test]
    fn two_hundred_trials() {
        let numbers = |n: u32, unit: &str| (1..=n).map(|i| format!("{i}{unit}")).collect::<Vec<_>>();
        let axis =
            |key: &str, values: &[String]| synthetic::axis(key, &values.iter().map(String::as_str).collect::<Vec<_>>());
        let axes = [
            axis("lr", &numbers(10, "e-5")),
            axis("model.dropout", &numbers(10, "e-2")),
            axis("seed", &numbers(2, "")),
        ];
        let runs = synthetic::sweep("big", &axes, 1200).runs;
        let trials: Vec<Trial> = runs.iter().map(|run| run.trial.clone()).collect();
        let mut tally = Tally::new("big", &trials);
        for run in &runs[..150] {
            let outcome = Box::new(run.outcome.clone().unwrap());
            tally.fold(&Event::TrialFinished { trial: run.trial.id.clone(), attempt: 1, outcome });
        }
        let running: Vec<TrialProgress> = (150..158).map(|i| progress(&trials[i], i - 150, &[0.7, 0.5])).collect();
        for width in [80, 200] {
            let lines = block(&tally, &running, (372.0, Some(190_800.0)), (50, width));
            assert_eq!(lines[0], "big  150/200 trials  8 running  6:12 elapsed, about 2 d 5 h left");
            assert!(lines.len() <= BLOCK && lines.iter().all(|line| measure_text_width(line) <= width), "{lines:?}");
            let shown = lines.iter().filter(|line| line.contains(" step  640/1200")).count();
            assert!(shown == RUNNING && lines.iter().any(|line| line.contains("2 more")), "{lines:?}");
            // At both widths, names are complete and every trial has its losses.
            let end = if width > 80 { "eval 0.33   (best 0.32)" } else { "eval 0.33" };
            assert!(lines[1].starts_with("cpu0 8e-5 · 6e-2 · s1") && lines[1].ends_with(end), "{lines:?}");
            assert_eq!(lines.iter().filter(|line| line.contains("seeds)")).count(), 1 + LEADERS, "{lines:?}");
        }
    }

    #[test]
    fn the_block_never_outgrows_the_terminal() {
        let (tally, trials, _) = tally(12);
        let running: Vec<TrialProgress> =
            trials.iter().enumerate().map(|(i, t)| progress(t, i, &[f32::NAN, 1e30])).collect();
        for width in [1, 2, 10, 20, 33, 50, 79, 80, 200] {
            for rows in [1, 3, 14, 60] {
                let lines = block(&tally, &running, (0.0, None), (rows, width));
                assert!(lines.len() <= BLOCK.min(rows));
                assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{width}: {lines:?}");
            }
        }
    }

    #[test]
    fn times_and_bars() {
        assert_eq!([0.0, 59.6, 252.0, 3840.0, 190_800.0].map(duration), ["0s", "1m00s", "4m12s", "1h04m", "2 d 5 h"]);
        assert_eq!(
            [0.2, 372.0, 3850.0, 86_399.0, 86_400.0, 190_799.5].map(clock),
            ["0:01", "6:12", "1:04:10", "23:59:59", "1 d 0 h", "2 d 5 h"]
        );
        assert_eq!(sparkline(&[9.0, 1.0, 0.5, f32::NAN, 0.0], 4), "█▅×▁");
        assert_eq!(sparkline(&[], 4), "");
        assert_eq!(sparkline(&[2.0, 2.0], 4), "▁▁");
    }

    #[test]
    fn failed_seeds_enter_no_mean() {
        let (trials, mut outcomes) = sweep();
        outcomes[0].verdicts = vec![Verdict::shape(ShapeKind::Stuck, None, "")];
        let mut tally = Tally::new("lr-grid", &trials);
        for (trial, outcome) in trials.iter().zip(&outcomes).take(2) {
            tally.fold(&Event::TrialFinished {
                trial: trial.id.clone(),
                attempt: 1,
                outcome: Box::new(outcome.clone()),
            });
        }
        let ranking = tally.ranking();
        assert_eq!(ranking.len(), 1);
        assert_eq!(ranking[0].best, level_of(outcomes[1].best_eval_loss.unwrap()));
        tally.fold(&Event::TrialRequeued { trial: trials[1].id.clone() });
        assert_eq!((tally.done(), tally.ranking().len()), (1, 0));
    }

    fn level_of(loss: f32) -> crate::analysis::study::Level {
        crate::analysis::study::Level { mean: f64::from(loss), sd: None, n: 1 }
    }
}
