//! The values of a CPU tensor as a slice.

use std::ops::Deref;

use candle_core::{CpuStorage, Error, Layout, Result, Storage, StorageRef, Tensor};

/// A read lock on a contiguous f32 tensor; derefs to its elements.
pub struct Host<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

pub fn host(tensor: &Tensor) -> Result<Host<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => slice(cpu, layout)?,
        _ => return Err(Error::Msg("the CPU kernels were given a tensor of another device".into())),
    };
    Ok(Host { storage, layout })
}

/// The elements of a contiguous f32 storage.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg("a kernel needs a contiguous tensor".into()))?;
    storage.as_slice::<f32>().map(|values| &values[start..end])
}

impl Deref for Host<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(cpu) => slice(cpu, self.layout).unwrap_or_default(),
            _ => &[],
        }
    }
}
