//! Compares the CPU backend with the candle backend in f64, and with candle-transformers.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

use super::gradient_buffer::GradientBuffer;
use super::head::WantedHead;
use super::operations::Place;
use super::{Backend, Network, Pass, Training};
use crate::train::batch::{MicroBatch, Mix};
use crate::train::tasks::Target;
use crate::train::testing::{Checkpoint, Gradients, batch, classification, config, gradients};
use crate::trial::{AdapterActivation, AdaptersConfig, Extra, LoraConfig, LstmPooling, ModelConfig, Pooling};
use plateau_kernels::product::Precision;
use plateau_random::{Purpose, Random};

fn both(checkpoint: &Checkpoint, model: &ModelConfig, micro: &MicroBatch, smoothing: f64) -> (Gradients, Gradients) {
    let load =
        |dtype| Network::load_as(&checkpoint.config, &[&checkpoint.weights], model, 3, 5, &Device::Cpu, dtype).unwrap();
    let exact = Network { backend: Backend::Candle, ..load(DType::F64) };
    (gradients(load(DType::F32), micro, smoothing), gradients(exact, micro, smoothing))
}

#[track_caller]
fn agree(both: (Gradients, Gradients)) {
    agree_within(1e-5, both);
}

#[track_caller]
fn agree_within(tolerance: f64, (ours, exact): (Gradients, Gradients)) {
    assert!((ours.0 - exact.0).abs() < tolerance * exact.0, "loss {} instead of {}", ours.0, exact.0);
    let norm = |g: &[f64]| g.iter().map(|x| x * x).sum::<f64>().sqrt();
    let all: f64 = exact.1.iter().flat_map(|(_, g)| g).map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    for ((name, ours), (_, exact)) in ours.1.iter().zip(&exact.1) {
        match (ours, exact) {
            (Some(ours), Some(exact)) => {
                let off: Vec<f64> = ours.iter().zip(exact).map(|(a, b)| a - b).collect();
                // Small gradients are compared at the scale of all gradients: those of key biases are rounding errors.
                let scale = norm(exact).max(1e-2 * all);
                assert!(norm(&off) < tolerance * scale, "{name}: off by {:e} of {scale:e}", norm(&off));
            }
            (None, None) => {}
            _ => panic!("{name}: only one backend has a gradient"),
        }
    }
}

fn value<'a>(model: &'a Network, name: &str) -> &'a Tensor {
    model.parameters.iter().find(|parameter| parameter.name == name).unwrap().value.as_tensor()
}

/// A small `config.json` of every architecture but BERT.
const OTHERS: [&str; 19] = [
    r#"{"model_type": "distilbert", "vocab_size": 50, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40,
        "max_position_embeddings": 40}"#,
    r#"{"model_type": "roberta", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 42, "type_vocab_size": 1, "layer_norm_eps": 1e-5}"#,
    r#"{"model_type": "electra", "vocab_size": 50, "embedding_size": 16, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 40}"#,
    r#"{"model_type": "electra", "vocab_size": 50, "embedding_size": 24, "hidden_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 40, "max_position_embeddings": 40}"#,
    r#"{"model_type": "albert", "vocab_size": 50, "embedding_size": 16, "hidden_size": 24, "num_hidden_layers": 5,
        "num_hidden_groups": 2, "inner_group_num": 2, "num_attention_heads": 3, "intermediate_size": 40,
        "max_position_embeddings": 40, "hidden_dropout_prob": 0.1}"#,
    r#"{"model_type": "mpnet", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 42}"#,
    r#"{"model_type": "modernbert", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 40, "local_attention": 8, "local_rope_theta": 50.0,
        "global_rope_theta": 2000.0}"#,
    r#"{"model_type": "modernbert", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 40, "max_position_embeddings": 40, "local_attention": 5, "norm_bias": true,
        "attention_bias": true, "mlp_bias": true, "classifier_bias": true, "classifier_pooling": "mean",
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"full_attention": {"rope_theta": 900.0}, "sliding_attention": {"rope_theta": 30.0}}}"#,
    r#"{"model_type": "longformer", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 42, "attention_window": [2, 6], "type_vocab_size": 1}"#,
    r#"{"model_type": "longformer", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 40, "max_position_embeddings": 42, "attention_window": 4, "layer_norm_eps": 1e-5}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "relative_attention": true, "pos_att_type": "p2c|c2p", "share_att_key": true,
        "position_buckets": 6, "max_relative_positions": 12, "norm_rel_ebd": "layer_norm", "position_biased_input": false}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "relative_attention": true, "pos_att_type": ["c2p", "p2c"], "max_position_embeddings": 40,
        "max_relative_positions": 5, "type_vocab_size": 2, "embedding_size": 16, "conv_kernel_size": 3}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 40, "relative_attention": true, "pos_att_type": ["p2c"], "position_biased_input": false,
        "max_position_embeddings": 40, "conv_kernel_size": 5, "conv_act": "gelu"}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 40, "relative_attention": true, "pos_att_type": "c2p", "position_buckets": 4,
        "max_position_embeddings": 40}"#,
    r#"{"model_type": "bag_of_words", "vocab_size": 50, "embedding_size": 24}"#,
    r#"{"model_type": "bag_of_words", "vocab_size": 50, "embedding_size": 24, "hidden_size": 10}"#,
    r#"{"model_type": "textcnn", "vocab_size": 50, "embedding_size": 24, "kernels": [1, 3, 4], "filters": 7}"#,
    r#"{"model_type": "bilstm", "vocab_size": 50, "embedding_size": 24, "hidden_size": 10}"#,
    r#"{"model_type": "bilstm", "vocab_size": 50, "embedding_size": 24, "hidden_size": 7, "num_layers": 2, "pooling": "last"}"#,
];

/// The numbers of layers that can be frozen.
fn freezable(config: &str) -> Vec<usize> {
    if config.contains("albert") {
        vec![0, 3, 5]
    } else if config.contains("bag_of_words") {
        vec![0]
    } else {
        vec![0, 1]
    }
}

/// Whether the network has a head of its own, so that pooling cannot be chosen.
fn has_fixed_head(config: &str) -> bool {
    !config.contains("num_attention_heads") && !config.contains("n_heads")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_architecture_has_the_gradients_of_candle(
        lengths in prop::collection::vec(1usize..20, 1..6),
        json in prop::sample::select(OTHERS.to_vec()),
        pooling in prop::sample::select(vec![Pooling::Cls, Pooling::Mean, Pooling::Pooler]),
        dropout in prop::sample::select(vec![0.0, 0.25]),
        frozen in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let pooling = if has_fixed_head(json) { Pooling::Pooler } else { pooling };
        let checkpoint = Checkpoint::of_architecture(json, pooling, seed);
        let freeze = *frozen.get(&freezable(json));
        let wanted = ModelConfig { pooling: Some(pooling), dropout: Some(dropout), freeze, ..config().model };
        agree(both(&checkpoint, &wanted, &batch(seed, &lengths, 50, 3), 0.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn lora_has_the_gradients_of_candle_in_every_encoder(
        lengths in prop::collection::vec(1usize..20, 1..6),
        json in prop::sample::select(OTHERS.iter().copied().filter(|json| !has_fixed_head(json)).collect::<Vec<_>>()),
        rank in 1usize..5,
        frozen in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let targets = vec![LoraConfig::ALL.to_owned()];
        let lora = LoraConfig { r: rank, alpha: rank as f64, targets, ..LoraConfig::default() };
        let freeze = *frozen.get(&freezable(json));
        let wanted = ModelConfig { pooling: Some(Pooling::Pooler), freeze, lora: Some(lora), ..config().model };
        let checkpoint = Checkpoint::of_model(json, &wanted, seed);
        // The changes make the weights larger, and rounding errors grow with them.
        agree_within(1e-4, both(&checkpoint, &wanted, &batch(seed, &lengths, 50, 3), 0.0));
    }
}

/// A BERT whose weights are large enough to be packed.
const WIDE: &str = r#"{"model_type": "bert", "vocab_size": 50, "hidden_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 256, "max_position_embeddings": 80}"#;

/// The candle backend rounds factors and results, as torch's autocast does. The kernels round only factors.
#[test]
fn gradients_in_bf16_are_close_to_those_in_f64() {
    let wanted = ModelConfig { pooling: Some(Pooling::Mean), dropout: Some(0.1), ..config().model };
    let checkpoint = Checkpoint::of_architecture(WIDE, Pooling::Mean, 4);
    let load = |dtype| {
        Network::load_as(&checkpoint.config, &[&checkpoint.weights], &wanted, 3, 5, &Device::Cpu, dtype).unwrap()
    };
    for lengths in [vec![64, 3, 70, 17], vec![70; 5]] {
        let micro = batch(2, &lengths, 50, 3);
        let all = |network: Network| -> Vec<f64> {
            gradients(network, &micro, 0.0).1.into_iter().filter_map(|(_, gradient)| gradient).flatten().collect()
        };
        let exact = all(Network { backend: Backend::Candle, ..load(DType::F64) });
        let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let [ours, autocast] = [Backend::Kernels, Backend::Candle].map(|backend| {
            let rounded = all(Network { backend, ..load(DType::F32).with_precision(Precision::Bf16) });
            let off: Vec<f64> = rounded.iter().zip(&exact).map(|(a, b)| a - b).collect();
            norm(&off) / norm(&exact)
        });
        assert!(ours > 1e-4 && ours < 1.2 * autocast && autocast < 0.1, "{ours} and {autocast}");
    }
}

/// Modules on top of an encoder.
fn extras() -> Vec<Extra> {
    let bilstm = |layers, pooling| Extra::Bilstm { hidden: 7, layers, pooling };
    vec![
        bilstm(1, LstmPooling::Max),
        bilstm(2, LstmPooling::Last),
        Extra::Textcnn { kernels: vec![1, 3], filters: 5 },
        Extra::Attention { hidden: 6 },
    ]
}

fn adapters() -> Vec<AdaptersConfig> {
    use crate::trial::AdapterPlace;
    let adapters = |after: &[AdapterPlace], activation| AdaptersConfig { size: 4, after: after.to_vec(), activation };
    vec![
        adapters(&[AdapterPlace::Attention, AdapterPlace::Mlp], AdapterActivation::Gelu),
        adapters(&[AdapterPlace::Attention], AdapterActivation::Relu),
        adapters(&[AdapterPlace::Mlp], AdapterActivation::Tanh),
    ]
}

/// Encoders, without the networks that have a head of their own.
fn encoders() -> Vec<&'static str> {
    OTHERS.iter().copied().filter(|json| !has_fixed_head(json)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn modules_have_the_gradients_of_candle_in_every_encoder(
        lengths in prop::collection::vec(1usize..20, 1..6),
        json in prop::sample::select(encoders()),
        extra in prop::option::of(prop::sample::select(extras())),
        adapters in prop::option::of(prop::sample::select(adapters())),
        dropout in prop::sample::select(vec![0.0, 0.25]),
        frozen in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let freeze = *frozen.get(&freezable(json));
        let extra = extra.unwrap_or_default();
        let wanted = ModelConfig { dropout: Some(dropout), freeze, extra, adapters, pooling: None, ..config().model };
        let checkpoint = Checkpoint::of_model(json, &wanted, seed);
        agree_within(1e-4, both(&checkpoint, &wanted, &batch(seed, &lengths, 50, 3), 0.0));
    }
}

/// What is trained beside adapters, and that every trained parameter gets a gradient.
#[test]
fn adapters_are_trained_with_every_layer_norm_and_the_head() {
    for json in encoders() {
        for (adapters, extra) in adapters().into_iter().zip(extras()) {
            // All units of a ReLU may be off.
            let adapters = Some(AdaptersConfig { activation: AdapterActivation::Gelu, ..adapters });
            let wanted = ModelConfig { adapters, extra, pooling: None, ..config().model };
            let checkpoint = Checkpoint::of_model(json, &wanted, 3);
            let network =
                Network::load(&checkpoint.config, &[&checkpoint.weights], &wanted, 3, 5, &Device::Cpu).unwrap();
            for parameter in &network.parameters {
                let name = &parameter.name;
                let is_new =
                    ["adapter.", "orm.", "norm.", "extra.", "classifier."].iter().any(|part| name.contains(part));
                assert_eq!(parameter.trainable, is_new, "{json}: {name}");
            }
            let trained: Vec<bool> = network.parameters.iter().map(|parameter| parameter.trainable).collect();
            let (_, gradients) = gradients(network, &batch(1, &[12, 1, 7], 50, 3), 0.0);
            for ((name, gradient), is_trained) in gradients.iter().zip(trained) {
                assert_eq!(gradient.is_some(), is_trained, "{json}: {name}");
                let is_zero = gradient.as_ref().is_some_and(|gradient| gradient.iter().all(|&x| x == 0.0));
                assert!(!is_zero, "{json}: the gradient of {name} is zero");
            }
        }
    }
}

#[test]
fn modules_that_do_not_fit_are_refused() {
    let refused = |json: &str, change: fn(&mut ModelConfig)| {
        let checkpoint = Checkpoint::of_architecture(json, Pooling::Pooler, 1);
        let mut wanted = config().model;
        change(&mut wanted);
        let loaded = Network::load(&checkpoint.config, &[&checkpoint.weights], &wanted, 3, 5, &Device::Cpu);
        loaded.unwrap_err().to_string()
    };
    let bag = r#"{"model_type": "bag_of_words", "vocab_size": 50, "embedding_size": 24}"#;
    let add: fn(&mut ModelConfig) = |model| model.extra = Extra::Attention { hidden: 3 };
    assert!(refused(bag, add).contains("need an encoder"));
    assert!(refused(bag, |model| model.adapters = Some(AdaptersConfig::default())).contains("need an encoder"));
    let message = refused(OTHERS[0], |model| {
        model.extra = Extra::Attention { hidden: 3 };
        model.pooling = Some(Pooling::Mean);
    });
    insta::assert_snapshot!(message, @"model.pooling does not apply with model.extra, which has its own; remove it");
    let message = refused(OTHERS[0], |model| {
        model.adapters = Some(AdaptersConfig::default());
        model.lora = Some(LoraConfig { targets: vec!["q_lin".into()], ..LoraConfig::default() });
    });
    insta::assert_snapshot!(message, @"model.adapters and model.lora are both set; keep one of them");
}

#[test]
fn a_target_of_lora_that_matches_nothing_is_named_with_the_layers() {
    let checkpoint = Checkpoint::of_architecture(OTHERS[0], Pooling::Pooler, 1);
    let wanted = ModelConfig { lora: Some(LoraConfig::default()), ..config().model };
    let loaded = Network::load(&checkpoint.config, &[&checkpoint.weights], &wanted, 3, 5, &Device::Cpu);
    let message = loaded.unwrap_err().to_string();
    assert!(message.contains("the target `query` of model.lora") && message.contains("first: q_lin, "), "{message}");
}

#[test]
fn layers_with_shared_parameters_cannot_be_separated() {
    let albert = Checkpoint::of_architecture(OTHERS[4], Pooling::Pooler, 1);
    let load = |freeze, reinit| {
        let wanted = ModelConfig { freeze, reinit, ..config().model };
        Network::load(&albert.config, &[&albert.weights], &wanted, 3, 5, &Device::Cpu).map(drop)
    };
    for (freeze, reinit) in [(0, 0), (3, 0), (5, 0), (0, 2), (0, 5), (3, 2)] {
        load(freeze, reinit).unwrap();
    }
    insta::assert_snapshot!(load(2, 0).unwrap_err(), @"model.freeze is 2, but layers of this checkpoint share parameters; use one of 0, 3, 5");
    insta::assert_snapshot!(load(0, 1).unwrap_err(), @"model.reinit is 1, but layers of this checkpoint share parameters; use one of 0, 2, 5");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn loss_and_every_gradient_equal_those_of_candle(
        lengths in prop::collection::vec(1usize..20, 1..6),
        pooling in prop::sample::select(vec![Pooling::Cls, Pooling::Mean, Pooling::Pooler]),
        act in prop::sample::select(vec!["gelu", "gelu_new", "relu"]),
        dropout in prop::sample::select(vec![0.0, 0.25]),
        smoothing in prop::sample::select(vec![0.0, 0.1]),
        freeze in 0usize..=2,
        mixed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let checkpoint = Checkpoint::random(seed, &format!(r#", "hidden_act": "{act}""#));
        let wanted = ModelConfig { pooling: Some(pooling), dropout: Some(dropout), freeze, ..config().model };
        let mut micro = batch(seed, &lengths, 50, 3);
        micro.mix = mixed.then(|| Mix::draw(Random::new(seed, Purpose::Mixup), &micro.places, 1.0));
        agree(both(&checkpoint, &wanted, &micro, smoothing));
    }
}

#[test]
fn every_parameter_of_the_embedded_model_learns() {
    let checkpoint = Checkpoint::embedded();
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::Pooler] {
        let mut config = config();
        config.model = ModelConfig { pooling: Some(pooling), dropout: Some(0.1), ..config.model };
        let (_, gradients) = gradients(checkpoint.network(&config, 3), &batch(1, &[12, 1, 7], 8192, 3), 0.0);
        for (name, gradient) in gradients {
            let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
            assert!(gradient.iter().any(|&g| g != 0.0), "the gradient of {name} is zero");
        }
    }
}

#[test]
fn a_frozen_part_has_no_gradient_and_no_dropout() {
    let checkpoint = Checkpoint::random(2, "");
    let model = ModelConfig { freeze: 1, dropout: Some(0.5), ..config().model };
    let load = |model: &ModelConfig| {
        Network::load(&checkpoint.config, &[&checkpoint.weights], model, 3, 5, &Device::Cpu).unwrap()
    };
    let (_, gradients) = gradients(load(&model), &batch(1, &[5, 9], 50, 3), 0.0);
    for (name, gradient) in gradients {
        let frozen = name.starts_with("embeddings") || name.starts_with("encoder.layer.0");
        assert_eq!(gradient.is_none(), frozen, "{name}");
    }
    let training = Training {
        random: Random::new(1, Purpose::Dropout),
        gradients: Arc::new(GradientBuffer::new(&[])),
        scale: 1.0,
        task: classification(3, 0.0),
    };
    let pass = Pass {
        model: Arc::new(load(&model)),
        batch: Arc::new(batch(1, &[5, 9], 50, 3)),
        training: Some(training),
        packed: Arc::default(),
    };
    for place in
        [Place::EMBEDDINGS, Place::attention(0, 0), Place::attention_output(0, 0), Place::feed_forward_output(0, 0)]
    {
        assert!(pass.dropout(place).is_none(), "{place:?}");
    }
    for place in
        [Place::attention(1, 1), Place::attention_output(1, 1), Place::feed_forward_output(1, 1), Place::CLASSIFIER]
    {
        assert!(pass.dropout(place).is_some(), "{place:?}");
    }
}

#[test]
fn mixing_is_of_pooled_outputs_and_labels_and_in_training_alone() {
    let checkpoint = Checkpoint::random(4, "");
    let settings = config();
    let plain = batch(7, &[5, 3], 50, 3);
    let loss = |micro: &MicroBatch| gradients(checkpoint.network(&settings, 3), micro, 0.0).0;
    let mixed = |partners: [u32; 2], shares: [f64; 2]| MicroBatch {
        mix: Some(Mix { partners: partners.to_vec(), shares: shares.to_vec() }),
        ..plain.clone()
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * b, "{a} instead of {b}");
    close(loss(&mixed([0, 1], [0.3, 0.6])), loss(&plain));
    close(loss(&mixed([1, 0], [1.0, 1.0])), loss(&plain));
    // A sequence that is all its partner's is the partner: output and label have changed places together.
    close(loss(&mixed([1, 0], [0.0, 0.0])), loss(&plain));
    assert!((loss(&mixed([1, 0], [0.5, 0.5])) - loss(&plain)).abs() > 1e-4);
    let model = Arc::new(checkpoint.network(&settings, 3));
    let score = |batch: MicroBatch| {
        Pass { model: model.clone(), batch: Arc::new(batch), training: None, packed: Arc::default() }.logits().unwrap()
    };
    assert_eq!(score(mixed([1, 0], [0.5, 0.5])), score(plain.clone()));
}

/// The shortcuts of predictions change only the rounding.
#[test]
fn predictions_equal_the_logits() {
    let checkpoint = Checkpoint::embedded();
    for pooling in [Pooling::Cls, Pooling::Pooler, Pooling::Mean] {
        let mut settings = config();
        settings.model.pooling = Some(pooling);
        let model = Arc::new(checkpoint.network(&settings, 3));
        let batch = Arc::new(batch(4, &[12, 1, 7], 8192, 3));
        let pass = || Pass { model: model.clone(), batch: batch.clone(), training: None, packed: Arc::default() };
        let (logits, predictions) = (pass().logits().unwrap(), pass().predictions().unwrap());
        assert_eq!(logits.len(), predictions.len());
        for (logit, prediction) in logits.iter().zip(&predictions) {
            assert!((logit - prediction).abs() < 1e-5, "{predictions:?} instead of {logits:?}");
        }
    }
}

/// Removing tokens from a packed sequence equals masking them: candle-transformers gets the whole sequence and a mask.
#[test]
fn removed_tokens_are_masked_in_attention_and_input() {
    use candle_transformers::models::bert::{BertModel, Config};

    let checkpoint = Checkpoint::embedded();
    let mut settings = config();
    settings.model.pooling = Some(Pooling::Mean);
    let model = checkpoint.network(&settings, 3);
    let whole = batch(4, &[12], 8192, 3);
    let kept: Vec<usize> = vec![0, 1, 3, 4, 7, 8, 9, 11];
    let part = MicroBatch {
        ids: kept.iter().map(|&i| whole.ids[i]).collect(),
        types: vec![0; kept.len()],
        positions: kept.iter().map(|&i| i as u32).collect(),
        offsets: vec![0, kept.len() as u32],
        ..whole.clone()
    };
    let oracle: Config = serde_json::from_slice(&checkpoint.config).unwrap();
    let vars =
        candle_nn::VarBuilder::from_buffered_safetensors(checkpoint.weights.clone(), DType::F32, &Device::Cpu).unwrap();
    let oracle = BertModel::load(vars, &oracle).unwrap();
    let ids = Tensor::new(whole.ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let mask: Vec<u32> = (0..12).map(|i| u32::from(kept.contains(&i))).collect();
    let mask = Tensor::new(mask, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let hidden = oracle.forward(&ids, &ids.zeros_like().unwrap(), Some(&mask)).unwrap().squeeze(0).unwrap();
    let rows = Tensor::new(kept.iter().map(|&i| i as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let pooled = hidden.index_select(&rows, 0).unwrap().mean_keepdim(0).unwrap();
    let classifier = value(&model, "classifier.weight");
    let expected: Vec<f32> = pooled.matmul(&classifier.t().unwrap()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let ours = Pass { model: Arc::new(model), batch: Arc::new(part), training: None, packed: Arc::default() }
        .logits()
        .unwrap();
    for (a, b) in ours.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{ours:?} instead of {expected:?}");
    }
}

/// The BERT of candle-transformers has a correct forward pass, although it cannot be trained.
#[test]
fn the_encoder_equals_candle_transformers() {
    use candle_transformers::models::bert::{BertModel, Config};

    let checkpoint = Checkpoint::embedded();
    let mut settings = config();
    settings.model.pooling = Some(Pooling::Mean);
    let model = checkpoint.network(&settings, 3);
    let mut micro = batch(4, &[17, 5, 1, 29], 8192, 3);
    micro.types.fill(0);
    let oracle: Config = serde_json::from_slice(&checkpoint.config).unwrap();
    let vars =
        candle_nn::VarBuilder::from_buffered_safetensors(checkpoint.weights.clone(), DType::F32, &Device::Cpu).unwrap();
    let oracle = BertModel::load(vars, &oracle).unwrap();
    let mut expected = Vec::new();
    for bounds in micro.offsets.windows(2) {
        let ids = Tensor::new(&micro.ids[bounds[0] as usize..bounds[1] as usize], &Device::Cpu).unwrap();
        let ids = ids.unsqueeze(0).unwrap();
        let hidden = oracle.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
        let pooled = hidden.mean(1).unwrap();
        let classifier = value(&model, "classifier.weight");
        expected
            .extend(pooled.matmul(&classifier.t().unwrap()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    let ours = Pass { model: Arc::new(model), batch: Arc::new(micro), training: None, packed: Arc::default() }
        .logits()
        .unwrap();
    for (a, b) in ours.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{ours:?} instead of {expected:?}");
    }
}

#[test]
fn sequences_packed_together_score_as_alone() {
    let checkpoint = Checkpoint::random(8, "");
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::Pooler] {
        let mut settings = config();
        settings.model.pooling = Some(pooling);
        let model = Arc::new(checkpoint.network(&settings, 3));
        let lengths = [3, 11, 1, 20];
        let whole = batch(6, &lengths, 50, 3);
        let score = |batch: MicroBatch| {
            Pass { model: model.clone(), batch: Arc::new(batch), training: None, packed: Arc::default() }
                .logits()
                .unwrap()
        };
        let together = score(whole.clone());
        for (s, alone) in together.chunks(3).enumerate() {
            let span = whole.offsets[s] as usize..whole.offsets[s + 1] as usize;
            let single = MicroBatch {
                ids: whole.ids[span.clone()].to_vec(),
                types: whole.types[span.clone()].to_vec(),
                positions: whole.positions[span].to_vec(),
                offsets: vec![0, lengths[s] as u32],
                outputs: None,
                targets: vec![Target::Class(0)],
                places: vec![0],
                mix: None,
                frozen: None,
            };
            for (a, b) in score(single).iter().zip(alone) {
                assert!((a - b).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn sequences_of_every_architecture_score_together_as_alone() {
    for json in OTHERS {
        let checkpoint = Checkpoint::of_architecture(json, Pooling::Pooler, 3);
        let wanted = ModelConfig { pooling: Some(Pooling::Pooler), ..config().model };
        let model = Network::load(&checkpoint.config, &[&checkpoint.weights], &wanted, 3, 5, &Device::Cpu).unwrap();
        let model = Arc::new(model);
        let score = |batch: MicroBatch| {
            Pass { model: model.clone(), batch: Arc::new(batch), training: None, packed: Arc::default() }
                .logits()
                .unwrap()
        };
        let whole = batch(6, &[3, 11, 1, 20], 50, 3);
        for (s, together) in score(whole.clone()).chunks(3).enumerate() {
            let span = whole.offsets[s] as usize..whole.offsets[s + 1] as usize;
            let single = MicroBatch {
                ids: whole.ids[span.clone()].to_vec(),
                types: whole.types[span.clone()].to_vec(),
                positions: whole.positions[span.clone()].to_vec(),
                offsets: vec![0, span.len() as u32],
                targets: vec![Target::Class(0)],
                places: vec![0],
                ..whole.clone()
            };
            for (alone, together) in score(single).iter().zip(together) {
                assert!((alone - together).abs() < 1e-5, "{json}: {alone} alone, {together} together");
            }
        }
    }
}

#[test]
fn dropout_does_not_depend_on_micro_batches() {
    let checkpoint = Checkpoint::random(8, "");
    let model = ModelConfig { dropout: Some(0.3), ..config().model };
    let load = || Network::load(&checkpoint.config, &[&checkpoint.weights], &model, 3, 5, &Device::Cpu).unwrap();
    let whole = batch(6, &[4, 9, 2], 50, 3);
    let loss = gradients(load(), &whole, 0.0).0 * 3.0;
    let parts: f64 = (0..3)
        .map(|s| {
            let span = whole.offsets[s] as usize..whole.offsets[s + 1] as usize;
            let part = MicroBatch {
                ids: whole.ids[span.clone()].to_vec(),
                types: whole.types[span.clone()].to_vec(),
                positions: whole.positions[span.clone()].to_vec(),
                offsets: vec![0, span.len() as u32],
                outputs: None,
                targets: vec![whole.targets[s].clone()],
                places: vec![s as u32],
                mix: None,
                frozen: None,
            };
            gradients(load(), &part, 0.0).0
        })
        .sum();
    assert!((loss - parts).abs() < 1e-5 * loss, "{loss} in one piece, {parts} in three");
}

mod loading {
    use super::*;

    fn message(config: &[u8], weights: &[u8], change: impl FnOnce(&mut ModelConfig)) -> String {
        let mut model = crate::train::testing::config().model;
        change(&mut model);
        Network::load(config, &[weights], &model, 3, 5, &Device::Cpu).unwrap_err().to_string()
    }

    #[test]
    fn parameters_that_do_not_match_are_named() {
        let good = Checkpoint::random(1, "");
        let without: Vec<(String, safetensors::tensor::TensorView<'_>)> =
            safetensors::SafeTensors::deserialize(&good.weights)
                .unwrap()
                .tensors()
                .into_iter()
                .filter(|(name, _)| name != "bert.encoder.layer.1.output.dense.bias")
                .collect();
        let without = safetensors::serialize(without, None).unwrap();
        insta::assert_snapshot!(message(&good.config, &without, |_| ()), @"the weights do not match config.json: 'encoder.layer.1.output.dense.bias' is missing. Copy config.json and model.safetensors from the same checkpoint");
        let wide = String::from_utf8(good.config.clone())
            .unwrap()
            .replace("\"intermediate_size\": 40", "\"intermediate_size\": 48");
        insta::assert_snapshot!(message(wide.as_bytes(), &good.weights, |_| ()), @"the weights do not match config.json: 'encoder.layer.0.intermediate.dense.weight' has shape [40, 24]; config.json requires [48, 24] (and 5 more). Copy config.json and model.safetensors from the same checkpoint");
        insta::assert_snapshot!(message(&good.config, &good.weights, |m| m.freeze = 3), @"model.freeze is 3, but the checkpoint has 2 layers");
        assert!(message(&good.config, b"not safetensors", |_| ()).contains("not a valid safetensors file"));
    }

    #[test]
    fn new_values_follow_the_seed_and_other_values_stay() {
        let good = Checkpoint::random(1, "");
        let load = |reinit, seed| {
            let model = ModelConfig { reinit, pooling: Some(Pooling::Pooler), ..crate::train::testing::config().model };
            Network::load(&good.config, &[&good.weights], &model, 3, seed, &Device::Cpu).unwrap()
        };
        let values = |network: &Network, name: &str| -> Vec<f32> {
            let parameter = network.parameters.iter().find(|p| p.name == name).unwrap();
            parameter.value.flatten_all().unwrap().to_vec1().unwrap()
        };
        let (plain, renewed, other) = (load(0, 5), load(1, 5), load(1, 6));
        for name in ["encoder.layer.1.output.dense.weight", "encoder.layer.1.output.LayerNorm.weight"] {
            assert_ne!(values(&plain, name), values(&renewed, name), "{name}");
        }
        assert_eq!(
            values(&plain, "encoder.layer.0.output.dense.weight"),
            values(&renewed, "encoder.layer.0.output.dense.weight")
        );
        assert_eq!(values(&plain, "classifier.weight"), values(&renewed, "classifier.weight"));
        assert_ne!(values(&renewed, "classifier.weight"), values(&other, "classifier.weight"));
        assert!(values(&renewed, "encoder.layer.1.output.dense.bias").iter().all(|&x| x == 0.0));
        // A new classifier is not the one that an earlier training with this seed started from.
        let model = ModelConfig { pooling: Some(Pooling::Pooler), ..crate::train::testing::config().model };
        let head = WantedHead { is_new: true, ..WantedHead::from(3) };
        let new = Network::load(&good.config, &[&good.weights], &model, head, 5, &Device::Cpu).unwrap();
        assert_ne!(values(&plain, "classifier.weight"), values(&new, "classifier.weight"));
        assert_eq!(values(&plain, "pooler.dense.weight"), values(&new, "pooler.dense.weight"));
        let spread = values(&renewed, "pooler.dense.weight");
        let deviation = (spread.iter().map(|x| x * x).sum::<f32>() / spread.len() as f32).sqrt();
        assert!((deviation - 0.02).abs() < 0.002, "deviation {deviation}");
    }
}
