//! Matrix products over slices, behind checked views: the bf16 tile unit where the machine has one and the product is
//! large (`tiles`), else the `gemm` crate's kernels (AVX-512 where the machine has it). Which of them depends on the
//! dimensions and the machine alone, and both sum in a fixed order.

use gemm::Parallelism;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

/// A matrix that somebody else owns: element (i, j) lies at `i * row_stride + j * column_stride`.
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

    /// Row-major with rows `row_stride` apart: a block of columns of a wider matrix.
    ///
    /// # Panics
    /// If the last element lies outside `data`.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(extent(rows, columns, row_stride) <= data.len(), "matrix reaches beyond its data");
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transposed matrix, without moving anything.
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

/// Whether a product replaces what is in its destination or adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// `out = scale * a b`, or `out += scale * a b`; rows of `out` lie `stride` apart. Runs on the calling thread alone.
///
/// # Panics
/// If the shapes do not fit, or `out` is too small.
pub fn product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], stride: usize, write: Write) {
    assert!(extent(a.rows, b.columns, stride) <= out.len(), "product reaches beyond its destination");
    // SAFETY: the assertion above holds every element of the destination inside `out`, which is initialised, and
    // borrowed exclusively.
    unsafe { multiply(scale, a, b, out.as_mut_ptr(), stride, write) }
}

/// `a b`, row-major without gaps, in memory that nobody has filled with zeros before.
///
/// # Panics
/// If the shapes do not fit.
pub fn fresh_product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let n = a.rows * b.columns;
    if a.columns == 0 {
        return vec![0.0; n];
    }
    let mut out = Vec::with_capacity(n);
    // SAFETY: the vector has room for the `a.rows` x `b.columns` elements of the destination and nobody else knows it.
    // With `Replace` and an inner dimension they are written, all of them, and never read; so the length may follow.
    unsafe {
        multiply(1.0, a, b, out.as_mut_ptr(), b.columns, Write::Replace);
        out.set_len(n);
    }
    out
}

/// # Safety
/// The `a.rows` x `b.columns` elements at `out`, rows `stride` apart, are valid for writes and overlap neither `a` nor
/// `b`; with [`Write::Add`] they are initialised too.
unsafe fn multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "inner dimensions of a product differ");
    if m == 0 || n == 0 {
        return;
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(m, n, k) && tiles::available() {
        // SAFETY: the unit is there, the caller vouches for `out`, and the inner dimension is not zero if it pays.
        return unsafe { tiles::multiply(scale, a, b, out, stride, write) };
    }
    // SAFETY: `Matrix::strided` holds every index that `gemm` computes from these dimensions and strides inside `a` and
    // `b`; the caller vouches for `out`. f32 is one of the element types that `gemm` knows.
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

/// Elements from the first to the last of a row-major matrix.
fn extent(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns }
}

#[cfg(test)]
mod tests;
