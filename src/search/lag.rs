//! Which results a configuration may see, so that the sequence of a search does not depend on the machine.
//!
//! With `ahead` L, configuration i is drawn without the newest L - 1 results: of configuration j it sees the value at rung r
//! (from 0) if i - j >= L (r + 1), and the end if i - j >= L (R + 1), where R is the number of rungs of early stopping. It
//! waits for what it may see. Up to L trials can therefore run at the same time, and any number of slots up to that gives
//! the same sequence.

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
