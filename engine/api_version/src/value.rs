//! Encoding of raw values.
use keys::codec;

use crate::{Error, KvFormat, Result};

/// Flag of API V2: the value has a time at which it expires.
const EXPIRE_TS: u8 = 1;
/// Flag of API V2: the version deletes the key.
const DELETE_FLAG: u8 = 2;
/// Bytes of the time at which a value expires.
const EXPIRE_LEN: usize = size_of::<u64>();

/// Value of a version that deletes its key in API V2.
pub const ENCODED_LOGICAL_DELETE: [u8; 1] = [DELETE_FLAG];

/// Raw value with its properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<T> {
    /// Value that the user wrote.
    pub user_value: T,
    /// Unix time in seconds from which on the key has no value; `None`: never.
    pub expire_ts: Option<u64>,
    /// Whether the version deletes the key, in V2 only.
    pub is_delete: bool,
}

impl<T> RawValue<T> {
    /// Whether a read at `now`, a Unix time in seconds, finds the value.
    pub fn is_valid(&self, now: u64) -> bool {
        !self.is_delete && !self.is_ttl_expired(now)
    }

    /// Whether the value has expired at `now`.
    pub fn is_ttl_expired(&self, now: u64) -> bool {
        self.expire_ts.is_some_and(|expire_ts| expire_ts <= now)
    }
}

impl KvFormat {
    /// Encodes a value for the engine. V1TTL appends the time of expiry (0: never), V2 that time if there is
    /// one, and a byte of flags.
    pub fn encode_raw_value(self, value: RawValue<Vec<u8>>) -> Vec<u8> {
        let mut encoded = value.user_value;
        match self {
            KvFormat::V1 => {}
            KvFormat::V1ttl => codec::encode_u64(&mut encoded, value.expire_ts.unwrap_or(0)),
            KvFormat::V2 => {
                let mut flags = if value.is_delete { DELETE_FLAG } else { 0 };
                if let Some(expire_ts) = value.expire_ts {
                    codec::encode_u64(&mut encoded, expire_ts);
                    flags |= EXPIRE_TS;
                }
                encoded.push(flags);
            }
        }
        encoded
    }

    /// Decodes a value of the engine.
    ///
    /// # Errors
    /// The value is too short, or has unknown flags.
    pub fn decode_raw_value(self, bytes: &[u8]) -> Result<RawValue<&[u8]>> {
        let value = |user_value, expire_ts, is_delete| RawValue { user_value, expire_ts, is_delete };
        match self {
            KvFormat::V1 => Ok(value(bytes, None, false)),
            KvFormat::V1ttl => {
                let (user_value, expire_ts) = self.split_expire_ts(bytes, bytes.len(), EXPIRE_LEN)?;
                Ok(value(user_value, (expire_ts != 0).then_some(expire_ts), false))
            }
            KvFormat::V2 => {
                let Some((&flags, rest)) = bytes.split_last() else {
                    return Err(Error::ValueLength { version: self, want: 1, found: 0 });
                };
                if flags & !(EXPIRE_TS | DELETE_FLAG) != 0 {
                    return Err(Error::ValueMeta(flags));
                }
                let is_delete = flags & DELETE_FLAG != 0;
                if flags & EXPIRE_TS == 0 {
                    return Ok(value(rest, None, is_delete));
                }
                let (user_value, expire_ts) = self.split_expire_ts(rest, bytes.len(), 1 + EXPIRE_LEN)?;
                Ok(value(user_value, Some(expire_ts), is_delete))
            }
        }
    }

    /// Splits off the time at the end of `bytes`; `found` and `want` are for the error.
    fn split_expire_ts(self, bytes: &[u8], found: usize, want: usize) -> Result<(&[u8], u64)> {
        match bytes.split_last_chunk::<EXPIRE_LEN>() {
            Some((user_value, expire_ts)) => Ok((user_value, u64::from_be_bytes(*expire_ts))),
            None => Err(Error::ValueLength { version: self, want, found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [KvFormat; 3] = [KvFormat::V1, KvFormat::V1ttl, KvFormat::V2];

    fn value(expire_ts: Option<u64>, is_delete: bool) -> RawValue<Vec<u8>> {
        RawValue { user_value: b"v".to_vec(), expire_ts, is_delete }
    }

    #[test]
    fn the_bytes_are_tikvs() {
        let encode = |format: KvFormat, value| format.encode_raw_value(value);
        assert_eq!(encode(KvFormat::V1, value(None, false)), b"v");
        assert_eq!(encode(KvFormat::V1ttl, value(None, false)), b"v\0\0\0\0\0\0\0\0");
        assert_eq!(encode(KvFormat::V1ttl, value(Some(258), false)), b"v\0\0\0\0\0\0\x01\x02");
        assert_eq!(encode(KvFormat::V2, value(None, false)), b"v\0");
        assert_eq!(encode(KvFormat::V2, value(Some(258), false)), b"v\0\0\0\0\0\0\x01\x02\x01");
        assert_eq!(
            encode(KvFormat::V2, RawValue { user_value: vec![], ..value(None, true) }),
            ENCODED_LOGICAL_DELETE
        );
    }

    #[test]
    fn values_are_decoded_as_they_were_encoded() {
        for format in FORMATS {
            for expire_ts in [None, Some(77)] {
                let expire_ts = expire_ts.filter(|_| format.is_ttl_enabled());
                let encoded = format.encode_raw_value(value(expire_ts, false));
                let decoded = format.decode_raw_value(&encoded).unwrap();
                assert_eq!(
                    (decoded.user_value, decoded.expire_ts, decoded.is_delete),
                    (&b"v"[..], expire_ts, false)
                );
            }
        }
        assert!(KvFormat::V2.decode_raw_value(&ENCODED_LOGICAL_DELETE).unwrap().is_delete);
    }

    #[test]
    fn bad_values_are_errors() {
        assert!(KvFormat::V1ttl.decode_raw_value(b"1234567").is_err());
        for bad in [&b""[..], b"v\x04", b"1234567\x01"] {
            assert!(KvFormat::V2.decode_raw_value(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_expires_at_its_time() {
        assert!(value(Some(5), false).is_valid(4) && !value(Some(5), false).is_valid(5));
        assert!(!value(None, true).is_valid(0) && value(None, false).is_valid(u64::MAX));
    }
}
