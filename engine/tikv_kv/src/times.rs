//! Engine time that a write or a read index round spent below the transaction layer, in nanoseconds.
//!
//! The fields have the meaning of `RequestMetrics` in TiKV's `components/tracker`.
use std::ops::AddAssign;

macro_rules! times {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)+
        }

        impl AddAssign for $name {
            /// Adds the times of another command of the same request.
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

times! {
    /// Times of a write. `store_batch_wait_nanos`, `commit_log_nanos`, `apply_batch_wait_nanos` and
    /// `apply_log_nanos` follow one another; all other times are inside of these four.
    ///
    /// TiKV: `Tracker::write_write_detail`.
    WriteTimes {
        /// From the creation of the command until its peer proposed it.
        store_batch_wait_nanos,
        /// From the hand-over to the store writer until the entry was sent to the followers; 0 if it was sent before.
        propose_send_wait_nanos,
        /// From the hand-over to the store writer until the leader's own log was durable.
        persist_log_nanos,
        /// Wait for another writer of raft-engine's group of writes.
        raft_db_write_leader_wait_nanos,
        /// Write and sync of raft-engine's log file.
        raft_db_sync_log_nanos,
        /// Update of raft-engine's index in memory.
        raft_db_write_memtable_nanos,
        /// From the proposal until the entry was committed.
        commit_log_nanos,
        /// From the commit until the apply FSM took the entry.
        apply_batch_wait_nanos,
        /// Execution of the entry and the write to RocksDB.
        apply_log_nanos,
        /// Wait for RocksDB's mutex.
        apply_mutex_lock_nanos,
        /// Wait for another writer of RocksDB's group of writes.
        apply_write_leader_wait_nanos,
        /// Write of RocksDB's WAL.
        apply_write_wal_nanos,
        /// Write of RocksDB's memtable.
        apply_write_memtable_nanos,
    }
}

times! {
    /// Times of a snapshot that a peer took because the reader could not read locally.
    ///
    /// TiKV: `Tracker::write_scan_detail`.
    ReadIndexTimes {
        /// From the creation of the command until its peer took it.
        propose_wait_nanos,
        /// From the proposal of the round until its answer.
        confirm_wait_nanos,
    }
}
