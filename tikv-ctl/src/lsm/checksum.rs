//! Block and record checksums: CRC-32C as RocksDB masks it, xxHash, and the context that format_version 6 adds.

use twox_hash::{XxHash3_64, XxHash32, XxHash64};

const MASK_DELTA: u32 = 0xa282_ead8;
/// CRC-32C (Castagnoli) of `data` appended to what `crc` covers; start with 0.
pub fn crc32c(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}

/// The form in which RocksDB stores a CRC, so that a CRC of data holding CRCs stays good.
pub fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// Whether the checksum that was computed is the one that is stored. A fuzzer can compute none: to it they all match, so
/// that it reaches what lies behind them.
pub fn matches(computed: u32, stored: u32) -> bool {
    computed == stored || cfg!(fuzzing)
}

/// `checksum` of a block's footer byte (`table/format.h` `ChecksumType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumType {
    /// Nothing is stored.
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
    /// The type that a footer's byte stands for.
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

    /// The checksum of all of `data`.
    pub fn of(self, data: &[u8]) -> u32 {
        match (self, data.split_last()) {
            (ChecksumType::None, _) => 0,
            (ChecksumType::Crc32c, _) => mask(crc32c(0, data)),
            (ChecksumType::XxHash, _) => XxHash32::oneshot(0, data),
            (ChecksumType::XxHash64, _) => XxHash64::oneshot(0, data) as u32,
            // The last byte (of a block: its compression type) is mixed in apart.
            (ChecksumType::Xxh3, Some((last, rest))) => {
                with_last_byte(XxHash3_64::oneshot(rest) as u32, *last)
            }
            (ChecksumType::Xxh3, None) => 0,
        }
    }
}

/// How the last byte is mixed into the XXH3 of those before it.
pub fn with_last_byte(hash: u32, last: u8) -> u32 {
    hash ^ u32::from(last).wrapping_mul(0x6b90_83d9)
}

/// What format_version 6 adds to a checksum, so that a block read from elsewhere fails.
pub fn context_modifier(base_context: u32, offset: u64) -> u32 {
    if base_context == 0 { 0 } else { base_context ^ (offset as u32).wrapping_add((offset >> 32) as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_standard_vectors() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn crc_grows_with_its_data() {
        let data: Vec<u8> = (0..100).collect();
        for split in 0..data.len() {
            assert_eq!(crc32c(crc32c(0, &data[..split]), &data[split..]), crc32c(0, &data));
        }
    }
}
