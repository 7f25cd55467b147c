//! Scanners: read ranges of keys at one timestamp, forward and backward.
//!
//! Mirrors `src/storage/mvcc/reader/scanner`.
mod backward;
mod cursors;
mod forward;

pub use backward::BackwardScanner;
pub use forward::ForwardScanner;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use kvproto::kvrpcpb::IsolationLevel;
use tikv_kv::{IterOptions, Snapshot};
use tracepoints::Req;
use txn_types::{Key, Lock, LockOrSharedLocks, LockType, TimeStamp, TsSet, Value, Write, WriteRef};

use super::{ValueEntry, default_not_found_error};
use crate::{
    mvcc::{cursor::Cursor, error::Result, facts, need_check_locks},
    statistics::Statistics,
};

/// Settings of a scan.
#[derive(Clone)]
pub struct ScannerConfig<S: Snapshot> {
    /// Snapshot that is read.
    pub snapshot: S,
    /// Timestamp of the read.
    pub ts: TimeStamp,
    /// Encoded, without a timestamp.
    pub lower_bound: Option<Key>,
    /// Excluded.
    pub upper_bound: Option<Key>,
    /// Isolation level of the read.
    pub isolation_level: IsolationLevel,
    /// Whether blocks read enter the block cache.
    pub fill_cache: bool,
    /// Leave values empty.
    pub omit_value: bool,
    /// Whether to return the commit timestamps.
    pub load_commit_ts: bool,
    /// Transactions whose locks the read ignores, since they are committed later or rolled back.
    pub bypass_locks: TsSet,
    /// Transactions whose locks the read looks through, since they are committed before.
    pub access_locks: TsSet,
    /// Whether to read in descending order.
    pub desc: bool,
    /// The request to stamp for.
    pub req: Req,
}

impl<S: Snapshot> ScannerConfig<S> {
    /// Creates a forward scan of all keys at `ts` under SI.
    pub fn new(snapshot: S, ts: TimeStamp) -> Self {
        Self {
            snapshot,
            ts,
            lower_bound: None,
            upper_bound: None,
            isolation_level: IsolationLevel::Si,
            fill_cache: true,
            omit_value: false,
            load_commit_ts: false,
            bypass_locks: TsSet::Empty,
            access_locks: TsSet::Empty,
            desc: false,
            req: Req::NONE,
        }
    }

    /// Opens the scanner.
    pub fn build(self) -> Result<Scanner<S>> {
        Ok(if self.desc {
            Scanner::Backward(BackwardScanner::new(self)?)
        } else {
            Scanner::Forward(ForwardScanner::new(self)?)
        })
    }

    fn open(&self, cf: &'static str) -> Result<Cursor<S::Iter>> {
        let bound = |key: &Option<Key>| key.as_ref().map(|k| k.as_encoded().clone());
        let opts = IterOptions {
            lower_bound: bound(&self.lower_bound),
            upper_bound: bound(&self.upper_bound),
            fill_cache: self.fill_cache,
            ..IterOptions::default()
        };
        Ok(Cursor::open(&self.snapshot, cf, opts)?)
    }

    fn lock_cursor(&self) -> Result<Option<Cursor<S::Iter>>> {
        need_check_locks(self.isolation_level).then(|| self.open(CF_LOCK)).transpose()
    }

    fn write_cursor(&self) -> Result<Cursor<S::Iter>> {
        self.open(CF_WRITE)
    }

    /// Stamps a record of CF write that the scan passes.
    fn stamp_version(&self, user_key: &Key, commit_ts: TimeStamp, write: &WriteRef<'_>) {
        tracepoints::step_inside!(
            SCAN_WRITE_RECORD,
            self.req,
            facts::version(user_key, self.ts, commit_ts, write),
            commit_ts = commit_ts.into_inner(),
            start_ts = write.start_ts.into_inner(),
            write_type = write.write_type.to_u8(),
        );
    }

    /// Returns the lock in `data` if the read goes through it; `None` if it does not block the read.
    fn check_lock(&self, user_key: &Key, data: &[u8], stats: &mut Statistics) -> Result<Option<Lock>> {
        let LockOrSharedLocks::Lock(lock) = txn_types::parse_lock(data)? else { return Ok(None) };
        let (bypass, level) = (&self.bypass_locks, self.isolation_level);
        let checked = txn_types::check_ts_conflict(&lock, user_key, self.ts, bypass, level);
        tracepoints::facts!(self.req, facts::read_lock(user_key, Some(&lock), self.ts, checked.is_err()));
        let Err(e) = checked else {
            return Ok(None);
        };
        stats.lock.processed_keys += 1;
        let access = !self.load_commit_ts && self.access_locks.contains(lock.ts);
        if access { Ok(Some(lock)) } else { Err(e.into()) }
    }

    /// Returns the value of a lock that is read through; `None` for a DELETE.
    fn load_data_by_lock(
        &self,
        user_key: &Key,
        lock: Lock,
        stats: &mut Statistics,
    ) -> Result<Option<ValueEntry>> {
        if lock.lock_type != LockType::Put {
            return Ok(None);
        }
        let value = self.load_value(user_key, lock.short_value, lock.ts, stats)?;
        Ok(Some(ValueEntry { value, commit_ts: None }))
    }

    /// Returns the value of a PUT.
    fn load_data_by_write(
        &self,
        user_key: &Key,
        write: Write,
        commit_ts: TimeStamp,
        stats: &mut Statistics,
    ) -> Result<ValueEntry> {
        let value = self.load_value(user_key, write.short_value, write.start_ts, stats)?;
        Ok(ValueEntry { value, commit_ts: self.load_commit_ts.then_some(commit_ts) })
    }

    fn load_value(
        &self,
        user_key: &Key,
        short_value: Option<Value>,
        start_ts: TimeStamp,
        stats: &mut Statistics,
    ) -> Result<Value> {
        if self.omit_value {
            return Ok(Value::new());
        }
        if let Some(value) = short_value {
            return Ok(value);
        }
        stats.data.get += 1;
        match self.snapshot.get_cf(CF_DEFAULT, &user_key.clone().append_ts(start_ts))? {
            Some(value) => {
                stats.data.processed_keys += 1;
                Ok(value)
            }
            None => Err(default_not_found_error(user_key, start_ts)),
        }
    }
}

/// Reads keys one at a time. After an error for a key (a lock), the next call returns the next key.
pub trait EntryScanner {
    /// Returns the next key with a value, in the scan's direction.
    fn read_next(&mut self) -> Result<Option<(Key, ValueEntry)>>;
    /// Takes the statistics since the last call.
    fn take_statistics(&mut self) -> Statistics;
}

/// Scanner in either direction.
pub enum Scanner<S: Snapshot> {
    /// In ascending order.
    Forward(ForwardScanner<S>),
    /// In descending order.
    Backward(BackwardScanner<S>),
}

impl<S: Snapshot> EntryScanner for Scanner<S> {
    fn read_next(&mut self) -> Result<Option<(Key, ValueEntry)>> {
        match self {
            Scanner::Forward(scanner) => scanner.read_next(),
            Scanner::Backward(scanner) => scanner.read_next(),
        }
    }

    fn take_statistics(&mut self) -> Statistics {
        match self {
            Scanner::Forward(scanner) => scanner.take_statistics(),
            Scanner::Backward(scanner) => scanner.take_statistics(),
        }
    }
}
