//! The tokenizer of a checkpoint, which makes [`Tokens`] of examples.
//!
//! The ids are equal to those of transformers' fast tokenizers for the same text and `max_length` (no padding, truncation
//! `longest_first` in the direction of the `tokenizer.json`), for any number of threads.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    EncodeInput, Encoding, PostProcessor, Tokenizer, TruncationDirection, TruncationParams, truncate_encodings,
};

use super::error::DataError;
use super::example::Example;
use super::tokens::{NO_OUTPUT, Tokens};
use crate::train::TrainError;
use crate::train::tasks::words;
use crate::trial::{DataConfig, TaskName, Truncate, Windows};

/// A tokenizer with a fixed `max_length`.
pub struct Encoder {
    tokenizer: Tokenizer,
    cut: Cut,
    /// What has an output.
    task: TaskName,
}

/// What becomes of a text that is too long. Lengths are without special tokens.
enum Cut {
    /// The tokenizer truncates it, and reads no more of it than it needs.
    Tokenizer,
    /// The texts of a pair are truncated together, which needs the whole length of both.
    Pair(TruncationParams),
    /// This many tokens are kept from the beginning and from the end.
    Ends(usize, usize),
    /// It becomes windows of `length` tokens. Each shares `stride` tokens with the one before it.
    Windows { length: usize, stride: usize },
}

impl Encoder {
    /// Reads a `tokenizer.json`. Of its truncation only the direction is used, and its padding is switched off: transformers
    /// does the same with `truncation=True` and `max_length`. Without a post-processor, `[CLS]` and `[SEP]` are added as in
    /// BERT. `name` names the checkpoint in messages.
    pub fn new(name: &str, tokenizer_json: &[u8], max_length: usize, pair: bool) -> Result<Self, TrainError> {
        let malformed = |why: &str| DataError::malformed(format!("{name}: tokenizer.json: {why}"));
        let broken = |error: tokenizers::Error| malformed(&error.to_string()).caused_by(error);
        let mut tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(broken)?;
        tokenizer.with_padding(None);
        if tokenizer.get_post_processor().is_none() {
            let special = |token: &str| {
                let id = tokenizer.token_to_id(token);
                id.map(|id| (token.to_owned(), id))
                    .ok_or_else(|| malformed(&format!("it has no post-processor and no {token}")))
            };
            let bert = BertProcessing::new(special("[SEP]")?, special("[CLS]")?);
            tokenizer.with_post_processor(Some(bert));
        }
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pair));
        if max_length <= added {
            let message = format!(
                "data.max_length is {max_length}, but the special tokens ([CLS], [SEP]) alone need {added}; raise it"
            );
            return Err(TrainError::key("data.max_length", message));
        }
        let direction =
            tokenizer.get_truncation().map_or(TruncationDirection::Right, |truncation| truncation.direction);
        let truncation = TruncationParams { max_length, direction, ..TruncationParams::default() };
        let cut = if pair {
            tokenizer.with_truncation(None).map_err(broken)?;
            Cut::Pair(TruncationParams { max_length: max_length - added, ..truncation })
        } else {
            tokenizer.with_truncation(Some(truncation)).map_err(broken)?;
            Cut::Tokenizer
        };
        Ok(Self { tokenizer, cut, task: TaskName::Classification })
    }

    /// The encoder of a data section.
    pub fn of(name: &str, tokenizer_json: &[u8], config: &DataConfig) -> Result<Self, TrainError> {
        let pair = config.text_pair.is_some() || !config.choices.is_empty();
        let json = if config.task == TaskName::Tokens {
            with_word_starts(tokenizer_json)
        } else {
            Cow::Borrowed(tokenizer_json)
        };
        let encoder = Self { task: config.task, ..Self::new(name, &json, config.max_length, pair)? };
        match config.windows {
            Some(windows) => encoder.with_windows(windows, config.max_length),
            None => encoder.with_truncation(config.truncate, config.max_length, pair),
        }
    }

    /// Keeps all of longer texts, in windows that share tokens.
    fn with_windows(mut self, windows: Windows, max_length: usize) -> Result<Self, TrainError> {
        let length = max_length - self.special_tokens(false);
        let stride = windows.shared(length);
        if stride >= length {
            let message = format!(
                "data.windows.stride is {stride}, but a window of data.max_length: {max_length} has only {length} tokens of the text; \
                 expected a stride below {length}"
            );
            return Err(TrainError::key("data.windows", message));
        }
        self.tokenizer.with_truncation(None).map_err(not_tokenised)?;
        self.cut = Cut::Windows { length, stride };
        Ok(self)
    }

    /// Keeps another part of longer texts than the beginning.
    fn with_truncation(mut self, truncate: Truncate, max_length: usize, pair: bool) -> Result<Self, TrainError> {
        match truncate {
            Truncate::Head => {}
            Truncate::Tail => {
                let direction = TruncationDirection::Left;
                if let Cut::Pair(truncation) = &mut self.cut {
                    truncation.direction = direction;
                } else {
                    let truncation = TruncationParams { max_length, direction, ..TruncationParams::default() };
                    self.tokenizer.with_truncation(Some(truncation)).map_err(not_tokenised)?;
                }
            }
            Truncate::HeadTail if pair => {
                let message = "data.truncate: head_tail is for single texts; pairs have head and tail";
                return Err(TrainError::key("data.truncate", message));
            }
            Truncate::HeadTail => {
                let room = max_length - self.special_tokens(false);
                self.cut = Cut::Ends(room / 4, room - room / 4);
                self.tokenizer.with_truncation(None).map_err(not_tokenised)?;
            }
        }
        Ok(self)
    }

    /// Encodes one sequence with special tokens, cut to its length: a single encoding, or one for each window.
    /// With each, the number of tokens of the first text, if it was put together from two. `with_spans`: whether spans in the
    /// text are needed.
    fn encode_one(&self, sequence: &Example, with_spans: bool) -> Result<Vec<(Encoding, Option<usize>)>, TrainError> {
        let encode = |input: EncodeInput<'_>, special| {
            // The fast form does not know which word a token belongs to.
            let encoding = if with_spans || self.task == TaskName::Tokens {
                self.tokenizer.encode(input, special)
            } else {
                self.tokenizer.encode_fast(input, special)
            };
            encoding.map_err(not_tokenised)
        };
        let complete = |first, second| self.tokenizer.post_process(first, second, true).map_err(not_tokenised);
        let encoding = match (&self.cut, &sequence.pair) {
            (Cut::Pair(truncation), Some(pair)) => {
                let [first, second] = [&sequence.text, pair].map(|text| encode(text.as_str().into(), false));
                let (first, second) = truncate_encodings(first?, Some(second?), truncation).map_err(not_tokenised)?;
                let first_text = Some(first.len());
                return Ok(vec![(complete(first, second)?, first_text)]);
            }
            (Cut::Tokenizer | Cut::Pair(_), _) => encode(self.input(sequence), true)?,
            (Cut::Ends(head, tail), _) => {
                let mut whole = encode(self.input(sequence), false)?;
                if whole.len() > head + tail {
                    let mut end = whole.clone();
                    end.truncate(*tail, 0, TruncationDirection::Left);
                    whole.truncate(*head, 0, TruncationDirection::Right);
                    whole.take_overflowing();
                    end.take_overflowing();
                    whole.merge_with(end, false);
                }
                complete(whole, None)?
            }
            (Cut::Windows { length, stride }, _) => {
                let mut whole = encode(self.input(sequence), false)?;
                whole.truncate(*length, *stride, TruncationDirection::Right);
                let mut first = complete(whole, None)?;
                let others = first.take_overflowing();
                return Ok(std::iter::once(first).chain(others).map(|window| (window, None)).collect());
            }
        };
        Ok(vec![(encoding, None)])
    }

    /// Encodes all examples on the threads of the current rayon pool.
    pub fn encode(&self, examples: &[Example]) -> Result<Tokens, TrainError> {
        /// Examples of one task.
        const CHUNK: usize = 256;
        let parts = examples
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut tokens = Tokens::default();
                chunk.iter().try_for_each(|example| self.append(example, &mut tokens))?;
                Ok(tokens)
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        let mut all = Tokens::default();
        for part in &parts {
            all.append(part);
        }
        Ok(all)
    }

    /// Tokens of each example's longest sequence without truncation, on the threads of the current rayon pool.
    pub(super) fn full_lengths(&self, examples: &[&Example]) -> Result<Vec<u32>, TrainError> {
        let mut tokenizer = self.tokenizer.clone();
        tokenizer.with_truncation(None).map_err(not_tokenised)?;
        let length = |example: &&Example| {
            let mut longest = 0;
            for sequence in example.sequences().iter() {
                let encoding = tokenizer.encode_fast(self.input(sequence), true).map_err(not_tokenised)?;
                longest = longest.max(encoding.len() as u32);
            }
            Ok(longest)
        };
        examples.par_iter().map(length).collect()
    }

    /// Tokens that two windows of a long text share. None: texts have no windows.
    #[must_use]
    pub fn shared_tokens(&self) -> Option<usize> {
        if let Cut::Windows { stride, .. } = self.cut { Some(stride) } else { None }
    }

    /// Number of special tokens of an example.
    pub(super) fn special_tokens(&self, pair: bool) -> usize {
        self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(pair))
    }

    /// The id of the token that hides others.
    pub(super) fn mask_token(&self) -> Option<u32> {
        let added = self.tokenizer.get_added_vocabulary();
        let known = ["[MASK]", "<mask>"].map(|token| self.tokenizer.token_to_id(token).map(|id| (token, id)));
        let special = known.iter().flatten().find(|(token, _)| added.is_special_token(token));
        special.or(known.iter().flatten().next()).map(|(_, id)| *id)
    }

    /// Number of tokens.
    pub(super) fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of the token for unknown word pieces.
    pub(super) fn unknown_token(&self) -> Option<u32> {
        ["[UNK]", "<unk>"].iter().find_map(|token| self.tokenizer.token_to_id(token))
    }

    /// Encodes one example and appends it to `tokens`.
    pub fn append(&self, example: &Example, tokens: &mut Tokens) -> Result<(), TrainError> {
        let first = tokens.breaks.len();
        for sequence in example.sequences().iter() {
            for (encoding, _) in self.encode_one(sequence, false)? {
                tokens.start_sequence();
                tokens.ids.extend_from_slice(encoding.get_ids());
                tokens.types.extend(encoding.get_type_ids().iter().map(|&kind| kind as u8));
                tokens.positions.extend(0..encoding.len() as u32);
                self.append_outputs(&encoding, tokens);
            }
        }
        tokens.end_example();
        check_choices(example, tokens.breaks.len() - first)
    }

    /// Appends what the output of each token predicts, if tokens have outputs.
    fn append_outputs(&self, encoding: &Encoding, tokens: &mut Tokens) {
        if self.task == TaskName::MaskedLm {
            // Any token but a special one can be masked.
            let special = encoding.get_special_tokens_mask();
            let output = |(id, special): (&u32, &u32)| if *special == 0 { *id } else { NO_OUTPUT };
            tokens.outputs.extend(encoding.get_ids().iter().zip(special).map(output));
        }
        if self.task == TaskName::Tokens {
            // A word that is cut in front begins with the first token that is left of it.
            let mut last = None;
            let output = |word: &Option<u32>| {
                let starts = word.filter(|_| *word != last);
                last = *word;
                starts.unwrap_or(NO_OUTPUT)
            };
            tokens.outputs.extend(encoding.get_word_ids().iter().map(output));
        }
    }

    fn input<'a>(&self, example: &'a Example) -> EncodeInput<'a> {
        match &example.pair {
            _ if self.task == TaskName::Tokens => EncodeInput::from(words(&example.text).collect::<Vec<_>>()),
            Some(pair) => EncodeInput::from((example.text.as_str(), pair.as_str())),
            None => EncodeInput::from(example.text.as_str()),
        }
    }

    /// Like [`Encoder::append`], but appends only some tokens. `kept` gets each sequence: its number in the example, its text, and the
    /// span of each token. It says which tokens stay.
    pub fn append_part(
        &self,
        example: &Example,
        tokens: &mut Tokens,
        mut kept: impl FnMut(usize, &Example, &[Option<TokenSpan>]) -> Vec<bool>,
    ) -> Result<(), TrainError> {
        let (first, mut number) = (tokens.breaks.len(), 0);
        for sequence in example.sequences().iter() {
            for (encoding, first_text) in self.encode_one(sequence, true)? {
                let pieces = spans(&encoding, first_text);
                let kept = kept(number, sequence, &pieces);
                number += 1;
                tokens.start_sequence();
                for place in (0..encoding.len()).filter(|&place| kept.get(place) != Some(&false)) {
                    tokens.ids.push(encoding.get_ids()[place]);
                    tokens.types.push(encoding.get_type_ids()[place] as u8);
                    tokens.positions.push(place as u32);
                }
            }
        }
        tokens.end_example();
        check_choices(example, tokens.breaks.len() - first)
    }
}

/// The span of each token. `first_text`: number of tokens of the first text, if the encoding was put together from two.
fn spans(encoding: &Encoding, first_text: Option<usize>) -> Vec<Option<TokenSpan>> {
    let mut seen = 0;
    let mut side = |(is_special, known): (&u32, Option<usize>)| match first_text {
        None => known,
        Some(_) if *is_special == 1 => None,
        Some(tokens) => {
            seen += 1;
            Some(usize::from(seen > tokens))
        }
    };
    let sides = encoding.get_special_tokens_mask().iter().zip(encoding.get_sequence_ids()).map(&mut side);
    sides.zip(encoding.get_offsets()).map(|(side, &(start, end))| Some((side?, start..end))).collect()
}

/// Each choice of a question must have tokens, so that it has a score. `breaks`: those of the example.
fn check_choices(example: &Example, breaks: usize) -> Result<(), TrainError> {
    if example.choices.is_empty() || breaks + 1 == example.choices.len() {
        return Ok(());
    }
    let message = format!("the question `{}` has a choice without tokens", example.text);
    Err(DataError::malformed(message).into())
}

/// Where a token comes from: the text of the example (0, or 1 for the second text of a pair) and the byte range in it.
/// Special tokens have no span.
pub type TokenSpan = (usize, Range<usize>);

/// A `tokenizer.json` that marks the start of every word: byte-level BPE does so with a space in front, which the words of a
/// list do not have.
fn with_word_starts(tokenizer_json: &[u8]) -> Cow<'_, [u8]> {
    fn mark(pre_tokenizer: &mut Value) {
        if pre_tokenizer["type"] == "ByteLevel" {
            pre_tokenizer["add_prefix_space"] = true.into();
        }
        pre_tokenizer.get_mut("pretokenizers").and_then(Value::as_array_mut).into_iter().flatten().for_each(mark);
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(tokenizer_json) else { return Cow::Borrowed(tokenizer_json) };
    let Some(pre_tokenizer) = json.get_mut("pre_tokenizer").filter(|part| part.is_object()) else {
        return Cow::Borrowed(tokenizer_json);
    };
    mark(pre_tokenizer);
    Cow::Owned(json.to_string().into_bytes())
}

fn not_tokenised(error: tokenizers::Error) -> DataError {
    DataError::malformed(format!("a text cannot be tokenised: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMBEDDED: &[u8] = include_bytes!("../../../assets/models/minilm-l3/tokenizer.json");

    fn example(text: &str, pair: Option<&str>) -> Example {
        Example { pair: pair.map(str::to_owned), ..Example::unlabelled(text) }
    }

    /// The embedded tokenizer with one key of its JSON changed.
    fn changed(key: &str, value: serde_json::Value) -> Vec<u8> {
        let mut tokenizer: serde_json::Value = serde_json::from_slice(EMBEDDED).unwrap();
        tokenizer[key] = value;
        tokenizer.to_string().into_bytes()
    }

    /// Tokens as text, and types.
    fn check(tokenizer: &[u8], max_length: usize, texts: (&str, Option<&str>), expected: (&str, &str)) {
        let encoder = Encoder::new("test", tokenizer, max_length, texts.1.is_some()).unwrap();
        let tokens = encoder.encode(&[example(texts.0, texts.1)]).unwrap();
        let words: Vec<String> = tokens.ids.iter().map(|&id| encoder.tokenizer.id_to_token(id).unwrap()).collect();
        let types: String = tokens.types.iter().map(u8::to_string).collect();
        assert_eq!((words.join(" ").as_str(), types.as_str()), expected, "{texts:?}");
    }

    #[test]
    fn texts_and_pairs_are_truncated_longest_first() {
        check(EMBEDDED, 16, ("Good day!", None), ("[CLS] good day ! [SEP]", "00000"));
        check(EMBEDDED, 4, ("Good day!", None), ("[CLS] good day [SEP]", "0000"));
        check(EMBEDDED, 16, ("", None), ("[CLS] [SEP]", "00"));
        check(EMBEDDED, 16, ("a b", Some("c")), ("[CLS] a b [SEP] c [SEP]", "000011"));
        check(EMBEDDED, 8, ("a b c d e f g", Some("x y")), ("[CLS] a b c [SEP] x y [SEP]", "00000111"));
        check(EMBEDDED, 8, ("a b", Some("s t u v w x")), ("[CLS] a b [SEP] s t u [SEP]", "00001111"));
        check(EMBEDDED, 7, ("a b c d", Some("w x y z")), ("[CLS] a b [SEP] w x [SEP]", "0000111"));
    }

    #[test]
    fn both_texts_of_a_long_pair_are_cut_by_their_whole_lengths() {
        // The longer text keeps the odd token, as in transformers with tokenizers 0.23.3.
        let long = ("a b c d e f g h i j k", Some("l m n o p q r s t u"));
        check(EMBEDDED, 8, long, ("[CLS] a b c [SEP] l m [SEP]", "00000111"));
        let long = ("l m n o p q r s t u", Some("a b c d e f g h i j k"));
        check(EMBEDDED, 8, long, ("[CLS] l m [SEP] a b c [SEP]", "00001111"));
    }

    #[test]
    fn a_long_text_has_windows_that_overlap() {
        let windows = |stride| Windows { stride, ..Windows::default() };
        // A quarter of the four tokens of a window.
        let encoder = Encoder::new("test", EMBEDDED, 6, false).unwrap().with_windows(windows(None), 6).unwrap();
        let words = |tokens: &Tokens, example| -> Vec<String> {
            let text = |ids: &[u32]| {
                ids.iter().map(|&id| encoder.tokenizer.id_to_token(id).unwrap()).collect::<Vec<_>>().join(" ")
            };
            tokens.sequences(example).map(|sequence| text(&tokens.ids[sequence])).collect()
        };
        let texts = [example("a b c d e f g h", None), example("a b", None), example("a b c d e", None)];
        let tokens = encoder.encode(&texts).unwrap();
        let long = ["[CLS] a b c d [SEP]", "[CLS] d e f g [SEP]", "[CLS] g h [SEP]"];
        assert_eq!(words(&tokens, 0), long);
        assert_eq!(words(&tokens, 1), ["[CLS] a b [SEP]"]);
        assert_eq!(words(&tokens, 2), ["[CLS] a b c d [SEP]", "[CLS] d e [SEP]"]);
        assert_eq!(tokens.positions[..10], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]);
        assert_eq!(
            [0, 1, 2].map(|example| (tokens.row_count(example), tokens.target_count(example))),
            [(3, 1), (1, 1), (2, 1)]
        );
        assert_eq!(words(&tokens.select(&[2, 0]), 1), long);
        assert_eq!(Tokens::from_bytes(&tokens.to_bytes()), Some(tokens.clone()));
        let mut parts = Tokens::default();
        for text in &texts {
            encoder.append_part(text, &mut parts, |_, _, spans| vec![true; spans.len()]).unwrap();
        }
        assert_eq!(parts, tokens);
        let error = Encoder::new("test", EMBEDDED, 6, false)
            .unwrap()
            .with_windows(windows(Some(4)), 6)
            .err()
            .unwrap()
            .to_string();
        insta::assert_snapshot!(error, @"data.windows.stride is 4, but a window of data.max_length: 6 has only 4 tokens of the text; expected a stride below 4");
    }

    #[test]
    fn each_choice_is_a_sequence_of_its_own() {
        let config = DataConfig {
            task: TaskName::MultipleChoice,
            choices: vec!["x".into(), "y".into()],
            max_length: 7,
            ..DataConfig::default()
        };
        let encoder = Encoder::of("test", EMBEDDED, &config).unwrap();
        let question =
            |pair: Option<&str>| Example { choices: vec!["c d e f".into(), "g".into()], ..example("a b", pair) };
        let words = |question: &Example| -> Vec<String> {
            let tokens = encoder.encode(std::slice::from_ref(question)).unwrap();
            let text = |ids: &[u32]| {
                ids.iter().map(|&id| encoder.tokenizer.id_to_token(id).unwrap()).collect::<Vec<_>>().join(" ")
            };
            tokens.sequences(0).map(|sequence| text(&tokens.ids[sequence])).collect()
        };
        assert_eq!(words(&question(None)), ["[CLS] a b [SEP] c d [SEP]", "[CLS] a b [SEP] g [SEP]"]);
        assert_eq!(words(&question(Some("s"))), ["[CLS] a b [SEP] s c [SEP]", "[CLS] a b [SEP] s g [SEP]"]);
        assert_eq!(encoder.full_lengths(&[&question(None)]).unwrap(), [9]);
    }

    #[test]
    fn another_part_of_a_longer_text_is_kept() {
        let check = |truncate, max_length, text: &str, expected: &str| {
            let encoder = Encoder::new("test", EMBEDDED, max_length, false).unwrap();
            let encoder = encoder.with_truncation(truncate, max_length, false).unwrap();
            let mut tokens = encoder.encode(&[example(text, None)]).unwrap();
            let whole = tokens.clone();
            encoder.append_part(&example(text, None), &mut tokens, |_, _, spans| vec![true; spans.len()]).unwrap();
            assert_eq!(tokens.select(&[1]), whole, "with spans");
            let words: Vec<String> = whole.ids.iter().map(|&id| encoder.tokenizer.id_to_token(id).unwrap()).collect();
            assert_eq!(words.join(" "), expected, "{truncate:?}");
            assert_eq!(whole.positions, (0..whole.ids.len() as u32).collect::<Vec<_>>());
        };
        let text = "a b c d e f g h i j k l";
        check(Truncate::Head, 10, text, "[CLS] a b c d e f g h [SEP]");
        check(Truncate::Tail, 10, text, "[CLS] e f g h i j k l [SEP]");
        check(Truncate::HeadTail, 10, text, "[CLS] a b g h i j k l [SEP]");
        check(Truncate::HeadTail, 14, text, "[CLS] a b c d e f g h i j k l [SEP]");
        let pairs = Encoder::new("test", EMBEDDED, 10, true).unwrap().with_truncation(Truncate::HeadTail, 10, true);
        assert!(pairs.err().unwrap().to_string().contains("head_tail is for single texts"));
    }

    #[test]
    fn of_padding_and_truncation_of_the_file_only_the_direction_is_used() {
        let padding = serde_json::json!({"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
        check(&changed("padding", padding), 16, ("good", None), ("[CLS] good [SEP]", "000"));
        let truncation = |direction: &str| serde_json::json!({"direction": direction, "max_length": 3, "strategy": "OnlyFirst", "stride": 1});
        let (right, left) = (changed("truncation", truncation("Right")), changed("truncation", truncation("Left")));
        for tokenizer in [&right, &left] {
            check(tokenizer, 16, ("a b c d", None), ("[CLS] a b c d [SEP]", "000000"));
        }
        check(&right, 4, ("a b c d", None), ("[CLS] a b [SEP]", "0000"));
        check(&left, 4, ("a b c d", None), ("[CLS] c d [SEP]", "0000"));
        check(&left, 7, ("a b c d", Some("w x y z")), ("[CLS] c d [SEP] y z [SEP]", "0000111"));
    }

    #[test]
    fn without_a_post_processor_special_tokens_are_added_as_in_bert() {
        let bare = changed("post_processor", serde_json::Value::Null);
        check(&bare, 5, ("a b c d", None), ("[CLS] a b c [SEP]", "00000"));
        check(&bare, 16, ("a", Some("b")), ("[CLS] a [SEP] b [SEP]", "00011"));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_tokens() {
        let texts: Vec<Example> = (0..1000).map(|i| example(&"word and ".repeat(i % 7), None)).collect();
        let encoder = Encoder::new("test", EMBEDDED, 12, false).unwrap();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| encoder.encode(&texts).unwrap())
        };
        let tokens = with(1);
        assert_eq!(with(4), tokens);
        assert_eq!(tokens.len(), 1000);
        assert_eq!(tokens.select(&[3, 1]).get(0), tokens.get(3));
        let mut one_by_one = Tokens::default();
        for text in &texts {
            encoder.append(text, &mut one_by_one).unwrap();
        }
        assert_eq!(one_by_one, tokens);
    }

    #[test]
    fn tokens_that_are_left_out_leave_gaps() {
        let encoder = Encoder::new("test", EMBEDDED, 16, true).unwrap();
        let mut tokens = Tokens::default();
        let text = example("Unbelievably good day", Some("née"));
        encoder.append(&text, &mut tokens).unwrap();
        let whole = tokens.clone();
        encoder
            .append_part(&text, &mut tokens, |_, _, pieces| {
                let shown: Vec<&str> = pieces
                    .iter()
                    .map(|piece| piece.clone().map_or("-", |(side, at)| &[&*text.text, "née"][side][at]))
                    .collect();
                assert_eq!(shown, ["-", "Un", "bel", "ie", "va", "bly", "good", "day", "-", "né", "e", "-"]);
                (0..pieces.len()).map(|place| place != 3 && place != 7).collect()
            })
            .unwrap();
        assert_eq!(tokens.offsets, [0, 12, 22]);
        assert_eq!(tokens.positions[12..], [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]);
        assert!((12..22).all(|i| tokens.ids[i] == whole.ids[tokens.positions[i] as usize]));
        assert_eq!(tokens.select(&[1]).positions, tokens.positions[12..]);
        encoder.append_part(&text, &mut tokens, |_, _, pieces| vec![true; pieces.len()]).unwrap();
        assert_eq!(tokens.select(&[2]), whole);
    }

    #[test]
    fn a_broken_tokenizer_is_named() {
        let message = Encoder::new("folder", b"{}", 16, false).err().unwrap().to_string();
        assert!(message.starts_with("folder: tokenizer.json: "), "{message}");
    }
}
