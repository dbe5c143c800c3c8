//! Pieces of a curve, of nearly equal length.

use super::curve::Point;
use super::thresholds as limit;

/// Number of blocks of so many points: about four points each, within the limits.
pub fn block_count(points: usize, most: usize) -> usize {
    (points / 4).clamp(limit::FEWEST_BLOCKS, most)
}

/// `values` in `count` pieces of nearly equal length.
pub fn blocks<T>(values: &[T], count: usize) -> impl Iterator<Item = &[T]> {
    let n = values.len();
    (0..count).map(move |i| &values[i * n / count..(i + 1) * n / count]).filter(|block| !block.is_empty())
}

/// Mean x and mean y of `count` blocks.
pub fn means(points: &[Point], count: usize) -> (Vec<f64>, Vec<f64>) {
    let centre = |block: &[Point]| {
        let n = block.len() as f64;
        (block.iter().map(|p| p.x).sum::<f64>() / n, block.iter().map(|p| p.y).sum::<f64>() / n)
    };
    blocks(points, count).map(centre).unzip()
}
