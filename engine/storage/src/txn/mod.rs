//! Transactions: commands, the latches that keep them apart, the scheduler that runs them.
//!
//! Mirrors `src/storage/txn`.
pub mod actions;
pub mod commands;
pub mod latch;
pub mod scheduler;
pub mod store;
