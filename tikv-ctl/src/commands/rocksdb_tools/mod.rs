//! `ldb` and `sst_dump`: the reading commands of RocksDB's tools, with RocksDB's own flags and our own
//! readers.

mod ldb;
mod manifest_dump;
mod options;
mod remove_sst;
mod sst_dump;

pub use ldb::run as ldb;
pub use sst_dump::run as sst_dump;

use keys::hex_upper;

/// Formats keys and values as these tools print them.
fn shown(bytes: &[u8], hex: bool) -> Vec<u8> {
    if hex { format!("0x{}", hex_upper(bytes)).into_bytes() } else { bytes.to_vec() }
}
