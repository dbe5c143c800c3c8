//! The results of probes as text. Everything that shows them uses these sentences.

use super::paired::{Change, Effect};
use super::probed::{Answer, ProbeResult, Probed};
use super::settle::Settled;
use crate::trial::{ProbeKind, rounded_text};

impl Probed {
    /// Where the trial was probed: `step 120, where its lr was 2.1e-5 (peak 1e-4)`.
    #[must_use]
    pub fn place(&self) -> String {
        let rate = rounded_text(self.rate, 2);
        let peak =
            if self.rate < self.peak { format!(" (peak {})", rounded_text(self.peak, 2)) } else { String::new() };
        format!("step {}, where its lr was {rate}{peak}", self.step)
    }

    /// What the results mean together.
    #[must_use]
    pub fn reading(&self) -> String {
        match self.open {
            0 => format!("{}: {}; {}", self.settled.id(), self.settled.phrase(), self.settled.advice()),
            1 => format!("{}: one probe has not ended", Settled::Open.id()),
            open => format!("{}: {open} probes have not ended", Settled::Open.id()),
        }
    }
}

impl Answer {
    /// What was changed, with the learning rate where that is the question.
    #[must_use]
    pub fn question(&self) -> String {
        match self.kind {
            ProbeKind::LrDown
            | ProbeKind::LrUp
            | ProbeKind::LrPeak
            | ProbeKind::OneBatch
            | ProbeKind::OneBatchUsualLr => {
                format!("{} ({})", self.kind, rounded_text(self.lr, 2))
            }
            kind => kind.to_string(),
        }
    }

    /// The result: `lowers the train loss by 0.213 ± 0.012`.
    #[must_use]
    pub fn answer(&self) -> String {
        match &self.result {
            ProbeResult::Missing => "no result yet".to_owned(),
            ProbeResult::Difference { measure, effect, change, eval } => {
                let name = measure.name();
                let mut text = match change {
                    Change::Lowered => format!("lowers the {name} by {}", amount(effect)),
                    Change::Raised => format!("raises the {name} by {}", amount(effect)),
                    Change::Undetected => {
                        format!("no detectable effect on the {name} ({})", signed(effect))
                    }
                };
                if let (Change::Lowered, Some((eval, Change::Raised))) = (change, eval) {
                    text.extend([", and raises the eval loss by ", &amount(eval)]);
                }
                text
            }
            ProbeResult::Diverged(Change::Raised) => "the loss diverges".to_owned(),
            ProbeResult::Diverged(_) => "keeps the loss from diverging, which it does unchanged".to_owned(),
            ProbeResult::Memorised { fitted, seeds, steps } => match fitted {
                0 => format!("not memorised in {steps} steps ({seeds} of {seeds} seeds)"),
                _ => format!("memorised in {steps} steps ({fitted} of {seeds} seeds)"),
            },
        }
    }
}

fn amount(effect: &Effect) -> String {
    format!("{:.3} ± {:.3}", effect.mean.abs(), effect.error)
}

fn signed(effect: &Effect) -> String {
    let sign = if effect.mean < 0.0 { "-" } else { "+" };
    format!("{sign}{}", amount(effect))
}
