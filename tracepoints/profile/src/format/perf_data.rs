//! `perf.data`, as the kernel's perf writes it to a file: samples with their call chains, and what was mapped where.
//!
//! An own reader: the crate `linux-perf-data` (0.13) gives nothing of a file that was cut, allocates what lengths in the file
//! say, and has no unwinding. Here every length is checked against what is there before use.
mod bytes;
mod header;
mod process;
mod record;
mod unwind;

use super::{Format, ReadOptions, fail};
use crate::{ProfileError, model::Profile};

/// Reads the samples of one event, of a file or a stream, compressed or not, of either byte order. Frames have addresses only
/// ([`crate::symbols::resolve`]). Records that are damaged are left out; the comments say how many.
///
/// # Errors
/// [`ProfileError::Format`] with the byte at which the file is wrong, if there is no sample.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Profile, ProfileError> {
    let mut header = header::read(bytes)?;
    let mut records = record::Records::default();
    let part = record::part(bytes, &header, &mut records);
    record::read(part, &mut header, &mut records);
    let (unpacked, damage) = match std::mem::take(&mut records.packed) {
        packed if packed.is_empty() => Default::default(),
        packed => tracepoints_input::unpack_stream(packed),
    };
    let at = records.skipped.count;
    record::read(bytes::Bytes { at: 0, rest: &unpacked, big: header.big }, &mut header, &mut records);
    if records.skipped.count > at {
        records.cut.get_or_insert_with(|| "some of the compressed records are damaged".to_owned());
    }
    records.cut = damage.or(records.cut);
    // Each core writes its own; what was mapped must be known before it is used.
    records.events.sort_by_key(|(time, _)| *time);
    process::fold(&header, records, options)
}

fn wrong(at: usize, what: impl ToString) -> ProfileError {
    fail(Format::PerfData, format!("byte {at}"), what)
}

#[cfg(test)]
mod tests;
