//! Writes the record format of the WAL and the MANIFEST; see [`super::log`] for the layout.
use super::{
    checksum::{crc32c, mask},
    log::{BLOCK, HEADER},
};

/// Fragment types: a whole record, or the first, a middle or the last fragment of a record that spans blocks.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Encodes a log of `records`.
pub fn encode_log(records: &[Vec<u8>]) -> Vec<u8> {
    let mut log = Vec::new();
    records.iter().for_each(|record| add(&mut log, record));
    log
}

/// Appends an edit to the MANIFEST `old`: the SST `number` on `level` of the family `family` is removed.
pub fn append_edit(old: &[u8], family: u32, level: u32, number: u64) -> Vec<u8> {
    const DELETED_FILE: u64 = 6;
    const COLUMN_FAMILY: u64 = 200;
    let mut edit = Vec::new();
    for value in [DELETED_FILE, level.into(), number, COLUMN_FAMILY, family.into()] {
        keys::codec::encode_var_u64(&mut edit, value);
    }
    let mut new = old.to_vec();
    add(&mut new, &edit);
    new
}

fn add(log: &mut Vec<u8>, record: &[u8]) {
    let (mut rest, mut first) = (record, true);
    loop {
        let mut left = BLOCK - log.len() % BLOCK;
        if left < HEADER {
            log.resize(log.len() + left, 0);
            left = BLOCK;
        }
        let (piece, after) = rest.split_at(rest.len().min(left - HEADER));
        let kind = match (first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let crc = crc32c(crc32c(0, &[kind]), piece);
        log.extend_from_slice(&mask(crc).to_le_bytes());
        // A piece is shorter than a block, so its length fits 16 bits.
        log.extend_from_slice(&(piece.len() as u16).to_le_bytes());
        log.push(kind);
        log.extend_from_slice(piece);
        if after.is_empty() {
            return;
        }
        (rest, first) = (after, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::{LogReader, Record};

    fn back(log: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = LogReader::new(log, 1);
        let mut records = Vec::new();
        loop {
            match reader.next_record() {
                Record::Data { data, .. } => records.push(data),
                Record::End => return records,
                Record::Corrupt { offset, what } => panic!("{offset}: {what}"),
            }
        }
    }

    #[test]
    fn records_around_the_block_size_read_back() {
        for len in (0..40).chain(BLOCK - 40..BLOCK + 40).chain([3 * BLOCK - 20, 5 * BLOCK]) {
            let records = [vec![7; 3], vec![1; len], vec![2; 11], vec![], vec![3; BLOCK]];
            assert!(back(&encode_log(&records)) == records, "{len}");
        }
        assert!(encode_log(&[]).is_empty());
    }
}
