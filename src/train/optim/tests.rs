//! Compares the fused and the lazy AdamW with the formula applied to every element in every step.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{AdamW, Gradient, RowGradients, Settings, values};
use crate::train::batch::MicroBatch;
use crate::train::model::gradient_buffer::TokenGradients;
use crate::train::model::{Backend, Network};
use crate::train::tasks::Target;
use crate::train::testing::{Checkpoint, config};
use plateau_random::{Purpose, Random};

const SETTINGS: Settings = Settings {
    betas: [0.9, 0.999],
    eps: 1e-8,
    bias_correction: true,
    weight_decay: 0.05,
    layer_decay: 0.9,
    head_factor: 3.0,
};

/// torch's AdamW in f64.
struct Plain {
    p: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Plain {
    fn step(&mut self, step: i32, rate: f64, decay: f64, g: &[f64]) {
        for (i, g) in g.iter().enumerate() {
            self.p[i] *= 1.0 - rate * decay;
            self.m[i] = 0.9 * self.m[i] + 0.1 * g;
            self.v[i] = 0.999 * self.v[i] + 0.001 * g * g;
            let (m, v) = (self.m[i] / (1.0 - 0.9f64.powi(step)), self.v[i] / (1.0 - 0.999f64.powi(step)));
            self.p[i] -= rate * m / (v.sqrt() + 1e-8);
        }
    }
}

fn model() -> Network {
    let mut config = config();
    config.model.pooling = Some(crate::trial::Pooling::Mean);
    Checkpoint::random(1, "").network(&config, 3)
}

fn gradient(step: u64, parameter: usize, n: usize) -> Vec<f32> {
    let random = Random::new(step, Purpose::Shuffle).at(parameter as u64);
    (0..n as u64).map(|i| random.normal(i) as f32).collect()
}

#[test]
fn every_parameter_moves_as_in_torch() {
    moves_as_in_torch(&model());
}

/// All parameters with equal factors are updated at once.
#[test]
fn every_parameter_on_a_device_moves_as_in_torch() {
    moves_as_in_torch(&Network { backend: Backend::Candle, ..model() });
}

fn moves_as_in_torch(model: &Network) {
    let mut optimizer = AdamW::new(SETTINGS, model).unwrap();
    let mut plain: Vec<Plain> = model
        .parameters
        .iter()
        .map(|parameter| {
            let p: Vec<f64> = values(&parameter.value).unwrap().into_iter().map(f64::from).collect();
            Plain { m: vec![0.0; p.len()], v: vec![0.0; p.len()], p }
        })
        .collect();
    for step in 1..=30 {
        let rate = 1e-3 * step as f64 / 30.0;
        let all: Vec<Vec<f32>> =
            model.parameters.iter().enumerate().map(|(i, p)| gradient(step, i, p.value.elem_count())).collect();
        let tensors: Vec<Tensor> = all
            .iter()
            .zip(&model.parameters)
            .map(|(values, p)| Tensor::from_slice(values, p.value.shape(), &Device::Cpu).unwrap())
            .collect();
        let given = |i: usize| match model.backend {
            Backend::Kernels => Some(Gradient::Host(&all[i])),
            Backend::Candle => Some(Gradient::Device(&tensors[i])),
        };
        optimizer.step(model, rate, 0.5, given, &RowGradients::default()).unwrap();
        for (i, plain) in plain.iter_mut().enumerate() {
            let parameter = &model.parameters[i];
            let g: Vec<f64> = all[i].iter().map(|&x| f64::from(x) * 0.5).collect();
            let decay =
                if parameter.name.ends_with("bias") || parameter.name.contains("LayerNorm") { 0.0 } else { 0.05 };
            let share =
                if parameter.name.starts_with("classifier") { 3.0 } else { 0.9f64.powi(parameter.depth as i32) };
            plain.step(step as i32, rate * share, decay, &g);
        }
    }
    for (i, (parameter, plain)) in model.parameters.iter().zip(&plain).enumerate() {
        if Some(i) == model.sparse_embeddings() {
            continue;
        }
        for (ours, exact) in values(&parameter.value).unwrap().iter().zip(&plain.p) {
            assert!((f64::from(*ours) - exact).abs() < 1e-6, "{}: {ours} instead of {exact}", parameter.name);
        }
    }
    let depth = |name: &str| model.parameters.iter().find(|parameter| parameter.name == name).unwrap().depth;
    let depths = [
        "embeddings.word_embeddings.weight",
        "encoder.layer.0.intermediate.dense.weight",
        "encoder.layer.1.intermediate.dense.weight",
        "classifier.weight",
    ];
    assert_eq!(depths.map(depth), [3, 2, 1, 0]);
}

/// The gradients of a batch that reads these tokens.
fn token_gradients(step: u64, ids: &[u32]) -> TokenGradients {
    let batch = MicroBatch {
        ids: ids.to_vec(),
        types: vec![0; ids.len()],
        positions: vec![0; ids.len()],
        offsets: vec![0, ids.len() as u32],
        outputs: None,
        targets: vec![Target::Class(0)],
        places: vec![0],
        mix: None,
        frozen: None,
    };
    TokenGradients { batch: Arc::new(batch), values: gradient(step, 0, ids.len() * 24) }
}

#[test]
fn lazy_rows_equal_rows_that_are_updated_at_every_step_bit_for_bit() {
    let (lazy_model, dense_model) = (model(), model());
    let mut lazy = AdamW::new(SETTINGS, &lazy_model).unwrap();
    let mut dense = AdamW::new(SETTINGS, &dense_model).unwrap();
    let choose = Random::new(5, Purpose::Shuffle);
    let all: Vec<u32> = (0..50).collect();
    for step in 0..60u64 {
        // Token 49 is never read, token 0 only in the first step.
        let mut ids: Vec<u32> = (0..6).map(|i| 1 + choose.at(step).below(i, 30) as u32).collect();
        if step == 0 {
            ids.push(0);
        }
        let rows = RowGradients::sum(&[token_gradients(step, &ids)], 24);
        let mut every = RowGradients { ids: all.clone(), values: vec![0.0; 50 * 24] };
        for (&id, row) in rows.ids.iter().zip(rows.values.chunks(24)) {
            every.values[id as usize * 24..][..24].copy_from_slice(row);
        }
        let rate = 1e-2 * (step + 1) as f64 / 60.0;
        lazy.step(&lazy_model, rate, 1.0, |_| None, &rows).unwrap();
        dense.step(&dense_model, rate, 1.0, |_| None, &every).unwrap();
        if step % 7 == 0 {
            lazy.catch_up(&lazy_model, &[3, 4, 40]).unwrap();
        }
    }
    let table = |model: &Network| values(&model.token_embeddings().value).unwrap();
    assert_ne!(table(&lazy_model), table(&dense_model), "no step is outstanding, so the test compares nothing");
    lazy.catch_up_all(&lazy_model).unwrap();
    assert_eq!(table(&lazy_model), table(&dense_model));
    let (lazy, dense) = (lazy.lazy_embedding().unwrap(), dense.lazy_embedding().unwrap());
    assert_eq!(lazy.first_moment(), dense.first_moment());
    assert_eq!(lazy.second_moment(), dense.second_moment());
    assert_eq!(lazy.row_steps(), dense.row_steps());
}

#[test]
fn a_token_that_is_read_twice_sums_its_gradients() {
    let parts = [token_gradients(1, &[7, 3, 7]), token_gradients(2, &[3])];
    let rows = RowGradients::sum(&parts, 24);
    assert_eq!(rows.ids, [3, 7]);
    for i in 0..24 {
        let three = parts[0].values[24 + i] + parts[1].values[i];
        let seven = parts[0].values[i] + parts[0].values[48 + i];
        assert_eq!((rows.values[i].to_bits(), rows.values[24 + i].to_bits()), (three.to_bits(), seven.to_bits()));
    }
}
