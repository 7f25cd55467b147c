//! The levels of a RocksDB: column families with the rows of their files.
use keys::escape;
use kvproto::metapb::Region;

use crate::lsm::SstFile;

/// A file and how it overlaps its neighbours.
pub(super) struct Row<'a> {
    pub file: &'a SstFile,
    pub entries: u64,
    /// Number of files of the same level that share keys with it; only on level 0.
    pub same_level: usize,
    /// Number of files of the next level that share keys with it: a compaction rewrites them.
    pub below: usize,
    /// Regions that have keys in the file.
    pub regions: Vec<u64>,
}

/// A column family with the rows of its files.
pub(super) struct Family<'a> {
    pub name: &'a str,
    pub unflushed: usize,
    pub rows: Vec<Row<'a>>,
}

/// Returns the data keys of the region's bounds.
pub(super) fn bounds(region: &Region) -> (Vec<u8>, Vec<u8>) {
    (keys::data_key(&region.start_key), keys::data_end_key(&region.end_key))
}

/// Formats a RocksDB key for people: user key and timestamp for TiKV's data keys, escaped bytes otherwise.
pub(super) fn readable(key: &[u8]) -> String {
    let decoded = key.strip_prefix(&[keys::DATA_PREFIX]).and_then(|mut rest| {
        let user_key = keys::codec::decode_bytes_from(&mut rest).ok()?;
        match rest.len() {
            0 => Some(escape(&user_key)),
            8 => Some(format!("{}@{}", escape(&user_key), keys::codec::decode_u64_desc(&mut rest).ok()?)),
            _ => None,
        }
    });
    decoded.unwrap_or_else(|| escape(key))
}
