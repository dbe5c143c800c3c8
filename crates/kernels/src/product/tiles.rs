//! Products of f32 matrices on the bf16 tile unit of recent Intel processors (AMX), with the accuracy of f32.
//!
//! An f32 has 24 significant bits and a bf16 has eight, so x = high + middle + low with three bf16 parts is exact. Six of the
//! nine products of the parts are computed. The other three are below 2^-26 of the result, less than the rounding error of
//! f32 (Henry, Tang, Heinecke: "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
//! computations", 2019). Sums are f32. The unit multiplies 16 times as fast as f32 vector instructions, so six products of
//! parts take less than half the time of one f32 product.
//!
//! With a scale of one, an element of the result depends only on its row of `a` and its column of `b`, not on the size of
//! the matrices. Inputs that are infinite or above 5e33 give NaN; inputs below 1e-38 count as zero.

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

/// Rows and columns of a pass: two by two tiles of 16 by 16.
const SIDE: usize = 32;
/// Elements of the inner dimension in a tile.
const DEPTH: usize = 32;
/// Lines of 64 bytes for the parts of `SIDE` by `DEPTH` elements: two tiles for each part, the high parts first.
const LINES: usize = 3 * 2 * 16;

/// Elements of the inner dimension in a pass. This much of two panels and a destination fits into the first-level cache,
/// where the panel of the left factor stays while the panels of the right factor are read. The result does not depend on
/// this number if the scale is one, because sums are f32 both in the unit and in memory.
const CHUNK: usize = 4 * DEPTH;
/// Panels of the larger factor that are packed together. Memory is then read in long runs, and the panels fit into the
/// cache.
const GROUP: usize = 8;

thread_local! {
    static PACKED: RefCell<Vec<__m512i>> = const { RefCell::new(Vec::new()) };
}

/// Whether a product of these dimensions is large enough to be faster here than with vector instructions.
pub fn pays(m: usize, n: usize, k: usize) -> bool {
    m >= SIDE && n >= SIDE && k >= DEPTH && m * n * k >= 1 << 20
}

/// Whether this machine has the unit and the kernel permits its use.
pub fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        let leaf = __cpuid_count(7, 0);
        let [bf16, tiles] = [22, 24].map(|bit| leaf.edx >> bit & 1 == 1);
        is_x86_feature_detected!("avx512f") && bf16 && tiles && permitted()
    });
    *AVAILABLE
}

/// Requests the tile registers from the kernel. A process must do this once for all its threads.
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let status: i64;
    // SAFETY: `arch_prctl` with this code takes two numbers and accesses no memory of this process. A system call changes
    // rax, rcx and r11, and all three are declared as outputs.
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

/// `out = scale * a b`, or `out += scale * a b`. Rows of `out` are `stride` apart.
///
/// # Safety
/// [`available`] returned true. The `a.rows` x `b.columns` elements at `out` are valid for writes and overlap neither `a`
/// nor `b`. With [`Write::Add`] they are also initialised. The inner dimension is not zero.
pub unsafe fn multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    let (left, right) = (Factor { matrix: a, right: false }, Factor { matrix: b.t(), right: true });
    // All panels of the smaller factor are packed at once; they fit into the second-level cache. The larger factor is packed
    // group by group.
    let (large, small) = if left.panels() < right.panels() { (right, left) } else { (left, right) };
    PACKED.with_borrow_mut(|packed| {
        for depth in chunks(a.columns) {
            let lines = depth.len().div_ceil(DEPTH) * LINES;
            let wanted = lines * (small.panels() + GROUP);
            if packed.len() < wanted {
                // SAFETY: the caller guarantees that `available` returned true, so the processor has AVX-512.
                packed.resize(wanted, unsafe { zero() });
            }
            let (one, all) = packed[..wanted].split_at_mut(lines * GROUP);
            // SAFETY: the processor has AVX-512, as above.
            unsafe { small.pack(0..small.panels(), &depth, all) };
            let add = write == Write::Add || depth.start > 0;
            for first in (0..large.panels()).step_by(GROUP) {
                let panels = first..large.panels().min(first + GROUP);
                let one = &mut one[..lines * panels.len()];
                // SAFETY: the processor has AVX-512, as above.
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
                    // SAFETY: the target is the part of the caller's destination that starts at the panels' first row and
                    // column. `rows` and `columns` are limited so that it ends inside the destination, which the caller
                    // guarantees to be valid. If `depth.start > 0`, an earlier chunk has initialised it.
                    unsafe { target.write(scale, left, columns.1, add) };
                }
            }
        }
    });
}

/// Splits the inner dimension `k` into equal pieces of at most [`CHUNK`].
fn chunks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let size = k.div_ceil(k.div_ceil(CHUNK)).next_multiple_of(DEPTH);
    (0..k).step_by(size).map(move |from| from..k.min(from + size))
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
    /// [`available`] returned true. The target is valid for writes, and for reads if `add` is set.
    unsafe fn write(self, scale: f32, left: &[__m512i], right: &[__m512i], add: bool) {
        let plain = scale.to_bits() == 1f32.to_bits();
        let direct = if plain && self.rows == SIDE { self.columns / SIDE } else { 0 };
        let (whole, rest) = right.split_at(direct * left.len());
        if direct > 0 {
            // SAFETY: the caller guarantees the unit and the target. The target has `SIDE` rows, and these panels fill its
            // first `direct * SIDE` columns, so every access is inside the target.
            unsafe { passes(left, whole, self.out, self.stride, add) };
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
            unsafe { passes(left, right, whole.as_mut_ptr(), SIDE, plain && add) };
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

/// Data that [`passes`] reads while it runs. The first 64 bytes are the tile configuration as `ldtilecfg` expects it: eight
/// registers of 16 rows with 64 bytes.
#[repr(C, align(64))]
struct Frame {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
    /// Number of tiles of a panel along the inner dimension, and the size of a panel in bytes.
    steps: usize,
    panel: usize,
    add: usize,
}

/// Multiplies a panel of the left factor with some panels of the right factor. Each product is `SIDE` by `SIDE`. The small
/// products of parts are summed first.
///
/// # Safety
/// [`available`] returned true. At `out` there are `SIDE` rows, `stride` apart, of `SIDE` elements for each panel of the
/// right factor. They are valid for writes, and for reads if `add` is set.
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
    /// The four products of two left and two right tiles.
    macro_rules! multiply {
        () => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
        };
    }
    /// Prefetches a row of the next destination.
    macro_rules! near {
        () => {
            "prefetchw [{next}]\nprefetchw [{next} + 64]\nadd {next}, {stride}"
        };
    }
    // SAFETY: Destination: tmm0 to tmm3 are loaded from and stored to rows 0 to 15 and 16 to 31, in the first and the second
    // 64 bytes of a row. The block then moves on by 128 bytes, once for each panel of the right factor. The caller
    // guarantees exactly this memory.
    // Panels: each of the `steps` iterations of the inner loop reads the next `LINES` lines of both panels, six tiles of 16
    // lines. The assertions above prove that `steps * LINES` lines are one whole panel. Then `a` is reset to the start of the
    // left panel, and `b` already points to the next right panel.
    // Prefetching is harmless for any address. The tile registers are configured at the start and released at the end, and
    // no other code uses them. Every other register that changes is declared as an output.
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
            // Prefetches a quarter of the next destination.
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

/// A factor of a product with its inner dimension along the columns: `a`, or `b` transposed.
#[derive(Clone, Copy)]
struct Factor<'a> {
    matrix: Matrix<'a>,
    right: bool,
}

impl Factor<'_> {
    fn panels(self) -> usize {
        self.matrix.rows.div_ceil(SIDE)
    }

    /// Packs the rows of `panels` and the columns `depth` for [`passes`].
    ///
    /// A 32-bit number of a tile holds the parts of two elements that are 16 apart in the inner dimension, the same two in
    /// both factors. A line of a left tile is a row of the factor, and a line of a right tile is a column. Elements beyond
    /// the matrix are zero.
    #[target_feature(enable = "avx512f")]
    fn pack(self, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
        let m = self.matrix;
        let along = m.column_stride == 1;
        let steps = depth.len().div_ceil(DEPTH);
        for number in 0..steps * panels.len() {
            // In the order of the matrix in memory.
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

    /// At most 16 rows and columns in their order in memory, followed by zeros.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn block(self, rows: &Range<usize>, columns: &Range<usize>) -> [__m512; 16] {
        let mut block = [_mm512_setzero_ps(); 16];
        for (number, line) in block.iter_mut().enumerate() {
            *line = self.line(rows, columns, number);
        }
        block
    }

    /// One of at most 16 rows or columns, whichever is contiguous in memory, followed by zeros. All zeros if `number` is
    /// beyond the last one.
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

/// These values, at most 16, followed by zeros.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(values: &[f32]) -> __m512 {
    let mask = if values.len() < 16 { (1 << values.len()) - 1 } else { u16::MAX };
    // SAFETY: the mask selects the first `values.len()` elements at most, so the load reads only inside the slice.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// High, middle and low parts of two times 16 elements. The parts of `first` are in the low halves of the numbers.
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

/// Joins the upper halves of the elements: those of `low` become the low halves, those of `high` the high halves. A part
/// below 1e-38 may have bits in its lower half; they are removed, because they would change its neighbour.
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

/// Transposes a block of 16 by 16 elements.
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
