//! The keys of the section `data`.

use super::key::{Key, SEED, put, switch};
use crate::spec::kind::{COUNT, Doc, Kind};
use crate::trial::{Key as Role, TrialConfig, Windows};

const COLUMN: Kind = Kind::Text { expected: "the name of a column" };

pub(super) static KEYS: &[Key] = &[
    Key {
        path: "data.train",
        kind: Kind::Files,
        put: |c, v| put(&mut c.data.train, v),
        doc: Doc {
            about: "The training data: a file (.csv, .tsv, .txt, .json, .jsonl, .ndjson, .parquet, each also as .gz, .zst or \
                    .zip), a folder, a pattern of files, or a list of files. Paths are relative to the sweep file, then to the \
                    working directory. `embedded:tweets` is compiled into the program.",
            unit: "",
            example: "reviews.csv",
        },
    },
    Key {
        path: "data.eval",
        kind: Kind::FractionOrFile,
        put: |c, v| put(&mut c.data.eval, v),
        doc: Doc {
            about: "The evaluation set: a fraction of the training rows, held out with the class shares kept; a file; or a map \
                    of a file and the columns that have other names in it.",
            unit: "fraction of the rows",
            example: "{file: test.csv, text: sentence, label: target}",
        },
    },
    Key {
        path: "data.test",
        kind: Kind::Optional(&Kind::FractionOrFile),
        put: |c, v| put(&mut c.data.test, v),
        doc: Doc {
            about: "The test set, written like `data.eval`; `null`: there is none. No trial reads it. When the sweep has ended, the \
                    kept weights of the best trial are evaluated on it, and `test.json` records each such evaluation. A fraction is \
                    taken from the training rows first; `data.eval` is then a fraction of the rest.",
            unit: "fraction of the rows",
            example: "test.csv",
        },
    },
    Key {
        path: "data.folds",
        kind: Kind::Optional(&Kind::Whole { from: 2, to: 100, expected: "a whole number from 2 to 100" }),
        put: |c, v| put(&mut c.data.folds, v),
        doc: Doc {
            about: "Cross-validation: the training rows are divided into this many folds with the class shares kept, and every \
                    configuration is trained once for each fold, which is its evaluation set. Folds repeat a configuration as \
                    `seeds` do. They take the place of `data.eval`.",
            unit: "folds",
            example: "5",
        },
    },
    Key {
        path: Role::Fold.path(),
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.fold, v),
        doc: Doc {
            about: "The fold that is the evaluation set, from 1. `data.folds` makes a trial for each; give it to train only some of \
                    them.",
            unit: "",
            example: "1",
        },
    },
    Key {
        path: "data.text",
        kind: Kind::Columns,
        put: |c, v| put(&mut c.data.text, v),
        doc: Doc {
            about: "The column with the text, or several columns that are joined with spaces. A name with dots reaches into \
                    nested JSON.",
            unit: "",
            example: "[title, review]",
        },
    },
    Key {
        path: "data.text_pair",
        kind: Kind::Optional(&COLUMN),
        put: |c, v| put(&mut c.data.text_pair, v),
        doc: Doc {
            about: "The column with the second sentence, for sentence pairs; `null`: there is none.",
            unit: "",
            example: "hypothesis",
        },
    },
    Key {
        path: "data.choices",
        kind: Kind::Names { expected: "the columns of the choices, such as [ending0, ending1]" },
        put: |c, v| put(&mut c.data.choices, v),
        doc: Doc {
            about: "The columns of the choices of `task: multiple_choice`. Each choice is read after the text, as the second text of a \
                    pair; a column `data.text_pair` stands before each choice.",
            unit: "",
            example: "[ending0, ending1, ending2, ending3]",
        },
    },
    Key {
        path: "data.label",
        kind: Kind::Columns,
        put: |c, v| put(&mut c.data.label, v),
        doc: Doc {
            about: "The column with the class, the number, the labels, the tags or the right choice, as `data.task` says. For \
                    `task: multi_label` also a list: a column for each label, which holds 1 where the text has the label, else 0.",
            unit: "",
            example: "stars",
        },
    },
    Key {
        path: "data.task",
        kind: Kind::Choice(&["classification", "regression", "multi_label", "tokens", "masked_lm", "multiple_choice"]),
        put: |c, v| put(&mut c.data.task, v),
        doc: Doc {
            about: "What the label of a text is; `task` at the top level is the same key. `classification`: every distinct value is \
                    a class. `regression`: a number. `multi_label`: any number of labels, also none, such as `a|b`, or a list in \
                    JSON. `tokens`: a tag for each word, such as `O B-LOC`, a list, or a CoNLL file. `masked_lm`: no label, the \
                    tokens that masks hide. `multiple_choice`: the number of the right one of `data.choices`, from 0, or its \
                    column. It cannot vary within a sweep.",
            unit: "",
            example: "regression",
        },
    },
    Key {
        path: "data.max_length",
        kind: Kind::Whole { from: 3, to: u64::MAX, expected: "tokens, at least 3 ([CLS], one of the text, [SEP])" },
        put: |c, v| put(&mut c.data.max_length, v),
        doc: Doc {
            about: "Longest text, `[CLS]` and `[SEP]` included. Longer texts are cut.",
            unit: "tokens",
            example: "64",
        },
    },
    Key {
        path: "data.truncate",
        kind: Kind::Choice(&["head", "tail", "head_tail"]),
        put: |c, v| put(&mut c.data.truncate, v),
        doc: Doc {
            about: "What is kept of a longer text: its beginning, its end, or a quarter of `data.max_length` from the beginning and the \
                    rest from the end (Sun et al. 2019). `head_tail` is for single texts, not for pairs.",
            unit: "",
            example: "head_tail",
        },
    },
    Key {
        path: "data.windows",
        kind: Kind::Switch { expected: "none, true, or a map such as {stride: 64, combine: mean}" },
        put: |c, v| switch(&mut c.data.windows, v),
        doc: Doc {
            about: "Reads a text that is longer than `data.max_length` in several windows and cuts nothing. In training each window has \
                    the label of its text. Evaluations and predictions combine the outputs of a text's windows. `epochs` and `batch_size` count \
                    texts.",
            unit: "",
            example: "{stride: 64, combine: max}",
        },
    },
    Key {
        path: "data.windows.stride",
        kind: Kind::Optional(&Kind::Whole { from: 0, to: u64::MAX, expected: "a number of tokens" }),
        put: |c, v| put(&mut windows(c).stride, v),
        doc: Doc {
            about: "Tokens that a window shares with the one before it, as `stride` of transformers' tokenizers; `null`: a quarter of \
                    a window.",
            unit: "tokens",
            example: "64",
        },
    },
    Key {
        path: "data.windows.combine",
        kind: Kind::Choice(&["mean", "max"]),
        put: |c, v| put(&mut windows(c).combine, v),
        doc: Doc {
            about: "How the outputs of a text's windows become one: the mean or the largest value of each output.",
            unit: "",
            example: "max",
        },
    },
    Key {
        path: "data.limit",
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.limit, v),
        doc: Doc {
            about: "Number of training rows that are used, drawn by `data.seed` after the split with the class shares kept; `null`: all \
                    rows.",
            unit: "rows",
            example: "2000",
        },
    },
    Key {
        path: "data.eval_limit",
        kind: Kind::Optional(&COUNT),
        put: |c, v| put(&mut c.data.eval_limit, v),
        doc: Doc {
            about: "Number of evaluation rows that are used, drawn like those of `data.limit`; `null`: all rows.",
            unit: "rows",
            example: "1000",
        },
    },
    Key {
        path: "data.shuffle",
        kind: Kind::Flag,
        put: |c, v| put(&mut c.data.shuffle, v),
        doc: Doc {
            about: "Whether the training rows come in a new random order each epoch; `false`: in the order of the file.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "data.seed",
        kind: SEED,
        put: |c, v| put(&mut c.data.seed, v),
        doc: Doc {
            about: "Seed of the split into training, evaluation and test rows, or into folds. `seed` does not change the split.",
            unit: "",
            example: "7",
        },
    },
    Key {
        path: "data.format",
        kind: Kind::Optional(&Kind::Choice(&["csv", "tsv", "json", "jsonl", "parquet", "fasttext", "conll"])),
        put: |c, v| put(&mut c.data.format, v),
        doc: Doc {
            about: "The format of the data files; `null`: by the extension or the content of a file.",
            unit: "",
            example: "csv",
        },
    },
    Key {
        path: "data.delimiter",
        kind: Kind::Optional(&Kind::Text { expected: "comma, tab, semicolon, pipe, or a single character" }),
        put: |c, v| put(&mut c.data.delimiter, v),
        doc: Doc {
            about: "The character between the fields of a row: comma, tab, semicolon, pipe, or the character itself; `null`: the \
                    one that fits the columns.",
            unit: "",
            example: "semicolon",
        },
    },
    Key {
        path: "data.header",
        kind: Kind::Optional(&Kind::Flag),
        put: |c, v| put(&mut c.data.header, v),
        doc: Doc {
            about: "Whether the first line names the columns. Without a header, columns are numbers from 1; `null`: detected.",
            unit: "",
            example: "false",
        },
    },
    Key {
        path: "data.encoding",
        kind: Kind::Optional(&Kind::Text { expected: "an encoding such as utf-8, latin-1, windows-1252, utf-16" }),
        put: |c, v| put(&mut c.data.encoding, v),
        doc: Doc {
            about: "The encoding of text files, such as latin-1 or utf-16; `null`: detected.",
            unit: "",
            example: "latin-1",
        },
    },
    Key {
        path: "data.bad_rows",
        kind: Kind::Choice(&["error", "skip"]),
        put: |c, v| put(&mut c.data.bad_rows, v),
        doc: Doc {
            about: "What happens to rows with a missing label or a wrong number of fields: `error` reports them, `skip` leaves \
                    them out and counts them.",
            unit: "",
            example: "skip",
        },
    },
];

/// The settings of windows, which a key of them switches on.
fn windows(config: &mut TrialConfig) -> &mut Windows {
    config.data.windows.get_or_insert_default()
}
