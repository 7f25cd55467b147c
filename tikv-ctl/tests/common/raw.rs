//! Makes data directories of API V1TTL and V2 with raw rows.
use std::path::Path;

use api_version::{KvFormat, RawValue};
use engine_rocks::{CF_DEFAULT, CF_LOCK, CF_RAFT, CF_WRITE};
use kvproto::{kvrpcpb::ApiVersion, raft_serverpb::StoreIdent};

use super::Store;

/// Time of expiry in the past and in the far future, in Unix seconds.
const PAST: u64 = 1_600_000_000;
const FUTURE: u64 = 32_503_680_000;

/// Writes a store whose raw rows never expire, have expired, will expire; of V2 also a deleted key, two versions of a
/// key, and a transactional key.
pub fn fill(dir: &Path, format: KvFormat) {
    let store = Store::open(dir);
    let ident = StoreIdent { cluster_id: 77, store_id: 1, api_version: ApiVersion::from(format).into() };
    store.kv.put_msg(keys::STORE_IDENT_KEY, &ident).unwrap();
    store.put_region(2, b"", b"");
    let put = |name: &str, ts, value: &[u8], expire_ts, is_delete| {
        let mode = if format == KvFormat::V2 { "r\0\0\0" } else { "" };
        let key = format.encode_raw_key(format!("{mode}{name}").into_bytes(), Some(ts));
        let value = format.encode_raw_value(RawValue { user_value: value.to_vec(), expire_ts, is_delete });
        store.kv.put_cf(CF_DEFAULT, &keys::data_key(&key), &value).unwrap();
    };
    put("never", 5 << 18, b"v", None, false);
    put("past", 6 << 18, b"old", Some(PAST), false);
    put("soon", 7 << 18, b"later\n", Some(FUTURE), false);
    if format == KvFormat::V2 {
        put("never", 8 << 18, b"newer", None, false);
        put("gone", 9 << 18, b"", None, true);
        store.put_version(b"xtxn", 10, 11, &[b'B'; 300]);
    } else {
        // Too short for the time of expiry.
        store.kv.put_cf(CF_DEFAULT, b"zshort", b"v").unwrap();
    }
    store.kv.flush_cfs(&[CF_DEFAULT, CF_LOCK, CF_WRITE, CF_RAFT], true).unwrap();
}
