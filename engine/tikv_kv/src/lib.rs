//! Interface of the engine for the transaction layer: snapshots to read, modifications to write.
//!
//! Mirrors tikv/tikv `components/tikv_kv`. RaftKv implements [`Engine`] (three copies, through Raft), and so
//! does [`RocksKv`], one RocksDB without Raft, for tests and benches.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod modify;
mod pessimistic_locks;
mod rocks;
mod snapshot;
mod table_at;
mod times;

pub use error::{Error, ErrorInner, Result};
pub use modify::{CfName, Modify, OnProposed, WriteData};
pub use pessimistic_locks::{
    LocksStatus, MemoryLimits, PeerPessimisticLocks, RemovedLocks, SharedPessimisticLocks,
    instance_memory_size,
};
pub use rocks::RocksKv;
pub use snapshot::{IterOptions, Iterator, Snapshot};
pub use table_at::TableAt;
pub use times::{ReadIndexTimes, WriteTimes};

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use kvproto::kvrpcpb::{Context, KeyRange};
use tracepoints::Req;

/// Parameters of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapContext {
    /// Region, epoch, peer and term from the client's request.
    pub pb_ctx: Context,
    /// The request to stamp for.
    pub req: Req,
    /// Timestamp of the reader, for reads that raise max_ts; 0 for none.
    pub start_ts: u64,
    /// Encoded ranges of a replica read, in which its leader checks for memory locks. Empty for none.
    pub key_ranges: Vec<KeyRange>,
    /// Part of a flashback: the region must be in the flashback state, which refuses all other requests.
    pub allowed_in_flashback: bool,
}

/// Key-value engine with consistent snapshots and atomic writes.
pub trait Engine: Clone + Send + Sync + 'static {
    /// Snapshot of this engine.
    type Snap: Snapshot;

    /// Takes a snapshot of the context's region that contains every write acknowledged before the call.
    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, Result<Self::Snap>>;

    /// Writes atomically; resolves when the write is durable on a quorum and applied here, to the times of its
    /// parts.
    fn async_write(&self, ctx: SnapContext, data: WriteData) -> BoxFuture<'static, Result<WriteTimes>>;

    /// Restricts the context's region to the flashback that begins at `start_ts`. No-op without regions.
    fn start_flashback(&self, _ctx: &Context, _start_ts: u64) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }

    /// Ends the restriction.
    fn end_flashback(&self, _ctx: &Context) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }
}
