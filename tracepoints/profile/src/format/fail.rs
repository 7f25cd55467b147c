//! The error of a reader.
use super::kind::Format;
use crate::ProfileError;

/// Returns the error of a file of `format`: the place in the file, and the cause.
pub fn fail(format: Format, at: impl Into<String>, what: impl ToString) -> ProfileError {
    ProfileError::Format { format, at: at.into(), what: what.to_string() }
}
