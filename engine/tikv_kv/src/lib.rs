//! What the transaction layer sees of the engine below it: snapshots to read from, modifications to write.
//!
//! Mirrors tikv/tikv `components/tikv_kv`. [`Engine`] is implemented by RaftKv (three copies, through Raft) and by
//! [`RocksKv`], one RocksDB without Raft, for tests and benches.
mod error;
mod modify;
mod rocks;
mod snapshot;

pub use error::{Error, ErrorInner, Result};
pub use modify::{CfName, Modify, WriteData};
pub use rocks::RocksKv;
pub use snapshot::{IterOptions, Iterator, Snapshot};

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use kvproto::kvrpcpb::{Context, KeyRange};
use tracepoints::Req;

/// What a snapshot is asked for.
#[derive(Clone, Debug, Default)]
pub struct SnapContext {
    /// Region, epoch, peer and term the client believes in.
    pub pb_ctx: Context,
    /// The request, so that the layers below stamp for it.
    pub req: Req,
    /// The reader's timestamp, for reads that raise max_ts; 0 for none.
    pub start_ts: u64,
    /// The (encoded) ranges that a replica read is about: its leader checks them for locks in memory. Empty for none.
    pub key_ranges: Vec<KeyRange>,
    /// It is part of a flashback: the region must be in that state, which refuses everything else.
    pub allowed_in_flashback: bool,
}

/// A key-value engine that gives consistent snapshots and takes atomic writes.
pub trait Engine: Clone + Send + Sync + 'static {
    type Snap: Snapshot;

    /// A snapshot of the context's region that holds everything acknowledged before the call.
    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, Result<Self::Snap>>;

    /// Writes atomically; resolves when the write is durable on a quorum and applied here.
    fn async_write(&self, ctx: SnapContext, data: WriteData) -> BoxFuture<'static, Result<()>>;

    /// Closes the context's region to everything but a flashback that began at `start_ts`. An engine without regions has
    /// nothing to close.
    fn start_flashback(&self, _ctx: &Context, _start_ts: u64) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }

    /// Opens it again.
    fn end_flashback(&self, _ctx: &Context) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }
}
