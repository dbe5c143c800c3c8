//! The figures, a file each. A figure is a pure function from a sweep to a [`Scene`](super::canvas::scene::Scene), or to
//! the reason why there is nothing to draw.

mod all;
mod architectures;
mod calibration;
mod columns;
pub mod comparison;
mod confusion;
mod curves;
mod frame;
mod gradients;
mod grid;
mod heatmap;
pub mod parameter;
pub mod probes;
pub mod range_test;
mod ranking;
pub mod schedule;
pub mod slices;
mod timeline;

pub use self::all::{FIGURES, Figures, RenderedFigure, figures};
