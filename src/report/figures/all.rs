//! The list of all figures of a report.

use super::{
    architectures, calibration, confusion, contour, curves, gradients, grid, heatmap, importance, parallel, probes,
    ranking, scatter, search, slices, timeline,
};
use crate::analysis::probes::Probed;
use crate::analysis::search::no_pairs;
use crate::analysis::{Study, Sweep};
use crate::report::canvas::render;
use crate::report::canvas::scene::Scene;
use crate::report::winner::Winner;
use crate::report::{Provenance, ReportError, captions};

/// The names of the figures that a report may hold.
pub const FIGURES: [&str; 15] = [
    "ranking",
    "architectures",
    "curves",
    "search",
    "importance",
    "parallel",
    "contour",
    "plateaus",
    "grid",
    "heatmap",
    "slices",
    "gradients",
    "confusion",
    "calibration",
    "probes",
];

/// Draws a figure, or says why there is none.
type Figure = fn(&Sweep, &Study) -> Result<Scene, String>;

/// The figures of one sweep.
pub struct Figures {
    /// In the order of the page.
    pub scenes: Vec<Scene>,
    /// For each figure that has nothing to show: the reason.
    pub left_out: Vec<String>,
}

/// Draws every figure that the sweep allows.
pub fn figures(
    sweep: &Sweep,
    study: &Study,
    probed: &[Probed],
    winner: Option<&Winner>,
    provenance: &Provenance,
) -> Figures {
    let (mut scenes, mut left_out) = (vec![ranking::ranking(sweep, study)], Vec::new());
    scenes.extend(architectures::architectures(sweep, study, &provenance.inputs));
    scenes.push(curves::curves(sweep, study));
    let of_search: [Figure; 4] = [search::search, importance::importance, parallel::parallel, contour::contour];
    let is_search = sweep.search.is_some();
    let slices = if is_search { scatter::scatter } else { slices::slices };
    let others: [Figure; 5] = [timeline::timeline, grid::grid, heatmap::heatmap, slices, gradients::gradients];
    let chosen = of_search.into_iter().filter(|_| is_search).chain(others);
    let drawn = chosen.map(|figure| figure(sweep, study));
    for figure in drawn.chain([confusion::confusion(winner), calibration::calibration(winner)]) {
        match figure {
            Ok(scene) => scenes.push(scene),
            Err(reason) => left_out.push(reason),
        }
    }
    left_out.extend(sweep.search.as_ref().map(|history| format!("{}.", no_pairs(history))));
    scenes.extend(probes::probes(sweep, probed));
    for scene in &mut scenes {
        scene.footer(&[provenance.parts(), vec![captions::seeds(sweep)]].concat());
    }
    Figures { scenes, left_out }
}

/// A figure in every form.
pub struct RenderedFigure {
    pub scene: Scene,
    pub svg: String,
    pub png: Vec<u8>,
}

impl RenderedFigure {
    /// Renders a scene; `source` goes into the metadata of the PNG.
    pub fn of(scene: Scene, source: &str) -> Result<Self, ReportError> {
        let svg = render::svg(&scene)?;
        let png = render::png(&scene, &svg, source)?;
        Ok(Self { scene, svg, png })
    }
}
