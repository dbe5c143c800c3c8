#!/usr/bin/env bash
# Checks and measures plateau on one NVIDIA GPU, beside PyTorch, unattended and in eight minutes at most:
#
#     benches/gpu.sh PLATEAU [--device cuda|cpu] [--out FOLDER] [PART ...]
#
# PLATEAU is a program that was built elsewhere with `--features cuda`. The machine needs Linux, a checkout of this repository
# (nothing is built), Python with torch and transformers, and no network. `$PYTHON` names the Python (default: python3). Shared
# libraries of CUDA that the program needs are found in the folder of the program, in those of torch, or by the loader.
#
# Each part has its own time limit, and a part that fails or runs out of time loses no other one. FOLDER (default:
# target/gpu) then holds `gpu.json`, `gpu.md` and a log of each part. `--device cpu` rehearses everything with smaller counts.
# The exit code is 0 if every part is complete and every check holds, else 1.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
device=cuda out=$here/../target/gpu plateau='' chosen=()

# Seconds of each part: 470 together.
declare -A limits=([machine]=20 [parity]=60 [gradients]=40 [resume]=30 [steps-minilm]=90 [steps-bert]=120 [trials]=100)
order=(machine parity gradients resume steps-minilm steps-bert trials)

usage() { sed -n '2,13s/^# \?//p' "$0" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=${2:?} && shift ;;
        --out) out=${2:?} && shift ;;
        -*) usage ;;
        *) if [ -z "$plateau" ]; then plateau=$1; elif [ -n "${limits[$1]:-}" ]; then chosen+=("$1"); else usage; fi ;;
    esac
    shift
done
[ -n "$plateau" ] && [ -x "$plateau" ] || usage
[ ${#chosen[@]} -gt 0 ] || chosen=("${order[@]}")
# A rehearsal has more time.
slower=1
if [ "$device" = cpu ]; then
    export OMP_NUM_THREADS=1
    slower=4
fi
plateau=$(cd "$(dirname "$plateau")" && pwd)/$(basename "$plateau")
mkdir -p "$out" && out=$(cd "$out" && pwd)

libraries=$(dirname "$plateau"):$("$python" -c '
import importlib.util, pathlib
spec = importlib.util.find_spec("torch")
root = pathlib.Path(spec.origin).parent.parent if spec else pathlib.Path("/nowhere")
print(":".join(map(str, sorted({file.parent for file in root.glob("nvidia/**/lib*.so*")}))))' 2>/dev/null)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1

begun=$SECONDS
for part in "${chosen[@]}"; do
    rm -f "$out/$part.json" "$out/$part.status"
    started=$SECONDS limit=$((limits[$part] * slower))
    # `timeout` leads a process group of its own, so it also ends what the part has started.
    timeout -k 5 "$limit" "$python" "$here/gpu.py" "$part" "$plateau" "$device" "$out" >"$out/$part.log" 2>&1
    code=$?
    echo "$code $((SECONDS - started)) $limit" >"$out/$part.status"
    printf '%-13s %3d s  %s\n' "$part" $((SECONDS - started)) \
        "$(case $code in 0) echo done ;; 124 | 137) echo "out of time" ;; *) echo "failed, see $out/$part.log" ;; esac)"
done
"$python" "$here/gpu.py" table "$plateau" "$device" "$out"
code=$?
printf '%-13s %3d s  %s\n' all $((SECONDS - begun)) "$out/gpu.md, $out/gpu.json"
exit $code
