//! Draws the live view: a permanent line for every trial that has ended, and below them a block of at most 14 lines that is
//! redrawn in place. Without a terminal it prints the permanent lines, and a summary once a minute.
//!
//! Text for people goes to stderr, JSON for programs to stdout. Output errors are ignored, so that the view never fails
//! a run.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines;
use super::pace::Pace;
use super::tally::Tally;
use crate::event::{Event, Record, Reporter, TrialProgress};
use crate::trial::{Trial, TrialId, printable};

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A live block on a terminal, otherwise lines.
    #[default]
    Auto,
    Bar,
    Lines,
    /// Every event as a line of JSON on stdout.
    Json,
    None,
}

/// The least time between two drawings of the live block. With thousands of trials, a drawing takes time.
const REDRAW: Duration = Duration::from_millis(100);
/// The time between two summaries without a terminal.
const SUMMARY: Duration = Duration::from_mins(1);

/// Shows a sweep as it runs.
pub struct Terminal {
    tally: Tally,
    pace: Pace,
    running: Vec<TrialProgress>,
    began: Instant,
    summarised: Instant,
    /// When the live block was last drawn.
    drawn: Option<Instant>,
    verbose: bool,
    json: bool,
    lines: bool,
    bar: Option<ProgressBar>,
    /// How often a trial is retried, and how often each has failed in this run.
    retries: u32,
    failures: HashMap<TrialId, u32>,
}

impl Terminal {
    /// A view of the sweep named `sweep` with the `trials` of its plan. `verbose` adds a line for each start.
    pub fn new(mode: Mode, verbose: bool, sweep: &str, trials: &[impl Borrow<Trial>]) -> Self {
        let live = match mode {
            Mode::Bar => true,
            Mode::Auto => std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            Mode::Lines | Mode::Json | Mode::None => false,
        };
        Self {
            tally: Tally::new(sweep, trials),
            pace: Pace::default(),
            running: Vec::new(),
            began: Instant::now(),
            summarised: Instant::now(),
            drawn: None,
            verbose,
            json: mode == Mode::Json,
            lines: !live && !matches!(mode, Mode::Json | Mode::None),
            bar: live.then(bar),
            retries: u32::MAX,
            failures: HashMap::new(),
        }
    }

    /// Says how often a failed trial is retried. The failure after that has a line of its own.
    pub fn retries(&mut self, retries: u32) {
        self.retries = retries;
    }

    /// Says how many trials there will be in all, where a search draws them one after the other.
    pub fn expect(&mut self, trials: usize) {
        self.tally.expect(trials);
    }

    /// Updates the state by the journal of earlier runs of the same sweep, without printing. What they have drawn and is not in
    /// the plan any more does not count.
    pub fn recall<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        let is_drawn = |record: &&Record| matches!(record.event, Event::ConfigurationSuggested { .. });
        for record in records.into_iter().filter(|record| !is_drawn(record)) {
            self.tally.fold(&record.event);
        }
    }

    /// Joins a run that is in progress: the trials that are running by `records` count from now on.
    pub fn join<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        let mut running = HashMap::new();
        for Record { event, .. } in records {
            match event {
                Event::SweepOpened { .. } => running.clear(),
                Event::AttemptStarted { trial, .. } => drop(running.insert(trial, event)),
                Event::AttemptFailed { trial, .. }
                | Event::AttemptInterrupted { trial, .. }
                | Event::TrialFinished { trial, .. } => drop(running.remove(trial)),
                _ => {}
            }
        }
        for event in running.into_values() {
            self.pace.fold(event);
        }
    }

    /// Removes the live block; permanent lines stay, and later ones are plain.
    pub fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            // Later lines are printed below the permanent ones.
            self.lines = true;
        }
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(printable(line)),
            None if self.lines => drop(writeln!(std::io::stderr(), "{}", printable(line))),
            None => {}
        }
    }

    /// Seconds since the view began, and the estimated seconds left.
    fn times(&self) -> (f64, Option<f64>) {
        let elapsed = self.began.elapsed().as_secs_f64();
        let under_way: u64 = self.running.iter().map(|progress| progress.step).sum();
        let left = self.pace.left(elapsed, self.tally.steps_open().saturating_sub(under_way));
        (elapsed, left)
    }

    fn redraw(&mut self) {
        if let Some(bar) = &self.bar {
            if self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
                return;
            }
            self.drawn = Some(Instant::now());
            let times = self.times();
            let (rows, columns) = Term::stderr().size();
            // The last column stays empty, because some terminals wrap when it is written.
            let size = (usize::from(rows).saturating_sub(1), usize::from(columns).saturating_sub(1).max(1));
            bar.set_message(printable(&lines::block(&self.tally, &self.running, times, size).join("\n")).into_owned());
        } else if self.lines && self.summarised.elapsed() >= SUMMARY {
            self.summarised = Instant::now();
            let times = self.times();
            self.print(&lines::header(&self.tally, self.running.len(), times.0, times.1));
        }
    }

    /// The permanent lines of an event. Most events have none.
    fn lines_of(&self, event: &Event) -> Vec<String> {
        let name = |trial| self.tally.entry(trial).map_or_else(String::new, |entry| entry.name.clone());
        match event {
            Event::TrialFinished { trial, outcome, .. } => {
                vec![lines::finished(&self.tally, &name(trial), outcome)]
            }
            Event::TrialFailed { trial, failure } => lines::failed(&self.tally, &name(trial), failure),
            Event::AttemptFailed { trial, attempt, failure }
                if failure.is_worth_a_retry()
                    && self.failures.get(trial).is_none_or(|failures| *failures <= self.retries) =>
            {
                vec![lines::retried(&self.tally, &name(trial), *attempt, failure)]
            }
            Event::OomPolicyApplied { trial, attempt, oom_policy } => {
                vec![lines::eased(&self.tally, &name(trial), *attempt, *oom_policy)]
            }
            Event::SlotRetired { slot, failure } => vec![lines::retired(&self.tally, *slot, failure)],
            Event::AttemptStarted { trial, attempt, handle } if self.verbose => {
                vec![format!("{}  attempt {attempt} started, {handle}, trial {trial}", name(trial))]
            }
            Event::AttemptInterrupted { trial, attempt } if self.verbose => {
                vec![format!("{}  attempt {attempt} interrupted, trial {trial}", name(trial))]
            }
            _ => Vec::new(),
        }
    }
}

impl Reporter for Terminal {
    fn event(&mut self, record: &Record) {
        self.tally.fold(&record.event);
        self.pace.fold(&record.event);
        if let Event::AttemptFailed { trial, .. } = &record.event {
            *self.failures.entry(trial.clone()).or_default() += 1;
        }
        if let Event::TrialFinished { trial, .. } | Event::TrialFailed { trial, .. } = &record.event {
            self.running.retain(|progress| progress.trial != *trial);
        }
        if self.json {
            let mut stdout = std::io::stdout().lock();
            if let Ok(line) = serde_json::to_string(record) {
                drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
            }
        }
        for line in self.lines_of(&record.event) {
            self.print(&line);
        }
        match record.event {
            Event::SweepClosed { .. } | Event::SweepInterrupted | Event::SweepDetached { .. } => {
                self.close();
                let (elapsed, _) = self.times();
                self.print(&lines::header(&self.tally, 0, elapsed, None));
            }
            _ => self.redraw(),
        }
    }

    fn warning(&mut self, text: &str) {
        self.print(text);
    }

    fn hangup(&mut self) {
        self.close();
    }

    fn progress(&mut self, running: &[TrialProgress]) {
        self.running = running.to_vec();
        self.pace.update(running);
        self.redraw();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
    }
}

/// A progress bar that shows only its message.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;
    use crate::event::Failure;

    #[test]
    fn a_failure_that_is_not_retried_is_not_called_a_retry() {
        let trials: Vec<Trial> = synthetic::default_sweep().runs.into_iter().map(|run| run.trial).collect();
        let failed = |attempt| Event::AttemptFailed { trial: trials[0].id.clone(), attempt, failure: Failure::Lost };
        let lines = |retries: u32| {
            let mut terminal = Terminal::new(Mode::None, false, "s", &trials);
            terminal.retries(retries);
            [1, 2].map(|attempt| {
                let event = failed(attempt);
                terminal.event(&Record { at: 0, event: event.clone() });
                terminal.lines_of(&event).len()
            })
        };
        assert_eq!([lines(0), lines(1), lines(2)], [[0, 0], [1, 0], [1, 1]]);
    }
}
