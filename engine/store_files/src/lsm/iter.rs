//! Iterates over the entries of an SST.
use std::{cmp::Ordering, sync::Arc};

use super::{
    block::BlockCursor,
    index::Index,
    internal_key::{InternalKey, compare},
    read_ahead::Ahead,
    reader::{BlockReader, READAHEAD},
    table::Table,
};
use crate::io::{Context, FileError, Result};

/// Number of the block from which on a walk reads ahead with a thread, because it is a long one.
const LONG_WALK: usize = 3;
/// Bytes of the first read of a walk that may be short.
const FIRST_READ: u64 = 16 << 10;

/// An iterator over the entries of a table. It starts before the first entry: call [`TableIter::advance`].
///
/// After an error it is after the damaged block: the caller may continue or stop.
#[derive(Debug)]
pub struct TableIter {
    table: Arc<Table>,
    index: Arc<Index>,
    next_block: usize,
    loads: usize,
    read_ahead: Option<Ahead>,
    reader: BlockReader,
    cursor: BlockCursor,
    loaded: bool,
    on_entry: bool,
    ahead: u64,
    packed: u64,
    user_key_len: usize,
}

impl Table {
    /// Creates an iterator over all entries.
    pub fn iter(self: &Arc<Self>) -> Result<TableIter> {
        TableIter::new(self, READAHEAD)
    }

    /// Creates an iterator over the entries of data block `number`.
    pub fn iter_block(self: &Arc<Self>, number: usize) -> Result<TableIter> {
        TableIter::from_block(self, number)
    }

    /// Creates an iterator from the first entry whose user key is not less than `user_key`.
    pub fn iter_from(self: &Arc<Self>, user_key: &[u8]) -> Result<TableIter> {
        TableIter::from(self, user_key)
    }
}

impl TableIter {
    fn new(table: &Arc<Table>, ahead: u64) -> Result<TableIter> {
        Ok(TableIter {
            index: table.index()?,
            table: table.clone(),
            next_block: 0,
            loads: 0,
            read_ahead: None,
            reader: BlockReader::default(),
            cursor: BlockCursor::default(),
            loaded: false,
            on_entry: false,
            ahead,
            packed: 0,
            user_key_len: 0,
        })
    }

    /// Creates an iterator before the first entry that is not less than `user_key`.
    fn from(table: &Arc<Table>, user_key: &[u8]) -> Result<TableIter> {
        let mut iter = TableIter::new(table, FIRST_READ)?;
        iter.next_block = iter.index.find(user_key);
        if iter.next_block < iter.index.len() {
            iter.load()?;
            let found = iter.cursor.seek(iter.reader.data(), |key| match InternalKey::decode(key) {
                Some(key) => compare((key.user_key, key.packed), (user_key, u64::MAX)),
                None => Ordering::Equal,
            });
            iter.on_entry = found.map_err(|what| iter.lost(what))?;
        }
        Ok(iter)
    }

    /// Creates an iterator over the entries of data block `number`.
    fn from_block(table: &Arc<Table>, number: usize) -> Result<TableIter> {
        let mut iter = TableIter::new(table, 0)?;
        iter.next_block = number;
        iter.load()?;
        iter.next_block = iter.index.len();
        Ok(iter)
    }

    fn load(&mut self) -> Result<()> {
        let at = self.next_block;
        self.next_block += 1;
        self.loads += 1;
        // For uncompressed blocks, moving the bytes between cores costs more than checking them here.
        if self.loads == LONG_WALK && self.reader.is_packed() {
            self.read_ahead = Ahead::start(&self.table, &self.index, at);
        }
        let next = self.read_ahead.as_mut().and_then(|ahead| ahead.next_block(&mut self.reader));
        let loaded = next.unwrap_or_else(|| {
            self.read_ahead = None;
            self.reader.load(self.table.blocks(), self.index.handle(at), self.ahead)
        });
        loaded.map_err(|e| self.losing(e))?;
        self.ahead = (self.ahead * 2).min(READAHEAD);
        self.cursor.reset(self.reader.data()).map_err(|what| self.lost(what))?;
        self.loaded = true;
        Ok(())
    }

    /// Creates an error about the current block, whose keys are lost.
    fn lost(&self, what: impl std::fmt::Display) -> FileError {
        let at = self.next_block.saturating_sub(1);
        self.losing(self.table.file().corrupt(self.index.handle(at).offset, what))
    }

    fn losing(&self, e: FileError) -> FileError {
        let at = self.next_block.saturating_sub(1);
        e.context(Context::Lost { after: self.index.before(at), up_to: self.index.separator(at) })
    }

    /// Moves to the next entry. Returns `Ok(false)` at the end.
    ///
    /// # Errors
    /// A block is damaged; the next call continues after it.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        if self.loaded && !self.on_entry && matches!(self.cursor.advance(self.reader.data()), Ok(true)) {
            return self.take_key();
        }
        self.advance_slowly()
    }

    /// Moves to the next entry at the end of a block or at damage, which the cursor finds once more.
    #[cold]
    fn advance_slowly(&mut self) -> Result<bool> {
        loop {
            if self.loaded {
                let moved = std::mem::take(&mut self.on_entry)
                    || match self.cursor.advance(self.reader.data()) {
                        Ok(moved) => moved,
                        Err(what) => {
                            self.loaded = false;
                            return Err(self.lost(what));
                        }
                    };
                if moved {
                    return self.take_key();
                }
                self.loaded = false;
            }
            if self.next_block >= self.index.len() {
                return Ok(false);
            }
            self.load()?;
        }
    }

    #[inline(always)]
    fn take_key(&mut self) -> Result<bool> {
        let Some((user_key, trailer)) = self.cursor.key().split_last_chunk::<8>() else {
            self.loaded = false;
            return Err(self.lost("a key of this block is shorter than its 8-byte trailer"));
        };
        self.user_key_len = user_key.len();
        let packed = u64::from_le_bytes(*trailer);
        self.packed = match self.table.global_seqno() {
            Some(seqno) => seqno << 8 | (packed & 0xff),
            None => packed,
        };
        Ok(true)
    }

    /// Returns the current entry's key, with the global sequence number if the file was ingested.
    #[inline]
    pub fn key(&self) -> InternalKey<'_> {
        let user_key = self.cursor.key().get(..self.user_key_len).unwrap_or_default();
        InternalKey { user_key, packed: self.packed }
    }

    /// Returns the current entry's value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        self.cursor.value(self.reader.data())
    }

    /// Number of bytes that the current key has in common with the previous one.
    #[inline]
    pub fn shared(&self) -> usize {
        self.cursor.shared()
    }

    /// Number of the current data block.
    pub fn block(&self) -> usize {
        self.next_block.saturating_sub(1)
    }
}
