//! Which threads of a process hear which signals, and the signals that ask a worker to stop.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals of a user or a terminal that end a process by default.
const STOP: &[libc::c_int] = &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Whether SIGTERM or SIGUSR1 has come since [`note_stop_signals`].
static IS_ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

/// From now on SIGTERM and SIGUSR1 no longer end this process, but are noted. Slurm sends them before it ends a job.
pub fn note_stop_signals() {
    extern "C" fn note(_: libc::c_int) {
        IS_ASKED_TO_STOP.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGTERM, libc::SIGUSR1] {
        // SAFETY: the handler only stores to an atomic, which a signal handler may do.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

/// Whether a signal has asked this process to stop.
#[must_use]
pub fn is_asked_to_stop() -> bool {
    IS_ASKED_TO_STOP.load(Ordering::Relaxed)
}

/// Keeps SIGHUP, which comes when the terminal is closed, until another thread of this process hears it. Threads and programs that this
/// thread starts keep it, too.
pub fn leave_hangups() {
    set_mask(libc::SIG_BLOCK, &[libc::SIGHUP]);
}

/// From now on SIGHUP has no effect on this process, nor on the programs that it starts. For one that ends when its parent ends.
pub fn ignore_hangups() {
    // SAFETY: to ignore a signal calls no code of this process.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

/// Leaves SIGINT, SIGTERM and SIGHUP to the other threads of this process. The kernel gives a signal to any thread that may
/// have it, also to one that waits for a disk and does not hear it. Threads and programs that this thread starts leave them,
/// too.
pub fn leave_stop_signals() {
    set_mask(libc::SIG_BLOCK, STOP);
}

/// Hears SIGINT, SIGTERM and SIGHUP in this thread. The program that started this process may have left them to others.
pub fn hear_stop_signals() {
    set_mask(libc::SIG_UNBLOCK, STOP);
}

fn set_mask(how: libc::c_int, signals: &[libc::c_int]) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before it is read, the signals exist, and a null pointer asks for no old mask.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The bits of the blocked signals of this thread.
    fn blocked() -> u64 {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_leaves_signals_and_hears_them_again() {
        let stop = STOP.iter().fold(0, |bits, signal| bits | 1 << (signal - 1));
        leave_hangups();
        assert_eq!(blocked() & stop, 1 << (libc::SIGHUP - 1));
        leave_stop_signals();
        assert_eq!(blocked() & stop, stop);
        assert_eq!(std::thread::spawn(move || blocked() & stop).join().unwrap(), stop);
        hear_stop_signals();
        assert_eq!(blocked() & stop, 0);
    }
}
