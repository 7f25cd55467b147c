//! Which changes of the logs count, by the rules of RocksDB's point-in-time recovery, TiKV's default: up to damage or a torn
//! end, and beyond it only where the sequence numbers go on. What is left out is followed, to tell what it means.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Error, Result,
    db::logs,
    log::{LogReader, Record},
    manifest::VersionState,
    wal::{self, WalEntry},
};

/// Where the logs stopped to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The log's number.
    pub number: u64,
    pub path: PathBuf,
    pub offset: u64,
}

/// Why they stopped, and what is behind.
#[derive(Debug)]
struct Cut {
    len: usize,
    what: String,
    end: End,
    /// By column family id.
    behind: BTreeMap<u32, Behind>,
}

/// What kind of end a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its last record is not whole: what a crash does.
    Torn,
    /// The remains of the file that it was recycled from follow.
    Recycled,
    Damage,
}

/// Changes that are left out.
#[derive(Debug)]
struct Behind {
    changes: u64,
    least: Vec<u8>,
    greatest: Vec<u8>,
}

/// A replay of logs, oldest first.
#[derive(Debug, Default)]
pub struct Replay {
    /// The sequence number behind the last change that counts; none: no change was met, or what follows is not known.
    pub next: Option<u64>,
    /// Nothing counts from here on, unless a log goes on at [`Self::next`].
    pub stop: Option<Stop>,
    /// What was wrong but is no loss, or need be none.
    pub warnings: Vec<String>,
    cut: Option<Cut>,
    /// First and last sequence number of what SSTs have, in order; none: it is not known.
    flushed: Option<Vec<(u64, u64)>>,
}

impl Replay {
    /// A replay that knows what SSTs have: missing sequence numbers are told.
    pub fn of(state: &VersionState) -> Replay {
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
                let (len, what, behind) = (data.len(), what.to_owned(), BTreeMap::new());
                replay.stop = Some(Stop { number, path: path.to_owned(), offset });
                replay.cut = Some(Cut { len, what, end, behind });
            }
        };
        loop {
            let (offset, what) = match reader.next_record() {
                Record::Data { offset, data: batch } => {
                    if first {
                        self.go_on(sequence(&batch), path);
                    }
                    first = false;
                    if let Err(what) = self.batch(&batch, (path, offset), apply) {
                        stop(self, offset, &what, End::Damage);
                    }
                    continue;
                }
                Record::Corrupt { offset, what } => (offset, Some(what)),
                Record::End => (reader.offset(), None),
            };
            first = false;
            let (torn, recycled, goes_on) = (reader.is_torn(), reader.is_recycled(), reader.resync());
            match what {
                Some(what) => stop(self, offset, &what, End::Damage),
                None if goes_on => stop(self, offset, "the log seems to end here", End::Damage),
                None if torn => stop(self, offset, "the last record is not whole", End::Torn),
                // RocksDB cannot tell the remains of a recycled log from damage.
                None if recycled => stop(self, offset, "the log ends here", End::Recycled),
                None => {}
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Before the first record of a log: one that begins where the logs stopped was written by a server that had recovered
    /// from that stop.
    fn go_on(&mut self, first: u64, path: &Path) {
        let (Some(stop), Some(cut)) = (&self.stop, &self.cut) else { return };
        if self.next != Some(first) {
            return;
        }
        if cut.end != End::Recycled {
            self.warnings.push(format!(
                "{} at byte {} of {}: {}; {} goes on from there: a server has recovered from that",
                stop.path.display(),
                stop.offset,
                cut.len,
                cut.what,
                path.display()
            ));
        }
        (self.stop, self.cut) = (None, None);
    }

    /// Takes the changes of a batch.
    fn batch(
        &mut self,
        batch: &[u8],
        (path, offset): (&Path, u64),
        apply: &mut dyn FnMut(WalEntry<'_>),
    ) -> std::result::Result<(), String> {
        if self.stop.is_some() {
            let Some(cut) = &mut self.cut else { return Ok(()) };
            // What does not decode is behind damage already.
            let _ = wal::read_batch(batch, |entry| cut.add(&entry));
            return Ok(());
        }
        let mut next = sequence(batch);
        self.tell_hole(next, path, offset);
        let read = wal::read_batch(batch, |entry| {
            next = entry.sequence.wrapping_add(1);
            apply(entry);
        });
        // How far RocksDB comes in a batch that does not decode is not known.
        self.next = read.is_ok().then_some(next);
        read
    }

    /// Tells when sequence numbers before `first` are in no log and no SST. Files that are ingested take some.
    fn tell_hole(&mut self, first: u64, path: &Path, offset: u64) {
        let (Some(next), Some(flushed)) = (self.next, &self.flushed) else { return };
        let mut at = next;
        for (least, most) in flushed {
            if *least <= at && at <= *most {
                at = most.saturating_add(1);
            }
        }
        if at < first {
            self.warnings.push(format!(
                "{} at byte {offset}: sequence numbers {at} to {} are in no log and no SST before this record: a log is \
                 missing, and what it held is lost, unless files were ingested then and merged since",
                path.display(),
                first - 1
            ));
        }
    }

    /// What is lost, now that all logs are read: name of the column family, empty where it is not known, and the error.
    pub fn finish(&mut self, state: &VersionState) -> Vec<(String, Error)> {
        let (Some(Stop { path, offset, .. }), Some(cut)) = (&self.stop, self.cut.take()) else {
            return Vec::new();
        };
        let Cut { len, what, end, behind } = cut;
        let wanted = |id: &u32| state.families.get(id);
        let behind: Vec<_> =
            behind.iter().filter_map(|(id, behind)| Some((&wanted(id)?.name, behind))).collect();
        if end != End::Damage && behind.is_empty() {
            if end == End::Torn {
                self.warnings.push(format!(
                    "{} at byte {offset} of {len}: {what}, as a crash leaves it; it is left out",
                    path.display()
                ));
            }
            return Vec::new();
        }
        let bad = |more: String| Error::Corruption {
            path: path.clone(),
            offset: *offset,
            what: format!("{what} (of {len} bytes); {more}"),
        };
        if behind.is_empty() {
            return vec![(
                String::new(),
                bad("what this record changed is lost; no whole record follows".into()),
            )];
        }
        let losses = behind.into_iter().map(|(name, Behind { changes, least, greatest })| {
            let more = format!(
                "what this record changed is lost, and {changes} changes behind it are left out, as a server does \
                 (`tikv-ctl wal` shows them)"
            );
            (name.clone(), bad(more).losing(least, greatest))
        });
        losses.collect()
    }
}

impl Cut {
    fn add(&mut self, entry: &WalEntry<'_>) {
        let key = entry.key;
        let new = || Behind { changes: 0, least: key.to_vec(), greatest: key.to_vec() };
        let behind = self.behind.entry(entry.cf).or_insert_with(new);
        behind.changes += 1;
        if key < behind.least.as_slice() {
            behind.least = key.to_vec();
        }
        if key > behind.greatest.as_slice() {
            behind.greatest = key.to_vec();
        }
    }
}

/// The number of a batch's first change; a batch too short for it is damage that `read_batch` tells of.
fn sequence(batch: &[u8]) -> u64 {
    batch.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Numbers and paths of the logs in `wal_dir` that are replayed, oldest first.
pub fn live_logs(wal_dir: &Path, state: &VersionState) -> Result<Vec<(u64, PathBuf)>> {
    let oldest = state.oldest_log();
    Ok(logs(wal_dir)?.into_iter().filter(|(number, _)| *number >= oldest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::manifest::{FamilyState, FileMeta};

    #[test]
    fn sequence_numbers_that_ssts_have_are_no_hole() {
        let file =
            |least, most| FileMeta { smallest_seqno: least, largest_seqno: most, ..Default::default() };
        let files = [(1, file(5, 7)), (2, file(8, 8))].into();
        let family = FamilyState { files, ..Default::default() };
        let state = VersionState { families: [(0, family)].into(), ..Default::default() };
        for (next, first, told) in [(5, 9, false), (6, 8, false), (5, 10, true), (4, 6, true)] {
            let mut replay = Replay { next: Some(next), ..Replay::of(&state) };
            replay.tell_hole(first, Path::new("7.log"), 0);
            assert_eq!(!replay.warnings.is_empty(), told, "{next} {first}");
        }
    }
}
