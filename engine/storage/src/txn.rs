//! Transactions: commands, the latches that serialize them, and the scheduler.
//!
//! Mirrors `src/storage/txn`.
pub mod actions;
pub mod commands;
pub mod flow_controller;
pub mod latch;
pub mod raw_ext;
pub mod scheduler;
pub mod store;
pub mod txn_status_cache;
