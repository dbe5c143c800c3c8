//! Products whose factors are rounded to bf16, with sums in f32.
//!
//! A bf16 is the upper half of an f32: eight significant bits and the same range. Two units multiply them: the tiles of AMX
//! ([`Tiles`]) and the dot products of AVX-512 ([`Dots`]). Both read the same panels. A 32-bit number of a panel holds two
//! neighbours of the inner dimension; a line of a left panel holds 16 of them of a row, and a line of a right panel one of each of
//! 16 columns. The two units sum in different orders, so their results differ in rounding.
//!
//! Rounding is to the nearest bf16, and to the even one of two. Numbers below 1.2e-38 count as zero.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
    _mm512_loadu_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::ops::Range;
use std::sync::LazyLock;

use super::panels::{DEPTH, Factor, LINES_OF_HALVES, SIDE, Unit, transpose};
use super::tiles;

/// Elements of the inner dimension in a panel.
const CHUNK: usize = 12 * DEPTH;

/// Whether the processor has the dot products of AVX-512, and what packing needs.
pub fn dots_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    });
    *AVAILABLE
}

/// Whether the processor has the tile unit, and what packing needs.
pub fn tiles_available() -> bool {
    dots_available() && tiles::available()
}

/// The tile unit of AMX.
pub struct Tiles;

impl Unit for Tiles {
    const LINES: usize = LINES_OF_HALVES;
    const CHUNK: usize = CHUNK;

    unsafe fn pack(factor: Factor<'_>, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
        // SAFETY: the caller guarantees that `tiles_available` returned true, so the processor has the instructions.
        unsafe { pack(factor, &panels, depth, out) };
    }

    unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
        // SAFETY: the caller guarantees the unit and the destination.
        unsafe { tiles::passes_of_halves(left, right, out, stride, add) };
    }
}

/// The dot products of AVX-512.
pub struct Dots;

impl Unit for Dots {
    const LINES: usize = LINES_OF_HALVES;
    const CHUNK: usize = CHUNK;

    unsafe fn pack(factor: Factor<'_>, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
        // SAFETY: the caller guarantees that `dots_available` returned true, so the processor has the instructions.
        unsafe { pack(factor, &panels, depth, out) };
    }

    unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
        // SAFETY: the caller guarantees the unit and the destination.
        unsafe { passes(left, right, out, stride, add) };
    }
}

/// See [`Unit::pack`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pack(factor: Factor<'_>, panels: &Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
    let order = interleaved();
    factor.each_half(panels, depth, |tile, half, rows, columns| {
        let out = &mut out[tile * LINES_OF_HALVES + 16 * half..][..16];
        let mut block = [_mm512_setzero_ps(); 16];
        if let Some((data, stride)) = factor.whole_half(&rows, &columns) {
            for (number, line) in block.iter_mut().enumerate() {
                *line = if factor.is_along_inner() {
                    let both = data[number * stride..][..DEPTH].as_chunks().0;
                    _mm512_castsi512_ps(as_integers(rounded(load(&both[0]), load(&both[1]))))
                } else {
                    let pair = |place| load(&data[(2 * number + place) * stride..].as_chunks().0[0]);
                    _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, as_integers(rounded(pair(0), pair(1)))))
                };
            }
        } else if factor.is_along_inner() {
            let middle = columns.end.min(columns.start + 16);
            let (near, far) = (columns.start..middle, middle..columns.end);
            for (number, line) in block.iter_mut().enumerate() {
                let both = rounded(factor.line(&rows, &near, number), factor.line(&rows, &far, number));
                *line = _mm512_castsi512_ps(as_integers(both));
            }
        } else {
            for (number, line) in block.iter_mut().enumerate() {
                let pair = |place| factor.line(&rows, &columns, 2 * number + place);
                let both = as_integers(rounded(pair(0), pair(1)));
                *line = _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, both));
            }
        }
        if factor.is_transposed() {
            transpose(&mut block);
        }
        for (out, line) in out.iter_mut().zip(block) {
            *out = _mm512_castps_si512(line);
        }
    });
}

/// See [`Unit::passes`].
///
/// # Safety
/// At `out` there are `SIDE` rows, `stride` apart, of `SIDE` elements for each panel of the right factor. They are valid for
/// writes, and for reads if `add` is set.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
    /// Rows whose sums are in registers, in two registers of 16 columns each.
    const ROWS: usize = 8;
    for (panel, right) in right.chunks_exact(left.len()).enumerate() {
        for first in (0..SIDE).step_by(ROWS) {
            // The two halves of each row of the destination.
            let place = |row: usize, half: usize| out.wrapping_add((first + row) * stride + panel * SIDE + 16 * half);
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            if add {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (half, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: `first + row` is below `SIDE`, and the 16 elements are a half of a panel's `SIDE` columns. The
                        // caller guarantees that they can be read if `add` is set.
                        *sum = unsafe { _mm512_loadu_ps(place(row, half)) };
                    }
                }
            }
            for (left, right) in
                left.as_chunks::<LINES_OF_HALVES>().0.iter().zip(right.as_chunks::<LINES_OF_HALVES>().0)
            {
                let rows = numbers(left).as_chunks::<16>().0;
                for pair in 0..16 {
                    let columns = [as_halves(right[pair]), as_halves(right[16 + pair])];
                    for (row, sums) in rows[first..first + ROWS].iter().zip(&mut sums) {
                        let factor = as_halves(_mm512_set1_epi32(row[pair]));
                        sums[0] = _mm512_dpbf16_ps(sums[0], factor, columns[0]);
                        sums[1] = _mm512_dpbf16_ps(sums[1], factor, columns[1]);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                for (half, sum) in sums.into_iter().enumerate() {
                    // SAFETY: as above; the caller guarantees that the elements can be written.
                    unsafe { _mm512_storeu_ps(place(row, half), sum) };
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32; 16]) -> __m512 {
    // SAFETY: the array has the 16 elements that the load reads.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// Two times 16 elements as bf16: first those of `near`, then those of `far`.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn rounded(near: __m512, far: __m512) -> __m512bh {
    _mm512_cvtne2ps_pbh(far, near)
}

/// The places from which neighbours come when two times 16 elements become pairs.
#[target_feature(enable = "avx512f")]
#[inline]
fn interleaved() -> __m512i {
    let places: [u16; 32] = std::array::from_fn(|i| (i / 2 + 16 * (i % 2)) as u16);
    // SAFETY: both types have 64 bytes, and every pattern of bits is a value of both.
    unsafe { std::mem::transmute(places) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn as_integers(halves: __m512bh) -> __m512i {
    // SAFETY: both types have 64 bytes, and every pattern of bits is a value of both.
    unsafe { std::mem::transmute(halves) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn as_halves(numbers: __m512i) -> __m512bh {
    // SAFETY: both types have 64 bytes, and every pattern of bits is a value of both.
    unsafe { std::mem::transmute(numbers) }
}

/// The 32-bit numbers of lines.
#[inline]
fn numbers(lines: &[__m512i]) -> &[i32] {
    // SAFETY: a line is 16 numbers of 32 bits in a row, every pattern of bits is a number, and the alignment of a line is larger.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), 16 * lines.len()) }
}
