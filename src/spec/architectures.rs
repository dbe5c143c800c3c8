//! The tables of networks without an encoder and of modules on top of one: their names, parameters and defaults.

use super::kind::{Doc, Kind, Parameter, Variant};

const SIZE: Kind = Kind::Whole { from: 1, to: 100_000, expected: "a number of elements, at least 1" };

const TEXTCNN: &[Parameter] = &[
    Parameter {
        name: "kernels",
        kind: Kind::Wholes { from: 1, to: 1000, expected: "a list of widths in tokens, such as [3, 4, 5]" },
        default: "[3, 4, 5]",
        doc: Doc { about: "Width of each convolution.", unit: "tokens", example: "[2, 3]" },
    },
    Parameter {
        name: "filters",
        kind: SIZE,
        default: "100",
        doc: Doc { about: "Filters of each convolution.", unit: "filters", example: "64" },
    },
];

const BILSTM: &[Parameter] = &[
    Parameter {
        name: "hidden",
        kind: SIZE,
        default: "128",
        doc: Doc { about: "Size of the state of each direction.", unit: "elements", example: "64" },
    },
    Parameter {
        name: "layers",
        kind: Kind::Whole { from: 1, to: 100, expected: "a number of layers, at least 1" },
        default: "1",
        doc: Doc { about: "Number of layers.", unit: "layers", example: "2" },
    },
    Parameter {
        name: "pooling",
        kind: Kind::Choice(&["max", "last"]),
        default: "max",
        doc: Doc {
            about: "How the outputs become one vector. `max`: the maximum over all tokens. `last`: the last states of \
                    both directions.",
            unit: "",
            example: "last",
        },
    },
];

pub(super) static ARCHITECTURES: &[Variant] = &[
    Variant { name: "none", about: "The encoder of the checkpoint in `model.from`.", parameters: &[] },
    Variant {
        name: "bag_of_words",
        about: "The mean of the token embeddings; it does not see the order of words.",
        parameters: &[Parameter {
            name: "hidden",
            kind: Kind::Whole { from: 0, to: 100_000, expected: "a number of elements, 0 for no layer" },
            default: "0",
            doc: Doc {
                about: "Size of a dense layer with ReLU before the classifier; 0: there is none.",
                unit: "elements",
                example: "128",
            },
        }],
    },
    Variant {
        name: "textcnn",
        about: "Convolutions of several widths, each with its maximum over the text (Kim 2014).",
        parameters: TEXTCNN,
    },
    Variant { name: "bilstm", about: "A bidirectional LSTM, as torch defines it.", parameters: BILSTM },
];

pub(super) static EXTRAS: &[Variant] = &[
    Variant { name: "none", about: "The head of the architecture, or what `model.pooling` says.", parameters: &[] },
    Variant {
        name: "bilstm",
        about: "A bidirectional LSTM over the encoder's outputs, as torch defines it.",
        parameters: BILSTM,
    },
    Variant {
        name: "textcnn",
        about: "Convolutions of several widths over the encoder's outputs, each with its maximum over the text (Kim 2014).",
        parameters: TEXTCNN,
    },
    Variant {
        name: "attention",
        about: "The mean of the encoder's outputs over all tokens, weighted by a learned score of each.",
        parameters: &[Parameter {
            name: "hidden",
            kind: SIZE,
            default: "128",
            doc: Doc { about: "Size of the layer from which the score is computed.", unit: "elements", example: "64" },
        }],
    },
];
