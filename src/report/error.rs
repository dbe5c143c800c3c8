//! Errors of the report.

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The name of a figure, and the renderer's message.
    #[error("cannot draw figure `{0}`: {1}")]
    Draw(&'static str, String),
    #[error("cannot write the page: {0}")]
    Page(#[from] minijinja::Error),
    #[error("cannot write the data of the page: {0}")]
    Data(#[from] serde_json::Error),
    #[error("cannot write the table of suspect labels: {0}")]
    Table(#[from] csv::Error),
}
