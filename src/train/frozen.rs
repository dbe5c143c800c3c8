//! The output of the frozen part of a model for every example of a split. It is computed once and shared by all trials that
//! freeze the same layers of the same checkpoint for the same texts.
//!
//! The frozen part has neither dropout nor gradients, so its output depends only on the example. It is computed over
//! micro-batches that depend only on the split, so a cached output has the same bits as a computed one.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{MicroBatch, pieces, span};
use super::data::Tokens;
use super::engine::Engine;
use super::model::operations::Rows;
use super::model::{Backend, Network};
use super::tasks::Target;
use super::{Cache, TrainError};
use crate::trial::MICRO_BATCH_TOKENS;
use plateau_kernels::product::Precision;

/// Largest size in bytes of the cached output of a split. Above it, every step computes the output itself.
const LIMIT: usize = 1 << 30;

/// The output rows of the frozen part.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    width: usize,
    /// Example i has the rows `offsets[i]..offsets[i + 1]`.
    offsets: Vec<u32>,
    values: Vec<f32>,
}

/// The outputs for the two splits of a trial's data, where they are cached.
#[derive(Debug, Clone, Default)]
pub struct FrozenSplits {
    /// None if augmentation changes the texts.
    pub train: Option<Arc<Frozen>>,
    pub eval: Option<Arc<Frozen>>,
}

impl Frozen {
    /// Computes or finds the output for the examples of `tokens`. None if nothing is frozen, if the output is too large, or
    /// if the model runs on candle's operations.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] if `interrupted` returned true.
    pub fn new(
        engine: &mut Engine,
        tokens: &Tokens,
        cache: &dyn Cache,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Arc<Self>>, TrainError> {
        let model = engine.model.clone();
        let Some(last) = model.freeze.checked_sub(1) else { return Ok(None) };
        let examples = tokens.offsets.len() - 1;
        let offsets = match model.rows(last) {
            Rows::All => tokens.offsets.clone(),
            Rows::Outputs => {
                let count = |sum: &mut u32, example| {
                    *sum += tokens.row_count(example) as u32;
                    Some(*sum)
                };
                std::iter::once(0).chain((0..examples).scan(0, count)).collect()
            }
        };
        let (width, rows) = (model.shape().hidden, offsets[examples] as usize);
        if model.backend == Backend::Candle || rows * width * size_of::<f32>() > LIMIT {
            return Ok(None);
        }
        let key = key(&model, tokens)?;
        let kept = cache.get(&key).map(|bytes| read(&bytes)).filter(|values| values.len() == rows * width);
        let values = if let Some(values) = kept {
            values
        } else {
            let order: Vec<u32> = (0..examples as u32).collect();
            let pack = |range: Range<usize>| Arc::new(MicroBatch::pack(tokens, &order[range], |_| Target::Unknown, 0));
            let batches: Vec<_> = pieces(&order, tokens, MICRO_BATCH_TOKENS).into_iter().map(pack).collect();
            let Some(parts) = engine.frozen(&batches, interrupted)? else { return Err(TrainError::Interrupted) };
            let values = parts.concat();
            cache.put(&key, &write(&values));
            values
        };
        Ok(Some(Arc::new(Self { width, offsets, values })))
    }

    /// The rows of these examples in their order.
    pub fn rows(&self, examples: &[u32]) -> Vec<f32> {
        let of = |&example: &u32| {
            let range = self.offsets[example as usize] as usize..self.offsets[example as usize + 1] as usize;
            &self.values[range.start * self.width..range.end * self.width]
        };
        examples.iter().flat_map(of).copied().collect()
    }
}

/// The cache key: a hash of everything that the values depend on.
fn key(model: &Network, tokens: &Tokens) -> Result<String, TrainError> {
    let mut hash = blake3::Hasher::new();
    let rows = model.rows(model.freeze - 1);
    // The head decides whether there is a global token.
    let has_global = model.head.has_global_token();
    hash.update(format!("{:?} {} {rows:?} {has_global}", model.encoder, model.freeze).as_bytes());
    if model.precision != Precision::F32 {
        hash.update(format!("{:?}", model.precision).as_bytes());
    }
    for parameter in model.parameters.iter().filter(|parameter| parameter.depth + model.freeze > model.shape().layers) {
        hash.update(parameter.name.as_bytes());
        hash.update(&write(&parameter.value.flatten_all()?.to_vec1::<f32>()?));
    }
    for example in 0..tokens.offsets.len() as u32 - 1 {
        let span = span(tokens, example);
        hash.update(&(span.len() as u64).to_le_bytes());
        for number in tokens.ids[span.clone()].iter().chain(&tokens.positions[span.clone()]) {
            hash.update(&number.to_le_bytes());
        }
        hash.update(&tokens.types[span.clone()]);
        for output in tokens.outputs.get(span).unwrap_or_default() {
            hash.update(&output.to_le_bytes());
        }
    }
    Ok(format!("frozen {}", hash.finalize().to_hex()))
}

fn write(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::train::fit;
    use crate::train::testing::{Checkpoint, Recorder, config, dataset, fixture};
    use crate::trial::{CheckpointEvery, FractionOrSteps, Length, Pooling, TrialConfig};

    #[derive(Default)]
    struct MemoryCache {
        kept: Mutex<BTreeMap<String, Vec<u8>>>,
        found: Mutex<usize>,
    }

    impl Cache for MemoryCache {
        fn get(&self, key: &str) -> Option<Vec<u8>> {
            let found = self.kept.lock().unwrap().get(key).cloned();
            *self.found.lock().unwrap() += usize::from(found.is_some());
            found
        }

        fn put(&self, key: &str, bytes: &[u8]) {
            self.kept.lock().unwrap().insert(key.into(), bytes.into());
        }
    }

    fn frozen_config(freeze: usize, pooling: Pooling) -> TrialConfig {
        let mut config = config();
        config.model.freeze = freeze;
        config.model.pooling = Some(pooling);
        config.model.dropout = Some(0.1);
        config.length = Length::Steps(6);
        config.eval_every = FractionOrSteps(3.0);
        config
    }

    /// Trains with the outputs from `cache`, or computes them in every step.
    fn train(config: &TrialConfig, cache: Option<&MemoryCache>, threads: usize) -> Recorder {
        let checkpoint = Checkpoint::tiny();
        let data = dataset(&fixture("finetune-tiny/train.tsv"), &checkpoint, 32, 120, 40);
        let mut engine = checkpoint.engine(config, 3, threads);
        let mut known =
            |tokens: &Tokens| cache.and_then(|cache| Frozen::new(&mut engine, tokens, cache, &|| false).unwrap());
        let frozen = FrozenSplits { train: known(&data.train.tokens), eval: known(&data.eval.tokens) };
        let tokens = Arc::new(data.train.tokens.clone());
        let setup = fit::TrainingSetup {
            config,
            dataset: &data,
            tokens: &mut |_| Ok(tokens.clone()),
            learning_rate: &|_, _| 1e-3,
            checkpoint_every: CheckpointEvery::Seconds(1e9),
            frozen,
            forked_at: 0,
            start: None,
            ignores_stop_rules: false,
        };
        let mut kept = Recorder::default();
        fit::fit(setup, &mut engine, None, &mut kept).unwrap();
        kept
    }

    fn losses(kept: &Recorder) -> Vec<f32> {
        kept.metrics.iter().map(|row| row.train_loss).chain(kept.evals.iter().map(|row| row.eval_loss)).collect()
    }

    #[test]
    fn cached_outputs_have_the_bits_of_computed_ones() {
        for (freeze, pooling) in [(1, Pooling::Mean), (2, Pooling::Mean), (2, Pooling::Cls)] {
            let config = frozen_config(freeze, pooling);
            let cache = MemoryCache::default();
            let computed = losses(&train(&config, Some(&cache), 1));
            assert_eq!(*cache.found.lock().unwrap(), 0);
            let found = losses(&train(&config, Some(&cache), 2));
            assert_eq!(*cache.found.lock().unwrap(), 2, "the next trial finds both splits");
            assert_eq!(computed, found);
            for (a, b) in found.iter().zip(losses(&train(&config, None, 1))) {
                assert!((a - b).abs() < 1e-5, "{freeze} frozen layers: {a} cached, {b} computed in every step");
            }
        }
    }

    #[test]
    fn other_layers_and_other_texts_have_another_key() {
        let checkpoint = Checkpoint::tiny();
        let data = dataset(&fixture("finetune-tiny/train.tsv"), &checkpoint, 32, 120, 40);
        let of = |freeze, tokens| {
            let engine = checkpoint.engine(&frozen_config(freeze, Pooling::Mean), 3, 1);
            key(&engine.model, tokens).unwrap()
        };
        let first = of(1, &data.train.tokens);
        assert_eq!(first, of(1, &data.train.tokens));
        assert_ne!(first, of(2, &data.train.tokens));
        assert_ne!(first, of(1, &data.eval.tokens));
    }

    #[test]
    fn nothing_is_cached_without_frozen_layers() {
        let cache = MemoryCache::default();
        train(&frozen_config(0, Pooling::Mean), Some(&cache), 1);
        assert!(cache.kept.lock().unwrap().is_empty());
    }
}
