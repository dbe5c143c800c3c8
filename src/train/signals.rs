//! What a step does below the loss: how much gradient reaches the lowest layer, and how far weights move.
//!
//! Taken on the step before an evaluation only, so that it costs next to nothing; the step itself is not changed by it.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::engine::{Engine, Gradients};
use super::model::parameters::Layer;
use super::optim::values;

/// Of one step; None where there is no such layer, or no finite number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Gradient norm of the lowest trained encoder layer, before clipping.
    pub first_grad_norm: Option<f32>,
    /// Likewise of the highest.
    pub last_grad_norm: Option<f32>,
    /// Mean |change| over mean |weight| of the highest trained layer's query matrix.
    pub update_ratio: Option<f32>,
}

impl Engine {
    /// As [`Engine::update`], and looks at what it does.
    pub fn update_watched(&mut self, gradients: &Gradients, rate: f64, max_norm: f64) -> Result<Signals, TrainError> {
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
