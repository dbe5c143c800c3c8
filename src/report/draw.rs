//! Draws a whole report: computes what to show, renders every figure, and returns the files.

use rayon::prelude::*;

use super::conclusions::Conclusions;
use super::figures::{self, FIGURES, Figures, RenderedFigure};
use super::winner::{ReadDetails, Winner};
use super::{Provenance, ReportError, page, summary, suspects};
use crate::analysis::probes::Probed;
use crate::analysis::{Study, Sweep};
use crate::trial::printable;

/// The files of `report/`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// File names within the folder, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Report {
    /// Whether this report holds the table of suspect labels.
    pub fn has_suspect_labels(&self) -> bool {
        self.files.iter().any(|(name, _)| name == suspects::FILE_NAME)
    }

    /// File names of the figures that this report does not hold. A file of that name from an earlier report is out of
    /// date, if [`is_own_figure`](super::is_own_figure) says that it is a figure of a report.
    pub fn missing_figures(&self) -> impl Iterator<Item = String> {
        let names = FIGURES.iter().flat_map(|name| ["png", "svg"].map(|kind| format!("{name}.{kind}")));
        names.filter(|name| !self.files.iter().any(|(known, _)| known == name))
    }
}

/// Draws everything that the trials of `sweep` allow so far, and the results of its probes. `provenance` stands below
/// every figure, in the metadata of the pictures, and at the end of page and summary. `read` gets the details of the
/// winner, which are too large to hold for every trial.
pub fn draw(
    sweep: &Sweep,
    probed: &[Probed],
    provenance: &Provenance,
    read: ReadDetails<'_>,
) -> Result<Report, ReportError> {
    let study = Study::of(sweep);
    let winner = Winner::of(sweep, &study, read);
    let winner = winner.as_ref();
    let conclusions = Conclusions::of(sweep, &study, probed, &provenance.inputs);
    let Figures { scenes, left_out } = figures::figures(sweep, &study, probed, winner, provenance);
    let source = format!("{}: {}", sweep.name, provenance.parts().join(", "));
    let render = |scene| RenderedFigure::of(scene, &source);
    let figures = scenes.into_par_iter().map(render).collect::<Result<Vec<_>, _>>()?;
    let page = page::page(sweep, &study, &conclusions, &figures, &left_out, winner, provenance)?;
    // People read it on a terminal, and it holds labels and the ends of logs.
    let summary = summary::summary(sweep, &study, &conclusions, winner, provenance);
    let mut files = vec![
        ("summary.md".to_owned(), printable(&summary).into_owned().into_bytes()),
        ("index.html".to_owned(), page.into_bytes()),
    ];
    if let Some(winner) = winner.filter(|_| conclusions.suspect_labels) {
        files.push((suspects::FILE_NAME.to_owned(), suspects::table(winner)?));
    }
    for RenderedFigure { scene, svg, png } in figures {
        files.push((format!("{}.png", scene.name), png));
        files.push((format!("{}.svg", scene.name), svg.into_bytes()));
    }
    Ok(Report { files })
}
