//! `plateau augment`: shows texts before and after an augmentation.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use console::style;

use super::Failure;
use super::arguments::key_value;
use super::contained::{contained, size_of};
use super::inspector::folder_size;
use super::output::{notify, printed};
use crate::plan;
use crate::spec::{self, SweepSpec};
use crate::train::augment::{AugmentContext, Augmenter, ChangeStats, locate};
use crate::train::{self, Cache, TrainError};
use crate::trial::{Augmentation, printable};

#[derive(Debug, Args)]
pub(crate) struct AugmentArguments {
    /// A data file as in data.train, whose column data.text is read, a .txt file with one text a line, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// The augmentation: --set augmentation=eda, --set 'augmentation={name: synonym, rate: 0.2}'. Other keys as in a sweep file
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Seed of the random changes, as `seed` in a sweep file
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Epoch: each epoch draws other variants
    #[arg(long, value_name = "N", default_value_t = 0)]
    epoch: u64,
    /// Print at the end how much has changed
    #[arg(long)]
    stats: bool,
}

/// Prints each text and its variant, one line each.
pub(crate) fn augment(arguments: &AugmentArguments) -> Result<ExitCode, Failure> {
    let spec = spec::parse("--set", "augment", "", &arguments.set)?;
    let methods = methods(&spec)?;
    let model = train::locate_model(&spec.base().model.from, &[PathBuf::new()]);
    let model = model.map_err(|error| Failure::input(error.to_string()))?;
    let folders = methods.iter().flat_map(train::augment::resources).chain([Path::new(&model)]);
    contained(folders.map(folder_size).sum(), size_of(&arguments.file), || {
        print_variants(arguments, &spec, &methods, &model)
    })
}

fn print_variants(
    arguments: &AugmentArguments,
    spec: &SweepSpec,
    methods: &[Augmentation],
    model: &str,
) -> Result<ExitCode, Failure> {
    let bad = |error: TrainError| Failure::input(error.to_string());
    let examples = examples(arguments, spec).map_err(bad)?;
    for method in methods {
        train::augment::identify(method, method).map_err(bad)?;
    }
    let config = spec.base();
    let context = AugmentContext {
        examples: &examples,
        model,
        max_length: config.data.max_length,
        cache: &NoCache,
        notify: &|_| (),
    };
    let augmenter = Augmenter::new(methods, arguments.seed.unwrap_or(config.seed), &context).map_err(bad)?;
    let mut stats = ChangeStats::default();
    let mut print = || -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for (index, example) in examples.iter().enumerate() {
            let variant = augmenter.apply(arguments.epoch, index, example);
            for (before, after) in
                std::iter::once((&example.text, &variant.text)).chain(example.pair.iter().zip(&variant.pair))
            {
                stats.add(before, after);
                let [before, after] = [before, after].map(|text| printable(&line(text)).into_owned());
                writeln!(out, "{}\n{after}", style(before).dim())?;
            }
        }
        if arguments.stats {
            write!(out, "\n{}", summary(&stats))?;
        }
        out.flush()
    };
    printed(print())?;
    Ok(ExitCode::SUCCESS)
}

/// The augmentations with their files located. Warns of those that change no text.
fn methods(spec: &SweepSpec) -> Result<Vec<Augmentation>, Failure> {
    let methods = &spec.base().augmentation;
    if methods.is_empty() {
        notify(
            "warning: no augmentation given, so the texts stay the same. Choose one with --set augmentation=synonym",
        );
    }
    for method in methods.iter().filter(|method| !method.changes_texts()) {
        let name = method.name();
        notify(&format!("warning: {name} does not change texts: it works inside the model"));
    }
    if let Some((what, hint)) = plan::augmentation_mistakes(methods).into_iter().next() {
        return Err(Failure::input(format!("{what}: {hint}")));
    }
    let located = methods.iter().map(|method| locate(method, &[PathBuf::new()]));
    located.collect::<Result<_, _>>().map_err(|error| Failure::input(error.to_string()))
}

/// The texts to augment.
fn examples(arguments: &AugmentArguments, spec: &SweepSpec) -> Result<Vec<train::data::Example>, TrainError> {
    let file = &arguments.file;
    if file != "-" {
        let located = train::locate_data(file, &[PathBuf::new()])?;
        return Ok(train::data::labelled_texts(&located, &spec.base().data, true)?.examples);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        TrainError::Input(format!("standard input: not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
    })?;
    Ok(text.lines().map(train::data::Example::unlabelled).collect())
}

/// A text on one line.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Which share of the texts and words changed.
fn summary(stats: &ChangeStats) -> String {
    let share = |part: usize, whole: usize| {
        let percent = 100.0 * part as f64 / whole.max(1) as f64;
        format!("{percent:5.1} %  ({part} of {whole})")
    };
    let ChangeStats { texts, texts_changed, words, words_changed, negations, sentiment, .. } = *stats;
    let (negations_changed, sentiment_changed) = (stats.negations_changed, stats.sentiment_changed);
    format!(
        "words changed                {}\nsentences changed            {}\nlabel-bearing words touched  {}\n  negations                  {}\n  sentiment words            {}\n",
        share(words_changed, words),
        share(texts_changed, texts),
        share(negations_changed + sentiment_changed, negations + sentiment),
        share(negations_changed, negations),
        share(sentiment_changed, sentiment),
    )
}

/// A cache that keeps nothing, because the command writes no files.
struct NoCache;

impl Cache for NoCache {
    fn get(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _key: &str, _bytes: &[u8]) {}
}
