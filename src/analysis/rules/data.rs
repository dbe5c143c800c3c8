//! Faults of the data: splits of different class frequencies, classes without training examples, leaked rows.

use crate::analysis::case::Case;
use crate::analysis::format::percent;
use crate::analysis::statistics::chi_squared_p;
use crate::analysis::thresholds as limit;
use crate::trial::{Cause, Evidence, Verdict};

/// `MISSING_CLASS`: a class of the evaluation set has no training examples.
pub fn missing_class(case: &Case<'_>) -> Option<Verdict> {
    let pairs = || case.measured.train_prior.iter().zip(case.measured.eval_prior);
    let missing = pairs().filter(|(train, eval)| **train == 0.0 && **eval > 0.0).count();
    let share: f64 = pairs().filter(|(train, _)| **train == 0.0).map(|(_, eval)| *eval).sum();
    if missing == 0 {
        return None;
    }
    let text = format!(
        "{missing} of {} classes have no training examples; they are {} of the evaluation set",
        case.measured.train_prior.len(),
        percent(share)
    );
    let verdict = Verdict::cause(Cause::MissingClass, text).over(case.all_steps());
    Some(with_frequencies(verdict.with_evidence(&[("missing", missing as f64), ("share", share)]), case))
}

/// `PRIOR_SHIFT`: the class frequencies of the training split and the evaluation set differ by more than chance (chi-squared
/// test of homogeneity).
pub fn prior_shift(case: &Case<'_>) -> Option<Verdict> {
    let (train, eval) = (case.measured.train_prior, case.measured.eval_prior);
    let (n, m) = (case.measured.train_examples? as f64, case.measured.eval_size()? as f64);
    if train.len() != eval.len() || train.len() < 2 || n * m == 0.0 {
        return None;
    }
    let distance = train.iter().zip(eval).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
    let term = |(p, q): (&f64, &f64)| {
        let pooled = (n * p + m * q) / (n + m);
        if pooled > 0.0 { (p - q).powi(2) / pooled } else { 0.0 }
    };
    let statistic = n * m / (n + m) * train.iter().zip(eval).map(term).sum::<f64>();
    let p = chi_squared_p(statistic, (train.len() - 1) as f64);
    if p > limit::SHIFT_P || distance < limit::SHIFT_DISTANCE {
        return None;
    }
    let text = format!(
        "the class frequencies of train and eval differ: {} and {}; the split is not random",
        shares(train),
        shares(eval)
    );
    let verdict = Verdict::cause(Cause::PriorShift, text).over(case.all_steps());
    Some(with_frequencies(verdict.with_evidence(&[("distance", distance), ("chi_squared", statistic), ("p", p)]), case))
}

/// `LEAKED_ROWS`: evaluation texts that are also in the training split. A note: the evaluation is better than it should be.
pub fn leaked_rows(case: &Case<'_>) -> Option<Verdict> {
    let (leaked, size) = (case.measured.leaked_rows?, case.measured.eval_size()?);
    let share = leaked as f64 / size.max(1) as f64;
    if share < limit::LEAKED {
        return None;
    }
    let text = format!("{leaked} of {size} evaluation texts ({}) are also in the training data", percent(share));
    let verdict = Verdict::note(Cause::LeakedRows, text).over(case.all_steps());
    Some(verdict.with_evidence(&[("leaked", leaked as f64), ("share", share)]))
}

/// Adds both class distributions to the evidence.
fn with_frequencies(mut verdict: Verdict, case: &Case<'_>) -> Verdict {
    let both = [("train", case.measured.train_prior), ("eval", case.measured.eval_prior)];
    for (split, prior) in both {
        verdict
            .evidence
            .extend(prior.iter().enumerate().map(|(i, p)| Evidence::new(&format!("{split}_class_{i}"), *p)));
    }
    verdict
}

/// `90 %, 10 %`; of many classes the first five.
fn shares(prior: &[f64]) -> String {
    let more = if prior.len() > 5 { ", ..." } else { "" };
    let shares: Vec<String> = prior.iter().take(5).map(|share| percent(*share)).collect();
    format!("{}{more}", shares.join(", "))
}
