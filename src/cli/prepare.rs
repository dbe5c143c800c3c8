//! From what the user typed to a plan: finds the sweep file, its data and its checkpoints, and expands it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Args;

use super::Failure;
use crate::plan::{DataFound, Facts, ModelFound, Plan, expand};
use crate::spec::{Place, Problem, SweepSpec, parse};
use crate::store::{Results, RunDir};
use crate::train::{self, Cache as _};
use crate::trial::{EvalSource, TrialId};
use crate::worker::DiskCache;

/// Which sweep, as changed on the command line.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// A path, or the name of a file in sweeps/ without .yaml
    pub sweep: String,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Override a fixed value: --set lr=1e-4 --set model.dropout=0
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// A sweep ready to be run, planned or reported.
pub(crate) struct Prepared {
    pub spec: SweepSpec,
    pub facts: Facts,
    pub plan: Plan,
    pub results: Results,
    pub dir: RunDir,
    /// What was computed on the way, for [`Later::store`].
    pub cache: Later,
}

/// The cache of the results folder, written to only when told: a command that ends with a mistake leaves nothing behind.
pub(crate) struct Later {
    disk: DiskCache,
    waiting: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Later {
    fn new(disk: DiskCache) -> Self {
        Self { disk, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(String, Vec<u8>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was put so far.
    pub(crate) fn store(&self) {
        for (key, bytes) in self.waiting().drain(..) {
            self.disk.put(&key, &bytes);
        }
    }
}

impl train::Cache for Later {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let waiting = self.waiting().iter().find(|(waiting, _)| waiting == key).map(|(_, bytes)| bytes.clone());
        waiting.or_else(|| self.disk.get(key))
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.waiting().push((key.to_owned(), bytes.to_owned()));
    }
}

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// Reads and expands the sweep. Warnings are left in the plan. Writes nothing.
pub(crate) fn prepare(arguments: &SweepArguments) -> Result<Prepared, Failure> {
    let path = find(&arguments.sweep)?;
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or("sweep");
    let spec = parse(&path.display().to_string(), stem, &read(&path)?, &arguments.set)?;
    prepared(spec, &path, &arguments.results)
}

/// A sweep called `name` that `text` describes, made from that of `arguments` with its overrides applied.
pub(crate) fn prepare_text(arguments: &SweepArguments, name: &str, text: &str) -> Result<Prepared, Failure> {
    prepared(parse(name, name, text, &[])?, &find(&arguments.sweep)?, &arguments.results)
}

/// `path`: where relative paths of the sweep start from.
fn prepared(spec: SweepSpec, path: &Path, results: &Path) -> Result<Prepared, Failure> {
    let results = Results::new(results)?;
    let dir = results.sweep(&spec.name)?;
    let cache = Later::new(DiskCache(results.cache()));
    let facts = find_sources(&spec, path, &cache)?;
    let plan = expand(&spec, &facts)?;
    Ok(Prepared { spec, facts, plan, results, dir, cache })
}

/// The sweep file that a path or a bare name means.
pub(crate) fn find(sweep: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(sweep);
    let is_bare = path.components().count() == 1 && path.extension().is_none_or(|ext| ext != "yaml" && ext != "yml");
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if is_bare {
        for ending in ["yaml", "yml"] {
            let named = Path::new("sweeps").join(format!("{sweep}.{ending}"));
            if named.is_file() {
                return Ok(named);
            }
        }
    }
    if path.is_dir() {
        return Err(Failure::input(format!("{sweep} is a folder: name a sweep file")));
    }
    let place = if is_bare { format!("sweeps/{sweep}.yaml") } else { sweep.to_owned() };
    let known = known_sweeps();
    let hint = match known.as_slice() {
        [] => "There is no folder sweeps/ here: give the path of a sweep file".to_owned(),
        names => format!("Sweeps here: {}", names.join(", ")),
    };
    Err(Failure::input(format!("{place}: no such file. {hint}")))
}

pub(crate) fn known_sweeps() -> Vec<String> {
    let files = fs::read_dir("sweeps").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|&byte| byte == b'\n').count();
        Failure::input(format!("{}:{line}: not UTF-8: save the file as UTF-8", path.display()))
    })
}

/// Finds and looks into every data file and checkpoint of the sweep; what is missing is reported at its place.
fn find_sources(spec: &SweepSpec, file: &Path, cache: &Later) -> Result<Facts, Failure> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let roots = [folder, PathBuf::new()];
    let sources = spec.sources();
    let mut facts = Facts::default();
    let mut problems = Vec::new();
    for source in sources.models {
        match locate_model(&source.from, &roots) {
            Ok(found) => facts.models.push(found),
            Err(error) => problems.push(Problem::new(source.place, error)),
        }
    }
    for source in sources.data {
        // A missing checkpoint is reported once, as a checkpoint.
        let Some(model) = facts.models.iter().find(|model| model.written == source.model) else { continue };
        let (place, eval_place) = (source.place, source.eval_place);
        let mut located = source.data.clone();
        let mut locate = |written: &str, place: Place| {
            train::locate_data(written, &roots)
                .map_err(|error| problems.push(Problem::new(place, error.to_string())))
                .ok()
        };
        let train = locate(&source.data.train, place);
        let eval = match &source.data.eval {
            EvalSource::Fraction(fraction) => Some(EvalSource::Fraction(*fraction)),
            EvalSource::File(written) => locate(written, eval_place).map(EvalSource::File),
        };
        let (Some(train), Some(eval)) = (train, eval) else { continue };
        (located.train, located.eval) = (train, eval);
        match train::data_facts(&located, &model.located, cache) {
            Ok(found) => {
                facts.data.push(DataFound { written: source.data, model: source.model, located, facts: found });
            }
            Err(error) => problems.push(Problem::new(place, error.to_string())),
        }
    }
    if problems.is_empty() { Ok(facts) } else { Err(spec.problems(problems).into()) }
}

fn locate_model(written: &str, roots: &[PathBuf]) -> Result<ModelFound, String> {
    let located = train::locate_model(written, roots).map_err(|error| error.to_string())?;
    let facts = train::model_facts(&located).map_err(|error| {
        let message = error.to_string();
        if message.starts_with(&located) { message } else { format!("{located}: {message}") }
    })?;
    Ok(ModelFound { written: written.to_owned(), located, facts })
}

/// The trials that `--only key=value` leaves: several values of one key are alternatives, several keys all hold.
pub(crate) fn only(plan: &Plan, wanted: &[(String, String)]) -> Result<Vec<TrialId>, Failure> {
    for (key, text) in wanted {
        let Some(axis) = plan.axes.iter().find(|axis| axis.key == *key) else {
            let keys: Vec<_> = plan.axes.iter().map(|axis| axis.key.as_str()).collect();
            return Err(Failure::input(format!(
                "--only {key}={text}: `{key}` does not vary; what varies: {}",
                keys.join(", ")
            )));
        };
        if !axis.values.iter().any(|value| is_meant(value, text)) {
            let values: Vec<_> = axis.values.iter().map(|value| value.text.as_str()).collect();
            return Err(Failure::input(format!(
                "--only {key}={text}: not among the values of `{key}`: {}",
                values.join(", ")
            )));
        }
    }
    let fits = |values: &[(String, crate::trial::AxisValue)]| {
        wanted.iter().all(|(key, _)| {
            let mut alternatives = wanted.iter().filter(|(other, _)| other == key);
            let value = values.iter().find(|(name, _)| name == key);
            value.is_some_and(|(_, value)| alternatives.any(|(_, text)| is_meant(value, text)))
        })
    };
    Ok(plan.trials.iter().filter(|trial| fits(&trial.values)).map(|trial| trial.id.clone()).collect())
}

fn is_meant(value: &crate::trial::AxisValue, text: &str) -> bool {
    let text = text.trim();
    value.text == text || text.parse::<f64>().is_ok_and(|number| value.value.as_f64() == Some(number))
}
