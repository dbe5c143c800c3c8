//! Why a loss does not fall: rules that read one trial's curves, each a function of its [`Case`](super::case::Case).
//!
//! [`found`] applies them all. Causes come before notes. Among causes, those that explain others come first: a NaN explains a
//! collapse, not the other way round. Every verdict carries its numbers and the steps it rests on. A rule without its inputs
//! (class prior, learning rate, gradients) says nothing. What several trials say together is in `effects`; what to change is
//! in `advice`.

mod agreement;
mod data;
mod fit;
mod order;
mod rate;
mod setting;
mod short;
mod signal;
mod stability;
#[cfg(test)]
mod tests;
mod without_cause;

pub use order::found;
pub use without_cause::without_cause;
