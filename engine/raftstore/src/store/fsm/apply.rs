//! Apply FSMs: each executes the committed entries of one region. Mirrors `raftstore::store::fsm::apply`.
mod admin;
mod conf_change;
mod context;
mod delegate;
mod exec;
mod fsm;
mod msg;
mod poller;
mod split;

pub use delegate::ApplyDelegate;
pub use fsm::{ApplyFsm, ControlFsm};
pub use msg::{Apply, ApplyMsg, ApplyRes, ExecResult, GenSnapTask, Registration};
pub use poller::{ApplyBatchSystem, ApplyBuilder, ApplyRouter, new_batch_system};

#[cfg(test)]
mod tests;
