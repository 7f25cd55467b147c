//! Pins the features of shared dependencies, so that Cargo builds each of them once.
//!
//! Cargo turns on the features that the selected packages ask for. `cargo run` selects one package and `cargo test --workspace` all of
//! them: without the pins, RocksDB and half of the crates would be built twice. Nearly all crates depend on this one, directly or not. It has
//! no code. `cargo hakari` keeps such a crate for larger workspaces.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
