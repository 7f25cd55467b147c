//! Outgoing messages of the store.
use kvproto::raft_serverpb::RaftMessage;

use crate::Result;

/// Sends Raft messages to other stores; the server implements it over gRPC.
///
/// Never blocks: drops a message that cannot be sent; Raft sends it again.
/// TiKV: `raftstore::store::transport::Transport`.
pub trait Transport: Clone + Send + 'static {
    /// # Errors
    /// The message was dropped.
    fn send(&mut self, msg: RaftMessage) -> Result<()>;
    /// Whether messages wait for [`Transport::flush`].
    fn need_flush(&self) -> bool;
    /// Sends the waiting messages.
    fn flush(&mut self);
}
