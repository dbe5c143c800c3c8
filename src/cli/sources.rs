//! Finds the data files, checkpoints and augmentation models that a sweep names, and looks into them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Failure;
use super::inspect::Fault;
use super::inspector::Inspector;
use crate::plan::{AugmentationFound, DataFound, Facts, ModelFound};
use crate::spec::{DataSource, Draft, Place, Problem};
use crate::train;
use crate::trial::EvalSource;

/// What is known of every source of the sweep in `file`, and the problems, each with its place in the file.
pub(crate) fn find_sources(
    draft: &Draft,
    file: &Path,
    inspector: &mut Inspector<'_>,
) -> Result<(Facts, Vec<Problem>), Failure> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let roots = [folder, PathBuf::new()];
    let sources = draft.sources();
    let mut facts = Facts::default();
    let mut problems = Vec::new();
    let model_places: HashMap<String, Place> =
        sources.models.iter().map(|source| (source.from.clone(), source.place)).collect();
    for source in sources.models {
        // Nothing is downloaded for a sweep that has mistakes.
        if !draft.problems.is_empty() && source.from.starts_with("hf:") {
            continue;
        }
        match find_model(&source.from, &roots, inspector)? {
            Ok(found) => facts.models.push(found),
            Err(faults) => {
                problems.extend(faults.into_iter().map(|fault| Problem::new(source.place, fault.message)));
            }
        }
    }
    for source in sources.data {
        let model = facts.models.iter().find(|model| model.written == source.model);
        match find_data(&source, model, &roots, inspector)? {
            Ok(found) => facts.data.extend(found),
            Err(faults) => {
                let place = |key: &str| match model_places.get(&source.model) {
                    Some(place) if key == "model.from" => *place,
                    _ => source.place(key),
                };
                problems.extend(faults.into_iter().map(|fault| Problem::new(place(&fault.key), fault.message)));
            }
        }
    }
    for source in sources.augmentations {
        let (written, place) = (source.method, source.place);
        let located = match train::augment::locate(&written, &roots) {
            Ok(located) => located,
            Err(error) => {
                problems.push(Problem::new(place, error.to_string()));
                continue;
            }
        };
        match inspector.augmentation(&written, &located)? {
            Ok((identity, files)) => {
                facts.augmentations.push(AugmentationFound { written, located, identity, files, place });
            }
            Err(faults) => problems.extend(faults.into_iter().map(|fault| Problem::new(place, fault.message))),
        }
    }
    // Data that several checkpoints read is checked once for each of them.
    let mut seen = HashSet::new();
    problems.retain(|problem| seen.insert((problem.place(), problem.what().to_owned())));
    Ok((facts, problems))
}

/// A source that was found, or what is wrong with it; or why nothing can be opened at all.
type Found<T> = Result<Result<T, Vec<Fault>>, Failure>;

fn find_model(written: &str, roots: &[PathBuf], inspector: &mut Inspector<'_>) -> Found<ModelFound> {
    let located = match train::locate_model(written, roots) {
        Ok(located) => located,
        Err(error) => return Ok(Err(vec![Fault::new("model.from", error.to_string())])),
    };
    let facts = inspector.model(&located)?;
    Ok(facts.map(|facts| ModelFound { written: written.to_owned(), located, facts }))
}

/// Finds and reads the files of a data section. Without its checkpoint, whose absence is a problem of its own, the
/// files are only checked for mistakes.
fn find_data(
    source: &DataSource,
    model: Option<&ModelFound>,
    roots: &[PathBuf],
    inspector: &mut Inspector<'_>,
) -> Found<Option<DataFound>> {
    let mut located = source.data.clone();
    let mut faults = Vec::new();
    let mut locate = |written: &str, key| {
        let found = train::locate_data(written, roots);
        found.map_err(|error| faults.push(Fault::new(key, error.to_string()))).ok()
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
    let mut test = source.data.test.clone();
    if let Some(file) = test.as_mut().and_then(EvalSource::file_mut)
        && let Some(found) = locate(file.as_str(), "data.test")
    {
        *file = found;
    }
    let Some(train) = train else { return Ok(Err(faults)) };
    let has_all = faults.is_empty();
    // Without the files for evaluation and test, the training file is still checked.
    (located.train, located.eval) = (train, eval.unwrap_or(EvalSource::Fraction(0.5)));
    located.test = test.filter(|_| has_all);
    let found = match model.filter(|_| has_all) {
        Some(model) => inspector.data(&located, &model.located)?.map(Some),
        None => match inspector.check_data(&located)? {
            faults if faults.is_empty() => Ok(None),
            faults => Err(faults),
        },
    };
    Ok(match found {
        Ok(facts) if faults.is_empty() => Ok(facts.map(|facts| DataFound {
            written: source.data.clone(),
            model: source.model.clone(),
            located,
            facts,
        })),
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    })
}
