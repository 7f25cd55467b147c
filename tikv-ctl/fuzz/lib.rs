//! The readers of `tikv-ctl`, compiled from its sources. They have few dependencies and build in a minute;
//! the whole tool needs RocksDB, which libFuzzer's flags would rebuild.

#[allow(dead_code, unused_imports)] // only commands write
#[path = "../src/encryption/mod.rs"]
pub mod encryption;
#[allow(dead_code)] // only commands have some of the failures
#[path = "../src/error.rs"]
mod error;
#[path = "../src/key.rs"]
pub mod key;
#[path = "../src/key_styles.rs"]
mod key_styles;
#[allow(unused_imports)] // only commands use some of it
#[path = "../src/lsm/mod.rs"]
pub mod lsm;
#[path = "../src/raft_engine/mod.rs"]
pub mod raft_engine;
#[path = "../src/schema.rs"]
mod schema;
#[path = "../src/simple_write.rs"]
pub mod simple_write;
#[path = "../src/snapshot.rs"]
pub mod snapshot;
#[path = "../src/text.rs"]
pub mod text;
#[path = "../src/tidb/mod.rs"]
pub mod tidb;

pub use error::{Error, Result};
