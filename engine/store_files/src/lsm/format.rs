//! Names, handles and constants that several files of the format share.
use std::path::{Path, PathBuf};

use crate::io::{Cursor, FileError, Result};

/// Bytes of the trailer of each block: compression type and checksum.
pub const BLOCK_TRAILER_LEN: u64 = 5;

/// The only supported order of keys.
pub(super) const COMPARATOR: &str = "leveldb.BytewiseComparator";

/// A deleted range: start, end (exclusive) and sequence number.
pub type RangeTombstone = (Vec<u8>, Vec<u8>, u64);

/// The location of a block in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes without the trailer.
    pub size: u64,
}

impl BlockHandle {
    /// Takes a handle of two varints.
    pub fn decode(cursor: &mut Cursor<'_>) -> Option<BlockHandle> {
        Some(BlockHandle { offset: cursor.varint()?, size: cursor.varint()? })
    }

    /// Takes a delta-encoded handle: only the difference of its size to that of `before`, the previous block.
    pub(super) fn decode_delta(cursor: &mut Cursor<'_>, before: BlockHandle) -> Option<BlockHandle> {
        let delta = cursor.varint_signed()?;
        let offset = before.offset.checked_add(before.size)?.checked_add(BLOCK_TRAILER_LEN)?;
        Some(BlockHandle { offset, size: before.size.checked_add_signed(delta)? })
    }
}

/// Returns the path of SST `number` of the database `dir`.
pub(super) fn sst_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.sst"))
}

/// Lists the numbers and paths of the SSTs in `dir`, by number.
pub(super) fn tables(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered(dir, |name| name.strip_suffix(".sst")?.parse().ok())
}

/// Lists the numbers and paths of the logs in `dir`, oldest first.
pub fn logs(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered(dir, |name| name.strip_suffix(".log")?.parse().ok())
}

/// Lists the numbers and paths of the MANIFESTs in `dir`, oldest first.
pub(super) fn manifests(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered(dir, |name| name.strip_prefix("MANIFEST-")?.parse().ok())
}

/// Lists the files of `dir` whose names have a number by `number`, in the order of the numbers.
fn numbered(dir: &Path, number: impl Fn(&str) -> Option<u64>) -> Result<Vec<(u64, PathBuf)>> {
    let io = |source| FileError::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if let Some(number) = path.file_name().and_then(|name| name.to_str()).and_then(&number) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Parses the number in the name of a RocksDB file: `000012.sst`, `MANIFEST-000004`.
pub(super) fn file_number(name: &str) -> Option<u64> {
    let number = |digits: &str| digits.parse().ok();
    if let Some(rest) = name.strip_prefix("MANIFEST-") {
        return number(rest);
    }
    if let Some(rest) = name.strip_prefix("OPTIONS-") {
        return number(rest.strip_suffix(".dbtmp").unwrap_or(rest));
    }
    let (stem, suffix) = name.split_once('.')?;
    matches!(suffix, "log" | "sst" | "ldb" | "blob" | "dbtmp").then(|| number(stem)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_number_reads_names_of_numbered_files_only() {
        for (name, number) in [
            ("000038.log", Some(38)),
            ("MANIFEST-000039", Some(39)),
            ("OPTIONS-000041.dbtmp", Some(41)),
            ("000010.sst", Some(10)),
            ("CURRENT", None),
            ("LOG.old.1700000000", None),
            ("rocksdb.info", None),
            ("x.sst", None),
        ] {
            assert_eq!(file_number(name), number, "{name}");
        }
    }
}
