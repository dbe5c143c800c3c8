//! The statistics that verdicts rest on, each a function of numbers alone.
//!
//! Held against scipy and pymannkendall in the tests; `tests/fixtures/statistics/make.py` makes the references.

use std::f64::consts::SQRT_2;
use std::sync::LazyLock;

use super::thresholds as limit;

/// The middle value, or the mean of the middle two. NaN for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(&upper) if sorted.len() % 2 == 1 => upper,
        Some(&upper) => f64::midpoint(sorted[middle - 1], upper),
    }
}

/// Standard deviation of a normal sample, from the median absolute deviation around `centre`.
pub fn robust_deviation(values: &[f64], centre: f64) -> f64 {
    1.4826 * median(&values.iter().map(|value| (value - centre).abs()).collect::<Vec<_>>())
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A straight line through points, by ordinary least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub slope: f64,
    /// Standard error of the slope, widened by sqrt((1 + rho) / (1 - rho)) where rho is the lag-1 autocorrelation of the
    /// residuals, clamped to 0 to 0.8.
    pub error: f64,
}

/// The least-squares line through (`x`, `y`). None for fewer than three points or all at one x.
pub fn line(x: &[f64], y: &[f64]) -> Option<Line> {
    let n = x.len().min(y.len());
    if n < 3 {
        return None;
    }
    let (mx, my) = (mean(&x[..n]), mean(&y[..n]));
    let points = || x.iter().zip(y).map(|(x, y)| (x - mx, y - my));
    let sxx: f64 = points().map(|(x, _)| x * x).sum();
    if sxx <= 0.0 {
        return None;
    }
    let slope = points().map(|(x, y)| x * y).sum::<f64>() / sxx;
    let (mut squares, mut lagged, mut before) = (0.0, 0.0, None);
    for (x, y) in points() {
        let residual = y - slope * x;
        squares += residual * residual;
        lagged += before.map_or(0.0, |before: f64| before * residual);
        before = Some(residual);
    }
    let rho = if squares > 0.0 { (lagged / squares).clamp(0.0, 0.8) } else { 0.0 };
    let plain = (squares / (n - 2) as f64 / sxx).sqrt();
    Some(Line { slope, error: plain * ((1.0 + rho) / (1.0 - rho)).sqrt() })
}

/// Median of the slopes of all pairs (Theil 1950, Sen 1968). None where no two points differ in x.
pub fn theil_sen(x: &[f64], y: &[f64]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(x.len() * x.len() / 2);
    for (i, (xi, yi)) in x.iter().zip(y).enumerate() {
        let later = x.iter().zip(y).skip(i + 1).filter(|(xj, _)| *xj > xi);
        slopes.extend(later.map(|(xj, yj)| (yj - yi) / (xj - xi)));
    }
    (!slopes.is_empty()).then(|| median(&slopes))
}

/// The Mann-Kendall trend test (Mann 1945, Kendall 1975): S, the rising pairs minus the falling ones, and its two-sided
/// p-value with corrections for ties and continuity.
pub fn mann_kendall(y: &[f64]) -> (f64, f64) {
    let mut s = 0.0;
    for (i, a) in y.iter().enumerate() {
        s += y[i + 1..].iter().map(|b| f64::from(i8::from(b > a) - i8::from(b < a))).sum::<f64>();
    }
    let pairs = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = y.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a >= b).map(|tied| pairs(tied.len() as f64)).sum();
    let variance = (pairs(y.len() as f64) - ties) / 18.0;
    let z = if s == 0.0 || variance <= 0.0 { 0.0 } else { (s.abs() - 1.0) / variance.sqrt() };
    (s, libm::erfc(z / SQRT_2))
}

/// Quantile `p` (above one half) of Student's t with `n` degrees of freedom.
pub fn t_quantile(p: f64, n: f64) -> f64 {
    let upper = |t: f64| 0.5 * incomplete_beta(n / 2.0, 0.5, n / (n + t * t));
    let (mut low, mut high) = (0.0, 1.0);
    while upper(high) > 1.0 - p && high < 1e9 {
        high *= 2.0;
    }
    // Sixty bisections exhaust the precision of an f64.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if upper(middle) > 1.0 - p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// [`t_quantile`] of 0.95 for whole degrees of freedom, from 1.
pub fn t95(freedom: usize) -> f64 {
    static TABLE: LazyLock<Vec<f64>> = LazyLock::new(|| (1..=120).map(|n| t_quantile(0.95, f64::from(n))).collect());
    let index = freedom.max(1) - 1;
    TABLE.get(index).or(TABLE.last()).copied().unwrap_or(1.645)
}

/// Regularised incomplete beta function `I_x(a, b)`, by its continued fraction (Lentz's method; DLMF 8.17.22).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = a * x.ln() + b * (1.0 - x).ln() + libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    let guarded = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in (1..300).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / guarded(1.0 + term * d);
            c = guarded(1.0 + term / c);
            fraction *= c * d;
        }
        if (fraction - before).abs() < 1e-15 * fraction.abs() {
            break;
        }
    }
    front.exp() * fraction / a
}

/// Upper tail probability of the chi-squared distribution with `freedom` degrees of freedom: the regularised incomplete gamma
/// function Q(freedom/2, statistic/2), by its series or its continued fraction (DLMF 8.11.4, 8.9.2).
pub fn chi_squared_p(statistic: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, statistic / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..500 {
            term *= x / (a + f64::from(n));
            sum += term;
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    // Lentz's method.
    let (mut b, mut c) = (x + 1.0 - a, 1e300);
    let mut d = 1.0 / b;
    let mut fraction = d;
    for n in (1..500).map(f64::from) {
        let even = -n * (n - a);
        b += 2.0;
        d = 1.0 / (even * d + b);
        c = b + even / c;
        fraction *= c * d;
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// Wilson's 95 % confidence interval of a share, `k` of `n` (Wilson 1927).
pub fn wilson(k: usize, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, k as f64 / n as f64);
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// Spearman's rank correlation. Ties share their mean rank. None if one of the samples is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let (ma, mb) = (mean(&a), mean(&b));
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(a, b)| of(a - ma, b - mb)).sum::<f64>();
    let spread = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    (spread > 0.0).then(|| sum(&|a, b| a * b) / spread)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let count = |up_to: &dyn Fn(&f64) -> bool| values.iter().filter(|other| up_to(other)).count() as f64;
    // Tied values have the ranks from (number below + 1) to (number not above).
    values.iter().map(|v| f64::midpoint(count(&|other| other < v) + 1.0, count(&|other| other <= v))).collect()
}

/// Up to this number of differences all sign patterns are tried.
const MOST_EXACT: usize = 14;
/// Number of sign patterns drawn for more differences.
const DRAWN: u64 = 20_000;

/// Two-sided p-value of the hypothesis that each paired difference is as likely positive as negative: the share of sign patterns
/// whose mean is at least as far from zero (Fisher 1935). Exact up to 14 pairs, else from 20,000 fixed pseudo-random patterns.
pub fn sign_flip(differences: &[f64]) -> f64 {
    let n = differences.len();
    let observed = differences.iter().sum::<f64>().abs() * (1.0 - 1e-12);
    let flipped = |pattern: &dyn Fn(usize) -> bool| {
        let signed = differences.iter().enumerate().map(|(i, d)| if pattern(i) { -d } else { *d });
        signed.sum::<f64>().abs() >= observed
    };
    if n <= MOST_EXACT {
        let all = 1_u64 << n;
        return (0..all).filter(|bits| flipped(&|i| bits >> i & 1 == 1)).count() as f64 / all as f64;
    }
    let reached = (0..DRAWN).filter(|draw| flipped(&|i| mixed(draw * n as u64 + i as u64) >> 63 == 1)).count();
    (reached + 1) as f64 / (DRAWN + 1) as f64
}

/// Pseudo-random bits of a counter: the splitmix64 finaliser.
fn mixed(counter: u64) -> u64 {
    let z = counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Number of seeds of each kind that detect a difference of `effect` with a power of 80 %, at a standard deviation `sd` between
/// seeds: 2 (1.96 + 0.84)^2 sd^2 / effect^2, at least 2 (Lehr 1992).
pub fn seeds_needed(sd: f64, effect: f64) -> f64 {
    (2.0 * (1.96 + 0.84_f64).powi(2) * (sd / effect).powi(2)).ceil().max(2.0)
}

/// Whether the losses of evaluations come down: the last is clearly lower than the first, and most steps lead down. Those of a model that
/// learns nothing go up as often.
pub fn come_down(losses: &[f64]) -> bool {
    let (Some(first), Some(last)) = (losses.first(), losses.last()) else { return false };
    let down = losses.windows(2).filter(|pair| pair[1] < pair[0]).count();
    losses.len() >= 3 && *last < limit::COME_DOWN * first && down as f64 >= limit::DOWNWARD * (losses.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn references() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/statistics/references.json")).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    }

    fn check(name: &str, found: f64, expected: &Value) {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{name}: {found} {expected}");
    }

    #[test]
    fn evaluations_come_down_when_most_steps_lead_down() {
        assert!(come_down(&[1.422, 1.405, 1.400, 1.389, 1.391]));
        assert!(!come_down(&[0.693, 0.694, 0.692, 0.693, 0.692]), "too little");
        assert!(!come_down(&[0.75, 0.69, 0.70, 0.69, 0.70]), "they go up as often");
        assert!(!come_down(&[0.7, 0.6]), "too few");
    }

    #[test]
    fn lines_and_trends_are_those_of_scipy_and_pymannkendall() {
        for reference in references()["lines"].as_array().unwrap() {
            let (x, y) = (numbers(&reference["x"]), numbers(&reference["y"]));
            let fit = line(&x, &y).unwrap();
            check("slope", fit.slope, &reference["slope"]);
            check("error", fit.error, &reference["error"]);
            check("theil_sen", theil_sen(&x, &y).unwrap(), &reference["theil_sen"]);
            let (s, p) = mann_kendall(&y);
            check("kendall_s", s, &reference["kendall_s"]);
            check("kendall_p", p, &reference["kendall_p"]);
        }
    }

    #[test]
    fn quantiles_and_intervals_are_those_of_scipy() {
        let references = references();
        for quantile in references["t_quantiles"].as_array().unwrap() {
            let [p, n, _] = numbers(quantile)[..] else { panic!("three numbers") };
            check("t", t_quantile(p, n), &quantile[2]);
        }
        assert!((t95(4) - t_quantile(0.95, 4.0)).abs() < 1e-12 && t95(5000) < t95(100));
        for interval in references["wilson"].as_array().unwrap() {
            let (low, high) = wilson(interval[0].as_u64().unwrap() as usize, interval[1].as_u64().unwrap() as usize);
            check("wilson", low, &interval[2]);
            check("wilson", high, &interval[3]);
        }
        let pair = &references["spearman"];
        check("spearman", spearman(&numbers(&pair["a"]), &numbers(&pair["b"])).unwrap(), &pair["rho"]);
        for test in references["sign_flip"].as_array().unwrap() {
            check("sign_flip", sign_flip(&numbers(&test["differences"])), &test["p"]);
        }
    }

    /// Against the closed forms for 1 and 2 degrees of freedom, and scipy's `chi2.sf(30, 10)`.
    #[test]
    fn chi_squared_tails() {
        check("one", chi_squared_p(3.0, 1.0), &libm::erfc(1.5_f64.sqrt()).into());
        check("two", chi_squared_p(0.5, 2.0), &(-0.25_f64).exp().into());
        check("two", chi_squared_p(20.0, 2.0), &(-10.0_f64).exp().into());
        assert!((chi_squared_p(30.0, 10.0) - 8.566e-4).abs() < 1e-7);
        assert_eq!(chi_squared_p(0.0, 3.0).to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn many_signs_are_drawn_near_the_exact_share() {
        // Fourteen of sixteen positive and equal: of 2^16 patterns 2 (1 + 16 + 120) are as far out.
        let mut differences = [1.0; 16];
        (differences[3], differences[9]) = (-1.0, -1.0);
        let exact = 2.0 * 137.0 / 65536.0;
        assert!((sign_flip(&differences) - exact).abs() < 0.0015, "{}", sign_flip(&differences));
    }

    #[test]
    fn empty_or_constant_samples() {
        assert!(median(&[]).is_nan() && (median(&[1.0, 2.0]) - 1.5).abs() < 1e-12);
        assert_eq!((line(&[1.0, 2.0], &[1.0, 2.0]), line(&[1.0; 4], &[1.0, 2.0, 3.0, 4.0])), (None, None));
        assert_eq!((theil_sen(&[1.0], &[1.0]), spearman(&[1.0, 1.0], &[1.0, 2.0])), (None, None));
        assert_eq!((mann_kendall(&[1.0; 5]), wilson(0, 0)), ((0.0, 1.0), (0.0, 1.0)));
        assert!((seeds_needed(0.02, 0.02) - 16.0).abs() < 1e-9);
    }
}
