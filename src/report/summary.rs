//! `summary.md`: the findings as sentences, the table of configurations, and the two main figures.

use std::fmt::Write as _;

use super::conclusions::Conclusions;
use super::figures::probes::ProbedText;
use super::test_result::TestResult;
use super::winner::Winner;
use super::{Provenance, captions, format};
use crate::analysis::groups;
use crate::analysis::study::Level;
use crate::analysis::{Config, Study, Sweep};

/// A configuration as a row of cells, in the order of [`header`].
pub fn row(index: usize, sweep: &Sweep, study: &Study, config: &Config) -> Vec<String> {
    let dash = || "–".to_owned();
    let mut cells = vec![(index + 1).to_string()];
    cells.extend(
        groups::axes(sweep)
            .map(|axis| config.value(&axis.key).map_or_else(dash, |value| value.label(&axis.key).to_owned())),
    );
    let seeds = format!("{}/{}", config.survivors.len(), config.runs.len());
    let level = |level: Option<Level>, reached: Option<f64>| match (level, reached) {
        (Some(level), _) => format::mean_and_sd(level),
        (None, Some(loss)) => format!("({})", format::loss(loss)),
        (None, None) => dash(),
    };
    if !study.metric.is_loss() {
        cells.push(config.score.map_or_else(dash, format::mean_and_sd));
    }
    cells.extend([
        level(config.best, config.reached.map(|reached| reached.0)),
        level(config.last, config.reached.map(|reached| reached.1)),
        config.headline.map_or_else(dash, |level| study.task.headline().cell(level.mean)),
        config.best_step.map_or_else(dash, |step| step.to_string()),
        config.shape.plateau().map_or_else(dash, |step| step.to_string()),
        seeds,
        match config.within_noise {
            Some(true) if index > 0 => format!("{} (within noise of the best)", config.label(&study.shapes)),
            _ => config.label(&study.shapes),
        },
    ]);
    cells
}

/// The names of the columns.
pub fn header(sweep: &Sweep, study: &Study) -> Vec<String> {
    let axes = groups::axes(sweep).map(|axis| axis.key.clone());
    let figures = [
        "best eval loss",
        "final eval loss",
        study.task.headline().column(),
        "best at step",
        "plateau at step",
        &format!("successful {}s", study.repetition.noun()),
        "verdict",
    ];
    let score = (!study.metric.is_loss()).then(|| format!("best {}", study.metric.title()));
    std::iter::once("#".to_owned()).chain(axes).chain(score).chain(figures.map(str::to_owned)).collect()
}

/// The summary as Markdown.
pub fn summary(
    sweep: &Sweep,
    study: &Study,
    conclusions: &Conclusions,
    winner: Option<&Winner>,
    provenance: &Provenance,
) -> String {
    let mut text = format!("# {}\n\n", escape(&sweep.name));
    for finding in &conclusions.findings {
        text.extend(["- ", &escape(&finding.text), "\n"]);
    }
    if let Some(next) = &conclusions.next {
        let reason = escape(&next.reason);
        text.extend(["\n**Next:** ", &reason, ":\n\n```yaml\n", &next.line, "\n```\n"]);
    }
    if !conclusions.more.is_empty() {
        text.push_str("\nAlso:\n\n");
        for finding in &conclusions.more {
            text.extend(["- ", &escape(&finding.text), "\n"]);
        }
    }
    for ProbedText { title, lines, conclusion } in &conclusions.probed {
        text.extend(["\n## Probed: ", &escape(title), "\n\n"]);
        for line in lines {
            text.extend(["- ", &escape(line), "\n"]);
        }
        text.extend(["\n**", &escape(conclusion), "**\n"]);
    }
    if !conclusions.probed.is_empty() {
        text.push_str("\n![Probes](probes.png)\n");
    }
    text.push_str("\n![Ranking](ranking.png)\n\n![Loss curves](curves.png)\n\n");
    if sweep.search.is_some() && sweep.runs.iter().any(|run| run.status.is_over()) {
        text.push_str("![Search](search.png)\n\n");
    }
    text.push_str("## Configurations\n\n");
    text.push_str(&line(&header(sweep, study)));
    text.push_str(&line(&header(sweep, study).iter().map(|_| "---".to_owned()).collect::<Vec<_>>()));
    for (index, config) in study.configs.iter().enumerate() {
        text.push_str(&line(&row(index, sweep, study, config)));
    }
    let _ = write!(
        text,
        "\nLosses are measured on the evaluation set, in {}. Loss and {} are means over successful {}s, ± the standard \
         deviation. In parentheses: the lowest loss of configurations that are not ranked. ",
        study.task.loss_unit(),
        study.task.headline().title(),
        study.repetition.noun()
    );
    text.push_str(&captions::plateau_definition());
    text.push_str(". All trials: [trials.csv](../trials.csv).\n\n");
    text.push_str(&winner.map_or_else(String::new, details));
    if winner.is_some() && conclusions.suspect_labels {
        text.push_str("Labels that may be wrong: [suspect\\_labels.csv](suspect_labels.csv).\n\n");
    }
    if let Some(result) = TestResult::of(sweep, &provenance.test) {
        text.push_str("## Test set\n\n");
        text.push_str(&escape(&result.sentences.join(" ")));
        text.push_str("\n\n");
        text.push_str(&class_table(&result.class_rows()));
        text.push('\n');
    }
    if !provenance.data.is_empty() {
        text.push_str("## Data\n\n");
        for line in &provenance.data {
            text.extend(["- ", &escape(line), "\n"]);
        }
        text.push('\n');
    }
    text + &escape(&captions::footer(sweep, study, provenance).join(" · ")) + "\n"
}

/// The scores and the calibration of the winner.
fn details(winner: &Winner) -> String {
    let mut text = format!(
        "## Best trial\n\n{}: scores of each class at step {}, its best checkpoint.\n\n",
        escape(&winner.name),
        winner.details.step
    );
    if let Some(note) = &winner.note {
        text.extend([&escape(note), "\n\n"]);
    }
    text.push_str(&class_table(&winner.class_rows()));
    if let Some(error) = winner.details.calibration_error {
        let bins = winner.details.calibration.len();
        let _ = writeln!(text, "\nThe expected calibration error (ECE) over {bins} bins is {error:.3}.");
    }
    text.push_str("\n![Confusion matrix](confusion.png)\n\n![Calibration](calibration.png)\n\n");
    text
}

/// The scores of each class.
fn class_table(rows: &[[String; 5]]) -> String {
    let head = [Winner::HEADER.map(str::to_owned), Winner::HEADER.map(|_| "---".to_owned())];
    head.iter().chain(rows).map(|cells| line(cells)).collect()
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escape(cell).replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// `text` with the characters escaped that Markdown would read as markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '`' | '<' | '[' | ']' | '#' | '\\') && text.len() > 1 {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::arms::Inputs;
    use crate::analysis::synthetic;

    #[test]
    fn what_is_known_of_the_data_stands_at_the_end() {
        let sweep = synthetic::sweep("small", &[synthetic::axis("lr", &["1e-5"])], 100);
        let study = Study::of(&sweep);
        let data = vec!["8 training rows".to_owned(), "classes: <b> 60.0 %".to_owned()];
        let provenance = Provenance { data, ..Provenance::default() };
        let text = summary(&sweep, &study, &Conclusions::of(&sweep, &study, &[], &Inputs::new()), None, &provenance);
        assert!(text.contains("\n\n## Data\n\n- 8 training rows\n- classes: \\<b> 60.0 %\n\n"), "{text}");
    }

    #[test]
    fn the_findings_come_first() {
        let axes = [synthetic::axis("lr", &["1e-5", "3e-5"]), synthetic::axis("augmentation", &["none", "a_b|c"])];
        let sweep = synthetic::sweep("small", &axes, 100);
        let study = Study::of(&sweep);
        insta::assert_snapshot!(summary(&sweep, &study, &Conclusions::of(&sweep, &study, &[], &Inputs::new()), None, &Provenance::default()), @r"
        # small

        - Best is lr 3e-5, augmentation a\_b|c with eval loss 0.368 at step 56, accuracy 81.9 %; 0.004 below the next, lr 3e-5, augmentation none.
        - It ranks first by its best checkpoint and overfits after it: 0.386 at the end. lr 3e-5, augmentation none (0.004 behind) does not rise and is the safer choice.
        - Each configuration has one seed, so the noise of a difference is unknown.
        - Where the eval loss of the best configuration at each lr goes flat (with its level): 1e-5 at step 68 (0.451), 3e-5 at step 48 (0.369).
        - Of the configurations that survived, 1 of 4 overfit: their eval loss rises again by more than 0.010.
        - The best lr (3e-5, eval loss 0.368) is the greatest value of the grid: the true best may lie outside the grid.
        - Primary causes by the curves of 4 trials: the learning rate is too low or the run too short (TOO\_SLOW) in 2.

        **Next:** the best lr is at the edge of the grid: widen it:

        ```yaml
        grid: {lr: [3e-5, 9e-5, 3e-4]}
        ```

        ![Ranking](ranking.png)

        ![Loss curves](curves.png)

        ## Configurations

        | # | lr | augmentation | best eval loss | final eval loss | accuracy, % | best at step | plateau at step | successful seeds | verdict |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | 1 | 3e-5 | a\_b\|c | 0.368 | 0.386 | 81.9 | 56 | 48 | 1/1 | overfits from 76 |
        | 2 | 3e-5 | none | 0.371 | 0.382 | 81.7 | 60 | 44 | 1/1 | plateaued |
        | 3 | 1e-5 | none | 0.435 | 0.446 | 76.9 | 96 | 68 | 1/1 | plateaued |
        | 4 | 1e-5 | a\_b\|c | 0.441 | 0.453 | 76.4 | 96 | 80 | 1/1 | plateaued |

        Losses are measured on the evaluation set, in nats. Loss and accuracy are means over successful seeds, ± the standard deviation. In parentheses: the lowest loss of configurations that are not ranked. Plateau: it begins at the first step after which the eval loss, smoothed by local linear regression over ±2 evaluations, never improves by more than delta again. All trials: [trials.csv](../trials.csv).

        4 configurations × 1 seed · seed 42 · delta = 0.010 nats (the default: with one seed the noise is unknown) · eval loss every 4 steps smoothed by local linear regression over ±2 evaluations
        ");
    }
}
