//! Tasks other than classification, from the sweep file to predictions.

use std::fs;

use serde_json::Value;

use crate::place::{Ended, Place, fixture, small};

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

/// Every encoder that has vectors for tokens has heads for words and for masked tokens, with the names of transformers.
#[test]
fn heads_on_tokens_fit_deberta_and_longformer() {
    let heads = [
        ("deberta-v3", "tokens", "DebertaV2ForTokenClassification", "classifier.weight"),
        ("deberta-v3", "masked_lm", "DebertaV2ForMaskedLM", "cls.predictions.transform.dense.weight"),
        ("longformer", "tokens", "LongformerForTokenClassification", "classifier.weight"),
        ("longformer", "masked_lm", "LongformerForMaskedLM", "lm_head.dense.weight"),
    ];
    for (encoder, task, class, weight) in heads {
        let place = place("tokens", &format!("task: {task}\n{}", small!("steps: 4\neval_every: 4\nlr: 1e-3\n")));
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            let file = fs::read(fixture(&format!("../finetune-{encoder}/checkpoint/{name}"))).unwrap();
            place.write(&format!("checkpoint/{name}"), file);
        }
        place.expect(0, "run sweep.yaml --progress none");
        place.expect(0, "export sweep.yaml --format hf -o model");
        let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
        assert_eq!(config["architectures"][0], class);
        let weights = fs::read(place.path("model/model.safetensors")).unwrap();
        let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
        assert!(header.get(weight).is_some(), "{encoder} {task}: {header}");
    }
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
    assert!(predicted.out.starts_with("text,label,choice,ending0,ending1,ending2\n"), "{}", predicted.out);
    let file = place.read("train.tsv");
    for (row, line) in rows(&predicted.out).iter().zip(file.lines().skip(1)) {
        let probability = |choice: usize| row[3 + choice].parse::<f64>().unwrap();
        let likely = (0..3).max_by(|a, b| probability(*a).total_cmp(&probability(*b))).unwrap();
        assert_eq!((&row[1], &row[2]), (likely.to_string().as_str(), line.split('\t').nth(2 + likely).unwrap()));
    }
    let line = place.expect(0, "predict sweep.yaml train.tsv --quiet --format jsonl").out;
    let first: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let chosen = first["label"].as_u64().unwrap() as usize;
    assert_eq!(first["choice"], file.lines().nth(1).unwrap().split('\t').nth(2 + chosen).unwrap());
    place.expect(0, "export sweep.yaml --format hf -o model");
    let config: Value = serde_json::from_str(&place.read("model/config.json")).unwrap();
    assert_eq!((&config["architectures"][0], &config["id2label"]), (&"BertForMultipleChoice".into(), &Value::Null));
    let card = place.read("model/README.md");
    assert!(card.contains("import AutoModelForMultipleChoice") && !card.contains("pipeline"), "{card}");
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted.out);
    // Other columns of as many choices, and nothing else.
    place.write(
        "new.csv",
        file.replace("ending", "choice").replace("label", "right").replace(',', " ").replace('\t', ","),
    );
    let renamed = "predict model new.csv --set data.choices=[choice0,choice1,choice2] --set data.label=right";
    let renamed = place.expect(0, renamed);
    assert!(renamed.err.contains("of 60 labelled texts"), "{}", renamed.err);
    let refused = place.expect(2, "predict model train.tsv --set data.choices=[ending0,ending1]");
    assert!(refused.err.contains("choose among 3 choices, and data.choices names 2"), "{}", refused.err);
    let refused = place.expect(2, "predict model -");
    assert!(refused.err.contains("takes questions with choices, and standard input has"), "{}", refused.err);
    assert_eq!(refused.out, "");
}

#[test]
fn predictions_keep_the_settings_of_the_model() {
    let place = Place::new(small!("steps: 2\nlr: 1e-3\n"));
    place.expect(0, "run sweep.yaml --progress none");
    for key in ["data.task=regression", "data.max_length=8", "data.truncate=tail", "data.windows=true", "lr=1"] {
        let refused = place.expect(2, &format!("predict sweep.yaml train.tsv --set {key}"));
        assert!(refused.err.contains("only the columns and the layout of the file may differ"), "{}", refused.err);
        assert_eq!(refused.out, "");
    }
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
    let columns = |choices: &str| message(&format!("--set data.choices={choices}"));
    assert!(columns("[ending0,text]").contains("the column `text` is a choice and data.text; leave it out"));
    assert!(columns("[ending0,label]").contains("the column `label` is a choice and data.label; leave it out"));
    assert!(columns("[ending0,ending1,ending0]").contains("the column `ending0` stands twice among the choices"));
    assert!(columns("endings").contains("if the column is a list, name its items: [endings.0, endings.1]"));
    insta::assert_snapshot!(columns("[ending0,ending1]"), @"
    error: the sweep has a mistake

    sweep.yaml:1:15: /here/train.tsv:13: the label `2` names none of the 2 choices; the first choice is 0, not 1: subtract 1 from every label (15 rows: lines 13, 18, 19, 21, 33, 36, 38, 40, 41, 45, 52, 53, 55, 56, 58); `data.bad_rows: skip` leaves such rows out
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

    sweep.yaml:1:15: /here/train.tsv:3: the label `2` names none of the 2 choices; the first choice is 0, not 1: subtract 1 from every label; /here/train.tsv:4: the choice (column `y`) is empty; `data.bad_rows: skip` leaves such rows out
      1 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
}

#[test]
fn labels_that_cannot_be_read_are_bad_rows() {
    let place = Place::new(small!("task: multiple_choice\nsteps: 2\neval_every: 2\nlr: 1e-3\n"));
    let rows = |labels: &[&str]| -> String {
        let row = |(i, label): (usize, &&str)| format!("{label}\ttext {i}\tone\ttwo\n");
        format!("label\ttext\tx\ty\n{}", labels.iter().enumerate().map(row).collect::<String>())
    };
    let plan = "plan sweep.yaml --set data.choices=[x,y] --set data.max_length=32";
    place.write("train.tsv", rows(&["0.0", "1.0", "A", "0.0", "B", "", "1.0", "x", "7"]));
    let refused = place.expect(2, plan).err;
    for part in [
        "train.tsv:4: the label `A` names none of the 2 choices; write 0 for the first letter",
        "(2 rows: lines 4, 6 `B`)",
        "train.tsv:7: the label (column `label`) is empty",
        "train.tsv:10: the label `7` names none of the 2 choices; expected a number from 0 to 1",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let skipped = place.expect(0, &format!("{plan} --set data.bad_rows=skip")).err;
    assert!(skipped.contains("bad rows that are left out (data.bad_rows: skip): 4"), "{skipped}");
    assert!(skipped.contains("2 choices") && skipped.contains("choices: "), "{skipped}");
    // Columns of the evaluation file may have other names.
    place.write("train.tsv", rows(&["0", "1", "0", "1"]));
    place.write("eval.tsv", rows(&["left", "right", "1"]).replace("x\ty", "left\tright"));
    let command = |eval: &str| {
        let mut command = place.command(plan);
        Ended::new(command.args(["--set", eval]).output().unwrap())
    };
    let planned = command("data.eval={file: eval.tsv, choices: [left, right]}");
    assert!(planned.code == 0 && planned.err.contains("4 training rows, 3 evaluation rows, 2 choices"), "{planned:?}");
    let refused = command("data.eval={file: eval.tsv, choices: [left, right, label]}");
    assert!(refused.code == 2 && refused.err.contains("the column `label` is a choice and data.label"), "{refused:?}");
    // Numbers with a comma, where no comma separates the fields.
    place.write("train.tsv", "label\ttext\n1,5\ta\n2\tb\nthree\tc\n0,5\td\n");
    let refused = place.expect(2, "plan sweep.yaml --set task=regression").err;
    assert!(!refused.contains("train.tsv:2"), "{refused}");
    assert!(refused.contains("train.tsv:4: the label `three` is not a number"), "{refused}");
}

#[test]
fn a_file_of_questions_gets_a_sweep_of_its_own() {
    let place = place("choices", "");
    place.expect(0, "init train.tsv -o first.yaml");
    let written = place.read("first.yaml");
    assert!(written.contains("\ntask: multiple_choice"), "{written}");
    assert!(
        written.contains("  choices: [ending0, ending1, ending2]\n  label: label              # 3 choices"),
        "{written}"
    );
    place.expect(0, "plan first.yaml");
    let row = |i: usize| {
        format!("{{\"ctx\": \"text {i}\", \"endings\": [\"one {i}\", \"two\"], \"label\": \"{}\"}}\n", i % 2)
    };
    place.write("list.jsonl", (0..8).map(row).collect::<String>());
    place.expect(0, "init list.jsonl");
    let written = place.read("list.yaml");
    assert!(written.contains("  text: ctx\n  choices: [endings.0, endings.1]\n"), "{written}");
}

#[test]
fn long_texts_are_read_in_windows() {
    let sweep = small!("steps: 12\neval_every: 6\nlr: 1e-3\n");
    let place = Place::new(&sweep.replace("max_length: 32", "max_length: 12, windows: {stride: 2, combine: max}"));
    let planned = place.expect(0, "plan sweep.yaml");
    assert!(planned.err.contains("; 0.0 % of the texts are truncated"), "{planned:?}");
    assert!(planned.err.contains(" on average; epochs and batch_size count texts"), "{planned:?}");
    place.expect(0, "run sweep.yaml --progress none");
    let predicted = place.expect(0, "predict sweep.yaml train.tsv --quiet").out;
    place.expect(0, "export sweep.yaml --format hf -o model");
    let card = place.read("model/README.md");
    assert!(
        card.contains("windows of 12 tokens that share 2") && card.contains("stride=2") && card.contains(".max("),
        "{card}"
    );
    assert_eq!(place.expect(0, "predict model train.tsv --quiet").out, predicted);
    // The last words of a long text count.
    place.write("long.tsv", format!("text\n{0} \n{0} I love it\n", "see you at the station ".repeat(8)));
    let rows = rows(&place.expect(0, "predict model long.tsv --quiet").out);
    assert_ne!(rows[0].iter().skip(2).collect::<Vec<_>>(), rows[1].iter().skip(2).collect::<Vec<_>>());
    let refused = place.expect(2, "plan sweep.yaml --set data.text_pair=label --set data.truncate=tail").err;
    assert!(refused.contains("`data.windows` does not apply to pairs of texts"), "{refused}");
    assert!(refused.contains("`data.windows` does not apply to `data.truncate`"), "{refused}");
    place.write("axis.yaml", small!("steps: 12\nlr: 1e-3\ngrid: {data.windows: [none, true]}\n").replace("32", "12"));
    let planned = place.expect(0, "plan axis.yaml").err;
    assert!(planned.contains("with data.windows: none:\n"), "{planned}");
    assert!(planned.contains("with data.windows: {\"combine\":\"mean\",\"stride\":null}:\n"), "{planned}");
}

#[test]
fn labels_of_another_task_are_refused_before_training() {
    let place = Place::new(small!("task: regression\nsteps: 20\nlabel_smoothing: 0.1\nmetric: accuracy\n"));
    let refused = place.expect(2, "run sweep.yaml");
    assert!(refused.err.contains("is not a number; `task: regression` expects numbers"), "{}", refused.err);
    assert!(!place.path("results").exists() || place.trials().is_empty());
}
