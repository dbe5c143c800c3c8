//! The figures, a file each. A figure is a pure function from a sweep to a [`Scene`](super::canvas::scene::Scene), or to
//! the reason why there is nothing to draw.

mod all;
mod architectures;
mod calibration;
mod columns;
pub mod comparison;
mod confusion;
mod contour;
mod curves;
mod frame;
mod gradients;
mod grid;
mod heatmap;
mod importance;
pub mod key_axis;
mod parallel;
pub mod parameter;
pub mod probes;
pub mod range_test;
mod ranking;
mod scatter;
pub mod schedule;
mod search;
pub mod slices;
mod timeline;
mod value_axis;

pub use self::all::{FIGURES, Figures, RenderedFigure, figures};
