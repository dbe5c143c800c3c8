//! Random kills and pauses of parents and workers over a small real sweep: what comes out is what an undisturbed run gives.
//!
//! Some seconds long; `just torture` makes it longer (`PLATEAU_TORTURE_SECONDS`). A failure names its seed, which
//! `PLATEAU_TORTURE_SEED` takes.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::dice::{Dice, setting};
use crate::place::{Place, signal, wait};
use crate::reproducible::{SWEEP, check};

/// Faults of each kind.
#[derive(Debug, Default)]
struct Faults {
    parents_killed: usize,
    parents_told_to_stop: usize,
    workers_killed: usize,
    workers_paused: usize,
}

/// Runs the sweep once, and disturbs it until it ends or its parent is gone. True if it came to its end.
fn disturbed(place: &Place, dice: &mut Dice, faults: &mut Faults) -> bool {
    let mut parent = place.start("run sweep.yaml --jobs 2 --retry-failed --quiet");
    let pid = parent.id() as i32;
    loop {
        sleep(Duration::from_millis(dice.below(700)));
        if parent.try_wait().unwrap().is_some() {
            return true;
        }
        // A process may end between a look and a signal.
        let send = |pid: i32, what| {
            rustix::process::Pid::from_raw(pid).is_some_and(|pid| rustix::process::kill_process(pid, what).is_ok())
        };
        let workers = place.workers();
        let victim = workers.get(dice.below(workers.len().max(1) as u64) as usize).copied();
        match (dice.below(4), victim) {
            (0, _) => {
                signal(pid, Signal::KILL);
                faults.parents_killed += 1;
                break;
            }
            (1, _) => {
                signal(pid, Signal::TERM);
                faults.parents_told_to_stop += 1;
                break;
            }
            (2, Some(worker)) => faults.workers_killed += usize::from(send(worker, Signal::KILL)),
            (_, Some(worker)) => {
                if send(worker, Signal::STOP) {
                    sleep(Duration::from_millis(dice.below(500)));
                    send(worker, Signal::CONT);
                    faults.workers_paused += 1;
                }
            }
            (_, None) => {}
        }
    }
    parent.wait().unwrap();
    // Half of the time the next parent meets the workers of this one.
    if dice.below(2) == 0 {
        wait(|| place.workers().is_empty());
    }
    false
}

#[test]
fn a_sweep_survives_torture() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("PLATEAU_TORTURE_SEED").unwrap_or(now);
    let limit = Duration::from_secs(setting("PLATEAU_TORTURE_SECONDS").unwrap_or(8));
    println!("PLATEAU_TORTURE_SEED={seed}");
    let (mut dice, mut faults, start) = (Dice(seed), Faults::default(), Instant::now());
    let mut sweeps = 0;
    while start.elapsed() < limit {
        let place = Place::new(SWEEP);
        while start.elapsed() < limit && !disturbed(&place, &mut dice, &mut faults) {}
        place.expect(0, "run sweep.yaml --jobs 2 --retry-failed");
        check(&place.curves());
        assert_eq!(place.count("trial_finished"), 4, "each trial ends once");
        assert!(place.workers().is_empty());
        sweeps += 1;
    }
    let Faults { parents_killed, parents_told_to_stop, workers_killed, workers_paused } = faults;
    let all = parents_killed + parents_told_to_stop + workers_killed + workers_paused;
    println!(
        "{all} faults survived over {sweeps} sweeps in {:?}: {parents_killed} parents killed, {parents_told_to_stop} told to stop, \
         {workers_killed} workers killed, {workers_paused} paused",
        start.elapsed()
    );
    assert!(all > 0, "nothing was disturbed");
}
