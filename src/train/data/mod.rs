//! Reads the data of a trial: from files to labelled, split and tokenised examples.
//!
//! * `locate`, `hub` and `download` find sources, `source` lists their files, `files` and `embedded` read them.
//! * `encoding` decodes, `parse` chooses a parser (`delimited`, `json`, `fasttext`, `parquet`), `columns` makes rows.
//! * `labels` names the classes, `split` chooses rows, `encoder` makes `tokens`, `report` describes the result, and `load` puts these steps together.
//! * The same files, tokenizer and settings give the same [`Dataset`], for any number of threads and any state of the cache.
//! * Every fault of a user's file is an error that names the file and, where there is one, the line.
//! * A text is read up to [`CHARACTERS_PER_TOKEN`] characters for each token of `max_length`. Longer texts cost nothing.
//!
//! Augmented variants of the training split are made by [`Epochs`].

mod checkpoint;
mod columns;
mod conll;
mod dataset;
mod delimited;
mod download;
mod embedded;
mod encoder;
mod encoding;
mod epochs;
mod error;
mod example;
mod fasttext;
mod files;
mod floors;
mod hub;
mod inspect;
mod json;
mod labels;
mod load;
mod locate;
mod masking;
mod origins;
mod parquet;
mod parse;
mod pattern;
mod probe;
mod report;
mod rows;
mod sentence_head;
mod settings;
mod shards;
mod source;
mod split;
mod split_name;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod tokens;
mod vocabulary;
mod weight_file;
mod zip;

pub use checkpoint::CheckpointFiles;
pub(super) use checkpoint::{config_and_tokenizer, tokenizer_hashes};
pub use dataset::{Dataset, Split, output_targets};
pub use encoder::{Encoder, TokenSpan};
pub use epochs::Epochs;
pub use error::{DataError, DataErrorKind};
pub use example::Example;
pub use files::{file_hashes, find, read, stored_size, unpack};
pub use inspect::{Column, SourceColumns, columns, has_eval_split, has_several_labels, has_test_split};
pub use load::{
    CHARACTERS_PER_TOKEN, LoadedHashes, TestRows, check_data, data_facts, data_size, encoder, load, load_hashed,
    source_size, test_rows,
};
pub use locate::{locate_data, locate_model, locate_translator};
pub use masking::Masking;
pub use origins::Origins;
pub use sentence_head::SentenceHead;
pub use split::batches;
pub use texts::{LabelledTexts, labelled_texts};
pub use tokens::{NO_OUTPUT, Tokens};
pub(super) use weight_file::read_weights;
