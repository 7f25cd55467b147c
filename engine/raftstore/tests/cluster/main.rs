//! Tests of the whole RaftStore: several stores in one process, in temporary directories.
#![allow(clippy::result_large_err)] // tests inspect the region errors themselves
mod consistency;
mod gates;
mod harness;
mod inside;
mod kill;
mod limits;
mod max_ts;
mod membership;
mod memory_locks;
mod reads;
mod recovery;
mod split;
