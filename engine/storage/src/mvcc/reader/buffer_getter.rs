//! Reads the keys that a pipelined transaction has flushed and not committed.
//!
//! Mirrors `Storage::buffer_batch_get` of `src/storage/mod.rs`.
use tikv_kv::Snapshot;
use tracepoints::Req;
use txn_types::{Key, KvPair, Lock, LockOrSharedLocks, LockType, TimeStamp, Value, Write, WriteType};

use super::reader::MvccReader;
use crate::{
    mvcc::{
        error::{ErrorInner, Result},
        facts,
    },
    statistics::Statistics,
};

/// Reads locks of one transaction.
pub struct BufferGetter<S: Snapshot> {
    reader: MvccReader<S>,
    start_ts: TimeStamp,
}

impl<S: Snapshot> BufferGetter<S> {
    /// Creates a getter for the transaction of `start_ts`.
    pub fn new(snapshot: S, start_ts: TimeStamp, fill_cache: bool, req: Req) -> Self {
        let mut reader = MvccReader::new(snapshot, None, fill_cache);
        reader.req = req;
        Self { reader, start_ts }
    }

    /// Returns the raw key and the value of the transaction's own lock on `key`. A deleted key has an empty value;
    /// `None` if the transaction has not flushed the key.
    ///
    /// # Errors
    /// The transaction's lock is not one of a flush.
    pub fn get(&mut self, key: &Key) -> Result<Option<KvPair>> {
        // A lock in memory is pessimistic, and never one of a flush.
        let lock = match self.reader.load_stored_lock(key)? {
            Some(LockOrSharedLocks::Lock(lock)) => Some(lock),
            Some(LockOrSharedLocks::Shared(_)) | None => None,
        };
        tracepoints::step_thread!(
            BUFFER_GET,
            self.reader.req,
            start_ts = self.start_ts.into_inner(),
            lock_ts = lock.as_ref().map_or(0, |lock| lock.ts.into_inner()),
            generation = lock.as_ref().map_or(0, |lock| lock.generation),
        );
        tracepoints::facts!(self.reader.req, facts::buffered(key, self.start_ts, lock.as_ref()));
        match lock.filter(|lock| lock.ts == self.start_ts) {
            Some(lock) => Ok(Some((key.to_raw()?, self.value_of(key, lock)?))),
            None => Ok(None),
        }
    }

    fn value_of(&mut self, key: &Key, lock: Lock) -> Result<Value> {
        let value = match lock.lock_type {
            LockType::Put => {
                self.reader.load_data(key, Write::new(WriteType::Put, lock.ts, lock.short_value))?
            }
            LockType::Delete => Value::new(),
            // TiKV ends its process.
            LockType::Lock | LockType::Pessimistic | LockType::Shared => {
                let text = format!(
                    "expected a flushed PUT or DELETE of transaction {} on key {key}, found a lock of type {:?}",
                    self.start_ts, lock.lock_type
                );
                return Err(ErrorInner::Other(text).into());
            }
        };
        self.reader.statistics.processed_size += key.len() + value.len();
        Ok(value)
    }

    /// Takes the statistics since the last call.
    pub fn take_statistics(&mut self) -> Statistics {
        std::mem::take(&mut self.reader.statistics)
    }
}
