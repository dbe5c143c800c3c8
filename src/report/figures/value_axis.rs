//! The values of the configurations of a search as an axis, and the marks of configurations on it.

use super::frame::Frame;
use crate::analysis::Study;
use crate::analysis::search::{End, Search, Tried};
use crate::report::canvas::scene::{Colour, Mark, Scene, palette};
use crate::report::format;
use crate::trial::{DrawnBy, Metric};

/// The range of the values, from the best one to where most of them lie.
pub struct ValueAxis {
    pub metric: Metric,
    /// Lower and upper end.
    pub range: (f64, f64),
    /// Configurations beyond the worse end.
    pub beyond: usize,
}

impl ValueAxis {
    pub fn of(search: &Search<'_>, study: &Study) -> Self {
        let metric = search.metric;
        let values = search.over().filter_map(|tried| search.value(tried));
        let mut costs: Vec<f64> = values.map(|value| metric.cost(value)).filter(|cost| cost.is_finite()).collect();
        costs.sort_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (costs.first(), costs.last()) else {
            return Self { metric, range: (0.0, 1.0), beyond: 0 };
        };
        let most = costs.get(costs.len() * 3 / 4).copied().unwrap_or(high);
        let worst = high.min(low + 3.0 * (most - low).max(study.delta));
        let span = (worst - low).max(2.0 * study.delta);
        let (from, to) = (low - 0.1 * span, worst + 0.06 * span);
        let beyond = costs.iter().filter(|cost| **cost > to).count();
        let (a, b) = (metric.cost(from), metric.cost(to));
        Self { metric, range: (a.min(b), a.max(b)), beyond }
    }

    pub fn title(&self) -> String {
        format!("best {}", self.metric.title())
    }

    /// `lower is better`.
    pub fn direction(&self) -> &'static str {
        if self.metric.is_cost() { "lower is better" } else { "higher is better" }
    }

    /// The height of a value in the frame; at the worse edge if it lies beyond, or is infinite.
    pub fn at(&self, frame: &Frame, value: f64) -> f64 {
        let y = frame.y.at(value);
        if y.is_finite() { y.clamp(frame.top, frame.bottom) } else { self.worse_edge(frame) }
    }

    pub fn is_beyond(&self, value: f64) -> bool {
        !(self.range.0..=self.range.1).contains(&value)
    }

    fn worse_edge(&self, frame: &Frame) -> f64 {
        if self.metric.is_cost() { frame.top } else { frame.bottom }
    }

    /// Draws a configuration at `x`: a disc in the colour of its sampler, hollow if it was stopped, a triangle at the edge if
    /// it lies beyond the axis.
    pub fn mark(&self, scene: &mut Scene, frame: &Frame, tried: &Tried<'_>, x: f64, value: f64) {
        let colour = colour(tried.draw.by);
        if self.is_beyond(value) {
            let edge = self.worse_edge(frame);
            // The triangle points out of the frame.
            let inward = if self.metric.is_cost() { 1.0 } else { -1.0 };
            scene.area(
                vec![(x - 4.0, edge + inward * 9.0), (x + 4.0, edge + inward * 9.0), (x, edge + inward * 2.0)],
                colour,
            );
        } else if tried.end == End::Stopped {
            scene.ring((x, frame.y.at(value)), 3.6, colour);
        } else {
            scene.disc((x, frame.y.at(value)), 3.8, colour);
        }
    }

    /// The mark of the best configuration.
    pub fn mark_best(scene: &mut Scene, (x, y): (f64, f64)) {
        scene.diamond((x, y), 8.0, palette::BACKGROUND);
        scene.diamond((x, y), 6.4, palette::EVAL);
    }

    /// A note on the configurations that triangles stand for.
    pub fn note(&self) -> String {
        let side = if self.metric.is_cost() { "above" } else { "below" };
        if self.beyond == 0 { String::new() } else { format!("triangle: {side} the scale ({})", self.beyond) }
    }
}

/// The colour of a configuration, by how it was drawn.
fn colour(by: DrawnBy) -> Colour {
    match by {
        DrawnBy::Include => palette::TEXT,
        DrawnBy::Random | DrawnBy::Sobol => palette::CONTEXT.alpha(0.55),
        DrawnBy::Tpe => palette::TRAIN.alpha(0.85),
    }
}

/// A note on the configurations that a figure over the keys cannot show. Empty if there are none.
pub fn outside_note(search: &Search<'_>) -> String {
    let count = search.outside().count();
    let best = search.best().filter(|best| best.draw.point.is_none());
    let best = best.map_or_else(String::new, |best| format!(", the best of all (#{}) among them", best.draw.number));
    match count {
        0 => String::new(),
        _ => format!("not shown: {} outside the ranges{best}", format::count(count, "included configuration")),
    }
}

/// The legend of the marks that occur among the configurations that a figure `shows`.
pub fn marks_legend(search: &Search<'_>, shows: impl Fn(&Tried<'_>) -> bool) -> Vec<(Mark, &'static str)> {
    let any = |fits: &dyn Fn(&Tried<'_>) -> bool| search.over().any(|tried| shows(tried) && fits(tried));
    let by = |by: DrawnBy| any(&|tried| tried.draw.by == by);
    let ended = |end: End| any(&|tried| tried.end == end);
    let best = search.best().is_some_and(&shows);
    let entries = [
        (by(DrawnBy::Random), Mark::Disc(colour(DrawnBy::Random)), "drawn at random"),
        (by(DrawnBy::Sobol), Mark::Disc(colour(DrawnBy::Sobol)), "drawn by sobol"),
        (by(DrawnBy::Tpe), Mark::Disc(colour(DrawnBy::Tpe)), "drawn by tpe"),
        (by(DrawnBy::Include), Mark::Disc(colour(DrawnBy::Include)), "included"),
        (ended(End::Stopped), Mark::Ring(palette::CONTEXT), "stopped early"),
        (ended(End::Failed), Mark::Cross, "failed"),
        (best, Mark::Diamond(palette::EVAL), "the best"),
    ];
    entries.into_iter().filter_map(|(is_drawn, mark, name)| is_drawn.then_some((mark, name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic;
    use crate::report::canvas::render::svg;
    use crate::report::figures::{contour::contour, parallel::parallel, scatter::scatter};

    #[test]
    fn what_lies_outside_the_ranges_is_noted() {
        let sweep = synthetic::search_with_the_best_outside();
        let study = Study::of(&sweep);
        let search = Search::of(&sweep, &study).unwrap();
        assert_eq!(
            outside_note(&search),
            "not shown: 1 included configuration outside the ranges, the best of all (#0) among them"
        );
        let names = |shows: fn(&Tried<'_>) -> bool| marks_legend(&search, shows).into_iter().map(|(_, name)| name);
        assert!(names(|_| true).any(|name| name == "the best") && names(|_| true).any(|name| name == "included"));
        assert!(names(|tried| tried.draw.point.is_some()).all(|name| name != "the best" && name != "included"));
        for figure in [contour, parallel, scatter] {
            let svg = svg(&figure(&sweep, &study).unwrap()).unwrap();
            assert!(svg.contains("the best of all (#0)") && !svg.contains("NaN"), "{svg}");
        }
        let inside = synthetic::search("s", 40, 60);
        assert_eq!(outside_note(&Search::of(&inside, &Study::of(&inside)).unwrap()), "");
    }

    #[test]
    fn the_worse_edge_depends_on_the_metric() {
        let check = |metric: Metric, direction: &str, side: &str| {
            let axis = ValueAxis { metric, range: (0.0, 1.0), beyond: 1 };
            assert_eq!(axis.direction(), direction);
            assert!(axis.note().contains(side), "{}", axis.note());
        };
        for metric in [Metric::EvalLoss, Metric::Mse, Metric::Mae] {
            check(metric, "lower is better", "above the scale");
        }
        for metric in [Metric::Accuracy, Metric::R2] {
            check(metric, "higher is better", "below the scale");
        }
    }
}
