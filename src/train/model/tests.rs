//! The CPU model against the composed one in f64, and against candle-transformers.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;

use super::gradient_buffer::GradientBuffer;
use super::pass::Place;
use super::{Bert, Pass, Training};
use crate::train::batch::{MicroBatch, Mix};
use crate::train::optim::RowGradients;
use crate::train::testing::{Checkpoint, batch, config};
use crate::trial::{ModelConfig, Pooling};
use plateau_kernels::vector::add;
use plateau_random::{Purpose, Random};

/// The loss and the gradient of every parameter, by name; None for a frozen one.
type Slopes = (f64, Vec<(String, Option<Vec<f64>>)>);

fn slopes(model: Bert, micro: &MicroBatch, smoothing: f64) -> Slopes {
    let model = Arc::new(model);
    let lane = Arc::new(GradientBuffer::new(&model.parameters));
    let weight = 1.0 / micro.sequences() as f64;
    let random = Random::new(3, Purpose::Dropout).at(9);
    let training = Training { random, gradients: lane.clone(), weight, smoothing };
    let pass = Pass { model: model.clone(), batch: Arc::new(micro.clone()), training: Some(training) };
    let loss = pass.train().unwrap();
    let tensors = lane.take_tensors();
    let rows = RowGradients::sum(&lane.take_token_gradients(), model.config.hidden);
    let gradient = |i: usize| -> Option<Vec<f64>> {
        if let Some(tensor) = tensors.get(&i) {
            return Some(tensor.flatten_all().unwrap().to_vec1().unwrap());
        }
        if i == model.index.words && !rows.ids.is_empty() {
            let mut dense = vec![0.0; model.parameters[i].value.elem_count()];
            for (&id, row) in rows.ids.iter().zip(rows.values.chunks(model.config.hidden)) {
                add(&mut dense[id as usize * model.config.hidden..][..model.config.hidden], row);
            }
            return Some(dense.into_iter().map(f64::from).collect());
        }
        lane.parameter(i).gradient().map(|g| g.iter().map(|&x| f64::from(x)).collect())
    };
    let names = model.parameters.iter().enumerate();
    (loss, names.map(|(i, parameter)| (parameter.name.clone(), gradient(i))).collect())
}

fn both(checkpoint: &Checkpoint, model: &ModelConfig, micro: &MicroBatch, smoothing: f64) -> (Slopes, Slopes) {
    let load =
        |dtype| Bert::load_as(&checkpoint.config, &[&checkpoint.weights], model, 3, 5, &Device::Cpu, dtype).unwrap();
    let exact = Bert { composed: true, ..load(DType::F64) };
    (slopes(load(DType::F32), micro, smoothing), slopes(exact, micro, smoothing))
}

#[track_caller]
fn agree((ours, exact): (Slopes, Slopes)) {
    assert!((ours.0 - exact.0).abs() < 1e-5 * exact.0, "loss {} instead of {}", ours.0, exact.0);
    let norm = |g: &[f64]| g.iter().map(|x| x * x).sum::<f64>().sqrt();
    let all: f64 = exact.1.iter().flat_map(|(_, g)| g).map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    for ((name, ours), (_, exact)) in ours.1.iter().zip(&exact.1) {
        match (ours, exact) {
            (Some(ours), Some(exact)) => {
                let off: Vec<f64> = ours.iter().zip(exact).map(|(a, b)| a - b).collect();
                // Small gradients (the keys' biases have none but rounding) are held to the scale of all of them.
                let scale = norm(exact).max(1e-2 * all);
                assert!(norm(&off) < 1e-5 * scale, "{name}: off by {:e} of {scale:e}", norm(&off));
            }
            (None, None) => {}
            _ => panic!("{name}: only one of the two has a gradient"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn loss_and_every_gradient_equal_candles_own(
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
        let (_, gradients) = slopes(checkpoint.bert(&config, 3), &batch(1, &[12, 1, 7], 8192, 3), 0.0);
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
        Bert::load(&checkpoint.config, &[&checkpoint.weights], model, 3, 5, &Device::Cpu).unwrap()
    };
    let (_, gradients) = slopes(load(&model), &batch(1, &[5, 9], 50, 3), 0.0);
    for (name, gradient) in gradients {
        let frozen = name.starts_with("embeddings") || name.starts_with("encoder.layer.0");
        assert_eq!(gradient.is_none(), frozen, "{name}");
    }
    let training = Training {
        random: Random::new(1, Purpose::Dropout),
        gradients: Arc::new(GradientBuffer::new(&[])),
        weight: 1.0,
        smoothing: 0.0,
    };
    let pass =
        Pass { model: Arc::new(load(&model)), batch: Arc::new(batch(1, &[5, 9], 50, 3)), training: Some(training) };
    for place in [Place::Embeddings, Place::Attention(0), Place::AttentionOutput(0), Place::Output(0)] {
        assert!(pass.dropout(place).is_none(), "{place:?}");
    }
    for place in [Place::Attention(1), Place::AttentionOutput(1), Place::Output(1), Place::Classifier] {
        assert!(pass.dropout(place).is_some(), "{place:?}");
    }
}

#[test]
fn mixing_is_of_pooled_outputs_and_labels_and_in_training_alone() {
    let checkpoint = Checkpoint::random(4, "");
    let settings = config();
    let plain = batch(7, &[5, 3], 50, 3);
    let loss = |micro: &MicroBatch| slopes(checkpoint.bert(&settings, 3), micro, 0.0).0;
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
    let model = Arc::new(checkpoint.bert(&settings, 3));
    let score =
        |batch: MicroBatch| Pass { model: model.clone(), batch: Arc::new(batch), training: None }.logits().unwrap();
    assert_eq!(score(mixed([1, 0], [0.5, 0.5])), score(plain.clone()));
}

/// Leaving tokens out of a packed sequence is masking them: candle-transformers is given the whole and a mask.
#[test]
fn tokens_left_out_are_masked_out_of_attention_and_input() {
    use candle_transformers::models::bert::{BertModel, Config};

    let checkpoint = Checkpoint::embedded();
    let mut settings = config();
    settings.model.pooling = Some(Pooling::Mean);
    let model = checkpoint.bert(&settings, 3);
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
    let classifier = &model.parameters[model.index.classifier.weight].value;
    let expected: Vec<f32> = pooled.matmul(&classifier.t().unwrap()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let ours = Pass { model: Arc::new(model), batch: Arc::new(part), training: None }.logits().unwrap();
    for (a, b) in ours.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-5, "{ours:?} instead of {expected:?}");
    }
}

/// candle-transformers' BERT is a good oracle for the forward pass (though it cannot be trained).
#[test]
fn the_trunk_gives_what_candle_transformers_gives() {
    use candle_transformers::models::bert::{BertModel, Config};

    let checkpoint = Checkpoint::embedded();
    let mut settings = config();
    settings.model.pooling = Some(Pooling::Mean);
    let model = checkpoint.bert(&settings, 3);
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
        let classifier = &model.parameters[model.index.classifier.weight].value;
        expected
            .extend(pooled.matmul(&classifier.t().unwrap()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }
    let ours = Pass { model: Arc::new(model), batch: Arc::new(micro), training: None }.logits().unwrap();
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
        let model = Arc::new(checkpoint.bert(&settings, 3));
        let lengths = [3, 11, 1, 20];
        let whole = batch(6, &lengths, 50, 3);
        let score =
            |batch: MicroBatch| Pass { model: model.clone(), batch: Arc::new(batch), training: None }.logits().unwrap();
        let together = score(whole.clone());
        for (s, alone) in together.chunks(3).enumerate() {
            let span = whole.offsets[s] as usize..whole.offsets[s + 1] as usize;
            let single = MicroBatch {
                ids: whole.ids[span.clone()].to_vec(),
                types: whole.types[span.clone()].to_vec(),
                positions: whole.positions[span].to_vec(),
                offsets: vec![0, lengths[s] as u32],
                labels: vec![0],
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
fn dropout_does_not_depend_on_how_a_batch_is_cut() {
    let checkpoint = Checkpoint::random(8, "");
    let model = ModelConfig { dropout: Some(0.3), ..config().model };
    let load = || Bert::load(&checkpoint.config, &[&checkpoint.weights], &model, 3, 5, &Device::Cpu).unwrap();
    let whole = batch(6, &[4, 9, 2], 50, 3);
    let loss = slopes(load(), &whole, 0.0).0 * 3.0;
    let parts: f64 = (0..3)
        .map(|s| {
            let span = whole.offsets[s] as usize..whole.offsets[s + 1] as usize;
            let part = MicroBatch {
                ids: whole.ids[span.clone()].to_vec(),
                types: whole.types[span.clone()].to_vec(),
                positions: whole.positions[span.clone()].to_vec(),
                offsets: vec![0, span.len() as u32],
                labels: vec![whole.labels[s]],
                places: vec![s as u32],
                mix: None,
                frozen: None,
            };
            slopes(load(), &part, 0.0).0
        })
        .sum();
    assert!((loss - parts).abs() < 1e-5 * loss, "{loss} in one piece, {parts} in three");
}

mod loading {
    use super::*;

    fn message(config: &[u8], weights: &[u8], change: impl FnOnce(&mut ModelConfig)) -> String {
        let mut model = crate::train::testing::config().model;
        change(&mut model);
        Bert::load(config, &[weights], &model, 3, 5, &Device::Cpu).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let good = Checkpoint::random(1, "");
        let without: Vec<(String, safetensors::tensor::TensorView<'_>)> =
            safetensors::SafeTensors::deserialize(&good.weights)
                .unwrap()
                .tensors()
                .into_iter()
                .filter(|(name, _)| name != "bert.encoder.layer.1.output.dense.bias")
                .collect();
        let without = safetensors::serialize(without, None).unwrap();
        insta::assert_snapshot!(message(&good.config, &without, |_| ()), @"the weights do not fit config.json: 'encoder.layer.1.output.dense.bias' is missing; take config.json and model.safetensors from one and the same BERT");
        let wide = String::from_utf8(good.config.clone())
            .unwrap()
            .replace("\"intermediate_size\": 40", "\"intermediate_size\": 48");
        insta::assert_snapshot!(message(wide.as_bytes(), &good.weights, |_| ()), @"the weights do not fit config.json: 'encoder.layer.0.intermediate.dense.weight' has shape [40, 24] where config.json says [48, 24] (and 5 more); take config.json and model.safetensors from one and the same BERT");
        insta::assert_snapshot!(message(&good.config, &good.weights, |m| m.freeze = 3), @"model.freeze is 3, but the checkpoint has 2 layers");
        assert!(message(&good.config, b"not safetensors", |_| ()).contains("no safetensors file"));
    }

    #[test]
    fn fresh_values_follow_the_seed_and_leave_the_rest_alone() {
        let good = Checkpoint::random(1, "");
        let load = |reinit, seed| {
            let model = ModelConfig { reinit, pooling: Some(Pooling::Pooler), ..crate::train::testing::config().model };
            Bert::load(&good.config, &[&good.weights], &model, 3, seed, &Device::Cpu).unwrap()
        };
        let values = |bert: &Bert, name: &str| -> Vec<f32> {
            let parameter = bert.parameters.iter().find(|p| p.name == name).unwrap();
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
        let spread = values(&renewed, "pooler.dense.weight");
        let deviation = (spread.iter().map(|x| x * x).sum::<f32>() / spread.len() as f32).sqrt();
        assert!((deviation - 0.02).abs() < 0.002, "deviation {deviation}");
    }
}
