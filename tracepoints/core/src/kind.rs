//! Kinds of requests.
use serde::{Deserialize, Serialize};

/// Writes the enum of the kinds and the list of all of them. A kind has the storage command of its RPC, if any.
macro_rules! request_kinds {
    ($($(#[$doc:meta])* $kind:ident $(=> $command:literal)?,)*) => {
        /// Kind of a request: TiKV's RPC name in snake case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs, reason = "a kind has the name of its RPC")]
        pub enum RequestKind {
            $($(#[$doc])* $kind,)*
        }

        impl RequestKind {
            /// Every kind, by its number.
            pub const ALL: [RequestKind; [$(stringify!($kind)),*].len()] = [$(Self::$kind),*];

            /// Returns the storage command of the RPC, in the form of TiKV's label `type` (`CommandKind`).
            pub(crate) fn command(self) -> &'static str {
                match self {
                    // The first of the two: "other" stands in for a command that TiKV does not have.
                    $(Self::$kind => [$($command,)? "other"][0],)*
                }
            }
        }
    };
}

request_kinds! {
    /// A client's whole operation; the RPCs it sends are its children.
    Client,
    Tso,
    KvGet => "get",
    KvBatchGet => "batch_get",
    KvScan => "scan",
    KvPrewrite => "prewrite",
    KvCommit => "commit",
    KvBatchRollback => "rollback",
    KvCleanup => "cleanup",
    KvCheckTxnStatus => "check_txn_status",
    KvCheckSecondaryLocks => "check_secondary_locks",
    KvTxnHeartBeat => "txn_heart_beat",
    KvResolveLock => "resolve_lock",
    KvScanLock => "scan_lock",
    KvPessimisticLock => "acquire_pessimistic_lock",
    KvPessimisticRollback => "pessimistic_rollback",
    KvGc => "gc",
    KvDeleteRange => "delete_range",
    RawGet => "raw_get",
    RawBatchGet => "raw_batch_get",
    RawPut => "raw_put",
    RawBatchPut => "raw_batch_put",
    RawDelete => "raw_delete",
    RawBatchDelete => "raw_batch_delete",
    RawScan => "raw_scan",
    RawDeleteRange => "raw_delete_range",
    Other,
    // Recordings store these numbers, so new kinds must come last.
    RawBatchScan => "raw_batch_scan",
    RawGetKeyTtl => "raw_get_key_ttl",
    RawCompareAndSwap => "raw_compare_and_swap",
    UnsafeDestroyRange => "unsafe_destroy_range",
    SplitRegion => "split_region",
    KvPrepareFlashbackToVersion => "flashback_to_version_read_lock",
    KvFlashbackToVersion => "flashback_to_version_write",
    /// A client asks PD for a region that is not in its cache.
    GetRegion,
    GetLockWaitInfo,
    MvccGetByKey => "key_mvcc",
    MvccGetByStartTs => "start_ts_mvcc",
    RawChecksum => "raw_checksum",
    KvFlush => "flush",
    KvBufferBatchGet => "buffer_batch_get",
    GetHealthFeedback,
    BroadcastTxnStatus => "update_txn_status_cache",
    RawCoprocessor,
    /// A compaction of RocksDB whose filter drops old versions.
    GcCompaction,
    /// A task of the GC worker.
    GcTask,
}

impl RequestKind {
    /// Whether the client sends it independently, in parallel with an operation that does not wait for it.
    pub fn runs_beside(self) -> bool {
        self == Self::KvTxnHeartBeat
    }

    /// Whether PD answers it. Every client asks PD all the time.
    pub fn is_of_pd(self) -> bool {
        matches!(self, Self::Tso | Self::GetRegion)
    }

    /// Whether a store begins it by itself to collect garbage.
    pub fn is_of_gc(self) -> bool {
        matches!(self, Self::GcCompaction | Self::GcTask)
    }

    /// Returns the snake-case name, e.g. `kv_get`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(s)) => s,
            _ => format!("{self:?}"),
        }
    }

    /// Finds a kind by its snake-case name.
    pub fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_ascii_lowercase())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_number_and_by_name() {
        for (i, kind) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
            assert_eq!(RequestKind::parse(&kind.name()), Some(kind));
        }
        assert_eq!(RequestKind::KvCheckTxnStatus.name(), "kv_check_txn_status");
        assert_eq!(RequestKind::parse("kv_nothing"), None);
    }

    #[test]
    fn kinds_have_the_name_of_their_command_in_metrics() {
        assert_eq!(RequestKind::KvPessimisticLock.command(), "acquire_pessimistic_lock");
        assert_eq!(RequestKind::KvBatchRollback.command(), "rollback");
        assert_eq!(RequestKind::Client.command(), "other");
        assert_eq!(RequestKind::GcTask.command(), "other");
    }
}
