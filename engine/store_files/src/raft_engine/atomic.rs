//! Atomic groups: raft-engine rewrites a large Raft group in several batches that count only together. A
//! crash may leave an incomplete group; its batches are ignored, since older files still have their data.
use std::{collections::BTreeMap, path::PathBuf};

use super::{
    batch::LogBatch,
    item::{Content, INTERNAL_KEY_PREFIX, LogItem},
};

/// The internal key, after its prefix, that marks a batch as part of an atomic group.
const ATOMIC_GROUP_KEY: u8 = 0x01;
const BEGIN: u8 = 0;
const END: u8 = 2;

/// The changes of a batch, without its bytes.
#[derive(Debug)]
pub(super) struct Change {
    pub path: PathBuf,
    pub block_offset: u64,
    pub block_len: u64,
    pub compressed: bool,
    pub items: Vec<LogItem>,
}

impl Change {
    pub fn new(path: PathBuf, batch: LogBatch<'_>) -> Change {
        let LogBatch { entries_offset, entries_len, compressed, items, .. } = batch;
        Change { path, block_offset: entries_offset, block_len: entries_len, compressed, items }
    }

    /// The Raft group and the part (begin, middle or end) of the atomic group to which the batch belongs.
    fn mark(&self) -> Option<(u64, u8)> {
        self.items.iter().find_map(|item| match &item.content {
            Content::Put(key, value)
                if key.strip_prefix(INTERNAL_KEY_PREFIX) == Some(&[ATOMIC_GROUP_KEY]) =>
            {
                let [part] = value.as_slice() else { return None };
                Some((item.group, *part))
            }
            _ => None,
        })
    }
}

/// Atomic groups whose end was not read yet.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<u64, Vec<Change>>);

impl Pending {
    /// Takes a batch of the rewrite queue. Returns the batches that count from now on.
    pub fn take(&mut self, change: Change) -> Vec<Change> {
        let Some((group, part)) = change.mark() else { return vec![change] };
        if part == BEGIN {
            // An earlier group of this Raft group was never completed.
            self.0.insert(group, vec![change]);
            return Vec::new();
        }
        let Some(begun) = self.0.get_mut(&group) else { return Vec::new() };
        begun.push(change);
        if part == END { self.0.remove(&group).unwrap_or_default() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(offset: u64, mark: Option<u8>) -> Change {
        let put = |part| Content::Put(vec![b'_', b'_', 1], vec![part]);
        let items = mark.map(|part| LogItem { group: 2, content: put(part) }).into_iter().collect();
        Change { path: PathBuf::new(), block_offset: offset, block_len: 0, compressed: false, items }
    }

    #[test]
    fn batches_of_an_atomic_group_count_after_its_end() {
        let mut pending = Pending::default();
        let mut take = |offset, mark| {
            pending.take(change(offset, mark)).iter().map(|change| change.block_offset).collect::<Vec<_>>()
        };
        assert_eq!(take(1, None), [1]);
        assert!(take(2, Some(1)).is_empty(), "no group was begun");
        assert!(take(3, Some(0)).is_empty());
        assert!(take(4, Some(0)).is_empty(), "the previous group was never completed");
        assert!(take(5, Some(1)).is_empty());
        assert_eq!(take(6, None), [6]);
        assert_eq!(take(7, Some(2)), [4, 5, 7]);
        assert!(take(8, Some(2)).is_empty());
    }
}
