//! The report of a sweep that is under way, redrawn beside the run whenever a trial has ended: a page to keep open.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::event::{Event, Record, Reporter, TrialProgress};
use crate::report::terminal::Terminal;

/// At most this share of the time goes into drawing: once, then its duration this many times over without.
const SHARE: u32 = 25;
/// Between two drawings at least.
const PAUSE: Duration = Duration::from_secs(2);

/// The terminal, and word to [`redraw`] and others of what changes the report.
pub(crate) struct Watched<'a> {
    pub terminal: &'a mut Terminal,
    pub changed: Vec<Sender<()>>,
    /// What those have to say.
    pub warnings: &'a Receiver<String>,
}

impl Reporter for Watched<'_> {
    fn event(&mut self, record: &Record) {
        self.terminal.event(record);
        if let Event::SweepOpened { .. } | Event::TrialFinished { .. } | Event::TrialFailed { .. } = record.event {
            for changed in &self.changed {
                let _ = changed.send(());
            }
        }
    }

    fn progress(&mut self, running: &[TrialProgress]) {
        self.warnings.try_iter().for_each(|warning| self.terminal.warning(&warning));
        self.terminal.progress(running);
    }

    fn warning(&mut self, text: &str) {
        self.terminal.warning(text);
    }

    fn hangup(&mut self) {
        self.terminal.hangup();
    }
}

/// Calls `draw` after changes, many of them together where they come fast, until nobody is left to tell of any.
pub(crate) fn redraw(changes: &Receiver<()>, mut draw: impl FnMut()) {
    let mut quiet_until = Instant::now();
    let mut stale = false;
    loop {
        let told = if stale {
            changes.recv_timeout(quiet_until.saturating_duration_since(Instant::now()))
        } else {
            changes.recv().map_err(RecvTimeoutError::from)
        };
        match told {
            Ok(()) => stale = true,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let start = Instant::now();
                draw();
                quiet_until = Instant::now() + PAUSE.max(start.elapsed() * SHARE);
                stale = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn changes_that_come_fast_are_drawn_together_and_the_end_ends_it() {
        let (changed, changes) = channel();
        let (drew, drawn) = channel();
        let drawing = thread::spawn(move || redraw(&changes, || drew.send(()).unwrap()));
        changed.send(()).unwrap();
        assert_eq!(drawn.recv_timeout(Duration::from_secs(20)), Ok(()), "drawn at once");
        for _ in 0..9 {
            changed.send(()).unwrap();
        }
        assert_eq!(drawn.recv_timeout(Duration::from_secs(20)), Ok(()), "and again after a pause");
        drop(changed);
        drawing.join().unwrap();
        assert_eq!(drawn.iter().count(), 0, "all nine at once");
    }
}
