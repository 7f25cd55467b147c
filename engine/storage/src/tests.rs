//! Tests of the laws of transactions, on one RocksDB without Raft.
mod async_commit;
mod faults;
mod flashback;
mod max_ts;
mod model;
mod percolator;
mod pessimistic;
mod raw;
mod reads;
mod resolve;
mod stages;
mod store;
