//! The complete state of a trial between two steps, as one safetensors file: resuming from it gives the same bits as never
//! having stopped.
//!
//! Weights carry Hugging Face's names, so that `transformers` reads the file too. Beside them lie AdamW's moments
//! (`adamw.exp_avg.*`, `adamw.exp_avg_sq.*`), how far each word vector has come (`adamw.word_steps`), the rates of the steps
//! taken, and the trial's progress as JSON under `plateau` in the header.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::TrainError;
use super::engine::Engine;
use super::fit::Progress;
use super::model::Parameter;
use super::optim::words::Words;
use super::optim::{Moments, in_place, values};

/// Key of the progress in the header.
const PROGRESS: &str = "plateau";

struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Array {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn floats(values: &[f32], shape: &[usize]) -> Array {
    let mut bytes = vec![0; values.len() * 4];
    for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    Array { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

/// The name of a parameter in a Hugging Face checkpoint.
fn name(parameter: &Parameter) -> String {
    if parameter.name.starts_with("classifier") { parameter.name.clone() } else { format!("bert.{}", parameter.name) }
}

fn first_name(parameter: &Parameter) -> String {
    format!("adamw.exp_avg.{}", parameter.name)
}

fn second_name(parameter: &Parameter) -> String {
    format!("adamw.exp_avg_sq.{}", parameter.name)
}

const WORD_STEPS: &str = "adamw.word_steps";
const RATES: &str = "adamw.rates";

/// The state as bytes.
pub fn write(engine: &Engine, progress: &Progress) -> Result<Vec<u8>, TrainError> {
    let mut arrays: Vec<(String, Array)> = Vec::new();
    let (model, optimizer) = (&engine.model, &engine.optimizer);
    for (parameter, moments) in model.parameters.iter().zip(optimizer.moments()) {
        let shape = parameter.value.dims();
        arrays.push((name(parameter), floats(&values(&parameter.value)?, shape)));
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
    if let Some(words) = optimizer.words() {
        let table = &model.parameters[model.index.words];
        arrays.push((first_name(table), floats(words.first(), table.value.dims())));
        arrays.push((second_name(table), floats(words.second(), table.value.dims())));
        let bytes = words.seen().iter().flat_map(|steps| steps.to_le_bytes()).collect();
        arrays.push((WORD_STEPS.into(), Array { dtype: Dtype::U32, shape: vec![words.seen().len()], bytes }));
    }
    let bytes = optimizer.rates().iter().flat_map(|rate| rate.to_le_bytes()).collect();
    arrays.push((RATES.into(), Array { dtype: Dtype::F64, shape: vec![optimizer.rates().len()], bytes }));
    let json = serde_json::to_string(progress).map_err(std::io::Error::from)?;
    let header = HashMap::from([("format".to_owned(), "pt".to_owned()), (PROGRESS.to_owned(), json)]);
    safetensors::serialize(arrays, Some(header)).map_err(|e| TrainError::Sink(std::io::Error::other(e)))
}

/// Steps taken when a state was saved.
pub fn step(bytes: &[u8]) -> Result<u64, TrainError> {
    progress(bytes).map(|progress| progress.step)
}

fn progress(bytes: &[u8]) -> Result<Progress, TrainError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e.to_string()))?;
    let json =
        header.metadata().as_ref().and_then(|header| header.get(PROGRESS)).ok_or_else(|| damaged("no progress"))?;
    serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))
}

/// Puts a saved state into a fresh engine and returns the progress. `before`: the steps of the trial that it was forked from.
pub fn read(bytes: &[u8], engine: &mut Engine, before: u64) -> Result<Progress, TrainError> {
    let progress = progress(bytes)?;
    restore(bytes, engine, before + progress.step)?;
    Ok(progress)
}

/// Puts the state of another trial after `steps` steps into a fresh engine; the progress of who starts from there.
pub fn fork(bytes: &[u8], engine: &mut Engine, steps: u64) -> Result<Progress, TrainError> {
    let is_of = progress(bytes).and_then(|progress| restore(bytes, engine, progress.step).map(|()| progress.step));
    match is_of {
        Ok(step) if step == steps => Ok(Progress::default()),
        Ok(step) => Err(bad_start(&format!("it is of step {step} instead of {steps}"))),
        Err(error) => Err(bad_start(&error.to_string())),
    }
}

fn bad_start(what: &str) -> TrainError {
    TrainError::Input(format!(
        "the state that this probe starts from cannot be used ({what}): remove the folder `probes/starts` of the sweep and \
         run `plateau probe` again"
    ))
}

/// What to say of a fork without a state to start from.
pub fn no_start() -> TrainError {
    bad_start("it is gone")
}

/// Puts weights, moments and the rates of `steps` steps into a fresh engine.
fn restore(bytes: &[u8], engine: &mut Engine, steps: u64) -> Result<(), TrainError> {
    let saved = Saved(SafeTensors::deserialize(bytes).map_err(|e| damaged(&e.to_string()))?);
    let model = engine.model.clone();
    let mut moments = Vec::new();
    for (parameter, fresh) in model.parameters.iter().zip(engine.optimizer.moments()) {
        let n = parameter.value.elem_count();
        let values = saved.floats(&name(parameter), n)?;
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
    let words = if engine.optimizer.words().is_some() {
        let table = &model.parameters[model.index.words];
        let n = table.value.elem_count();
        let steps = saved.bytes(WORD_STEPS, model.config.vocabulary * 4)?;
        let steps: Vec<u32> = steps.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes).collect();
        let (first, second) = (saved.floats(&first_name(table), n)?, saved.floats(&second_name(table), n)?);
        Some(Words::with(model.config.hidden, first, second, steps))
    } else {
        None
    };
    let rates = saved.bytes(RATES, steps as usize * 8)?;
    let rates = rates.as_chunks::<8>().0.iter().copied().map(f64::from_le_bytes).collect();
    engine.optimizer.restore(&model, rates, moments, words);
    Ok(())
}

struct Saved<'a>(SafeTensors<'a>);

impl<'a> Saved<'a> {
    fn bytes(&self, name: &str, length: usize) -> Result<&'a [u8], TrainError> {
        let view = self.0.tensor(name).map_err(|e| damaged(&e.to_string()))?;
        let bytes = view.data();
        if bytes.len() != length {
            return Err(damaged(&format!("'{name}' has {} bytes instead of {length}", bytes.len())));
        }
        Ok(bytes)
    }

    fn floats(&self, name: &str, n: usize) -> Result<Vec<f32>, TrainError> {
        let bytes = self.bytes(name, n * 4)?;
        Ok(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect())
    }
}

fn damaged(what: &str) -> TrainError {
    TrainError::State(format!(
        "the saved state of this trial cannot be read ({what}): remove its checkpoint folder to start the trial over"
    ))
}
