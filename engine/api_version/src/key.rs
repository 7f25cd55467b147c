//! Encoding of raw keys.
use keys::codec;

use crate::{Error, KvFormat, Result};

/// First byte of raw keys in API V2; the three bytes after it are the id of the keyspace.
pub const RAW_KEY_PREFIX: u8 = b'r';
/// First byte of transactional keys in API V2.
pub const TXN_KEY_PREFIX: u8 = b'x';
pub(crate) const TIDB_META_KEY_PREFIX: u8 = b'm';
pub(crate) const TIDB_TABLE_KEY_PREFIX: u8 = b't';

/// Ranges without TiDB's keys, from start to end (excluded; empty: unbounded). A store whose API version
/// changes may have no data there.
pub const TIDB_RANGES_COMPLEMENT: [(&[u8], &[u8]); 3] = [
    (&[], &[TIDB_META_KEY_PREFIX]),
    (&[TIDB_META_KEY_PREFIX + 1], &[TIDB_TABLE_KEY_PREFIX]),
    (&[TIDB_TABLE_KEY_PREFIX + 1], &[]),
];

/// Bytes of a timestamp after an encoded key.
const TS_LEN: usize = size_of::<u64>();

impl KvFormat {
    /// Encodes a user key for the engine. V2 makes it memcomparable, and appends `ts` if there is one, which
    /// must not be zero. V1 and V1TTL keep the key.
    pub fn encode_raw_key(self, user_key: Vec<u8>, ts: Option<u64>) -> Vec<u8> {
        if self != KvFormat::V2 {
            return user_key;
        }
        let mut encoded = codec::encode_bytes(&user_key);
        if let Some(ts) = ts {
            codec::encode_u64_desc(&mut encoded, ts);
        }
        encoded
    }

    /// Returns the part of a key in the engine that all versions of a user key share.
    ///
    /// # Errors
    /// A key of V2 is too short for a timestamp.
    pub fn truncate_raw_ts(self, encoded: &[u8]) -> Result<&[u8]> {
        if self != KvFormat::V2 {
            return Ok(encoded);
        }
        match encoded.len().checked_sub(TS_LEN) {
            Some(len) => Ok(&encoded[..len]),
            None => Err(bad_key(encoded, format!("it has {} bytes", encoded.len()))),
        }
    }

    /// Returns the user key of a key in the engine, which has a timestamp in V2.
    ///
    /// # Errors
    /// The key is no encoded key, or has bytes after it.
    pub fn decode_raw_key(self, encoded: &[u8]) -> Result<Vec<u8>> {
        let user_key = self.truncate_raw_ts(encoded)?;
        if self != KvFormat::V2 {
            return Ok(user_key.to_vec());
        }
        codec::decode_bytes(user_key).map_err(|e| bad_key(encoded, e.to_string()))
    }
}

fn bad_key(found: &[u8], reason: String) -> Error {
    Error::Key { found: keys::hex_upper(found), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_v2_encodes_keys() {
        let key = b"r\0\0\0key".to_vec();
        for format in [KvFormat::V1, KvFormat::V1ttl] {
            assert_eq!(format.encode_raw_key(key.clone(), Some(5)), key);
            assert_eq!(format.decode_raw_key(&key), Ok(key.clone()));
        }
        let encoded = KvFormat::V2.encode_raw_key(key.clone(), Some(258));
        let golden = b"r\0\0\0key\0\xfe\xff\xff\xff\xff\xff\xff\xfe\xfd";
        assert_eq!(encoded, golden);
        assert_eq!(KvFormat::V2.decode_raw_key(&encoded), Ok(key.clone()));
        assert_eq!(KvFormat::V2.truncate_raw_ts(&encoded).unwrap(), KvFormat::V2.encode_raw_key(key, None));
    }

    #[test]
    fn newer_versions_of_a_key_come_first() {
        let at = |ts| KvFormat::V2.encode_raw_key(b"rk".to_vec(), Some(ts));
        assert!(at(9) < at(8));
    }

    #[test]
    fn bad_keys_are_errors() {
        for bad in [&b""[..], b"r234567", b"r2345678", b"r23456789012345\0\0\0\0\0\0\0\0"] {
            assert!(KvFormat::V2.decode_raw_key(bad).is_err(), "{bad:?}");
        }
    }
}
