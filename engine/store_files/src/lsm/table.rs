//! An SST (block-based table): its blocks, properties, index and entries (RocksDB `table/block_based/*`).
//!
//! ```text
//! part          contents
//! data blocks   entries in the order of their keys
//! meta blocks   filter, properties, range deletions, compression dictionary
//! metaindex     a block with names and handles of the meta blocks
//! index         a block with the handles of the data blocks, or of the index's partitions
//! footer        handles of metaindex and index; see the module `footer`
//!
//! a block:
//! field         bytes    meaning
//! data          size     compressed by the type that follows
//! compression   1        0 none, 1 Snappy, 2 Zlib, 4 LZ4, 5 LZ4HC, 7 ZSTD
//! checksum      4        of data and compression, little-endian; the footer has the checksum's type
//!
//! a handle:
//! offset        varint   of the block in the file
//! size          varint   bytes of the block without its trailer of 5 bytes
//! ```
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    block::BlockCursor,
    checksum::ChecksumType,
    compress,
    footer::Footer,
    format::{BlockHandle, COMPARATOR, RangeTombstone},
    index::Index,
    internal_key::InternalKey,
    properties::TableProperties,
    reader::Blocks,
    salvage,
};
use crate::{
    encryption::Keyring,
    io::{Context, Cursor, Damage, FileError, RandomFile, Result},
};

/// One block of the meta index.
#[derive(Clone, Debug)]
pub struct MetaBlock {
    /// Name, such as `rocksdb.properties`.
    pub name: String,
    /// Location in the file.
    pub handle: BlockHandle,
}

/// An opened SST file.
#[derive(Debug)]
pub struct Table {
    blocks: Blocks,
    meta_blocks: Vec<MetaBlock>,
    properties: TableProperties,
    global_seqno: Option<u64>,
    index: OnceLock<Arc<Index>>,
    damages: Vec<Damage>,
}

impl Table {
    /// Opens the SST at `path`, decrypted with a key of `keyring`.
    ///
    /// # Errors
    /// As [`RandomFile::open`] and [`Table::from_file`].
    pub fn open(path: &Path, keyring: &Keyring) -> Result<Table> {
        Table::from_file(RandomFile::open(path, keyring)?, None)
    }

    /// Reads the footer and the properties of `file`. `largest_seqno`, from the MANIFEST, is the sequence
    /// number of all entries if the file was ingested.
    ///
    /// # Errors
    /// The file is not an SST, or its keys are in another order. Other damage is in [`Table::damages`].
    pub fn from_file(file: RandomFile, largest_seqno: Option<u64>) -> Result<Table> {
        let (footer, damage) = match Footer::read(&file) {
            Ok(footer) => (footer, None),
            // Data blocks can be found without a footer. A file without data blocks is not an SST.
            Err(e @ FileError::Damaged(_)) => match salvage::footer(&file) {
                Some(footer) => (footer, Some(e)),
                None => return Err(e),
            },
            Err(e) => return Err(e),
        };
        let mut table = Table {
            blocks: Blocks { file, footer, dict: Vec::new() },
            meta_blocks: Vec::new(),
            properties: TableProperties::default(),
            global_seqno: None,
            index: OnceLock::new(),
            damages: Vec::new(),
        };
        if let Some(e) = damage {
            table.damages.push(e.context(Context::Part("the footer")).into());
            return Ok(table);
        }
        match table.read_meta_index() {
            Ok(blocks) => table.meta_blocks = blocks,
            Err(e) => {
                table.damages.push(e.context(Context::Part("the meta index")).into());
                table.properties.assume(table.format_version());
            }
        }
        if let Some(handle) = table.find_meta(&["rocksdb.properties", "rocksdb.stats"]) {
            match table.read_properties(handle) {
                Ok(properties) => table.properties = properties,
                // The keys can still be read with the default properties.
                Err(e) => {
                    table.damages.push(e.context(Context::Part("rocksdb.properties")).into());
                    table.properties.assume(table.format_version());
                }
            }
        }
        if let Some(handle) = table.find_meta(&["rocksdb.compression_dict"]) {
            match table.read_block(handle) {
                Ok(dict) => table.blocks.dict = dict,
                Err(e) => table.damages.push(e.context(Context::Part("rocksdb.compression_dict")).into()),
            }
        }
        if table.properties.is_external() {
            table.global_seqno = largest_seqno;
        }
        match table.properties.text("rocksdb.comparator") {
            Some(name) if name != COMPARATOR => Err(table.file().unsupported(format!(
                "expected keys in the order of {COMPARATOR}, found {name}: this is another program's SST; use its own tools"
            ))),
            _ => Ok(table),
        }
    }

    /// The file.
    pub fn file(&self) -> &RandomFile {
        &self.blocks.file
    }

    /// The table's format_version.
    pub fn format_version(&self) -> u32 {
        self.blocks.footer.version
    }

    /// Checksum type of the blocks.
    pub fn checksum_type(&self) -> ChecksumType {
        self.blocks.footer.checksum
    }

    /// The source of the blocks.
    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The compression dictionary of the blocks; empty: none.
    pub fn dict(&self) -> &[u8] {
        &self.blocks.dict
    }

    /// The sequence number of all entries of an ingested file.
    pub(super) fn global_seqno(&self) -> Option<u64> {
        self.global_seqno
    }

    /// The properties.
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
        self.blocks.read(handle)
    }

    /// Calls `take` with each key and value of the block at `handle`, which is not delta-encoded.
    fn each_entry(&self, handle: BlockHandle, mut take: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let data = self.read_block(handle)?;
        let wrong = |what| self.blocks.file.corrupt(handle.offset, what);
        let mut cursor = BlockCursor::new(&data).map_err(wrong)?;
        while cursor.advance(&data).map_err(wrong)? {
            take(cursor.key(), cursor.value(&data));
        }
        Ok(())
    }

    /// Reads the name of a block's compression.
    pub fn block_compression(&self, handle: BlockHandle) -> Result<&'static str> {
        let at = handle.offset.saturating_add(handle.size);
        Ok(compress::name(self.blocks.file.read(at, 1)?[0]))
    }

    fn read_meta_index(&self) -> Result<Vec<MetaBlock>> {
        let mut blocks = Vec::new();
        let mut bad = false;
        self.each_entry(self.blocks.footer.metaindex, |key, value| {
            match BlockHandle::decode(&mut Cursor::new(value)) {
                Some(handle) => {
                    blocks.push(MetaBlock { name: String::from_utf8_lossy(key).into_owned(), handle })
                }
                None => bad = true,
            }
        })?;
        if bad {
            let what = "a handle of the meta index does not decode";
            return Err(self.blocks.file.corrupt(self.blocks.footer.metaindex.offset, what));
        }
        Ok(blocks)
    }

    fn read_properties(&self, handle: BlockHandle) -> Result<TableProperties> {
        let mut properties = TableProperties::default();
        self.each_entry(handle, |key, value| properties.insert(key, value))?;
        Ok(properties)
    }

    /// Returns the index, read on the first call. If it is damaged, it is rebuilt from the data blocks.
    ///
    /// # Errors
    /// The index is damaged and there is no whole data block.
    pub fn index(&self) -> Result<Arc<Index>> {
        if let Some(index) = self.index.get() {
            return Ok(index.clone());
        }
        let read = self.index_handle().and_then(|top| Index::read(&self.blocks, &self.properties, top));
        let expected = self.properties.number("rocksdb.num.data.blocks").filter(|count| *count > 0);
        let index = read.or_else(|e| {
            salvage::index(&self.blocks, self.data_end(), expected, e.context(Context::Part("the index")))
        })?;
        let index = Arc::new(index);
        Ok(self.index.get_or_init(|| index).clone())
    }

    /// Returns the offset of the end of the last data block.
    fn data_end(&self) -> u64 {
        let meta = self.meta_blocks.iter().map(|block| block.handle.offset);
        let fixed = [self.metaindex_handle().offset, self.file().size()];
        let first = meta.chain(self.index_handle().ok().map(|handle| handle.offset)).chain(fixed).min();
        let data_size = self.properties.number("rocksdb.data.size").filter(|size| *size > 0);
        let first = first.unwrap_or_default();
        data_size.map_or(first, |size| size.min(first))
    }

    /// Handle of the meta index.
    pub fn metaindex_handle(&self) -> BlockHandle {
        self.blocks.footer.metaindex
    }

    /// Offset of the footer.
    pub fn footer_offset(&self) -> u64 {
        self.blocks.footer.offset
    }

    /// Damage to the footer and the meta blocks in spite of which the table was opened.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Handle of the index, or of its top if it is partitioned.
    pub fn index_handle(&self) -> Result<BlockHandle> {
        let top = self.blocks.footer.index.or_else(|| self.find_meta(&["rocksdb.index"]));
        top.ok_or_else(|| {
            self.blocks
                .file
                .corrupt(self.blocks.footer.metaindex.offset, "expected an index block, found none")
        })
    }

    /// Reads the range deletions: start, end (exclusive) and sequence number.
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
            return Err(self.blocks.file.corrupt(
                handle.offset,
                "expected a range deletion with a key of at least 8 bytes, found a shorter one",
            ));
        }
        Ok(all)
    }
}
