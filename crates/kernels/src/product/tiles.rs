//! The bf16 tile unit of recent Intel processors (AMX), and products of f32 matrices on it with the accuracy of f32.
//!
//! An f32 has 24 significant bits and a bf16 has eight, so x = high + middle + low with three bf16 parts is exact. Six of the
//! nine products of the parts are computed. The other three are below 2^-26 of the result, less than the rounding error of
//! f32 (Henry, Tang, Heinecke: "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
//! computations", 2019). Sums are f32. The unit multiplies 16 times as fast as f32 vector instructions, so six products of
//! parts take less than half the time of one f32 product.
//!
//! Inputs that are infinite or above 5e33 give NaN; inputs below 1e-38 count as zero.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, _mm512_castps_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_srli_epi32, _mm512_sub_ps, _mm512_ternarylogic_epi32,
};
use std::ops::Range;
use std::sync::LazyLock;

use super::panels::{DEPTH, Factor, LINES_OF_HALVES, SIDE, Unit, transpose};

/// Lines for the parts of `SIDE` by `DEPTH` elements: two tiles for each part, the high parts first.
const LINES: usize = 3 * 2 * 16;

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

/// Products of f32 matrices as six products of parts.
pub struct Parts;

impl Unit for Parts {
    const LINES: usize = LINES;
    /// The result does not depend on this number if the scale is one, because sums are f32 both in the unit and in memory.
    const CHUNK: usize = 4 * DEPTH;

    unsafe fn pack(factor: Factor<'_>, panels: Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
        // SAFETY: the caller guarantees that `available` returned true, so the processor has AVX-512.
        unsafe { pack(factor, &panels, depth, out) };
    }

    unsafe fn passes(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
        // SAFETY: the caller guarantees the unit and the destination.
        unsafe { passes_of_parts(left, right, out, stride, add) };
    }
}

/// Data that the passes read while they run. The first 64 bytes are the tile configuration as `ldtilecfg` expects it: eight
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

impl Frame {
    /// For a left panel that has `lines` lines for each tile along the inner dimension.
    fn new(left: &[__m512i], lines: usize, add: bool) -> Self {
        Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
            steps: left.len() / lines,
            panel: size_of_val(left),
            add: add.into(),
        }
    }
}

/// Multiplies a panel of the left factor with some panels of the right factor. Each product is `SIDE` by `SIDE`. The small
/// products of parts are summed first.
///
/// # Safety
/// [`available`] returned true. At `out` there are `SIDE` rows, `stride` apart, of `SIDE` elements for each panel of the
/// right factor. They are valid for writes, and for reads if `add` is set.
unsafe fn passes_of_parts(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
    assert!(!left.is_empty() && left.len().is_multiple_of(LINES), "no whole panel of a product");
    assert!(!right.is_empty() && right.len().is_multiple_of(left.len()), "panels of a product differ");
    let frame = Frame::new(left, LINES, add);
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

/// Multiplies panels of bf16 elements (see `bf16`), as [`Unit::passes`] does.
///
/// # Safety
/// [`available`] returned true. At `out` there are `SIDE` rows, `stride` apart, of `SIDE` elements for each panel of the
/// right factor. They are valid for writes, and for reads if `add` is set.
pub(super) unsafe fn passes_of_halves(left: &[__m512i], right: &[__m512i], out: *mut f32, stride: usize, add: bool) {
    assert!(!left.is_empty() && left.len().is_multiple_of(LINES_OF_HALVES), "no whole panel of a product");
    assert!(!right.is_empty() && right.len().is_multiple_of(left.len()), "panels of a product differ");
    let frame = Frame::new(left, LINES_OF_HALVES, add);
    /// Prefetches a row of the next destination.
    macro_rules! near {
        () => {
            "prefetchw [{next}]\nprefetchw [{next} + 64]\nadd {next}, {stride}"
        };
    }
    // SAFETY: Destination and registers: as in `passes_of_parts`.
    // Panels: each of the `steps` iterations of the inner loop reads the next `LINES_OF_HALVES` lines of both panels, two tiles of 16
    // lines. The assertions above prove that `steps * LINES_OF_HALVES` lines are one whole panel. Then `a` is reset to the start of the
    // left panel, and `b` already points to the next right panel.
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
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm6, [{b} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // Prefetches an eighth of the next destination.
            near!(),
            near!(),
            near!(),
            near!(),
            "add {a}, 2048",
            "add {b}, 2048",
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

/// See [`Unit::pack`]. A 32-bit number of a tile holds the parts of two elements that are 16 apart in the inner dimension, the
/// same two in both factors.
#[target_feature(enable = "avx512f")]
fn pack(factor: Factor<'_>, panels: &Range<usize>, depth: &Range<usize>, out: &mut [__m512i]) {
    factor.each_half(panels, depth, |tile, half, rows, columns| {
        let tiles = &mut out[tile * LINES..][..LINES];
        let middle = columns.end.min(columns.start + 16);
        let (near, far) = (columns.start..middle, middle..columns.end);
        let mut put = |line: usize, near: __m512, far: __m512| {
            for (number, part) in split(near, far).into_iter().enumerate() {
                tiles[32 * number + 16 * half + line] = part;
            }
        };
        if factor.is_transposed() {
            let (mut near, mut far) = (block(factor, &rows, &near), block(factor, &rows, &far));
            transpose(&mut near);
            transpose(&mut far);
            for (line, (near, far)) in near.into_iter().zip(far).enumerate() {
                put(line, near, far);
            }
        } else {
            for line in 0..16 {
                put(line, factor.line(&rows, &near, line), factor.line(&rows, &far, line));
            }
        }
    });
}

/// At most 16 rows and columns in their order in memory, followed by zeros.
#[target_feature(enable = "avx512f")]
#[inline]
fn block(factor: Factor<'_>, rows: &Range<usize>, columns: &Range<usize>) -> [__m512; 16] {
    let mut block = [_mm512_setzero_ps(); 16];
    for (number, line) in block.iter_mut().enumerate() {
        *line = factor.line(rows, columns, number);
    }
    block
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
