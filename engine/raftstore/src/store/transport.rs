//! How messages leave the store.
use kvproto::raft_serverpb::RaftMessage;

use crate::Result;

/// Sends Raft messages to other stores; the server implements it over gRPC. TiKV: `raftstore::store::transport::Transport`.
///
/// It never blocks: a message that cannot go is dropped, Raft sends it again.
pub trait Transport: Clone + Send + 'static {
    /// # Errors
    /// The message was dropped.
    fn send(&mut self, msg: RaftMessage) -> Result<()>;
    fn need_flush(&self) -> bool;
    fn flush(&mut self);
}
