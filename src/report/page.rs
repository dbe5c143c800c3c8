//! `index.html`: the report as one file that needs no network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, context};

use super::scene::Scene;
use super::{ReportError, font, summary, words};
use crate::analysis::findings::{findings, next};
use crate::analysis::{Study, Sweep};

/// The page around `figures` and their SVG.
pub fn page(sweep: &Sweep, study: &Study, figures: &[(Scene, String)]) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let rows = study.configs.iter().enumerate().map(|(index, config)| summary::row(index, sweep, study, config));
    let next = next(sweep, study);
    let figures = figures.iter().map(|(scene, svg)| context! { title => scene.title.as_str(), svg => svg.as_str() });
    let page = environment.get_template("page.html")?.render(context! {
        name => sweep.name.as_str(),
        regular => STANDARD.encode(font::REGULAR),
        bold => STANDARD.encode(font::BOLD),
        findings => findings(sweep, study).into_iter().map(|finding| finding.text).collect::<Vec<_>>(),
        next_reason => next.as_ref().map(|next| &next.reason),
        next_line => next.as_ref().map(|next| &next.line),
        figures => figures.collect::<Vec<_>>(),
        header => summary::header(sweep),
        rows => rows.collect::<Vec<_>>(),
        has_best => study.best().is_some(),
        footer => format!(
            "{} · {} · plateau {}", words::size(sweep, study), words::delta(study), env!("CARGO_PKG_VERSION")
        ),
    })?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;

    #[test]
    fn names_are_text_and_nothing_is_fetched() {
        let axes = [synthetic::axis("lr", &["1e-5"]), synthetic::axis("data.train", &["<script>alert(1)</script>"])];
        let sweep = synthetic::sweep("a <b> & c", &axes, 40);
        let page = page(&sweep, &Study::of(&sweep), &[]).unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; c · plateau</title>"));
        assert!(page.contains(&format!("base64,{}", STANDARD.encode(font::BOLD))), "the typeface is there, unescaped");
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }
}
