//! Inserts a command's pessimistic locks in memory, or removes some together with a write.
use std::sync::Arc;

use parking_lot::RwLockWriteGuard;
use txn_types::{Key, PessimisticLock};

use crate::{MemoryLimits, Modify, RemovedLocks, SharedPessimisticLocks, Snapshot, WriteData};

/// The table of a leader, as a command found it in its snapshot.
#[derive(Clone)]
pub struct TableAt {
    /// The table.
    pub table: SharedPessimisticLocks,
    /// Term of the snapshot.
    pub term: u64,
    /// Version of the snapshot's region.
    pub version: u64,
}

impl TableAt {
    /// Returns the table of the snapshot's leader, if the engine has one.
    pub fn of_snapshot<S: Snapshot>(snapshot: &S) -> Option<Self> {
        let table = snapshot.pessimistic_locks()?.clone();
        Some(Self { table, term: snapshot.term()?, version: snapshot.region_version() })
    }

    /// Inserts locks instead of writing them. Returns the bytes of the table; `None` if the locks must go through Raft,
    /// which also finds a change of leader or region. TiKV: `TxnScheduler::try_write_in_memory_pessimistic_locks`.
    pub fn try_insert(&self, locks: &[(Key, PessimisticLock)], limits: MemoryLimits) -> Option<usize> {
        let mut table = self.table.write();
        let inserted = table.is_writable_in(self.term, self.version) && table.insert(locks, limits);
        inserted.then(|| table.memory_size())
    }

    /// Marks the locks that `data` replaces or deletes, and calls `send`. The marks end with the write: a refused write
    /// leaves its locks valid. The table stays locked until the write is in the mailbox of the peer: otherwise a leader
    /// transfer could overtake the write. TiKV: `TxnScheduler::handle_async_write`.
    pub fn send<T>(&self, mut data: WriteData, send: impl FnOnce(WriteData) -> T) -> T {
        let mut table = self.table.write();
        if table.is_empty() || !table.is_valid_in(self.term, self.version) {
            drop(table);
            return send(data);
        }
        let write = Arc::new(());
        let lock_key = |modify: &Modify| match modify {
            Modify::Put(engine_rocks::CF_LOCK, key, _) | Modify::Delete(engine_rocks::CF_LOCK, key) => {
                table.mark_deleted(key, &write).then(|| key.clone())
            }
            _ => None,
        };
        let keys: Vec<Key> = data.modifies.iter().filter_map(lock_key).collect();
        if keys.is_empty() {
            drop(table);
            return send(data);
        }
        let (table_ref, term, version) = (self.table.clone(), self.term, self.version);
        data.removed_locks = Some(RemovedLocks { table: table_ref, term, version, keys, write });
        let _guard = RwLockWriteGuard::downgrade(table);
        send(data)
    }
}
