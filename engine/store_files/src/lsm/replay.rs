//! Replays logs by the rules of RocksDB's point-in-time recovery, TiKV's default. Changes count up to damage
//! or a torn end, and after it only if a log continues with the next sequence number. Skipped changes are
//! counted, to report their keys.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    decode_error::BatchError,
    format::logs,
    log::{LogReader, Record},
    manifest::VersionState,
    wal::{self, WalEntry},
};
use crate::io::{Damage, Result};

/// The place after which changes do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Number of the log.
    pub number: u64,
    pub path: PathBuf,
    pub offset: u64,
}

/// The reason of a stop, and the changes after it.
#[derive(Debug)]
struct Cut {
    /// Bytes of the log.
    len: usize,
    what: String,
    end: End,
    /// Changes after the stop, by column family id.
    skipped: BTreeMap<u32, SkippedChanges>,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The last record is incomplete, as after a crash.
    Torn,
    /// Older data of a recycled file follows.
    Recycled,
    Damage,
}

/// The number of skipped changes of a column family, and the range of their keys.
#[derive(Debug)]
struct SkippedChanges {
    changes: u64,
    least: Vec<u8>,
    greatest: Vec<u8>,
}

/// A replay of logs, oldest first.
#[derive(Debug, Default)]
pub struct Replay {
    /// The sequence number after the last change that counts; `None` if there is none or it is unknown.
    pub next: Option<u64>,
    /// Changes after this place do not count, unless a log continues at [`Self::next`].
    pub stop: Option<Stop>,
    /// Anomalies that lose no data, or need not.
    pub warnings: Vec<String>,
    cut: Option<Cut>,
    /// First and last sequence number of each SST, in order; `None`: unknown.
    flushed: Option<Vec<(u64, u64)>>,
}

impl Replay {
    /// Creates a replay that also warns of sequence numbers that are in no log and no SST of `state`.
    pub fn from_state(state: &VersionState) -> Replay {
        let files = state.families.values().flat_map(|family| family.files.values());
        let mut spans: Vec<(u64, u64)> =
            files.map(|file| (file.smallest_seqno, file.largest_seqno)).collect();
        spans.push((0, state.last_sequence));
        spans.sort_unstable();
        Replay { flushed: Some(spans), ..Replay::default() }
    }

    /// Reads the log `data` and calls `apply` with each change that counts.
    pub fn read(&mut self, path: &Path, number: u64, data: &[u8], apply: &mut dyn FnMut(WalEntry<'_>)) {
        let mut reader = LogReader::new(data, number);
        let mut first = true;
        let stop = |replay: &mut Replay, offset: u64, what: &str, end: End| {
            if replay.stop.is_none() {
                let (len, what, skipped) = (data.len(), what.to_owned(), BTreeMap::new());
                replay.stop = Some(Stop { number, path: path.to_owned(), offset });
                replay.cut = Some(Cut { len, what, end, skipped });
            }
        };
        loop {
            let (offset, what) = match reader.next_record() {
                Record::Data { offset, data: batch } => {
                    if first {
                        self.resume(sequence(&batch), path);
                    }
                    first = false;
                    if let Err(e) = self.batch(&batch, (path, offset), apply) {
                        stop(self, offset, &e.to_string(), End::Damage);
                    }
                    continue;
                }
                Record::Corrupt { offset, what } => (offset, Some(what)),
                Record::End => (reader.offset(), None),
            };
            first = false;
            let (torn, recycled, more) = (reader.is_torn(), reader.is_recycled(), reader.resync());
            match what {
                Some(what) => stop(self, offset, &what, End::Damage),
                None if more => stop(self, offset, "the log seems to end here", End::Damage),
                None if torn => stop(self, offset, "the last record is incomplete", End::Torn),
                // RocksDB cannot distinguish older data of a recycled log from damage.
                None if recycled => stop(self, offset, "the log ends here", End::Recycled),
                None => {}
            }
            if !more {
                return;
            }
        }
    }

    /// Removes the stop if a log begins with the next sequence number: a server recovered and wrote it.
    fn resume(&mut self, first: u64, path: &Path) {
        let (Some(stop), Some(cut)) = (&self.stop, &self.cut) else { return };
        if self.next != Some(first) {
            return;
        }
        if cut.end != End::Recycled {
            self.warnings.push(format!(
                "{} at byte {} of {}: {}; {} continues from there, so a server has recovered from this",
                stop.path.display(),
                stop.offset,
                cut.len,
                cut.what,
                path.display()
            ));
        }
        (self.stop, self.cut) = (None, None);
    }

    /// Applies a batch or, after a stop, counts its changes.
    fn batch(
        &mut self,
        batch: &[u8],
        (path, offset): (&Path, u64),
        apply: &mut dyn FnMut(WalEntry<'_>),
    ) -> std::result::Result<(), BatchError> {
        if self.stop.is_some() {
            let Some(cut) = &mut self.cut else { return Ok(()) };
            // Damage after the stop needs no report of its own.
            let _ = wal::read_batch(batch, |entry| cut.add(&entry));
            return Ok(());
        }
        let mut next = sequence(batch);
        self.warn_missing_sequences(next, path, offset);
        let read = wal::read_batch(batch, |entry| {
            next = entry.sequence.wrapping_add(1);
            apply(entry);
        });
        // The number of changes that RocksDB applies from a damaged batch is unknown.
        self.next = read.is_ok().then_some(next);
        read
    }

    /// Warns if sequence numbers before `first` are in no log and no SST. Ingested files also use some.
    fn warn_missing_sequences(&mut self, first: u64, path: &Path, offset: u64) {
        let (Some(next), Some(flushed)) = (self.next, &self.flushed) else { return };
        let mut at = next;
        for (smallest, largest) in flushed {
            if *smallest <= at && at <= *largest {
                at = largest.saturating_add(1);
            }
        }
        if at < first {
            self.warnings.push(format!(
                "{} at byte {offset}: sequence numbers {at} to {} are in no log and no SST before this record: a log is \
                 missing and its changes are lost, unless they belong to ingested files that were compacted since",
                path.display(),
                first - 1
            ));
        }
    }

    /// Returns the losses after all logs were read.
    pub fn finish(&mut self, state: &VersionState) -> Vec<Damage> {
        let (Some(Stop { path, offset, .. }), Some(cut)) = (&self.stop, self.cut.take()) else {
            return Vec::new();
        };
        let Cut { len, what, end, skipped } = cut;
        let wanted = |id: &u32| state.families.get(id);
        let skipped: Vec<_> =
            skipped.iter().filter_map(|(id, changes)| Some((&wanted(id)?.name, changes))).collect();
        if end != End::Damage && skipped.is_empty() {
            if end == End::Torn {
                self.warnings.push(format!(
                    "{} at byte {offset} of {len}: {what}, as after a crash; it is skipped",
                    path.display()
                ));
            }
            return Vec::new();
        }
        let bad = |more: String| Damage::at(path, *offset, format!("{what} (of {len} bytes); {more}"));
        if skipped.is_empty() {
            return vec![bad("the changes of this record are lost; no whole record follows".into())];
        }
        let losses = skipped.into_iter().map(|(name, SkippedChanges { changes, least, greatest })| {
            let more = format!(
                "the changes of this record are lost, and {changes} changes after it are skipped, as a server does \
                 (`tikv-ctl wal` shows them)"
            );
            bad(more).losing(least, greatest).in_cf(name)
        });
        losses.collect()
    }
}

impl Cut {
    fn add(&mut self, entry: &WalEntry<'_>) {
        let key = entry.key;
        let new = || SkippedChanges { changes: 0, least: key.to_vec(), greatest: key.to_vec() };
        let skipped = self.skipped.entry(entry.cf).or_insert_with(new);
        skipped.changes += 1;
        if key < skipped.least.as_slice() {
            skipped.least = key.to_vec();
        }
        if key > skipped.greatest.as_slice() {
            skipped.greatest = key.to_vec();
        }
    }
}

/// Returns the sequence number of a batch's first change; 0 for a short batch, which `read_batch` reports.
fn sequence(batch: &[u8]) -> u64 {
    batch.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Lists the numbers and paths of the logs in `wal_dir` that are replayed, oldest first.
pub fn live_logs(wal_dir: &Path, state: &VersionState) -> Result<Vec<(u64, PathBuf)>> {
    let oldest = state.oldest_log();
    Ok(logs(wal_dir)?.into_iter().filter(|(number, _)| *number >= oldest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::manifest::{FamilyState, FileMeta};

    #[test]
    fn sequence_numbers_of_ssts_are_not_missing() {
        let file =
            |least, most| FileMeta { smallest_seqno: least, largest_seqno: most, ..Default::default() };
        let files = [(1, file(5, 7)), (2, file(8, 8))].into();
        let family = FamilyState { files, ..Default::default() };
        let state = VersionState { families: [(0, family)].into(), ..Default::default() };
        for (next, first, warned) in [(5, 9, false), (6, 8, false), (5, 10, true), (4, 6, true)] {
            let mut replay = Replay { next: Some(next), ..Replay::from_state(&state) };
            replay.warn_missing_sequences(first, Path::new("7.log"), 0);
            assert_eq!(!replay.warnings.is_empty(), warned, "{next} {first}");
        }
    }
}
