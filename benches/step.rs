//! The speed of a training step: tokens per second, the share of time in matrix products, their speed compared with the best
//! that this machine reaches, the roofline, and peak memory (of all cases so far). `cargo bench --bench step [-- tweets|64|128 ... --threads N --precision bf16 --model DIR --json]`, with
//! `CANDLE_NUM_THREADS=1 RAYON_NUM_THREADS=1 MIMALLOC_PURGE_DELAY=-1` as workers have it.
//!
//! Model: MiniLM-L6 (the embedded three layers, twice), or with `--model bert-base` a BERT-base of random weights; batch 32, dropout
//! 0.1, AdamW. Batches: the embedded tweets at their natural lengths, and sequences of exactly 64 and 128 tokens.
//!
//! Roofline (Williams, Waterman and Patterson, 2009): a step takes at least the time of its matrix products at the best speed of this
//! machine, and at least the time to move its bytes at the speed of a copy. `roof` is the larger of the two, and `reached` is its share
//! of the step.

use std::sync::Arc;
use std::time::Instant;

use plateau::train::batch::{MicroBatch, length, split};
use plateau::train::data::{self, CheckpointFiles, Split};
use plateau::train::engine::{Engine, Objective};
use plateau::train::model::Network;
use plateau::train::optim::Settings;
use plateau::train::tasks::{self, Target};
use plateau::train::{Cache, TrainError};
use plateau::trial::{DataConfig, MICRO_BATCH_TOKENS, ModelConfig, Pooling, TrialConfig};
use plateau_kernels::product::{Matrix, Packed, Precision, Right, Write};
use plateau_random::{Purpose, Random};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;
/// Number of untimed steps at the start, and of timed steps after them.
const WARMUP: u64 = 2;
const STEPS: u64 = 9;
const MODEL: &str = "embedded:minilm-l3";
/// A BERT-base of random weights, with the tokenizer of [`MODEL`].
const BERT_BASE: &str = "bert-base";

struct NoCache;

impl Cache for NoCache {
    fn get(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _key: &str, _bytes: &[u8]) {}
}

/// The options of the command line.
struct Wanted {
    /// `tweets`, `64`, `128`; empty: all.
    cases: Vec<String>,
    /// A checkpoint folder, or [`BERT_BASE`], in place of the doubled embedded model.
    model: Option<String>,
    poolings: Vec<Pooling>,
    threads: Vec<usize>,
    precision: Precision,
    json: bool,
}

impl Wanted {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wanted = Self {
            cases: Vec::new(),
            model: None,
            poolings: vec![Pooling::Mean, Pooling::Cls],
            threads: vec![1, 2],
            precision: Precision::F32,
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--model" => wanted.model = Some(value()?),
                "--threads" => wanted.threads = vec![value()?.parse().map_err(|e| format!("--threads: {e}"))?],
                "--pooling" => wanted.poolings = vec![pooling(&value()?)?],
                "--precision" => wanted.precision = precision(&value()?)?,
                "--json" => wanted.json = true,
                // Cargo adds this argument itself.
                "--bench" => {}
                case @ ("tweets" | "64" | "128") => wanted.cases.push(case.to_string()),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(wanted)
    }

    fn network(&self, pooling: Pooling) -> Result<Network, TrainError> {
        Ok(self.exact_network(pooling)?.with_precision(self.precision))
    }

    fn exact_network(&self, pooling: Pooling) -> Result<Network, TrainError> {
        let Some(folder) = &self.model else { return six_layers(pooling) };
        if folder == BERT_BASE {
            return bert_base(pooling);
        }
        let files = CheckpointFiles::read(folder)?;
        let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
        Network::load(&files.config, &weights, &model(folder, pooling), 4, 1, &candle_core::Device::Cpu)
    }
}

fn pooling(name: &str) -> Result<Pooling, String> {
    match name {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        "pooler" => Ok(Pooling::Pooler),
        other => Err(format!("--pooling: unknown {other}")),
    }
}

fn precision(name: &str) -> Result<Precision, String> {
    match name {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        other => Err(format!("--precision: unknown {other}")),
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = Wanted::read(std::env::args().skip(1))?;
    let sizes = Sizes::of(&wanted.network(Pooling::Cls)?);
    let peak = product_peak(wanted.precision, &sizes);
    if !wanted.json {
        let copy = copy_speed(1);
        println!("matrix products at their best, one thread: {peak:.0} GFLOP/s; copies, one thread: {copy:.0} GB/s");
        println!(
            "| batch | pooling | threads | ms a step | tokens/s | share of products | their GFLOP/s | of peak | GFLOP | MB moved | \
             roof, ms | reached | peak MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    }
    let tokenizer = wanted.model.as_deref().filter(|model| *model != BERT_BASE);
    let tweets = tweets(tokenizer.unwrap_or(MODEL))?;
    let sources: [(&str, Batches<'_>); 3] =
        [("tweets", &|k| natural(&tweets, k)), ("64", &|k| even(64, k)), ("128", &|k| even(128, k))];
    for (name, batches) in sources {
        if !wanted.cases.is_empty() && !wanted.cases.iter().any(|case| case == name) {
            continue;
        }
        for &pooling in &wanted.poolings {
            for &threads in &wanted.threads {
                let Step { ms, tokens, flops, timed } = measure(wanted.network(pooling)?, batches, pooling, threads)?;
                let (speed, memory) = (tokens / ms * 1e3, peak_memory().unwrap_or(0));
                if wanted.json {
                    println!("{{\"ms\": {ms}, \"tokens\": {speed}, \"peak\": {memory}}}");
                    continue;
                }
                let moved = timed.iter().map(|micro| sizes.activation_bytes(micro)).sum::<f64>() / STEPS as f64
                    + sizes.parameter_bytes(&timed);
                let roof = f64::max(flops / peak / threads as f64, moved / copy_speed(threads)) / 1e6;
                let mut alone = Products { precision: wanted.precision, sizes, ..Products::default() };
                let products = timed.iter().map(|micro| alone.time(micro, pooling)).sum::<f64>() / STEPS as f64;
                let rate = flops / products / 1e6;
                println!(
                    "| {name} | {} | {threads} | {ms:.1} | {speed:.0} | {:.0}% | {rate:.0} | {:.0}% | {:.1} | {:.0} | {roof:.1} | \
                     {:.0}% | {memory} |",
                    format!("{pooling:?}").to_lowercase(),
                    100.0 * products / ms / threads as f64,
                    100.0 * rate / peak,
                    flops / 1e9,
                    moved / 1e6,
                    100.0 * roof / ms,
                );
            }
        }
    }
    Ok(())
}

/// The micro-batches of step k.
type Batches<'a> = &'a dyn Fn(u64) -> Vec<Arc<MicroBatch>>;

/// The cost of a step.
struct Step {
    /// Median milliseconds.
    ms: f64,
    /// Means over the steps: tokens, and multiplications and additions of matrix products.
    tokens: f64,
    flops: f64,
    /// The micro-batches of all timed steps.
    timed: Vec<Arc<MicroBatch>>,
}

fn measure(network: Network, batches: Batches<'_>, pooling: Pooling, threads: usize) -> Result<Step, TrainError> {
    let settings = Settings {
        betas: [0.9, 0.999],
        eps: 1e-8,
        bias_correction: true,
        weight_decay: 0.01,
        layer_decay: 1.0,
        head_factor: 1.0,
    };
    let labels: Vec<String> = (0..network.outputs).map(|class| class.to_string()).collect();
    let task = tasks::of(&TrialConfig::default(), &labels, &[], 0)?;
    let sizes = Sizes::of(&network);
    let mut engine = Engine::new(network, settings, threads)?;
    let (mut times, mut tokens, mut flops, mut timed) = (Vec::new(), 0.0, 0.0, Vec::new());
    for k in 0..WARMUP + STEPS {
        let batch = batches(k);
        let start = Instant::now();
        let objective = Objective { random: Random::new(1, Purpose::Dropout).at(k), task: &task };
        if let Some(gradients) = engine.gradients(&batch, objective, &|| false)? {
            engine.update(&gradients, 1e-5, 1.0)?;
        }
        if k >= WARMUP {
            times.push(start.elapsed().as_secs_f64() * 1e3);
            tokens += batch.iter().map(|micro| micro.tokens()).sum::<usize>() as f64 / STEPS as f64;
            flops += batch.iter().map(|micro| sizes.operations(micro, pooling)).sum::<f64>() / STEPS as f64;
            timed.extend(batch);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Step { ms: times[times.len() / 2], tokens, flops, timed })
}

/// The sizes of an encoder.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    layers: usize,
    width: usize,
    inner: usize,
    heads: usize,
    /// Trained parameters other than the token embeddings.
    parameters: usize,
}

impl Sizes {
    fn of(network: &Network) -> Self {
        let shape = network.shape();
        let others = network.parameters.iter().filter(|parameter| parameter.trainable);
        let all: usize = others.map(|parameter| parameter.value.elem_count()).sum();
        Self {
            layers: shape.layers,
            width: shape.hidden,
            inner: shape.intermediate,
            heads: shape.heads,
            parameters: all - shape.vocabulary * shape.hidden,
        }
    }

    /// Multiplications and additions of the matrix products of a forward and a backward pass.
    fn operations(self, micro: &MicroBatch, pooling: Pooling) -> f64 {
        let (layers, width, inner) = (self.layers as f64, self.width as f64, self.inner as f64);
        let (tokens, sequences) = (micro.tokens() as f64, micro.sequences() as f64);
        let squares: f64 = micro.offsets.windows(2).map(|w| f64::from(w[1] - w[0]).powi(2)).sum();
        let asking = if pooling == Pooling::Mean { tokens } else { sequences };
        let pairs = if pooling == Pooling::Mean { squares } else { tokens };
        let keys = 2.0 * width * width * tokens;
        let rest = (2.0 * width + 2.0 * inner) * width;
        let attention = |pairs: f64| 2.0 * width * pairs;
        let full = keys + rest * tokens + attention(squares);
        let last = keys + rest * asking + attention(pairs);
        3.0 * 2.0 * ((layers - 1.0) * full + last)
    }

    /// Bytes of activations: for each layer and token ten vectors of the hidden size and two of the inner size, written once and read
    /// once.
    fn activation_bytes(self, micro: &MicroBatch) -> f64 {
        (8 * micro.tokens() * self.layers * (10 * self.width + 2 * self.inner)) as f64
    }

    /// Bytes of parameters in a step, of which `timed` has several: the value is read forwards and backwards, the gradient is written
    /// and read, and AdamW reads and writes the value and both moments. Of the token embeddings only the rows of the batch count.
    fn parameter_bytes(self, timed: &[Arc<MicroBatch>]) -> f64 {
        const BYTES: usize = 4 * (2 + 2 + 6);
        let steps = STEPS as usize;
        let rows = timed
            .chunks(timed.len().div_ceil(steps).max(1))
            .map(|step| step.iter().flat_map(|micro| &micro.ids).collect::<std::collections::HashSet<_>>().len());
        let rows = rows.sum::<usize>() as f64 / steps as f64;
        BYTES as f64 * (self.parameters as f64 + rows * self.width as f64)
    }
}

/// The matrix products of a step alone.
#[derive(Default)]
struct Products {
    precision: Precision,
    sizes: Sizes,
    a: Vec<f32>,
    b: Vec<f32>,
    out: Vec<f32>,
}

impl Products {
    /// Milliseconds of the matrix products of a forward and a backward pass over `micro`, one after the other on one thread.
    fn time(&mut self, micro: &MicroBatch, pooling: Pooling) -> f64 {
        let Sizes { layers, width, inner, .. } = self.sizes;
        let (tokens, sequences) = (micro.tokens(), micro.sequences());
        let most = inner * tokens.max(width);
        for buffer in [&mut self.a, &mut self.b, &mut self.out] {
            buffer.resize(buffer.len().max(most), 0.5);
        }
        let mut layer = |asking: usize, every: bool| {
            let start = Instant::now();
            for (rows, inputs, outputs) in [
                (tokens, width, width),
                (tokens, width, width),
                (asking, width, width),
                (asking, width, width),
                (asking, width, inner),
                (asking, inner, width),
            ] {
                self.linear(rows, inputs, outputs);
            }
            for bounds in micro.offsets.windows(2) {
                let keys = (bounds[1] - bounds[0]) as usize;
                self.attention(if every { keys } else { 1 }, keys);
            }
            start.elapsed().as_secs_f64() * 1e3
        };
        let full = layer(tokens, true);
        let last = if pooling == Pooling::Mean { full } else { layer(sequences, false) };
        (layers - 1) as f64 * full + last
    }

    /// y = x W^T, dx = dy W, dW = dy^T x.
    fn linear(&mut self, rows: usize, inputs: usize, outputs: usize) {
        let Self { precision, a, b, out, .. } = self;
        let (x, y, w) = (Matrix::new(a, rows, inputs), Matrix::new(a, rows, outputs), Matrix::new(b, outputs, inputs));
        precision.product(1.0, x, w.t(), out, outputs, Write::Replace);
        precision.product(1.0, y, w, out, inputs, Write::Replace);
        precision.product(1.0, y.t(), x, out, inputs, Write::Add);
    }

    /// Scores, context, and the gradients of values, weights, queries and keys, head by head.
    fn attention(&mut self, queries: usize, keys: usize) {
        let Self { precision, sizes: Sizes { width, heads, .. }, a, b, out } = self;
        let (width, size) = (*width, *width / *heads);
        let (q, k) = (Matrix::strided(a, queries, size, width), Matrix::strided(b, keys, size, width));
        let weights = Matrix::new(a, queries, keys);
        for _ in 0..*heads {
            for _ in 0..2 {
                precision.product(1.0, q, k.t(), out, keys, Write::Replace);
                precision.product(1.0, weights, k, out, width, Write::Replace);
                precision.product(1.0, weights.t(), q, out, width, Write::Replace);
            }
        }
    }
}

fn six_layers(pooling: Pooling) -> Result<Network, TrainError> {
    let files = CheckpointFiles::read(MODEL)?;
    let config = String::from_utf8_lossy(&files.config).replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 6");
    let input = |e: safetensors::SafeTensorError| TrainError::Input(e.to_string());
    let three = SafeTensors::deserialize(&files.weights[0]).map_err(input)?;
    let mut six = three.tensors();
    for (name, view) in three.tensors() {
        for layer in 0..3 {
            if let Some(rest) = name.strip_prefix(&format!("encoder.layer.{layer}.")) {
                six.push((format!("encoder.layer.{}.{rest}", layer + 3), view.clone()));
            }
        }
    }
    let weights = safetensors::serialize(six, None).map_err(input)?;
    Network::load(config.as_bytes(), &[&weights], &model(MODEL, pooling), 4, 1, &candle_core::Device::Cpu)
}

/// A BERT-base of random weights.
fn bert_base(pooling: Pooling) -> Result<Network, TrainError> {
    const CONFIG: &str = r#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512, "type_vocab_size": 2}"#;
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![30_522, 768]),
        ("embeddings.position_embeddings.weight".into(), vec![512, 768]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, 768]),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in (0..12).map(|number| format!("encoder.layer.{number}")) {
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            shapes.push((format!("{layer}.{part}"), vec![768, 768]));
        }
        shapes.push((format!("{layer}.intermediate.dense"), vec![3072, 768]));
        shapes.push((format!("{layer}.output.dense"), vec![768, 3072]));
        norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
    }
    shapes.push(("pooler.dense".into(), vec![768, 768]));
    let random = Random::new(3, Purpose::Initialisation);
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (number, (name, shape)) in (0..).zip(shapes) {
        let values = |i: u64| ((random.at(number).unit(i) - 0.5) * 0.07) as f32;
        let weights = bytes((0..shape.iter().product::<usize>() as u64).map(values).collect());
        if name.ends_with(".weight") {
            tensors.push((name, shape, weights));
        } else {
            let outputs = shape[0];
            tensors.push((format!("{name}.weight"), shape, weights));
            tensors.push((format!("{name}.bias"), vec![outputs], bytes(vec![0.0; outputs])));
        }
    }
    for name in norms {
        tensors.push((format!("{name}.weight"), vec![768], bytes(vec![1.0; 768])));
        tensors.push((format!("{name}.bias"), vec![768], bytes(vec![0.0; 768])));
    }
    let input = |e: safetensors::SafeTensorError| TrainError::Input(e.to_string());
    let mut views = Vec::new();
    for (name, shape, bytes) in &tensors {
        views.push((name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).map_err(input)?));
    }
    let weights = safetensors::serialize(views, None).map_err(input)?;
    Network::load(CONFIG.as_bytes(), &[&weights], &model(BERT_BASE, pooling), 4, 1, &candle_core::Device::Cpu)
}

fn model(from: &str, pooling: Pooling) -> ModelConfig {
    ModelConfig { from: from.into(), pooling: Some(pooling), dropout: Some(0.1), ..ModelConfig::default() }
}

fn tweets(model: &str) -> Result<Split, TrainError> {
    let config = DataConfig { seed: 0, ..DataConfig::default() };
    data::load(&config, model, &NoCache).map(|dataset| dataset.train)
}

fn natural(tweets: &Split, k: u64) -> Vec<Arc<MicroBatch>> {
    let batches = data::batches(1, 0, tweets.examples.len(), BATCH, true);
    let chosen = &batches[k as usize % (batches.len() - 1)];
    let lengths: Vec<usize> = chosen.iter().map(|&example| length(&tweets.tokens, example)).collect();
    let target = |example: u32| tweets.examples[example as usize].target.clone();
    let pack =
        |piece: std::ops::Range<usize>| MicroBatch::pack(&tweets.tokens, &chosen[piece.clone()], target, piece.start);
    split(&lengths, 1, MICRO_BATCH_TOKENS).into_iter().map(|piece| Arc::new(pack(piece))).collect()
}

/// Sequences of exactly `length` tokens.
fn even(length: usize, k: u64) -> Vec<Arc<MicroBatch>> {
    let random = Random::new(2, Purpose::Shuffle).at(k);
    let cut = |piece: std::ops::Range<usize>| {
        let n = piece.len() * length;
        Arc::new(MicroBatch {
            ids: (0..n as u64).map(|i| random.at(piece.start as u64).below(i, 8192) as u32).collect(),
            types: vec![0; n],
            positions: piece.clone().flat_map(|_| 0..length as u32).collect(),
            offsets: (0..=piece.len()).map(|s| (s * length) as u32).collect(),
            outputs: None,
            targets: piece.clone().map(|s| Target::Class(s as u32 % 3)).collect(),
            places: piece.map(|s| s as u32).collect(),
            mix: None,
            frozen: None,
        })
    };
    split(&[length; BATCH], 1, MICRO_BATCH_TOKENS).into_iter().map(cut).collect()
}

/// Bytes a second in 1e9, read and written, of copies of 128 MiB on each of so many threads.
fn copy_speed(threads: usize) -> f64 {
    const BYTES: usize = 128 << 20;
    let copy = || {
        let (from, mut to) = (vec![1u8; BYTES], vec![0u8; BYTES]);
        let time = |to: &mut [u8]| {
            let start = Instant::now();
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(to);
            start.elapsed().as_secs_f64()
        };
        (0..5).map(|_| time(&mut to)).fold(f64::INFINITY, f64::min)
    };
    let speed = |seconds: f64| 2.0 * BYTES as f64 / seconds / 1e9;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(copy)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).map(speed).sum()
    })
}

/// GFLOP/s of the products of a feed-forward layer over 512 tokens, on one thread. A bf16 weight is packed before.
fn product_peak(precision: Precision, sizes: &Sizes) -> f64 {
    let (tokens, width, inner) = (512, sizes.width, sizes.inner);
    let (x, w) = (vec![0.5; tokens * width], vec![0.25; width * inner]);
    let mut y = vec![0.0; tokens * inner];
    let mut best = f64::INFINITY;
    let (x, w) = (Matrix::new(&x, tokens, width), Matrix::new(&w, inner, width).t());
    let packed = Packed::new(w);
    let factor = if precision == Precision::Bf16 { Right::from(&packed) } else { w.into() };
    for _ in 0..200 {
        let start = Instant::now();
        precision.product(1.0, x, factor, &mut y, inner, Write::Replace);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (tokens * width * inner) as f64 / best / 1e9
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}
