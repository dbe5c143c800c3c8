//! `plateau completions` and `plateau man`: what shells and `man` know about the program, from the definition of its
//! commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::Failure;
use super::output::{notify, print};
use crate::store;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell. For bash: plateau completions bash > ~/.local/share/bash-completion/completions/plateau
    shell: Shell,
}

/// Prints a script that makes a shell complete commands and options.
pub(crate) fn completions(mut program: Command, arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, name, &mut script);
    print(script)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Folder for a page of each command. Default: the page of the program, on standard output
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the manual page of the program, or writes those of all commands.
pub(crate) fn man(mut program: Command, arguments: &ManArguments) -> Result<ExitCode, Failure> {
    let Some(folder) = &arguments.output else {
        print(page(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    // Gives commands their full names, such as `plateau-run`.
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in std::iter::once(&program).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        store::write_file(&folder.join(format!("{name}.1")), &page(command)?)?;
    }
    notify(&format!("wrote the manual pages to {}", folder.display()));
    Ok(ExitCode::SUCCESS)
}

fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(command.clone()).render(&mut page);
    written.map_err(|error| Failure::results(format!("cannot write the manual page: {error}")))?;
    Ok(page)
}
