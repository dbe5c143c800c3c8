//! Tests of the room by subject, and what they share: sweeps whose sources are all found.

mod arms;
mod combinations;
mod estimates;
mod ids;
mod mistakes;
mod properties;
mod schedules;

use super::{Bf16Found, DataFound, Facts, ModelFound, Plan, expand};
use crate::spec::{SweepSpec, parse};
use crate::trial::{AxisValue, DataFacts, DataReport, FileHashes, ModelFacts};

/// Facts under which every source is found as written.
pub(crate) fn facts(spec: &SweepSpec) -> Facts {
    let sources = spec.sources();
    let data = sources.data.into_iter().map(|source| DataFound {
        located: source.data.clone(),
        facts: DataFacts {
            hash: format!("data {} {:?} {:?}", source.data.train, source.data.limit, source.data.eval),
            train_rows: source.data.limit.unwrap_or(3312),
            ..data_facts()
        },
        written: source.data,
        model: source.model,
    });
    let models = sources.models.into_iter().map(|source| ModelFound {
        located: source.from.clone(),
        facts: ModelFacts { hash: format!("model {}", source.from), ..model_facts() },
        written: source.from,
    });
    Facts { data: data.collect(), models: models.collect(), augmentations: Vec::new(), bf16: Bf16Found::Available }
}

pub(super) fn data_facts() -> DataFacts {
    DataFacts {
        hash: "data".into(),
        files: FileHashes::new(),
        train_rows: 3312,
        eval_rows: 828,
        labels: vec!["negative".into(), "positive".into()],
        class_prior: vec![0.45, 0.55],
        mean_tokens: 25.0,
        largest_token: 0,
        test_hash: None,
        report: DataReport::default(),
    }
}

pub(super) fn model_facts() -> ModelFacts {
    ModelFacts {
        hash: "model".into(),
        files: FileHashes::new(),
        parameters: 8_700_000,
        vocabulary: 8192,
        layers: 3,
        hidden: 384,
        embedding_width: 384,
        modules: Vec::new(),
        adapter: None,
        heads: 12,
        intermediate: 1536,
        max_positions: 512,
        attention_spans: Vec::new(),
        token_types: 2,
        has_pooler: false,
        head: None,
        dropout: Some(0.1),
    }
}

pub(super) fn plan(text: &str) -> Plan {
    let spec = parse("a.yaml", "a", text, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    expand(&spec, &facts(&spec)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The values of all trials, a line each.
fn table(plan: &Plan) -> String {
    let row = |values: &[(String, AxisValue)]| {
        values.iter().map(|(key, value)| format!("{key}={}", value.text)).collect::<Vec<_>>().join(" ")
    };
    plan.trials.iter().map(|trial| row(&trial.values)).collect::<Vec<_>>().join("\n")
}

/// The ids of a sweep's trials, sorted.
fn ids(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = plan(text).trials.iter().map(|trial| trial.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

/// What planning says of a sweep that parses.
fn mistakes(text: &str) -> String {
    let spec = parse("a.yaml", "a", text, &[]).unwrap();
    expand(&spec, &facts(&spec)).map_or_else(|problems| problems.to_string(), |plan| plan.warnings.join("\n"))
}
