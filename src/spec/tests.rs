use proptest::prelude::*;

use super::*;
use crate::trial::{
    Augmentation, CheckpointEvery, Choose, Keep, Metric, Patience, Plateau, Scheduler, TaskName, TrialConfig,
};

fn spec(text: &str) -> SweepSpec {
    parse("a.yaml", "a", text, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The fixed values of a file, as one trial.
fn base(text: &str) -> TrialConfig {
    spec(text).base
}

#[test]
fn an_empty_file_is_the_default_trial() {
    for text in ["", "# nothing\n", "---\n", "model:\n", "\u{feff}"] {
        let spec = spec(text);
        assert_eq!((spec.name.as_str(), &spec.base, spec.size()), ("a", &TrialConfig::default(), 1), "{text:?}");
    }
}

/// The table, the types and the defaults agree: every key reads its own default back.
#[test]
fn every_key_reads_what_it_writes() {
    let yaml =
        spec("stop: {patience: {evals: 3}, plateau: true}\nmodel: {pooling: cls, dropout: 0.2, lora: true, adapters: true}\n\
              data: {limit: 5, text_pair: b, eval_limit: 6, format: csv, delimiter: tab, header: false, encoding: utf-8, \
              bad_rows: skip, test: 0.1, folds: 5, fold: 2, choices: [x, y], windows: true}\nhead_lr: 1e-3")
            .to_yaml(&ResolvedSources::default());
    let yaml = yaml.unwrap();
    let config = serde_json::to_value(base(&yaml)).unwrap();
    let written = |path: &str| lookup(&config, path).is_some();
    let missing: Vec<&str> = keys::all().map(|key| key.path).filter(|path| !written(path)).collect();
    assert_eq!(missing, ["steps"], "keys whose path is not that of the configuration");
    assert_eq!(spec(&yaml).to_yaml(&ResolvedSources::default()).unwrap(), yaml);
}

#[test]
fn every_schedule_and_augmentation_of_the_tables_has_a_type() {
    let variants = |path| keys::variants(path).unwrap_or_default();
    for variant in variants("scheduler") {
        assert_eq!(base(&format!("scheduler: {}", variant.name)).scheduler.name(), variant.name);
    }
    for variant in variants("augmentation") {
        assert_eq!(base(&format!("augmentation: {}", variant.name)).augmentation.len(), 1);
    }
    for none in ["none", "{name: none}", "[none]", "[{name: none}]"] {
        assert_eq!(base(&format!("augmentation: {none}")).augmentation.len(), 0);
    }
    for parameter in ["scheduler", "augmentation"].into_iter().flat_map(variants).flat_map(|v| v.parameters) {
        let is_null = parameter.default_value().is_null();
        assert_eq!(is_null, parameter.default == "null", "default of {}", parameter.name);
    }
}

/// An entry of `space` for each parameter that can have a range within a value of a list, in any key.
pub(crate) fn conditional_ranges() -> Vec<String> {
    const RANGES: [[&str; 2]; 3] = [
        ["{uniform: [0.05, 0.3]}", "{uniform: [0.1, 0.2], step: 0.05}"],
        ["{log: [1e-6, 1e-3]}", "{log: [2e-6, 1e-4]}"],
        ["{int: [2, 9]}", "{log_int: [3, 5]}"],
    ];
    fn is_text(kind: &kind::Kind) -> bool {
        match kind {
            kind::Kind::Text { .. } => true,
            kind::Kind::Optional(kind) => is_text(kind),
            _ => false,
        }
    }
    // The data of each value would be looked at before the first trial.
    let groups = keys::GROUPS.iter().map(|group| group.path).filter(|path| !path.starts_with("data"));
    let of_group = |path: &'static str| {
        let keys = keys::all().filter(|key| !is_text(&key.kind));
        let inner = keys.filter_map(move |key| key.path.strip_prefix(path)?.strip_prefix('.'));
        inner.map(move |inner| (path, String::new(), inner))
    };
    let owners = keys::all().map(|key| key.path).filter_map(|path| Some((path, keys::variants(path)?)));
    let of_variants = owners.flat_map(|(path, variants)| {
        let parameters = |variant: &'static kind::Variant| variant.parameters.iter().map(move |one| (variant, one));
        let named = move |(variant, parameter): (&kind::Variant, &'static kind::Parameter)| {
            (path, format!("name: {}, ", variant.name), parameter.name)
        };
        variants.iter().flat_map(parameters).filter(|(_, parameter)| !is_text(&parameter.kind)).map(named)
    });
    let entry = |(path, name, inner): (&str, String, &str)| {
        let lists = RANGES
            .iter()
            .map(|[wide, narrow]| format!("{path}: [{{{name}{inner}: {wide}}}, {{{name}{inner}: {narrow}}}]"));
        lists.into_iter().find(|entry| parse("a.yaml", "a", &format!("space: {{{entry}}}"), &[]).is_ok())
    };
    groups.flat_map(of_group).chain(of_variants).filter_map(entry).collect()
}

/// A list with maps draws a group, and its values are called as those of a grid.
#[test]
fn values_of_groups_have_names() {
    let names = |space: &str| {
        let drawn = spec(&format!("space: {{{space}}}")).search.unwrap().drawn;
        drawn.names().iter().map(|name| format!("{}: {}", name.path, name.values.join(" | "))).collect::<Vec<_>>()
    };
    assert_eq!(
        names("optimizer: [adamw, {name: adamw, eps: {log: [1e-9, 1e-5]}}, {name: adamw, layer_decay: 0.9}]"),
        ["optimizer: adamw | adamw eps | adamw 0.9", "optimizer.eps: "]
    );
    assert_eq!(names("loss: [{gamma: {uniform: [1, 2]}}]"), ["loss: gamma", "loss.gamma: "]);
    assert_eq!(
        names("augmentation: [none, {name: eda, alpha: {uniform: [0.1, 0.2]}}]"),
        ["augmentation: none | eda", "augmentation.alpha: "]
    );
    assert_eq!(
        names("scheduler: [linear, {name: cosine, cycles: {choice: [0.5, 1]}}]"),
        ["scheduler: linear | cosine", "scheduler.cycles: 0.5 | 1"]
    );
    assert_eq!(names("optimizer: [adamw]"), ["optimizer.name: adamw"]);
    // A range beside a value of another key: nothing is there twice.
    assert_eq!(names("optimizer: [{eps: 1e-6}, {eps: {log: [1e-9, 1e-5]}, layer_decay: 0.9}]").len(), 2);
    let problems = parse("a.yaml", "a", "optimizer: adamw\nspace: {optimizer: [adamw, {name: adamw, eps: 1e-6}]}", &[]);
    assert!(problems.unwrap_err().to_string().contains("`optimizer.name` is drawn and fixed"));
    assert!(parse("a.yaml", "a", "optimizer.eps: 1e-7\nspace: {optimizer: [adamw, {eps: 1e-6}]}", &[]).is_ok());
}

/// Every configuration leads back to the point that it was drawn at.
#[test]
fn choices_inside_a_value_are_drawn() {
    let space = "space: {optimizer: [{name: adamw, betas: {choice: [[0.9, 0.999], [0.9, 0.98]], weights: [1, 3]}, \
                 layer_decay: {choice: [0.8, 0.9]}}, {name: adamw, layer_decay: 0.8}]}";
    let drawn = spec(space).search.unwrap().drawn;
    assert_eq!(drawn.space.size(), Some(5));
    let base = serde_json::to_value(TrialConfig::default()).unwrap();
    let points = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)].map(|(a, b)| vec![Some(0.0), Some(a), Some(b)]);
    for point in points.into_iter().chain([vec![Some(1.0), None, None]]) {
        let choices = drawn.choices(&point).unwrap();
        let shown = |path: &str| choices.iter().find(|(key, _)| key == path).map(|(_, choice)| &choice.shown.value);
        assert_eq!(drawn.point(shown, &base, &base), Some(point), "{choices:?}");
    }
}

#[test]
fn numbers_are_numbers_however_written() {
    for text in ["1e-5", "1.0e-05", "0.00001", "1E-5", "+1e-5", ".00001", "10e-6", "1.e-5"] {
        assert_eq!(base(&format!("lr: {text}")).lr.to_bits(), 1e-5f64.to_bits(), "{text}");
    }
    for text in ["1000", "1e3", "1000.0", "0x3e8", "0o1750"] {
        assert_eq!(base(&format!("batch_size: {text}")).batch_size, 1000, "{text}");
    }
    assert_eq!(base("warmup: -0.0").warmup.0.to_bits(), 0);
    assert_eq!(base("seed: 18446744073709551615").seed, u64::MAX);
}

#[test]
fn names_of_transformers_are_aliases() {
    let ours =
        "lr: 1e-4\nwarmup: 10\nscheduler: cosine\nepochs: 2\nbatch_size: 8\nlabel_smoothing: 0.1\ngrad_accumulation: 2";
    let theirs = "learning_rate: 1e-4\nwarmup_steps: 10\nlr_scheduler_type: cosine\nnum_train_epochs: 2\n\
                  per_device_train_batch_size: 8\nlabel_smoothing_factor: 0.1\ngradient_accumulation_steps: 2";
    assert_eq!(base(ours), base(theirs));
    assert_eq!(base("max_steps: 7"), base("steps: 7"));
    assert_eq!(base("warmup_ratio: 0.2"), base("warmup: 0.2"));
    insta::assert_snapshot!(spec(theirs).warnings().join("\n"), @r"
    a.yaml:5:1: warning: `batch_size` is the number of examples per optimizer step; transformers would multiply it by the accumulation
      5 | per_device_train_batch_size: 8
        | ^^^^^^^^^^^^^^^^^^^^^^^^^^^ for the same run, multiply it by the accumulation
    ");
}

#[test]
fn groups_dots_and_scalars_say_the_same() {
    let nested = base("model: {dropout: 0.2, from: x}\ndata: {train: a.tsv}\nstop: {patience: {evals: 2}}");
    assert_eq!(base("model.dropout: 0.2\nmodel.from: x\ndata.train: a.tsv\nstop.patience.evals: 2"), nested);
    assert_eq!(base("model: x\nmodel.dropout: 0.2\ndata: a.tsv\nstop: {patience.evals: 2}"), nested);
    assert_eq!(base("stop: {patience: none}"), TrialConfig::default());
}

#[test]
fn rules_over_all_trials_are_no_part_of_one() {
    let nested =
        spec("stop: {diverged: false, median: {min_trials: 3}, asha: {metric: accuracy, eta: 3, min_steps: 20}}");
    let dotted = spec(
        "stop.diverged: false\nstop.median: {}\nstop.median.min_trials: 3\nstop: {asha.eta: 3}\nstop.asha.min_steps: 20\nstop.asha.metric: accuracy",
    );
    assert_eq!((&nested.run.stop, &nested.base), (&dotted.run.stop, &dotted.base));
    assert_eq!(nested.base, base("stop: {diverged: false}"));
    let StopAcross { median: Some(median), asha: Some(asha) } = &nested.run.stop else { panic!("both are on") };
    assert_eq!((median.min_trials, median.min_steps, asha.eta, asha.min_steps), (3, 50, 3, 20));
    assert_eq!(asha.metric, Metric::Accuracy);
    let written = nested.to_yaml(&ResolvedSources::default()).unwrap();
    assert_eq!(spec(&written).run.stop, nested.run.stop, "{written}");
    let off = [("stop.asha".to_owned(), "none".to_owned())];
    assert_eq!(parse("a.yaml", "a", "stop: {asha: {}}", &off).unwrap().run.stop, StopAcross::default());
}

#[test]
fn schedules_and_augmentations_take_names_maps_and_lists() {
    let cosine = Scheduler::Cosine { cycles: 2.0 };
    assert_eq!(base("scheduler: {name: cosine, cycles: 2}").scheduler, cosine);
    assert_eq!(base("scheduler: cosine\nscheduler.cycles: 2").scheduler, cosine);
    let synonym = Augmentation::Synonym { rate: 0.3, choose: Choose::Random, pos: true, wordnet: None };
    let both = vec![synonym, Augmentation::RandomSwap { rate: 0.1 }];
    assert_eq!(base("augmentation: [{name: synonym, rate: 0.3}, random_swap]").augmentation, both);
    assert_eq!(base("augmentation: [synonym]\naugmentation.rate: 0.3").augmentation, both[..1]);
    assert_eq!(base("augmentation: none").augmentation, base("augmentation: []").augmentation);
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let text = "model: &m {dropout: 0.1, freeze: 1}\ngrid:\n  model: [*m, {<<: *m, freeze: 2}]";
    let paths: Vec<Vec<String>> = spec(text).factors[0].keys[0]
        .choices
        .iter()
        .map(|choice| choice.settings.iter().map(|s| format!("{}={}", s.path, s.value)).collect())
        .collect();
    assert_eq!(paths, [["model.dropout=0.1", "model.freeze=1"], ["model.freeze=2", "model.dropout=0.1"]]);
}

/// Nine levels of nine aliases each would be a third of a thousand million nodes.
#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        text.extend([format!("b{level}: &a{level} [{list}]\n")]);
    }
    let deep = "[".repeat(500);
    for text in [text, deep] {
        assert!(parse("a.yaml", "a", &text, &[]).is_err());
    }
}

#[test]
fn what_a_sweep_keeps() {
    for (written, keep) in
        [("winner", Keep::WINNER), ("{top: 1}", Keep::WINNER), ("{top: 3}", Keep::Top(3)), ("none", Keep::None)]
    {
        let run = spec(&format!("run: {{keep: {written}}}")).run;
        assert_eq!(run.keep, keep, "{written}");
    }
    for wrong in ["{top: 0}", "{top: 1.5}", "{best: 3}", "{top: 1, best: 1}", "3"] {
        assert!(parse("a.yaml", "a", &format!("run: {{keep: {wrong}}}"), &[]).is_err(), "{wrong}");
    }
}

#[test]
fn the_run_section() {
    let run =
        spec("run: {devices: 'cuda:1,0', jobs: 2, threads: auto, checkpoint_every: 2m, keep: best, probe: plateaus, stall_timeout: 1.5h, time_limit: off, max_memory: 1.5GB, log_to: [mlflow, tensorboard, mlflow]}\nrun.retries: 0")
            .run;
    let expected = RunConfig {
        devices: Devices::Cuda(vec![0, 1]),
        jobs: Some(2),
        retries: 0,
        max_memory: Some(1_500_000_000),
        stall_timeout: Some(5400.0),
        checkpoint_every: CheckpointEvery::Seconds(120.0),
        keep: Keep::Best,
        probe: Probing::Plateaus,
        log_to: vec![LogTo::Tensorboard, LogTo::Mlflow],
        ..RunConfig::default()
    };
    assert_eq!(run, expected);
    let log_to = |text: &str| spec(&format!("run.log_to: {text}")).run.log_to;
    assert_eq!((log_to("off"), log_to("[]"), log_to("mlflow")), (vec![], vec![], vec![LogTo::Mlflow]));
    assert!(parse("a.yaml", "a", "run.log_to: [tensorboard, wandb]", &[]).is_err());
    for (text, every) in [
        ("60s", CheckpointEvery::Seconds(60.0)),
        ("1h", CheckpointEvery::Seconds(3600.0)),
        ("50", CheckpointEvery::Steps(50)),
    ] {
        assert_eq!(spec(&format!("run.checkpoint_every: {text}")).run.checkpoint_every, every);
    }
}

#[test]
fn overrides_replace_fixed_values() {
    let set = |list: &[(&str, &str)]| {
        let set: Vec<(String, String)> = list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let file = "epochs: 3\nmodel: {dropout: 0.1}\naugmentation: synonym\naugmentation.rate: 0.2\nrun: {jobs: 1}\nseeds: [1, 2]";
        parse("a.yaml", "a", file, &set).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let spec = set(&[
        ("steps", "5"),
        ("model.dropout", "0.3"),
        ("augmentation", "none"),
        ("run.jobs", "3"),
        ("seeds", "[7]"),
        ("lr", "1"),
        ("learning_rate", "2"),
        ("name", "b"),
        ("data.delimiter", "@"),
    ]);
    let config = spec.base();
    assert_eq!(config.data.delimiter.as_deref(), Some("@"), "no quotes are needed for one value");
    assert_eq!((config.length, config.model.dropout), (crate::trial::Length::Steps(5), Some(0.3)));
    assert_eq!((config.augmentation.len(), spec.run.jobs, spec.size()), (0, Some(3), 1));
    assert_eq!((config.lr, spec.name.as_str()), (2.0, "b"));
}

#[test]
fn overrides_do_not_hide_behind_axes() {
    let set = |key: &str, value: &str| {
        let file = "grid: {model: [{dropout: 0}, {dropout: 0.1}]}\nseeds: [1, 2]";
        parse("a.yaml", "a", file, &[(key.to_owned(), value.to_owned())]).is_err()
    };
    assert!(set("seed", "3") && set("model.dropout", "0.2") && !set("model.freeze", "1") && !set("seeds", "[3]"));
}

#[test]
fn rules_of_a_trial_are_on_with_their_defaults_or_off() {
    let rules = |text: &str| base(&format!("stop: {text}")).stop;
    let on = rules("{plateau: true}");
    assert_eq!((on.plateau.as_ref(), on.patience.as_ref()), (Some(&Plateau { evals: 3, min_steps: 50 }), None));
    assert_eq!(rules("{plateau: {}}"), on);
    assert_eq!(rules("{plateau.evals: 3}"), on);
    assert_eq!(rules("{plateau: {evals: 5, min_steps: 0}}").plateau, Some(Plateau { evals: 5, min_steps: 0 }));
    assert_eq!(rules("{plateau: none, patience: false}"), TrialConfig::default().stop);
    assert_eq!(rules("{patience: {}}").patience, Some(Patience::default()));
    let written = spec("stop: {plateau: {evals: 2}}\ngrid: {stop.patience: [none, true]}");
    let again = spec(&written.to_yaml(&ResolvedSources::default()).unwrap());
    assert_eq!((&again.base, again.factors.len()), (&written.base, 1));
    // Where the rule is off, a configuration is the one that it was before there was such a rule.
    assert!(!serde_json::to_string(&TrialConfig::default()).unwrap().contains("plateau"));
}

#[test]
fn patience_can_vary_with_none() {
    let spec = spec("stop: {patience: {metric: accuracy}}\ngrid: {stop.patience: [none, {evals: 3}]}");
    let texts: Vec<&str> = spec.factors[0].keys[0].choices.iter().map(|choice| choice.shown.text.as_str()).collect();
    assert_eq!(texts, ["none", "evals=3"]);
}

proptest! {
    /// Whatever stands in a file, there is an answer, and messages that can be shown.
    #[test]
    fn no_text_is_too_strange(text in "([a-z.]{1,9}|[\\[\\]{}:,&*!|>'\"%@`#?-]| |\n|\n  |\t|é|😀|[0-9.e_-]{1,5}){0,40}", cut in 0usize..400) {
        let _ = parse("a.yaml", "a", &text, &[("lr".into(), text.clone())]).map_err(|problems| problems.to_string());
        let whole = include_str!("../../sweeps/augmentation.yaml");
        let mut mixed: String = whole.chars().take(cut * 4).collect();
        mixed.push_str(&text);
        mixed.extend(whole.chars().skip(cut * 4 + 7));
        let _ = parse("a.yaml", "a", &mixed, &[]).map_err(|problems| problems.to_string());
    }
}

#[test]
fn sizes_are_computed_without_expanding() {
    let axis = |key: &str| format!("  {key}: [{}]\n", (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
    let text = format!("grid:\n{}{}{}{}", axis("data.seed"), axis("model.freeze"), axis("warmup"), axis("seed"));
    let problems = parse("a.yaml", "a", &text, &[]).unwrap_err();
    insta::assert_snapshot!(problems, @r"
    a.yaml:1:1: this sweep has 1,000,000,000,000 trials, more than 100,000
      1 | grid:
        | ^^^^ shorten an axis, or raise `run.max_trials`
    ");
}

/// Nothing is made of the values of a sweep that is far too large: none of these is a learning rate.
#[test]
fn too_many_trials_are_counted_before_their_values_are_read() {
    let values = |n: usize| vec!["slow"; n].join(", ");
    let problems = |text: &str, set: &[(String, String)]| parse("a.yaml", "a", text, set).unwrap_err().to_string();
    let zip = format!("zip: {{lr: [{0}], warmup: [{0}]}}\nseeds: [1, 2]\n", values(60_000));
    insta::assert_snapshot!(problems(&zip, &[]).lines().next().unwrap(), @"a.yaml:1:1: this sweep has 120,000 trials, more than 100,000");
    assert_eq!(problems(&zip, &[]).matches("a.yaml:").count(), 1);
    let raised = [("run.max_trials".to_owned(), "200000".to_owned())];
    assert!(problems(&zip, &raised).contains("slow"));
    let few = format!("grid: {{lr: [{}]}}\nrun: {{max_trials: 3}}\n", values(4));
    assert!(problems(&few, &[]).contains("this sweep has 4 trials, more than 3"));
}

#[test]
fn sources_are_those_of_the_sweep() {
    let sources = |text: &str| {
        let Sources { data, models, .. } = spec(text).sources();
        let data = data.iter().map(|s| {
            format!("{}:{} {}+{}", s.place("data.train").line(), s.place("data.train").column(), s.data.train, s.model)
        });
        let models = models.iter().map(|s| format!("{}:{} {}", s.place.line(), s.place.column(), s.from));
        data.chain(models).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(sources("lr: 1"), @r"
    0:0 embedded:tweets+embedded:minilm-l3
    0:0 embedded:minilm-l3
    ");
    insta::assert_snapshot!(sources("data: {train: a.tsv}\ngrid:\n  lr: [1, 2]\n  model: [x, y]\n"), @r"
    1:15 a.tsv+x
    1:15 a.tsv+y
    4:11 x
    4:14 y
    ");
    insta::assert_snapshot!(
        sources("zip:\n  data.train: [a, b]\n  data.label: [l, m]\ninclude:\n  - {data.train: c}\nseeds: [1, 2]\n"),
        @r"
    2:16 a+embedded:minilm-l3
    2:19 b+embedded:minilm-l3
    5:18 c+embedded:minilm-l3
    0:0 embedded:minilm-l3
    "
    );
    insta::assert_snapshot!(
        sources("grid: {data.train: [a, b], model.from: [x, y]}\nexclude: [{data.train: b, model.from: y}]"),
        @r"
    1:21 a+x
    1:21 a+y
    1:24 b+x
    1:41 x
    1:44 y
    "
    );
}

#[test]
fn a_later_mistake_looks_like_an_earlier_one() {
    let spec = spec("data:\n  train: nowhere.tsv\n");
    let place = spec.sources().data[0].place("data.train");
    let problem = Problem::new(place, "there is no file `nowhere.tsv`").hint("looked in sweeps/ and here");
    insta::assert_snapshot!(spec.problems(vec![problem]), @r"
    a.yaml:2:10: there is no file `nowhere.tsv`
      2 |   train: nowhere.tsv
        |          ^^^^^^^^^^^ looked in sweeps/ and here
    ");
}

#[test]
fn sweeps_of_the_repository_parse() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sweeps");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let spec = parse(&path.to_string_lossy(), &stem, &text, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(spec.warnings().is_empty() && (2..=64).contains(&spec.size()), "{stem}");
        names.push(stem);
    }
    for name in ["lr-grid", "augmentation", "smoke"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn numbers_beyond_reason_are_refused_with_their_limit() {
    let refused =
        |text: &str| parse("a.yaml", "a", text, &[]).map_or_else(|problems| problems.to_string(), |_| "fits".into());
    for (key, most) in [
        ("steps", 1_000_000_000),
        ("warmup", 1_000_000_000),
        ("warmup_steps", 1_000_000_000),
        ("eval_every", 1_000_000_000),
        ("scheduler.step_up", 1_000_000_000),
        ("epochs", 1_000_000),
    ] {
        let at = |n: u64| {
            refused(&match key {
                "scheduler.step_up" => format!("scheduler: {{name: cyclical, min_lr: 0, step_up: {n}}}"),
                _ => format!("{key}: {n}"),
            })
        };
        assert_eq!(at(most), "fits", "{key}");
        assert!(at(most + 1).contains(&format!("expected at most {most}")), "{key}: {}", at(most + 1));
    }
    assert!(refused("steps: 18446744073709551615").contains("expected at most 1000000000"));
    let every = |digits| refused(&format!("run: {{checkpoint_every: {}h}}", "9".repeat(digits)));
    assert_eq!(every(4), "fits");
    assert!(every(308).contains("expected a time such as 60s"), "finite hours, but not seconds");
    assert!(refused("run: {checkpoint_every: 1e308h}").contains("expected a time such as 60s"));
}

/// What of a file with mistakes is looked into: data, then checkpoints.
#[test]
fn sources_of_a_file_with_mistakes() {
    let check = |text: &str, expected: (&[&str], &[&str])| {
        let draft = draft("a.yaml", "a", text, &[]);
        assert!(!draft.problems.is_empty(), "{text}");
        let Sources { data, models, .. } = draft.sources();
        let data: Vec<&str> = data.iter().map(|source| source.data.train.as_str()).collect();
        let models: Vec<&str> = models.iter().map(|source| source.from.as_str()).collect();
        assert_eq!((data.as_slice(), models.as_slice()), expected, "{text}");
    };
    check("data: x.csv\nmodel: m\nlr: much", (&["x.csv"], &["m"]));
    check("data: {train: x.csv, txt: review}\nmodel: m", (&[], &["m"]));
    check("train_file: x.csv\nmodel: m", (&[], &["m"]));
    check("data: x.csv\nmodel: {from: m, pool: cls}", (&[], &[]));
    check("data: x.csv\nmodel_name: m", (&[], &[]));
    check("data: x.csv\nmodel: m\ngrid: {lr: [], data.text: [a, {b: 1}]}", (&[], &["m"]));
    check(
        "data: x.csv\nmodel: m\ngrid: {lr: [a], warmup: []}\nseeds: [x]\nzip: {lr: [1], epochs: [1, 2]}",
        (&["x.csv"], &["m"]),
    );
    check("data: x.csv\nmodel: m\nzip: {data.train: [y.csv, z.csv], epochs: [1]}", (&["y.csv"], &["m"]));
    check("data: x.csv\nmodel: [", (&[], &[]));
    check("data: x.csv\ndata: y.csv", (&[], &[]));
    check("grid: {batch_size: [1, 2, 3]}\nrun: {max_trials: 2}", (&[], &[]));
}

#[test]
fn the_sweep_as_run_says_where_its_files_are_and_what_the_checkpoint_decided() {
    let files = ["x.csv", "y.csv", "m"].map(|name| (name.to_owned(), format!("/here/{name}")));
    let resolved = ResolvedSources { files: files.into(), pooling: Some(crate::trial::Pooling::Cls), dropout: None };
    let text = "data: {train: x.csv, eval: y.csv}\ngrid: {model: [m, {from: m, freeze: 1}]}\nexclude: [{data.train: x.csv, lr: 1}]";
    let yaml = spec(text).to_yaml(&resolved).unwrap();
    let again = spec(&yaml);
    assert_eq!(again.base.data.train, "/here/x.csv");
    assert_eq!(again.base.data.eval, crate::trial::EvalSource::File("/here/y.csv".into()));
    assert_eq!(again.base.model.pooling, Some(crate::trial::Pooling::Cls));
    assert!(!yaml.contains("dropout") && yaml.starts_with("# The sweep as run"), "{yaml}");
    assert_eq!(again.sources().models.iter().map(|m| m.from.as_str()).collect::<Vec<_>>(), ["/here/m"]);
    assert_eq!(yaml.matches("/here/m").count(), 2);
    assert_eq!(yaml.matches("/here/x.csv").count(), 2, "also where it is excluded");
}

#[test]
fn every_misnomer_names_a_key() {
    for (other, path) in names::MISNOMERS {
        let known = keys::paths().chain(sections::SECTIONS.iter().map(|section| section.name));
        let inside_run =
            path.strip_prefix("run.").is_some_and(|name| run_section::run_keys().any(|key| key.name == name));
        assert!(inside_run || known.into_iter().any(|known| known == *path), "{other}");
        assert!(keys::key(other).is_none() && names::alias(other).is_none(), "{other} is a key");
    }
}

#[test]
fn every_metric_has_a_name_that_is_read() {
    for metric in TaskName::ALL.iter().flat_map(|task| task.metrics()) {
        assert_eq!(base(&format!("metric: {}", metric.name())).metric, *metric);
    }
    assert_eq!(base("stop: {patience: {evals: 3}}").stop.patience.unwrap().metric, None);
}
