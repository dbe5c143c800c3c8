//! What the frozen part of a model gives for every example of a split: computed once, kept, and shared by all trials that
//! freeze the same layers of the same checkpoint over the same texts.
//!
//! A frozen part has neither dropout nor gradients, so its output is a function of the example. It is computed over
//! micro-batches that depend on the split alone: the same bits whether a trial computes it or finds it.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{MicroBatch, pieces, span};
use super::data::Tokens;
use super::engine::Engine;
use super::model::{Bert, Rows};
use super::{Cache, TrainError};

/// Most bytes that are kept of a split; above it every step computes its own.
const LIMIT: usize = 1 << 30;

/// Rows of hidden size, those that the frozen part gives out.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    width: usize,
    /// Example i owns rows `offsets[i]..offsets[i + 1]`.
    offsets: Vec<u32>,
    values: Vec<f32>,
}

/// What is known of the two splits of a trial's data.
#[derive(Debug, Clone, Default)]
pub struct FrozenSplits {
    /// Of the texts as they are: None where augmentation changes them.
    pub train: Option<Arc<Frozen>>,
    pub eval: Option<Arc<Frozen>>,
}

impl Frozen {
    /// For the examples of `tokens`. None where nothing is frozen, where it would be too large, or where candle's own
    /// operations do the work.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] if `interrupted` said so.
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
            Rows::First => (0..=examples as u32).collect(),
        };
        let (width, rows) = (model.config.hidden, offsets[examples] as usize);
        if model.composed || rows * width * size_of::<f32>() > LIMIT {
            return Ok(None);
        }
        let key = key(&model, tokens)?;
        let kept = cache.get(&key).map(|bytes| read(&bytes)).filter(|values| values.len() == rows * width);
        let values = if let Some(values) = kept {
            values
        } else {
            let order: Vec<u32> = (0..examples as u32).collect();
            let pack = |range: Range<usize>| Arc::new(MicroBatch::pack(tokens, &order[range], |_| 0, 0));
            let batches: Vec<_> = pieces(&order, tokens).into_iter().map(pack).collect();
            let Some(parts) = engine.frozen(&batches, interrupted)? else { return Err(TrainError::Interrupted) };
            let values = parts.concat();
            cache.put(&key, &write(&values));
            values
        };
        Ok(Some(Arc::new(Self { width, offsets, values })))
    }

    /// The rows of these examples, one after the other.
    pub fn rows(&self, examples: &[u32]) -> Vec<f32> {
        let of = |&example: &u32| {
            let range = self.offsets[example as usize] as usize..self.offsets[example as usize + 1] as usize;
            &self.values[range.start * self.width..range.end * self.width]
        };
        examples.iter().flat_map(of).copied().collect()
    }
}

/// Names everything that the values depend on.
fn key(model: &Bert, tokens: &Tokens) -> Result<String, TrainError> {
    let mut hash = blake3::Hasher::new();
    hash.update(format!("{:?} {} {:?}", model.config, model.freeze, model.rows(model.freeze - 1)).as_bytes());
    for parameter in model.parameters.iter().filter(|parameter| parameter.depth + model.freeze > model.config.layers) {
        hash.update(parameter.name.as_bytes());
        hash.update(&write(&parameter.value.flatten_all()?.to_vec1::<f32>()?));
    }
    for example in 0..tokens.offsets.len() as u32 - 1 {
        let span = span(tokens, example);
        hash.update(&(span.len() as u64).to_le_bytes());
        for number in tokens.ids[span.clone()].iter().chain(&tokens.positions[span.clone()]) {
            hash.update(&number.to_le_bytes());
        }
        hash.update(&tokens.types[span]);
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
    use crate::train::testing::{Checkpoint, Kept, config, dataset, fixture};
    use crate::trial::{CheckpointEvery, FractionOrSteps, Length, Pooling, TrialConfig};

    #[derive(Default)]
    struct Memory {
        kept: Mutex<BTreeMap<String, Vec<u8>>>,
        found: Mutex<usize>,
    }

    impl Cache for Memory {
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

    /// Trains with what is frozen kept in `cache`, or computed at every step.
    fn train(config: &TrialConfig, cache: Option<&Memory>, threads: usize) -> Kept {
        let checkpoint = Checkpoint::tiny();
        let data = dataset(&fixture("finetune-tiny/train.tsv"), &checkpoint, 32, 120, 40);
        let mut engine = checkpoint.engine(config, 3, threads);
        let mut known =
            |tokens: &Tokens| cache.and_then(|cache| Frozen::new(&mut engine, tokens, cache, &|| false).unwrap());
        let frozen = FrozenSplits { train: known(&data.train.tokens), eval: known(&data.eval.tokens) };
        let tokens = Arc::new(data.train.tokens.clone());
        let fit = fit::Fit {
            config,
            dataset: &data,
            tokens: &mut |_| Ok(tokens.clone()),
            rate: &|_, _| 1e-3,
            checkpoint_every: CheckpointEvery::Seconds(1e9),
            frozen,
            before: 0,
            start: None,
            ignores_stop_rules: false,
        };
        let mut kept = Kept::default();
        fit::fit(fit, &mut engine, None, &mut kept).unwrap();
        kept
    }

    fn losses(kept: &Kept) -> Vec<f32> {
        kept.metrics.iter().map(|row| row.train_loss).chain(kept.evals.iter().map(|row| row.eval_loss)).collect()
    }

    #[test]
    fn found_outputs_give_the_bits_of_computed_ones_and_the_numbers_of_a_whole_forward() {
        for (freeze, pooling) in [(1, Pooling::Mean), (2, Pooling::Mean), (2, Pooling::Cls)] {
            let config = frozen_config(freeze, pooling);
            let cache = Memory::default();
            let computed = losses(&train(&config, Some(&cache), 1));
            assert_eq!(*cache.found.lock().unwrap(), 0);
            let found = losses(&train(&config, Some(&cache), 2));
            assert_eq!(*cache.found.lock().unwrap(), 2, "both splits are found by the next trial");
            assert_eq!(computed, found);
            for (a, b) in found.iter().zip(losses(&train(&config, None, 1))) {
                assert!((a - b).abs() < 1e-5, "{freeze} frozen layers: {a} kept, {b} computed at every step");
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
    fn nothing_is_kept_where_nothing_is_frozen() {
        let cache = Memory::default();
        train(&frozen_config(0, Pooling::Mean), Some(&cache), 1);
        assert!(cache.kept.lock().unwrap().is_empty());
    }
}
