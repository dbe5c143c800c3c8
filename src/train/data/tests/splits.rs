//! Training, evaluation and test rows.

use super::*;
use crate::trial::{EvalSource, EvalTable};

/// 40 rows of two labels.
fn forty_rows() -> File {
    let rows: Vec<String> = (0..40).map(|i| format!("text {i},{}", if i % 4 == 0 { "x" } else { "y" })).collect();
    let rows = rows.join("\n") + "\n";
    file("train.csv", format!("text,label\n{rows}"))
}

#[test]
fn a_fraction_for_the_test_set_is_in_no_other_split() {
    let train = forty_rows();
    let config = DataConfig { test: Some(EvalSource::Fraction(0.25)), ..config(&train.path) };
    let cache = MemoryCache::default();
    let dataset = load(&config, MODEL, &cache).unwrap();
    let test = test_rows(&config, MODEL, &cache).unwrap().unwrap();
    assert_eq!((dataset.train.examples.len(), dataset.eval.examples.len(), test.examples.len()), (24, 5, 11));
    let in_x = test.examples.iter().filter(|example| test.labels[example.target.stratum() as usize] == "x").count();
    assert_eq!(in_x, 3, "a quarter of the ten rows of this label");
    let all = [&dataset.train.examples, &dataset.eval.examples, &test.examples].into_iter().flatten();
    let texts: std::collections::BTreeSet<&str> = all.map(|example| example.text.as_str()).collect();
    assert_eq!(texts.len(), 40, "every row is in exactly one split");
    let facts = data_facts(&config, MODEL, &cache).unwrap();
    assert_eq!(facts.test_hash, Some(test.hash.clone()));
    assert_eq!((facts.report.test.unwrap().class_rows, facts.report.leaked_test_rows), (vec![3, 8], 0));
    let other = test_rows(&DataConfig { seed: 7, ..config.clone() }, MODEL, &cache).unwrap().unwrap();
    assert_ne!(other.hash, test.hash, "data.seed draws the rows");
    assert_eq!(test_rows(&DataConfig { test: None, ..config }, MODEL, &cache).unwrap(), None);
}

#[test]
fn each_row_is_evaluated_in_one_fold() {
    let train = forty_rows();
    let of_fold = |fold, test| {
        let config = DataConfig { folds: Some(4), fold: Some(fold), test, ..config(&train.path) };
        load(&config, MODEL, &MemoryCache::default()).unwrap()
    };
    let folds: Vec<Dataset> = (1..=4).map(|fold| of_fold(fold, None)).collect();
    let texts = |dataset: &Dataset| dataset.eval.examples.iter().map(|row| row.text.clone()).collect::<Vec<_>>();
    let evaluated: std::collections::BTreeSet<String> = folds.iter().flat_map(texts).collect();
    assert_eq!(evaluated.len(), 40);
    assert!(folds.iter().all(|fold| (fold.train.examples.len(), fold.eval.examples.len()) == (30, 10)));
    // The test rows are in no fold.
    let tested = of_fold(1, Some(EvalSource::Fraction(0.5)));
    assert_eq!((tested.train.examples.len(), tested.eval.examples.len()), (15, 5));
    let few = file("few.csv", "text,label\na,x\nb,y\n");
    let config = DataConfig { folds: Some(3), fold: Some(1), ..config(&few.path) };
    let error = load(&config, MODEL, &MemoryCache::default()).unwrap_err().to_string();
    assert!(error.ends_with("few.csv: 2 training rows cannot be divided into 3 folds"), "{error}");
}

#[test]
fn training_does_not_read_a_test_file() {
    let train = forty_rows();
    let test = file("test.csv", "sentence,target\ntext 1,y\nnew,x\n");
    let table = |label: &str| EvalTable {
        file: test.path.clone(),
        text: Some("sentence".into()),
        text_pair: None,
        choices: None,
        label: Some(label.into()),
    };
    let with = |test| DataConfig { test, ..config(&train.path) };
    let cache = MemoryCache::default();
    let without = load_hashed(&with(None), MODEL, &cache).unwrap();
    let missing = EvalSource::File("/not/there.csv".into());
    assert_eq!(load_hashed(&with(Some(missing)), MODEL, &cache).unwrap(), without);
    let config = with(Some(EvalSource::Table(table("target"))));
    let rows = test_rows(&config, MODEL, &cache).unwrap().unwrap();
    let found: Vec<(&str, u32)> = rows.examples.iter().map(|row| (row.text.as_str(), row.target.stratum())).collect();
    assert_eq!(found, [("text 1", 1), ("new", 0)]);
    let facts = data_facts(&config, MODEL, &cache).unwrap();
    assert_eq!(facts.hash, without.1.data, "the id of a trial does not depend on it");
    let leaked = facts.report.leaked_test_rows;
    let warnings = facts.report.warnings.join("\n");
    assert!(
        leaked <= 1 && warnings.contains(" of 2 test rows are also "),
        "one text is in train or in eval: {warnings}"
    );
    let wrong = data_facts(&with(Some(EvalSource::Table(table("stars")))), MODEL, &cache).unwrap_err();
    assert!(matches!(&wrong, TrainError::Keys(faults) if faults[0].key == "data.test"), "{wrong:?}");
}

#[test]
fn tweets_split_by_label_in_file_order() {
    let dataset = load(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(dataset.labels, ["negative", "neutral", "positive"]);
    assert_eq!(dataset.train.examples.len() + dataset.eval.examples.len(), 4140);
    let counts = |split: &Split| {
        (0..3).map(|c| split.examples.iter().filter(|e| e.target.stratum() == c).count()).collect::<Vec<_>>()
    };
    let (train, eval) = (counts(&dataset.train), counts(&dataset.eval));
    for class in 0..3 {
        assert_eq!(eval[class], ((train[class] + eval[class]) as f64 * 0.2).round() as usize);
        assert!((dataset.class_prior[class] - train[class] as f64 / dataset.train.examples.len() as f64).abs() < 1e-12);
    }
    let file = include_str!("../../../../assets/data/tweets.tsv");
    let mut lines = file.lines();
    let in_order = dataset.train.examples.iter().all(|e| lines.any(|line| line.ends_with(&format!("\t{}", e.text))));
    assert!(in_order, "training rows keep the order of the file");
    assert_eq!(dataset.train.examples.len(), dataset.train.tokens.len());
    let other = load(&DataConfig { seed: 43, ..config("embedded:tweets") }, MODEL, &MemoryCache::default()).unwrap();
    assert_ne!(other.eval.examples, dataset.eval.examples);
}

#[test]
fn limits_draw_rows_of_all_labels_after_the_split() {
    let whole = load(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    let with = |limit, eval_limit, seed| {
        let config = DataConfig { limit, eval_limit, seed, ..config("embedded:tweets") };
        load(&config, MODEL, &MemoryCache::default())
    };
    let limited = with(Some(200), Some(50), 42).unwrap();
    assert_eq!((limited.train.examples.len(), limited.eval.examples.len()), (200, 50));
    for (share, all) in limited.class_prior.iter().zip(&whole.class_prior) {
        assert!((share - all).abs() <= 0.005, "{:?}", limited.class_prior);
    }
    let mut rows = whole.train.examples.iter();
    assert!(
        limited.train.examples.iter().all(|example| rows.any(|other| other == example)),
        "rows keep the order of the file"
    );
    assert_ne!(limited.train.examples, whole.train.examples[..200]);
    assert_ne!(with(Some(200), Some(50), 43).unwrap().train.examples, limited.train.examples);
    assert_eq!(with(Some(9000), None, 42).unwrap(), whole);
    assert_eq!(
        with(Some(1), None, 42).unwrap_err().to_string(),
        "embedded:tweets: all 1 training rows have the same label; raise data.limit"
    );
}

#[test]
fn batches_cover_an_epoch_once() {
    for (rows, size) in [(10, 4), (8, 4), (1, 32), (1000, 32), (3, 0)] {
        for shuffle in [true, false] {
            let plan = batches(7, 3, rows, size, shuffle);
            assert_eq!(plan.len() as u64, crate::trial::steps_per_epoch(rows, size));
            assert!(plan[..plan.len() - 1].iter().all(|batch| batch.len() == size.max(1)));
            let mut all = plan.concat();
            assert_eq!(all.is_sorted(), !shuffle || rows < 4);
            all.sort_unstable();
            assert_eq!(all, (0..rows as u32).collect::<Vec<_>>());
        }
    }
    assert_eq!(batches(7, 3, 100, 8, true), batches(7, 3, 100, 8, true));
    assert_ne!(batches(7, 3, 100, 8, true), batches(7, 4, 100, 8, true));
    assert_ne!(batches(7, 3, 100, 8, true), batches(8, 3, 100, 8, true));
}
