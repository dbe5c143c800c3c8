//! The keys of a configuration that the program treats in a special way. Of every other key it uses only the name.

/// A key with a role of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    LearningRate,
    Warmup,
    Scheduler,
    Augmentation,
    Optimizer,
    WeightDecay,
    BatchSize,
    Epochs,
    Steps,
    EvalEvery,
    Precision,
    /// The trial's seed. Reports group trials by every other key.
    Seed,
    /// The trial's part of a cross-validation. Like the seed, it repeats a configuration.
    Fold,
    /// Rows of the training file that are used.
    RowLimit,
    Pooling,
    Dropout,
    /// The name of an entry of `arms`. It labels trials and is no setting of them.
    Arm,
}

impl Key {
    const ALL: [Self; 17] = [
        Self::LearningRate,
        Self::Warmup,
        Self::Scheduler,
        Self::Augmentation,
        Self::Optimizer,
        Self::WeightDecay,
        Self::BatchSize,
        Self::Epochs,
        Self::Steps,
        Self::EvalEvery,
        Self::Precision,
        Self::Seed,
        Self::Fold,
        Self::RowLimit,
        Self::Pooling,
        Self::Dropout,
        Self::Arm,
    ];

    /// The key at a dotted path, if it has a role.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.path() == path)
    }

    /// The dotted path, as a sweep file writes it.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::LearningRate => "lr",
            Self::Warmup => "warmup",
            Self::Scheduler => "scheduler",
            Self::Augmentation => "augmentation",
            Self::Optimizer => "optimizer",
            Self::WeightDecay => "weight_decay",
            Self::BatchSize => "batch_size",
            Self::Epochs => "epochs",
            Self::Steps => "steps",
            Self::EvalEvery => "eval_every",
            Self::Precision => "precision",
            Self::Seed => "seed",
            Self::Fold => "data.fold",
            Self::RowLimit => "data.limit",
            Self::Pooling => "model.pooling",
            Self::Dropout => "model.dropout",
            Self::Arm => "arm",
        }
    }

    /// Whether `path` is this key.
    #[must_use]
    pub fn is(self, path: &str) -> bool {
        self.path() == path
    }

    /// Whether `path` is this key or a parameter of it, such as `augmentation.rate` of [`Key::Augmentation`].
    #[must_use]
    pub fn covers(self, path: &str) -> bool {
        path.strip_prefix(self.path()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether trials that differ only in `path` repeat one configuration.
    #[must_use]
    pub fn is_repetition(path: &str) -> bool {
        Self::Seed.is(path) || Self::Fold.is(path)
    }

    /// Whether `path` is one of the two keys that say how long a trial trains.
    #[must_use]
    pub fn is_length(path: &str) -> bool {
        Self::Epochs.is(path) || Self::Steps.is(path)
    }

    /// Whether the value of `path` is a learning rate: `lr`, `optimizer.head_lr`, `scheduler.min_lr` and the like.
    #[must_use]
    pub fn is_learning_rate(path: &str) -> bool {
        Self::LearningRate.is(path) || path.ends_with("_lr")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_key_and_back() {
        for key in Key::ALL {
            assert_eq!(Key::of(key.path()), Some(key));
        }
        assert_eq!((Key::of("lr.x"), Key::of("learning_rate")), (None, None));
    }

    #[test]
    fn a_key_covers_its_parameters() {
        assert!(Key::Augmentation.covers("augmentation") && Key::Augmentation.covers("augmentation.rate"));
        assert!(!Key::Augmentation.covers("augmentations") && !Key::Seed.covers("data.seed"));
        assert!(Key::is_learning_rate("scheduler.min_lr") && !Key::is_learning_rate("scheduler.min_lr_ratio"));
        assert!(Key::is_length("epochs") && Key::is_length("steps") && !Key::is_length("warmup"));
    }
}
