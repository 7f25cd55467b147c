//! The cursors of a scan over CF write and CF lock.
use tikv_kv::Snapshot;
use txn_types::Key;

use super::ScannerConfig;
use crate::{
    mvcc::{cursor::Cursor, error::Result, facts, reader::ValueEntry},
    statistics::Statistics,
};

/// Cursors of one scan; they move together in the scan's direction.
pub(super) struct Cursors<S: Snapshot> {
    /// Settings of the scan.
    pub cfg: ScannerConfig<S>,
    /// `None` if the isolation level ignores locks.
    pub lock: Option<Cursor<S::Iter>>,
    /// Cursor over CF write.
    pub write: Cursor<S::Iter>,
    /// Statistics of the operations.
    pub statistics: Statistics,
    is_started: bool,
}

/// Returns the next key with a value; `read_key` reads the key at a position and moves the cursors after it.
pub(super) fn read_next<T, S: Snapshot>(
    scanner: &mut T,
    cursors: impl Fn(&mut T) -> &mut Cursors<S>,
    read_key: impl Fn(&mut T, &Current) -> Result<Option<ValueEntry>>,
) -> Result<Option<(Key, ValueEntry)>> {
    cursors(scanner).start()?;
    while let Some(at) = cursors(scanner).current()? {
        if let Some(entry) = read_key(scanner, &at)? {
            cursors(scanner).count(&at.user_key, &entry);
            return Ok(Some((at.user_key, entry)));
        }
    }
    Ok(None)
}

/// Position of the cursors: the next user key in the scan's direction, and which cursors are on it.
pub(super) struct Current {
    /// Encoded key without a timestamp.
    pub user_key: Key,
    /// Whether the cursor over CF write is on it.
    pub has_write: bool,
    /// Whether the cursor over CF lock is on it.
    pub has_lock: bool,
}

impl<S: Snapshot> Cursors<S> {
    /// Opens the cursors; [`Cursors::start`] moves them to the range.
    pub fn new(cfg: ScannerConfig<S>) -> Result<Self> {
        let (lock, write) = (cfg.lock_cursor()?, cfg.write_cursor()?);
        Ok(Self { cfg, lock, write, statistics: Statistics::default(), is_started: false })
    }

    /// Moves the cursors to their first entries within the range, at the first call only.
    pub fn start(&mut self) -> Result<()> {
        if self.is_started {
            return Ok(());
        }
        let seek = if self.cfg.desc { Cursor::seek_to_last } else { Cursor::seek_to_first };
        seek(&mut self.write, &mut self.statistics.write)?;
        if let Some(cursor) = &mut self.lock {
            seek(cursor, &mut self.statistics.lock)?;
        }
        self.is_started = true;
        Ok(())
    }

    /// Returns the position, or `None` at the end of both cursors.
    pub fn current(&self) -> Result<Option<Current>> {
        let write = match self.write.valid()? {
            true => Some(Key::truncate_ts_for(self.write.key())?),
            false => None,
        };
        let lock = match &self.lock {
            Some(cursor) if cursor.valid()? => Some(cursor.key()),
            _ => None,
        };
        let (Some(first), Some(second)) = (write.or(lock), lock.or(write)) else { return Ok(None) };
        let next = if self.cfg.desc { first.max(second) } else { first.min(second) };
        let user_key = Key::from_encoded_slice(next);
        let (has_write, has_lock) = (write == Some(next), lock == Some(next));
        tracepoints::step_inside!(
            MVCC_SCAN_KEY,
            self.cfg.req,
            facts::change("Scan", &user_key)
                .flag("cursor of CF lock is here", has_lock)
                .flag("cursor of CF write is here", has_write),
            lock = has_lock,
            write = has_write,
        );
        Ok(Some(Current { user_key, has_write, has_lock }))
    }

    /// Counts an entry that the scan returns.
    pub fn count(&mut self, user_key: &Key, entry: &ValueEntry) {
        self.statistics.write.processed_keys += 1;
        self.statistics.processed_size += user_key.len() + entry.value.len();
    }
}
