//! Kinds of requests.
use serde::{Deserialize, Serialize};

/// Writes the enum of the kinds and the list of all of them.
macro_rules! request_kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
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
        }
    };
}

request_kinds! {
    /// A client's whole operation; the RPCs it sends are its children.
    Client,
    Tso,
    KvGet,
    KvBatchGet,
    KvScan,
    KvPrewrite,
    KvCommit,
    KvBatchRollback,
    KvCleanup,
    KvCheckTxnStatus,
    KvCheckSecondaryLocks,
    KvTxnHeartBeat,
    KvResolveLock,
    KvScanLock,
    KvPessimisticLock,
    KvPessimisticRollback,
    KvGc,
    KvDeleteRange,
    RawGet,
    RawBatchGet,
    RawPut,
    RawBatchPut,
    RawDelete,
    RawBatchDelete,
    RawScan,
    RawDeleteRange,
    Other,
    // Recordings store these numbers, so new kinds must come last.
    RawBatchScan,
    RawGetKeyTtl,
    RawCompareAndSwap,
    UnsafeDestroyRange,
    SplitRegion,
    KvPrepareFlashbackToVersion,
    KvFlashbackToVersion,
    /// A client asks PD for a region that is not in its cache.
    GetRegion,
    GetLockWaitInfo,
    MvccGetByKey,
    MvccGetByStartTs,
    RawChecksum,
    KvFlush,
    KvBufferBatchGet,
    GetHealthFeedback,
    BroadcastTxnStatus,
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
}
