//! Types of transactions: timestamps, keys, locks, writes.
//!
//! Mirrors `components/txn_types`; encodings equal TiKV's byte for byte.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod conflict;
mod error;
mod key;
mod last_change;
mod lock;
mod mutation;
mod mvcc_info;
mod pessimistic;
mod shared;
#[cfg(test)]
mod test_util;
mod timestamp;
mod write;

pub use conflict::{check_ts_conflict, check_ts_conflict_for_replica_read};
pub use error::{Error, Result, WriteConflict};
pub use key::{Key, KvPair, Value};
pub use last_change::LastChange;
pub use lock::{Lock, LockType, decode_lock_start_ts, decode_lock_type};
pub use mutation::{Mutation, MutationType};
pub use pessimistic::PessimisticLock;
pub use shared::{LockInfoExt, LockOrSharedLocks, SharedLocks, parse_lock};
pub use timestamp::{TSO_PHYSICAL_SHIFT_BITS, TimeStamp, TsSet};
pub use write::{Write, WriteRef, WriteType};

/// Maximum bytes of a value in a lock or write record; longer values are in CF default.
pub const SHORT_VALUE_MAX_LEN: usize = 255;

const SHORT_VALUE_PREFIX: u8 = b'v';

/// Whether `value` belongs in the lock and write records.
pub fn is_short_value(value: &[u8]) -> bool {
    value.len() <= SHORT_VALUE_MAX_LEN
}
