//! The SSTs that RocksDB would create from its logs when it opens a directory for writing, one for each
//! column family. TiKV's tool opens directories for writing, so its statistics count these SSTs. This module
//! only describes them.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    format::{RangeTombstone, file_number},
    internal_key::InternalKey,
    manifest::VersionState,
    memtable::MemEntry,
};

/// The SST that RocksDB would create from a column family's part of the logs.
#[derive(Clone, Debug)]
pub struct RecoveredSst {
    path: PathBuf,
    entries: Arc<Vec<MemEntry>>,
    deletions: Vec<RangeTombstone>,
}

impl RecoveredSst {
    pub(super) fn new(path: PathBuf, entries: Arc<Vec<MemEntry>>, deletions: Vec<RangeTombstone>) -> Self {
        RecoveredSst { path, entries, deletions }
    }

    /// The path that the SST would have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the range of its keys overlaps `[from, to]`.
    pub fn touches(&self, from: &[u8], to: &[u8]) -> bool {
        let keys = self.entries.first().zip(self.entries.last());
        let by_keys =
            keys.is_some_and(|(first, last)| last.key.as_slice() >= from && first.key.as_slice() <= to);
        by_keys
            || self.deletions.iter().any(|(start, end, _)| end.as_slice() >= from && start.as_slice() <= to)
    }

    /// The entries that it would contain, in order: the newest entry of each key, including deletions,
    /// without entries that a range deletion hides.
    pub fn entries(&self) -> impl Iterator<Item = (InternalKey<'_>, &[u8])> {
        let mut before: Option<&[u8]> = None;
        let newest = self.entries.iter().filter(move |entry| before.replace(&entry.key) != Some(&entry.key));
        let kept = newest.filter(|entry| {
            let hides = |(start, end, at): &RangeTombstone| {
                *at > entry.packed >> 8 && *start <= entry.key && entry.key < *end
            };
            !self.deletions.iter().any(hides)
        });
        kept.map(|entry| (InternalKey { user_key: &entry.key, packed: entry.packed }, entry.value.as_slice()))
    }

    /// The number of entries in its properties.
    pub fn num_entries(&self) -> u64 {
        (self.entries().count() + self.deletions.len()) as u64
    }
}

/// Returns the number of the first file that RocksDB would create in `dir`: greater than those in use.
pub(super) fn first_number(dir: &Path, state: &VersionState) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let numbers = files.filter_map(|file| file_number(file.file_name().to_str()?));
    numbers.max().unwrap_or_default().max(state.next_file.saturating_add(1)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &[u8], sequence: u64, kind: u64) -> MemEntry {
        MemEntry { key: key.to_vec(), packed: sequence << 8 | kind, value: vec![sequence as u8] }
    }

    #[test]
    fn entries_are_the_newest_of_each_key() {
        let entries = vec![entry(b"a", 9, 0), entry(b"a", 3, 1), entry(b"b", 4, 1), entry(b"c", 8, 1)];
        let hidden = vec![(b"b".to_vec(), b"d".to_vec(), 6)];
        let sst = RecoveredSst::new("7.sst".into(), Arc::new(entries), hidden);
        let left: Vec<_> = sst.entries().map(|(key, value)| (key.user_key[0], value[0])).collect();
        assert_eq!(left, [(b'a', 9), (b'c', 8)]);
        assert_eq!(sst.num_entries(), 3);
        for (from, to, touches) in [(&b""[..], &b"a"[..], true), (b"d", b"e", true), (b"e", b"f", false)] {
            assert_eq!(sst.touches(from, to), touches, "{from:?}");
        }
    }

    #[test]
    fn first_number_is_greater_than_that_of_any_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = VersionState { next_file: 36, ..Default::default() };
        assert_eq!(first_number(dir.path(), &state), 38);
        std::fs::write(dir.path().join("OPTIONS-000041"), "").unwrap();
        assert_eq!(first_number(dir.path(), &state), 42);
        // An absurd number in a damaged file must not overflow.
        let state = VersionState { next_file: u64::MAX, ..Default::default() };
        assert_eq!(first_number(dir.path(), &state), u64::MAX);
    }
}
