//! Checksum over raw keys and values: the exclusive or of one CRC-64 for each pair.
//!
//! Mirrors `checksum_crc64_xor` of `src/coprocessor/checksum.rs`.
use crc64fast::Digest;

/// Sums of a raw checksum request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Exclusive or of the CRC-64 of all pairs.
    pub checksum: u64,
    /// Number of pairs.
    pub total_kvs: u64,
    /// Bytes of all keys and values.
    pub total_bytes: u64,
}

impl Checksum {
    /// Adds a pair of a user key and a user value.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.checksum ^= crc64(&[key, value]);
        self.total_kvs += 1;
        self.total_bytes += (key.len() + value.len()) as u64;
    }
}

/// Returns the CRC-64/XZ of the parts one after another.
fn crc64(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new();
    parts.iter().for_each(|part| digest.write(part));
    digest.sum64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_has_the_standard_check_value() {
        assert_eq!(crc64(&[b"123456789"]), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc64(&[b"1234", b"", b"56789"]), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc64(&[]), 0);
    }

    #[test]
    fn the_order_of_pairs_does_not_matter() {
        type Pair = (&'static [u8], &'static [u8]);
        let sum = |pairs: &[Pair]| {
            let mut sum = Checksum::default();
            pairs.iter().for_each(|(key, value)| sum.add(key, value));
            sum
        };
        let (a, b): (Pair, Pair) = ((b"a", b"1"), (b"b", b"22"));
        assert_eq!(sum(&[a, b]), sum(&[b, a]));
        assert_eq!((sum(&[a, b]).total_kvs, sum(&[a, b]).total_bytes), (2, 5));
        assert_eq!(sum(&[a, a]).checksum, 0);
    }
}
