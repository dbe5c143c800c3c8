//! From a data file to a model in use: `init`, and `predict` with what a sweep leaves.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use insta::assert_snapshot;

use crate::place::{Ended, Place, small};

const SWEEP: &str = small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\n");

fn trained() -> Place {
    let place = Place::new(SWEEP);
    place.expect(0, "run sweep.yaml --progress none");
    place
}

/// The fields of a CSV table, without its header.
fn rows(table: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn the_model_of_a_sweep_labels_a_file() {
    let place = trained();
    place.write("new.csv", "text;score\n\"a; b\";1\nanother text;0\n");
    let predicted = place.expect(0, "predict sweep.yaml new.csv");
    let rows = rows(&predicted.out);
    let texts: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(texts, ["a; b", "another text"], "in the order of the file");
    for row in &rows {
        let probabilities: Vec<f64> = row[2..].iter().map(|field| field.parse().unwrap()).collect();
        assert_eq!(probabilities.len(), 3);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{probabilities:?}");
        let header: Vec<&str> = predicted.out.lines().next().unwrap().split(',').collect();
        let best = (0..3).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap();
        assert_eq!(row[1], header[2 + best], "the label is the most probable one");
    }
    assert!(predicted.err.contains("new.csv: a semicolon between fields, 2 rows"), "{}", predicted.err);
    // With the labels of the training data, the command measures.
    let measured = place.expect(0, "predict sweep train.tsv --threads 1").err;
    assert!(measured.contains("accuracy 0.") && measured.contains("precision  recall"), "{measured}");
    // A trial by its id, and JSON.
    let (id, _, _) = place.kept_states().remove(0);
    let by_id = place.expect(0, &format!("predict sweep:{id} new.csv --quiet"));
    assert_eq!((by_id.out, by_id.err.as_str()), (predicted.out, ""));
    let lines = place.expect(0, "predict sweep new.csv --format jsonl --quiet").out;
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["text"], first["label"].as_str()), (&"a; b".into(), Some(rows[0][1].as_str())));
    assert_eq!(first["probabilities"].as_object().unwrap().len(), 3);
}

#[test]
fn an_exported_model_predicts_as_its_sweep() {
    let place = trained();
    place.expect(0, "export sweep.yaml --format hf -o model");
    let [sweep, folder] =
        ["sweep", "model"].map(|model| place.expect(0, &format!("predict {model} train.tsv --quiet")).out);
    assert_eq!(sweep, folder);
}

#[test]
fn texts_arrive_on_standard_input() {
    let place = trained();
    let mut process =
        place.command("predict sweep -").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let process = process.as_mut().unwrap();
    process.stdin.take().unwrap().write_all(b"one text\n\nthe third text\n").unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(process.stdout.as_mut().unwrap(), &mut out).unwrap();
    assert!(process.wait().unwrap().success());
    let texts: Vec<String> = rows(&out).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(texts, ["one text", "", "the third text"]);
}

#[test]
fn texts_that_cannot_be_predicted_are_explained() {
    let place = trained();
    place.write("new.csv", "review,stars\nfine,1\n");
    let message = |arguments: &str| {
        let Ended { err, .. } = place.expect(2, &format!("predict {arguments} --quiet"));
        place.plain(&err)
    };
    assert_snapshot!(message("sweep new.csv"), @r"
        error: /here/new.csv:1: no column `text` (data.text); the columns are `review`, `stars`; did you mean data.text: review?
        `--set KEY=VALUE` gives such a setting, as in --set data.text=review
    ");
    assert_snapshot!(message("sweep - --set data.encoding=latin-1"), @"error: --set data.encoding: standard input has one text on each line, in UTF-8, and no columns. Give a file, or convert the input: iconv -f ENCODING -t UTF-8 FILE | plateau predict MODEL -");
    assert_snapshot!(message("sweep none.csv"), @"error: data file `none.csv` not found; looked for /here/none.csv");
    assert_snapshot!(message("sweep:0123456789ab new.csv"), @"error: 0123456789ab: sweep has no such trial. `plateau status sweep` lists them");
    assert_snapshot!(message("swep new.csv"), @"error: there is no sweep `swep` and no file sweeps/swep.yaml. Known sweeps: architectures, augmentation, lr-grid, search, smoke. Give the path of any other sweep file");
    let named = place.expect(0, "predict sweep new.csv --set data.text=review --quiet").out;
    assert_eq!(rows(&named)[0][0], "fine");
}

#[test]
fn a_first_sweep_knows_the_test_set_of_a_folder() {
    let place = Place::new(SWEEP);
    let table = |rows: std::ops::Range<usize>, label: &dyn Fn(usize) -> String| -> String {
        let rows = rows.map(|i| format!("a good evening number {i},{}\n", label(i)));
        std::iter::once("text,label\n".to_owned()).chain(rows).collect()
    };
    fs::create_dir(place.path("reviews")).unwrap();
    let known = |i: usize| ["good", "bad"][i % 2].to_owned();
    for (name, rows) in [("train", 0..60), ("validation", 60..80), ("test", 80..100)] {
        place.write(&format!("reviews/{name}.csv"), table(rows, &known));
    }
    place.expect(0, "init reviews");
    let text = place.read("reviews.yaml");
    assert!(text.contains("  eval: reviews ") && text.contains("  test: reviews "), "{text}");
    // The labels of the test sets of competitions are hidden.
    place.write("reviews/test.csv", table(80..100, &|_| "-1".into()));
    place.expect(0, "init reviews --force");
    let text = place.read("reviews.yaml");
    assert!(text.contains("  eval: reviews ") && !text.contains("test:"), "{text}");
    // Then the folder may have no other file for the evaluation.
    fs::remove_file(place.path("reviews/validation.csv")).unwrap();
    place.write("reviews/test.csv", "id,text\n1,a good evening\n2,a bad evening\n");
    let init = place.expect(0, "init reviews --force").err;
    assert!(init.contains("rows of the training data are held out"), "{init}");
    let text = place.read("reviews.yaml");
    assert!(!text.contains("eval: reviews") && !text.contains("test:"), "{text}");
    place.expect(0, "plan reviews.yaml");
}

#[test]
fn a_first_sweep_is_written_for_a_file() {
    let place = Place::new(SWEEP);
    let texts = (0..30).map(|i| {
        let (text, stars) = if i % 3 == 0 { ("schöner Abend", 5) } else { ("leider viel zu laut", 1) };
        format!("{i};{text}, Nummer {i};{stars}\n")
    });
    let table: String = std::iter::once("nr;Rezension;Sterne\n".to_owned()).chain(texts).collect();
    let latin1: Vec<u8> = table.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    place.write("reviews.csv", latin1);
    let written = place.expect(0, "init reviews.csv");
    assert_snapshot!(place.plain(&written.err), @r"
        reviews.csv: a semicolon between fields, windows-1252, 30 rows
        24 training rows, 6 evaluation rows, 2 classes
        classes: 1 66.7 % (66.7 % in eval), 5 33.3 % (33.3 % in eval)
        tokens of a training text: median 14, 95 % up to 14, longest 14; 0.0 % of the texts are truncated and lose 0.0 % of all tokens
        wrote reviews.yaml

        Next: plateau run reviews.yaml
    ");
    let text = place.read("reviews.yaml");
    for line in ["  text: Rezension ", "  label: Sterne "] {
        assert!(text.contains(line), "{text}");
    }
    let planned = place.expect(0, "plan reviews.yaml --format json").out;
    let planned: Vec<serde_json::Value> = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned.len(), 16, "four learning rates, two warm-ups, two seeds");
    assert_snapshot!(place.plain(&place.expect(2, "init reviews.csv").err), @"error: reviews.yaml exists already: choose another name with -o, or replace it with --force");
    assert_eq!(place.read("reviews.yaml"), text, "nothing is overwritten");
    place.expect(0, "init reviews.csv --force --set data.text=[nr,Rezension]");
    assert!(place.read("reviews.yaml").contains("  text: [nr,Rezension]\n"));
    assert_snapshot!(place.plain(&place.expect(2, "init reviews.csv -o b.yaml --set lr=1").err), @"error: --set lr: expected a key of `data`, such as data.text=review");
    assert!(!place.path("b.yaml").exists());
    // Of a very wide table, the columns must be named.
    let wide = |row: usize| (0..600).map(|column| format!("{column}_{row}")).collect::<Vec<_>>().join(",");
    let rows = (0..20).map(|row| format!("good,text {row},{}\nbad,words {row},{}\n", wide(row), wide(row)));
    place.write("wide.csv", format!("mark,review,{}\n{}", wide(100), rows.collect::<String>()));
    let error = place.expect(2, "init wide.csv").err;
    assert!(
        error.contains("602 columns") && error.contains("--set data.text=COLUMN --set data.label=COLUMN"),
        "{error}"
    );
    place.expect(0, "init wide.csv --set data.text=review --set data.label=mark");
    place.expect(0, "plan wide.yaml");
}
