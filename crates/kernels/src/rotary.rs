//! Rotary position embeddings (Su et al., 2021, `RoFormer`): pairs of elements of queries and keys turn by an angle that is
//! proportional to the position, so that scores depend on distances.

use super::vector::simd;

/// The angles of all positions.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Half the elements of a head.
    half: usize,
    /// Cosine and sine for each position and pair.
    turns: Vec<(f32, f32)>,
}

impl Rotation {
    /// The rotation of heads of `size` elements for `positions` positions. Pair i of position p turns by
    /// `p * theta^(-2 i / size)`, computed in f32 as in transformers.
    pub fn new(size: usize, positions: usize, theta: f64) -> Self {
        let half = size / 2;
        let speed = |pair: usize| 1.0 / (theta as f32).powf((2 * pair) as f32 / size as f32);
        let speeds: Vec<f32> = (0..half).map(speed).collect();
        let turn = |position: usize, speed: f32| (position as f32 * speed).sin_cos();
        let turns = (0..positions).flat_map(|position| speeds.iter().map(move |&speed| turn(position, speed)));
        Self { half, turns: turns.map(|(sin, cos)| (cos, sin)).collect() }
    }

    /// Cosine and sine of each pair of elements for a position.
    pub fn at(&self, position: u32) -> &[(f32, f32)] {
        &self.turns[position as usize * self.half..][..self.half]
    }

    /// Turns the rows of `x`, which have `width` elements and these positions. Element i of a head belongs to element
    /// i + size / 2.
    pub fn forward(&self, x: &mut [f32], width: usize, positions: &[u32]) {
        self.apply(x, width, positions, 1.0);
    }

    /// Replaces the gradient of the turned rows by that of the rows: the inverse rotation.
    pub fn backward(&self, dy: &mut [f32], width: usize, positions: &[u32]) {
        self.apply(dy, width, positions, -1.0);
    }

    fn apply(&self, x: &mut [f32], width: usize, positions: &[u32], direction: f32) {
        simd(
            #[inline(always)]
            || {
                for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
                    let turns = self.at(position);
                    for head in row.chunks_exact_mut(2 * self.half) {
                        let (lower, upper) = head.split_at_mut(self.half);
                        for ((a, b), (cos, sin)) in lower.iter_mut().zip(upper).zip(turns) {
                            let sin = direction * sin;
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                }
            },
        );
    }
}
