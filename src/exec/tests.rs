//! The conformance tests of all engines, and tests of single ones.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::*;
use crate::event::Slot;
use crate::trial::{Device, TrialId};

/// The name of its folder tells a worker what to do. Every fake worker must behave like this.
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

fn worker(attempt: u32) -> WorkerId {
    WorkerId { trial: TrialId::parse("0123456789ab").unwrap(), attempt }
}

fn start(folder: &Path, what: &str, attempt: u32) -> Launch {
    let slot = Slot::alone(0, Device::Cuda(1), 3);
    let log = File::options().create(true).append(true).open(folder.join(format!("{what}.log"))).unwrap();
    Launch { worker: worker(attempt), folder: folder.join(what), log: Some(log), slot }
}

/// Starts one worker. True if the engine has taken it.
fn launch(engine: &mut impl Engine, launch: Launch) -> bool {
    let answers = engine.submit(Batch { launches: vec![launch], request: None });
    matches!(answers.as_slice(), [Submission::Taken(handle)] if handle.pid > 0)
}

async fn exit(engine: &mut impl Engine) -> (u32, ExitStatus) {
    match timeout(Duration::from_secs(10), engine.poll()).await.expect("an exit is reported") {
        Sighting::Exit(exited) => (exited.worker.attempt, exited.status),
        other => panic!("{other:?}"),
    }
}

async fn conforms(mut engine: impl Engine) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    for (what, code) in [(EXITS_7, 7), (SUCCEEDS, 0)] {
        assert!(launch(&mut engine, start(folder, what, 1)));
        assert_eq!(exit(&mut engine).await, (1, ExitStatus::Code(code)), "{what}");
    }

    launch(&mut engine, start(folder, WAITS, 2));
    launch(&mut engine, start(folder, WAITS, 3));
    let early = timeout(Duration::from_millis(100), engine.poll()).await;
    assert!(early.is_err(), "workers wait until they are asked to stop");
    engine.stop(&worker(3));
    assert_eq!(exit(&mut engine).await, (3, ExitStatus::Code(130)));
    engine.stop(&worker(2));
    assert_eq!(exit(&mut engine).await, (2, ExitStatus::Code(130)));

    let since = Instant::now();
    launch(&mut engine, start(folder, HANGS, 4));
    engine.stop(&worker(4));
    engine.kill(&worker(4));
    engine.kill(&worker(4));
    assert_eq!(exit(&mut engine).await, (4, ExitStatus::Signal(9)));
    assert!(since.elapsed() < Duration::from_secs(2));

    engine.stop(&worker(4));
    engine.kill(&worker(9));
    let more = timeout(Duration::from_millis(100), engine.poll()).await;
    assert!(more.is_err(), "every exit is reported once: {more:?}");
}

#[tokio::test]
async fn local_conforms() {
    conforms(local()).await;
}

/// A stand-in for `srun`: it runs what follows the options. `exec` passes signals and the pipe on.
#[tokio::test]
async fn steps_conform() {
    let folder = tempfile::tempdir().unwrap();
    let srun = folder.path().join("srun");
    fs::write(&srun, "#!/bin/sh\nwhile [ \"${1#--}\" != \"$1\" ]; do shift; done\nexec \"$@\"\n").unwrap();
    fs::set_permissions(&srun, fs::Permissions::from_mode(0o755)).unwrap();
    conforms(local().in_steps(SlurmSteps { srun, memory: Some(1 << 30) })).await;
}

#[tokio::test]
async fn inline_conforms() {
    conforms(inline()).await;
}

#[tokio::test]
async fn local_gives_threads_device_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = local();
    launch(&mut engine, start(folder.path(), "prints", 1));
    assert_eq!(exit(&mut engine).await, (1, ExitStatus::Code(0)));
    assert_eq!(fs::read_to_string(folder.path().join("prints.log")).unwrap(), "3 3 1\noops\n");
}

#[tokio::test]
async fn a_missing_program_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Local::new("/no/such/program".into(), &[]);
    assert!(!launch(&mut engine, start(folder.path(), SUCCEEDS, 1)));
}

#[tokio::test]
async fn inline_reports_a_panic_as_an_exit() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Inline::new(|_, _| panic!("on purpose"));
    launch(&mut engine, start(folder.path(), SUCCEEDS, 1));
    assert_eq!(exit(&mut engine).await, (1, ExitStatus::Code(101)));
}
