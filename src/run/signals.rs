//! Signals of this process, heard by a thread of their own.
//!
//! The thread that runs the sweep reads and writes files, so a disk that does not answer can block it, and other threads as
//! well. They leave signals to the thread here, which never touches a file. After the first SIGINT or SIGTERM it gives the sweep
//! and its report nearly two seconds to end in order, then it ends the process. Workers end by themselves when their parent is gone.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::store::{hear_stop_signals, leave_stop_signals};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Call {
    /// SIGINT (Ctrl-C): save and stop. A second one: stop at once. With a queue: leave the jobs, and cancel them at the second.
    #[default]
    Stop,
    /// SIGTERM, as of a cluster or a service: save and stop. With a queue: leave the jobs.
    Terminate,
    /// SIGHUP, the terminal is gone: continue without it.
    Hangup,
}

/// From the first stop signal to the end of the process: two seconds, less the time that a busy machine may take for it.
const GRACE: Duration = Duration::from_millis(1800);
/// Exit code of an interrupted command.
const INTERRUPTED: i32 = 130;

/// From now on the process has `time` to end, and its exit code is `code` if that is not enough.
pub(super) fn allow(time: Duration, code: i32) {
    let mut attention = attention();
    (attention.deadline, attention.code) = (Some(Instant::now() + time), Some(code));
}

/// What the thread needs to know.
#[derive(Debug, Default)]
struct Attention {
    /// The sweep that runs now, if one does.
    listener: Option<UnboundedSender<Call>>,
    /// When this process must have ended.
    deadline: Option<Instant>,
    /// The exit code at the deadline, if it is not that of an interrupted command.
    code: Option<i32>,
}

static ATTENTION: Mutex<Attention> = Mutex::new(Attention { listener: None, deadline: None, code: None });

fn attention() -> std::sync::MutexGuard<'static, Attention> {
    ATTENTION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sweep that hears signals until this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    calls: UnboundedReceiver<Call>,
}

impl Listener {
    pub(super) fn calls(&mut self) -> &mut UnboundedReceiver<Call> {
        &mut self.calls
    }
}

impl Drop for Listener {
    /// The sweep has ended in order. After an interrupt, what follows has the rest of [`GRACE`]; without one, it ends at the
    /// next signal.
    fn drop(&mut self) {
        attention().listener = None;
    }
}

/// Hears signals from now on, in place of what they do by default, in another thread than this one. After the listener is dropped, a stop signal ends the
/// process at once.
pub(super) fn listen() -> io::Result<Listener> {
    static THREAD: OnceLock<bool> = OnceLock::new();
    let (sender, calls) = unbounded_channel();
    {
        let mut attention = attention();
        (attention.listener, attention.deadline) = (Some(sender), None);
    }
    // It may hear at once that the terminal was closed before.
    let mut started = Ok(());
    THREAD.get_or_init(|| {
        started = start();
        started.is_ok()
    });
    started?;
    leave_stop_signals();
    Ok(Listener { calls })
}

fn start() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let hear = async move {
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => stop(Call::Stop),
                Some(()) = terminate.recv() => stop(Call::Terminate),
                Some(()) = hangup.recv() => drop(send(Call::Hangup)),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            if attention().deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                end();
            }
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            hear_stop_signals();
            runtime.block_on(hear);
        })
        .map(drop)
}

fn stop(call: Call) {
    let is_heard = send(call);
    if !is_heard {
        end();
    }
    attention().deadline.get_or_insert_with(|| Instant::now() + GRACE);
}

/// Sends `call` to the running sweep. False if there is none.
fn send(call: Call) -> bool {
    attention().listener.as_ref().is_some_and(|listener| listener.send(call).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "the main thread may be blocked for ever, and has nothing to tidy up")]
fn end() -> ! {
    std::process::exit(attention().code.unwrap_or(INTERRUPTED))
}
