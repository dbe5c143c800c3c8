"""Losses in f32 and in bf16 over the same seeds, on three data sets: `python3 benches/precision.py [PLATEAU]`.

Trains the embedded model for 200 steps on the embedded tweets and on two made tasks of mismatch.py, with each of five seeds in both
precisions. Prints a Markdown table: the loss over the last 50 steps and that of the last evaluation, as mean and standard deviation over
seeds, and the mean difference between the precisions at equal seeds.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from mismatch import write
from peers import ROOT

STEPS, LAST, SEEDS = 200, 50, [1, 2, 3, 4, 5]
PRECISIONS = ["f32", "bf16"]


def sweep(folder, task):
    data = "train: embedded:tweets"
    if task != "tweets":
        write(task, folder / task, 1)
        data = f"train: {folder / task / 'train.tsv'}, eval: {folder / task / 'eval.tsv'}"
    file = folder / f"{task}.yaml"
    file.write_text(
        f"data: {{{data}, max_length: 64}}\nsteps: {STEPS}\neval_every: {STEPS}\nlr: 1e-4\n"
        f"grid: {{precision: [{', '.join(PRECISIONS)}]}}\nseeds: {SEEDS}\nrun: {{keep: none}}\n"
    )
    return file


def losses(results):
    """The training and the evaluation losses by precision, in the order of seeds."""
    found = {precision: {} for precision in PRECISIONS}
    for trial in (results / "trials").iterdir():
        config = json.loads((trial / "config.json").read_text())["config"]
        with (trial / "metrics.csv").open() as file:
            steps = [float(row["train_loss"]) for row in csv.DictReader(file)]
        with (trial / "evals.csv").open() as file:
            evaluations = [float(row["eval_loss"]) for row in csv.DictReader(file)]
        found[config["precision"]][config["seed"]] = (statistics.mean(steps[-LAST:]), evaluations[-1])
    return {precision: [seeds[seed] for seed in SEEDS] for precision, seeds in found.items()}


def main(plateau):
    print("| data | loss of | f32 | bf16 | mean difference at equal seeds |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for task in ["tweets", "keyword", "order"]:
            command = [plateau, "run", sweep(folder, task), "--results", folder / "results", "--progress", "none"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found = losses(folder / "results" / task)
            for place, name in enumerate(["training", "evaluation"]):
                f32, bf16 = ([seed[place] for seed in found[precision]] for precision in PRECISIONS)
                cells = [f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" for values in (f32, bf16)]
                difference = statistics.mean(b - a for a, b in zip(f32, bf16))
                print(f"| {task} | {name} | {' | '.join(cells)} | {difference:+.4f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else ROOT / "target/release/plateau")
