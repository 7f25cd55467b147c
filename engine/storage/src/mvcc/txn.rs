//! Collects the modifications of a command.
use std::fmt;

use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_WRITE};
use tikv_kv::Modify;
use tracepoints::Req;
use txn_types::{Key, Lock, LockOrSharedLocks, PessimisticLock, SharedLocks, TimeStamp, Value, Write};

use super::{error::Result, facts};
use crate::concurrency_manager::{ConcurrencyManager, KeyHandleGuard};

/// Approximate number of bytes after which a command on many locks ends its write.
pub const MAX_TXN_WRITE_SIZE: usize = 32 * 1024;

/// Lock that a command released.
#[derive(Debug, PartialEq, Clone)]
pub struct ReleasedLock {
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Zero if the transaction was rolled back.
    pub commit_ts: TimeStamp,
    /// Encoded key.
    pub key: Key,
    /// Whether the released lock was pessimistic.
    pub pessimistic: bool,
}

/// Modifications of one transaction's command, in order.
///
/// TiKV: `src/storage/mvcc/txn.rs` `MvccTxn`.
pub struct MvccTxn {
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Memory locks and max_ts of the store.
    pub concurrency_manager: ConcurrencyManager,
    /// Memory locks to keep until the write is applied.
    pub guards: Vec<KeyHandleGuard>,
    /// Keys to commit in one phase, their locks, and whether a pessimistic lock must be removed.
    pub locks_for_1pc: Vec<(Key, Lock, bool)>,
    /// Locks that the modifications remove; their waiters are woken.
    pub released_locks: Vec<ReleasedLock>,
    /// The request to stamp for.
    pub req: Req,
    modifies: Vec<Modify>,
    write_size: usize,
}

impl MvccTxn {
    /// Creates an empty set of changes of the transaction.
    pub fn new(start_ts: TimeStamp, concurrency_manager: ConcurrencyManager) -> MvccTxn {
        MvccTxn {
            start_ts,
            concurrency_manager,
            guards: Vec::new(),
            locks_for_1pc: Vec::new(),
            released_locks: Vec::new(),
            req: Req::NONE,
            modifies: Vec::new(),
            write_size: 0,
        }
    }

    /// Returns the modifications.
    pub fn into_modifies(self) -> Vec<Modify> {
        debug_assert!(self.locks_for_1pc.is_empty());
        self.modifies
    }

    /// Returns the bytes of the collected keys and values.
    pub fn write_size(&self) -> usize {
        self.write_size
    }

    fn push(&mut self, modify: Modify) {
        self.write_size += modify.size();
        self.modifies.push(modify);
    }

    /// Writes the lock record.
    pub fn put_lock(&mut self, key: Key, lock: &Lock) {
        tracepoints::step_inside!(
            MVCC_PUT_LOCK,
            self.req,
            facts::lock_rows(facts::change("Write a lock", &key), lock),
            start_ts = lock.ts.into_inner(),
            lock_ttl = lock.ttl,
            min_commit_ts = lock.min_commit_ts.into_inner(),
        );
        self.push(Modify::Put(CF_LOCK, key, lock.to_bytes()));
    }

    /// Writes a pessimistic lock record.
    pub fn put_pessimistic_lock(&mut self, key: Key, lock: PessimisticLock) {
        self.put_lock(key, &lock.into_lock());
    }

    /// Writes the record of locks that transactions share.
    pub fn put_shared_locks(&mut self, key: Key, shared: &SharedLocks) {
        tracepoints::step_inside!(
            MVCC_PUT_SHARED_LOCKS,
            self.req,
            facts::shared_rows(facts::change("Write shared locks", &key), shared),
            start_ts = self.start_ts.into_inner(),
            holders = shared.len(),
            shrink_only = shared.is_shrink_only(),
        );
        self.push(Modify::Put(CF_LOCK, key, shared.to_bytes()));
    }

    /// Removes the lock; `commit_ts` is zero for a rollback.
    pub fn unlock_key(&mut self, key: Key, pessimistic: bool, commit_ts: TimeStamp) {
        tracepoints::step_inside!(
            MVCC_UNLOCK_KEY,
            self.req,
            facts::change("Remove the lock", &key).ts("start_ts", self.start_ts.into_inner()),
            start_ts = self.start_ts.into_inner(),
            commit_ts = commit_ts.into_inner(),
        );
        let released = ReleasedLock { start_ts: self.start_ts, commit_ts, key: key.clone(), pessimistic };
        self.released_locks.push(released);
        self.push(Modify::Delete(CF_LOCK, key));
    }

    /// Writes a value that is too long for the records, for the transaction of `ts`.
    pub fn put_value(&mut self, key: Key, ts: TimeStamp, value: Value) {
        tracepoints::step_inside!(
            MVCC_PUT_VALUE,
            self.req,
            facts::change("Write a value to CF default", &key).bytes("value", &value),
            start_ts = ts.into_inner(),
            bytes = value.len(),
        );
        self.push(Modify::Put(CF_DEFAULT, key.append_ts(ts), value));
    }

    /// Deletes the value of the transaction of `ts`.
    pub fn delete_value(&mut self, key: Key, ts: TimeStamp) {
        tracepoints::step_inside!(
            MVCC_DELETE_VALUE,
            self.req,
            facts::change("Remove the value from CF default", &key).ts("start_ts", ts.into_inner()),
            start_ts = ts.into_inner(),
        );
        self.push(Modify::Delete(CF_DEFAULT, key.append_ts(ts)));
    }

    /// Writes the record of a commit or rollback at `ts`.
    pub fn put_write(&mut self, key: Key, ts: TimeStamp, write: &Write) {
        tracepoints::step_inside!(
            MVCC_PUT_WRITE,
            self.req,
            facts::put_write(&key, ts, write),
            commit_ts = ts.into_inner(),
            start_ts = write.start_ts.into_inner(),
            write_type = write.write_type.to_u8(),
        );
        self.push(Modify::Put(CF_WRITE, key.append_ts(ts), write.to_bytes()));
    }

    /// Deletes the record at `ts`.
    pub fn delete_write(&mut self, key: Key, ts: TimeStamp) {
        tracepoints::step_inside!(
            MVCC_DELETE_WRITE,
            self.req,
            facts::change("Remove a record", &key).ts("commit_ts", ts.into_inner()),
            commit_ts = ts.into_inner(),
        );
        self.push(Modify::Delete(CF_WRITE, key.append_ts(ts)));
    }

    /// Marks in another transaction's lock that this transaction is rolled back here: an async-commit
    /// transaction may be committed at our start_ts, and its record would overwrite our rollback record.
    pub fn mark_rollback_on_mismatching_lock(&mut self, key: &Key, mut lock: Lock, is_protected: bool) {
        let cannot_overlap = self.start_ts < lock.min_commit_ts || !lock.use_async_commit;
        if lock.ts == self.start_ts || !is_protected || cannot_overlap {
            return;
        }
        lock.rollback_ts.push(self.start_ts);
        self.put_lock(key.clone(), &lock);
    }

    /// Returns the lock that this command itself has put or removed, since a command may name a key twice.
    pub fn get_pending_lock(&self, key: &Key) -> Result<Option<Option<LockOrSharedLocks>>> {
        for modify in self.modifies.iter().rev() {
            match modify {
                Modify::Put(CF_LOCK, k, v) if k == key => return Ok(Some(Some(txn_types::parse_lock(v)?))),
                Modify::Delete(CF_LOCK, k) if k == key => return Ok(Some(None)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Drops all modifications, for a command that turned out to be a repetition.
    pub fn clear(&mut self) {
        self.write_size = 0;
        self.modifies.clear();
        self.locks_for_1pc.clear();
        self.released_locks.clear();
        self.guards.clear();
    }
}

impl fmt::Debug for MvccTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "txn @{}", self.start_ts)
    }
}
