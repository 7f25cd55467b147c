//! Tests of the laws of transactions, on one RocksDB without Raft.
mod async_commit;
mod faults;
mod flashback;
mod lock_manager;
mod lock_waits;
mod max_ts;
mod model;
mod percolator;
mod pessimistic;
mod pipelined;
mod raw;
mod raw_formats;
mod reads;
mod resolve;
mod shared_locks;
mod stages;
pub(crate) mod store;
mod two_places;
