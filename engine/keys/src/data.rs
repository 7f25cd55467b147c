//! Data keys: user keys in RocksDB, under the prefix `z`, and the bounds of regions.
use kvproto::metapb::Region;

use crate::{Error, Result};

/// Smallest key.
pub const MIN_KEY: &[u8] = &[];
/// Greater than every key that starts with a byte below `ff`.
pub const MAX_KEY: &[u8] = &[0xff];
/// Region bound that means "unbounded".
pub const EMPTY_KEY: &[u8] = &[];

/// First byte of every user key in RocksDB.
pub const DATA_PREFIX: u8 = b'z';
/// [`DATA_PREFIX`] as a key.
pub const DATA_PREFIX_KEY: &[u8] = &[DATA_PREFIX];
/// Smallest data key.
pub const DATA_MIN_KEY: &[u8] = &[DATA_PREFIX];
/// Smallest key above all data keys.
pub const DATA_MAX_KEY: &[u8] = &[DATA_PREFIX + 1];

/// Whether `key` has the data prefix.
pub fn validate_data_key(key: &[u8]) -> bool {
    key.starts_with(DATA_PREFIX_KEY)
}

/// Returns `key` with the data prefix, as stored in RocksDB.
pub fn data_key(key: &[u8]) -> Vec<u8> {
    let mut v = Vec::with_capacity(1 + key.len());
    v.push(DATA_PREFIX);
    v.extend_from_slice(key);
    v
}

/// Like [`data_key`], but reuses a buffer.
pub fn data_key_with_buffer(key: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(DATA_PREFIX);
    buffer.extend_from_slice(key);
}

/// Returns `key` as an exclusive upper bound in RocksDB; empty means "to the end of all data".
pub fn data_end_key(key: &[u8]) -> Vec<u8> {
    if key.is_empty() { DATA_MAX_KEY.to_vec() } else { data_key(key) }
}

/// Returns `key` without the data prefix.
pub fn origin_key(key: &[u8]) -> Result<&[u8]> {
    key.strip_prefix(DATA_PREFIX_KEY).ok_or_else(|| Error::NotDataKey(key.to_vec()))
}

/// Reverses [`data_end_key`].
pub fn origin_end_key(key: &[u8]) -> Result<&[u8]> {
    if key == DATA_MAX_KEY { Ok(EMPTY_KEY) } else { origin_key(key) }
}

/// Returns the start key of `region` as stored in RocksDB.
pub fn enc_start_key(region: &Region) -> Vec<u8> {
    data_key(&region.start_key)
}

/// Returns the end key of `region` as an exclusive upper bound in RocksDB.
pub fn enc_end_key(region: &Region) -> Vec<u8> {
    data_end_key(&region.end_key)
}

/// Returns the smallest key greater than every key with the prefix `key`; empty if there is none.
pub fn next_key(key: &[u8]) -> Vec<u8> {
    match key.iter().rposition(|b| *b != 0xff) {
        None => Vec::new(),
        Some(pos) => {
            let mut next = key[..=pos].to_vec();
            next[pos] += 1;
            next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keys_round_trip() {
        assert_eq!(data_key(b"abc"), b"zabc");
        assert_eq!(origin_key(b"zabc"), Ok(&b"abc"[..]));
        assert_eq!(data_end_key(b""), b"{");
        assert_eq!(origin_end_key(b"{"), Ok(&b""[..]));
        assert_eq!(origin_end_key(b"zb"), Ok(&b"b"[..]));
        let mut buffer = b"junk".to_vec();
        data_key_with_buffer(b"k", &mut buffer);
        assert_eq!(buffer, b"zk");
    }

    #[test]
    fn a_local_key_is_no_data_key() {
        assert!(!validate_data_key(crate::STORE_IDENT_KEY));
        assert_eq!(origin_key(&[1, 2]), Err(Error::NotDataKey(vec![1, 2])));
        assert_eq!(origin_key(b""), Err(Error::NotDataKey(vec![])));
    }

    #[test]
    fn an_unbounded_region_covers_all_data() {
        let mut region = Region::default();
        assert_eq!((enc_start_key(&region), enc_end_key(&region)), (b"z".to_vec(), b"{".to_vec()));
        region.start_key = b"a".to_vec();
        region.end_key = b"b".to_vec();
        assert_eq!((enc_start_key(&region), enc_end_key(&region)), (b"za".to_vec(), b"zb".to_vec()));
    }

    #[test]
    fn next_key_is_the_end_of_the_prefix() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"123", b"124"),
            (b"12\xff", b"13"),
            (b"\xff\xff", b""),
            (b"\xff\xfe", b"\xff\xff"),
            (b"", b""),
            (b"T", b"U"),
        ];
        for (key, next) in cases {
            assert_eq!(next_key(key), next);
        }
    }
}
