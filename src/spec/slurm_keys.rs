//! The keys of the section `run.slurm`: how each is read, written and documented.

use serde_json::{Value, json};
use serde_yaml::{Mapping, Value as Yaml};

use super::kind::{Doc, whole};
use super::run_config::{
    RunConfig, RunKey, TIME, bytes, limit, limit_schema, limit_text, name_of, named, names, seconds, set,
};
use super::slurm_config::{JobMemory, Within};
use super::yaml::Node;

const WITHIN: [(&str, Within); 3] =
    [("auto", Within::Auto), ("allocation", Within::Allocation), ("queue", Within::Queue)];
/// More than any site allows.
const MOST_JOBS: u64 = 1_000_000;
/// More processes than one node bears.
const MOST_TOGETHER: u64 = 256;
const SIZE: &str = "^[0-9.]+ ?(B|MB|GB|TB)$";

/// A key whose value is passed to `sbatch` as it is.
macro_rules! passed {
    ($name:literal, $about:literal, $example:literal) => {
        RunKey {
            name: concat!("slurm.", $name),
            expected: "off, or a value as sbatch takes it, without spaces",
            read: |run, value| pass(run, $name, value),
            write: |run| run.slurm.passed($name).map_or_else(|| "off".into(), Into::into),
            schema: || json!({"type": ["string", "integer"]}),
            doc: Doc { about: $about, unit: "", example: $example },
        }
    };
}

/// The keys of the section, with their prefix `slurm.`.
pub(super) static SLURM_KEYS: &[RunKey] = &[
    RunKey {
        name: "slurm.within",
        expected: "auto, allocation or queue",
        read: |run, value| set(&mut run.slurm.within, named(&WITHIN, value)),
        write: |run| name_of(&WITHIN, run.slurm.within),
        schema: || json!({"enum": names(&WITHIN)}),
        doc: Doc {
            about: "`allocation`: trials run as steps of the Slurm job that the command runs in. `queue`: each trial is a job of \
                    its own. `auto`: the first inside a job, else the second.",
            unit: "",
            example: "queue",
        },
    },
    passed!("partition", "The partition of the jobs (`sbatch --partition`). `off`: that of the site.", "gpu"),
    passed!("account", "The account that pays for the jobs (`sbatch --account`). `off`: that of the user.", "lab"),
    passed!("qos", "The quality of service of the jobs (`sbatch --qos`).", "long"),
    passed!(
        "constraint",
        "Features that the nodes must have (`sbatch --constraint`), such as one kind of processor.",
        "icelake"
    ),
    passed!("exclude", "Nodes on which no job may run (`sbatch --exclude`).", "n7,n8"),
    passed!("reservation", "The reservation that the jobs use (`sbatch --reservation`).", "course"),
    passed!("gres", "Generic resources of each job (`sbatch --gres`), such as one GPU.", "gpu:1"),
    passed!("gpus", "GPUs of each job (`sbatch --gpus`). Slurm chooses them.", "1"),
    RunKey {
        name: "slurm.cpus",
        expected: "auto, or a whole number from 1",
        read: |run, value| {
            if value.plain_text() == Some("auto") {
                return set(&mut run.slurm.cpus, Some(None));
            }
            set(&mut run.slurm.cpus, whole(value).filter(|n| (1..=65_536).contains(n)).map(|n| Some(n as usize)))
        },
        write: |run| run.slurm.cpus.map_or_else(|| "auto".into(), |n| Yaml::from(n as u64)),
        schema: || json!({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
        doc: Doc {
            about: "Processors of each job. `auto`: as many as `run.threads`, else one.",
            unit: "processors",
            example: "4",
        },
    },
    RunKey {
        name: "slurm.mem",
        expected: "auto, a size such as 8GB, or {per_cpu: 2GB}",
        read: |run, value| set(&mut run.slurm.memory, memory(value)),
        write: |run| match run.slurm.memory {
            JobMemory::Auto => "auto".into(),
            JobMemory::Bytes(bytes) => format!("{bytes}B").into(),
            JobMemory::PerCpu(bytes) => Mapping::from_iter([("per_cpu".into(), format!("{bytes}B").into())]).into(),
        },
        schema: || {
            let size = json!({"type": "string", "pattern": SIZE});
            let per_cpu = json!({"type": "object", "properties": {"per_cpu": size}, "required": ["per_cpu"], "additionalProperties": false});
            json!({"anyOf": [{"const": "auto"}, size, per_cpu]})
        },
        doc: Doc {
            about: "Memory of each job. `auto`: the estimate of the plan with a margin. A job that runs out of memory gets twice as \
                    much the next time, up to that of the largest node.",
            unit: "B, MB, GB or TB",
            example: "8GB",
        },
    },
    RunKey {
        name: "slurm.time",
        expected: "off, or a time such as 90s, 10m or 2h",
        read: |run, value| limit(&mut run.slurm.time, value),
        write: |run| limit_text(run.slurm.time),
        schema: limit_schema,
        doc: Doc {
            about: "Time limit of a job, in whole minutes. It does not bound the trial: one that needs longer continues from its \
                    checkpoint in the next job. `off`: that of the partition.",
            unit: "s, m or h",
            example: "2h",
        },
    },
    RunKey {
        name: "slurm.warn",
        expected: "a time such as 90s or 2m",
        read: |run, value| set(&mut run.slurm.warn, value.text().and_then(seconds)),
        write: |run| format!("{}s", run.slurm.warn).into(),
        schema: || json!({"type": "string", "pattern": TIME}),
        doc: Doc {
            about: "So long before the end of its time a job saves a checkpoint and ends. Slurm may send the signal up to a minute \
                    earlier.",
            unit: "s, m or h",
            example: "5m",
        },
    },
    RunKey {
        name: "slurm.setup",
        expected: "a line, or a list of lines",
        read: |run, value| set(&mut run.slurm.setup, lines(value)),
        write: |run| run.slurm.setup.iter().map(|line| Yaml::from(line.as_str())).collect::<Vec<_>>().into(),
        schema: lines_schema,
        doc: Doc {
            about: "Lines of bash that the job script runs before the worker. If one fails, the node is avoided from then on.",
            unit: "",
            example: "[module load cuda/12.4]",
        },
    },
    RunKey {
        name: "slurm.container",
        expected: "off, or an image for apptainer",
        read: |run, value| {
            let image = value.text().filter(|text| !text.is_empty())?;
            set(&mut run.slurm.container, Some(Some(image.to_owned()).filter(|image| image != "off")))
        },
        write: |run| run.slurm.container.clone().map_or_else(|| "off".into(), Into::into),
        schema: || json!({"type": "string"}),
        doc: Doc {
            about: "Image in which the worker runs, by `apptainer exec`. It sees the results, the data and this program.",
            unit: "",
            example: "image.sif",
        },
    },
    RunKey {
        name: "slurm.max_jobs",
        expected: "a whole number from 1",
        read: |run, value| {
            set(&mut run.slurm.max_jobs, whole(value).filter(|n| (1..=MOST_JOBS).contains(n)).map(|n| n as usize))
        },
        write: |run| (run.slurm.max_jobs as u64).into(),
        schema: || json!({"type": "integer", "minimum": 1}),
        doc: Doc { about: "At most so many jobs wait and run together.", unit: "jobs", example: "200" },
    },
    RunKey {
        name: "slurm.array",
        expected: "true or false",
        read: |run, value| set(&mut run.slurm.array, value.plain_text().and_then(|text| text.parse().ok())),
        write: |run| run.slurm.array.into(),
        schema: || json!({"type": "boolean"}),
        doc: Doc {
            about: "Whether jobs are submitted many at a time, as an array. `false`: each by a call of `sbatch`.",
            unit: "",
            example: "false",
        },
    },
    RunKey {
        name: "slurm.pack",
        expected: "a whole number from 1",
        read: |run, value| {
            set(&mut run.slurm.pack, whole(value).filter(|n| (1..=MOST_TOGETHER).contains(n)).map(|n| n as usize))
        },
        write: |run| (run.slurm.pack as u64).into(),
        schema: || json!({"type": "integer", "minimum": 1, "maximum": MOST_TOGETHER}),
        doc: Doc {
            about: "Trials that run side by side in one job, such as small models on one large GPU. They share its processors, and \
                    its memory is that of all of them.",
            unit: "trials",
            example: "4",
        },
    },
    RunKey {
        name: "slurm.chain",
        expected: "off, or a time such as 90s, 10m or 2h",
        read: |run, value| limit(&mut run.slurm.chain, value),
        write: |run| limit_text(run.slurm.chain),
        schema: limit_schema,
        doc: Doc {
            about: "If more trials wait than `max_jobs` jobs can take, those that are estimated to take less than five minutes run one \
                    after another in one job, for about this long. `off`: each has a job of its own.",
            unit: "s, m or h",
            example: "1h",
        },
    },
    RunKey {
        name: "slurm.extra",
        expected: "an option of sbatch, or a list of them",
        read: |run, value| {
            let options = lines(value)?;
            set(&mut run.slurm.extra, options.iter().all(|option| option.starts_with('-')).then_some(options))
        },
        write: |run| run.slurm.extra.iter().map(|option| Yaml::from(option.as_str())).collect::<Vec<_>>().into(),
        schema: lines_schema,
        doc: Doc {
            about: "Further options of `sbatch`, each as one text.",
            unit: "",
            example: "[\"--comment=sweep\"]",
        },
    },
];

/// Sets an option that is passed as it is.
fn pass(run: &mut RunConfig, name: &'static str, value: &Node) -> Option<()> {
    // A space would begin another option of `sbatch`.
    let is_one = |text: &&str| !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    let text = value.text().filter(|text| !value.is_null() && is_one(text))?;
    run.slurm.passed.retain(|(known, _)| *known != name);
    if text != "off" {
        run.slurm.passed.push((name, text.to_owned()));
    }
    Some(())
}

fn memory(value: &Node) -> Option<JobMemory> {
    if let Some([(key, size)]) = value.map() {
        return (key.text() == Some("per_cpu")).then_some(JobMemory::PerCpu(bytes(size.text()?)?));
    }
    match value.text()? {
        "auto" => Some(JobMemory::Auto),
        size => bytes(size).map(JobMemory::Bytes),
    }
}

/// A text, or a list of texts; each one line.
fn lines(value: &Node) -> Option<Vec<String>> {
    let line = |node: &Node| node.text().filter(|text| !text.is_empty() && !text.contains('\n')).map(str::to_owned);
    match value.list() {
        Some(items) => items.iter().map(line).collect(),
        None => line(value).map(|line| vec![line]),
    }
}

fn lines_schema() -> Value {
    json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
}
