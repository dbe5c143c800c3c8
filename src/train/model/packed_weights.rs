//! The weights of linear layers, rounded to bf16 and packed once for all micro-batches of a step or of an evaluation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use plateau_kernels::linear::Direction;
use plateau_kernels::product::Packed;

use super::operations::Linear;

/// The packed weights of the passes between two updates. A weight is packed by the first pass that needs it.
#[derive(Debug, Default)]
pub struct PackedWeights(Mutex<HashMap<Key, Slot>>);

/// A weight, once it is packed. None if packing does not pay.
type Slot = Arc<OnceLock<Option<Packed>>>;

/// The rows of a parameter, and the direction of their products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    parameter: usize,
    first: usize,
    outputs: usize,
    direction: Direction,
}

impl PackedWeights {
    /// The packed weight of a layer, for products in one direction.
    pub(super) fn of(&self, layer: Linear, direction: Direction, pack: impl FnOnce() -> Option<Packed>) -> Slot {
        let key = Key { parameter: layer.weight, first: layer.first, outputs: layer.outputs, direction };
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        slot.get_or_init(pack);
        slot
    }
}
