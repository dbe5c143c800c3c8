//! The vocabulary: plain data that every room shares. It describes a trial: its configuration, what it measured and how
//! it ended.
//!
//! Nothing here computes, reads a clock or touches the disk. The JSON form of [`TrialConfig`] uses the keys of a sweep
//! file, so `config.json` can be pasted back into YAML.

mod adapters;
mod architecture;
mod augmentation;
mod axis;
mod batching;
mod cause;
mod checkpoint;
mod config;
mod data_report;
mod device;
mod drawn_by;
mod escape;
mod extra;
mod facts;
mod file_kind;
mod id;
mod key;
mod length;
mod listing;
mod lora;
mod metric;
mod number;
mod outcome;
mod point;
mod precision;
mod probe;
mod rows;
mod scheduler;
mod scores;
mod stored_head;
mod task;
mod test_evaluation;
mod verdict;
mod windows;

pub use adapters::{AdapterActivation, AdapterPlace, AdaptersConfig};
pub use architecture::{Architecture, EmbeddingsConfig, LstmPooling, Vectors};
pub use augmentation::{Augmentation, Choose, Translator};
pub use axis::{Axis, AxisValue};
pub use batching::{
    DEVICE_MICRO_BATCH_TOKENS, MAX_DEVICE_MICRO_BATCH_TOKENS, MAX_GRADIENT_BUFFERS, MICRO_BATCH_TOKENS,
    TRAIN_PROBE_EXAMPLES,
};
pub use cause::{Cause, Reason, ShapeKind, VerdictId};
pub use checkpoint::{CheckpointEvery, Keep};
pub use config::{
    BadRows, ColumnNames, DataConfig, DataFormat, EvalSource, EvalTable, ModelConfig, OptimizerConfig, OptimizerName,
    Patience, Plateau, Pooling, StopRules, TrialConfig, Truncate,
};
pub use data_report::{DataReport, InputFloors, NumberReport, SplitReport};
pub use device::Device;
pub use drawn_by::DrawnBy;
pub use escape::{printable, spreadsheet_cell};
pub use extra::Extra;
pub use facts::{DataFacts, FileHashes, ModelFacts, SourceHashes};
pub use file_kind::file_kind;
pub use id::TrialId;
pub use key::Key;
pub use length::{FractionOrSteps, Length, steps_per_epoch};
pub use listing::{SHOWN_NAMES, first_names};
pub use lora::{LinearModule, LoraConfig};
pub use metric::Metric;
pub use number::{number_text, rounded_text};
pub use outcome::{BestScore, Outcome, Status};
pub use point::Trial;
pub use precision::PrecisionName;
pub use probe::{Probe, ProbeKind};
pub use rows::{DiagnosticRow, EvalRow, MetricRow};
pub use scheduler::{Anneal, CycleShape, DecayShape, Scheduler};
pub use scores::{BestEvaluation, CalibrationBin, ClassScores, Mistake, Scores};
pub use stored_head::StoredHead;
pub use task::{Balanced, ClassWeights, LossConfig, LossName, TaskName};
pub use test_evaluation::{TestEvaluation, TestRecord};
pub use verdict::{Evidence, Verdict, VerdictKind};
pub use windows::{Combine, Windows};
