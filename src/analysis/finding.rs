//! A finding: a statement about a sweep as a whole. A statement about one trial is a [`Verdict`](crate::trial::Verdict).

use std::fmt;

/// A sentence about the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// In plain words, numbers included.
    pub text: String,
}

/// What follows from the findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Why, for people.
    pub reason: String,
    /// A line of a sweep file, or a command.
    pub line: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    Progress,
    Data,
    Best,
    Rise,
    Noise,
    Onsets,
    Shapes,
    Stopped,
    Failures,
    Memory,
    Edge,
    /// What the draws of a search found, and what they cost.
    Search,
    /// Which keys of a search matter.
    Importance,
    Causes,
    StabilityLimit,
    LabelFloor,
    Saturated,
    DeadAxis,
    AxisEffect,
    Diversity,
    SeedUnstable,
    EarlyRank,
    ArchCut,
    ArchBlind,
    ArchTooWeak,
    ArchBetter,
    OrderIdle,
    NotArchitecture,
}

impl FindingKind {
    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Progress => "progress",
            Self::Data => "data",
            Self::Best => "best",
            Self::Rise => "rise",
            Self::Noise => "noise",
            Self::Onsets => "onsets",
            Self::Shapes => "shapes",
            Self::Stopped => "stopped",
            Self::Failures => "failures",
            Self::Memory => "memory",
            Self::Edge => "edge",
            Self::Search => "search",
            Self::Importance => "importance",
            Self::Causes => "causes",
            Self::StabilityLimit => "stability_limit",
            Self::LabelFloor => "label_floor",
            Self::Saturated => "saturated",
            Self::DeadAxis => "dead_axis",
            Self::AxisEffect => "axis_effect",
            Self::Diversity => "diversity",
            Self::SeedUnstable => "seed_unstable",
            Self::EarlyRank => "early_rank",
            Self::ArchCut => "arch_cut",
            Self::ArchBlind => "arch_blind",
            Self::ArchTooWeak => "arch_too_weak",
            Self::ArchBetter => "arch_better",
            Self::OrderIdle => "order_idle",
            Self::NotArchitecture => "not_architecture",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
