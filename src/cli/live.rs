//! The report of a running sweep: redrawn whenever a trial ends, for a page that stays open.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::event::{Event, Record, Reporter, TrialProgress};
use crate::report::terminal::Terminal;

/// Pause between two drawings: at least this long, and this many times the duration of the last drawing.
const MIN_PAUSE: Duration = Duration::from_secs(2);
const PAUSE_FACTOR: u32 = 25;

/// Passes events to the terminal, and notifies listeners such as [`redraw`] that a trial ended.
pub(crate) struct LiveReporter<'a> {
    pub terminal: &'a mut Terminal,
    pub listeners: Vec<Sender<()>>,
    /// Warnings of the listeners, to be shown in the terminal.
    pub warnings: &'a Receiver<String>,
}

impl Reporter for LiveReporter<'_> {
    fn event(&mut self, record: &Record) {
        self.terminal.event(record);
        if let Event::SweepOpened { .. } | Event::TrialFinished { .. } | Event::TrialFailed { .. } = record.event {
            for listener in &self.listeners {
                let _ = listener.send(());
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

/// Calls `draw` after changes until all senders are gone. Changes in quick succession are drawn together.
pub(crate) fn redraw(changes: &Receiver<()>, mut draw: impl FnMut()) {
    let mut earliest = Instant::now();
    let mut is_stale = false;
    loop {
        let change = if is_stale {
            changes.recv_timeout(earliest.saturating_duration_since(Instant::now()))
        } else {
            changes.recv().map_err(RecvTimeoutError::from)
        };
        match change {
            Ok(()) => is_stale = true,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let start = Instant::now();
                draw();
                earliest = Instant::now() + MIN_PAUSE.max(start.elapsed() * PAUSE_FACTOR);
                is_stale = false;
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
    fn quick_changes_are_drawn_together() {
        let (changed, changes) = channel();
        let (draw, drawings) = channel();
        let drawing = thread::spawn(move || redraw(&changes, || draw.send(()).unwrap()));
        changed.send(()).unwrap();
        assert_eq!(drawings.recv_timeout(Duration::from_secs(20)), Ok(()), "the first change is drawn at once");
        for _ in 0..9 {
            changed.send(()).unwrap();
        }
        assert_eq!(drawings.recv_timeout(Duration::from_secs(20)), Ok(()), "the next ones after a pause");
        drop(changed);
        drawing.join().unwrap();
        assert_eq!(drawings.iter().count(), 0, "all nine together");
    }
}
