//! The drawing surface: plain data in CSS pixels ([`scene`]), its renderers ([`render`]), and what layout needs
//! (text widths, scales, free places for labels). Nothing here knows a statistic.

pub mod axis;
pub mod font;
pub mod placement;
pub mod render;
pub mod scene;
