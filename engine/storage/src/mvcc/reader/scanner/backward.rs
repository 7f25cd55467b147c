//! Scans CF write and CF lock together, in descending key order.
use std::cmp::Ordering;

use kvproto::kvrpcpb::IsolationLevel;
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp, Write, WriteRef, WriteType};

use super::{EntryScanner, ScannerConfig};
use crate::{
    mvcc::{
        Cursor, REVERSE_SEEK_BOUND, Result, SEEK_BOUND,
        reader::{ValueEntry, copy_write, point_getter::rc_check_ts_conflict},
    },
    statistics::Statistics,
};

/// Reads the latest values in descending order. TiKV: `BackwardKvScanner`.
pub struct BackwardScanner<S: Snapshot> {
    cfg: ScannerConfig<S>,
    lock_cursor: Option<Cursor<S::Iter>>,
    write_cursor: Cursor<S::Iter>,
    statistics: Statistics,
    is_started: bool,
}

type Version = Option<(Write, TimeStamp)>;

impl<S: Snapshot> BackwardScanner<S> {
    pub fn new(cfg: ScannerConfig<S>) -> Result<Self> {
        let (lock_cursor, write_cursor) = (cfg.lock_cursor()?, cfg.write_cursor()?);
        Ok(Self { cfg, lock_cursor, write_cursor, statistics: Statistics::default(), is_started: false })
    }

    fn start(&mut self) -> Result<()> {
        self.write_cursor.seek_to_last(&mut self.statistics.write)?;
        if let Some(cursor) = &mut self.lock_cursor {
            cursor.seek_to_last(&mut self.statistics.lock)?;
        }
        self.is_started = true;
        Ok(())
    }

    /// Returns the greater user key of both cursors, and whether the write and the lock cursor are on it.
    fn current(&self) -> Result<Option<(Key, bool, bool)>> {
        let write = match self.write_cursor.valid()? {
            true => Some(Key::truncate_ts_for(self.write_cursor.key())?),
            false => None,
        };
        let lock = match &self.lock_cursor {
            Some(cursor) if cursor.valid()? => Some(cursor.key()),
            _ => None,
        };
        let (key, order) = match (write, lock) {
            (None, None) => return Ok(None),
            (Some(write), None) => (write, Ordering::Greater),
            (None, Some(lock)) => (lock, Ordering::Less),
            (Some(write), Some(lock)) => (write.max(lock), write.cmp(lock)),
        };
        Ok(Some((Key::from_encoded_slice(key), order != Ordering::Less, order != Ordering::Greater)))
    }

    /// Reads one user key; always moves the cursors to smaller keys.
    fn read_key(&mut self, user_key: &Key, has_write: bool, has_lock: bool) -> Result<Option<ValueEntry>> {
        let mut checked = Ok(None);
        if has_lock && let Some(cursor) = &mut self.lock_cursor {
            checked = self.cfg.check_lock(user_key, cursor.value(), &mut self.statistics);
            cursor.prev(&mut self.statistics.lock)?;
        }
        let lock = match checked {
            Ok(None) if has_write => {
                let found = self.reverse_get(user_key);
                self.move_write_cursor_to_prev_user_key(user_key)?;
                let Some((write, commit_ts)) = found? else { return Ok(None) };
                let entry = self.cfg.load_data_by_write(user_key, write, commit_ts, &mut self.statistics)?;
                return Ok(Some(entry));
            }
            other => {
                if has_write {
                    self.move_write_cursor_to_prev_user_key(user_key)?;
                }
                other?
            }
        };
        match lock {
            Some(lock) => self.cfg.load_data_by_lock(user_key, lock, &mut self.statistics),
            None => Ok(None),
        }
    }

    /// Returns the PUT of `user_key` at the scan's timestamp. The cursor is on the oldest version and moves
    /// to newer ones up to the timestamp.
    fn reverse_get(&mut self, user_key: &Key) -> Result<Version> {
        let mut last: Version = None;
        let mut checked_ts = TimeStamp::zero();
        for step in 0..REVERSE_SEEK_BOUND {
            if step > 0 && !self.write_cursor.prev(&mut self.statistics.write)? {
                return Ok(self.as_latest(last));
            }
            let (key, commit_ts) = Key::split_on_ts_for(self.write_cursor.key())?;
            if key != user_key.as_encoded().as_slice() {
                return Ok(self.as_latest(last));
            }
            if commit_ts > self.cfg.ts {
                if self.cfg.isolation_level == IsolationLevel::RcCheckTs {
                    return Err(rc_check_ts_conflict(self.cfg.ts, commit_ts, user_key)?);
                }
                return Ok(self.as_latest(last));
            }
            let write = WriteRef::parse(self.write_cursor.value())?;
            if let WriteType::Put | WriteType::Delete = write.write_type {
                last = Some((copy_write(&write), commit_ts));
            }
            checked_ts = commit_ts;
        }
        self.statistics.write.over_seek_bound += 1;
        self.get_from_newest(user_key, last, checked_ts)
    }

    /// Handles many old versions: seeks the timestamp and steps down to the versions already checked.
    fn get_from_newest(&mut self, user_key: &Key, last: Version, checked_ts: TimeStamp) -> Result<Version> {
        if self.cfg.isolation_level == IsolationLevel::RcCheckTs {
            let newest = user_key.clone().append_ts(TimeStamp::max());
            self.write_cursor.seek(&newest, &mut self.statistics.write)?;
            let commit_ts = Key::decode_ts_from(self.write_cursor.key())?;
            if commit_ts > self.cfg.ts {
                return Err(rc_check_ts_conflict(self.cfg.ts, commit_ts, user_key)?);
            }
        }
        let at = user_key.clone().append_ts(self.cfg.ts);
        let mut found = self.write_cursor.seek(&at, &mut self.statistics.write)?;
        while found {
            let (key, commit_ts) = Key::split_on_ts_for(self.write_cursor.key())?;
            if key != user_key.as_encoded().as_slice() || commit_ts <= checked_ts {
                break;
            }
            let write = WriteRef::parse(self.write_cursor.value())?;
            if !write.check_gc_fence_as_latest_version(self.cfg.ts) {
                return Ok(None);
            }
            if let WriteType::Put | WriteType::Delete = write.write_type {
                return Ok(self.as_latest(Some((copy_write(&write), commit_ts))));
            }
            found = self.write_cursor.next(&mut self.statistics.write)?;
        }
        Ok(self.as_latest(last))
    }

    /// Returns the version if it is a PUT that GC has not removed.
    fn as_latest(&self, version: Version) -> Version {
        version.filter(|(write, _)| {
            write.write_type == WriteType::Put && write.as_ref().check_gc_fence_as_latest_version(self.cfg.ts)
        })
    }

    /// Moves before all versions of `user_key`, by steps if they are few.
    fn move_write_cursor_to_prev_user_key(&mut self, user_key: &Key) -> Result<()> {
        for step in 0..SEEK_BOUND {
            if step > 0 {
                self.write_cursor.prev(&mut self.statistics.write)?;
            }
            if !self.write_cursor.valid()? {
                return Ok(());
            }
            if Key::truncate_ts_for(self.write_cursor.key())? < user_key.as_encoded().as_slice() {
                return Ok(());
            }
        }
        self.statistics.write.over_seek_bound += 1;
        self.write_cursor.seek_for_prev(user_key, &mut self.statistics.write)?;
        Ok(())
    }
}

impl<S: Snapshot> EntryScanner for BackwardScanner<S> {
    fn read_next(&mut self) -> Result<Option<(Key, ValueEntry)>> {
        if !self.is_started {
            self.start()?;
        }
        while let Some((user_key, has_write, has_lock)) = self.current()? {
            if let Some(entry) = self.read_key(&user_key, has_write, has_lock)? {
                self.statistics.write.processed_keys += 1;
                self.statistics.processed_size += user_key.len() + entry.value.len();
                return Ok(Some((user_key, entry)));
            }
        }
        Ok(None)
    }

    fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.statistics)
    }
}
