//! Changes of the API version of a data directory (TiKV `src/server/raft_server.rs`, `check_api_version`).
use api_version::{ApiVersion, KvFormat, TIDB_RANGES_COMPLEMENT};
use engine_rocks::{DATA_CFS, IterOptions};
use kvproto::raft_serverpb::StoreIdent;
use raftstore::store::Engines;

use crate::error::StartError;

/// Accepts the version that the data has; changes it if the store has only keys of TiDB, whose encoding is
/// the same in every version. The TTL of API V1 is in the file `last_tikv.toml`, not in the identity.
pub fn check(engines: &Engines, ident: StoreIdent, format: KvFormat) -> Result<(), StartError> {
    let (old, new) = (ident.api_version(), ApiVersion::from(format));
    let v1 = |version| matches!(version, ApiVersion::V1 | ApiVersion::V1ttl);
    if old == new || (v1(old) && v1(new)) {
        return Ok(());
    }
    if let Some(key) = foreign_key(engines)? {
        return Err(StartError::ApiVersion(format!(
            "unable to switch `storage.api_version` from {old:?} to {new:?} because found data key that is not \
             written by TiDB: {}",
            keys::hex_upper(&key)
        )));
    }
    engines.kv.put_msg(keys::STORE_IDENT_KEY, &StoreIdent { api_version: new.into(), ..ident })?;
    engines.kv.sync_wal()?;
    log::info!("storage.api-version of the data changes from {old:?} to {new:?}");
    Ok(())
}

/// Returns the first user key, encoded, that is not TiDB's.
fn foreign_key(engines: &Engines) -> Result<Option<Vec<u8>>, StartError> {
    for cf in DATA_CFS {
        for (start, end) in TIDB_RANGES_COMPLEMENT {
            let (start, end) = (keys::data_key(start), keys::data_end_key(end));
            let mut iter = engines.kv.iterator_cf(cf, IterOptions::range(&start, &end))?;
            if iter.seek(&start)? {
                return Ok(Some(iter.key()[keys::DATA_PREFIX_KEY.len()..].to_vec()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use engine_rocks::{CF_DEFAULT, CF_WRITE, DbConfig, RocksEngine};
    use raft_log_engine::{RaftEngineConfig, RaftLogEngine};

    use super::*;

    fn engines(dir: &std::path::Path) -> Engines {
        let kv = RocksEngine::open(dir.join("db"), &DbConfig::small()).unwrap();
        let raft = RaftLogEngine::open(dir.join("raft-engine"), &RaftEngineConfig::small()).unwrap();
        Engines::new(kv, raft)
    }

    #[test]
    fn only_keys_of_tidb_survive_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let engines = engines(dir.path());
        let ident = StoreIdent { cluster_id: 1, store_id: 2, api_version: ApiVersion::V1.into() };
        engines.kv.put_cf(CF_WRITE, b"zt\x80row", b"v").unwrap();
        check(&engines, ident, KvFormat::V1ttl).unwrap();
        check(&engines, ident, KvFormat::V2).unwrap();
        let stored: StoreIdent = engines.kv.get_msg(keys::STORE_IDENT_KEY).unwrap().unwrap();
        assert_eq!((stored.api_version(), stored.store_id), (ApiVersion::V2, 2));
        for key in [&b"za"[..], b"zn", b"zx\0\0\0k"] {
            engines.kv.put_cf(CF_DEFAULT, key, b"v").unwrap();
            let error = check(&engines, stored, KvFormat::V1).unwrap_err().to_string();
            let expected = format!(
                "from V2 to V1 because found data key that is not written by TiDB: {}",
                keys::hex_upper(&key[1..])
            );
            assert!(error.contains(&expected), "{error}");
            check(&engines, stored, KvFormat::V2).unwrap();
            engines.kv.delete_cf(CF_DEFAULT, key).unwrap();
        }
    }
}
