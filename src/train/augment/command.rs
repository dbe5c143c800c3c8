//! Back-translation by two external programs that read lines and write lines. Each program is started once for all texts.
//!
//! A program that is missing, fails, exceeds its time, writes without end or writes another number of lines is an error that
//! says so. No process is left behind.

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::context::AugmentContext;
use super::guard::Guarded;
use super::suggestions::{Suggestion, SuggestionTable, cached_suggestions};
use crate::train::TrainError;
use crate::train::data::{DataError, DataErrorKind, find};

/// The back-translation of each text; no suggestion if it equals the text.
pub(super) fn back_translate(
    context: &AugmentContext<'_>,
    out: &str,
    home: &str,
    timeout: Duration,
) -> Result<SuggestionTable, TrainError> {
    cached_suggestions(context, &format!("command {out}\n{home}"), |texts| {
        // A text must be one line. Empty texts are not sent.
        let lines: Vec<String> =
            texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let sent: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        let translated = run(out, &sent, timeout)?;
        let mut returned = run(home, &translated, timeout)?.into_iter();
        let pairs = texts.iter().zip(&lines);
        Ok(pairs
            .map(|(text, line)| {
                let back = if line.is_empty() { None } else { returned.next() };
                let back = back.map(|back| back.trim().to_owned()).filter(|back| !back.is_empty());
                let changed = back.filter(|back| back != line && back != text);
                vec![changed.map(|back| Suggestion(back, 1.0)).into_iter().collect()]
            })
            .collect())
    })
}

/// The command line with the absolute path of its program. A program with a slash is looked up in `roots`, another one in
/// PATH.
pub(super) fn locate(line: &str, roots: &[PathBuf]) -> Result<String, TrainError> {
    let (program, arguments) = split_command(line)?;
    let path = if program.contains('/') {
        find(&program, roots, "program")?
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(&program)).find(|path| path.is_file()).ok_or_else(
            || {
                DataError::new(
                    DataErrorKind::NotFound,
                    format!("there is no program `{program}` in PATH; install it, or give its path"),
                )
            },
        )?
    };
    let words = std::iter::once(path.display().to_string()).chain(arguments);
    Ok(words
        .map(|word| if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word })
        .collect::<Vec<_>>()
        .join(" "))
}

/// The files with code that a command line names: its program if it is given by a path, and scripts among the arguments. Other
/// arguments may be what the program writes. `located`: the same line with the absolute path of its program.
#[must_use]
pub fn named_scripts(line: &str, located: &str) -> Vec<PathBuf> {
    const SCRIPTS: [&str; 6] = ["js", "lua", "pl", "py", "rb", "sh"];
    let (Ok((written, arguments)), Ok((program, _))) = (split_command(line), split_command(located)) else {
        return Vec::new();
    };
    let is_script =
        |path: &PathBuf| path.extension().is_some_and(|ending| SCRIPTS.iter().any(|script| ending == *script));
    let program = Some(PathBuf::from(program)).filter(|_| written.contains('/'));
    let scripts = arguments.into_iter().map(PathBuf::from).filter(is_script);
    program.into_iter().chain(scripts).filter(|path| path.is_file()).collect()
}

/// Splits a command line into program and arguments at spaces outside double quotes. No shell is involved.
fn split_command(line: &str) -> Result<(String, Vec<String>), DataError> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            letter if letter.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.is_empty() && !quoted);
    program
        .map(|program| (program, words.collect()))
        .ok_or_else(|| DataError::malformed(format!("`{line}` is not a command; write a program and its arguments")))
}

/// Runs the program on the lines. Returns one line for each.
fn run(line: &str, lines: &[String], timeout: Duration) -> Result<Vec<String>, DataError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let (program, arguments) = split_command(line)?;
    let fail = |what: String| DataError::new(DataErrorKind::Program, format!("`{line}` {what}"));
    let mut program = Guarded::start(&program, &arguments)
        .map_err(|error| fail(format!("cannot be guarded: {error}")).caused_by(error))?;
    let result = communicate(&mut program.guard, lines, Instant::now() + timeout)
        .map_err(|error| fail(format!("cannot be read: {error}")).caused_by(error))?;
    let Some(ProgramOutput { stdout, stderr, status }) = result else {
        return Err(fail(format!(
            "has not translated {} lines within {} seconds; raise `timeout`, or run it by hand to see why",
            lines.len(),
            timeout.as_secs_f64()
        )));
    };
    let stderr = last_line(&stderr);
    if stdout.len() as u64 > most_output(lines) {
        return Err(fail(format!(
            "got {} lines of {} bytes and wrote more than {} bytes; it must write one line for each",
            lines.len(),
            sent_bytes(lines),
            most_output(lines)
        )));
    }
    if !status.success() {
        return Err(fail(format!("failed ({status}){stderr}")));
    }
    let output = String::from_utf8(stdout)
        .map_err(|error| fail("wrote output that is not UTF-8".to_owned()).caused_by(error))?;
    let translated: Vec<String> = output.lines().map(str::to_owned).collect();
    if translated.len() != lines.len() {
        let what = format!(
            "got {} lines and wrote {}; it must write one line for each{stderr}",
            lines.len(),
            translated.len()
        );
        return Err(fail(what));
    }
    Ok(translated)
}

/// Bytes that a program gets.
fn sent_bytes(lines: &[String]) -> u64 {
    lines.iter().map(|line| line.len() as u64 + 1).sum()
}

/// The most bytes of a translation that are read. No language needs a tenth of it.
fn most_output(lines: &[String]) -> u64 {
    (1 << 20) + 32 * sent_bytes(lines)
}

/// What a program wrote, and how it ended.
struct ProgramOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: ExitStatus,
}

/// Writes the lines to the program and reads its output, a little more than [`most_output`] at most. None if the deadline passes first. An error if the system has no
/// thread left for a pipe.
fn communicate(child: &mut Child, lines: &[String], deadline: Instant) -> io::Result<Option<ProgramOutput>> {
    let (Some(mut input), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Ok(None);
    };
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    // If the program stops reading, its status and its output decide.
    thread::Builder::new().spawn(move || drop(input.write_all(text.as_bytes())))?;
    let most = most_output(lines);
    let stdout = in_background(move || {
        let mut bytes = Vec::new();
        let _ = stdout.take(most + 1).read_to_end(&mut bytes);
        bytes
    })?;
    let stderr = in_background(move || read_end(stderr))?;
    let left = || deadline.saturating_duration_since(Instant::now());
    let Ok(stdout) = stdout.recv_timeout(left()) else { return Ok(None) };
    if stdout.len() as u64 > most {
        return Ok(Some(ProgramOutput { stdout, stderr: Vec::new(), status: ExitStatus::default() }));
    }
    let Ok(stderr) = stderr.recv_timeout(left()) else { return Ok(None) };
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Some(ProgramOutput { stdout, stderr, status }));
        }
        if left().is_zero() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Delivers what `read` returns.
fn in_background(read: impl FnOnce() -> Vec<u8> + Send + 'static) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    // After the deadline there is no receiver.
    thread::Builder::new().spawn(move || drop(sender.send(read())))?;
    Ok(receiver)
}

/// The end of what a pipe delivers.
fn read_end(mut pipe: impl Read) -> Vec<u8> {
    const END: usize = 64 << 10;
    let (mut bytes, mut part) = (Vec::new(), [0; 8 << 10]);
    while let Ok(length @ 1..) = pipe.read(&mut part) {
        bytes.extend_from_slice(&part[..length]);
        if bytes.len() > 2 * END {
            bytes.drain(..bytes.len() - END);
        }
    }
    bytes
}

/// `: ` and the last line of the standard error output, if there is any.
fn last_line(stderr: &[u8]) -> String {
    let lines = stderr.lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
    lines.last().map_or_else(String::new, |line| format!(": {}", line.trim()))
}
