//! Scans CF write and CF lock together, in descending key order.
use kvproto::kvrpcpb::IsolationLevel;
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp, Write, WriteRef, WriteType};

use super::{
    EntryScanner, ScannerConfig,
    cursors::{Current, Cursors, read_next},
};
use crate::{
    mvcc::{
        cursor::{REVERSE_SEEK_BOUND, SEEK_BOUND},
        error::Result,
        reader::{ValueEntry, copy_write, point_getter::rc_check_ts_conflict},
    },
    statistics::Statistics,
};

/// Reads the latest values in descending order. TiKV: `BackwardKvScanner`.
pub struct BackwardScanner<S: Snapshot> {
    cursors: Cursors<S>,
}

type Version = Option<(Write, TimeStamp)>;

impl<S: Snapshot> BackwardScanner<S> {
    /// Opens the cursors; sets the direction in `cfg`.
    pub fn new(cfg: ScannerConfig<S>) -> Result<Self> {
        Ok(Self { cursors: Cursors::new(ScannerConfig { desc: true, ..cfg })? })
    }

    /// Reads one user key; always moves the cursors to smaller keys.
    fn read_key(&mut self, at: &Current) -> Result<Option<ValueEntry>> {
        let Current { user_key, has_write, has_lock } = at;
        let mut checked = Ok(None);
        if *has_lock && let Some(cursor) = &mut self.cursors.lock {
            checked = self.cursors.cfg.check_lock(user_key, cursor.value(), &mut self.cursors.statistics);
            cursor.prev(&mut self.cursors.statistics.lock)?;
        }
        let lock = match checked {
            Ok(None) if *has_write => {
                let found = self.reverse_get(user_key);
                self.move_write_cursor_to_prev_user_key(user_key)?;
                let Some((write, commit_ts)) = found? else { return Ok(None) };
                let entry = self.cursors.cfg.load_data_by_write(
                    user_key,
                    write,
                    commit_ts,
                    &mut self.cursors.statistics,
                )?;
                return Ok(Some(entry));
            }
            other => {
                if *has_write {
                    self.move_write_cursor_to_prev_user_key(user_key)?;
                }
                other?
            }
        };
        match lock {
            Some(lock) => self.cursors.cfg.load_data_by_lock(user_key, lock, &mut self.cursors.statistics),
            None => Ok(None),
        }
    }

    /// Returns the PUT of `user_key` at the scan's timestamp. The cursor is on the oldest version and moves
    /// to newer ones up to the timestamp.
    fn reverse_get(&mut self, user_key: &Key) -> Result<Version> {
        let mut last: Version = None;
        let mut checked_ts = TimeStamp::zero();
        for step in 0..REVERSE_SEEK_BOUND {
            if step > 0 && !self.cursors.write.prev(&mut self.cursors.statistics.write)? {
                return Ok(self.as_latest(last));
            }
            let (key, commit_ts) = Key::split_on_ts_for(self.cursors.write.key())?;
            if key != user_key.as_encoded().as_slice() {
                return Ok(self.as_latest(last));
            }
            if commit_ts > self.cursors.cfg.ts {
                if self.cursors.cfg.isolation_level == IsolationLevel::RcCheckTs {
                    return Err(rc_check_ts_conflict(self.cursors.cfg.ts, commit_ts, user_key)?);
                }
                return Ok(self.as_latest(last));
            }
            let write = WriteRef::parse(self.cursors.write.value())?;
            self.cursors.cfg.stamp_version(user_key, commit_ts, &write);
            if let WriteType::Put | WriteType::Delete = write.write_type {
                last = Some((copy_write(&write), commit_ts));
            }
            checked_ts = commit_ts;
        }
        self.cursors.statistics.write.over_seek_bound += 1;
        self.get_from_newest(user_key, last, checked_ts)
    }

    /// Handles many old versions: seeks the timestamp and steps down to the versions already checked.
    fn get_from_newest(&mut self, user_key: &Key, last: Version, checked_ts: TimeStamp) -> Result<Version> {
        if self.cursors.cfg.isolation_level == IsolationLevel::RcCheckTs {
            let newest = user_key.clone().append_ts(TimeStamp::max());
            self.cursors.write.seek(&newest, &mut self.cursors.statistics.write)?;
            let commit_ts = Key::decode_ts_from(self.cursors.write.key())?;
            if commit_ts > self.cursors.cfg.ts {
                return Err(rc_check_ts_conflict(self.cursors.cfg.ts, commit_ts, user_key)?);
            }
        }
        let at = user_key.clone().append_ts(self.cursors.cfg.ts);
        let mut found = self.cursors.write.seek(&at, &mut self.cursors.statistics.write)?;
        while found {
            let (key, commit_ts) = Key::split_on_ts_for(self.cursors.write.key())?;
            if key != user_key.as_encoded().as_slice() || commit_ts <= checked_ts {
                break;
            }
            let write = WriteRef::parse(self.cursors.write.value())?;
            if !write.check_gc_fence_as_latest_version(self.cursors.cfg.ts) {
                return Ok(None);
            }
            if let WriteType::Put | WriteType::Delete = write.write_type {
                return Ok(self.as_latest(Some((copy_write(&write), commit_ts))));
            }
            found = self.cursors.write.next(&mut self.cursors.statistics.write)?;
        }
        Ok(self.as_latest(last))
    }

    /// Returns the version if it is a PUT that GC has not removed.
    fn as_latest(&self, version: Version) -> Version {
        version.filter(|(write, _)| {
            write.write_type == WriteType::Put
                && write.as_ref().check_gc_fence_as_latest_version(self.cursors.cfg.ts)
        })
    }

    /// Moves before all versions of `user_key`, by steps if they are few.
    fn move_write_cursor_to_prev_user_key(&mut self, user_key: &Key) -> Result<()> {
        for step in 0..SEEK_BOUND {
            if step > 0 {
                self.cursors.write.prev(&mut self.cursors.statistics.write)?;
            }
            if !self.cursors.write.valid()? {
                return Ok(());
            }
            if Key::truncate_ts_for(self.cursors.write.key())? < user_key.as_encoded().as_slice() {
                return Ok(());
            }
        }
        self.cursors.statistics.write.over_seek_bound += 1;
        self.cursors.write.seek_for_prev(user_key, &mut self.cursors.statistics.write)?;
        Ok(())
    }
}

impl<S: Snapshot> EntryScanner for BackwardScanner<S> {
    fn read_next(&mut self) -> Result<Option<(Key, ValueEntry)>> {
        read_next(self, |scanner| &mut scanner.cursors, Self::read_key)
    }

    fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.cursors.statistics)
    }
}
