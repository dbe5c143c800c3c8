"""The same small sweep with plateau, with Ray Tune and with Optuna, alternately on one machine: `just bench-sweep`.

Four learning rates, the embedded model with a head, 3,312 tweets, one epoch of batches of 32, four evaluations of 828 tweets, two
workers of one thread. Ray Tune and Optuna drive the Trainer of Hugging Face, which pads each batch to its longest text. plateau
splits the data by a seed of its own, so losses are comparable, not equal. Prints a Markdown table: the smallest wall time of all
rounds, the time of plateau over that of the others, and the best evaluation loss.

Programs: `plateau`, `plateau bf16`, `ray`, `ray bf16`, `optuna`, `optuna bf16`; `sweep.py ROUNDS PROGRAM ...` chooses.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import ROOT, processor

MODEL, DATA = ROOT / "assets/models/minilm-l3", ROOT / "assets/data/tweets.tsv"
RATES = [1e-5, 3e-5, 1e-4, 3e-4]
WORKERS, EVALUATIONS = 2, 4
PROGRAMS = ["plateau", "plateau bf16", "ray", "ray bf16", "optuna", "optuna bf16"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_DISABLED": "true"}


def rows():
    """Training rows and evaluation rows as pairs of label and text."""
    with DATA.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    random.Random(0).shuffle(table)
    return table[:3312], table[3312 : 3312 + 828]


def train(rate, half):
    """One trial with the Trainer of Hugging Face; returns its best evaluation loss."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.set_seed(42)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(MODEL / "tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    training, evaluation = rows()
    labels = {label: i for i, label in enumerate(sorted({row["label"] for row in training}))}

    def encode(table):
        tokens = tokenizer([row["text"] for row in table], truncation=True, max_length=128)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": labels[row["label"]]}
            for ids, mask, row in zip(tokens["input_ids"], tokens["attention_mask"], table)
        ]

    model = transformers.AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=len(labels))
    losses = []

    class Losses(transformers.TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **others):
            losses.append(metrics["eval_loss"])

    with tempfile.TemporaryDirectory() as scratch:
        arguments = transformers.TrainingArguments(
            output_dir=scratch,
            learning_rate=rate,
            warmup_ratio=0.1,
            weight_decay=0.01,
            num_train_epochs=1,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=32,
            eval_strategy="steps",
            eval_steps=1 / EVALUATIONS,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=half,
            disable_tqdm=True,
            logging_strategy="no",
        )
        transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=encode(training),
            eval_dataset=encode(evaluation),
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            callbacks=[Losses()],
        ).train()
    return min(losses)


def with_ray(half):
    import ray
    from ray import tune

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {**ONE_THREAD, **OFFLINE}})

    def trial(config):
        sys.path.insert(0, str(ROOT / "benches"))
        from sweep import train

        tune.report({"loss": train(config["lr"], half)})

    with tempfile.TemporaryDirectory() as scratch:
        run = tune.RunConfig(storage_path=scratch, verbose=0)
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1}), param_space={"lr": tune.grid_search(RATES)}, run_config=run
        )
        return min(result.metrics["loss"] for result in tuner.fit())


def optuna_study(storage):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = optuna.storages.JournalStorage(JournalFileBackend(storage))
    sampler = optuna.samplers.GridSampler({"lr": RATES}, seed=0)
    return optuna.create_study(study_name="lr", storage=journal, sampler=sampler, load_if_exists=True)


def with_optuna(half):
    """Two processes share a study, as Optuna recommends for trials that keep a processor busy."""
    with tempfile.TemporaryDirectory() as scratch:
        storage = str(Path(scratch) / "journal.log")
        study = optuna_study(storage)
        command = [sys.executable, __file__, "optuna-worker", storage, str(int(half))]
        workers = [subprocess.Popen(command, env={**os.environ, **ONE_THREAD, **OFFLINE}) for _ in range(WORKERS)]
        if any(worker.wait() != 0 for worker in workers):
            sys.exit("an Optuna worker failed")
        return study.best_value


def with_plateau(half):
    with tempfile.TemporaryDirectory() as scratch:
        sweep = Path(scratch) / "bench.yaml"
        sweep.write_text(
            f"epochs: 1\neval_every: {1 / EVALUATIONS}\nprecision: {'bf16' if half else 'f32'}\ngrid:\n  lr: {RATES}\n"
            f"run: {{jobs: {WORKERS}, threads: 1}}\n"
        )
        results = Path(scratch) / "results"
        command = [ROOT / "target/release/plateau", "run", sweep, "--results", results, "--progress", "none"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with (results / "bench/trials.csv").open() as file:
            return min(float(row["best_eval_loss"]) for row in csv.DictReader(file))


def measure(program):
    """Runs one program in a process of its own; returns its wall time and best loss."""
    start = time.perf_counter()
    output = subprocess.run(
        [sys.executable, __file__, "run", program],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ONE_THREAD, **OFFLINE},
        text=True,
    ).stdout
    return time.perf_counter() - start, json.loads(output.strip().splitlines()[-1])


def main(rounds, programs):
    print(f"{processor()}; {os.cpu_count()} cores\n", flush=True)
    found = {program: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            found[program].append(measure(program))
    best = {program: min(results) for program, results in found.items()}
    ours = [program for program in programs if program.startswith("plateau")]
    print("| | wall time, s | " + " | ".join(f"{program}, of it" for program in ours) + " | best loss |")
    print("|---" * (3 + len(ours)) + "|")
    for program, (seconds, loss) in best.items():
        shares = " | ".join(f"{best[own][0] / seconds:.2f}" for own in ours)
        print(f"| {program} | {seconds:.0f} | {shares} | {loss:.4f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        name, half = sys.argv[2].split()[0], sys.argv[2].endswith("bf16")
        print(json.dumps({"plateau": with_plateau, "ray": with_ray, "optuna": with_optuna}[name](half)))
    elif sys.argv[1:2] == ["optuna-worker"]:
        optuna_study(sys.argv[2]).optimize(lambda trial: train(trial.suggest_float("lr", 0, 1), sys.argv[3] == "1"))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 2, sys.argv[2:] or PROGRAMS)
