//! Products of f32 matrices on the bf16 tile unit of recent Intel processors (AMX), with the accuracy of f32.
//!
//! An f32 has 24 significant bits, a bf16 eight: x = high + middle + low, each part a bf16, loses nothing. Of the nine
//! products of two such sums six are taken; the three smallest lie below 2^-26 of the whole, under what f32 rounds away.
//! (Henry, Tang, Heinecke: "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations",
//! 2019.) Sums are f32. The unit multiplies 16 times as fast as f32 vector instructions do, so six products of parts take
//! less than half the time of one product of wholes.
//!
//! With a scale of one, an element of the result depends on its row and its column alone, not on what stands beside them
//! nor on how the matrices are cut. Infinite inputs, and those above 5e33, give NaN; what is below 1e-38 counts as zero.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, _mm512_castps_si512, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_sub_ps,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

use super::{Matrix, Write};

/// Rows and columns that a pass of the unit computes: two by two tiles of 16 by 16.
const SIDE: usize = 32;
/// Elements of the inner dimension in a tile.
const DEPTH: usize = 32;
/// Lines of 64 bytes that the parts of `SIDE` by `DEPTH` elements fill: two tiles for each part, high ones first.
const LINES: usize = 3 * 2 * 16;

/// Panels of the larger factor that are packed together: enough for long runs of memory, little enough for the cache.
const GROUP: usize = 4;

thread_local! {
    static PACKED: RefCell<Vec<__m512i>> = const { RefCell::new(Vec::new()) };
}

/// Whether a product of these dimensions is large enough to be faster here than on vector instructions.
pub fn pays(m: usize, n: usize, k: usize) -> bool {
    m >= SIDE && n >= SIDE && k >= DEPTH && m * n * k >= 1 << 20
}

/// Whether this machine has the unit and lets this process use it.
pub fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let leaf = __cpuid_count(7, 0);
        let [bf16, tiles] = [22, 24].map(|bit| leaf.edx >> bit & 1 == 1);
        is_x86_feature_detected!("avx512f") && bf16 && tiles && permitted()
    });
    *AVAILABLE
}

/// Asks the kernel for the tiles' registers, as every process has to once for all its threads.
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let status: i64;
    // SAFETY: `arch_prctl` with this code reads two numbers and writes to no memory of ours; a system call changes rax,
    // rcx and r11, all named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => status,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    status == 0
}

/// `out = scale * a b`, or `out += scale * a b`; rows of `out` lie `stride` apart.
///
/// # Safety
/// [`available`] has said yes. The `a.rows` x `b.columns` elements at `out` are valid for writes and overlap neither `a`
/// nor `b`; with [`Write::Add`] they are initialised too. The inner dimension is not zero.
pub unsafe fn multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    let (left, right) = (Factor { matrix: a, right: false }, Factor { matrix: b.t(), right: true });
    // The smaller factor is packed whole, so far as the second-level cache holds it, and the larger one group by group.
    let (large, small) = if left.panels() < right.panels() { (right, left) } else { (left, right) };
    PACKED.with_borrow_mut(|packed| {
        for depth in chunks(a.columns, small.panels()) {
            let lines = depth.len().div_ceil(DEPTH) * LINES;
            let wanted = lines * (small.panels() + GROUP);
            if packed.len() < wanted {
                // SAFETY: `available` has found AVX-512.
                packed.resize(wanted, unsafe { zero() });
            }
            let (one, all) = packed[..wanted].split_at_mut(lines * GROUP);
            // SAFETY: `available` has found AVX-512.
            unsafe { small.pack(0..small.panels(), &depth, all) };
            let add = write == Write::Add || depth.start > 0;
            for first in (0..large.panels()).step_by(GROUP) {
                let panels = first..large.panels().min(first + GROUP);
                let one = &mut one[..lines * panels.len()];
                // SAFETY: as above.
                unsafe { large.pack(panels, &depth, one) };
                let (rows, columns) =
                    if large.right { ((0, &*all), (first, &*one)) } else { ((first, &*one), (0, &*all)) };
                for (i, left) in (rows.0..).zip(rows.1.chunks_exact(lines)) {
                    for (j, right) in (columns.0..).zip(columns.1.chunks_exact(lines)) {
                        let target = Target {
                            out: out.wrapping_add(i * SIDE * stride + j * SIDE),
                            stride,
                            rows: (a.rows - i * SIDE).min(SIDE),
                            columns: (b.columns - j * SIDE).min(SIDE),
                        };
                        // SAFETY: the target is that part of the caller's destination which starts at the panels' first
                        // row and column and ends within it; the caller vouches for it, and the first chunk has written
                        // it where a later one adds.
                        unsafe { target.write(scale, left, right, add) };
                    }
                }
            }
        }
    });
}

/// Cuts the inner dimension `k` into equal pieces, so that the packed small factor of `panels` panels stays in the
/// second-level cache. With a scale of one the cuts do not show in the result: sums are f32 in the unit and in memory.
fn chunks(k: usize, panels: usize) -> impl Iterator<Item = Range<usize>> {
    /// Elements of the small factor: 6 bytes each.
    const CACHED: usize = 200_000;
    let most = (CACHED / (SIDE * panels)).clamp(4 * DEPTH, 24 * DEPTH);
    let size = k.div_ceil(k.div_ceil(most)).next_multiple_of(DEPTH);
    (0..k).step_by(size).map(move |from| from..k.min(from + size))
}

/// Where a pass writes: at most `SIDE` rows and columns.
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

impl Target {
    /// # Safety
    /// [`available`] has said yes; the target is valid for writes, and for reads with `add`.
    unsafe fn write(&self, scale: f32, a: &[__m512i], b: &[__m512i], add: bool) {
        let plain = scale.to_bits() == 1f32.to_bits();
        if plain && (self.rows, self.columns) == (SIDE, SIDE) {
            // SAFETY: the caller vouches for the unit and for the whole target.
            return unsafe { pass(a, b, self.out, self.stride, add) };
        }
        let mut whole = [0.0; SIDE * SIDE];
        if plain && add {
            // SAFETY: the caller vouches for reads with `add`.
            unsafe { self.each(&mut whole, |element, value| *value = *element) };
        }
        // SAFETY: the caller vouches for the unit; the array has room for all rows.
        unsafe { pass(a, b, whole.as_mut_ptr(), SIDE, plain && add) };
        // SAFETY: the caller vouches for writes, and for reads with `add`.
        unsafe {
            self.each(&mut whole, |element, value| {
                *element = if add && !plain { *element + scale * *value } else { scale * *value };
            });
        }
    }

    /// Calls `f` with every element of the target and its place in `whole`.
    ///
    /// # Safety
    /// The target is valid for what `f` does to it.
    unsafe fn each(&self, whole: &mut [f32; SIDE * SIDE], f: impl Fn(*mut f32, &mut f32)) {
        for (i, row) in whole.chunks_exact_mut(SIDE).take(self.rows).enumerate() {
            for (j, value) in row[..self.columns].iter_mut().enumerate() {
                // SAFETY: row and column lie inside the target, as the caller says.
                f(unsafe { self.out.add(i * self.stride + j) }, value);
            }
        }
    }
}

/// The shape of the eight tile registers: 16 rows of 64 bytes each.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    start: 0,
    reserved: [0; 14],
    bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// `SIDE` by `SIDE` elements of a product, from a panel of each factor: small products of parts first.
///
/// # Safety
/// [`available`] has said yes. The `SIDE` rows of `SIDE` elements at `out`, `stride` apart, are valid for writes, and
/// for reads with `add`.
unsafe fn pass(a: &[__m512i], b: &[__m512i], out: *mut f32, stride: usize, add: bool) {
    assert!(!a.is_empty() && a.len() == b.len() && a.len().is_multiple_of(LINES), "panels of a product differ");
    // SAFETY: tmm0 to tmm3 are loaded from and stored to rows 0 to 15 and 16 to 31 of the destination, 64 bytes at its
    // start and 64 beside them: what the caller vouches for. Each of the `steps` turns reads the next LINES lines of
    // both panels, six tiles of 16, and the assertion has it that they hold `steps * LINES`. Tile registers get their
    // shape at the start and are given back at the end, and nothing outside this block knows them; what else changes is
    // named as an output.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            "test {add}, {add}",
            "jnz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{out} + {stride}]",
            "tileloadd tmm1, [{out} + {stride} + 64]",
            "tileloadd tmm2, [{below} + {stride}]",
            "tileloadd tmm3, [{below} + {stride} + 64]",
            "3:",
            // High by low.
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tileloadd tmm6, [{b} + {line} + 4096]",
            "tileloadd tmm7, [{b} + {line} + 5120]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // High by middle.
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tileloadd tmm7, [{b} + {line} + 3072]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // Middle by middle.
            "tileloadd tmm4, [{a} + {line} + 2048]",
            "tileloadd tmm5, [{a} + {line} + 3072]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // Middle by high.
            "tileloadd tmm6, [{b} + {line}]",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // Low by high.
            "tileloadd tmm4, [{a} + {line} + 4096]",
            "tileloadd tmm5, [{a} + {line} + 5120]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // High by high.
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 6144",
            "add {b}, 6144",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 64], tmm1",
            "tilestored [{below} + {stride}], tmm2",
            "tilestored [{below} + {stride} + 64], tmm3",
            "tilerelease",
            shapes = in(reg) &raw const SHAPES,
            add = in(reg) u64::from(add),
            out = in(reg) out,
            below = in(reg) out.wrapping_add(16 * stride),
            stride = in(reg) stride * size_of::<f32>(),
            line = in(reg) 64usize,
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b.as_ptr() => _,
            steps = inout(reg) a.len() / LINES => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// A factor of a product, its inner dimension along the columns: `a`, or `b` transposed.
#[derive(Clone, Copy)]
struct Factor<'a> {
    matrix: Matrix<'a>,
    right: bool,
}

impl Factor<'_> {
    fn panels(self) -> usize {
        self.matrix.rows.div_ceil(SIDE)
    }

    /// Packs the rows of `panels` and the columns `depth` for [`pass`]. A number of 32 bits of a tile holds the parts of two
    /// elements that lie 16 apart in the inner dimension, the same two in both factors. A tile of the left factor holds a
    /// row of it in each line, one of the right a column; what is beyond the matrix is zero.
    #[target_feature(enable = "avx512f")]
    fn pack(self, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
        let m = self.matrix;
        let along = m.column_stride == 1;
        let steps = depth.len().div_ceil(DEPTH);
        for number in 0..steps * panels.len() {
            // In the order of memory.
            let (panel, step) =
                if along { (number / steps, number % steps) } else { (number % panels.len(), number / panels.len()) };
            let tiles = &mut out[(panel * steps + step) * LINES..][..LINES];
            let (panel, start) = (panels.start + panel, depth.start + step * DEPTH);
            let (near, far) = (start..depth.end.min(start + 16), start + 16..depth.end.min(start + DEPTH));
            for half in 0..2 {
                let first = m.rows.min(panel * SIDE + 16 * half);
                let rows = first..m.rows.min(first + 16);
                let mut parts = [[zero(); 16]; 3];
                for i in 0..if along { rows.len() } else { near.len() } {
                    let (first, second) = if along {
                        let row = (rows.start + i) * m.row_stride;
                        (load(m.data, row + near.start, near.len()), load(m.data, row + far.start, far.len()))
                    } else {
                        let line = |k: usize| k * m.column_stride + rows.start;
                        let below = if i < far.len() { rows.len() } else { 0 };
                        (load(m.data, line(near.start + i), rows.len()), load(m.data, line(far.start + i), below))
                    };
                    for (part, line) in parts.iter_mut().zip(split(first, second)) {
                        part[i] = line;
                    }
                }
                for (number, part) in parts.iter_mut().enumerate() {
                    if along == self.right {
                        transpose(part);
                    }
                    tiles[32 * number + 16 * half..][..16].copy_from_slice(part);
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn zero() -> __m512i {
    _mm512_setzero_si512()
}

/// `count` values, at most 16, and zeros after them.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32], start: usize, count: usize) -> __m512 {
    if count == 0 {
        return _mm512_setzero_ps();
    }
    let values = &values[start..start + count];
    let mask = if count < 16 { (1 << count) - 1 } else { u16::MAX };
    // SAFETY: reads only what the mask names, which is inside the slice.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// High, middle and low parts of two times 16 elements: those of the first in the low halves of the numbers.
#[target_feature(enable = "avx512f")]
#[inline]
fn split(first: __m512, second: __m512) -> [__m512i; 3] {
    let (a, b) = (parts(first), parts(second));
    [join(a[0], b[0]), join(a[1], b[1]), join(a[2], b[2])]
}

/// High, middle and low parts of each element, each a bf16 in the high half of an f32.
#[target_feature(enable = "avx512f")]
#[inline]
fn parts(x: __m512) -> [__m512; 3] {
    let high = top(x);
    let rest = _mm512_sub_ps(x, high);
    let middle = top(rest);
    [high, middle, _mm512_sub_ps(rest, middle)]
}

/// The upper halves of the elements, those of `low` below those of `high`. What a part below 1e-38 has in its lower half
/// is cut off: it would spoil its neighbour.
#[target_feature(enable = "avx512f")]
#[inline]
fn join(low: __m512, high: __m512) -> __m512i {
    /// `a | (b & c)`.
    const OR_AND: i32 = 0xf8;
    let upper = _mm512_set1_epi32(i32::from_ne_bytes(0xffff_0000_u32.to_ne_bytes()));
    let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(low));
    _mm512_ternarylogic_epi32::<OR_AND>(low, _mm512_castps_si512(high), upper)
}

/// Each element rounded to eight significant bits (Veltkamp's splitting).
#[target_feature(enable = "avx512f")]
#[inline]
fn top(x: __m512) -> __m512 {
    let large = _mm512_mul_ps(x, _mm512_set1_ps(65_537.0));
    _mm512_sub_ps(large, _mm512_sub_ps(large, x))
}

/// Turns lines into columns.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(m: &mut [__m512i; 16]) {
    let mut t = [zero(); 16];
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(m[2 * i], m[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(m[2 * i], m[2 * i + 1]);
    }
    for i in 0..4 {
        m[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        m[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        m[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        m[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for i in [0, 1, 2, 3, 8, 9, 10, 11] {
        t[i] = _mm512_shuffle_i32x4::<0x88>(m[i], m[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(m[i], m[i + 4]);
    }
    for i in 0..4 {
        m[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
        m[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
        m[i + 4] = _mm512_shuffle_i32x4::<0x88>(t[i + 4], t[i + 12]);
        m[i + 12] = _mm512_shuffle_i32x4::<0xdd>(t[i + 4], t[i + 12]);
    }
}
