//! A block of sorted, prefix-compressed entries (RocksDB `table/block_based/block.cc`). Fixed numbers are
//! little-endian.
//!
//! ```text
//! field           bytes          meaning
//! entries:
//!   shared        varint         bytes in common with the previous key; 0 at a restart point
//!   unshared      varint         bytes of the key's suffix
//!   value length  varint         left out in an index block with delta-encoded values
//!   suffix        unshared       the key after its shared bytes
//!   value         value length
//! restart points  4 each         offsets of entries with shared = 0
//! hash index      1 each         buckets; only with the hash index flag
//! buckets         2              number of buckets; only with the hash index flag
//! count           4              bits 0 to 30: number of restart points; bit 31: hash index flag
//! ```
use std::cmp::Ordering;

use super::decode_error::BlockError;
use crate::io::Cursor;

const HASH_INDEX_FLAG: u32 = 1 << 31;
/// Bytes of the sequence number and type that follow a user key.
const KEY_TRAILER: usize = 8;

/// Walks the entries of a block forwards. Each call takes the block's plain bytes.
#[derive(Debug, Default)]
pub struct BlockCursor {
    entries_end: usize,
    restarts: usize,
    next: usize,
    key: Vec<u8>,
    value: std::ops::Range<usize>,
    delta_values: bool,
    shared: usize,
}

impl BlockCursor {
    /// Creates a cursor before the first entry of the block `data`.
    ///
    /// # Errors
    /// The block's restart points or hash index do not fit in it.
    pub fn new(data: &[u8]) -> Result<BlockCursor, BlockError> {
        let mut cursor = BlockCursor::default();
        cursor.reset(data)?;
        Ok(cursor)
    }

    /// Creates a cursor over an index block with delta-encoded values (format_version 4 and later).
    pub fn with_delta_values(data: &[u8]) -> Result<BlockCursor, BlockError> {
        Ok(BlockCursor { delta_values: true, ..BlockCursor::new(data)? })
    }

    /// Moves before the first entry of another block.
    pub fn reset(&mut self, data: &[u8]) -> Result<(), BlockError> {
        let bad = |what| BlockError::Tail { what, len: data.len() };
        let mut end = data.len().checked_sub(4).ok_or_else(|| bad("no room for the restart count"))?;
        let packed = Cursor::new(&data[end..]).u32().unwrap_or_default();
        if packed & HASH_INDEX_FLAG != 0 {
            end = end.checked_sub(2).ok_or_else(|| bad("no room for a hash index"))?;
            let buckets = Cursor::new(&data[end..]).u16().unwrap_or_default();
            end = end.checked_sub(buckets.into()).ok_or_else(|| bad("a hash index too long"))?;
        }
        // A flag newer than the hash index's would show here as an impossible count.
        self.restarts = (packed & !HASH_INDEX_FLAG) as usize;
        self.entries_end = self
            .restarts
            .checked_mul(4)
            .and_then(|len| end.checked_sub(len))
            .ok_or_else(|| bad("an impossible number of restart points"))?;
        self.next = 0;
        self.shared = 0;
        self.value = 0..0;
        self.key.clear();
        Ok(())
    }

    fn restart(&self, data: &[u8], index: usize) -> Option<usize> {
        let at = self.entries_end + index * 4;
        let offset = Cursor::new(data.get(at..at + 4)?).u32()? as usize;
        (offset <= self.entries_end).then_some(offset)
    }

    /// Decodes the next entry's lengths: shared key bytes, key suffix, value. Adds the offset of the suffix.
    #[inline(always)]
    fn header(&self, data: &[u8]) -> Option<(usize, usize, usize, usize)> {
        // Nearly all key lengths fit one byte, value lengths two.
        if let Some(&[shared, unshared, low, high, ..]) = data.get(self.next..self.entries_end)
            && (shared | unshared) < 0x80
            && (low < 0x80 || high < 0x80)
            && !self.delta_values
        {
            let (value_len, len) = match low {
                0..0x80 => (usize::from(low), 3),
                _ => (usize::from(high) << 7 | usize::from(low & 0x7f), 4),
            };
            return Some((shared.into(), unshared.into(), value_len, self.next.wrapping_add(len)));
        }
        self.long_header(data)
    }

    /// Decodes a header with lengths of any size, as [`Self::header`] does for short ones.
    #[cold]
    fn long_header(&self, data: &[u8]) -> Option<(usize, usize, usize, usize)> {
        let mut cursor = Cursor::new(data.get(self.next..self.entries_end)?);
        let shared = cursor.varint32()? as usize;
        let unshared = cursor.varint32()? as usize;
        let value_len = if self.delta_values { 0 } else { cursor.varint32()? as usize };
        Some((shared, unshared, value_len, self.next + cursor.position()))
    }

    #[cold]
    fn bad(&self) -> BlockError {
        BlockError::Entry { at: self.next }
    }

    /// Moves to the next entry. Returns `Ok(false)` at the end.
    #[inline(always)]
    pub fn advance(&mut self, data: &[u8]) -> Result<bool, BlockError> {
        self.step(data, |_, _, _| {})
    }

    /// Moves to the next entry and compares its internal key to the previous one; `Ok(None)` at the end.
    #[inline]
    pub fn advance_ordered(&mut self, data: &[u8]) -> Result<Option<Ordering>, BlockError> {
        let mut order = Ordering::Greater;
        let moved =
            self.step(data, |before, shared, suffix| order = compare_to_next(before, shared, suffix))?;
        Ok(moved.then_some(order))
    }

    #[inline(always)]
    fn step(&mut self, data: &[u8], mut see: impl FnMut(&[u8], usize, &[u8])) -> Result<bool, BlockError> {
        if self.next >= self.entries_end {
            return Ok(false);
        }
        let Some((shared, unshared, value_len, key_at)) = self.header(data) else { return Err(self.bad()) };
        // Both lengths fit 32 bits, so the sums do not overflow.
        let value_at = key_at + unshared;
        let end = value_at + value_len;
        if shared > self.key.len() || end > self.entries_end {
            return Err(self.bad());
        }
        let suffix = &data[key_at..value_at];
        see(&self.key, shared, suffix);
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.shared = shared;
        self.value = value_at..end;
        self.next = end;
        Ok(true)
    }

    /// Returns the current entry's key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Returns the current entry's value.
    #[inline]
    pub fn value<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.value.clone()).unwrap_or_default()
    }

    /// Number of bytes that the current key shares with the previous one; 0 at a restart point.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// Returns everything from the current value on. The caller passes the value's length to [`Self::skip`].
    pub fn open_value<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.value.start..self.entries_end]
    }

    /// Sets the length of the current value, for blocks that do not store it.
    pub fn skip(&mut self, len: usize) {
        self.value.end = self.value.start + len;
        self.next = self.value.end;
    }

    /// Moves to the first entry for which `order` is not `Less`. Returns `Ok(false)` if there is none.
    pub fn seek(&mut self, data: &[u8], order: impl Fn(&[u8]) -> Ordering) -> Result<bool, BlockError> {
        let (mut low, mut high) = (0, self.restarts);
        // Find the last restart point whose key is less than the target.
        while low + 1 < high {
            let middle = low.midpoint(high);
            self.jump(data, middle)?;
            if self.advance(data)? && order(&self.key) == Ordering::Less {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.jump(data, low)?;
        while self.advance(data)? {
            if order(&self.key) != Ordering::Less {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn jump(&mut self, data: &[u8], restart: usize) -> Result<(), BlockError> {
        self.key.clear();
        let offset = if self.restarts == 0 { Some(0) } else { self.restart(data, restart) };
        self.next = offset.ok_or(BlockError::RestartPoint { index: restart })?;
        Ok(())
    }
}

/// Compares the internal key that is `shared` bytes of `before` and then `suffix` to `before`.
#[inline]
fn compare_to_next(before: &[u8], shared: usize, suffix: &[u8]) -> Ordering {
    let old = &before[shared..];
    let both = old.len().min(suffix.len()).saturating_sub(KEY_TRAILER);
    match suffix[..both].cmp(&old[..both]) {
        Ordering::Equal => compare_whole(before, shared, suffix),
        decided => decided,
    }
}

#[cold]
fn compare_whole(before: &[u8], shared: usize, suffix: &[u8]) -> Ordering {
    let key = [&before[..shared], suffix].concat();
    let split = |key: &[u8]| {
        let (user, trailer) = key.split_at(key.len().saturating_sub(KEY_TRAILER));
        (user.to_vec(), Cursor::new(trailer).u64().unwrap_or_default())
    };
    // The first entry has no previous key, so it is in order.
    if before.is_empty() {
        return Ordering::Greater;
    }
    let ((user, packed), (user_before, packed_before)) = (split(&key), split(before));
    user.cmp(&user_before).then(packed_before.cmp(&packed))
}
