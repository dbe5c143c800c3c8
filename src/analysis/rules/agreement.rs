//! Which causes can stand beside which shape of the evaluation loss.

use crate::trial::{Cause, Reason, ShapeKind, Verdict};

/// Causes that contradict a shape: the evaluation loss shows that they are not what limits the trial.
fn contradicted(shape: ShapeKind) -> &'static [Cause] {
    match shape {
        // What still improves is neither at a floor nor without training.
        ShapeKind::StillImproving => &[
            Cause::Frozen,
            Cause::Collapsed,
            Cause::PriorStuck,
            Cause::NeverFell,
            Cause::NoiseFloor,
            Cause::Overfit,
            Cause::Stalled,
        ],
        // The evaluation loss fell and stayed low.
        ShapeKind::Plateaued => &[Cause::Collapsed],
        // More training, or a higher learning rate, would only overfit more.
        ShapeKind::Overfits | ShapeKind::Overconfident => &[
            Cause::Frozen,
            Cause::Collapsed,
            Cause::PriorStuck,
            Cause::NeverFell,
            Cause::WarmupTooLong,
            Cause::LrExhausted,
            Cause::TooSlow,
            Cause::NoiseFloor,
            Cause::Stalled,
        ],
        ShapeKind::Collapsed => {
            &[Cause::LrExhausted, Cause::TooSlow, Cause::NoiseFloor, Cause::Overfit, Cause::Stalled]
        }
        ShapeKind::Stuck => &[Cause::LabelFloor, Cause::Overfit, Cause::Stalled, Cause::NoiseFloor],
        // A run that broke says nothing about its end.
        ShapeKind::NotFinite | ShapeKind::Diverged => &[
            Cause::WarmupTooLong,
            Cause::LrExhausted,
            Cause::TooSlow,
            Cause::NoiseFloor,
            Cause::LabelFloor,
            Cause::Overfit,
            Cause::Memorised,
            Cause::Stalled,
        ],
        ShapeKind::Failed | ShapeKind::Unfinished | ShapeKind::TooShort => &[],
    }
}

/// Whether a verdict can stand beside a shape. A note always can.
pub fn agrees(shape: ShapeKind, verdict: &Verdict) -> bool {
    // A head above a frozen encoder improves for long. Evaluations that go up and down have a shape by accident.
    let is_excused = match verdict.reason {
        Some(Reason::Encoder) => true,
        Some(Reason::RateTooHigh) => verdict.id == Cause::NoiseFloor,
        _ => false,
    };
    let contradicts = |cause| contradicted(shape).contains(&cause) && !is_excused;
    !(verdict.is_cause() && verdict.id.cause().is_some_and(contradicts))
}

/// Whether another verdict says something beside the primary one. What a run does that breaks or learns nothing is often the
/// consequence of that, or contradicts it.
pub fn adds_to(primary: &Verdict, other: &Verdict) -> bool {
    let (Some(first), Some(second)) = (primary.id.cause(), other.id.cause()) else { return true };
    let silent = [
        Cause::Wasted,
        Cause::EvalNoisy,
        Cause::LrExhausted,
        Cause::Unresolved,
        Cause::EscapedLate,
        Cause::NoiseFloor,
        Cause::Stalled,
    ];
    match first {
        Cause::ZeroLoss => {
            matches!(second, Cause::MissingClass | Cause::PriorShift | Cause::LeakedRows | Cause::BadInit)
        }
        // Before any step has worked, no learning rate is too high.
        Cause::NonFinite if primary.reason == Some(Reason::Start) && second == Cause::AfterWarmup => false,
        Cause::Frozen if second == Cause::NeverFell => false,
        Cause::NonFinite | Cause::Diverged | Cause::PriorStuck | Cause::NeverFell | Cause::Frozen => {
            other.is_cause() || !silent.contains(&second)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_causes_agree() {
        let check = |shape, cause, expected| {
            assert_eq!(agrees(shape, &Verdict::cause(cause, "")), expected, "{shape} {cause}");
        };
        check(ShapeKind::StillImproving, Cause::Stalled, false);
        check(ShapeKind::StillImproving, Cause::TooSlow, true);
        check(ShapeKind::Overfits, Cause::LrExhausted, false);
        check(ShapeKind::Overfits, Cause::Overfit, true);
        check(ShapeKind::NotFinite, Cause::WarmupTooLong, false);
        assert!(agrees(ShapeKind::StillImproving, &Verdict::note(Cause::Stalled, "")), "a note is not a cause");
        check(ShapeKind::StillImproving, Cause::Frozen, false);
        let head_alone = Verdict::cause(Cause::Frozen, "").with_reason(Reason::Encoder);
        assert!(agrees(ShapeKind::StillImproving, &head_alone), "the head improves");
        check(ShapeKind::Overfits, Cause::NoiseFloor, false);
        let swings = Verdict::cause(Cause::NoiseFloor, "").with_reason(Reason::RateTooHigh);
        assert!(agrees(ShapeKind::Overfits, &swings), "the evaluations go up and down");
        let beside = |first, second: Verdict| adds_to(&Verdict::cause(first, ""), &second);
        assert!(!beside(Cause::NeverFell, Verdict::note(Cause::EvalNoisy, "")));
        assert!(!beside(Cause::ZeroLoss, Verdict::cause(Cause::AfterWarmup, "")));
        assert!(beside(Cause::Overfit, Verdict::note(Cause::EvalNoisy, "")));
        // Faults that a setting or the data show stand beside every shape.
        for &shape in ShapeKind::ALL {
            for cause in [Cause::NonFinite, Cause::DecayTooStrong, Cause::Truncated, Cause::PriorShift] {
                check(shape, cause, true);
            }
        }
    }
}
