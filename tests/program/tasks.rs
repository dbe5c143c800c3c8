//! Tasks other than classification, from the sweep file to predictions.

use std::fs;

use serde_json::Value;

use crate::place::{Place, fixture, small};

/// A folder whose `train.tsv` has the labels of another task.
fn place(task: &str, sweep: &str) -> Place {
    let place = Place::new(sweep);
    place.write("train.tsv", fs::read(fixture(&format!("../finetune-bert-{task}/train.tsv"))).unwrap());
    place
}

fn rows(table: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(table.as_bytes()).records().map(Result::unwrap).collect()
}

#[test]
fn a_number_is_predicted() {
    let place = place(
        "regression",
        small!("task: regression\nsteps: 20\neval_every: 10\nmetric: pearson\ngrid: {lr: [1e-3, 1e-4]}\n"),
    );
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.err.contains("labels: mean 1.94, standard deviation 2.052"), "{planned:?}");
    place.expect(0, "run sweep.yaml --progress none");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("Pearson correlation") && summary.contains("squared units of the label"), "{summary}");
    assert!(!place.path("results/sweep/report/confusion.png").exists());
    let outcome: Value = serde_json::from_str(
        &place.read(&format!("{}/outcome.json", place.trials().values().next().unwrap().display())),
    )
    .unwrap();
    assert!(outcome["eval_chance"].as_f64().unwrap() > 1.0 && outcome["best_accuracy"].is_null(), "{outcome}");
    place.expect(0, "export sweep.yaml --format hf -o model");
    let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
    assert_eq!((&config["problem_type"], config["id2label"].as_object().unwrap().len()), (&"regression".into(), 1));
    let predicted = place.expect(0, "predict sweep.yaml train.tsv");
    assert!(predicted.err.contains("Pearson correlation 0."), "{}", predicted.err);
    assert!(predicted.out.starts_with("text,label\n"), "{}", predicted.out);
    assert!(rows(&predicted.out).iter().all(|row| row[1].parse::<f64>().is_ok()));
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted.out);
}

#[test]
fn several_labels_are_predicted() {
    let place = place("multi-label", small!("task: multi_label\nsteps: 20\neval_every: 10\nlr: 1e-3\n"));
    place.expect(0, "run sweep.yaml --progress none");
    let predicted = place.expect(0, "predict sweep.yaml train.tsv");
    assert!(predicted.err.contains("micro-F1 "), "{}", predicted.err);
    assert!(predicted.out.starts_with("text,label,food,tech,travel\n"), "{}", predicted.out);
    for row in rows(&predicted.out) {
        let names = ["food", "tech", "travel"].into_iter().enumerate();
        let likely: Vec<&str> =
            names.filter(|(i, _)| row[2 + i].parse::<f64>().unwrap() > 0.5).map(|(_, name)| name).collect();
        assert_eq!(row[1], likely.join("|"));
    }
    place.expect(0, "export sweep.yaml --format hf -o model");
    let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted.out);
}

#[test]
fn words_are_tagged() {
    let place = place("tokens", small!("task: tokens\nsteps: 20\neval_every: 10\ngrid: {lr: [5e-3, 1e-3]}\n"));
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.err.contains("training words, 5 tags") && planned.err.contains("tags: O "), "{planned:?}");
    place.expect(0, "run sweep.yaml --progress none");
    let summary = place.read("results/sweep/report/summary.md");
    assert!(summary.contains("entity F1"), "{summary}");
    assert!(!place.path("results/sweep/report/confusion.png").exists());
    let predicted = place.expect(0, "predict sweep.yaml train.tsv");
    assert!(
        predicted.err.contains("token accuracy 0.") && predicted.err.contains("labelled words"),
        "{}",
        predicted.err
    );
    assert!(predicted.out.starts_with("text,label\n"), "{}", predicted.out);
    for row in rows(&predicted.out) {
        assert_eq!(row[0].split(' ').count(), row[1].split(' ').count(), "{row:?}");
    }
    place.expect(0, "export sweep.yaml --format hf -o model");
    let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
    assert_eq!(
        (&config["architectures"][0], &config["problem_type"]),
        (&"BertForTokenClassification".into(), &Value::Null)
    );
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted.out);
    place.write("new.txt", "In Oslo\n\n");
    let lines = place.expect(0, "predict model new.txt --format jsonl --quiet").out;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["text"].as_array().unwrap().len(), first["label"].as_array().unwrap().len()), (2, 2), "{lines}");
}

#[test]
fn words_without_a_tag_are_named() {
    let place = Place::new(small!("task: tokens\nsteps: 20\nlr: 1e-3\nmodel.pooling: mean\naugmentation: eda\n"));
    place.write("train.tsv", "text\tlabel\nin Oslo\tO B-LOC\nin New Haven\tO B-LOC\n\tO\n");
    let refused = place.expect(2, "plan sweep.yaml");
    assert!(refused.err.contains("train.tsv:3: the text has 3 words, but the label has 2 tags"), "{}", refused.err);
    assert!(refused.err.contains("train.tsv:4: the text has no words"), "{}", refused.err);
    place.write("train.tsv", "In O\nOslo B-LOC\n\nNo O\n\nIn O\nRome B-LOC\n");
    let refused = place.expect(2, "plan sweep.yaml --set data.format=conll");
    assert!(refused.err.contains("`model.pooling` does not apply to `task: tokens`"), "{}", refused.err);
    assert!(refused.err.contains("`augmentation` does not apply to `task: tokens`"), "{}", refused.err);
}

#[test]
fn masked_tokens_are_predicted_and_the_checkpoint_is_used() {
    let place = Place::new(small!("task: masked_lm\nsteps: 20\neval_every: 10\ngrid: {lr: [1e-3, 5e-3]}\n"));
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(!planned.err.contains("classes"), "{planned:?}");
    place.expect(0, "run sweep.yaml --progress none");
    let trial = place.trials().into_values().next().unwrap();
    let evals = place.read(&format!("{}/evals.csv", trial.display()));
    let perplexity = evals.lines().last().unwrap().rsplit(',').next().unwrap().parse::<f64>().unwrap();
    assert!(perplexity > 1.0, "{evals}");
    place.expect(0, "export sweep.yaml --format hf -o pretrained");
    let config: Value = serde_json::from_str(&place.read("pretrained/config.json")).unwrap();
    assert_eq!((&config["architectures"][0], &config["id2label"]), (&"BertForMaskedLM".into(), &Value::Null));
    let refused = place.expect(2, "predict sweep.yaml train.tsv");
    assert!(refused.err.contains("is a masked language model, which predicts no labels"), "{}", refused.err);
    place.write("next.yaml", small!("steps: 4\neval_every: 4\nlr: 1e-3\n").replace("checkpoint", "pretrained"));
    place.expect(0, "run next.yaml --progress none");
    let refused = place.expect(2, "plan sweep.yaml --set data.text_pair=label --set model.architecture=textcnn");
    assert!(refused.err.contains("`task: masked_lm` needs a head for masked tokens"), "{}", refused.err);
}

#[test]
fn the_right_choice_is_predicted() {
    let sweep = small!("task: multiple_choice\nsteps: 12\neval_every: 6\nlr: 1e-3\n");
    let choices = "max_length: 32, choices: [ending0, ending1, ending2]";
    let place = place("choices", &sweep.replace("max_length: 32", choices));
    place.expect(0, "run sweep.yaml --progress none");
    let predicted = place.expect(0, "predict sweep.yaml train.tsv");
    assert!(
        predicted.err.contains("accuracy 0.") && predicted.err.contains("of 60 labelled texts"),
        "{}",
        predicted.err
    );
    assert!(predicted.out.starts_with("text,label,ending0,ending1,ending2\n"), "{}", predicted.out);
    for row in rows(&predicted.out) {
        let likely =
            (2..5).max_by(|a, b| row[*a].parse::<f64>().unwrap().total_cmp(&row[*b].parse().unwrap())).unwrap();
        assert_eq!(row[1], format!("ending{}", likely - 2), "{row:?}");
    }
    place.expect(0, "export sweep.yaml --format hf -o model");
    let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
    assert_eq!((&config["architectures"][0], &config["id2label"]), (&"BertForMultipleChoice".into(), &Value::Null));
    let card = place.read("model/README.md");
    assert!(card.contains("import AutoModelForMultipleChoice") && !card.contains("pipeline"), "{card}");
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted.out);
}

#[test]
fn questions_that_do_not_fit_are_named() {
    let place = place("choices", small!("task: multiple_choice\nsteps: 12\nlr: 1e-3\naugmentation: mixup\n"));
    let message = |arguments: &str| place.plain(&place.expect(2, &format!("plan sweep.yaml {arguments}")).err);
    insta::assert_snapshot!(message(""), @"
    error: the sweep has a mistake

    sweep.yaml:1:15: task: multiple_choice needs the columns of at least two choices, such as data.choices: [ending0, ending1]
      1 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
    insta::assert_snapshot!(message("--set data.choices=[ending0,text]"), @"
    error: the sweep has a mistake

    sweep.yaml:1:15: /here/train.tsv:13: the label `2` names none of the 2 choices; expected a number from 0 to 1, or a column of data.choices (ending0, text)
      1 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
    insta::assert_snapshot!(message("--set data.choices=[ending0,ending1,ending2]"), @"
    error: the sweep has a mistake

    sweep.yaml:7:15: `mixup` does not apply to `task: multiple_choice`, whose loss compares the choices of one question
      7 | augmentation: mixup
        |               ^^^^^ leave it out
    ");
    place.write(
        "train.tsv",
        "label\ttext\tx\ty\n0\ta question\tone\ttwo\n2\ta question\tone\ttwo\n1\tthe last\tone\t \n",
    );
    insta::assert_snapshot!(message("--set data.choices=[x,y] --set augmentation=none"), @"
    error: the sweep has a mistake

    sweep.yaml:1:15: /here/train.tsv:4: the choice (column `y`) is empty; `data.bad_rows: skip` leaves such rows out
      1 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
}

#[test]
fn long_texts_are_read_in_windows() {
    let sweep = small!("steps: 12\neval_every: 6\nlr: 1e-3\n");
    let place = Place::new(&sweep.replace("max_length: 32", "max_length: 12, windows: {stride: 2, combine: max}"));
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.err.contains("; 0.0 % of the texts are truncated"), "{planned:?}");
    place.expect(0, "run sweep.yaml --progress none");
    let predicted = place.expect(0, "predict sweep.yaml train.tsv --quiet").out;
    place.expect(0, "export sweep.yaml --format hf -o model");
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted);
    // The last words of a long text count.
    place.write("long.tsv", format!("text\n{0} \n{0} I love it\n", "see you at the station ".repeat(8)));
    let rows = rows(&place.expect(0, "predict model long.tsv --quiet").out);
    assert_ne!(rows[0].iter().skip(2).collect::<Vec<_>>(), rows[1].iter().skip(2).collect::<Vec<_>>());
    let refused = place.expect(2, "plan sweep.yaml --set data.text_pair=label --set data.truncate=tail").err;
    assert!(refused.contains("`data.windows` does not apply to pairs of texts"), "{refused}");
    assert!(refused.contains("`data.windows` does not apply to `data.truncate`"), "{refused}");
}

#[test]
fn labels_of_another_task_are_refused_before_training() {
    let place = Place::new(small!("task: regression\nsteps: 20\nlabel_smoothing: 0.1\nmetric: accuracy\n"));
    let refused = place.expect(2, "run sweep.yaml");
    assert!(refused.err.contains("is not a number; `task: regression` expects numbers"), "{}", refused.err);
    assert!(!place.path("results").exists() || place.trials().is_empty());
}
