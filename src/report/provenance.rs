//! Where the numbers of a report come from: trials, program, machine, and date.
//!
//! All of it is read from the journal and the `config.json` of the trials, never from a clock. Equal results give equal
//! texts.

use std::collections::{BTreeMap, HashMap};

use super::format;
use crate::analysis::Sweep;
use crate::analysis::arms::Inputs;
use crate::event::{Event, Record};
use crate::store::{MadeBy, RunDir, StoreError, TrialDir, read_journal};
use crate::trial::{TestRecord, TrialId};

/// The provenance of the results of a sweep. Lists hold each value once, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// The hash of the sweep: 12 hex digits over the ids of its trials.
    pub hash: String,
    /// Git commits of the repository in which trials were started; `+` after one with uncommitted changes.
    pub commits: Vec<String>,
    /// Versions of plateau.
    pub versions: Vec<String>,
    pub devices: Vec<String>,
    pub hosts: Vec<String>,
    /// When the status of a trial last changed, milliseconds since the Unix epoch.
    pub ended: Option<u64>,
    /// Wall time of all runs of the sweep together, milliseconds.
    pub wall: u64,
    /// Whether a process runs the sweep now.
    pub is_running: bool,
    /// What is known of the data, a line each.
    pub data: Vec<String>,
    /// What is known of each trial before it trains.
    pub inputs: Inputs,
    /// The evaluations of the test set.
    pub test: TestRecord,
    /// The last lines of the log of each trial that has one.
    pub logs: BTreeMap<TrialId, Vec<String>>,
}

/// Reads the provenance repeatedly, and the files of a trial that has ended only once.
#[derive(Debug, Default)]
pub struct ProvenanceReader {
    ended: HashMap<TrialId, TrialProvenance>,
}

/// The provenance of one trial.
#[derive(Debug, Clone)]
struct TrialProvenance {
    /// None if `config.json` cannot be read.
    made_by: Option<MadeBy>,
    log: Vec<String>,
}

impl ProvenanceReader {
    /// Reads the provenance of the trials of `sweep` from `dir`.
    pub fn read(&mut self, dir: &RunDir, sweep: &Sweep) -> Result<Provenance, StoreError> {
        let ids: String = sweep.runs.iter().map(|run| run.trial.id.as_str()).collect();
        let hash = blake3::hash(ids.as_bytes()).to_hex()[..12].to_owned();
        let mut provenance = Provenance { hash, ..Provenance::default() };
        let mut before = std::mem::take(&mut self.ended);
        for run in &sweep.runs {
            let id = &run.trial.id;
            // A trial that was restarted has no outcome until it ends again.
            let known = before.remove(id).filter(|_| run.outcome.is_some());
            let source = known.unwrap_or_else(|| TrialProvenance::read(&dir.trial(id)));
            provenance.add(id, &source);
            if run.outcome.is_some() {
                self.ended.insert(id.clone(), source);
            }
        }
        provenance.test = dir.test_record()?;
        (provenance.ended, provenance.wall) = times(&read_journal(&dir.journal())?.records);
        Ok(provenance)
    }
}

impl TrialProvenance {
    fn read(folder: &TrialDir) -> Self {
        Self { made_by: folder.made_by().ok().flatten(), log: log(folder) }
    }
}

impl Provenance {
    fn add(&mut self, id: &TrialId, source: &TrialProvenance) {
        if let Some(MadeBy { version, host, device, git_commit, .. }) = &source.made_by {
            let found = [
                (&mut self.commits, git_commit.clone()),
                (&mut self.versions, Some(version.clone())),
                (&mut self.devices, Some(device.to_string())),
                (&mut self.hosts, Some(host.clone())),
            ];
            for (known, value) in found {
                known.extend(value.filter(|value| !known.contains(value)));
            }
        }
        if !source.log.is_empty() {
            self.logs.insert(id.clone(), source.log.clone());
        }
    }

    /// The parts of the footer. Unknown ones are left out.
    pub fn parts(&self) -> Vec<String> {
        let part = |name: &str, known: &[String]| {
            if known.is_empty() { String::new() } else { name.to_owned() + &list(known) }
        };
        let commits: Vec<String> = self.commits.iter().map(|commit| short_commit(commit)).collect();
        let parts = [
            if self.hash.is_empty() { String::new() } else { format!("sweep {}", self.hash) },
            part("commit ", &commits),
            part("plateau ", &self.versions),
            part("", &self.devices) + &part(" on ", &self.hosts),
            self.ended.map_or_else(String::new, date),
            if self.wall > 0 {
                format!("wall time {}", format::clock(self.wall as f64 / 1000.0))
            } else {
                String::new()
            },
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect()
    }
}

/// The last log lines of the newest attempt that has a log.
fn log(folder: &TrialDir) -> Vec<String> {
    const LINES: usize = 12;
    let attempts = (1..).map(|number| folder.attempt(number)).take_while(|attempt| attempt.path().is_dir());
    let logs = attempts.map(|attempt| attempt.log_tail(LINES)).filter(|log| !log.is_empty());
    logs.last().unwrap_or_default()
}

/// The first three values, and how many more there are.
fn list(values: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = values.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match values.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn short_commit(commit: &str) -> String {
    let (hash, changed) = commit.strip_suffix('+').map_or((commit, ""), |hash| (hash, " with uncommitted changes"));
    format!("{}{changed}", hash.get(..7).unwrap_or(hash))
}

/// When the status of a trial last changed, and the wall time of the sweep. A run that finds nothing to do changes neither.
fn times(records: &[Record]) -> (Option<u64>, u64) {
    let (mut opened, mut last, mut wall) = (None, None, 0);
    let mut counted = 0;
    for Record { at, event } in records {
        match event {
            Event::SweepOpened { .. } => (opened, counted) = (Some(*at), 0),
            Event::SweepInterrupted
            | Event::SweepDetached { .. }
            | Event::SearchEnded { .. }
            | Event::SweepClosed { .. } => {}
            _ => {
                last = Some(*at);
                let spent = opened.map_or(0, |opened| at.saturating_sub(opened));
                wall += spent.saturating_sub(counted);
                counted = counted.max(spent);
            }
        }
    }
    (last, wall)
}

/// `2026-11-22 22:15 UTC`. Days to dates by the algorithm `civil_from_days` of Howard Hinnant (chrono-compatible
/// low-level date algorithms), for days since 1970.
pub fn date(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    let days = minutes / 1440 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Handle;
    use crate::trial::Device;

    #[test]
    fn dates() {
        let check = |seconds: u64, expected: &str| assert_eq!(date(seconds * 1000), expected);
        check(0, "1970-01-01 00:00 UTC");
        check(951_827_696, "2000-02-29 12:34 UTC");
        check(1_709_251_199, "2024-02-29 23:59 UTC");
        check(1_798_761_600, "2027-01-01 00:00 UTC");
    }

    #[test]
    fn wall_time_counts_only_training() {
        let trial = || TrialId::parse("0123456789ab").unwrap();
        let opened = || Event::SweepOpened {
            sweep: "s".into(),
            version: "0".into(),
            host: "h".into(),
            pid: 1,
            trials: vec![trial()],
        };
        let events = [
            (1000, opened()),
            (2000, Event::AttemptStarted { trial: trial(), attempt: 1, handle: Handle::local(2) }),
            (5000, Event::AttemptInterrupted { trial: trial(), attempt: 1 }),
            (5100, Event::SweepInterrupted),
            (90_000, opened()),
            (92_000, Event::TrialRequeued { trial: trial() }),
            (200_000, opened()),
            (200_001, Event::SweepClosed { finished: 1, failed: 0 }),
        ];
        let records: Vec<Record> = events.into_iter().map(|(at, event)| Record { at, event }).collect();
        assert_eq!(times(&records), (Some(92_000), 6000));
        assert_eq!(times(&[]), (None, 0));
    }

    #[test]
    fn the_footer_names_each_origin_once() {
        let made_by = |device, commit: &str| MadeBy {
            micro_batch_tokens: None,
            micro_batch_splits: 0,
            bf16_unit: None,
            version: "0.1.0".into(),
            host: "here".into(),
            platform: "linux-x86_64".into(),
            device,
            threads: 1,
            git_commit: Some(commit.into()),
            parameters: None,
        };
        let mut provenance =
            Provenance { hash: "0123456789ab".into(), ended: Some(60_000), wall: 252_000, ..Provenance::default() };
        for index in 0..5 {
            let made_by = Some(made_by(Device::Cuda(index), "7db81a2f00000000+"));
            let log = if index == 3 { vec!["a warning".to_owned()] } else { Vec::new() };
            provenance.add(&TrialId::parse(&format!("{index:012x}")).unwrap(), &TrialProvenance { made_by, log });
        }
        assert_eq!(
            provenance.logs.into_iter().collect::<Vec<_>>(),
            [(TrialId::parse("000000000003").unwrap(), vec!["a warning".to_owned()])]
        );
        provenance.logs = BTreeMap::new();
        insta::assert_snapshot!(provenance.parts().join(" · "), @"sweep 0123456789ab · commit 7db81a2 with uncommitted changes · plateau 0.1.0 · cuda:0, cuda:1, cuda:2 and 2 more on here · 1970-01-01 00:01 UTC · wall time 4:12");
        assert!(Provenance::default().parts().is_empty());
    }
}
