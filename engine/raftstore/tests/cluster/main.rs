//! The RaftStore as a whole: stores in one process, under tempdirs.
#![allow(clippy::result_large_err)] // region errors are looked at as they come
mod consistency;
mod gates;
mod harness;
mod kill;
mod limits;
mod max_ts;
mod membership;
mod reads;
mod recovery;
mod split;
