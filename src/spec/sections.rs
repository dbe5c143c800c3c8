//! The sections of a sweep file that are no keys of a trial.

use super::kind::Doc;

/// A key at the top level that says how trials are made of values, or how they run.
#[derive(Debug)]
pub(super) struct Section {
    pub name: &'static str,
    pub doc: Doc,
}

pub(super) static SECTIONS: &[Section] = &[
    Section {
        name: "name",
        doc: Doc {
            about: "The name of the sweep, and of its folder in the results folder. Default: the name of the file.",
            unit: "",
            example: "lr-grid",
        },
    },
    Section {
        name: "grid",
        doc: Doc {
            about: "Keys with lists of values. Every combination is a trial; the last key varies fastest.",
            unit: "",
            example: "{lr: [1e-5, 1e-4], model.dropout: [0, 0.1]}",
        },
    },
    Section {
        name: "zip",
        doc: Doc {
            about: "Keys with lists of equal length, taken together: one more axis of the grid.",
            unit: "",
            example: "{batch_size: [16, 32], epochs: [2, 4]}",
        },
    },
    Section {
        name: "arms",
        doc: Doc {
            about: "Grids beside one another, such as one for each architecture, each combined with `grid` and `seeds`. A list varies, \
                    any other value is fixed for the arm. `name` labels the arm in tables and figures.",
            unit: "",
            example: "[{name: bert, lr: [3e-5, 1e-4, 3e-4]}, {name: bilstm, model.architecture: bilstm, lr: [1e-3, 3e-3, 1e-2]}]",
        },
    },
    Section {
        name: "space",
        doc: Doc {
            about: "Keys that a search draws: `{log: [1e-6, 1e-3]}` evenly in logarithm, `{uniform: [0, 0.3], step: 0.05}`, \
                    `{int: [1, 6]}`, `{log_int: [1, 64]}`, `{normal: [0.1, 0.03]}`, a list, or `{choice: [none, eda], weights: [3, 1]}`.",
            unit: "",
            example: "{lr: {log: [1e-6, 1e-3]}, batch_size: [8, 16, 32]}",
        },
    },
    Section {
        name: "search",
        doc: Doc {
            about: "How many configurations are drawn from `space`, and how. Beside `grid`, each point of the grid has a search \
                    of its own.",
            unit: "",
            example: "{sampler: tpe, trials: 60}",
        },
    },
    Section {
        name: "include",
        doc: Doc {
            about: "Trials beside the grid, over the fixed values. `seeds` and `data.folds` repeat them, unless they name a seed or a fold.",
            unit: "",
            example: "[{lr: 2e-5, scheduler: constant}]",
        },
    },
    Section {
        name: "exclude",
        doc: Doc {
            about: "Trials that are left out: those that match all keys of an entry.",
            unit: "",
            example: "[{lr: 1e-3, scheduler: cosine}]",
        },
    },
    Section {
        name: "seeds",
        doc: Doc {
            about: "Seeds with which every configuration is repeated. Reports show the mean and the spread over them.",
            unit: "",
            example: "[1, 2, 3]",
        },
    },
    Section {
        name: "run",
        doc: Doc {
            about: "How the sweep runs. Its keys never change a trial's numbers or its id.",
            unit: "",
            example: "{jobs: 2, keep: best}",
        },
    },
];

/// Whether `name` is a section.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.name == name)
}
