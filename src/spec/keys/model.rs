//! The keys of the section `model`.

use super::key::{Key, POSITIVE, put, switch};
use crate::spec::architectures::{ARCHITECTURES, EXTRAS};
use crate::spec::kind::{Doc, Kind};
use crate::spec::range::Range;
use crate::trial::{AdaptersConfig, LoraConfig, TrialConfig};

/// The key of networks without an encoder.
pub(in crate::spec) const ARCHITECTURE: &str = "model.architecture";
/// The key of modules on top of an encoder.
pub(in crate::spec) const EXTRA: &str = "model.extra";
const LAYERS: Kind = Kind::Whole { from: 0, to: 99_999, expected: "a number of layers, 0 for none" };
const DROPOUT: Kind = Kind::Number { range: Range::from(0.0).below(1.0), expected: "a probability from 0 to below 1" };

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "model.from",
        kind: Kind::Text { expected: "a checkpoint folder, hf:org/name or embedded:minilm-l3" },
        put: |c, v| put(&mut c.model.from, v),
        doc: Doc {
            about: "The checkpoint to fine-tune. It is a folder as `save_pretrained` writes it, `hf:org/name[@revision]` from \
                    the Hugging Face hub, or `embedded:minilm-l3`, which is compiled into the program.",
            unit: "",
            example: "hf:google-bert/bert-base-uncased",
        },
    },
    Key {
        path: ARCHITECTURE,
        kind: Kind::Named(ARCHITECTURES),
        put: |c, v| put(&mut c.model.architecture, v),
        doc: Doc {
            about: "A network without an encoder, in place of the checkpoint. It starts from the token embeddings of a \
                    checkpoint and uses its tokenizer; everything else starts from random values.",
            unit: "",
            example: "{name: bilstm, hidden: 64}",
        },
    },
    Key {
        path: "model.embeddings.from",
        kind: Kind::Optional(&Kind::Text { expected: "a checkpoint, as for `model.from`" }),
        put: |c, v| put(&mut c.model.embeddings.from, v),
        doc: Doc {
            about: "The checkpoint with the tokenizer and the token embeddings for `model.architecture`; `null`: that of \
                    `model.from`.",
            unit: "",
            example: "embedded:minilm-l3",
        },
    },
    Key {
        path: "model.embeddings.vectors",
        kind: Kind::Choice(&["pretrained", "random"]),
        put: |c, v| put(&mut c.model.embeddings.vectors, v),
        doc: Doc {
            about: "Whether the token embeddings start from those of the checkpoint or from random values.",
            unit: "",
            example: "random",
        },
    },
    Key {
        path: "model.lora",
        kind: Kind::Switch { expected: "none, true, or a map such as {r: 8, alpha: 16}" },
        put: |c, v| switch(&mut c.model.lora, v),
        doc: Doc {
            about: "LoRA: the weights of the checkpoint are frozen, and each chosen linear layer gets a trained change of low \
                    rank (Hu et al. 2022). The classifier is trained too. The values start as in peft.",
            unit: "",
            example: "{r: 8, alpha: 16, targets: [query, value]}",
        },
    },
    Key {
        path: "model.lora.r",
        kind: Kind::Whole { from: 1, to: 10_000, expected: "a rank, at least 1" },
        put: |c, v| put(&mut lora(c).r, v),
        doc: Doc { about: "Rank of the changes.", unit: "", example: "16" },
    },
    Key {
        path: "model.lora.alpha",
        kind: POSITIVE,
        put: |c, v| put(&mut lora(c).alpha, v),
        doc: Doc { about: "A change is multiplied by this and divided by `r`.", unit: "", example: "32" },
    },
    Key {
        path: "model.lora.targets",
        kind: Kind::Names { expected: "the ends of the names of linear layers, such as [query, value], or all-linear" },
        put: |c, v| put(&mut lora(c).targets, v),
        doc: Doc {
            about: "Ends of the names of the linear layers that are changed, as in peft; `all-linear`: all but the classifier.",
            unit: "",
            example: "[query, key, value, dense]",
        },
    },
    Key {
        path: "model.lora.rslora",
        kind: Kind::Flag,
        put: |c, v| put(&mut lora(c).rslora, v),
        doc: Doc {
            about: "Whether `alpha` is divided by the square root of `r` (Kalajdzievski 2023).",
            unit: "",
            example: "true",
        },
    },
    Key {
        path: "model.adapters",
        kind: Kind::Switch { expected: "none, true, or a map such as {size: 48}" },
        put: |c, v| switch(&mut c.model.adapters, v),
        doc: Doc {
            about: "Adapters: the weights of the checkpoint are frozen, and each layer gets small trained layers (Houlsby et al. \
                    2019). Every LayerNorm and the head are trained too.",
            unit: "",
            example: "{size: 48, after: [attention, mlp]}",
        },
    },
    Key {
        path: "model.adapters.size",
        kind: Kind::Whole { from: 1, to: 100_000, expected: "a number of elements, at least 1" },
        put: |c, v| put(&mut adapters(c).size, v),
        doc: Doc { about: "Size of the inner layer of an adapter.", unit: "elements", example: "64" },
    },
    Key {
        path: "model.adapters.after",
        kind: Kind::Choices(&["attention", "mlp"]),
        put: |c, v| put(&mut adapters(c).after, v),
        doc: Doc {
            about: "The parts of a layer that an adapter follows, before the residual sum.",
            unit: "",
            example: "[attention]",
        },
    },
    Key {
        path: "model.adapters.activation",
        kind: Kind::Choice(&["gelu", "gelu_new", "relu", "tanh"]),
        put: |c, v| put(&mut adapters(c).activation, v),
        doc: Doc { about: "The activation within an adapter.", unit: "", example: "relu" },
    },
    Key {
        path: EXTRA,
        kind: Kind::Named(EXTRAS),
        put: |c, v| put(&mut c.model.extra, v),
        doc: Doc {
            about: "A module between the encoder and the classifier, in place of the architecture's own head. `model.pooling` \
                    does not apply then.",
            unit: "",
            example: "{name: bilstm, hidden: 64}",
        },
    },
    Key {
        path: "model.pooling",
        kind: Kind::Optional(&Kind::Choice(&["cls", "mean", "pooler"])),
        put: |c, v| put(&mut c.model.pooling, v),
        doc: Doc {
            about: "How the token vectors become one vector. `cls`: that of `[CLS]`. `mean`: the mean over all tokens. \
                    `pooler`: the architecture's own head, for BERT a dense layer and tanh over `[CLS]`. `null`: `pooler`, \
                    but `mean` for a BERT checkpoint without one, and that of an exported sentence-transformers folder.",
            unit: "",
            example: "mean",
        },
    },
    Key {
        path: "model.dropout",
        kind: Kind::Optional(&DROPOUT),
        put: |c, v| put(&mut c.model.dropout, v),
        doc: Doc {
            about: "Dropout of hidden states, attention and classifier; `null`: the checkpoint's own three probabilities.",
            unit: "probability",
            example: "0.1",
        },
    },
    Key {
        path: "model.freeze",
        kind: LAYERS,
        put: |c, v| put(&mut c.model.freeze, v),
        doc: Doc {
            about: "Freezes the embeddings and this many layers, counted from the input; 0: everything is trained.",
            unit: "layers",
            example: "2",
        },
    },
    Key {
        path: "model.reinit",
        kind: LAYERS,
        put: |c, v| put(&mut c.model.reinit, v),
        doc: Doc {
            about: "Starts this many layers, counted from the output, and the pooler from random values; 0: none.",
            unit: "layers",
            example: "1",
        },
    },
];

fn lora(config: &mut TrialConfig) -> &mut LoraConfig {
    config.model.lora.get_or_insert_default()
}

fn adapters(config: &mut TrialConfig) -> &mut AdaptersConfig {
    config.model.adapters.get_or_insert_default()
}
