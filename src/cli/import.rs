//! `plateau import`: translates a sweep file of W&B.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::arguments::{SweepArguments, key_value};
use super::output::{notify, notify_all, print};
use super::sweep_file::SweepFile;
use crate::spec::{self, ImportOptions};
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// A sweep file of W&B. `plateau run` also takes it as it is
    file: String,
    /// Where to write; default standard output. A file that exists is not replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out a parameter (repeatable)
    #[arg(long, value_name = "NAME")]
    drop: Vec<String>,
    /// Say which key a parameter means: --key rate=lr (repeatable)
    #[arg(long, value_name = "NAME=KEY", value_parser = key_value)]
    key: Vec<(String, String)>,
}

pub(crate) fn import(arguments: &ImportArguments) -> Result<ExitCode, Failure> {
    let file = SweepFile::read(&arguments.file)?;
    let options = ImportOptions { drop: arguments.drop.clone(), keys: arguments.key.clone() };
    let import = spec::import(&file.shown(), file.stem(), &file.text, &options)?;
    let Some(path) = &arguments.output else {
        print(import.text)?;
        return Ok(ExitCode::SUCCESS);
    };
    if path.exists() {
        return Err(Failure::input(format!("{} exists already: choose another name with -o", path.display())));
    }
    store::write_output(path, import.text.as_bytes())?;
    notify_all(&import.notes);
    let sweep = SweepArguments::new(path.display().to_string(), super::arguments::RESULTS);
    notify(&format!("wrote {sweep}. `plateau plan {sweep}` shows its trials, `plateau run {sweep}` trains them"));
    Ok(ExitCode::SUCCESS)
}
