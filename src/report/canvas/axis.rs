//! Scales, ticks and clipping: from numbers to positions on the canvas.

use crate::trial::number_text;

/// A linear map from the numbers `low..high` to the positions `from..to`, px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// `low..high` onto `from..to`; an empty range is widened.
    pub fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to }
    }

    pub fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

/// Round numbers within `low..=high`, about `count` of them but at least two, and the number of decimals they need.
pub fn ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, usize) {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return (Vec::new(), 0);
    }
    let rough = span / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let ends = |step: f64| ((low / step - 1e-6).ceil() as i64, (high / step + 1e-6).floor() as i64);
    let steps = [10.0, 5.0, 2.0, 1.0, 0.5, 0.2].map(|m| m * power);
    let widest = steps.iter().rposition(|&step| step >= rough * 0.999).unwrap_or(0);
    // One number alone does not show a scale.
    let enough = |step: &&f64| ends(**step).1 > ends(**step).0;
    let step = *steps[widest..].iter().find(enough).unwrap_or(&steps[widest]);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ends(step);
    ((first..=last).map(|i| i as f64 * step).collect(), digits)
}

/// Whole-number ticks from 0 to `end`, at most `most` intervals. They include `end` if round numbers do.
pub fn step_ticks(end: u64, most: u64) -> Vec<u64> {
    let power = |exponent: u32| 10_u64.saturating_pow(exponent);
    let sizes = (0..12).flat_map(|exponent| [1, 2, 3, 5].map(|m| m * power(exponent)));
    let fits = |size: &u64| end / size <= most && *size <= end;
    let mut fitting = sizes.filter(fits);
    let Some(first) = fitting.next() else { return vec![0] };
    let even = std::iter::once(first).chain(fitting).find(|size| end.is_multiple_of(*size) && end / size >= 3);
    let size = even.unwrap_or(first);
    (0..=end / size).map(|i| i * size).collect()
}

/// Clips a polyline to the y range between `top` and `bottom`, px, and returns its pieces.
pub fn clip(points: &[(f64, f64)], (top, bottom): (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let flip = |piece: &[(f64, f64)]| piece.iter().map(|(x, y)| (*x, -y)).collect::<Vec<_>>();
    let below = |piece: Vec<(f64, f64)>| clip_top(&flip(&piece), -bottom);
    clip_top(points, top).into_iter().flat_map(below).map(|piece| flip(&piece)).collect()
}

/// Clips a polyline at `top`, px: smaller y are cut off at the exact crossing. Returns the pieces that remain. A non-finite
/// point ends a piece.
fn clip_top(points: &[(f64, f64)], top: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![Vec::new()];
    let mut before: Option<(f64, f64)> = None;
    for &(x, y) in points {
        let finite = x.is_finite() && y.is_finite();
        let crossing = |(bx, by): (f64, f64)| (bx + (x - bx) * (top - by) / (y - by), top);
        match before {
            Some(last) if finite && (last.1 < top) != (y < top) => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(crossing(last));
                }
                if y < top {
                    pieces.push(Vec::new());
                }
            }
            Some(_) if !finite => pieces.push(Vec::new()),
            _ => {}
        }
        if let (true, Some(piece)) = (finite && y >= top, pieces.last_mut()) {
            piece.push((x, y));
        }
        before = finite.then_some((x, y));
    }
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

/// A value of [`ticks`] with `digits` decimals; from a million on in scientific notation.
pub fn tick_text(value: f64, digits: usize) -> String {
    if value.abs() >= 1e6 { number_text(value) } else { format!("{value:.digits$}") }
}

/// Keeps at most two points for each px column of width 1: the lowest and the highest, in order of x. So every peak
/// stays visible.
pub fn reduce(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    let column = |point: &(f64, f64)| point.0.floor();
    for bin in points.chunk_by(|a, b| column(a).total_cmp(&column(b)).is_eq()) {
        if bin.len() < 3 || bin.iter().any(|point| !point.1.is_finite()) {
            kept.extend_from_slice(bin);
            continue;
        }
        let extreme = |best: fn(f64, f64) -> bool| {
            (0..bin.len()).reduce(|a, b| if best(bin[b].1, bin[a].1) { b } else { a }).unwrap_or(0)
        };
        let (low, high) = (extreme(|a, b| a < b), extreme(|a, b| a > b));
        kept.push(bin[low.min(high)]);
        if low != high {
            kept.push(bin[low.max(high)]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let (values, digits) = ticks(0.0, 0.82, 5);
        let written: Vec<String> = values.iter().map(|value| tick_text(*value, digits)).collect();
        assert_eq!(written, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!([tick_text(5e9, 0), tick_text(-2.5e6, 0)], ["5e9", "-2.5e6"]);
        assert_eq!(ticks(0.31, 0.36, 3).0, [0.32, 0.34, 0.36]);
        assert_eq!(ticks(0.51, 1.19, 3), ([3, 4, 5].map(|i| f64::from(i) * 0.2).to_vec(), 1), "at least two");
        assert_eq!(ticks(1.0, 1.0, 3), (vec![], 0));
        assert_eq!(ticks(f64::NAN, 1.0, 3), (vec![], 0));
        assert_eq!(step_ticks(1200, 5), [0, 300, 600, 900, 1200]);
        assert_eq!(step_ticks(100, 5), [0, 20, 40, 60, 80, 100]);
        assert_eq!(step_ticks(138, 5), [0, 30, 60, 90, 120]);
        assert_eq!(step_ticks(1, 5), [0, 1]);
        assert_eq!(step_ticks(0, 5), [0]);
    }

    #[test]
    fn curves_are_cut_where_they_leave_not_squeezed() {
        let up = [(0.0, 20.0), (10.0, 10.0), (20.0, -10.0), (30.0, 10.0)];
        assert_eq!(clip_top(&up, 0.0), [vec![(0.0, 20.0), (10.0, 10.0), (15.0, 0.0)], vec![(25.0, 0.0), (30.0, 10.0)]]);
        let broken = [(0.0, 5.0), (1.0, f64::NAN), (2.0, 5.0), (3.0, 6.0)];
        assert_eq!(clip_top(&broken, 0.0), [vec![(2.0, 5.0), (3.0, 6.0)]]);
        assert_eq!(clip(&[(0.0, -5.0), (10.0, 15.0)], (0.0, 10.0)), [vec![(2.5, 0.0), (7.5, 10.0)]]);
        assert_eq!(clip_top(&[(0.0, -3.0), (1.0, -4.0)], 0.0), Vec::<Vec<(f64, f64)>>::new());
    }

    #[test]
    fn reducing_keeps_every_peak() {
        let points: Vec<(f64, f64)> =
            (0..100).map(|i| (f64::from(i) / 20.0, if i == 47 { 9.0 } else { f64::from(i % 7) })).collect();
        let kept = reduce(&points);
        assert!(kept.len() <= 10 && kept.contains(&(47.0 / 20.0, 9.0)), "{kept:?}");
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
