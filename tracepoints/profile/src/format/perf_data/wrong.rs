//! The error at a byte of the file.
use crate::{
    ProfileError,
    format::{fail::fail, kind::Format},
};

/// Returns the error of the byte at `at`.
pub fn wrong(at: usize, what: impl ToString) -> ProfileError {
    fail(Format::PerfData, format!("byte {at}"), what)
}
