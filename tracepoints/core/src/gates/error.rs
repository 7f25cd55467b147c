//! The reason for which a gate is refused.
use crate::similar;

/// The refusal of a gate. The message gives the expected form, the text that was found, and a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GateError(String);

impl GateError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A mistake at a column of a condition. Columns count from 1.
    pub(super) fn condition(problem: impl Into<String>, column: usize, text: &str) -> Self {
        Self(format!("{} at column {column} of the condition `{text}`", problem.into()))
    }

    /// A name that is not in `all`; suggests similar ones.
    pub(super) fn unknown(expected: &str, found: &str, plural: &str, all: &[&str]) -> Self {
        let hint = similar::hint(plural, found, all.iter().copied());
        Self(format!("expected {expected}, found `{found}`; {hint}"))
    }
}
