//! Loads whole data sections: from the files of users to splits, tokens and messages.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::train::testing::plain;
use crate::train::{Cache, TrainError};
use crate::trial::{Augmentation, BadRows, ColumnNames, DataConfig, DataFormat, EvalSource, EvalTable};

const MODEL: &str = "embedded:minilm-l3";

/// A cache in memory that counts its hits.
#[derive(Default)]
struct MemoryCache {
    entries: Mutex<HashMap<String, Vec<u8>>>,
    hits: Mutex<usize>,
}

impl Cache for MemoryCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.entries.lock().unwrap().get(key).cloned();
        *self.hits.lock().unwrap() += usize::from(found.is_some());
        found
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "a key is hex: {key}");
        self.entries.lock().unwrap().insert(key.to_owned(), bytes.to_vec());
    }
}

fn config(train: &str) -> DataConfig {
    DataConfig { train: train.to_owned(), max_length: 16, ..DataConfig::default() }
}

/// A folder with one file in it.
struct File {
    _folder: tempfile::TempDir,
    path: String,
}

fn file(name: &str, content: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join(name);
    std::fs::File::create(&path).unwrap().write_all(content.as_ref()).unwrap();
    File { path: path.to_str().unwrap().to_owned(), _folder: folder }
}

fn load_file(file: &File) -> Result<Dataset, TrainError> {
    load(&config(&file.path), MODEL, &MemoryCache::default())
}

/// All examples, of both splits, as `label text` in some order.
fn contents(dataset: &Dataset) -> Vec<String> {
    let of = |example: &Example| format!("{} {}", dataset.labels[example.target.stratum() as usize], example.text);
    let mut all: Vec<String> = dataset.train.examples.iter().chain(&dataset.eval.examples).map(of).collect();
    all.sort();
    all
}

/// The message of a load that fails, with FILE for the path.
fn message(name: &str, content: impl AsRef<[u8]>) -> String {
    let file = file(name, content);
    load_file(&file).unwrap_err().to_string().replace(&file.path, "FILE")
}

#[test]
fn every_format_gives_the_same_rows() {
    let expected = ["neg bad, \"day\"", "neg so sad", "pos good day", "pos so glad"];
    let tsv = "label\ttext\npos\tgood day\nneg\tbad, \"day\"\npos\tso glad\nneg\tso sad\n";
    let csv = "id,label,text\n1,pos,good day\n2,neg,\"bad, \"\"day\"\"\"\n3,pos,so glad\n4,neg,so sad";
    let jsonl = "{\"text\":\"good day\",\"label\":\"pos\"}\n\n{\"label\":\"neg\",\"text\":\"bad, \\\"day\\\"\",\"n\":1}\n\
                 {\"text\":\"so glad\",\"label\":\"pos\"}\r\n{\"text\":\"so sad\",\"label\":\"neg\"}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(tsv.as_bytes()).unwrap();
    let files = [
        file("a.tsv", tsv),
        file("a.TSV", tsv),
        file("a.tsv", format!("\u{feff}{}", tsv.replace('\n', "\r\n"))),
        file("a.tsv", tsv.replace("pos\t", " pos \t").replace("so sad\n", "so sad\n\n\n")),
        file("a.csv", csv),
        file("a.jsonl", jsonl),
        file("a.tsv.gz", gzip.finish().unwrap()),
        file("a.jsonl.zst", zstd::encode_all(jsonl.as_bytes(), 1).unwrap()),
    ];
    for file in &files {
        assert_eq!(contents(&load_file(file).unwrap()), expected, "{}", file.path);
    }
}

#[test]
fn messages_about_faulty_files() {
    let check = |name: &str, content: &str, expected: &str| assert_eq!(message(name, content), expected);
    check(
        "a.arrow",
        "x",
        "FILE: unknown file format; known formats are .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .txt, fastText and .conll, each \
         also with .gz, .zst or .zip",
    );
    check(
        "a.txt",
        "good day@pos\nbad day@neg\n",
        "FILE: the lines have no comma, tab, semicolon or pipe between fields; set data.delimiter to the character that \
         separates text and label",
    );
    check(
        "a.csv",
        "1,a lovely evening out\n0,too loud and too dear\n",
        "FILE:1: the first row looks like data, not like column names: `1`, `a lovely evening out`; set data.header: false \
         and name the columns by number, such as data.text: 2, data.label: 1",
    );
    check("a.tsv", "", "FILE: the file is empty; expected one row for each text");
    check("a.csv", " \n\n", "FILE: the file is empty; expected one row for each text");
    check("a.tsv", "label\ttext\n", "FILE: the file has a header but no rows");
    check("a.csv", "label,text", "FILE: the file has a header but no rows");
    check("a.jsonl", "[1]", "FILE:1: not a JSON object: invalid type: sequence, expected a map at line 1 column 0");
    check(
        "a.tsv",
        "label\ttext\na\tx\na\ty\n",
        "FILE: every row has the label `a`; a classifier needs at least two labels",
    );
    check(
        "a.tsv",
        "label\ttext\na\tx\nb\ty\n",
        "FILE: no label has two rows, so no rows can be held out for evaluation; is `label` the column of the labels?",
    );
    check(
        "a.tsv",
        "label\ttext\na\tx\n\ty\n",
        "FILE:3: the label (column `label`) is empty; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.tsv",
        "label\ttext\na\tx\ty\n",
        "FILE:2: the header has 2 columns, but this row has 3 fields; a text cannot contain a tab without quotes; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.csv",
        "label,text\na,b\na,x,y\n",
        "FILE:3: the header has 2 columns, but this row has 3 fields; quote a text that contains a comma; `data.bad_rows: skip` leaves such rows out",
    );
    check("a.csv", "label,text\na,\"x\nb,y\na,z\n", "FILE:2: this row opens a quote that never closes");
    check(
        "a.tsv",
        "\n\nlabel\ttext\n\n\na\tx\ty\n",
        "FILE:6: the header has 2 columns, but this row has 3 fields; a text cannot contain a tab without quotes; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.csv",
        "label,text\na,\"x\ny\"\n\r\n\nb\n",
        "FILE:6: the header has 2 columns, but this row has 1 fields; fields are missing; `data.bad_rows: skip` leaves such rows out",
    );
    check("a.csv", "text,label\n\"x,a\nb,y\n", "FILE:2: this row opens a quote that never closes");
    check(
        "a.tsv",
        "label\ttext\ttext\na\tx\ty\n",
        "FILE:1: several columns have the name `text` (data.text); rename all but one of them",
    );
    check(
        "a.tsv",
        "label\tsentence\na\tx\n",
        "FILE:1: no column `text` (data.text); the columns are `label`, `sentence`; did you mean data.text: sentence?",
    );
    check(
        "a.csv",
        "labels,text\na,x\n",
        "FILE:1: no column `label` (data.label); the columns are `labels`, `text`; did you mean data.label: labels?",
    );
    check(
        "a.jsonl",
        "{\"text\":\"x\",\"label\":1}\n{\"tweet\":\"x\",\"label\":1}",
        "FILE:2: there is no field `text`; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.jsonl",
        "{\"text\":\"x\",\"label\":null}",
        "FILE:1: the label (column `label`) is empty; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.jsonl",
        "{\"text\":\"x\",\"label\":[1,2]}",
        "FILE:1: `label` is a list of 2 values; expected a single value; `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.tsv.gz",
        "this is no gzip at all",
        "FILE: cannot be unpacked: invalid gzip header. The file is damaged or incomplete; copy it again",
    );
}

/// Small files that expand to exhaust the memory.
#[test]
fn files_that_expand_too_much_are_refused() {
    let zeros = vec![b' '; 40 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    for (name, bomb) in
        [("a.tsv.gz", gzip.finish().unwrap()), ("a.tsv.zst", zstd::encode_all(zeros.as_slice(), 1).unwrap())]
    {
        let message = message(name, &bomb);
        assert!(
            message.starts_with(&format!("FILE: {} compressed bytes expand to more than ", bomb.len())),
            "{message}"
        );
        assert!(message.ends_with("give the path of the unpacked file"), "{message}");
    }
}

/// Loads `content` with a changed configuration, and returns all examples as `label text`, or the message.
fn loaded(name: &str, content: impl AsRef<[u8]>, change: impl FnOnce(&mut DataConfig)) -> Result<Vec<String>, String> {
    let file = file(name, content);
    let mut config = config(&file.path);
    change(&mut config);
    let dataset = load(&config, MODEL, &MemoryCache::default());
    dataset.map(|dataset| contents(&dataset)).map_err(|error| error.to_string().replace(&file.path, "FILE"))
}

const ROWS: [&str; 4] = ["neg bad day", "neg so sad", "pos good day", "pos so glad"];

#[test]
fn delimiters_and_headers_are_detected() {
    for delimiter in [",", ";", "|", "\t"] {
        let content = "text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n".replace(',', delimiter);
        for name in ["a.csv", "a.tsv", "a.txt", "a"] {
            assert_eq!(loaded(name, &content, |_| ()).unwrap(), ROWS, "{name} {delimiter}");
        }
    }
    let without_header = "pos,good day\nneg,bad day\npos,so glad\nneg,so sad\n";
    let by_number = |config: &mut DataConfig| (config.text, config.label) = ("2".into(), "1".into());
    assert_eq!(loaded("a.csv", without_header, by_number).unwrap(), ROWS);
    let own = without_header.replace(',', "@");
    assert_eq!(
        loaded("a.txt", &own, |config| {
            by_number(config);
            config.delimiter = Some("@".into());
        })
        .unwrap(),
        ROWS
    );
    assert_eq!(
        loaded("a.csv", without_header, |config| config.header = Some(false)).unwrap_err(),
        "FILE:1: without a header, columns are numbers from 1, but data.text is `text`; write data.text: 2, data.label: 1; \
         FILE:1: without a header, columns are numbers from 1, but data.label is `label`; write data.text: 2, data.label: 1"
    );
    assert_eq!(
        loaded("a.csv", "# exported 2024\nText , LABEL\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n", |_| ())
            .unwrap(),
        ROWS
    );
}

#[test]
fn quotes_and_stray_fields_are_tolerated() {
    let trailing = "text,label\ngood day,pos,\nbad day,neg,\nso glad,pos,\nso sad,neg,\n";
    assert_eq!(loaded("a.csv", trailing, |_| ()).unwrap(), ROWS);
    let escaped = "text,label\n\"a \\\"b\\\", c\",pos\n\"d \\\"e\\\", f\",neg\n\"a\",pos\n\"d\",neg\n";
    assert_eq!(loaded("a.csv", escaped, |_| ()).unwrap(), ["neg d", "neg d \"e\", f", "pos a", "pos a \"b\", c"]);
    let newline = "text\tlabel\n\"a\nb\"\tpos\n\"c\nd\"\tneg\nx\tpos\ny\tneg\n";
    assert_eq!(loaded("a.tsv", newline, |_| ()).unwrap(), ["neg c\nd", "neg y", "pos a\nb", "pos x"]);
    let quoted = "text\tlabel\n\"a\"\tpos\n\"c\"\tneg\n\"x\"\tpos\n\"y\"\tneg\n";
    assert_eq!(loaded("a.tsv", quoted, |_| ()).unwrap()[0], "neg \"c\"", "quotes are ordinary characters");
    assert_eq!(loaded("a.tsv", quoted, |config| config.format = Some(DataFormat::Csv)).unwrap()[0], "neg c");
}

#[test]
fn encodings_are_detected_or_set() {
    let latin = b"text,label\nle caf\xe9,pos\nun th\xe9,neg\nle caf\xe9 noir,pos\nla fa\xe7ade,neg\n";
    let expected = ["neg la façade", "neg un thé", "pos le café", "pos le café noir"];
    assert_eq!(loaded("a.csv", latin, |_| ()).unwrap(), expected);
    assert_eq!(loaded("a.csv", latin, |config| config.encoding = Some("latin-1".into())).unwrap(), expected);
    assert!(
        loaded("a.csv", latin, |config| config.encoding = Some("utf-8".into()))
            .unwrap_err()
            .starts_with("FILE:2: byte 0xe9")
    );
    assert!(
        loaded("a.csv", latin, |config| config.encoding = Some("klingon".into()))
            .unwrap_err()
            .ends_with("If the file has this encoding, convert it: iconv -f klingon -t UTF-8 FILE > NEW_FILE")
    );
}

#[test]
fn json_has_many_forms() {
    let rows = |row: fn(&str, &str) -> String| {
        [("good day", "pos"), ("bad day", "neg"), ("so glad", "pos"), ("so sad", "neg")]
            .map(|(text, label)| row(text, label))
    };
    let plain = rows(|text, label| format!(r#"{{"text": "{text}", "label": "{label}"}}"#));
    let array = format!("[\n{}\n]", plain.join(",\n"));
    let columns = r#"{"text": {"0": "good day", "1": "bad day", "2": "so glad", "3": "so sad"}, "label": {"0": "pos", "1": "neg", "2": "pos", "3": "neg"}}"#;
    for (name, content) in [
        ("a.json", plain.join("\n")),
        ("a.ndjson", plain.join("\n")),
        ("a.json", array.clone()),
        ("a.jsonl", array.replace('\n', "")),
        ("a.json", format!("{{\"version\": 1, \"data\": {array}}}")),
        ("a.json", columns.to_owned()),
        ("a.txt", plain.join("\n")),
    ] {
        assert_eq!(loaded(name, &content, |_| ()).unwrap(), ROWS, "{content}");
    }
    let pairs = rows(|text, label| format!(r#"["{text}", "{label}"]"#));
    let numbers = |config: &mut DataConfig| (config.text, config.label) = ("1".into(), "2".into());
    let one_array = format!("[{}]", pairs.join(","));
    for content in [
        pairs.join("\n"),
        one_array.clone(),
        format!("[\n{}\n]", pairs.join(",\n")),
        format!("{{\"val\": [[\"x\", \"pos\"]], \"train\" : {one_array}, \"test\": [[\"y\", \"neg\"]]}}"),
    ] {
        assert_eq!(loaded("a.json", &content, numbers).unwrap(), ROWS, "{content}");
    }
    let nested = rows(|text, label| format!(r#"{{"data": {{"body": "{text}"}}, "label": ["{label}"]}}"#)).join("\n");
    assert_eq!(loaded("a.jsonl", &nested, |config| config.text = "data.body".into()).unwrap(), ROWS);
    let broken = array.replace("\"label\": \"neg\"}\n", "\"label\": null}\n");
    assert_eq!(
        loaded("a.json", &broken, |_| ()).unwrap_err(),
        "FILE:5: the label (column `label`) is empty; `data.bad_rows: skip` leaves such rows out"
    );
}

#[test]
fn fasttext_and_parquet() {
    let lines = "__label__pos good day\n__label__neg bad day\n__label__pos so glad\n__label__neg so sad\n";
    assert_eq!(loaded("a.txt", lines, |_| ()).unwrap(), ROWS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-00000-of-00001.parquet");
    write_parquet(&path, &["good day", "bad day", "so glad", "so sad"]);
    let expected = ["neg bad day", "neg so sad", "pos good day", "pos so glad"];
    for train in [&path, folder.path()] {
        let dataset = load(&config(train.to_str().unwrap()), MODEL, &MemoryCache::default()).unwrap();
        assert_eq!(contents(&dataset), expected);
    }
}

/// Rows that share a value take next to nothing on the disk.
#[test]
fn a_parquet_file_that_stands_for_far_more_than_its_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.parquet");
    let text = "word ".repeat(20_000);
    write_parquet(&path, &vec![text.as_str(); 2_000]);
    let size = path.metadata().unwrap().len();
    let message = load(&config(path.to_str().unwrap()), MODEL, &MemoryCache::default()).unwrap_err().to_string();
    assert!(size < 400_000 && message.contains("stand for more than"), "{size} bytes: {message}");
}

/// A file with a text column, and a label column whose class names are in the metadata of Hugging Face.
fn write_parquet(path: &std::path::Path, texts: &[&str]) {
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use ::parquet::file::metadata::KeyValue;
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    let schema = "message schema { REQUIRED BYTE_ARRAY text (UTF8); REQUIRED INT64 label; }";
    let schema = ::parquet::schema::parser::parse_message_type(schema).unwrap();
    let names = r#"{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}"#;
    let metadata = KeyValue::new("huggingface".to_owned(), names.to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![metadata])).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let labels: Vec<i64> = (1..=texts.len() as i64).map(|row| row % 2).collect();
    let texts: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn folders_and_patterns_are_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let write = |name: &str, content: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
    };
    write("parts/1.csv", "text,label\ngood day,pos\nbad day,neg\n");
    write("parts/2.csv", "label;text\npos;so glad\nneg;so sad\n");
    write("classes/pos/1.txt", "good day\n");
    write("classes/pos/2.txt", "so glad");
    write("classes/neg/1.txt", "bad day");
    write("classes/neg/2.txt", "so sad");
    write("splits/train.csv", "text,label\ngood day,pos\nbad day,neg\n");
    write("splits/validation.csv", "text,label\nso glad,pos\nso sad,neg\n");
    let roots = [root.clone()];
    for source in ["parts/*.csv", "{parts/1.csv,parts/2.csv}", "parts/{1,2}.csv", "parts", "classes"] {
        let located = locate_data(source, &roots).unwrap();
        let dataset = load(&config(&located), MODEL, &MemoryCache::default()).unwrap();
        assert_eq!(contents(&dataset), ROWS, "{source}");
    }
    let located = locate_data("splits", &roots).unwrap();
    let both = DataConfig { eval: EvalSource::File(located.clone()), ..config(&located) };
    let dataset = load(&both, MODEL, &MemoryCache::default()).unwrap();
    assert_eq!((contents(&dataset).len(), dataset.train.examples.len(), dataset.eval.examples.len()), (4, 2, 2));
    let message = locate_data("parts/*.tsv", &roots).unwrap_err().to_string();
    assert!(message.starts_with("no file matches `parts/*.tsv`; looked for "), "{message}");
    write("parts/2.csv", "label;text\npos;so glad\n;so sad\n");
    let message =
        load(&config(&locate_data("parts", &roots).unwrap()), MODEL, &MemoryCache::default()).unwrap_err().to_string();
    assert!(message.contains("parts/2.csv:3: the label"), "{message}");
}

#[test]
fn zip_archives_have_one_data_file() {
    let rows = b"text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n";
    let packed = |names: &[&str]| super::zip::tests::archive(names, rows, true);
    assert_eq!(loaded("a.csv.zip", packed(&["__MACOSX/._a.csv", "a.csv"]), |_| ()).unwrap(), ROWS);
    assert_eq!(loaded("a.zip", packed(&["inside/a.csv"]), |_| ()).unwrap(), ROWS);
    for data in ["data/a.csv", "reviews"] {
        let names = ["README.md", "LICENSE", "__MACOSX/._a", "data/", data, "docs/paper.pdf"];
        assert_eq!(loaded("a.zip", packed(&names), |_| ()).unwrap(), ROWS, "{data}");
    }
    assert_eq!(loaded("a.zip", packed(&["names.txt", "a.csv"]), |_| ()).unwrap(), ROWS);
    assert_eq!(
        loaded("a.zip", packed(&["a.csv", "b.csv"]), |_| ()).unwrap_err(),
        "FILE: the archive has 2 data files: `a.csv`, `b.csv`; expected one. Unpack it and give the path of one of them, or \
         of their folder"
    );
    assert!(loaded("a.xlsx", packed(&["xl/workbook.xml"]), |_| ()).unwrap_err().contains("this is an Excel workbook"));
}

#[test]
fn bad_rows_are_reported_together_or_skipped() {
    let mut content = "text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n".to_owned();
    content += "no label\n";
    content += &"x,\n".repeat(25);
    content += "y,NaN\n";
    let message = loaded("a.csv", &content, |_| ()).unwrap_err();
    assert_eq!(
        message,
        "FILE:6: the header has 2 columns, but this row has 1 fields; fields are missing; FILE:7: the label (column `label`) is \
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
        label: Some("target".into()),
    };
    assert_eq!(contents(&with(EvalSource::Table(table)).unwrap()), ["x a", "x c", "y b", "y d"]);
}

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
        "EVAL:3: the label `c` does not occur in the training data, which has `a`, `b`; remove such rows from this file, or add some to the training data"
    );
}

#[test]
fn json_numbers_and_booleans_become_label_text() {
    let rows = [10, 9, 9, 10, 2, 2].map(|n| format!("{{\"text\":{n},\"label\":{n}}}\n"));
    assert_eq!(load_file(&file("a.jsonl", rows.concat())).unwrap().labels, ["2", "9", "10"], "whole numbers by value");
    let rows = [true, false, true, false].map(|b| format!("{{\"text\":\"x\",\"label\":{b}}}\n"));
    assert_eq!(load_file(&file("a.jsonl", rows.concat())).unwrap().labels, ["false", "true"]);
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
    let file = include_str!("../../../assets/data/tweets.tsv");
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
fn tokens_are_made_once_for_all_splits() {
    let memory = MemoryCache::default();
    let first = load(&config("embedded:tweets"), MODEL, &memory).unwrap();
    assert_eq!((memory.entries.lock().unwrap().len(), *memory.hits.lock().unwrap()), (1, 0));
    assert_eq!(load(&config("embedded:tweets"), MODEL, &memory).unwrap(), first);
    load(&DataConfig { seed: 1, limit: Some(2000), ..config("embedded:tweets") }, MODEL, &memory).unwrap();
    assert_eq!((memory.entries.lock().unwrap().len(), *memory.hits.lock().unwrap()), (1, 2));
    load(&DataConfig { max_length: 20, ..config("embedded:tweets") }, MODEL, &memory).unwrap();
    assert_eq!(memory.entries.lock().unwrap().len(), 2, "another length has other tokens");
    // A damaged entry is a miss.
    for entry in memory.entries.lock().unwrap().values_mut() {
        entry[100] ^= 1;
    }
    assert_eq!(load(&config("embedded:tweets"), MODEL, &memory).unwrap(), first);
}

#[test]
fn a_damaged_cache_entry_is_a_miss() {
    let tokens = Tokens::whole(vec![2, 70_000, 3, 2, 3], vec![0, 0, 1, 0, 0], vec![0, 3, 5]);
    let bytes = tokens.to_bytes();
    assert_eq!(Tokens::from_bytes(&bytes), Some(tokens));
    for cut in 0..bytes.len() {
        assert_eq!(Tokens::from_bytes(&bytes[..cut]), None);
        let mut flipped = bytes.clone();
        flipped[cut] ^= 0x10;
        assert_eq!(Tokens::from_bytes(&flipped), None);
    }
    assert_eq!(Tokens::from_bytes(&[bytes.as_slice(), b"x"].concat()), None);
}

#[test]
fn facts_of_the_data() {
    let facts = data_facts(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(facts.report.files, ["embedded:tweets: tsv, 4140 rows"]);
    assert_eq!(facts.report.train.class_rows.iter().sum::<usize>(), 3312);
    assert!(facts.report.train.longest_tokens > 16 && facts.report.train.truncated_share > 0.3, "{:?}", facts.report);
    assert_eq!((facts.train_rows, facts.eval_rows), (3312, 828));
    assert!(facts.mean_tokens > 8.0 && facts.mean_tokens <= 16.0, "{}", facts.mean_tokens);
    let other = DataConfig { eval: EvalSource::File("embedded:tweets".into()), ..config("embedded:tweets") };
    let other = data_facts(&other, MODEL, &MemoryCache::default()).unwrap();
    assert_ne!(other.hash, facts.hash, "the eval file is part of the content");
    let moved = file("elsewhere.tsv", include_bytes!("../../../assets/data/tweets.tsv"));
    assert_eq!(data_facts(&config(&moved.path), MODEL, &MemoryCache::default()).unwrap().hash, facts.hash);
}

#[test]
fn the_end_of_a_very_long_text_is_not_read() {
    let huge = "word ".repeat(4_000_000);
    let file = file("a.tsv", format!("label\ttext\na\t{huge}\nb\tx\na\ty\nb\tz\n"));
    let dataset = load_file(&file).unwrap();
    let all = dataset.train.examples.iter().chain(&dataset.eval.examples);
    assert_eq!(all.map(|example| example.text.len()).max(), Some(16 * CHARACTERS_PER_TOKEN));
    assert_eq!(dataset.train.tokens.get(0).0.len().max(dataset.eval.tokens.get(0).0.len()), 16);
}

#[test]
fn a_source_is_found_or_the_error_lists_the_paths_that_were_tried() {
    let file = file("mine.tsv", "x");
    let root = PathBuf::from(&file.path).parent().unwrap().to_path_buf();
    let roots = [PathBuf::from("/nowhere"), root.clone()];
    assert_eq!(locate_data("mine.tsv", &roots).unwrap(), file.path);
    assert_eq!(locate_data(&file.path, &[]).unwrap(), file.path);
    assert_eq!(locate_data("embedded:tweets", &roots).unwrap(), "embedded:tweets");
    assert_eq!(locate_model(MODEL, &roots).unwrap(), MODEL);
    let message =
        |result: Result<String, DataError>| result.unwrap_err().to_string().replace(root.to_str().unwrap(), "ROOT");
    assert_eq!(
        message(locate_data("other.tsv", &roots)),
        "data file `other.tsv` not found; looked for /nowhere/other.tsv and ROOT/other.tsv"
    );
    assert_eq!(
        message(locate_data("embedded:news", &roots)),
        "`embedded:news` is not embedded in this binary; known names: embedded:tweets"
    );
    assert_eq!(
        message(locate_model("embedded:bert", &roots)),
        "`embedded:bert` is not embedded in this binary; known names: embedded:minilm-l3"
    );
    assert_eq!(
        message(locate_model(".", &roots)),
        "ROOT: not a checkpoint folder; it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors"
    );
    assert!(message(locate_model("hf:a/b/c", &roots)).contains("is not the name of a repository"));
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

/// The order of the calls does not change the tokens, and an [`Epochs`] can be dropped early.
#[test]
fn epochs_are_a_function_of_the_epoch() {
    let config = DataConfig { limit: Some(150), ..config("embedded:tweets") };
    let train = load(&config, MODEL, &MemoryCache::default()).unwrap().train;
    let epochs = |first| {
        let methods =
            [Augmentation::RandomInsertion { rate: 0.2, wordnet: None }, Augmentation::RandomSwap { rate: 0.1 }];
        Epochs::new(&train, plain(&methods, 5).unwrap(), || Ok(encoder(&config, MODEL)?.0), first).unwrap()
    };
    let mut straight = epochs(0);
    let expected: Vec<_> = (0..4).map(|epoch| straight.epoch(epoch).unwrap()).collect();
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(expected.iter().all(|tokens| tokens.len() == 150 && **tokens != train.tokens));
    let mut jumping = epochs(2);
    for epoch in [2, 0, 3, 3, 1] {
        assert_eq!(jumping.epoch(epoch).unwrap(), expected[epoch as usize]);
    }
    drop(epochs(9));
    let none = plain(&[], 5).unwrap();
    let mut clean = Epochs::new(&train, none, || panic!("nothing to encode"), 0).unwrap();
    assert_eq!(*clean.epoch(0).unwrap(), train.tokens);
    assert!(std::sync::Arc::ptr_eq(&clean.epoch(0).unwrap(), &clean.epoch(1).unwrap()));
}

/// A checkpoint folder with the tokenizer of the embedded checkpoint as `vocab.txt`.
fn folder_with_vocabulary(settings: &str, label2id: &str) -> tempfile::TempDir {
    let files = CheckpointFiles::read(MODEL).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_slice(&files.tokenizer).unwrap();
    let pieces = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut pieces: Vec<(&String, u64)> = pieces.iter().map(|(piece, id)| (piece, id.as_u64().unwrap())).collect();
    pieces.sort_by_key(|(_, id)| *id);
    let vocabulary: Vec<&str> = pieces.iter().map(|(piece, _)| piece.as_str()).collect();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(content).unwrap();
    };
    write("vocab.txt", vocabulary.join("\n").as_bytes());
    write("tokenizer_config.json", settings.as_bytes());
    write(
        "config.json",
        format!("{{\"max_position_embeddings\": 64, \"vocab_size\": 8192, \"label2id\": {label2id}}}").as_bytes(),
    );
    write("model.safetensors", b"weights");
    folder
}

#[test]
fn a_vocabulary_makes_the_same_tokens() {
    let folder = folder_with_vocabulary("{}", "null");
    let model = folder.path().to_str().unwrap();
    let with_tokenizer = load(&config("embedded:tweets"), MODEL, &MemoryCache::default()).unwrap();
    assert_eq!(load(&config("embedded:tweets"), model, &MemoryCache::default()).unwrap(), with_tokenizer);
    assert_eq!(CheckpointFiles::read(model).unwrap().weights, [b"weights".as_slice()]);
    let left = folder_with_vocabulary("{\"truncation_side\": \"left\"}", "null");
    let left = load(&config("embedded:tweets"), left.path().to_str().unwrap(), &MemoryCache::default()).unwrap();
    let long = (0..left.train.examples.len()).find(|&i| left.train.tokens.get(i).0.len() == 16).unwrap();
    let (right, left) = (with_tokenizer.train.tokens.get(long).0, left.train.tokens.get(long).0);
    assert_eq!((right.len(), right[0], right[15]), (left.len(), left[0], left[15]), "both are truncated");
    assert_ne!(right[1..15], left[1..15]);
    let cased = folder_with_vocabulary("{\"do_lower_case\": false}", "null");
    let cased = load(&config("embedded:tweets"), cased.path().to_str().unwrap(), &MemoryCache::default()).unwrap();
    assert_ne!(cased.train.tokens, with_tokenizer.train.tokens);
}

#[test]
fn the_checkpoint_may_order_the_labels() {
    let order = |label2id: &str| {
        let folder = folder_with_vocabulary("{}", label2id);
        load(&config("embedded:tweets"), folder.path().to_str().unwrap(), &MemoryCache::default()).unwrap().labels
    };
    let by_name = ["negative", "neutral", "positive"];
    assert_eq!(order(r#"{"positive": 0, "negative": 1, "neutral": 2}"#), ["positive", "negative", "neutral"]);
    assert_eq!(order(r#"{"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}"#), by_name);
    assert_eq!(order(r#"{"positive": 0, "negative": 1}"#), by_name);
    assert_eq!(order(r#"{"positive": 0, "negative": 1, "neutral": 1}"#), by_name);
    assert_eq!(order(r#"{"positive": "a"}"#), by_name);
}

#[test]
fn a_checkpoint_that_cannot_be_used() {
    let folder = folder_with_vocabulary("{}", "null");
    let model = folder.path().to_str().unwrap().to_owned();
    let fail = |config: &DataConfig| {
        load(config, &model, &MemoryCache::default()).unwrap_err().to_string().replace(&model, "MODEL")
    };
    let tweets = config("embedded:tweets");
    assert_eq!(
        fail(&DataConfig { max_length: 2, ..tweets.clone() }),
        "data.max_length is 2, but the special tokens ([CLS], [SEP]) alone need 2; raise it"
    );
    let remove = |name: &str| std::fs::remove_file(folder.path().join(name)).unwrap();
    remove("model.safetensors");
    let weights = |model: &str| CheckpointFiles::read(model).unwrap_err().to_string().replace(model, "MODEL");
    assert_eq!(
        weights(&model),
        "MODEL: no model.safetensors; a checkpoint folder holds config.json, tokenizer.json and model.safetensors"
    );
    std::fs::File::create(folder.path().join("vocab.txt")).unwrap().write_all(b"[PAD]\n[UNK]\n").unwrap();
    assert_eq!(
        fail(&tweets),
        "MODEL/vocab.txt: no line `[CLS]`; the vocabulary of a BERT has one word piece per line, among them [UNK], [CLS] and [SEP]"
    );
    remove("vocab.txt");
    assert_eq!(
        fail(&tweets),
        "MODEL: the folder has neither tokenizer.json nor vocab.txt; copy one of them from the checkpoint's page into the folder"
    );
}

#[test]
fn shards_of_a_checkpoint_are_read_by_name() {
    let folder = folder_with_vocabulary("{}", "null");
    let write = |name: &str, content: &[u8]| {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(content).unwrap();
    };
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    write("b.safetensors", b"second");
    write("a.safetensors", b"first");
    let index = |map: &str| {
        write("model.safetensors.index.json", format!("{{\"weight_map\": {map}}}").as_bytes());
        CheckpointFiles::read(folder.path().to_str().unwrap())
    };
    let found = index(r#"{"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}"#).unwrap();
    assert_eq!(found.weights, [b"first".as_slice(), b"second"]);
    for wrong in [r#"{"x": "../secret"}"#, r#"{"x": 1}"#, "{}", "null"] {
        assert!(index(wrong).unwrap_err().to_string().contains("not an index of shards"), "{wrong}");
    }
}
