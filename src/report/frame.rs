//! A panel of a figure: where it lies, how its numbers map, and what every panel has.

use super::axis::{self, Scale};
use super::scene::{Align, Ink, MARGIN, Scene, Text, WIDTH, ink};
use crate::analysis::curve::{Point, Spread};
use crate::analysis::{Study, Sweep};

/// Facets above this would be too small to read.
pub const MOST_FACETS: usize = 12;
/// The smoother's reach to each side over what is measured at every step, as a share of all steps.
pub const HALF_WIDTH: f64 = 0.05;
/// Left of the first panel: room for its numbers.
pub const LEFT: f64 = 66.0;
/// Between panels whose axes are named once.
pub const GUTTER: f64 = 26.0;

/// Panels of one width side by side, up to the right margin.
pub struct Across {
    left: f64,
    gap: f64,
    pub width: f64,
}

impl Across {
    pub fn new(left: f64, gap: f64, panels: usize) -> Self {
        let n = panels.max(1) as f64;
        Self { left, gap, width: (WIDTH - left - MARGIN - gap * (n - 1.0)) / n }
    }

    /// Left and right of the panel `index`.
    pub fn place(&self, index: usize) -> (f64, f64) {
        let left = self.left + (self.width + self.gap) * index as f64;
        (left, left + self.width)
    }
}

/// The last step that any curve may reach.
pub fn end(sweep: &Sweep, study: &Study) -> u64 {
    sweep.runs.iter().map(|run| run.measured().end()).max().unwrap_or(0).max(study.steps).max(1)
}

/// Where a panel lies, px, and how its numbers map.
pub struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Frame {
    /// A panel at left, top, right, bottom over the numbers 0 to `end` and `y`.
    pub fn new([left, top, right, bottom]: [f64; 4], end: u64, y: (f64, f64)) -> Self {
        let x = Scale::new((0.0, end as f64), (left, right));
        Self { left, right, top, bottom, x, y: Scale::new(y, (bottom, top)) }
    }

    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x.at(x), self.y.at(y))
    }

    pub fn place(&self, points: &[Point]) -> Vec<(f64, f64)> {
        points.iter().map(|point| self.at(point.x, point.y)).collect()
    }

    /// A curve, cut where it leaves the frame; says whether it left.
    pub fn curve(&self, scene: &mut Scene, points: &[(f64, f64)], width: f64, ink: Ink) -> bool {
        for piece in axis::clip(points, (self.top, self.bottom)) {
            scene.line(&piece, width, ink);
        }
        points.iter().any(|point| point.1 < self.top)
    }

    /// As [`Frame::curve`], in dashes.
    pub fn dashed(&self, scene: &mut Scene, points: &[(f64, f64)], width: f64, ink: Ink) {
        for piece in axis::clip(points, (self.top, self.bottom)) {
            scene.dashed(&piece, width, ink);
        }
    }

    /// Least to greatest over seeds.
    pub fn band(&self, scene: &mut Scene, spread: &[Spread], ink: Ink) {
        let edge = |point: &Spread, y: f64| (self.x.at(point.x), self.y.at(y).clamp(self.top, self.bottom));
        let over = spread.iter().map(|point| edge(point, point.high));
        let under = spread.iter().rev().map(|point| edge(point, point.low));
        scene.area(over.chain(under).collect(), ink);
    }

    /// About `count` grid lines between the numbers `low..high`, named on the left if `named`.
    pub fn levels(&self, scene: &mut Scene, range: (f64, f64), count: usize, named: bool) {
        self.levels_beside(scene, range, count, named, None);
    }

    /// As [`Frame::levels`]; numbers that would touch a name at the height of `taken` are left out.
    pub fn levels_beside(
        &self,
        scene: &mut Scene,
        (low, high): (f64, f64),
        count: usize,
        named: bool,
        taken: Option<f64>,
    ) {
        const LINE: f64 = 14.0;
        let (values, digits) = axis::ticks(low, high, count);
        for value in values {
            let y = self.y.at(value);
            scene.line(&[(self.left, y), (self.right, y)], 1.0, ink::GRID);
            if named && taken.is_none_or(|taken| (self.y.at(taken) - y).abs() > LINE) {
                scene.text(Text::new(self.left - 6.0, y + 4.0, axis::tick_text(value, digits)).align(Align::Right));
            }
        }
    }

    /// The axis of steps at the height `base`, up to `end`.
    pub fn steps(&self, scene: &mut Scene, end: u64, base: f64) {
        scene.line(&[(self.left, base), (self.right, base)], 1.0, ink::AXIS);
        let most = match self.right - self.left {
            width if width < 150.0 => 2,
            width if width < 240.0 => 3,
            _ => 5,
        };
        for step in axis::step_ticks(end, most) {
            let x = self.x.at(step as f64);
            scene.line(&[(x, base), (x, base + 4.0)], 1.0, ink::AXIS);
            let label = Text::new(x, base + 17.0, step.to_string());
            let (label, half) = (label.clone().align(Align::Middle), label.width() / 2.0);
            let x = x.clamp(self.left + half - 4.0, (self.right - half).max(self.left + half - 4.0));
            scene.text(Text { x, ..label });
        }
    }
}
