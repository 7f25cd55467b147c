//! The record format of the WAL and the MANIFEST (RocksDB `db/log_format.h`): blocks of 32 KiB with fragments
//! of records. Numbers are little-endian.
//!
//! ```text
//! field       bytes   meaning
//! checksum    4       masked CRC-32C of type, log number and payload
//! length      2       bytes of the payload
//! type        1       1 whole record; 2 first, 3 middle, 4 last fragment; 5 to 8 the same with a log number;
//!                     9 compression of the log; 10 and 11 sizes of timestamps; 130 and 131 the log before;
//!                     0 with length 0: nothing was written from here on
//! log number  4       lower half of the number of the log; only in types 5 to 8, 11 and 131
//! payload     length
//! ```
//!
//! A fragment does not cross the end of a block. The last bytes of a block, if fewer than 7, are padding.
use super::{
    checksum::{crc32c, mask},
    compress::decompress_stream,
};
use crate::io::{Cursor, checksum_matches};

pub(super) const BLOCK: usize = 32 * 1024;
pub(super) const HEADER: usize = 7;
const RECYCLABLE_HEADER: usize = 11;
const SET_COMPRESSION: u8 = 9;
/// Types whose header has the number of the log: fragments, sizes of timestamps, the log before. Above 9 they are the
/// odd ones.
const RECYCLABLE: [u8; 6] = [5, 6, 7, 8, 11, 131];
/// The only compression that RocksDB uses for logs.
const ZSTD: u32 = 7;
/// The first type without a meaning. Types with the bit `MAY_BE_IGNORED` are skipped if unknown.
const UNKNOWN: u8 = 12;
const MAY_BE_IGNORED: u8 = 1 << 7;
/// Maximum number of checksums that cover a byte, on average, while a whole record is searched for.
const MAX_CHECKS_PER_BYTE: usize = 16;

/// A result of a log reader.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A whole record and the offset of its first fragment.
    Data {
        /// Offset of the first fragment, in bytes.
        offset: u64,
        /// The plain bytes.
        data: Vec<u8>,
    },
    /// The end of the log, perhaps within an unfinished record.
    End,
    /// Bytes that are not a fragment. The bytes after them cannot be trusted.
    Corrupt {
        /// Offset of the damage, in bytes.
        offset: u64,
        /// The expectation and the finding.
        what: String,
    },
}

/// Reads the records of a log in order.
#[derive(Debug)]
pub struct LogReader<'a> {
    data: &'a [u8],
    at: usize,
    log_number: u64,
    torn: bool,
    recycled: bool,
    compressed: bool,
    /// Whether records have the log's number, since its file may be recycled. One without it is older data.
    numbered: bool,
    /// Bytes that may still be checksummed in vain: many false headers of long records would take forever.
    budget: usize,
}

enum Fragment<'a> {
    Part { kind: u8, payload: &'a [u8] },
    Skip,
    End,
    Corrupt(String),
}

impl<'a> LogReader<'a> {
    /// Creates a reader of the whole log `data`, whose file has the number `log_number`.
    pub fn new(data: &'a [u8], log_number: u64) -> LogReader<'a> {
        let budget = MAX_CHECKS_PER_BYTE.saturating_mul(data.len());
        let (torn, recycled, numbered) = (false, false, false);
        LogReader { data, at: 0, log_number, torn, recycled, compressed: false, numbered, budget }
    }

    /// Whether the log ended within a record: after a torn write, or damage to the record's length.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether the log ended at older data of a recycled file.
    pub fn is_recycled(&self) -> bool {
        self.recycled
    }

    /// Offset of the next record.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Moves from damage to the next record with a valid checksum. Returns `false` if there is none.
    pub fn resync(&mut self) -> bool {
        for at in self.at + 1..self.data.len().saturating_sub(HEADER - 1) {
            let Some(len) = self.may_begin(at) else { continue };
            if len > self.budget {
                break;
            }
            self.budget -= len;
            let mut other = LogReader { at, ..*self };
            if matches!(other.fragment(), Fragment::Part { .. }) {
                self.at = at;
                self.torn = false;
                return true;
            }
        }
        self.at = self.data.len();
        false
    }

    /// Returns the bytes of the fragment at `at` if its header may be that of a record's first fragment.
    fn may_begin(&self, at: usize) -> Option<usize> {
        let header = self.data.get(at..at + HEADER)?;
        let header_len = match header[6] {
            1 | 2 => HEADER,
            5 | 6 => RECYCLABLE_HEADER,
            _ => return None,
        };
        let len = header_len + usize::from(u16::from_le_bytes([header[4], header[5]]));
        let fits = at % BLOCK + len <= BLOCK && at + len <= self.data.len();
        (fits && len > header_len).then_some(len)
    }

    /// Reads the next record.
    pub fn next_record(&mut self) -> Record {
        let mut assembled: Option<(u64, Vec<u8>)> = None;
        loop {
            let offset = self.at as u64;
            match self.fragment() {
                Fragment::Skip => {}
                Fragment::End => {
                    self.torn |= assembled.is_some();
                    return Record::End;
                }
                Fragment::Corrupt(what) => return Record::Corrupt { offset, what },
                Fragment::Part { kind, payload } => match (kind, assembled.take()) {
                    (1, _) => return self.whole(offset, payload.to_vec()),
                    (2, _) => assembled = Some((offset, payload.to_vec())),
                    (3, Some((start, mut data))) => {
                        data.extend_from_slice(payload);
                        assembled = Some((start, data));
                    }
                    (4, Some((offset, mut data))) => {
                        data.extend_from_slice(payload);
                        return self.whole(offset, data);
                    }
                    _ => {
                        let what = "expected the first fragment of a record, found a later one".into();
                        return Record::Corrupt { offset, what };
                    }
                },
            }
        }
    }

    /// Creates the record from its joined fragments.
    fn whole(&self, offset: u64, data: Vec<u8>) -> Record {
        if !self.compressed {
            return Record::Data { offset, data };
        }
        match decompress_stream(&data) {
            Ok(data) => Record::Data { offset, data },
            Err(e) => Record::Corrupt { offset, what: e.to_string() },
        }
    }

    fn fragment(&mut self) -> Fragment<'a> {
        let left = BLOCK - self.at % BLOCK;
        if left < HEADER {
            self.at += left;
            return Fragment::Skip;
        }
        let mut cursor = Cursor::new(self.data.get(self.at..).unwrap_or_default());
        let header = (|| Some((cursor.u32()?, cursor.u16()?, cursor.u8()?)))();
        let Some((stored, len, kind)) = header else {
            self.torn = !cursor.is_empty() || self.at < self.data.len();
            return Fragment::End;
        };
        if kind == 0 && len == 0 {
            // Preallocated and not written yet, or older data of a recycled file.
            self.recycled |= self.numbered && stored != 0;
            self.torn = !self.numbered && stored != 0;
            return Fragment::End;
        }
        let recyclable = RECYCLABLE.contains(&kind);
        if self.numbered && !recyclable {
            self.recycled = true;
            return Fragment::End;
        }
        if (UNKNOWN..MAY_BE_IGNORED).contains(&kind) {
            let what = format!(
                "expected a record of a RocksDB log, found type {kind}: the file is damaged or another program's"
            );
            return Fragment::Corrupt(what);
        }
        if recyclable && cursor.u32() != Some(self.log_number as u32) {
            self.recycled = true;
            return Fragment::End;
        }
        let header_len = if recyclable { RECYCLABLE_HEADER } else { HEADER };
        let Some(payload) = cursor.bytes(len.into()) else {
            self.torn = true;
            return Fragment::End;
        };
        let covered = &self.data[self.at + 6..self.at + header_len + usize::from(len)];
        if !checksum_matches(mask(crc32c(0, covered)), stored) {
            return Fragment::Corrupt(format!(
                "the checksum of a record of {len} bytes does not match: the record is damaged"
            ));
        }
        self.at += header_len + usize::from(len);
        self.numbered |= recyclable;
        match kind {
            1..=4 => Fragment::Part { kind, payload },
            5..=8 => Fragment::Part { kind: kind - 4, payload },
            SET_COMPRESSION => self.set_compression(payload),
            // Timestamp sizes and the predecessor's name have nothing to apply.
            _ => Fragment::Skip,
        }
    }

    fn set_compression(&mut self, payload: &[u8]) -> Fragment<'a> {
        match Cursor::new(payload).u32() {
            Some(ZSTD) => self.compressed = true,
            Some(0) => {}
            other => {
                return Fragment::Corrupt(format!(
                    "expected a log compressed with zstd ({ZSTD}), found compression type {other:?}"
                ));
            }
        }
        Fragment::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut covered = vec![kind];
        covered.extend_from_slice(payload);
        let mut bytes = mask(crc32c(0, &covered)).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&covered);
        bytes
    }

    #[test]
    fn fragments_join_to_records() {
        let log = [fragment(1, b"one"), fragment(2, b"tw"), fragment(3, b""), fragment(4, b"o")].concat();
        let mut reader = LogReader::new(&log, 1);
        assert_eq!(reader.next_record(), Record::Data { offset: 0, data: b"one".to_vec() });
        assert_eq!(reader.next_record(), Record::Data { offset: 10, data: b"two".to_vec() });
        assert_eq!(reader.next_record(), Record::End);
    }

    #[test]
    fn a_torn_tail_is_an_end_and_a_flipped_bit_is_corruption() {
        let mut log = [fragment(1, b"one"), fragment(1, b"two")].concat();
        for cut in 10..log.len() {
            let mut reader = LogReader::new(&log[..cut], 1);
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert_eq!(reader.next_record(), Record::End);
        }
        *log.last_mut().unwrap() ^= 1;
        let mut reader = LogReader::new(&log, 1);
        assert!(matches!(reader.next_record(), Record::Data { .. }));
        assert!(matches!(reader.next_record(), Record::Corrupt { offset: 10, .. }));
    }

    /// Encodes a whole record with the log number `number`, as in recyclable files.
    fn numbered(number: u32, payload: &[u8]) -> Vec<u8> {
        numbered_fragment(5, number, payload)
    }

    fn numbered_fragment(kind: u8, number: u32, payload: &[u8]) -> Vec<u8> {
        fragment(kind, &[&number.to_le_bytes(), payload].concat())
            .into_iter()
            .enumerate()
            // The length does not include the number.
            .map(|(at, byte)| if at == 4 { byte - 4 } else { byte })
            .collect()
    }

    #[test]
    fn older_data_of_a_recycled_file_is_not_damage() {
        let old: Vec<u8> = (0..9).flat_map(|i| numbered(7, &[b'a' + i; 30])).collect();
        for len in 1..70 {
            let new = [numbered(8, b"first"), numbered(8, &vec![b'n'; len])].concat();
            let log = [&new, &old[new.len()..]].concat();
            let mut reader = LogReader::new(&log, 8);
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::End) && !reader.is_torn(), "{len}");
            assert!(!reader.resync(), "{len}");
            // Damage to the last record itself is reported.
            let mut damaged = log.clone();
            damaged[new.len() - 1] ^= 1;
            let mut reader = LogReader::new(&damaged, 8);
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::Corrupt { .. }), "{len}");
        }
    }

    #[test]
    fn records_about_the_log_are_skipped() {
        for kind in [10, 130, 200] {
            let log = [fragment(kind, b"about"), fragment(1, b"one")].concat();
            let mut reader = LogReader::new(&log, 1);
            assert_eq!(reader.next_record(), Record::Data { offset: 12, data: b"one".to_vec() }, "{kind}");
        }
        for kind in [11, 131] {
            let log = [numbered_fragment(kind, 8, b"about"), numbered(8, b"one")].concat();
            let mut reader = LogReader::new(&log, 8);
            assert_eq!(reader.next_record(), Record::Data { offset: 16, data: b"one".to_vec() }, "{kind}");
        }
        let log = fragment(12, b"about");
        let mut reader = LogReader::new(&log, 1);
        assert!(matches!(reader.next_record(), Record::Corrupt { offset: 0, .. }));
    }

    #[test]
    fn resync_finds_the_next_whole_record() {
        let log = [fragment(1, b"one"), fragment(1, b"two"), fragment(1, b"three")].concat();
        for at in 10..17 {
            let mut damaged = log.clone();
            damaged[at] ^= 0x50;
            let mut reader = LogReader::new(&damaged, 1);
            assert!(matches!(reader.next_record(), Record::Data { offset: 0, .. }));
            assert!(!matches!(reader.next_record(), Record::Data { .. }), "byte {at}");
            assert!(reader.resync(), "byte {at}");
            assert_eq!(reader.next_record(), Record::Data { offset: 20, data: b"three".to_vec() });
            assert!(!reader.resync());
        }
    }

    #[test]
    fn arbitrary_bytes_end_without_a_panic() {
        let mut state = 7u64;
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..200)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state % 13) as u8
                })
                .collect();
            let mut reader = LogReader::new(&bytes, 1);
            while let Record::Data { .. } = reader.next_record() {}
        }
    }
}
