//! Iterators that own their snapshot.
use std::{mem, sync::Arc};

use rocksdb::{DBRawIterator, ReadOptions};

use crate::{Result, database::DatabaseSnapshot};

/// Options of an iterator.
#[derive(Debug, Clone)]
pub struct IterOptions {
    /// Lower bound, inclusive; none for unbounded.
    pub lower_bound: Option<Vec<u8>>,
    /// Upper bound, exclusive; none for unbounded.
    pub upper_bound: Option<Vec<u8>>,
    /// Whether to return only keys with the prefix of the sought key, as the column family defines prefixes:
    /// the user key in CF write. Enables bloom filters.
    pub prefix_same_as_start: bool,
    /// Whether blocks read enter the block cache.
    pub fill_cache: bool,
    /// Whether to read only keys; RocksDB ignores it, Titan does not.
    pub key_only: bool,
}

impl Default for IterOptions {
    fn default() -> IterOptions {
        IterOptions {
            lower_bound: None,
            upper_bound: None,
            prefix_same_as_start: false,
            fill_cache: true,
            key_only: false,
        }
    }
}

impl IterOptions {
    /// Limits to keys in `start..end`; an empty bound is unbounded.
    pub fn range(start: &[u8], end: &[u8]) -> IterOptions {
        let bound = |key: &[u8]| (!key.is_empty()).then(|| key.to_vec());
        IterOptions { lower_bound: bound(start), upper_bound: bound(end), ..IterOptions::default() }
    }

    /// Limits to keys with the prefix of the sought key.
    #[must_use]
    pub fn use_prefix_seek(mut self) -> IterOptions {
        self.prefix_same_as_start = true;
        self
    }

    pub(crate) fn into_read_options(self) -> ReadOptions {
        let mut opts = ReadOptions::default();
        opts.fill_cache(self.fill_cache);
        // Otherwise RocksDB may skip keys of other prefixes even in a scan without prefix.
        opts.set_total_order_seek(!self.prefix_same_as_start);
        opts.set_prefix_same_as_start(self.prefix_same_as_start);
        if let Some(key) = self.lower_bound {
            opts.set_iterate_lower_bound(key);
        }
        if let Some(key) = self.upper_bound {
            opts.set_iterate_upper_bound(key);
        }
        opts
    }
}

/// Iterator over one column family of a snapshot.
///
/// TiKV: `engine_rocks::engine_iterator::RocksEngineIterator`.
pub struct RocksEngineIterator {
    // Dropped before the snapshot that it reads.
    iter: DBRawIterator<'static>,
    _snapshot: Arc<DatabaseSnapshot>,
}

impl RocksEngineIterator {
    /// # Safety
    /// `snapshot` must keep the database of `iter`, and the snapshot in its options, alive.
    pub(crate) unsafe fn new(
        iter: DBRawIterator<'_>,
        snapshot: Arc<DatabaseSnapshot>,
    ) -> RocksEngineIterator {
        // SAFETY: only the lifetime changes; by contract, `snapshot` keeps the borrowed data alive.
        let iter = unsafe { mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(iter) };
        RocksEngineIterator { iter, _snapshot: snapshot }
    }

    /// Moves to the smallest key at or above `key`; returns whether there is one.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek(key);
        self.valid()
    }

    /// Moves to the greatest key at or below `key`; returns whether there is one.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek_for_prev(key);
        self.valid()
    }

    /// Moves to the smallest key; returns whether there is one.
    pub fn seek_to_first(&mut self) -> Result<bool> {
        self.iter.seek_to_first();
        self.valid()
    }

    /// Moves to the greatest key; returns whether there is one.
    pub fn seek_to_last(&mut self) -> Result<bool> {
        self.iter.seek_to_last();
        self.valid()
    }

    /// Moves to the next key; returns whether there is one. Does nothing at the end.
    #[allow(clippy::should_implement_trait)] // TiKV's name; it lends the key instead of yielding it
    pub fn next(&mut self) -> Result<bool> {
        if self.iter.valid() {
            self.iter.next();
        }
        self.valid()
    }

    /// Moves to the previous key; returns whether there is one. Does nothing at the end.
    pub fn prev(&mut self) -> Result<bool> {
        if self.iter.valid() {
            self.iter.prev();
        }
        self.valid()
    }

    /// Whether the iterator is on a key. A read error is returned, never treated as the end.
    pub fn valid(&self) -> Result<bool> {
        if self.iter.valid() {
            return Ok(true);
        }
        self.status().map(|()| false)
    }

    /// Returns the key; empty if the iterator is on none.
    pub fn key(&self) -> &[u8] {
        self.iter.key().unwrap_or_default()
    }

    /// Returns the value; empty if the iterator is on no key.
    pub fn value(&self) -> &[u8] {
        self.iter.value().unwrap_or_default()
    }

    /// Returns the error of a failed read.
    pub fn status(&self) -> Result<()> {
        Ok(self.iter.status()?)
    }
}
