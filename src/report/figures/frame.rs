//! The frame of a panel: its place on the canvas, its scales, and the parts that all panels share.

use crate::analysis::curve::{Point, Spread};
use crate::analysis::{Run, Study, Sweep};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::scene::{Align, Colour, MARGIN, Scene, Text, WIDTH, palette};

/// With more facets, the panels would be too small to read.
pub const MOST_FACETS: usize = 12;
/// Half width of the smoother for values that are measured at every step, as a share of all steps.
pub const HALF_WIDTH: f64 = 0.05;
/// The x of the first panel, px. The numbers of its axis stand left of it.
pub const LEFT: f64 = 66.0;
/// Space between panels that share one y axis, px.
pub const GUTTER: f64 = 26.0;

/// Panels of equal width side by side, up to the right margin.
pub struct PanelRow {
    left: f64,
    gap: f64,
    pub width: f64,
}

impl PanelRow {
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
    sweep.runs.iter().map(Run::end).max().unwrap_or(0).max(study.steps).max(1)
}

/// The place of a panel in px, and its scales.
pub struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Frame {
    /// A panel at left, top, right, bottom with the x axis 0 to `end` and the y axis `y`.
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

    /// Draws a curve, clipped to the frame; returns whether it leaves the frame at the top.
    pub fn curve(&self, scene: &mut Scene, points: &[(f64, f64)], width: f64, colour: Colour) -> bool {
        for piece in axis::clip(points, (self.top, self.bottom)) {
            scene.line(&piece, width, colour);
        }
        points.iter().any(|point| point.1 < self.top)
    }

    /// As [`Frame::curve`], but dashed.
    pub fn dashed(&self, scene: &mut Scene, points: &[(f64, f64)], width: f64, colour: Colour) {
        for piece in axis::clip(points, (self.top, self.bottom)) {
            scene.dashed(&piece, width, colour);
        }
    }

    /// Draws the band between the lowest and the highest value over seeds.
    pub fn band(&self, scene: &mut Scene, spread: &[Spread], colour: Colour) {
        let edge = |point: &Spread, y: f64| (self.x.at(point.x), self.y.at(y).clamp(self.top, self.bottom));
        let over = spread.iter().map(|point| edge(point, point.high));
        let under = spread.iter().rev().map(|point| edge(point, point.low));
        scene.area(over.chain(under).collect(), colour);
    }

    /// Draws about `count` horizontal grid lines within `range`, with numbers on the left if `named`.
    pub fn grid_lines(&self, scene: &mut Scene, range: (f64, f64), count: usize, named: bool) {
        self.grid_lines_except(scene, range, count, named, None);
    }

    /// As [`Frame::grid_lines`], without the numbers that would touch a label at the value `taken`.
    pub fn grid_lines_except(
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
            scene.line(&[(self.left, y), (self.right, y)], 1.0, palette::GRID);
            if named && taken.is_none_or(|taken| (self.y.at(taken) - y).abs() > LINE) {
                scene.text(Text::new(self.left - 6.0, y + 4.0, axis::tick_text(value, digits)).align(Align::Right));
            }
        }
    }

    /// Draws the x axis of optimizer steps at the height `base`, up to `end`.
    pub fn steps(&self, scene: &mut Scene, end: u64, base: f64) {
        scene.line(&[(self.left, base), (self.right, base)], 1.0, palette::AXIS);
        let most = match self.right - self.left {
            width if width < 150.0 => 2,
            width if width < 240.0 => 3,
            _ => 5,
        };
        for step in axis::step_ticks(end, most) {
            let x = self.x.at(step as f64);
            scene.line(&[(x, base), (x, base + 4.0)], 1.0, palette::AXIS);
            let label = Text::new(x, base + 17.0, step.to_string());
            let (label, half) = (label.clone().align(Align::Middle), label.width() / 2.0);
            let x = x.clamp(self.left + half - 4.0, (self.right - half).max(self.left + half - 4.0));
            scene.text(Text { x, ..label });
        }
    }
}
