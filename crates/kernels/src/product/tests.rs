//! Products of every shape, layout, scale and destination against their definition in f64.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use plateau_random::{Purpose, Random};

type Multiply = unsafe fn(f32, Matrix<'_>, Matrix<'_>, *mut f32, usize, Write);

/// Every way of multiplying that this machine has, whatever the dimensions.
fn ways() -> Vec<Multiply> {
    let mut ways: Vec<Multiply> = vec![multiply_exactly];
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::available() {
        ways.push(tiles_multiply);
    }
    ways
}

/// f32 products on the tile unit, whatever the dimensions.
///
/// # Safety
/// As for [`panels::multiply`].
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
unsafe fn tiles_multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    // SAFETY: the caller guarantees the same.
    unsafe {
        panels::multiply::<tiles::Parts>(scale, a, (panels::Right::Matrix(b), b.columns), out, stride, write);
    }
}

/// Normal numbers times lognormal ones: with a spread of two, magnitudes differ by some powers of ten.
fn numbers(seed: u64, n: usize, spread: f64) -> Vec<f32> {
    let random = Random::new(seed, Purpose::Initialisation);
    (0..n as u64).map(|i| (random.normal(2 * i) * (spread * random.normal(2 * i + 1)).exp()) as f32).collect()
}

/// A matrix of this size in rows with a gap behind each, or the transposed of one.
fn view(data: &[f32], rows: usize, columns: usize, transposed: bool) -> Matrix<'_> {
    if transposed {
        Matrix::strided(data, columns, rows, rows + 3).t()
    } else {
        Matrix::strided(data, rows, columns, columns + 3)
    }
}

fn at(m: Matrix<'_>, i: usize, j: usize) -> f64 {
    f64::from(m.data[i * m.row_stride + j * m.column_stride])
}

/// `way` into a destination with gaps, which must stay as they are.
fn run(way: Multiply, scale: f32, a: Matrix<'_>, b: Matrix<'_>, before: &[f32], write: Write) -> Vec<f32> {
    let mut out = before.to_vec();
    let stride = b.columns + 2;
    assert!(extent(a.rows, b.columns, stride) <= out.len());
    // SAFETY: the assertion holds the destination inside the vector.
    unsafe { way(scale, a, b, out.as_mut_ptr(), stride, write) };
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_product_is_its_definition(
        (m, n) in (1usize..80, 1usize..80), k in prop_oneof![1usize..70, 500usize..900], left in any::<bool>(), right in any::<bool>(),
        scale in prop::sample::select(vec![1.0f32, 0.176_776_7]), add in any::<bool>(), seed in any::<u64>(),
    ) {
        let (x, y) = (numbers(seed, (m + 3) * (k + 3), 2.0), numbers(seed ^ 1, (k + 3) * (n + 3), 2.0));
        let (a, b) = (view(&x, m, k, left), view(&y, k, n, right));
        let before = numbers(seed ^ 2, m * (n + 2), 2.0);
        let write = if add { Write::Add } else { Write::Replace };
        for way in ways() {
            let out = run(way, scale, a, b, &before, write);
            for (place, (after, before)) in out.iter().zip(&before).enumerate() {
                let (i, j) = (place / (n + 2), place % (n + 2));
                if j >= n {
                    prop_assert_eq!(after.to_bits(), before.to_bits(), "the gap between rows");
                    continue;
                }
                let old = if add { f64::from(*before) } else { 0.0 };
                let terms = (0..k).map(|x| f64::from(scale) * at(a, i, x) * at(b, x, j));
                let (sum, size) = terms.fold((old, old.abs()), |(sum, size), term| (sum + term, size + term.abs()));
                prop_assert!((f64::from(*after) - sum).abs() <= f64::from(f32::EPSILON) * (4 + k / 16) as f64 * size, "({}, {}) is {}, not {}", i, j, after, sum);
            }
        }
    }
}

/// The tile unit's own laws, on machines that have it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod on_tiles {
    use super::*;

    #[test]
    fn large_products_are_as_exact_as_those_of_vector_instructions() {
        let (m, k, n) = (96, 768, 128);
        let (x, y) = (numbers(5, (m + 3) * (k + 3), 0.0), numbers(6, (k + 3) * (n + 3), 0.0));
        let (a, b) = (view(&x, m, k, false), view(&y, k, n, false));
        let before = vec![0.0; m * (n + 2)];
        for way in ways() {
            let out = run(way, 1.0, a, b, &before, Write::Replace);
            let mut squares = 0.0;
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = (0..k).map(|x| at(a, i, x) * at(b, x, j));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
                squares += ((f64::from(out[i * (n + 2) + j]) - sum) / size).powi(2);
            }
            let error = (squares / (m * n) as f64).sqrt();
            assert!(error < 5e-8, "{error:e}");
        }
    }

    #[test]
    fn an_element_depends_on_its_row_and_column_alone() {
        if !tiles::available() {
            return;
        }
        let (m, k, n) = (70, 900, 330);
        let (x, y) = (numbers(7, (m + 3) * (k + 3), 0.0), numbers(8, (k + 3) * (n + 3), 0.0));
        let (a, b) = (view(&x, m, k, false), view(&y, k, n, true));
        let whole = run(tiles_multiply, 1.0, a, b, &vec![0.0; m * (n + 2)], Write::Replace);
        let few = Matrix::strided(&x[3 * (k + 3)..], 5, k, k + 3);
        let part = run(tiles_multiply, 1.0, few, b, &vec![0.0; 5 * (n + 2)], Write::Replace);
        assert_eq!(part[..5 * (n + 2)], whole[3 * (n + 2)..8 * (n + 2)]);
    }

    /// The parts of numbers near the least ones have other bits than those of larger numbers.
    #[test]
    fn tiny_numbers_spoil_nothing() {
        if !tiles::available() {
            return;
        }
        let (m, k, n) = (40, 70, 40);
        let tiny = |values: Vec<f32>, step: usize| -> Vec<f32> {
            let shrink = |(i, x): (usize, f32)| if i % step == 0 { x } else { x * 10_f32.powi(-((i % 46) as i32)) };
            values.into_iter().enumerate().map(shrink).collect()
        };
        for (left, right) in [(false, false), (true, false), (false, true), (true, true)] {
            let x = tiny(numbers(9, (m + 3) * (k + 3) + 30 * 33, 1.0), 3);
            let y = tiny(numbers(10, (k + 3) * (n + 3) + 30 * 33, 1.0), 5);
            let (a, b) = (view(&x, m, k, left), view(&y, k, n, right));
            let out = run(tiles_multiply, 1.0, a, b, &vec![0.0; m * (n + 2)], Write::Replace);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let terms = (0..k).map(|x| at(a, i, x) * at(b, x, j));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
                let found = f64::from(out[i * (n + 2) + j]);
                assert!((found - sum).abs() <= 6e-7 * size + 1e-35, "({i}, {j}) is {found:e}, not {sum:e}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for (value, fill) in [(f32::NAN, 0.5), (f32::INFINITY, 0.5), (f32::from_bits(u32::MAX), 0.0), (1e38, 1.0)] {
            let (mut x, y) = (vec![fill; 40 * 43], vec![1.0; 43 * 43]);
            x[2 * 43 + 17] = value;
            for way in ways() {
                let out =
                    run(way, 1.0, view(&x, 40, 40, false), view(&y, 40, 40, false), &[0.0; 40 * 42], Write::Replace);
                let wrong = |i: usize| out[i * 42..][..40].iter().all(|y| !y.is_finite() || y.abs() > 9e37);
                assert!(wrong(2) && (0..40).all(|i| i == 2 || !wrong(i)), "{value}");
            }
        }
    }
}

#[test]
fn products_follow_strides_transposition_scale_and_destination() {
    let a: Vec<f32> = (0..40).map(|i| (i % 7) as f32 - 3.0).collect();
    let b: Vec<f32> = (0..40).map(|i| (i % 5) as f32 - 2.0).collect();
    // a: 4 x 3 block of an 8-wide matrix; b: 5 x 3, transposed.
    let (left, right) = (Matrix::strided(&a, 4, 3, 8), Matrix::new(&b, 5, 3).t());
    let expected: Vec<f32> =
        (0..20).map(|e| (0..3).map(|x| at(left, e / 5, x) * at(right, x, e % 5)).sum::<f64>() as f32).collect();
    let mut out = vec![1.0; 4 * 6];
    product(2.0, left, right, &mut out, 6, Write::Add);
    for (row, want) in out.chunks(6).zip(expected.chunks(5)) {
        assert_eq!(row[..5], want.iter().map(|x| 1.0 + 2.0 * x).collect::<Vec<_>>()[..]);
        assert!((row[5] - 1.0).abs() < f32::EPSILON, "the gap between rows is not touched");
    }
    product(1.0, left, right, &mut out, 6, Write::Replace);
    assert_eq!(out[..5], expected[..5]);
}

#[test]
#[should_panic(expected = "beyond its data")]
fn a_view_stays_inside_its_slice() {
    let _ = Matrix::new(&[0.0; 11], 3, 4);
}

/// The kernels for factors that are rounded to bf16.
mod in_bf16 {
    use super::*;

    /// The units of this machine; emulation is everywhere.
    fn units() -> Vec<Bf16Unit> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let tiles = bf16::tiles_available().then_some(Bf16Unit::Amx);
            let dots = bf16::dots_available().then_some(Bf16Unit::Avx512);
            tiles.into_iter().chain(dots).chain([Bf16Unit::Emulated]).collect()
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        vec![Bf16Unit::Emulated]
    }

    fn run_on(unit: Bf16Unit, scale: f32, a: Matrix<'_>, b: Right<'_>, before: &[f32], write: Write) -> Vec<f32> {
        let mut out = before.to_vec();
        let stride = b.shape().1 + 2;
        assert!(extent(a.rows, b.shape().1, stride) <= out.len());
        // SAFETY: the assertion holds the destination inside the vector, and the machine has the unit.
        unsafe { multiply_rounded(unit, scale, a, b, out.as_mut_ptr(), stride, write) };
        out
    }

    /// The reference: the nearest bf16 by search among its neighbours in f64.
    fn nearest(x: f32) -> f32 {
        if !x.is_finite() || x.abs() < f32::MIN_POSITIVE {
            return round_to_bf16(x);
        }
        let down = f32::from_bits(x.to_bits() & 0xffff_0000);
        let up = f32::from_bits((x.to_bits() & 0xffff_0000) + 0x1_0000);
        // Beyond the largest bf16 the next step counts as a number of its own, as IEEE 754 defines.
        let size = |x: f32| if x.is_finite() { f64::from(x).abs() } else { 2f64.powi(128) };
        let (below, above) = (f64::from(x).abs() - size(down), size(up) - f64::from(x).abs());
        let is_even = down.to_bits() >> 16 & 1 == 0;
        match below.total_cmp(&above) {
            Ordering::Less => down,
            Ordering::Equal if is_even => down,
            Ordering::Equal | Ordering::Greater => up,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rounding_is_to_the_nearest_even(bits in prop::collection::vec(any::<u32>(), 64), halves in prop::collection::vec(any::<u16>(), 64)) {
            // Half of them are exactly between two neighbours.
            let ties = halves.into_iter().map(|half| u32::from(half) << 16 | 0x8000);
            for x in bits.into_iter().chain(ties).map(f32::from_bits).filter(|x| !x.is_nan()) {
                prop_assert_eq!(round_to_bf16(x).to_bits(), nearest(x).to_bits(), "{:e}", x);
            }
        }

        /// One row of a unit matrix takes one element, so the product is the rounded matrix.
        #[test]
        fn every_unit_rounds_alike((m, n) in (1usize..50, 1usize..50), seed in any::<u64>(), left in any::<bool>()) {
            let one: Vec<f32> = (0..m * m).map(|i| if i / m == i % m { 1.0 } else { 0.0 }).collect();
            let x = numbers(seed, (m + 3) * (n + 3), 3.0);
            let b = view(&x, m, n, left);
            let rounded = rounded(b);
            for unit in units() {
                let out = run_on(unit, 1.0, Matrix::new(&one, m, m), b.into(), &vec![0.0; m * (n + 2)], Write::Replace);
                for (out, rounded) in out.chunks_exact(n + 2).zip(rounded.chunks_exact(n)) {
                    prop_assert_eq!(&out[..n], rounded, "{}", unit);
                }
                let at = run_on(unit, 1.0, b.t(), Matrix::new(&one, m, m).into(), &vec![0.0; n * (m + 2)], Write::Replace);
                for (j, row) in at.chunks_exact(m + 2).enumerate() {
                    prop_assert!((0..m).all(|i| row[i].to_bits() == rounded[i * n + j].to_bits()), "{} left", unit);
                }
            }
        }

        #[test]
        fn a_product_is_that_of_rounded_factors(
            (m, n) in (1usize..80, 1usize..80), k in prop_oneof![1usize..70, 350usize..900], left in any::<bool>(), right in any::<bool>(),
            scale in prop::sample::select(vec![1.0f32, 0.176_776_7]), add in any::<bool>(), packed in any::<bool>(), seed in any::<u64>(),
        ) {
            let (x, y) = (numbers(seed, (m + 3) * (k + 3), 2.0), numbers(seed ^ 1, (k + 3) * (n + 3), 2.0));
            let (a, b) = (view(&x, m, k, left), view(&y, k, n, right));
            let own = Packed::new(b);
            let before = numbers(seed ^ 2, m * (n + 2), 2.0);
            let write = if add { Write::Add } else { Write::Replace };
            let (rounded_a, rounded_b) = (rounded(a), rounded(b));
            for unit in units() {
                // Panels fit the fastest kind of unit.
                let is_packed = packed && (unit == Bf16Unit::Emulated) == (Bf16Unit::of_this_machine() == Bf16Unit::Emulated);
                let factor = if is_packed { Right::from(&own) } else { Right::from(b) };
                let out = run_on(unit, scale, a, factor, &before, write);
                for (place, (after, before)) in out.iter().zip(&before).enumerate() {
                    let (i, j) = (place / (n + 2), place % (n + 2));
                    if j >= n {
                        prop_assert_eq!(after.to_bits(), before.to_bits(), "the gap between rows");
                        continue;
                    }
                    let old = if add { f64::from(*before) } else { 0.0 };
                    let terms = (0..k).map(|x| f64::from(scale) * f64::from(rounded_a[i * k + x]) * f64::from(rounded_b[x * n + j]));
                    let (sum, size) = terms.fold((old, old.abs()), |(sum, size), term| (sum + term, size + term.abs()));
                    let bound = f64::from(f32::EPSILON) * (4 + k / 8) as f64 * size;
                    prop_assert!((f64::from(*after) - sum).abs() <= bound, "{}: ({}, {}) is {}, not {}", unit, i, j, after, sum);
                }
            }
        }

        /// Sums of small whole numbers are exact, so every order gives the same bits.
        #[test]
        fn whole_numbers_are_exact((m, n, k) in (1usize..100, 1usize..100, 1usize..900), seed in any::<u64>()) {
            let random = Random::new(seed, Purpose::Initialisation);
            let whole = |first: u64, count: usize| -> Vec<f32> {
                (0..count as u64).map(|i| random.below(first + i, 17) as f32 - 8.0).collect()
            };
            let (x, y) = (whole(0, m * k), whole(1 << 40, k * n));
            let (a, b) = (Matrix::new(&x, m, k), Matrix::new(&y, n, k).t());
            let expected: Vec<f32> = (0..m * n).map(|e| (0..k).map(|i| x[e / n * k + i] * y[e % n * k + i]).sum()).collect();
            for unit in units() {
                let out = run_on(unit, 1.0, a, b.into(), &vec![0.0; m * (n + 2)], Write::Replace);
                for (row, expected) in out.chunks_exact(n + 2).zip(expected.chunks_exact(n)) {
                    prop_assert_eq!(&row[..n], expected, "{}", unit);
                }
            }
        }
    }

    #[test]
    fn an_element_depends_on_its_row_and_column_alone() {
        let (m, k, n) = (70, 900, 330);
        let (x, y) = (numbers(7, (m + 3) * (k + 3), 0.0), numbers(8, (k + 3) * (n + 3), 0.0));
        let (a, b) = (view(&x, m, k, false), view(&y, k, n, true));
        for unit in units().into_iter().filter(|unit| *unit != Bf16Unit::Emulated) {
            let whole = run_on(unit, 1.0, a, b.into(), &vec![0.0; m * (n + 2)], Write::Replace);
            let few = Matrix::strided(&x[3 * (k + 3)..], 5, k, k + 3);
            let part = run_on(unit, 1.0, few, b.into(), &vec![0.0; 5 * (n + 2)], Write::Replace);
            assert_eq!(part[..5 * (n + 2)], whole[3 * (n + 2)..8 * (n + 2)], "{unit}");
            let packed = Packed::new(b);
            let again = run_on(unit, 1.0, a, Right::from(&packed), &vec![0.0; m * (n + 2)], Write::Replace);
            assert_eq!(again, whole, "{unit}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for (value, fill) in [(f32::NAN, 0.5), (f32::INFINITY, 0.5), (f32::from_bits(u32::MAX), 0.0), (f32::MAX, 1.0)] {
            let (mut x, y) = (vec![fill; 40 * 43], vec![1.0; 43 * 43]);
            x[2 * 43 + 17] = value;
            for unit in units() {
                let (a, b) = (view(&x, 40, 40, false), view(&y, 40, 40, false));
                let out = run_on(unit, 1.0, a, b.into(), &[0.0; 40 * 42], Write::Replace);
                let wrong = |i: usize| out[i * 42..][..40].iter().all(|y| !y.is_finite());
                assert!(wrong(2) && (0..40).all(|i| i == 2 || !wrong(i)), "{value} on {unit}");
            }
        }
    }

    #[test]
    fn products_that_are_too_small_stay_exact() {
        let (x, y) = (numbers(1, 20 * 32, 1.0), numbers(2, 20 * 32, 1.0));
        let (a, b) = (Matrix::new(&x, 20, 32), Matrix::new(&y, 20, 32).t());
        assert_eq!(Precision::Bf16.fresh_product(a, b), fresh_product(a, b));
    }
}
