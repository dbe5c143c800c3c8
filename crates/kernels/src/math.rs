//! `exp`, `erf` and `tanh` in f32 without branches, so that the compiler can vectorise loops over them.
//!
//! The relative error is below 2e-7; the tests measure it against f64. NaN stays NaN.

#![expect(
    clippy::inline_always,
    reason = "must be inlined into the function that is compiled with vector instructions"
)]

/// e^x, but zero below -64 and e^88 above 88.
///
/// e^-64 is 2e-28, which is negligible in every sum of this program. Products of such values would be subnormal numbers,
/// and arithmetic on them is slow: a saturated softmax took twenty times as long.
///
/// The method is Cody-Waite reduction by ln 2 in two parts, then the polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23. Adding it rounds to an integer, which then is in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let is_zero = x < -64.0;
    let x = if is_zero { -64.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    if is_zero { 0.0 } else { y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000)) }
}

/// The error function: an odd polynomial near zero and 1 - exp(polynomial) elsewhere (after N. Juffa's `erff`).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let mut far = (-1.728_534_7e-5_f32).mul_add(t, 3.831_971_3e-4);
    far = far.mul_add(s, (-3.883_964_4e-3_f32).mul_add(t, 2.425_462_2e-2));
    far = far.mul_add(t, -1.067_778_8e-1);
    far = far.mul_add(t, -6.348_468_7e-1);
    far = far.mul_add(t, -1.287_175_1e-1);
    far = 1.0 - exp(far.mul_add(t, -t));
    let mut near = -5.967_617e-4_f32;
    near = near.mul_add(s, 4.991_194_2e-3);
    near = near.mul_add(s, -2.676_813_5e-2);
    near = near.mul_add(s, 1.128_199_25e-1);
    near = near.mul_add(s, -3.761_253_4e-1);
    near = near.mul_add(s, 1.283_791_7e-1);
    near = near.mul_add(x, x);
    if t > 0.927_734_4 { far.copysign(x) } else { near }
}

/// The hyperbolic tangent: an odd polynomial near zero and 1 - 2 / (e^2x + 1) elsewhere.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let far = 1.0 - 2.0 / (exp(2.0 * t) + 1.0);
    let mut near = -5.704_988_7e-3_f32;
    near = near.mul_add(s, 2.063_909e-2);
    near = near.mul_add(s, -5.373_971_5e-2);
    near = near.mul_add(s, 1.333_144_2e-1);
    near = near.mul_add(s, -3.333_328_8e-1);
    near = near.mul_add(s * x, x);
    if t > 0.625 { far.copysign(x) } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest_error(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) -> f64 {
        (0..=200_000)
            .map(|i| from + (to - from) * i as f32 / 200_000.0)
            .map(|x| {
                let exact = exact(f64::from(x));
                if exact == 0.0 { f64::from(f(x)).abs() } else { ((f64::from(f(x)) - exact) / exact).abs() }
            })
            .fold(0.0, f64::max)
    }

    /// erf by its series, summed in f64 (Abramowitz and Stegun 7.1.6), for |x| below 5.
    fn exact_erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp()
    }

    #[test]
    fn exp_is_accurate() {
        let error = largest_error(exp, f64::exp, -64.0, 87.9);
        assert!(error < 2e-7, "relative error {error:e}");
        assert!(exp(f32::NAN).is_nan());
        assert!([-64.1, -1e30, f32::NEG_INFINITY].into_iter().all(|x| exp(x).to_bits() == 0));
    }

    #[test]
    fn erf_is_accurate() {
        let error = largest_error(erf, exact_erf, -4.5, 4.5);
        assert!(error < 2e-7, "relative error {error:e}");
        assert!((erf(9.0) - 1.0).abs() < f32::EPSILON && (erf(-9.0) + 1.0).abs() < f32::EPSILON);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_accurate() {
        let error = largest_error(tanh, f64::tanh, -10.0, 10.0);
        assert!(error < 2e-7, "relative error {error:e}");
        assert!(tanh(f32::NAN).is_nan());
    }
}
