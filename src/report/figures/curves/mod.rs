//! Figure `curves`: a panel for each value of the first axis. The best configuration stands in front, the others
//! behind it in grey. `figure` lays out the panels, `panel` draws one, `annotations` writes into it, `facet` holds what
//! they share.

mod annotations;
mod facet;
mod figure;
mod panel;

pub use self::figure::curves;
