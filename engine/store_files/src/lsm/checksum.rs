//! Checksums of blocks and records: masked CRC-32C, xxHash, and the context that format_version 6 adds.
use twox_hash::{XxHash3_64, XxHash32, XxHash64};

const MASK_DELTA: u32 = 0xa282_ead8;

/// Extends the CRC-32C (Castagnoli) `crc` by `data`; 0 is the CRC of no data.
pub fn crc32c(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}

/// Masks a CRC as RocksDB stores it: the CRC of data that contains its own CRC would be weak.
pub fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// Checksum type of a table's blocks, from the footer (`table/format.h` `ChecksumType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumType {
    /// No checksum.
    None,
    /// Masked CRC-32C.
    Crc32c,
    /// XXH32.
    XxHash,
    /// The low half of XXH64.
    XxHash64,
    /// The low half of XXH3.
    Xxh3,
}

impl ChecksumType {
    /// Decodes the footer's byte.
    pub fn from_u8(byte: u8) -> Option<ChecksumType> {
        match byte {
            0 => Some(ChecksumType::None),
            1 => Some(ChecksumType::Crc32c),
            2 => Some(ChecksumType::XxHash),
            3 => Some(ChecksumType::XxHash64),
            4 => Some(ChecksumType::Xxh3),
            _ => None,
        }
    }

    /// Computes the checksum of `data`.
    pub fn compute(self, data: &[u8]) -> u32 {
        match (self, data.split_last()) {
            (ChecksumType::None, _) => 0,
            (ChecksumType::Crc32c, _) => mask(crc32c(0, data)),
            (ChecksumType::XxHash, _) => XxHash32::oneshot(0, data),
            (ChecksumType::XxHash64, _) => XxHash64::oneshot(0, data) as u32,
            // RocksDB mixes the last byte, a block's compression type, into the hash separately.
            (ChecksumType::Xxh3, Some((last, rest))) => {
                with_last_byte(XxHash3_64::oneshot(rest) as u32, *last)
            }
            (ChecksumType::Xxh3, None) => 0,
        }
    }
}

/// Mixes the last byte into the XXH3 of the bytes before it.
pub fn with_last_byte(hash: u32, last: u8) -> u32 {
    hash ^ u32::from(last).wrapping_mul(0x6b90_83d9)
}

/// The number that format_version 6 adds to a checksum, so that a block at another place fails its check.
pub fn context_modifier(base_context: u32, offset: u64) -> u32 {
    if base_context == 0 { 0 } else { base_context ^ (offset as u32).wrapping_add((offset >> 32) as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_the_standard_vectors() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn crc32c_can_be_computed_in_parts() {
        let data: Vec<u8> = (0..100).collect();
        for split in 0..data.len() {
            assert_eq!(crc32c(crc32c(0, &data[..split]), &data[split..]), crc32c(0, &data));
        }
    }
}
