//! The RaftStore as a whole: stores in one process, under tempdirs.
mod gates;
mod harness;
mod membership;
mod reads;
mod recovery;
mod split;
