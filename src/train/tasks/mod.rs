//! The tasks: what the network's outputs mean. One task is one file.
//!
//! A [`Task`] says how many outputs the network has, how a target is read from the label column, the loss with its gradient, the
//! metrics, and the loss of a model that knows nothing. To add a task, implement the trait and add it to `list`.

mod classification;
mod list;
mod masked_lm;
mod multi_label;
mod multiple_choice;
mod regression;
mod target;
mod task;
mod tokens;

pub use list::{canonical_label, label_names, of, predict, read_target};
pub use regression::looks_like_number;
pub use target::Target;
pub use task::{ClassDetails, Evaluated, Task};
pub use tokens::words;
