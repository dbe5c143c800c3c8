//! Ends a program together with this process, in whatever way this process ends.
//!
//! A handler cannot run after `kill -9`. So a shell waits at a pipe from this process: when the pipe breaks, it kills the
//! process group of the program. The shell has a group of its own, so a Ctrl-C in the terminal does not end it first.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Reads a line; at the end of the pipe it kills the process group.
const SCRIPT: &str = r#"read line || kill -KILL "-$1""#;

/// The shell that guards a program. Dropping it lets the program be.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Guards `program`, which must lead its own process group.
    pub(super) fn new(program: &Child) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard", &program.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // Fails only if another process has killed the shell.
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn program() -> Child {
        // A program with a child of its own.
        Command::new("/bin/sh").args(["-c", "sleep 60 & wait"]).process_group(0).spawn().unwrap()
    }

    fn ends(program: &mut Child, limit: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < limit {
            if program.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn a_program_ends_when_the_pipe_of_its_guard_breaks() {
        let mut program = program();
        let mut guard = Guard::new(&program).unwrap();
        assert!(!ends(&mut program, Duration::from_millis(200)));
        // As at the end of this process.
        drop(guard.shell.stdin.take());
        assert!(ends(&mut program, Duration::from_secs(20)));
    }

    #[test]
    fn a_guard_that_is_dropped_kills_nothing() {
        let mut program = program();
        drop(Guard::new(&program).unwrap());
        assert!(!ends(&mut program, Duration::from_millis(200)));
        super::super::command::kill_group(&mut program);
    }
}
