//! Random numbers by index: every number is a function of seed, purpose and indices, computed by the counter-based generator
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! There is no generator state to save or restore. The numbers do not depend on the order in which they are computed, on the
//! number of threads or on interruptions.

/// What random numbers are used for. Different purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Initialisation = 1,
    Split = 2,
    Shuffle = 3,
    Dropout = 4,
    Augmentation = 5,
    Probe = 6,
    Cutoff = 7,
    Mixup = 8,
    Search = 9,
    Masking = 10,
}

/// A family of random numbers. [`Random::at`] selects a sub-family, for example of an epoch, a step or an example. The
/// drawing methods take the index of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    key: u64,
}

impl Random {
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { key: mix(mix(seed) ^ purpose as u64) }
    }

    /// The sub-family with this index.
    #[must_use]
    pub fn at(self, index: u64) -> Self {
        Self { key: mix(self.key ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))) }
    }

    /// Four uniform 32-bit words.
    #[must_use]
    pub fn words(self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, 0, 0], [self.key as u32, (self.key >> 32) as u32])
    }

    /// Uniform in [0, 1), 53 bits.
    #[must_use]
    pub fn unit(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`, or 0 for an empty range. The bias is below n / 2^64.
    #[must_use]
    pub fn below(self, index: u64, n: usize) -> usize {
        ((u128::from(self.bits(index)) * n as u128) >> 64) as usize
    }

    /// Standard normal, by the Box-Muller transform.
    #[must_use]
    pub fn normal(self, index: u64) -> f64 {
        let [a, b, c, d] = self.words(index);
        let unit =
            |high: u32, low: u32| ((u64::from(high) << 21 ^ u64::from(low) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        (-2.0 * unit(a, b).ln()).sqrt() * (std::f64::consts::TAU * unit(c, d)).cos()
    }

    /// A number from Beta(alpha, alpha) with alpha > 0: x / (x + y) with x and y from Gamma(alpha).
    #[must_use]
    pub fn beta(self, index: u64, alpha: f64) -> f64 {
        let family = self.at(index);
        let (x, y) = (family.at(0).log_gamma_variate(alpha), family.at(1).log_gamma_variate(alpha));
        1.0 / (1.0 + (y - x).exp())
    }

    /// The logarithm of a number from Gamma(alpha) with scale 1 (Marsaglia and Tsang, "A simple method for generating gamma
    /// variables", 2000). It is drawn for alpha + 1 and multiplied by a power of a uniform number. The logarithm does not
    /// underflow for small alpha.
    fn log_gamma_variate(self, alpha: f64) -> f64 {
        let d = alpha + 1.0 - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        // About nineteen of twenty draws are accepted.
        let drawn = (0..64).find_map(|time| {
            let x = self.at(0).normal(time);
            let v = (1.0 + c * x).powi(3);
            let fits = v > 0.0 && (1.0 - self.at(1).unit(time)).ln() < 0.5 * x * x + d - d * v + d * v.ln();
            fits.then(|| (d * v).ln())
        });
        drawn.unwrap_or(d.ln()) + (1.0 - self.at(2).unit(0)).ln() / alpha
    }

    /// A uniform permutation of `items` in place (Fisher-Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64, last + 1));
        }
    }

    fn bits(self, index: u64) -> u64 {
        let [low, high, ..] = self.words(index);
        u64::from(high) << 32 | u64::from(low)
    }
}

/// The finaliser of `SplitMix64`: a bijection in which every input bit affects all output bits.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Philox4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let first = u64::from(counter[0]) * 0xd251_1f53;
        let second = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the Random123 distribution (`kat_vectors`).
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn units_are_uniform_and_normals_are_normal() {
        let random = Random::new(7, Purpose::Dropout).at(3);
        let n = 100_000;
        let mean = (0..n).map(|i| random.unit(i)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "mean of units {mean}");
        let (mut sum, mut square) = (0.0, 0.0);
        for i in 0..n {
            let x = random.normal(i);
            sum += x;
            square += x * x;
        }
        assert!((sum / n as f64).abs() < 0.02 && (square / n as f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.1, 0.2, 1.0, 3.0] {
            let (random, n) = (Random::new(11, Purpose::Mixup), 20_000);
            let draws: Vec<f64> = (0..n).map(|i| random.beta(i, alpha)).collect();
            assert!(draws.iter().all(|x| (0.0..=1.0).contains(x)));
            let mean = draws.iter().sum::<f64>() / n as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.015, "mean {mean} of Beta({alpha}, {alpha})");
            assert!((variance / expected - 1.0).abs() < 0.04, "variance {variance}, not {expected}, for {alpha}");
        }
        let extreme = Random::new(1, Purpose::Mixup).beta(0, 1e-9);
        assert!(!(1e-9..=1.0 - 1e-9).contains(&extreme), "{extreme}");
    }

    #[test]
    fn purposes_indices_and_seeds_do_not_share_numbers() {
        let draws = [
            Random::new(1, Purpose::Dropout),
            Random::new(2, Purpose::Dropout),
            Random::new(1, Purpose::Shuffle),
            Random::new(1, Purpose::Dropout).at(0),
            Random::new(1, Purpose::Dropout).at(1),
            Random::new(1, Purpose::Dropout).at(0).at(1),
            Random::new(1, Purpose::Dropout).at(1).at(0),
        ]
        .map(|random| random.words(0));
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..1000).collect();
        Random::new(5, Purpose::Shuffle).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
