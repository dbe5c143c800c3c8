//! The verdict on a trial for which no rule found a cause: healthy, or the reason why this is unknown.

use super::short;
use crate::analysis::case::Case;
use crate::analysis::detector::Trend;
use crate::analysis::shape::Shape;
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, Verdict};

/// The note on a trial without a cause, with what its training loss does at the end.
pub fn without_cause(case: &Case<'_>) -> Verdict {
    let tail = &case.detection.tail;
    let change = tail.change * case.detection.scale;
    let (cause, text) = match case.shape {
        Shape::Unfinished => (Cause::Unfinished, "not finished yet".to_owned()),
        Shape::Failed => (Cause::Failed, "failed to run: there is nothing to judge".to_owned()),
        Shape::Overconfident => (
            Cause::Overconfident,
            "the accuracy is above the majority class, and the eval loss never below chance: the model is over-confident from the \
             first evaluation"
                .to_owned(),
        ),
        shape if shape.failed() => (Cause::Unexplained, format!("{}, and no rule says why", shape.label())),
        _ if tail.trend == Trend::TooShort => match short::by_evaluations(case) {
            Some(text) => (Cause::Healthy, text),
            None => (Cause::TooShort, short::describe(case)),
        },
        _ if shows_nothing(case) => {
            let (start, level) = (case.train_start().unwrap_or(f64::NAN), case.tail());
            let text = format!(
                "no fault found, but nothing shows that anything is learned: the training loss starts at {start:.3} and ends at {level:.3}, \
                 which is within its noise, and there is no evaluation"
            );
            (Cause::TooShort, text)
        }
        _ => (Cause::Healthy, format!("no fault found{}", at_the_end(case, change))),
    };
    Verdict::note(cause, text).over(case.tail_steps()).with_evidence(&[("level", tail.level), ("change", change)])
}

/// Whether a log without evaluations and class frequencies shows no fall of the training loss either. Its noise may hide one.
fn shows_nothing(case: &Case<'_>) -> bool {
    let measured = case.measured;
    let is_bare = case.chance.is_none() && measured.eval.is_empty() && measured.accuracy.is_empty();
    let much = case.tail() > limit::MUCH_LOSS && !case.may_be_of_preferences();
    is_bare && much && !case.detection.tail.trend.is_falling() && case.stays_within_its_noise()
}

/// Whether a flat loss surely fell by more than what matters.
fn falls_a_little(case: &Case<'_>) -> bool {
    let tail = &case.detection.tail;
    -tail.change > 2.0 * tail.error && -tail.change * case.detection.scale > case.measured.least_change()
}

/// What the training loss does at the end, as a clause.
fn at_the_end(case: &Case<'_>, change: f64) -> String {
    let level = case.tail();
    match case.detection.tail.trend {
        Trend::Falling | Trend::FallingSlowly if case.is_fitted() => {
            format!("; the training data are fitted, at {level:.3}")
        }
        Trend::Falling => format!("; the training loss still falls, by {:.3} over its last third", -change),
        Trend::FallingSlowly => {
            let gain = case.detection.gain.unwrap_or(0.0) * case.detection.scale;
            format!("; the training loss still falls slowly: as many steps again would lower it by about {gain:.3}")
        }
        Trend::Rising => {
            format!(", although the training loss rises by {change:.3} over its last third: look at these steps")
        }
        Trend::Flat { .. } if case.is_fitted() => format!("; the training data are fitted, at {level:.3}"),
        Trend::Flat { .. } if falls_a_little(case) => format!(
            "; the training loss is nearly flat at {level:.3}: it fell by {:.3} over its last third, and as many steps again would gain little",
            -change
        ),
        Trend::Flat { .. } => match case.detection.hidden_gain {
            Some(gain) => format!(
                "; the training loss does not move beyond its noise at {level:.3}: as many steps again may lower it by about {:.3}",
                gain * case.detection.scale
            ),
            None => format!("; the training loss is flat at {level:.3}"),
        },
        Trend::Unresolved { .. } => "; the steps do not tell whether the training loss is flat".to_owned(),
        Trend::NotFinite | Trend::TooShort => String::new(),
    }
}
