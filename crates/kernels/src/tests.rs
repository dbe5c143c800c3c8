//! Compares every kernel with a plain f64 version of its formula, and its backward pass with finite differences of that
//! version. Shapes are random and sequences have unequal lengths; dropout masks are fixed.

use proptest::prelude::*;

use super::activation::{self, Activation};
use super::attention::{self, DistanceBias, Inputs};
use super::convolution::{self, Kernel};
use super::disentangled::Relative;
use super::dropout::{Dropout, Mask};
use super::first_attention::{self, FirstInputs};
use super::linear::{self, Weight};
use super::lstm::{self, Order, Weights};
use super::norm::{self, LayerNorm, Site};
use super::pool;
use super::product::{Precision, Write};
use super::rotary::Rotation;
use plateau_random::{Purpose, Random};

/// Standard normal values that depend only on `seed`.
fn normals(seed: u64, n: usize) -> Vec<f32> {
    let random = Random::new(seed, Purpose::Initialisation);
    (0..n as u64).map(|i| random.normal(i) as f32).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The partial derivative of `f` for each element of `x`.
fn slopes(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let x = wide(x);
    let step = 1e-5;
    let moved = |i: usize, h: f64| {
        let mut x = x.clone();
        x[i] += h;
        f(&x)
    };
    (0..x.len()).map(|i| (moved(i, step) - moved(i, -step)) / (2.0 * step)).collect()
}

fn dot(weights: &[f32], y: &[f64]) -> f64 {
    weights.iter().zip(y).map(|(&w, y)| f64::from(w) * y).sum()
}

#[track_caller]
fn close(what: &str, ours: &[f32], exact: &[f64]) {
    close_at(1e-3, what, ours, exact);
}

/// Attention without tables of distances.
const NONE: [&[f64]; 2] = [&[], &[]];

/// Gradients of attention scores are differences of numbers near one, whose rounding error is 1e-7.
const CANCELLED: f64 = 0.05;

/// The tolerance is relative to the largest element, but at least to `least`.
#[track_caller]
fn close_at(least: f64, what: &str, ours: &[f32], exact: &[f64]) {
    assert_eq!(ours.len(), exact.len(), "{what}");
    let scale = exact.iter().fold(least, |top: f64, x| top.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(exact).enumerate() {
        assert!((f64::from(*a) - b).abs() < 1e-5 * scale, "{what}: element {i} is {a}, should be {b} (scale {scale})");
    }
}

fn dropout(rate: f64, sequences: usize) -> Option<Dropout> {
    Dropout::new(rate, (0..sequences as u32).map(|s| [s, 77]))
}

fn mask(dropout: Option<&Dropout>, sequence: usize) -> Mask {
    dropout.map_or(Mask::NONE, |dropout| dropout.mask(sequence))
}

fn offsets(lengths: &[usize]) -> Vec<u32> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|&n| {
            sum += n as u32;
            sum
        }))
        .collect()
}

/// y = x W^T + b in f64.
fn plain_linear(x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
    let inputs = w.len() / b.len();
    x.chunks(inputs)
        .flat_map(|x| w.chunks(inputs).zip(b).map(move |(w, b)| b + x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>()))
        .collect()
}

/// LayerNorm(mask * (a + bias) + residual) in f64.
fn plain_norm(a: &[f64], bias: &[f64], residual: &[f64], weight: &[f64], shift: &[f64], factors: &[f32]) -> Vec<f64> {
    let n = weight.len();
    let sums: Vec<f64> = (0..a.len()).map(|i| (a[i] + bias[i % n]) * f64::from(factors[i]) + residual[i]).collect();
    sums.chunks(n)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / n as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            (0..n).map(move |i| (row[i] - mean) / (variance + 1e-12).sqrt() * weight[i] + shift[i])
        })
        .collect()
}

/// Attention of one sequence after another in f64.
fn plain_attention(q: &[f64], k: &[f64], v: &[f64], bias: &[f64], tables: [&[f64]; 2], inputs: Inputs<'_>) -> Vec<f64> {
    let (width, size) = (inputs.width, inputs.width / inputs.heads);
    let bias_of = |first: usize, query: usize, j: usize, head: usize| {
        let Some(DistanceBias { limit, .. }) = inputs.bias else { return 0.0 };
        let distance = inputs.query_positions[query] as i32 - inputs.positions[first + j] as i32;
        bias[(distance.clamp(-limit, *limit) + limit) as usize * inputs.heads + head]
    };
    let relative = |table: usize, row: usize, head: usize, i: usize| tables[table][row * width + head * size + i];
    let terms = 1 + inputs.relative.map_or(0, |relative| [relative.keys, relative.queries].iter().flatten().count());
    let mut out = vec![0.0; q.len()];
    for (s, (asks, keys)) in inputs.queries.windows(2).zip(inputs.keys.windows(2)).enumerate() {
        let (mask, n) = (mask(inputs.dropout, s), (keys[1] - keys[0]) as usize);
        for head in 0..inputs.heads {
            for (row, query) in (asks[0] as usize..asks[1] as usize).enumerate() {
                let at = |m: &[f64], token: usize, i: usize| m[token * width + head * size + i];
                let key = |j: usize| keys[0] as usize + j;
                let position = |token: usize| inputs.positions[keys[0] as usize + token];
                let score = |j: usize| {
                    let tokens = (0..size).map(|i| at(q, query, i) * at(k, key(j), i)).sum::<f64>();
                    let Some(Relative { rows, limit, keys, queries, .. }) = inputs.relative else { return tokens };
                    let place = rows[(inputs.query_positions[query] + limit - position(j)) as usize] as usize;
                    let keys =
                        keys.map_or(0.0, |_| (0..size).map(|i| at(q, query, i) * relative(0, place, head, i)).sum());
                    let queries = queries
                        .map_or(0.0, |_| (0..size).map(|i| at(k, key(j), i) * relative(1, place, head, i)).sum());
                    tokens + keys + queries
                };
                let biased =
                    |j: usize| score(j) / ((size * terms) as f64).sqrt() + bias_of(keys[0] as usize, query, j, head);
                let is_seen = |j: &usize| {
                    let distance = inputs.query_positions[query].abs_diff(position(*j));
                    inputs.window.is_none_or(|window| distance <= window) || (inputs.sees_first && *j == 0)
                };
                let power = |j: usize| if is_seen(&j) { biased(j).exp() } else { 0.0 };
                let powers: Vec<f64> = (0..n).map(power).collect();
                let total: f64 = powers.iter().sum();
                for (j, power) in powers.iter().enumerate() {
                    let factor = f64::from(mask.factor(((head * n + row) * n + j) as u32));
                    for i in 0..size {
                        out[query * width + head * size + i] += power / total * factor * at(v, key(j), i);
                    }
                }
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn linear_is_its_formula(rows in 1usize..7, inputs in 1usize..20, outputs in 1usize..20, seed in any::<u64>()) {
        let (x, w, b) = (normals(seed, rows * inputs), normals(seed ^ 1, outputs * inputs), normals(seed ^ 2, outputs));
        let c = normals(seed ^ 3, rows * outputs);
        close("y", &linear::forward(&x, Weight::new(&w, outputs), &b), &plain_linear(&wide(&x), &wide(&w), &wide(&b)));
        let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![1.0; w.len()], vec![1.0; b.len()]);
        linear::backward_input(&c, Weight::new(&w, outputs), &mut dx, Write::Replace);
        linear::backward_weight(Precision::F32, &c, &x, outputs, &mut dw, Write::Add);
        linear::backward_bias(&c, &mut db, Write::Add);
        dw.iter_mut().chain(&mut db).for_each(|d| *d -= 1.0);
        close("dx", &dx, &slopes(&x, |x| dot(&c, &plain_linear(x, &wide(&w), &wide(&b)))));
        close("dw", &dw, &slopes(&w, |w| dot(&c, &plain_linear(&wide(&x), w, &wide(&b)))));
        close("db", &db, &slopes(&b, |b| dot(&c, &plain_linear(&wide(&x), &wide(&w), b))));
    }

    #[test]
    fn layer_norm_with_dropout_and_residual_is_its_formula(
        lengths in prop::collection::vec(1usize..4, 1..4), n in 2usize..40, rate in prop::sample::select(vec![0.0, 0.3]),
        seed in any::<u64>(),
    ) {
        let offsets = offsets(&lengths);
        let rows = lengths.iter().sum::<usize>();
        let (a, residual, c) = (normals(seed, rows * n), normals(seed ^ 1, rows * n), normals(seed ^ 2, rows * n));
        let (bias, weight, shift) = (normals(seed ^ 3, n), normals(seed ^ 4, n), normals(seed ^ 5, n));
        let dropout = dropout(rate, lengths.len());
        let factors: Vec<f32> = lengths.iter().enumerate()
            .flat_map(|(s, len)| { let mask = mask(dropout.as_ref(), s); (0..(len * n) as u32).map(move |i| mask.factor(i)) })
            .collect();
        let site = Site { dropout: dropout.as_ref(), offsets: &offsets };
        let mut y = a.clone();
        let saved = norm::forward(&mut y, &bias, &residual, LayerNorm { weight: &weight, bias: &shift, epsilon: 1e-12 }, site);
        let plain = |a: &[f64], bias: &[f64], residual: &[f64], weight: &[f64], shift: &[f64]| {
            dot(&c, &plain_norm(a, bias, residual, weight, shift, &factors))
        };
        if dropout.is_none() {
            let mut alone = a.clone();
            let norm = LayerNorm { weight: &weight, bias: &shift, epsilon: 1e-12 };
            norm::apply_to_sum(&mut alone, &bias, &residual, norm);
            prop_assert_eq!(&alone, &y);
        }
        let [wa, wb, wr, wg, ws] = [&a, &bias, &residual, &weight, &shift].map(|x| wide(x));
        close("y", &y, &plain_norm(&wa, &wb, &wr, &wg, &ws, &factors));
        // With two columns the normalised values are +-1 whatever goes in: slopes are rounding alone.
        prop_assume!(n > 3);
        let (mut dresidual, mut dweight, mut dshift) = (c.clone(), vec![0.0; n], vec![0.0; n]);
        norm::backward_plain(&mut dresidual, &saved, &weight, &mut dweight, &mut dshift);
        let da = norm::backward_dropout(&dresidual, n, site);
        let mut dbias = vec![0.0; n];
        linear::backward_bias(&da, &mut dbias, Write::Replace);
        close("da", &da, &slopes(&a, |a| plain(a, &wb, &wr, &wg, &ws)));
        close("dbias", &dbias, &slopes(&bias, |b| plain(&wa, b, &wr, &wg, &ws)));
        close("dresidual", &dresidual, &slopes(&residual, |r| plain(&wa, &wb, r, &wg, &ws)));
        close("dweight", &dweight, &slopes(&weight, |g| plain(&wa, &wb, &wr, g, &ws)));
        close("dshift", &dshift, &slopes(&shift, |s| plain(&wa, &wb, &wr, &wg, s)));
    }

    #[test]
    fn attention_of_first_tokens_needs_no_keys_and_values(
        lengths in prop::collection::vec(1usize..7, 1..4), heads in 1usize..4, size in 1usize..9, columns in 1usize..9,
        seed in any::<u64>(),
    ) {
        let (keys, width) = (offsets(&lengths), heads * size);
        let tokens = keys[lengths.len()] as usize;
        let (x, q) = (normals(seed, tokens * columns), normals(seed ^ 1, lengths.len() * width));
        let weight = |i: u64| normals(seed ^ i, width * columns);
        let bias = |i: u64| normals(seed ^ i, width);
        let (key, value, value_bias) = (weight(2), weight(3), bias(4));
        let (k, v) = (
            linear::forward(&x, Weight::new(&key, width), &bias(5)),
            linear::forward(&x, Weight::new(&value, width), &value_bias),
        );
        let queries: Vec<u32> = (0..=lengths.len() as u32).collect();
        let inputs = Inputs {
            q: &q, k: &k, v: &v, heads, width, queries: &queries, keys: &keys, query_positions: &[], positions: &[], window: None,
            sees_first: false, bias: None, relative: None,
            dropout: None, precision: Precision::F32,
        };
        let (expected, _) = attention::forward(inputs);
        let first = FirstInputs {
            x: &x, q: &q, key: &key, value: &value, value_bias: &value_bias, heads, offsets: &keys,
        };
        close("context", &first_attention::forward(first), &wide(&expected));
    }

    #[test]
    fn attention_is_its_formula(
        lengths in prop::collection::vec(1usize..7, 1..4), heads in 1usize..4, size in 1usize..9,
        rate in prop::sample::select(vec![0.0, 0.3]), step in 1usize..4, biased in any::<bool>(),
        window in prop::option::of(0u32..4), sees_first in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let keys = offsets(&lengths);
        // Every token of a sequence, or every second or third.
        let queries = offsets(&lengths.iter().map(|n| n.div_ceil(step)).collect::<Vec<_>>());
        let width = heads * size;
        let (asking, tokens) = (queries[lengths.len()] as usize, keys[lengths.len()] as usize);
        let (q, k, v) = (normals(seed, asking * width), normals(seed ^ 1, tokens * width), normals(seed ^ 2, tokens * width));
        let c = normals(seed ^ 3, asking * width);
        let dropout = dropout(rate, lengths.len());
        // Positions with gaps, and distances beyond the limit.
        let positions: Vec<u32> = lengths.iter().flat_map(|&n| (0..n as u32).map(|i| i + i / 3)).collect();
        let query_positions: Vec<u32> =
            keys.windows(2).flat_map(|w| positions[w[0] as usize..w[1] as usize].iter().step_by(step)).copied().collect();
        let bias = DistanceBias { limit: 4, values: normals(seed ^ 4, 9 * heads) };
        let inputs = Inputs {
            q: &q, k: &k, v: &v, heads, width, queries: &queries, keys: &keys, query_positions: &query_positions, positions: &positions, window,
            sees_first, bias: biased.then_some(&bias), relative: None, dropout: dropout.as_ref(), precision: Precision::F32,
        };
        let [wq, wk, wv, wb] = [&q, &k, &v, &bias.values].map(|x| wide(x));
        let (context, weights) = attention::forward(inputs);
        close("context", &context, &plain_attention(&wq, &wk, &wv, &wb, NONE, inputs));
        let d = attention::backward(inputs, &weights, &c);
        close_at(CANCELLED, "dq", &d.q, &slopes(&q, |q| dot(&c, &plain_attention(q, &wk, &wv, &wb, NONE, inputs))));
        close_at(CANCELLED, "dk", &d.k, &slopes(&k, |k| dot(&c, &plain_attention(&wq, k, &wv, &wb, NONE, inputs))));
        close("dv", &d.v, &slopes(&v, |v| dot(&c, &plain_attention(&wq, &wk, v, &wb, NONE, inputs))));
        if biased {
            close_at(CANCELLED, "dbias", &d.bias, &slopes(&bias.values, |b| dot(&c, &plain_attention(&wq, &wk, &wv, b, NONE, inputs))));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn attention_with_distances_is_its_formula(
        lengths in prop::collection::vec(1usize..7, 1..4), heads in 1usize..4, size in 1usize..9,
        rate in prop::sample::select(vec![0.0, 0.3]), step in 1usize..4, terms in (any::<bool>(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let keys = offsets(&lengths);
        let queries = offsets(&lengths.iter().map(|n| n.div_ceil(step)).collect::<Vec<_>>());
        let width = heads * size;
        let (asking, tokens) = (queries[lengths.len()] as usize, keys[lengths.len()] as usize);
        let (q, k, v) = (normals(seed, asking * width), normals(seed ^ 1, tokens * width), normals(seed ^ 2, tokens * width));
        let c = normals(seed ^ 3, asking * width);
        let dropout = dropout(rate, lengths.len());
        let positions: Vec<u32> = lengths.iter().flat_map(|&n| (0..n as u32).map(|i| i + i / 3)).collect();
        let query_positions: Vec<u32> =
            keys.windows(2).flat_map(|w| positions[w[0] as usize..w[1] as usize].iter().step_by(step)).copied().collect();
        // Distances in buckets, as far as positions go.
        let (limit, buckets) = (8u32, 9);
        let rows: Vec<u32> = (-8i32..=8).map(|distance| (distance.clamp(-6, 6).div_euclid(2) + 4) as u32).collect();
        let (table_k, table_q) = (normals(seed ^ 4, buckets * width), normals(seed ^ 5, buckets * width));
        let relative =
            Relative { rows: &rows, limit, keys: terms.0.then_some(&table_k), queries: terms.1.then_some(&table_q), precision: Precision::F32 };
        let inputs = Inputs {
            q: &q, k: &k, v: &v, heads, width, queries: &queries, keys: &keys, query_positions: &query_positions,
            positions: &positions, window: None, sees_first: false, bias: None, relative: Some(relative),
            dropout: dropout.as_ref(), precision: Precision::F32,
        };
        let [wq, wk, wv, wtk, wtq] = [&q, &k, &v, &table_k, &table_q].map(|x| wide(x));
        let plain = |q: &[f64], k: &[f64], tables: [&[f64]; 2]| plain_attention(q, k, &wv, &[], tables, inputs);
        let tables = [&*wtk, &*wtq];
        let (context, weights) = attention::forward(inputs);
        close("context", &context, &plain(&wq, &wk, tables));
        let d = attention::backward(inputs, &weights, &c);
        close_at(CANCELLED, "dq", &d.q, &slopes(&q, |q| dot(&c, &plain(q, &wk, tables))));
        close_at(CANCELLED, "dk", &d.k, &slopes(&k, |k| dot(&c, &plain(&wq, k, tables))));
        if terms.0 {
            close_at(CANCELLED, "dkeys", &d.relative[0], &slopes(&table_k, |keys| dot(&c, &plain(&wq, &wk, [keys, &wtq]))));
        }
        if terms.1 {
            close_at(CANCELLED, "dqueries", &d.relative[1], &slopes(&table_q, |queries| dot(&c, &plain(&wq, &wk, [&wtk, queries]))));
        }
    }
}

/// Sequences longer than a block of queries.
#[test]
fn attention_in_windows_is_its_formula_in_every_block() {
    let (lengths, width) = ([70, 1, 131], 2);
    let (keys, tokens) = (offsets(&lengths), 202);
    let [q, k, v, c] = [1, 2, 3, 4].map(|seed| normals(seed, tokens * width));
    let positions: Vec<u32> = lengths.iter().flat_map(|&n| (0..n as u32).map(|i| i + i / 5)).collect();
    let dropout = dropout(0.2, lengths.len());
    for sees_first in [false, true] {
        let inputs = Inputs {
            q: &q,
            k: &k,
            v: &v,
            heads: 1,
            width,
            queries: &keys,
            keys: &keys,
            query_positions: &positions,
            positions: &positions,
            window: Some(6),
            sees_first,
            bias: None,
            relative: None,
            dropout: dropout.as_ref(),
            precision: Precision::F32,
        };
        let [wq, wk, wv] = [&q, &k, &v].map(|x| wide(x));
        let (context, weights) = attention::forward(inputs);
        close("context", &context, &plain_attention(&wq, &wk, &wv, &[], NONE, inputs));
        let all: usize = lengths.iter().map(|n| n * n).sum();
        assert!(weights.len() < all * 3 / 4, "{} weights: a block computes only what it sees", weights.len());
        let d = attention::backward(inputs, &weights, &c);
        close("dq", &d.q, &slopes(&q, |q| dot(&c, &plain_attention(q, &wk, &wv, &[], NONE, inputs))));
        close("dk", &d.k, &slopes(&k, |k| dot(&c, &plain_attention(&wq, k, &wv, &[], NONE, inputs))));
        close("dv", &d.v, &slopes(&v, |v| dot(&c, &plain_attention(&wq, &wk, v, &[], NONE, inputs))));
    }
}

#[test]
fn a_rotation_is_its_formula_and_its_backward_is_the_inverse() {
    let (width, size, theta) = (12, 6, 50.0);
    let positions = [0, 1, 5, 2];
    let x = normals(1, positions.len() * width);
    let rotation = Rotation::new(size, 6, theta);
    let mut y = x.clone();
    rotation.forward(&mut y, width, &positions);
    let exact: Vec<f64> = (0..y.len())
        .map(|i| {
            let (position, element) = (positions[i / width], i % size);
            let pair = element % (size / 2);
            let angle = f64::from(position) * theta.powf(-2.0 * pair as f64 / size as f64);
            let first = i - element + pair;
            let (a, b) = (f64::from(x[first]), f64::from(x[first + size / 2]));
            if element == pair { a * angle.cos() - b * angle.sin() } else { b * angle.cos() + a * angle.sin() }
        })
        .collect();
    close("y", &y, &exact);
    rotation.backward(&mut y, width, &positions);
    close("x", &y, &wide(&x));
}

/// Subnormal weights would make every product with them slow.
#[test]
fn a_saturated_softmax_has_no_subnormal_weights() {
    let (n, width) = (24, 32);
    let [q, k, v] = [1, 2, 3].map(|seed| normals(seed, n * width).iter().map(|x| 8.0 * x).collect::<Vec<f32>>());
    let offsets = offsets(&[n]);
    let positions: Vec<u32> = (0..n as u32).collect();
    let inputs = Inputs {
        q: &q,
        k: &k,
        v: &v,
        heads: 1,
        width,
        queries: &offsets,
        query_positions: &positions,
        keys: &offsets,
        positions: &positions,
        window: None,
        relative: None,
        sees_first: false,
        bias: None,
        dropout: None,
        precision: Precision::F32,
    };
    let (context, weights) = attention::forward(inputs);
    close("context", &context, &plain_attention(&wide(&q), &wide(&k), &wide(&v), &[], NONE, inputs));
    assert!(weights.iter().all(|&weight| weight == 0.0 || weight > 1e-30), "{weights:?}");
    assert!(weights.iter().filter(|&&weight| weight == 0.0).count() > n * n / 4);
}

#[test]
fn activations_are_their_formulas() {
    let x: Vec<f32> = (0..400).map(|i| (i as f32 - 199.5) / 25.0).collect();
    // Phi by Simpson's rule, exact to far below f32.
    let phi = |x: f64| {
        let n = 2000;
        let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let h = x / f64::from(n);
        let inner: f64 = (1..n).map(|i| density(h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + h / 3.0 * (density(0.0) + density(x) + inner)
    };
    let tanh_form =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    let cases: [(Activation, &dyn Fn(f64) -> f64); 4] = [
        (Activation::Gelu, &|x| x * phi(x)),
        (Activation::GeluTanh, &tanh_form),
        (Activation::Relu, &|x| x.max(0.0)),
        (Activation::Tanh, &f64::tanh),
    ];
    for (activation, exact) in cases {
        let bias = [0.5, -0.25];
        let shifted: Vec<f32> = x.iter().zip(bias.iter().cycle()).map(|(x, bias)| x + bias).collect();
        let mut slopes = x.clone();
        let y = activation.forward(&mut slopes, &bias);
        let mut values = x.clone();
        activation.apply(&mut values, &bias);
        assert_eq!(values, y, "without slopes");
        close("y", &y, &shifted.iter().map(|&x| exact(f64::from(x))).collect::<Vec<_>>());
        let mut dy = vec![2.0; x.len()];
        activation::backward(&slopes, &mut dy);
        let slope = |x: f32| (exact(f64::from(x) + 1e-5) - exact(f64::from(x) - 1e-5)) / 1e-5;
        close("dy", &dy, &shifted.iter().map(|&x| slope(x)).collect::<Vec<_>>());
    }
}

/// One direction of an LSTM over one sequence, as torch documents it. `parameters` are the four of a direction in a row.
fn lstm_outputs(x: &[f64], parameters: [&[f64]; 4], width: usize, size: usize) -> Vec<f64> {
    let [input, hidden, input_bias, hidden_bias] = parameters;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut state, mut cell, mut outputs) = (vec![0.0; size], vec![0.0; size], Vec::new());
    for x in x.chunks(width) {
        let gate = |row: usize| {
            let from_input: f64 = input[row * width..][..width].iter().zip(x).map(|(w, x)| w * x).sum();
            let from_state: f64 = hidden[row * size..][..size].iter().zip(&state).map(|(w, h)| w * h).sum();
            from_input + from_state + input_bias[row] + hidden_bias[row]
        };
        let gates: Vec<f64> = (0..4 * size).map(gate).collect();
        for i in 0..size {
            let [input, forget, candidate, output] = [0, 1, 2, 3].map(|part| gates[part * size + i]);
            cell[i] = sigmoid(forget) * cell[i] + sigmoid(input) * candidate.tanh();
            state[i] = sigmoid(output) * cell[i].tanh();
        }
        outputs.extend_from_slice(&state);
    }
    outputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_lstm_is_its_formula(
        lengths in prop::collection::vec(1usize..6, 1..5), width in 1usize..5, size in 1usize..5, backwards in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let offsets = offsets(&lengths);
        let tokens = *offsets.last().unwrap() as usize;
        let x = normals(seed, tokens * width);
        let shapes = [4 * size * width, 4 * size * size, 4 * size, 4 * size];
        let parameters: [Vec<f32>; 4] = std::array::from_fn(|i| normals(seed ^ (i as u64 + 1), shapes[i]));
        let dy = normals(seed ^ 9, tokens * size);
        let exact = |x: &[f64], parameters: [&[f64]; 4]| -> Vec<f64> {
            let mut y = vec![0.0; tokens * size];
            for bounds in offsets.windows(2) {
                let rows: Vec<usize> = (bounds[0] as usize..bounds[1] as usize).collect();
                let rows: Vec<usize> = if backwards { rows.into_iter().rev().collect() } else { rows };
                let inputs: Vec<f64> = rows.iter().flat_map(|row| &x[row * width..][..width]).copied().collect();
                for (row, output) in rows.iter().zip(lstm_outputs(&inputs, parameters, width, size).chunks(size)) {
                    y[row * size..][..size].copy_from_slice(output);
                }
            }
            y
        };
        let [input, hidden, input_bias, hidden_bias] = &parameters;
        let weights = Weights { input, hidden, input_bias, hidden_bias };
        let order = Order::new(&offsets, backwards);
        let mut y = vec![0.0; tokens * size];
        let saved = lstm::forward(&x, weights, &order, &mut y, size);
        let wides: Vec<Vec<f64>> = parameters.iter().map(|values| wide(values)).collect();
        let all = || -> [&[f64]; 4] { std::array::from_fn(|i| &*wides[i]) };
        close("y", &y, &exact(&wide(&x), all()));
        let d = lstm::backward(&dy, size, weights, &order, saved);
        let mut dx = vec![0.0; x.len()];
        linear::backward_input(&d.gates, Weight::new(input, 4 * size), &mut dx, Write::Replace);
        close("dx", &dx, &slopes(&x, |x| dot(&dy, &exact(x, all()))));
        let slopes_of = |i: usize| slopes(&parameters[i], |values| {
            let mut moved = all();
            moved[i] = values;
            dot(&dy, &exact(&wide(&x), moved))
        });
        let mut dinput = vec![0.0; input.len()];
        linear::backward_weight(Precision::F32, &d.gates, &x, 4 * size, &mut dinput, Write::Replace);
        close("dinput", &dinput, &slopes_of(0));
        close("dhidden", &d.hidden, &slopes_of(1));
        let mut dbias = vec![0.0; 4 * size];
        linear::backward_bias(&d.gates, &mut dbias, Write::Replace);
        close("dinput_bias", &dbias, &slopes_of(2));
        close("dhidden_bias", &dbias, &slopes_of(3));
    }

    #[test]
    fn a_weighted_mean_is_its_formula(
        lengths in prop::collection::vec(1usize..6, 1..5), width in 1usize..20, seed in any::<u64>(),
    ) {
        let offsets = offsets(&lengths);
        let tokens = *offsets.last().unwrap() as usize;
        let (x, scores) = (normals(seed, tokens * width), normals(seed ^ 1, tokens));
        let dy = normals(seed ^ 2, lengths.len() * width);
        let exact = |x: &[f64], scores: &[f64]| -> Vec<f64> {
            let mut y = Vec::new();
            for bounds in offsets.windows(2) {
                let rows = bounds[0] as usize..bounds[1] as usize;
                let total: f64 = rows.clone().map(|row| scores[row].exp()).sum();
                let column = |i: usize| rows.clone().map(|row| scores[row].exp() / total * x[row * width + i]).sum::<f64>();
                y.extend((0..width).map(column));
            }
            y
        };
        let (y, weights) = pool::weighted(&x, &scores, width, &offsets);
        close("y", &y, &exact(&wide(&x), &wide(&scores)));
        let (dx, dscores) = pool::weighted_backward(&dy, &x, &weights, width, &offsets);
        close("dx", &dx, &slopes(&x, |x| dot(&dy, &exact(x, &wide(&scores)))));
        close_at(CANCELLED, "dscores", &dscores, &slopes(&scores, |scores| dot(&dy, &exact(&wide(&x), scores))));
    }

    #[test]
    fn a_convolution_is_its_formula(
        lengths in prop::collection::vec(1usize..6, 1..5), size in 1usize..4, width in 1usize..5, filters in 1usize..4,
        seed in any::<u64>(),
    ) {
        let offsets = offsets(&lengths);
        let kernel = Kernel { size, width, filters };
        let x = normals(seed, *offsets.last().unwrap() as usize * width);
        let (weight, bias) = (normals(seed ^ 1, filters * width * size), normals(seed ^ 2, filters));
        let dy = normals(seed ^ 3, lengths.len() * filters);
        // torch's `Conv1d` over the sequence, which is filled up to one window, then ReLU and the maximum.
        let exact = |x: &[f64], weight: &[f64], bias: &[f64]| -> Vec<f64> {
            let mut y = Vec::new();
            for bounds in offsets.windows(2) {
                let mut rows = x[bounds[0] as usize * width..bounds[1] as usize * width].to_vec();
                rows.resize(rows.len().max(size * width), 0.0);
                for filter in 0..filters {
                    let sum = |first: usize| -> f64 {
                        (0..size * width).map(|i| {
                            let (token, element) = (i / width, i % width);
                            weight[(filter * width + element) * size + token] * rows[(first + token) * width + element]
                        }).sum::<f64>() + bias[filter]
                    };
                    y.push((0..=rows.len() / width - size).map(sum).fold(0.0, f64::max));
                }
            }
            y
        };
        let by_token = kernel.by_token(&weight);
        let maxima = convolution::forward(&x, &offsets, kernel, &by_token, &bias);
        let (wide_x, wide_weight, wide_bias) = (wide(&x), wide(&weight), wide(&bias));
        close("y", &maxima.values, &exact(&wide_x, &wide_weight, &wide_bias));
        let (mut dx, mut dweight, mut dbias) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; filters]);
        let sums = (&mut dx[..], &mut dweight[..], &mut dbias[..]);
        convolution::backward(&dy, &maxima, (&x, &offsets), kernel, &by_token, sums);
        close("dx", &dx, &slopes(&x, |x| dot(&dy, &exact(x, &wide_weight, &wide_bias))));
        let slope = slopes(&weight, |weight| dot(&dy, &exact(&wide_x, weight, &wide_bias)));
        close("dweight", &kernel.by_element(&dweight), &slope);
        close("dbias", &dbias, &slopes(&bias, |bias| dot(&dy, &exact(&wide_x, &wide_weight, bias))));
    }
}
