//! Prefix extractors with TiKV's names, which RocksDB compares.
use rocksdb::SliceTransform;

/// Bytes of the timestamp at the end of a key in CF write.
const TS_LEN: usize = 8;

fn without_ts(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(TS_LEN)]
}

fn has_ts(key: &[u8]) -> bool {
    key.len() >= TS_LEN
}

/// Extracts the user key of a versioned key. TiKV: `FixedSuffixSliceTransform::new(8)`.
pub fn fixed_suffix() -> SliceTransform {
    SliceTransform::create("FixedSuffixSliceTransform", without_ts, Some(has_ts))
}

/// Extracts the whole key. TiKV: `NoopSliceTransform`.
pub fn noop() -> SliceTransform {
    SliceTransform::create("NoopSliceTransform", |key| key, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_version_is_its_user_key() {
        assert_eq!(without_ts(b"zkey12345678"), b"zkey");
        assert!(has_ts(b"12345678") && !has_ts(b"1234567"));
        assert_eq!(without_ts(b"1234567"), b"");
    }
}
