//! `plateau augment`, and augmentations that use a program or a model: their output, and the errors before training.

use std::io::Write;
use std::process::Stdio;

use insta::assert_snapshot;

use crate::place::{Ended, Place};
use crate::skip::skip;

const TEXTS: &str =
    "Profits rose in the third quarter, but the outlook is not good.\n@ann I love this phone :D http://t.co/x\n\n🎉\n";

fn piped(place: &Place, arguments: &[&str], text: &str) -> Ended {
    let mut command = place.command("augment");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Ended::new(child.wait_with_output().unwrap())
}

#[test]
fn each_text_is_followed_by_its_variant() {
    let place = Place::new("");
    place.write("texts.txt", TEXTS);
    let first = place.expect(0, "augment --set augmentation=synonym --seed 3 texts.txt");
    let lines: Vec<&str> = first.out.lines().collect();
    assert_eq!(lines.len(), 8, "{}", first.out);
    let before: Vec<&str> = lines.iter().step_by(2).copied().collect();
    assert_eq!(before, TEXTS.lines().collect::<Vec<_>>());
    assert!(lines[1] != lines[0] && lines[1].contains(" not "), "{}", lines[1]);
    assert!(lines[3].starts_with("@ann I ") && lines[3].ends_with(":D http://t.co/x"), "{}", lines[3]);
    assert_eq!((lines[5], lines[7]), ("", "🎉"));
    assert_eq!(piped(&place, &["--set", "augmentation=synonym", "--seed", "3", "-"], TEXTS).out, first.out);
    for other in ["--seed 4", "--seed 3 --epoch 1"] {
        assert_ne!(place.expect(0, &format!("augment --set augmentation=synonym {other} texts.txt")).out, first.out);
    }
    let inflected =
        piped(&place, &["--set", "augmentation={name: synonym, choose: first, rate: 1}", "-"], "Two doctors came");
    assert_eq!(inflected.out, "Two doctors came\nTwo docs arrived\n");
    assert!(!place.path("results").exists(), "nothing is left behind");
}

#[test]
fn texts_of_a_data_file_are_augmented_and_statistics_come_last() {
    let place = Place::new("");
    place.write("data.tsv", "label\ttext\na\tnot good at all\nb\tvery well\n");
    let ended = place.expect(0, "augment --set augmentation=random_swap --stats data.tsv");
    let (pairs, stats) = ended.out.split_once("\n\n").unwrap();
    assert_eq!(pairs.lines().step_by(2).collect::<Vec<_>>(), ["not good at all", "very well"]);
    assert_snapshot!(stats.lines().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>().join("|"), @"words changed|sentences changed|label-bearing words touched||");
    assert!(stats.contains("sentences changed            100.0 %  (2 of 2)"), "{stats}");
    let none = place.expect(0, "augment --stats data.tsv");
    assert!(none.out.contains("words changed                  0.0 %  (0 of 6)"), "{}", none.out);
    assert_snapshot!(none.err, @"warning: no augmentation given, so the texts stay the same. Choose one with --set augmentation=synonym");
}

#[test]
fn messages_about_wrong_arguments() {
    let place = Place::new("");
    place.write("texts.txt", TEXTS);
    let message = |arguments: &str| place.plain(&place.expect(2, &format!("augment {arguments}")).err);
    assert_snapshot!(message("--set augmentation=synonyms texts.txt"), @r"
    error: the sweep has a mistake

    --set augmentation=synonyms: unknown augmentation `synonyms`
        did you mean `synonym`?
    ");
    assert_snapshot!(message("--set augmentation=eda nothing.txt"), @"error: data file `nothing.txt` not found; looked for /here/nothing.txt");
    assert_snapshot!(message("--set augmentation=contextual texts.txt"), @"error: embedded:minilm-l3: the checkpoint has no head of a masked language model; missing tensors: cls.predictions.transform.dense.weight, cls.predictions.transform.dense.bias, cls.predictions.transform.LayerNorm.weight, cls.predictions.transform.LayerNorm.bias, cls.predictions.bias. `contextual` needs a checkpoint that was saved as BertForMaskedLM, such as hf:google-bert/bert-base-uncased; give it as `model`");
    assert_snapshot!(message("--set augmentation=[synonym,contextual] texts.txt"), @"error: `contextual` is computed from the original texts, but another augmentation changes them first: put `contextual` first");
}

/// A sweep with a back-translation by two programs or two checkpoints.
fn sweep(out: &str, home: &str, more: &str) -> String {
    format!(
        "data: {{train: train.tsv, max_length: 32}}\nmodel: {{from: checkpoint}}\nbatch_size: 8\nsteps: 3\n\
         augmentation: {{name: back_translation, out: {out}, home: {home}{more}}}\n"
    )
}

#[test]
fn a_program_is_started_once_for_a_sweep() {
    let place = Place::new(&format!("{}seeds: [1, 2]\n", sweep("./out.sh", "./home.sh", "")));
    place.write_program("out.sh", "echo started >> out.log; tr a-z A-Z");
    place.write_program("home.sh", "echo started >> home.log; tr A-Z a-z | sed 's/the/that/'");
    let note = "back_translation: computing variants of 161 texts, once for this results folder\n";
    assert!(place.expect(0, "run sweep.yaml --jobs 2 --trust").err.starts_with(note));
    assert_eq!((place.read("out.log"), place.read("home.log")), ("started\n".to_owned(), "started\n".to_owned()));
    let curves = place.curves();
    assert_eq!(curves.len(), 2);
    assert!(!place.expect(0, "run sweep.yaml --fresh").err.contains("computing variants"));
    assert_eq!(place.read("out.log"), "started\n", "the variants are kept");
    assert_eq!(place.curves(), curves);
}

#[test]
fn a_program_that_fails_is_reported_before_training() {
    let message = |script: &str, more: &str| {
        let place = Place::new(&sweep("./out.sh", "./home.sh", more));
        place.write_program("out.sh", "cat");
        place.write_program("home.sh", script);
        let ended = place.expect(2, "run sweep.yaml -q --trust");
        assert!(place.trials().is_empty());
        place.plain(&ended.err).lines().nth(2).unwrap().to_owned()
    };
    assert_snapshot!(message("head -n 3", ""), @"sweep.yaml:5:15: `/here/home.sh` got 161 lines and wrote 3; it must write one line for each");
    assert_snapshot!(message("head -n 3; echo no dictionary >&2; exit 7", ""), @"sweep.yaml:5:15: `/here/home.sh` failed (exit status: 7): no dictionary");
    assert_snapshot!(message("sleep 60", ", timeout: 0.3"), @"sweep.yaml:5:15: `/here/home.sh` has not translated 161 lines within 0.3 seconds; raise `timeout`, or run it by hand to see why");
    // Neither program may fill the memory.
    let endless = message("yes", "");
    assert!(
        endless.contains("and wrote more than") && endless.ends_with("it must write one line for each"),
        "{endless}"
    );
    let noisy = message("yes 1>&2", ", timeout: 1");
    assert!(noisy.contains("has not translated 161 lines within 1 seconds"), "{noisy}");
    let place = Place::new(&sweep("./out.sh", "no-such-program a b", ""));
    place.write_program("out.sh", "cat");
    assert_snapshot!(place.plain(&place.expect(2, "plan sweep.yaml").err), @r"
    error: the sweep has a mistake

    sweep.yaml:5:15: there is no program `no-such-program` in PATH; install it, or give its path
      5 | augmentation: {name: back_translation, out: ./out.sh, home: no-such-program a b}
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
    let place = Place::new("augmentation: [contextual, mixup, mixup, back_translation]");
    assert_snapshot!(place.plain(&place.expect(2, "plan sweep.yaml").err), @r"
    error: the sweep has 3 mistakes

    sweep.yaml:1:15: `back_translation` is computed from the original texts, but another augmentation changes them first
      1 | augmentation: [contextual, mixup, mixup, back_translation]
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ put `back_translation` first

    sweep.yaml:1:15: `back_translation` needs `out`
      1 | augmentation: [contextual, mixup, mixup, back_translation]
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ {name: back_translation, out: apertium -u eng-spa, home: apertium -u spa-eng}, or engine: marian

    sweep.yaml:1:15: `mixup` is applied twice
      1 | augmentation: [contextual, mixup, mixup, back_translation]
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ keep one of them
    ");
}

/// Copies the tiny Marian checkpoint into a folder, without the file `missing`.
fn marian(place: &Place, name: &str, missing: &str) {
    let tiny = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/marian-tiny");
    std::fs::create_dir(place.path(name)).unwrap();
    for file in ["config.json", "model.safetensors", "source.spm", "vocab.json"] {
        if file != missing {
            std::fs::copy(tiny.join(file), place.path(name).join(file)).unwrap();
        }
    }
}

#[test]
fn marian_checkpoints_are_used_once_for_a_sweep() {
    let place = Place::new(&format!("{}seeds: [1, 2]\n", sweep("there", "./home", ", engine: marian, beams: 1")));
    marian(&place, "there", "");
    marian(&place, "home", "");
    let note = "back_translation: computing variants of 161 texts, once for this results folder\n";
    assert!(place.expect(0, "run sweep.yaml --jobs 2 --trust").err.starts_with(note));
    let curves = place.curves();
    assert_eq!(curves.len(), 2);
    assert!(!place.expect(0, "run sweep.yaml --fresh").err.contains("computing variants"), "the variants are kept");
    assert_eq!(place.curves(), curves);
    let shown = |set: &str| {
        let set = format!("augmentation={{name: back_translation, engine: marian, out: there, home: home, {set}}}");
        let ended = piped(&place, &["--set", &set, "-"], TEXTS);
        assert_eq!(ended.code, 0, "{}", ended.err);
        ended.out
    };
    let drawn = shown("samples: 2");
    assert_eq!(drawn, shown("samples: 2"), "drawn the same way again");
    assert_ne!(drawn, shown("beams: 4"));
    assert_eq!(drawn.lines().skip(4).take(2).collect::<Vec<_>>(), ["", ""]);
}

#[test]
fn an_incomplete_marian_checkpoint_is_reported_before_training() {
    let message = |home: &str, missing: &str, change: &dyn Fn(&Place)| {
        let place = Place::new(&sweep("there", home, ", engine: marian"));
        marian(&place, "there", "");
        marian(&place, "home", missing);
        change(&place);
        let ended = place.expect(2, "plan sweep.yaml");
        place.plain(&ended.err).lines().nth(2).unwrap().to_owned()
    };
    let nothing: &dyn Fn(&Place) = &|_| ();
    assert_snapshot!(message("home", "source.spm", nothing), @"sweep.yaml:5:15: /here/home: not a Marian checkpoint: missing source.spm; copy the files from the checkpoint's page into the folder");
    assert_snapshot!(message("home", "model.safetensors", nothing), @"sweep.yaml:5:15: /here/home: not a Marian checkpoint: missing model.safetensors (or pytorch_model.bin); copy the files from the checkpoint's page into the folder");
    let config = |before: &'static str, after: &'static str| {
        move |place: &Place| place.write("home/config.json", place.read("home/config.json").replace(before, after))
    };
    let tensors = message("home", "", &config("\"decoder_layers\": 2", "\"decoder_layers\": 3"));
    assert!(
        tensors.contains("config.json: model.decoder.layers.2.self_attn.q_proj.weight [16, 16], model.d"),
        "{tensors}"
    );
    assert_snapshot!(message("home", "", &config("\"marian\"", "\"bert\"")), @"sweep.yaml:5:15: /here/home/config.json: model_type is 'bert'; `engine: marian` needs Marian checkpoints, such as hf:Helsinki-NLP/opus-mt-en-fr");
    assert_snapshot!(message("home", "", &|place| place.write("home/source.spm", "no model")), @"sweep.yaml:5:15: /here/home/source.spm: not a SentencePiece model, or incomplete; copy it again from the checkpoint's page");
    assert_snapshot!(message("org/opus", "", nothing), @"sweep.yaml:5:15: Marian checkpoint `org/opus` not found; looked for /here/org/opus; did you mean `hf:org/opus`, from the Hugging Face hub?");
}

/// Uses the real program if it is installed.
#[test]
fn apertium_translates() {
    let listed = std::process::Command::new("apertium").arg("-l").output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !listed.contains("eng-spa") || !listed.contains("spa-eng") {
        return skip("apertium", "apertium with eng-spa and spa-eng is not installed");
    }
    let place = Place::new(&sweep("apertium -u eng-spa", "apertium -u spa-eng", ""));
    place.expect(0, "run sweep.yaml -q --trust");
    let set = "augmentation={name: back_translation, out: apertium -u eng-spa, home: apertium -u spa-eng}";
    let ended = piped(&place, &["--set", set, "-"], "The house is small and the garden is very large.\n");
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out.lines().count(), 2, "{}", ended.out);
}
