//! `trials.csv`: one row per trial.

use super::{RunDir, StoreError, atomic, disk};
use crate::trial::{DrawnBy, Key, Metric, Outcome, ShapeKind, Status, Trial, printable, spreadsheet_cell};

/// The content of a row.
#[derive(Debug, Clone, Copy)]
pub struct TrialRow<'a> {
    pub trial: &'a Trial,
    /// The number of its configuration in a search, and how that was drawn.
    pub draw: Option<(u64, DrawnBy)>,
    pub status: Status,
    pub outcome: Option<&'a Outcome>,
    /// Why it failed.
    pub error: Option<&'a str>,
}

const AFTER_VALUES: [&str; 14] = [
    Key::Seed.path(),
    "status",
    "steps",
    "final_train_loss",
    "final_eval_loss",
    "best_eval_loss",
    "best_eval_step",
    "best_accuracy",
    "plateau_step",
    "verdict",
    "cause",
    "seconds",
    "tokens_per_second",
    "error",
];
/// Further columns of a search.
const OF_DRAW: [&str; 2] = ["number", "by"];

impl RunDir {
    /// Replaces `trials.csv`. `keys`: the varying keys, in the order of the sweep file. `drawn`: whether a search draws the
    /// trials.
    pub fn write_trials<'a>(
        &self,
        keys: &[&str],
        drawn: bool,
        rows: impl Iterator<Item = TrialRow<'a>>,
    ) -> Result<(), StoreError> {
        let path = self.trials_csv();
        let bytes = render(keys, drawn, rows).map_err(|error| StoreError::damaged(&path, error))?;
        disk::remove_unfinished(self.path());
        atomic::write_soon_if(&path, &bytes, &|| self.check_own_folders())
    }
}

/// The bytes of `trials.csv`.
fn render<'a>(keys: &[&str], drawn: bool, rows: impl Iterator<Item = TrialRow<'a>>) -> Result<Vec<u8>, csv::Error> {
    let of_draw: &[&str] = if drawn { &OF_DRAW } else { &[] };
    let mut rows = rows.peekable();
    // The best value of the metric of the sweep, if no other column has it.
    let metric = rows.peek().map(|row| row.trial.config.metric);
    let metric = metric.filter(|metric| !matches!(metric, Metric::EvalLoss | Metric::Accuracy));
    let best_score = metric.map(|metric| format!("best_{}", metric.name()));
    let keys: Vec<_> = keys.iter().copied().filter(|&key| !Key::Seed.is(key)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(
        ["id"].iter().chain(&keys).chain(&AFTER_VALUES).chain(of_draw).copied().chain(best_score.as_deref()),
    )?;
    for row in rows {
        let TrialRow { draw, outcome, .. } = row;
        let mut fields = fields(&keys, row);
        if drawn {
            fields.push(draw.map_or_else(String::new, |(number, _)| number.to_string()));
            fields.push(draw.map_or_else(String::new, |(_, by)| by.name().to_owned()));
        }
        if let Some(metric) = metric {
            let best = outcome.and_then(|outcome| outcome.best).filter(|best| best.metric == metric);
            fields.push(best.map_or_else(String::new, |best| format!("{:?}", best.value)));
        }
        // A terminal that shows the table takes control characters for commands.
        writer.write_record(fields.iter().map(|field| printable(field).into_owned()))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn fields(keys: &[&str], row: TrialRow<'_>) -> Vec<String> {
    let TrialRow { trial, status, outcome, error, .. } = row;
    let value =
        |key: &&str| trial.value(key).map_or_else(String::new, |value| spreadsheet_cell(&value.text).into_owned());
    let number = |value: Option<f32>| value.map_or_else(String::new, |value| format!("{value:?}"));
    let figure = |pick: fn(&Outcome) -> Option<f32>| number(outcome.and_then(pick));
    let step = |value: Option<u64>| value.map_or_else(String::new, |step| step.to_string());
    let verdicts = outcome.map(|outcome| outcome.verdicts.as_slice()).unwrap_or_default();
    let plateau = verdicts.iter().find(|verdict| verdict.id == ShapeKind::Plateaued).and_then(|verdict| verdict.step);
    let mut fields = vec![trial.id.to_string()];
    fields.extend(keys.iter().map(value));
    fields.extend([
        trial.config.seed.to_string(),
        status.name().to_owned(),
        step(outcome.map(|outcome| outcome.steps)),
        figure(|outcome| outcome.final_train_loss),
        figure(|outcome| outcome.final_eval_loss),
        figure(|outcome| outcome.best_eval_loss),
        step(outcome.and_then(|outcome| outcome.best_eval_step)),
        figure(|outcome| outcome.best_accuracy),
        step(plateau),
        verdicts.first().map_or_else(String::new, |verdict| verdict.id.to_string()),
        verdicts.iter().find(|verdict| verdict.is_cause()).map_or_else(String::new, |v| v.id.to_string()),
        outcome.map_or_else(String::new, |outcome| format!("{:.3}", outcome.seconds)),
        outcome.map_or_else(String::new, |outcome| format!("{:.1}", outcome.tokens_per_second)),
        spreadsheet_cell(error.unwrap_or_default()).into_owned(),
    ]);
    fields
}
