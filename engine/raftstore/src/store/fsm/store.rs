//! The store FSM and the system around the peers: shared state of the pollers, start and shutdown.
//! Mirrors `raftstore::store::fsm::store`.
mod context;
mod meta;
mod poller;
mod store_delegate;
mod store_fsm;
mod system;
mod ticker;

pub use context::PollContext;
pub use meta::StoreMeta;
pub use store_fsm::StoreFsm;
pub use system::{RaftBatchSystem, StoreParts};
