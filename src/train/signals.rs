//! Signals of a step beside its loss: gradient norms of the lowest and the highest layer, and the size of the update.
//!
//! They are measured only in the step before an evaluation, so they cost almost nothing. They do not change the step.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::engine::{Engine, Gradients};
use super::model::Parameter;
use super::optim::values;

/// The signals of one step. None if there is no such layer or if the number is not finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Gradient norm of the lowest trainable encoder layer, before clipping.
    pub first_grad_norm: Option<f32>,
    /// The same for the highest trainable layer.
    pub last_grad_norm: Option<f32>,
    /// Mean |change| divided by mean |weight| of the query matrix of the highest trainable layer.
    pub update_ratio: Option<f32>,
}

impl Engine {
    /// Does what [`Engine::update`] does and measures the signals.
    pub fn update_measured(&mut self, gradients: &Gradients, lr: f64, max_norm: f64) -> Result<Signals, TrainError> {
        let is_trained = |&number: &usize| {
            self.model.layer_parameters(number).any(|parameter| self.model.parameters[parameter].trainable)
        };
        let layers = 0..self.model.shape().layers;
        let (first, last) = (layers.clone().find(is_trained), layers.rev().find(is_trained));
        let (Some(first), Some(last)) = (first, last) else {
            self.update(gradients, lr, max_norm)?;
            return Ok(Signals::default());
        };
        let norms = [self.layer_norm(gradients, first)?, self.layer_norm(gradients, last)?];
        let query = self.query_matrix(last);
        let before = self.values_of(query)?;
        self.update(gradients, lr, max_norm)?;
        let after = self.values_of(query)?;
        let moved: f64 = before.iter().zip(&after).map(|(a, b)| f64::from((a - b).abs())).sum();
        let size: f64 = before.iter().map(|weight| f64::from(weight.abs())).sum();
        let finite = |value: f64| Some(value as f32).filter(|value| value.is_finite());
        let [first_grad_norm, last_grad_norm] = norms.map(finite);
        Ok(Signals { first_grad_norm, last_grad_norm, update_ratio: finite(moved / size) })
    }

    /// The query matrix of a layer, or what is trained of it. Architectures declare it as the first matrix of the layer.
    fn query_matrix(&self, number: usize) -> Option<usize> {
        let is_matrix = |parameter: &Parameter| parameter.value.rank() == 2 && parameter.decays && parameter.trainable;
        self.model.layer_parameters(number).find(|&i| is_matrix(&self.model.parameters[i]))
    }

    fn values_of(&self, parameter: Option<usize>) -> Result<Vec<f32>, TrainError> {
        match parameter {
            Some(parameter) => Ok(values(&self.model.parameters[parameter].value)?),
            None => Ok(Vec::new()),
        }
    }

    /// Gradient norm of all parameters of a layer.
    fn layer_norm(&self, gradients: &Gradients, number: usize) -> Result<f64, TrainError> {
        let mut squares = 0.0;
        for parameter in self.model.layer_parameters(number) {
            squares += self.gradient_squares(gradients, parameter)?;
        }
        Ok(squares.sqrt())
    }
}
