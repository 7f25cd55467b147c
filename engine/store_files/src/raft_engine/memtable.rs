//! The keys and entries of a Raft group after replay.
use std::{collections::BTreeMap, path::PathBuf};

use super::{
    batch::{checked_entries, plain_entries},
    item::EntryIndex,
};
use crate::{
    encryption::Keyring,
    io::{RandomFile, Result},
};

/// The location of an entry on disk.
#[derive(Clone, Debug)]
pub struct EntryPlace {
    /// The log file.
    pub path: PathBuf,
    /// Offset of the entries block of its batch.
    pub block_offset: u64,
    /// Bytes of that block, checksum included.
    pub block_len: u64,
    /// Whether the block is compressed.
    pub compressed: bool,
    /// Location in the plain block.
    pub index: EntryIndex,
}

impl EntryPlace {
    /// Reads the entry's bytes.
    pub fn read(&self, keyring: &Keyring) -> Result<Vec<u8>> {
        let file = RandomFile::open(&self.path, keyring)?;
        let block = file.read(self.block_offset, self.block_len)?;
        let plain = checked_entries(&block).and_then(|body| plain_entries(body, self.compressed));
        let plain = plain.map_err(|what| file.corrupt(self.block_offset, what))?;
        let (start, len) = (self.index.offset as usize, self.index.len as usize);
        let bytes = start.checked_add(len).and_then(|end| plain.get(start..end));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| file.corrupt(self.block_offset, "an entry extends beyond its entries block"))
    }
}

/// Keys and entries of a Raft group.
#[derive(Debug, Default)]
pub struct MemTable {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<u64, EntryPlace>,
}

impl MemTable {
    /// Whether there is no key and no entry.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.entries.is_empty()
    }

    /// First and last index of the entries.
    pub fn span(&self) -> Option<(u64, u64)> {
        Some((*self.entries.first_key_value()?.0, *self.entries.last_key_value()?.0))
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.keys.get(key).map(Vec::as_slice)
    }

    /// All keys and their values.
    pub fn keys(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Finds the key of `prefix` and the greatest number up to `max`. Returns the number and the value.
    pub fn newest(&self, prefix: u8, max: u64) -> Option<(u64, &[u8])> {
        let (least, end) = (vec![prefix], vec![prefix + 1]);
        self.keys.range(least..end).rev().find_map(|(key, value)| {
            let number: [u8; 8] = key.get(1..)?.try_into().ok()?;
            Some((u64::from_be_bytes(number), value.as_slice())).filter(|(number, _)| *number <= max)
        })
    }

    /// The value of the greatest key with the prefix `prefix`, whose last byte must not be 255.
    pub fn last_with(&self, prefix: &[u8]) -> Option<&[u8]> {
        let mut end = prefix.to_vec();
        *end.last_mut()? += 1;
        self.keys.range(prefix.to_vec()..end).next_back().map(|(_, value)| value.as_slice())
    }

    /// The entry at `index`.
    pub fn entry(&self, index: u64) -> Option<&EntryPlace> {
        self.entries.get(&index)
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.keys.insert(key, value);
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    pub(super) fn compact_to(&mut self, index: u64) {
        self.entries = self.entries.split_off(&index);
    }

    /// Appends entries. An existing entry with the index of a new one is removed, with all after it. After a
    /// hole, only the new entries count, unless damage may have caused the hole (`keep_holes`).
    pub(super) fn append(&mut self, places: impl Iterator<Item = EntryPlace>, keep_holes: bool) {
        for place in places {
            let index = place.index.index;
            match self.entries.last_key_value() {
                Some((last, _)) if *last >= index => drop(self.entries.split_off(&index)),
                _ => {}
            }
            let last = self.entries.last_key_value().map(|(last, _)| *last);
            if !keep_holes && last.is_some_and(|last| last.checked_add(1) != Some(index)) {
                self.entries.clear();
            }
            self.entries.insert(index, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(indexes: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = EntryPlace> {
        indexes.map(|index| EntryPlace {
            path: PathBuf::new(),
            block_offset: index,
            block_len: 0,
            compressed: false,
            index: EntryIndex { index, offset: 0, len: 0 },
        })
    }

    #[test]
    fn the_greatest_index_does_not_overflow() {
        let mut table = MemTable::default();
        table.append(places(u64::MAX..=u64::MAX), false);
        table.append(places(1..=2), false);
        table.append(places(u64::MAX..=u64::MAX), false);
        assert_eq!(table.span(), Some((u64::MAX, u64::MAX)));
    }

    #[test]
    fn append_truncates_the_tail_and_compaction_the_head() {
        let mut table = MemTable::default();
        table.append(places(5..=10), false);
        table.append(places(8..=9), false);
        assert_eq!(table.span(), Some((5, 9)));
        table.compact_to(7);
        assert_eq!(table.span(), Some((7, 9)));
        assert!(table.entry(6).is_none() && table.entry(10).is_none());
        assert_eq!(table.entry(8).map(|place| place.index.index), Some(8));
        table.append(places(20..=21), true);
        assert_eq!(table.span(), Some((7, 21)));
        table.append(places(30..=31), false);
        assert_eq!(table.span(), Some((30, 31)));
        table.append(places(20..=21), false);
        assert_eq!(table.span(), Some((20, 21)));
        table.append(places(3..=3), false);
        assert_eq!(table.span(), Some((3, 3)));
    }
}
