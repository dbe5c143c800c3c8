//! The table of augmentations: their names, parameters and defaults.

use super::kind::{COUNT, Doc, Kind, Parameter, Variant};
use super::range::Range;

const SHARE: Kind = Kind::Number { range: Range::from(0.0).to(1.0), expected: "a share from 0 to 1" };

const WORD_RATE: Parameter = Parameter {
    name: "rate",
    kind: SHARE,
    default: "0.1",
    doc: Doc {
        about: "Share of the words (of `token_cutoff`: word pieces) that are changed.",
        unit: "share",
        example: "0.2",
    },
};
const EDA_ALPHA: Parameter = Parameter {
    name: "alpha",
    kind: SHARE,
    default: "0.1",
    doc: Doc { about: "Share of the words that are changed.", unit: "share", example: "0.2" },
};
const WORDNET: Parameter = Parameter {
    name: "wordnet",
    kind: Kind::Optional(&Kind::Text { expected: "a WordNet dictionary folder (index.noun, data.noun, ...)" }),
    default: "null",
    doc: Doc { about: "A WordNet dictionary folder; `null`: the embedded lexicon.", unit: "", example: "wordnet/dict" },
};
const TRANSLATOR: Kind = Kind::Optional(&Kind::Text {
    expected: "a command that reads lines and writes lines, such as apertium -u eng-spa, or a Marian checkpoint",
});

pub(super) static AUGMENTATIONS: &[Variant] = &[
    Variant {
        name: "synonym",
        about: "Replaces words by WordNet synonyms in the same inflection.",
        parameters: &[
            WORD_RATE,
            Parameter {
                name: "choose",
                kind: Kind::Choice(&["random", "first", "context"]),
                default: "random",
                doc: Doc {
                    about: "Which synonym: any, the first of the most frequent sense, or the one that moves the sentence's \
                            embedding least.",
                    unit: "",
                    example: "context",
                },
            },
            Parameter {
                name: "pos",
                kind: Kind::Flag,
                default: "true",
                doc: Doc {
                    about: "Whether a synonym must have the part of speech that the word has in its sentence.",
                    unit: "",
                    example: "false",
                },
            },
            WORDNET,
        ],
    },
    Variant {
        name: "random_insertion",
        about: "Inserts synonyms of random words at random places.",
        parameters: &[WORD_RATE, WORDNET],
    },
    Variant { name: "random_swap", about: "Swaps random words.", parameters: &[WORD_RATE] },
    Variant {
        name: "random_deletion",
        about: "Deletes each word with probability `rate`; at least one stays.",
        parameters: &[WORD_RATE],
    },
    Variant {
        name: "eda",
        about: "One of the four methods above, drawn for each text and epoch (Wei and Zou 2019).",
        parameters: &[EDA_ALPHA, WORDNET],
    },
    Variant {
        name: "eda_exact",
        about: "The program of the EDA paper, without the rules that keep negations and numbers.",
        parameters: &[
            EDA_ALPHA,
            Parameter {
                name: "copies",
                kind: COUNT,
                default: "9",
                doc: Doc {
                    about: "Versions of each text, beside the text itself. Each epoch shows one of them.",
                    unit: "versions",
                    example: "4",
                },
            },
            WORDNET,
        ],
    },
    Variant {
        name: "aeda",
        about: "Inserts punctuation marks before random words (Karimi et al. 2021).",
        parameters: &[Parameter {
            name: "share",
            kind: SHARE,
            default: "0.3",
            doc: Doc { about: "Largest share of the words that get a mark.", unit: "share", example: "0.2" },
        }],
    },
    Variant {
        name: "token_cutoff",
        about: "Hides random word pieces from the model (Shen et al. 2020).",
        parameters: &[WORD_RATE],
    },
    Variant {
        name: "mixup",
        about: "Mixes the pooled outputs and the labels of pairs of texts (Zhang et al. 2018).",
        parameters: &[Parameter {
            name: "alpha",
            kind: Kind::Number { range: Range::above(0.0), expected: "a number above 0" },
            default: "0.2",
            doc: Doc { about: "The share of the mixture is drawn from Beta(alpha, alpha).", unit: "", example: "0.4" },
        }],
    },
    Variant {
        name: "contextual",
        about: "Replaces words by predictions of a masked-language model (Kobayashi 2018).",
        parameters: &[
            WORD_RATE,
            Parameter {
                name: "top_k",
                kind: COUNT,
                default: "20",
                doc: Doc { about: "Number of predictions to draw from.", unit: "words", example: "10" },
            },
            Parameter {
                name: "model",
                kind: Kind::Optional(&Kind::Text { expected: "a BERT checkpoint with an MLM head" }),
                default: "null",
                doc: Doc {
                    about: "A checkpoint with a masked-language-model head; `null`: the trial's own checkpoint.",
                    unit: "",
                    example: "hf:google-bert/bert-base-uncased",
                },
            },
        ],
    },
    Variant {
        name: "back_translation",
        about: "Translates each text to another language and back, by programs or by Marian models.",
        parameters: &[
            Parameter {
                name: "engine",
                kind: Kind::Choice(&["command", "marian"]),
                default: "command",
                doc: Doc { about: "What translates: programs, or Marian checkpoints.", unit: "", example: "marian" },
            },
            Parameter {
                name: "out",
                kind: TRANSLATOR,
                default: "null",
                doc: Doc {
                    about: "Translates to the other language; needed with `command`. `null` with `marian`: \
                            Helsinki-NLP/opus-mt-en-fr.",
                    unit: "",
                    example: "apertium -u eng-spa",
                },
            },
            Parameter {
                name: "home",
                kind: TRANSLATOR,
                default: "null",
                doc: Doc {
                    about: "Translates back; needed with `command`. `null` with `marian`: Helsinki-NLP/opus-mt-fr-en.",
                    unit: "",
                    example: "apertium -u spa-eng",
                },
            },
            Parameter {
                name: "timeout",
                kind: Kind::Number { range: Range::above(0.0).to(1e6), expected: "seconds, above 0" },
                default: "600",
                doc: Doc { about: "Longest time that each program may take.", unit: "seconds", example: "60" },
            },
            Parameter {
                name: "beams",
                kind: Kind::Whole { from: 1, to: 32, expected: "a whole number of 1 to 32" },
                default: "4",
                doc: Doc {
                    about: "Hypotheses that Marian's beam search keeps; 1: greedy search.",
                    unit: "hypotheses",
                    example: "1",
                },
            },
            Parameter {
                name: "samples",
                kind: Kind::Whole { from: 0, to: 100, expected: "a whole number of 0 to 100" },
                default: "0",
                doc: Doc {
                    about: "Translations that Marian draws for each text; each epoch uses one. 0: the best translation only.",
                    unit: "translations",
                    example: "4",
                },
            },
        ],
    },
];
