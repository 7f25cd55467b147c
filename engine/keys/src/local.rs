//! Local keys: a store's own records, all under the prefix `01`.
use crate::{Error, Result};

/// Index at which the log of every region begins; the first own entry follows.
pub const RAFT_INIT_LOG_INDEX: u64 = 5;
/// Term at which the log of every region begins.
pub const RAFT_INIT_LOG_TERM: u64 = 5;

/// First byte of every local key.
pub const LOCAL_PREFIX: u8 = 0x01;
/// Smallest local key.
pub const LOCAL_MIN_KEY: &[u8] = &[LOCAL_PREFIX];
/// Smallest key above all local keys.
pub const LOCAL_MAX_KEY: &[u8] = &[LOCAL_PREFIX + 1];

/// `raft_serverpb::StoreIdent`, in CF default.
pub const STORE_IDENT_KEY: &[u8] = &[LOCAL_PREFIX, 0x01];
/// `metapb::Region` of a bootstrap that PD has not confirmed yet, in CF default.
pub const PREPARE_BOOTSTRAP_KEY: &[u8] = &[LOCAL_PREFIX, 0x02];
/// `raft_serverpb::StoreRecoverState`.
pub const RECOVER_STATE_KEY: &[u8] = &[LOCAL_PREFIX, 0x03];

/// The second byte of keys about a region's Raft group.
pub const REGION_RAFT_PREFIX: u8 = 0x02;
/// Prefix of keys about regions' Raft groups.
pub const REGION_RAFT_PREFIX_KEY: &[u8] = &[LOCAL_PREFIX, REGION_RAFT_PREFIX];
/// Smallest key about a Raft group.
pub const REGION_RAFT_MIN_KEY: &[u8] = REGION_RAFT_PREFIX_KEY;
/// Smallest key above all keys about Raft groups.
pub const REGION_RAFT_MAX_KEY: &[u8] = &[LOCAL_PREFIX, REGION_RAFT_PREFIX + 1];
/// The second byte of keys about a region's metadata.
pub const REGION_META_PREFIX: u8 = 0x03;
/// Prefix of keys about regions' metadata.
pub const REGION_META_PREFIX_KEY: &[u8] = &[LOCAL_PREFIX, REGION_META_PREFIX];
/// Smallest key about a region's metadata.
pub const REGION_META_MIN_KEY: &[u8] = REGION_META_PREFIX_KEY;
/// Smallest key above all keys about regions' metadata.
pub const REGION_META_MAX_KEY: &[u8] = &[LOCAL_PREFIX, REGION_META_PREFIX + 1];

/// Suffix of a Raft log entry; the index follows.
pub const RAFT_LOG_SUFFIX: u8 = 0x01;
/// Suffix of a `RaftLocalState`.
pub const RAFT_STATE_SUFFIX: u8 = 0x02;
/// Suffix of a `RaftApplyState`.
pub const APPLY_STATE_SUFFIX: u8 = 0x03;
/// Suffix of the `RaftLocalState` kept while a snapshot is applied.
pub const SNAPSHOT_RAFT_STATE_SUFFIX: u8 = 0x04;
/// Suffix of a `RegionLocalState`, after the metadata prefix.
pub const REGION_STATE_SUFFIX: u8 = 0x01;

const REGION_PREFIX_LEN: usize = 10;
const REGION_KEY_LEN: usize = REGION_PREFIX_LEN + 1;
const RAFT_LOG_KEY_LEN: usize = REGION_KEY_LEN + 8;

fn region_prefix(kind: u8, region_id: u64) -> [u8; REGION_PREFIX_LEN] {
    let mut key = [0; REGION_PREFIX_LEN];
    key[0] = LOCAL_PREFIX;
    key[1] = kind;
    key[2..].copy_from_slice(&region_id.to_be_bytes());
    key
}

fn region_key(kind: u8, region_id: u64, suffix: u8) -> [u8; REGION_KEY_LEN] {
    let mut key = [0; REGION_KEY_LEN];
    key[..REGION_PREFIX_LEN].copy_from_slice(&region_prefix(kind, region_id));
    key[REGION_PREFIX_LEN] = suffix;
    key
}

/// Prefix of all keys about the Raft group of `region_id`.
pub fn region_raft_prefix(region_id: u64) -> [u8; 10] {
    region_prefix(REGION_RAFT_PREFIX, region_id)
}

/// Prefix of all metadata keys of `region_id`.
pub fn region_meta_prefix(region_id: u64) -> [u8; 10] {
    region_prefix(REGION_META_PREFIX, region_id)
}

/// Key of the `RegionLocalState` of `region_id`, in CF raft.
pub fn region_state_key(region_id: u64) -> [u8; 11] {
    region_key(REGION_META_PREFIX, region_id, REGION_STATE_SUFFIX)
}

/// Key of the `RaftLocalState` of `region_id`, for a Raft log in RocksDB.
pub fn raft_state_key(region_id: u64) -> [u8; 11] {
    region_key(REGION_RAFT_PREFIX, region_id, RAFT_STATE_SUFFIX)
}

/// Key of the `RaftApplyState` of `region_id`, in CF raft.
pub fn apply_state_key(region_id: u64) -> [u8; 11] {
    region_key(REGION_RAFT_PREFIX, region_id, APPLY_STATE_SUFFIX)
}

/// Key of the `RaftLocalState` of `region_id` while a snapshot is applied, in CF raft.
pub fn snapshot_raft_state_key(region_id: u64) -> [u8; 11] {
    region_key(REGION_RAFT_PREFIX, region_id, SNAPSHOT_RAFT_STATE_SUFFIX)
}

/// Prefix of all Raft log keys of `region_id`.
pub fn raft_log_prefix(region_id: u64) -> [u8; 11] {
    region_key(REGION_RAFT_PREFIX, region_id, RAFT_LOG_SUFFIX)
}

/// Key of the Raft log entry at `index`, for a Raft log in RocksDB.
pub fn raft_log_key(region_id: u64, index: u64) -> [u8; 19] {
    let mut key = [0; RAFT_LOG_KEY_LEN];
    key[..REGION_KEY_LEN].copy_from_slice(&raft_log_prefix(region_id));
    key[REGION_KEY_LEN..].copy_from_slice(&index.to_be_bytes());
    key
}

fn read_u64(key: &[u8], at: usize) -> Option<u64> {
    let bytes = key.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Returns region id and index of a key made by [`raft_log_key`].
pub fn decode_raft_log_key(key: &[u8]) -> Result<(u64, u64)> {
    let fits = key.len() == RAFT_LOG_KEY_LEN
        && key.starts_with(REGION_RAFT_PREFIX_KEY)
        && key[REGION_PREFIX_LEN] == RAFT_LOG_SUFFIX;
    match (fits, read_u64(key, 2), read_u64(key, REGION_KEY_LEN)) {
        (true, Some(region_id), Some(index)) => Ok((region_id, index)),
        _ => Err(Error::InvalidRaftLogKey(key.to_vec())),
    }
}

/// Returns the index of a key made by [`raft_log_key`].
pub fn raft_log_index(key: &[u8]) -> Result<u64> {
    decode_raft_log_key(key).map(|(_, index)| index)
}

fn decode_region_key(prefix: &[u8], category: &'static str, key: &[u8]) -> Result<(u64, u8)> {
    if key.len() != REGION_KEY_LEN {
        return Err(Error::InvalidRegionKeyLength { category, key: key.to_vec() });
    }
    match read_u64(key, 2) {
        Some(region_id) if key.starts_with(prefix) => Ok((region_id, key[REGION_PREFIX_LEN])),
        _ => Err(Error::InvalidRegionPrefix { category, key: key.to_vec() }),
    }
}

/// Returns region id and suffix of a Raft state, apply state or snapshot Raft state key.
pub fn decode_region_raft_key(key: &[u8]) -> Result<(u64, u8)> {
    decode_region_key(REGION_RAFT_PREFIX_KEY, "raft", key)
}

/// Returns region id and suffix of a metadata key.
pub fn decode_region_meta_key(key: &[u8]) -> Result<(u64, u8)> {
    decode_region_key(REGION_META_PREFIX_KEY, "meta", key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex_lower;

    #[test]
    fn keys_have_tikvs_bytes() {
        assert_eq!(hex_lower(&region_state_key(2)), "0103000000000000000201");
        assert_eq!(hex_lower(&raft_state_key(2)), "0102000000000000000202");
        assert_eq!(hex_lower(&apply_state_key(2)), "0102000000000000000203");
        assert_eq!(hex_lower(&snapshot_raft_state_key(2)), "0102000000000000000204");
        assert_eq!(hex_lower(&raft_log_key(2, 6)), "01020000000000000002010000000000000006");
    }

    #[test]
    fn decoders_reverse_the_encoders() {
        for id in [0, 1, 255, 1024, u64::MAX] {
            assert_eq!(decode_region_meta_key(&region_state_key(id)), Ok((id, REGION_STATE_SUFFIX)));
            assert_eq!(decode_region_raft_key(&apply_state_key(id)), Ok((id, APPLY_STATE_SUFFIX)));
            assert_eq!(decode_raft_log_key(&raft_log_key(id, 7)), Ok((id, 7)));
            assert!(raft_log_key(id, 7).starts_with(&region_raft_prefix(id)));
        }
    }

    #[test]
    fn decoders_refuse_other_keys() {
        assert!(matches!(decode_raft_log_key(b""), Err(Error::InvalidRaftLogKey(_))));
        assert!(matches!(decode_raft_log_key(&raft_state_key(1)), Err(Error::InvalidRaftLogKey(_))));
        let wrong_prefix = decode_region_meta_key(&apply_state_key(1));
        assert!(matches!(wrong_prefix, Err(Error::InvalidRegionPrefix { category: "meta", .. })));
        let wrong_length = decode_region_raft_key(PREPARE_BOOTSTRAP_KEY);
        assert!(matches!(wrong_length, Err(Error::InvalidRegionKeyLength { category: "raft", .. })));
    }

    #[test]
    fn log_keys_sort_by_region_then_index() {
        assert!(raft_log_key(1, 256) > raft_log_key(1, 255));
        assert!(raft_log_key(2, 0) > raft_log_key(1, u64::MAX));
    }
}
