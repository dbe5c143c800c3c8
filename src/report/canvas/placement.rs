//! Places labels beside curves. No label covers another one; a label covers a curve only if no other place is free.

use super::scene::{Scene, Text};

type Box = [f64; 4];

/// The labels and curves of one panel so far.
pub struct Placement {
    /// Left, top, right, bottom of the panel. Labels stay within.
    within: Box,
    taken: Vec<Box>,
    /// Points along the curves that should stay visible.
    curves: Vec<(f64, f64)>,
}

impl Placement {
    pub fn new(within: Box) -> Self {
        Self { within, taken: Vec::new(), curves: Vec::new() }
    }

    /// Adds a curve that labels avoid if possible.
    pub fn avoid(&mut self, curve: &[(f64, f64)]) {
        for pair in curve.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let pieces = ((x1 - x0).hypot(y1 - y0) / 3.0).ceil().clamp(1.0, 400.0);
            let at = |i: u32| (x0 + (x1 - x0) * f64::from(i) / pieces, y0 + (y1 - y0) * f64::from(i) / pieces);
            if pieces.is_finite() {
                self.curves.extend((0..=pieces as u32).map(at));
            }
        }
    }

    /// Adds a box that labels never cover.
    pub fn reserve(&mut self, taken: Box) {
        self.taken.push(taken);
    }

    /// Draws `text` at the first of `places` that covers no label and the fewest points of curves. If every place covers a
    /// curve, an optional text is left out.
    pub fn put(&mut self, scene: &mut Scene, text: &Text, places: &[(f64, f64)], optional: bool) {
        let moved = |&(x, y): &(f64, f64)| Text { x, y, ..text.clone() };
        let free = places.iter().map(moved).filter(|text| self.is_free(text.bounds()));
        let Some((covered, text)) = free.map(|text| (self.covered(text.bounds()), text)).min_by_key(|(n, _)| *n) else {
            return;
        };
        if covered == 0 || !optional {
            self.taken.push(text.bounds());
            scene.boxed_text(text);
        }
    }

    /// The first of `places` where a box with the offsets left, top, right, bottom covers the fewest points of curves.
    pub fn freest(&self, places: &[(f64, f64)], [left, top, right, bottom]: Box) -> (f64, f64) {
        let covered = |&&(x, y): &&(f64, f64)| self.covered([x + left, y + top, x + right, y + bottom]);
        places.iter().min_by_key(covered).copied().unwrap_or_default()
    }

    fn is_free(&self, [left, top, right, bottom]: Box) -> bool {
        let [a, b, c, d] = self.within;
        let inside = left >= a && top >= b && right <= c && bottom <= d;
        inside
            && self
                .taken
                .iter()
                .all(|t| right + 5.0 < t[0] || left - 5.0 > t[2] || bottom + 3.0 < t[1] || top - 3.0 > t[3])
    }

    fn covered(&self, [left, top, right, bottom]: Box) -> usize {
        let inside = |(x, y): &&(f64, f64)| *x > left - 3.0 && *x < right + 3.0 && *y > top - 2.0 && *y < bottom + 2.0;
        self.curves.iter().filter(inside).count()
    }
}
