//! What the transaction layer sees of the engine below it: snapshots to read from, modifications to write.
//!
//! Mirrors tikv/tikv `components/tikv_kv`. [`Engine`] is implemented by RaftKv (three copies, through Raft) and by
//! [`RocksKv`], one RocksDB without Raft, for tests and benches.
mod error;
mod modify;
mod rocks;
mod snapshot;

pub use error::{Error, ErrorInner, Result};
pub use modify::{Modify, WriteData};
pub use rocks::RocksKv;
pub use snapshot::{IterOptions, Iterator, Snapshot};

use futures::future::BoxFuture;
use kvproto::kvrpcpb::Context;
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
    /// The (encoded) keys the read is about, to be checked against the region's bounds; empty for none.
    pub keys: Vec<Vec<u8>>,
}

/// A key-value engine that gives consistent snapshots and takes atomic writes.
pub trait Engine: Clone + Send + Sync + 'static {
    type Snap: Snapshot;

    /// A snapshot of the context's region that holds everything acknowledged before the call.
    fn async_snapshot(&self, ctx: SnapContext) -> BoxFuture<'static, Result<Self::Snap>>;

    /// Writes atomically; resolves when the write is durable on a quorum and applied here.
    fn async_write(&self, ctx: SnapContext, data: WriteData) -> BoxFuture<'static, Result<()>>;
}
