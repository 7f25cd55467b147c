//! `perf.data`, as the kernel's perf writes it to a file: samples with their call chains, and what was mapped where.
//!
//! An own reader, for a file is read as any bytes are: every length is checked against what is there before use.
mod bytes;
mod header;
mod process;
mod record;

use super::{Format, ReadOptions, fail};
use crate::{ProfileError, model::Profile};

/// Reads the samples of one event; frames have addresses only ([`crate::symbols::resolve`]).
///
/// # Errors
/// [`ProfileError::Format`] with the byte at which the file is wrong, and what to do where it is of a kind not read.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Profile, ProfileError> {
    let header = header::read(bytes)?;
    let records = record::read(bytes, &header)?;
    process::fold(&header, records, options)
}

fn wrong(at: usize, what: impl ToString) -> ProfileError {
    fail(Format::PerfData, format!("byte {at}"), what)
}

#[cfg(test)]
mod tests;
