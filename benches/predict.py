"""Predictions of plateau and of a transformers pipeline, in turn on one machine: `just bench-predict`.

The embedded model with `pooling: pooler`, exported, labels the embedded tweets, which have their natural lengths. Each round runs
both programs, so that what else the machine does meets both. The table has the median of the rounds, and how many times the time of
plateau the pipeline takes: by the clock, and in processor time, which other programs disturb less. `plateau predict` counts from its
start to its end; the pipeline counts without the start of Python and the reading of the model.

`predict.py PLATEAU [--texts N] [--threads N] [--rounds N]`, with a Python that has torch and transformers.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BATCHES = [1, 8, 32]
SWEEP = """name: model
data: {train: embedded:tweets, limit: 64, eval_limit: 32}
model: {pooling: pooler}
steps: 1
"""


def pipeline(folder, file, threads):
    """Prints the seconds by the clock and of processor time for each batch size."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    classify = transformers.pipeline("text-classification", model=folder, device="cpu", top_k=None)
    texts = [json.loads(line)["text"] for line in Path(file).read_text(encoding="utf-8").splitlines()]
    classify(texts[:32], batch_size=8, truncation=True)
    for batch in BATCHES:
        clock, processor = time.perf_counter(), time.process_time()
        classify(texts, batch_size=batch, truncation=True)
        print(batch, time.perf_counter() - clock, time.process_time() - processor)


def children():
    """Processor time of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("plateau")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    program, threads = str(Path(options.plateau).resolve()), str(options.threads)
    environment = {
        **os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    }
    lines = (ROOT / "assets/data/tweets.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t", 1)[1] for line in lines[: options.texts]]
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.yaml").write_text(SWEEP, encoding="utf-8")
        Path(folder, "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for command in ("run model.yaml --quiet", "export model.yaml --format hf -o model"):
            subprocess.run([program, *command.split()], cwd=folder, check=True, capture_output=True)
        for _ in range(options.rounds):
            clock, processor = time.perf_counter(), children()
            command = [program, "predict", "model", "texts.jsonl", "--threads", threads, "--quiet"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            own = (time.perf_counter() - clock, children() - processor)
            measured.setdefault("`plateau predict`", []).append((*own, 1.0, 1.0))
            command = [sys.executable, __file__, "--pipeline", "model", "texts.jsonl", threads]
            peer = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment)
            for line in peer.stdout.splitlines():
                batch, clock, processor = line.split()
                row = (float(clock), float(processor), float(clock) / own[0], float(processor) / own[1])
                measured.setdefault(f"pipeline, `batch_size={batch}`", []).append(row)
    print(f"{len(texts)} tweets, {threads} threads, {options.rounds} rounds\n")
    print("| | time, s | times that of plateau | processor time, s | times that of plateau |\n|---|---|---|---|---|")
    for name, rows in measured.items():
        clock, processor, ratio, processor_ratio = map(statistics.median, zip(*rows))
        print(f"| {name} | {clock:.1f} | {ratio:.1f} | {processor:.1f} | {processor_ratio:.1f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pipeline"]:
        pipeline(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
