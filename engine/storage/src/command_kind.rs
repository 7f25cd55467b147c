//! The commands whose API version is checked.

/// Commands whose API version is checked, under TiKV's names.
#[allow(non_camel_case_types, missing_docs)] // TiKV's names, which clients see in errors
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    get,
    batch_get,
    scan,
    buffer_batch_get,
    prewrite,
    flush,
    acquire_pessimistic_lock,
    delete_range,
    raw_get,
    raw_batch_get,
    raw_scan,
    raw_batch_scan,
    raw_put,
    raw_batch_put,
    raw_delete,
    raw_batch_delete,
    raw_delete_range,
    raw_get_key_ttl,
    raw_compare_and_swap,
    raw_atomic_store,
    raw_checksum,
}

impl CommandKind {
    /// Whether the command is on raw keys. TiKV: `Storage::is_raw_command`.
    pub(crate) fn is_raw(self) -> bool {
        use CommandKind::*;
        !matches!(
            self,
            get | batch_get
                | scan
                | buffer_batch_get
                | prewrite
                | flush
                | acquire_pessimistic_lock
                | delete_range
        )
    }
}
