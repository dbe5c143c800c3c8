#!/usr/bin/env bash
# Trains one sweep without Slurm, in an allocation of three nodes, and in two allocations of which the first is cancelled. The
# curves must be the same, but for seconds. Needs the cluster of up.sh.
#   compare.sh PLATEAU      the program; a debug build will do
set -euo pipefail
: "${SLURM_ROOT:=/tmp/plateau-slurm}"; . "$SLURM_ROOT/env"
plateau=$(realpath "$1"); work=$(mktemp -d "$SLURM_ROOT/compare.XXXX"); cd "$work"
cat >sweep.yaml <<'YAML'
data: {limit: 64, eval_limit: 32, max_length: 32}
batch_size: 8
steps: 12
eval_every: 4
grid: {lr: [1e-5, 1e-4, 1e-3], scheduler: [constant, linear]}
seeds: [1, 2]
run: {checkpoint_every: 2}
YAML
curves() {  # RESULTS: the curves of all trials, without the column of seconds
  for file in "$1"/sweep/trials/*/{metrics,evals}.csv; do echo "${file#"$1"}"; cut -d, -f1-6 "$file"; done
}
same() { diff <(curves local) <(curves "$1") >difference || { head -20 difference; echo "FAIL: $1 differs from local"; exit 1; }; echo "ok: $1"; }
allocation=(salloc --quiet --nodes 3 --ntasks-per-node 2 --cpus-per-task 1 --mem 2000)

"$plateau" run sweep.yaml --results local --quiet
"${allocation[@]}" "$plateau" run sweep.yaml --engine slurm --results steps --progress lines
[ "$(grep -ho '"host": *"[^"]*"' steps/sweep/trials/*/config.json | sort -u | wc -l)" = 3 ] || { echo "FAIL: not on three nodes"; exit 1; }
same steps

"${allocation[@]}" "$plateau" run sweep.yaml --engine slurm --results cancelled --quiet &
until ls cancelled/sweep/trials/*/checkpoint >/dev/null 2>&1; do sleep 0.2; done
scancel --user "$(id -un)"; wait || true
"$plateau" status sweep.yaml --results cancelled | tail -3
"${allocation[@]}" "$plateau" run sweep.yaml --engine slurm --results cancelled --quiet
same cancelled

rm -rf "$work"
