//! Values that Titan keeps in blob files (`titandb/*.blob`), by the index that the SST has in their place.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    BlockHandle, Cursor, Error, RandomFile, Result,
    block::BlockCursor,
    checksum::{crc32c, mask, matches},
    compress,
    table::BLOCK_TRAILER_LEN,
};

const BLOB_RECORD: u8 = 1;
const MAGIC: u32 = 0x2be0_a614;
const HAS_DICTIONARY: u32 = 1;
const FOOTER_MAGIC: u64 = 0x2be0_a614_8e39_edc6;
/// A padded handle, the magic number, a checksum.
const FOOTER: u64 = 20 + 8 + 4;
const DICTIONARY: &[u8] = b"rocksdb.compression_dict";
const RECORD_HEADER: usize = 9;

/// What an SST has in the place of a value that Titan keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobIndex {
    /// Number of the blob file.
    pub file: u64,
    /// Where its record begins.
    pub offset: u64,
    /// Bytes of the record.
    pub size: u64,
}

impl BlobIndex {
    /// Reads the value of an entry of type `BlobIndex`.
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
    files: Mutex<HashMap<u64, Arc<BlobFile>>>,
}

/// An open blob file.
#[derive(Debug)]
pub struct BlobFile {
    file: RandomFile,
    /// What its records are compressed with; empty: none.
    dict: Vec<u8>,
}

impl BlobFile {
    /// Reads the header, and the dictionary if there is one.
    pub fn new(file: RandomFile) -> Result<BlobFile> {
        let dict = if has_dictionary(&file)? { dictionary(&file)? } else { Vec::new() };
        Ok(BlobFile { file, dict })
    }

    /// Key and value of the record of `size` bytes at `offset`.
    pub fn record(&self, offset: u64, size: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        let record = self.file.read(offset, size)?;
        decode_record_with(&record, &self.dict).map_err(|what| self.file.corrupt(offset, what))
    }
}

impl Titan {
    /// Blob files of the database in `db_dir`.
    pub fn new(db_dir: &Path) -> Titan {
        Titan { dir: db_dir.join("titandb"), files: Mutex::default() }
    }

    /// The value that the blob index `index` of `key` points to.
    pub fn read(&self, key: &[u8], index: &[u8]) -> Result<Vec<u8>> {
        let Some(BlobIndex { file: number, offset, size }) = BlobIndex::decode(index) else {
            let what = format!("the blob index of key {} does not decode", keys::hex_upper(key));
            return Err(Error::Unsupported { path: self.dir.clone(), what });
        };
        let blob = self.file(number)?;
        let (found, value) = blob.record(offset, size)?;
        if found != key {
            return Err(blob.file.corrupt(offset, "the record belongs to another key than the SST says"));
        }
        Ok(value)
    }

    /// Where blob file `number` is.
    pub fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.blob"))
    }

    fn file(&self, number: u64) -> Result<Arc<BlobFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(file.clone());
        }
        let file = Arc::new(BlobFile::new(RandomFile::open(&self.path(number))?)?);
        files.insert(number, file.clone());
        Ok(file)
    }
}

/// Checks the header; whether the records are compressed with a dictionary.
fn has_dictionary(file: &RandomFile) -> Result<bool> {
    let head = file.read(0, 12.min(file.size()))?;
    let mut cursor = Cursor::new(&head);
    match (cursor.u32(), cursor.u32(), cursor.u32()) {
        (Some(MAGIC), Some(1), _) => Ok(false),
        (Some(MAGIC), Some(2 | 3), Some(flags)) => Ok(flags & HAS_DICTIONARY != 0),
        (Some(MAGIC), version, _) => {
            Err(file.unsupported(format!("blob file version 1 to 3 is understood, {version:?} met")))
        }
        _ => Err(file.corrupt(0, "expected a Titan blob file, met another magic number")),
    }
}

/// The dictionary that the footer leads to, by way of the meta index.
fn dictionary(file: &RandomFile) -> Result<Vec<u8>> {
    let at = file.size().saturating_sub(FOOTER);
    let footer = file.read(at, FOOTER.min(file.size()))?;
    let (handle, end) = footer.split_at(footer.len().saturating_sub(12));
    if Cursor::new(end).u64() != Some(FOOTER_MAGIC) {
        let what = "the footer of a blob file with a dictionary expected, met another magic number: it was cut short";
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
        "the meta index of the blob file has no dictionary, though its header says so",
    ))
}

/// A block with a trailer, as in an SST, never compressed.
fn meta_block(file: &RandomFile, handle: BlockHandle) -> Result<Vec<u8>> {
    let mut bytes = file.read(handle.offset, handle.size.saturating_add(BLOCK_TRAILER_LEN))?;
    let stored = bytes.split_off(handle.size as usize + 1);
    if !Cursor::new(&stored).u32().is_some_and(|stored| matches(mask(crc32c(0, &bytes)), stored)) {
        return Err(file.corrupt(handle.offset, "the checksum of a meta block does not match"));
    }
    bytes.pop();
    Ok(bytes)
}

/// Key and value of a blob record that needs no dictionary.
pub fn decode_record(record: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    decode_record_with(record, &[])
}

fn decode_record_with(record: &[u8], dict: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    let (header, body) =
        record.split_at_checked(RECORD_HEADER).ok_or("a blob record shorter than its header")?;
    let mut cursor = Cursor::new(header);
    let (stored, size) = (cursor.u32().unwrap_or_default(), cursor.u32().unwrap_or_default());
    let kind = cursor.u8().unwrap_or_default();
    if size as usize != body.len() {
        return Err(format!("a blob record of {} bytes that says it has {size}", body.len()));
    }
    if !matches(crc32c(crc32c(0, &header[4..]), body), stored) {
        return Err("the checksum of the blob record does not match".into());
    }
    let plain = compress::decompress(kind, body, dict, true)?;
    let mut cursor = Cursor::new(&plain);
    let pair = cursor.slice().zip(cursor.slice()).ok_or("the blob record's key and value do not decode")?;
    Ok((pair.0.to_vec(), pair.1.to_vec()))
}
