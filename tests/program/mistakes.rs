//! The mistakes of users and their messages: what is wrong, where, and what to do. A mistake leaves no files behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::place::Place;

const GOOD: &str = "
data: {train: train.tsv, max_length: 32}
model: {from: checkpoint}
batch_size: 8
steps: 10
grid: {lr: [1e-3, 1e-4]}
";

/// The message of `plateau run` for `sweep` in a folder that `spoil` has changed.
fn message(sweep: &str, spoil: impl FnOnce(&Place), options: &str) -> String {
    let place = Place::new(sweep);
    spoil(&place);
    let ended = place.expect(2, &format!("run sweep.yaml {options}"));
    assert_eq!(ended.out, "");
    assert!(place.written().is_empty() && !place.path("results").exists(), "{:?}", place.written());
    place.plain(&ended.err)
}

/// The message when `from` in the good sweep is replaced by `to`.
fn replaced(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    message(&GOOD.replace(from, to), |_| {}, "")
}

/// The message when a file of the folder is replaced.
fn overwritten(name: &str, content: impl AsRef<[u8]>) -> String {
    message(GOOD, |place| place.write(name, content), "")
}

/// The message when these options are added.
fn with_options(options: &str) -> String {
    message(GOOD, |_| {}, options)
}

#[test]
fn sweep_files() {
    assert_snapshot!(replaced("grid: {lr: [1e-3, 1e-4]}", "grid:\n  lr: [1e-3, 1e-4\n"), @r"
    error: the sweep has a mistake

    sweep.yaml:7:7: this `[` is not closed
      7 |   lr: [1e-3, 1e-4
        |       ^ close it in this line
    ");
    assert_snapshot!(replaced("batch_size: 8", "batchsize: 8\nlr: \"1e-3\"\nwarmup: lots\nscheduler: cosin"), @r#"
    error: the sweep has 4 mistakes

    sweep.yaml:4:1: unknown key `batchsize`
      4 | batchsize: 8
        | ^^^^^^^^^ did you mean `batch_size`?

    sweep.yaml:5:5: `lr` is text, because it is quoted
      5 | lr: "1e-3"
        |     ^^^^^^ write 1e-3 without quotes

    sweep.yaml:6:9: `warmup` cannot be `lots`
      6 | warmup: lots
        |         ^^^^ expected a fraction of all steps (from 0 to below 1) or whole steps (from 1)

    sweep.yaml:7:12: unknown scheduler `cosin`
      7 | scheduler: cosin
        |            ^^^^^ did you mean `cosine`?
    "#);
    assert_snapshot!(replaced("lr: [1e-3, 1e-4]", "lr: []"), @r"
    error: the sweep has a mistake

    sweep.yaml:6:12: `lr` has no values
      6 | grid: {lr: []}
        |            ^^ list at least one, or leave the key out
    ");
    assert_snapshot!(replaced("batch_size: 8", "warmup: 50"), @r"
    error: the sweep has a mistake

    sweep.yaml:4:9: a warm-up of 50 steps is longer than the run of 10
      4 | warmup: 50
        |         ^^ shorten it, or write a fraction such as 0.1
    ");
    assert_snapshot!(replaced("max_length: 32", "max_length: 512"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:38: `data.max_length` is 512, but the checkpoint has 128 positions
      2 | data: {train: train.tsv, max_length: 512}
        |                                      ^^^ expected at most 128
    ");
    assert_snapshot!(message("\u{0}\u{1}", |place| place.write("sweep.yaml", [0x80, 0xff]), ""), @"error: sweep.yaml:1: not UTF-8: save the file as UTF-8");
}

#[test]
fn all_mistakes_come_in_one_list() {
    let sweep = "
data: {train: train.tsv, text: sentence, label: lable, eval: ev.tsv, max_length: 32}
model: {from: chekpoint}
schedular: cosine
";
    assert_snapshot!(message(sweep, |_| {}, ""), @r"
    error: the sweep has 5 mistakes

    sweep.yaml:2:32: /here/train.tsv:1: no column `sentence` (data.text); the columns are `label`, `text`; did you mean data.text: text?
      2 | data: {train: train.tsv, text: sentence, label: lable, eval: ev.tsv, max_length: 32}
        |                                ^^^^^^^^

    sweep.yaml:2:49: /here/train.tsv:1: no column `lable` (data.label); the columns are `label`, `text`; did you mean data.label: label?
      2 | data: {train: train.tsv, text: sentence, label: lable, eval: ev.tsv, max_length: 32}
        |                                                 ^^^^^

    sweep.yaml:2:62: data file `ev.tsv` not found; looked for /here/ev.tsv
      2 | data: {train: train.tsv, text: sentence, label: lable, eval: ev.tsv, max_length: 32}
        |                                                              ^^^^^^

    sweep.yaml:3:15: checkpoint `chekpoint` not found; looked for /here/chekpoint
      3 | model: {from: chekpoint}
        |               ^^^^^^^^^

    sweep.yaml:4:1: unknown key `schedular`
      4 | schedular: cosine
        | ^^^^^^^^^ did you mean `scheduler`?
    ");
    if cfg!(not(feature = "cuda")) {
        assert_snapshot!(message("model: bert-base-uncased\nrun:\n  devices: cuda", |_| {}, ""), @r"
        error: the sweep has 2 mistakes

        sweep.yaml:1:8: checkpoint `bert-base-uncased` not found; looked for /here/bert-base-uncased; did you mean `hf:google-bert/bert-base-uncased`, from the Hugging Face hub?
          1 | model: bert-base-uncased
            |        ^^^^^^^^^^^^^^^^^

        sweep.yaml:3:12: device `cuda` does not exist: this build on this machine has cpu. Build with `cargo build --release --features cuda` on a machine that has one, or set `devices: auto`
          3 |   devices: cuda
            |            ^^^^
        ");
    }
    let eval = |place: &Place| place.write("ev.tsv", "label\ttxt\nx\ty\n");
    assert_snapshot!(message("data: {train: train.tsv, eval: ev.tsv, max_length: 32}\nmodel: hf:a/b\nlrr: 1", eval, ""), @r"
    error: the sweep has 2 mistakes

    sweep.yaml:1:32: /here/ev.tsv:1: no column `text` (data.eval.text); the columns are `label`, `txt`; did you mean data.eval.text: txt?; if this file has other columns, write data.eval: {file: ev.tsv, text: ..., label: ...}
      1 | data: {train: train.tsv, eval: ev.tsv, max_length: 32}
        |                                ^^^^^^

    sweep.yaml:3:1: unknown key `lrr`
      3 | lrr: 1
        | ^^^ did you mean `lr`?
    ");
}

#[test]
fn data_files() {
    assert_snapshot!(replaced("train.tsv", "tran.tsv"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:15: data file `tran.tsv` not found; looked for /here/tran.tsv
      2 | data: {train: tran.tsv, max_length: 32}
        |               ^^^^^^^^
    ");
    assert_snapshot!(replaced("max_length: 32", "max_length: 32, text: sentence"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:48: /here/train.tsv:1: no column `sentence` (data.text); the columns are `label`, `text`; did you mean data.text: text?
      2 | data: {train: train.tsv, max_length: 32, text: sentence}
        |                                                ^^^^^^^^
    ");
    assert_snapshot!(overwritten("train.tsv", "label\ttext\ngood\tone\ngood\ttwo\n"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:15: /here/train.tsv: every row has the label `good`; a classifier needs at least two labels
      2 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
    assert_snapshot!(overwritten("train.tsv", ""), @r"
    error: the sweep has a mistake

    sweep.yaml:2:15: /here/train.tsv: the file is empty; expected one row for each text
      2 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
    assert_snapshot!(overwritten("train.tsv", "label\ttext\n"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:15: /here/train.tsv: the file has a header but no rows
      2 | data: {train: train.tsv, max_length: 32}
        |               ^^^^^^^^^
    ");
    assert_snapshot!(replaced("max_length: 32", "max_length: 32, eval: checkpoint"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:48: /here/checkpoint: the folder has no evaluation data; expected a file such as validation.csv or validation-00000-of-00001.parquet, or a folder of text files for each class
      2 | data: {train: train.tsv, max_length: 32, eval: checkpoint}
        |                                                ^^^^^^^^^^
    ");
    assert_snapshot!(replaced("train.tsv", "embedded:tweet"), @r"
    error: the sweep has a mistake

    sweep.yaml:2:15: `embedded:tweet` is not embedded in this binary; known names: embedded:tweets
      2 | data: {train: embedded:tweet, max_length: 32}
        |               ^^^^^^^^^^^^^^
    ");
}

#[test]
fn checkpoints() {
    assert_snapshot!(replaced("from: checkpoint", "from: chekpoint"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: checkpoint `chekpoint` not found; looked for /here/chekpoint
      3 | model: {from: chekpoint}
        |               ^^^^^^^^^
    ");
    assert_snapshot!(replaced("from: checkpoint", "from: hf:google-bert/bert-base-uncased"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: hf:google-bert/bert-base-uncased: config.json cannot be downloaded: io: Connection refused (os error 111). Check the name and the network, or copy the checkpoint's folder (config.json, tokenizer.json, model.safetensors) here and give its path as model.from
      3 | model: {from: hf:google-bert/bert-base-uncased}
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    ");
    assert_snapshot!(replaced("from: checkpoint", "from: train.tsv"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/train.tsv: not a checkpoint folder; it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors
      3 | model: {from: train.tsv}
        |               ^^^^^^^^^
    ");
    let config = fs::read_to_string(crate::place::fixture("checkpoint/config.json")).unwrap();
    assert_snapshot!(overwritten("checkpoint/config.json", config.replace("\"bert\"", "\"t5\"")), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/checkpoint: config.json: model_type is 't5': not supported; supported are albert, bag_of_words, bert, bilstm, deberta-v2, distilbert, electra, longformer, modernbert, mpnet, roberta, textcnn, xlm-roberta
      3 | model: {from: checkpoint}
        |               ^^^^^^^^^^
    ");
    assert_snapshot!(overwritten("checkpoint/config.json", "{}"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/checkpoint: config.json: missing field `vocab_size` at line 1 column 2; copy the file again from the checkpoint's page
      3 | model: {from: checkpoint}
        |               ^^^^^^^^^^
    ");
    assert_snapshot!(overwritten("checkpoint/model.safetensors", b"\x02\0\0\0\0\0\0\0{}"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/checkpoint: the weights do not match config.json: 'embeddings.word_embeddings.weight' is missing (and 36 more). Copy config.json and model.safetensors from the same checkpoint
      3 | model: {from: checkpoint}
        |               ^^^^^^^^^^
    ");
    assert_snapshot!(overwritten("checkpoint/model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/checkpoint/model.safetensors: this is a git-lfs pointer, not the file itself; run `git lfs pull` in that repository, or download the file from its page
      3 | model: {from: checkpoint}
        |               ^^^^^^^^^^
    ");
    // A header of 4 TB, a tensor of 2^60 bytes, a model of 2^40 layers, a tokenizer that is none.
    let huge = [(4_u64 << 40).to_le_bytes().as_slice(), b"{}"].concat();
    assert!(overwritten("checkpoint/model.safetensors", huge).contains("the header claims 4398046511104 bytes"));
    let header = br#"{"x":{"dtype":"F32","shape":[288230376151711744],"data_offsets":[0,1152921504606846976]}}"#;
    let huge = [(header.len() as u64).to_le_bytes().as_slice(), header].concat();
    assert!(overwritten("checkpoint/model.safetensors", huge).contains("but the file holds 97; copy"));
    let deep = config.replace("\"num_hidden_layers\": ", "\"num_hidden_layers\": 99999999999");
    assert_ne!(deep, config);
    assert!(overwritten("checkpoint/config.json", deep).contains("num_hidden_layers is 99999999999"));
    assert!(
        overwritten("checkpoint/tokenizer.json", r#"{"model": {"type": "WordPiece", "vocab": []}}"#)
            .contains("tokenizer.json")
    );
    assert!(overwritten("checkpoint/tokenizer.json", "[".repeat(100_000)).contains("tokenizer.json"));
    let gone = |place: &Place| fs::remove_file(place.path("checkpoint/model.safetensors")).unwrap();
    assert_snapshot!(message(GOOD, gone, ""), @r"
    error: the sweep has a mistake

    sweep.yaml:3:15: /here/checkpoint: no model.safetensors; a checkpoint folder holds config.json, tokenizer.json and model.safetensors
      3 | model: {from: checkpoint}
        |               ^^^^^^^^^^
    ");
}

#[test]
fn command_lines() {
    assert_snapshot!(with_options("--only warmup=0"), @"error: --only warmup=0: `warmup` does not vary. Keys that vary: lr");
    assert_snapshot!(with_options("--only lr=1e-2"), @"error: --only lr=1e-2: no trial has this value. Values of `lr`: 1e-3, 1e-4");
    assert_snapshot!(with_options("--set lr=1e-2"), @r"
    error: the sweep has a mistake

    --set lr=1e-2: `lr` varies in this sweep
        --set changes fixed values; --only trains some values of an axis
    ");
    assert_snapshot!(with_options("--set nonsense"), @r"
    error: invalid value 'nonsense' for '--set <KEY=VALUE>': expected key=value

    For more information, try '--help'.
    ");
    assert_snapshot!(with_options("--set warmpu=0.1 --set epochs=many"), @r"
    error: the sweep has 2 mistakes

    --set warmpu=0.1: unknown key `warmpu`
        did you mean `warmup`?

    --set epochs=many: `epochs` cannot be `many`
        expected a number above 0
    ");
    if cfg!(not(feature = "cuda")) {
        assert_snapshot!(with_options("--devices cuda"), @"error: device `cuda` does not exist: this build on this machine has cpu. Build with `cargo build --release --features cuda` on a machine that has one, or set `devices: auto`");
    }
    assert_snapshot!(with_options("--devices gpu"), @r"
    error: invalid value 'gpu' for '--devices <LIST>': expected auto, cpu, cuda, cuda:0,1 or metal

    For more information, try '--help'.
    ");
    assert_snapshot!(with_options("--jobs 0"), @r"
    error: invalid value '0' for '--jobs <N>': 0 is not in 1..=65535

    For more information, try '--help'.
    ");
    let place = Place::new(GOOD);
    assert_snapshot!(place.plain(&place.expect(2, "run lr-gird").err), @"error: there is no sweep `lr-gird` and no file sweeps/lr-gird.yaml. Did you mean `lr-grid`? Known sweeps: architectures, augmentation, lr-grid, search, smoke");
    place.write("sweeps/lr-tuning.yaml", GOOD);
    assert_snapshot!(place.plain(&place.expect(2, "run lr-tunign").err), @"error: there is no sweep `lr-tunign` and no file sweeps/lr-tunign.yaml. Did you mean `lr-tuning`? Known sweeps: architectures, augmentation, lr-grid, lr-tuning, search, smoke");
    assert_snapshot!(place.plain(&place.expect(2, "run xyz").err), @"error: there is no sweep `xyz` and no file sweeps/xyz.yaml. Known sweeps: architectures, augmentation, lr-grid, lr-tuning, search, smoke. Give the path of any other sweep file");
    place.write("mine.yaml", GOOD);
    assert_snapshot!(place.plain(&place.expect(2, "run mine").err), @"error: there is no sweep `mine` and no file sweeps/mine.yaml. Did you mean the file mine.yaml?");
    assert_snapshot!(place.plain(&place.expect(2, "run sweeps/lr-tunign.yaml").err), @"error: sweeps/lr-tunign.yaml: no such file. Did you mean sweeps/lr-tuning.yaml?");
    assert_snapshot!(place.plain(&place.expect(2, "run nowhere/x.yaml").err), @"error: nowhere/x.yaml: no such file. There is no folder nowhere");
    assert_snapshot!(place.plain(&place.expect(2, "report sweep.yaml").err), @"error: /here/results/sweep: nothing was run yet. Run it with `plateau run sweep.yaml`");
}

#[test]
fn results_folders() {
    let refusal = |spoil: &dyn Fn(&Place)| {
        let place = Place::new(GOOD);
        spoil(&place);
        let before = place.written();
        let message = place.plain(&place.expect(3, "run sweep.yaml --quiet").err);
        assert_eq!(place.written(), before);
        message
    };
    assert_snapshot!(refusal(&|place| place.write("results", "a file")), @"error: /here/results is a file, but a folder of results belongs there. Move it away or choose another folder with --results");
    assert_snapshot!(refusal(&|place| place.write("results/sweep", "a file")), @"error: /here/results/sweep is a file, but a folder of results belongs there. Move it away or choose another folder with --results");
    let read_only = |place: &Place| {
        fs::create_dir(place.path("results")).unwrap();
        fs::set_permissions(place.path("results"), fs::Permissions::from_mode(0o555)).unwrap();
    };
    let place = Place::new(GOOD);
    read_only(&place);
    // Root may write anywhere.
    if fs::create_dir(place.path("results/probe")).is_err() {
        assert_snapshot!(refusal(&read_only), @"error: /here/results/sweep: cannot be written (Permission denied (os error 13)). Make the folder writable or choose another one with --results");
    }
}
