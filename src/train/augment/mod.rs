//! Augmentation stub.
use super::TrainError;
use super::data::Example;
use crate::trial::Augmentation;

pub struct Augmenter {
    methods: Vec<Augmentation>,
}
impl Augmenter {
    pub fn new(methods: &[Augmentation], _seed: u64) -> Result<Self, TrainError> {
        Ok(Self { methods: methods.to_vec() })
    }
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }
    pub fn apply(&self, _epoch: u64, _index: usize, example: &Example) -> Example {
        example.clone()
    }
}
