//! A BERT that computes the token vectors of its last layer, without training.

use std::sync::Arc;

use candle_core::Device;

use crate::train::TrainError;
use crate::train::batch::{MicroBatch, length};
use crate::train::data::CheckpointFiles;
use crate::train::data::{Encoder, Example, Tokens};
use crate::train::model::{Network, Pass};
use crate::train::tasks::Target;
use crate::trial::{MICRO_BATCH_TOKENS, ModelConfig, Pooling};

pub(super) struct SentenceEncoder {
    model: Arc<Network>,
    pub encoder: Encoder,
}

impl SentenceEncoder {
    /// Loads the checkpoint `name`. Texts are truncated to `max_length` tokens and to the positions of the model.
    pub fn new(name: &str, files: &CheckpointFiles, max_length: usize) -> Result<Self, TrainError> {
        let pooling = Some(Pooling::Mean);
        let plain = ModelConfig { from: name.to_owned(), pooling, dropout: Some(0.0), ..ModelConfig::default() };
        let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
        let model = Network::load(&files.config, &weights, &plain, 2, 0, &Device::Cpu)?;
        let encoder = Encoder::new(name, &files.tokenizer, max_length.min(model.shape().positions), false)?;
        Ok(Self { model: Arc::new(model), encoder })
    }

    pub fn tokens(&self, texts: impl IntoIterator<Item = String>) -> Result<Tokens, TrainError> {
        let mut tokens = Tokens::default();
        for text in texts {
            self.encoder.append(&Example::unlabelled(text), &mut tokens)?;
        }
        self.model.check(&tokens)?;
        Ok(tokens)
    }

    /// The token vectors `[tokens, width]` of each text, computed on the calling thread.
    pub fn vectors(&self, tokens: &Tokens) -> Result<Vec<Vec<f32>>, TrainError> {
        let width = self.width();
        let mut all = Vec::with_capacity(tokens.len());
        let mut first = 0;
        while first < tokens.len() {
            let mut sum = 0;
            let fits = (first..tokens.len()).take_while(|&example| {
                sum += length(tokens, example as u32);
                sum <= MICRO_BATCH_TOKENS
            });
            let last = first + fits.count().max(1);
            let chosen: Vec<u32> = (first as u32..last as u32).collect();
            let batch = Arc::new(MicroBatch::pack(tokens, &chosen, |_| Target::Unknown, 0));
            let vectors =
                Pass { model: self.model.clone(), batch: batch.clone(), training: None, packed: Arc::default() }
                    .vectors()?;
            let rows = batch.offsets.windows(2);
            all.extend(rows.map(|w| vectors[w[0] as usize * width..w[1] as usize * width].to_vec()));
            first = last;
        }
        Ok(all)
    }

    pub fn width(&self) -> usize {
        self.model.shape().hidden
    }
}
