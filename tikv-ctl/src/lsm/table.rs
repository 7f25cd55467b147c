//! An SST file (block-based table): blocks by handle, the index, and a walk over its entries.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    Cursor, Error, InternalKey, RandomFile, Result, TableProperties,
    block::{Block, BlockIter},
    checksum::{ChecksumType, context_modifier},
    compress,
    db::RangeTombstone,
    footer::Footer,
    internal_key::compare,
};

/// Bytes behind each block: compression type and checksum.
pub const BLOCK_TRAILER_LEN: u64 = 5;

/// Where a block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes, without the trailer.
    pub size: u64,
}

impl BlockHandle {
    /// Takes a handle: two varints.
    pub fn decode(cursor: &mut Cursor<'_>) -> Option<BlockHandle> {
        Some(BlockHandle { offset: cursor.varint()?, size: cursor.varint()? })
    }

    /// Takes a handle that tells only how its size differs from `before`, which it follows.
    fn decode_delta(cursor: &mut Cursor<'_>, before: BlockHandle) -> Option<BlockHandle> {
        let delta = cursor.varint_signed()?;
        let offset = before.offset.checked_add(before.size)?.checked_add(BLOCK_TRAILER_LEN)?;
        Some(BlockHandle { offset, size: before.size.checked_add_signed(delta)? })
    }
}

/// A data block and a key that is not less than any of its keys.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// A user key between this block's last key and the next block's first.
    pub separator: Vec<u8>,
    /// Where the block is.
    pub handle: BlockHandle,
}

/// One block of the meta index.
#[derive(Clone, Debug)]
pub struct MetaBlock {
    /// Such as `rocksdb.properties`.
    pub name: String,
    /// Where it is.
    pub handle: BlockHandle,
}

/// An opened SST file.
#[derive(Debug)]
pub struct Table {
    file: RandomFile,
    footer: Footer,
    meta_blocks: Vec<MetaBlock>,
    properties: TableProperties,
    dict: Vec<u8>,
    global_seqno: Option<u64>,
    index: OnceLock<Arc<Vec<IndexEntry>>>,
}

impl Table {
    /// Opens the SST at `path`.
    pub fn open(path: &Path) -> Result<Table> {
        Table::from_file(RandomFile::open(path)?, None)
    }

    /// Reads footer and properties of `file`. `largest_seqno`, from the MANIFEST, is the sequence number of all
    /// entries of an ingested file.
    pub fn from_file(file: RandomFile, largest_seqno: Option<u64>) -> Result<Table> {
        let footer = Footer::read(&file)?;
        let mut table = Table {
            file,
            footer,
            meta_blocks: Vec::new(),
            properties: TableProperties::default(),
            dict: Vec::new(),
            global_seqno: None,
            index: OnceLock::new(),
        };
        table.meta_blocks = table.read_meta_index()?;
        if let Some(handle) = table.find_meta(&["rocksdb.properties", "rocksdb.stats"]) {
            table.properties = table.read_properties(handle)?;
        }
        if let Some(handle) = table.find_meta(&["rocksdb.compression_dict"]) {
            table.dict = table.read_block(handle)?;
        }
        if table.properties.is_external() {
            table.global_seqno = largest_seqno;
        }
        Ok(table)
    }

    /// The file.
    pub fn file(&self) -> &RandomFile {
        &self.file
    }

    /// The table's format_version.
    pub fn format_version(&self) -> u32 {
        self.footer.version
    }

    /// How blocks are checked.
    pub fn checksum_type(&self) -> ChecksumType {
        self.footer.checksum
    }

    /// What the properties block says.
    pub fn properties(&self) -> &TableProperties {
        &self.properties
    }

    /// The blocks of the meta index.
    pub fn meta_blocks(&self) -> &[MetaBlock] {
        &self.meta_blocks
    }

    fn find_meta(&self, names: &[&str]) -> Option<BlockHandle> {
        self.meta_blocks.iter().find(|block| names.contains(&block.name.as_str())).map(|block| block.handle)
    }

    /// Reads, checks and decompresses a block.
    pub fn read_block(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        let data = self.file.read(handle.offset, handle.size.saturating_add(BLOCK_TRAILER_LEN))?;
        let (covered, stored) = data.split_at(handle.size as usize + 1);
        let stored = Cursor::new(stored).u32().unwrap_or_default();
        if self.footer.checksum != ChecksumType::None {
            let modifier = context_modifier(self.footer.base_context, handle.offset);
            let computed = self.footer.checksum.of(covered).wrapping_add(modifier);
            if computed != stored {
                let what = format!(
                    "block checksum {computed:08x} computed, {stored:08x} stored: the block of {} bytes is damaged",
                    handle.size
                );
                return Err(self.file.corrupt(handle.offset, what));
            }
        }
        let (kind, body) = (covered[covered.len() - 1], &covered[..covered.len() - 1]);
        compress::decompress(kind, body, &self.dict, self.footer.version >= 2)
            .map_err(|what| self.file.corrupt(handle.offset, what))
    }

    /// How a block is compressed, without decompressing it.
    pub fn block_compression(&self, handle: BlockHandle) -> Result<&'static str> {
        let at = handle.offset.saturating_add(handle.size);
        Ok(compress::name(self.file.read(at, 1)?[0]))
    }

    fn block(&self, handle: BlockHandle) -> Result<Block> {
        Block::new(self.read_block(handle)?).map_err(|what| self.file.corrupt(handle.offset, what))
    }

    fn read_meta_index(&self) -> Result<Vec<MetaBlock>> {
        let mut iter = self.block(self.footer.metaindex)?.iter();
        let mut blocks = Vec::new();
        while self.step(&mut iter, self.footer.metaindex)? {
            let handle = BlockHandle::decode(&mut Cursor::new(iter.value())).ok_or_else(|| {
                self.file.corrupt(self.footer.metaindex.offset, "a handle of the meta index does not decode")
            })?;
            blocks.push(MetaBlock { name: String::from_utf8_lossy(iter.key()).into_owned(), handle });
        }
        Ok(blocks)
    }

    fn read_properties(&self, handle: BlockHandle) -> Result<TableProperties> {
        let mut iter = self.block(handle)?.iter();
        let mut properties = TableProperties::default();
        while self.step(&mut iter, handle)? {
            properties.insert(iter.key(), iter.value());
        }
        Ok(properties)
    }

    fn step(&self, iter: &mut BlockIter, handle: BlockHandle) -> Result<bool> {
        iter.advance().map_err(|what| self.file.corrupt(handle.offset, what))
    }

    /// The data blocks in order, from all index partitions.
    pub fn index(&self) -> Result<Arc<Vec<IndexEntry>>> {
        if let Some(index) = self.index.get() {
            return Ok(index.clone());
        }
        let top = self.footer.index.or_else(|| self.find_meta(&["rocksdb.index"]));
        let top = top.ok_or_else(|| self.file.corrupt(self.footer.metaindex.offset, "no index block"))?;
        let mut entries = self.read_index_block(top)?;
        if self.properties.is_partitioned() {
            let mut all = Vec::new();
            for partition in &entries {
                all.append(&mut self.read_index_block(partition.handle)?);
            }
            entries = all;
        }
        Ok(self.index.get_or_init(|| Arc::new(entries)).clone())
    }

    fn read_index_block(&self, handle: BlockHandle) -> Result<Vec<IndexEntry>> {
        let block = self.block(handle)?;
        let delta = self.properties.index_value_is_delta_encoded();
        let user_keys = self.properties.index_key_is_user_key();
        let with_first_key = self.properties.index_has_first_key();
        let bad = || self.file.corrupt(handle.offset, "an entry of the index does not decode");
        let mut iter = if delta { block.iter_delta_values() } else { block.iter() };
        let (mut entries, mut before) = (Vec::new(), BlockHandle::default());
        while self.step(&mut iter, handle)? {
            let mut cursor = Cursor::new(if delta { iter.open_value() } else { iter.value() });
            before = if delta && iter.shared() > 0 {
                BlockHandle::decode_delta(&mut cursor, before)
            } else {
                BlockHandle::decode(&mut cursor)
            }
            .ok_or_else(bad)?;
            if with_first_key {
                cursor.slice().ok_or_else(bad)?;
            }
            let taken = cursor.position();
            let separator = if user_keys {
                iter.key().to_vec()
            } else {
                InternalKey::decode(iter.key()).ok_or_else(bad)?.user_key.to_vec()
            };
            entries.push(IndexEntry { separator, handle: before });
            if delta {
                iter.skip(taken);
            }
        }
        Ok(entries)
    }

    /// Range deletions: start, end (exclusive) and sequence number.
    pub fn range_deletions(&self) -> Result<Vec<RangeTombstone>> {
        let Some(handle) = self.find_meta(&["rocksdb.range_del"]) else { return Ok(Vec::new()) };
        let mut iter = self.block(handle)?.iter();
        let mut all = Vec::new();
        while self.step(&mut iter, handle)? {
            let key = InternalKey::decode(iter.key())
                .ok_or_else(|| self.file.corrupt(handle.offset, "a range deletion's key is too short"))?;
            let seqno = self.global_seqno.unwrap_or(key.sequence());
            all.push((key.user_key.to_vec(), iter.value().to_vec(), seqno));
        }
        Ok(all)
    }

    /// Walks all entries, from the first on.
    pub fn iter(self: &Arc<Self>) -> Result<TableIter> {
        Ok(TableIter { index: self.index()?, table: self.clone(), next_block: 0, block: None, packed: 0 })
    }

    /// Walks the entries from the first whose user key is not less than `user_key`.
    pub fn iter_from(self: &Arc<Self>, user_key: &[u8]) -> Result<TableIter> {
        let mut iter = self.iter()?;
        iter.next_block = iter.index.partition_point(|entry| entry.separator.as_slice() < user_key);
        iter.seek_in_block(user_key)?;
        Ok(iter)
    }

    fn bad_key(&self, handle: BlockHandle) -> Error {
        self.file.corrupt(handle.offset, "a key of this block is shorter than its 8-byte trailer")
    }
}

/// A walk over the entries of a table. Starts before the first: call [`TableIter::advance`].
#[derive(Debug)]
pub struct TableIter {
    table: Arc<Table>,
    index: Arc<Vec<IndexEntry>>,
    next_block: usize,
    block: Option<(BlockIter, BlockHandle, bool)>,
    packed: u64,
}

impl TableIter {
    /// Goes to the next entry; `Ok(false)` at the end.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((iter, handle, on_entry)) = &mut self.block {
                let handle = *handle;
                if std::mem::take(on_entry) || self.table.step(iter, handle)? {
                    let key = InternalKey::decode(iter.key()).ok_or_else(|| self.table.bad_key(handle))?;
                    self.packed = match self.table.global_seqno {
                        Some(seqno) => seqno << 8 | (key.packed & 0xff),
                        None => key.packed,
                    };
                    return Ok(true);
                }
            }
            let Some(entry) = self.index.get(self.next_block) else { return Ok(false) };
            self.next_block += 1;
            self.block = Some((self.table.block(entry.handle)?.iter(), entry.handle, false));
        }
    }

    /// Puts the walk right before the first entry of the next block that is not less than `user_key`.
    fn seek_in_block(&mut self, user_key: &[u8]) -> Result<()> {
        let Some(entry) = self.index.get(self.next_block) else { return Ok(()) };
        self.next_block += 1;
        let mut iter = self.table.block(entry.handle)?.iter();
        let found = iter.seek(|key| match InternalKey::decode(key) {
            Some(key) => compare((key.user_key, key.packed), (user_key, u64::MAX)),
            None => std::cmp::Ordering::Equal,
        });
        let found = found.map_err(|what| self.table.file.corrupt(entry.handle.offset, what))?;
        self.block = Some((iter, entry.handle, found));
        Ok(())
    }

    /// The current entry's key, with the sequence number that counts.
    pub fn key(&self) -> InternalKey<'_> {
        let user_key = self.block.as_ref().and_then(|(iter, ..)| InternalKey::decode(iter.key()));
        InternalKey { user_key: user_key.map_or(&[], |key| key.user_key), packed: self.packed }
    }

    /// The current entry's value.
    pub fn value(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |(iter, ..)| iter.value())
    }
}
