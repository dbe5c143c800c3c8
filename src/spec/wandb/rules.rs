//! The other sections of a W&B file: the metric, early ends, the budget, and the flags of the command.

use super::super::kind::{number, whole};
use super::super::problem::{Place, Problem};
use super::super::yaml::Node;
use super::parameters::{map, plain};
use super::translate::{Form, Line, Method, Translator, entry};
use crate::trial::Metric;

/// Steps between two evaluations where the file gives none.
const EVAL_EVERY: u64 = 50;
/// Trials of a search without `run_cap`.
const TRIALS: u64 = 30;
/// W&B's `eta`.
const ETA: u64 = 3;
/// Parts of the names of metrics in W&B files. The first that occurs in a name decides.
const METRICS: &[(&str, Metric)] = &[
    ("f1", Metric::MacroF1),
    ("mcc", Metric::Mcc),
    ("matthews", Metric::Mcc),
    ("average_precision", Metric::AveragePrecision),
    ("auprc", Metric::AveragePrecision),
    ("auc", Metric::Auroc),
    ("auroc", Metric::Auroc),
    ("acc", Metric::Accuracy),
    ("loss", Metric::EvalLoss),
    ("perplexity", Metric::EvalLoss),
    ("ppl", Metric::EvalLoss),
    ("pearson", Metric::Pearson),
    ("spearman", Metric::Spearman),
    ("mse", Metric::Mse),
    ("mae", Metric::Mae),
    ("r2", Metric::R2),
];

impl Translator<'_> {
    /// The section `metric`.
    pub(super) fn metric(&mut self, root: &Node) -> Metric {
        let Some(section) = entry(root, "metric").filter(|node| !node.is_null()) else {
            if self.method == Method::Bayes {
                let method = entry(root, "method").unwrap_or(root);
                self.error(
                    method,
                    "`method: bayes` needs a `metric`",
                    "add `metric: {name: eval_loss, goal: minimize}`",
                );
            }
            return Metric::EvalLoss;
        };
        let name = entry(section, "name").or(Some(section)).filter(|node| node.text().is_some());
        let Some((node, written)) = name.and_then(|node| Some((node, node.text()?.to_lowercase()))) else {
            self.error(section, "`metric` has no name", "expected such as {name: eval_loss, goal: minimize}");
            return Metric::EvalLoss;
        };
        let has = |part: &str| written.contains(part);
        let known = METRICS.iter().find(|(part, _)| has(part)).map(|(_, metric)| *metric);
        let Some(mut metric) = known else {
            let what = format!("the metric {} is not measured here", node.described());
            self.error(node, what, "expected a name with loss, acc or f1: eval_loss, accuracy, macro_f1");
            return Metric::EvalLoss;
        };
        if metric == Metric::MacroF1 && has("weighted") {
            metric = Metric::WeightedF1;
        }
        if has("micro") && metric == Metric::MacroF1 {
            self.note(
                node.place,
                "the metric is the macro average of F1; the micro average of texts with one label each is the accuracy",
            );
        } else if has("train") {
            self.note(
                node.place,
                format!(
                    "the metric is measured on the evaluation set here, not on the training set: {}",
                    metric.name()
                ),
            );
        }
        if let Some(goal) = entry(section, "goal") {
            let rises = metric.cost(1.0) < 0.0;
            let expected = if rises { "maximize" } else { "minimize" };
            if goal.text() != Some(expected) {
                let what = format!("`goal` cannot be {} with {}", goal.described(), node.described());
                self.error(goal, what, format!("expected {expected}, because it becomes `metric: {}`", metric.name()));
            }
        }
        for (key, value) in section.map().unwrap_or_default() {
            match key.text().unwrap_or_default() {
                "name" | "goal" => {}
                "target" if ["perplexity", "ppl"].iter().any(|part| has(part)) => {
                    let what = "`target` of a perplexity is set aside: write its logarithm as `search: {until: ..}`";
                    self.note(key.place, what);
                }
                "target" if number(&plain(value)).is_some() => self.target = Some(plain(value)),
                "target" => {
                    let what = format!("`target` of the metric cannot be {}", value.described());
                    self.error(value, what, "expected a number, such as 0.3");
                }
                other => self.note(key.place, format!("`{other}` of `metric` is set aside: it has no meaning here")),
            }
        }
        if metric != Metric::EvalLoss {
            self.out.fixed.push(Line::new("metric", node.place, Node::plain(metric.name(), node.place)));
        }
        metric
    }

    /// The section `early_terminate`.
    pub(super) fn stop(&mut self, root: &Node, metric: Metric) {
        let Some(section) = entry(root, "early_terminate").filter(|node| !node.is_null()) else { return };
        let place = section.place;
        let kind = entry(section, "type").and_then(Node::text).unwrap_or("hyperband");
        if kind != "hyperband" {
            return self.error(
                section,
                format!("`early_terminate` cannot be `{kind}`"),
                "expected `type: hyperband`, or leave it out",
            );
        }
        let before = self.out.errors.len();
        for (key, value) in section.map().unwrap_or_default() {
            let name = key.text().unwrap_or_default();
            let (fits, expected) = match (name, number(&plain(value))) {
                ("type", _) => continue,
                ("min_iter" | "max_iter", found) => (found.is_some_and(|n| n >= 1.0), "a number of evaluations from 1"),
                ("eta", found) => (found.is_some_and(|n| n >= 1.0), "a number above 1, such as 3"),
                ("s", found) => (found.is_some_and(|n| n >= 0.0), "a number of bands from 0"),
                ("strict", _) => {
                    let text = value.text().unwrap_or_default().to_lowercase();
                    (matches!(text.as_str(), "true" | "false"), "true or false")
                }
                (other, _) => {
                    self.note(
                        key.place,
                        format!("`{other}` of `early_terminate` is set aside: it has no meaning here"),
                    );
                    continue;
                }
            };
            if !fits {
                let what = format!("`{name}` of `early_terminate` cannot be {}", value.described());
                self.error(value, what, format!("expected {expected}"));
            }
        }
        if self.out.errors.len() > before {
            return;
        }
        let read = |name: &str| entry(section, name).map(plain).as_ref().and_then(number);
        let given = read("eta");
        let eta = given.map_or(ETA, |eta| eta.round().max(2.0) as u64);
        if let Some(given) = given.filter(|given| (given - eta as f64).abs() > 1e-9) {
            self.note(place, format!("`eta` is {eta} in place of {given}: a whole number above 1 belongs there"));
        }
        let first = match (read("max_iter"), read("min_iter")) {
            (Some(most), _) => {
                let bands = read("s").unwrap_or(0.0).clamp(0.0, 60.0) as i32;
                let band =
                    (1..=bands).map(|band| most / (eta as f64).powi(band)).take_while(|band| *band >= 1.0).last();
                let Some(band) = band else {
                    return self.note(
                        place,
                        "`early_terminate` is left out: it has no band from 1 on (`max_iter` / `eta` ^ `s`), and W&B stops nothing",
                    );
                };
                band
            }
            (None, Some(least)) => least,
            (None, None) => {
                return self.error(
                    section,
                    "`early_terminate` has no first band",
                    "add `min_iter`, or `max_iter` and `s`",
                );
            }
        };
        let given = self.out.fixed.iter().find(|line| line.key.text() == Some("eval_every")).map(|line| &line.value);
        let every = given.and_then(whole).filter(|every| *every > 0);
        if every.is_none() && given.is_none() {
            let mut line = Line::new("eval_every", place, Node::plain(&EVAL_EVERY.to_string(), place));
            line.notes.push(Problem::new(place, "optimizer steps: the bands of `early_terminate` count evaluations"));
            self.out.fixed.push(line);
        }
        let steps = (first.floor().max(1.0) as u64).saturating_mul(every.unwrap_or(EVAL_EVERY));
        let text = |value: &str| Node::plain(value, place);
        let mut rule = vec![("min_steps", text(&steps.to_string())), ("eta", text(&eta.to_string()))];
        if metric != Metric::EvalLoss {
            rule.push(("metric", text(metric.name())));
        }
        if entry(section, "strict").and_then(Node::text).is_some_and(|text| text.eq_ignore_ascii_case("false")) {
            rule.push(("best", text("true")));
        }
        let mut line = Line::new("asha", place, map(place, rule));
        let what = "the bands of hyperband become rungs, counted in optimizer steps; W&B keeps one trial more at each";
        line.notes.push(Problem::new(place, what));
        self.out.stop.push(line);
    }

    /// `method` and `run_cap`.
    pub(super) fn search(&mut self, root: &Node) {
        let cap = root.map().unwrap_or_default().iter().find(|(key, _)| key.text() == Some("run_cap"));
        let method = root.map().unwrap_or_default().iter().find(|(key, _)| key.text() == Some("method"));
        let place = method.map_or(Place::NOWHERE, |(key, _)| key.place);
        if self.method == Method::Grid {
            if let Some((key, _)) = cap {
                self.note(
                    key.place,
                    "`run_cap` is set aside: a grid is trained as a whole; `--only lr=1e-4` trains a part of it",
                );
            }
            if let Some(target) = &self.target {
                self.note(target.place, "`target` is set aside: a grid is trained as a whole");
            }
            return;
        }
        if self.out.space.is_empty() {
            if self.out.errors.is_empty() {
                self.note(place, "nothing is searched, so `method` and `run_cap` are set aside");
            }
            return;
        }
        let (sampler, what) = match self.method {
            Method::Bayes => {
                ("tpe", Some("W&B's `bayes` is a Gaussian process; this is a tree-structured Parzen estimator"))
            }
            _ => ("random", None),
        };
        let mut line = Line::new("sampler", place, Node::plain(sampler, place));
        line.notes.extend(what.map(|what| Problem::new(place, what)));
        self.out.search.push(line);
        let mut trials = match cap {
            Some((key, cap)) => Line::new("trials", key.place, plain(cap)),
            None => Line::new("trials", place, Node::plain(&TRIALS.to_string(), place)),
        };
        if cap.is_none() {
            trials
                .notes
                .push(Problem::new(place, "W&B would draw without end; `run_cap` or `search.trials` sets the number"));
        }
        self.out.search.push(trials);
        if let Some(target) = self.target.take() {
            let mut until = Line::new("until", target.place, target.clone());
            until.notes.push(Problem::new(target.place, "`target`: the search ends once a trial is as good"));
            self.out.search.push(until);
        }
    }

    /// The flags of `command`, which are like fixed values. What stands before the program starts it.
    pub(super) fn command(&mut self, value: &Node) {
        // As a text it is split at blanks.
        let words = value.text().filter(|_| !value.is_null()).unwrap_or_default().split_whitespace();
        let words: Vec<Node> = words.map(|word| Node::plain(word.trim_matches(['"', '\'']), value.place)).collect();
        if value.map().is_some() {
            self.error(value, "`command` cannot be a map", "expected a list, such as [python, train.py, --lr, 1e-4]");
        }
        let items: Vec<&Node> = value.list().unwrap_or(&words).iter().collect();
        let is_program = |item: &&Node| {
            item.text().is_some_and(|text| text == "${program}" || text.rsplit('.').next() == Some("py"))
        };
        let after = items.iter().rposition(is_program).map_or(0, |at| at + 1);
        let mut rest = items.get(after..).unwrap_or_default().iter().peekable();
        while let Some(item) = rest.next() {
            let text = item.text().unwrap_or_default();
            let is_flag = text.starts_with('-');
            if text.starts_with("${") || !(is_flag || text.contains('=')) {
                continue;
            }
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Node::plain(value, item.place)),
                None => match rest.next_if(|next| {
                    next.text().is_some_and(|text| !text.starts_with(['-', '$']) || number(&plain(next)).is_some())
                }) {
                    Some(next) => (text, (*next).clone()),
                    None => (text, Node::plain("true", item.place)),
                },
            };
            let written = name.trim_start_matches('-');
            self.met.insert(written.to_owned());
            if self.options.drop.iter().all(|dropped| dropped != written) {
                self.set(written, item, Form::Fixed(plain(&value)), Vec::new());
            }
        }
    }
}
