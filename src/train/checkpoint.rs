//! The complete training state of a trial between two steps, as one safetensors file.
//!
//! A trial that resumes from it gives the same bits as a trial that was never interrupted. Weights have the names of Hugging
//! Face, so `transformers` can read the file. The file also holds AdamW's moments (`adamw.exp_avg.*`,
//! `adamw.exp_avg_sq.*`), the number of steps applied to each token embedding (`adamw.word_steps`), the learning rates of all
//! steps, and the trial's progress as JSON under `plateau` in the header.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};

use super::TrainError;
use super::engine::Engine;
use super::model::Parameter;
use super::optim::{LazyEmbedding, Moments, in_place, values};
use super::progress::TrialProgress;
use super::weights::{Array, serialize};

/// Key of the progress in the header.
const PROGRESS: &str = "plateau";

fn floats(values: &[f32], shape: &[usize]) -> Array {
    let mut bytes = vec![0; values.len() * 4];
    for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    Array { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

fn first_name(parameter: &Parameter) -> String {
    format!("adamw.exp_avg.{}", parameter.name)
}

fn second_name(parameter: &Parameter) -> String {
    format!("adamw.exp_avg_sq.{}", parameter.name)
}

/// Steps applied to each row of the token embeddings.
const EMBEDDING_STEPS: &str = "adamw.word_steps";
/// Learning rates of all steps.
const RATES: &str = "adamw.rates";

/// The training state as the bytes of a safetensors file.
pub fn write(engine: &Engine, progress: &TrialProgress) -> Result<Vec<u8>, TrainError> {
    let mut arrays: Vec<(String, Array)> = Vec::new();
    let (model, optimizer) = (&engine.model, &engine.optimizer);
    for (parameter, moments) in model.parameters.iter().zip(optimizer.moments()) {
        let shape = parameter.value.dims();
        arrays.push((parameter.file_name.clone(), floats(&values(&parameter.value)?, shape)));
        match moments {
            Some(Moments::Host(first, second)) => {
                arrays.push((first_name(parameter), floats(first, shape)));
                arrays.push((second_name(parameter), floats(second, shape)));
            }
            Some(Moments::Device(first, second)) => {
                arrays.push((first_name(parameter), floats(&values(first)?, shape)));
                arrays.push((second_name(parameter), floats(&values(second)?, shape)));
            }
            None => {}
        }
    }
    if let Some(embedding) = optimizer.lazy_embedding() {
        let table = model.token_embeddings();
        arrays.push((first_name(table), floats(embedding.first_moment(), table.value.dims())));
        arrays.push((second_name(table), floats(embedding.second_moment(), table.value.dims())));
        let steps = embedding.row_steps();
        let bytes = steps.iter().flat_map(|steps| steps.to_le_bytes()).collect();
        arrays.push((EMBEDDING_STEPS.into(), Array { dtype: Dtype::U32, shape: vec![steps.len()], bytes }));
    }
    let bytes = optimizer.rates().iter().flat_map(|rate| rate.to_le_bytes()).collect();
    arrays.push((RATES.into(), Array { dtype: Dtype::F64, shape: vec![optimizer.rates().len()], bytes }));
    let json = serde_json::to_string(progress).map_err(std::io::Error::from)?;
    serialize(arrays, HashMap::from([(PROGRESS.to_owned(), json)]))
}

/// The weights without the optimizer. The token embeddings must be up to date.
pub(super) fn copy_weights(engine: &Engine) -> Result<Vec<(String, Array)>, TrainError> {
    let copy = |parameter: &Parameter| {
        Ok((parameter.file_name.clone(), floats(&values(&parameter.value)?, parameter.value.dims())))
    };
    engine.model.parameters.iter().map(copy).collect()
}

/// Number of steps taken when the training state was saved.
pub fn step(bytes: &[u8]) -> Result<u64, TrainError> {
    progress(bytes).map(|progress| progress.step)
}

fn progress(bytes: &[u8]) -> Result<TrialProgress, TrainError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e.to_string()))?;
    let json =
        header.metadata().as_ref().and_then(|header| header.get(PROGRESS)).ok_or_else(|| damaged("no progress"))?;
    serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))
}

/// Loads a training state into a new engine and returns the progress. `forked_at` is the step of the probed trial at which
/// a probe started, else 0.
pub fn read(bytes: &[u8], engine: &mut Engine, forked_at: u64) -> Result<TrialProgress, TrainError> {
    let progress = progress(bytes)?;
    restore(bytes, engine, forked_at + progress.step)?;
    Ok(progress)
}

/// Loads the training state of a probed trial after `steps` steps into a new engine. Returns the progress of a probe that
/// starts there.
pub fn fork(bytes: &[u8], engine: &mut Engine, steps: u64) -> Result<TrialProgress, TrainError> {
    let saved_step = progress(bytes).and_then(|progress| restore(bytes, engine, progress.step).map(|()| progress.step));
    match saved_step {
        Ok(step) if step == steps => Ok(TrialProgress::default()),
        Ok(step) => Err(unusable_start(&format!("it was saved after step {step}, expected step {steps}"))),
        Err(error) => Err(unusable_start(&error.to_string())),
    }
}

fn unusable_start(what: &str) -> TrainError {
    TrainError::Input(format!(
        "the checkpoint from which this probe starts cannot be used: {what}. Remove the folder `probes/starts` of the sweep \
         and run `plateau probe` again"
    ))
}

/// The error of a probe without a checkpoint to start from.
pub fn missing_start() -> TrainError {
    unusable_start("the file is missing")
}

/// Loads weights, moments and the learning rates of `steps` steps into a new engine.
fn restore(bytes: &[u8], engine: &mut Engine, steps: u64) -> Result<(), TrainError> {
    let saved = SavedTensors(SafeTensors::deserialize(bytes).map_err(|e| damaged(&e.to_string()))?);
    let model = engine.model.clone();
    let mut moments = Vec::new();
    for (parameter, fresh) in model.parameters.iter().zip(engine.optimizer.moments()) {
        let n = parameter.value.elem_count();
        let values = saved.floats(&parameter.file_name, n)?;
        let shape = parameter.value.shape();
        if parameter.value.device().is_cpu() {
            in_place(&parameter.value, |to| to.copy_from_slice(&values))?;
        } else {
            parameter
                .value
                .set(&Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(parameter.value.device())?)?;
        }
        moments.push(match fresh {
            None => None,
            Some(kind) => {
                let first = saved.floats(&first_name(parameter), n)?;
                let second = saved.floats(&second_name(parameter), n)?;
                Some(match kind {
                    Moments::Host(..) => Moments::Host(first, second),
                    Moments::Device(..) => {
                        let device = parameter.value.device();
                        Moments::Device(
                            Tensor::from_vec(first, shape, device)?,
                            Tensor::from_vec(second, shape, device)?,
                        )
                    }
                })
            }
        });
    }
    let embedding = if engine.optimizer.lazy_embedding().is_some() {
        let table = model.token_embeddings();
        let n = table.value.elem_count();
        let steps = saved.bytes(EMBEDDING_STEPS, model.shape().vocabulary * 4)?;
        let steps: Vec<u32> = steps.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes).collect();
        let (first, second) = (saved.floats(&first_name(table), n)?, saved.floats(&second_name(table), n)?);
        Some(LazyEmbedding::from_saved(model.shape().embeddings.width, first, second, steps))
    } else {
        None
    };
    let rates = saved.bytes(RATES, steps as usize * 8)?;
    let rates = rates.as_chunks::<8>().0.iter().copied().map(f64::from_le_bytes).collect();
    engine.optimizer.restore(&model, rates, moments, embedding);
    Ok(())
}

/// The tensors of a training state, with checks of their sizes.
struct SavedTensors<'a>(SafeTensors<'a>);

impl<'a> SavedTensors<'a> {
    fn bytes(&self, name: &str, length: usize) -> Result<&'a [u8], TrainError> {
        let view = self.0.tensor(name).map_err(|e| damaged(&e.to_string()))?;
        let bytes = view.data();
        if bytes.len() != length {
            return Err(damaged(&format!("'{name}' has {} bytes, expected {length}", bytes.len())));
        }
        Ok(bytes)
    }

    fn floats(&self, name: &str, n: usize) -> Result<Vec<f32>, TrainError> {
        let bytes = self.bytes(name, n * 4)?;
        Ok(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect())
    }
}

fn damaged(what: &str) -> TrainError {
    TrainError::TrainingState(format!(
        "the checkpoint of this trial cannot be read: {what}. Remove the trial's checkpoint folder to train it from the start"
    ))
}
