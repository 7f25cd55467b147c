//! Iterators that own what they need.

use std::{mem, sync::Arc};

use rocksdb::{DBRawIterator, ReadOptions};

use crate::{Result, snapshot::SnapshotInner};

/// How to iterate.
#[derive(Debug, Clone)]
pub struct IterOptions {
    /// The least key, inclusive; none for no bound.
    pub lower_bound: Option<Vec<u8>>,
    /// The end, exclusive; none for no bound.
    pub upper_bound: Option<Vec<u8>>,
    /// Whether only keys with the prefix of the one sought are wanted, in the column family's sense of
    /// prefix: the user key in CF write. Bloom filters help then.
    pub prefix_same_as_start: bool,
    /// Whether blocks read go into the block cache.
    pub fill_cache: bool,
    /// Whether to read keys alone; RocksDB ignores it, Titan does not.
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
    /// Keys in `start..end`; an empty bound is none.
    pub fn range(start: &[u8], end: &[u8]) -> IterOptions {
        let bound = |key: &[u8]| (!key.is_empty()).then(|| key.to_vec());
        IterOptions { lower_bound: bound(start), upper_bound: bound(end), ..IterOptions::default() }
    }

    /// Only keys with the prefix of the one sought.
    #[must_use]
    pub fn use_prefix_seek(mut self) -> IterOptions {
        self.prefix_same_as_start = true;
        self
    }

    pub(crate) fn into_read_options(self) -> ReadOptions {
        let mut opts = ReadOptions::default();
        opts.fill_cache(self.fill_cache);
        // Without it RocksDB may skip keys of other prefixes even where no prefix was asked for.
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

/// An iterator over one column family of a snapshot.
///
/// TiKV: `engine_rocks::engine_iterator::RocksEngineIterator`.
pub struct RocksEngineIterator {
    // Dropped before the snapshot that it reads.
    iter: DBRawIterator<'static>,
    _snapshot: Arc<SnapshotInner>,
}

impl RocksEngineIterator {
    /// # Safety
    /// `snapshot` must keep the database of `iter`, and the snapshot in its options, alive.
    pub(crate) unsafe fn new(iter: DBRawIterator<'_>, snapshot: Arc<SnapshotInner>) -> RocksEngineIterator {
        // SAFETY: only the lifetime changes; the caller says that `snapshot` outlives what it stands for.
        let iter = unsafe { mem::transmute::<DBRawIterator<'_>, DBRawIterator<'static>>(iter) };
        RocksEngineIterator { iter, _snapshot: snapshot }
    }

    /// Moves to the least key at or above `key`; whether there is one.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek(key);
        self.valid()
    }

    /// Moves to the greatest key at or below `key`; whether there is one.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> Result<bool> {
        self.iter.seek_for_prev(key);
        self.valid()
    }

    /// Moves to the least key; whether there is one.
    pub fn seek_to_first(&mut self) -> Result<bool> {
        self.iter.seek_to_first();
        self.valid()
    }

    /// Moves to the greatest key; whether there is one.
    pub fn seek_to_last(&mut self) -> Result<bool> {
        self.iter.seek_to_last();
        self.valid()
    }

    /// Moves to the next key; whether there is one. Past the end it stays there.
    #[allow(clippy::should_implement_trait)] // TiKV's name; it lends the key instead of yielding it
    pub fn next(&mut self) -> Result<bool> {
        if self.iter.valid() {
            self.iter.next();
        }
        self.valid()
    }

    /// Moves to the previous key; whether there is one. Past the end it stays there.
    pub fn prev(&mut self) -> Result<bool> {
        if self.iter.valid() {
            self.iter.prev();
        }
        self.valid()
    }

    /// Whether it stands on a key. An error means that the data could not be read: never the end of it.
    pub fn valid(&self) -> Result<bool> {
        if self.iter.valid() {
            return Ok(true);
        }
        self.status().map(|()| false)
    }

    /// The key; empty where it stands on none.
    pub fn key(&self) -> &[u8] {
        self.iter.key().unwrap_or_default()
    }

    /// The value; empty where it stands on no key.
    pub fn value(&self) -> &[u8] {
        self.iter.value().unwrap_or_default()
    }

    /// Whether reading has failed.
    pub fn status(&self) -> Result<()> {
        Ok(self.iter.status()?)
    }
}
