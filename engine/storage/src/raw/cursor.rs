//! Cursor over raw rows: the newest version of each key, without deleted and expired ones.
//!
//! Mirrors `RawMvccIterator` of `src/storage/raw/raw_mvcc.rs` and `RawEncodeIterator` of `encoded.rs`.
use api_version::KvFormat;
use tikv_kv::Iterator;
use txn_types::Key;

use super::RawPair;
use crate::{errors::Result, statistics::CfStatistics};

/// Cursor that moves in one direction only. Keys and bounds are encoded, without timestamps.
pub struct RawCursor<I> {
    iter: I,
    format: KvFormat,
    /// Unix time in seconds.
    now: u64,
    reverse: bool,
    /// Whether the iterator is on an entry of the scan.
    found: bool,
    /// Whether the entry was returned already.
    stale: bool,
}

impl<I: Iterator> RawCursor<I> {
    /// Positions the cursor before the first row at or after `start`, or before the last one below it for a
    /// reverse scan, where an empty `start` means the end of the iterator's range.
    pub fn seek(
        mut iter: I,
        format: KvFormat,
        now: u64,
        start: &[u8],
        reverse: bool,
        stats: &mut CfStatistics,
    ) -> Result<Self> {
        stats.seek += 1;
        let key = Key::from_encoded_slice(start);
        let found = match reverse {
            false => iter.seek(&key)?,
            true if start.is_empty() => iter.seek_to_last()?,
            true => {
                // The start is excluded. All versions of the key follow it, so the entry before it is older.
                let found = iter.seek_for_prev(&key)?;
                if found && iter.key() == start { iter.prev()? } else { found }
            }
        };
        Ok(Self { iter, format, now, reverse, found, stale: false })
    }

    /// Returns the next row as a user key and a user value.
    pub fn next_row(&mut self, key_only: bool, stats: &mut CfStatistics) -> Result<Option<RawPair>> {
        loop {
            if self.stale {
                self.step(stats)?;
            }
            if !self.found {
                return Ok(None);
            }
            let (key, value) = self.newest_version(stats)?;
            let raw = self.format.decode_raw_value(&value)?;
            if raw.is_valid(self.now) {
                let value = if key_only { Vec::new() } else { raw.user_value.to_vec() };
                return Ok(Some((self.format.decode_raw_key(&key)?, value)));
            }
            stats.raw_value_tombstone += 1;
        }
    }

    /// Copies the newest version of the current key. On API V2 moves the iterator to the next key of the scan;
    /// otherwise the iterator stays on the copied entry.
    fn newest_version(&mut self, stats: &mut CfStatistics) -> Result<RawPair> {
        let (mut key, mut value) = (self.iter.key().to_vec(), self.iter.value().to_vec());
        self.stale = true;
        if self.format != KvFormat::V2 {
            return Ok((key, value));
        }
        let user_key = self.format.truncate_raw_ts(&key)?.to_vec();
        loop {
            self.step(stats)?;
            if !self.found || self.format.truncate_raw_ts(self.iter.key())? != user_key {
                return Ok((key, value));
            }
            if self.reverse {
                (key, value) = (self.iter.key().to_vec(), self.iter.value().to_vec());
            }
        }
    }

    fn step(&mut self, stats: &mut CfStatistics) -> Result<()> {
        self.stale = false;
        self.found = if self.reverse {
            stats.prev += 1;
            self.iter.prev()?
        } else {
            stats.next += 1;
            self.iter.next()?
        };
        Ok(())
    }
}
