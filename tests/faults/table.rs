//! The faults: what is changed in a healthy run, and which primary verdicts count as right.
//!
//! The right verdicts were written down before any run was trained or probed. Only the size of the evaluation set for shuffled
//! labels was chosen later: a small set does not show that a tenth of the labels is wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use plateau::analysis::probes::Settled;
use plateau::trial::{Cause, Reason};

/// A fault, its sweep keys, and what a right diagnosis says.
pub struct Fault {
    pub name: &'static str,
    /// What is wrong, for people.
    pub what: &'static str,
    /// Primary verdicts that count as right: the cause and, where it has several, the reason.
    pub accepted: &'static [(Cause, Option<Reason>)],
    /// What the probes may settle on in its place; where they settle nothing, `accepted` counts as before.
    pub probed: &'static [Settled],
    /// Keys that differ from the healthy run of the same variant, each with its values; variants 2i and 2i + 1
    /// take value i, modulo the number of values.
    pub keys: &'static [(&'static str, &'static [&'static str])],
}

/// The settings of the healthy runs, unless a fault says otherwise. `DATA` is the folder that [`super::material`] fills,
/// `ROWS` the folder of its training data with the class frequencies of the run.
pub const BASE: &[(&str, &[&str])] = &[
    ("data.train", &["embedded:tweets"]),
    ("data.eval", &["0.03"]),
    ("data.max_length", &["32"]),
    ("data.limit", &["400", "500", "600"]),
    ("lr", &["2e-4", "1.5e-4"]),
    ("warmup", &["0.1"]),
    ("scheduler", &["linear", "linear", "constant", "cosine", "cosine", "constant"]),
    ("batch_size", &["8"]),
    ("steps", &["100"]),
    ("eval_every", &["10"]),
];

/// About a thousand held-out examples: a hundred do not show that a tenth of the labels is wrong.
const ENOUGH_EVALS: [(&str, &[&str]); 2] = [("data.eval", &["0.3"]), ("eval_every", &["20"])];

/// Changes to the settings where the classes are imbalanced: enough held-out examples of the rare classes.
const IMBALANCED: &[(&str, &[&str])] = &[("data.eval", &["0.08"])];

/// Variants of each fault: the thresholds were set on `DEV` and never on `TEST`.
const SAMPLE: Range<usize> = 0..2;
const DEV: Range<usize> = 0..11;
const TEST: Range<usize> = 20..28;
const TWICE: Range<usize> = 11..14;
/// The same on imbalanced data. Even variants have the first class frequencies of [`FREQUENCIES`], odd ones the second.
const IMBALANCED_DEV: Range<usize> = 30..32;
const IMBALANCED_TEST: Range<usize> = 40..46;

/// Class frequencies of the imbalanced data: the folder in `DATA`, and the number of rows of each class.
pub const FREQUENCIES: [(&str, &[(&str, usize)]); 2] = [
    ("90-10", &[("positive", 2070), ("negative", 230)]),
    ("75-20-5", &[("positive", 2250), ("negative", 600), ("neutral", 150)]),
];

const TOO_HIGH: &[(Cause, Option<Reason>)] = &[
    (Cause::Overshoot, None),
    (Cause::AfterWarmup, None),
    (Cause::Collapsed, None),
    (Cause::NonFinite, None),
    // Younger than the other entries: a loss that leaps at the very end.
    (Cause::Diverged, None),
    (Cause::PriorStuck, Some(Reason::RateTooHigh)),
];
const TOO_LOW: &[(Cause, Option<Reason>)] = &[
    (Cause::TooSlow, None),
    (Cause::PriorStuck, Some(Reason::RateTooLow)),
    (Cause::UpdateRatio, Some(Reason::RateTooLow)),
];
/// As [`TOO_LOW`]. The reason that names eps is younger than the table.
const EPS_TOO_LARGE: &[(Cause, Option<Reason>)] = &[
    (Cause::PriorStuck, Some(Reason::EpsTooLarge)),
    (Cause::TooSlow, None),
    (Cause::PriorStuck, Some(Reason::RateTooLow)),
    (Cause::UpdateRatio, Some(Reason::RateTooLow)),
];

pub const FAULTS: &[Fault] = &[
    Fault { name: "healthy", what: "none", accepted: &[(Cause::Healthy, None)], probed: &[], keys: &[] },
    Fault {
        name: "healthy-kinds",
        what: "none: other usual settings",
        accepted: &[(Cause::Healthy, None)],
        probed: &[],
        keys: &[
            ("label_smoothing", &["0.1", "0", "0", "0", "0", "0"]),
            ("model.freeze", &["0", "1", "0", "0", "0", "0"]),
            ("model.pooling", &["mean", "mean", "cls", "mean", "mean", "mean"]),
            ("batch_size", &["8", "8", "8", "16", "8", "8"]),
            ("augmentation", &["none", "none", "none", "none", "{name: synonym, rate: 0.1}", "none"]),
            ("model.dropout", &["0.1", "0.1", "0.1", "0.1", "0.1", "0"]),
        ],
    },
    Fault {
        name: "labels-0",
        what: "none of the labels shuffled",
        accepted: &[(Cause::Healthy, None)],
        probed: &[],
        keys: &[("data.train", &["ROWS/labels-0.tsv"]), ("lr", &["1e-4", "3e-4"]), ENOUGH_EVALS[0], ENOUGH_EVALS[1]],
    },
    Fault {
        name: "rate-x100",
        what: "learning rate x 100",
        accepted: TOO_HIGH,
        probed: &[Settled::RateTooHigh],
        keys: &[("lr", &["2e-2", "1.5e-2"])],
    },
    Fault {
        name: "rate-/1000",
        what: "learning rate / 1000",
        accepted: TOO_LOW,
        probed: &[Settled::RateTooLow],
        keys: &[("lr", &["2e-7", "1.5e-7"])],
    },
    Fault {
        name: "no-warmup",
        what: "no warm-up at a high learning rate",
        accepted: TOO_HIGH,
        probed: &[Settled::RateTooHigh],
        keys: &[("warmup", &["0"]), ("lr", &["3e-3", "2e-3", "4e-3"])],
    },
    Fault {
        name: "long-warmup",
        what: "warm-up over 80 to 100 % of the run",
        accepted: &[(Cause::WarmupTooLong, None)],
        probed: &[],
        keys: &[("warmup", &["0.9", "100", "0.8"]), ("lr", &["5e-5", "1e-4"])],
    },
    Fault {
        name: "exhausted",
        what: "schedule exhausted at 30 % of the run",
        accepted: &[(Cause::LrExhausted, None)],
        probed: &[Settled::RateExhausted],
        keys: &[
            ("scheduler", &["{name: polynomial, power: 10}", "{name: polynomial, power: 14}"]),
            ("warmup", &["0", "0.05"]),
            ("lr", &["5e-5", "1e-4"]),
        ],
    },
    Fault {
        name: "frozen",
        what: "frozen encoder",
        accepted: &[(Cause::Frozen, None)],
        probed: &[Settled::Architecture],
        keys: &[("model.freeze", &["3"])],
    },
    Fault {
        name: "disconnected",
        what: "a layer whose output LayerNorm is constant",
        accepted: &[(Cause::Vanish, None), (Cause::PriorStuck, Some(Reason::Inputs))],
        probed: &[Settled::Architecture],
        keys: &[("model.from", &["DATA/cut-0", "DATA/cut-1", "DATA/cut-2"])],
    },
    Fault {
        name: "labels-20",
        what: "20 % of the labels shuffled",
        accepted: &[(Cause::LabelFloor, None)],
        probed: &[Settled::Labels],
        keys: &[("data.train", &["ROWS/labels-20.tsv"]), ENOUGH_EVALS[0], ENOUGH_EVALS[1]],
    },
    Fault {
        name: "labels-100",
        what: "all labels shuffled",
        accepted: &[(Cause::PriorStuck, Some(Reason::Inputs)), (Cause::Memorised, None)],
        probed: &[Settled::Labels],
        keys: &[("data.train", &["ROWS/labels-100.tsv"])],
    },
    Fault {
        name: "one-class",
        what: "one class holds 95 % of the labels",
        accepted: &[(Cause::Imbalanced, None)],
        probed: &[],
        keys: &[("data.train", &["ROWS/one-class.tsv"]), ("data.eval", &["0.08"])],
    },
    Fault {
        name: "blank",
        what: "inputs blanked",
        accepted: &[(Cause::PriorStuck, Some(Reason::Inputs))],
        probed: &[Settled::Architecture],
        keys: &[("data.train", &["ROWS/blank.tsv"])],
    },
    Fault {
        name: "tiny",
        what: "16 to 32 training examples",
        accepted: &[(Cause::Overfit, None), (Cause::Memorised, None)],
        probed: &[Settled::DataVariety],
        keys: &[("data.limit", &["16", "24", "32"])],
    },
    Fault {
        name: "augmentation",
        what: "augmentation at rate 0.9",
        accepted: &[(Cause::AugTooStrong, None)],
        probed: &[Settled::AugmentationTooStrong],
        keys: &[(
            "augmentation",
            &["{name: random_deletion, rate: 0.9}", "{name: token_cutoff, rate: 0.9}", "{name: eda, alpha: 0.9}"],
        )],
    },
    Fault {
        name: "dropout",
        what: "dropout 0.9",
        accepted: &[(Cause::DropoutTooStrong, None)],
        probed: &[Settled::Architecture],
        keys: &[("model.dropout", &["0.9"])],
    },
    Fault {
        name: "decay",
        what: "weight decay 10",
        accepted: &[(Cause::DecayTooStrong, None)],
        probed: &[],
        keys: &[("weight_decay", &["10"]), ("lr", &["3e-4", "5e-4"]), ("scheduler", &["constant", "linear"])],
    },
    Fault {
        name: "batch-2",
        what: "batch of 2",
        accepted: &[(Cause::NoisyBatches, None)],
        probed: &[],
        keys: &[("batch_size", &["2"])],
    },
    Fault {
        name: "exploding",
        what: "checkpoint of weights x 10",
        accepted: &[(Cause::Explode, None), (Cause::BadInit, None)],
        // Few steps: their numbers are so small and so great that the processor takes many times as long.
        probed: &[Settled::Architecture],
        keys: &[
            ("model.from", &["DATA/tenfold"]),
            ("data.eval", &["0.01"]),
            ("steps", &["20"]),
            ("eval_every", &["5"]),
        ],
    },
    Fault {
        name: "eps",
        what: "eps of Adam 1e-2",
        accepted: EPS_TOO_LARGE,
        probed: &[Settled::RateTooLow, Settled::Architecture],
        keys: &[("optimizer", &["{name: adamw, eps: 1e-2}"])],
    },
    Fault {
        name: "clip",
        what: "clip at 1e-4",
        accepted: &[(Cause::ClipBound, None)],
        probed: &[],
        keys: &[("max_grad_norm", &["1e-4"])],
    },
    Fault {
        name: "four-tokens",
        what: "texts cut to 4 tokens",
        accepted: &[(Cause::Truncated, None)],
        probed: &[Settled::Architecture],
        keys: &[("data.max_length", &["4"])],
    },
];

/// Faults whose runs are continued for twice the steps at a constant learning rate. They show whether a loss that was called
/// flat stays flat.
pub const CONTINUED: &[&str] = &["healthy", "labels-100", "one-class", "blank", "tiny", "dropout", "frozen"];

/// Steps after which such a run is judged, and what is changed in it.
pub const CONTINUED_FROM: u64 = 100;
const TWICE_AS_LONG: &[(&str, &[&str])] = &[("scheduler", &["constant"]), ("warmup", &["10"]), ("steps", &["200"])];

/// Faults of the part [`Part::Sample`]. With a frozen encoder a step takes milliseconds, also in a debug build.
const SAMPLED: &[&str] = &["frozen"];

/// A group of variants that is trained and counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A few runs of the part `dev`, for `cargo test`.
    Sample,
    Dev,
    Test,
    /// Runs that are continued.
    Twice,
    /// The faults on data of imbalanced classes.
    ImbalancedDev,
    ImbalancedTest,
}

impl Part {
    /// All parts that `just faults` trains.
    pub const ALL: [Self; 5] = [Self::Dev, Self::Test, Self::Twice, Self::ImbalancedDev, Self::ImbalancedTest];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Dev => "dev",
            Self::Test => "test",
            Self::Twice => "twice",
            Self::ImbalancedDev => "imbalanced-dev",
            Self::ImbalancedTest => "imbalanced-test",
        }
    }

    pub fn is_imbalanced(self) -> bool {
        matches!(self, Self::ImbalancedDev | Self::ImbalancedTest)
    }

    /// Each variant has its own seed and its own split.
    fn variants(self) -> Range<usize> {
        match self {
            Self::Sample => SAMPLE,
            Self::Dev => DEV,
            Self::Test => TEST,
            Self::Twice => TWICE,
            Self::ImbalancedDev => IMBALANCED_DEV,
            Self::ImbalancedTest => IMBALANCED_TEST,
        }
    }

    /// The faults that have runs in it. On imbalanced data, `one-class` is left out: there the frequencies are the fault.
    pub fn faults(self) -> impl Iterator<Item = &'static Fault> {
        FAULTS.iter().filter(move |fault| match self {
            Self::Sample => SAMPLED.contains(&fault.name),
            Self::Twice => CONTINUED.contains(&fault.name),
            Self::ImbalancedDev | Self::ImbalancedTest => fault.name != "one-class",
            Self::Dev | Self::Test => true,
        })
    }

    /// One sweep file with the trials of all its faults. `data` replaces `DATA`.
    pub fn sweep_of_all(self, data: &str) -> String {
        let mut text = format!("name: {}\ninclude:\n", self.name());
        for axes in self.faults().map(|fault| fault.axes(self, data)) {
            for variant in 0..self.variants().len() {
                let entry: Vec<String> =
                    axes.iter().map(|(key, values)| format!("{key}: {}", values[variant])).collect();
                let _ = writeln!(text, "  - {{{}}}", entry.join(", "));
            }
        }
        text
    }

    /// The value as it stands in the sweep file of a variant. `data` replaces `DATA`.
    fn value(self, value: &str, variant: usize, data: &str) -> String {
        let (frequencies, _) = FREQUENCIES[variant % FREQUENCIES.len()];
        let (value, rows) = if self.is_imbalanced() {
            (value.replace("embedded:tweets", "ROWS/labels-0.tsv"), format!("{data}/{frequencies}"))
        } else {
            (value.to_owned(), data.to_owned())
        };
        value.replace("ROWS", &rows).replace("DATA", data)
    }
}

impl Fault {
    /// The sweep file of one part: every key is an axis, and all axes are zipped. `data` replaces `DATA`.
    pub fn sweep(&self, part: Part, data: &str) -> String {
        let mut text = format!("name: {}\nzip:\n", self.folder());
        for (key, values) in self.axes(part, data) {
            let _ = writeln!(text, "  {key}: [{}]", values.join(", "));
        }
        text
    }

    /// The keys of one part, each with its value in each variant.
    fn axes(&self, part: Part, data: &str) -> Vec<(&'static str, Vec<String>)> {
        let changes: &[(&str, &[&str])] = match part {
            Part::Twice => TWICE_AS_LONG,
            Part::ImbalancedDev | Part::ImbalancedTest => IMBALANCED,
            Part::Sample | Part::Dev | Part::Test => &[],
        };
        let mut keys: BTreeMap<&str, &[&str]> = BTreeMap::new();
        // Later keys replace earlier ones: a fault replaces the changes for imbalanced data, and is replaced by the changes for
        // continued runs.
        let (before, after) = if part.is_imbalanced() { (changes, &[][..]) } else { (&[][..], changes) };
        keys.extend(BASE.iter().chain(before).chain(self.keys).chain(after).copied());
        let value = |values: &[&str], variant: usize| part.value(values[variant / 2 % values.len()], variant, data);
        let values = |values: &[&str]| part.variants().map(|variant| value(values, variant)).collect();
        let mut axes: Vec<(&str, Vec<String>)> = keys.into_iter().map(|(key, list)| (key, values(list))).collect();
        axes.push(("data.seed", part.variants().map(|variant| (1 + variant).to_string()).collect()));
        axes.push(("seed", part.variants().map(|variant| (100 + variant).to_string()).collect()));
        axes
    }

    /// Its name in a path.
    pub fn folder(&self) -> String {
        self.name.replace('/', "over-")
    }
}
