//! The readers of `tikv-ctl`, compiled from its sources: what they need is little and builds in a minute, while the
//! tool itself needs RocksDB, which libFuzzer's flags would build again.

#[allow(dead_code, unused_imports)] // commands write, readers do not
#[path = "../src/encryption/mod.rs"]
pub mod encryption;
#[allow(dead_code)] // commands have failures that readers have not
#[path = "../src/error.rs"]
mod error;
#[path = "../src/key.rs"]
pub mod key;
#[path = "../src/key_styles.rs"]
mod key_styles;
#[allow(unused_imports)] // some of it only commands ask for
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
