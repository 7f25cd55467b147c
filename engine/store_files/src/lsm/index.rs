//! The index of an SST: its data blocks in order, from all partitions. An entry of an index block is
//!
//! ```text
//! field     bytes           meaning
//! key                       separator, a user key or an internal key: not less than any key of the block
//! value:
//!   offset  varint          of the block in the file; left out if delta-encoded and the key shares bytes
//!   size    varint          bytes of the block without its trailer; with the offset left out, zigzag and
//!                           the difference to the size of the previous block
//!   first   varint, bytes   length of the block's first key and the key, only in index type 3
//! ```
use super::{
    block::BlockCursor, decode_error::BlockError, format::BlockHandle, internal_key::InternalKey,
    properties::TableProperties, reader::Blocks,
};
use crate::io::{Context, Cursor, Damage, Result};

/// Bytes that the index's keys may take in addition to four times the file's size.
const SPARE: u64 = 16 << 20;

/// The data blocks of a table, each with a separator: a user key between its last and the next first key.
#[derive(Debug, Default)]
pub struct Index {
    separators: Vec<u8>,
    /// End of each separator in `separators`.
    ends: Vec<usize>,
    handles: Vec<BlockHandle>,
    partitions: usize,
    damages: Vec<Damage>,
}

impl Index {
    /// Reads the index whose top block is at `top`. Skips unreadable partitions and adds them to the damages.
    pub(super) fn read(blocks: &Blocks, properties: &TableProperties, top: BlockHandle) -> Result<Index> {
        let mut index = Index::default();
        index.read_block(blocks, properties, top)?;
        if !properties.is_partitioned() {
            return Ok(index);
        }
        let mut all = Index { partitions: index.len(), ..Default::default() };
        for at in 0..index.len() {
            let before = all.len();
            if let Err(e) = all.read_block(blocks, properties, index.handle(at)) {
                all.truncate(before);
                all.damages.push(
                    e.context(Context::Lost { after: index.before(at), up_to: index.separator(at) }).into(),
                );
            }
        }
        Ok(all)
    }

    /// Reads only the index block at `top`, such as the list of a filter's partitions.
    pub(super) fn read_top(blocks: &Blocks, properties: &TableProperties, top: BlockHandle) -> Result<Index> {
        let mut index = Index::default();
        index.read_block(blocks, properties, top)?;
        Ok(index)
    }

    fn truncate(&mut self, len: usize) {
        self.handles.truncate(len);
        self.ends.truncate(len);
        self.separators.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn read_block(
        &mut self,
        blocks: &Blocks,
        properties: &TableProperties,
        handle: BlockHandle,
    ) -> Result<()> {
        let delta = properties.index_value_is_delta_encoded();
        let bad = || blocks.file.corrupt(handle.offset, "an entry of the index does not decode");
        let wrong = |e: BlockError| blocks.file.corrupt(handle.offset, e);
        let data = blocks.read(handle)?;
        let cursor = if delta { BlockCursor::with_delta_values(&data) } else { BlockCursor::new(&data) };
        let mut cursor = cursor.map_err(wrong)?;
        let mut before = BlockHandle::default();
        let mut end = self.handles.last().map_or(0, |last| last.offset.saturating_add(last.size));
        // Prefix-compressed keys could expand to any size.
        let max_len = blocks.file.size().saturating_mul(4).saturating_add(SPARE);
        while cursor.advance(&data).map_err(wrong)? {
            let mut value = Cursor::new(if delta { cursor.open_value(&data) } else { cursor.value(&data) });
            before = if delta && cursor.shared() > 0 {
                BlockHandle::decode_delta(&mut value, before)
            } else {
                BlockHandle::decode(&mut value)
            }
            .ok_or_else(bad)?;
            if properties.index_has_first_key() {
                value.slice().ok_or_else(bad)?;
            }
            let separator = if properties.index_key_is_user_key() {
                cursor.key()
            } else {
                InternalKey::decode(cursor.key()).ok_or_else(bad)?.user_key
            };
            if before.offset < end {
                let what = "a block begins before the end of the previous one";
                return Err(blocks.file.corrupt(handle.offset, what));
            }
            end = before.offset.saturating_add(before.size);
            if self.separators.len() as u64 > max_len {
                let what = format!(
                    "expected up to {max_len} bytes of index keys for a file of this size, found more"
                );
                return Err(blocks.file.corrupt(handle.offset, what));
            }
            self.push(separator, before);
            if delta {
                cursor.skip(value.position());
            }
        }
        Ok(())
    }

    /// Appends a data block.
    pub(super) fn push(&mut self, separator: &[u8], handle: BlockHandle) {
        self.separators.extend_from_slice(separator);
        self.ends.push(self.separators.len());
        self.handles.push(handle);
    }

    /// Handle of the first data block.
    pub(super) fn first(&self) -> Option<BlockHandle> {
        self.handles.first().copied()
    }

    /// Adds damage that was found.
    pub(super) fn note(&mut self, damage: Damage) {
        self.damages.push(damage);
    }

    /// Number of data blocks.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether there is no data block.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Number of partitions; 0 when the index is one block.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Handle of block number `at`.
    pub fn handle(&self, at: usize) -> BlockHandle {
        self.handles[at]
    }

    /// Separator of block number `at`: a user key not less than any of its keys.
    pub fn separator(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.separators[start..self.ends[at]]
    }

    /// Separator of the block before number `at`; empty for the first block.
    pub fn before(&self, at: usize) -> &[u8] {
        at.checked_sub(1).map_or(&[], |before| self.separator(before))
    }

    /// Number of the first block that may contain `user_key` or a greater key.
    pub fn find(&self, user_key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.separator(middle) < user_key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Damage in the index: unreadable partitions, and holes if data blocks were searched for.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }
}
