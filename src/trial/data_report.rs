//! What is known about the data of a trial: sizes, classes, lengths, duplicates, and warnings.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{TaskName, rounded_text};

/// A description of the training, the evaluation and the test split.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DataReport {
    #[serde(default)]
    pub task: TaskName,
    /// One line for each file: its name and how it was read.
    pub files: Vec<String>,
    /// Rows that were left out by `data.bad_rows: skip`.
    pub skipped_rows: usize,
    pub train: SplitReport,
    pub eval: SplitReport,
    /// Windows of a training text, on average. None: each text is one sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<f64>,
    /// None if there is no test set.
    #[serde(default)]
    pub test: Option<SplitReport>,
    /// Training rows whose text occurs in an earlier training row.
    pub duplicate_rows: usize,
    /// Different training texts that occur with two or more labels.
    pub conflicting_texts: usize,
    /// Evaluation rows whose text is also in the training split.
    pub leaked_rows: usize,
    /// Test rows whose text is also in the training split.
    #[serde(default)]
    pub leaked_test_rows: usize,
    /// Share of the training tokens that stand for unknown word pieces.
    pub unknown_tokens: f64,
    /// Word pieces of a word of the training texts, on average. 0 if it is not known.
    #[serde(default)]
    pub pieces_per_word: f64,
    /// What looks like a mistake, in whole sentences.
    pub warnings: Vec<String>,
}

/// A description of one split. Lengths are in tokens without truncation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SplitReport {
    pub rows: usize,
    /// Rows of each class, or words of each tag, in class order. A row may have several labels, if the task allows that.
    pub class_rows: Vec<usize>,
    /// Words with a tag. None: labels are of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<usize>,
    /// Of labels that are numbers.
    #[serde(default)]
    pub numbers: Option<NumberReport>,
    pub median_tokens: u32,
    /// 95 % of the texts are not longer.
    pub tokens_95_percent: u32,
    pub longest_tokens: u32,
    /// Share of the texts that `data.max_length` truncates.
    pub truncated_share: f64,
    /// Share of all tokens that are lost by truncation.
    pub lost_tokens_share: f64,
    #[serde(default)]
    pub floors: InputFloors,
}

/// The least mean cross-entropy of any model of a split, in nats, by what the model can tell apart. Rows with equal inputs
/// and different labels raise it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct InputFloors {
    /// Of a model that ignores its input: the entropy of the labels.
    pub prior: f64,
    /// Of a model that reads the texts.
    pub texts: f64,
    /// Of a model that reads the texts in lower case.
    pub lowercase: f64,
    /// Of a model that reads the token ids, after truncation.
    pub ids: f64,
    /// Of a model that reads the token ids without their order.
    pub bags: f64,
}

impl InputFloors {
    /// Share of the entropy of the labels by which two floors must differ to count.
    pub const COUNTS: f64 = 0.05;

    /// Whether the tokenizer or the truncation removes what tells labels apart.
    #[must_use]
    pub fn ids_are_blind(&self) -> bool {
        self.ids - self.texts > Self::COUNTS * self.prior
    }

    /// Whether labels depend on the order of the tokens.
    #[must_use]
    pub fn order_counts(&self) -> bool {
        self.bags - self.ids > Self::COUNTS * self.prior
    }

    /// What would let a model read what the token ids lose.
    #[must_use]
    pub fn remedy(&self, truncated_share: f64) -> &'static str {
        if self.lowercase - self.texts > Self::COUNTS * self.prior
            && self.ids <= self.lowercase + Self::COUNTS * self.prior
        {
            "a cased checkpoint reads the capitals that tell them apart"
        } else if truncated_share > 0.0 {
            "a longer data.max_length reads the words that are cut off"
        } else {
            "a checkpoint whose vocabulary holds the characters that tell them apart reads them"
        }
    }
}

/// A description of the numbers to predict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumberReport {
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl NumberReport {
    /// `mean 2.51, standard deviation 1.20, from 0.00 to 5.00`.
    fn text(&self) -> String {
        let Self { mean, deviation, lowest, highest } = self;
        let [mean, deviation, lowest, highest] = [mean, deviation, lowest, highest].map(|x| rounded_text(*x, 4));
        format!("mean {mean}, standard deviation {deviation}, from {lowest} to {highest}")
    }
}

impl DataReport {
    /// `900 training rows, 100 evaluation rows, 2 classes`.
    #[must_use]
    pub fn size(&self, classes: usize) -> String {
        let test = self.test.as_ref().map_or_else(String::new, |test| format!(", {} test rows", test.rows));
        let classes = match (&self.train.numbers, self.train.words) {
            (Some(_), _) => String::new(),
            (None, Some(words)) => format!(", {words} training words, {classes} tags"),
            (None, None) if classes == 0 => String::new(),
            (None, None) => format!(", {classes} {}", self.names()),
        };
        format!("{} training rows, {} evaluation rows{test}{classes}", self.train.rows, self.eval.rows)
    }

    /// What the labels are.
    fn names(&self) -> &'static str {
        match self.task {
            _ if self.train.words.is_some() => "tags",
            TaskName::MultipleChoice => "choices",
            _ => "classes",
        }
    }

    /// The share of each class, the most frequent first.
    fn classes(&self, labels: &[String]) -> String {
        const SHOWN: usize = 8;
        let percent =
            |n: usize, split: &SplitReport| 100.0 * n as f64 / split.words.unwrap_or(split.rows).max(1) as f64;
        let count = |class: usize, split: &SplitReport| split.class_rows.get(class).copied().unwrap_or(0);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&class| std::cmp::Reverse(count(class, &self.train)));
        let shown = order.iter().take(SHOWN).map(|&class| {
            let (train, eval) = (count(class, &self.train), count(class, &self.eval));
            let name: String = labels[class].chars().take(30).collect();
            let test = self
                .test
                .as_ref()
                .map_or_else(String::new, |test| format!(", {:.1} % in test", percent(count(class, test), test)));
            format!("{name} {:.1} % ({:.1} % in eval{test})", percent(train, &self.train), percent(eval, &self.eval))
        });
        let mut classes = shown.collect::<Vec<_>>().join(", ");
        if labels.len() > SHOWN {
            let _ = write!(classes, " and {} more", labels.len() - SHOWN);
        }
        format!("{}: {classes}", self.names())
    }

    /// What the labels are: classes with their shares, or numbers. None if there are none.
    fn labels_line(&self, labels: &[String]) -> Option<String> {
        let Some(numbers) = &self.train.numbers else {
            return (!labels.is_empty()).then(|| self.classes(labels));
        };
        let others = [("eval", Some(&self.eval)), ("test", self.test.as_ref())].into_iter();
        let others = others.filter_map(|(name, split)| Some((name, split?.numbers.as_ref()?)));
        let others = others.map(|(name, numbers)| format!("in {name}: {}", numbers.text()));
        let all: Vec<String> = std::iter::once(format!("labels: {}", numbers.text())).chain(others).collect();
        Some(all.join("; "))
    }

    /// How long the texts are.
    fn tokens_line(&self) -> String {
        format!(
            "tokens of a training text: median {}, 95 % up to {}, longest {}; {:.1} % of the texts are truncated and lose {:.1} % of all tokens",
            self.train.median_tokens,
            self.train.tokens_95_percent,
            self.train.longest_tokens,
            100.0 * self.train.truncated_share,
            100.0 * self.train.lost_tokens_share
        )
    }

    /// The report in up to three lines, and its warnings.
    #[must_use]
    pub fn brief(&self, labels: &[String]) -> Vec<String> {
        let mut size = format!("data: {}", self.size(labels.len()));
        for (count, what) in [
            (self.skipped_rows, ["bad row is left out", "bad rows are left out"]),
            (self.duplicate_rows, ["training row repeats an earlier text", "training rows repeat an earlier text"]),
        ] {
            if count > 0 {
                // Writing to a String cannot fail.
                let _ = write!(size, "; {count} {}", what[usize::from(count > 1)]);
            }
        }
        let mut lines = vec![size];
        lines.extend(self.labels_line(labels));
        lines.push(self.tokens_line());
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    /// The report as lines of text. `labels` are the label names in class order.
    #[must_use]
    pub fn lines(&self, labels: &[String]) -> Vec<String> {
        let mut lines = self.files.clone();
        if self.skipped_rows > 0 {
            lines.push(format!("bad rows that are left out (data.bad_rows: skip): {}", self.skipped_rows));
        }
        lines.push(self.size(labels.len()));
        lines.extend(self.labels_line(labels));
        lines.push(self.tokens_line());
        if let Some(windows) = self.windows {
            lines.push(format!(
                "windows of a training text: {windows:.1} on average; epochs and batch_size count texts"
            ));
        }
        let floors = &self.train.floors;
        if floors.bags > 0.005 {
            lines.push(format!(
                "lowest possible training loss by what a model reads: texts {:.3}, token ids {:.3}, token ids without order \
                 {:.3}; without any input {:.3}",
                floors.texts, floors.ids, floors.bags, floors.prior
            ));
        }
        if self.duplicate_rows > 0 {
            lines.push(format!("training rows that repeat an earlier text: {}", self.duplicate_rows));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}
