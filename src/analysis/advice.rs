//! What to change, for each cause: the only place where advice is worded.
//!
//! Advice is made of lines of a sweep file and of sentences. A line that names the value already in force is left out.

use super::case::Case;
use super::thresholds as limit;
use crate::trial::{Cause, Length, Reason, Scheduler, TrialConfig, Verdict, rounded_text};

/// The advice on a verdict, if there is any. The verdict's evidence holds the numbers that the advice needs.
#[expect(clippy::too_many_lines, reason = "one table: each cause with its advice")]
pub fn advise(verdict: &Verdict, case: &Case<'_>) -> Option<String> {
    let number = |name: &str| verdict.evidence.iter().find(|evidence| evidence.name == name)?.value;
    let advice = Advice { case, parts: Vec::new() };
    let cause = verdict.id.cause()?;
    let advice = match cause {
        Cause::NonFinite if verdict.reason == Some(Reason::Start) => advice.say(
            "check the labels (a label of -100 is masked), the attention masks, and the number precision (use bf16 or fp32 instead of fp16)",
        ),
        Cause::ZeroLoss => advice.say(
            "check that not all labels are masked (-100), and use bf16 or fp32 instead of fp16",
        ),
        Cause::PriorShift => advice.say("shuffle before splitting: data.shuffle: true, or a stratified data.eval"),
        Cause::MissingClass => advice.say("shuffle before splitting or limiting, so that every class has training examples"),
        Cause::LeakedRows => advice.say("remove these texts from the training data"),
        Cause::NonFinite => advice.rate(1.0 / 3.0).warmup().clip(1.0),
        Cause::Frozen => match verdict.reason {
            Some(Reason::Encoder) => advice.unfreeze().say("train more layers"),
            Some(Reason::Repeats) => advice.unfreeze().say("check that the optimizer steps and holds the parameters"),
            _ => advice.unfreeze().say("check which parameters the optimizer holds"),
        },
        Cause::BadInit if verdict.is_cause() => {
            advice.say("start from a head with small weights (model.reinit: 1), and check the labels")
        }
        Cause::Explode => match verdict.reason {
            Some(Reason::Start) => advice.say("use another model.from, or set model.reinit for the broken layers"),
            _ => advice.rate(1.0 / 3.0).warmup().clip(1.0),
        },
        Cause::AugTooStrong => advice.say("halve the rate of the augmentation, or set augmentation: none"),
        Cause::DropoutTooStrong => advice.dropout(),
        Cause::DecayTooStrong => advice.line("weight_decay: 0.01"),
        Cause::AfterWarmup => advice.rate(1.0 / 3.0).warmup(),
        Cause::Diverged => advice.rate(1.0 / 3.0).clip(1.0).say("keep the checkpoint before it"),
        Cause::Overshoot => match number("best_rate") {
            Some(best) => advice.line(format!("lr: {}", rounded_text(best, 3))),
            None => advice.rate(if verdict.reason == Some(Reason::RateTooHigh) { 0.1 } else { 1.0 / 3.0 }).warmup(),
        },
        Cause::Imbalanced => {
            advice.say("add examples of the other classes, or remove some of this one; compare trials by macro_f1")
        }
        Cause::Collapsed => advice.rate(1.0 / 3.0).clip(1.0),
        Cause::Vanish => advice
            .safe_rate()
            .warmup()
            .unless(|config| config.optimizer.bias_correction, "optimizer.bias_correction: true")
            .unless(|config| config.model.reinit > 0, "model.reinit: 1"),
        Cause::Truncated => advice.line("data.max_length: 128"),
        Cause::WarmupTooLong => advice.line("warmup: 0.1"),
        Cause::LrExhausted => match verdict.reason {
            Some(Reason::SpentEarly) => advice.say("scheduler: linear, or another schedule that ends with the run"),
            _ => advice.longer(),
        },
        Cause::PriorStuck => match verdict.reason {
            Some(Reason::RateTooHigh) => advice.rate(0.1).warmup(),
            Some(Reason::RateTooLow) => advice.rate(10.0),
            Some(Reason::EpsTooLarge) => advice.line("optimizer.eps: 1e-8"),
            _ => advice.say("check data.text, data.label and data.max_length on a few rows").safe_rate().warmup(),
        },
        Cause::NeverFell => {
            advice.say(
                "give the class frequencies, which tell the loss of guessing; try a learning rate 10 times lower with a warm-up, and 10 \
                 times higher; check that labels and inputs belong together",
            )
        }
        Cause::Memorised => {
            advice.say("check that texts and labels of both splits belong together; add data; the learning rate is not the cause")
        }
        Cause::ClipBound if verdict.is_cause() => {
            advice.line(format!("max_grad_norm: {:.1}", number("median_norm")?))
        }
        Cause::ClipBound => advice.say("if training is unstable, lower lr instead of the clipping limit"),
        Cause::NoisyBatches => advice
            .line(format!("batch_size: {} (use grad_accumulation if memory is short)", number("batch_size")? * 8.0))
            .say("or a lower lr"),
        Cause::TooSlow => match (number("best_rate"), verdict.reason) {
            (Some(best), _) => advice.line(format!("lr: {}", rounded_text(best, 3))),
            (None, Some(Reason::EpsTooLarge)) => advice.line("optimizer.eps: 1e-8"),
            (None, _) => advice.rate(3.0).or_longer(),
        },
        Cause::NoiseFloor => match number("lower_rate") {
            Some(lower) => advice.line(format!("lr: {}", rounded_text(lower, 3))).decay(),
            None => advice.rate(0.5).decay(),
        },
        Cause::LabelFloor if case.config().is_some() => advice
            .say("check the labels that suspect_labels.csv lists (in the folder of the report)")
            .smoothing(""),
        Cause::LabelFloor => advice.say("check the labels of the examples with the highest loss").smoothing(""),
        Cause::Overfit => advice
            .unless(|config| config.stop.patience.is_some(), "stop: {patience: {metric: eval_loss, evals: 3}}")
            .say("more data or augmentation")
            .say("fewer epochs"),
        Cause::CalibrationOnly | Cause::Overconfident => {
            advice.say("keep the checkpoint with the lowest loss").smoothing("or set ")
        }
        Cause::UpdateRatio => advice.rate(if verdict.reason == Some(Reason::RateTooHigh) { 0.1 } else { 10.0 }),
        Cause::Stalled => advice.say(
            "fit sixteen examples alone (data.limit: 16, steps: 1000). If that works, check labels and data, else freeze, \
             dropout and max_length",
        ),
        Cause::Spikes => match number("norm_of_nine_in_ten") {
            Some(norm) => advice
                .line(format!("max_grad_norm: {norm:.2} (nine of ten steps stay below it)"))
                .say("check the batches of these steps"),
            None => advice.say("clip the gradient, and check the batches of these steps"),
        },
        Cause::Wasted => advice.line(format!("steps: {}", number("best_step")? * 3.0)),
        Cause::EvalNoisy => advice.say("use a larger data.eval"),
        Cause::Unresolved => {
            advice.say("more steps or a larger batch_size; eval_every: 0.05 gives a loss without batch noise")
        }
        _ => return None,
    };
    advice.text()
}

/// Lines of a sweep file and sentences, joined by commas.
struct Advice<'a> {
    case: &'a Case<'a>,
    parts: Vec<String>,
}

impl Advice<'_> {
    fn say(mut self, text: impl Into<String>) -> Self {
        self.parts.push(text.into());
        self
    }

    /// A line of a sweep file, `key: value`.
    fn line(self, line: impl Into<String>) -> Self {
        self.say(line)
    }

    /// The line, unless the configuration is known and `is_in_force` holds for it.
    fn unless(self, is_in_force: impl Fn(&TrialConfig) -> bool, line: &str) -> Self {
        if self.case.config().is_some_and(is_in_force) { self } else { self.line(line) }
    }

    /// The present learning rate times `factor`; in words where the rate is unknown.
    fn rate(self, factor: f64) -> Self {
        let text = match self.case.peak_rate() {
            Some(rate) => format!("lr: {}", rounded_text(rate * factor, 2)),
            None if factor < 1.0 => format!("a learning rate {} times lower", (1.0 / factor).round()),
            None => format!("a learning rate {} times higher", factor.round()),
        };
        self.say(text)
    }

    /// The learning rate that is safe for BERT, unless it is about the present one. It is far too low without an encoder.
    fn safe_rate(self) -> Self {
        if self.case.is_without_encoder() {
            return self.say("find a learning rate with `plateau lr-find`");
        }
        let is_near = |rate: f64| (rate / 2e-5 - 1.0).abs() < limit::IN_FORCE;
        if self.case.peak_rate().is_some_and(is_near) { self } else { self.line("lr: 2e-5") }
    }

    fn warmup(self) -> Self {
        let in_force = self.case.warmup_share() > (1.0 - limit::IN_FORCE) * limit::USUAL_WARMUP;
        if in_force { self } else { self.line("warmup: 0.1") }
    }

    fn smoothing(self, before: &str) -> Self {
        self.unless(|config| config.label_smoothing >= 0.1, &format!("{before}label_smoothing: 0.1"))
    }

    fn clip(self, norm: f64) -> Self {
        let in_force = |config: &TrialConfig| config.max_grad_norm > 0.0 && config.max_grad_norm <= norm;
        self.unless(in_force, &format!("max_grad_norm: {norm:.1}"))
    }

    fn unfreeze(self) -> Self {
        self.unless(|config| config.model.freeze == 0, "model.freeze: 0")
    }

    fn decay(self) -> Self {
        self.unless(|config| config.scheduler != Scheduler::Constant, "or scheduler: linear")
    }

    fn dropout(self) -> Self {
        let is_usual = self.case.config().is_some_and(|config| config.model.dropout.is_none_or(|p| p <= 0.1));
        self.line(if is_usual { "model.dropout: 0" } else { "model.dropout: 0.1" })
    }

    /// Twice the length of the run.
    fn longer(self) -> Self {
        let text = longer(&self);
        self.say(text)
    }

    fn or_longer(self) -> Self {
        let text = format!("or {}", longer(&self));
        self.say(text)
    }

    fn text(self) -> Option<String> {
        (!self.parts.is_empty()).then(|| self.parts.join(", "))
    }
}

fn longer(advice: &Advice<'_>) -> String {
    match advice.case.config().map(|config| config.length) {
        Some(Length::Epochs(epochs)) => format!("epochs: {}", epochs * 2.0),
        Some(Length::Steps(steps)) => format!("steps: {}", steps * 2),
        None => "twice the steps".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::Point;
    use super::super::measured::Measured;
    use super::*;
    use crate::trial::{FractionOrSteps, Status};

    /// The advice on a verdict, in a run at the learning rate `lr`, after a warm-up over `warmup` of its 200 steps.
    fn advice(cause: Cause, lr: f64, warmup: f64, config: Option<&TrialConfig>) -> String {
        let rate = |t: f64| lr * (t / warmup.max(1e-9)).min((1.0 - t) / (1.0 - warmup));
        let curve = |of: &dyn Fn(f64) -> f64| {
            (1..=200).map(|i| Point { x: f64::from(i), y: of(f64::from(i) / 200.0) }).collect::<Vec<_>>()
        };
        let measured =
            Measured { train: curve(&|_| 0.69), lr: curve(&rate), config, steps: 200, ..Measured::default() };
        let case = Case::of(&measured, Status::Finished, 0.01);
        advise(&Verdict::cause(cause, ""), &case).unwrap_or_default()
    }

    #[test]
    fn advice_never_repeats_a_setting_in_force() {
        let stuck = |lr, warmup, config| advice(Cause::PriorStuck, lr, warmup, config);
        assert!(stuck(1e-3, 0.0, None).ends_with("lr: 2e-5, warmup: 0.1"));
        // The highest rate that is logged may be a little below the peak.
        assert!(!stuck(1.99e-5, 0.0, None).contains("lr: 2e-5"));
        assert!(!stuck(1e-3, 0.2, None).contains("warmup"), "the log shows it");
        let with = |change: &dyn Fn(&mut TrialConfig)| {
            let mut config = TrialConfig::default();
            change(&mut config);
            config
        };
        let steps = with(&|config| config.warmup = FractionOrSteps(40.0));
        assert!(!stuck(1e-3, 0.2, Some(&steps)).contains("warmup"), "40 of 200 steps");
        let few = with(&|config| config.warmup = FractionOrSteps(2.0));
        assert!(stuck(1e-3, 0.01, Some(&few)).contains("warmup: 0.1"), "2 of 200 steps");
        let smooth = with(&|config| config.label_smoothing = 0.1);
        assert!(!advice(Cause::CalibrationOnly, 1e-4, 0.1, Some(&smooth)).contains("label_smoothing"));
        assert!(advice(Cause::CalibrationOnly, 1e-4, 0.1, None).contains("label_smoothing: 0.1"));
    }
}
