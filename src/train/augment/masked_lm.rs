//! Contextual replacement: the words that a masked language model (MLM) predicts in the place of each word.
//!
//! A word is masked as a whole; the other words stay. Only whole lower-case words that are neither negations nor stop words
//! are suggested.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::context::AugmentContext;
use super::protection::EditRules;
use super::sentence_encoder::SentenceEncoder;
use super::suggestions::{Suggestion, SuggestionTable, TextSuggestions, cached_suggestions};
use super::tokenize::Words;
use super::word_lists::{VULGAR, is_negation, is_one_of, is_stop_word};
use crate::train::TrainError;
use crate::train::data::{CheckpointFiles, DataError, DataErrorKind};
use crate::train::model::config::BertConfig;
use crate::train::model::parameters::Tensors;
use plateau_kernels::activation::Activation;

const MASK: &str = "[MASK]";

/// At most `top_k` suggestions for each word of each text, the most probable first, weighted by probability.
pub(super) fn predicted_words(
    context: &AugmentContext<'_>,
    model: &str,
    top_k: usize,
) -> Result<SuggestionTable, TrainError> {
    let files = CheckpointFiles::read(model)?;
    let key = format!("contextual {} {} {top_k}", files.hash(), context.max_length);
    cached_suggestions(context, &key, |texts| {
        let encoder = SentenceEncoder::new(model, &files, context.max_length)?;
        let head = MlmHead::new(model, &files)?;
        let vocabulary = Vocabulary::new(model, &files)?;
        texts.par_iter().map(|text| text_suggestions(&encoder, &head, &vocabulary, text, top_k)).collect()
    })
}

/// Refuses a located checkpoint without an MLM head. Returns the hash of its content.
pub(super) fn check(model: &str) -> Result<String, TrainError> {
    let files = CheckpointFiles::read(model)?;
    MlmHead::new(model, &files)?;
    Vocabulary::new(model, &files)?;
    Ok(files.hash())
}

fn text_suggestions(
    encoder: &SentenceEncoder,
    head: &MlmHead,
    vocabulary: &Vocabulary,
    text: &str,
    top_k: usize,
) -> Result<TextSuggestions, TrainError> {
    let words = Words::parse(text);
    let rules = EditRules::new(&words);
    let masked: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_replaced(index)).collect();
    let variants = masked.iter().map(|&index| words.rebuild(|i| if i == index { MASK } else { words.word(i) }));
    let tokens = encoder.tokens(variants)?;
    let vectors = encoder.vectors(&tokens)?;
    let mut suggestions = vec![Vec::new(); words.len()];
    let (mut predicted, mut rows) = (Vec::new(), Vec::new());
    for (example, &index) in masked.iter().enumerate() {
        let (ids, _) = tokens.get(example);
        // A word beyond the truncation has no mask token.
        if let Some(place) = ids.iter().position(|&id| id == vocabulary.mask) {
            rows.extend_from_slice(&vectors[example][place * encoder.width()..][..encoder.width()]);
            predicted.push(index);
        }
    }
    if predicted.is_empty() {
        return Ok(suggestions);
    }
    let scores = head.scores(rows, predicted.len())?;
    for (&index, scores) in predicted.iter().zip(scores.chunks_exact(scores.len() / predicted.len())) {
        suggestions[index] = vocabulary.most_probable(scores, &words.word(index).to_ascii_lowercase(), top_k);
    }
    Ok(suggestions)
}

/// The tokens that may be inserted into a text.
struct Vocabulary {
    mask: u32,
    words: Vec<(u32, String)>,
}

impl Vocabulary {
    fn new(model: &str, files: &CheckpointFiles) -> Result<Self, TrainError> {
        let tokenizer = Tokenizer::from_bytes(&files.tokenizer)
            .map_err(|error| DataError::malformed(format!("{model}: tokenizer.json: {error}")).caused_by(error))?;
        let mask = tokenizer.token_to_id(MASK);
        let mask = mask.ok_or_else(|| DataError::malformed(format!("{model}: the tokenizer has no {MASK} token")))?;
        let fits = |word: &str| {
            word.len() >= 2
                && word.bytes().all(|b| b.is_ascii_lowercase())
                && !is_negation(word)
                && !is_stop_word(word)
                && !is_one_of(VULGAR, word)
        };
        let all = tokenizer.get_vocab(false).into_iter();
        let mut words: Vec<(u32, String)> = all.filter(|(word, _)| fits(word)).map(|(word, id)| (id, word)).collect();
        words.sort_unstable();
        Ok(Self { mask, words })
    }

    /// The `top_k` words with the highest scores except `word`, weighted by their relative probability.
    fn most_probable(&self, scores: &[f32], word: &str, top_k: usize) -> Vec<Suggestion> {
        let known = self.words.iter().filter_map(|(id, known)| Some((*scores.get(*id as usize)?, known)));
        let mut ranked: Vec<(f32, &String)> =
            known.filter(|(score, known)| *known != word && score.is_finite()).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(top_k);
        let top = ranked.first().map_or(0.0, |(score, _)| *score);
        ranked.into_iter().map(|(score, known)| Suggestion(known.clone(), (score - top).exp())).collect()
    }
}

/// The MLM head `cls.predictions` of BERT: dense, activation, LayerNorm, and a product with the token embeddings.
struct MlmHead {
    dense: (Tensor, Tensor),
    norm: (Tensor, Tensor),
    decoder: (Tensor, Tensor),
    activation: Activation,
    epsilon: f64,
}

impl MlmHead {
    fn new(model: &str, files: &CheckpointFiles) -> Result<Self, TrainError> {
        let config = BertConfig::parse(&files.config, 0)?;
        let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
        let tensors = Tensors::read(&weights, "bert")?;
        let mut missing = Vec::new();
        let mut get = |names: &[&str], shape: &[usize]| -> Result<Tensor, TrainError> {
            for name in names {
                if let Some(tensor) = tensors.value(name)?.filter(|tensor| tensor.dims() == shape) {
                    return Ok(tensor);
                }
            }
            missing.push(names[0].to_owned());
            Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
        };
        let (h, v) = (config.hidden, config.vocabulary);
        let head = Self {
            dense: (
                get(&["cls.predictions.transform.dense.weight"], &[h, h])?,
                get(&["cls.predictions.transform.dense.bias"], &[h])?,
            ),
            norm: (
                get(&["cls.predictions.transform.LayerNorm.weight"], &[h])?,
                get(&["cls.predictions.transform.LayerNorm.bias"], &[h])?,
            ),
            decoder: (
                get(&["cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"], &[v, h])?.t()?,
                get(&["cls.predictions.bias", "cls.predictions.decoder.bias"], &[v])?,
            ),
            activation: config.activation,
            epsilon: config.epsilon,
        };
        if missing.is_empty() {
            return Ok(head);
        }
        let message = format!(
            "{model}: the checkpoint has no head of a masked language model; missing tensors: {}. `contextual` needs a \
             checkpoint that was saved as BertForMaskedLM, such as hf:google-bert/bert-base-uncased; give it as `model`",
            missing.join(", ")
        );
        Err(DataError::new(DataErrorKind::Unsupported, message).into())
    }

    /// Scores `[count, vocabulary]` of `count` token vectors.
    fn scores(&self, rows: Vec<f32>, count: usize) -> Result<Vec<f32>, TrainError> {
        let width = rows.len() / count;
        let x = Tensor::from_vec(rows, (count, width), &Device::Cpu)?;
        let x = x.matmul(&self.dense.0.t()?)?.broadcast_add(&self.dense.1)?;
        let x = match self.activation {
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Relu => x.relu()?,
            Activation::Tanh => x.tanh()?,
        };
        let x = candle_nn::ops::layer_norm(&x.contiguous()?, &self.norm.0, &self.norm.1, self.epsilon as f32)?;
        let scores = x.matmul(&self.decoder.0)?.broadcast_add(&self.decoder.1)?;
        Ok(scores.flatten_all()?.to_vec1()?)
    }
}
