//! Pictures and words about a sweep: figures, summary, page, and the live view of the terminal.
//!
//! [`draw`] gives files as data; writing them is left to the caller. Every figure is drawn for every sweep, even for one
//! where nothing has finished, and then says why it is empty. Equal sweeps give equal bytes.

mod axis;
mod curves;
mod font;
mod labels;
mod origin;
mod page;
mod range_test;
mod ranking;
mod render;
mod scene;
mod schedule;
mod summary;
pub mod terminal;
mod words;

pub use self::origin::Origin;
pub use self::range_test::draw_range_test;
pub use self::schedule::{RateCurve, draw_schedules};
pub use self::words::{clock, count};

use self::scene::Scene;
use crate::analysis::{Study, Sweep};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure, and what its renderer said.
    #[error("cannot draw figure `{0}`: {1}")]
    Draw(&'static str, String),
    #[error("cannot write the page: {0}")]
    Page(#[from] minijinja::Error),
}

/// The files of `report/`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Names within the folder, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Draws everything about `sweep` that its trials so far allow. `origin` stands below every figure, in the pictures'
/// metadata, and at the end of page and summary.
pub fn draw(sweep: &Sweep, origin: &Origin) -> Result<Report, ReportError> {
    let study = Study::of(sweep);
    let figures = scenes(sweep, &study, origin).into_iter();
    let figures = figures.map(|scene| render::svg(&scene).map(|svg| (scene, svg))).collect::<Result<Vec<_>, _>>()?;
    let page = page::page(sweep, &study, &figures, origin)?;
    let mut files = vec![
        ("summary.md".to_owned(), summary::summary(sweep, &study, origin).into_bytes()),
        ("index.html".to_owned(), page.into_bytes()),
    ];
    let source = format!("{}: {}", sweep.name, origin.parts().join(", "));
    for (scene, svg) in figures {
        files.push((format!("{}.png", scene.name), render::png(&scene, &svg, &source)?));
        files.push((format!("{}.svg", scene.name), svg.into_bytes()));
    }
    Ok(Report { files })
}

/// Every figure, in the order of the page.
fn scenes(sweep: &Sweep, study: &Study, origin: &Origin) -> [Scene; 2] {
    let mut scenes = [ranking::ranking(sweep, study), curves::curves(sweep, study)];
    for scene in &mut scenes {
        scene.footer(&[origin.parts(), vec![words::seeds(sweep)]].concat());
    }
    scenes
}

#[cfg(test)]
mod tests;
