//! The forward and the backward pass of a network, the same for all architectures.

use candle_core::{DType, Device, Result, Tensor};

use super::device_backend::DeviceBackend;
use super::host::host;
use super::network::Backend;
use super::operations::Operations;
use super::pass::Pass;
use super::tape::Tape;
use crate::train::TrainError;

/// A part of the forward pass.
type Part = fn(&Pass, &mut dyn Operations) -> Result<Tensor>;

impl Pass {
    /// The outputs in evaluation mode, a row for each target of the batch.
    pub fn logits(self) -> std::result::Result<Vec<f32>, TrainError> {
        let pass = Self { training: None, ..self };
        Ok(pass.evaluate(Self::forward)?)
    }

    /// The logits for predictions: as [`Pass::logits`] but for rounding, and faster.
    pub fn predictions(self) -> std::result::Result<Vec<f32>, TrainError> {
        let pass = Self { training: None, ..self };
        Ok(pass.evaluate_on(Tape::with_shortcuts(&pass), Self::forward)?)
    }

    /// The output of the frozen part in evaluation mode, `[rows, hidden]`. The rows are all tokens, or those with an
    /// output if the last layer is frozen and the head reads no other.
    pub fn frozen(self) -> std::result::Result<Vec<f32>, TrainError> {
        let pass = Self { training: None, ..self };
        Ok(pass.evaluate(Self::frozen_part)?)
    }

    /// The encoder's output for the rows that the head reads, in evaluation mode. With mean pooling these are all tokens.
    pub fn vectors(self) -> std::result::Result<Vec<f32>, TrainError> {
        let pass = Self { training: None, ..self };
        Ok(pass.evaluate(Self::encoded)?)
    }

    /// Forward and backward pass of a training pass. Adds the gradients to the pass's buffer and returns the micro-batch's part
    /// of the step's loss.
    pub fn train(self) -> std::result::Result<f64, TrainError> {
        let training = self.training.as_ref();
        let training = training.ok_or_else(|| candle_core::Error::Msg("a loss needs a training pass".into()))?;
        match self.model.backend {
            Backend::Kernels => {
                let mut tape = Tape::new(&self);
                let outputs = self.forward(&mut tape)?;
                let values: Vec<f64> = host(&outputs)?.iter().copied().map(f64::from).collect();
                let (loss, gradient) = self.loss(training, &values);
                tape.backward(&outputs, gradient)?;
                // Rounded to f32, the type of the gradients.
                Ok(f64::from(loss as f32))
            }
            Backend::Candle => {
                let mut device = DeviceBackend::new(&self);
                let outputs = self.forward(&mut device)?;
                // Metal has no f64.
                let values = outputs.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
                let values: Vec<f64> = values.to_vec1()?;
                let (loss, gradient) = self.loss(training, &values);
                device.backward(&outputs, gradient)?;
                Ok(loss)
            }
        }
    }

    fn evaluate(&self, part: Part) -> Result<Vec<f32>> {
        self.evaluate_on(Tape::new(self), part)
    }

    /// `tape` runs the operations on the CPU.
    fn evaluate_on(&self, mut tape: Tape<'_>, part: Part) -> Result<Vec<f32>> {
        match self.model.backend {
            Backend::Kernels => Ok(host(&part(self, &mut tape)?)?.to_vec()),
            Backend::Candle => {
                let values = part(self, &mut DeviceBackend::new(self))?.detach();
                values.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
            }
        }
    }

    fn forward(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let hidden = self.encode(ops)?;
        self.model.head.forward(ops, &hidden)
    }

    /// The encoder's output.
    fn encoded(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let hidden = self.encode(ops)?;
        self.model.head.normalise(ops, &hidden)
    }

    /// All layers.
    fn encode(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let mut x = self.frozen_part(ops)?;
        for number in self.model.freeze..self.model.shape().layers {
            x = self.layer(number, &x, ops)?;
        }
        Ok(x)
    }

    /// Embeddings and frozen layers, cached or computed. The result has no gradient if anything is frozen.
    fn frozen_part(&self, ops: &mut dyn Operations) -> Result<Tensor> {
        let (model, hidden) = (&self.model, self.model.shape().hidden);
        if let Some(values) = &self.batch.frozen {
            return Tensor::from_slice(values, (values.len() / hidden, hidden), &model.device);
        }
        let mut x = model.encoder.embed(ops)?;
        for number in 0..model.freeze {
            x = self.layer(number, &x.detach(), ops)?;
        }
        Ok(if model.freeze > 0 { x.detach() } else { x })
    }

    fn layer(&self, number: usize, x: &Tensor, ops: &mut dyn Operations) -> Result<Tensor> {
        self.model.encoder.layer(number, x, self.model.rows(number), ops)
    }
}
