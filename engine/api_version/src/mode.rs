//! Modes of keys: their first byte.
use crate::{
    KvFormat,
    key::{RAW_KEY_PREFIX, TIDB_META_KEY_PREFIX, TIDB_TABLE_KEY_PREFIX, TXN_KEY_PREFIX},
};

/// Owner of a key, according to its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// Raw key.
    Raw,
    /// Key of a transaction.
    Txn,
    /// Key that TiDB may have written.
    Tidb,
    /// Any other key.
    Unknown,
}

impl KvFormat {
    /// Returns the mode of a key, encoded or not. In V1TTL all keys are raw keys; in V1 the mode is unknown.
    pub fn parse_key_mode(self, key: &[u8]) -> KeyMode {
        match self {
            KvFormat::V1 => KeyMode::Unknown,
            KvFormat::V1ttl => KeyMode::Raw,
            KvFormat::V2 => match key.first().copied() {
                Some(RAW_KEY_PREFIX) => KeyMode::Raw,
                Some(TXN_KEY_PREFIX) => KeyMode::Txn,
                Some(TIDB_META_KEY_PREFIX | TIDB_TABLE_KEY_PREFIX) => KeyMode::Tidb,
                _ => KeyMode::Unknown,
            },
        }
    }

    /// Returns the mode of all keys from `start` to `end`; unknown if the range is unbounded or has several
    /// modes. The end may be the first key after the mode, e.g. `s` after `r`.
    pub fn parse_range_mode(self, start: &[u8], end: &[u8]) -> KeyMode {
        if self != KvFormat::V2 {
            return self.parse_key_mode(start);
        }
        match (start.first(), end.first()) {
            (Some(first), Some(last)) if first == last || end == [first.wrapping_add(1)] => {
                self.parse_key_mode(start)
            }
            _ => KeyMode::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_follow_the_first_byte_in_v2_only() {
        let modes =
            [(&b"r"[..], KeyMode::Raw), (b"xk", KeyMode::Txn), (b"m", KeyMode::Tidb), (b"t1", KeyMode::Tidb)];
        for (key, mode) in modes {
            assert_eq!(KvFormat::V2.parse_key_mode(key), mode);
            assert_eq!(KvFormat::V1.parse_key_mode(key), KeyMode::Unknown);
            assert_eq!(KvFormat::V1ttl.parse_key_mode(key), KeyMode::Raw);
        }
        assert_eq!(KvFormat::V2.parse_key_mode(b""), KeyMode::Unknown);
        assert_eq!(KvFormat::V2.parse_key_mode(b"a"), KeyMode::Unknown);
    }

    #[test]
    fn a_range_of_several_modes_has_none() {
        let mode = |start: &[u8], end: &[u8]| KvFormat::V2.parse_range_mode(start, end);
        assert_eq!(mode(b"r\0\0\0", b"r\0\0\x01"), KeyMode::Raw);
        assert_eq!(mode(b"r", b"s"), KeyMode::Raw);
        assert_eq!(mode(b"t", b"u"), KeyMode::Tidb);
        for (start, end) in [(&b"r"[..], &b""[..]), (b"", b"s"), (b"r", b"s\0"), (b"q", b"r"), (b"", b"")] {
            assert_eq!(mode(start, end), KeyMode::Unknown, "{start:?} {end:?}");
        }
    }
}
