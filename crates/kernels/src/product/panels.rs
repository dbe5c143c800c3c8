//! Matrix products by panels: both factors are packed into blocks that an instruction set ([`Unit`]) multiplies.
//!
//! A panel holds `SIDE` rows of the left factor, or `SIDE` columns of the right one, along a piece of the inner dimension. A
//! product of two panels is `SIDE` by `SIDE` elements. The pieces of the inner dimension are added in order, so with a scale of
//! one an element of the result depends only on its row of `a` and its column of `b`, not on the size of the matrices.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_castpd_ps, _mm512_castps_pd, _mm512_maskz_loadu_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_f32x4, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
    _mm512_unpacklo_ps,
};
use std::cell::RefCell;
use std::ops::Range;

use super::{Matrix, Write};

/// Rows and columns of a pass.
pub const SIDE: usize = 32;
/// Elements of the inner dimension that are packed together.
pub const DEPTH: usize = 32;
/// Lines of a bf16 panel for `SIDE` by `DEPTH` elements: two tiles of 16 lines.
pub(super) const LINES_OF_HALVES: usize = 2 * 16;

/// Panels of the larger factor that are packed together. Memory is then read in long runs, and the panels fit into the
/// cache.
const GROUP: usize = 8;
/// Panels of the right factor that all left panels of a group meet before the next ones, so that they stay in the second-level
/// cache.
const BLOCK: usize = 24;

thread_local! {
    static PACKED: RefCell<Vec<__m512i>> = const { RefCell::new(Vec::new()) };
}

/// Instructions that multiply panels.
pub trait Unit {
    /// Lines of 64 bytes for `SIDE` by `DEPTH` elements.
    const LINES: usize;
    /// Elements of the inner dimension in a panel. This much of two panels and a destination fits into the first-level cache,
    /// where the panel of the left factor stays while the panels of the right factor are read.
    const CHUNK: usize;

    /// Packs the rows of `panels` and the columns `depth` of a factor for [`Unit::passes`]. Elements beyond the matrix are zero.
    ///
    /// # Safety
    /// The processor has the unit.
    unsafe fn pack(factor: Factor<'_>, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]);

    /// Multiplies a panel of the left factor with some panels of the right factor. Each product is `SIDE` by `SIDE`, and replaces
    /// the destination or is added to it.
    ///
    /// # Safety
    /// The processor has the unit. At `out` there are `SIDE` rows, `stride` apart, of `SIDE` elements for each panel of the right
    /// factor. They are valid for writes, and for reads if `add` is set.
    unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool);
}

/// The right factor of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    Matrix(Matrix<'a>),
    /// Packed before by [`pack_right`].
    Packed(&'a [__m512i]),
}

/// All panels of a right factor `b`, piece by piece of the inner dimension.
///
/// # Safety
/// The processor has the unit.
pub unsafe fn pack_right<U: Unit>(b: Matrix<'_>) -> Vec<__m512i> {
    let factor = Factor { matrix: b.t(), right: true };
    // SAFETY: the caller guarantees the unit, and every unit has AVX-512.
    let mut all = vec![unsafe { zero() }; b.rows.div_ceil(DEPTH) * U::LINES * factor.panels()];
    let mut rest = &mut all[..];
    for depth in chunks::<U>(b.rows) {
        let (piece, others) = rest.split_at_mut(lines::<U>(&depth) * factor.panels());
        // SAFETY: the caller guarantees the unit.
        unsafe { U::pack(factor, 0..factor.panels(), &depth, piece) };
        rest = others;
    }
    all
}

/// `out = scale * a b`, or `out += scale * a b`, where b has `columns` columns. Rows of `out` are `stride` apart.
///
/// # Safety
/// The processor has the unit. The `a.rows` x `columns` elements at `out` are valid for writes and overlap neither `a` nor `b`.
/// With [`Write::Add`] they are also initialised. The inner dimension is not zero.
pub unsafe fn multiply<U: Unit>(
    scale: f32,
    a: Matrix<'_>,
    (b, columns): (Right<'_>, usize),
    out: *mut f32,
    stride: usize,
    write: Write,
) {
    let left = Factor { matrix: a, right: false };
    let right_panels = columns.div_ceil(SIDE);
    // All panels of the smaller factor are packed at once; they fit into the second-level cache. The larger factor is packed
    // group by group.
    let (large, small) = match b {
        Right::Packed(_) => (left, None),
        Right::Matrix(b) => {
            let right = Factor { matrix: b.t(), right: true };
            if left.panels() < right.panels() { (right, Some(left)) } else { (left, Some(right)) }
        }
    };
    let small_panels = small.map_or(right_panels, Factor::panels);
    PACKED.with_borrow_mut(|room| {
        for depth in chunks::<U>(a.columns) {
            let lines = lines::<U>(&depth);
            let wanted = lines * (small.map_or(0, Factor::panels) + GROUP);
            if room.len() < wanted {
                // SAFETY: the caller guarantees the unit, and every unit has AVX-512.
                room.resize(wanted, unsafe { zero() });
            }
            let (one, own) = room[..wanted].split_at_mut(lines * GROUP);
            if let Some(small) = small {
                // SAFETY: the caller guarantees the unit.
                unsafe { U::pack(small, 0..small_panels, &depth, own) };
            }
            let all = match b {
                Right::Matrix(_) => &*own,
                Right::Packed(all) => &all[depth.start / DEPTH * U::LINES * right_panels..][..lines * right_panels],
            };
            let add = write == Write::Add || depth.start > 0;
            for first in (0..large.panels()).step_by(GROUP) {
                let panels = first..large.panels().min(first + GROUP);
                let one = &mut one[..lines * panels.len()];
                // SAFETY: the caller guarantees the unit.
                unsafe { U::pack(large, panels, &depth, one) };
                let (rows, right) = if large.right { ((0, all), (first, &*one)) } else { ((first, &*one), (0, all)) };
                for (block, right_lines) in right.1.chunks(lines * BLOCK).enumerate() {
                    for (i, left) in (rows.0..).zip(rows.1.chunks_exact(lines)) {
                        let (row, column) = (i * SIDE, (right.0 + block * BLOCK) * SIDE);
                        let target = Target {
                            out: out.wrapping_add(row * stride + column),
                            stride,
                            rows: (a.rows - row).min(SIDE),
                            columns: (columns - column).min(right_lines.len() / lines * SIDE),
                        };
                        // SAFETY: the target is the part of the caller's destination that starts at the panels' first row and
                        // column. `rows` and `columns` are limited so that it ends inside the destination, which the caller
                        // guarantees to be valid. If `depth.start > 0`, an earlier chunk has initialised it.
                        unsafe { target.write::<U>(scale, left, right_lines, add) };
                    }
                }
            }
        }
    });
}

/// Splits the inner dimension `k` into equal pieces of at most [`Unit::CHUNK`].
fn chunks<U: Unit>(k: usize) -> impl Iterator<Item = Range<usize>> {
    let size = k.div_ceil(k.div_ceil(U::CHUNK).max(1)).next_multiple_of(DEPTH).max(DEPTH);
    (0..k).step_by(size).map(move |from| from..k.min(from + size))
}

/// Lines of a panel of this piece of the inner dimension.
fn lines<U: Unit>(depth: &Range<usize>) -> usize {
    depth.len().div_ceil(DEPTH) * U::LINES
}

/// The destination of the product of one panel of the left factor with some panels of the right factor. It has at most
/// `SIDE` rows, and as many columns as the panels.
#[derive(Clone, Copy)]
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

impl Target {
    /// Writes the product of `left` and `right`, or adds it if `add` is set.
    ///
    /// # Safety
    /// The processor has the unit. The target is valid for writes, and for reads if `add` is set.
    unsafe fn write<U: Unit>(self, scale: f32, left: &[__m512i], right: &[__m512i], add: bool) {
        let plain = scale.to_bits() == 1f32.to_bits();
        let direct = if plain && self.rows == SIDE { self.columns / SIDE } else { 0 };
        let (whole, rest) = right.split_at(direct * left.len());
        if direct > 0 {
            // SAFETY: the caller guarantees the unit and the target. The target has `SIDE` rows, and these panels fill its
            // first `direct * SIDE` columns, so every access is inside the target.
            unsafe { U::passes(left, whole, self.out, self.stride, add) };
        }
        for (panel, right) in (direct..).zip(rest.chunks_exact(left.len())) {
            let (out, columns) = (self.out.wrapping_add(panel * SIDE), self.columns - panel * SIDE);
            let part = Self { out, columns: columns.min(SIDE), ..self };
            let mut whole = [0.0; SIDE * SIDE];
            if plain && add {
                // SAFETY: `part` is inside the target and at most `SIDE` columns wide. The caller guarantees that it can be
                // read if `add` is set, and this closure only reads it.
                unsafe { part.each(&mut whole, |element, value| *value = *element) };
            }
            // SAFETY: the caller guarantees the unit. `whole` has `SIDE` rows of `SIDE` initialised elements.
            unsafe { U::passes(left, right, whole.as_mut_ptr(), SIDE, plain && add) };
            // SAFETY: `part` is inside the target and at most `SIDE` columns wide. The caller guarantees that it can be written,
            // and read if `add` is set; the closure reads it only then.
            unsafe {
                part.each(&mut whole, |element, value| {
                    *element = if add && !plain { *element + scale * *value } else { scale * *value };
                });
            }
        }
    }

    /// Calls `f` with a pointer to every element of the target and the element of `whole` in the same place.
    ///
    /// # Safety
    /// The target has at most `SIDE` columns and is valid for what `f` does with it.
    unsafe fn each(self, whole: &mut [f32; SIDE * SIDE], f: impl Fn(*mut f32, &mut f32)) {
        for (i, row) in whole.chunks_exact_mut(SIDE).take(self.rows).enumerate() {
            for (j, value) in row[..self.columns].iter_mut().enumerate() {
                // SAFETY: `i` is less than `rows` and `j` is less than `columns`, so the element is inside the target, which the
                // caller guarantees to be valid.
                f(unsafe { self.out.add(i * self.stride + j) }, value);
            }
        }
    }
}

/// A factor of a product with its inner dimension along the columns: `a`, or `b` transposed.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    matrix: Matrix<'a>,
    right: bool,
}

impl Factor<'_> {
    fn panels(self) -> usize {
        self.matrix.rows.div_ceil(SIDE)
    }

    /// Calls `pack` for each half of the tiles of `panels`, in the order of the matrix in memory: with the first line of the
    /// tiles in the packed panels, the half, its rows and its columns.
    pub fn each_half(
        self,
        panels: &Range<usize>,
        depth: &Range<usize>,
        mut pack: impl FnMut(usize, usize, Range<usize>, Range<usize>),
    ) {
        let steps = depth.len().div_ceil(DEPTH);
        for number in 0..steps * panels.len() {
            let (panel, step) = if self.is_along_inner() {
                (number / steps, number % steps)
            } else {
                (number % panels.len(), number / panels.len())
            };
            let start = depth.start + step * DEPTH;
            for half in 0..2 {
                let first = self.matrix.rows.min((panels.start + panel) * SIDE + 16 * half);
                let rows = first..self.matrix.rows.min(first + 16);
                pack(panel * steps + step, half, rows, start..depth.end.min(start + DEPTH));
            }
        }
    }

    /// The elements from the first of these rows and columns on, and the distance of contiguous lines. None unless they fill a
    /// half of a tile.
    pub fn whole_half(&self, rows: &Range<usize>, columns: &Range<usize>) -> Option<(&[f32], usize)> {
        let m = &self.matrix;
        let start = rows.start * m.row_stride + columns.start * m.column_stride;
        let stride = if self.is_along_inner() { m.row_stride } else { m.column_stride };
        (rows.len() == 16 && columns.len() == DEPTH).then(|| (&m.data[start..], stride))
    }

    /// Whether the inner dimension is contiguous in memory.
    pub fn is_along_inner(self) -> bool {
        self.matrix.column_stride == 1
    }

    /// Whether the contiguous lines of the matrix must be transposed to become the lines of a panel. A line of a left panel is a
    /// row of the factor, and a line of a right panel goes across the rows.
    pub fn is_transposed(self) -> bool {
        self.is_along_inner() == self.right
    }

    /// One of at most 16 rows or columns, whichever is contiguous in memory, followed by zeros. All zeros if `number` is
    /// beyond the last one.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn line(self, rows: &Range<usize>, columns: &Range<usize>, number: usize) -> __m512 {
        let m = self.matrix;
        let (stride, lines, line) =
            if self.is_along_inner() { (m.row_stride, rows, columns) } else { (m.column_stride, columns, rows) };
        if number >= lines.len() {
            return _mm512_setzero_ps();
        }
        load(&m.data[(lines.start + number) * stride..][line.clone()])
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn zero() -> __m512i {
    _mm512_setzero_si512()
}

/// These values, at most 16, followed by zeros.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32]) -> __m512 {
    let mask = if values.len() < 16 { (1 << values.len()) - 1 } else { u16::MAX };
    // SAFETY: the mask selects the first `values.len()` elements at most, so the load reads only inside the slice.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Transposes a block of 16 by 16 numbers of 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
pub fn transpose(m: &mut [__m512; 16]) {
    let mut t = [_mm512_setzero_ps(); 16];
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_ps(m[2 * i], m[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(m[2 * i], m[2 * i + 1]);
    }
    for i in 0..4 {
        let pair = |i: usize| (_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2]));
        let (first, second) = (pair(4 * i), pair(4 * i + 1));
        m[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(first.0, first.1));
        m[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(first.0, first.1));
        m[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(second.0, second.1));
        m[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(second.0, second.1));
    }
    for i in [0, 1, 2, 3, 8, 9, 10, 11] {
        t[i] = _mm512_shuffle_f32x4::<0x88>(m[i], m[i + 4]);
        t[i + 4] = _mm512_shuffle_f32x4::<0xdd>(m[i], m[i + 4]);
    }
    for i in 0..4 {
        m[i] = _mm512_shuffle_f32x4::<0x88>(t[i], t[i + 8]);
        m[i + 8] = _mm512_shuffle_f32x4::<0xdd>(t[i], t[i + 8]);
        m[i + 4] = _mm512_shuffle_f32x4::<0x88>(t[i + 4], t[i + 12]);
        m[i + 12] = _mm512_shuffle_f32x4::<0xdd>(t[i + 4], t[i + 12]);
    }
}
