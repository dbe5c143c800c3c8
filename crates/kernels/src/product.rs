//! Matrix products over slices, behind checked views.
//!
//! Factors are multiplied as they are, or rounded to bf16 first ([`Precision`]); sums are f32. Large f32 products use the bf16
//! tile unit (`tiles`) if the machine has one, as six products of parts. Products of rounded factors use that unit or the dot
//! products of AVX-512 (`bf16`). All others use the kernels of the `gemm` crate, with AVX-512 where available. The choice
//! depends only on the dimensions and the machine, and all sum in a fixed order.

use std::fmt;

use gemm::Parallelism;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod bf16;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod panels;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

/// How exactly the factors of a product are multiplied. Sums are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    F32,
    /// The factors of a product that is worth it are rounded to bf16, to the nearest and to the even one of two.
    Bf16,
}

/// What multiplies bf16 factors on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16Unit {
    /// The tile unit of AMX.
    Amx,
    /// The dot products of AVX-512.
    Avx512,
    /// f32 instructions with rounded factors: the same numbers up to the order of sums, but not faster than f32.
    Emulated,
}

impl Bf16Unit {
    /// The fastest one of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            if bf16::tiles_available() {
                return Self::Amx;
            }
            if bf16::dots_available() {
                return Self::Avx512;
            }
        }
        Self::Emulated
    }
}

impl fmt::Display for Bf16Unit {
    /// The feature of the processor, as Linux names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amx => "amx_bf16",
            Self::Avx512 => "avx512_bf16",
            Self::Emulated => "emulated",
        })
    }
}

/// A borrowed matrix. Element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major without gaps.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Row-major with rows `row_stride` apart, for example a block of columns of a wider matrix.
    ///
    /// # Panics
    /// If the last element is outside `data`.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(extent(rows, columns, row_stride) <= data.len(), "matrix reaches beyond its data");
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    /// Elements from one row to the next.
    pub fn row_stride(self) -> usize {
        self.row_stride
    }

    /// The transposed matrix. No element is moved.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether a product replaces the content of its destination or adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// `out = scale * a b`, or `out += scale * a b`, in f32. Rows of `out` are `stride` apart. Runs on the calling thread only.
///
/// # Panics
/// If the shapes do not match, or if `out` is too small.
pub fn product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], stride: usize, write: Write) {
    Precision::F32.product(scale, a, b, out, stride, write);
}

/// `a b` in f32, row-major without gaps.
///
/// # Panics
/// If the shapes do not match.
pub fn fresh_product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    Precision::F32.fresh_product(a, b)
}

/// The right factor of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    Matrix(Matrix<'a>),
    Packed(&'a Packed),
}

impl<'a> From<Matrix<'a>> for Right<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a> From<&'a Packed> for Right<'a> {
    fn from(packed: &'a Packed) -> Self {
        Self::Packed(packed)
    }
}

impl Right<'_> {
    /// Rows and columns.
    fn shape(self) -> (usize, usize) {
        match self {
            Self::Matrix(matrix) => (matrix.rows, matrix.columns),
            Self::Packed(packed) => (packed.rows, packed.columns),
        }
    }
}

/// A right factor, rounded to bf16 and packed for the unit of this machine. It serves many products.
#[derive(Debug)]
pub struct Packed {
    rows: usize,
    columns: usize,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    lines: Vec<std::arch::x86_64::__m512i>,
    /// For emulation: the rounded elements, row-major.
    elements: Vec<f32>,
}

impl Packed {
    #[must_use]
    pub fn new(b: Matrix<'_>) -> Self {
        let (rows, columns) = (b.rows, b.columns);
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if bf16::dots_available() {
            // SAFETY: `dots_available` returned true, so the processor has what packing needs. Both units read the same panels.
            let lines = unsafe { panels::pack_right::<bf16::Dots>(b) };
            return Self { rows, columns, lines, elements: Vec::new() };
        }
        Self {
            rows,
            columns,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            lines: Vec::new(),
            elements: rounded(b),
        }
    }
}

impl Precision {
    /// `out = scale * a b`, or `out += scale * a b`. Rows of `out` are `stride` apart. Runs on the calling thread only.
    ///
    /// # Panics
    /// If the shapes do not match, or if `out` is too small.
    pub fn product<'b>(
        self,
        scale: f32,
        a: Matrix<'_>,
        b: impl Into<Right<'b>>,
        out: &mut [f32],
        stride: usize,
        write: Write,
    ) {
        let b = b.into();
        assert!(extent(a.rows, b.shape().1, stride) <= out.len(), "product reaches beyond its destination");
        // SAFETY: the assertion above proves that every element of the destination is inside `out`. `out` is initialised, and
        // the exclusive borrow means that it overlaps neither `a` nor `b`.
        unsafe { multiply(self, scale, a, b, out.as_mut_ptr(), stride, write) }
    }

    /// `a b`, row-major without gaps. The memory of the result is not zeroed first, which saves a pass over it.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn fresh_product<'b>(self, a: Matrix<'_>, b: impl Into<Right<'b>>) -> Vec<f32> {
        let b = b.into();
        let columns = b.shape().1;
        let n = a.rows * columns;
        if a.columns == 0 {
            return vec![0.0; n];
        }
        let mut out = Vec::with_capacity(n);
        // SAFETY: the vector has capacity for the `a.rows` x `columns` elements of the destination, and nothing else refers
        // to its memory. With `Replace` and a non-zero inner dimension `multiply` writes all elements and reads none of them,
        // so all `n` elements are initialised when the length is set.
        unsafe {
            multiply(self, 1.0, a, b, out.as_mut_ptr(), columns, Write::Replace);
            out.set_len(n);
        }
        out
    }

    /// Whether a right factor is large enough to be packed for many products, which then all round their factors.
    pub(super) fn packs(self, b: Matrix<'_>) -> bool {
        self == Self::Bf16 && b.rows * b.columns >= 1 << 14
    }

    /// Whether the factors of a product of these dimensions are rounded to bf16. Smaller ones are faster in f32.
    fn rounds(self, m: usize, n: usize, k: usize) -> bool {
        self == Self::Bf16 && k > 0 && m * n * k >= 1 << 14
    }
}

/// # Safety
/// The `a.rows` x `b.columns` elements at `out`, rows `stride` apart, are valid for writes and overlap neither `a` nor
/// `b`. With [`Write::Add`] they are also initialised.
unsafe fn multiply(
    precision: Precision,
    scale: f32,
    a: Matrix<'_>,
    b: Right<'_>,
    out: *mut f32,
    stride: usize,
    write: Write,
) {
    let (rows, columns) = b.shape();
    assert_eq!(a.columns, rows, "inner dimensions of a product differ");
    if a.rows == 0 || columns == 0 {
        return;
    }
    match b {
        Right::Matrix(b) if !precision.rounds(a.rows, columns, rows) => {
            // SAFETY: the caller guarantees the destination.
            unsafe { multiply_exactly(scale, a, b, out, stride, write) }
        }
        // SAFETY: the caller guarantees the destination.
        b => unsafe { multiply_rounded(Bf16Unit::of_this_machine(), scale, a, b, out, stride, write) },
    }
}

/// # Safety
/// As for [`multiply`].
unsafe fn multiply_exactly(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(m, n, k) && tiles::available() {
        // SAFETY: `available` returned true, the caller guarantees the destination, and `pays` implies a non-zero inner
        // dimension.
        unsafe { panels::multiply::<tiles::Parts>(scale, a, (panels::Right::Matrix(b), n), out, stride, write) };
        return;
    }
    // SAFETY: `Matrix::strided` checked that every index which `gemm` computes from these dimensions and strides is inside
    // `a` and `b`. The caller guarantees the destination. f32 is an element type that `gemm` supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The product of the factors rounded to bf16.
///
/// # Safety
/// As for [`multiply`]. The inner dimension is not zero, and this machine has `unit`.
unsafe fn multiply_rounded(
    unit: Bf16Unit,
    scale: f32,
    a: Matrix<'_>,
    b: Right<'_>,
    out: *mut f32,
    stride: usize,
    write: Write,
) {
    let (rows, columns) = b.shape();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if unit != Bf16Unit::Emulated {
        let b = match b {
            Right::Matrix(b) => panels::Right::Matrix(b),
            Right::Packed(packed) => panels::Right::Packed(&packed.lines),
        };
        // SAFETY: the caller guarantees the unit, the destination and the inner dimension.
        return unsafe {
            if unit == Bf16Unit::Amx {
                panels::multiply::<bf16::Tiles>(scale, a, (b, columns), out, stride, write);
            } else {
                panels::multiply::<bf16::Dots>(scale, a, (b, columns), out, stride, write);
            }
        };
    }
    let own;
    let right = match b {
        Right::Matrix(b) => {
            own = rounded(b);
            &own
        }
        Right::Packed(packed) => &packed.elements,
    };
    let left = rounded(a);
    let (a, b) = (Matrix::new(&left, a.rows, a.columns), Matrix::new(right, rows, columns));
    // SAFETY: the caller guarantees the destination.
    unsafe { multiply_exactly(scale, a, b, out, stride, write) }
}

/// The elements of a matrix rounded to bf16, row-major without gaps.
fn rounded(m: Matrix<'_>) -> Vec<f32> {
    let element = |i: usize, j: usize| m.data[i * m.row_stride + j * m.column_stride];
    (0..m.rows).flat_map(|i| (0..m.columns).map(move |j| round_to_bf16(element(i, j)))).collect()
}

/// The nearest bf16, and the even one of two. Numbers below 1.2e-38 become zero, as in the instructions of processors.
#[must_use]
pub fn round_to_bf16(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x.abs() < f32::MIN_POSITIVE {
        return 0f32.copysign(x);
    }
    let bits = x.to_bits();
    // A carry out of the mantissa raises the exponent, up to infinity.
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// Number of elements from the first to the last element of a row-major matrix.
fn extent(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns }
}

#[cfg(test)]
mod tests;
