//! The normal distribution, also far out in its tails: masses of intervals as logarithms, and quantiles.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// ln of the probability that a standard normal variable lies between `a` and `b`, with `a <= b`.
pub(super) fn ln_mass(a: f64, b: f64) -> f64 {
    if a > 0.0 {
        return ln_mass(-b, -a);
    }
    if b <= 0.0 {
        // Both in the lower tail: the difference of two tails, from their logarithms.
        let (upper, lower) = (ln_tail(-b), ln_tail(-a));
        return upper + (-(lower - upper).exp()).ln_1p();
    }
    (-(tail(-a) + tail(b))).ln_1p()
}

/// The probability of values above `x`.
fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * FRAC_1_SQRT_2)
}

/// ln of the probability of values above `x`, for `x >= 0`.
fn ln_tail(x: f64) -> f64 {
    if x < 35.0 {
        return tail(x).ln();
    }
    if x.is_infinite() {
        return f64::NEG_INFINITY;
    }
    // Abramowitz and Stegun 26.2.12: here the first term left out is below 1e-12.
    let square = x.powi(-2);
    let series = -square * (1.0 - 3.0 * square * (1.0 - 5.0 * square * (1.0 - 7.0 * square)));
    -0.5 * x * x - x.ln() - 0.5 * (2.0 * PI).ln() + series.ln_1p()
}

/// ln of the density at `x`.
pub(super) fn ln_density(x: f64) -> f64 {
    -0.5 * x * x - 0.5 * (2.0 * PI).ln()
}

/// The value below which a standard normal variable lies with probability `p` (Wichura 1988, algorithm AS 241, accurate to
/// about 1e-16). `p` is in (0, 1).
pub(super) fn quantile(p: f64) -> f64 {
    const CENTRE: ([f64; 8], [f64; 8]) = (
        [
            3.387_132_872_796_366_5,
            133.141_667_891_784_38,
            1_971.590_950_306_551_3,
            13_731.693_765_509_46,
            45_921.953_931_549_87,
            67_265.770_927_008_7,
            33_430.575_583_588_13,
            2_509.080_928_730_122_7,
        ],
        [
            1.0,
            42.313_330_701_600_91,
            687.187_007_492_057_9,
            5_394.196_021_424_751,
            21_213.794_301_586_597,
            39_307.895_800_092_71,
            28_729.085_735_721_943,
            5_226.495_278_852_545,
        ],
    );
    const MIDDLE: ([f64; 8], [f64; 8]) = (
        [
            1.423_437_110_749_683_5,
            4.630_337_846_156_546,
            5.769_497_221_460_691,
            3.647_848_324_763_204_5,
            1.270_458_252_452_368_4,
            0.241_780_725_177_450_6,
            0.022_723_844_989_269_184,
            7.745_450_142_783_414e-4,
        ],
        [
            1.0,
            2.053_191_626_637_759,
            1.676_384_830_183_803_8,
            0.689_767_334_985_1,
            0.148_103_976_427_480_08,
            0.015_198_666_563_616_457,
            5.475_938_084_995_345e-4,
            1.050_750_071_644_416_9e-9,
        ],
    );
    const TAIL: ([f64; 8], [f64; 8]) = (
        [
            6.657_904_643_501_103,
            5.463_784_911_164_114,
            1.784_826_539_917_291_3,
            0.296_560_571_828_504_87,
            0.026_532_189_526_576_124,
            0.001_242_660_947_388_078_4,
            2.711_555_568_743_487_6e-5,
            2.010_334_399_292_288_1e-7,
        ],
        [
            1.0,
            0.599_832_206_555_888,
            0.136_929_880_922_735_8,
            0.014_875_361_290_850_615,
            7.868_691_311_456_133e-4,
            1.846_318_317_510_054_8e-5,
            1.421_511_758_316_446e-7,
            2.044_263_103_389_939_8e-15,
        ],
    );
    let ratio = |(over, under): &([f64; 8], [f64; 8]), x: f64| {
        let polynomial = |terms: &[f64; 8]| terms.iter().rev().fold(0.0, |sum, term| sum * x + term);
        polynomial(over) / polynomial(under)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&CENTRE, 0.425 * 0.425 - q * q);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let x = if r <= 5.0 { ratio(&MIDDLE, r - 1.6) } else { ratio(&TAIL, r - 5.0) };
    x.copysign(q)
}

/// The value of a normal variable around `mean`, between `low` and `high`, at quantile `u` of that part.
pub(super) fn truncated_quantile(mean: f64, sigma: f64, low: f64, high: f64, u: f64) -> f64 {
    // Means lie inside the range, so that neither tail is all there is.
    let (below, above) = (tail((mean - low) / sigma), tail((high - mean) / sigma));
    let p = below + u * (1.0 - below - above);
    let x = if p < 0.5 { quantile(p.max(f64::MIN_POSITIVE)) } else { -quantile((1.0 - p).max(f64::MIN_POSITIVE)) };
    (mean + sigma * x).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{got} {expected}");
    }

    /// Values of R: `pnorm(b) - pnorm(a)` with `log.p`, and `qnorm`.
    #[test]
    fn masses_and_quantiles_are_those_of_tables() {
        close(ln_mass(-1.0, 1.0), 0.682_689_492_137_085_9_f64.ln());
        close(ln_mass(f64::NEG_INFINITY, 0.0), 0.5_f64.ln());
        close(ln_mass(3.0, f64::INFINITY), -6.607_726_221_510_349);
        close(ln_mass(-50.0, -49.0), ln_mass(49.0, 50.0));
        close(ln_mass(40.0, f64::INFINITY), -804.608_442_013_753_9);
        close(quantile(0.975), 1.959_963_984_540_054);
        close(quantile(1e-10), -6.361_340_902_404_056);
        close(quantile(0.5), 0.0);
        for p in [1e-12, 1e-3, 0.2, 0.6, 0.999] {
            close(tail(-quantile(p)), p);
        }
    }

    #[test]
    fn a_truncated_quantile_stays_inside() {
        for (mean, u) in [(0.0, 0.0), (0.0, 1.0 - 1e-16), (1.0, 0.0), (0.3, 0.5), (1.0, 0.999)] {
            let x = truncated_quantile(mean, 0.01, 0.0, 1.0, u);
            assert!((0.0..=1.0).contains(&x), "{x}");
        }
        close(truncated_quantile(0.5, 0.3, 0.0, 1.0, 0.5), 0.5);
    }
}
