//! The list of architectures. `model_type` in `config.json` selects one.

use super::config::{check_numbers, model_type, wrong};
use super::declarations::Declarations;
use super::encoder::Encoder;
use super::{
    albert, bag_of_words, bert, bilstm, deberta, distilbert, electra, longformer, modernbert, mpnet, roberta, textcnn,
};
use crate::train::TrainError;

/// Reads `config.json` and adds the architecture's parameters to the list.
type Reader = fn(&[u8], &mut Declarations) -> Result<Box<dyn Encoder>, TrainError>;

/// `model_type`, the stem of transformers' classes if there are any, and the reader.
const ARCHITECTURES: [(&str, Option<&str>, Reader); 13] = [
    ("albert", Some("Albert"), albert::read),
    ("bag_of_words", None, bag_of_words::read),
    ("bert", Some("Bert"), bert::read),
    ("bilstm", None, bilstm::read),
    ("deberta-v2", Some("DebertaV2"), deberta::read),
    ("distilbert", Some("DistilBert"), distilbert::read),
    ("electra", Some("Electra"), electra::read),
    ("longformer", Some("Longformer"), longformer::read),
    ("modernbert", Some("ModernBert"), modernbert::read),
    ("mpnet", Some("MPNet"), mpnet::read),
    ("roberta", Some("Roberta"), roberta::read),
    ("textcnn", None, textcnn::read),
    ("xlm-roberta", Some("XLMRoberta"), roberta::read),
];

/// The encoder that `config.json` describes. Its parameters are added to `declarations`.
pub fn read(json: &[u8], declarations: &mut Declarations) -> Result<Box<dyn Encoder>, TrainError> {
    let name = model_type(json)?;
    check_numbers(json)?;
    if let Some((.., read)) = ARCHITECTURES.iter().find(|(known, ..)| *known == name) {
        return read(json, declarations);
    }
    let known = ARCHITECTURES.map(|(known, ..)| known).join(", ");
    Err(wrong(format!("model_type is '{name}': not supported; supported are {known}")))
}

/// The stem of transformers' classes for a `model_type`: `Bert` of `BertForSequenceClassification`. None if transformers has
/// no such class.
pub fn class_stem(model_type: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(known, ..)| *known == model_type).and_then(|(_, stem, _)| *stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_architecture_is_named_with_the_supported_ones() {
        let message = |json: &str| read(json.as_bytes(), &mut Declarations::default()).unwrap_err().to_string();
        insta::assert_snapshot!(message(r#"{"model_type": "t5"}"#), @"config.json: model_type is 't5': not supported; supported are albert, bag_of_words, bert, bilstm, deberta-v2, distilbert, electra, longformer, modernbert, mpnet, roberta, textcnn, xlm-roberta");
        assert!(message("{}").contains("vocab_size"), "without model_type it is a BERT");
    }
}
