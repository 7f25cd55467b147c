//! The point getter: reads one key at one timestamp, with gets instead of seeks where possible.
//!
//! Mirrors `src/storage/mvcc/reader/point_getter.rs`.
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use kvproto::kvrpcpb::{IsolationLevel, write_conflict::Reason};
use tikv_kv::{IterOptions, Snapshot};
use tracepoints::{Probe, Req};
use txn_types::{
    Key, LastChange, Lock, LockOrSharedLocks, LockType, TimeStamp, TsSet, Value, Write, WriteConflict,
    WriteRef, WriteType,
};

use super::{ValueEntry, check_last_change, copy_write, default_not_found_error};
use crate::{
    mvcc::{
        cursor::{Cursor, SEEK_BOUND},
        error::{Error, ErrorInner, Result},
        facts, need_check_locks,
        probe::mvcc_rows,
    },
    statistics::Statistics,
};

/// Builds a [`PointGetter`].
pub struct PointGetterBuilder<S: Snapshot> {
    snapshot: S,
    ts: TimeStamp,
    req: Req,
    fill_cache: bool,
    omit_value: bool,
    isolation_level: IsolationLevel,
    bypass_locks: TsSet,
    access_locks: TsSet,
}

impl<S: Snapshot> PointGetterBuilder<S> {
    /// Creates a builder for reads of `snapshot` at `ts`.
    pub fn new(snapshot: S, ts: TimeStamp) -> Self {
        Self {
            snapshot,
            ts,
            req: Req::NONE,
            fill_cache: true,
            omit_value: false,
            isolation_level: IsolationLevel::Si,
            bypass_locks: TsSet::Empty,
            access_locks: TsSet::Empty,
        }
    }

    /// Sets the request to stamp for.
    #[must_use]
    pub fn req(mut self, req: Req) -> Self {
        self.req = req;
        self
    }

    /// Sets whether blocks read enter the block cache; yes by default.
    #[must_use]
    pub fn fill_cache(mut self, fill_cache: bool) -> Self {
        self.fill_cache = fill_cache;
        self
    }

    /// Sets whether only the existence of the key matters; values are empty then.
    #[must_use]
    pub fn omit_value(mut self, omit_value: bool) -> Self {
        self.omit_value = omit_value;
        self
    }

    /// Sets the isolation level; SI by default.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.isolation_level = level;
        self
    }

    /// Sets the transactions whose locks are ignored.
    #[must_use]
    pub fn bypass_locks(mut self, locks: TsSet) -> Self {
        self.bypass_locks = locks;
        self
    }

    /// Sets the committed transactions whose locks are read through.
    #[must_use]
    pub fn access_locks(mut self, locks: TsSet) -> Self {
        self.access_locks = locks;
        self
    }

    /// Opens the cursor on CF write.
    pub fn build(self) -> Result<PointGetter<S>> {
        let opts =
            IterOptions { fill_cache: self.fill_cache, prefix_same_as_start: true, ..Default::default() };
        let write_cursor = Cursor::open(&self.snapshot, CF_WRITE, opts)?;
        Ok(PointGetter { with: self, statistics: Statistics::default(), write_cursor })
    }
}

/// Reads single keys at one timestamp. Reuses its cursor on CF write.
pub struct PointGetter<S: Snapshot> {
    with: PointGetterBuilder<S>,
    statistics: Statistics,
    write_cursor: Cursor<S::Iter>,
}

/// Record that determines the result.
struct Version {
    write: Write,
    commit_ts: TimeStamp,
}

impl<S: Snapshot> PointGetter<S> {
    /// Takes the statistics since the last call.
    pub fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.statistics)
    }

    /// Reads the value of `user_key`.
    pub fn get(&mut self, user_key: &Key) -> Result<Option<Value>> {
        Ok(self.get_entry(user_key, false)?.map(|entry| entry.value))
    }

    /// Reads the value of `user_key`; with its commit timestamp if `load_commit_ts`. A lock has no commit
    /// timestamp, so access_locks are ignored then.
    pub fn get_entry(&mut self, user_key: &Key, load_commit_ts: bool) -> Result<Option<ValueEntry>> {
        let (req, ts) = (self.with.req, self.with.ts);
        let rows = || Probe::Mvcc(mvcc_rows(&self.with.snapshot, user_key, ts, None));
        step_thread_probe!(
            MVCC_GET,
            req,
            rows,
            ts = ts.into_inner(),
            isolation = self.with.isolation_level as i32
        );
        if need_check_locks(self.with.isolation_level)
            && let Some(lock) = self.load_and_check_lock(user_key, !load_commit_ts)?
        {
            let value = self.load_data_from_lock(user_key, lock)?;
            return Ok(value.map(|value| ValueEntry { value, commit_ts: None }));
        }
        let version = self.load_data(user_key)?;
        self.publish_version(user_key, version.as_ref());
        let Some(Version { write, commit_ts }) = version.filter(|v| v.write.write_type == WriteType::Put)
        else {
            return Ok(None);
        };
        self.statistics.write.processed_keys += 1;
        let value = self.value_of(user_key, write)?;
        Ok(Some(ValueEntry { value, commit_ts: load_commit_ts.then_some(commit_ts) }))
    }

    /// Stamps the record that determines the result; zeros if there is none.
    fn publish_version(&self, user_key: &Key, version: Option<&Version>) {
        let (req, read_ts) = (self.with.req, self.with.ts);
        let put = version.filter(|v| v.write.write_type == WriteType::Put);
        let chosen = put.map(|v| v.commit_ts.into_inner());
        let rows = || Probe::Mvcc(mvcc_rows(&self.with.snapshot, user_key, read_ts, chosen));
        step_thread_probe!(
            WRITE_CF_FOUND,
            req,
            rows,
            write_type = version.map_or(0, |v| v.write.write_type.to_u8()),
            start_ts = version.map_or(0, |v| v.write.start_ts.into_inner()),
            commit_ts = version.map_or(0, |v| v.commit_ts.into_inner()),
            short = version.is_some_and(|v| v.write.short_value.is_some()),
        );
    }

    /// Returns the lock on `user_key` if the read goes through it; `None` if no lock blocks the read.
    ///
    /// Uses a get, not a seek: most keys have no lock, and a seek would step over tombstones of old locks.
    fn load_and_check_lock(&mut self, user_key: &Key, extract_access_lock: bool) -> Result<Option<Lock>> {
        tracepoints::step_thread!(LOCK_CF_GET, self.with.req, ts = self.with.ts.into_inner());
        self.statistics.lock.get += 1;
        let Some(data) = self.with.snapshot.get_cf(CF_LOCK, user_key)? else {
            tracepoints::facts!(self.with.req, facts::read_lock(user_key, None, self.with.ts, false));
            return Ok(None);
        };
        // Shared locks never conflict with reads.
        let LockOrSharedLocks::Lock(lock) = txn_types::parse_lock(&data)? else { return Ok(None) };
        let (ts, level) = (self.with.ts, self.with.isolation_level);
        let checked = txn_types::check_ts_conflict(&lock, user_key, ts, &self.with.bypass_locks, level);
        tracepoints::facts!(self.with.req, facts::read_lock(user_key, Some(&lock), ts, checked.is_err()));
        match checked {
            Ok(()) => Ok(None),
            Err(e) => {
                self.statistics.lock.processed_keys += 1;
                let access = extract_access_lock && self.with.access_locks.contains(lock.ts);
                if access { Ok(Some(lock)) } else { Err(e.into()) }
            }
        }
    }

    /// Returns the PUT or DELETE that is the latest at the reader's timestamp.
    fn load_data(&mut self, user_key: &Key) -> Result<Option<Version>> {
        let ts = self.with.ts;
        tracepoints::step_thread!(WRITE_CF_SEEK, self.with.req, ts = ts.into_inner());
        if self.with.isolation_level == IsolationLevel::RcCheckTs {
            self.check_newer_version(user_key)?;
        }
        let stats = &mut self.statistics.write;
        let mut found = self.write_cursor.seek(&user_key.clone().append_ts(ts), stats)?;
        while found && Key::is_user_key_eq(self.write_cursor.key(), user_key.as_encoded()) {
            let commit_ts = Key::decode_ts_from(self.write_cursor.key())?;
            let write = WriteRef::parse(self.write_cursor.value())?;
            tracepoints::step_inside!(
                WRITE_CF_RECORD,
                self.with.req,
                facts::version(user_key, ts, commit_ts, &write),
                commit_ts = commit_ts.into_inner(),
                start_ts = write.start_ts.into_inner(),
                write_type = write.write_type.to_u8(),
            );
            if !write.check_gc_fence_as_latest_version(ts) {
                return Ok(None);
            }
            match (write.write_type, write.last_change) {
                (WriteType::Put | WriteType::Delete, _) => {
                    return Ok(Some(Version { write: copy_write(&write), commit_ts }));
                }
                (_, LastChange::NotExist) => return Ok(None),
                (_, LastChange::Exist { last_change_ts, estimated_versions_to_last_change: versions })
                    if versions >= SEEK_BOUND =>
                {
                    return self.load_last_change(user_key, last_change_ts);
                }
                _ => found = self.write_cursor.next(&mut self.statistics.write)?,
            }
        }
        Ok(None)
    }

    /// Skips LOCK and ROLLBACK records by their `last_change`.
    fn load_last_change(&mut self, user_key: &Key, commit_ts: TimeStamp) -> Result<Option<Version>> {
        self.statistics.write.get += 1;
        let key = user_key.clone().append_ts(commit_ts);
        let Some(data) = self.with.snapshot.get_cf(CF_WRITE, &key)? else { return Ok(None) };
        let write = WriteRef::parse(&data)?;
        check_last_change(write.write_type, user_key, commit_ts)?;
        let counts = write.check_gc_fence_as_latest_version(self.with.ts);
        Ok(counts.then(|| Version { write: copy_write(&write), commit_ts }))
    }

    /// For RCCheckTS: returns a conflict for any record newer than the reader's timestamp.
    fn check_newer_version(&mut self, user_key: &Key) -> Result<()> {
        let newest = user_key.clone().append_ts(TimeStamp::max());
        if !self.write_cursor.seek(&newest, &mut self.statistics.write)? {
            return Ok(());
        }
        let (key, commit_ts) = Key::split_on_ts_for(self.write_cursor.key())?;
        if key == user_key.as_encoded().as_slice() && commit_ts > self.with.ts {
            return Err(rc_check_ts_conflict(self.with.ts, commit_ts, user_key)?);
        }
        Ok(())
    }

    fn value_of(&mut self, user_key: &Key, write: Write) -> Result<Value> {
        if self.with.omit_value {
            return Ok(Value::new());
        }
        let value = match write.short_value {
            Some(value) => value,
            None => self.load_data_from_default_cf(write.start_ts, user_key)?,
        };
        self.statistics.processed_size += user_key.len() + value.len();
        Ok(value)
    }

    /// Uses a get, not a seek: keys of a batch are rarely neighbours.
    fn load_data_from_default_cf(&mut self, write_start_ts: TimeStamp, user_key: &Key) -> Result<Value> {
        tracepoints::step_thread!(DEFAULT_CF_GET, self.with.req, start_ts = write_start_ts.into_inner());
        self.statistics.data.get += 1;
        match self.with.snapshot.get_cf(CF_DEFAULT, &user_key.clone().append_ts(write_start_ts))? {
            Some(value) => {
                self.statistics.data.processed_keys += 1;
                Ok(value)
            }
            None => Err(default_not_found_error(user_key, write_start_ts)),
        }
    }

    /// Returns the value in a lock whose transaction is known to be committed below the reader's timestamp.
    fn load_data_from_lock(&mut self, user_key: &Key, lock: Lock) -> Result<Option<Value>> {
        match lock.lock_type {
            LockType::Put => {
                let mut write = Write::new(WriteType::Put, lock.ts, lock.short_value);
                write.txn_source = lock.txn_source;
                Ok(Some(self.value_of(user_key, write)?))
            }
            LockType::Delete => Ok(None),
            // These types conflict with no read, so no read goes through them.
            LockType::Lock | LockType::Pessimistic | LockType::Shared => Err(ErrorInner::Other(format!(
                "expected a PUT or DELETE lock on key {user_key}, found {:?}",
                lock.lock_type
            ))
            .into()),
        }
    }
}

/// Creates the conflict of an RCCheckTS read at `ts` with a version committed at `commit_ts`.
pub(super) fn rc_check_ts_conflict(ts: TimeStamp, commit_ts: TimeStamp, user_key: &Key) -> Result<Error> {
    Ok(WriteConflict {
        start_ts: ts,
        conflict_start_ts: TimeStamp::zero(),
        conflict_commit_ts: commit_ts,
        key: user_key.to_raw()?,
        primary: Vec::new(),
        reason: Reason::RcCheckTs,
    }
    .into())
}
