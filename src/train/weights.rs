//! Weights without the optimizer, as safetensors files with the names of Hugging Face.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::TrainError;

/// A tensor of a safetensors file that is being written.
pub(super) struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
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

/// The precision of exported weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightType {
    #[default]
    F32,
    F16,
    Bf16,
}

impl WeightType {
    /// As in the `dtype` of a `config.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    fn types(self) -> (DType, Dtype) {
        match self {
            Self::F32 => (DType::F32, Dtype::F32),
            Self::F16 => (DType::F16, Dtype::F16),
            Self::Bf16 => (DType::BF16, Dtype::BF16),
        }
    }
}

/// The tensors of a safetensors file that `rename` gives a name to, as a new file of this precision.
pub fn convert(file: &[u8], to: WeightType, rename: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>, TrainError> {
    let unreadable =
        |error: safetensors::SafeTensorError| TrainError::Input(format!("cannot read the weights: {error}"));
    let (candle_type, file_type) = to.types();
    let mut arrays = Vec::new();
    for (name, view) in SafeTensors::deserialize(file).map_err(unreadable)?.tensors() {
        let Some(name) = rename(&name) else { continue };
        let from = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(TrainError::Input(format!("cannot convert the tensor '{name}' from {other:?}"))),
        };
        let tensor = Tensor::from_raw_buffer(view.data(), from, view.shape(), &Device::Cpu)?.to_dtype(candle_type)?;
        let mut bytes = Vec::new();
        tensor.write_bytes(&mut bytes)?;
        arrays.push((name, Array { dtype: file_type, shape: view.shape().to_vec(), bytes }));
    }
    serialize(arrays, HashMap::new())
}

/// A safetensors file with these tensors. `format: pt` tells transformers that their layout is PyTorch's.
pub(super) fn serialize(
    arrays: Vec<(String, Array)>,
    mut header: HashMap<String, String>,
) -> Result<Vec<u8>, TrainError> {
    header.insert("format".to_owned(), "pt".to_owned());
    safetensors::serialize(arrays, Some(header)).map_err(|error| TrainError::Sink(std::io::Error::other(error)))
}

/// One file with the tensors of several.
pub fn merge(files: &[&[u8]]) -> Result<Vec<u8>, TrainError> {
    let mut arrays = Vec::new();
    for file in files {
        let tensors = SafeTensors::deserialize(file)
            .map_err(|error| TrainError::Input(format!("cannot read the weights: {error}")))?;
        for (name, view) in tensors.tensors() {
            let array = Array { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            arrays.push((name, array));
        }
    }
    serialize(arrays, HashMap::new())
}
