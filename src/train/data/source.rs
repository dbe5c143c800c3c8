//! Where data and checkpoints come from: compiled in (`embedded:NAME`), a path, or the Hugging Face hub (`hf:org/name`).
//!
//! Guarantees: an error names the source and says what to do. Reads whole files; what is in them is for others.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{hub, vocabulary};
use crate::train::TrainError;

const EMBEDDED: &str = "embedded:";

/// Data sets of this binary, each a `.tsv`.
const DATA: [(&str, &[u8]); 1] = [("tweets", include_bytes!("../../../assets/data/tweets.tsv"))];

/// Checkpoints of this binary: name, `config.json`, `tokenizer.json`, `model.safetensors`.
const MODELS: [(&str, [&[u8]; 3]); 1] = [(
    "minilm-l3",
    [
        include_bytes!("../../../assets/models/minilm-l3/config.json"),
        include_bytes!("../../../assets/models/minilm-l3/tokenizer.json"),
        include_bytes!("../../../assets/models/minilm-l3/model.safetensors"),
    ],
)];

/// A file's content, compiled in or read.
pub type Bytes = Cow<'static, [u8]>;

/// What a Hugging Face BERT checkpoint folder holds.
#[derive(Debug, Clone)]
pub struct CheckpointFiles {
    /// `config.json`.
    pub config: Bytes,
    /// `tokenizer.json`; made from `vocab.txt` where a folder has only that.
    pub tokenizer: Bytes,
    /// Each a safetensors file: `model.safetensors`, or the shards of `model.safetensors.index.json` by name.
    pub weights: Vec<Bytes>,
}

impl CheckpointFiles {
    /// blake3 over the content of all files.
    pub fn hash(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let weights = self.weights.iter().map(|bytes| &**bytes);
        for bytes in std::iter::once(&*self.config).chain(weights).chain([&*self.tokenizer]) {
            hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
        hash.finalize().to_hex().to_string()
    }
}

/// Reads all of a located checkpoint. A folder of 400 MB costs 400 MB.
pub fn checkpoint(model: &str) -> Result<CheckpointFiles, TrainError> {
    let (config, tokenizer) = config_and_tokenizer(model)?;
    let weights = match embedded(model, &MODELS)? {
        Some([.., weights]) => vec![Cow::Borrowed(*weights)],
        None => {
            weight_files(Path::new(model))?.iter().map(|path| read(path).map(Cow::Owned)).collect::<Result<_, _>>()?
        }
    };
    Ok(CheckpointFiles { config, tokenizer, weights })
}

/// `config.json` and `tokenizer.json` of a located checkpoint, without its weights.
pub(super) fn config_and_tokenizer(model: &str) -> Result<(Bytes, Bytes), TrainError> {
    if let Some([config, tokenizer, _]) = embedded(model, &MODELS)? {
        return Ok((Cow::Borrowed(*config), Cow::Borrowed(*tokenizer)));
    }
    let folder = Path::new(model);
    let config = read(&folder.join("config.json"))?;
    let tokenizer = folder.join("tokenizer.json");
    let vocabulary = folder.join("vocab.txt");
    let tokenizer = if tokenizer.is_file() {
        read(&tokenizer)?
    } else if vocabulary.is_file() {
        let settings = folder.join("tokenizer_config.json");
        let settings = if settings.is_file() { Some(read(&settings)?) } else { None };
        vocabulary::tokenizer_json(&vocabulary.display().to_string(), &read(&vocabulary)?, settings.as_deref())?
    } else {
        return Err(TrainError::Input(format!(
            "{model}: neither tokenizer.json nor vocab.txt; copy one of them from the checkpoint's page into the folder"
        )));
    };
    Ok((Cow::Owned(config), Cow::Owned(tokenizer)))
}

/// The safetensors files of a folder, by name.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let whole = folder.join("model.safetensors");
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.is_file() {
        let shards = shards(&index.display().to_string(), &read(&index)?)?;
        return Ok(shards.iter().map(|shard| folder.join(shard)).collect());
    }
    let advice = if folder.join("pytorch_model.bin").is_file() {
        "it holds pytorch_model.bin only; convert it with save_pretrained(..., safe_serialization=True) of transformers"
    } else {
        "a checkpoint folder holds config.json, tokenizer.json and model.safetensors"
    };
    Err(TrainError::Input(format!("{}: no model.safetensors; {advice}", folder.display())))
}

/// The shard files that a `model.safetensors.index.json` names, sorted, each once.
pub(super) fn shards(name: &str, index: &[u8]) -> Result<Vec<String>, TrainError> {
    let broken = || TrainError::Input(format!("{name}: not an index of shards (no `weight_map` of file names)"));
    let index: serde_json::Value = serde_json::from_slice(index).map_err(|_| broken())?;
    let map = index.get("weight_map").and_then(|map| map.as_object()).ok_or_else(broken)?;
    let mut files = map
        .values()
        .map(|file| match file.as_str() {
            // A shard lies beside its index, whatever the index says.
            Some(file) if Path::new(file).file_name() == Some(file.as_ref()) => Ok(file.to_owned()),
            _ => Err(broken()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    files.sort_unstable();
    files.dedup();
    if files.is_empty() { Err(broken()) } else { Ok(files) }
}

/// Finds a data source as written in a sweep file: `embedded:NAME` stays, a path is looked up in `roots` in turn and made absolute.
pub fn locate_data(source: &str, roots: &[PathBuf]) -> Result<String, TrainError> {
    if embedded(source, &DATA)?.is_some() {
        return Ok(source.to_owned());
    }
    let path = find(source, roots, "data file")?;
    if path.is_dir() {
        return Err(TrainError::Input(format!(
            "{}: a folder; data is one file (.tsv, .csv or .jsonl, also with .gz or .zst)",
            path.display()
        )));
    }
    name_of(&path)
}

/// Finds a checkpoint as written in a sweep file: `embedded:NAME` stays, `hf:` is downloaded into the Hugging Face cache
/// and becomes its folder, a path is looked up in `roots` in turn and made absolute.
pub fn locate_model(source: &str, roots: &[PathBuf]) -> Result<String, TrainError> {
    if embedded(source, &MODELS)?.is_some() {
        return Ok(source.to_owned());
    }
    if let Some(repository) = source.strip_prefix("hf:") {
        return name_of(&hub::download(repository)?);
    }
    let path = find(source, roots, "checkpoint").map_err(|error| match on_the_hub(source) {
        Some(name) => TrainError::Input(format!("{error}; did you mean `hf:{name}`, from the Hugging Face hub?")),
        None => error,
    })?;
    if !path.join("config.json").is_file() {
        return Err(TrainError::Input(format!(
            "{}: no checkpoint folder; it needs config.json, tokenizer.json (or vocab.txt) and model.safetensors",
            path.display()
        )));
    }
    name_of(&path)
}

/// Finds a Marian checkpoint as written in a sweep file, like [`locate_model`]; what is in its folder is for others.
pub fn locate_translator(source: &str, roots: &[PathBuf]) -> Result<String, TrainError> {
    let path = match source.strip_prefix("hf:") {
        Some(repository) => hub::download_translator(repository)?,
        None => find(source, roots, "Marian checkpoint").map_err(|error| match on_the_hub(source) {
            Some(name) => TrainError::Input(format!("{error}; did you mean `hf:{name}`, from the Hugging Face hub?")),
            None => error,
        })?,
    };
    name_of(&path)
}

/// The repository that a checkpoint's name without `hf:` is likely to mean.
fn on_the_hub(source: &str) -> Option<String> {
    let plain = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
    };
    match source.split('/').collect::<Vec<_>>().as_slice() {
        [name] if name.starts_with("bert-") && plain(name) => Some(format!("google-bert/{name}")),
        [organisation, name] if plain(organisation) && plain(name) && !Path::new(organisation).is_dir() => {
            Some(source.to_owned())
        }
        _ => None,
    }
}

/// The name that decides a located data source's format, and its content, unpacked.
pub(super) fn data(source: &str) -> Result<(String, Bytes), TrainError> {
    if let Some(bytes) = embedded(source, &DATA)? {
        return Ok((format!("{source}.tsv"), Cow::Borrowed(bytes)));
    }
    let packed = read(Path::new(source))?;
    let name = source.to_ascii_lowercase();
    let most = most_unpacked(packed.len());
    let (inner, unpacked) = match name.rsplit_once('.') {
        Some((inner, "gz")) => (inner, up_to(flate2::read::MultiGzDecoder::new(packed.as_slice()), most)),
        Some((inner, "zst")) => (inner, zstd::Decoder::new(packed.as_slice()).and_then(|decoder| up_to(decoder, most))),
        _ => return Ok((name, Cow::Owned(packed))),
    };
    let bytes = unpacked
        .map_err(|error| TrainError::Input(format!("{source}: cannot be unpacked, broken or cut short: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(TrainError::Input(format!(
            "{source}: {} packed bytes hold more than {most}, which no texts do; if that is right, unpack the file and give \
             its path",
            packed.len()
        )));
    }
    Ok((inner.to_owned(), Cow::Owned(bytes)))
}

/// Bytes that a packed file of `packed` bytes may hold: 200 times as many (texts shrink to a tenth, hardly ever to a
/// fiftieth; a file made to fill the memory, to a thousandth and less), and 16 MiB in any case.
fn most_unpacked(packed: usize) -> u64 {
    (packed as u64).saturating_mul(200).max(16 << 20)
}

/// What `reader` holds, but no more than a byte beyond `most`.
fn up_to(reader: impl Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entry of an `embedded:NAME`; None for another kind of source.
fn embedded<'a, T>(source: &str, known: &'a [(&str, T)]) -> Result<Option<&'a T>, TrainError> {
    let Some(name) = source.strip_prefix(EMBEDDED) else { return Ok(None) };
    let found = known.iter().find(|(known, _)| *known == name).map(|(_, found)| Some(found));
    found.ok_or_else(|| {
        let known: Vec<String> = known.iter().map(|(name, _)| format!("{EMBEDDED}{name}")).collect();
        TrainError::Input(format!("`{source}` is not embedded; known: {}", known.join(", ")))
    })
}

/// `source` itself if absolute, else the first of `roots` that holds it.
pub fn find(source: &str, roots: &[PathBuf], what: &str) -> Result<PathBuf, TrainError> {
    let tried: Vec<PathBuf> = if Path::new(source).is_absolute() {
        vec![PathBuf::from(source)]
    } else {
        roots.iter().map(|root| root.join(source)).collect()
    };
    if let Some(found) = tried.iter().find_map(|path| path.canonicalize().ok()) {
        return Ok(found);
    }
    let mut tried: Vec<String> =
        tried.iter().map(|path| std::path::absolute(path).unwrap_or(path.clone()).display().to_string()).collect();
    tried.dedup();
    Err(TrainError::Input(format!("{what} `{source}` not found; looked for {}", tried.join(" and "))))
}

fn name_of(path: &Path) -> Result<String, TrainError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| TrainError::Input(format!("{}: the path is not UTF-8; rename it", path.display())))
}

/// A whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    let mut bytes = Vec::new();
    // A device or a pipe may have no end.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(TrainError::Input(format!("{}: not a file", path.display())));
    }
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|error| TrainError::Input(format!("{}: cannot be read: {error}", path.display())))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(TrainError::Input(format!(
            "{}: a git-lfs pointer where the file itself should be; run `git lfs pull` in that repository, or download the \
             file from its page",
            path.display()
        )));
    }
    Ok(bytes)
}
