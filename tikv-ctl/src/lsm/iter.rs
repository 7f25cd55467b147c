//! A walk over the entries of an SST.

use std::{cmp::Ordering, sync::Arc};

use super::{
    Error, InternalKey, Result, Table,
    ahead::Ahead,
    block::BlockCursor,
    index::Index,
    internal_key::compare,
    reader::{BlockReader, READAHEAD},
};

/// After so many blocks a walk is a long one.
const LONG: usize = 3;
/// What is read of the file at first, when a walk may be short.
const FIRST_READ: u64 = 16 << 10;

/// A walk over the entries of a table. Starts before the first: call [`TableIter::advance`].
///
/// After an error it stands behind the block that is damaged: go on, or stop.
#[derive(Debug)]
pub struct TableIter {
    table: Arc<Table>,
    index: Arc<Index>,
    next_block: usize,
    loads: usize,
    beside: Option<Ahead>,
    reader: BlockReader,
    cursor: BlockCursor,
    loaded: bool,
    on_entry: bool,
    ahead: u64,
    packed: u64,
    user_key_len: usize,
}

impl TableIter {
    pub(super) fn new(table: &Arc<Table>, ahead: u64) -> Result<TableIter> {
        Ok(TableIter {
            index: table.index()?,
            table: table.clone(),
            next_block: 0,
            loads: 0,
            beside: None,
            reader: BlockReader::default(),
            cursor: BlockCursor::default(),
            loaded: false,
            on_entry: false,
            ahead,
            packed: 0,
            user_key_len: 0,
        })
    }

    /// Stands right before the first entry that is not less than `user_key`.
    pub(super) fn from(table: &Arc<Table>, user_key: &[u8]) -> Result<TableIter> {
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

    /// Walks the entries of data block `number`.
    pub(super) fn of_block(table: &Arc<Table>, number: usize) -> Result<TableIter> {
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
        // To move plain bytes from one core to the other costs more than to check them here.
        if self.loads == LONG && self.reader.is_packed() {
            self.beside = Ahead::start(&self.table, &self.index, at);
        }
        let beside = self.beside.as_mut().and_then(|beside| beside.next_block(&mut self.reader));
        let loaded = beside.unwrap_or_else(|| {
            self.beside = None;
            self.reader.load(&self.table, self.index.handle(at), self.ahead)
        });
        loaded.map_err(|e| self.losing(e))?;
        self.ahead = (self.ahead * 2).min(READAHEAD);
        self.cursor.reset(self.reader.data()).map_err(|what| self.lost(what))?;
        self.loaded = true;
        Ok(())
    }

    /// An error about the block that is being read; the walk leaves it.
    fn lost(&self, what: String) -> Error {
        let at = self.next_block.saturating_sub(1);
        self.losing(self.table.file().corrupt(self.index.handle(at).offset, what))
    }

    fn losing(&self, e: Error) -> Error {
        let at = self.next_block.saturating_sub(1);
        e.losing(self.index.before(at), self.index.separator(at))
    }

    /// Goes to the next entry; `Ok(false)` at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        if self.loaded && !self.on_entry && matches!(self.cursor.advance(self.reader.data()), Ok(true)) {
            return self.take_key();
        }
        self.advance_slowly()
    }

    /// The same at the end of a block, or where something is wrong with it: it is met once more.
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
            return Err(self.lost("a key of this block is shorter than its 8-byte trailer".into()));
        };
        self.user_key_len = user_key.len();
        let packed = u64::from_le_bytes(*trailer);
        self.packed = match self.table.global_seqno() {
            Some(seqno) => seqno << 8 | (packed & 0xff),
            None => packed,
        };
        Ok(true)
    }

    /// The current entry's key, with the sequence number that counts.
    #[inline]
    pub fn key(&self) -> InternalKey<'_> {
        let user_key = self.cursor.key().get(..self.user_key_len).unwrap_or_default();
        InternalKey { user_key, packed: self.packed }
    }

    /// The current entry's value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        self.cursor.value(self.reader.data())
    }

    /// Bytes that the current key has in common with the one before.
    #[inline]
    pub fn shared(&self) -> usize {
        self.cursor.shared()
    }

    /// The data block that the walk is in, by number.
    pub fn block(&self) -> usize {
        self.next_block.saturating_sub(1)
    }
}
