//! The dictionary files `file.dict` and `key.dict` (TiKV `encrypted_file`, `file_dict_file.rs`). Numbers are
//! big-endian.
//!
//! ```text
//! field          bytes        meaning
//! version        1            1; 2 in a `file.dict` with a log
//! zeros          3
//! checksum       4            CRC-32 of the content
//! size           8            bytes of the content
//! content        size         version 1: `EncryptedContent`; version 2: `FileDictionary`
//! log records, only in version 2:
//!   checksum     4            CRC-32 of name and info
//!   name length  2
//!   info length  2
//!   kind         1            1 insert, 2 remove
//!   name         name length  path of the file
//!   info         info length  `FileInfo`; ignored for remove
//! ```
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use kvproto::encryptionpb::{EncryptedContent, FileDictionary, FileInfo};
use prost::Message;

use crate::{
    Error, Result,
    io::{Damage, checksum_matches, own_as},
};

/// Name of the file with the encryption of each file.
pub const FILE_DICT: &str = "file.dict";
/// Name of the file with the data keys.
pub const KEY_DICT: &str = "key.dict";
pub(super) const HEADER: usize = 16;
/// Bytes of the checksum, the length of the name, the length of the info and the kind.
const RECORD_HEADER: usize = 9;
/// Maximum number of checksums that cover a byte of the log, on average, in the search for a whole record.
const MAX_CHECKS_PER_BYTE: usize = 16;
/// The version with a log after its content.
const WITH_LOG: u8 = 2;
/// Kinds of log records.
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// The contents of `file.dict`: names of files, and the encryption of each.
#[derive(Clone, Debug, Default)]
pub struct FileDict {
    /// Path of the dictionary.
    pub path: PathBuf,
    /// Format version: 1, or 2 with a log.
    pub version: u8,
    /// The encryption of each file, by the name that the server gave it.
    pub files: BTreeMap<String, FileInfo>,
    /// The file as it was read.
    pub bytes: Vec<u8>,
    /// Torn tails, as after a crash.
    pub warnings: Vec<String>,
    /// Lost records.
    pub damages: Vec<Damage>,
}

impl FileDict {
    /// Reads the dictionary of the data directory `dir`.
    pub fn read(dir: &Path) -> Result<FileDict> {
        let path = dir.join(FILE_DICT);
        let bytes = read(&path)?;
        FileDict::parse(path, bytes)
    }

    /// Decodes the dictionary file `path` from its `bytes`.
    pub fn parse(path: PathBuf, bytes: Vec<u8>) -> Result<FileDict> {
        let (version, rest) = content(&path, &bytes)?;
        let dictionary: FileDictionary = if version >= WITH_LOG {
            decode(&path, &bytes[HEADER..rest])?
        } else {
            // Version 1 has the same outer message as key.dict, but is never encrypted.
            let content: EncryptedContent = decode(&path, &bytes[HEADER..rest])?;
            decode(&path, &content.content)?
        };
        let mut files = dictionary.files.into_iter().collect();
        let (mut warnings, mut damages) = (Vec::new(), Vec::new());
        if version >= WITH_LOG {
            for gap in replay(&bytes[rest..], &mut files) {
                let what = match gap.next {
                    None => "the last record is torn, as after a crash, and skipped: an unreadable file may be encrypted"
                        .to_owned(),
                    Some(next) => format!(
                        "a record is damaged and skipped, the next whole one is at byte {}: its file is unknown, and an \
                         unreadable file may be encrypted",
                        rest + next
                    ),
                };
                let damage = Damage::at(&path, (rest + gap.at) as u64, what).of_len(bytes.len());
                match gap.next {
                    None => warnings.push(damage.to_string()),
                    Some(_) => damages.push(damage),
                }
            }
        } else if bytes.len() > rest {
            let what = format!(
                "expected the end of a file of version {version}, found more bytes: the file is damaged"
            );
            damages.push(Damage::at(&path, rest as u64, what).of_len(bytes.len()));
        }
        Ok(FileDict { path, version, files, bytes, warnings, damages })
    }

    /// Adds the file `name` with the encryption `info`, and syncs the dictionary.
    ///
    /// # Errors
    /// The dictionary is damaged: rewriting it would lose records that can perhaps still be recovered.
    pub(super) fn insert(&mut self, name: &str, info: &FileInfo) -> std::io::Result<()> {
        if let Some(damage) = self.damages.first() {
            return Err(std::io::Error::other(format!(
                "the dictionary is damaged, nothing was changed: {damage}"
            )));
        }
        self.files.insert(name.to_owned(), info.clone());
        let log = (self.version >= WITH_LOG && self.warnings.is_empty()).then(|| insert_record(name, info));
        let Some(record) = log.flatten() else { return self.rewrite() };
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(&record)?;
        file.sync_all()
    }

    /// Replaces the file by one without a log: no record must follow a torn one.
    fn rewrite(&self) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        let old = std::fs::metadata(&self.path)?;
        file.write_all(&encode_files(self.version, &self.files))?;
        std::fs::set_permissions(file.path(), old.permissions())?;
        own_as(file.as_file(), &self.path)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        File::open(dir)?.sync_all()
    }
}

/// Encodes a `file.dict` with `files` and an empty log.
pub fn encode_files(version: u8, files: &BTreeMap<String, FileInfo>) -> Vec<u8> {
    let files = files.iter().map(|(name, info)| (name.clone(), info.clone())).collect();
    let content = FileDictionary { files }.encode_to_vec();
    if version >= WITH_LOG {
        return with_header(version, &content);
    }
    let metadata = [("method".to_owned(), b"plaintext".to_vec())].into();
    with_header(version, &EncryptedContent { metadata, content, ..Default::default() }.encode_to_vec())
}

/// Encodes a log record of version 2 that inserts the file `name`. Returns `None` if the name is too long.
fn insert_record(name: &str, info: &FileInfo) -> Option<Vec<u8>> {
    let info = info.encode_to_vec();
    let (name_len, info_len) = (u16::try_from(name.len()).ok()?, u16::try_from(info.len()).ok()?);
    let body = [name.as_bytes(), &info].concat();
    let mut record = crc32fast::hash(&body).to_be_bytes().to_vec();
    record.extend_from_slice(&name_len.to_be_bytes());
    record.extend_from_slice(&info_len.to_be_bytes());
    record.push(INSERT);
    record.extend_from_slice(&body);
    Some(record)
}

/// Encodes the header of `content`, followed by `content`.
pub(super) fn with_header(version: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version, 0, 0, 0];
    bytes.extend_from_slice(&crc32fast::hash(content).to_be_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// Reads the dictionary file `path`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        let why = "a data directory has this file if encryption at rest is or was enabled";
        Error::other(format!("{}: {e}; {why}", path.display()))
    })
}

/// Checks the header of a dictionary file. Returns the version and the end of the content after the header.
pub(super) fn content(path: &Path, data: &[u8]) -> Result<(u8, usize)> {
    let fail = |what: String| Error::other(format!("{}: {what}", path.display()));
    let number = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let crc = data.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let (Some(crc), Some(size)) = (crc, number(8)) else {
        return Err(fail(format!(
            "at byte 0: expected a header of {HEADER} bytes, found {}: restore the file from a backup",
            data.len()
        )));
    };
    if !(1..=WITH_LOG).contains(&data[0]) || data[1..4] != [0; 3] {
        return Err(fail(format!(
            "at byte 0: expected a dictionary of version 1 or 2, found {:?}: the file is damaged or a different one; restore \
             it from a backup",
            &data[..4]
        )));
    }
    let end = usize::try_from(size).ok().and_then(|size| size.checked_add(HEADER));
    let Some(end) = end.filter(|end| *end <= data.len()) else {
        return Err(fail(format!(
            "at byte 8: expected {size} bytes of content, found {}: restore the file from a backup",
            data.len() - HEADER
        )));
    };
    if !checksum_matches(crc32fast::hash(&data[HEADER..end]), crc) {
        return Err(fail(
            "at byte 16: the checksum of the content does not match: the file is damaged; restore it from a backup"
                .to_owned(),
        ));
    }
    Ok((data[0], end))
}

pub(super) fn decode<M: Message + Default>(path: &Path, content: &[u8]) -> Result<M> {
    M::decode(content)
        .map_err(|e| Error::other(format!("{} at byte 16: the content does not decode: {e}", path.display())))
}

/// Offset of damage in the log, and the offset of the next whole record, if there is one.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    at: usize,
    next: Option<usize>,
}

/// Applies the log records of version 2. Returns the gaps between those that could be read.
fn replay(log: &[u8], files: &mut BTreeMap<String, FileInfo>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    // Limit the bytes checksummed in vain: many false headers of long records would take forever.
    let mut budget = MAX_CHECKS_PER_BYTE.saturating_mul(log.len());
    let mut at = 0;
    while at < log.len() {
        if let Some(after) = record(&log[at..], files) {
            at = log.len() - after.len();
            continue;
        }
        let next = next_record(log, at + 1, &mut budget);
        gaps.push(Gap { at, next });
        at = next.unwrap_or(log.len());
    }
    gaps
}

/// Finds the next whole record. Returns its offset.
fn next_record(log: &[u8], from: usize, budget: &mut usize) -> Option<usize> {
    for at in from..log.len() {
        let Some((kind, len)) = header(&log[at..]) else { continue };
        if !matches!(kind, 1 | 2) || at + RECORD_HEADER + len > log.len() || len > *budget {
            continue;
        }
        *budget -= len;
        if record(&log[at..], &mut BTreeMap::new()).is_some() {
            return Some(at);
        }
    }
    None
}

/// Decodes the kind of a record and the bytes of its name and info.
fn header(record: &[u8]) -> Option<(u8, usize)> {
    let header = record.get(..RECORD_HEADER)?;
    let len = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    Some((header[8], len(4) + len(6)))
}

/// Applies one record. Returns the bytes after it; `None` if it is damaged.
fn record<'a>(rest: &'a [u8], files: &mut BTreeMap<String, FileInfo>) -> Option<&'a [u8]> {
    let (header, body) = rest.split_at_checked(RECORD_HEADER)?;
    let crc = u32::from_be_bytes(header[..4].try_into().ok()?);
    let len = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let (name_len, info_len) = (len(4), len(6));
    let (record, after) = body.split_at_checked(name_len + info_len)?;
    if !checksum_matches(crc32fast::hash(record), crc) {
        return None;
    }
    let name = String::from_utf8_lossy(&record[..name_len]).into_owned();
    match header[8] {
        INSERT => drop(files.insert(name, FileInfo::decode(&record[name_len..]).ok()?)),
        REMOVE => drop(files.remove(&name)),
        _ => return None,
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(kind: u8, name: &str, info: &[u8]) -> Vec<u8> {
        let body = [name.as_bytes(), info].concat();
        let mut record = crc32fast::hash(&body).to_be_bytes().to_vec();
        record.extend_from_slice(&(name.len() as u16).to_be_bytes());
        record.extend_from_slice(&(info.len() as u16).to_be_bytes());
        record.push(kind);
        record.extend_from_slice(&body);
        record
    }

    #[test]
    fn replay_skips_damaged_records_and_a_torn_tail() {
        let info = FileInfo { key_id: 7, ..Default::default() };
        let log =
            [record_of(1, "/a", &info.encode_to_vec()), record_of(1, "/b", &[]), record_of(2, "/b", &[])];
        let first = log[0].len();
        let last = first + log[1].len();
        let log = log.concat();
        let mut files = BTreeMap::new();
        assert_eq!(replay(&log, &mut files), []);
        assert_eq!(files, BTreeMap::from([("/a".to_owned(), info)]));
        let torn = replay(&log[..log.len() - 1], &mut BTreeMap::new());
        assert_eq!(torn, [Gap { at: last, next: None }]);
        // A damaged record is skipped, and the records after it count.
        for at in 0..first {
            let mut damaged = log.clone();
            damaged[at] ^= 1;
            let mut files = BTreeMap::new();
            assert_eq!(replay(&damaged, &mut files), [Gap { at: 0, next: Some(first) }], "byte {at}");
            assert!(files.is_empty());
        }
    }

    #[test]
    fn insert_works_for_every_form_of_the_dictionary() {
        let info = |key_id| FileInfo { key_id, iv: vec![5; 16], method: 4 };
        let files = BTreeMap::from([("/d/db/1.sst".to_owned(), info(7))]);
        let torn = [encode_files(2, &files), record_of(1, "/x", &[])[..8].to_vec()].concat();
        for (bytes, appends) in
            [(encode_files(1, &files), false), (encode_files(2, &files), true), (torn, false)]
        {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(FILE_DICT), &bytes).unwrap();
            for key_id in [8, 9] {
                FileDict::read(dir.path()).unwrap().insert("/d/db/2.log", &info(key_id)).unwrap();
            }
            let read = FileDict::read(dir.path()).unwrap();
            let want = [("/d/db/1.sst".to_owned(), info(7)), ("/d/db/2.log".to_owned(), info(9))];
            assert_eq!((read.files, read.warnings), (want.into(), vec![]));
            assert_eq!(read.bytes.starts_with(&bytes), appends);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_dictionary_reads_back_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let info = FileInfo { key_id: 7, iv: vec![1, 2], method: 4 };
        let files = BTreeMap::from([("/d/db/1.sst".to_owned(), info)]);
        let mut bytes = encode_files(2, &files);
        let path = dir.path().join(FILE_DICT);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FileDict::read(dir.path()).unwrap().files, files);
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(FileDict::read(dir.path()).unwrap_err().to_string().contains("checksum"));
        std::fs::write(&path, &bytes[..7]).unwrap();
        assert!(FileDict::read(dir.path()).unwrap_err().to_string().contains("found 7"));
    }
}
