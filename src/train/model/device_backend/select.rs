//! Rows of a matrix by their indices, with backward passes that are fast on GPUs.
//!
//! candle's backward pass of `index_select` has one thread for each column, which adds all rows one after the other: some
//! milliseconds on a GPU for each of the four in a layer. Here the gradient of rows that are chosen at most once is a choice of rows
//! as well, and that of an embedding table is a matrix product.

use candle_core::backend::BackendStorage as _;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Device, Error, Layout, MetalStorage, Result, Shape, Storage, Tensor,
};

/// The index of a row of zeros, in all backends of candle.
pub(super) const ZEROS: u32 = u32::MAX;

/// A choice of rows in which no row occurs twice.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    rows: Tensor,
    /// The place of each row of the matrix in `rows`, or [`ZEROS`].
    places: Tensor,
}

impl Selection {
    /// `rows` of a matrix with `count` rows. [`ZEROS`] is a row of zeros.
    pub(super) fn new(rows: &[u32], count: usize, device: &Device) -> Result<Self> {
        let mut places = vec![ZEROS; count];
        for (&row, place) in rows.iter().zip(0..) {
            if row != ZEROS {
                places[row as usize] = place;
            }
        }
        Ok(Self { rows: Tensor::new(rows, device)?, places: Tensor::new(places, device)? })
    }

    /// The chosen rows of `x`.
    pub(super) fn of(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self.clone())
    }
}

impl CustomOp1 for Selection {
    fn name(&self) -> &'static str {
        "choice of rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.rows, x, layout)
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.rows, x, layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        on_metal(&self.rows, x, layout)
    }

    fn bwd(&self, _x: &Tensor, _rows: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.index_select(&self.places, 0).map(Some)
    }
}

/// The rows of an embedding table that tokens read, some of them several times.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    ids: Tensor,
    /// The rows that occur, each once.
    distinct: Tensor,
    /// The place of each row of the table in `distinct`, or [`ZEROS`].
    places: Tensor,
}

impl Lookup {
    /// `ids` are rows of a table with `count` rows.
    pub(super) fn new(ids: Vec<u32>, count: usize, device: &Device) -> Result<Self> {
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut places = vec![ZEROS; count];
        for (&row, place) in distinct.iter().zip(0..) {
            places[row as usize] = place;
        }
        let tensor = |values: Vec<u32>| Tensor::new(values, device);
        Ok(Self { ids: tensor(ids)?, distinct: tensor(distinct)?, places: tensor(places)? })
    }

    /// The rows of `table`.
    pub(super) fn of(&self, table: &Tensor) -> Result<Tensor> {
        table.contiguous()?.apply_op1(self.clone())
    }
}

impl CustomOp1 for Lookup {
    fn name(&self) -> &'static str {
        "rows of an embedding table"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        on_cpu(&self.ids, table, layout)
    }

    fn cuda_fwd(&self, table: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        on_cuda(&self.ids, table, layout)
    }

    fn metal_fwd(&self, table: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        on_metal(&self.ids, table, layout)
    }

    /// The gradients of the tokens of each distinct row are summed by a product with a matrix of ones and zeros.
    fn bwd(&self, _table: &Tensor, _rows: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let is_read = self.distinct.unsqueeze(1)?.broadcast_eq(&self.ids.unsqueeze(0)?)?;
        let sums = is_read.to_dtype(gradient.dtype())?.matmul(&gradient.contiguous()?)?;
        sums.index_select(&self.places, 0).map(Some)
    }
}

/// The shape of so many rows of a matrix.
fn shape(rows: &Tensor, layout: &Layout) -> Result<Shape> {
    Ok(Shape::from((rows.elem_count(), layout.shape().dims2()?.1)))
}

fn other_device() -> Error {
    Error::Msg("indices and values are not on one device".into())
}

fn on_cpu(rows: &Tensor, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let (ids, ids_layout) = rows.storage_and_layout();
    let Storage::Cpu(ids) = &*ids else { return Err(other_device()) };
    Ok((x.index_select(ids, layout, ids_layout, 0)?, shape(rows, layout)?))
}

fn on_cuda(rows: &Tensor, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (ids, ids_layout) = rows.storage_and_layout();
    let Storage::Cuda(ids) = &*ids else { return Err(other_device()) };
    Ok((x.index_select(ids, layout, ids_layout, 0)?, shape(rows, layout)?))
}

fn on_metal(rows: &Tensor, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
    let (ids, ids_layout) = rows.storage_and_layout();
    let Storage::Metal(ids) = &*ids else { return Err(other_device()) };
    Ok((x.index_select(ids, layout, ids_layout, 0)?, shape(rows, layout)?))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;

    fn matrix(rows: usize) -> Var {
        let values = Tensor::arange(0f32, (3 * rows) as f32, &Device::Cpu).unwrap();
        Var::from_tensor(&values.reshape((rows, 3)).unwrap()).unwrap()
    }

    /// The rows and the gradient of the matrix, where the gradient of element i of the rows is i + 1.
    fn rows_and_gradient(x: &Var, rows: &Tensor) -> [Vec<Vec<f32>>; 2] {
        let weights = Tensor::arange(1f32, (rows.elem_count() + 1) as f32, &Device::Cpu).unwrap();
        let sum = (rows * weights.reshape(rows.shape()).unwrap()).unwrap().sum_all().unwrap();
        let gradient = sum.backward().unwrap().remove(x).unwrap();
        [rows.to_vec2().unwrap(), gradient.to_dtype(DType::F32).unwrap().to_vec2().unwrap()]
    }

    #[test]
    fn chosen_rows_pass_their_gradient_back() {
        let x = matrix(4);
        let selection = Selection::new(&[2, ZEROS, 0], 4, &Device::Cpu).unwrap();
        let [rows, gradient] = rows_and_gradient(&x, &selection.of(&x).unwrap());
        assert_eq!(rows, [[6.0, 7.0, 8.0], [0.0; 3], [0.0, 1.0, 2.0]]);
        assert_eq!(gradient, [[7.0, 8.0, 9.0], [0.0; 3], [1.0, 2.0, 3.0], [0.0; 3]]);
    }

    #[test]
    fn a_row_that_is_read_twice_sums_its_gradients() {
        let table = matrix(4);
        let lookup = Lookup::new(vec![3, 1, 3], 4, &Device::Cpu).unwrap();
        let [rows, gradient] = rows_and_gradient(&table, &lookup.of(&table).unwrap());
        assert_eq!(rows, [[9.0, 10.0, 11.0], [3.0, 4.0, 5.0], [9.0, 10.0, 11.0]]);
        assert_eq!(gradient, [[0.0; 3], [4.0, 5.0, 6.0], [0.0; 3], [8.0, 10.0, 12.0]]);
    }
}
