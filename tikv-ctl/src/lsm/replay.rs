//! Which changes of the logs count, by the rules of RocksDB's point-in-time recovery, TiKV's default: up to damage or a torn
//! end, and beyond it only where the sequence numbers go on.

use std::path::{Path, PathBuf};

use super::{
    Result,
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

/// A replay of logs, oldest first.
#[derive(Debug, Default)]
pub struct Replay {
    /// The sequence number behind the last change that counts; none: no change was met, or what follows is not known.
    pub next: Option<u64>,
    /// Nothing counts from here on, unless a log goes on at [`Self::next`].
    pub stop: Option<Stop>,
    /// What was wrong but could be read around.
    pub warnings: Vec<String>,
}

impl Replay {
    /// Reads the log `data` and calls `apply` with each change that counts.
    pub fn read(&mut self, path: &Path, number: u64, data: &[u8], apply: &mut dyn FnMut(WalEntry<'_>)) {
        let mut reader = LogReader::new(data, number);
        loop {
            let (offset, what) = match reader.next_record() {
                Record::End => return self.end(&reader, path, number, data.len()),
                Record::Corrupt { offset, what } => (offset, what),
                Record::Data { offset, data: batch } => {
                    let mut next = sequence(&batch);
                    if !self.goes_on(next, path) {
                        return;
                    }
                    let read = wal::read_batch(&batch, |entry| {
                        next = entry.sequence.wrapping_add(1);
                        apply(entry);
                    });
                    match read {
                        Ok(()) => {
                            self.next = Some(next);
                            continue;
                        }
                        // How far RocksDB comes in it is not known.
                        Err(what) => {
                            self.next = None;
                            (offset, what)
                        }
                    }
                }
            };
            self.warnings.push(format!(
                "{} at byte {offset} of {}: {what}; what this log and later ones hold from there on is left out \
                 (`tikv-ctl wal` shows what can be read)",
                path.display(),
                data.len()
            ));
            self.stop = Some(Stop { number, path: path.to_owned(), offset });
            return;
        }
    }

    fn end(&mut self, reader: &LogReader<'_>, path: &Path, number: u64, len: usize) {
        if reader.is_torn() {
            self.warnings.push(format!(
                "{} at byte {} of {len}: the last record is not whole, as a crash leaves it; it is left out",
                path.display(),
                reader.offset(),
            ));
        }
        // RocksDB cannot tell the remains of a recycled log from damage.
        if reader.is_torn() || reader.is_recycled() {
            self.stop = Some(Stop { number, path: path.to_owned(), offset: reader.offset() });
        }
    }

    /// Whether a change of the number `first` counts.
    fn goes_on(&mut self, first: u64, path: &Path) -> bool {
        let Some(stop) = &self.stop else { return true };
        if self.next == Some(first) {
            self.stop = None;
            return true;
        }
        self.warnings.push(format!(
            "{}: its first change has the sequence number {first}, {} expected behind what {} lost; it is left out, as \
             RocksDB does",
            path.display(),
            self.next.map_or("none".to_owned(), |next| next.to_string()),
            stop.path.display()
        ));
        false
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
