//! What every engine must do, and what each does besides.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::*;

/// What a worker does, by the name of its folder: an engine's stand-in must act like this.
const EXITS_7: &str = "exits-7";
const SUCCEEDS: &str = "succeeds";
const WAITS: &str = "waits";
const HANGS: &str = "hangs";

const SCRIPT: &str = r#"
case "$(basename "$0")" in
  exits-7) exit 7 ;;
  succeeds) exit 0 ;;
  waits) cat >/dev/null; exit 130 ;;
  hangs) while :; do sleep 0.05; done ;;
  prints) echo "$CANDLE_NUM_THREADS $RAYON_NUM_THREADS $CUDA_VISIBLE_DEVICES"; echo oops >&2 ;;
esac
"#;

fn local() -> Local {
    Local::new("/bin/sh".into(), &["-c", SCRIPT])
}

fn inline() -> Inline {
    Inline::new(|folder, stop| {
        let stopped = || stop.load(Ordering::Relaxed);
        match folder.file_name().and_then(|name| name.to_str()) {
            Some(EXITS_7) => 7,
            Some(WAITS) => {
                while !stopped() {
                    thread::sleep(Duration::from_millis(1));
                }
                130
            }
            Some(HANGS) => {
                thread::sleep(Duration::from_secs(3));
                0
            }
            _ => 0,
        }
    })
}

fn worker(attempt: u32) -> Worker {
    Worker { trial: TrialId::parse("0123456789ab").unwrap(), attempt }
}

fn start(folder: &Path, what: &str, attempt: u32) -> Start {
    let slot = Slot { index: 0, device: Device::Cuda(1), threads: 3 };
    let log = File::options().create(true).append(true).open(folder.join(format!("{what}.log"))).unwrap();
    Start { worker: worker(attempt), folder: folder.join(what), log, slot }
}

async fn exit(engine: &mut impl Executor) -> (u32, Exit) {
    let exited = timeout(Duration::from_secs(10), engine.next_exit()).await.expect("an exit is reported");
    (exited.worker.attempt, exited.how)
}

async fn conforms(mut engine: impl Executor) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    for (what, code) in [(EXITS_7, 7), (SUCCEEDS, 0)] {
        assert!(engine.launch(start(folder, what, 1)).unwrap() > 0);
        assert_eq!(exit(&mut engine).await, (1, Exit::Code(code)), "{what}");
    }

    engine.launch(start(folder, WAITS, 2)).unwrap();
    engine.launch(start(folder, WAITS, 3)).unwrap();
    let early = timeout(Duration::from_millis(100), engine.next_exit()).await;
    assert!(early.is_err(), "workers wait until they are told to stop");
    engine.stop(&worker(3));
    assert_eq!(exit(&mut engine).await, (3, Exit::Code(130)));
    engine.stop(&worker(2));
    assert_eq!(exit(&mut engine).await, (2, Exit::Code(130)));

    let since = Instant::now();
    engine.launch(start(folder, HANGS, 4)).unwrap();
    engine.stop(&worker(4));
    engine.kill(&worker(4));
    engine.kill(&worker(4));
    assert_eq!(exit(&mut engine).await, (4, Exit::Signal(9)));
    assert!(since.elapsed() < Duration::from_secs(2));

    engine.stop(&worker(4));
    engine.kill(&worker(9));
    let more = timeout(Duration::from_millis(100), engine.next_exit()).await;
    assert!(more.is_err(), "every exit is reported once, and nobody else's: {more:?}");
}

#[tokio::test]
async fn local_conforms() {
    conforms(local()).await;
}

#[tokio::test]
async fn inline_conforms() {
    conforms(inline()).await;
}

#[tokio::test]
async fn local_gives_threads_device_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = local();
    engine.launch(start(folder.path(), "prints", 1)).unwrap();
    assert_eq!(exit(&mut engine).await, (1, Exit::Code(0)));
    assert_eq!(fs::read_to_string(folder.path().join("prints.log")).unwrap(), "3 3 1\noops\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Local::new("/no/such/program".into(), &[]);
    assert!(engine.launch(start(folder.path(), SUCCEEDS, 1)).is_err());
}

#[tokio::test]
async fn inline_reports_a_panic_as_an_exit() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Inline::new(|_, _| panic!("on purpose"));
    engine.launch(start(folder.path(), SUCCEEDS, 1)).unwrap();
    assert_eq!(exit(&mut engine).await, (1, Exit::Code(101)));
}

#[test]
fn threads_beside_the_trainers_own_are_for_accelerators() {
    let value = |device, wanted| {
        let slot = Slot { index: 0, device, threads: 3 };
        environment(slot, None).into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        assert_eq!(value(Device::Cpu, name).as_deref(), Some("1"), "{name}");
        assert_eq!(value(Device::Cuda(0), name).as_deref(), Some("3"), "{name}");
    }
    assert_eq!(value(Device::Cpu, "MIMALLOC_PURGE_DELAY").as_deref(), Some("-1"));
}

#[test]
fn a_device_is_pinned_within_what_this_process_sees() {
    let pinned = |index, visible| {
        let slot = Slot { index: 0, device: Device::Cuda(index), threads: 1 };
        environment(slot, visible).into_iter().find(|(name, _)| *name == "CUDA_VISIBLE_DEVICES").map(|(_, value)| value)
    };
    assert_eq!(pinned(1, None).as_deref(), Some("1"));
    assert_eq!(pinned(1, Some("4, 6")).as_deref(), Some("6"));
    assert_eq!(pinned(0, Some("GPU-1c5a")).as_deref(), Some("GPU-1c5a"));
}
