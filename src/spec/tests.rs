use super::*;

fn zoo(text: &str) {
    match parse("sweeps/a.yaml", "a", text, &[]) {
        Ok(spec) => println!("OK: {text:?} {:?}\n-------", spec.warnings()),
        Err(p) => println!("{p}\n-------"),
    }
}

#[test]
fn zoo_all() {
    for t in [
        "lerning_rate: 3e-5\nmodel:\n  drop_out: 0.1\n",
        "lr: \"3e-5\"\nwarmup: '10'\n",
        "lr: -1\nwarmup: 1.5\nmodel:\n  dropout: 2\nepochs: 0\nbatch_size: 0\ndata:\n  max_length: 2\n  eval: 1.5\n",
        "lr: 3e-5\nlr: 4e-5\n",
        "lr: 3e-5\nlearning_rate: 4e-5\n",
        "epochs: 3\nsteps: 100\n",
        "grid:\n\tlr: [1e-5]\n",
        "grid:\n  lr: [1e-5\n  warmup: [0]\n",
        "grid:\n  lr: [1e-5, 0.00001, 1e-4, 1e-4]\n",
        "grid:\n  lr: []\n  warmup: 0.1\n  run.jobs: [1, 2]\n  name: [a]\n  schedulr: [linear]\n",
        "zip:\n  batch_size: [16, 32]\n  epochs: [2, 4, 6]\n",
        "grid:\n  lr: [1e-5]\nzip:\n  learning_rate: [1e-5]\n",
        "scheduler: cosin\naugmentation: [none, synonym]\n",
        "scheduler: {name: cosine, cycle: 2}\naugmentation: {name: synonym, rate: 2}\n",
        "scheduler.cycles: 2\n",
        "grid:\n  scheduler: [linear, cosine]\n  scheduler.cycles: [1, 2]\n",
        "seeds: [1, 1]\n",
        "seeds: 3\n",
        "seeds: [1]\ngrid: {seed: [1, 2]}\n",
        "run:\n  jobs: 0\n  checkpoint_every: 5x\n  kep: best\n  devices: gpu\n",
        "max_length: 3\ntrain: a\n",
        "batch_size: 2\ngrid:\n  grad_accumulation: [1, 2, 4]\n",
        "run: {max_trials: 3}\ngrid:\n  lr: [1e-5, 2e-5]\n  warmup: [0, 1]\n",
        "lr: [1e-5, 1e-4]\n",
        "lr:\nwarmup: 1_000\ndata.shuffle: yes\n",
        "- lr\n",
        "optimizer: {betas: [0.9, 1.0]}\n",
        "optimizer: {betas: 0.9}\nstop: 5\nstop.patience: 5\n",
        "grid:\n  lr: [abc, 1e-5, {a: 1}]\n  model: [{from: x, dropout: 3}]\n",
        "include: {lr: 1}\nexclude: [{}, 5, {lr: x}]\n",
        "a: *b\n",
        "lr: !!float 3e-5\n---\nlr: 4\n",
        "text: 'unterminated\n",
        "name: ../x\n",
        "per_device_train_batch_size: 8\ngradient_accumulation_steps: 4\n",
        "data:\n  eval: \"0.2\"\n  text_pair: null\n  limit: 0\n",
        "grid: {epochs: [1,2]}\nsteps: 3\n",
        "base: &b {dropout: 0.1}\nmodel:\n  <<: *b\n",
        "model: &b {dropout: 0.1}\ngrid:\n  model: [*b, {<<: *b, freeze: 1}]\n",
        "lr: 3e-5 # ok\nlr : abc def\n",
        "",
        "# only a comment\n",
        "---\n",
        "lr: .nan\nwarmup: .inf\n",
        "scheduler:\n  cycles: 2\n",
        "seed: -1\n",
        "seed: 18446744073709551615\n",
        "seed: 18446744073709551616\n",
        "data: 5\nmodel: {from: [a]}\n",
        "stop: {patience: {metric: eval_los, evals: 0}}\n",
        "lr: 1e-5: 3\n",
        "lr: 1e-5\n warmup: 3\n",
        "ünïcödé: 1\nmodel: {from: \"日本語\", dropout: x}\n",
    ] {
        zoo(t);
    }
}
