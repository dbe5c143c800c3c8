//! Properties of every figure of every sweep: legible, complete, and reproducible.

mod browser;
mod colours;
mod pixels;

use std::collections::HashMap;
use std::sync::LazyLock;

use rayon::prelude::*;
use resvg::usvg;

use super::canvas::scene::{Align, Colour, Item, Scene, Text, palette};
use super::canvas::{font, render};
use super::compare::Comparison;
use super::figures::comparison::comparison_figure;
use super::figures::range_test::range_test;
use super::figures::schedule::schedules as schedules_of;
use super::figures::slices::slices;
use super::figures::{FIGURES, figures};
use super::winner::Winner;
use super::{Provenance, ScheduleCurve, draw, is_own_figure};
use crate::analysis::range_test::RangeTest;
use crate::analysis::synthetic::{self, axis};
use crate::analysis::{Study, Sweep};
use crate::trial::{
    AxisValue, BestEvaluation, CalibrationBin, ClassScores, DiagnosticRow, Mistake, Status, TaskName, TestRecord,
    TrialId, number_text,
};

fn provenance() -> Provenance {
    Provenance {
        test: TestRecord::default(),
        hash: "0123456789ab".into(),
        commits: vec!["7db81a2c55d0e8a4+".into()],
        versions: vec!["0.1.0".into()],
        devices: vec!["cuda:0".into(), "cuda:1".into()],
        hosts: vec!["a-machine".into()],
        ended: Some(1_795_385_700_000),
        wall: 725_000,
        is_running: false,
        data: vec![
            "640 training rows, 160 evaluation rows, 2 classes".into(),
            "classes: <b> 60.0 % (61.3 % in eval)".into(),
        ],
        inputs: crate::analysis::arms::Inputs::new(),
        logs: std::collections::BTreeMap::new(),
    }
}

/// Made-up details of the best evaluation of a trial: two to twelve classes, and mistakes with their texts.
fn details_of(trial: &TrialId, step: u64) -> BestEvaluation {
    let classes = 2 + trial.as_str().bytes().map(usize::from).sum::<usize>() % 11;
    let count = |row: usize, column: usize| match (row, column) {
        (row, column) if row == column => 40 + 7 * row as u32,
        (row, column) => ((3 * row + 5 * column) % 9) as u32,
    };
    let confusion: Vec<Vec<u32>> =
        (0..classes).map(|row| (0..classes).map(|column| count(row, column)).collect()).collect();
    let bin = |index: u32| CalibrationBin {
        examples: 3 * index,
        correct: 2 * index,
        confidence: 0.1 * f64::from(index) + 0.05,
    };
    let mistake = |index: usize| Mistake {
        example: index,
        text: format!("an example <b>text</b> with a rather long sentence, number {index}"),
        pair: (index % 2 == 1).then(|| "its second text".to_owned()),
        label: 0,
        predicted: 1,
        confidence: 0.99 - 0.01 * index as f64,
        file: (index > 0).then(|| "reviews.csv".to_owned()),
        line: (index > 0).then_some(17),
    };
    let third = vec![Some(1.0 / 3.0); classes];
    BestEvaluation {
        step,
        labels: (0..classes).map(|class| format!("class {class} {}", "x".repeat(class))).collect(),
        scores: ClassScores {
            precision: vec![None; classes],
            recall: third.clone(),
            f1: third,
            support: confusion.iter().map(|row| row.iter().sum()).collect(),
        },
        confusion,
        calibration: (0..10).map(bin).collect(),
        calibration_error: Some(0.123),
        mistakes: (0..BestEvaluation::MISTAKES).map(mistake).collect(),
    }
}

/// The made-up details of the trials of `sweep`.
fn details(sweep: &Sweep) -> impl Fn(&TrialId) -> Option<BestEvaluation> {
    let known: HashMap<TrialId, u64> =
        sweep.runs.iter().filter_map(|run| Some((run.trial.id.clone(), run.best_eval()?.0))).collect();
    move |trial| known.get(trial).map(|step| details_of(trial, *step))
}

/// 100 configurations of one seed on two axes, and 1,000 of five seeds on three.
fn grids() -> [Sweep; 2] {
    let numbers = |n: u32, unit: &str| (1..=n).map(|i| format!("{i}{unit}")).collect::<Vec<_>>();
    let axis = |key: &str, values: &[String]| axis(key, &values.iter().map(String::as_str).collect::<Vec<_>>());
    let rates = [numbers(9, "e-5"), vec!["3e-4".to_owned()]].concat();
    let warmups: Vec<String> = (0..10).map(|i| number_text(f64::from(i) / 50.0)).collect();
    let (rates, warmups, decays) =
        (axis("lr", &rates), axis("warmup", &warmups), axis("weight_decay", &numbers(2, "e-2")));
    let seeds = axis("seed", &numbers(5, ""));
    [
        synthetic::sweep("hundred", &[rates.clone(), warmups.clone()], 200),
        synthetic::sweep("thousand", &[rates, warmups, decays, seeds], 200),
    ]
}

fn five_axes() -> Sweep {
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

fn many_values() -> Sweep {
    let values: Vec<String> = (0..14).map(|i| format!("{:.2}", f64::from(i) * 0.05)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    synthetic::sweep("many", &[axis("model.dropout", &values)], 80)
}

/// Extreme losses and names.
fn hostile() -> Sweep {
    let mut sweep = synthetic::sweep(
        &"漢字 <&> ".repeat(40),
        &[axis("lr", &["1e-5", "3e-5", "1"]), axis("x", &["α\nβ", "💥"])],
        60,
    );
    for (index, run) in sweep.runs.iter_mut().enumerate() {
        for row in &mut run.evals {
            row.eval_loss = [0.3, f32::MAX, 0.0, f32::INFINITY, -1.0, 0.3][index];
        }
        for row in &mut run.metrics {
            row.train_loss = [1e20, f32::MAX, 0.0, f32::NAN, -1.0, 0.3][index];
            row.lr = [0.0, f64::MAX, 1e-300, f64::NAN, -1.0, 1e-5][index];
        }
    }
    sweep.runs[5].evals.clear();
    sweep.runs[4].metrics.truncate(1);
    sweep
}

/// An include whose trial lacks the axis, and one without any evaluation.
fn ragged() -> Sweep {
    let mut sweep = synthetic::default_sweep();
    sweep.runs[0].trial.values.remove(0);
    sweep.runs[1].evals.clear();
    sweep.runs[2].status = Status::Failed;
    sweep.runs[2].error =
        Some("a long message about what went wrong, and what to do about it, that fits nowhere".into());
    sweep
}

fn sweeps() -> Vec<(&'static str, Sweep)> {
    let mut nothing = synthetic::default_sweep();
    nothing.runs.clear();
    let seeds = synthetic::sweep("seeds only", &[axis("seed", &["1", "2", "3"])], 200);
    let wide: Vec<String> = (0..20).map(|i| format!("key_{i}")).collect();
    let mut wide_sweep = synthetic::sweep("wide", &[axis("lr", &["1e-5", "1e-4", "3e-4"])], 60);
    for (i, run) in wide_sweep.runs.iter_mut().enumerate() {
        let value = |key: &String| (key.clone(), AxisValue { value: i.into(), text: format!("value number {i}") });
        run.trial.values.extend(wide.iter().map(value));
    }
    wide_sweep.axes.extend(wide.iter().map(|key| axis(key, &["0", "1", "2"])));
    let [hundred, thousand] = grids();
    vec![
        ("hundred", hundred),
        ("thousand", thousand),
        ("default", synthetic::default_sweep()),
        ("arms", synthetic::arms()),
        ("large", synthetic::LARGE.0.clone()),
        ("failed", synthetic::all_failed(synthetic::default_sweep())),
        ("unfinished", synthetic::unfinished(synthetic::default_sweep(), 5)),
        ("under_way", synthetic::unfinished(synthetic::default_sweep(), 0)),
        ("large_unfinished", synthetic::unfinished(synthetic::LARGE.0.clone(), 131)),
        ("one", synthetic::sweep("one", &[], 100)),
        ("one_step", synthetic::sweep("one step", &[], 1)),
        ("seeds", seeds),
        ("two", synthetic::sweep("two", &[axis("scheduler", &["linear", "cosine"])], 100)),
        (
            "hot",
            synthetic::sweep(
                "hot",
                &[axis("lr", &["3e-4"]), axis("warmup", &["0", "50"]), axis("seed", &["1", "2", "3"])],
                300,
            ),
        ),
        ("five", five_axes()),
        ("many", many_values()),
        ("wide", wide_sweep),
        ("ragged", ragged()),
        ("hostile", hostile()),
        ("nothing", nothing),
        ("search", synthetic::search("a search", 60, 90)),
        ("short_search", synthetic::search("a short search", 12, 60)),
        ("failed_search", synthetic::all_failed(synthetic::search("a failed search", 12, 60))),
        ("search_under_way", synthetic::unfinished(synthetic::search("a search under way", 30, 60), 14)),
    ]
}

/// A sweep of up to five axes of up to eight values of many kinds, in some state of progress.
fn random_sweep(seed: u64) -> Sweep {
    const VALUES: [&str; 12] = [
        "1e-5",
        "3e-4",
        "0",
        "0.1",
        "100",
        "true",
        "linear",
        "cosine_with_hard_restarts",
        "eda",
        "{name: synonym, rate: 0.1}",
        "[a, {name: b, k: 3}]",
        "hf:some-organisation/some-rather-long-model-name@main",
    ];
    const KEYS: [&str; 6] = ["lr", "warmup", "scheduler", "augmentation", "model.dropout", "data.max_length"];
    let pick = |index: u64, n: usize| (synthetic::noise(seed, index) * n as f64) as usize;
    let axis_of = |index: usize| {
        let from = pick(10 + index as u64, VALUES.len());
        let count = 1 + pick(20 + index as u64, 4);
        let values: Vec<&str> = (0..count).map(|i| VALUES[(from + i) % VALUES.len()]).collect();
        axis(KEYS[(pick(1, 6) + index) % 6], &values)
    };
    let mut axes: Vec<_> = (0..pick(2, 5)).map(axis_of).collect();
    if pick(3, 2) == 1 {
        axes.push(axis("seed", &["1", "2", "3"]));
    }
    let sweep = synthetic::sweep("random", &axes, 1 + pick(4, 90) as u64);
    match pick(5, 4) {
        0 => synthetic::all_failed(sweep),
        1 => synthetic::unfinished(sweep, pick(6, 20)),
        _ => sweep,
    }
}

/// The figures of all sweeps, drawn once.
static SCENES: LazyLock<Vec<(&'static str, Scene)>> = LazyLock::new(scenes);

fn scenes() -> Vec<(&'static str, Scene)> {
    let draw = |(name, sweep): (&'static str, Sweep)| {
        let study = Study::of(&sweep);
        let figures =
            figures(&sweep, &study, &[], Winner::of(&sweep, &study, &details(&sweep)).as_ref(), &provenance());
        figures.scenes.into_iter().map(move |scene| (name, scene))
    };
    let random = (0..60).map(|seed| ("random", random_sweep(seed)));
    let all: Vec<(&str, Sweep)> = sweeps().into_iter().chain(random).collect();
    // Other tests wait for it.
    let mut scenes: Vec<(&str, Scene)> = all.into_par_iter().flat_map_iter(draw).collect();
    scenes.extend(others());
    scenes
}

/// The figures outside of reports: comparisons, schedules, range tests.
fn others() -> Vec<(&'static str, Scene)> {
    let of = |seeds: std::ops::Range<u64>| seeds.map(random_sweep).collect::<Vec<_>>();
    let [hundred, thousand] = grids();
    let long = |i: usize| Sweep { name: format!("a sweep with a rather long name, number {i}"), ..five_axes() };
    let compared = [
        vec![synthetic::default_sweep(), synthetic::unfinished(synthetic::default_sweep(), 5)],
        vec![hundred.clone(), hundred],
        vec![thousand.clone(), thousand],
        vec![five_axes(), five_axes()],
        vec![hostile(), hostile()],
        vec![ragged(), synthetic::all_failed(ragged())],
        (0..5).map(long).collect(),
        of(0..3),
        of(3..5),
        of(5..9),
    ];
    let compared = compared.iter().map(|sweeps| ("compared", comparison_figure(&Comparison::of(sweeps))));
    let rates = |n: usize, peak: f64, name: &str| ScheduleCurve {
        values: vec![("scheduler".into(), axis("scheduler", &[name]).values.remove(0))],
        rates: (0..n).map(|k| peak * (n - k) as f64 / n as f64).collect(),
    };
    let schedules = [
        vec![rates(400, 3e-5, "linear")],
        (1..=12).map(|i| rates(1000, f64::from(i) * 1e-5, &format!("a schedule with a long name, {i}"))).collect(),
        (1..=40).map(|i| rates(7, f64::from(i), &format!("curve {i}"))).collect(),
        vec![rates(1, 1.0, "x"), rates(100_000, 1e-9, "y")],
    ];
    let schedules = schedules.iter().map(|curves| ("schedules", schedules_of(curves, &[])));
    let tried = |n: i32, loss: fn(f64) -> f64| {
        let steps: Vec<(f64, f64)> =
            (0..n).map(|k| (1e-7 * 10_f64.powf(0.07 * f64::from(k)), loss(f64::from(k)))).collect();
        range_test(&RangeTest::of(&steps), &"a range test ".repeat(9), &[], TaskName::Regression)
    };
    let valley = |k: f64| 1.1 - 0.5 / (1.0 + (-(k - 50.0) / 4.0).exp()) + (0.4 * (k - 80.0)).exp();
    let tests =
        [tried(95, valley), tried(0, valley), tried(100, |_| 1.0), tried(60, |k| 1e9 * k), tried(9, |_| f64::NAN)];
    compared.chain(schedules).chain(tests.map(|scene| ("range test", scene))).collect()
}

#[test]
fn texts_stay_on_the_canvas_and_off_each_other() {
    for (name, scene) in SCENES.iter() {
        let texts: Vec<&Text> = scene.texts().collect();
        for (index, text) in texts.iter().enumerate() {
            let [left, top, right, bottom] = text.bounds();
            assert!(
                left >= 0.0 && top >= 0.0 && right <= scene.width && bottom <= scene.height,
                "{name} {}: {:?} leaves the canvas {}x{}",
                scene.name,
                text,
                scene.width,
                scene.height
            );
            for other in &texts[index + 1..] {
                let [l, t, r, b] = other.bounds();
                let apart = right <= l + 0.5 || r <= left + 0.5 || bottom <= t + 0.5 || b <= top + 0.5;
                assert!(apart, "{name} {}: {:?} over {:?}", scene.name, text.content, other.content);
            }
        }
    }
}

#[test]
fn everything_drawn_is_finite_and_near_the_canvas() {
    for (name, scene) in SCENES.iter() {
        let inside =
            |(x, y): &(f64, f64)| *x > -20.0 && *y > -20.0 && *x < scene.width + 20.0 && *y < scene.height + 20.0;
        for item in &scene.items {
            let fits = match item {
                Item::Line { points, .. } | Item::Area { points, .. } => points.iter().all(inside),
                Item::Disc { centre, .. } => inside(centre),
                Item::Text(text) => inside(&(text.x, text.y)),
            };
            assert!(fits, "{name} {}: {item:?}", scene.name);
        }
    }
}

#[test]
fn the_loss_of_a_regression_is_not_in_nats() {
    for mut sweep in [synthetic::arms(), synthetic::default_sweep()] {
        sweep.runs.iter_mut().for_each(|run| run.trial.config.data.task = TaskName::Regression);
        let study = Study::of(&sweep);
        let mut scenes = figures(&sweep, &study, &[], None, &provenance()).scenes;
        scenes.push(comparison_figure(&Comparison::of(&[sweep.clone(), sweep])));
        scenes.push(range_test(&RangeTest::of(&[]), "t", &[], TaskName::Regression));
        let texts = || scenes.iter().flat_map(Scene::texts).map(|text| text.content.as_str());
        assert_eq!(texts().find(|text| text.contains("nats") || text.contains("accuracy")), None);
        assert!(texts().filter(|text| text.contains("squared units of the label")).count() > 4);
    }
}

#[test]
fn every_character_is_in_the_font() {
    for (name, scene) in SCENES.iter() {
        for text in scene.texts() {
            let missing: Vec<char> = text.content.chars().filter(|&c| !font::has(c, text.bold)).collect();
            assert!(missing.is_empty(), "{name}: {missing:?} in {:?}", text.content);
        }
    }
}

#[test]
fn equal_sweeps_give_equal_bytes() {
    let sweep = synthetic::sweep("same", &[axis("lr", &["1e-5", "3e-4"])], 60);
    let (one, two) = (
        draw(&sweep, &[], &provenance(), &details(&sweep)).unwrap(),
        draw(&sweep.clone(), &[], &provenance(), &details(&sweep)).unwrap(),
    );
    assert_eq!(one, two);
    let names: Vec<&str> = one.files.iter().map(|file| file.0.as_str()).collect();
    let pictures = ["ranking", "curves", "plateaus", "slices", "gradients", "confusion", "calibration"];
    let pictures = pictures.iter().flat_map(|name| [format!("{name}.png"), format!("{name}.svg")]);
    assert_eq!(names, ["summary.md".into(), "index.html".into()].into_iter().chain(pictures).collect::<Vec<String>>());
}

/// The labels that the winner contradicts are listed where wrong labels limit the loss, and nowhere else.
#[test]
fn suspect_labels_are_listed_at_a_label_floor() {
    let file = |sweep: &Sweep| {
        let report = draw(sweep, &[], &provenance(), &details(sweep)).unwrap();
        let summary = String::from_utf8(report.files[0].1.clone()).unwrap();
        assert_eq!(summary.contains("(suspect_labels.csv)"), report.has_suspect_labels());
        report.files.into_iter().find(|(name, _)| name == "suspect_labels.csv").map(|(_, bytes)| bytes)
    };
    let mut sweep = synthetic::sweep("noisy labels", &[axis("lr", &["1e-5", "3e-5"])], 60);
    assert_eq!(file(&sweep), None);
    for run in &mut sweep.runs {
        // Of 400 examples, 100 are the surest; 20 of them are labelled otherwise at each evaluation.
        let row = |row: &crate::trial::EvalRow| DiagnosticRow {
            step: row.step,
            first_grad_norm: Some(0.5),
            last_grad_norm: Some(0.5),
            update_ratio: Some(5e-4),
            predicted: vec![210, 190],
            surest_wrong: Some(20),
            surest_expected: Some(1.0),
        };
        run.diagnostics = run.evals.iter().map(row).collect();
        // The training data are memorised.
        run.evals.iter_mut().for_each(|row| row.train_probe_loss = 0.1);
    }
    let bytes = file(&sweep).unwrap();
    assert!(crate::report::is_own_table(&bytes) && !crate::report::is_own_table(b"row,name\n1,x\n"));
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + BestEvaluation::MISTAKES);
    insta::assert_snapshot!(lines[..3].join("\n"), @"
    row,text,text_pair,given_label,model_label,probability,file,line
    1,\"an example <b>text</b> with a rather long sentence, number 0\",,class 0 ,class 1 x,0.9900,,
    2,\"an example <b>text</b> with a rather long sentence, number 1\",its second text,class 0 ,class 1 x,0.9800,reviews.csv,17
    ");
}

/// Only own figures may be removed when a later report does not hold them.
#[test]
fn every_figure_is_listed_and_recognised() {
    let outside = ["compared", "schedules", "range test"];
    for (name, scene) in SCENES.iter().filter(|(name, _)| !outside.contains(name)) {
        assert!(FIGURES.contains(&scene.name), "{name}: {} is not in FIGURES", scene.name);
    }
    let sweep = synthetic::sweep("same", &[axis("lr", &["1e-5", "3e-4"])], 60);
    let report = draw(&sweep, &[], &provenance(), &details(&sweep)).unwrap();
    let missing: Vec<String> = report.missing_figures().collect();
    let names = ["architectures", "search", "importance", "parallel", "contour", "grid", "heatmap", "probes"];
    assert_eq!(missing, names.map(|name| ["png", "svg"].map(|kind| format!("{name}.{kind}"))).concat());
    for (name, bytes) in &report.files {
        assert_eq!(is_own_figure(bytes), ["png", "svg"].contains(&name.rsplit('.').next().unwrap()), "{name}");
    }
    let foreign = r#"<svg width="60" height="40" viewBox="0 0 60 40" xmlns="http://www.w3.org/2000/svg"></svg>"#;
    let mut picture = Vec::new();
    png::Encoder::new(&mut picture, 1, 1).write_header().unwrap().write_image_data(&[0]).unwrap();
    for foreign in [foreign.as_bytes(), b"", b"<svg", &picture] {
        assert!(!is_own_figure(foreign));
    }
}

#[test]
fn pictures_hold_density_and_provenance() {
    let sweep = synthetic::sweep("small", &[], 20);
    let report = draw(&sweep, &[], &provenance(), &details(&sweep)).unwrap();
    let bytes = &report.files.iter().find(|file| file.0 == "ranking.png").unwrap().1;
    let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let info = reader.info();
    assert_eq!(info.width, 2000);
    assert_eq!(info.pixel_dims.unwrap().xppu, 7559);
    let texts: Vec<String> =
        info.utf8_text.iter().map(|chunk| format!("{}: {}", chunk.keyword, chunk.get_text().unwrap())).collect();
    assert_eq!(texts[0], "Title: small: result of the only configuration");
    assert!(texts.iter().any(|text| text.starts_with("Software: plateau ")), "{texts:?}");
    let source = "Source: small: sweep 0123456789ab, commit 7db81a2 with uncommitted changes, plateau 0.1.0, cuda:0, cuda:1 on \
        a-machine, 2026-11-22 22:15 UTC, wall time 12:05";
    assert!(texts.contains(&source.to_owned()), "{texts:?}");
}

/// Text is drawn where the scene places it, and is as wide as measured.
#[test]
fn texts_are_drawn_where_they_were_measured() {
    let mut scene = Scene::new("test", "test");
    scene.height = 200.0;
    let phrases = ["Loss curves: the best", "0.307 ±0.008", "10 % warmup · constant · eda", "AVAT To Wa. 3e-5 – Öß"];
    for (index, phrase) in phrases.iter().enumerate() {
        let text = Text::new(500.0, 30.0 + 40.0 * index as f64, *phrase).size(13.0);
        scene.text(text.align([Align::Left, Align::Middle, Align::Right, Align::Left][index]));
    }
    let tree = render::tree(&render::svg(&scene).unwrap()).unwrap();
    let mut drawn = Vec::new();
    collect(tree.root(), &mut drawn);
    assert_eq!(drawn.len(), phrases.len());
    for (text, drawn) in scene.texts().zip(drawn) {
        let [left, _, right, _] = text.bounds();
        let slack = 0.04 * (right - left) + 1.5;
        assert!((f64::from(drawn.left()) - left).abs() < slack, "{:?} {drawn:?} {left}", text.content);
        assert!((f64::from(drawn.right()) - right).abs() < slack, "{:?} {drawn:?} {right}", text.content);
        assert!(f64::from(drawn.top()) < text.y && f64::from(drawn.bottom()) > text.y, "{drawn:?} {}", text.y);
    }
}

fn collect(group: &usvg::Group, drawn: &mut Vec<usvg::Rect>) {
    for node in group.children() {
        match node {
            usvg::Node::Group(group) => collect(group, drawn),
            node => drawn.push(node.abs_bounding_box()),
        }
    }
}

#[test]
fn a_scene_as_svg() {
    let mut scene = Scene::new("small", "small");
    (scene.width, scene.height) = (60.0, 40.0);
    scene.line(&[(1.0, 2.0), (3.25, 4.5), (5.0, f64::NAN), (6.0, 7.0), (8.0, 9.0)], 1.5, palette::EVAL.alpha(0.5));
    scene.rect([10.0, 10.0, 20.0, 20.0], palette::PLATEAU);
    scene.disc((30.0, 30.0), 3.6, palette::TRAIN);
    scene.text(Text::new(50.0, 30.0, "a <b>").bold().align(Align::Right));
    scene.text(Text::new(15.0, 30.0, "up").rotated());
    // A quote before a hash would end the raw string below.
    insta::assert_snapshot!(render::svg(&scene).unwrap().replace('#', "hex "), @r#"
        <svg width="60" height="40" stroke-linejoin="round" stroke-linecap="round" role="img" viewBox="0 0 600 400" xmlns="http://www.w3.org/2000/svg">
        <polyline fill="none" opacity="0.5" stroke="hex D55E00" stroke-width="15" points="10,20 33,45 "/>
        <polyline fill="none" opacity="0.5" stroke="hex D55E00" stroke-width="15" points="60,70 80,90 "/>
        <polygon opacity="1" fill="hex 009E73" points="100,100 200,100 200,200 100,200 "/>
        <circle cx="300" cy="300" r="36" opacity="1" fill="hex 0072B2" stroke="none" stroke-width="1"/>
        <text x="500" y="209" dy="0.76em" text-anchor="end" font-family="Inter, Helvetica, Arial, sans-serif" font-size="120.00000000000001" opacity="1" fill="hex 626B77" font-weight="bold">
        a &lt;b&gt;</text>
        <text x="59" y="300" dy="0.76em" text-anchor="start" font-family="Inter, Helvetica, Arial, sans-serif" font-size="120.00000000000001" opacity="1" fill="hex 626B77" transform="rotate(270, 59, 300)">
        up</text>
        </svg>
        "#);
}

#[test]
fn the_figures_of_a_search_as_svg() {
    let sweep = synthetic::search("a search", 60, 60);
    let scenes = figures(&sweep, &Study::of(&sweep), &[], None, &provenance()).scenes;
    let of_search = ["search", "importance", "parallel", "contour"];
    let drawn: Vec<&Scene> = scenes.iter().filter(|scene| of_search.contains(&scene.name)).collect();
    assert_eq!(drawn.len(), of_search.len());
    for scene in drawn {
        let svg = render::svg(scene).unwrap().replace(" font-family=\"Inter, Helvetica, Arial, sans-serif\"", "");
        insta::assert_snapshot!(format!("{}_as_svg", scene.name), svg);
    }
}

#[test]
fn a_figure_as_svg() {
    let sweep = synthetic::sweep("small", &[axis("lr", &["1e-5", "3e-5"])], 40);
    let scene = slices(&sweep, &Study::of(&sweep)).unwrap();
    let svg = render::svg(&scene).unwrap().replace(" font-family=\"Inter, Helvetica, Arial, sans-serif\"", "");
    insta::assert_snapshot!(svg.replace('#', "hex "), @r#"
    <svg width="1000" height="389" stroke-linejoin="round" stroke-linecap="round" role="img" viewBox="0 0 10000 3890" xmlns="http://www.w3.org/2000/svg">
    <text x="240" y="151" dy="0.76em" text-anchor="start" font-size="170" opacity="1" fill="hex 1A1C23" font-weight="bold">
    One parameter at a time</text>
    <text x="240" y="389" dy="0.76em" text-anchor="start" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    2 configurations × 1 seed · line: the best configuration with each value · lower is better · strip on top: failed configurations</text>
    <polyline fill="none" opacity="1" stroke="hex E6E8EC" stroke-width="10" points="660,2986 3636,2986 "/>
    <text x="600" y="2935" dy="0.76em" text-anchor="end" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    0.35</text>
    <polyline fill="none" opacity="1" stroke="hex E6E8EC" stroke-width="10" points="660,1979 3636,1979 "/>
    <text x="600" y="1928" dy="0.76em" text-anchor="end" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    0.40</text>
    <text x="580" y="879" dy="0.76em" text-anchor="end" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    failed</text>
    <text x="69" y="2120" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 626B77" transform="rotate(270, 69, 2120)">
    best eval loss</text>
    <polygon opacity="1" fill="hex F3F4F6" points="660,810 3636,810 3636,1050 660,1050 "/>
    <text x="1000" y="879" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    0</text>
    <text x="3296" y="879" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    0</text>
    <polyline fill="none" opacity="1" stroke="hex 0072B2" stroke-width="18" points="1000,1258 3296,2719 "/>
    <circle cx="1000" cy="1258" r="56" opacity="1" fill="hex FFFFFF" stroke="none" stroke-width="1"/>
    <circle cx="1000" cy="1258" r="46" opacity="1" fill="hex 0072B2" stroke="none" stroke-width="1"/>
    <polygon opacity="0.84" fill="hex FFFFFF" points="795,1344 1205,1344 1205,1503 795,1503 "/>
    <text x="1000" y="1366" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 0072B2" font-weight="bold">
    0.436</text>
    <circle cx="3296" cy="2719" r="56" opacity="1" fill="hex FFFFFF" stroke="none" stroke-width="1"/>
    <circle cx="3296" cy="2719" r="46" opacity="1" fill="hex D55E00" stroke="none" stroke-width="1"/>
    <polygon opacity="0.84" fill="hex FFFFFF" points="3091,2805 3501,2805 3501,2964 3091,2964 "/>
    <text x="3296" y="2828" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex BF5300" font-weight="bold">
    0.363</text>
    <polyline fill="none" opacity="1" stroke="hex 8A93A0" stroke-width="10" points="660,3070 3636,3070 "/>
    <text x="1000" y="3159" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 1A1C23">
    1e-5</text>
    <text x="3296" y="3159" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 1A1C23">
    3e-5</text>
    <text x="2148" y="3349" dy="0.76em" text-anchor="middle" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    peak learning rate (log)</text>
    <circle cx="290" cy="3650" r="40" opacity="1" fill="hex 0072B2" stroke="none" stroke-width="1"/>
    <text x="400" y="3599" dy="0.76em" text-anchor="start" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    the best configuration with that value</text>
    <circle cx="2773" cy="3650" r="40" opacity="1" fill="hex D55E00" stroke="none" stroke-width="1"/>
    <text x="2883" y="3599" dy="0.76em" text-anchor="start" font-size="120.00000000000001" opacity="1" fill="hex 626B77">
    the best of all</text>
    </svg>
    "#);
}

/// Relative luminance contrast of WCAG 2.
fn contrast(text: Colour, paper: [u8; 3]) -> f64 {
    let luminance = |rgb: [u8; 3]| {
        let linear = rgb.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.039_28 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (a, b) = (luminance(text.rgb), luminance(paper));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The background colour below the middle of a text: that of the last opaque area there.
fn ground(scene: &Scene, text: &Text) -> [u8; 3] {
    let [left, top, right, bottom] = text.bounds();
    let middle = (f64::midpoint(left, right), f64::midpoint(top, bottom));
    let covers = |points: &[(f64, f64)]| {
        let range = |of: fn(&(f64, f64)) -> f64| {
            points.iter().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
        };
        let ((l, r), (t, b)) = (range(|p| p.0), range(|p| p.1));
        l <= middle.0 && middle.0 <= r && t <= middle.1 && middle.1 <= b
    };
    let before = scene.items.iter().take_while(|item| !matches!(item, Item::Text(other) if std::ptr::eq(other, text)));
    let grounds = before.filter_map(|item| match item {
        Item::Area { points, colour } if colour.alpha > 0.8 && points.len() == 4 && covers(points) => Some(colour.rgb),
        _ => None,
    });
    grounds.last().unwrap_or([255; 3])
}

#[test]
fn texts_contrast_with_the_paper() {
    let panel = [0xF3, 0xF4, 0xF6];
    for (name, scene) in SCENES.iter() {
        for text in scene.texts() {
            let ground = ground(scene, text);
            assert!(contrast(text.colour, ground) >= 4.5, "{name}: {:?} {:?} on {ground:?}", text.content, text.colour);
        }
    }
    assert!(contrast(palette::MUTED, panel) >= 4.5 && contrast(palette::TEXT, panel) >= 4.5);
}

/// Writes the figures of all these sweeps into the folder in `PLATEAU_PICTURES`, for inspection by eye.
#[test]
fn pictures() {
    let Some(folder) = std::env::var_os("PLATEAU_PICTURES") else { return };
    for (name, sweep) in sweeps() {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (file, bytes) in draw(&sweep, &[], &provenance(), &details(&sweep)).unwrap().files {
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }
}

/// 150 trials of 400 steps.
#[test]
fn a_page_is_small() {
    let axes = [
        axis("lr", &["1e-5", "2e-5", "3e-5", "5e-5", "1e-4"]),
        axis("warmup", &["0", "0.06", "0.1", "0.2", "0.3"]),
        axis("scheduler", &["linear", "cosine"]),
        axis("seed", &["1", "2", "3"]),
    ];
    let sweep = synthetic::sweep("s", &axes, 400);
    let report = draw(&sweep, &[], &provenance(), &details(&sweep)).unwrap();
    let page = report.files.iter().find(|file| file.0 == "index.html").unwrap();
    assert!(page.1.len() < 3_000_000, "{} bytes", page.1.len());
}
