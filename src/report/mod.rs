//! Pictures and words about a sweep: figures, summary, page, and the live view of the terminal.
//!
//! [`draw`] gives files as data; writing them is left to the caller. Ranking and curves are drawn for every sweep,
//! also where nothing has finished; other figures where they say something, else the page says why they are missing. Equal sweeps give equal bytes.

mod axis;
mod columns;
pub mod compare;
mod curves;
mod explore;
mod font;
mod frame;
mod gradients;
mod grid;
mod heatmap;
mod labels;
mod page;
mod parameter;
mod probes;
mod provenance;
mod range_test;
mod ranking;
mod render;
mod scene;
mod schedule;
mod slices;
mod summary;
pub mod terminal;
mod timeline;
mod words;

pub use self::explore::{flatten as configuration, name as trial_name};
pub use self::provenance::{Provenance, Sources};
pub use self::range_test::draw_range_test;
pub use self::schedule::{RateCurve, draw_schedules};
pub use self::words::{clock, count};

use rayon::prelude::*;

use self::probes::ProbedWords;
use self::scene::Scene;
use crate::analysis::findings::{self, Finding, Next};
use crate::analysis::probes::Probed;
use crate::analysis::{Study, Sweep};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure, and what its renderer said.
    #[error("cannot draw figure `{0}`: {1}")]
    Draw(&'static str, String),
    #[error("cannot write the page: {0}")]
    Page(#[from] minijinja::Error),
    #[error("cannot write the data of the page: {0}")]
    Data(#[from] serde_json::Error),
}

/// The figures that a report may hold.
const FIGURES: [&str; 8] = ["ranking", "curves", "plateaus", "grid", "heatmap", "slices", "gradients", "probes"];

/// Findings that are read at once; the others follow on demand.
const FIRST_FINDINGS: usize = 7;

/// The files of `report/`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Names within the folder, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Report {
    /// Names of the figures that this report does not hold. One that an earlier report drew is out of date; see [`is_ours`].
    pub fn left_out(&self) -> impl Iterator<Item = String> {
        let names = FIGURES.iter().flat_map(|name| ["png", "svg"].map(|kind| format!("{name}.{kind}")));
        names.filter(|name| !self.files.iter().any(|(known, _)| known == name))
    }
}

/// Whether a file is a figure that [`draw`] made, by its metadata (PNG) or its root element (SVG).
pub fn is_ours(bytes: &[u8]) -> bool {
    render::is_ours(bytes)
}

/// Draws everything about `sweep` that its trials so far allow, and what probes of them have said. `provenance` stands
/// below every figure, in the pictures' metadata, and at the end of page and summary.
pub fn draw(sweep: &Sweep, probed: &[Probed], provenance: &Provenance) -> Result<Report, ReportError> {
    let study = Study::of(sweep);
    let said = Said::of(sweep, &study, probed);
    let Figures { scenes, left_out } = Figures::of(sweep, &study, probed, provenance);
    let source = format!("{}: {}", sweep.name, provenance.parts().join(", "));
    let draw = |scene: Scene| Drawn::of(scene, &source);
    let figures = scenes.into_par_iter().map(draw).collect::<Result<Vec<_>, _>>()?;
    let page = page::page(sweep, &study, &said, &figures, &left_out, provenance)?;
    let mut files = vec![
        ("summary.md".to_owned(), summary::summary(sweep, &study, &said, provenance).into_bytes()),
        ("index.html".to_owned(), page.into_bytes()),
    ];
    for Drawn { scene, svg, png } in figures {
        files.push((format!("{}.png", scene.name), png));
        files.push((format!("{}.svg", scene.name), svg.into_bytes()));
    }
    Ok(Report { files })
}

/// A figure in every form.
struct Drawn {
    scene: Scene,
    svg: String,
    png: Vec<u8>,
}

impl Drawn {
    fn of(scene: Scene, source: &str) -> Result<Self, ReportError> {
        let svg = render::svg(&scene)?;
        let png = render::png(&scene, &svg, source)?;
        Ok(Self { scene, svg, png })
    }
}

/// What a sweep comes to, in words.
struct Said {
    findings: Vec<Finding>,
    /// Of less weight.
    more: Vec<Finding>,
    next: Option<Next>,
    probed: Vec<ProbedWords>,
}

impl Said {
    fn of(sweep: &Sweep, study: &Study, probed: &[Probed]) -> Self {
        let mut findings = findings::findings(sweep, study);
        let more = findings.split_off(findings.len().min(FIRST_FINDINGS));
        Self { findings, more, next: findings::next(sweep, study), probed: probes::words(sweep, probed) }
    }
}

/// What is drawn of a sweep.
struct Figures {
    /// In the order of the page.
    scenes: Vec<Scene>,
    /// Figures that would say nothing, each with the reason.
    left_out: Vec<String>,
}

impl Figures {
    fn of(sweep: &Sweep, study: &Study, probed: &[Probed], provenance: &Provenance) -> Self {
        let (mut scenes, mut left_out) =
            (vec![ranking::ranking(sweep, study), curves::curves(sweep, study)], Vec::new());
        let others = [timeline::timeline, grid::grid, heatmap::heatmap, slices::slices, gradients::gradients];
        for figure in others {
            match figure(sweep, study) {
                Ok(scene) => scenes.push(scene),
                Err(reason) => left_out.push(reason),
            }
        }
        scenes.extend(probes::probes(sweep, probed));
        for scene in &mut scenes {
            scene.footer(&[provenance.parts(), vec![words::seeds(sweep)]].concat());
        }
        Self { scenes, left_out }
    }
}

#[cfg(test)]
mod tests;
