//! The record format of WAL and MANIFEST: 32 KiB blocks of checksummed fragments.

use super::{
    Cursor,
    checksum::{crc32c, mask, matches},
    compress::decompress_stream,
};

pub(super) const BLOCK: usize = 32 * 1024;
pub(super) const HEADER: usize = 7;
const RECYCLABLE_HEADER: usize = 11;
const SET_COMPRESSION: [u8; 2] = [9, 10];
/// The one compression that RocksDB writes logs with.
const ZSTD: u32 = 7;
/// Types from here up to this bit are no record's.
const UNKNOWN: u8 = 14;
const MAY_BE_IGNORED: u8 = 1 << 7;
/// How often each byte of a log is summed up at most, on the average, while a whole record is looked for.
const SEARCH: usize = 16;

/// What a log reader gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A whole record, and where it began.
    Data { offset: u64, data: Vec<u8> },
    /// The end: the log stops here or its last record was not finished.
    End,
    /// Bytes that are no fragment; what follows cannot be trusted.
    Corrupt { offset: u64, what: String },
}

/// Reads records one after another.
#[derive(Debug)]
pub struct LogReader<'a> {
    data: &'a [u8],
    at: usize,
    log_number: u64,
    torn: bool,
    recycled: bool,
    compressed: bool,
    /// Records bear the log's number, since its file may be recycled: what has none is what the file held before.
    numbered: bool,
    /// Bytes that may still be summed up in vain: many false headers, each of a long record, would take forever.
    budget: usize,
}

enum Fragment<'a> {
    Part { kind: u8, payload: &'a [u8] },
    Skip,
    End,
    Corrupt(String),
}

impl<'a> LogReader<'a> {
    /// Reads the whole log `data`, whose file has the number `log_number`.
    pub fn new(data: &'a [u8], log_number: u64) -> LogReader<'a> {
        let budget = SEARCH.saturating_mul(data.len());
        let (torn, recycled, numbered) = (false, false, false);
        LogReader { data, at: 0, log_number, torn, recycled, compressed: false, numbered, budget }
    }

    /// Whether the end that was met is that of an unfinished record: a torn write, or damage to its length.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether the end that was met is the remains of the file that this one was recycled from.
    pub fn is_recycled(&self) -> bool {
        self.recycled
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// After damage or a torn end: goes to the next place where a record begins whose checksum is right. `false`:
    /// there is none.
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

    /// Bytes of the first fragment of a record that the header at `at` tells of, if it can be one.
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

    /// The next record.
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
                        let what = "a later fragment of a record without its first".into();
                        return Record::Corrupt { offset, what };
                    }
                },
            }
        }
    }

    /// A record whose fragments are all there.
    fn whole(&self, offset: u64, data: Vec<u8>) -> Record {
        if !self.compressed {
            return Record::Data { offset, data };
        }
        match decompress_stream(&data) {
            Ok(data) => Record::Data { offset, data },
            Err(what) => Record::Corrupt { offset, what },
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
            // Preallocated, not yet written; behind records of a recycled file anything may follow.
            self.recycled |= self.numbered && stored != 0;
            self.torn = !self.numbered && stored != 0;
            return Fragment::End;
        }
        let recyclable = (5..=8).contains(&kind) || matches!(kind, 10 | 12 | 131);
        if self.numbered && !recyclable {
            self.recycled = true;
            return Fragment::End;
        }
        if (UNKNOWN..MAY_BE_IGNORED).contains(&kind) {
            let what = format!(
                "expected a record of a RocksDB log, met type {kind}: damage, or another program's file"
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
        if !matches(mask(crc32c(0, covered)), stored) {
            return Fragment::Corrupt(format!("the checksum of a record of {len} bytes does not match"));
        }
        self.at += header_len + usize::from(len);
        self.numbered |= recyclable;
        match kind {
            1..=4 => Fragment::Part { kind, payload },
            5..=8 => Fragment::Part { kind: kind - 4, payload },
            kind if SET_COMPRESSION.contains(&kind) => match Cursor::new(payload).u32() {
                Some(ZSTD) => {
                    self.compressed = true;
                    Fragment::Skip
                }
                Some(0) => Fragment::Skip,
                other => Fragment::Corrupt(format!(
                    "a log compressed with zstd ({ZSTD}) expected, met compression type {other:?}"
                )),
            },
            // Timestamp sizes and the predecessor's name: nothing to apply.
            _ => Fragment::Skip,
        }
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
    fn a_torn_tail_is_an_end_and_a_flipped_bit_is_not() {
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

    /// A record of the log `number`, whose file may be recycled.
    fn numbered(number: u32, payload: &[u8]) -> Vec<u8> {
        fragment(5, &[&number.to_le_bytes(), payload].concat())
            .into_iter()
            .enumerate()
            // The number is no part of the length.
            .map(|(at, byte)| if at == 4 { byte - 4 } else { byte })
            .collect()
    }

    #[test]
    fn what_a_recycled_file_held_before_is_no_damage() {
        let old: Vec<u8> = (0..9).flat_map(|i| numbered(7, &[b'a' + i; 30])).collect();
        for len in 1..70 {
            let new = [numbered(8, b"first"), numbered(8, &vec![b'n'; len])].concat();
            let log = [&new, &old[new.len()..]].concat();
            let mut reader = LogReader::new(&log, 8);
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::End) && !reader.is_torn(), "{len}");
            assert!(!reader.resync(), "{len}");
            // The last record's own bytes are another matter.
            let mut damaged = log.clone();
            damaged[new.len() - 1] ^= 1;
            let mut reader = LogReader::new(&damaged, 8);
            assert!(matches!(reader.next_record(), Record::Data { .. }));
            assert!(matches!(reader.next_record(), Record::Corrupt { .. }), "{len}");
        }
    }

    #[test]
    fn the_next_whole_record_is_found_behind_damage_and_behind_a_false_length() {
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
    fn any_bytes_end_without_a_panic() {
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
