//! Multi-version concurrency control: locks, write records and values in three column families.
//!
//! Mirrors `src/storage/mvcc`.
mod cursor;
mod error;
pub mod facts;
pub mod probe;
pub mod reader;
mod txn;

pub use cursor::{Cursor, REVERSE_SEEK_BOUND, SEEK_BOUND, ScanMode};
pub use error::{Error, ErrorInner, PessimisticLockNotFoundReason, Result};
pub use reader::{
    BackwardScanner, BufferGetter, EntryScanner, ForwardScanner, MvccReader, OverlappedWrite, PointGetter,
    PointGetterBuilder, Scanner, ScannerConfig, SnapshotReader, TxnCommitRecord, ValueEntry,
};
pub use txn::{MAX_TXN_WRITE_SIZE, MvccTxn, ReleasedLock};

use kvproto::kvrpcpb::IsolationLevel;

/// Whether reads at this isolation level check locks.
pub fn need_check_locks(level: IsolationLevel) -> bool {
    matches!(level, IsolationLevel::Si | IsolationLevel::RcCheckTs)
}
