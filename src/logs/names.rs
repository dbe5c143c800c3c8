//! Which quantity a column holds, by its name.
//!
//! A name is split into words. Words that say where something was measured (`val`), what it is (`loss`) and how it was
//! averaged (`epoch`, `mean`) are known. Every unknown word costs, so that `loss` is preferred to `bbox_loss`.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quantity {
    Train,
    Eval,
    Rate,
    GradNorm,
    Accuracy,
    /// The loss of training examples, measured as an evaluation.
    Probe,
}

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) quantity: Quantity,
    /// 0: exactly this quantity. The greater, the less likely.
    pub(super) cost: usize,
    /// Whether the name says that it was measured on held-out examples.
    pub(super) is_held_out: bool,
    /// Unknown words: the name of an evaluation set, or of a part of a loss.
    pub(super) part: String,
    /// Whether the column is a perplexity, the exponential of a loss.
    pub(super) is_perplexity: bool,
}

/// Names of columns that count optimizer steps, the likeliest first.
pub(super) const STEP: &[&str] = &[
    "step",
    "global_step",
    "trainer_global_step",
    "train_global_step",
    "train_step",
    "training_step",
    "optimizer_step",
    "train_steps",
    "training_steps",
    "optimizer_steps",
    "optim_step",
    "gradient_step",
    "gradient_steps",
    "completed_steps",
    "num_updates",
    "n_updates",
    "num_update",
    "train_num_updates",
    "valid_num_updates",
    "current_steps",
    "current_step",
    "cur_step",
    "curr_step",
    "global_steps",
    "step_num",
    "steps",
    "num_steps",
    "n_steps",
    "iteration",
    "iterations",
    "iter",
    "iters",
    "iter_num",
    "num_iter",
    "n_iter",
    "cur_iter",
    "current_iter",
    "train_iter",
    "it",
    "update",
    "updates",
    "update_step",
    "batch",
    "batches",
    "batch_idx",
    "batch_index",
    "batch_id",
    "batch_num",
    "minibatch",
    "_step",
];
pub(super) const EPOCH: &[&str] =
    &["epoch", "epochs", "train_epoch", "current_epoch", "cur_epoch", "epoch_num", "epoch_idx", "ep", "trainer_epoch"];
/// Names of columns that hold the planned number of steps.
pub(super) const PLANNED: &[&str] = &["max_steps", "total_steps", "num_training_steps", "total_iters", "max_iters"];

const TRAIN: &[&str] = &["train", "training", "trn", "tr"];
const EVAL: &[&str] =
    &["eval", "evaluation", "val", "valid", "validation", "validate", "dev", "test", "testing", "heldout", "holdout"];
/// How something was averaged, and what it is a loss of: words that change nothing.
const NEUTRAL: &[&str] = &[
    "step",
    "epoch",
    "batch",
    "avg",
    "average",
    "mean",
    "total",
    "running",
    "smoothed",
    "global",
    "current",
    "per",
    "iter",
    "iteration",
    "value",
    "metrics",
    "metric",
    "history",
    "curve",
    "log",
    "logs",
    "set",
    "data",
    "overall",
    "final",
    "the",
    "all",
    "model",
    "raw",
];
/// Words with which a name says something about a loss and is none.
const NO_LOSS: &[&str] = &[
    "scale",
    "best",
    "min",
    "max",
    "std",
    "var",
    "stderr",
    "diff",
    "delta",
    "gap",
    "ratio",
    "weight",
    "coef",
    "lambda",
    "patience",
    "improvement",
    "improved",
    "threshold",
    "smallest",
    "lowest",
    "time",
    "count",
    "change",
];
const NO_ACCURACY: &[&str] = &[
    "best",
    "min",
    "max",
    "std",
    "var",
    "top5",
    "top3",
    "acc5",
    "acc3",
    "top10",
    "balanced",
    "token",
    "tokens",
    "gap",
    "diff",
    "delta",
    "step_time",
    "class",
    "per",
];

/// What the column `name` (as [`super::sheet::spelled`]) holds. None if the diagnosis does not use it.
pub(super) fn reading(name: &str) -> Option<Reading> {
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).flat_map(split).collect();
    let has = |of: &[&str]| words.iter().any(|word| of.contains(word));
    let (train, eval) = (has(TRAIN), has(EVAL));
    let is_loss = has(&["loss", "losses", "nll", "xent", "crossentropy", "logloss"]);
    let is_perplexity = !is_loss && has(&["ppl", "perplexity"]);
    let is_accuracy = has(&["acc", "accuracy", "accuracies", "acc1", "top1"]);
    let is_rate = has(&["lr", "lrs", "learningrate"]) || words.windows(2).any(|pair| pair == ["learning", "rate"]);
    let is_norm = has(&["gnorm", "gradnorm"])
        || (has(&["grad", "gradient", "gradients", "grads"]) && has(&["norm", "norms", "2", "l2"]));
    let (quantity, own): (Quantity, &[&str]) = if is_norm && !has(&["clip", "clipped", "max", "min", "ratio"]) {
        (
            Quantity::GradNorm,
            &["gnorm", "gradnorm", "grad", "gradient", "gradients", "grads", "norm", "norms", "2", "0", "l2"],
        )
    } else if is_rate
        && !is_loss
        && !has(&["scale", "decay", "init", "initial", "base", "min", "max", "best", "reductions"])
    {
        (
            Quantity::Rate,
            &["lr", "lrs", "learningrate", "learning", "rate", "rates", "0", "group0", "group", "pg1", "last"],
        )
    } else if (is_loss || is_perplexity) && !has(NO_LOSS) && !is_norm {
        let quantity = match (train, eval) {
            (true, true) => Quantity::Probe,
            (_, true) => Quantity::Eval,
            _ if has(&["probe"]) => Quantity::Probe,
            _ => Quantity::Train,
        };
        (
            quantity,
            &[
                "loss",
                "losses",
                "nll",
                "xent",
                "crossentropy",
                "logloss",
                "ppl",
                "perplexity",
                "probe",
                "cross",
                "entropy",
            ],
        )
    } else if is_accuracy && !train && !has(NO_ACCURACY) && !is_loss {
        (Quantity::Accuracy, &["acc", "accuracy", "accuracies", "acc1", "top1", "score"])
    } else {
        return None;
    };
    let known = |word: &&str| [TRAIN, EVAL, NEUTRAL, own].iter().any(|list| list.contains(word));
    let part: Vec<&str> = words.iter().copied().filter(|word| !known(word)).collect();
    let neutral = words.iter().filter(|word| NEUTRAL.contains(word)).count();
    let test = usize::from(has(&["test", "testing"]));
    let unsaid = usize::from(matches!(quantity, Quantity::Train) && !train);
    let cost = 10 * part.len() + 5 * test + neutral + unsaid + 2 * usize::from(is_perplexity);
    Some(Reading { quantity, cost, is_held_out: eval, part: part.join("_"), is_perplexity })
}

/// Whether a name says on which examples something was measured.
pub(super) fn says_where(name: &str) -> bool {
    name.split('_').any(|word| TRAIN.contains(&word) || EVAL.contains(&word))
}

/// Whether only a preference loss has such a column: TRL writes `rewards/margins`, `eval_rewards/accuracies`, `logps/chosen`.
pub(super) fn is_of_preferences(name: &str) -> bool {
    let has = |word: &str| name.split('_').any(|part| part == word);
    has("rewards") && (has("margins") || has("accuracies")) || has("logps") && (has("chosen") || has("rejected"))
}

/// `valloss` as `val` and `loss`.
fn split(word: &str) -> Vec<&str> {
    for end in ["loss", "losses", "accuracy", "acc", "ppl"] {
        if let Some(start) = word.strip_suffix(end)
            && (TRAIN.contains(&start) || EVAL.contains(&start) || start == "avg" || start == "total")
        {
            return vec![start, &word[start.len()..]];
        }
    }
    vec![word]
}

/// Whether the column only counts, times or describes the run, so that it needs no note when it is ignored.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let has = |of: &[&str]| words.iter().any(|word| of.contains(word));
    let counts = STEP.contains(&name) || EPOCH.contains(&name) || PLANNED.contains(&name);
    counts
        || reading(name).is_none()
            && has(&[
                "time",
                "runtime",
                "second",
                "seconds",
                "sec",
                "s",
                "ms",
                "elapsed",
                "remaining",
                "percentage",
                "timestamp",
                "flos",
                "flops",
                "samples",
                "tokens",
                "wps",
                "ups",
                "wpb",
                "bsz",
                "throughput",
                "memory",
                "mem",
                "date",
                "wall",
                "index",
                "unnamed",
                "gpu",
                "cpu",
                "eta",
                "speed",
                "duration",
                "step",
                "steps",
                "epoch",
                "epochs",
                "min",
                "max",
                "scale",
                "clip",
            ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(name: &str) -> Option<Quantity> {
        reading(name).map(|reading| reading.quantity)
    }

    #[test]
    fn names_of_many_programs_are_read() {
        use Quantity::{Accuracy, Eval, GradNorm, Probe, Rate, Train};
        let cases = [
            (
                Train,
                &["loss", "train_loss", "training_loss", "train_loss_epoch", "trainloss", "lm_loss", "loss_train"][..],
            ),
            (
                Eval,
                &[
                    "eval_loss",
                    "val_loss",
                    "valid_loss",
                    "validation_loss",
                    "dev_loss",
                    "loss_val",
                    "valloss",
                    "eval_sst2_loss",
                ],
            ),
            (Rate, &["lr", "learning_rate", "lr_adam_w", "lr_adam_w_pg1", "train_learning_rate", "lr_0"]),
            (GradNorm, &["grad_norm", "gnorm", "gradient_norm", "train_grad_norm", "grad_2_0_norm_total"]),
            (Accuracy, &["eval_accuracy", "valid_acc", "validation_accuracy", "val_acc", "accuracy", "val_acc1"]),
            (Probe, &["train_probe_loss", "eval_train_loss"]),
        ];
        for (expected, names) in cases {
            for name in names {
                assert_eq!(quantity(name), Some(expected), "{name}");
            }
        }
        for name in
            ["train_acc", "loss_scale", "valid_best_loss", "min_loss", "grad_norm_clip", "eval_f1", "lr_decay", "epoch"]
        {
            assert_eq!(quantity(name), None, "{name}");
        }
    }

    #[test]
    fn preference_losses_are_known_by_their_columns() {
        assert!(
            ["rewards_margins", "eval_rewards_accuracies", "logps_chosen", "train_logps_rejected"]
                .iter()
                .all(|name| is_of_preferences(name))
        );
        assert!(["rewards", "reward", "loss", "margins"].iter().all(|name| !is_of_preferences(name)));
    }

    #[test]
    fn plain_names_are_likelier_than_parts() {
        let cost = |name| reading(name).unwrap().cost;
        assert!(cost("train_loss") < cost("loss") && cost("loss") < cost("bbox_loss"));
        assert!(cost("val_loss") < cost("test_loss") && cost("test_loss") < cost("eval_sst2_loss"));
        assert_eq!(reading("eval_sst2_loss").unwrap().part, "sst2");
    }
}
