//! What CUDA says about devices and their memory, without opening a context where none is needed.

use std::ffi::c_int;

use cudarc::driver::{CudaContext, result, sys};

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
