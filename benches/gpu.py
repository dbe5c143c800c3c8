"""The parts of `benches/gpu.sh`: what they train, with what they compare it, and the table of all parts.

Nothing here needs more of plateau than its command line: losses and times stand in `metrics.csv`, and the first moment of AdamW
in a checkpoint after one step without clipping is a tenth of the gradient. Each part writes its results to `FOLDER/PART.json`
after every measurement, so that a part that runs out of time keeps what it has.
"""

import concurrent.futures
import contextlib
import csv
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures"
PARTS = ["machine", "parity", "gradients", "resume", "steps-minilm", "steps-bert", "trials"]
# The masks of the references for masked tokens are given, and plateau draws its own.
WITHOUT_MASKS = "finetune-bert-masked-lm"
# Largest relative deviations: of f32 from PyTorch in f32; of bf16 losses, which round every factor to 8 bits.
F32, BF16 = 1e-3, 3e-2
# A norm below this share of the global one is compared at that scale: gradients of key biases are rounding errors.
SMALL_NORM = 1e-3
LABELS = ["negative", "neutral", "positive"]
SHAPES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TITLES = {"minilm": "MiniLM-L6", "bert": "BERT-base, random weights"}
LONGEST = 128
# References that are trained at the same time on a GPU: most of their time they start.
AT_A_TIME = 4


class Bench:
    """Where a part runs, and its results so far."""

    def __init__(self, part, plateau, device, out):
        self.part, self.plateau, self.device, self.out = part, plateau, device, Path(out)
        self.is_gpu = device != "cpu"
        self.batch = 32 if self.is_gpu else 4
        self.results = {}
        # A rehearsal has two layers of each model.
        self.layers = 12 if self.is_gpu else 2

    def save(self, **results):
        self.results.update(results)
        file = self.out / f"{self.part}.json"
        scratch = file.with_suffix(".tmp")
        scratch.write_text(json.dumps(self.results, indent=1))
        scratch.replace(file)

    def sweep(self, name, settings):
        """A fresh folder with a sweep file. JSON is YAML."""
        folder = self.out / "sweeps" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(json.dumps(settings, indent=1))
        return folder

    def command(self, folder, *options):
        device = ["--devices", "cuda:0" if self.is_gpu else "cpu"]
        file, results = folder / f"{folder.name}.yaml", folder / "results"
        return [self.plateau, "run", file, "--results", results, "--quiet", *device, *map(str, options)]

    def run(self, name, settings, *options, env=None):
        """Runs a sweep. Returns its folder and the seconds that it took."""
        folder = self.sweep(name, settings)
        start = time.perf_counter()
        done = subprocess.run(self.command(folder, *options), env={**os.environ, **(env or {})}, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"plateau ended with code {done.returncode}; its log is above")
        return folder, time.perf_counter() - start


def trials(folder):
    """The configuration and the folder of each trial of a sweep."""
    found = sorted((folder / "results" / folder.name / "trials").glob("*/config.json"))
    return [(json.loads(file.read_text())["config"], file.parent) for file in found]


def rows(file):
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def column(trial, name):
    return [float(row[name]) for row in rows(trial / "metrics.csv")]


def worst(ours, theirs):
    """The largest relative deviation. Infinite if the lengths differ or a value is not finite."""
    if len(ours) != len(theirs):
        return float("inf")
    deviations = [abs(a - b) / max(abs(b), 1e-12) for a, b in zip(ours, theirs)]
    return max((d if d == d else float("inf") for d in deviations), default=float("inf"))


def checkpoint(trial):
    """The arrays of the last checkpoint of a trial, by name. Reads safetensors without other packages than numpy."""
    import numpy

    files = sorted(trial.glob("checkpoint/**/*.safetensors"), key=lambda file: file.stat().st_mtime)
    data = files[-1].read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    types = {"F32": "<f4", "F64": "<f8", "U32": "<u4"}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + size + offset for offset in entry["data_offsets"])
            arrays[name] = numpy.frombuffer(data[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays


# The references that are part of the repository.


def references():
    """The trials of all references, by name, with what PyTorch has computed."""
    found = {}
    for file in sorted(FIXTURES.glob("finetune-*/expected.json")):
        folder, expected = file.parent, json.loads(file.read_text())
        if folder.name != WITHOUT_MASKS:
            found[folder.name.removeprefix("finetune-")] = (reference(folder, expected), expected)
    return found


def reference(folder, expected):
    """The settings of a trial that repeats a reference."""
    wanted = expected["config"]
    header = (folder / "train.tsv").read_text().splitlines()[0].split("\t")
    task = {"pairs": "classification", None: "classification"}.get(wanted.get("task"), wanted.get("task"))
    settings = {
        "data.train": str(folder / "train.tsv"),
        "data.eval": str(folder / "train.tsv"),
        "data.task": task,
        "data.max_length": wanted["max_length"],
        "lr": wanted["lr"],
        "warmup": wanted["warmup"],
        "scheduler": wanted["scheduler"],
        "batch_size": wanted["batch"],
        "steps": wanted["steps"],
    }
    if task == "multiple_choice":
        settings["data.choices"] = header[2:]
    elif "text_pair" in header:
        settings["data.text_pair"] = "text_pair"
    settings["model.from"] = str(folder / "checkpoint")
    for key in ("lora", "adapters"):
        if key in wanted:
            settings[f"model.{key}"] = wanted[key]
    if "extra" in wanted:
        names = {"hidden_size": "hidden", "num_layers": "layers"}
        settings["model.extra"] = {names.get(key, key): value for key, value in wanted["extra"].items()}
    if "class_weights" in wanted:
        settings["loss"] = {"class_weights": dict(zip(expected["labels"], wanted["class_weights"]))}
    if "focal" in wanted:
        settings["loss"] = {"name": "focal", "gamma": wanted["focal"]}
    return settings


def all_references(bench, precision, **more):
    """Trains every reference, some at a time. Returns the trial of each by its name, None where there is none."""
    common = {"data.shuffle": False, "model.dropout": 0, "eval_every": 10_000, "precision": precision}

    def train(item):
        name, (settings, _) = item
        one = {**common, **settings, **more, "run": {"keep": "last", "jobs": 1, "threads": 1}}
        folder = bench.sweep(f"{bench.part}-{precision}-{name}", one)
        subprocess.run(bench.command(folder), check=False)
        found = trials(folder)
        return name, found[0][1] if found else None

    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME if bench.is_gpu else 2) as pool:
        return dict(pool.map(train, references().items()))


def parity(bench):
    """The losses and the gradient norms of every step of each reference."""
    for precision, limit in (("f32", F32), ("bf16", BF16)):
        table = {}
        for name, trial in all_references(bench, precision).items():
            expected = references()[name][1]
            row = {"loss": None, "ok": False}
            if trial and (trial / "metrics.csv").exists():
                count = comparable(column(trial, "lr"), expected["lr"])
                loss = worst(column(trial, "train_loss")[:count], expected["loss"][:count])
                norm = worst(column(trial, "grad_norm")[:count], expected["grad_norm"][:count])
                row = {"steps": count, "loss": loss, "norm": norm, "ok": loss <= limit and (precision == "bf16" or norm <= limit)}
            table[name] = row
        bench.save(**{precision: table})


def comparable(ours, theirs):
    """Steps up to the first one with another learning rate. The references of multiple choice begin their schedule a step later."""
    equal = (abs(a - b) <= 1e-9 * abs(b) for a, b in zip(ours, theirs))
    return next((k + 1 for k, same in enumerate(equal) if not same), len(theirs))


def gradients(bench):
    """The gradient of every parameter in the first step: norms for the references, all elements beside autograd."""
    table = {}
    for name, trial in all_references(bench, "f32", steps=1, warmup=0, max_grad_norm=0).items():
        expected = references()[name][1].get("parameters")
        if expected is None:
            continue
        row = {"parameters": len(expected), "worst": None, "ok": False}
        if trial:
            with contextlib.suppress(IndexError):
                row = compare_norms(checkpoint(trial), expected)
        table[name] = row
    bench.save(references=table)
    for model in SHAPES:
        bench.save(**{model: compare_elements(bench, model)})


def first_moments(arrays):
    """The gradients: ten times the first moment after one step."""
    return {name.removeprefix("adamw.exp_avg."): 10 * value for name, value in arrays.items() if name.startswith("adamw.exp_avg.")}


def without_prefix(name):
    """The name of a parameter without the name of the architecture."""
    for prefix in ("bert", "albert", "roberta", "mpnet", "longformer", "deberta", "electra", "model", "distilbert"):
        name = name.removeprefix(f"{prefix}.")
    return name


def compare_norms(arrays, expected):
    ours = {without_prefix(name): float((value.astype("f8") ** 2).sum() ** 0.5) for name, value in first_moments(arrays).items()}
    total = sum(norm**2 for norm, _ in expected.values()) ** 0.5
    missing = [name for name in expected if without_prefix(name) not in ours and name != "lm_head.decoder.weight"]
    deviation = lambda name, norm: abs(ours[without_prefix(name)] - norm) / max(norm, SMALL_NORM * total)
    largest = max(deviation(name, norm) for name, (norm, _) in expected.items() if without_prefix(name) in ours)
    return {"parameters": len(expected), "missing": missing, "worst": largest, "ok": not missing and largest <= F32}


# Models and data that PyTorch trains in the same run.


def data(bench):
    """Tweets with labels as they are, and texts of at least 128 tokens."""
    folder = bench.out / "data"
    folder.mkdir(exist_ok=True)
    with (ROOT / "assets/data/tweets.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    long = [{**row, "text": " ".join(other["text"] for other in table[i * 12 : i * 12 + 12])} for i, row in enumerate(table[:300])]
    for name, lines in (("natural", table), ("padded", long), ("held-out", table[:8])):
        text = "".join(f"{row['label']}\t{row['text']}\n" for row in lines)
        (folder / f"{name}.tsv").write_text("label\ttext\n" + text, encoding="utf-8")
    return folder


def model_folder(bench, name):
    """A checkpoint of random weights, as transformers writes it, with the tokenizer of the embedded model."""
    import torch
    import transformers

    folder = bench.out / "models" / name
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        labels = {str(i): label for i, label in enumerate(LABELS)}
        shape = {**SHAPES[name], "num_hidden_layers": min(SHAPES[name]["num_hidden_layers"], bench.layers)}
        config = transformers.BertConfig(**shape, num_labels=len(LABELS), id2label=labels)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
        shutil.copy(ROOT / "assets/models/minilm-l3/tokenizer.json", folder)
    return folder


def batches(bench, case, count):
    """The same batches as those of plateau: rows in the order of the file, padded to the longest text."""
    import torch
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(ROOT / "assets/models/minilm-l3/tokenizer.json"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    lines = [line.split("\t", 1) for line in (data(bench) / f"{case}.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    for k in range(count):
        start = k * bench.batch % (len(lines) // bench.batch * bench.batch)
        chosen = lines[start : start + bench.batch]
        batch = tokenizer(
            [text for _, text in chosen], padding="longest", truncation=True, max_length=LONGEST, return_tensors="pt", return_token_type_ids=True
        )
        batch["labels"] = torch.tensor([LABELS.index(label) for label, _ in chosen])
        yield {name: value.to(bench.device) for name, value in batch.items()}


def settings(bench, name, case, **more):
    folder = data(bench)
    return {
        "data": {
            "train": str(folder / f"{case}.tsv"),
            "eval": str(folder / "held-out.tsv"),
            "max_length": LONGEST,
            "shuffle": False,
        },
        "model": {"from": str(model_folder(bench, name)), "dropout": 0.1, "pooling": "pooler"},
        "batch_size": bench.batch,
        "eval_every": 10_000,
        "lr": 1e-5,
        "warmup": 0,
        "scheduler": "constant",
        **more,
    }


def torch_model(bench, name, dropout):
    import torch
    import transformers

    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "classifier_dropout": dropout}
    model = transformers.BertForSequenceClassification.from_pretrained(model_folder(bench, name), attn_implementation="sdpa", **rates)
    decayed = [p for n, p in model.named_parameters() if not n.endswith("bias") and "LayerNorm" not in n]
    others = [p for n, p in model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
    model.to(bench.device).train()
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=1e-5, fused=bench.is_gpu)


def allow_tf32(allowed):
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compare_elements(bench, name):
    """All elements of all gradients of the first batch, and the losses of some steps, beside autograd in f32."""
    import torch

    steps = 8 if bench.is_gpu else 3
    more = {"max_grad_norm": 0, "run": {"keep": "last"}}
    without_dropout = settings(bench, name, "natural", steps=1, **more)
    without_dropout["model"]["dropout"] = 0
    folder, _ = bench.run(f"gradient-{name}", without_dropout)
    ours = {without_prefix(key): value for key, value in first_moments(checkpoint(trials(folder)[0][1])).items()}
    allow_tf32(False)
    model, optimizer = torch_model(bench, name, 0.0)
    losses = []
    for k, batch in enumerate(batches(bench, "natural", steps)):
        loss = model(**batch).loss
        loss.backward()
        if k == 0:
            theirs = {without_prefix(key): p.grad.detach().float().cpu().numpy() for key, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    norm = lambda value: float((value.astype("f8") ** 2).sum() ** 0.5)
    total = sum(norm(value) ** 2 for value in theirs.values()) ** 0.5
    missing = [key for key in theirs if key not in ours]
    deviations = {
        key: norm(ours[key] - value) / max(norm(value), SMALL_NORM * total) for key, value in theirs.items() if key in ours
    }
    largest = max(deviations, key=deviations.get)
    row = {"parameters": len(theirs), "missing": missing, "worst": deviations[largest], "where": largest}
    row["ok"] = not missing and deviations[largest] <= F32
    for precision, limit in (("f32", F32), ("bf16", BF16)):
        trained = {**without_dropout, "steps": steps, "precision": precision, "run": {}}
        folder, _ = bench.run(f"losses-{name}-{precision}", trained)
        row[f"losses {precision}"] = worst(column(trials(folder)[0][1], "train_loss"), losses)
        row["ok"] = row["ok"] and row[f"losses {precision}"] <= limit
    return row


def resume(bench):
    """A trial that is interrupted and resumed has the bits of one that is not."""
    table = {}
    for precision in ("f32", "bf16"):
        # Long enough for an interruption in its middle.
        steps = 400 if bench.is_gpu else 24
        more = {"steps": steps, "precision": precision, "run": {"keep": "last", "checkpoint_every": steps // 4}}
        trained = {**settings(bench, "minilm", "natural", **more), "eval_every": steps // 2}
        whole, _ = bench.run(f"whole-{precision}", trained)
        cut = bench.sweep(f"cut-{precision}", trained)
        began = interrupted_steps(bench, cut, steps // 3)
        subprocess.run(bench.command(cut), check=True)
        (_, a), (_, b) = trials(whole)[0], trials(cut)[0]
        timeless = lambda trial: [{k: v for k, v in row.items() if k != "seconds"} for row in rows(trial / "metrics.csv")]
        saved = [checkpoint(trial) for trial in (a, b)]
        row = {
            "steps": steps,
            "interrupted at": began,
            "metrics": timeless(a) == timeless(b),
            "evals": (a / "evals.csv").read_bytes() == (b / "evals.csv").read_bytes(),
            "checkpoint": saved[0].keys() == saved[1].keys() and all(saved[0][k].tobytes() == saved[1][k].tobytes() for k in saved[0]),
        }
        row["ok"] = 0 < began < steps and row["metrics"] and row["evals"] and row["checkpoint"]
        table[precision] = row
        bench.save(**table)


def interrupted_steps(bench, folder, steps):
    """Interrupts a sweep after about so many steps. Returns the steps that it has taken."""
    process = subprocess.Popen(bench.command(folder))
    taken = lambda: max([sum(1 for _ in file.open()) - 1 for file in folder.glob("results/*/trials/*/metrics.csv")], default=0)
    while process.poll() is None and taken() < steps:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.wait()
    return taken()


# Times.


def steps(bench):
    """Milliseconds a step beside PyTorch. What matters most comes first, because the time may run out."""
    name = bench.part.removeprefix("steps-")
    bench.save(batch=bench.batch, ours={}, torch={})
    for precision in ("bf16", "f32"):
        ours(bench, name, precision)
    variants = [("eager", "bf16"), ("eager", "f32"), ("compiled", "bf16"), ("compiled", "f32")]
    for mode, precision in variants:
        for case in ("natural", "padded"):
            key = f"{mode} {precision} {case}"
            try:
                row = torch_steps(bench, name, case, mode == "compiled", precision == "bf16")
            except Exception as error:  # noqa: BLE001: a variant that PyTorch cannot run is a row of the table
                row = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            bench.results["torch"][key] = row
            bench.save()


def ours(bench, name, precision):
    count = 40 if bench.is_gpu else 5
    for case in ("natural", "padded"):
        more = {"steps": count, "precision": precision, "run": {"jobs": 1}}
        key = f"{precision} {case}"
        try:
            folder, _ = bench.run(f"steps-{name}-{precision}-{case}", settings(bench, name, case, **more))
            trial = trials(folder)[0][1]
            seconds, tokens = column(trial, "seconds"), column(trial, "tokens")
            times = [1e3 * (b - a) for a, b in zip(seconds, seconds[1:])][count // 4 :]
            row = {"ms": statistics.median(times), "tokens a second": 1e3 * statistics.mean(tokens) / statistics.mean(times)}
            outcome = json.loads((trial / "outcome.json").read_text())
            row["peak memory"] = outcome.get("peak_memory")
        except (RuntimeError, IndexError, OSError) as error:
            row = {"error": str(error)[:200]}
        bench.results["ours"][key] = row
        bench.save()


def torch_steps(bench, name, case, compiled, half):
    import torch

    allow_tf32(True)
    torch.set_float32_matmul_precision("high")
    model, optimizer = torch_model(bench, name, 0.1)
    # A rehearsal has no time to compile kernels.
    compiler = "inductor" if bench.is_gpu else "aot_eager"
    called = torch.compile(model, dynamic=case == "natural", backend=compiler) if compiled else model
    count, warm = (40, 10) if bench.is_gpu else (3, 1)
    if bench.is_gpu:
        torch.cuda.reset_peak_memory_stats()
    times, tokens = [], 0
    for k, batch in enumerate(batches(bench, case, count)):
        real = int(batch["attention_mask"].sum())
        start = time.perf_counter()
        with torch.autocast(bench.device, dtype=torch.bfloat16, enabled=half):
            loss = called(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        if bench.is_gpu:
            torch.cuda.synchronize()
        if k >= warm:
            times.append(1e3 * (time.perf_counter() - start))
            tokens += real
    row = {"ms": statistics.median(times), "tokens a second": 1e3 * tokens / sum(times)}
    if bench.is_gpu:
        row["peak memory"] = torch.cuda.max_memory_allocated()
    return row


def trial_counts(bench):
    """16 small trials, some at a time on the device, and with the process service of NVIDIA where it can be started."""
    rates = [1e-5, 3e-5, 1e-4, 3e-4]
    count = 40 if bench.is_gpu else 2
    grid = {"lr": rates}
    seeds = [1, 2, 3, 4]
    for n, service in [(1, False), (8, False), (4, False), (2, False), (8, True)]:
        if service and not (bench.is_gpu and shutil.which("nvidia-cuda-mps-control")):
            continue
        key = f"{n} with MPS" if service else str(n)
        fixed = {**settings(bench, "minilm", "natural", steps=count), "grid": grid, "seeds": seeds, "precision": "bf16"}
        del fixed["lr"]
        fixed["run"] = {"jobs_per_device": n} if bench.is_gpu else {"jobs": min(n, os.cpu_count() or 1)}
        try:
            with process_service(bench) if service else contextlib.nullcontext({}) as env:
                folder, seconds = bench.run(f"trials-{key.split()[0]}{'-mps' if service else ''}", fixed, env=env)
            row = {"seconds": seconds, "trials": len(trials(folder)), "steps a second": len(trials(folder)) * count / seconds}
        except RuntimeError as error:
            row = {"error": str(error)[:200]}
        bench.save(**{key: row})


@contextlib.contextmanager
def process_service(bench):
    """NVIDIA's service that lets the kernels of several processes run at the same time, with folders of its own."""
    folder = bench.out / "mps"
    folder.mkdir(exist_ok=True)
    env = {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}
    subprocess.run(["nvidia-cuda-mps-control", "-d"], env={**os.environ, **env}, check=False)
    try:
        yield env
    finally:
        subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, env={**os.environ, **env}, check=False)


# The machine and the table.


def machine(bench):
    facts = {"device": bench.device, "layers at most": bench.layers, "system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    bench.save(**facts)
    version = subprocess.run([bench.plateau, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    bench.save(plateau=version.stdout.strip())
    import torch
    import transformers

    bench.save(torch=torch.__version__, transformers=transformers.__version__, cuda=torch.version.cuda)
    if bench.is_gpu:
        query = "name,driver_version,memory.total,power.limit,clocks.max.sm"
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        bench.save(gpu=found.stdout.strip(), product_peak=product_peak())
    for name in SHAPES:
        model_folder(bench, name)
    data(bench)


def product_peak():
    """Tera-operations a second of large products in PyTorch: what a step can reach at most."""
    import torch

    peaks = {}
    for name, dtype in (("f32 with TF32", torch.float32), ("bf16", torch.bfloat16)):
        allow_tf32(True)
        a = torch.randn(4096, 4096, device="cuda", dtype=dtype)
        for _ in range(3):
            a @ a
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            a @ a
        torch.cuda.synchronize()
        peaks[name] = 20 * 2 * 4096**3 / (time.perf_counter() - start) / 1e12
    return peaks


def table(bench):
    """`gpu.json` and `gpu.md` from what the parts have written. True if all is complete and holds."""
    found, states = {}, {}
    for part in PARTS:
        file, status = bench.out / f"{part}.json", bench.out / f"{part}.status"
        found[part] = json.loads(file.read_text()) if file.exists() else {}
        code, took, limit = map(int, status.read_text().split()) if status.exists() else (None, 0, 0)
        state = {None: "not run", 0: "complete", 124: "out of time", 137: "out of time"}.get(code, f"failed with code {code}")
        states[part] = {"state": state, "seconds": took, "limit": limit}
    text, holds = markdown(found, states)
    (bench.out / "gpu.json").write_text(json.dumps({"parts": states, **found}, indent=1))
    (bench.out / "gpu.md").write_text(text)
    print(text)
    return holds and all(state["state"] in ("complete", "not run") for state in states.values())


def markdown(found, states):
    facts = found["machine"]
    known = [facts.get("gpu") or f"{facts.get('device', '?')}, {facts.get('cores', '?')} cores", facts.get("plateau", "")]
    known += [f"torch {facts.get('torch', '?')} (CUDA {facts.get('cuda')})", f"transformers {facts.get('transformers', '?')}"]
    if facts.get("device") == "cpu":
        known.append(f"a rehearsal with {facts['layers at most']} layers")
    lines = ["; ".join(filter(None, known)), ""]
    lines += ["| part | | s | limit, s |", "|---|---|---|---|"]
    lines += [f"| {part} | {state['state']} | {state['seconds']} | {state['limit']} |" for part, state in states.items()]
    checks, holds = check_rows(found)
    lines += ["", "| check | worst deviation | limit | holds |", "|---|---|---|---|", *checks]
    for part in ("steps-minilm", "steps-bert"):
        lines += ["", *step_rows(part, found[part])]
    lines += ["", *trial_rows(found["trials"])]
    return "\n".join(lines) + "\n", holds


def check_rows(found):
    """The rows of all checks, and whether all hold."""
    lines, holds = [], True

    def add(title, value, limit, ok):
        nonlocal holds
        holds = holds and ok
        shown = "–" if value is None else value if isinstance(value, str) else f"{value:.1e}"
        lines.append(f"| {title} | {shown} | {limit} | {'yes' if ok else '**no**'} |")

    for precision, limit in (("f32", F32), ("bf16", BF16)):
        for name, row in found["parity"].get(precision, {}).items():
            add(f"losses of {name}, {row.get('steps', 0)} steps, {precision}", row["loss"], limit, row["ok"])
    for name, row in found["gradients"].get("references", {}).items():
        add(f"gradient norms of {name}, {row['parameters']} parameters", row["worst"], F32, row["ok"])
    for model, title in TITLES.items():
        if row := found["gradients"].get(model):
            add(f"gradients of {title}, all elements of {row['parameters']} parameters", row["worst"], F32, row["ok"])
            add(f"losses of {title} in f32", row["losses f32"], F32, row["losses f32"] <= F32)
            add(f"losses of {title} in bf16", row["losses bf16"], BF16, row["losses bf16"] <= BF16)
    for precision, row in found["resume"].items():
        add(f"interrupted at step {row['interrupted at']} of {row['steps']} and resumed, {precision}", "bits", "equal", row["ok"])
    return lines, holds


def step_rows(part, found):
    """A table of milliseconds a step; in brackets the time of plateau divided by that of PyTorch."""
    name = part.removeprefix("steps-")
    lines = [f"{TITLES[name]}, batch {found.get('batch', '?')}, ms a step:", ""]
    modes = [("eager", "torch eager, SDPA"), ("compiled", "torch.compile")]
    lines += ["| | plateau | " + " | ".join(title for _, title in modes) + " |", "|---|---|---|---|"]
    for precision in ("f32", "bf16"):
        for case, title in (("natural", "tweets at their own lengths"), ("padded", f"{LONGEST} tokens each")):
            mine = found.get("ours", {}).get(f"{precision} {case}", {})
            cells = [cell(mine)]
            for mode, _ in modes:
                theirs = found.get("torch", {}).get(f"{mode} {precision} {case}", {})
                ratio = f" ({mine['ms'] / theirs['ms']:.2f})" if "ms" in mine and "ms" in theirs else ""
                cells.append(cell(theirs) + ratio)
            exact = " (TF32 in torch)" if precision == "f32" else ""
            lines.append(f"| {title}, {precision}{exact} | " + " | ".join(cells) + " |")
    return lines


def cell(row):
    return f"{row['ms']:.1f}" if "ms" in row else row.get("error", "–").replace("|", "/")


def trial_rows(found):
    lines = ["16 trials of MiniLM-L6 in bf16:", "", "| at a time | s | steps a second | throughput, times that of one |", "|---|---|---|---|"]
    one = found.get("1", {}).get("steps a second")
    order = lambda key: (int(key.split()[0]), key)
    for key in sorted(found, key=order):
        row = found[key]
        if "error" in row:
            lines.append(f"| {key} | {row['error']} | | |")
        else:
            ratio = f"{row['steps a second'] / one:.2f}" if one else "–"
            lines.append(f"| {key} | {row['seconds']:.1f} | {row['steps a second']:.1f} | {ratio} |")
    return lines


def main(part, plateau, device, out):
    bench = Bench(part, plateau, device, out)
    if part == "table":
        sys.exit(0 if table(bench) else 1)
    run = {"machine": machine, "parity": parity, "gradients": gradients, "resume": resume, "trials": trial_counts}
    run.get(part, steps)(bench)


if __name__ == "__main__":
    main(*sys.argv[1:])
