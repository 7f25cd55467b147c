//! A block of sorted, prefix-compressed entries.

use std::{cmp::Ordering, sync::Arc};

use super::Cursor;

const HASH_INDEX_FLAG: u32 = 1 << 31;

/// A block's plain bytes, its entries' end and its restart points.
#[derive(Clone, Debug)]
pub struct Block {
    data: Arc<Vec<u8>>,
    entries_end: usize,
    restarts: usize,
}

impl Block {
    /// Finds the restart points of a block's plain bytes; the error says what is wrong with them.
    pub fn new(data: Vec<u8>) -> Result<Block, String> {
        let bad = |what: &str| format!("{what} in a block of {} bytes", data.len());
        let mut end = data.len().checked_sub(4).ok_or_else(|| bad("no room for the restart count"))?;
        let packed = Cursor::new(&data[end..]).u32().unwrap_or_default();
        if packed & HASH_INDEX_FLAG != 0 {
            end = end.checked_sub(2).ok_or_else(|| bad("no room for a hash index"))?;
            let buckets = Cursor::new(&data[end..]).u16().unwrap_or_default();
            end = end.checked_sub(buckets.into()).ok_or_else(|| bad("a hash index too long"))?;
        }
        // Newer flags beside the hash index's would show here as an impossible count.
        let restarts = (packed & !HASH_INDEX_FLAG) as usize;
        let entries_end = restarts
            .checked_mul(4)
            .and_then(|len| end.checked_sub(len))
            .ok_or_else(|| bad("an impossible number of restart points"))?;
        Ok(Block { data: Arc::new(data), entries_end, restarts })
    }

    fn restart(&self, index: usize) -> Option<usize> {
        let at = self.entries_end + index * 4;
        let offset = Cursor::new(self.data.get(at..at + 4)?).u32()? as usize;
        (offset <= self.entries_end).then_some(offset)
    }

    /// Iterates over entries whose values have their length before them.
    pub fn iter(&self) -> BlockIter {
        BlockIter {
            block: self.clone(),
            next: 0,
            key: Vec::new(),
            value: 0..0,
            delta_values: false,
            shared: 0,
        }
    }

    /// Iterates over an index block whose values are handles without a length (format_version 4 and later).
    pub fn iter_delta_values(&self) -> BlockIter {
        BlockIter { delta_values: true, ..self.iter() }
    }
}

/// Walks a block's entries forwards.
#[derive(Debug)]
pub struct BlockIter {
    block: Block,
    next: usize,
    key: Vec<u8>,
    value: std::ops::Range<usize>,
    delta_values: bool,
    shared: usize,
}

impl BlockIter {
    /// Goes to the next entry; `Ok(false)` at the end.
    pub fn advance(&mut self) -> Result<bool, String> {
        if self.next >= self.block.entries_end {
            return Ok(false);
        }
        let data = &self.block.data[..self.block.entries_end];
        let mut cursor = Cursor::new(&data[self.next..]);
        let bad = |next: usize| format!("the entry at byte {next} of the plain block does not decode");
        let parsed = (|| {
            let shared = cursor.varint32()? as usize;
            let unshared = cursor.varint32()? as usize;
            let value_len = if self.delta_values { 0 } else { cursor.varint32()? as usize };
            let key = cursor.bytes(unshared)?;
            (shared <= self.key.len()).then_some((shared, key, value_len))
        })();
        let Some((shared, suffix, value_len)) = parsed else { return Err(bad(self.next)) };
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.shared = shared;
        let start = self.next + cursor.position();
        let end = start.checked_add(value_len).filter(|end| *end <= self.block.entries_end);
        self.value = start..end.ok_or_else(|| bad(self.next))?;
        self.next = self.value.end;
        Ok(true)
    }

    /// The current entry's key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current entry's value.
    pub fn value(&self) -> &[u8] {
        &self.block.data[self.value.clone()]
    }

    /// Bytes that the current key shares with the one before; 0 at a restart point.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// For values without a length: everything from the value on; tell by [`Self::skip`] how much was taken.
    pub fn open_value(&self) -> &[u8] {
        &self.block.data[self.value.start..self.block.entries_end]
    }

    /// Says that the current value, which has no length before it, took `len` bytes.
    pub fn skip(&mut self, len: usize) {
        self.value.end = self.value.start + len;
        self.next = self.value.end;
    }

    /// Goes to the first entry for which `order` is not `Less`; `Ok(false)` when there is none.
    pub fn seek(&mut self, order: impl Fn(&[u8]) -> Ordering) -> Result<bool, String> {
        let (mut low, mut high) = (0, self.block.restarts);
        // The last restart point whose key is less than the target.
        while low + 1 < high {
            let middle = low.midpoint(high);
            self.jump(middle)?;
            if self.advance()? && order(&self.key) == Ordering::Less {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.jump(low)?;
        while self.advance()? {
            if order(&self.key) != Ordering::Less {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn jump(&mut self, restart: usize) -> Result<(), String> {
        self.key.clear();
        let known = if self.block.restarts == 0 { Some(0) } else { self.block.restart(restart) };
        self.next = known.ok_or("a restart point lies outside the block")?;
        Ok(())
    }
}
