"""Tasks whose right architecture is known by construction, and what the report must say about each.

    python3 benches/mismatch.py --plateau target/release/plateau --out target/mismatch

Every task is a sweep with arms, three learning rates for each and three seeds, trained for real. `--data DIR` reads the tasks from
DIR/NAME/{train,eval}.tsv in place of making them. The last lines count how often the report names the right finding.
"""

import argparse
import csv
import pathlib
import random
import re
import subprocess
import sys

FILLERS = (
    "about after and at bridge by color door engine evening field for from garden house in into island kitchen letter light market "
    "morning music number of on over paper river road station stone story street summer table the ticket to train tree up village "
    "water window winter with"
).split()

BERT = "{name: bert, lr: [1e-4, 3e-4, 1e-3]}"
CNN = "{name: textcnn, model.architecture: textcnn, lr: [1e-3, 3e-3, 1e-2]}"
LSTM = "{name: bilstm, model.architecture: bilstm, lr: [1e-3, 3e-3, 1e-2]}"
BAG = "{name: bag_of_words, model.architecture: bag_of_words, lr: [3e-3, 1e-2, 3e-2]}"


def longer(arm, length):
    """The arm with another length of input."""
    return re.sub(r"name: (\w+)", rf"name: \1 {length}, data.max_length: {length}", arm, count=1)


# Name: data, steps, arms, findings of the report, warnings of the plan. An empty set is a control.
TASKS = {
    "keyword": ("keyword", 100, [BERT, CNN, LSTM, BAG], set(), set()),
    "near": ("near", 150, [BERT, CNN, BAG], {"ARCH_BETTER"}, {"BLIND"}),
    "order": ("order", 150, [LSTM, CNN, BAG], {"ARCH_BETTER"}, {"BLIND"}),
    "beyond": ("beyond", 100, [longer(CNN, 64), longer(CNN, 128), longer(LSTM, 64), longer(LSTM, 128)], {"ARCH_CUT"}, {"CUT"}),
    "beyond-128": ("beyond", 100, [longer(CNN, 128), longer(LSTM, 128), longer(BAG, 128)], set(), set()),
    "case": ("case", 60, [BERT, CNN, BAG], {"ARCH_BLIND"}, {"BLIND"}),
    "noise": ("noise", 100, [BERT, CNN, BAG], {"NOT_ARCHITECTURE"}, set()),
}

FINDINGS = {"ARCH_CUT", "ARCH_BLIND", "ARCH_TOO_WEAK", "ARCH_BETTER", "ORDER_IDLE", "NOT_ARCHITECTURE"}


def make(task, rows, draw):
    """Labelled texts of a task; every second row has the other label."""
    fill = lambda n: [draw.choice(FILLERS) for _ in range(n)]
    made = []
    for _ in range(rows // 2):
        if task == "keyword":
            for label, word in (("good", "excellent"), ("bad", "terrible")):
                words = fill(draw.randint(10, 24))
                words.insert(draw.randint(0, len(words)), word)
                made.append((label, words))
        elif task in ("near", "order"):
            gap, edge = (draw.randint(1, 2), draw.randint(2, 8)) if task == "near" else (draw.randint(12, 15), draw.randint(7, 9))
            before, between, after = fill(edge), fill(gap), fill(edge)
            for first, second in (("anna", "tom"), ("tom", "anna")):
                made.append((f"{first}_first", [*before, first, *between, second, *after]))
        elif task == "beyond":
            for label, word in (("good", "excellent"), ("bad", "terrible")):
                made.append((label, [*fill(90), "verdict", word, *fill(draw.randint(3, 6))]))
        elif task == "case":
            name = draw.choice(["anna", "paul", "tom", "mary"])
            words = fill(draw.randint(9, 14))
            place = draw.randint(0, len(words))
            for label, word in (("loud", name.upper()), ("quiet", name)):
                made.append((label, [*words[:place], word, *words[place:]]))
        else:
            for _ in range(2):
                made.append((draw.choice(["good", "bad"]), fill(draw.randint(14, 22))))
    return [(label, " ".join(words)) for label, words in made]


def write(task, folder, seed):
    draw = random.Random(f"{task} {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", 1200), ("eval", 300)):
        with open(folder / f"{split}.tsv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(["label", "text"])
            writer.writerows(make(task, rows, draw))


def sweep(name, data, seeds):
    task, steps, arms, _, _ = TASKS[name]
    lines = [
        f"name: {name}",
        f"data: {{train: {data / task / 'train.tsv'}, eval: {data / task / 'eval.tsv'}, max_length: 64}}",
        "batch_size: 32",
        f"steps: {steps}",
        f"eval_every: {steps // 6}",
        "run: {keep: none}",
        "arms:",
        *(f"  - {arm}" for arm in arms),
        f"seeds: {seeds}",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plateau", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, help="trials at a time; default: as many as the machine has room for")
    options = parser.parse_args()
    out = options.out.absolute()
    data = options.data.absolute() if options.data else out / "data"
    if not options.data:
        for task in {TASKS[name][0] for name in options.tasks}:
            write(task, data / task, 1)
    right, controls, all_named = 0, 0, 0
    for name in options.tasks:
        expected, warned = TASKS[name][3:]
        file = out / f"{name}.yaml"
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(sweep(name, data, options.seeds), encoding="utf-8")
        base = [options.plateau]
        plan = subprocess.run([*base, "plan", file, "--results", out / "results"], capture_output=True, text=True, check=True)
        before = {code for code in ("CUT", "BLIND", "UNKNOWN") if f"warning: {code}:" in plan.stderr}
        jobs = ["--jobs", str(options.jobs)] if options.jobs else []
        command = [*base, "run", file, "--results", out / "results", *jobs, "--progress", "none"]
        subprocess.run(command, check=True)
        summary = (out / "results" / name / "report" / "summary.md").read_text(encoding="utf-8")
        found = {code for code in FINDINGS if code in summary or code.replace("_", "\\_") in summary}
        is_right = found == expected and before == warned
        right += is_right
        controls += not expected
        all_named += 1
        verdict = "right" if is_right else f"WRONG, expected {sorted(expected)} after {sorted(warned)}"
        print(f"{name:12} before training {sorted(before)}, after {sorted(found)}: {verdict}", flush=True)
    print(f"{right} of {all_named} tasks right, {controls} of them controls", flush=True)
    sys.exit(0 if right == all_named else 1)


if __name__ == "__main__":
    main()
