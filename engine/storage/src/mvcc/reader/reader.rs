//! The reader for commands: locks, write records by timestamp, the outcome of a transaction.
//!
//! Mirrors `src/storage/mvcc/reader/reader.rs`.
use std::collections::BTreeMap;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use tikv_kv::{IterOptions, PeerPessimisticLocks, Snapshot};
use tracepoints::{Facts, Req};
use txn_types::{
    Key, LastChange, Lock, LockOrSharedLocks, PessimisticLock, TimeStamp, Value, Write, WriteRef, WriteType,
};

use super::{check_last_change, copy_write, default_not_found_error};
use crate::{
    mvcc::{
        cursor::{Cursor, SEEK_BOUND, ScanMode},
        error::Result,
        facts,
    },
    statistics::Statistics,
};

/// Record at exactly the start_ts of a transaction that needs a rollback record there.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlappedWrite {
    /// The later record that has the rollback's timestamp as its commit timestamp.
    pub write: Write,
    /// commit_ts of the next newer PUT or DELETE; zero if there is none.
    pub gc_fence: TimeStamp,
}

/// Outcome of a transaction on a key.
#[derive(Debug)]
pub enum TxnCommitRecord {
    /// No record of the transaction.
    None {
        /// Record of another transaction that a rollback here would overwrite.
        overlapped_write: Option<OverlappedWrite>,
    },
    /// The transaction's own record: committed or rolled back.
    SingleRecord {
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
        /// The record.
        write: Write,
    },
    /// Rolled back, as marked in the record of another transaction committed at this start_ts.
    OverlappedRollback {
        /// Commit timestamp of the transaction.
        commit_ts: TimeStamp,
    },
}

/// Reads a snapshot for one transaction.
///
/// TiKV: `SnapshotReader`.
pub struct SnapshotReader<S: Snapshot> {
    /// Reader of all transactions.
    pub reader: MvccReader<S>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
}

impl<S: Snapshot> SnapshotReader<S> {
    /// Creates a reader for the transaction of `start_ts`.
    pub fn new(start_ts: TimeStamp, snapshot: S, fill_cache: bool) -> Self {
        Self { reader: MvccReader::new(snapshot, None, fill_cache), start_ts }
    }

    /// See [`MvccReader::get_txn_commit_record`].
    pub fn get_txn_commit_record(&mut self, key: &Key) -> Result<TxnCommitRecord> {
        self.reader.get_txn_commit_record(key, self.start_ts)
    }

    /// See [`MvccReader::load_lock`].
    pub fn load_lock(&mut self, key: &Key) -> Result<Option<LockOrSharedLocks>> {
        let lock = self.reader.load_lock(key)?;
        let single = lock.as_ref().and_then(|lock| match lock {
            LockOrSharedLocks::Lock(lock) => Some(lock),
            LockOrSharedLocks::Shared(_) => None,
        });
        tracepoints::step_inside!(
            MVCC_LOAD_LOCK,
            self.reader.req,
            facts::loaded_lock(key, self.start_ts, lock.as_ref()),
            start_ts = self.start_ts.into_inner(),
            found = lock.is_some(),
            lock_ts = single.map_or(0, |lock| lock.ts.into_inner()),
            lock_ttl = single.map_or(0, |lock| lock.ttl),
        );
        Ok(lock)
    }

    /// See [`MvccReader::seek_write`].
    pub fn seek_write(&mut self, key: &Key, ts: TimeStamp) -> Result<Option<(TimeStamp, Write)>> {
        self.reader.seek_write(key, ts)
    }

    /// Returns the PUT visible at `ts`, unless GC has removed it.
    pub fn get_write(&mut self, key: &Key, ts: TimeStamp) -> Result<Option<Write>> {
        Ok(self.get_write_with_commit_ts(key, ts)?.map(|(write, _)| write))
    }

    /// Like [`SnapshotReader::get_write`], with the commit timestamp.
    pub fn get_write_with_commit_ts(
        &mut self,
        key: &Key,
        ts: TimeStamp,
    ) -> Result<Option<(Write, TimeStamp)>> {
        self.reader.get_write_with_commit_ts(key, ts, Some(self.start_ts))
    }

    /// Returns the value visible at `ts`.
    pub fn get(&mut self, key: &Key, ts: TimeStamp) -> Result<Option<Value>> {
        match self.get_write(key, ts)? {
            Some(write) => Ok(Some(self.load_data(key, write)?)),
            None => Ok(None),
        }
    }

    /// See [`MvccReader::load_data`].
    pub fn load_data(&mut self, key: &Key, write: Write) -> Result<Value> {
        self.reader.load_data(key, write)
    }
}

/// Reads a snapshot.
///
/// TiKV: `MvccReader`.
pub struct MvccReader<S: Snapshot> {
    snapshot: S,
    /// Statistics of the operations.
    pub statistics: Statistics,
    /// The request to stamp for.
    pub req: Req,
    lock_cursor: Option<Cursor<S::Iter>>,
    write_cursor: Option<Cursor<S::Iter>>,
    /// `None`: single keys, each by a prefix seek.
    scan_mode: Option<ScanMode>,
    /// Key to which the prefix limits the write cursor.
    current_key: Option<Key>,
    fill_cache: bool,
}

impl<S: Snapshot> MvccReader<S> {
    /// Creates a reader; `scan_mode` is `None` for point reads.
    pub fn new(snapshot: S, scan_mode: Option<ScanMode>, fill_cache: bool) -> Self {
        Self {
            snapshot,
            statistics: Statistics::default(),
            req: Req::NONE,
            lock_cursor: None,
            write_cursor: None,
            scan_mode,
            current_key: None,
            fill_cache,
        }
    }

    /// Returns the snapshot that is read.
    pub fn snapshot(&self) -> &S {
        &self.snapshot
    }

    /// Returns the value of `write`, which must be a PUT: its short value, or the one in CF default.
    pub fn load_data(&mut self, key: &Key, write: Write) -> Result<Value> {
        debug_assert_eq!(write.write_type, WriteType::Put);
        if let Some(value) = write.short_value {
            return Ok(value);
        }
        self.statistics.data.get += 1;
        match self.snapshot.get_cf(CF_DEFAULT, &key.clone().append_ts(write.start_ts))? {
            Some(value) => {
                self.statistics.data.processed_keys += 1;
                Ok(value)
            }
            None => Err(default_not_found_error(key, write.start_ts)),
        }
    }

    /// Returns the lock on `key`: the one in the leader's memory, if there is one.
    ///
    /// # Errors
    /// A region error if the leader or the region has changed since the snapshot.
    pub fn load_lock(&mut self, key: &Key) -> Result<Option<LockOrSharedLocks>> {
        match self.snapshot.read_pessimistic_locks(|locks| locks.get(key).cloned())?.flatten() {
            Some(lock) => Ok(Some(LockOrSharedLocks::Lock(lock.into_lock()))),
            None => self.load_stored_lock(key),
        }
    }

    /// Returns the lock on `key` in CF lock.
    pub fn load_stored_lock(&mut self, key: &Key) -> Result<Option<LockOrSharedLocks>> {
        self.statistics.lock.get += 1;
        let Some(data) = self.snapshot.get_cf(CF_LOCK, key)? else { return Ok(None) };
        self.statistics.lock.processed_keys += 1;
        Ok(Some(txn_types::parse_lock(&data)?))
    }

    /// Returns the newest record of `key`, of any type, that was committed at or before `ts`.
    pub fn seek_write(&mut self, key: &Key, ts: TimeStamp) -> Result<Option<(TimeStamp, Write)>> {
        if self.scan_mode.is_none() && self.current_key.as_ref() != Some(key) {
            self.current_key = Some(key.clone());
            self.write_cursor = None;
        }
        let cursor = write_cursor(&mut self.write_cursor, &self.snapshot, self.scan_mode, self.fill_cache)?;
        let mut found = None;
        if cursor.near_seek(&key.clone().append_ts(ts), &mut self.statistics.write)? {
            let (user_key, commit_ts) = Key::split_on_ts_for(cursor.key())?;
            if user_key == key.as_encoded().as_slice() {
                found = Some((commit_ts, copy_write(&WriteRef::parse(cursor.value())?)));
            }
        }
        tracepoints::step_inside!(
            MVCC_SEEK_WRITE,
            self.req,
            facts::sought(key, ts, found.as_ref()),
            commit_ts = found.as_ref().map_or(0, |(commit_ts, _)| commit_ts.into_inner()),
            start_ts = found.as_ref().map_or(0, |(_, write)| write.start_ts.into_inner()),
            write_type = found.as_ref().map_or(0, |(_, write)| write.write_type.to_u8()),
        );
        Ok(found)
    }

    /// Returns the PUT of `key` that is the latest at `ts`, with its commit timestamp. With `gc_fence_limit`,
    /// ignores a record that GC has removed at that timestamp.
    pub fn get_write_with_commit_ts(
        &mut self,
        key: &Key,
        mut ts: TimeStamp,
        gc_fence_limit: Option<TimeStamp>,
    ) -> Result<Option<(Write, TimeStamp)>> {
        loop {
            let Some((mut commit_ts, mut write)) = self.seek_write(key, ts)? else { return Ok(None) };
            let gone =
                |w: &Write| gc_fence_limit.is_some_and(|at| !w.as_ref().check_gc_fence_as_latest_version(at));
            if gone(&write) {
                return Ok(None);
            }
            if let WriteType::Lock | WriteType::Rollback = write.write_type {
                match write.last_change {
                    LastChange::NotExist => return Ok(None),
                    LastChange::Exist { last_change_ts, estimated_versions_to_last_change: versions }
                        if versions >= SEEK_BOUND =>
                    {
                        let Some(found) = self.load_write(key, last_change_ts)? else { return Ok(None) };
                        (commit_ts, write) = (last_change_ts, found);
                        if gone(&write) {
                            return Ok(None);
                        }
                    }
                    _ if commit_ts.is_zero() => return Ok(None),
                    _ => {
                        ts = commit_ts.prev();
                        continue;
                    }
                }
            }
            return Ok((write.write_type == WriteType::Put).then_some((write, commit_ts)));
        }
    }

    /// Returns the record of `key` at exactly `commit_ts`, which must be a PUT or a DELETE.
    fn load_write(&mut self, key: &Key, commit_ts: TimeStamp) -> Result<Option<Write>> {
        self.statistics.write.get += 1;
        let Some(data) = self.snapshot.get_cf(CF_WRITE, &key.clone().append_ts(commit_ts))? else {
            return Ok(None);
        };
        let write = copy_write(&WriteRef::parse(&data)?);
        check_last_change(write.write_type, key, commit_ts)?;
        Ok(Some(write))
    }

    /// Returns the outcome, on `key`, of the transaction that started at `start_ts`.
    pub fn get_txn_commit_record(&mut self, key: &Key, start_ts: TimeStamp) -> Result<TxnCommitRecord> {
        let record = self.find_txn_commit_record(key, start_ts)?;
        tracepoints::step_inside!(
            MVCC_TXN_RECORD,
            self.req,
            commit_record_facts(key, start_ts, &record),
            start_ts = start_ts.into_inner(),
            found = !matches!(record, TxnCommitRecord::None { .. }),
        );
        Ok(record)
    }

    fn find_txn_commit_record(&mut self, key: &Key, start_ts: TimeStamp) -> Result<TxnCommitRecord> {
        let mut seek_ts = TimeStamp::max();
        let mut gc_fence = TimeStamp::zero();
        while let Some((commit_ts, write)) = self.seek_write(key, seek_ts)? {
            if write.start_ts == start_ts {
                return Ok(TxnCommitRecord::SingleRecord { commit_ts, write });
            }
            if commit_ts == start_ts {
                if write.has_overlapped_rollback {
                    return Ok(TxnCommitRecord::OverlappedRollback { commit_ts });
                }
                let overlapped_write = Some(OverlappedWrite { write, gc_fence });
                return Ok(TxnCommitRecord::None { overlapped_write });
            }
            if let WriteType::Put | WriteType::Delete = write.write_type {
                gc_fence = commit_ts;
            }
            if commit_ts < start_ts || commit_ts.is_zero() {
                break;
            }
            seek_ts = commit_ts.prev();
        }
        Ok(TxnCommitRecord::None { overlapped_write: None })
    }

    /// Returns the first key of the region with a record of the transaction that started at `ts`. Reads all
    /// records up to that key.
    pub fn seek_ts(&mut self, ts: TimeStamp) -> Result<Option<Key>> {
        let cursor = write_cursor(&mut self.write_cursor, &self.snapshot, self.scan_mode, self.fill_cache)?;
        let stats = &mut self.statistics.write;
        let mut found = cursor.seek_to_first(stats)?;
        while found {
            if WriteRef::parse(cursor.value())?.start_ts == ts {
                let (user_key, _) = Key::split_on_ts_for(cursor.key())?;
                return Ok(Some(Key::from_encoded_slice(user_key)));
            }
            found = cursor.next(stats)?;
        }
        Ok(None)
    }

    /// Returns up to `limit` keys with a write record, from `start` (included), and the start of the next call;
    /// `None` at the end.
    pub fn scan_keys(&mut self, start: Option<Key>, limit: usize) -> Result<(Vec<Key>, Option<Key>)> {
        let cursor = write_cursor(&mut self.write_cursor, &self.snapshot, self.scan_mode, self.fill_cache)?;
        let (stats, mut keys) = (&mut self.statistics.write, Vec::new());
        let mut found = match &start {
            Some(key) => cursor.seek(key, stats)?,
            None => cursor.seek_to_first(stats)?,
        };
        while found {
            let (user_key, _) = Key::split_on_ts_for(cursor.key())?;
            let key = Key::from_encoded_slice(user_key);
            // No version has timestamp zero, so this is after all versions of the key.
            let next = key.clone().append_ts(TimeStamp::zero());
            keys.push(key);
            if keys.len() >= limit {
                return Ok((keys, Some(next)));
            }
            found = cursor.near_seek(&next, stats)?;
        }
        Ok((keys, None))
    }

    /// Returns all values of `key` in CF default, from new to old, each with its start timestamp.
    pub fn scan_values_in_default(&mut self, key: &Key) -> Result<Vec<(TimeStamp, Value)>> {
        let opts = IterOptions { fill_cache: self.fill_cache, ..Default::default() };
        let mut cursor = Cursor::open(&self.snapshot, CF_DEFAULT, opts)?;
        let stats = &mut self.statistics.data;
        let mut values = Vec::new();
        let mut found = cursor.seek(key, stats)?;
        while found {
            let (user_key, ts) = Key::split_on_ts_for(cursor.key())?;
            if user_key != key.as_encoded().as_slice() {
                break;
            }
            values.push((ts, cursor.value().to_vec()));
            found = cursor.next(stats)?;
        }
        Ok(values)
    }

    /// Returns keys from `start` (included) to `end` (excluded) with a PUT or DELETE committed after
    /// `version`, each with the newest commit timestamp; at most `limit`. TiKV: `scan_latest_user_keys`.
    pub fn scan_changed_keys(
        &mut self,
        start: &Key,
        end: Option<&Key>,
        version: TimeStamp,
        limit: usize,
    ) -> Result<Vec<(Key, TimeStamp)>> {
        let cursor = write_cursor(&mut self.write_cursor, &self.snapshot, self.scan_mode, self.fill_cache)?;
        let stats = &mut self.statistics.write;
        let mut changed = Vec::new();
        let mut found = cursor.seek(start, stats)?;
        while found && changed.len() < limit {
            let (user_key, commit_ts) = Key::split_on_ts_for(cursor.key())?;
            if end.is_some_and(|end| user_key >= end.as_encoded().as_slice()) {
                break;
            }
            let is_change =
                matches!(WriteRef::parse(cursor.value())?.write_type, WriteType::Put | WriteType::Delete);
            if commit_ts > version && !is_change {
                found = cursor.next(stats)?;
                continue;
            }
            let user_key = Key::from_encoded_slice(user_key);
            // Seek after all versions of the key; a version at timestamp zero does not exist.
            let after_versions = user_key.clone().append_ts(TimeStamp::zero());
            if commit_ts > version {
                stats.processed_keys += 1;
                changed.push((user_key, commit_ts));
            }
            found = cursor.near_seek(&after_versions, stats)?;
        }
        Ok(changed)
    }

    /// Returns locks from `start` (included) to `end` (excluded) that pass `filter`, at most `limit` (0:
    /// unlimited), and whether there may be more. Of shared locks, returns those that pass.
    pub fn scan_locks(
        &mut self,
        start: Option<&Key>,
        end: Option<&Key>,
        filter: impl Fn(&Lock) -> bool,
        limit: usize,
    ) -> Result<(Vec<(Key, LockOrSharedLocks)>, bool)> {
        let wanted = |lock: &PessimisticLock| filter(&lock.to_lock());
        let scan = |locks: &PeerPessimisticLocks| locks.scan_locks(start, end, wanted, limit);
        let (in_memory, memory_cut) = self.snapshot.read_pessimistic_locks(scan)?.unwrap_or_default();
        let (stored, stored_cut) = self.scan_stored_locks(start, end, &filter, limit)?;
        if in_memory.is_empty() {
            return Ok((stored, stored_cut));
        }
        // Each list has the first keys of its kind, so the first keys of both together are complete. But each lock of
        // shared locks counts: a cut list of stored locks may have fewer keys than the limit.
        let mut locks: BTreeMap<_, _> = stored.into_iter().collect();
        let last = locks.last_key_value().filter(|_| stored_cut).map(|(key, _)| key.clone());
        for (key, lock) in in_memory {
            if last.as_ref().is_some_and(|last| key > *last) {
                break;
            }
            // A stored lock of another type is a prewrite, whose lock in memory is not yet removed.
            if locks.get(&key).is_none_or(is_pessimistic) {
                locks.insert(key, LockOrSharedLocks::Lock(lock));
            }
        }
        let cut = limit > 0 && locks.len() > limit;
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok((locks.into_iter().take(limit).collect(), cut || memory_cut || stored_cut))
    }

    /// Counts each lock of shared locks. TiKV: `scan_locks_from_storage`.
    fn scan_stored_locks(
        &mut self,
        start: Option<&Key>,
        end: Option<&Key>,
        filter: impl Fn(&Lock) -> bool,
        limit: usize,
    ) -> Result<(Vec<(Key, LockOrSharedLocks)>, bool)> {
        let cursor = match &mut self.lock_cursor {
            Some(cursor) => cursor,
            none => {
                let opts = IterOptions { fill_cache: self.fill_cache, ..Default::default() };
                none.insert(Cursor::open(&self.snapshot, CF_LOCK, opts)?)
            }
        };
        let stats = &mut self.statistics.lock;
        let mut found = match start {
            Some(key) => cursor.seek(key, stats)?,
            None => cursor.seek_to_first(stats)?,
        };
        let (mut locks, mut count) = (Vec::new(), 0);
        while found {
            if end.is_some_and(|end| cursor.key() >= end.as_encoded().as_slice()) {
                return Ok((locks, false));
            }
            let mut lock = txn_types::parse_lock(cursor.value())?;
            let passed = match &mut lock {
                LockOrSharedLocks::Lock(lock) => usize::from(filter(lock)),
                LockOrSharedLocks::Shared(shared) => {
                    shared.retain(&filter);
                    if limit > 0 {
                        shared.truncate_to(limit - count);
                    }
                    shared.len()
                }
            };
            if passed > 0 {
                count += passed;
                stats.processed_keys += passed;
                locks.push((Key::from_encoded_slice(cursor.key()), lock));
                if limit > 0 && count >= limit {
                    return Ok((locks, true));
                }
            }
            found = cursor.next(stats)?;
        }
        Ok((locks, false))
    }
}

fn is_pessimistic(lock: &LockOrSharedLocks) -> bool {
    matches!(lock, LockOrSharedLocks::Lock(lock) if lock.is_pessimistic_lock())
}

/// Shows the outcome of a transaction on a key.
fn commit_record_facts(key: &Key, start_ts: TimeStamp, record: &TxnCommitRecord) -> Facts {
    let out = facts::ts(facts::change("Outcome of the transaction", key), "start_ts", start_ts, "");
    match record {
        TxnCommitRecord::None { overlapped_write: None } => out.outcome("no record"),
        TxnCommitRecord::None { overlapped_write: Some(_) } => {
            out.outcome("no record").text("at start_ts", "another transaction was committed")
        }
        TxnCommitRecord::SingleRecord { write, .. } if write.write_type == WriteType::Rollback => {
            out.outcome("rolled back")
        }
        TxnCommitRecord::SingleRecord { commit_ts, .. } => {
            facts::ts(out, "commit_ts", *commit_ts, "").outcome("committed")
        }
        TxnCommitRecord::OverlappedRollback { commit_ts } => {
            facts::ts(out, "marked in the record at", *commit_ts, "").outcome("rolled back")
        }
    }
}

/// Returns the cursor of CF write in `slot`, and opens it first if there is none.
fn write_cursor<'a, S: Snapshot>(
    slot: &'a mut Option<Cursor<S::Iter>>,
    snapshot: &S,
    scan_mode: Option<ScanMode>,
    fill_cache: bool,
) -> Result<&'a mut Cursor<S::Iter>> {
    match slot {
        Some(cursor) => Ok(cursor),
        none => {
            let prefix_same_as_start = scan_mode.is_none();
            let opts = IterOptions { fill_cache, prefix_same_as_start, ..Default::default() };
            Ok(none.insert(Cursor::open(snapshot, CF_WRITE, opts)?))
        }
    }
}
