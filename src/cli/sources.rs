//! Finds the data files, checkpoints and augmentation models that a sweep names, and looks into them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::deferred_cache::DeferredCache;
use crate::plan::{AugmentationFound, DataFound, Facts, ModelFound};
use crate::spec::{DataSource, Draft, Problem};
use crate::train::{self, KeyFault};
use crate::trial::EvalSource;

/// What is known of every source of the sweep in `file`, and the problems, each with its place in the file.
pub(crate) fn find_sources(draft: &Draft, file: &Path, cache: &DeferredCache) -> (Facts, Vec<Problem>) {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let roots = [folder, PathBuf::new()];
    let sources = draft.sources();
    let mut facts = Facts::default();
    let mut problems = Vec::new();
    for source in sources.models {
        // Nothing is downloaded for a sweep that has mistakes.
        if !draft.problems.is_empty() && source.from.starts_with("hf:") {
            continue;
        }
        match find_model(&source.from, &roots) {
            Ok(found) => facts.models.push(found),
            Err(error) => problems.push(Problem::new(source.place, error)),
        }
    }
    for source in sources.data {
        let model = facts.models.iter().find(|model| model.written == source.model);
        match find_data(&source, model, &roots, cache) {
            Ok(found) => facts.data.extend(found),
            Err(faults) => {
                let found = faults.into_iter().map(|fault| Problem::new(source.place(fault.key), fault.message));
                problems.extend(found);
            }
        }
    }
    for source in sources.augmentations {
        match train::augment::locate(&source.method, &roots) {
            Ok(train::augment::LocatedAugmentation { method: located, identity }) => {
                let (written, place) = (source.method, source.place);
                facts.augmentations.push(AugmentationFound { written, located, identity, place });
            }
            Err(error) => problems.push(Problem::new(source.place, error.to_string())),
        }
    }
    // Data that several checkpoints read is checked once for each of them.
    let mut seen = HashSet::new();
    problems.retain(|problem| seen.insert((problem.place(), problem.what().to_owned())));
    (facts, problems)
}

fn find_model(written: &str, roots: &[PathBuf]) -> Result<ModelFound, String> {
    let located = train::locate_model(written, roots).map_err(|error| error.to_string())?;
    let facts = train::model_facts(&located).map_err(|error| {
        let message = error.to_string();
        if message.starts_with(&located) { message } else { format!("{located}: {message}") }
    })?;
    Ok(ModelFound { written: written.to_owned(), located, facts })
}

/// Finds and reads the files of a data section. Without its checkpoint, whose absence is a problem of its own, the
/// files are only checked for mistakes.
fn find_data(
    source: &DataSource,
    model: Option<&ModelFound>,
    roots: &[PathBuf],
    cache: &DeferredCache,
) -> Result<Option<DataFound>, Vec<KeyFault>> {
    let mut located = source.data.clone();
    let mut faults = Vec::new();
    let mut locate = |written: &str, key| {
        let found = train::locate_data(written, roots);
        found.map_err(|error| faults.push(KeyFault { key, message: error.to_string() })).ok()
    };
    let train = locate(&source.data.train, "data.train");
    let mut eval = Some(source.data.eval.clone());
    if let Some(written) = source.data.eval.file() {
        let found = locate(written, "data.eval");
        eval = found.and_then(|found| {
            let mut eval = source.data.eval.clone();
            *eval.file_mut()? = found;
            Some(eval)
        });
    }
    let Some(train) = train else { return Err(faults) };
    let has_eval = eval.is_some();
    // Without the evaluation file, the training file is still checked.
    (located.train, located.eval) = (train, eval.unwrap_or(EvalSource::Fraction(0.5)));
    let found = match model.filter(|_| has_eval) {
        Some(model) => train::data_facts(&located, &model.located, cache).map(Some),
        None => train::check_data(&located).map(|()| None),
    };
    match found {
        Ok(facts) if faults.is_empty() => Ok(facts.map(|facts| DataFound {
            written: source.data.clone(),
            model: source.model.clone(),
            located,
            facts,
        })),
        Ok(_) => Err(faults),
        Err(error) => {
            faults.extend(error.faults("data.train"));
            Err(faults)
        }
    }
}
