"""Compares the searches of several samplers with the same budget.

Usage: search_compare.py RESULTS SWEEP SAMPLER... -- reads RESULTS/SWEEP-SAMPLER-SEED/trials.csv for every seed that is there,
and prints a table in Markdown: the best value after so many configurations, as the median over seeds with its quartiles.
"""

import csv
import statistics
import sys
from pathlib import Path


def best_so_far(path):
    """The best evaluation loss after each configuration, in the order of the draws."""
    with open(path, newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["number"]))
    best, after = float("inf"), []
    for row in rows:
        if row["status"] in ("finished", "stopped") and row["best_eval_loss"]:
            best = min(best, float(row["best_eval_loss"]))
        after.append(best)
    return after


def quartiles(values):
    if len(values) < 2:
        return values * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, middle, high]


def main(results, sweep, samplers):
    curves = {}
    for sampler in samplers:
        paths = sorted(Path(results).glob(f"{sweep}-{sampler}-[0-9]*/trials.csv"))
        curves[sampler] = [best_so_far(path) for path in paths]
        if not curves[sampler]:
            sys.exit(f"{results}/{sweep}-{sampler}-*/trials.csv: no such file. Run `just search-compare` first")
    shortest = min(len(curve) for all_curves in curves.values() for curve in all_curves)
    steps = [n for n in (5, 10, 15, 20, 30, 40, 60, 80, 100) if n <= shortest]
    print("| sampler | seeds | " + " | ".join(f"after {n}" for n in steps) + " |")
    print("|---|---|" + "---|" * len(steps))
    for sampler, found in curves.items():
        cells = []
        for n in steps:
            low, middle, high = quartiles([curve[n - 1] for curve in found])
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        print(f"| {sampler} | {len(found)} | " + " | ".join(cells) + " |")
    first, second = samplers[0], samplers[-1]
    pairs = list(zip(curves[first], curves[second]))
    wins = sum(a[shortest - 1] < b[shortest - 1] for a, b in pairs)
    print(f"\nAfter {shortest} configurations {first} is better than {second} in {wins} of {len(pairs)} seeds.")
    needed = []
    for a, b in pairs:
        reached = next((n for n, value in enumerate(a, 1) if value <= b[shortest - 1]), None)
        needed.append(reached or shortest + 1)
    print(f"{first} reaches the best of {shortest} configurations of {second} after {statistics.median(needed):.0f} (median).")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
