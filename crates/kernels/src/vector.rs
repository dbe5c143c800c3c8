//! Vector instructions chosen at run time, and the reductions that the kernels share.
//!
//! Sums use a fixed number of partial sums in a fixed order, so equal inputs give equal bits.

/// Runs `kernel` with the widest vector instructions of this machine.
///
/// The closure and all closures that it calls must be `#[inline(always)]`. A function that is not inlined is compiled for
/// the oldest supported processor.
#[inline]
pub fn simd<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// Number of partial sums of a reduction. They are added in a fixed order at the end.
pub const PARTIAL_SUMS: usize = 16;

/// Sum of `f` over the elements of `slices`, which have equal lengths. Uses [`PARTIAL_SUMS`] partial sums.
#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
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

/// The largest of `values`; NaN is ignored.
#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
pub fn max_of(values: &[f32]) -> f32 {
    reduce(
        [values],
        f32::NEG_INFINITY,
        #[inline(always)]
        |[x]| x,
        #[inline(always)]
        |max, x| if x > max { x } else { max },
    )
}

/// Processes whole blocks first. Their length is a constant, so the compiler needs no bounds check for each element.
#[expect(clippy::inline_always, reason = "must be inlined into the function that is compiled with vector instructions")]
#[inline(always)]
fn reduce<const N: usize>(
    slices: [&[f32]; N],
    first: f32,
    f: impl Fn([f32; N]) -> f32,
    combine: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut partial = [first; PARTIAL_SUMS];
    let blocks = slices.map(
        #[inline(always)]
        |slice| slice.as_chunks::<PARTIAL_SUMS>(),
    );
    let count = blocks.iter().map(|(whole, _)| whole.len()).min().unwrap_or(0);
    for block in 0..count {
        let block = blocks.map(
            #[inline(always)]
            |(whole, _)| &whole[block],
        );
        for (i, sum) in partial.iter_mut().enumerate() {
            *sum = combine(
                *sum,
                f(block.map(
                    #[inline(always)]
                    |block| block[i],
                )),
            );
        }
    }
    let left = blocks.iter().map(|(_, rest)| rest.len()).min().unwrap_or(0);
    for (i, sum) in partial.iter_mut().enumerate().take(left) {
        *sum = combine(
            *sum,
            f(blocks.map(
                #[inline(always)]
                |(_, rest)| rest[i],
            )),
        );
    }
    let mut width = PARTIAL_SUMS / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] = combine(partial[i], partial[i + width]);
        }
        width /= 2;
    }
    partial[0]
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
