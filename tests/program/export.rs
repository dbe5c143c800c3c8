//! What leaves a sweep: comparisons with another, and its numbers for other programs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;
use plateau::train::classifier::{Classifier, ClassifierFiles};
use plateau::train::data::Example;

use crate::place::{Place, small};
use crate::skip::skip;

const SWEEP: &str = small!(
    "steps: 12
eval_every: 4
grid: {lr: [1e-3, 1e-4]}
seeds: [1, 2]
"
);

#[test]
fn two_sweeps_are_compared() {
    let place = Place::new(SWEEP);
    place.write("other.yaml", format!("{SWEEP}warmup: 0.5\n"));
    let alone = place.expect(2, "compare sweep.yaml").err;
    assert!(alone.contains("2 values required"), "{alone}");
    let nothing = place.expect(2, "compare sweep.yaml other.yaml").err;
    assert!(nothing.contains("sweep.yaml: nothing was run yet. Run it with `plateau run sweep.yaml`"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    place.expect(0, "run other.yaml --only lr=1e-3");
    let compared = place.expect(0, "compare sweep.yaml other.yaml");
    let lines: Vec<&str> = compared.out.lines().collect();
    assert_eq!(lines[0], "warmup: 0.1 | 0.5", "{compared:?}");
    let head: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(head, ["configuration", "sweep", "other", "difference"]);
    // In twelve steps this model learns nothing, and the mean leaves out trials that did not survive.
    let row: Vec<&str> = lines[3].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row, ["LR 1e-3", "2 of 2 stuck", "2 of 2 stuck", "–"], "{compared:?}");
    assert!(lines[4].contains("unfinished"), "{compared:?}");
    assert_eq!(lines[6], "other: no configuration was successful in both other and sweep", "{compared:?}");
    assert!(compared.err.ends_with("results/compare/sweep-vs-other.png\n"), "{compared:?}");
    assert!(fs::read(place.path("results/compare/sweep-vs-other.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(place.path("results/compare/sweep-vs-other.svg").is_file());
}

#[test]
fn exports_hold_every_measurement() {
    let place = Place::new(SWEEP);
    let nothing = place.expect(2, "export sweep.yaml --format csv").err;
    assert!(nothing.contains("nothing was run yet, so there is nothing to export"), "{nothing}");
    place.expect(0, "run sweep.yaml");
    let table = place.expect(0, "export sweep.yaml --format csv").out;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let head = "id,lr,seed,status,step,train_loss,learning_rate,grad_norm,eval_loss,accuracy,macro_f1";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), head);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4 * 13, "step 0 is evaluated, and the twelve others are measured");
    for (id, folder) in place.trials() {
        let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
        let last: Vec<&str> = metrics.lines().last().unwrap().split(',').collect();
        let row = rows.iter().find(|row| row[0] == *id && &row[4] == "12").unwrap();
        assert_eq!((&row[3], &row[5], &row[6], &row[7]), ("finished", last[2], last[3], last[4]));
    }
    place.expect(0, "export sweep.yaml --format csv -o out/table.csv");
    assert_eq!(place.read("out/table.csv"), table);
    let document = place.expect(0, "export sweep.yaml --format json").out;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["trials"].as_array().unwrap().len(), 4);
    assert_eq!(document["trials"][0]["metrics"].as_array().unwrap().len(), 12);
    let note = place.expect(0, "export sweep.yaml --format tensorboard").err;
    assert!(note.starts_with("see it with: tensorboard --logdir "), "{note}");
    assert!(note.ends_with("results/sweep/tensorboard\n"), "{note}");
    let folders: Vec<_> = fs::read_dir(place.path("results/sweep/tensorboard")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 4);
    assert!(folders.iter().all(|folder| folder.path().join("events.out.tfevents.0.plateau").is_file()));
    let before = place.events_files("results/sweep/tensorboard");
    place.expect(0, "export sweep.yaml --format tensorboard");
    assert_eq!(place.events_files("results/sweep/tensorboard"), before, "a second export adds nothing");
}

const MODEL_SWEEP: &str = small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\nrun: {keep: best}\n");

/// The scores that a Hugging Face library computes for texts, or pairs of texts, with the models in some folders. None without the
/// library.
pub fn scores_in_python(library: &str, folders: &[PathBuf], examples: &[Example]) -> Option<Vec<Vec<Vec<f32>>>> {
    const TRANSFORMERS: &str = "import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
columns, all = json.loads(sys.argv[1]), []
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert model.config.id2label[2] == 'positive', model.config
    # Together, so that the shorter texts are padded.
    with torch.no_grad():
        all.append(model(**tokenizer(*columns, return_tensors='pt', truncation=True, padding=True)).logits.tolist())
print(json.dumps(all))";
    const SENTENCE_TRANSFORMERS: &str = "import json, sys
from sentence_transformers import SentenceTransformer
models = [SentenceTransformer(folder, device='cpu') for folder in sys.argv[2:]]
print(json.dumps([model.encode(json.loads(sys.argv[1])[0]).tolist() for model in models]))";
    let script = if library == "transformers" { TRANSFORMERS } else { SENTENCE_TRANSFORMERS };
    let python = std::env::var("PLATEAU_PYTHON").unwrap_or_else(|_| "python3".into());
    let known = Command::new(&python).args(["-c", &format!("import {}", library.replace('-', "_"))]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        skip(library, &format!("no {library} in {python} (PLATEAU_PYTHON names another interpreter)"));
        return None;
    }
    let texts = examples.iter().map(|example| example.text.as_str()).collect();
    let pairs: Vec<&str> = examples.iter().filter_map(|example| example.pair.as_deref()).collect();
    let columns: Vec<Vec<&str>> = [texts, pairs].into_iter().filter(|column| !column.is_empty()).collect();
    let columns = serde_json::to_string(&columns).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(columns).args(folders).env("HF_HUB_OFFLINE", "1");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = stdout.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Some(serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

/// Logits of the same model in f32.
#[track_caller]
pub fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let worst = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5, "{worst:e}: {found:?} instead of {expected:?}");
}

/// Exports the best model of a sweep in which `extra` is set, and compares its scores with those of Hugging Face.
fn check_export(extra: &str, library: &str) {
    let texts = ["I love it", "what a terrible, terrible day :(", "see you at the station at 5", ""];
    let place = Place::new(&MODEL_SWEEP.replace("dropout: 0}", &format!("dropout: 0{extra}}}")));
    place.expect(0, "run sweep.yaml --progress none");
    let note = place.plain(&place.expect(0, "export sweep.yaml --format hf -o out").err);
    assert!(
        note.contains(if library == "transformers" {
            "AutoModelForSequenceClassification.from_pretrained"
        } else {
            "SentenceTransformer("
        }),
        "{note}"
    );
    let card = place.read("out/README.md");
    assert!(
        card.contains(&format!("library_name: {library}")) && !card.contains(place.path("").to_str().unwrap()),
        "{card}"
    );
    assert_eq!(card.contains("pipeline(\"text-classification\", model="), library == "transformers", "{card}");
    let files = ClassifierFiles::read(&place.path("out")).unwrap();
    assert_eq!(
        (&files.labels[..], files.data.max_length),
        (&["negative", "neutral", "positive"].map(String::from)[..], 32)
    );
    let example = |text: &&str| Example::unlabelled(*text);
    let examples: Vec<Example> = texts.iter().map(example).collect();
    let scores = Classifier::new(&files, 2).unwrap().outputs(&examples).unwrap();
    if let Some(expected) = scores_in_python(library, &[place.path("out")], &examples) {
        assert_close(&scores, &expected[0]);
    }
    // The folder holds the best state of the trial with the lowest loss, and not any other.
    let best = |folder: PathBuf| {
        let outcome = fs::read_to_string(folder.join("outcome.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&outcome).unwrap()["best_eval_loss"].as_f64().unwrap()
    };
    let trials = place.trials();
    let (winner, _) = trials.iter().min_by(|a, b| best(a.1.clone()).total_cmp(&best(b.1.clone()))).unwrap();
    assert!(note.contains(winner.as_str()), "{winner}: {note}");

    let other = trials.keys().find(|id| *id != winner).unwrap();
    place.expect(0, &format!("export sweep.yaml --format hf -o other --trial {other} --dtype bf16"));
    let other = ClassifierFiles::read(&place.path("other")).unwrap();
    assert_ne!(Classifier::new(&other, 1).unwrap().outputs(&examples).unwrap(), scores);
    place.expect(0, "export sweep.yaml --format hf -o both --top 2 --dtype f16");
    let half = place.path("both").join(format!("1-{winner}"));
    let half = Classifier::new(&ClassifierFiles::read(&half).unwrap(), 1).unwrap().outputs(&examples).unwrap();
    let worst = half.iter().flatten().zip(scores.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 0.05, "{worst}");
}

#[test]
fn transformers_computes_the_same_logits() {
    check_export("", "transformers");
}

/// Of a pair that is too long, the longer text loses tokens first.
#[test]
fn transformers_computes_the_same_logits_of_long_pairs() {
    let words = |word: &str, count: usize| vec![word; count].join(" ");
    let lengths = [
        (3, 40),
        (40, 3),
        (40, 40),
        (7, 6),
        (6, 7),
        (7, 7),
        (13, 1),
        (1, 13),
        (40, 7),
        (6, 40),
        (1, 1),
        (0, 40),
        (40, 0),
    ];
    let pair =
        |(first, second)| Example { pair: Some(words("bad", second)), ..Example::unlabelled(words("good", first)) };
    let examples: Vec<Example> = lengths.map(pair).into();
    let exported = [("right", ""), ("left", ", truncate: tail")].map(|(side, tail)| {
        let data = format!("pairs.csv, text_pair: other, max_length: 16{tail}");
        let place = Place::new(&MODEL_SWEEP.replace("train.tsv, max_length: 32", &data));
        let row =
            |i: usize| format!("text {i},{} {i},{}\n", words("other", i), ["negative", "neutral", "positive"][i % 3]);
        place.write("pairs.csv", format!("text,other,label\n{}", (0..60).map(row).collect::<String>()));
        place.expect(0, "run sweep.yaml --progress none --only lr=1e-3");
        place.expect(0, "export sweep.yaml --format hf -o out");
        let settings: serde_json::Value = serde_json::from_str(&place.read("out/tokenizer_config.json")).unwrap();
        assert_eq!(settings["truncation_side"].as_str().unwrap_or("right"), side);
        place
    });
    let folders = exported.each_ref().map(|place| place.path("out"));
    let expected = scores_in_python("transformers", &folders, &examples);
    for (folder, expected) in folders.iter().zip(expected.iter().flatten()) {
        let files = ClassifierFiles::read(folder).unwrap();
        assert_close(&Classifier::new(&files, 1).unwrap().outputs(&examples).unwrap(), expected);
    }
}

#[test]
fn sentence_transformers_computes_the_same_logits() {
    check_export(", pooling: mean", "sentence-transformers");
}

/// The side of a cut, and what no other library can do.
#[test]
fn a_long_text_is_cut_as_in_training_or_the_card_says_so() {
    let exported = |data: &str| {
        let place = Place::new(&MODEL_SWEEP.replace("max_length: 32", &format!("max_length: 8{data}")));
        place.expect(0, "run sweep.yaml --progress none --only lr=1e-3");
        let note = place.expect(0, "export sweep.yaml --format hf -o out").err;
        let settings: serde_json::Value = serde_json::from_str(&place.read("out/tokenizer_config.json")).unwrap();
        (place, note, settings["truncation_side"].as_str().map(str::to_owned))
    };
    let (place, note, side) = exported(", truncate: tail");
    assert_eq!(side.as_deref(), Some("left"));
    assert!(!note.contains("warning"), "{note}");
    let card = place.read("out/README.md");
    assert!(card.contains("classify(\"a text\", truncation=True)") && !card.contains("## Long texts"), "{card}");
    let text = "a terrible day, and then the whole long way home in the rain I was so happy";
    let example = [Example::unlabelled(text)];
    let files = ClassifierFiles::read(&place.path("out")).unwrap();
    let scores = Classifier::new(&files, 1).unwrap().outputs(&example).unwrap();
    if let Some(expected) = scores_in_python("transformers", &[place.path("out")], &example) {
        assert_close(&scores, &expected[0]);
    }
    for (data, how) in [(", truncate: head_tail", "data.truncate: head_tail"), (", windows: true", "data.windows")] {
        let (place, note, side) = exported(data);
        assert_eq!(side, None);
        assert!(note.contains("warning: of a text with more than 8 tokens") && note.contains(how), "{note}");
        let card = place.read("out/README.md");
        assert!(card.contains("## Long texts"), "{card}");
    }
}

/// The numbers of `keep: last` are those of the last step.
#[test]
fn a_model_has_the_scores_of_its_own_weights() {
    // The learning rate is too high, so that the last evaluation is not the best one.
    let place = Place::new(&MODEL_SWEEP.replace("[1e-3, 1e-4]", "[3e-1]").replace("keep: best", "keep: last"));
    place.expect(0, "run sweep.yaml --progress none");
    let (id, folder) = place.trials().into_iter().next().unwrap();
    let evals = fs::read_to_string(folder.join("evals.csv")).unwrap();
    let row: Vec<&str> = evals.lines().last().unwrap().split(',').collect();
    let loss = |row: &str| row.split(',').nth(1).unwrap().parse::<f64>().unwrap();
    assert!(evals.lines().skip(1).any(|row| loss(row) < loss(evals.lines().last().unwrap())), "{evals}");
    let score = format!("eval loss {:.4} at step 12", row[1].parse::<f64>().unwrap());
    place.expect(0, "export sweep.yaml --format hf -o out");
    let card = place.read("out/README.md");
    assert!(card.contains(&format!("| Evaluation of these weights | {score} |")), "{score}: {card}");
    let predicted = place.expect(0, "predict sweep train.tsv").err;
    assert!(predicted.contains(&format!("model: trial {id} of sweep (")) && predicted.contains(&score), "{predicted}");
}

#[test]
fn models_that_cannot_be_exported() {
    let place = Place::new(&MODEL_SWEEP.replace("keep: best", "keep: none"));
    place.expect(0, "run sweep.yaml --progress none");
    let message =
        |options: &str| place.plain(&place.expect(2, &format!("export sweep.yaml --format hf {options}")).err);
    assert_snapshot!(message(""), @"error: --format hf and --format peft write a folder: add -o DIR");
    assert_snapshot!(message("-o out"), @"error: sweep: no trial kept its weights. Set `run: {keep: winner}` in the sweep file, and train again with `plateau run sweep --fresh`");
    assert_snapshot!(message("-o out --trial 0123456789ab"), @"error: 0123456789ab: sweep has no such trial. `plateau status sweep` lists them");
    let id = place.trials().keys().next().unwrap().clone();
    assert_snapshot!(message(&format!("-o out --trial {id}")).replace(&id, "ID"), @"error: ID: the trial kept no weights. `run: {keep: best}` keeps those of every trial, and `{keep: {top: N}}` those of the N leading ones: set one in the sweep file, and train again with `plateau run sweep --fresh`");
    let kept = Place::new(MODEL_SWEEP);
    kept.expect(0, "run sweep.yaml --progress none");
    kept.write("out/mine.txt", "mine");
    assert_snapshot!(kept.plain(&kept.expect(2, "export sweep.yaml --format hf -o out").err), @"error: out is not empty: choose another folder with -o");
    assert_eq!(kept.read("out/mine.txt"), "mine");
}
