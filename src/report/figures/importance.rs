//! Figure `importance`: how much each key matters for being among the best configurations of a search.

use super::key_axis::KeyAxis;
use crate::analysis::search::Search;
use crate::analysis::{Study, Sweep};
use crate::report::canvas::axis::{self, Scale};
use crate::report::canvas::font;
use crate::report::canvas::scene::{Align, MARGIN, Scene, Text, WIDTH, palette};
use crate::report::captions;

const ROW: f64 = 30.0;
const BAR: f64 = 15.0;

/// The figure, or why there is none.
pub fn importance(sweep: &Sweep, study: &Study) -> Result<Scene, String> {
    let search = Search::of(sweep, study).ok_or("Importance: the sweep has no search.")?;
    let found = search.importances().map_err(|why| format!("Importance: {why}."))?;
    let axes = KeyAxis::all(search.history);
    let mut rows: Vec<_> = axes.iter().zip(found).collect();
    rows.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
    let mut scene =
        Scene::new("importance", "Importance of the keys: where the best tenth differs from the whole space");
    let top = scene.heading(&[
        captions::sweep_size(sweep, study),
        "PED-ANOVA: how far the values of the best tenth are from evenly spread, as a share of all keys".into(),
        "line: 90 % of the samples of a bootstrap over configurations".into(),
    ]) + 14.0;
    let names = rows.iter().map(|(axis, _)| match &axis.condition {
        Some(condition) => format!("{}, {condition}", axis.title.replace(" (log)", "")),
        None => axis.title.replace(" (log)", ""),
    });
    let names: Vec<String> = names.map(|name| font::elide(&name, 12.0, false, 300.0)).collect();
    let widest = names.iter().map(|name| font::width(name, 12.0, false)).fold(0.0, f64::max);
    let left = MARGIN + widest + 10.0;
    let longest = rows.iter().map(|(_, found)| found.high.max(found.value)).fold(0.1, f64::max);
    let x = Scale::new((0.0, longest), (left, WIDTH - MARGIN - 50.0));
    let bottom = top + ROW * rows.len() as f64;
    let (ticks, digits) = axis::ticks(0.0, longest, 6);
    for tick in ticks {
        scene.line(&[(x.at(tick), top), (x.at(tick), bottom)], 1.0, palette::GRID);
        scene.text(Text::new(x.at(tick), bottom + 16.0, axis::tick_text(tick, digits)).align(Align::Middle));
    }
    for (index, ((_, found), name)) in rows.iter().zip(&names).enumerate() {
        let middle = top + ROW * (index as f64 + 0.5);
        scene.text(Text::new(left - 8.0, middle + 4.0, name).align(Align::Right).colour(palette::TEXT));
        scene.rect([left, middle - BAR / 2.0, x.at(found.value), middle + BAR / 2.0], palette::TRAIN.alpha(0.75));
        let (low, high) = (x.at(found.low), x.at(found.high));
        scene.line(&[(low, middle), (high, middle)], 1.6, palette::TEXT);
        for end in [low, high] {
            scene.line(&[(end, middle - 4.0), (end, middle + 4.0)], 1.6, palette::TEXT);
        }
        let text = Text::new(high.max(x.at(found.value)) + 8.0, middle + 4.0, format!("{:.2}", found.value));
        scene.text(text.bold().colour(palette::TRAIN));
    }
    scene.line(&[(left, top), (left, bottom)], 1.0, palette::AXIS);
    scene.text(
        Text::new(f64::midpoint(left, WIDTH - MARGIN), bottom + 34.0, "importance; the sum is 1").align(Align::Middle),
    );
    scene.height = scene
        .caption(bottom + 56.0, &["an importance says where a key had to lie, not what a change of it gains".into()]);
    Ok(scene)
}
