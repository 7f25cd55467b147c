//! In-memory cache of a log's newest entries. Mirrors `raftstore::store::entry_storage::EntryCache`.
use std::collections::VecDeque;

use raft::eraftpb::Entry;

/// Extra entries kept for slightly lagging followers.
const MAX_EXTRA_ENTRIES: usize = 1024;

/// A contiguous run of entries up to the log's last one. Entries stay until they are durable and applied.
#[derive(Default)]
pub struct EntryCache {
    entries: VecDeque<Entry>,
}

impl EntryCache {
    /// Returns the index of the first cached entry.
    pub fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|e| e.index)
    }

    /// Returns a cached entry.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let first = self.first_index()?;
        self.entries.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Appends entries; replaces cached entries from the first new index on.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(new) = entries.first() else { return };
        match self.first_index() {
            Some(first) if new.index > first && new.index <= first + self.entries.len() as u64 => {
                self.entries.truncate((new.index - first) as usize);
            }
            _ => self.entries.clear(),
        }
        self.entries.extend(entries.iter().cloned());
    }

    /// Clones entries of `begin..end` into `out` up to `max_size` bytes, but at least one entry.
    pub fn fetch_to(&self, begin: u64, end: u64, size: &mut u64, max_size: u64, out: &mut Vec<Entry>) {
        for index in begin..end {
            let Some(entry) = self.entry(index) else { return };
            *size += u64::from(protobuf::Message::compute_size(entry));
            if *size > max_size && !out.is_empty() {
                return;
            }
            out.push(entry.clone());
        }
    }

    /// Drops entries up to `index`, which must be durable and applied, but keeps the newest ones.
    pub fn compact_to(&mut self, index: u64) {
        while self.entries.len() > MAX_EXTRA_ENTRIES && self.first_index().is_some_and(|first| first <= index)
        {
            self.entries.pop_front();
        }
    }

    /// Drops all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(range: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
        range.map(|index| Entry { index, term, ..Default::default() }).collect()
    }

    #[test]
    fn an_append_replaces_the_tail() {
        let mut cache = EntryCache::default();
        cache.append(&entries(6..10, 5));
        cache.append(&entries(8..9, 6));
        assert_eq!(cache.entry(7).unwrap().term, 5);
        assert_eq!(cache.entry(8).unwrap().term, 6);
        assert!(cache.entry(9).is_none() && cache.entry(5).is_none());
        cache.append(&entries(20..22, 7));
        assert_eq!(cache.first_index(), Some(20), "after a hole the cache starts again");
    }

    #[test]
    fn a_fetch_is_bounded_but_returns_at_least_one() {
        let mut cache = EntryCache::default();
        cache.append(&entries(6..10, 5));
        let mut out = Vec::new();
        cache.fetch_to(6, 10, &mut 0, 0, &mut out);
        assert_eq!(out.len(), 1);
        cache.fetch_to(7, 20, &mut 0, u64::MAX, &mut out);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn the_newest_entries_stay() {
        let mut cache = EntryCache::default();
        cache.append(&entries(1..2001, 5));
        cache.compact_to(5000);
        assert_eq!(cache.first_index(), Some(2001 - MAX_EXTRA_ENTRIES as u64));
        cache.append(&entries(2001..2101, 5));
        cache.compact_to(980);
        assert_eq!(cache.first_index(), Some(981), "entries above the index stay");
    }
}
