//! The training tokens of each epoch. Augmented variants are made one epoch ahead in a thread of their own, so the
//! training loop never waits for them in the ordinary case.
//!
//! Guarantees: what [`Epochs::epoch`] gives is a function of the epoch, the seed and the examples alone, asked in any
//! order. Dropping an [`Epochs`] ends its thread. That thread is one and leaves the pools of the trainer alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{Encoder, Example, Split, Tokens};
use crate::train::TrainError;
use crate::train::augment::Augmenter;

/// Gives the tokens of the training split for each epoch.
pub struct Epochs {
    clean: Arc<Tokens>,
    /// None without augmentation.
    variants: Option<Variants>,
}

struct Variants {
    maker: Arc<Maker>,
    /// The epoch asked for last.
    current: Option<(u64, Arc<Tokens>)>,
    ahead: Option<Ahead>,
}

/// What making a variant takes.
struct Maker {
    augmenter: Augmenter,
    encoder: Encoder,
    examples: Vec<Example>,
}

/// An epoch in the making. Dropping it stops and ends its thread.
struct Ahead {
    epoch: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<Result<Tokens, TrainError>>>>,
}

impl Epochs {
    /// `encoder` makes what [`super::encoder`] gives, and is asked only if there is something to encode; `first` is the
    /// epoch asked for first, its variants are begun at once.
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
        let maker = Arc::new(Maker { augmenter, encoder: encoder()?, examples: train.examples.clone() });
        let variants = Variants { ahead: Ahead::start(&maker, first), maker, current: None };
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
        let made = self.ahead.take().filter(|ahead| ahead.epoch == epoch).and_then(Ahead::finish);
        let tokens = match made {
            Some(made) => made?,
            // Another epoch was made ahead, or there was no thread to be had: the same result, made here.
            None => self.maker.make(epoch, &AtomicBool::new(false)).unwrap_or(Err(TrainError::Interrupted))?,
        };
        let tokens = Arc::new(tokens);
        self.current = Some((epoch, Arc::clone(&tokens)));
        self.ahead = Ahead::start(&self.maker, epoch + 1);
        Ok(tokens)
    }
}

impl Maker {
    /// None when told to stop.
    fn make(&self, epoch: u64, stop: &AtomicBool) -> Option<Result<Tokens, TrainError>> {
        let mut tokens = Tokens::default();
        for (index, example) in self.examples.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let variant = self.augmenter.apply(epoch, index, example);
            let done = match self.augmenter.cutoff() {
                None => self.encoder.append(&variant, &mut tokens),
                Some(cutoff) => self
                    .encoder
                    .append_part(&variant, &mut tokens, |pieces| cutoff.kept(epoch, index, &variant, pieces)),
            };
            if let Err(error) = done {
                return Some(Err(error));
            }
        }
        Some(Ok(tokens))
    }
}

impl Ahead {
    /// None if the system has no thread to give.
    fn start(maker: &Arc<Maker>, epoch: u64) -> Option<Self> {
        let (maker, stop) = (Arc::clone(maker), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("augment".into()).spawn(move || maker.make(epoch, &told)).ok()?;
        Some(Self { epoch, stop, thread: Some(thread) })
    }

    fn finish(mut self) -> Option<Result<Tokens, TrainError>> {
        self.thread.take()?.join().ok()?
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the thread, and its result is not wanted any more.
            let _ = thread.join();
        }
    }
}
