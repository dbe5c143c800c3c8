//! Which results a configuration may see, so that the sequence of a search does not depend on the machine.
//!
//! With `ahead` L, configuration i is drawn without the newest L - 1 results: of configuration j it sees the value at rung r
//! (from 0) if i - j >= L (r + 1), and the end if i - j >= L (R + 1), where R is the number of rungs of early stopping. It
//! waits for what it may see. Up to L trials can therefore run at the same time, and any number of slots up to that gives
//! the same sequence.

use super::history::{SearchResult, TrialResult};

/// The lag of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// L, at least 1.
    pub ahead: u64,
    /// R: rungs at which early stopping looks at a trial; 0 without.
    pub rungs: u64,
}

impl Lag {
    /// Whether configuration `number` sees how configuration `earlier` ended.
    #[must_use]
    pub fn shows_end(self, earlier: u64, number: u64) -> bool {
        self.shows(earlier, number, self.rungs)
    }

    /// Whether configuration `number` sees the value of configuration `earlier` at a rung, counted from 0.
    #[must_use]
    pub fn shows_rung(self, earlier: u64, number: u64, rung: u64) -> bool {
        rung < self.rungs && self.shows(earlier, number, rung)
    }

    /// Number of configurations, from the first on, that must have ended before `number` can be drawn.
    #[must_use]
    pub fn ended_before(self, number: u64) -> u64 {
        (number + 1).saturating_sub(self.distance(self.rungs))
    }

    /// What configuration `number` sees of configuration `earlier`. None if that is not there yet: it waits.
    #[must_use]
    pub fn shown(self, earlier: u64, number: u64, of: TrialResult) -> Option<SearchResult> {
        let is_over = of.result != SearchResult::Running;
        if self.shows_end(earlier, number) {
            return is_over.then_some(of.result);
        }
        let rungs = (0..self.rungs).take_while(|&rung| self.shows_rung(earlier, number, rung)).count() as u64;
        if !is_over && of.rungs < rungs {
            return None;
        }
        // An end that no judgement at these rungs made may not have happened yet on another machine.
        let is_shown = of.outdone.is_some_and(|outdone| outdone.at_rung) && of.rungs <= rungs;
        Some(if is_shown { of.result } else { SearchResult::Running })
    }

    fn shows(self, earlier: u64, number: u64, rung: u64) -> bool {
        number.checked_sub(earlier).is_some_and(|distance| distance >= self.distance(rung))
    }

    fn distance(self, rung: u64) -> u64 {
        self.ahead.max(1).saturating_mul(rung + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_results_are_not_seen() {
        let lag = Lag { ahead: 4, rungs: 0 };
        let seen = |number| (0..number).filter(|&earlier| lag.shows_end(earlier, number)).collect::<Vec<_>>();
        assert_eq!((seen(3), seen(4), seen(6)), (vec![], vec![0], vec![0, 1, 2]));
        for number in 0..20 {
            assert_eq!(seen(number).len() as u64, lag.ended_before(number), "what is seen is what is waited for");
        }
        let alone = Lag { ahead: 1, rungs: 0 };
        assert_eq!(alone.ended_before(5), 5, "each waits for the one before");
    }

    #[test]
    fn a_configuration_waits_for_what_it_may_see() {
        use super::super::history::Outdone;
        let lag = Lag { ahead: 2, rungs: 1 };
        let running = |rungs| TrialResult { result: SearchResult::Running, rungs, outdone: None };
        let ended = TrialResult { result: SearchResult::Ended(0.5), ..running(1) };
        let outdone = Outdone { step: 10, value: 0.9, at_rung: true };
        let stopped = TrialResult { outdone: Some(outdone), ..running(1) }.judged(100);
        // Nothing is seen at distance 1. The rung is at 2 and 3, the end from 4 on.
        assert_eq!(lag.shown(0, 1, running(0)), Some(SearchResult::Running));
        assert_eq!([lag.shown(0, 2, running(0)), lag.shown(0, 4, running(1))], [None, None], "it waits");
        assert_eq!(lag.shown(0, 3, running(1)), Some(SearchResult::Running));
        assert_eq!(lag.shown(0, 3, ended), Some(SearchResult::Running), "elsewhere it may still run");
        assert_eq!(lag.shown(0, 4, ended), Some(SearchResult::Ended(0.5)));
        assert_eq!(lag.shown(0, 1, stopped), Some(SearchResult::Running));
        assert_eq!(lag.shown(0, 2, stopped), Some(SearchResult::Stopped { step: 10, value: 0.9 }));
    }

    #[test]
    fn rungs_are_seen_before_ends() {
        let lag = Lag { ahead: 2, rungs: 2 };
        let shown = |number| [lag.shows_rung(0, number, 0), lag.shows_rung(0, number, 1), lag.shows_end(0, number)];
        assert_eq!(shown(1), [false; 3]);
        assert_eq!(shown(2), [true, false, false]);
        assert_eq!(shown(4), [true, true, false]);
        assert_eq!(shown(6), [true; 3]);
        assert!(!lag.shows_rung(0, 100, 2), "there are two rungs");
    }
}
