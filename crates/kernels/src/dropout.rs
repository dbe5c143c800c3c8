//! Dropout with a mask that is a function of an index, so no generator state exists.
//!
//! An element is dropped when a 32-bit hash of (key, element) is below `probability * 2^32`, so the probability is exact to
//! 2^-32. The key comes from Philox (the crate `plateau_random`) and stands for (seed, step, site, example). The hash is two
//! keyed rounds of a multiply-xorshift finaliser (C. Wellons' `lowbias32`, improved constants). It is cheap, so the backward
//! pass computes the mask again instead of storing it.

/// Dropout at one place of the model for the sequences of one micro-batch.
#[derive(Debug, Clone)]
pub struct Dropout {
    threshold: u32,
    /// Factor of the elements that stay: 1 / (1 - probability).
    scale: f32,
    /// One key for each sequence.
    keys: Vec<[u32; 2]>,
}

/// The mask of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Mask {
    threshold: u32,
    scale: f32,
    key: [u32; 2],
}

impl Dropout {
    /// `probability` is in [0, 1). None for a probability of zero.
    pub fn new(probability: f64, keys: impl Iterator<Item = [u32; 2]>) -> Option<Self> {
        (probability > 0.0).then(|| Self {
            threshold: (probability * 2f64.powi(32)).round().min(f64::from(u32::MAX)) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
            keys: keys.collect(),
        })
    }

    pub fn mask(&self, sequence: usize) -> Mask {
        Mask { threshold: self.threshold, scale: self.scale, key: self.keys[sequence] }
    }
}

impl Mask {
    /// Keeps everything.
    pub const NONE: Self = Self { threshold: 0, scale: 1.0, key: [0, 0] };

    /// 0 for a dropped element, else the scale.
    #[expect(
        clippy::inline_always,
        reason = "must be inlined into the function that is compiled with vector instructions"
    )]
    #[inline(always)]
    pub fn factor(self, element: u32) -> f32 {
        let mut h = element.wrapping_mul(0x9e37_79b9) ^ self.key[0];
        h = (h ^ (h >> 16)).wrapping_mul(0x21f0_aaad);
        h = (h ^ (h >> 15) ^ self.key[1]).wrapping_mul(0xd35a_2d97);
        h ^= h >> 15;
        if h < self.threshold { 0.0 } else { self.scale }
    }

    /// Factor of the elements that stay.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// An element is dropped if its hash is below this number.
    pub fn threshold(self) -> u32 {
        self.threshold
    }

    /// What makes the hashes of this sequence other than those of others.
    pub fn key(self) -> [u32; 2] {
        self.key
    }

    /// False for [`Mask::NONE`].
    pub fn drops(self) -> bool {
        self.threshold > 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use plateau_random::{Purpose, Random};

    fn key(index: u64) -> [u32; 2] {
        let [a, b, ..] = Random::new(1, Purpose::Dropout).words(index);
        [a, b]
    }

    #[test]
    fn the_keep_probability_is_right_and_neighbours_are_independent() {
        let n = 1 << 20;
        for rate in [0.1, 0.5] {
            let mask = Dropout::new(rate, [key(3), key(4)].into_iter()).unwrap();
            let drops = |sequence: usize, i: u32| mask.mask(sequence).factor(i) == 0.0;
            let share = (0..n).filter(|&i| drops(0, i)).count() as f64 / f64::from(n);
            assert!((share - rate).abs() < 2e-3, "share {share}");
            for distance in [1, 2, 48, 384] {
                let both = (0..n).filter(|&i| drops(0, i) && drops(0, i + distance)).count() as f64 / f64::from(n);
                assert!((both - rate * rate).abs() < 2e-3, "{distance} apart: {both}");
            }
            let both = (0..n).filter(|&i| drops(0, i) && drops(1, i)).count() as f64 / f64::from(n);
            assert!((both - rate * rate).abs() < 2e-3, "two sequences: {both}");
        }
    }

    #[test]
    fn survivors_are_scaled_so_that_the_mean_stays() {
        let mask = Dropout::new(0.2, [key(0)].into_iter()).unwrap().mask(0);
        let mean = (0..100_000).map(|i| mask.factor(i)).sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 5e-3, "mean {mean}");
        assert!(Dropout::new(0.0, std::iter::empty()).is_none());
        assert!((Mask::NONE.factor(5) - 1.0).abs() < f32::EPSILON);
    }

    /// Compiles the CUDA kernels as C and runs them with one thread, which is what a loop over all elements in steps of the grid does
    /// then. The factors must be the bits of [`Mask::factor`].
    #[test]
    fn the_kernels_for_cuda_drop_the_same_elements() {
        const PREFIX: &str = r"
#include <stdio.h>
#define __device__ static
#define __global__
#define EXPORT static
static const struct { unsigned x; } blockIdx = {0}, blockDim = {1}, threadIdx = {0}, gridDim = {1};
";
        let folder = tempfile::tempdir().unwrap();
        let (threshold, lengths, width, heads, longest) = (429_496_730, [3, 1], 5, 2, 3);
        let keys = [key(7), key(8)];
        let mask = Dropout::new(0.1, keys.into_iter()).unwrap();
        assert_eq!(mask.mask(0).threshold(), threshold);
        let [[a, b], [c, d]] = keys;
        let main = format!(
            "
static void print(const float *y, int n) {{ for (int i = 0; i < n; i++) printf(\"%.9g\\n\", y[i]); }}
int main(void) {{
    float x[64], y[64];
    for (int i = 0; i < 64; i++) x[i] = 1;
    const unsigned rows[] = {{{a}u, {b}u, 0, {a}u, {b}u, {width}, {a}u, {b}u, 2 * {width}, {c}u, {d}u, 0}};
    dropout_rows(y, x, rows, 4 * {width}, {width}, {threshold}u, {scale:e}f);
    print(y, 4 * {width});
    const unsigned sequences[] = {{{a}u, {b}u, 3, {c}u, {d}u, 1}};
    dropout_weights(y, x, sequences, 2 * {heads} * {longest} * {longest}, {heads}, {longest}, {threshold}u, {scale:e}f);
    print(y, 2 * {heads} * {longest} * {longest});
}}
",
            scale = mask.mask(0).scale()
        );
        let program = folder.path().join("dropout");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut build = std::process::Command::new(compiler);
        build.args(["-std=c99", "-x", "c", "-", "-o"]).arg(&program).stdin(std::process::Stdio::piped());
        let mut build = build.spawn().unwrap();
        let source = [PREFIX, include_str!("dropout.cu"), &main].concat();
        build.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        assert!(build.wait().unwrap().success(), "the kernels are not C");
        let output = std::process::Command::new(&program).output().unwrap();
        let found: Vec<f32> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        let mut expected = Vec::new();
        for (sequence, length) in lengths.into_iter().enumerate() {
            expected.extend((0..length * width).map(|i| mask.mask(sequence).factor(i)));
        }
        for (sequence, length) in lengths.into_iter().enumerate() {
            for i in 0..heads * longest * longest {
                let (column, row, head) = (i % longest, i / longest % longest, i / (longest * longest));
                let element = (head * length + row) * length + column;
                let is_real = row < length && column < length;
                expected.push(if is_real { mask.mask(sequence).factor(element) } else { 1.0 });
            }
        }
        assert!(expected.contains(&0.0) && found.len() == expected.len());
        assert!(found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{found:?} {expected:?}");
    }
}
