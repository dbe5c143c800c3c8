//! Rows, their labels and columns.

use super::*;
use crate::train::tasks::Target;
use crate::trial::{BadRows, ColumnNames, EvalSource, EvalTable, TaskName};

#[test]
fn bad_rows_are_reported_together_or_skipped() {
    let mut content = "text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n".to_owned();
    content += "no label\n";
    content += &"x,\n".repeat(25);
    content += "y,NaN\n";
    let message = loaded("a.csv", &content, |_| ()).unwrap_err();
    assert_eq!(
        message,
        "FILE:6: the header has 2 columns, but this row has 1 field; fields are missing; FILE:7: the label (column `label`) is \
         empty (25 rows: lines 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, ... (5 more)); \
         FILE:32: the label (column `label`) is `NaN`, which means that it is missing; `data.bad_rows: skip` leaves such rows \
         out"
    );
    let skipped = |config: &mut DataConfig| config.bad_rows = BadRows::Skip;
    assert_eq!(loaded("a.csv", &content, skipped).unwrap(), ROWS);
}

#[test]
fn every_example_knows_its_line() {
    let csv = "text,label\n\"good\nday\",pos\nbad day,neg\nso glad,pos\n\nso sad,neg\n";
    let files = [file("a.csv", csv), file("b.csv", csv.replace("day", "evening"))];
    let both = format!("{{{},{}}}", files[0].path, files[1].path);
    let dataset = load(&config(&both), MODEL, &MemoryCache::default()).unwrap();
    let mut found = 0;
    for split in [&dataset.train, &dataset.eval] {
        for (index, example) in split.examples.iter().enumerate() {
            let (path, line) = split.origins.get(index).unwrap();
            let content = std::fs::read_to_string(path).unwrap();
            let text = content.lines().nth(line as usize - 1).unwrap();
            let start = example.text.lines().next().unwrap();
            assert!(text.trim_start_matches('"').starts_with(start), "{path}:{line} is `{text}`, not `{start}`");
            found += 1;
        }
    }
    assert_eq!(found, 8);
    assert_eq!(dataset.train.origins.get(8), None);
}

#[test]
fn text_may_be_several_columns_and_whole_floats_are_integers() {
    let content = "title,body,label\ngood,day,1.0\nbad,day,0.0\nso,glad,1.0\nso,sad,0.0\n";
    let joined = |config: &mut DataConfig| config.text = ColumnNames(vec!["title".into(), "body".into()]);
    assert_eq!(loaded("a.csv", content, joined).unwrap(), ["0 bad day", "0 so sad", "1 good day", "1 so glad"]);
    let versions = content.replace("1.0", "1.5");
    assert_eq!(
        loaded("a.csv", versions, joined).unwrap(),
        ["0.0 bad day", "0.0 so sad", "1.5 good day", "1.5 so glad"]
    );
}

#[test]
fn a_label_may_have_a_column_of_its_own() {
    let content = "text,toxic,kind\ngood day,0,1\nbad day,1,0\nso glad,0,1.0\nso so,0,\nso sad,True,1\n";
    let labels = |names: [&'static str; 2]| {
        move |config: &mut DataConfig| {
            config.task = TaskName::MultiLabel;
            config.label = ColumnNames(names.map(str::to_owned).to_vec());
        }
    };
    let dataset = |content: &str| {
        let file = file("a.csv", content);
        let mut config = config(&file.path);
        labels(["toxic", "kind"])(&mut config);
        load(&config, MODEL, &MemoryCache::default()).map(|dataset| (file, dataset))
    };
    let (_file, read) = dataset(content).unwrap();
    assert_eq!(read.labels, ["kind", "toxic"]);
    let found = |text: &str| {
        let examples = [&read.train, &read.eval].into_iter().flat_map(|split| &split.examples);
        examples.filter(|example| example.text == text).map(|example| example.target.clone()).next().unwrap()
    };
    assert_eq!(found("so sad"), Target::Labels(vec![0, 1]));
    assert_eq!((found("good day"), found("so so")), (Target::Labels(vec![0]), Target::Labels(vec![])));
    let message = |content: &str, names| loaded("a.csv", content, labels(names)).unwrap_err();
    assert_eq!(
        message(&content.replace("so glad,0", "so glad,maybe"), ["toxic", "kind"]),
        "FILE:4: the column `toxic` of a label holds `maybe`, which is neither 1 nor 0; `data.bad_rows: skip` leaves such rows out"
    );
    assert!(message(content, ["toxic", "toxic"]).contains("the column `toxic` stands twice among the labels"));
    assert!(message(content, ["toxic", "mean"]).contains("no column `mean` (data.label)"));
    let one_task = loaded("a.csv", content, |config| config.label = ColumnNames(vec!["toxic".into(), "kind".into()]));
    assert!(one_task.unwrap_err().contains("belong to `task: multi_label`"));
}

#[test]
fn rare_labels_are_held_out_in_their_share() {
    // Ten of 200 texts have the rare label, always beside a frequent one.
    let rows = (0..200).map(|i| format!("text {i},{}\n", if i % 20 == 0 { "common|rare" } else { "common" }));
    let content: String = std::iter::once("text,label\n".to_owned()).chain(rows).collect();
    let file = file("a.csv", &content);
    for seed in 0..5 {
        let config = DataConfig {
            task: TaskName::MultiLabel,
            eval: EvalSource::Fraction(0.2),
            limit: Some(80),
            seed,
            ..config(&file.path)
        };
        let Dataset { train, eval, .. } = load(&config, MODEL, &MemoryCache::default()).unwrap();
        let rare = |split: &Split| split.examples.iter().filter(|example| example.target.has(1)).count();
        assert_eq!((train.examples.len(), eval.examples.len()), (80, 40));
        assert_eq!((rare(&train), rare(&eval)), (4, 2), "seed {seed}");
    }
}

#[test]
fn an_eval_file_may_have_columns_of_its_own() {
    let train = file("train.csv", "text,label\na,x\nb,y\n");
    let eval = file("eval.csv", "sentence,target\nc,x\nd,y\n");
    let with = |eval: EvalSource| load(&DataConfig { eval, ..config(&train.path) }, MODEL, &MemoryCache::default());
    let message = with(EvalSource::File(eval.path.clone())).unwrap_err().to_string();
    assert!(
        message.ends_with("; if this file has other columns, write data.eval: {file: eval.csv, text: ..., label: ...}"),
        "{message}"
    );
    let table = EvalTable {
        file: eval.path.clone(),
        text: Some("sentence".into()),
        text_pair: None,
        choices: None,
        label: Some("target".into()),
    };
    assert_eq!(contents(&with(EvalSource::Table(table)).unwrap()), ["x a", "x c", "y b", "y d"]);
}

#[test]
fn labels_of_the_eval_file_must_be_known() {
    let train = file("train.tsv", "label\ttext\na\tx\nb\ty\n");
    let eval = |content: &str| {
        let eval = file("eval.tsv", content);
        let config = DataConfig { eval: EvalSource::File(eval.path.clone()), ..config(&train.path) };
        load(&config, MODEL, &MemoryCache::default()).map_err(|error| error.to_string().replace(&eval.path, "EVAL"))
    };
    let dataset = eval("label\ttext\nb\tz\n").unwrap();
    assert_eq!(
        (dataset.train.examples.len(), dataset.eval.examples.len(), dataset.eval.examples[0].target.stratum()),
        (2, 1, 1)
    );
    assert_eq!(
        eval("label\ttext\nb\tz\nc\tz\n").unwrap_err(),
        "EVAL:3: the label `c` does not occur in the training data, which has `a`, `b`; remove such rows from this file, or add some to the \
         training data; `data.bad_rows: skip` leaves such rows out"
    );
}

#[test]
fn unknown_labels_are_reported_together_or_skipped() {
    let train = file("train.csv", "text,label\na,x\nb,y\n");
    let eval = file("eval.csv", "text,label\nc,x\nd,z\ne,w\nf,y\ng,z\n");
    let read = |eval: &File, bad_rows: BadRows, cache: &MemoryCache| {
        let config = DataConfig { eval: EvalSource::File(eval.path.clone()), bad_rows, ..config(&train.path) };
        load(&config, MODEL, cache).map_err(|error| error.to_string().replace(&eval.path, "EVAL"))
    };
    let cache = MemoryCache::default();
    let message = read(&eval, BadRows::Error, &cache).unwrap_err();
    assert!(
        message.starts_with("EVAL:3: the label `z` does not occur in the training data, which has `x`, `y`; "),
        "{message}"
    );
    assert!(message.contains("(3 rows: lines 3, 4 `w`, 6)"), "{message}");
    let found = |train: &str, cache: &MemoryCache| {
        let train = file("train.csv", train);
        let config =
            DataConfig { eval: EvalSource::File(eval.path.clone()), bad_rows: BadRows::Skip, ..config(&train.path) };
        let dataset = load(&config, MODEL, cache).unwrap();
        (dataset.eval.examples.iter().map(|example| example.text.clone()).collect::<Vec<_>>(), dataset.eval.tokens)
    };
    let (texts, _) = found("text,label\na,x\nb,y\n", &cache);
    assert_eq!(texts, ["c", "f"]);
    // As many rows are left with other labels, and their tokens are their own.
    let (texts, tokens) = found("text,label\na,z\nb,v\n", &cache);
    assert_eq!((texts, tokens), found("text,label\na,z\nb,v\n", &MemoryCache::default()));
    let none = file("none.csv", "text,label\nc,w\n");
    let message = read(&none, BadRows::Skip, &cache).unwrap_err();
    assert!(message.starts_with("all rows are bad: ") && message.contains("the label `w` does not occur"), "{message}");
}

#[test]
fn booleans_have_one_spelling_in_all_files() {
    let files = [
        file("a.csv", "text,label\na,True\nb,False\n"),
        file("b.jsonl", "{\"text\":\"c\",\"label\":true}\n{\"text\":\"d\",\"label\":false}\n"),
    ];
    let both = format!("{{{},{}}}", files[0].path, files[1].path);
    let dataset = load(&config(&both), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(
        (&dataset.labels, contents(&dataset)),
        (
            &["false", "true"].map(String::from).to_vec(),
            ["false b", "false d", "true a", "true c"].map(String::from).to_vec()
        )
    );
    for [train, eval] in [[0, 1], [1, 0]] {
        let config = DataConfig { eval: EvalSource::File(files[eval].path.clone()), ..config(&files[train].path) };
        let dataset = load(&config, MODEL, &MemoryCache::default()).unwrap();
        assert_eq!(dataset.labels, [["False", "True"], ["false", "true"]][train], "as the training data write them");
        assert_eq!(dataset.eval.examples[0].target, Target::Class(1));
    }
}

#[test]
fn json_numbers_and_booleans_become_label_text() {
    let rows = [10, 9, 9, 10, 2, 2].map(|n| format!("{{\"text\":{n},\"label\":{n}}}\n"));
    assert_eq!(load_file(&file("a.jsonl", rows.concat())).unwrap().labels, ["2", "9", "10"], "whole numbers by value");
    let rows = [true, false, true, false].map(|b| format!("{{\"text\":\"x\",\"label\":{b}}}\n"));
    assert_eq!(load_file(&file("a.jsonl", rows.concat())).unwrap().labels, ["false", "true"]);
}
