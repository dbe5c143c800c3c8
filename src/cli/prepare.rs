//! From what the user typed to a plan: finds the sweep file, its data and its checkpoints, and expands it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Args;

use super::Failure;
use super::origin::{self, Origin};
use super::run::MachineArguments;
use super::words::warn;
use crate::decide;
use crate::plan::{AugmentationFound, DataFound, Facts, ModelFound, Plan, expand, probe_plan};
use crate::run;
use crate::spec::{self, DataSource, Draft, Place, Probing, Problem, RunConfig, StopAcross, SweepSpec};
use crate::store::{Results, RunDir};
use crate::train::{self, Cache as _, KeyFault};
use crate::trial::{EvalSource, Keep, Trial, TrialId};
use crate::worker::DiskCache;

/// Folder of all results where no other is named.
pub(crate) const RESULTS: &str = "results";

/// Which sweep, as changed on the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct SweepArguments {
    /// A path, or the name of a file in sweeps/ without .yaml
    pub sweep: String,
    /// Folder of all results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    pub results: PathBuf,
    /// Override a fixed value: --set lr=1e-4 --set model.dropout=0
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// As it is typed, for hints of other commands.
impl fmt::Display for SweepArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.sweep))?;
        if self.results != Path::new(RESULTS) {
            write!(f, " --results {}", quoted(&self.results.display().to_string()))?;
        }
        self.set.iter().try_for_each(|pair| write!(f, " {}", option(pair)))
    }
}

/// `--set key=value`, as a shell takes it.
pub(super) fn option((key, value): &(String, String)) -> String {
    format!("--set {}", quoted(&format!("{key}={value}")))
}

/// A word for a shell. None takes a NUL, in quotes or without.
fn quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// A sweep ready to be run, planned or reported.
pub(crate) struct Prepared {
    pub spec: SweepSpec,
    pub facts: Facts,
    pub plan: Plan,
    pub origin: Origin,
    pub results: Results,
    pub dir: RunDir,
    /// What was computed on the way, for [`Later::store`].
    pub cache: Later,
}

impl Prepared {
    /// The probes of this sweep's trials as a sweep in a sub-folder; each trial keeps `keep` of its states.
    pub(crate) fn of_probes(&self, trials: Vec<Trial>, keep: Keep) -> Result<Self, Failure> {
        let results = self.results.within(&self.dir);
        let mut spec = self.spec.clone();
        spec.run = RunConfig { keep, probe: Probing::Off, log_to: Vec::new(), stop: StopAcross::default(), ..spec.run };
        Ok(Self {
            spec,
            facts: self.facts.clone(),
            plan: probe_plan(RunDir::PROBES, trials),
            origin: self.origin.clone(),
            dir: results.sweep(RunDir::PROBES)?,
            cache: Later::new(DiskCache(self.results.cache())),
            results,
        })
    }
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
///
/// `machine`: what the command line says of it, if the sweep is to run here; then the devices must be there.
pub(crate) fn prepare(arguments: &SweepArguments, machine: Option<&MachineArguments>) -> Result<Prepared, Failure> {
    let path = find(&arguments.sweep)?;
    let text = read(&path)?;
    prepared(origin::stem(&path), &path, &text, arguments, machine)
}

/// A sweep called `name` that `text` describes, made from that of `arguments` with its overrides applied.
pub(crate) fn prepare_text(arguments: &SweepArguments, name: &str, text: &str) -> Result<Prepared, Failure> {
    let arguments = SweepArguments { set: Vec::new(), ..arguments.clone() };
    prepared(name, &find(&arguments.sweep)?, text, &arguments, None)
}

/// `stem`: the name of a sweep that gives none itself; `path`: where relative paths of the sweep start from.
fn prepared(
    stem: &str,
    path: &Path,
    text: &str,
    arguments: &SweepArguments,
    machine: Option<&MachineArguments>,
) -> Result<Prepared, Failure> {
    let draft = spec::draft(&path.display().to_string(), stem, text, &arguments.set);
    let results = Results::new(&arguments.results)?;
    let cache = Later::new(DiskCache(results.cache()));
    let (facts, missing) = find_sources(&draft, path, &cache);
    let Draft { spec, mut problems, .. } = draft;
    problems.extend(missing);
    if machine.is_some_and(|machine| machine.devices.is_none()) {
        problems.extend(missing_device(&spec));
    }
    if !problems.is_empty() {
        return Err(spec.problems(problems).into());
    }
    let dir = results.sweep(&spec.name)?;
    let plan = expand(&spec, &facts)?;
    let origin = Origin::new(stem, path, text, &arguments.set, &facts);
    Ok(Prepared { spec, facts, plan, origin, results, dir, cache })
}

fn missing_device(spec: &SweepSpec) -> Option<Problem> {
    let machine = run::machine(train::available_devices());
    let error = decide::check_devices(&spec.run.devices, &machine).err()?;
    Some(Problem::new(spec.run_place("devices"), error.to_string()))
}

/// A sweep as those see it who only look at its results.
pub(crate) struct Standing {
    pub plan: Plan,
    pub dir: RunDir,
}

/// The sweep as it was last run, if the sweep file still says the same or cannot be used; else as the file says. What was
/// run before can be looked at without its data, its checkpoint, or the sweep file.
pub(crate) fn standing(arguments: &SweepArguments) -> Result<Standing, Failure> {
    let results = Results::new(&arguments.results)?;
    let found = find(&arguments.sweep).and_then(|path| read(&path).map(|text| (path, text)));
    let name = match &found {
        Ok((path, text)) => spec::draft("", origin::stem(path), text, &arguments.set).spec.name,
        Err(_) => arguments.sweep.clone(),
    };
    let dir = results.sweep(&name);
    let last = dir.as_ref().ok().and_then(Origin::read);
    let same = match &found {
        Ok((path, text)) => last.as_ref().is_some_and(|last| last.is_of(path, text, &arguments.set)),
        Err(_) => true,
    };
    let ran = last.as_ref().and_then(Origin::plan);
    match (ran, found) {
        (Some(plan), _) if same => Ok(Standing { plan, dir: dir? }),
        (_, Err(missing)) => Err(missing),
        (ran, Ok(_)) => match (prepare(arguments, None), ran) {
            (Ok(Prepared { plan, dir, .. }), _) => Ok(Standing { plan, dir }),
            (Err(failure), Some(plan)) => {
                warn(&[format!("warning: {failure}\nShown is the sweep as it was last run.")]);
                Ok(Standing { plan, dir: dir? })
            }
            (Err(failure), None) => Err(failure),
        },
    }
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
        return Err(Failure::input(format!("{sweep} is a folder: name a sweep file, such as {sweep}/NAME.yaml")));
    }
    Err(Failure::input(no_such_file(sweep, is_bare)))
}

/// What to say of a sweep that is not there: the nearest one, or those that are.
fn no_such_file(sweep: &str, is_bare: bool) -> String {
    if is_bare {
        let known = known_sweeps();
        let beside = PathBuf::from(format!("{sweep}.yaml"));
        let hint = match spec::nearest(sweep, known.iter().map(String::as_str)) {
            _ if beside.is_file() => format!("Did you mean the file {}?", beside.display()),
            Some(near) => format!("Did you mean `{near}`? Sweeps here: {}", known.join(", ")),
            None if known.is_empty() => "There are no sweeps in sweeps/ here: give the path of a sweep file".to_owned(),
            None => format!("Sweeps here: {}", known.join(", ")),
        };
        return format!("there is no sweep `{sweep}`, no file sweeps/{sweep}.yaml. {hint}");
    }
    let path = Path::new(sweep);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files: Vec<String> = stems_in(folder).into_iter().map(|(_, name)| name).collect();
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let hint = match spec::nearest(name, files.iter().map(String::as_str)) {
        _ if !folder.is_dir() => format!("There is no folder {}", folder.display()),
        Some(near) => format!("Did you mean {}?", path.with_file_name(near).display()),
        None if files.is_empty() => format!("There is no .yaml file in {}", folder.display()),
        None => format!("Sweep files there: {}", files.join(", ")),
    };
    format!("{sweep}: no such file. {hint}")
}

/// Stems and names of the YAML files in a folder, sorted.
fn stems_in(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
    let text = |part: Option<&OsStr>| part.and_then(OsStr::to_str).map(str::to_owned);
    let mut found: Vec<(String, String)> =
        files.filter(is_yaml).filter_map(|path| Some((text(path.file_stem())?, text(path.file_name())?))).collect();
    found.sort_unstable();
    found
}

/// The name of the sweep in the file `sweeps/STEM.yaml`: what the file says, else the stem.
pub(crate) fn name_of(stem: &str) -> String {
    let text = find(stem).and_then(|path| read(&path));
    text.map_or_else(|_| stem.to_owned(), |text| spec::draft("", stem, &text, &[]).spec.name)
}

/// Names of the sweeps in `sweeps/`.
pub(crate) fn known_sweeps() -> Vec<String> {
    stems_in(Path::new("sweeps")).into_iter().map(|(stem, _)| stem).collect()
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|&byte| byte == b'\n').count();
        Failure::input(format!("{}:{line}: not UTF-8: save the file as UTF-8", path.display()))
    })
}

/// Finds and looks into every data file and checkpoint that the sweep names; what is wrong is reported at its place.
fn find_sources(draft: &Draft, file: &Path, cache: &Later) -> (Facts, Vec<Problem>) {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let roots = [folder, PathBuf::new()];
    let sources = draft.sources();
    let mut facts = Facts::default();
    let mut problems = Vec::new();
    for source in sources.models {
        // Nothing is fetched for a sweep that will not run.
        if !draft.problems.is_empty() && source.from.starts_with("hf:") {
            continue;
        }
        match locate_model(&source.from, &roots) {
            Ok(found) => facts.models.push(found),
            Err(error) => problems.push(Problem::new(source.place, error)),
        }
    }
    for source in sources.data {
        let model = facts.models.iter().find(|model| model.written == source.model);
        match look_into(&source, model, &roots, cache) {
            Ok(found) => facts.data.extend(found),
            Err(faults) => {
                let found = faults.into_iter().map(|fault| Problem::new(source.place(fault.key), fault.message));
                problems.extend(found);
            }
        }
    }
    for source in sources.augmentations {
        match train::augment::locate(&source.method, &roots) {
            Ok(train::augment::Located { method: located, identity }) => {
                let (written, place) = (source.method, source.place);
                facts.augmentations.push(AugmentationFound { written, located, identity, place });
            }
            Err(error) => problems.push(Problem::new(source.place, error.to_string())),
        }
    }
    // Several checkpoints read the same data.
    let mut told = HashSet::new();
    problems.retain(|problem| told.insert((problem.place(), problem.what().to_owned())));
    (facts, problems)
}

/// Finds and reads the files of a data section. Without its checkpoint, which is reported by itself, only for mistakes.
fn look_into(
    source: &DataSource,
    model: Option<&ModelFound>,
    roots: &[PathBuf],
    cache: &Later,
) -> Result<Option<DataFound>, Vec<KeyFault>> {
    let mut located = source.data.clone();
    let mut faults = Vec::new();
    let mut locate = |written: &str, key| {
        let found = train::locate_data(written, roots);
        found.map_err(|error| faults.extend(error.faults(key))).ok()
    };
    let train = locate(&source.data.train, "data.train");
    let eval = match &source.data.eval {
        EvalSource::Fraction(fraction) => Some(EvalSource::Fraction(*fraction)),
        EvalSource::File(written) => locate(written, "data.eval").map(EvalSource::File),
    };
    let Some(train) = train else { return Err(faults) };
    let is_whole = eval.is_some();
    // With the evaluation file gone, the other one is still looked into.
    (located.train, located.eval) = (train, eval.unwrap_or(EvalSource::Fraction(0.5)));
    let found = match model.filter(|_| is_whole) {
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

/// Asks the models and programs of the augmentations of the `wanted` trials about all texts, so that a fault shows before anything is
/// trained, and no trial has to ask again.
pub(crate) fn ask(prepared: &Prepared, wanted: &[(String, String)], quiet: bool) -> Result<(), Failure> {
    let ids: HashSet<TrialId> = only(&prepared.plan, wanted)?.into_iter().collect();
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for Trial { config, .. } in prepared.plan.trials.iter().filter(|trial| ids.contains(&trial.id)) {
        let Some(method) = config.augmentation.iter().find(|method| method.asks()) else { continue };
        if !seen.insert(serde_json::to_string(&(&config.data, &config.model.from, method)).unwrap_or_default()) {
            continue;
        }
        let tell = |count: usize| {
            if !quiet {
                warn(&[format!("asking {} about {count} texts, once for this results folder", method.name())]);
            }
        };
        if let Err(error) = train::ask(config, &prepared.cache, &tell) {
            let found = prepared.facts.augmentations.iter().find(|found| found.located == *method);
            let problem = Problem::new(found.map_or(Place::NOWHERE, |found| found.place), error.to_string());
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(prepared.spec.problems(problems).into()) }
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
