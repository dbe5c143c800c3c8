//! Pictures and words about a sweep: figures, summary, page, and the live view of the terminal.
//!
//! [`draw`] gives files as data; writing them is left to the caller. Every figure is drawn for every sweep, even for one
//! where nothing has finished, and then says why it is empty. Equal sweeps give equal bytes.

mod axis;
mod curves;
mod font;
mod labels;
mod ranking;
mod render;
mod scene;
mod words;

use crate::analysis::{Study, Sweep};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure, and what its renderer said.
    #[error("cannot draw figure `{0}`: {1}")]
    Draw(&'static str, String),
    #[error("cannot write the page: {0}")]
    Page(#[from] minijinja::Error),
    #[error("cannot write the table: {0}")]
    Table(#[from] csv::Error),
}

/// The files of `report/`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Names within the folder, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Draws everything about `sweep` that its trials so far allow.
pub fn draw(sweep: &Sweep) -> Result<Report, ReportError> {
    let study = Study::of(sweep);
    let scenes = [curves::curves(sweep, &study), ranking::ranking(sweep, &study)];
    let mut report = Report::default();
    for scene in &scenes {
        let svg = render::svg(scene)?;
        let png = render::png(scene, &svg, &sweep.name)?;
        report.files.push((format!("{}.png", scene.name), png));
        report.files.push((format!("{}.svg", scene.name), svg.into_bytes()));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;

    fn five() -> Sweep {
        let axis = synthetic::axis;
        let axes = [
            axis(
                "augmentation",
                &[
                    "none",
                    "{name: synonym, rate: 0.1}",
                    "[{name: synonym, rate: 0.1}, {name: random_deletion, rate: 0.05}]",
                ],
            ),
            axis("scheduler", &["linear", "{name: cosine_with_restarts, cycles: 3}"]),
            axis("model.dropout", &["0.1", "0.2"]),
            axis("batch_size", &["16", "32"]),
            axis("weight_decay", &["0", "0.01"]),
            axis("seed", &["1", "2"]),
        ];
        synthetic::sweep("five axes", &axes, 400)
    }

    /// Writes the pictures of synthetic sweeps into the folder that `PLATEAU_PICTURES` names, to be looked at.
    #[test]
    fn pictures() {
        let Some(folder) = std::env::var_os("PLATEAU_PICTURES") else { return };
        let axis = synthetic::axis;
        let sweeps = [
            ("default", synthetic::default_sweep()),
            ("large", synthetic::large_sweep()),
            ("failed", synthetic::all_failed(synthetic::default_sweep())),
            ("unfinished", synthetic::unfinished(synthetic::default_sweep(), 5)),
            ("one", synthetic::sweep("one", &[], 100)),
            ("five", five()),
            (
                "many",
                synthetic::sweep(
                    "many",
                    &[axis(
                        "model.dropout",
                        &[
                            "0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.35", "0.4", "0.45", "0.5", "0.55",
                            "0.6", "0.7",
                        ],
                    )],
                    80,
                ),
            ),
        ];
        for (name, sweep) in sweeps {
            let folder = std::path::Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, bytes) in draw(&sweep).unwrap().files {
                std::fs::write(folder.join(file), bytes).unwrap();
            }
        }
    }
}
