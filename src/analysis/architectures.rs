//! Findings about architectures: whether a loss stays high because the network does not fit the task. A pure function of the
//! arms of a sweep ([`super::arms`]), of what is known of their inputs, and of probes.
//!
//! A finding needs several arms, each with several seeds at its own best learning rate, and a difference between the arms that
//! is larger than noise. What the inputs do not tell, and labels that no architecture predicts, are no fault of an architecture.

use super::arms::{Arm, COUNTS, Inputs, TrialInputs, arms};
use super::finding::{Finding, FindingKind, Next};
use super::probes::Probed;
use super::shape::Shape;
use super::statistics::{mean, sign_flip};
use super::study::Study;
use super::sweep::Sweep;
use crate::trial::{Architecture, InputFloors, ProbeKind};

/// Share of truncated texts above which a longer input may help.
const CUT: f64 = 0.10;
/// Share of H above which a flat loss is worth an explanation.
const HIGH: f64 = 0.2;
/// Share of H above which a floor of the inputs explains a loss.
const FLOOR: f64 = 0.1;
/// Largest p-value of a difference. With few seeds, the least possible p-value is larger and counts as well.
const SIGNIFICANT: f64 = 0.05;

/// The findings about architectures, the most telling first.
pub fn findings(sweep: &Sweep, study: &Study, probed: &[Probed], inputs: &Inputs) -> Vec<Finding> {
    let arms = arms(sweep, study);
    let comparison = Comparison { sweep, probed, inputs };
    let mut found = Vec::new();
    for group in groups(&arms, |arm| vec![&arm.matched]) {
        found.extend(comparison.cut(&group));
        for group in groups(&group, |arm| vec![&arm.length]) {
            found.extend(comparison.of_one_length(&group));
        }
    }
    found
}

/// Groups of arms with equal keys, in order.
fn groups<'a, A: std::borrow::Borrow<Arm>>(
    arms: &'a [A],
    key: impl Fn(&'a Arm) -> Vec<&'a serde_json::Value>,
) -> Vec<Vec<&'a Arm>> {
    let mut groups: Vec<Vec<&Arm>> = Vec::new();
    for arm in arms.iter().map(std::borrow::Borrow::borrow) {
        match groups.iter_mut().find(|group| key(group[0]) == key(arm)) {
            Some(group) => group.push(arm),
            None => groups.push(vec![arm]),
        }
    }
    groups
}

struct Comparison<'a> {
    sweep: &'a Sweep,
    probed: &'a [Probed],
    inputs: &'a Inputs,
}

/// The difference of two arms, paired by seed.
struct Difference {
    mean: f64,
    pairs: usize,
    p: f64,
}

impl Difference {
    /// How much higher the losses of `worse` are than those of `better`.
    fn of(better: &Arm, worse: &Arm) -> Option<Self> {
        let (better, worse) = (better.best.as_ref()?, worse.best.as_ref()?);
        let pairs: Vec<f64> =
            worse.losses.iter().filter_map(|(seed, loss)| Some(loss - better.losses.get(seed)?)).collect();
        (pairs.len() > 1).then(|| Self { mean: mean(&pairs), pairs: pairs.len(), p: sign_flip(&pairs) })
    }

    /// Whether it is larger than `tolerance`, and no chance of the seeds.
    fn counts(&self, tolerance: f64) -> bool {
        let least = 2.0 / 2.0_f64.powi(self.pairs.min(60) as i32);
        self.mean > tolerance && self.p <= SIGNIFICANT.max(least)
    }
}

/// The difference that two of these arms must have: two standard deviations over seeds, and a share of H.
fn tolerance(arms: &[&Arm]) -> f64 {
    let levels = arms.iter().filter_map(|arm| arm.best.as_ref()).map(|best| best.level);
    let (squares, freedom) = levels.fold((0.0, 0.0), |(squares, freedom), level| match level.sd {
        Some(sd) => (squares + sd * sd * (level.n - 1) as f64, freedom + (level.n - 1) as f64),
        None => (squares, freedom),
    });
    let sd = if freedom > 0.0 { (squares / freedom).sqrt() } else { 0.0 };
    (2.0 * sd).max(COUNTS * chance(arms))
}

fn chance(arms: &[&Arm]) -> f64 {
    arms.iter().find_map(|arm| arm.chance).unwrap_or(0.0)
}

impl Comparison<'_> {
    fn inputs(&self, arm: &Arm) -> Option<&TrialInputs> {
        let run = *arm.best.as_ref()?.runs.first()?;
        self.inputs.get(&self.sweep.runs[run].trial.id)
    }

    /// Whether the arm cuts so many texts that a longer input may help.
    fn is_cut(&self, arm: &Arm) -> bool {
        self.inputs(arm).is_some_and(|inputs| inputs.train.truncated_share > CUT)
    }

    /// The least loss that the token ids allow, if it explains the level of the arm.
    fn blind_floor(&self, arm: &Arm) -> Option<InputFloors> {
        let chance = arm.chance?;
        let floors = self.inputs(arm)?.train.floors;
        let explains = floors.ids > FLOOR * chance && (arm.level() - floors.ids).abs() <= COUNTS * chance;
        (floors.ids_are_blind() && explains && arm.is_flat()).then_some(floors)
    }

    /// `ARCH_CUT`: a longer input lowers the loss of the same network.
    fn cut(&self, arms: &[&Arm]) -> Vec<Finding> {
        let mut found = Vec::new();
        for short in arms.iter().filter(|arm| self.is_cut(arm) && !arm.is_open) {
            let longer = arms.iter().filter(|long| long.network == short.network && long.length != short.length);
            let better = longer.filter_map(|long| {
                let difference = Difference::of(long, short)?;
                difference.counts(tolerance(&[long, short])).then_some((*long, difference))
            });
            let Some((long, difference)) = better.max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)) else { continue };
            let Some(inputs) = self.inputs(short) else { continue };
            let text = format!(
                "{} cuts {:.0} % of the texts and loses {:.0} % of their tokens. {} lowers the eval loss of the same network from \
                 {:.3} to {:.3} ({} pairs of seeds, p = {:.2}): the input is too short, not the network unfit (ARCH_CUT).",
                short.name,
                100.0 * inputs.train.truncated_share,
                100.0 * inputs.train.lost_tokens_share,
                long.name,
                short.level(),
                long.level(),
                difference.pairs,
                difference.p
            );
            found.push(Finding { kind: FindingKind::ArchCut, text });
        }
        found
    }

    /// The findings of arms that read the same part of the texts.
    fn of_one_length(&self, arms: &[&Arm]) -> Vec<Finding> {
        if arms.len() < 2 {
            return Vec::new();
        }
        let blind = self.blind(arms);
        if blind.is_none()
            && let Some(text) = self.not_architecture(arms)
        {
            return vec![Finding { kind: FindingKind::NotArchitecture, text }];
        }
        let all = [
            (FindingKind::ArchBlind, blind),
            (FindingKind::ArchTooWeak, self.too_weak(arms)),
            (FindingKind::ArchBetter, self.better(arms)),
            (FindingKind::OrderIdle, self.order_idle(arms)),
        ];
        all.into_iter().filter_map(|(kind, text)| Some(Finding { kind, text: text? })).collect()
    }

    /// `ARCH_BLIND`: arms end at the least loss that their token ids allow.
    fn blind(&self, arms: &[&Arm]) -> Option<String> {
        let blind: Vec<(&Arm, InputFloors)> =
            arms.iter().filter(|arm| arm.is_judged()).filter_map(|arm| Some((*arm, self.blind_floor(arm)?))).collect();
        let (first, floors) = blind.first()?;
        let inputs = self.inputs(first)?;
        let names: Vec<String> = blind.iter().map(|(arm, _)| format!("{} ({:.3})", arm.name, arm.level())).collect();
        let verb = if names.len() == 1 { "ends" } else { "end" };
        Some(format!(
            "{} {verb} at the least eval loss that the token ids allow, {:.3}; the texts allow {:.3}. No network can do better with \
             this tokenizer and length: {} (ARCH_BLIND).",
            join(&names),
            floors.ids,
            floors.texts,
            floors.remedy(inputs.train.truncated_share)
        ))
    }

    /// `NOT_ARCHITECTURE`: different networks end at one level, each at its best learning rate.
    fn not_architecture(&self, arms: &[&Arm]) -> Option<String> {
        let differ = arms.iter().any(|arm| arm.network != arms[0].network);
        if !differ || !arms.iter().all(|arm| arm.is_judged()) || arms.iter().any(|arm| self.is_cut(arm)) {
            return None;
        }
        let levels = || arms.iter().map(|arm| arm.level());
        let (low, high) = (levels().fold(f64::INFINITY, f64::min), levels().fold(f64::NEG_INFINITY, f64::max));
        let chance = chance(arms);
        if high - low > tolerance(arms) || low <= HIGH * chance {
            return None;
        }
        let names: Vec<String> = arms.iter().map(|arm| format!("{} {:.3}", arm.name, arm.level())).collect();
        Some(format!(
            "All {} arms are flat at one eval loss, each at its best learning rate: {}. Their networks differ, so the labels or the \
             data set the limit, not the architecture (NOT_ARCHITECTURE).",
            arms.len(),
            join(&names)
        ))
    }

    /// `ARCH_TOO_WEAK`: an arm cannot memorise a batch that another arm memorises.
    fn too_weak(&self, arms: &[&Arm]) -> Option<String> {
        let fits = |arm: &Arm| {
            let runs = arm.best.as_ref()?.runs.iter().map(|&run| &self.sweep.runs[run].trial);
            let answers = runs.filter_map(|trial| {
                let probed = self.probed.iter().find(|probed| probed.trial == trial.id)?;
                let answer = probed.answers.iter().find(|answer| answer.kind == ProbeKind::OneBatch)?;
                Some((trial.repetition(), answer.result.fits()?))
            });
            Some(answers.collect::<Vec<_>>())
        };
        let weak = |arm: &&&Arm| arm.is_judged() && arm.level() > HIGH * chance(arms);
        arms.iter().filter(weak).find_map(|arm| {
            let failed: Vec<_> = fits(arm)?.into_iter().filter(|(_, fits)| !fits).map(|(seed, _)| seed).collect();
            let able = arms.iter().find(|other| {
                fits(other).is_some_and(|answers| answers.iter().any(|(seed, fits)| *fits && failed.contains(seed)))
            })?;
            Some(format!(
                "{} is flat at an eval loss of {:.3} and cannot memorise {} examples at its best learning rate, which {} does: \
                 the network is too weak (ARCH_TOO_WEAK).",
                arm.name,
                arm.level(),
                crate::trial::Probe::EXAMPLES,
                able.name
            ))
        })
    }

    /// `ARCH_BETTER`: one network reaches a lower loss than others, by more than noise.
    fn better(&self, arms: &[&Arm]) -> Option<String> {
        let usable = |arm: &&&Arm| !arm.is_open && !arm.is_broken && arm.best.is_some();
        let winner = *arms.iter().filter(usable).min_by(|a, b| a.level().total_cmp(&b.level()))?;
        let mut behind = Vec::new();
        for arm in arms.iter().filter(|arm| arm.is_judged() && arm.network != winner.network) {
            // What does not start from trained vectors lacks data, not an architecture.
            if self.blind_floor(arm).is_some() || arm.starts_random != winner.starts_random {
                continue;
            }
            let Some(difference) = Difference::of(winner, arm) else { continue };
            if difference.counts(tolerance(&[winner, arm])) {
                behind.push(self.behind(winner, arm, &difference));
            }
        }
        let cost = self.cost(winner);
        (!behind.is_empty()).then(|| {
            format!(
                "{} has the lowest eval loss, {:.3}{cost}; behind by more than noise: {} (ARCH_BETTER).",
                winner.name,
                winner.level(),
                behind.join("; ")
            )
        })
    }

    /// `bag_of_words by 0.103 (3 pairs of seeds), 2 s and 3.1 million parameters`.
    fn behind(&self, winner: &Arm, arm: &Arm, difference: &Difference) -> String {
        let order = self.inputs(arm).map(|inputs| inputs.train.floors).filter(InputFloors::order_counts);
        let is_bag = matches!(arm.architecture, Architecture::BagOfWords { .. });
        let order = order.filter(|_| is_bag).map_or_else(String::new, |floors| {
            format!(", because labels depend on the order of words and no bag of words gets below {:.3}", floors.bags)
        });
        let faster = match (self.seconds(winner), self.seconds(arm)) {
            (Some(winner), Some(arm)) if arm > 0.0 && winner / arm >= 1.5 => {
                format!(", {:.0} times faster", winner / arm)
            }
            _ => String::new(),
        };
        format!(
            "{} by {:.3} ({} pairs of seeds, p = {:.2}){}{faster}{order}",
            arm.name,
            difference.mean,
            difference.pairs,
            difference.p,
            self.cost(arm)
        )
    }

    /// `, 70 s and 8.7 million parameters`.
    fn cost(&self, arm: &Arm) -> String {
        let seconds = self.seconds(arm).map(|seconds| format!("{seconds:.0} s"));
        let parameters = self.inputs(arm).map(|inputs| inputs.parameters).filter(|parameters| *parameters > 0);
        let parameters = parameters.map(|parameters| format!("{:.1} million parameters", parameters as f64 / 1e6));
        let parts: Vec<String> = seconds.into_iter().chain(parameters).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// Mean time of the trials at the best learning rate.
    fn seconds(&self, arm: &Arm) -> Option<f64> {
        let outcomes = arm.best.as_ref()?.runs.iter().filter_map(|&run| self.sweep.runs[run].outcome.as_ref());
        let seconds: Vec<f64> = outcomes.map(|outcome| outcome.seconds).collect();
        (!seconds.is_empty()).then(|| mean(&seconds))
    }

    /// `ORDER_IDLE`: a bag of words is as good as the best encoder. Losses near zero leave nothing to explain, and those near H
    /// show that neither has learned anything.
    fn order_idle(&self, arms: &[&Arm]) -> Option<String> {
        if arms.iter().any(|arm| self.is_cut(arm) || self.blind_floor(arm).is_some()) {
            return None;
        }
        let bag =
            arms.iter().find(|arm| matches!(arm.architecture, Architecture::BagOfWords { .. }) && arm.is_judged())?;
        let encoders = arms.iter().filter(|arm| arm.architecture == Architecture::None && arm.is_judged());
        let encoder = encoders.min_by(|a, b| a.level().total_cmp(&b.level()))?;
        let margin = COUNTS * chance(arms);
        let difference = Difference::of(encoder, bag)?;
        let sd = [bag, encoder].iter().filter_map(|arm| arm.best.as_ref()?.level.sd).fold(0.0, f64::max);
        // The upper end of the difference, two standard errors above its mean.
        let upper = difference.mean + 2.0 * sd * (2.0 / difference.pairs as f64).sqrt();
        let is_between = encoder.level() > margin && encoder.level() < chance(arms) - margin;
        (upper <= margin && is_between).then(|| {
        format!(
            "{} ({:.3}) is not worse than the best encoder, {} ({:.3}), by {margin:.3} or more: the order of words does not matter in \
             this task (ORDER_IDLE).",
            bag.name,
            bag.level(),
            encoder.name,
            encoder.level()
        )
    })
    }
}

/// `a, b and c`.
fn join(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The next experiment where inputs or labels limit the loss, so that no learning rate and no network helps. `found`: what
/// [`findings`] says.
pub fn next(sweep: &Sweep, study: &Study, found: &[Finding], inputs: &Inputs) -> Option<Next> {
    let has = |kind: FindingKind| found.iter().any(|finding| finding.kind == kind);
    let nothing_learned = study.best().is_none() && study.shapes.contains(&Shape::Stuck);
    let known = || sweep.runs.iter().filter_map(|run| inputs.get(&run.trial.id)).map(|inputs| &inputs.train);
    if nothing_learned || has(FindingKind::ArchBlind) {
        let blind = known().find(|train| train.floors.ids_are_blind() && 2.0 * train.floors.ids > train.floors.prior);
        if let Some(train) = blind {
            let remedy = train.floors.remedy(train.truncated_share);
            let line = if train.truncated_share > 0.0 {
                longer(train.longest_tokens)
            } else {
                "model: {from: hf:google-bert/bert-base-cased}".to_owned()
            };
            return Some(Next { reason: format!("token ids do not hold what tells the labels apart: {remedy}"), line });
        }
    }
    if nothing_learned && let Some(train) = known().find(|train| train.truncated_share > CUT) {
        let reason = format!(
            "no configuration learned anything, and {:.0} % of the texts are cut: read more of each text before you change the \
             learning rate",
            100.0 * train.truncated_share
        );
        return Some(Next { reason, line: longer(train.longest_tokens) });
    }
    has(FindingKind::NotArchitecture).then(|| Next {
        reason: "neither the learning rate nor the architecture limits the loss: read some labels, then see whether a few rows can \
                 be learned at all"
            .into(),
        line: "data: {limit: 16}".into(),
    })
}

/// A length that most texts fit into.
fn longer(longest: u32) -> String {
    let length = [64, 128, 256].into_iter().find(|length| longest <= *length).unwrap_or(512);
    format!("data: {{max_length: {length}}}")
}

#[cfg(test)]
mod tests;
