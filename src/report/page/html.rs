//! Fills the template of the page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, context};

use super::data::Data;
use crate::analysis::finding::{Finding, FindingKind};
use crate::analysis::{Study, Sweep};
use crate::report::canvas::font;
use crate::report::conclusions::Conclusions;
use crate::report::figures::RenderedFigure;
use crate::report::figures::probes::ProbedText;
use crate::report::test_result::TestResult;
use crate::report::winner::Winner;
use crate::report::{Provenance, ReportError, captions, format, summary};
use crate::trial::{Status, printable};

/// Seconds after which the browser reloads the page of an unfinished sweep.
const REFRESH: u32 = 5;

/// The page with the SVG of all `figures`. It reloads itself while a process runs the sweep and trials are left.
pub fn page(
    sweep: &Sweep,
    study: &Study,
    conclusions: &Conclusions,
    figures: &[RenderedFigure],
    left_out: &[String],
    winner: Option<&Winner>,
    provenance: &Provenance,
) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let rows = study.configs.iter().enumerate().map(|(index, config)| summary::row(index, sweep, study, config));
    let open = sweep.runs.iter().any(|run| matches!(run.status, Status::Pending | Status::Running));
    let linked = |finding: &Finding| {
        let figure = figure_of(finding.kind, figures);
        context! { text => finding.text.as_str(), figure => figure, short => figure.map(short) }
    };
    let findings: Vec<_> = conclusions.findings.iter().map(linked).collect();
    let more: Vec<_> = conclusions.more.iter().map(linked).collect();
    let figures = figures.iter().map(|RenderedFigure { scene, svg, .. }| {
        context! { name => scene.name, short => short(scene.name), title => scene.title.as_str(), svg => svg.as_str() }
    });
    let probed = conclusions.probed.iter().map(|ProbedText { title, lines, conclusion }| {
        context! { title => title.as_str(), lines => lines.clone(), conclusion => conclusion.as_str() }
    });
    let winner = winner.map(|winner| {
        let mistakes = winner.details.mistakes.iter().map(|mistake| {
            context! {
                confidence => format!("{:.3}", mistake.confidence),
                label => winner.label(mistake.label),
                predicted => winner.label(mistake.predicted),
                text => mistake.text.as_str(),
                pair => mistake.pair.as_deref(),
            }
        });
        context! {
            name => winner.name.as_str(),
            step => winner.details.step,
            note => winner.note.as_deref(),
            classes => winner.class_rows(),
            mistakes => mistakes.collect::<Vec<_>>(),
        }
    });
    let test = TestResult::of(sweep, &provenance.test)
        .map(|result| context! { sentences => result.sentences.clone(), classes => result.class_rows() });
    let trials = sweep.runs.iter().zip(&study.shapes).map(|(run, shape)| {
        context! { id => run.trial.id.as_str(), name => format::trial_name(run), label => shape.label() }
    });
    let page = environment.get_template("page.html")?.render(context! {
        name => sweep.name.as_str(),
        regular => STANDARD.encode(font::REGULAR),
        bold => STANDARD.encode(font::BOLD),
        findings => findings,
        more => more,
        next_reason => conclusions.next.as_ref().map(|next| &next.reason),
        next_line => conclusions.next.as_ref().map(|next| &next.line),
        figures => figures.collect::<Vec<_>>(),
        left_out => left_out.to_vec(),
        winner => winner,
        class_header => Winner::HEADER,
        test => test,
        data_lines => provenance.data.clone(),
        probed => probed.collect::<Vec<_>>(),
        header => summary::header(sweep, study),
        rows => rows.collect::<Vec<_>>(),
        has_best => study.best().is_some(),
        refresh => (open && provenance.is_running).then_some(REFRESH),
        css => include_str!("page.css"),
        script => include_str!("page.js"),
        data => Data::of(sweep, study, provenance).json()?,
        trials => trials.collect::<Vec<_>>(),
        footer => captions::footer(sweep, study, provenance).join(" · "),
    })?;
    // Labels, texts and file names may hold characters that talk to a terminal.
    Ok(printable(&page).into_owned())
}

/// The figure that shows a finding, if it was drawn.
fn figure_of(finding: FindingKind, figures: &[RenderedFigure]) -> Option<&str> {
    let shows: &[&str] = match finding {
        FindingKind::Onsets => &["plateaus", "curves"],
        FindingKind::Rise | FindingKind::Shapes => &["curves"],
        FindingKind::Failures => &["grid", "curves"],
        FindingKind::Edge => &["heatmap", "slices"],
        FindingKind::Search => &["search"],
        FindingKind::Importance => &["importance", "parallel"],
        FindingKind::Progress | FindingKind::Best | FindingKind::Noise => &["ranking"],
        FindingKind::ArchCut
        | FindingKind::ArchBlind
        | FindingKind::ArchTooWeak
        | FindingKind::ArchBetter
        | FindingKind::OrderIdle
        | FindingKind::NotArchitecture => &["architectures", "ranking"],
        _ => &["slices", "ranking"],
    };
    let drawn = |name: &&str| figures.iter().map(|figure| figure.scene.name).find(|drawn| drawn == name);
    shows.iter().find_map(drawn)
}

/// The name of a figure in the list of contents.
fn short(name: &str) -> &str {
    match name {
        "grid" => "whole grid",
        "heatmap" => "heat maps",
        "parallel" => "parallel coordinates",
        "slices" => "one parameter at a time",
        "gradients" => "gradient norm",
        "confusion" => "confusion matrix",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::arms::Inputs;
    use crate::analysis::synthetic;
    use crate::report::canvas::scene::Scene;

    #[test]
    fn names_are_text_and_nothing_is_fetched() {
        let axes = [synthetic::axis("lr", &["1e-5"]), synthetic::axis("data.train", &["<script>alert(1)</script>"])];
        let sweep = synthetic::sweep("a <b> & c", &axes, 40);
        let study = Study::of(&sweep);
        let page = page(
            &sweep,
            &study,
            &Conclusions::of(&sweep, &study, &[], &Inputs::new()),
            &[],
            &[],
            None,
            &Provenance::default(),
        )
        .unwrap();
        assert!(page.contains("<title>a &lt;b&gt; &amp; c · plateau</title>"));
        assert!(page.contains(&format!("base64,{}", STANDARD.encode(font::BOLD))), "the typeface is there, unescaped");
        let foreign = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("<script>alert") && !foreign.contains("http://") && !foreign.contains("https://"));
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
    }

    #[test]
    fn findings_lead_to_their_figures() {
        let drawn = |name| RenderedFigure { scene: Scene::new(name, name), svg: String::new(), png: Vec::new() };
        let figures = ["ranking", "curves", "slices"].map(drawn);
        let of = |finding| figure_of(finding, &figures);
        assert_eq!(
            [FindingKind::Best, FindingKind::Onsets, FindingKind::Edge, FindingKind::AxisEffect].map(of),
            ["ranking", "curves", "slices", "slices"].map(Some)
        );
        assert_eq!(figure_of(FindingKind::Best, &[]), None);
        let sweep = synthetic::default_sweep();
        let study = Study::of(&sweep);
        let page = page(
            &sweep,
            &study,
            &Conclusions::of(&sweep, &study, &[], &Inputs::new()),
            &figures,
            &[],
            None,
            &Provenance::default(),
        )
        .unwrap();
        assert!(page.contains(r##" <a class="see" href="#ranking">ranking</a></p>"##), "{page}");
    }

    #[test]
    fn the_page_reloads_while_the_sweep_runs_until_every_trial_has_ended() {
        let reloads_if = |is_running: bool, sweep: &Sweep| {
            let study = Study::of(sweep);
            let provenance = Provenance { is_running, ..Provenance::default() };
            let page =
                page(sweep, &study, &Conclusions::of(sweep, &study, &[], &Inputs::new()), &[], &[], None, &provenance)
                    .unwrap();
            page.contains(r#"<meta http-equiv="refresh" content="5">"#)
        };
        let reloads = |sweep: &Sweep| reloads_if(true, sweep);
        let sweep = synthetic::default_sweep();
        assert!(!reloads_if(false, &synthetic::unfinished(sweep.clone(), 15)));
        assert!(!reloads(&sweep) && !reloads(&synthetic::all_failed(sweep.clone())));
        assert!(reloads(&synthetic::unfinished(sweep.clone(), 0)) && reloads(&synthetic::unfinished(sweep, 15)));
    }
}
