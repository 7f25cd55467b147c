//! Scans CF write and CF lock together, in ascending key order.
use kvproto::kvrpcpb::IsolationLevel;
use tikv_kv::Snapshot;
use txn_types::{Key, LastChange, TimeStamp, Write, WriteRef, WriteType};

use super::{
    EntryScanner, ScannerConfig,
    cursors::{Current, Cursors, read_next},
};
use crate::{
    mvcc::{
        cursor::SEEK_BOUND,
        error::Result,
        reader::{ValueEntry, check_last_change, copy_write, point_getter::rc_check_ts_conflict},
    },
    statistics::Statistics,
};

/// Reads the latest values in ascending order. TiKV: `ForwardScanner` with `LatestKvPolicy`.
pub struct ForwardScanner<S: Snapshot> {
    cursors: Cursors<S>,
}

impl<S: Snapshot> ForwardScanner<S> {
    /// Opens the cursors; sets the direction in `cfg`.
    pub fn new(cfg: ScannerConfig<S>) -> Result<Self> {
        Ok(Self { cursors: Cursors::new(ScannerConfig { desc: false, ..cfg })? })
    }

    /// Reads one user key, its lock first, then its versions; always moves the cursors to greater keys.
    fn read_key(&mut self, at: &Current) -> Result<Option<ValueEntry>> {
        if at.has_lock
            && let Some(result) = self.handle_lock(&at.user_key).transpose()
        {
            if at.has_write {
                self.move_write_cursor_to_next_user_key(&at.user_key)?;
            }
            return result.map(|entry| entry.0);
        }
        if !at.has_write {
            return Ok(None);
        }
        let found = self.get_version(&at.user_key);
        self.move_write_cursor_to_next_user_key(&at.user_key)?;
        let Some((write, commit_ts)) = found? else { return Ok(None) };
        let entry = self.cursors.cfg.load_data_by_write(
            &at.user_key,
            write,
            commit_ts,
            &mut self.cursors.statistics,
        )?;
        Ok(Some(entry))
    }

    /// Returns `Some` for a lock that is read through, an error for one that blocks, otherwise `None`.
    fn handle_lock(&mut self, user_key: &Key) -> Result<Option<(Option<ValueEntry>,)>> {
        let Some(cursor) = &mut self.cursors.lock else { return Ok(None) };
        let checked = self.cursors.cfg.check_lock(user_key, cursor.value(), &mut self.cursors.statistics);
        cursor.next(&mut self.cursors.statistics.lock)?;
        match checked? {
            Some(lock) => Ok(Some((self.cursors.cfg.load_data_by_lock(
                user_key,
                lock,
                &mut self.cursors.statistics,
            )?,))),
            None => Ok(None),
        }
    }

    /// Returns the PUT that is the latest at the scan's timestamp.
    fn get_version(&mut self, user_key: &Key) -> Result<Option<(Write, TimeStamp)>> {
        if !self.move_write_cursor_to_ts(user_key)? {
            return Ok(None);
        }
        loop {
            let (key, commit_ts) = Key::split_on_ts_for(self.cursors.write.key())?;
            if key != user_key.as_encoded().as_slice() {
                return Ok(None);
            }
            let write = WriteRef::parse(self.cursors.write.value())?;
            self.cursors.cfg.stamp_version(user_key, commit_ts, &write);
            if !write.check_gc_fence_as_latest_version(self.cursors.cfg.ts) {
                return Ok(None);
            }
            match (write.write_type, write.last_change) {
                (WriteType::Put, _) => return Ok(Some((copy_write(&write), commit_ts))),
                (WriteType::Delete, _) | (_, LastChange::NotExist) => return Ok(None),
                (_, LastChange::Exist { last_change_ts, estimated_versions_to_last_change: versions })
                    if versions >= SEEK_BOUND =>
                {
                    return self.load_last_change(user_key, last_change_ts);
                }
                _ => {}
            }
            if !self.cursors.write.next(&mut self.cursors.statistics.write)? {
                return Ok(None);
            }
        }
    }

    fn load_last_change(
        &mut self,
        user_key: &Key,
        commit_ts: TimeStamp,
    ) -> Result<Option<(Write, TimeStamp)>> {
        let key = user_key.clone().append_ts(commit_ts);
        if !self.cursors.write.seek(&key, &mut self.cursors.statistics.write)?
            || self.cursors.write.key() != key.as_encoded()
        {
            return Ok(None);
        }
        let write = WriteRef::parse(self.cursors.write.value())?;
        check_last_change(write.write_type, user_key, commit_ts)?;
        let counts =
            write.check_gc_fence_as_latest_version(self.cursors.cfg.ts) && write.write_type == WriteType::Put;
        Ok(counts.then(|| (copy_write(&write), commit_ts)))
    }

    /// Moves from the newest version of `user_key` down to the timestamp; false if no version is left.
    fn move_write_cursor_to_ts(&mut self, user_key: &Key) -> Result<bool> {
        for step in 0..SEEK_BOUND {
            if step > 0 && !self.cursors.write.next(&mut self.cursors.statistics.write)? {
                return Ok(false);
            }
            let (key, commit_ts) = Key::split_on_ts_for(self.cursors.write.key())?;
            if key != user_key.as_encoded().as_slice() {
                return Ok(false);
            }
            if commit_ts <= self.cursors.cfg.ts {
                return Ok(true);
            }
            if self.cursors.cfg.isolation_level == IsolationLevel::RcCheckTs {
                return Err(rc_check_ts_conflict(self.cursors.cfg.ts, commit_ts, user_key)?);
            }
        }
        self.cursors.statistics.write.over_seek_bound += 1;
        let key = user_key.clone().append_ts(self.cursors.cfg.ts);
        let found = self.cursors.write.seek(&key, &mut self.cursors.statistics.write)?;
        Ok(found && Key::is_user_key_eq(self.cursors.write.key(), user_key.as_encoded()))
    }

    /// Moves after all versions of `user_key`, by steps if they are few.
    fn move_write_cursor_to_next_user_key(&mut self, user_key: &Key) -> Result<()> {
        for step in 0..SEEK_BOUND {
            if step > 0 {
                self.cursors.write.next(&mut self.cursors.statistics.write)?;
            }
            if !self.cursors.write.valid()?
                || Key::truncate_ts_for(self.cursors.write.key())? > user_key.as_encoded().as_slice()
            {
                return Ok(());
            }
        }
        self.cursors.statistics.write.over_seek_bound += 1;
        // Zero is the last timestamp of a key; skip a version at zero, too.
        let last = user_key.clone().append_ts(TimeStamp::zero());
        if self.cursors.write.seek(&last, &mut self.cursors.statistics.write)?
            && self.cursors.write.key() == last.as_encoded()
        {
            self.cursors.write.next(&mut self.cursors.statistics.write)?;
        }
        Ok(())
    }
}

impl<S: Snapshot> EntryScanner for ForwardScanner<S> {
    fn read_next(&mut self) -> Result<Option<(Key, ValueEntry)>> {
        read_next(self, |scanner| &mut scanner.cursors, Self::read_key)
    }

    fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.cursors.statistics)
    }
}
