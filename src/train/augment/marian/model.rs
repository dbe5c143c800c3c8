//! The network of a Marian model, for inference: an encoder over batches of texts, and a decoder that takes one token per
//! step and caches its keys and values.
//!
//! It equals transformers' `MarianMTModel`. `candle_transformers::models::marian` is not used for three reasons. It has no
//! mask for padding, so the translation of a text would depend on the other texts of the batch. It computes the keys and
//! values of the source again for every token. Its cache cannot follow the hypotheses of a beam.

use candle_core::{Device, Tensor};
use candle_nn::{Activation, Embedding, LayerNorm, Linear, Module};

use super::checkpoint::{MarianConfig, Weights};
use crate::train::TrainError;

type Result<T> = std::result::Result<T, candle_core::Error>;

pub(super) struct Marian {
    encoder_embedding: Embedding,
    decoder_embedding: Embedding,
    /// `[positions, width]`.
    positions: Tensor,
    scale: f64,
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
    /// Projection to the scores of all tokens.
    out: Linear,
}

/// The cached keys and values of the decoder, one row for each hypothesis.
pub(super) struct DecoderState {
    /// `[rows, 1, 1, source]`: minus infinity at the padding of a source.
    mask: Tensor,
    layers: Vec<LayerCache>,
}

/// Keys and values `[rows, heads, length, width / heads]` of one layer.
struct LayerCache {
    source: (Tensor, Tensor),
    own: Option<(Tensor, Tensor)>,
}

impl Marian {
    pub fn new(config: &MarianConfig, weights: &mut Weights) -> std::result::Result<Self, TrainError> {
        let (v, w, d) = (config.vocab_size, config.decoder_vocabulary(), config.d_model);
        let shared = "model.shared.weight";
        let encoder_embedding = weights.get(&[shared, "model.encoder.embed_tokens.weight"], &[v, d])?;
        let decoder_embedding = weights.get(&["model.decoder.embed_tokens.weight", shared], &[w, d])?;
        let out = weights.get(&["lm_head.weight", "model.decoder.embed_tokens.weight", shared], &[w, d])?;
        let bias = weights.get(&["final_logits_bias"], &[1, w])?.squeeze(0)?;
        let mut encoder = Vec::new();
        for layer in 0..config.encoder_layers {
            encoder.push(EncoderLayer::new(config, weights, layer)?);
        }
        let mut decoder = Vec::new();
        for layer in 0..config.decoder_layers {
            decoder.push(DecoderLayer::new(config, weights, layer)?);
        }
        Ok(Self {
            encoder_embedding: Embedding::new(encoder_embedding, d),
            decoder_embedding: Embedding::new(decoder_embedding, d),
            positions: sinusoidal_positions(config.max_position_embeddings, d)?,
            scale: if config.scale_embedding { (d as f64).sqrt() } else { 1.0 },
            encoder,
            decoder,
            out: Linear::new(out, Some(bias)),
        })
    }

    /// Encodes sources. Each has at least one token and at most as many as there are positions.
    pub fn encode(&self, sources: &[&[u32]]) -> Result<DecoderState> {
        let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
        let padded: Vec<u32> =
            sources.iter().flat_map(|source| (0..longest).map(|i| source.get(i).copied().unwrap_or(0))).collect();
        let mask: Vec<f32> = sources
            .iter()
            .flat_map(|source| (0..longest).map(|i| if i < source.len() { 0.0 } else { f32::NEG_INFINITY }))
            .collect();
        let ids = Tensor::from_vec(padded, (sources.len(), longest), &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, (sources.len(), 1, 1, longest), &Device::Cpu)?;
        let mut x = self.embed(&self.encoder_embedding, &ids, 0)?;
        for layer in &self.encoder {
            let (k, v) = layer.attention.keys_and_values(&x)?;
            let attended = layer.attention.attend(&x, &k, &v, Some(&mask))?;
            x = layer.attention_norm.forward(&(x + attended)?)?;
            x = layer.feed_forward.forward(&x)?;
        }
        let layers =
            self.decoder.iter().map(|layer| Ok(LayerCache { source: layer.source.keys_and_values(&x)?, own: None }));
        Ok(DecoderState { mask, layers: layers.collect::<Result<_>>()? })
    }

    /// Scores `[rows, tokens]` of the next token. `tokens` are the last tokens of the rows, at `position`.
    pub fn step(&self, state: &mut DecoderState, tokens: &[u32], position: usize) -> Result<Tensor> {
        let ids = Tensor::from_slice(tokens, (tokens.len(), 1), &Device::Cpu)?;
        let mut x = self.embed(&self.decoder_embedding, &ids, position)?;
        for (layer, cache) in self.decoder.iter().zip(&mut state.layers) {
            let (k, v) = layer.own.keys_and_values(&x)?;
            let (k, v) = match &cache.own {
                Some((before_k, before_v)) => (Tensor::cat(&[before_k, &k], 2)?, Tensor::cat(&[before_v, &v], 2)?),
                None => (k, v),
            };
            let attended = layer.own.attend(&x, &k, &v, None)?;
            cache.own = Some((k, v));
            x = layer.own_norm.forward(&(x + attended)?)?;
            let attended = layer.source.attend(&x, &cache.source.0, &cache.source.1, Some(&state.mask))?;
            x = layer.source_norm.forward(&(x + attended)?)?;
            x = layer.feed_forward.forward(&x)?;
        }
        self.out.forward(&x.squeeze(1)?)
    }

    /// `[rows, length, width]`.
    fn embed(&self, embedding: &Embedding, ids: &Tensor, position: usize) -> Result<Tensor> {
        let positions = self.positions.narrow(0, position, ids.dim(1)?)?;
        (embedding.forward(ids)? * self.scale)?.broadcast_add(&positions)
    }
}

impl DecoderState {
    /// Keeps these rows, in this order. A row may occur several times.
    pub fn select_rows(&mut self, rows: &[u32]) -> Result<()> {
        let count = self.mask.dim(0)?;
        if rows.len() == count && rows.iter().enumerate().all(|(i, &row)| i == row as usize) {
            return Ok(());
        }
        let rows = Tensor::new(rows, &Device::Cpu)?;
        let pick = |(k, v): &(Tensor, Tensor)| {
            Ok::<_, candle_core::Error>((k.index_select(&rows, 0)?, v.index_select(&rows, 0)?))
        };
        self.mask = self.mask.index_select(&rows, 0)?;
        for layer in &mut self.layers {
            layer.source = pick(&layer.source)?;
            layer.own = layer.own.as_ref().map(pick).transpose()?;
        }
        Ok(())
    }
}

/// Sines in the first half of the width, cosines in the second (transformers' `MarianSinusoidalPositionalEmbedding`).
fn sinusoidal_positions(count: usize, width: usize) -> Result<Tensor> {
    let half = width / 2;
    let value = |position: usize, column: usize| {
        let angle = position as f64 / 10000f64.powf(2.0 * (column % half) as f64 / width as f64);
        (if column < half { angle.sin() } else { angle.cos() }) as f32
    };
    let values: Vec<f32> =
        (0..count).flat_map(|position| (0..width).map(move |column| value(position, column))).collect();
    Tensor::from_vec(values, (count, width), &Device::Cpu)
}

struct EncoderLayer {
    attention: Attention,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
}

impl EncoderLayer {
    fn new(config: &MarianConfig, weights: &mut Weights, layer: usize) -> std::result::Result<Self, TrainError> {
        let name = |part: &str| format!("model.encoder.layers.{layer}.{part}");
        let (width, heads) = (config.d_model, config.encoder_attention_heads);
        Ok(Self {
            attention: Attention::new(weights, &name("self_attn"), width, heads)?,
            attention_norm: norm(weights, &name("self_attn_layer_norm"), width)?,
            feed_forward: FeedForward::new(weights, &name(""), config, config.encoder_ffn_dim)?,
        })
    }
}

struct DecoderLayer {
    own: Attention,
    own_norm: LayerNorm,
    source: Attention,
    source_norm: LayerNorm,
    feed_forward: FeedForward,
}

impl DecoderLayer {
    fn new(config: &MarianConfig, weights: &mut Weights, layer: usize) -> std::result::Result<Self, TrainError> {
        let name = |part: &str| format!("model.decoder.layers.{layer}.{part}");
        let (width, heads) = (config.d_model, config.decoder_attention_heads);
        Ok(Self {
            own: Attention::new(weights, &name("self_attn"), width, heads)?,
            own_norm: norm(weights, &name("self_attn_layer_norm"), width)?,
            source: Attention::new(weights, &name("encoder_attn"), width, heads)?,
            source_norm: norm(weights, &name("encoder_attn_layer_norm"), width)?,
            feed_forward: FeedForward::new(weights, &name(""), config, config.decoder_ffn_dim)?,
        })
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn new(weights: &mut Weights, name: &str, width: usize, heads: usize) -> std::result::Result<Self, TrainError> {
        let mut get = |part: &str| linear(weights, &format!("{name}.{part}_proj"), width, width);
        Ok(Self { query: get("q")?, key: get("k")?, value: get("v")?, out: get("out")?, heads })
    }

    fn keys_and_values(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.split(&self.key.forward(x)?)?, self.split(&self.value.forward(x)?)?))
    }

    fn attend(&self, x: &Tensor, keys: &Tensor, values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (rows, length, width) = x.dims3()?;
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let query = self.split(&(self.query.forward(x)? * scale)?)?;
        let scores = query.matmul(&keys.t()?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let attended = candle_nn::ops::softmax_last_dim(&scores)?.matmul(values)?;
        self.out.forward(&attended.transpose(1, 2)?.reshape((rows, length, width))?)
    }

    /// `[rows, length, width]` to `[rows, heads, length, width / heads]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, length, width) = x.dims3()?;
        x.reshape((rows, length, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
    }
}

/// The feed-forward part of a layer.
struct FeedForward {
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    activation: Activation,
}

impl FeedForward {
    fn new(
        weights: &mut Weights,
        name: &str,
        config: &MarianConfig,
        inner: usize,
    ) -> std::result::Result<Self, TrainError> {
        let width = config.d_model;
        Ok(Self {
            up: linear(weights, &format!("{name}fc1"), width, inner)?,
            down: linear(weights, &format!("{name}fc2"), inner, width)?,
            norm: norm(weights, &format!("{name}final_layer_norm"), width)?,
            activation: config.activation_function,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.activation.forward(&self.up.forward(x)?)?;
        self.norm.forward(&(x + self.down.forward(&inner)?)?)
    }
}

fn linear(weights: &mut Weights, name: &str, from: usize, to: usize) -> std::result::Result<Linear, TrainError> {
    let weight = weights.get(&[&format!("{name}.weight")], &[to, from])?;
    Ok(Linear::new(weight, Some(weights.get(&[&format!("{name}.bias")], &[to])?)))
}

fn norm(weights: &mut Weights, name: &str, width: usize) -> std::result::Result<LayerNorm, TrainError> {
    let weight = weights.get(&[&format!("{name}.weight")], &[width])?;
    Ok(LayerNorm::new(weight, weights.get(&[&format!("{name}.bias")], &[width])?, 1e-5))
}
