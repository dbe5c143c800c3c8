//! Dropout on a device: each element is multiplied by a factor that is a function of its index, as in the kernels of the CPU.
//!
//! On a CUDA device a kernel computes the factors where they are used, forwards and backwards. On Metal, which has no such kernel,
//! they are computed by the host.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use plateau_kernels::dropout::{Dropout, Mask};

/// The elements that masks are laid over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elements {
    /// `[rows, width]`: the rows of sequence s are `offsets[s]..offsets[s + 1]`.
    Rows { width: usize },
    /// Attention weights `[sequences, heads, longest, longest]`, of sequences whose lengths are the differences of `offsets`. The factor
    /// of padding is 1.
    Weights { heads: usize, longest: usize },
}

/// Dropout of a micro-batch.
#[derive(Debug, Clone)]
pub(super) struct Masks {
    elements: Elements,
    offsets: Vec<u32>,
    /// The mask of each sequence.
    sequences: Vec<Mask>,
}

impl Masks {
    pub(super) fn new(elements: Elements, offsets: Vec<u32>, dropout: &Dropout) -> Self {
        let sequences = (0..offsets.len().saturating_sub(1)).map(|sequence| dropout.mask(sequence)).collect();
        Self { elements, offsets, sequences }
    }

    /// `x` with some elements dropped and the others scaled.
    pub(super) fn over(self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_metal() {
            let factors = Tensor::from_vec(self.factors(), x.shape(), x.device())?;
            return x * factors.to_dtype(x.dtype())?;
        }
        x.contiguous()?.apply_op1(self)
    }

    /// The factor of every element, in order.
    fn factors(&self) -> Vec<f32> {
        let lengths = self.offsets.windows(2).map(|w| (w[1] - w[0]) as usize);
        let mut factors = Vec::new();
        for (mask, length) in self.sequences.iter().zip(lengths) {
            match self.elements {
                Elements::Rows { width } => factors.extend((0..(length * width) as u32).map(|i| mask.factor(i))),
                Elements::Weights { heads, longest } => {
                    for (head, row) in (0..heads).flat_map(|head| (0..longest).map(move |row| (head, row))) {
                        let first = (head * length + row) * length;
                        let is_real = |i: usize| row < length && i < length;
                        let factor = |i| if is_real(i) { mask.factor((first + i) as u32) } else { 1.0 };
                        factors.extend((0..longest).map(factor));
                    }
                }
            }
        }
        factors
    }

    fn multiplied<T: WithDType>(&self, x: &[T]) -> Vec<T> {
        x.iter().zip(self.factors()).map(|(x, factor)| *x * T::from_f64(f64::from(factor))).collect()
    }
}

impl CustomOp1 for Masks {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (start, end) = bounds(layout)?;
        let y = match x {
            CpuStorage::F32(x) => CpuStorage::F32(self.multiplied(&x[start..end])),
            CpuStorage::F64(x) => CpuStorage::F64(self.multiplied(&x[start..end])),
            _ => return Err(Error::UnsupportedDTypeForOp(DType::F16, self.name())),
        };
        Ok((y, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        use plateau_kernels::cuda;

        let (start, end) = bounds(layout)?;
        let device = &x.device;
        let x = x.as_cuda_slice::<f32>()?.slice(start..end);
        let shape = match self.elements {
            Elements::Rows { width } => cuda::Elements::Rows { width: width as u32 },
            Elements::Weights { heads, longest } => {
                cuda::Elements::Weights { heads: heads as u32, longest: longest as u32 }
            }
        };
        let y = cuda::dropout(&device.cuda_stream(), &x, shape, &self.offsets, &self.sequences).map_err(Error::Msg)?;
        Ok((CudaStorage::wrap_cuda_slice(y, device.clone()), layout.shape().clone()))
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda_fwd(&self, _x: &CudaStorage, _layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.clone().over(gradient).map(Some)
    }
}

fn bounds(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or_else(|| Error::Msg("dropout needs a contiguous tensor".into()))
}
