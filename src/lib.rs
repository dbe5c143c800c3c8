//! `plateau` answers one question by experiment: *why is my loss not decreasing?*

pub mod analysis;
pub mod cli;
pub mod decide;
pub mod event;
pub mod exec;
pub mod plan;
pub mod report;
pub mod run;
pub mod spec;
pub mod state;
pub mod store;
pub mod train;
pub mod trial;
pub mod worker;
