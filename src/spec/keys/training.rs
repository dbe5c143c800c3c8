//! The keys of the optimizer, the schedule, the loss and the length of a trial.

use super::key::{Key, METRIC, NOT_NEGATIVE, POSITIVE, SEED, put, with};
use crate::spec::augmentations::AUGMENTATIONS;
use crate::spec::kind::{COUNT, Doc, Kind, MOST_EPOCHS, MOST_STEPS, STEPS};
use crate::spec::range::Range;
use crate::spec::schedulers::SCHEDULERS;
use crate::trial::{Key as Role, Length};

const LEARNING_RATE: Kind = Kind::Number { range: Range::above(0.0), expected: "a number above 0, such as 3e-5" };

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "optimizer.name",
        kind: Kind::Choice(&["adamw"]),
        put: |c, v| put(&mut c.optimizer.name, v),
        doc: Doc {
            about: "The optimizer. AdamW is the only one (Loshchilov and Hutter 2019).",
            unit: "",
            example: "adamw",
        },
    },
    Key {
        path: "optimizer.betas",
        kind: Kind::Pair {
            each: Range::from(0.0).below(1.0),
            expected: "two numbers from 0 to below 1, such as [0.9, 0.999]",
        },
        put: |c, v| put(&mut c.optimizer.betas, v),
        doc: Doc {
            about: "Decay of AdamW's running means of the gradient and of its square.",
            unit: "",
            example: "[0.9, 0.98]",
        },
    },
    Key {
        path: "optimizer.eps",
        kind: POSITIVE,
        put: |c, v| put(&mut c.optimizer.eps, v),
        doc: Doc {
            about: "Added to the denominator of AdamW's update, against a division by zero.",
            unit: "",
            example: "1e-6",
        },
    },
    Key {
        path: "optimizer.bias_correction",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.optimizer.bias_correction, v),
        doc: Doc {
            about: "Whether AdamW's running means are corrected for their start at zero; `false`: as in the original BERT.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "optimizer.layer_decay",
        kind: Kind::Number { range: Range::above(0.0).to(1.0), expected: "a factor above 0, at most 1" },
        put: |c, v| put(&mut c.optimizer.layer_decay, v),
        doc: Doc {
            about: "The learning rate of a layer is that of the next higher layer times this; 1: one learning rate for all.",
            unit: "",
            example: "0.95",
        },
    },
    Key {
        path: "optimizer.head_lr",
        kind: Kind::Optional(&LEARNING_RATE),
        put: |c, v| put(&mut c.optimizer.head_lr, v),
        doc: Doc {
            about: "Peak learning rate of the head (classifier and pooler), which follows the same schedule; `null`: `lr`.",
            unit: "",
            example: "1e-3",
        },
    },
    Key {
        path: Role::LearningRate.path(),
        kind: LEARNING_RATE,
        put: |c, v| put(&mut c.lr, v),
        doc: Doc { about: "Peak learning rate.", unit: "", example: "5e-5" },
    },
    Key {
        path: Role::Warmup.path(),
        kind: Kind::FractionOrSteps {
            range: STEPS,
            expected: "a fraction of all steps (from 0 to below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.warmup, v),
        doc: Doc {
            about: "Length of the linear rise of the learning rate from 0 to its peak. A fraction is rounded up to whole \
                    steps. With `cyclical` and `one_cycle`, which rise on their own, the default is 0.",
            unit: "fraction of all steps (below 1), or optimizer steps (from 1)",
            example: "100",
        },
    },
    Key {
        path: Role::Scheduler.path(),
        kind: Kind::Named(SCHEDULERS),
        put: |c, v| put(&mut c.scheduler, v),
        doc: Doc {
            about: "The learning rate after the warm-up, as transformers and torch define it.",
            unit: "",
            example: "{name: cosine_with_restarts, cycles: 3}",
        },
    },
    Key {
        path: Role::Augmentation.path(),
        kind: Kind::NamedList(AUGMENTATIONS),
        put: |c, v| put(&mut c.augmentation, v),
        doc: Doc {
            about: "How the training texts are changed, differently each epoch. The items of a list are applied one after the other.",
            unit: "",
            example: "[synonym, {name: mixup, alpha: 0.4}]",
        },
    },
    Key {
        path: Role::WeightDecay.path(),
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut c.weight_decay, v),
        doc: Doc {
            about: "Decoupled weight decay. Biases and LayerNorm parameters are left out, as in transformers.",
            unit: "",
            example: "0.1",
        },
    },
    Key {
        path: "max_grad_norm",
        kind: Kind::Number { range: Range::from(0.0), expected: "a number above 0, or 0 for no clipping" },
        put: |c, v| put(&mut c.max_grad_norm, v),
        doc: Doc {
            about: "Gradients are scaled down where their global norm exceeds this; 0: no clipping.",
            unit: "",
            example: "0.5",
        },
    },
    Key {
        path: "label_smoothing",
        kind: Kind::Number { range: Range::from(0.0).below(1.0), expected: "a number from 0 to below 1" },
        put: |c, v| put(&mut c.label_smoothing, v),
        doc: Doc {
            about: "Share of the training target that is spread evenly over all classes. The evaluation loss has none.",
            unit: "probability",
            example: "0.1",
        },
    },
    Key {
        path: "loss.name",
        kind: Kind::Choice(&["cross_entropy", "focal"]),
        put: |c, v| put(&mut c.loss.name, v),
        doc: Doc {
            about: "The loss of a classifier for a class of probability p. `cross_entropy`: -ln p. `focal`: (1 - p)^gamma times \
                    that (Lin et al. 2017).",
            unit: "",
            example: "focal",
        },
    },
    Key {
        path: "loss.gamma",
        kind: NOT_NEGATIVE,
        put: |c, v| put(&mut c.loss.gamma, v),
        doc: Doc { about: "The power of the focal loss.", unit: "", example: "1.5" },
    },
    Key {
        path: "loss.class_weights",
        kind: Kind::Optional(&Kind::ClassWeights),
        put: |c, v| put(&mut c.loss.class_weights, v),
        doc: Doc {
            about: "The weight of each class in the mean loss, in training and evaluation. `balanced`: rows / (classes * rows of \
                    the class). A map gives each label its weight. `null`: all classes are equal.",
            unit: "",
            example: "{negative: 1, positive: 4}",
        },
    },
    Key {
        path: Role::BatchSize.path(),
        kind: COUNT,
        put: |c, v| put(&mut c.batch_size, v),
        doc: Doc { about: "Examples per optimizer step.", unit: "examples", example: "16" },
    },
    Key {
        path: Role::Precision.path(),
        kind: Kind::Choice(&["f32", "bf16", "auto"]),
        put: |c, v| put(&mut c.precision, v),
        doc: Doc {
            about: "`bf16`: the factors of the matrix products of linear layers and of attention are rounded to bf16; sums, weights, \
                    the optimizer, LayerNorm, softmax and the loss stay f32. It needs a processor with AVX512_BF16 or AMX, or a GPU. \
                    `auto`: `bf16` where the devices of the run have it, else `f32`.",
            unit: "",
            example: "bf16",
        },
    },
    Key {
        path: "grad_accumulation",
        kind: COUNT,
        put: |c, v| put(&mut c.grad_accumulation, v),
        doc: Doc {
            about: "Splits a batch into at least this many micro-batches, which needs less memory. `batch_size` stays the \
                    number of examples per optimizer step, unlike in transformers.",
            unit: "micro-batches",
            example: "4",
        },
    },
    Key {
        path: Role::Epochs.path(),
        kind: Kind::Number { range: Range::above(0.0).to(MOST_EPOCHS as f64), expected: "a number above 0" },
        put: |c, v| with(v, |epochs| c.length = Length::Epochs(epochs)),
        doc: Doc {
            about: "How long a trial trains, in passes over the training rows. Give `epochs` or `steps`, not both.",
            unit: "epochs",
            example: "2",
        },
    },
    Key {
        path: Role::Steps.path(),
        kind: Kind::Whole { from: 1, to: MOST_STEPS as u64, expected: "a whole number from 1" },
        put: |c, v| with(v, |steps| c.length = Length::Steps(steps)),
        doc: Doc {
            about: "How long a trial trains, in optimizer steps, in place of `epochs`.",
            unit: "optimizer steps",
            example: "500",
        },
    },
    Key {
        path: Role::EvalEvery.path(),
        kind: Kind::FractionOrSteps {
            range: Range::above(0.0).to(MOST_STEPS as f64),
            expected: "a fraction of an epoch (below 1) or whole steps (from 1)",
        },
        put: |c, v| put(&mut c.eval_every, v),
        doc: Doc {
            about: "How often the model is evaluated. It is also evaluated before the first and after the last step.",
            unit: "fraction of an epoch (below 1), or optimizer steps (from 1)",
            example: "50",
        },
    },
    Key {
        path: Role::Seed.path(),
        kind: SEED,
        put: |c, v| put(&mut c.seed, v),
        doc: Doc {
            about: "Seed of the head's initial values, the order of the rows, dropout and augmentation. The list `seeds` at \
                    the top level repeats every configuration.",
            unit: "",
            example: "1",
        },
    },
    Key {
        path: "metric",
        kind: METRIC,
        put: |c, v| put(&mut c.metric, v),
        doc: Doc {
            about: "The metric that ranks configurations, chooses the best checkpoint, and must improve for `stop.patience`. \
                    Curves and plateaus are always those of the loss. It cannot vary within a sweep.",
            unit: "",
            example: "macro_f1",
        },
    },
];
