//! Merges recordings of several stores: each store records only itself, and a request's replicas are on other
//! stores.
use std::path::Path;

use super::{TraceFileError, disk::Medium, read::TraceFile, write::TraceFileWriter};
use crate::{req::Req, stamp::Stamp};

/// Writes all stamps and traces of `parts` into one recording, in the order of time. Requests of the first
/// part keep their numbers; each other part adds a multiple of a power of ten to its numbers, since each
/// store counts separately. `path` names the recording in messages.
///
/// Replicas join requests by region, term and index, as in a single recording; times are only comparable if
/// the stores' clocks agree.
///
/// # Errors
/// If the recording cannot be written.
pub fn merge(parts: &[TraceFile], medium: Box<dyn Medium>, path: &Path) -> Result<u64, TraceFileError> {
    let mut writer = TraceFileWriter::to(medium, path)?;
    writer.take_unix_times();
    let width = width(parts);
    let mut chunks: Vec<(u64, usize, u32)> = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        chunks
            .extend(part.index().stamps.iter().map(|chunk| (chunk.summary.min_at, n, chunk.summary.number)));
    }
    chunks.sort_unstable();
    for (_, n, number) in chunks {
        let shift = width.saturating_mul(n as u64);
        let mut stamps: Vec<Stamp> = parts[n].stamps_of(number).map(|stamp| shifted(stamp, shift)).collect();
        stamps.sort_by_key(|stamp| stamp.at);
        writer.note_dropped(parts[n].dropped_in(number, number));
        writer.stamps(&stamps)?;
    }
    for part in parts {
        for trace in part.traces().filter_map(Result::ok) {
            writer.trace(&trace)?;
        }
    }
    writer.finish()
}

/// Returns the offset between the request numbers of two parts: a power of ten above all of them.
fn width(parts: &[TraceFile]) -> u64 {
    let largest = parts.iter().flat_map(TraceFile::stamps).map(|stamp| stamp.req.id()).max().unwrap_or(0);
    let mut width = 1_000u64;
    while width <= largest {
        width = width.saturating_mul(10);
    }
    width
}

fn shifted(stamp: Stamp, by: u64) -> Stamp {
    let req = if stamp.req.is_none() { stamp.req } else { Req::from_id(stamp.req.id().saturating_add(by)) };
    Stamp { req, ..stamp }
}
