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

    /// False for [`Mask::NONE`].
    pub fn drops(self) -> bool {
        self.threshold > 0
    }
}

#[cfg(test)]
mod tests {
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
}
