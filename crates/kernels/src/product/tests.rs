//! Products of every shape, layout, scale and destination against their definition in f64.

use proptest::prelude::*;

use super::*;
use plateau_random::{Purpose, Random};

type Multiply = unsafe fn(f32, Matrix<'_>, Matrix<'_>, *mut f32, usize, Write);

/// Every way of multiplying that this machine has, whatever the dimensions.
fn ways() -> Vec<Multiply> {
    let mut ways: Vec<Multiply> = vec![multiply];
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::available() {
        ways.push(tiles::multiply);
    }
    ways
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
        let whole = run(tiles::multiply, 1.0, a, b, &vec![0.0; m * (n + 2)], Write::Replace);
        let few = Matrix::strided(&x[3 * (k + 3)..], 5, k, k + 3);
        let part = run(tiles::multiply, 1.0, few, b, &vec![0.0; 5 * (n + 2)], Write::Replace);
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
            let out = run(tiles::multiply, 1.0, a, b, &vec![0.0; m * (n + 2)], Write::Replace);
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
