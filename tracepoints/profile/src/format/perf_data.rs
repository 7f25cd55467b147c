//! Reads `perf.data`, the file of the kernel's perf: samples with their call chains, and memory mappings.
//!
//! The reader is written here, since the crate `linux-perf-data` (0.13) returns nothing for a truncated file,
//! allocates the lengths stated in the file, and has no unwinding. Here every length is checked against the
//! available bytes before use.
mod bytes;
mod header;
mod process;
mod record;
mod unwind;
mod wrong;

use super::options::ReadOptions;
use crate::{ProfileError, model::Profile};

/// Reads the samples of one event, from a file or a stream, compressed or not, of either byte order. Frames
/// have addresses only ([`crate::symbols::resolve`]). Damaged records are left out; the comments give their
/// number.
///
/// # Errors
/// [`ProfileError::Format`] with the byte of the first error, if there is no sample.
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
    // Each core writes its own records; sorting puts mappings before their use.
    records.events.sort_by_key(|(time, _)| *time);
    process::fold(&header, records, options)
}

#[cfg(test)]
mod tests;
