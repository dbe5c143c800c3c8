#!/usr/bin/env bash
# What a sweep with `engine: slurm` survives, with real faults of the cluster of up.sh. Every case must end with the curves of a run
# without Slurm, but for the seconds.
#   [TRIES=2] suite.sh PLATEAU [CASE...]   the program (a debug build will do), and the cases; without them: all
# On a cluster that was started with STALE=DIR:SECONDS, all sweeps run in DIR. The case `hidden` needs one with HIDE=DIR.
set -euo pipefail
: "${SLURM_ROOT:=/tmp/plateau-slurm}"; . "$SLURM_ROOT/env"; . "$SLURM_ROOT/settings"
here=$(cd "$(dirname "$0")" && pwd); fault() { "$here/fault.sh" "$@"; }
plateau=$(realpath "$1"); shift
work=$SLURM_ROOT/suite; [ -z "${STALE:-}" ] || work=${STALE%:*}/suite
mkdir -p "$work"; cd "$work"; passed=0; failed=0

# --- sweeps: `quick` ends within seconds, `slow` takes long enough to be disturbed
cat >quick.yaml <<'YAML'
data: {limit: 64, eval_limit: 32, max_length: 32}
batch_size: 8
steps: 12
eval_every: 4
grid: {lr: [1e-5, 1e-4, 1e-3], scheduler: [constant, linear]}
seeds: [1, 2]
run: {checkpoint_every: 2, engine: slurm}
YAML
cat >slow.yaml <<'YAML'
data: {limit: 400, eval_limit: 32, max_length: 32}
batch_size: 8
steps: 120
eval_every: 40
grid: {lr: [1e-4, 1e-3]}
run: {checkpoint_every: 5, engine: slurm}
YAML

die() { echo "  FAIL: $*"; exit 1; }
within() { local end=$((SECONDS + $1)); shift; until eval "$*" 2>/dev/null; do [ $SECONDS -lt $end ] || die "not in time: $*"; sleep 0.3; done; }
curves() { (cd "$1"; for file in trials/*/{metrics,evals}.csv; do echo "$file"; cut -d, -f1-6 "$file"; done); }
# SWEEP RESULTS: the same bytes as a run without Slurm
same() {
  # Once it is complete, this does nothing.
  "$plateau" run "$1.yaml" --engine local --results local --quiet
  diff <(curves "local/$1") <(curves "$2/$1") >difference || { head -5 difference; die "$2 differs from a local run"; }
}
# The same in the background, as process $parent.
start() { local sweep=$1 results=$2; shift 2; "$plateau" run "$sweep.yaml" --results "$results" --progress lines -v "$@" & parent=$!; }
run() { local sweep=$1 results=$2; shift 2; "$plateau" run "$sweep.yaml" --results "$results" --progress lines -v "$@"; }
count() { grep -c "\"event\":\"$2\"" "$1"/*/journal.jsonl || true; }   # RESULTS EVENT
steps() { cat "$1"/*/trials/*/metrics.csv 2>/dev/null | wc -l; }
node_of() { grep -ho '"host": *"[^"]*"' "$1"/*/trials/*/attempts/"$2"/started.json | head -1 | cut -d'"' -f4; }

case_plain() {  # twelve trials
  run quick plain; same quick plain
  [ "$(count plain trial_finished)" = 12 ] || die "not 12 finishes"
  [ "$(find plain/quick/trials/*/attempts -mindepth 1 -maxdepth 1 | wc -l)" = 12 ] || die "more than 12 attempts"
}
case_detach() {  # the parent leaves; another follows
  run slow detach --detach; [ "$(count detach sweep_detached)" = 1 ] || die "not detached"
  within 60 '[ "$(steps detach)" -gt 20 ]'
  run slow detach; same slow detach
  [ "$(count detach attempt_claimed)" = 2 ] || die "started twice"
}
case_killed() {  # the parent is killed; another follows
  start slow killed
  within 60 '[ "$(steps killed)" -gt 20 ]'; kill -9 $parent; wait $parent || true
  run slow killed; same slow killed
  [ "$(count killed attempt_claimed)" = 2 ] || die "started twice"
}
case_ctrl_c() {  # once: detach, exit code 0; twice: cancel, exit code 130
  # A shell lets its background jobs ignore SIGINT.
  start_hearing() { python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])' "$plateau" run slow.yaml --results ctrl_c --progress lines & parent=$!; }
  start_hearing; within 60 '[ "$(steps ctrl_c)" -gt 20 ]'; kill -INT $parent
  wait $parent && code=0 || code=$?; [ $code = 0 ] || die "exit code $code, not 0"
  [ "$(squeue -h -t RUNNING -o %j | grep -c plateau)" = 2 ] || die "the jobs are gone"
  start_hearing; sleep 2; kill -INT $parent; sleep 0.3; kill -INT $parent
  wait $parent && code=0 || code=$?; [ $code = 130 ] || die "exit code $code, not 130"
  within 30 '! squeue -h -t RUNNING,PENDING -o %j | grep -q plateau'
  run slow ctrl_c; same slow ctrl_c; [ "$(count ctrl_c attempt_failed)" = 0 ] || die "a cancelled trial failed"
}
case_stop() {  # `plateau stop` without a parent
  run slow stop --detach; within 60 '[ "$(steps stop)" -gt 20 ]'
  "$plateau" status slow.yaml --results stop --queue | tail -3
  "$plateau" stop slow.yaml --results stop; within 30 '! squeue -h -t RUNNING,PENDING -o %j | grep -q plateau'
  run slow stop; same slow stop
}
case_requeue() {
  start slow requeue
  within 60 '[ "$(steps requeue)" -gt 40 ]'
  for job in $(squeue -h -t RUNNING -o %A); do scontrol requeue "$job" || true; done
  wait $parent; same slow requeue; [ "$(count requeue attempt_failed)" = 0 ] || die "a requeue is no failure"
  ls -d requeue/slow/trials/*/attempts/2 >/dev/null || die "no second attempt"
}
case_evicted() {  # preemption: SIGTERM, three seconds, requeued
  start slow evicted
  within 60 '[ "$(steps evicted)" -gt 40 ]'; local job; job=$(fault evict); within 40 "[ \"\$(squeue -h -j $job -o %T)\" = RUNNING ]"; scancel "$job"
  wait $parent; same slow evicted; [ "$(count evicted attempt_failed)" = 0 ] || die "a preemption is no failure"
}
case_memory() {  # too little memory is doubled
  run quick memory --set run.slurm.mem=60MB --set run.retries=6
  same quick memory; grep -q '"kind":"out_of_memory"' memory/quick/journal.jsonl || die "memory was not bounded"
}
case_controller() {  # the controller dies for 15 s
  start slow controller
  within 60 '[ "$(steps controller)" -gt 20 ]'; fault ctl-kill; sleep 15; fault ctl-start
  wait $parent; same slow controller; [ "$(count controller attempt_claimed)" = 2 ] || die "started twice"
}
case_hanging() {  # the controller hangs while jobs are submitted
  fault ctl-stop; start slow hanging
  sleep 40; fault ctl-cont; wait $parent; same slow hanging
}
case_cut() {  # split brain: a node is cut off while its job is started elsewhere, and mended
  start slow cut --only lr=1e-3
  within 60 '[ "$(steps cut)" -gt 20 ]'; local node; node=$(node_of cut 1); fault node-cut "$node"
  within 60 'ls cut/slow/trials/*/attempts/2/started.json'; fault node-mend "$node"
  wait $parent; run slow cut; same slow cut
}
case_dead() {  # a node loses power
  start slow dead --only lr=1e-3
  within 60 '[ "$(steps dead)" -gt 20 ]'; local node; node=$(node_of dead 1); fault node-kill "$node"
  within 90 'ls dead/slow/trials/*/attempts/2/started.json'; fault node-boot "$node"
  wait $parent; run slow dead; same slow dead
}
case_forgotten() {  # the controller forgets everything
  start slow forgotten
  within 60 '[ "$(steps forgotten)" -gt 20 ]'; fault ctl-wipe
  wait $parent; same slow forgotten
}
case_hole() {  # a node on which the setup fails at once
  run quick hole --set 'run.slurm.setup=test "$SLURMD_NODENAME" != n1'
  same quick hole; [ "$(grep -c '"host":"n1"' hole/quick/journal.jsonl || true)" = 0 ] || die "n1 was used"
}
case_cancelled() {  # cancelled by hand: not started again by itself
  start slow cancelled
  within 60 '[ "$(steps cancelled)" -gt 20 ]'; scancel --state=RUNNING -u "$(id -un)"
  wait $parent && code=0 || code=$?; [ $code = 1 ] || die "exit code $code, not 1"
  run slow cancelled --retry-failed; same slow cancelled
}
case_time() {  # a trial needs several jobs
  run slow time --set run.slurm.time=1m --set run.slurm.warn=30s --set run.checkpoint_every=5 --set steps=${STEPS:-1500} --only lr=1e-3
  [ "$(count time attempt_failed)" = 0 ] || die "a time limit is no failure"
  [ "$(count time attempt_claimed)" -ge 2 ] || die "one job was enough"
}
case_shared() {  # trials side by side and one after another; a requeue and a signal to all of a job
  start quick shared --set run.slurm.max_jobs=1 --set run.slurm.pack=2
  within 60 '[ "$(steps shared)" -gt 10 ]'
  [ "$(squeue -h -t RUNNING,PENDING -o %j | grep -c plateau)" = 1 ] || die "not one job"
  scontrol requeue "$(squeue -h -t RUNNING -o %A)"
  wait $parent; same quick shared; [ "$(count shared attempt_failed)" = 0 ] || die "a requeue is no failure"
  run slow shared2 --set run.slurm.max_jobs=1 --set run.slurm.pack=2 --detach
  within 60 '[ "$(steps shared2)" -gt 40 ]'; "$plateau" stop slow.yaml --results shared2
  within 30 '! squeue -h -t RUNNING,PENDING -o %j | grep -q plateau'
  [ "$(find shared2 -name newest.json | wc -l)" = 2 ] || die "not both have saved their states"
  run slow shared2; same slow shared2
}
case_submit_all() {  # all trials are submitted, two at a time, and followed by the next run
  run quick submit_all --submit-all --set run.slurm.max_jobs=2 --set run.slurm.chain=off
  [ "$(squeue -h -r -t PENDING,RUNNING,COMPLETING,COMPLETED -o %j | grep -c plateau)" = 12 ] || die "not all are submitted"
  [ "$(squeue -h -t RUNNING -o %j | grep -c plateau)" -le 2 ] || die "more than two run"
  run quick submit_all; same quick submit_all; [ "$(count submit_all attempt_claimed)" = 12 ] || die "started twice"
}
case_id_reuse() {  # the controller dies before it has written the job down, and gives its id to a job of another sweep
  # What another case has left would look like a job of this one.
  scancel -Q -u "$(id -un)" 2>/dev/null || true; within 30 '[ -z "$(squeue -h)" ]'
  start slow id_reuse; local first=$parent
  within 40 '[ -n "$(squeue -h -o %A)" ]'; fault ctl-kill; sleep 1; fault ctl-start
  within 30 '! sinfo -h -N -p main -o %T | grep -qv -e idle -e mixed -e allocated'; start quick id_other; wait $parent; wait $first
  same slow id_reuse; same quick id_other
  [ "$(count id_other attempt_failed)" = 0 ] || die "a job of the other sweep was cancelled"
}
case_ghost() {  # the controller hangs while it is given the jobs: sbatch fails, and the jobs are there
  mkdir -p ghost.bin; local real; real=$(command -v sbatch)
  cat >ghost.bin/sbatch <<SH
#!/bin/bash
case \$1 in --parsable) [ -e "$work/ghost.done" ] || { touch "$work/ghost.done"; kill -STOP \$(cat "$R/pids/slurmctld.pid"); } ;; esac
exec "$real" "\$@"
SH
  chmod +x ghost.bin/sbatch; rm -f ghost.done
  PATH=$work/ghost.bin:$PATH start slow ghost
  within 60 '[ -e ghost.done ]'; sleep 25; fault ctl-cont
  wait $parent; same slow ghost
  [ "$(count ghost trial_finished)" = 2 ] || die "not two finishes"
}
case_hidden() {  # a results folder that nodes do not see
  [ -n "${HIDE:-}" ] || { echo "needs a cluster with HIDE=DIR"; exit 77; }
  "$plateau" plan quick.yaml --results "$HIDE/results" --probe >hidden.out 2>&1 && die "the probe sees it" || true
  grep -q 'the nodes do not see' hidden.out || { tail -3 hidden.out; die "not told"; }
  "$plateau" run quick.yaml --results "$HIDE/results" --progress lines && die "not refused" || true
}
case_within() {  # the parent is itself a job
  sbatch --wait -n1 --mem=600 -o within.log --wrap "export SLURM_CPU_BIND=quiet,mask_cpu:0x1 SLURM_MEM_PER_CPU=7; '$plateau' run quick.yaml --results within --set run.slurm.within=queue --progress lines" || { tail -3 within.log; die "the job failed"; }
  same quick within
}
case_mistakes() {  # told before anything is submitted
  refused() { local text=$1; shift; "$@" >mistake.log 2>&1 && die "not refused: $*"; grep -q "$text" mistake.log || { cat mistake.log; die "not told: $text"; }; }
  refused 'no `sbatch` on the path' env PATH=/nowhere "$plateau" run quick.yaml --results mistakes
  refused 'nvalid partition' run quick mistakes --set run.slurm.partition=nowhere
  refused 'run.checkpoint_every' run quick mistakes --set run.slurm.time=5m --set run.checkpoint_every=10m
  refused 'run.slurm.warn' run quick mistakes --set run.slurm.time=1m --set run.slurm.warn=2m
  "$plateau" plan quick.yaml --results mistakes --probe 2>&1 | grep -q 'a job sees the results' || die "the probe fails"
  [ -z "$(find mistakes -name 'plateau-*.json' 2>/dev/null)" ] || die "a batch was written"
}

all=(plain detach killed ctrl_c stop requeue evicted memory controller hanging ghost id_reuse cut dead forgotten hole cancelled within shared submit_all
  time mistakes hidden)
if [ $# = 0 ]; then set -- "${all[@]}"; fi
for name in "$@"; do
  # TRIES: a machine under load may miss a deadline once.
  for try in $(seq "${TRIES:-1}"); do
    rm -rf "$name"; began=$SECONDS
    # As a condition, the case would not end at its first error.
    set +e; (set -e; "case_$name") >"$name.log" 2>&1; code=$?; set -e
    if [ $code = 0 ] || [ $code = 77 ]; then break; fi
    if [ "$try" -lt "${TRIES:-1}" ]; then echo "again: $name"; tail -n 12 "$name.log" | sed 's/^/  | /'; scancel -Q -u "$(id -un)" 2>/dev/null || true; fi
  done
  if [ $code = 77 ]; then echo "skipped $name: $(tail -n 1 "$name.log")"
  elif [ $code = 0 ]; then passed=$((passed + 1)); echo "ok   $name ($((SECONDS - began)) s)"
  else failed=$((failed + 1)); echo "FAIL $name ($((SECONDS - began)) s)"; tail -n 12 "$name.log" | sed 's/^/  | /'; fi
  scancel -Q -u "$(id -un)" 2>/dev/null || true
done
echo "$passed passed, $failed failed"; [ $failed = 0 ]
