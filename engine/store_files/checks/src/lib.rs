//! Runs the readers of `store_files` on arbitrary bytes, and measures the memory and time that they take. The fuzz
//! targets and the tests of `tikv-ctl` use it.
#![warn(missing_docs)]
pub mod memory;
pub mod readers;
