//! Tests of the methods that use a model or a lexicon folder: results against candle-transformers, and the cache.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertForMaskedLM, BertModel, Config};

use super::tokenize::{WordKind, Words};
use super::wordnet::WordNet;
use super::*;
use crate::train::Cache;
use crate::train::data::{Encoder, Example, Tokens};
use crate::train::testing::{Checkpoint, fixture};
use crate::trial::{Augmentation, Choose};
use plateau_random::{Purpose, Random};

/// A cache in memory that counts its writes.
#[derive(Default)]
struct MemoryCache(Mutex<(HashMap<String, Vec<u8>>, usize)>);

impl Cache for MemoryCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().0.get(key).cloned()
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let mut inside = self.0.lock().unwrap();
        inside.0.insert(key.to_owned(), bytes.to_owned());
        inside.1 += 1;
    }
}

impl MemoryCache {
    fn puts(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

fn examples(texts: &[&str]) -> Vec<Example> {
    texts.iter().copied().map(Example::unlabelled).collect()
}

fn ids(tokenizer: &[u8], text: &str) -> Vec<u32> {
    let encoder = Encoder::new("test", tokenizer, 64, false).unwrap();
    let mut tokens = Tokens::default();
    encoder.append(&examples(&[text])[0], &mut tokens).unwrap();
    tokens.ids
}

fn oracle(checkpoint: &Checkpoint) -> (Config, VarBuilder<'static>) {
    let vars = VarBuilder::from_buffered_safetensors(checkpoint.weights.clone(), DType::F32, &Device::Cpu).unwrap();
    (serde_json::from_slice(&checkpoint.config).unwrap(), vars)
}

/// A copy of the tiny checkpoint with a random MLM head, in a folder.
fn with_mlm_head() -> (tempfile::TempDir, Checkpoint) {
    let mut tiny = Checkpoint::tiny();
    let (h, v) = (48, 8192);
    let random = Random::new(7, Purpose::Initialisation);
    let mut tensors = candle_core::safetensors::load_buffer(&tiny.weights, &Device::Cpu).unwrap();
    let new = [
        ("transform.dense.weight", vec![h, h], 0.2),
        ("transform.dense.bias", vec![h], 0.2),
        ("transform.LayerNorm.weight", vec![h], 1.0),
        ("transform.LayerNorm.bias", vec![h], 0.2),
        ("bias", vec![v], 0.2),
    ];
    for (number, (name, shape, scale)) in (0..).zip(new) {
        let count = shape.iter().product::<usize>() as u64;
        let values: Vec<f32> = (0..count).map(|i| (scale * random.at(number).normal(i)) as f32).collect();
        tensors.insert(format!("cls.predictions.{name}"), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    }
    let bias = tensors["cls.predictions.bias"].clone();
    tensors.insert("cls.predictions.decoder.bias".to_owned(), bias);
    let words = tensors["bert.embeddings.word_embeddings.weight"].clone();
    tensors.insert("cls.predictions.decoder.weight".to_owned(), words);
    tiny.weights = safetensors::serialize(tensors, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("config.json", &tiny.config), ("model.safetensors", &tiny.weights)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::copy(&tiny.tokenizer, folder.path().join("tokenizer.json")).unwrap();
    (folder, tiny)
}

#[test]
fn contextual_words_are_those_that_candle_transformers_ranks_first() {
    let (folder, checkpoint) = with_mlm_head();
    let model = folder.path().to_str().unwrap();
    let tokenizer = std::fs::read(&checkpoint.tokenizer).unwrap();
    let text = "Two doctors visited the garden, but not my house.";
    let texts = examples(&[text]);
    let cache = MemoryCache::default();
    let context = AugmentContext { examples: &texts, model, max_length: 64, cache: &cache, notify: &|_| () };
    let predicted = masked_lm::predicted_words(&context, model, 5).unwrap();
    let suggestions = &predicted[text];
    let positions: Vec<usize> = (0..suggestions.len()).filter(|&i| !suggestions[i].is_empty()).collect();
    assert_eq!(positions, [1, 2, 4, 8], "doctors, visited, garden, house");

    let (config, vars) = oracle(&checkpoint);
    let bert = BertForMaskedLM::load(vars, &config).unwrap();
    let names: HashMap<u32, String> = tokenizers::Tokenizer::from_bytes(&tokenizer)
        .unwrap()
        .get_vocab(false)
        .into_iter()
        .map(|(name, id)| (id, name))
        .collect();
    for (index, masked) in [(1, text.replace("doctors", "[MASK]")), (8, text.replace("house", "[MASK]"))] {
        let ids = ids(&tokenizer, &masked);
        let place = ids.iter().position(|&id| names[&id] == "[MASK]").unwrap();
        let input = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = bert.forward(&input, &input.zeros_like().unwrap(), None).unwrap();
        let logits: Vec<f32> = logits.get(0).unwrap().get(place).unwrap().to_vec1().unwrap();
        let mut ranked: Vec<u32> = (0..logits.len() as u32).collect();
        ranked.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        let top = logits[ranked[0] as usize];
        for suggestion in &suggestions[index] {
            let (&id, _) = names.iter().find(|(_, name)| **name == suggestion.0).unwrap();
            let first =
                logits[names.iter().find(|(_, name)| **name == suggestions[index][0].0).unwrap().0.to_owned() as usize];
            let expected = (logits[id as usize] - first).exp();
            assert!((suggestion.1 - expected).abs() < 1e-3 * expected, "{suggestion:?}: {expected}, top {top}");
        }
        let words: Vec<&str> = ranked
            .iter()
            .map(|id| names[id].as_str())
            .filter(|word| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase()))
            .filter(|word| !word_lists::is_stop_word(word) && !word_lists::is_negation(word))
            .filter(|word| !word_lists::is_one_of(word_lists::VULGAR, word) && *word != "doctors" && *word != "house")
            .take(5)
            .collect();
        let ours: Vec<&str> = suggestions[index].iter().map(|suggestion| suggestion.0.as_str()).collect();
        assert_eq!(ours, words, "at {index}");
    }
}

#[test]
fn contextual_suggestions_are_computed_once_and_drawn_again_each_epoch() {
    let (folder, _) = with_mlm_head();
    let model = folder.path().to_str().unwrap();
    let file = include_str!("../../../assets/data/tweets.tsv");
    let texts: Vec<&str> =
        file.lines().skip(1).step_by(150).filter_map(|line| line.split_once('\t')).map(|(_, text)| text).collect();
    let texts = examples(&texts);
    let cache = MemoryCache::default();
    let context = AugmentContext { examples: &texts, model, max_length: 64, cache: &cache, notify: &|_| () };
    let method = [Augmentation::Contextual { rate: 0.3, top_k: 20, model: None }];
    let augmenter = Augmenter::new(&method, 1, &context).unwrap();
    let again = Augmenter::new(&method, 1, &context).unwrap();
    assert_eq!(cache.puts(), 1, "computed once");
    let mut changed = 0;
    for (index, example) in texts.iter().enumerate() {
        let variants: Vec<String> = (0..3).map(|epoch| augmenter.apply(epoch, index, example).text).collect();
        assert_eq!(again.apply(2, index, example).text, variants[2]);
        changed += usize::from(variants[0] != example.text && variants[0] != variants[1]);
        let (before, after) = (Words::parse(&example.text), Words::parse(&variants[0]));
        assert_eq!(before.len(), after.len(), "{}", variants[0]);
        let differ = (0..before.len()).filter(|&i| before.word(i) != after.word(i)).count();
        // An article before a replaced word may be adapted.
        assert!(differ <= 2 * edits::edit_count(0.3, before.len()));
        for i in (0..before.len()).filter(|&i| before.kind(i) == WordKind::Protected) {
            assert_eq!(before.word(i), after.word(i));
        }
    }
    assert!(changed * 10 > texts.len() * 7, "{changed} of {}", texts.len());
    let fewer = AugmentContext { examples: &texts[..3], ..context };
    Augmenter::new(&method, 2, &fewer).unwrap();
    assert_eq!(cache.puts(), 1, "a smaller split and another seed compute nothing new");
}

#[test]
fn a_checkpoint_without_the_head_is_refused_by_the_names_of_its_tensors() {
    let tiny = fixture("finetune-tiny/checkpoint");
    let method = Augmentation::Contextual { rate: 0.1, top_k: 5, model: Some(tiny.display().to_string()) };
    let message = identify(&method, &method).unwrap_err().to_string();
    assert!(
        message.contains("cls.predictions.transform.dense.weight, cls.predictions.transform.dense.bias"),
        "{message}"
    );
    let (folder, _) = with_mlm_head();
    let at = |path: &Path| Augmentation::Contextual { rate: 0.1, top_k: 5, model: Some(path.display().to_string()) };
    let found = locate(&at(folder.path()), &[]).unwrap();
    assert_eq!(found, at(&folder.path().canonicalize().unwrap()));
    let identity = identify(&at(folder.path()), &found).unwrap();
    assert!(matches!(identity, Augmentation::Contextual { model: Some(hash), .. } if hash.len() == 64));
}

#[test]
fn the_synonym_by_context_is_the_one_nearest_for_candle_transformers() {
    let checkpoint = Checkpoint::embedded();
    let tokenizer = std::fs::read(&checkpoint.tokenizer).unwrap();
    let (config, vars) = oracle(&checkpoint);
    let bert = BertModel::load(vars, &config).unwrap();
    let embed = |text: &str| {
        let ids = Tensor::new(ids(&tokenizer, text).as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let hidden = bert.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
        hidden.mean(1).unwrap().squeeze(0).unwrap().to_vec1::<f32>().unwrap()
    };
    let text = "Profits rose because the doctor was happy";
    let texts = examples(&[text]);
    let cache = MemoryCache::default();
    let context = AugmentContext {
        examples: &texts,
        model: "embedded:minilm-l3",
        max_length: 64,
        cache: &cache,
        notify: &|_| (),
    };
    let chosen = contextual_synonym::nearest_synonyms(&context, WordNet::embedded(), "embedded", true).unwrap();
    let words = Words::parse(text);
    let original = embed(text);
    let mut compared = 0;
    for (index, suggestions) in chosen[text].iter().enumerate() {
        let candidates = synonym::SynonymFinder::new(WordNet::embedded(), &words, true).of(index);
        assert_eq!(suggestions.len(), usize::from(!candidates.is_empty()));
        let distance = |candidate: &String| {
            let mut edited = synonym::EditedText::new(&words);
            edited.replace(index, candidate);
            embed(&edited.text()).iter().zip(&original).map(|(a, b)| f64::from((a - b) * (a - b))).sum::<f64>()
        };
        let nearest = candidates.iter().take(8).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        assert_eq!(suggestions.first().map(|suggestion| &suggestion.0), nearest, "{candidates:?}");
        compared += usize::from(candidates.len() > 1);
    }
    assert!(compared >= 3);
    let method = [Augmentation::Synonym { rate: 1.0, choose: Choose::Context, pos: true, wordnet: None }];
    let varied = Augmenter::new(&method, 1, &context).unwrap().apply(0, 0, &texts[0]).text;
    assert_eq!(cache.puts(), 1);
    assert!(varied.contains(&chosen[text][4][0].0), "{varied}");
}

#[test]
fn a_dictionary_folder_replaces_the_embedded_lexicon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let method = |wordnet: &str| Augmentation::Synonym {
        rate: 1.0,
        choose: Choose::First,
        pos: false,
        wordnet: Some(wordnet.to_owned()),
    };
    let message = identify(&method(path), &method(path)).unwrap_err().to_string();
    assert!(
        message.contains("not a WordNet dictionary folder: ") && message.contains("index.noun: cannot be read"),
        "{message}"
    );
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("index.noun")).status().unwrap().success());
    let message = identify(&method(path), &method(path)).unwrap_err().to_string();
    assert!(message.contains("index.noun: this is a FIFO, not a file"), "{message}");
    std::fs::remove_file(folder.path().join("index.noun")).unwrap();
    assert!(locate(&method("no/such"), &["/tmp".into()]).unwrap_err().to_string().contains("looked for /tmp/no/such"));
    let files = [
        (
            "data.noun",
            "  1 licence\n00001740 03 n 03 cat 0 Felis_catus 0 mog 1 001 @ 00002000 n 0000 | an animal\n00003000 03 n 02 cat 0 jazzman 0 000 | a player\n",
        ),
        ("index.noun", "  1 licence\ncat n 2 1 @ 2 1 00001740 00003000  \nmog n 1 1 @ 1 0 00001740  \n"),
        ("data.verb", ""),
        ("index.verb", ""),
        ("data.adj", "00005000 00 s 02 glad(p) 0 chuffed 0 000 | pleased\n"),
        ("index.adj", "glad a 1 0 1 1 00005000  \nchuffed a 1 0 1 0 00005000  \n"),
        ("data.adv", ""),
        ("index.adv", ""),
    ];
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let (wordnet, _) = WordNet::read(folder.path()).unwrap();
    let senses: Vec<Vec<&str>> = wordnet.senses("cat", wordnet::Pos::Noun).unwrap().map(Iterator::collect).collect();
    assert_eq!(senses, [["mog"], ["jazzman"]]);
    let located = locate(&method(path), &[]).unwrap();
    let identity = identify(&method(path), &located).unwrap();
    let vary = |method: &Augmentation, text: &str| {
        crate::train::testing::plain(std::slice::from_ref(method), 1).unwrap().apply(0, 0, &examples(&[text])[0]).text
    };
    assert_eq!(vary(&located, "Glad cats"), "Chuffed mogs");
    std::fs::write(folder.path().join("data.adv"), "\n").unwrap();
    assert_ne!(identify(&method(path), &located).unwrap(), identity, "the identity depends on the content");
}
