//! Formats, encodings and sources of files.

use super::*;
use crate::trial::{DataFormat, EvalSource};

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
    check("a.arrow", "x", "FILE: Arrow files are not read; write the data set with to_parquet(\"FILE.parquet\")");
    check(
        "a.bin",
        "\u{2}\u{4}\u{5}",
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
    check("a.jsonl", "[1]", "FILE:1: not a JSON object: invalid type: sequence, expected a map");
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
        "FILE:6: the header has 2 columns, but this row has 1 field; fields are missing; `data.bad_rows: skip` leaves such rows out",
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
        "FILE:1: `label` is a list; expected a single value; if a text may have several labels, write `task: multi_label`; \
         `data.bad_rows: skip` leaves such rows out",
    );
    check(
        "a.tsv.gz",
        "no gzip\0at all",
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

#[test]
fn delimiters_and_headers_are_detected() {
    for delimiter in [",", ";", "|", "\t"] {
        let content = "text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n".replace(',', delimiter);
        for name in ["a.csv", "a.tsv", "a.txt", "a"] {
            assert_eq!(loaded(name, &content, |_| ()).unwrap(), ROWS, "{name} {delimiter}");
        }
    }
    for delimiter in ["^", "~", ":", "\u{1}", "||"] {
        let content = "text,label\ngood day,pos\nbad day,neg\nso glad,pos\nso sad,neg\n".replace(',', delimiter);
        for name in ["a.csv", "a.txt"] {
            assert_eq!(loaded(name, &content, |_| ()).unwrap(), ROWS, "{name} {delimiter}");
        }
    }
    let table =
        "| text | label |\n|---|:---|\n| good day | pos |\n| bad day | neg |\n| so glad | pos |\n| so sad | neg |\n";
    let trimmed: Vec<String> =
        loaded("a.md", table, |_| ()).unwrap().iter().map(|row| row.replace("  ", " ")).collect();
    assert_eq!(trimmed.iter().map(|row| row.trim()).collect::<Vec<_>>(), ROWS);
    let twice = "text,label\ngood day,pos\nbad day,neg\ntext,label\nso glad,pos\nso sad,neg\n";
    assert_eq!(
        loaded("a.csv", twice, |_| ()).unwrap_err(),
        "FILE:4: this row repeats the header; `data.bad_rows: skip` leaves such rows out"
    );
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
    let spaced = "label, text\npos, \"a, b\"\nneg, \"c\"\npos, d\nneg, \"e, f\"\n";
    assert_eq!(loaded("a.csv", spaced, |_| ()).unwrap(), ["neg c", "neg e, f", "pos  d", "pos a, b"]);
    let newline = "text\tlabel\n\"a\nb\"\tpos\n\"c\nd\"\tneg\nx\tpos\ny\tneg\n";
    assert_eq!(loaded("a.tsv", newline, |_| ()).unwrap(), ["neg c\nd", "neg y", "pos a\nb", "pos x"]);
    let quoted = "text\tlabel\n\"a\"\tpos\n\"c\"\tneg\n\"x\"\tpos\n\"y\"\tneg\n";
    assert_eq!(loaded("a.tsv", quoted, |_| ()).unwrap()[0], "neg \"c\"", "quotes are ordinary characters");
    assert_eq!(loaded("a.tsv", quoted, |config| config.format = Some(DataFormat::Csv)).unwrap()[0], "neg c");
}

#[test]
fn files_that_are_no_tables_are_named() {
    let message = |name: &str, content: &str| loaded(name, content, |_| ()).unwrap_err();
    for content in ["<!DOCTYPE html>\n<html>404</html>\n", "<?xml version=\"1.0\"?>\n<rows/>\n"] {
        assert!(message("a.csv", content).contains("a web page or an XML document, not a table"), "{content}");
    }
    assert!(message("a.db", "SQLite format 3\0\u{10}\0").contains("unknown file format"));
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
        ("a.jsonl", plain.join(",\n")),
        ("a.json", format!("{{\"result\": {{\"rows\": {array}, \"count\": 4}}, \"ok\": true}}")),
        ("a.jsonl", plain.join("\n").replace("\"label\"", "\"score\": NaN, \"x\": [-Infinity, \"NaN\"], \"label\"")),
        ("a.json", format!("{{\"b\": {}, \"a\": {}, \"d\": {}, \"c\": {}}}", plain[0], plain[1], plain[2], plain[3])),
    ] {
        assert_eq!(loaded(name, &content, |_| ()).unwrap(), ROWS, "{content}");
    }
    assert_eq!(loaded("a.json", "[]", |_| ()).unwrap_err(), "FILE: the file has no rows");
    assert_eq!(
        loaded("a.jsonl", plain.join("\n").replacen("\"pos\"", "NaN", 1), |_| ()).unwrap_err(),
        "FILE:1: the label (column `label`) is empty; `data.bad_rows: skip` leaves such rows out"
    );
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
    let header = r#"["text", "label"]"#;
    for content in [
        format!("{header}\n{}", pairs.join("\n")),
        format!("[{header}, {}]", pairs.join(", ")),
        format!("{{\"columns\": {header}, \"index\": [0, 1, 2, 3], \"data\": {one_array}}}"),
    ] {
        assert_eq!(loaded("a.json", &content, |_| ()).unwrap(), ROWS, "{content}");
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
    let after = "good day __label__pos\nbad day __label__neg\nso glad __label__pos\nso sad __label__neg\n";
    assert_eq!(loaded("a.txt", after, |_| ()).unwrap(), ROWS);
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
    write("converted/default/train/0000.csv", "text,label\ngood day,pos\nbad day,neg\n");
    write("converted/default/test/0000.csv", "text,label\nso glad,pos\nso sad,neg\n");
    let located = locate_data("converted", &roots).unwrap();
    let both = DataConfig { eval: EvalSource::File(located.clone()), ..config(&located) };
    assert_eq!(contents(&load(&both, MODEL, &MemoryCache::default()).unwrap()), ROWS);
    write("parted/train/a.csv", "text,label\ngood day,pos\nbad day,neg\n");
    write("parted/valid/b.csv", "text,label\nso glad,pos\nso sad,neg\n");
    write("parted/valid/notes.txt", "made by hand\n");
    let located = locate_data("parted", &roots).unwrap();
    let parts = DataConfig { eval: EvalSource::File(located.clone()), ..config(&located) };
    assert_eq!(contents(&load(&parts, MODEL, &MemoryCache::default()).unwrap()), ROWS);
    write("converted/other/train/0000.csv", "text,label\ngood day,pos\nbad day,neg\n");
    let message = load(&both, MODEL, &MemoryCache::default()).unwrap_err().to_string();
    assert!(message.contains("the folder has several data sets: default, other; name one of them"), "{message}");
    write("languages/en/train.csv", "text,label\ngood day,pos\nbad day,neg\n");
    write("languages/fr/train.csv", "text,label\nbon,pos\nmauvais,neg\n");
    let message = load(&config(root.join("languages").to_str().unwrap()), MODEL, &MemoryCache::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("several data sets: en, fr;"), "{message}");
    std::fs::File::create(root.join("classes/neg/3.jpg")).unwrap().write_all(b"\xff\xd8\xff\xe0\0\x10JFIF\0").unwrap();
    let message =
        load(&config(root.join("classes").to_str().unwrap()), MODEL, &MemoryCache::default()).unwrap_err().to_string();
    assert!(message.contains("neg/3.jpg:1: the file is not a text"), "{message}");
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
        "FILE: the archive has 2 data files: `a.csv`, `b.csv`; expected one, or one whose name begins with `train`. Unpack it and \
         give the path of one of them, or of their folder"
    );
    assert_eq!(loaded("a.zip", packed(&["x/test.csv", "x/train.csv"]), |_| ()).unwrap(), ROWS);
    let splits = file("a.zip", packed(&["test.csv", "train.csv"]));
    let both = DataConfig { eval: EvalSource::File(splits.path.clone()), ..config(&splits.path) };
    let dataset = load(&both, MODEL, &MemoryCache::default()).unwrap();
    assert_eq!((dataset.train.examples.len(), dataset.eval.examples.len()), (4, 4));
    // Browsers may unpack a file and keep its name.
    assert_eq!(loaded("a.csv.gz", rows, |_| ()).unwrap(), ROWS);
    assert!(loaded("a.xlsx", packed(&["xl/workbook.xml"]), |_| ()).unwrap_err().contains("this is an Excel workbook"));
}

#[test]
fn tables_of_r_and_pandas_have_quotes_and_row_numbers() {
    let rows = [("good \"\"day\"\"", "pos"), ("bad day", "neg"), ("so glad", "pos"), ("so sad", "neg")];
    let expected = ["neg bad day", "neg so sad", "pos good \"day\"", "pos so glad"];
    let numbered = |separator: char, start: usize| {
        let rows = rows
            .iter()
            .zip(start..)
            .map(|((text, label), number)| format!("\"{number}\"{separator}\"{text}\"{separator}\"{label}\"\n"));
        std::iter::once(format!("\"text\"{separator}\"label\"\n")).chain(rows).collect::<String>()
    };
    let without_names = rows.map(|(text, label)| format!("\"{text}\"\t\"{label}\"\n")).concat();
    let quoted = format!("\"text\"\t\"label\"\n{without_names}");
    for (name, content) in [
        ("a.tsv", &quoted),
        ("a.txt", &quoted),
        ("a.tsv", &numbered('\t', 1)),
        ("a.csv", &numbered(',', 1)),
        ("a.csv", &numbered(';', 0)),
    ] {
        assert_eq!(loaded(name, content, |_| ()).as_deref(), Ok(&expected.map(String::from)[..]), "{content}");
    }
    let by_number = |config: &mut DataConfig| (config.text, config.label) = ("1".into(), "2".into());
    assert_eq!(loaded("a.tsv", without_names, by_number).as_deref(), Ok(&expected.map(String::from)[..]));
    // Names of rows that are no numbers are only certain beside quotes.
    let named = numbered(',', 1).replace("\n\"", "\n\"row ");
    assert_eq!(loaded("a.csv", &named, |_| ()).as_deref(), Ok(&expected.map(String::from)[..]));
    let message = loaded("a.csv", named.replace('"', ""), |_| ()).unwrap_err();
    assert!(message.contains("the header has 2 columns, but this row has 3 fields"), "{message}");
}

#[test]
fn columns_by_number_leave_out_a_header() {
    let by_number = |config: &mut DataConfig| (config.text, config.label) = ("2".into(), "1".into());
    let content = "label,text\npos,good day\nneg,bad, day\npos,so glad\nneg,so sad\n".replace("bad, day", "bad day");
    assert_eq!(loaded("a.csv", &content, by_number).unwrap(), ROWS);
    let without = content.replace("label,text\n", "");
    assert_eq!(loaded("a.csv", without, by_number).unwrap(), ROWS);
    // A usual name may be a label.
    let labels = "topic,good day\nnews,bad day\ntopic,so glad\nnews,so sad\n";
    assert_eq!(
        loaded("a.csv", labels, by_number).unwrap(),
        ["news bad day", "news so sad", "topic good day", "topic so glad"]
    );
}

#[test]
fn a_delimiter_that_is_not_in_the_file_is_named() {
    let content = "ID;Kommentar;Bewertung\n1;gut, sehr;5\n2;schlecht;1\n";
    let message = loaded("a.csv", content, |config| config.delimiter = Some("comma".into())).unwrap_err();
    assert_eq!(
        message,
        "FILE:1: with a comma between fields (data.delimiter) this row has one field, and the rows look like fields with a semicolon between \
         them; leave data.delimiter out"
    );
}
