//! Values that Titan stores in blob files (`titandb/*.blob`), and the blob index that the SST has in their
//! place (Titan `blob_format.cc`). Fixed numbers are little-endian.
//!
//! ```text
//! field            bytes    meaning
//! blob index:
//!   type           1        1
//!   file number    varint
//!   offset         varint   of the record in the file
//!   size           varint   bytes of the record with its header
//! file header:
//!   magic          4        2be0a614
//!   version        4        1 to 3
//!   flags          4        bit 0: records are compressed with a dictionary; only in versions 2 and 3
//! record:
//!   checksum       4        CRC-32C of the rest of the record
//!   size           4        bytes of the payload
//!   compression    1
//!   payload        size     compressed; plain, it is the length of the key (varint), the key, the length of
//!                           the value (varint) and the value
//! footer:
//!   metaindex      20       handle of the meta index, padded; read only for the dictionary
//!   magic          8        2be0a6148e39edc6
//!   checksum       4        not read here
//! ```
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    block::BlockCursor,
    checksum::{crc32c, mask},
    compress,
    decode_error::BlobError,
    format::{BLOCK_TRAILER_LEN, BlockHandle},
};
use crate::{
    encryption::Keyring,
    io::{Cursor, FileError, RandomFile, Result, checksum_matches},
};

const BLOB_RECORD: u8 = 1;
const MAGIC: u32 = 0x2be0_a614;
const HAS_DICTIONARY: u32 = 1;
const FOOTER_MAGIC: u64 = 0x2be0_a614_8e39_edc6;
/// Bytes of the footer: a padded handle, the magic number, a checksum.
const FOOTER: u64 = 20 + 8 + 4;
const DICTIONARY: &[u8] = b"rocksdb.compression_dict";
const RECORD_HEADER: usize = 9;

/// The reference that an SST has in the place of a value in a blob file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobIndex {
    /// Number of the blob file.
    pub file: u64,
    /// Offset of the record in the file.
    pub offset: u64,
    /// Bytes of the record with its header.
    pub size: u64,
}

impl BlobIndex {
    /// Decodes the value of an entry of type `BlobIndex`.
    pub fn decode(value: &[u8]) -> Option<BlobIndex> {
        let mut cursor = Cursor::new(value);
        if cursor.u8()? != BLOB_RECORD {
            return None;
        }
        Some(BlobIndex { file: cursor.varint()?, offset: cursor.varint()?, size: cursor.varint()? })
    }
}

/// The blob files of a database, each opened when it is first needed.
#[derive(Debug)]
pub struct Titan {
    dir: PathBuf,
    keyring: Keyring,
    files: Mutex<HashMap<u64, Arc<BlobFile>>>,
}

/// An open blob file.
#[derive(Debug)]
pub struct BlobFile {
    file: RandomFile,
    /// The dictionary of its compressed records; empty: none.
    dict: Vec<u8>,
}

impl BlobFile {
    /// Opens a blob file: reads its header, and its dictionary if there is one.
    pub fn new(file: RandomFile) -> Result<BlobFile> {
        let dict = if has_dictionary(&file)? { dictionary(&file)? } else { Vec::new() };
        Ok(BlobFile { file, dict })
    }

    /// Reads the record of `size` bytes at `offset`. Returns its key and value.
    pub fn record(&self, offset: u64, size: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        let record = self.file.read(offset, size)?;
        decode_record_with(&record, &self.dict).map_err(|e| self.file.corrupt(offset, e))
    }
}

impl Titan {
    /// Creates the set of blob files of the database in `db_dir`, decrypted with the keys of `keyring`.
    pub fn new(db_dir: &Path, keyring: &Keyring) -> Titan {
        Titan { dir: db_dir.join("titandb"), keyring: keyring.clone(), files: Mutex::default() }
    }

    /// Reads the value that the blob index `index` of `key` refers to.
    pub fn read(&self, key: &[u8], index: &[u8]) -> Result<Vec<u8>> {
        let Some(BlobIndex { file: number, offset, size }) = BlobIndex::decode(index) else {
            let what = format!("the blob index of key {} does not decode", keys::hex_upper(key));
            return Err(FileError::Unsupported { path: self.dir.clone(), what });
        };
        let blob = self.file(number)?;
        let (found, value) = blob.record(offset, size)?;
        if found != key {
            let what = format!("expected a record of key {}, found another key", keys::hex_upper(key));
            return Err(blob.file.corrupt(offset, what));
        }
        Ok(value)
    }

    /// Path of blob file `number`.
    pub fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.blob"))
    }

    fn file(&self, number: u64) -> Result<Arc<BlobFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(file.clone());
        }
        let file = RandomFile::open(&self.path(number), &self.keyring)?;
        let file = Arc::new(BlobFile::new(file)?);
        files.insert(number, file.clone());
        Ok(file)
    }
}

/// Checks the header. Returns whether the records are compressed with a dictionary.
fn has_dictionary(file: &RandomFile) -> Result<bool> {
    let head = file.read(0, 12.min(file.size()))?;
    let mut cursor = Cursor::new(&head);
    match (cursor.u32(), cursor.u32(), cursor.u32()) {
        (Some(MAGIC), Some(1), _) => Ok(false),
        (Some(MAGIC), Some(2 | 3), Some(flags)) => Ok(flags & HAS_DICTIONARY != 0),
        (Some(MAGIC), version, _) => {
            Err(file.unsupported(format!("expected a blob file of version 1 to 3, found {version:?}")))
        }
        _ => Err(file.corrupt(0, "expected a Titan blob file, found another magic number")),
    }
}

/// Reads the dictionary: the footer has the handle of the meta index, which has the dictionary's.
fn dictionary(file: &RandomFile) -> Result<Vec<u8>> {
    let at = file.size().saturating_sub(FOOTER);
    let footer = file.read(at, FOOTER.min(file.size()))?;
    let (handle, end) = footer.split_at(footer.len().saturating_sub(12));
    if Cursor::new(end).u64() != Some(FOOTER_MAGIC) {
        let what = "expected the footer of a blob file with a dictionary, found another magic number: the file was truncated";
        return Err(file.corrupt(at, what));
    }
    let bad = || file.corrupt(at, "the handle of the meta index does not decode");
    let handle = BlockHandle::decode(&mut Cursor::new(handle)).ok_or_else(bad)?;
    let block = meta_block(file, handle)?;
    let wrong = |what| file.corrupt(handle.offset, what);
    let mut cursor = BlockCursor::new(&block).map_err(wrong)?;
    while cursor.advance(&block).map_err(wrong)? {
        if cursor.key() == DICTIONARY {
            let handle = BlockHandle::decode(&mut Cursor::new(cursor.value(&block))).ok_or_else(bad)?;
            return meta_block(file, handle);
        }
    }
    Err(file.corrupt(
        handle.offset,
        "expected a dictionary in the meta index of the blob file, as its header says, found none",
    ))
}

/// Reads a block with a trailer as in an SST, which is never compressed.
fn meta_block(file: &RandomFile, handle: BlockHandle) -> Result<Vec<u8>> {
    let mut bytes = file.read(handle.offset, handle.size.saturating_add(BLOCK_TRAILER_LEN))?;
    let stored = bytes.split_off(handle.size as usize + 1);
    if !Cursor::new(&stored).u32().is_some_and(|stored| checksum_matches(mask(crc32c(0, &bytes)), stored)) {
        return Err(
            file.corrupt(handle.offset, "the checksum of a meta block does not match: the block is damaged")
        );
    }
    bytes.pop();
    Ok(bytes)
}

/// Decodes a blob record that needs no dictionary. Returns its key and value.
pub fn decode_record(record: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), BlobError> {
    decode_record_with(record, &[])
}

fn decode_record_with(record: &[u8], dict: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), BlobError> {
    let (header, body) = record
        .split_at_checked(RECORD_HEADER)
        .ok_or(BlobError::Header { expected: RECORD_HEADER, found: record.len() })?;
    let mut cursor = Cursor::new(header);
    let (stored, size) = (cursor.u32().unwrap_or_default(), cursor.u32().unwrap_or_default());
    let kind = cursor.u8().unwrap_or_default();
    if size as usize != body.len() {
        return Err(BlobError::Size { expected: size, found: body.len() });
    }
    if !checksum_matches(crc32c(crc32c(0, &header[4..]), body), stored) {
        return Err(BlobError::Checksum);
    }
    let plain = compress::decompress(kind, body, dict, true)?;
    let mut cursor = Cursor::new(&plain);
    let pair = cursor.slice().zip(cursor.slice()).ok_or(BlobError::Pair)?;
    Ok((pair.0.to_vec(), pair.1.to_vec()))
}
