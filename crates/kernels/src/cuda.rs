//! What the trainer needs of CUDA beside candle: facts about devices and their memory, and dropout.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{
    CudaContext, CudaModule, CudaSlice, CudaStream, CudaView, DriverError, LaunchConfig, PushKernelArg as _, result,
    sys,
};
use cudarc::nvrtc::compile_ptx;

use crate::dropout::Mask;

/// The source of the kernels.
const DROPOUT: &str = include_str!("dropout.cu");

/// A CUDA context with the kernels of candle and cuBLAS takes about so many bytes of its device.
pub const CONTEXT_MEMORY: u64 = 512 << 20;

/// The number of devices that this process can see.
#[must_use]
pub fn device_count() -> usize {
    CudaContext::device_count().ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Bytes of the device of this number. [`device_count`] must have been called before.
#[must_use]
pub fn total_memory(index: usize) -> Option<u64> {
    let device = result::device::get(c_int::try_from(index).ok()?).ok()?;
    // SAFETY: `device` comes from `cuDeviceGet`, and the call only reads a number of it.
    let bytes = unsafe { result::device::total_mem(device) };
    bytes.ok().map(|bytes| bytes as u64)
}

/// The most bytes that this process had reserved on the device of a context, with the share of the context itself. Allocations
/// must come from the default pool of the device, which belongs to this process alone.
#[must_use]
pub fn peak_memory(context: &CudaContext) -> Option<u64> {
    let device = result::device::get(c_int::try_from(context.ordinal()).ok()?).ok()?;
    let mut bytes = 0u64;
    // SAFETY: `device` comes from `cuDeviceGet`, its default pool exists as long as the process, and this attribute is written as a
    // 64-bit number, for which `bytes` has room.
    unsafe {
        let pool = result::device::get_default_mem_pool(device).ok()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH;
        sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()).result().ok()?;
    }
    (bytes > 0).then_some(bytes + CONTEXT_MEMORY)
}

/// What masks are laid over: the shapes of [`dropout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// `[rows, width]`: the rows of sequence s are `offsets[s]..offsets[s + 1]`.
    Rows { width: u32 },
    /// `[sequences, heads, longest, longest]`, of sequences whose lengths are the differences of the offsets.
    Weights { heads: u32, longest: u32 },
}

/// `x` with some elements dropped and the others scaled, as [`Mask::factor`] says for the elements of each sequence. The factor of
/// padding is 1. All masks have one probability. The error is a message of CUDA.
pub fn dropout(
    stream: &Arc<CudaStream>,
    x: &CudaView<'_, f32>,
    elements: Elements,
    offsets: &[u32],
    masks: &[Mask],
) -> Result<CudaSlice<f32>, String> {
    let n = u32::try_from(x.len()).map_err(|_| "dropout has more than 2^32 elements".to_owned())?;
    let Some((threshold, scale)) = masks.first().map(|mask| (mask.threshold(), mask.scale())) else {
        return Err("dropout has no sequence".to_owned());
    };
    let table = match elements {
        Elements::Rows { width } => of_rows(width, offsets, masks),
        Elements::Weights { .. } => of_sequences(offsets, masks),
    };
    let covered = match elements {
        Elements::Rows { width } => table.len() as u64 / 3 * u64::from(width),
        Elements::Weights { heads, longest } => {
            table.len() as u64 / 3 * u64::from(heads) * u64::from(longest) * u64::from(longest)
        }
    };
    if covered != u64::from(n) {
        return Err(format!("dropout has {n} elements, and its masks have {covered}"));
    }
    let run = || -> Result<CudaSlice<f32>, DriverError> {
        let kernels = kernels(stream.context())?;
        let table = stream.clone_htod(&table)?;
        // SAFETY: the kernel writes every element before it is read.
        let mut y = unsafe { stream.alloc::<f32>(x.len()) }?;
        let name = match elements {
            Elements::Rows { .. } => "dropout_rows",
            Elements::Weights { .. } => "dropout_weights",
        };
        let function = kernels.load_function(name)?;
        let mut launch = stream.launch_builder(&function);
        launch.arg(&mut y).arg(x).arg(&table).arg(&n);
        match &elements {
            Elements::Rows { width } => launch.arg(width),
            Elements::Weights { heads, longest } => launch.arg(heads).arg(longest),
        };
        launch.arg(&threshold).arg(&scale);
        // SAFETY: number and types of the arguments are those of the kernels in `dropout.cu`. They touch the first `n` elements of `x`
        // and `y`, which have that many, and for these elements only entries that `table` has, as `covered` shows.
        unsafe { launch.launch(LaunchConfig::for_num_elems(n)) }?;
        Ok(y)
    };
    run().map_err(|error| format!("dropout: {error}"))
}

/// Key and first element of each row.
fn of_rows(width: u32, offsets: &[u32], masks: &[Mask]) -> Vec<u32> {
    let sequences = offsets.windows(2).zip(masks);
    let rows = sequences.flat_map(|(w, mask)| (0..w[1] - w[0]).map(move |row| (mask.key(), row)));
    rows.flat_map(|([a, b], row)| [a, b, row * width]).collect()
}

/// Key and length of each sequence.
fn of_sequences(offsets: &[u32], masks: &[Mask]) -> Vec<u32> {
    let sequences = offsets.windows(2).zip(masks);
    sequences.flat_map(|(w, mask)| [mask.key()[0], mask.key()[1], w[1] - w[0]]).collect()
}

/// The compiled kernels of a context. They are compiled once in a process, which has one device.
fn kernels(context: &Arc<CudaContext>) -> Result<Arc<CudaModule>, DriverError> {
    static MODULES: Mutex<Vec<(usize, Arc<CudaModule>)>> = Mutex::new(Vec::new());
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = modules.iter().find(|(ordinal, _)| *ordinal == context.ordinal()) {
        return Ok(module.clone());
    }
    let source = format!("#define EXPORT extern \"C\"\n{DROPOUT}");
    let compiled = compile_ptx(source).map_err(|_| DriverError(sys::CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND))?;
    let module = context.load_module(compiled)?;
    modules.push((context.ordinal(), module.clone()));
    Ok(module)
}
