//! Asks before the programs of a sweep file run on this machine for the first time.
//!
//! A sweep file may come from another person, and it may name programs. They run only after consent, as with direnv: with
//! `--trust`, or after an answer on a terminal. A file in the home folder remembers the consent to these programs in this
//! sweep file, with the content of the scripts that they name. Programs that the user types himself (`--set`) and sweeps that are compiled in need no consent.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use super::output::notify;
use super::sweep_file::absolute;
use crate::plan::Facts;
use crate::spec::{self, SlurmConfig};
use crate::store;
use crate::train;
use crate::trial::{Augmentation, Translator, printable};

/// Who asks for consent.
pub(super) struct Consent<'a> {
    /// The sweep file as the user knows it.
    pub file: &'a Path,
    /// Values from the command line.
    pub set: &'a [(String, String)],
    /// Whether the user has given `--trust`.
    pub trust: bool,
    /// The jobs of the sweep, if it makes some: lines of their script are programs, too.
    pub jobs: Option<&'a SlurmConfig>,
}

impl Consent<'_> {
    /// Fails unless the user agrees that the programs of the sweep run here.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), Failure> {
        let programs = self.programs(facts);
        if programs.is_empty() || self.file.to_string_lossy().starts_with("embedded:") {
            return Ok(());
        }
        let mark = fingerprint(&absolute(self.file), &programs);
        let list = trusted_list();
        let known = list.as_deref().and_then(|list| store::read_file(list).ok().flatten()).unwrap_or_default();
        let mut known = String::from_utf8_lossy(&known).into_owned();
        if known.lines().any(|line| line.split(' ').next() == Some(mark.as_str())) {
            return Ok(());
        }
        let file = self.file.display();
        if !self.trust {
            // A line end in a command line would look like another one.
            let shown: Vec<String> = programs.iter().map(|program| program.line.replace('\n', "\\u000a")).collect();
            let shown = shown.join("\n  ");
            let what = format!(
                "{file}: this sweep runs programs that it has not run on this machine before, or whose files have changed \
                 since then:\n  {shown}"
            );
            if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
                return Err(Failure::input(format!("{what}\nIf you trust them, run the same command with --trust")));
            }
            notify(&what);
            if !answers_yes() {
                return Err(Failure::input("the programs of the sweep were not run"));
            }
        }
        let path = absolute(self.file);
        known.extend([&mark, " ", &*printable(&path.to_string_lossy()), "\n"]);
        let remembered = list.map(|list| store::write_file(&list, known.as_bytes()));
        if let Some(Err(error)) = remembered {
            notify(&format!("warning: the consent to run these programs is not remembered: {error}"));
        }
        Ok(())
    }

    /// The programs of the sweep file, each once.
    fn programs(&self, facts: &Facts) -> Vec<Program> {
        let draft = spec::draft("--set", "typed", "", self.set);
        let typed = draft.sources().augmentations;
        let typed: Vec<&String> = typed.iter().flat_map(|source| command_lines(&source.method)).collect();
        let mut programs: Vec<Program> = Vec::new();
        for found in &facts.augmentations {
            for (line, located) in command_lines(&found.written).zip(command_lines(&found.located)) {
                if !typed.contains(&line) && programs.iter().all(|program| program.line != *line) {
                    programs.push(Program { line: line.clone(), files: file_hashes(line, located) });
                }
            }
        }
        let typed = job_lines(&draft.spec.run.slurm);
        let of_jobs = self.jobs.map(job_lines).unwrap_or_default().into_iter().filter(|line| !typed.contains(line));
        programs.extend(of_jobs.map(|line| Program { line, files: Vec::new() }));
        programs
    }
}

/// A program of a sweep file.
struct Program {
    /// The command line, as written.
    line: String,
    /// A hash of the content of each file that it names.
    files: Vec<blake3::Hash>,
}

/// The programs of an augmentation with their arguments.
fn command_lines(method: &Augmentation) -> impl Iterator<Item = &String> {
    let lines = match method {
        Augmentation::BackTranslation { engine: Translator::Command, out, home, .. } => [out.as_ref(), home.as_ref()],
        _ => [None, None],
    };
    lines.into_iter().flatten()
}

/// What decides which programs the script of a job runs: its own lines, an image, and options of `sbatch` such as `--prolog`.
fn job_lines(slurm: &SlurmConfig) -> Vec<String> {
    let SlurmConfig { setup, container, extra, .. } = slurm;
    let named = |name: &str, line: &String| format!("run.slurm.{name}: {line}");
    let lines = setup.iter().map(|line| named("setup", line)).chain(extra.iter().map(|option| named("extra", option)));
    lines.chain(container.iter().map(|image| named("container", image))).collect()
}

/// The hashes of the programs and scripts that a command line names by a path. Programs from PATH belong to the machine.
fn file_hashes(line: &str, located: &str) -> Vec<blake3::Hash> {
    let hash = |path: PathBuf| {
        let mut hash = blake3::Hasher::new();
        // A file that cannot be read cannot be run, either.
        let _ = File::open(path).and_then(|file| hash.update_reader(file).map(drop));
        hash.finalize()
    };
    train::augment::named_scripts(line, located).into_iter().map(hash).collect()
}

/// Identifies these programs in this sweep file.
fn fingerprint(file: &Path, programs: &[Program]) -> String {
    let mut hash = blake3::Hasher::new();
    let mut update = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    };
    update(file.to_string_lossy().as_bytes());
    for Program { line, files } in programs {
        update(line.as_bytes());
        for hash in files {
            update(hash.as_bytes());
        }
    }
    hash.finalize().to_hex().to_string()
}

/// The file that remembers consent: one fingerprint and the path of its sweep file on each line. None without a home folder.
fn trusted_list() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("plateau").join("trusted"))
}

fn answers_yes() -> bool {
    let mut err = io::stderr();
    let mut answer = String::new();
    let asked = write!(err, "Run them? [y/N] ").and_then(|()| err.flush());
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_files_or_contents_are_another_fingerprint() {
        let program = |line: &str, content: &str| Program {
            line: line.to_owned(),
            files: vec![blake3::hash(content.as_bytes())],
        };
        let mark = |file: &str, lines: [&str; 2], content| {
            fingerprint(Path::new(file), &lines.map(|line| program(line, content)))
        };
        let known = mark("/a.yaml", ["out", "home"], "one");
        assert_eq!(mark("/a.yaml", ["out", "home"], "one"), known);
        assert_ne!(mark("/b.yaml", ["out", "home"], "one"), known);
        assert_ne!(mark("/a.yaml", ["out", "home -x"], "one"), known);
        assert_ne!(mark("/a.yaml", ["outhome", ""], "one"), known);
        assert_ne!(mark("/a.yaml", ["out", "home"], "two"), known);
    }
}
