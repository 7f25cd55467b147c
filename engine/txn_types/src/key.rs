//! Keys in memcomparable form, with or without a timestamp at the end.
use std::fmt;

use keys::{
    codec::{self, U64_SIZE},
    hex_upper,
};

use crate::{Result, TimeStamp};

/// A value: raw bytes.
pub type Value = Vec<u8>;

/// Key, raw or encoded as the function documents, and its value.
pub type KvPair = (Vec<u8>, Value);

/// Key in memcomparable form. A timestamp may follow; the type does not record whether it does.
///
/// TiKV: `txn_types::types::Key`.
#[derive(Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Encodes `raw`, with room for a timestamp.
    pub fn from_raw(raw: &[u8]) -> Key {
        let mut encoded = Vec::with_capacity(codec::encoded_len(raw.len()) + U64_SIZE);
        codec::encode_bytes_to(&mut encoded, raw);
        Key(encoded)
    }

    /// Like [`Key::from_raw`]; `None` if `raw` is empty, which means unbounded.
    pub fn from_raw_maybe_unbounded(raw: &[u8]) -> Option<Key> {
        (!raw.is_empty()).then(|| Key::from_raw(raw))
    }

    /// Wraps an already encoded key.
    pub fn from_encoded(encoded: Vec<u8>) -> Key {
        Key(encoded)
    }

    /// Copies an already encoded key, with room for a timestamp.
    pub fn from_encoded_slice(encoded: &[u8]) -> Key {
        let mut key = Vec::with_capacity(encoded.len() + U64_SIZE);
        key.extend_from_slice(encoded);
        Key(key)
    }

    /// Splits an encoded key for a reader: the user key, and the timestamp if there is one. Bytes in another
    /// encoding (a raw key) are returned as they are.
    pub fn split_readable(encoded: &[u8]) -> (Vec<u8>, Option<TimeStamp>) {
        let mut rest = encoded;
        let Ok(user_key) = keys::codec::decode_bytes_from(&mut rest) else { return (encoded.to_vec(), None) };
        match (rest.is_empty(), keys::codec::decode_u64_desc(&mut rest)) {
            (true, _) => (user_key, None),
            (false, Ok(ts)) if rest.is_empty() => (user_key, Some(ts.into())),
            _ => (encoded.to_vec(), None),
        }
    }

    /// Returns the raw key; fails if this is not exactly one encoded key without a timestamp.
    pub fn to_raw(&self) -> Result<Vec<u8>> {
        Ok(codec::decode_bytes(&self.0)?)
    }

    /// Like [`Key::to_raw`].
    pub fn into_raw(self) -> Result<Vec<u8>> {
        self.to_raw()
    }

    /// Returns the hash of the raw key, which clients compute as well. TiKV: `Key::gen_hash`.
    ///
    /// # Errors
    /// This is not exactly one encoded key without a timestamp.
    pub fn gen_hash(&self) -> Result<u64> {
        Ok(farmhash::fingerprint64(&self.to_raw()?))
    }

    /// Returns the encoded bytes.
    pub fn as_encoded(&self) -> &Vec<u8> {
        &self.0
    }

    /// Returns the encoded bytes by value.
    pub fn into_encoded(self) -> Vec<u8> {
        self.0
    }

    /// Appends `ts` to this key; later timestamps sort first.
    #[must_use]
    pub fn append_ts(mut self, ts: TimeStamp) -> Key {
        self.append_ts_inplace(ts);
        self
    }

    /// Appends `ts` to this key.
    pub fn append_ts_inplace(&mut self, ts: TimeStamp) {
        codec::encode_u64_desc(&mut self.0, ts.into_inner());
    }

    /// Returns the timestamp at the end of this key.
    pub fn decode_ts(&self) -> Result<TimeStamp> {
        Key::decode_ts_from(&self.0)
    }

    /// Removes the timestamp at the end of this key.
    pub fn truncate_ts(mut self) -> Result<Key> {
        let len = Key::truncate_ts_for(&self.0)?.len();
        self.0.truncate(len);
        Ok(self)
    }

    /// Returns the encoded user key and the timestamp of `key`.
    #[inline]
    pub fn split_on_ts_for(key: &[u8]) -> Result<(&[u8], TimeStamp)> {
        match key.split_last_chunk::<U64_SIZE>() {
            Some((user_key, ts)) => Ok((user_key, TimeStamp::new(!u64::from_be_bytes(*ts)))),
            None => Err(keys::Error::KeyLength(key.len()).into()),
        }
    }

    /// Returns the encoded user key of `key`.
    pub fn truncate_ts_for(key: &[u8]) -> Result<&[u8]> {
        Key::split_on_ts_for(key).map(|(user_key, _)| user_key)
    }

    /// Returns the timestamp at the end of `key`.
    #[inline]
    pub fn decode_ts_from(key: &[u8]) -> Result<TimeStamp> {
        Key::split_on_ts_for(key).map(|(_, ts)| ts)
    }

    /// Whether `ts_encoded_key` is `user_key` (encoded) plus a timestamp.
    pub fn is_user_key_eq(ts_encoded_key: &[u8], user_key: &[u8]) -> bool {
        // Rows of one table differ at the end: comparing lengths first and memcmp after is enough.
        ts_encoded_key.len() == user_key.len() + U64_SIZE && ts_encoded_key.starts_with(user_key)
    }

    /// Whether this is the encoded form of `raw`.
    pub fn is_encoded_from(&self, raw: &[u8]) -> bool {
        codec::is_encoded_from(&self.0, raw)
    }

    /// Length of the encoded form in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes; an encoded key always has some.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Clone for Key {
    /// Keeps the spare capacity, so that a timestamp can be appended without reallocation.
    fn clone(&self) -> Key {
        Key::from_encoded_slice(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Key {
    /// Formats the encoded bytes in upper-case hexadecimal, as in TiKV's logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_upper(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, test_util::Random};

    #[test]
    fn a_key_with_its_timestamp_has_tikvs_bytes() {
        let key = Key::from_raw(b"a").append_ts(1.into());
        assert_eq!(key.to_string(), "6100000000000000F8FFFFFFFFFFFFFFFE");
        assert_eq!(key.decode_ts(), Ok(1.into()));
        let user_key = key.clone().truncate_ts().unwrap();
        assert_eq!(user_key, Key::from_raw(b"a"));
        assert_eq!(user_key.to_raw().unwrap(), b"a");
        assert_eq!(Key::split_on_ts_for(key.as_encoded()), Ok((&user_key.as_encoded()[..], 1.into())));
        assert!(matches!(key.to_raw(), Err(Error::Codec(keys::Error::TrailingBytes(8)))));
    }

    #[test]
    fn short_keys_have_no_timestamp() {
        let too_short = Err(Error::Codec(keys::Error::KeyLength(7)));
        assert_eq!(Key::decode_ts_from(b"1234567"), too_short);
        assert_eq!(
            Key::from_encoded(b"1234567".to_vec()).truncate_ts(),
            Err(keys::Error::KeyLength(7).into())
        );
    }

    #[test]
    fn user_keys_compare_without_their_timestamps() {
        let mut random = Random::new(3);
        for _ in 0..500 {
            let (a, b) = (random.bytes(20), random.bytes(20));
            let versioned = Key::from_raw(&a).append_ts(random.next().into());
            assert!(Key::is_user_key_eq(versioned.as_encoded(), Key::from_raw(&a).as_encoded()));
            let same = Key::is_user_key_eq(versioned.as_encoded(), Key::from_raw(&b).as_encoded());
            assert_eq!(same, a == b);
            assert!(Key::from_raw(&a).is_encoded_from(&a));
        }
        assert!(!Key::is_user_key_eq(b"", b""));
    }

    #[test]
    fn versions_sort_by_key_then_newest_first() {
        let at = |k: &[u8], ts: u64| Key::from_raw(k).append_ts(ts.into());
        assert!(at(b"a", 10) < at(b"a", 9));
        assert!(at(b"a", 0) < at(b"a\0", 10));
        assert!(at(b"a\0\0\0\0\0\0\0\0", 0) < at(b"b", u64::MAX));
    }

    #[test]
    fn an_empty_bound_is_unbounded() {
        assert_eq!(Key::from_raw_maybe_unbounded(b""), None);
        assert_eq!(Key::from_raw_maybe_unbounded(b"a"), Some(Key::from_raw(b"a")));
    }
}
