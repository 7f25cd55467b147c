//! Values that Titan keeps in blob files (`titandb/*.blob`), by the index that the SST has in their place.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Cursor, Error, RandomFile, Result, checksum::crc32c, compress};

const BLOB_RECORD: u8 = 1;
const MAGIC: u32 = 0x2be0_a614;
const HAS_DICTIONARY: u32 = 1;
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
    files: Mutex<HashMap<u64, Arc<RandomFile>>>,
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
        let file = self.file(number)?;
        let record = file.read(offset, size)?;
        let (found, value) = decode_record(&record).map_err(|what| file.corrupt(offset, what))?;
        if found != key {
            return Err(file.corrupt(offset, "the record belongs to another key than the SST says"));
        }
        Ok(value)
    }

    /// Where blob file `number` is.
    pub fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.blob"))
    }

    fn file(&self, number: u64) -> Result<Arc<RandomFile>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(file.clone());
        }
        let file = Arc::new(RandomFile::open(&self.path(number))?);
        check_header(&file)?;
        files.insert(number, file.clone());
        Ok(file)
    }
}

fn check_header(file: &RandomFile) -> Result<()> {
    let head = file.read(0, 12.min(file.size()))?;
    let mut cursor = Cursor::new(&head);
    match (cursor.u32(), cursor.u32(), cursor.u32()) {
        (Some(MAGIC), Some(1), _) => Ok(()),
        (Some(MAGIC), Some(2 | 3), Some(flags)) if flags & HAS_DICTIONARY == 0 => Ok(()),
        (Some(MAGIC), Some(2 | 3), Some(_)) => {
            Err(file.unsupported("the blob file is compressed with a dictionary, which is not supported"))
        }
        (Some(MAGIC), version, _) => {
            Err(file.unsupported(format!("blob file version 1 to 3 is understood, {version:?} met")))
        }
        _ => Err(file.corrupt(0, "expected a Titan blob file, met another magic number")),
    }
}

/// Key and value of a blob record.
pub fn decode_record(record: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    let (header, body) =
        record.split_at_checked(RECORD_HEADER).ok_or("a blob record shorter than its header")?;
    let mut cursor = Cursor::new(header);
    let (stored, size) = (cursor.u32().unwrap_or_default(), cursor.u32().unwrap_or_default());
    let kind = cursor.u8().unwrap_or_default();
    if size as usize != body.len() {
        return Err(format!("a blob record of {} bytes that says it has {size}", body.len()));
    }
    if crc32c(crc32c(0, &header[4..]), body) != stored {
        return Err("the checksum of the blob record does not match".into());
    }
    let plain = compress::decompress(kind, body, &[], true)?;
    let mut cursor = Cursor::new(&plain);
    let pair = cursor.slice().zip(cursor.slice()).ok_or("the blob record's key and value do not decode")?;
    Ok((pair.0.to_vec(), pair.1.to_vec()))
}
