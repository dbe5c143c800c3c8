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
    __cpuid_count, __m512, __m512i, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps_si512, _mm512_maskz_loadu_ps,
    _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_f32x4,
    _mm512_srli_epi32, _mm512_sub_ps, _mm512_ternarylogic_epi32, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
    _mm512_unpacklo_pd, _mm512_unpacklo_ps,
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

/// Elements of the inner dimension after which a pass ends: so much of two panels and a destination fits into the nearest
/// cache, where the panel of the left factor stays while those of the right one pass by. With a scale of one the cuts do
/// not show in the result: sums are f32 in the unit and in memory.
const CHUNK: usize = 4 * DEPTH;
/// Panels of the larger factor that are packed together: enough for long runs of memory, little enough for the cache.
const GROUP: usize = 8;

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
    // The smaller factor is packed over all its panels, which the second-level cache holds, the larger one group by group.
    let (large, small) = if left.panels() < right.panels() { (right, left) } else { (left, right) };
    PACKED.with_borrow_mut(|packed| {
        for depth in chunks(a.columns) {
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
                    let (row, column) = (i * SIDE, columns.0 * SIDE);
                    let target = Target {
                        out: out.wrapping_add(row * stride + column),
                        stride,
                        rows: (a.rows - row).min(SIDE),
                        columns: (b.columns - column).min(columns.1.len() / lines * SIDE),
                    };
                    // SAFETY: the target is that part of the caller's destination which starts at the panels' first row
                    // and column and ends within it; the caller vouches for it, and the first chunk has written it where
                    // a later one adds.
                    unsafe { target.write(scale, left, columns.1, add) };
                }
            }
        }
    });
}

/// Cuts the inner dimension `k` into equal pieces of at most [`CHUNK`].
fn chunks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let size = k.div_ceil(k.div_ceil(CHUNK)).next_multiple_of(DEPTH);
    (0..k).step_by(size).map(move |from| from..k.min(from + size))
}

/// Where the product of a panel of the left factor and some of the right one goes: at most `SIDE` rows, and columns as
/// the panels have them.
#[derive(Clone, Copy)]
struct Target {
    out: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
}

impl Target {
    /// # Safety
    /// [`available`] has said yes; the target is valid for writes, and for reads with `add`.
    unsafe fn write(self, scale: f32, left: &[__m512i], right: &[__m512i], add: bool) {
        let plain = scale.to_bits() == 1f32.to_bits();
        let direct = if plain && self.rows == SIDE { self.columns / SIDE } else { 0 };
        let (whole, rest) = right.split_at(direct * left.len());
        if direct > 0 {
            // SAFETY: the caller vouches for the unit and the target, of which these panels fill whole rows and columns.
            unsafe { passes(left, whole, self.out, self.stride, add) };
        }
        for (panel, right) in (direct..).zip(rest.chunks_exact(left.len())) {
            let (out, columns) = (self.out.wrapping_add(panel * SIDE), self.columns - panel * SIDE);
            let part = Self { out, columns: columns.min(SIDE), ..self };
            let mut whole = [0.0; SIDE * SIDE];
            if plain && add {
                // SAFETY: the caller vouches for reads with `add`.
                unsafe { part.each(&mut whole, |element, value| *value = *element) };
            }
            // SAFETY: the caller vouches for the unit; the array has room for all rows.
            unsafe { passes(left, right, whole.as_mut_ptr(), SIDE, plain && add) };
            // SAFETY: the caller vouches for writes, and for reads with `add`.
            unsafe {
                part.each(&mut whole, |element, value| {
                    *element = if add && !plain { *element + scale * *value } else { scale * *value };
                });
            }
        }
    }

    /// Calls `f` with every element of the target and its place in `whole`.
    ///
    /// # Safety
    /// The target is valid for what `f` does to it, and has at most `SIDE` columns.
    unsafe fn each(self, whole: &mut [f32; SIDE * SIDE], f: impl Fn(*mut f32, &mut f32)) {
        for (i, row) in whole.chunks_exact_mut(SIDE).take(self.rows).enumerate() {
            for (j, value) in row[..self.columns].iter_mut().enumerate() {
                // SAFETY: row and column lie inside the target, as the caller says.
                f(unsafe { self.out.add(i * self.stride + j) }, value);
            }
        }
    }
}

/// What [`passes`] reads while it runs. The shape of the eight tile registers, 16 rows of 64 bytes each, comes first and as
/// the unit wants it.
#[repr(C, align(64))]
struct Frame {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
    /// Tiles of a panel along the inner dimension, and their bytes.
    steps: usize,
    panel: usize,
    add: usize,
}

/// A panel of the left factor by some of the right one, a destination of `SIDE` by `SIDE` each: small products of parts
/// first.
///
/// # Safety
/// [`available`] has said yes. `SIDE` rows at `out`, `stride` apart, of `SIDE` elements for each panel of the right factor,
/// are valid for writes, and for reads with `add`.
unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
    assert!(!left.is_empty() && left.len().is_multiple_of(LINES), "no whole panel of a product");
    assert!(!right.is_empty() && right.len().is_multiple_of(left.len()), "panels of a product differ");
    let frame = Frame {
        palette: 1,
        start: 0,
        reserved: [0; 14],
        bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
        steps: left.len() / LINES,
        panel: size_of_val(left),
        add: add.into(),
    };
    /// The four products of two tiles of a column and two of a row.
    macro_rules! multiply {
        () => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
        };
    }
    /// Asks for a row of the next destination.
    macro_rules! near {
        () => {
            "prefetchw [{next}]\nprefetchw [{next} + 64]\nadd {next}, {stride}"
        };
    }
    // SAFETY: tmm0 to tmm3 are loaded from and stored to rows 0 to 15 and 16 to 31 of a destination, 64 bytes at its
    // start and 64 beside them, and then the next 128 bytes of each row are the destination, once for each panel of the
    // right factor: what the caller vouches for. Each of the `steps` turns of the inner loop reads the next LINES lines of
    // both panels, six tiles of 16: all of them, as the assertions have it; then the left panel is read again, and the
    // right one is followed by the next. Prefetching touches nothing, whatever the address. Tile registers get their shape
    // at the start and are given back at the end, and nothing outside this block knows them; what else changes is named
    // as an output.
    unsafe {
        asm!(
            "ldtilecfg [{frame}]",
            "2:",
            "lea {below}, [{out} + {stride}*8]",
            "lea {below}, [{below} + {stride}*8]",
            "lea {next}, [{out} + 128]",
            "mov {steps}, [{frame} + 64]",
            "cmp qword ptr [{frame} + 80], 0",
            "jne 3f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 4f",
            "3:",
            "tileloadd tmm0, [{out} + {stride}]",
            "tileloadd tmm1, [{out} + {stride} + 64]",
            "tileloadd tmm2, [{below} + {stride}]",
            "tileloadd tmm3, [{below} + {stride} + 64]",
            "4:",
            // High by low.
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tileloadd tmm6, [{b} + {line} + 4096]",
            "tileloadd tmm7, [{b} + {line} + 5120]",
            multiply!(),
            // High by middle.
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tileloadd tmm7, [{b} + {line} + 3072]",
            multiply!(),
            // A quarter of the next destination comes near.
            near!(),
            near!(),
            near!(),
            near!(),
            near!(),
            near!(),
            near!(),
            near!(),
            // Middle by middle.
            "tileloadd tmm4, [{a} + {line} + 2048]",
            "tileloadd tmm5, [{a} + {line} + 3072]",
            multiply!(),
            // Middle by high.
            "tileloadd tmm6, [{b} + {line}]",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            multiply!(),
            // Low by high.
            "tileloadd tmm4, [{a} + {line} + 4096]",
            "tileloadd tmm5, [{a} + {line} + 5120]",
            multiply!(),
            // High by high.
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            multiply!(),
            "add {a}, 6144",
            "add {b}, 6144",
            "dec {steps}",
            "jnz 4b",
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 64], tmm1",
            "tilestored [{below} + {stride}], tmm2",
            "tilestored [{below} + {stride} + 64], tmm3",
            "sub {a}, [{frame} + 72]",
            "sub {out}, -128",
            "dec {panels}",
            "jnz 2b",
            "tilerelease",
            frame = in(reg) &raw const frame,
            out = inout(reg) out => _,
            below = out(reg) _,
            next = out(reg) _,
            stride = in(reg) stride * size_of::<f32>(),
            line = in(reg) 64usize,
            a = inout(reg) left.as_ptr() => _,
            b = inout(reg) right.as_ptr() => _,
            steps = out(reg) _,
            panels = inout(reg) right.len() / left.len() => _,
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

    /// Packs the rows of `panels` and the columns `depth` for [`passes`]. A number of 32 bits of a tile holds the parts of two
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
            let start = depth.start + step * DEPTH;
            let middle = depth.end.min(start + 16);
            let (near, far) = (start..middle, middle..depth.end.min(start + DEPTH));
            for half in 0..2 {
                let first = m.rows.min((panels.start + panel) * SIDE + 16 * half);
                let rows = first..m.rows.min(first + 16);
                let mut put = |line: usize, near: __m512, far: __m512| {
                    for (number, part) in split(near, far).into_iter().enumerate() {
                        tiles[32 * number + 16 * half + line] = part;
                    }
                };
                if along == self.right {
                    let (mut near, mut far) = (self.block(&rows, &near), self.block(&rows, &far));
                    transpose(&mut near);
                    transpose(&mut far);
                    for (line, (near, far)) in near.into_iter().zip(far).enumerate() {
                        put(line, near, far);
                    }
                } else {
                    for line in 0..16 {
                        put(line, self.line(&rows, &near, line), self.line(&rows, &far, line));
                    }
                }
            }
        }
    }

    /// At most 16 rows and columns as they lie in memory, with zeros after them.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn block(self, rows: &Range<usize>, columns: &Range<usize>) -> [__m512; 16] {
        let mut block = [_mm512_setzero_ps(); 16];
        for (number, line) in block.iter_mut().enumerate() {
            *line = self.line(rows, columns, number);
        }
        block
    }

    /// One of at most 16 rows and columns, whichever lie together in memory, with zeros after it; zeros beyond the last.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn line(self, rows: &Range<usize>, columns: &Range<usize>, number: usize) -> __m512 {
        let m = self.matrix;
        let (stride, lines, line) =
            if m.column_stride == 1 { (m.row_stride, rows, columns) } else { (m.column_stride, columns, rows) };
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

/// These values, at most 16, and zeros after them.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32]) -> __m512 {
    let mask = if values.len() < 16 { (1 << values.len()) - 1 } else { u16::MAX };
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
fn transpose(m: &mut [__m512; 16]) {
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
