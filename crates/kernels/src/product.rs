//! Matrix products over slices, behind checked views.
//!
//! Large products use the bf16 tile unit (`tiles`) if the machine has one. All others use the kernels of the `gemm` crate,
//! with AVX-512 where available. The choice depends only on the dimensions and the machine, and both sum in a fixed order.

use gemm::Parallelism;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;

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

/// `out = scale * a b`, or `out += scale * a b`. Rows of `out` are `stride` apart. Runs on the calling thread only.
///
/// # Panics
/// If the shapes do not match, or if `out` is too small.
pub fn product(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], stride: usize, write: Write) {
    assert!(extent(a.rows, b.columns, stride) <= out.len(), "product reaches beyond its destination");
    // SAFETY: the assertion above proves that every element of the destination is inside `out`. `out` is initialised, and
    // the exclusive borrow means that it overlaps neither `a` nor `b`.
    unsafe { multiply(scale, a, b, out.as_mut_ptr(), stride, write) }
}

/// `a b`, row-major without gaps. The memory of the result is not zeroed first, which saves a pass over it.
///
/// # Panics
/// If the shapes do not match.
pub fn fresh_product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let n = a.rows * b.columns;
    if a.columns == 0 {
        return vec![0.0; n];
    }
    let mut out = Vec::with_capacity(n);
    // SAFETY: the vector has capacity for the `a.rows` x `b.columns` elements of the destination, and nothing else refers
    // to its memory. With `Replace` and a non-zero inner dimension `multiply` writes all elements and reads none of them,
    // so all `n` elements are initialised when the length is set.
    unsafe {
        multiply(1.0, a, b, out.as_mut_ptr(), b.columns, Write::Replace);
        out.set_len(n);
    }
    out
}

/// # Safety
/// The `a.rows` x `b.columns` elements at `out`, rows `stride` apart, are valid for writes and overlap neither `a` nor
/// `b`. With [`Write::Add`] they are also initialised.
unsafe fn multiply(scale: f32, a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, write: Write) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "inner dimensions of a product differ");
    if m == 0 || n == 0 {
        return;
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::pays(m, n, k) && tiles::available() {
        // SAFETY: `available` returned true, the caller guarantees the destination, and `pays` implies a non-zero inner
        // dimension.
        return unsafe { tiles::multiply(scale, a, b, out, stride, write) };
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

/// Number of elements from the first to the last element of a row-major matrix.
fn extent(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns }
}

#[cfg(test)]
mod tests;
