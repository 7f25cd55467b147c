//! The engine of the Raft logs.
use std::{fs, path::Path, sync::Arc};

use kvproto::raft_serverpb::RaftLocalState;
use prost::Message;
use raft::eraftpb::Entry;
use raft_engine::{Command, Engine, LogBatch};

use crate::{Error, MessageExtTyped, RAFT_LOG_STATE_KEY, RaftEngineConfig, RaftLogBatch, Result};

/// The Raft log of a store. Clones share it; the last one closes it.
///
/// TiKV: `raft_log_engine::engine::RaftLogEngine`.
#[derive(Clone)]
pub struct RaftLogEngine {
    engine: Arc<Engine>,
}

impl RaftLogEngine {
    /// Opens the log in `dir`, or creates it if the options allow. Replays all files.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Locked`], [`Error::Corrupt`].
    pub fn open(dir: impl AsRef<Path>, config: &RaftEngineConfig) -> Result<RaftLogEngine> {
        let dir = dir.as_ref();
        if !config.create_if_missing && !RaftLogEngine::exists(dir) {
            return Err(Error::Missing { dir: dir.to_owned() });
        }
        let engine = Engine::open(config.for_dir(dir)?).map_err(|e| open_error(dir, e))?;
        Ok(RaftLogEngine { engine: Arc::new(engine) })
    }

    /// Whether `dir` contains a log.
    pub fn exists(dir: &Path) -> bool {
        !log_files(dir).is_empty()
    }

    /// Returns the log directory.
    pub fn path(&self) -> &Path {
        Path::new(self.engine.path())
    }

    /// Creates an empty batch with room for `capacity` changes.
    pub fn log_batch(&self, capacity: usize) -> RaftLogBatch {
        RaftLogBatch::with_capacity(capacity)
    }

    /// Writes `batch` and empties it; with `sync` it is on disk on return, together with everything written
    /// before. Returns the bytes written.
    ///
    /// # Errors
    /// [`Error::NotContiguous`] if an append would leave a hole or overwrite compacted entries; writes
    /// nothing.
    pub fn consume(&self, batch: &mut RaftLogBatch, sync: bool) -> Result<usize> {
        self.check_appends(batch)?;
        batch.appended.clear();
        batch.cleaned.clear();
        Ok(self.engine.write(&mut batch.batch, sync)?)
    }

    /// raft-engine panics on a hole and on entries below the first index; return an error instead.
    fn check_appends(&self, batch: &RaftLogBatch) -> Result<()> {
        let mut spans: Vec<(u64, u64, u64)> = Vec::new();
        for append in batch.appended.iter().filter(|a| !batch.cleaned.contains(&a.region_id)) {
            let (region_id, found) = (append.region_id, append.first);
            let at = spans.iter().position(|(id, ..)| *id == region_id);
            let span = at.map(|at| (spans[at].1, spans[at].2)).or_else(|| self.span(region_id));
            let first = span.map_or(found, |(first, _)| first);
            let end = span.map_or(found, |(_, last)| last.saturating_add(1));
            if found < first || found > end {
                let expected = if found < first { first } else { end };
                return Err(Error::NotContiguous { region_id, expected, found });
            }
            match at {
                Some(at) => spans[at].2 = append.last,
                None => spans.push((region_id, first, append.last)),
            }
        }
        Ok(())
    }

    fn span(&self, region_id: u64) -> Option<(u64, u64)> {
        self.first_index(region_id).zip(self.last_index(region_id))
    }

    /// Syncs everything written so far to disk.
    pub fn sync(&self) -> Result<()> {
        Ok(self.engine.sync()?)
    }

    /// Reads the region's Raft state.
    pub fn get_raft_state(&self, region_id: u64) -> Result<Option<RaftLocalState>> {
        let Some(value) = self.engine.get(region_id, RAFT_LOG_STATE_KEY) else { return Ok(None) };
        let state = RaftLocalState::decode(&value[..]);
        state.map(Some).map_err(|source| Error::BadState { region_id, source })
    }

    /// Reads the entry at `index`.
    pub fn get_entry(&self, region_id: u64, index: u64) -> Result<Option<Entry>> {
        Ok(self.engine.get_entry::<MessageExtTyped>(region_id, index)?)
    }

    /// Appends the entries of `from..to` to `entries`, at most `max_size` bytes but at least one entry.
    /// Returns the number of entries.
    ///
    /// # Errors
    /// [`Error::EntryCompacted`], [`Error::EntryNotFound`].
    pub fn fetch_entries_to(
        &self,
        region_id: u64,
        from: u64,
        to: u64,
        max_size: Option<usize>,
        entries: &mut Vec<Entry>,
    ) -> Result<usize> {
        if from >= to {
            return Ok(0);
        }
        let last = self.last_index(region_id).unwrap_or_default();
        if to > last.saturating_add(1) {
            return Err(Error::EntryNotFound { region_id, end: to, last });
        }
        let fetched = self.engine.fetch_entries_to::<MessageExtTyped>(region_id, from, to, max_size, entries);
        fetched.map_err(|e| match e {
            raft_engine::Error::EntryCompacted => {
                let first = self.first_index(region_id).unwrap_or_default();
                Error::EntryCompacted { region_id, index: from, first }
            }
            raft_engine::Error::EntryNotFound => Error::EntryNotFound { region_id, end: to, last },
            other => other.into(),
        })
    }

    /// Returns the region's first index; `None` if the region has no entries.
    pub fn first_index(&self, region_id: u64) -> Option<u64> {
        self.engine.first_index(region_id)
    }

    /// Returns the region's last index; `None` if the region has no entries.
    pub fn last_index(&self, region_id: u64) -> Option<u64> {
        self.engine.last_index(region_id)
    }

    /// Removes all entries below `to`, also those below `from`. Returns the number of removed entries.
    pub fn gc(&self, region_id: u64, from: u64, to: u64) -> Result<u64> {
        let Some(first) = self.first_index(region_id) else { return Ok(0) };
        if from >= to || to <= first {
            return Ok(0);
        }
        let end = self.last_index(region_id).map_or(to, |last| to.min(last + 1));
        let mut batch = LogBatch::default();
        batch.add_command(region_id, Command::Compact { index: to });
        self.engine.write(&mut batch, false)?;
        Ok(end - first)
    }

    /// Removes all data of the region.
    pub fn clean(&self, region_id: u64, sync: bool) -> Result<()> {
        let mut batch = RaftLogBatch::default();
        batch.clean(region_id);
        self.consume(&mut batch, sync).map(|_| ())
    }

    /// Removes or rewrites old files above the threshold. Returns the regions that prevent the removal of old
    /// files: their logs should be compacted.
    pub fn manual_purge(&self) -> Result<Vec<u64>> {
        Ok(self.engine.purge_expired_files()?)
    }

    /// Returns the regions with data in the log, ascending.
    pub fn raft_groups(&self) -> Vec<u64> {
        let mut groups = self.engine.raft_groups();
        groups.sort_unstable();
        groups
    }

    /// Calls `visit` with each region that has data in the log, until `visit` fails.
    pub fn for_each_raft_group<E: From<Error>>(
        &self,
        mut visit: impl FnMut(u64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.raft_groups().into_iter().try_for_each(&mut visit)
    }

    /// Calls `visit` with each entry of the region, ascending, until it returns false.
    pub fn scan_entries(&self, region_id: u64, mut visit: impl FnMut(Entry) -> Result<bool>) -> Result<()> {
        let Some((first, last)) = self.span(region_id) else { return Ok(()) };
        for index in first..=last {
            // A concurrent compaction may have removed the entry.
            if let Some(entry) = self.get_entry(region_id, index)?
                && !visit(entry)?
            {
                break;
            }
        }
        Ok(())
    }

    /// Returns the bytes of all log files.
    pub fn get_engine_size(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

impl std::fmt::Debug for RaftLogEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLogEngine").field("path", &self.path()).finish()
    }
}

/// Returns the names of the log files in `dir`, in replay order.
fn log_files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|n| n.ends_with(".raftlog") || n.ends_with(".rewrite")).collect();
    names.sort();
    names
}

fn open_error(dir: &Path, error: raft_engine::Error) -> Error {
    let (dir_path, detail) = (dir.to_owned(), error.to_string());
    match error {
        raft_engine::Error::Other(_) if detail.contains("Failed to lock file") => {
            Error::Locked { dir: dir_path, detail }
        }
        raft_engine::Error::Corruption(_) | raft_engine::Error::Codec(_) => {
            Error::Corrupt { dir: dir_path, file: first_corrupt_file(dir), detail }
        }
        other => Error::Engine(other),
    }
}

/// Finds the first file that cannot be read to its end, since raft-engine's message names no file.
fn first_corrupt_file(dir: &Path) -> Option<String> {
    let is_corrupt = |name: &String| match Engine::dump(&dir.join(name)) {
        Ok(mut items) => items.any(|item| item.is_err()),
        Err(_) => true,
    };
    log_files(dir).into_iter().find(is_corrupt)
}
