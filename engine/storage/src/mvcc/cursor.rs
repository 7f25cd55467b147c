//! Cursor that counts its operations and steps where a seek would be more expensive.
//!
//! Mirrors `components/tikv_kv/src/cursor.rs`.
use std::cmp::Ordering;

use tikv_kv::{IterOptions, Iterator, Result, Snapshot};
use txn_types::Key;

use crate::statistics::CfStatistics;

/// Maximum number of forward steps before a seek.
pub const SEEK_BOUND: u64 = 8;
/// Maximum number of backward steps before a seek.
pub const REVERSE_SEEK_BOUND: u64 = 16;

/// Direction of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanMode {
    /// Only towards greater keys.
    Forward,
    /// Only towards smaller keys.
    Backward,
    /// In both directions.
    Mixed,
}

/// Cursor over one column family.
pub struct Cursor<I: Iterator> {
    iter: I,
    /// Limited to the user key of its first seek; such a cursor cannot move backward.
    prefix_seek: bool,
}

impl<I: Iterator> Cursor<I> {
    /// Opens a cursor on `cf` with these bounds.
    pub fn open<S: Snapshot<Iter = I>>(snapshot: &S, cf: &'static str, opts: IterOptions) -> Result<Self> {
        let prefix_seek = opts.prefix_same_as_start;
        Ok(Self { iter: snapshot.iter(cf, opts)?, prefix_seek })
    }

    /// Whether the cursor is on a key.
    pub fn valid(&self) -> Result<bool> {
        self.iter.valid()
    }

    /// Returns the current key; call it only if the cursor is valid.
    pub fn key(&self) -> &[u8] {
        self.iter.key()
    }

    /// Returns the current value; call it only if the cursor is valid.
    pub fn value(&self) -> &[u8] {
        self.iter.value()
    }

    /// Moves to the first entry at or after `key`.
    pub fn seek(&mut self, key: &Key, stats: &mut CfStatistics) -> Result<bool> {
        stats.seek += 1;
        self.iter.seek(key)
    }

    /// Moves to the last entry at or before `key`.
    pub fn seek_for_prev(&mut self, key: &Key, stats: &mut CfStatistics) -> Result<bool> {
        stats.seek_for_prev += 1;
        self.iter.seek_for_prev(key)
    }

    /// Moves to the first key; returns whether there is one.
    pub fn seek_to_first(&mut self, stats: &mut CfStatistics) -> Result<bool> {
        stats.seek += 1;
        self.iter.seek_to_first()
    }

    /// Moves to the last key; returns whether there is one.
    pub fn seek_to_last(&mut self, stats: &mut CfStatistics) -> Result<bool> {
        stats.seek += 1;
        self.iter.seek_to_last()
    }

    /// Moves to the next key; returns whether there is one.
    pub fn next(&mut self, stats: &mut CfStatistics) -> Result<bool> {
        stats.next += 1;
        self.iter.next()
    }

    /// Moves to the previous key; returns whether there is one.
    pub fn prev(&mut self, stats: &mut CfStatistics) -> Result<bool> {
        stats.prev += 1;
        self.iter.prev()
    }

    /// Like [`Cursor::seek`], for a key that is probably near.
    pub fn near_seek(&mut self, key: &Key, stats: &mut CfStatistics) -> Result<bool> {
        if !self.iter.valid()? {
            return self.seek(key, stats);
        }
        match self.iter.key().cmp(key.as_encoded()) {
            Ordering::Equal => Ok(true),
            Ordering::Less => self.step_forward_to(key, stats),
            Ordering::Greater if self.prefix_seek => self.seek(key, stats),
            Ordering::Greater => self.step_back_to(key, stats),
        }
    }

    fn step_forward_to(&mut self, key: &Key, stats: &mut CfStatistics) -> Result<bool> {
        for _ in 0..SEEK_BOUND {
            if !self.next(stats)? {
                return Ok(false);
            }
            if self.iter.key() >= key.as_encoded().as_slice() {
                return Ok(true);
            }
        }
        stats.over_seek_bound += 1;
        self.seek(key, stats)
    }

    fn step_back_to(&mut self, key: &Key, stats: &mut CfStatistics) -> Result<bool> {
        for _ in 0..SEEK_BOUND {
            if !self.prev(stats)? {
                return self.seek_to_first(stats);
            }
            match self.iter.key().cmp(key.as_encoded()) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => return self.next(stats),
                Ordering::Greater => {}
            }
        }
        stats.over_seek_bound += 1;
        self.seek(key, stats)
    }
}
