//! The training tokens of each epoch. A background thread makes the augmented variants one epoch ahead, so that the
//! training loop usually does not wait for them.
//!
//! The result of [`Epochs::epoch`] depends only on the epoch, the seed and the examples, whatever the order of the calls.
//! Dropping an [`Epochs`] ends its thread. The thread does not use the thread pools of the trainer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::dataset::Split;
use super::encoder::Encoder;
use super::example::Example;
use super::tokens::Tokens;
use crate::train::TrainError;
use crate::train::augment::Augmenter;

/// The tokens of the training split for each epoch.
pub struct Epochs {
    clean: Arc<Tokens>,
    /// None without augmentation.
    variants: Option<Variants>,
}

struct Variants {
    maker: Arc<VariantMaker>,
    /// The epoch of the last call.
    current: Option<(u64, Arc<Tokens>)>,
    next: Option<PendingEpoch>,
}

/// Makes the variants of an epoch.
struct VariantMaker {
    augmenter: Augmenter,
    encoder: Encoder,
    examples: Vec<Example>,
}

/// An epoch that a background thread is making. Dropping it ends the thread.
struct PendingEpoch {
    epoch: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<Result<Tokens, TrainError>>>>,
}

impl Epochs {
    /// `encoder` returns the tokenizer of [`super::encoder()`] and is called only if there are variants to encode. The thread
    /// starts with the variants of epoch `first`.
    pub fn new(
        train: &Split,
        augmenter: Augmenter,
        encoder: impl FnOnce() -> Result<Encoder, TrainError>,
        first: u64,
    ) -> Result<Self, TrainError> {
        let clean = Arc::new(train.tokens.clone());
        if augmenter.is_empty() {
            return Ok(Self { clean, variants: None });
        }
        let maker = Arc::new(VariantMaker { augmenter, encoder: encoder()?, examples: train.examples.clone() });
        let variants = Variants { next: PendingEpoch::start(&maker, first), maker, current: None };
        Ok(Self { clean, variants: Some(variants) })
    }

    /// The tokens of `epoch` (from 0), in the order of the training split.
    pub fn epoch(&mut self, epoch: u64) -> Result<Arc<Tokens>, TrainError> {
        match &mut self.variants {
            None => Ok(Arc::clone(&self.clean)),
            Some(variants) => variants.epoch(epoch),
        }
    }
}

impl Variants {
    fn epoch(&mut self, epoch: u64) -> Result<Arc<Tokens>, TrainError> {
        if let Some((_, tokens)) = self.current.as_ref().filter(|(current, _)| *current == epoch) {
            return Ok(Arc::clone(tokens));
        }
        let made = self.next.take().filter(|pending| pending.epoch == epoch).and_then(PendingEpoch::finish);
        let tokens = match made {
            Some(made) => made?,
            // The thread made another epoch, or could not be started. The result made here is the same.
            None => self.maker.make(epoch, &AtomicBool::new(false)).unwrap_or(Err(TrainError::Interrupted))?,
        };
        let tokens = Arc::new(tokens);
        self.current = Some((epoch, Arc::clone(&tokens)));
        self.next = PendingEpoch::start(&self.maker, epoch + 1);
        Ok(tokens)
    }
}

impl VariantMaker {
    /// None if `stop` is set.
    fn make(&self, epoch: u64, stop: &AtomicBool) -> Option<Result<Tokens, TrainError>> {
        let mut tokens = Tokens::default();
        for (index, example) in self.examples.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let variant = self.augmenter.apply(epoch, index, example);
            let done = match self.augmenter.cutoff() {
                None => self.encoder.append(&variant, &mut tokens),
                Some(cutoff) => self.encoder.append_part(&variant, &mut tokens, |number, sequence, spans| {
                    cutoff.kept(epoch, (index, number), sequence, spans)
                }),
            };
            if let Err(error) = done {
                return Some(Err(error));
            }
        }
        Some(Ok(tokens))
    }
}

impl PendingEpoch {
    /// None if the system cannot start a thread.
    fn start(maker: &Arc<VariantMaker>, epoch: u64) -> Option<Self> {
        let (maker, stop) = (Arc::clone(maker), Arc::new(AtomicBool::new(false)));
        let stop_flag = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("augment".into()).spawn(move || maker.make(epoch, &stop_flag)).ok()?;
        Some(Self { epoch, stop, thread: Some(thread) })
    }

    fn finish(mut self) -> Option<Result<Tokens, TrainError>> {
        self.thread.take()?.join().ok()?
    }
}

impl Drop for PendingEpoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread has reported its own panic, and its result is no longer needed.
            let _ = thread.join();
        }
    }
}
