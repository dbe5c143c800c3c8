//! What the faults train on: data files and checkpoints with one thing wrong, made from the embedded ones.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::table::FREQUENCIES;

type Weights = HashMap<String, Tensor>;

/// A label and a text.
type Row<'a> = (&'a str, &'a str);

/// Writes everything into `folder`. A file that is already there is not written again.
pub fn make(folder: &Path) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    fs::create_dir_all(folder).unwrap();
    let tweets = fs::read_to_string(assets.join("data/tweets.tsv")).unwrap();
    let rows: Vec<Row<'_>> = tweets.lines().skip(1).filter_map(|line| line.split_once('\t')).collect();
    for (name, percent) in [("labels-0", 0), ("labels-20", 20), ("labels-100", 100)] {
        table(&folder.join(name).with_extension("tsv"), &shuffled(&rows, percent));
    }
    table(&folder.join("one-class.tsv"), &selected(&rows, &[("positive", 1900), ("neutral", 50), ("negative", 50)]));
    table(&folder.join("blank.tsv"), &blank(&rows));
    for (name, counts) in FREQUENCIES {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let rows = selected(&rows, counts);
        table(&folder.join("labels-0.tsv"), &rows);
        table(&folder.join("labels-20.tsv"), &relabelled(&rows, 20, counts));
        table(&folder.join("labels-100.tsv"), &shuffled(&rows, 100));
        table(&folder.join("blank.tsv"), &blank(&rows));
    }
    let model = assets.join("models/minilm-l3");
    let norm = "LayerNorm";
    checkpoint(&model, &folder.join("tenfold"), |name, tensor| {
        if name.contains("query") || name.contains("key") { tensor.clone() } else { scaled(tensor, 10.0) }
    });
    for (place, cut) in ["layer.0.output", "layer.1.attention.output", "layer.1.output"].into_iter().enumerate() {
        checkpoint(&model, &folder.join(format!("cut-{place}")), |name, tensor| {
            if !name.contains(&format!("{cut}.{norm}")) {
                return tensor.clone();
            }
            if name.ends_with("weight") { scaled(tensor, 0.0) } else { pattern(tensor) }
        });
    }
}

fn table(path: &Path, rows: &[Row<'_>]) {
    let lines: Vec<String> = rows.iter().map(|(label, text)| format!("{label}\t{text}\n")).collect();
    let text = "label\ttext\n".to_owned() + &lines.concat();
    // A trial may be reading the file.
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::write(path, text).unwrap();
}

/// The rows; `percent` of them, chosen at random, exchange their labels.
fn shuffled<'a>(rows: &[Row<'a>], percent: usize) -> Vec<Row<'a>> {
    let mut shuffled = rows.to_vec();
    let mut chosen: Vec<usize> = (0..rows.len()).filter(|row| is_chosen(*row, percent)).collect();
    let places = chosen.clone();
    chosen.sort_by_key(|row| random(*row as u64 + 1_000_000));
    for (place, from) in places.iter().zip(chosen) {
        shuffled[*place].0 = rows[from].0;
    }
    shuffled
}

/// The rows; `percent` of them, chosen at random, get a label drawn from all classes alike.
///
/// Among imbalanced classes an exchange of labels would leave nearly all rows of the frequent class as they are.
fn relabelled<'a>(rows: &[Row<'a>], percent: usize, counts: &[(&'static str, usize)]) -> Vec<Row<'a>> {
    let relabel = |(index, (label, text)): (usize, &Row<'a>)| {
        let drawn = counts[random(index as u64 + 1_000_000) as usize % counts.len()].0;
        (if is_chosen(index, percent) { drawn } else { *label }, *text)
    };
    rows.iter().enumerate().map(relabel).collect()
}

fn is_chosen(row: usize, percent: usize) -> bool {
    random(row as u64) % 100 < percent as u64
}

/// So many rows of each class, in an order that depends on the texts alone.
fn selected<'a>(rows: &[Row<'a>], counts: &[(&'static str, usize)]) -> Vec<Row<'a>> {
    let mut selected: Vec<Row<'a>> = Vec::new();
    for &(label, count) in counts {
        selected.extend(rows.iter().filter(|row| row.0 == label).take(count));
    }
    selected.sort_by_key(|row| {
        random(row.1.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into())))
    });
    selected
}

/// The rows with a text that says nothing.
fn blank<'a>(rows: &[Row<'a>]) -> Vec<Row<'a>> {
    rows.iter().map(|(label, _)| (*label, "-")).collect()
}

/// The splitmix64 finaliser.
fn random(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The checkpoint in `from` with each of its tensors changed.
fn checkpoint(from: &Path, to: &Path, change: impl Fn(&str, &Tensor) -> Tensor) {
    if to.join("config.json").exists() {
        return;
    }
    fs::create_dir_all(to).unwrap();
    let weights = candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu).unwrap();
    let changed: Weights = weights.iter().map(|(name, tensor)| (name.clone(), change(name, tensor))).collect();
    candle_core::safetensors::save(&changed, to.join("model.safetensors")).unwrap();
    fs::copy(from.join("tokenizer.json"), to.join("tokenizer.json")).unwrap();
    fs::copy(from.join("config.json"), to.join("config.json")).unwrap();
}

fn scaled(tensor: &Tensor, factor: f64) -> Tensor {
    (tensor * factor).unwrap()
}

/// A vector of ones and minus ones: the output at every position, whatever the text.
fn pattern(tensor: &Tensor) -> Tensor {
    let signs: Vec<f32> =
        (0..tensor.elem_count() as u64).map(|i| if random(i) & 1 == 0 { 1.0 } else { -1.0 }).collect();
    Tensor::new(signs, &Device::Cpu).unwrap().to_dtype(tensor.dtype()).unwrap()
}
