//! Data files as users have them: what `plan` and `run` say about them, and the faults that are found before training.

use crate::place::Place;

const ROWS: &str = "text;label\nun bon café;pos\nun thé froid;neg\nune belle journée;pos\nil pleut;neg\nun bon café;pos\nla pluie;neg\n";

fn place(data: &str, train: impl AsRef<[u8]>) -> Place {
    let sweep = format!(
        "data: {{train: mine.csv, max_length: 16{data}}}\nmodel: {{from: checkpoint}}\nsteps: 2\nbatch_size: 2\n"
    );
    let place = Place::new(&sweep);
    place.write("mine.csv", train);
    place
}

#[track_caller]
fn expect_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no line `{line}` in\n{text}");
    }
}

#[test]
fn plan_and_run_say_what_is_in_the_data() {
    let latin: Vec<u8> = ROWS.chars().map(|letter| u8::try_from(letter as u32).unwrap()).collect();
    let place = place(", eval: mine.csv", &latin);
    let leaked = "warning: 6 of 6 evaluation rows are also in the training data (100 %); the evaluation loss is too low for new texts";
    expect_lines(
        &place.expect(0, "plan sweep.yaml").err,
        &[
            "mine.csv: a semicolon between fields, windows-1252, 6 rows",
            "6 training rows, 6 evaluation rows, 2 classes",
            "classes: neg 50.0 % (50.0 % in eval), pos 50.0 % (50.0 % in eval)",
            "training rows that repeat an earlier text: 1",
            leaked,
        ],
    );
    let ran = place.expect(0, "run sweep.yaml").err;
    expect_lines(
        &ran,
        &[
            "data: 6 training rows, 6 evaluation rows, 2 classes; 1 training row repeats an earlier text",
            "classes: neg 50.0 % (50.0 % in eval), pos 50.0 % (50.0 % in eval)",
            leaked,
        ],
    );
    assert!(ran.contains("\ntokens of a training text: median "), "{ran}");
}

#[test]
fn bad_rows_stop_a_sweep_or_are_left_out() {
    let rows = format!("{ROWS}no label;\nno field\nnot a number;NaN\n");
    let message = place("", &rows).expect(2, "plan sweep.yaml").err;
    for part in [
        "mine.csv:8: the label (column `label`) is empty",
        "mine.csv:9: the header has 2 columns, but this row has 1 field; fields are missing",
        "mine.csv:10: the label (column `label`) is `NaN`, which means that it is missing",
        "`data.bad_rows: skip` leaves such rows out",
    ] {
        assert!(message.contains(part), "no `{part}` in\n{message}");
    }
    let skipped = place(", bad_rows: skip", &rows).expect(0, "plan sweep.yaml").err;
    expect_lines(
        &skipped,
        &["bad rows that are left out (data.bad_rows: skip): 3", "4 training rows, 2 evaluation rows, 2 classes"],
    );
}

/// The data that `init` has described is the one that is read from its sweep file, wherever that is.
#[test]
fn init_names_the_data_from_the_folder_of_its_sweep_file() {
    let place = place("", ROWS);
    place.write("proj/mine.csv", ROWS.replace("pos", "other").replace("neg", "different"));
    place.write("dev.csv", ROWS);
    place.expect(0, "init mine.csv --set data.eval=dev.csv -o proj/deep/first.yaml");
    let planned = place.expect(0, "plan proj/deep/first.yaml").err;
    expect_lines(&planned, &["classes: neg 50.0 % (50.0 % in eval), pos 50.0 % (50.0 % in eval)"]);
    place.expect(0, "init mine.csv -o proj/first.yaml");
    let planned = place.expect(0, "plan proj/first.yaml").err;
    assert!(planned.contains("classes: neg "), "{planned}");
}

#[test]
fn texts_with_several_labels_are_a_task_of_their_own() {
    let row = |i: usize| ["a", "b", "c"].map(|name| (name, i)).map(|(name, i)| (name, i % 2 == 0 || name == "a"));
    let labels = |i: usize| row(i).into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect::<Vec<_>>();
    let lines = |line: &dyn Fn(usize) -> String| (0..12).map(line).collect::<Vec<_>>().join("\n");
    let json = lines(&|i| format!("{{\"text\": \"text {i}\", \"tags\": {:?}}}", labels(i)));
    let csv = lines(&|i| format!("text {i},{}", labels(i).join("|")));
    let fasttext = lines(&|i| format!("__label__{} text {i}", labels(i).join(" __label__")));
    let files = [("a.jsonl", json), ("a.csv", format!("text,labels\n{csv}")), ("a.txt", fasttext)];
    for (name, content) in files {
        let place = place("", ROWS);
        place.write(name, content);
        let found = place.expect(0, &format!("init {name}")).err;
        assert!(!found.contains("left out"), "{name}: {found}");
        assert!(place.read("a.yaml").contains("task: multi_label"), "{name}: {}", place.read("a.yaml"));
        let planned = place.expect(0, "plan a.yaml").err;
        assert!(planned.contains("classes: a 100.0 %"), "{name}: {planned}");
    }
}

#[test]
fn bad_rows_and_labels_that_training_lacks_are_reported_together() {
    let place = place(", eval: other.csv", ROWS);
    place.write("other.csv", format!("{ROWS}une fleur;new\nno label;\nno field\n"));
    let message = place.expect(2, "plan sweep.yaml").err;
    for part in [
        "other.csv:8: the label `new` does not occur in the training data",
        "other.csv:9: the label (column `label`) is empty",
        "other.csv:10: the header has 2 columns, but this row has 1 field",
    ] {
        assert!(message.contains(part), "no `{part}` in\n{message}");
    }
    let json = |i: usize| format!("{{\"text\": \"{}\", \"label\": \n", "x".repeat(i));
    place.write(
        "mine.csv",
        format!("{{\"text\": \"a\", \"label\": \"b\"}}\n{}", (1..40).map(json).collect::<Vec<_>>().concat()),
    );
    let message = place.expect(2, "plan sweep.yaml --set data.format=jsonl --set data.eval=0.2").err;
    let part = "mine.csv:2: not a JSON object: EOF while parsing a value at character 22 (39 rows: lines 2, 3, 4,";
    assert!(message.contains(part), "no `{part}` in\n{message}");
}

#[test]
fn numbers_may_have_a_decimal_comma() {
    let rows: String = (0..12).map(|i| format!("un texte {i};{i},25\n")).collect::<Vec<_>>().concat();
    let place = place("", format!("text;label\n{rows}"));
    let planned = place.expect(0, "plan sweep.yaml --set task=regression").err;
    assert!(
        planned.contains("mine.csv: a semicolon between fields, labels with a decimal comma, 12 rows"),
        "{planned}"
    );
    place.expect(0, "init mine.csv -o first.yaml");
    assert!(place.read("first.yaml").contains("task: regression"));
    // A comma between fields leaves the meaning of a comma in a number open.
    place.write("mine.csv", format!("text,label\n{}", rows.replace(';', ",\"").replace('\n', "\"\n")));
    let message = place.expect(2, "plan sweep.yaml --set task=regression").err;
    assert!(message.contains("write numbers with a decimal point"), "{message}");
}

#[test]
fn an_archive_is_named() {
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let message = place("", tar).expect(2, "plan sweep.yaml").err;
    assert!(message.contains("a tar archive holds several files; unpack it"), "{message}");
}
