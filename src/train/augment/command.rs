//! Back-translation by two programs that read lines and write lines, each started once and fed all texts.
//!
//! A program that is missing, dies, hangs beyond its time or gives another number of lines is an error that says so.
//! Leaves no process behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Around;
use super::answers::{Answers, Proposal, answers};
use crate::train::TrainError;
use crate::train::data::source::find;

/// The way out and home of each text; none where it came back as it went.
pub(super) fn translate(around: &Around<'_>, out: &str, home: &str, timeout: Duration) -> Result<Answers, TrainError> {
    answers(around, &format!("command {out}\n{home}"), |texts| {
        // A text is a line, and an empty one is no matter for a translator.
        let lines: Vec<String> =
            texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let asked: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        let abroad = run(out, &asked, timeout)?;
        let mut back = run(home, &abroad, timeout)?.into_iter();
        let pairs = texts.iter().zip(&lines);
        Ok(pairs
            .map(|(text, line)| {
                let came = if line.is_empty() { None } else { back.next() };
                let other = came.map(|came| came.trim().to_owned()).filter(|came| !came.is_empty());
                let other = other.filter(|came| came != line && came != text);
                vec![other.map(|came| Proposal(came, 1.0)).into_iter().collect()]
            })
            .collect())
    })
}

/// The command line with its program's absolute path: one with a slash is looked up in `roots`, another in PATH.
pub(super) fn locate(line: &str, roots: &[PathBuf]) -> Result<String, TrainError> {
    let (program, arguments) = parts(line)?;
    let path = if program.contains('/') {
        find(&program, roots, "program")?
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(&program)).find(|path| path.is_file()).ok_or_else(
            || TrainError::Input(format!("there is no program `{program}` in PATH: install it, or give its path")),
        )?
    };
    let words = std::iter::once(path.display().to_string()).chain(arguments);
    Ok(words
        .map(|word| if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word })
        .collect::<Vec<_>>()
        .join(" "))
}

/// Program and arguments: parted at blanks, but not inside double quotes. No shell takes part.
fn parts(line: &str) -> Result<(String, Vec<String>), TrainError> {
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
        .ok_or_else(|| TrainError::Input(format!("`{line}` is no command: write a program and its arguments")))
}

/// What the program makes of the lines, one for each.
fn run(line: &str, lines: &[String], timeout: Duration) -> Result<Vec<String>, TrainError> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let (program, arguments) = parts(line)?;
    let fail = |what: String| TrainError::Input(format!("`{line}` {what}"));
    let mut child = Command::new(Path::new(&program))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| fail(format!("cannot be started: {error}")))?;
    let deadline = Instant::now() + timeout;
    let result = talk(&mut child, lines, deadline);
    let Some((output, said, status)) = result else {
        end(&mut child);
        return Err(fail(format!(
            "has not translated {} lines within {} seconds: raise `timeout`, or try it by hand",
            lines.len(),
            timeout.as_secs_f64()
        )));
    };
    let said = last_line(&said);
    if !status.success() {
        return Err(fail(format!("failed ({status}){said}")));
    }
    let output = String::from_utf8(output).map_err(|_| fail("wrote something that is not UTF-8".to_owned()))?;
    let translated: Vec<String> = output.lines().map(str::to_owned).collect();
    if translated.len() != lines.len() {
        let what =
            format!("was given {} lines and wrote {}: it must write one for each{said}", lines.len(), translated.len());
        return Err(fail(what));
    }
    Ok(translated)
}

/// Output, what was said on standard error, and the status; None if the deadline came first.
fn talk(
    child: &mut Child,
    lines: &[String],
    deadline: Instant,
) -> Option<(Vec<u8>, Vec<u8>, std::process::ExitStatus)> {
    let mut input = child.stdin.take()?;
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    // A program that stops reading is judged by its status and by what it wrote.
    thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = gather(child.stdout.take()?);
    let said = gather(child.stderr.take()?);
    let left = || deadline.saturating_duration_since(Instant::now());
    let output = output.recv_timeout(left()).ok()?;
    let said = said.recv_timeout(left()).ok()?;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some((output, said, status));
        }
        if left().is_zero() {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that comes out of a pipe, once it has ended.
fn gather(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = BufReader::new(pipe).read_to_end(&mut bytes);
        // Nobody listens any more after the deadline.
        let _ = sender.send(bytes);
    });
    receiver
}

/// Ends the program and whatever it started.
fn end(child: &mut Child) {
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// `: ` and the last line of what a program said, if it said anything.
fn last_line(said: &[u8]) -> String {
    let lines = said.lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
    lines.last().map_or_else(String::new, |line| format!(": {}", line.trim()))
}
