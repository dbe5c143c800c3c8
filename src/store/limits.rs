//! Limits of this process (`ulimit`). By default the kernel kills a process that reaches one of them, without a word. Here
//! they become errors, or a message that names the limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::exit;

/// Least size of the stack that the main thread needs, in bytes.
const STACK: u64 = 1 << 20;
/// Least number of open files with which this process can still report an error. A run needs more.
const FILES: u64 = 16;

/// Makes the limits on file sizes (`ulimit -f`) and on processor time (`ulimit -t`) tell what they are. The first becomes an
/// error of the write. At the second, a command says so and ends, and a worker dies by a signal of its own.
///
/// # Errors
/// The limit on the stack or on open files, if it is too low to do anything.
pub fn report_limits() -> Result<(), String> {
    // SAFETY: ignoring a signal installs no handler. The other handler only writes and ends the process.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::signal(libc::SIGXCPU, out_of_time as *const () as libc::sighandler_t);
    }
    warn_before_kill();
    let too_low = |resource, least| getrlimit(resource).current.filter(|limit| *limit < least);
    if let Some(bytes) = too_low(Resource::Stack, STACK) {
        return Err(format!(
            "the stack of this process is limited to {} KiB (`ulimit -s`), but it needs {} KiB. Raise the limit, then run the \
             same command again",
            bytes >> 10,
            STACK >> 10
        ));
    }
    if let Some(files) = too_low(Resource::Nofile, FILES) {
        return Err(format!(
            "this process may have {files} files open (`ulimit -n`), but it needs at least {FILES}. Raise the limit, then run \
             the same command again"
        ));
    }
    Ok(())
}

/// Lets the limit on processor time kill this process with its own signal: its parent tells what happened by the signal.
pub fn die_of_time_limit() {
    // SAFETY: the default action installs no handler.
    unsafe { libc::signal(libc::SIGXCPU, libc::SIG_DFL) };
}

/// Whether the limit on processor time is so low that it kills with signal 9 at once. See [`warn_before_kill`].
#[must_use]
pub fn time_limit_kills() -> bool {
    getrlimit(Resource::Cpu).maximum == Some(1)
}

extern "C" fn out_of_time(_: libc::c_int) {
    exit::out_of_time()
}

/// `ulimit -t` sets a limit that sends a signal, and one that kills, to the same second. Then the two cannot be distinguished. So the first
/// of them comes a second earlier.
fn warn_before_kill() {
    let Rlimit { current, maximum } = getrlimit(Resource::Cpu);
    if let (Some(current), Some(maximum)) = (current, maximum)
        && current == maximum
        && maximum > 1
    {
        // Without it the limit kills without a word; nothing else changes.
        let _ = setrlimit(Resource::Cpu, Rlimit { current: Some(maximum - 1), maximum: Some(maximum) });
    }
}
