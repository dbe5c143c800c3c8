//! The arithmetic of a transformer on the CPU: pure functions over `f32` slices, each with its backward, and nothing that
//! knows of models, graphs or optimizers.
//!
//! Matrices are row-major; the tokens of a micro-batch lie packed, `[tokens, width]`, with sequence offsets beside them.
//! Loops are plain Rust inside [`simd`], which picks the widest instruction set of the machine at run time; matrix
//! products ([`product`]) run on the calling thread alone. Every sum has a fixed order, so equal inputs give equal
//! bits whatever runs beside them. `train::model` puts these functions into candle's graph.

pub mod activation;
pub mod attention;
pub mod dropout;
pub mod linear;
pub mod loss;
pub mod math;
pub mod norm;
pub mod product;

#[cfg(test)]
mod tests;

/// Runs `kernel` compiled for the widest vector instructions that this machine has. The closure, and closures that it
/// calls, must be `#[inline(always)]`: what stays a function of its own is compiled for the oldest machine.
#[inline]
pub fn simd<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// Lanes of a reduction: partial sums that run side by side and are added in a fixed order at the end.
pub const LANES: usize = 16;

/// Sum of `f` over the elements of `slices`, which are equally long, in [`LANES`] partial sums.
#[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
#[inline(always)]
pub fn sum_of<const N: usize>(slices: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    reduce(
        slices,
        0.0,
        f,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest of `values`, NaN aside.
#[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
#[inline(always)]
pub fn top_of(values: &[f32]) -> f32 {
    reduce(
        [values],
        f32::NEG_INFINITY,
        #[inline(always)]
        |[x]| x,
        #[inline(always)]
        |top, x| if x > top { x } else { top },
    )
}

/// Whole blocks first: their length is known to the compiler, which then needs no check an element.
#[expect(clippy::inline_always, reason = "has to be inlined into the function that has the vector instructions")]
#[inline(always)]
fn reduce<const N: usize>(
    slices: [&[f32]; N],
    first: f32,
    f: impl Fn([f32; N]) -> f32,
    both: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [first; LANES];
    let blocks = slices.map(
        #[inline(always)]
        |slice| slice.as_chunks::<LANES>(),
    );
    let count = blocks.iter().map(|(whole, _)| whole.len()).min().unwrap_or(0);
    for block in 0..count {
        let block = blocks.map(
            #[inline(always)]
            |(whole, _)| &whole[block],
        );
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum = both(
                *sum,
                f(block.map(
                    #[inline(always)]
                    |block| block[lane],
                )),
            );
        }
    }
    let left = blocks.iter().map(|(_, rest)| rest.len()).min().unwrap_or(0);
    for (lane, sum) in lanes.iter_mut().enumerate().take(left) {
        *sum = both(
            *sum,
            f(blocks.map(
                #[inline(always)]
                |(_, rest)| rest[lane],
            )),
        );
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = both(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Adds `values` to `sums`, element by element.
pub fn add(sums: &mut [f32], values: &[f32]) {
    simd(
        #[inline(always)]
        || {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        },
    );
}
