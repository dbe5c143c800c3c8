//! `plateau schema`: the JSON Schema of sweep files, for editors.

use std::process::ExitCode;

use super::Failure;
use super::output::print;
use crate::spec;

pub(crate) fn schema() -> Result<ExitCode, Failure> {
    print(format!("{:#}\n", spec::schema()))?;
    Ok(ExitCode::SUCCESS)
}
