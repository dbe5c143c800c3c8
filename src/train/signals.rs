//! Signals of a step beside its loss: gradient norms of the lowest and the highest layer, and the size of the update.
//!
//! They are measured only in the step before an evaluation, so they cost almost nothing. They do not change the step.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::engine::{Engine, Gradients};
use super::model::parameters::Layer;
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
    pub fn update_measured(&mut self, gradients: &Gradients, rate: f64, max_norm: f64) -> Result<Signals, TrainError> {
        let trained = |layer: &&Layer| self.model.parameters[layer.query.weight].trainable;
        let layers = &self.model.index.layers;
        let (first, last) = (layers.iter().find(trained).copied(), layers.iter().rfind(trained).copied());
        let (Some(first), Some(last)) = (first, last) else {
            self.update(gradients, rate, max_norm)?;
            return Ok(Signals::default());
        };
        let norms = [self.layer_norm(gradients, &first)?, self.layer_norm(gradients, &last)?];
        let before = values(&self.model.parameters[last.query.weight].value)?;
        self.update(gradients, rate, max_norm)?;
        let after = values(&self.model.parameters[last.query.weight].value)?;
        let moved: f64 = before.iter().zip(&after).map(|(a, b)| f64::from((a - b).abs())).sum();
        let size: f64 = before.iter().map(|weight| f64::from(weight.abs())).sum();
        let finite = |value: f64| Some(value as f32).filter(|value| value.is_finite());
        let [first_grad_norm, last_grad_norm] = norms.map(finite);
        Ok(Signals { first_grad_norm, last_grad_norm, update_ratio: finite(moved / size) })
    }

    /// Norm of the gradient of all parameters of a layer.
    fn layer_norm(&self, gradients: &Gradients, layer: &Layer) -> Result<f64, TrainError> {
        let Layer { query, key, value, output, attention_norm, up, down, norm } = layer;
        let mut squares = 0.0;
        for pair in [query, key, value, output, attention_norm, up, down, norm] {
            squares += self.gradient_squares(gradients, pair.weight)? + self.gradient_squares(gradients, pair.bias)?;
        }
        Ok(squares.sqrt())
    }
}
