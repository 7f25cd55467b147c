//! Waiting for locks of other transactions: the interface of the lock manager, and the queues of waiting requests.
//!
//! Mirrors `src/storage/lock_manager/mod.rs`.
pub mod lock_waiting_queue;

use std::sync::Arc;

use kvproto::{deadlock::WaitForEntry, kvrpcpb::LockInfo, metapb::RegionEpoch};
use tokio::sync::oneshot;
use tracepoints::Req;
use txn_types::{Key, TimeStamp};

use crate::errors::Error;
pub use crate::types::WaitTimeout;

/// Identifies a lock: its transaction, and the hash of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LockDigest {
    /// Start timestamp of the transaction that has the lock.
    pub ts: TimeStamp,
    /// Hash of the raw key.
    pub hash: u64,
}

/// Describes a waiting request to clients and to stages.
#[derive(Clone, Debug)]
pub struct DiagnosticContext {
    /// Raw key that the request waits for.
    pub key: Vec<u8>,
    /// Tag of the client's statement.
    pub resource_group_tag: Vec<u8>,
    /// The request; TiKV has a tracker's token here.
    pub req: Req,
}

/// The lock that a request waits for.
#[derive(Debug, Clone)]
pub struct KeyLockWaitInfo {
    /// Encoded key.
    pub key: Key,
    /// Identifies the lock.
    pub lock_digest: LockDigest,
    /// The lock.
    pub lock_info: LockInfo,
    /// Whether the waiting request uses fair locking.
    pub allow_lock_with_conflict: bool,
}

/// Identifies a waiting request.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LockWaitToken(pub u64);

/// Another transaction has locked the key of a waiting request.
#[derive(Debug)]
pub struct UpdateWaitForEvent {
    /// The waiting request.
    pub token: LockWaitToken,
    /// Start timestamp of its transaction.
    pub start_ts: TimeStamp,
    /// Whether its transaction has no lock yet.
    pub is_first_lock: bool,
    /// The new lock.
    pub wait_info: KeyLockWaitInfo,
}

/// Ends a wait with an error. Has no effect on a request that was woken before.
pub type CancellationCallback = Box<dyn FnOnce(Error) + Send>;

/// A request that begins to wait.
pub struct WaitFor {
    /// Identifies the request.
    pub token: LockWaitToken,
    /// Region of the key.
    pub region_id: u64,
    /// Epoch of the region in the request.
    pub region_epoch: RegionEpoch,
    /// Start timestamp of the waiting transaction.
    pub start_ts: TimeStamp,
    /// The lock.
    pub wait_info: KeyLockWaitInfo,
    /// Whether the transaction has no lock yet. No transaction waits for it then, so it closes no cycle.
    pub is_first_lock: bool,
    /// Time to wait.
    pub timeout: WaitTimeout,
    /// Ends the wait.
    pub cancel_callback: CancellationCallback,
    /// Describes the request.
    pub diag_ctx: DiagnosticContext,
}

/// Watches waiting requests: ends waits at their timeouts, and finds cycles of waiting transactions.
///
/// TiKV: `src/storage/lock_manager/mod.rs` `LockManager`.
pub trait LockManager: Send + Sync + 'static {
    /// Allocates the token of a request that is to wait.
    fn allocate_token(&self) -> LockWaitToken;
    /// Watches a request, which is in its queue already. Does not block.
    fn wait_for(&self, wait: WaitFor);
    /// Follows new locks on the keys of waiting requests.
    fn update_wait_for(&self, updated_items: Vec<UpdateWaitForEvent>);
    /// Forgets a request that no longer waits.
    fn remove_lock_wait(&self, token: LockWaitToken);
    /// Sends all waits of this store; drops the sender if the lock manager has stopped.
    fn dump_wait_for_entries(&self, cb: oneshot::Sender<Vec<WaitForEntry>>);
}

/// A shared lock manager.
pub type SharedLockManager = Arc<dyn LockManager>;
