//! What a sweep survives on each engine. The table at the end says which cases run where, and why not elsewhere. Nodes that are cut
//! off, controllers that hang and file systems that lag need a real cluster: `tests/slurm/suite.sh`.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use crate::place::{Ended, signal, small, wait};
use crate::slurm::Cluster;

const SWEEP: &str = small!(
    "steps: 200\neval_every: 100\ngrid: {lr: [1e-3, 1e-4]}\nrun: {checkpoint_every: 5, jobs: 2, threads: 1, slurm: {mem: 1GB}}\n"
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Local,
    Inline,
    Slurm,
}

/// A place with a stand-in for Slurm, and an engine.
struct Bench {
    cluster: Cluster,
    engine: Engine,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        Self { cluster: Cluster::new(SWEEP), engine }
    }

    fn line(&self, options: &str) -> String {
        let engine = format!("{:?}", self.engine).to_lowercase();
        format!("run sweep.yaml --engine {engine} {options}")
    }

    fn start(&self, options: &str) -> Child {
        self.cluster.start(&self.line(options))
    }

    fn run(&self, code: i32, options: &str) -> Ended {
        self.cluster.expect(code, &self.line(options))
    }

    fn count(&self, event: &str) -> usize {
        self.cluster.place.count(event)
    }

    /// The sweep is complete, no attempt has failed, and the results are those of an undisturbed local run.
    fn is_whole(&self) {
        assert_eq!((self.count("trial_finished"), self.count("attempt_failed")), (2, 0));
        self.cluster.equals_local();
    }

    /// The process ids of the workers.
    fn workers(&self) -> Vec<i32> {
        self.cluster.place.workers()
    }

    /// The files of the jobs of the stand-in that have not ended, such as `job.1_0`.
    fn jobs(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cluster.place.path("bin/state")).unwrap().flatten().map(|entry| entry.path());
        let is_job = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("job.") && name.matches('.').count() == 1
        };
        let has = |path: &PathBuf, kind: &str| PathBuf::from(format!("{}.{kind}", path.display())).exists();
        files.filter(is_job).filter(|path| !has(path, "end") && !has(path, "says")).collect()
    }

    /// Ends all jobs: Slurm says `state` of them from now on. `how`: TERM or USR1 announce the end, KILL leaves no time.
    fn end_jobs(&self, state: &str, how: Signal) {
        for job in self.jobs() {
            let text = fs::read_to_string(&job).unwrap();
            let pid: i32 = text.split_whitespace().next().unwrap().parse().unwrap();
            let name = job.file_name().unwrap().to_str().unwrap();
            self.cluster.will(&format!("{name}.says"), state);
            if how == Signal::KILL {
                let group = getpgid(Pid::from_raw(pid)).unwrap();
                kill_process_group(group, how).unwrap();
            } else {
                signal(pid, how);
            }
        }
    }
}

fn end(parent: Child) -> Ended {
    Ended::new(parent.wait_with_output().unwrap())
}

fn plain(engine: Engine) {
    let bench = Bench::new(engine);
    bench.run(0, "");
    assert_eq!(bench.count("attempt_claimed"), 2);
    bench.is_whole();
    bench.run(0, "");
    assert_eq!(bench.count("attempt_claimed"), 2, "nothing is left to do");
}

fn parent_killed(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    signal(parent.id() as i32, Signal::KILL);
    end(parent);
    if engine != Engine::Slurm {
        wait(|| bench.workers().is_empty());
    }
    bench.run(0, "");
    let claimed = bench.count("attempt_claimed");
    assert!(claimed == 2 || engine != Engine::Slurm, "jobs continue and are adopted: {claimed}");
    bench.is_whole();
}

fn ctrl_c(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    signal(parent.id() as i32, Signal::INT);
    let ended = end(parent);
    assert_eq!(ended.code, if engine == Engine::Slurm { 0 } else { 130 }, "{}", ended.err);
    bench.run(0, "");
    bench.is_whole();
}

/// `plateau stop` in another terminal.
fn stopped(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    bench.cluster.expect(0, "stop sweep.yaml");
    let ended = end(parent);
    assert_eq!(ended.code, 130, "{}", ended.err);
    bench.run(0, "");
    bench.is_whole();
}

fn worker_killed(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    signal(bench.workers()[0], Signal::KILL);
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!((bench.count("trial_finished"), bench.count("attempt_failed")), (2, 1));
    bench.cluster.equals_local();
}

/// A signal to a worker alone: it saves its state, and no retry is used.
fn worker_asked_to_end(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(20);
    signal(bench.workers()[0], Signal::USR1);
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(bench.count("attempt_claimed"), 3);
    bench.is_whole();
}

/// The outcome stands, and the scheduler says that the node has failed.
fn finished_then_lost(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(20);
    for job in bench.jobs() {
        let name = job.file_name().unwrap().to_str().unwrap();
        bench.cluster.will(&format!("{name}.late"), "NODE_FAIL");
    }
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(bench.count("attempt_claimed"), 2);
    bench.is_whole();
}

fn preempted(engine: Engine) {
    interrupted_by_scheduler(engine, "PREEMPTED", Signal::TERM);
}

fn time_limit(engine: Engine) {
    interrupted_by_scheduler(engine, "TIMEOUT", Signal::USR1);
}

fn interrupted_by_scheduler(engine: Engine, state: &str, how: Signal) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(20);
    bench.end_jobs(state, how);
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(bench.count("attempt_claimed") > 2);
    bench.is_whole();
}

/// A job that Slurm ends for its memory gets twice as much the next time.
fn out_of_memory(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("--only lr=1e-3");
    bench.cluster.place.wait_for_steps(6);
    bench.end_jobs("OUT_OF_MEMORY", Signal::KILL);
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let state = fs::read_dir(bench.cluster.place.path("bin/state")).unwrap().flatten().map(|entry| entry.path());
    let scripts =
        state.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("script.")));
    let scripts: String = scripts.map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(scripts.contains("--mem=954M") && scripts.contains("--mem=1908M"), "{scripts}");
}

/// A person cancels the jobs: the trials wait until they are wanted again.
fn cancelled_by_hand(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    bench.end_jobs("CANCELLED", Signal::TERM);
    let ended = end(parent);
    assert_eq!((ended.code, bench.count("attempt_claimed")), (1, 2), "{}", ended.err);
    bench.run(0, "--retry-failed");
    assert_eq!(bench.count("trial_finished"), 2);
    bench.cluster.equals_local();
}

/// The controller does not answer for a while: nothing is lost, and nothing is submitted twice.
fn controller_down(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("");
    bench.cluster.place.wait_for_steps(6);
    bench.cluster.will("away", "");
    sleep(Duration::from_secs(8));
    fs::remove_file(bench.cluster.place.path("bin/state/away")).unwrap();
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(bench.count("attempt_claimed"), 2);
    bench.is_whole();
}

/// The cluster forgets jobs that run: their folders show that they live.
fn forgotten(engine: Engine) {
    let bench = Bench::new(engine);
    let parent = bench.start("--set steps=400");
    bench.cluster.place.wait_for_steps(6);
    bench.cluster.will("wiped", "");
    let ended = end(parent);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!((bench.count("attempt_claimed"), bench.count("trial_finished")), (2, 2));
}

/// A site whose arrays have at most two elements.
fn small_arrays(engine: Engine) {
    let bench = Bench::new(engine);
    bench.cluster.place.write_program("bin/scontrol", "echo 'MaxArraySize = 3'");
    bench.run(0, "--set steps=12 --set eval_every=4 --set seeds=[1,2] --set run.jobs=4 --set run.slurm.chain=off");
    assert_eq!((bench.count("trial_finished"), bench.cluster.calls("sbatch --parsable")), (4, 2));
}

/// The cases, and for each engine `yes` or why the case does not apply.
macro_rules! engine_suite {
    ($($case:ident: local $local:tt, inline $inline:tt, slurm $slurm:tt;)*) => {
        mod local { $(engine_suite!(@ Local $case $local);)* }
        mod inline { $(engine_suite!(@ Inline $case $inline);)* }
        mod slurm { $(engine_suite!(@ Slurm $case $slurm);)* }
    };
    (@ $engine:ident $case:ident [yes]) => {
        #[test]
        fn $case() {
            super::$case(super::Engine::$engine);
        }
    };
    (@ $engine:ident $case:ident [$reason:literal]) => {};
}

engine_suite! {
    plain: local [yes], inline [yes], slurm [yes];
    parent_killed: local [yes], inline [yes], slurm [yes];
    ctrl_c: local [yes], inline [yes], slurm [yes];
    stopped: local [yes], inline [yes], slurm [yes];
    worker_killed: local [yes], inline ["a signal to a thread ends the process"], slurm [yes];
    worker_asked_to_end: local [yes], inline ["a signal is for the process"], slurm [yes];
    finished_then_lost: local ["no scheduler says otherwise"], inline ["no scheduler says otherwise"], slurm [yes];
    preempted: local ["nothing preempts"], inline ["nothing preempts"], slurm [yes];
    time_limit: local ["a process has no time limit"], inline ["a thread has no time limit"], slurm [yes];
    out_of_memory: local ["bounds no memory: see `faults`"], inline ["threads share their memory"], slurm [yes];
    cancelled_by_hand: local ["as worker_asked_to_end"], inline ["a thread cannot be cancelled"], slurm [yes];
    controller_down: local ["no controller"], inline ["no controller"], slurm [yes];
    forgotten: local ["the system forgets no process"], inline ["the process knows its threads"], slurm [yes];
    small_arrays: local ["no arrays"], inline ["no arrays"], slurm [yes];
}
