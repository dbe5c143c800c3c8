//! Contextual replacement: what a masked-language model puts in the place of each word. A word is masked as a whole, the
//! others stay; of what the model knows, only whole lower-case words that are no negations and no stop words count.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::Around;
use super::answers::{Answer, Answers, Proposal, answers};
use super::lexicon::{COARSE, is_negation, is_one_of, is_stop_word};
use super::reader::Reader;
use super::safe::Rules;
use super::words::Words;
use crate::train::TrainError;
use crate::train::data::source::{self, CheckpointFiles};
use crate::train::kernels::activation::Activation;
use crate::train::model::config::Config;
use crate::train::model::parameters::Tensors;

const MASK: &str = "[MASK]";

/// For each word of each text what may stand in its place, the likeliest first, at most `top_k`, by probability.
pub(super) fn fill(around: &Around<'_>, model: &str, top_k: usize) -> Result<Answers, TrainError> {
    let files = source::checkpoint(model)?;
    let key = format!("contextual {} {} {top_k}", files.hash(), around.max_length);
    answers(around, &key, |texts| {
        let reader = Reader::new(model, &files, around.max_length)?;
        let head = Head::new(model, &files)?;
        let words = Vocabulary::new(model, &files)?;
        texts.par_iter().map(|text| proposals(&reader, &head, &words, text, top_k)).collect()
    })
}

/// Refuses a located checkpoint without an MLM head; the hash of its content.
pub(super) fn check(model: &str) -> Result<String, TrainError> {
    let files = source::checkpoint(model)?;
    Head::new(model, &files)?;
    Vocabulary::new(model, &files)?;
    Ok(files.hash())
}

fn proposals(
    reader: &Reader,
    head: &Head,
    vocabulary: &Vocabulary,
    text: &str,
    top_k: usize,
) -> Result<Answer, TrainError> {
    let words = Words::parse(text);
    let rules = Rules::new(&words);
    let masked: Vec<usize> = (0..words.len()).filter(|&index| rules.may_be_replaced(index)).collect();
    let variants = masked.iter().map(|&index| words.rebuild(|i| if i == index { MASK } else { words.word(i) }));
    let tokens = reader.tokens(variants)?;
    let vectors = reader.vectors(&tokens)?;
    let mut answer = vec![Vec::new(); words.len()];
    let (mut asked, mut rows) = (Vec::new(), Vec::new());
    for (example, &index) in masked.iter().enumerate() {
        let (ids, _) = tokens.get(example);
        // A word behind the cut has no place.
        if let Some(place) = ids.iter().position(|&id| id == vocabulary.mask) {
            rows.extend_from_slice(&vectors[example][place * reader.width()..][..reader.width()]);
            asked.push(index);
        }
    }
    if asked.is_empty() {
        return Ok(answer);
    }
    let scores = head.scores(rows, asked.len())?;
    for (&index, scores) in asked.iter().zip(scores.chunks_exact(scores.len() / asked.len())) {
        answer[index] = vocabulary.likeliest(scores, &words.word(index).to_ascii_lowercase(), top_k);
    }
    Ok(answer)
}

/// The words that may be put into a text, by token.
struct Vocabulary {
    mask: u32,
    words: Vec<(u32, String)>,
}

impl Vocabulary {
    fn new(model: &str, files: &CheckpointFiles) -> Result<Self, TrainError> {
        let tokenizer = Tokenizer::from_bytes(&files.tokenizer)
            .map_err(|error| TrainError::Input(format!("{model}: tokenizer.json: {error}")))?;
        let mask = tokenizer.token_to_id(MASK);
        let mask = mask.ok_or_else(|| TrainError::Input(format!("{model}: the tokenizer knows no {MASK}")))?;
        let fits = |word: &str| {
            word.len() >= 2
                && word.bytes().all(|b| b.is_ascii_lowercase())
                && !is_negation(word)
                && !is_stop_word(word)
                && !is_one_of(COARSE, word)
        };
        let all = tokenizer.get_vocab(false).into_iter();
        let mut words: Vec<(u32, String)> = all.filter(|(word, _)| fits(word)).map(|(word, id)| (id, word)).collect();
        words.sort_unstable();
        Ok(Self { mask, words })
    }

    /// The `top_k` words with the highest scores but `word`, weighted by their probability among themselves.
    fn likeliest(&self, scores: &[f32], word: &str, top_k: usize) -> Vec<Proposal> {
        let known = self.words.iter().filter_map(|(id, known)| Some((*scores.get(*id as usize)?, known)));
        let mut ranked: Vec<(f32, &String)> =
            known.filter(|(score, known)| *known != word && score.is_finite()).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(top_k);
        let top = ranked.first().map_or(0.0, |(score, _)| *score);
        ranked.into_iter().map(|(score, known)| Proposal(known.clone(), (score - top).exp())).collect()
    }
}

/// BERT's `cls.predictions`: dense, activation, LayerNorm, and a product with the word vectors.
struct Head {
    dense: (Tensor, Tensor),
    norm: (Tensor, Tensor),
    decoder: (Tensor, Tensor),
    activation: Activation,
    epsilon: f64,
}

impl Head {
    fn new(model: &str, files: &CheckpointFiles) -> Result<Self, TrainError> {
        let config = Config::parse(&files.config)?;
        let weights: Vec<&[u8]> = files.weights.iter().map(AsRef::as_ref).collect();
        let tensors = Tensors::read(&weights)?;
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
        Err(TrainError::Input(format!(
            "{model}: no head of a masked-language model: {} missing. `contextual` needs a checkpoint saved as \
             BertForMaskedLM, such as hf:google-bert/bert-base-uncased; give it as its `model`",
            missing.join(", ")
        )))
    }

    /// `[rows, vocabulary]`.
    fn scores(&self, rows: Vec<f32>, count: usize) -> Result<Vec<f32>, TrainError> {
        let width = rows.len() / count;
        let x = Tensor::from_vec(rows, (count, width), &Device::Cpu)?;
        let x = x.matmul(&self.dense.0.t()?)?.broadcast_add(&self.dense.1)?;
        let x = match self.activation {
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Relu => x.relu()?,
        };
        let x = candle_nn::ops::layer_norm(&x.contiguous()?, &self.norm.0, &self.norm.1, self.epsilon as f32)?;
        let scores = x.matmul(&self.decoder.0)?.broadcast_add(&self.decoder.1)?;
        Ok(scores.flatten_all()?.to_vec1()?)
    }
}
