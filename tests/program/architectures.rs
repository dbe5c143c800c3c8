//! Checkpoints of every encoder: the program trains them, and refuses others by name.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use plateau::train::classifier::{Classifier, ClassifierFiles};
use plateau::train::data::Example;

use crate::export::{assert_close, scores_in_python};
use crate::place::{Place, small};

/// Words of the vocabulary of the tests' tokenizer, and the other sizes of the tiny encoders.
const VOCABULARY: usize = 8192;
const WIDTH: usize = 16;
const INNER: usize = 24;
const POSITIONS: usize = 40;

/// An encoder: its name, its `config.json` beside the common keys, and the names and shapes of its weights.
struct Encoder {
    name: &'static str,
    config: Value,
    weights: Vec<(String, Vec<usize>)>,
}

fn linear(name: &str, outputs: usize, inputs: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![outputs, inputs]), (format!("{name}.bias"), vec![outputs])]
}

fn norm(name: &str, width: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![width]), (format!("{name}.bias"), vec![width])]
}

/// The tables and the LayerNorm of embeddings.
fn embeddings(stem: &str, width: usize, tables: &[(&str, usize)]) -> Vec<(String, Vec<usize>)> {
    let stem = format!("{stem}.embeddings");
    let tables = tables.iter().map(|(name, rows)| (format!("{stem}.{name}_embeddings.weight"), vec![*rows, width]));
    tables.chain(norm(&format!("{stem}.LayerNorm"), width)).collect()
}

/// A layer whose linear layers and LayerNorms have these names: query, key, value, output, its norm, up, down, its norm.
fn layer(stem: &str, names: [&str; 8]) -> Vec<(String, Vec<usize>)> {
    let name = |i: usize| format!("{stem}.{}", names[i]);
    let mut weights: Vec<_> = (0..4).flat_map(|i| linear(&name(i), WIDTH, WIDTH)).collect();
    weights.extend(norm(&name(4), WIDTH));
    weights.extend(linear(&name(5), INNER, WIDTH));
    weights.extend(linear(&name(6), WIDTH, INNER));
    weights.extend(norm(&name(7), WIDTH));
    weights
}

const BERT_LAYER: [&str; 8] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];

const DISTILBERT_LAYER: [&str; 8] = [
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
];

const ALBERT_LAYER: [&str; 8] = [
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.dense",
    "attention.LayerNorm",
    "ffn",
    "ffn_output",
    "full_layer_layer_norm",
];

const MPNET_LAYER: [&str; 8] = [
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];

const DEBERTA_LAYER: [&str; 8] = [
    "attention.self.query_proj",
    "attention.self.key_proj",
    "attention.self.value_proj",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];

/// All encoders, each with one layer.
fn encoders() -> Vec<Encoder> {
    let tables = [("word", VOCABULARY), ("position", POSITIONS), ("token_type", 2)];
    let join = |parts: Vec<Vec<(String, Vec<usize>)>>| parts.concat();
    let bert_like = |stem: &str, width: usize| {
        join(vec![embeddings(stem, width, &tables), layer(&format!("{stem}.encoder.layer.0"), BERT_LAYER)])
    };
    vec![
        Encoder { name: "bert", config: json!({}), weights: bert_like("bert", WIDTH) },
        Encoder {
            name: "distilbert",
            config: json!({"dim": WIDTH, "n_layers": 1, "n_heads": 2, "hidden_dim": INNER}),
            weights: join(vec![
                embeddings("distilbert", WIDTH, &tables[..2]),
                layer("distilbert.transformer.layer.0", DISTILBERT_LAYER),
            ]),
        },
        Encoder { name: "roberta", config: json!({}), weights: bert_like("roberta", WIDTH) },
        Encoder { name: "xlm-roberta", config: json!({}), weights: bert_like("roberta", WIDTH) },
        Encoder {
            name: "electra",
            config: json!({"embedding_size": 8}),
            weights: join(vec![bert_like("electra", 8), linear("electra.embeddings_project", WIDTH, 8).to_vec()]),
        },
        Encoder {
            name: "albert",
            config: json!({"embedding_size": 8}),
            weights: join(vec![
                embeddings("albert", 8, &tables),
                linear("albert.encoder.embedding_hidden_mapping_in", WIDTH, 8).to_vec(),
                layer("albert.encoder.albert_layer_groups.0.albert_layers.0", ALBERT_LAYER),
                linear("albert.pooler", WIDTH, WIDTH).to_vec(),
            ]),
        },
        Encoder {
            name: "mpnet",
            config: json!({}),
            weights: join(vec![
                embeddings("mpnet", WIDTH, &tables[..2]),
                vec![("mpnet.encoder.relative_attention_bias.weight".into(), vec![32, 2])],
                layer("mpnet.encoder.layer.0", MPNET_LAYER),
            ]),
        },
        Encoder {
            name: "deberta-v2",
            config: json!({
                "relative_attention": true, "pos_att_type": ["p2c", "c2p"], "share_att_key": true, "position_buckets": 8,
                "norm_rel_ebd": "layer_norm", "position_biased_input": false, "type_vocab_size": 0, "layer_norm_eps": 1e-7,
            }),
            weights: join(vec![
                embeddings("deberta", WIDTH, &tables[..1]),
                layer("deberta.encoder.layer.0", DEBERTA_LAYER),
                vec![("deberta.encoder.rel_embeddings.weight".into(), vec![16, WIDTH])],
                norm("deberta.encoder.LayerNorm", WIDTH).to_vec(),
            ]),
        },
        Encoder {
            name: "longformer",
            // Another activation than RoBERTa's, because values depend only on the size of a weight here.
            config: json!({"attention_window": 4, "hidden_act": "relu"}),
            weights: join(vec![
                bert_like("longformer", WIDTH),
                ["query_global", "key_global", "value_global"]
                    .iter()
                    .flat_map(|name| linear(&format!("longformer.encoder.layer.0.attention.self.{name}"), WIDTH, WIDTH))
                    .collect(),
            ]),
        },
        Encoder {
            name: "modernbert",
            config: json!({"local_attention": 4}),
            weights: vec![
                ("model.embeddings.tok_embeddings.weight".into(), vec![VOCABULARY, WIDTH]),
                ("model.embeddings.norm.weight".into(), vec![WIDTH]),
                ("model.layers.0.attn.Wqkv.weight".into(), vec![3 * WIDTH, WIDTH]),
                ("model.layers.0.attn.Wo.weight".into(), vec![WIDTH, WIDTH]),
                ("model.layers.0.mlp_norm.weight".into(), vec![WIDTH]),
                ("model.layers.0.mlp.Wi.weight".into(), vec![2 * INNER, WIDTH]),
                ("model.layers.0.mlp.Wo.weight".into(), vec![WIDTH, INNER]),
                ("model.final_norm.weight".into(), vec![WIDTH]),
            ],
        },
    ]
}

impl Encoder {
    fn config(&self) -> Vec<u8> {
        let mut config = json!({
            "model_type": self.name, "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "pad_token_id": 0,
        });
        config.as_object_mut().unwrap().extend(self.config.as_object().unwrap().clone());
        config.to_string().into_bytes()
    }

    /// Small values that differ; LayerNorm weights are 1.
    fn safetensors(&self) -> Vec<u8> {
        let is_norm = |name: &str| name.contains("norm.weight") || name.contains("Norm.weight");
        let bytes: Vec<Vec<u8>> = self
            .weights
            .iter()
            .map(|(name, shape)| {
                let value = |i: usize| if is_norm(name) { 1.0f32 } else { (i as f32 * 12.9898).sin() / 8.0 };
                (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect()
            })
            .collect();
        let views =
            self.weights.iter().zip(&bytes).map(|((name, shape), bytes)| {
                (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
            });
        safetensors::serialize(views.collect::<HashMap<_, _>>(), None).unwrap()
    }
}

/// A sweep over all encoders, with their own heads and with the mean of all tokens.
fn sweep(more: &str) -> Place {
    let names: Vec<&str> = encoders().iter().map(|encoder| encoder.name).collect();
    let place = Place::new(&format!(
        "{}grid: {{model.from: [{}], model.pooling: [pooler, mean]}}\n{more}",
        small!("steps: 4\neval_every: 2\nlr: 1e-2\n"),
        names.join(", ")
    ));
    let tokenizer = place.read("checkpoint/tokenizer.json");
    for encoder in encoders() {
        place.write(&format!("{}/config.json", encoder.name), encoder.config());
        place.write(&format!("{}/tokenizer.json", encoder.name), &tokenizer);
        place.write(&format!("{}/model.safetensors", encoder.name), encoder.safetensors());
    }
    place
}

/// The exported folder of each encoder gives the logits of the trial, here and in the libraries of Hugging Face.
#[test]
fn models_of_every_encoder_are_exported() {
    let place = sweep("run: {keep: best}\n");
    place.expect(0, "run sweep.yaml --progress none");
    let examples =
        ["I love it", "what a terrible, terrible day :(", "see you at the station at 5", "a"].map(Example::unlabelled);
    for (library, pooling, class) in
        [("transformers", "pooler", "ForSequenceClassification"), ("sentence-transformers", "mean", "Model")]
    {
        let (mut folders, mut scores) = (Vec::new(), Vec::new());
        for (id, trial) in place.trials() {
            let record: Value = serde_json::from_slice(&std::fs::read(trial.join("config.json")).unwrap()).unwrap();
            if record["config"]["model"]["pooling"] != pooling {
                continue;
            }
            place.expect(0, &format!("export sweep.yaml --format hf -o out/{id} --trial {id}"));
            let [kept, exported] = [format!("sweep:{id}"), format!("out/{id}")]
                .map(|model| place.expect(0, &format!("predict {model} train.tsv --quiet")).out);
            assert_eq!(kept, exported, "{record}");
            let config: Value = serde_json::from_str(&place.read(&format!("out/{id}/config.json"))).unwrap();
            let architecture = config["architectures"][0].as_str().unwrap();
            let named = config["model_type"].as_str().unwrap().replace('-', "");
            assert!(architecture.ends_with(class) && architecture.to_lowercase().starts_with(&named), "{architecture}");
            let folder = place.path(&format!("out/{id}"));
            let classifier = Classifier::new(&ClassifierFiles::read(&folder).unwrap(), 1).unwrap();
            scores.push(classifier.outputs(&examples).unwrap());
            folders.push(folder);
        }
        assert_eq!(folders.len(), encoders().len());
        let Some(expected) = scores_in_python(library, &folders, &examples) else { continue };
        for (found, expected) in scores.iter().zip(&expected) {
            assert_close(found, expected);
        }
    }
}

#[test]
fn checkpoints_of_every_encoder_are_trained() {
    let names: Vec<&str> = encoders().iter().map(|encoder| encoder.name).collect();
    let place = sweep("");
    place.expect(0, "run sweep.yaml");
    let table = place.read("results/sweep/trials.csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let status = reader.headers().unwrap().iter().position(|name| name == "status").unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2 * names.len());
    assert!(rows.iter().all(|row| &row[status] == "finished"), "{table}");
    // Each trial computes something else, so no encoder is read as another.
    let curves = place.curves();
    let mut metrics: Vec<&String> = curves.values().map(|(metrics, _)| metrics).collect();
    metrics.sort();
    metrics.dedup();
    // RoBERTa and XLM-RoBERTa are one architecture.
    assert_eq!(metrics.len(), 2 * (names.len() - 1), "{curves:?}");
}

/// The networks without an encoder run with the tokenizer and the vectors of a checkpoint, and keep a classifier.
#[test]
fn networks_without_an_encoder_are_trained_and_predict() {
    let place = Place::new(small!(
        "steps: 6\neval_every: 3\nlr: 1e-2\ngrid: {model.architecture: [bag_of_words, {name: textcnn, kernels: [2, 3], filters: 8}, \
         {name: bilstm, hidden: 8, pooling: last}], model.embeddings.vectors: [pretrained, random]}\n"
    ));
    place.expect(0, "run sweep.yaml");
    let curves = place.curves();
    let mut metrics: Vec<&String> = curves.values().map(|(metrics, _)| metrics).collect();
    metrics.sort();
    metrics.dedup();
    assert_eq!(metrics.len(), 6, "{curves:?}");
    let table = place.read("results/sweep/trials.csv");
    for name in ["bag_of_words", "textcnn filters=8 kernels=2,3", "bilstm hidden=8 pooling=last"] {
        assert!(table.contains(name), "{name} is not in {table}");
    }
    place.write("new.csv", "text\na good day\na bad day\n");
    let predicted = place.expect(0, "predict sweep.yaml new.csv");
    assert_eq!(predicted.out.lines().count(), 3, "{}", predicted.out);
}

#[test]
fn mistakes_in_networks_without_an_encoder_are_named() {
    let place = Place::new(small!(
        "grid: {model.architecture: [bilstm, {name: textcnn, kernels: 3}]}\nmodel.embeddings.vectors: none\n"
    ));
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("a list of widths in tokens, such as [3, 4, 5]"), "{errors}");
    assert!(errors.contains("known: pretrained, random"), "{errors}");
    place.write(
        "sweep.yaml",
        small!("grid: {model.architecture: [bilstm, bag_of_words]}\nmodel.pooling: mean\nmodel.freeze: 2\n"),
    );
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("`model.pooling` does not apply to a network without an encoder"), "{errors}");
    assert!(errors.contains("`model.freeze` is 2, but the checkpoint has 1 layers"), "{errors}");
}

/// Modules on top of an encoder and adapters within it are trained and predict. No class of transformers describes them.
#[test]
fn modules_are_trained_and_predict() {
    let place = Place::new(small!(
        "steps: 4\neval_every: 2\nlr: 1e-2\ngrid: {model.extra: [none, {name: bilstm, hidden: 8}, {name: textcnn, kernels: [2], \
         filters: 8}, attention], model.adapters: [none, {size: 4}]}\nrun: {keep: best}\n"
    ));
    place.expect(0, "run sweep.yaml");
    let curves = place.curves();
    let mut metrics: Vec<&String> = curves.values().map(|(metrics, _)| metrics).collect();
    metrics.sort();
    metrics.dedup();
    assert_eq!(metrics.len(), 8, "{curves:?}");
    let table = place.read("results/sweep/trials.csv");
    for name in ["textcnn filters=8 kernels=2", "attention"] {
        assert!(table.contains(name), "{name} is not in {table}");
    }
    place.write("new.csv", "text\na good day\na bad day\n");
    for (id, trial) in place.trials() {
        let predicted = place.expect(0, &format!("predict sweep:{id} new.csv --quiet"));
        assert_eq!(predicted.out.lines().count(), 3, "{}", predicted.out);
        let record: Value = serde_json::from_slice(&std::fs::read(trial.join("config.json")).unwrap()).unwrap();
        let model = &record["config"]["model"];
        if model["extra"]["name"] != "none" || !model["adapters"].is_null() {
            let errors = place.expect(3, &format!("export sweep.yaml --format hf -o out/{id} --trial {id}")).err;
            assert!(errors.contains("transformers has no such class"), "{errors}");
        }
    }
}

#[test]
fn modules_that_do_not_fit_are_named_before_training() {
    let place = Place::new(small!(
        "model.extra: bilstm\nmodel.pooling: mean\nmodel.adapters: true\nmodel.lora: {targets: [query]}\ngrid: {lr: [1e-3, 1e-2]}\n"
    ));
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("`model.pooling` does not apply with `model.extra`"), "{errors}");
    assert!(errors.contains("`model.adapters` and `model.lora` are both set"), "{errors}");
    place.write("sweep.yaml", small!("model.architecture: bilstm\nmodel.extra: attention\ngrid: {lr: [1e-3, 1e-2]}\n"));
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("`model.extra` needs an encoder"), "{errors}");
    place.write("sweep.yaml", small!("model.extra: lstm\nmodel.adapters: {after: [ffn]}\ngrid: {lr: [1e-3, 1e-2]}\n"));
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("unknown model.extra") && errors.contains("a list of attention, mlp"), "{errors}");
}

/// LoRA trains, its adapter is written, and training continues from it.
#[test]
fn lora_is_trained_exported_and_continued() {
    let lora = "model.lora: {targets: [query, value]}\n";
    let sweep = |more: &str| format!("{}{lora}{more}", small!("steps: 4\neval_every: 2\nlr: 1e-2\n"));
    let place = Place::new(&sweep("grid: {model.lora.r: [2, 4]}\n"));
    place.expect(0, "run sweep.yaml");
    let curves = place.curves();
    let mut metrics: Vec<&String> = curves.values().map(|(metrics, _)| metrics).collect();
    metrics.dedup();
    assert_eq!(metrics.len(), 2, "{curves:?}");
    place.expect(0, "export sweep --format peft -o checkpoint/adapter");
    let adapter: Value = serde_json::from_str(&place.read("checkpoint/adapter/adapter_config.json")).unwrap();
    assert_eq!(adapter["target_modules"], json!(["query", "value"]));
    let rank = adapter["r"].as_u64().unwrap();
    place.write("sweep.yaml", sweep(&format!("model.lora.r: {rank}\n")));
    place.expect(0, "run sweep.yaml --results continued");
    place.write("sweep.yaml", sweep("model.lora.r: 3\n"));
    let errors = place.expect(2, "plan sweep.yaml --results other").err;
    assert!(errors.contains(&format!("but the adapter in the checkpoint's folder has r {rank}")), "{errors}");
}

#[test]
fn a_target_of_lora_that_matches_nothing_is_refused_with_the_nearest_names() {
    let place = Place::new(small!("model.lora: {targets: [query, values]}\ngrid: {lr: [1e-3, 1e-2]}\n"));
    let errors = place.expect(2, "plan sweep.yaml").err;
    assert!(errors.contains("the target `values` of model.lora matches no linear layer of this model"), "{errors}");
    assert!(errors.contains("the nearest name first: value, "), "{errors}");
}
