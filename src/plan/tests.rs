use super::*;
use crate::spec::{SweepSpec, parse};
use crate::trial::AxisValue;

/// Facts under which every source is found as written.
pub(super) fn facts(spec: &SweepSpec) -> Facts {
    let sources = spec.sources();
    let data = sources.data.into_iter().map(|source| DataFound {
        located: source.data.clone(),
        facts: DataFacts {
            hash: format!("data {} {:?} {:?}", source.data.train, source.data.limit, source.data.eval),
            train_rows: source.data.limit.unwrap_or(3312),
            eval_rows: 828,
            labels: vec!["negative".into(), "positive".into()],
            class_prior: vec![0.45, 0.55],
            mean_tokens: 25.0,
        },
        written: source.data,
        model: source.model,
    });
    let models = sources.models.into_iter().map(|source| ModelFound {
        located: source.from.clone(),
        facts: ModelFacts {
            hash: format!("model {}", source.from),
            parameters: 8_700_000,
            vocabulary: 8192,
            layers: 3,
            hidden: 384,
            heads: 12,
            intermediate: 1536,
            max_positions: 512,
            has_pooler: false,
            dropout: Some(0.1),
        },
        written: source.from,
    });
    Facts { data: data.collect(), models: models.collect() }
}

fn plan(text: &str) -> Plan {
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

#[test]
fn smoke() {
    let plan = plan(
        "lr: 1e-5\ngrid:\n  lr: [1e-5, 0.0001]\n  scheduler: [linear, {name: cosine, cycles: 1}]\n  augmentation: [none, {name: synonym, rate: 0.2}, [synonym, random_swap]]\nzip:\n  batch_size: [16, 32]\n  epochs: [2, 4]\ninclude:\n  - {lr: 2e-5, scheduler: constant}\nexclude:\n  - {lr: 1e-4, scheduler: cosine}\nseeds: [1, 2]\n",
    );
    println!("{}\n{:?}\n{:#?}", table(&plan), plan.warnings, plan.axes);
}

#[test]
#[ignore = "measures"]
fn speed() {
    let lrs: Vec<String> = (1..=100).map(|i| format!("{i}e-5")).collect();
    let text = format!(
        "grid:\n  lr: [{}]\n  warmup: [0, 0.1, 0.2, 0.3, 0.4, 10, 20, 30, 40, 50]\n  scheduler: [linear, cosine]\n  augmentation: [none, synonym, random_swap, random_deletion, [synonym, random_swap]]\n  batch_size: [8, 16, 32, 64, 128]\nexclude:\n  - {{lr: 1e-9}}\nseeds: [1, 2]\n",
        lrs.join(", ")
    );
    let start = std::time::Instant::now();
    let spec = parse("a.yaml", "a", &text, &[]).unwrap();
    let parsed = start.elapsed();
    let facts = facts(&spec);
    let start = std::time::Instant::now();
    let plan = expand(&spec, &facts).unwrap();
    println!("parse {parsed:?} expand {:?} of {}", start.elapsed(), plan.trials.len());
}
