//! Sweeps in the queue of a stand-in for Slurm: its programs start job scripts at once, and fail as real ones do.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::place::{Ended, Place, signal, small, wait};

const QUICK: &str =
    small!("steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 1e-4]}\nrun: {engine: slurm, checkpoint_every: 2}\n");
const SLOW: &str =
    small!("steps: 300\neval_every: 150\ngrid: {lr: [1e-3, 1e-4]}\nrun: {engine: slurm, checkpoint_every: 5}\n");

const MANY: &str = small!(
    "steps: 12\neval_every: 4\ngrid: {lr: [1e-3, 3e-4, 1e-4], scheduler: [constant, linear]}\n\
     run: {engine: slurm, checkpoint_every: 2, slurm: {pack: 2, max_jobs: 2}}\n"
);
/// One job for three trials.
const SHARED: &str = small!(
    "steps: 300\neval_every: 150\ngrid: {lr: [1e-3, 3e-4, 1e-4]}\n\
     run: {engine: slurm, checkpoint_every: 5, slurm: {pack: 2, max_jobs: 1}}\n"
);

/// Takes the script of an array, and starts a process for each index. `limit`: the most jobs of a call. `ghost`: it does so, and says
/// that it has failed. `lost`: it fails.
const SBATCH: &str = r#"
state=$(dirname "$0")/state; mkdir -p "$state"; script=$(mktemp "$state/script.XXXXXX"); cat >"$script"
echo "sbatch $*" >>"$state/calls"
if grep -q -e --partition=nowhere "$script"; then echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1; fi
for option in "$@"; do case $option in --test-only) exit 0 ;; --array=*) range=${option#--array=} ;; esac; done
range=${range%%%*}; first=${range%-*}; last=${range#*-}
if [ -e "$state/limit" ] && [ $((last - first)) -ge "$(cat "$state/limit")" ]; then
  echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1
fi
if [ -e "$state/lost" ]; then rm "$state/lost"; echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1; fi
id=$(($(cat "$state/last" 2>/dev/null || echo 0) + 1)); echo $id >"$state/last"
name=$(sed -n 's/^#SBATCH --job-name=//p' "$script")
for index in $(seq "$first" "$last"); do
  SLURM_ARRAY_TASK_ID=$index SLURM_JOB_ID=$id$index SLURMD_NODENAME=n1 setsid sh -c '
    trap : USR1 TERM
    bash "$1" & echo "$! $2" >"$3.new"; mv "$3.new" "$3"; wait $!; code=$?
    while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
    [ -e "$3.cancelled" ] && code=CANCELLED; echo "$code $2" >"$3.new"; mv "$3.new" "$3.end"' \
    job "$script" "$name" "$state/job.${id}_$index" </dev/null >>"$state/output" 2>&1 &
done
if [ -e "$state/ghost" ]; then rm "$state/ghost"; echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1; fi
echo $id
"#;

/// Lists the jobs. `away`: it fails. `wiped`: it knows none. `<job>.says`: the state of a job; `<job>.late`: that after its end.
const SQUEUE: &str = r#"
state=$(dirname "$0")/state; echo "squeue" >>"$state/calls"
if [ -e "$state/away" ]; then echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1; fi
[ -e "$state/wiped" ] && exit 0
for job in "$state"/job.*_*; do
  case $job in *.end|*.new|*.cancelled|*.says|*.late|*'*') continue ;; esac
  read -r pid name <"$job"; what=RUNNING
  [ -e "$job.end" ] && { read -r code name <"$job.end"; case $code in 0) what=COMPLETED ;; CANCELLED) what=CANCELLED ;; *) what=FAILED ;; esac; }
  [ -e "$job.end" ] && [ -e "$job.late" ] && what=$(cat "$job.late")
  [ -e "$job.says" ] && what=$(cat "$job.says")
  echo "${job##*job.}|$what|n1|None|N/A|$name"
done
"#;

const SCANCEL: &str = r#"
state=$(dirname "$0")/state; echo "scancel $*" >>"$state/calls"; signal=TERM
for option in "$@"; do case $option in --name=*) names=${option#--name=} ;; --signal=*) signal=${option#--signal=} ;; --state=PENDING) exit 0 ;; esac; done
for job in "$state"/job.*_*; do
  case $job in *.end|*.new|*.cancelled|*.says|*.late|*'*') continue ;; esac
  read -r pid name <"$job"; [ -e "$job.end" ] && continue; [ -e "$job.says" ] && continue
  case ",$names," in *",$name,"*) [ $signal = TERM ] && touch "$job.cancelled"; kill -s $signal "$pid" ;; esac
done
"#;

/// A place whose path begins with the stand-in.
pub struct Cluster {
    pub place: Place,
}

impl Cluster {
    pub fn new(sweep: &str) -> Self {
        let place = Place::new(sweep);
        place.write("bin/state/calls", "");
        for (name, script) in [
            ("sbatch", SBATCH),
            ("squeue", SQUEUE),
            ("scancel", SCANCEL),
            ("sinfo", "echo 4000 short; echo 4000 main"),
            ("scontrol", "echo 'MaxArraySize            = 1001'"),
        ] {
            place.write_program(&format!("bin/{name}"), script);
        }
        Self { place }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = self.place.command(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.place.path("bin").display())).env_remove("SLURM_JOB_ID");
        command
    }

    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn expect(&self, code: i32, arguments: &str) -> Ended {
        let ended = Ended::new(self.command(arguments).output().unwrap());
        assert_eq!(ended.code, code, "plateau {arguments}\n{}{}", ended.out, ended.err);
        ended
    }

    /// How the stand-in behaves from now on.
    pub fn will(&self, behave: &str, how: &str) {
        self.place.write(&format!("bin/state/{behave}"), how);
    }

    pub fn calls(&self, program: &str) -> usize {
        self.place.read("bin/state/calls").lines().filter(|line| line.starts_with(program)).count()
    }

    /// How many jobs the stand-in has started.
    fn jobs(&self) -> usize {
        let files = std::fs::read_dir(self.place.path("bin/state")).unwrap().flatten().map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "end")).count()
    }

    /// The results are those of the same sweep without Slurm.
    pub fn equals_local(&self) {
        let local = Place::new(&self.place.read("sweep.yaml"));
        local.expect(0, "run sweep.yaml --engine local");
        assert_eq!(self.place.curves(), local.curves());
    }
}

#[test]
fn a_sweep_in_the_queue_equals_a_local_one() {
    let cluster = Cluster::new(QUICK);
    let plan = cluster.expect(0, "plan sweep.yaml");
    assert!(plan.out.contains("Slurm: 2 jobs") && plan.out.contains("#SBATCH --job-name=plateau-"), "{}", plan.out);
    cluster.expect(0, "run sweep.yaml");
    let counts = ["attempt_claimed", "attempt_queued", "attempt_started", "trial_finished"]
        .map(|event| cluster.place.count(event));
    assert_eq!(counts, [2, 2, 2, 2]);
    assert_eq!(cluster.calls("sbatch --parsable"), 1, "both trials are one array");
    cluster.equals_local();
}

/// Two trials side by side in a job, and more one after another than two jobs have places.
/// A sweep file may come from another person: what it adds to the script of its jobs runs only after consent.
#[test]
fn what_a_file_adds_to_its_jobs_needs_consent() {
    for added in ["setup: [true]", "extra: [--prolog=x]", "container: x"] {
        let cluster = Cluster::new(&QUICK.replace("engine: slurm", &format!("engine: slurm, slurm: {{{added}}}")));
        for command in ["run sweep.yaml", "plan sweep.yaml --probe"] {
            let refused = cluster.expect(2, command).err;
            let line = format!("run.slurm.{}", added.replace(['[', ']'], ""));
            assert!(refused.contains(&line) && refused.contains("--trust"), "{refused}");
        }
        assert_eq!(cluster.calls("sbatch --parsable"), 0);
    }
    let cluster = Cluster::new(&QUICK.replace("engine: slurm", "engine: slurm, slurm: {setup: [touch ran]}"));
    cluster.expect(0, "run sweep.yaml --engine local");
    cluster.expect(0, "run sweep.yaml --fresh --trust");
    assert!(cluster.place.path("ran").exists());
    cluster.expect(0, "run sweep.yaml --fresh");
}

#[test]
fn trials_share_jobs() {
    let cluster = Cluster::new(MANY);
    let plan = cluster.expect(0, "plan sweep.yaml");
    assert!(plan.out.contains("Slurm: 2 jobs for 6 trials") && plan.out.contains("node hours"), "{}", plan.out);
    cluster.expect(0, "run sweep.yaml");
    assert_eq!((cluster.jobs(), cluster.place.count("trial_finished")), (2, 6));
    assert_eq!((cluster.place.count("attempt_claimed"), cluster.place.count("attempt_started")), (6, 6));
    cluster.equals_local();
}

#[test]
fn every_trial_has_a_job_if_there_are_enough() {
    let cluster = Cluster::new(MANY);
    cluster.expect(0, "run sweep.yaml --set run.slurm.pack=1 --set run.slurm.max_jobs=6");
    assert_eq!((cluster.jobs(), cluster.place.count("trial_finished")), (6, 6));
}

/// A signal to a job saves all of its workers, and the one that waited for its turn is queued again.
#[test]
fn a_signal_saves_all_workers_of_a_job() {
    let cluster = Cluster::new(SHARED);
    cluster.expect(0, "run sweep.yaml --detach");
    cluster.place.wait_for_steps(6);
    cluster.expect(0, "stop sweep.yaml");
    wait(|| cluster.place.workers().is_empty());
    let starts = cluster.place.trials().into_values().filter(|trial| trial.join("attempts/1/started.json").exists());
    assert_eq!(starts.count(), 2, "the third waits for its turn");
    cluster.expect(0, "run sweep.yaml");
    assert_eq!((cluster.jobs(), cluster.place.count("attempt_failed")), (2, 0));
    cluster.equals_local();
}

/// A worker of a shared job that dies takes no other one with it, and is tried again while they run.
#[test]
fn a_worker_that_dies_leaves_the_others_of_its_job_alone() {
    let cluster = Cluster::new(SHARED);
    let parent = cluster.start("run sweep.yaml --set run.slurm.max_jobs=2 --set run.slurm.chain=off");
    cluster.place.wait_for_steps(6);
    let victim = cluster.place.trials().into_values().find_map(|trial| {
        let started = std::fs::read_to_string(trial.join("attempts/1/started.json")).ok()?;
        serde_json::from_str::<serde_json::Value>(&started).ok()?["pid"].as_i64()
    });
    signal(victim.unwrap() as i32, Signal::KILL);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    let counts = ["attempt_claimed", "attempt_failed", "trial_finished"].map(|event| cluster.place.count(event));
    assert_eq!(counts, [4, 1, 3]);
    cluster.equals_local();
}

/// All trials are submitted at once, in an array that Slurm bounds. The next run follows them.
#[test]
fn all_trials_can_be_submitted_at_once() {
    let cluster = Cluster::new(MANY);
    let options = "--submit-all --set run.slurm.pack=1 --set run.slurm.chain=off";
    let ended = cluster.expect(0, &format!("run sweep.yaml {options}"));
    assert!(ended.err.contains("6 trials continue in Slurm."), "{}", ended.err);
    assert!(cluster.place.read("bin/state/calls").contains("--array=0-5%2"));
    cluster.expect(0, "run sweep.yaml --set run.slurm.pack=1 --set run.slurm.chain=off");
    assert_eq!((cluster.jobs(), cluster.place.count("trial_finished")), (6, 6));
    let compared = "--submit-all --dry-run --set stop.median.min_trials=1";
    let plan = cluster.expect(0, &format!("run sweep.yaml --fresh {compared}"));
    assert!(plan.out.contains("(`stop.median`, `stop.asha`) end none until"), "{}", plan.out);
    let refused = cluster.expect(2, "run sweep.yaml --submit-all --set run.slurm.array=false");
    assert!(refused.err.contains("Slurm bounds only arrays"), "{}", refused.err);
    let refused = cluster.expect(2, "run sweep.yaml --submit-all --engine local");
    assert!(refused.err.contains("do not become jobs of Slurm"), "{}", refused.err);
}

/// A cluster that takes few jobs: what it does not take is left to the next run.
#[test]
fn a_run_that_leaves_does_not_wait_for_a_limit() {
    let cluster = Cluster::new(MANY);
    cluster.will("limit", "0");
    let options = "--set run.slurm.pack=1 --set run.slurm.chain=off";
    let ended = cluster.expect(0, &format!("run sweep.yaml --submit-all {options}"));
    assert!(ended.err.contains("6 more are not queued yet"), "{}", ended.err);
    cluster.will("limit", "9");
    cluster.expect(0, &format!("run sweep.yaml {options}"));
    assert_eq!(cluster.place.count("trial_finished"), 6);
    cluster.equals_local();
}

/// The controller has taken the jobs although it seemed to fail.
#[test]
fn a_submission_that_seems_to_fail_is_not_repeated() {
    let cluster = Cluster::new(QUICK);
    cluster.will("ghost", "");
    let ended = cluster.expect(0, "run sweep.yaml");
    assert!(ended.err.contains("Slurm does not answer: sbatch: error: Socket timed out"), "{}", ended.err);
    assert_eq!((cluster.place.count("attempt_claimed"), cluster.calls("sbatch --parsable")), (2, 1));
}

/// The controller has not taken the jobs: after it has denied twice that it knows them, they are submitted again.
#[test]
fn a_submission_that_was_lost_is_repeated() {
    let cluster = Cluster::new(QUICK);
    cluster.will("lost", "");
    cluster.expect(0, "run sweep.yaml");
    assert_eq!((cluster.place.count("trial_finished"), cluster.place.count("attempt_failed")), (2, 0));
    cluster.equals_local();
}

#[test]
fn a_limit_on_jobs_splits_a_submission() {
    let cluster = Cluster::new(QUICK);
    cluster.will("limit", "1");
    cluster.expect(0, "run sweep.yaml");
    assert_eq!((cluster.place.count("trial_finished"), cluster.calls("sbatch --parsable")), (2, 3));
}

#[test]
fn mistakes_are_reported_before_anything_is_submitted() {
    let cluster = Cluster::new(QUICK);
    let refused = cluster.expect(2, "run sweep.yaml --set run.slurm.partition=nowhere");
    assert!(refused.err.contains("Slurm would refuse the jobs of this sweep"), "{}", refused.err);
    let refused = cluster
        .expect(2, "run sweep.yaml --set run.slurm.time=1m --set run.checkpoint_every=2m --set run.slurm.warn=10s");
    assert!(refused.err.contains("is shorter than `run.checkpoint_every`"), "{}", refused.err);
    let refused = cluster.expect(2, "run sweep.yaml --set run.slurm.time=1m");
    assert!(refused.err.contains("`run.slurm.warn` (120 s) is not shorter"), "{}", refused.err);
    let nowhere =
        cluster.place.command("run sweep.yaml").env("PATH", "/nowhere").env_remove("SLURM_JOB_ID").output().unwrap();
    let refused = Ended::new(nowhere);
    assert!(refused.code == 2 && refused.err.contains("there is no `sbatch` on the path"), "{}", refused.err);
    let all = cluster.expect(2, "run sweep.yaml --set run.slurm.partition=nowhere --set run.slurm.time=1m");
    assert!(all.err.contains("`run.slurm.warn` (120 s) is not shorter") && all.err.contains("nowhere"), "{}", all.err);
    assert!(all.err.contains("The partitions are main, short"), "{}", all.err);
    assert_eq!(cluster.calls("sbatch --parsable"), 0);
    assert!(!cluster.place.path("results/sweep/batches").exists());
}

/// Ctrl-C leaves the jobs, and the next run follows them. A second Ctrl-C cancels them, and they save their states.
#[test]
fn jobs_continue_without_their_parent() {
    let cluster = Cluster::new(SLOW);
    let parent = cluster.start("run sweep.yaml");
    cluster.place.wait_for_steps(6);
    signal(parent.id() as i32, Signal::INT);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("2 trials continue in Slurm"), "{}", ended.err);
    assert_eq!(cluster.place.count("sweep_detached"), 1);
    let parent = cluster.start("run sweep.yaml");
    wait(|| cluster.place.count("sweep_opened") == 2);
    sleep(Duration::from_millis(500));
    assert_eq!(cluster.place.count("attempt_claimed"), 2, "nothing is started twice");
    signal(parent.id() as i32, Signal::INT);
    sleep(Duration::from_millis(200));
    signal(parent.id() as i32, Signal::INT);
    let ended = Ended::new(parent.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    cluster.expect(0, "run sweep.yaml");
    assert_eq!((cluster.place.count("trial_finished"), cluster.place.count("attempt_failed")), (2, 0));
    cluster.equals_local();
}

#[test]
fn stop_ends_jobs_that_no_process_follows() {
    let cluster = Cluster::new(SLOW);
    cluster.expect(0, "run sweep.yaml --detach");
    cluster.place.wait_for_steps(6);
    let status = cluster.expect(0, "status sweep.yaml --queue");
    assert!(status.out.contains("running on n1"), "{}", status.out);
    let fresh = cluster.expect(2, "run sweep.yaml --fresh");
    assert!(fresh.err.contains("`plateau stop sweep` ends them"), "{}", fresh.err);
    let stopped = cluster.expect(0, "stop sweep.yaml");
    assert!(stopped.err.contains("2 jobs cancelled"), "{}", stopped.err);
    wait(|| cluster.place.workers().is_empty());
    assert_eq!(cluster.place.count("attempt_interrupted"), 2);
    cluster.expect(0, "run sweep.yaml");
    cluster.equals_local();
}
