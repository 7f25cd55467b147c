//! An SST file (block-based table): blocks by handle, the index, and a walk over its entries.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    Cursor, Error, InternalKey, RandomFile, Result, TableIter, TableProperties,
    block::BlockCursor,
    checksum::ChecksumType,
    compress,
    db::RangeTombstone,
    footer::Footer,
    index::Index,
    reader::{BlockReader, READAHEAD},
    salvage,
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
    pub(super) fn decode_delta(cursor: &mut Cursor<'_>, before: BlockHandle) -> Option<BlockHandle> {
        let delta = cursor.varint_signed()?;
        let offset = before.offset.checked_add(before.size)?.checked_add(BLOCK_TRAILER_LEN)?;
        Some(BlockHandle { offset, size: before.size.checked_add_signed(delta)? })
    }
}

/// The order of keys that is understood.
pub(super) const COMPARATOR: &str = "leveldb.BytewiseComparator";

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
    index: OnceLock<Arc<Index>>,
    damages: Vec<Error>,
}

impl Table {
    /// Opens the SST at `path`.
    pub fn open(path: &Path) -> Result<Table> {
        Table::from_file(RandomFile::open(path)?, None)
    }

    /// Reads footer and properties of `file`. `largest_seqno`, from the MANIFEST, is the sequence number of all
    /// entries of an ingested file.
    pub fn from_file(file: RandomFile, largest_seqno: Option<u64>) -> Result<Table> {
        let (footer, damage) = match Footer::read(&file) {
            Ok(footer) => (footer, None),
            // Data blocks can be found without it; what has none is another file.
            Err(e @ Error::Corruption { .. }) => match salvage::footer(&file) {
                Some(footer) => (footer, Some(e)),
                None => return Err(e),
            },
            Err(e) => return Err(e),
        };
        let mut table = Table {
            file,
            footer,
            meta_blocks: Vec::new(),
            properties: TableProperties::default(),
            dict: Vec::new(),
            global_seqno: None,
            index: OnceLock::new(),
            damages: Vec::new(),
        };
        if let Some(e) = damage {
            table.damages.push(e.in_block("the footer"));
            return Ok(table);
        }
        match table.read_meta_index() {
            Ok(blocks) => table.meta_blocks = blocks,
            Err(e) => {
                table.damages.push(e.in_block("the meta index"));
                table.properties.assume(table.format_version());
            }
        }
        if let Some(handle) = table.find_meta(&["rocksdb.properties", "rocksdb.stats"]) {
            match table.read_properties(handle) {
                Ok(properties) => table.properties = properties,
                // The keys can still be read, by what is usual.
                Err(e) => {
                    table.damages.push(e.in_block("rocksdb.properties"));
                    table.properties.assume(table.format_version());
                }
            }
        }
        if let Some(handle) = table.find_meta(&["rocksdb.compression_dict"]) {
            match table.read_block(handle) {
                Ok(dict) => table.dict = dict,
                Err(e) => table.damages.push(e.in_block("rocksdb.compression_dict")),
            }
        }
        if table.properties.is_external() {
            table.global_seqno = largest_seqno;
        }
        match table.properties.text("rocksdb.comparator") {
            Some(name) if name != COMPARATOR => Err(table.file.unsupported(format!(
                "expected keys in the order of {COMPARATOR}, met {name}: this is another program's SST; use its own tools"
            ))),
            _ => Ok(table),
        }
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

    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// What format_version 6 adds to checksums.
    pub(super) fn base_context(&self) -> u32 {
        self.footer.base_context
    }

    /// The dictionary that blocks are compressed with; empty: none.
    pub fn dict(&self) -> &[u8] {
        &self.dict
    }

    /// The sequence number of all entries, of an ingested file.
    pub(super) fn global_seqno(&self) -> Option<u64> {
        self.global_seqno
    }

    /// What the properties block says.
    pub fn properties(&self) -> &TableProperties {
        &self.properties
    }

    /// The blocks of the meta index.
    pub fn meta_blocks(&self) -> &[MetaBlock] {
        &self.meta_blocks
    }

    pub(super) fn find_meta(&self, names: &[&str]) -> Option<BlockHandle> {
        self.meta_blocks.iter().find(|block| names.contains(&block.name.as_str())).map(|block| block.handle)
    }

    /// Reads, checks and decompresses a block.
    pub fn read_block(&self, handle: BlockHandle) -> Result<Vec<u8>> {
        let mut reader = BlockReader::default();
        reader.load(self, handle, 0)?;
        Ok(reader.into_data())
    }

    /// Calls `take` with each key and value of the block at `handle`.
    fn each_entry(&self, handle: BlockHandle, mut take: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let data = self.read_block(handle)?;
        let wrong = |what| self.file.corrupt(handle.offset, what);
        let mut cursor = BlockCursor::new(&data).map_err(wrong)?;
        while cursor.advance(&data).map_err(wrong)? {
            take(cursor.key(), cursor.value(&data));
        }
        Ok(())
    }

    /// How a block is compressed, without decompressing it.
    pub fn block_compression(&self, handle: BlockHandle) -> Result<&'static str> {
        let at = handle.offset.saturating_add(handle.size);
        Ok(compress::name(self.file.read(at, 1)?[0]))
    }

    fn read_meta_index(&self) -> Result<Vec<MetaBlock>> {
        let mut blocks = Vec::new();
        let mut bad = false;
        self.each_entry(self.footer.metaindex, |key, value| {
            match BlockHandle::decode(&mut Cursor::new(value)) {
                Some(handle) => {
                    blocks.push(MetaBlock { name: String::from_utf8_lossy(key).into_owned(), handle })
                }
                None => bad = true,
            }
        })?;
        if bad {
            let what = "a handle of the meta index does not decode";
            return Err(self.file.corrupt(self.footer.metaindex.offset, what));
        }
        Ok(blocks)
    }

    fn read_properties(&self, handle: BlockHandle) -> Result<TableProperties> {
        let mut properties = TableProperties::default();
        self.each_entry(handle, |key, value| properties.insert(key, value))?;
        Ok(properties)
    }

    /// The data blocks in order, from all index partitions.
    pub fn index(&self) -> Result<Arc<Index>> {
        if let Some(index) = self.index.get() {
            return Ok(index.clone());
        }
        let read = self.index_handle().and_then(|top| Index::read(self, top));
        let index = read.or_else(|e| salvage::index(self, e.in_block("the index")))?;
        let index = Arc::new(index);
        Ok(self.index.get_or_init(|| index).clone())
    }

    /// Where the meta index is.
    pub fn metaindex_handle(&self) -> BlockHandle {
        self.footer.metaindex
    }

    /// Where the footer begins.
    pub fn footer_offset(&self) -> u64 {
        self.footer.offset
    }

    /// What was wrong with meta blocks that could be read around.
    pub fn damages(&self) -> &[Error] {
        &self.damages
    }

    /// Where the index is, or its top when it is partitioned.
    pub fn index_handle(&self) -> Result<BlockHandle> {
        let top = self.footer.index.or_else(|| self.find_meta(&["rocksdb.index"]));
        top.ok_or_else(|| self.file.corrupt(self.footer.metaindex.offset, "no index block"))
    }

    /// Range deletions: start, end (exclusive) and sequence number.
    pub fn range_deletions(&self) -> Result<Vec<RangeTombstone>> {
        let Some(handle) = self.find_meta(&["rocksdb.range_del"]) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let mut short = false;
        self.each_entry(handle, |key, value| match InternalKey::decode(key) {
            Some(key) => {
                let seqno = self.global_seqno.unwrap_or(key.sequence());
                all.push((key.user_key.to_vec(), value.to_vec(), seqno));
            }
            None => short = true,
        })?;
        if short {
            return Err(self.file.corrupt(handle.offset, "a range deletion's key is too short"));
        }
        Ok(all)
    }

    /// Walks all entries, from the first on.
    pub fn iter(self: &Arc<Self>) -> Result<TableIter> {
        TableIter::new(self, READAHEAD)
    }

    /// Walks the entries of data block `number`.
    pub fn iter_block(self: &Arc<Self>, number: usize) -> Result<TableIter> {
        TableIter::of_block(self, number)
    }

    /// Walks the entries from the first whose user key is not less than `user_key`.
    pub fn iter_from(self: &Arc<Self>, user_key: &[u8]) -> Result<TableIter> {
        TableIter::from(self, user_key)
    }
}
