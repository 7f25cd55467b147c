//! The storage that a plugin sees: raw commands of this store, with the context of the request.
use std::{ops::Range, time::Duration};

use coprocessor_plugin_api::{Key, KvPair, PluginError, RawStorage, StorageFuture, Value};
use futures::{FutureExt, TryFutureExt};
use kvproto::kvrpcpb::Context;
use tracepoints::Req;

use crate::Storage;

/// The storage of one request.
pub struct RawStorageImpl {
    context: Context,
    storage: Storage,
    req: Req,
}

impl RawStorageImpl {
    /// Creates the storage of the request with `context`.
    pub fn new(context: Context, storage: Storage, req: Req) -> Self {
        Self { context, storage, req }
    }
}

/// The column family of all operations: default.
fn cf() -> String {
    String::new()
}

impl RawStorage for RawStorageImpl {
    fn get(&self, key: Key) -> StorageFuture<'_, Option<Value>> {
        let read = self.storage.raw_get(self.context.clone(), cf(), key, self.req);
        read.map_ok(|(value, _)| value).map_err(to_plugin_error).boxed_local()
    }

    fn batch_get(&self, keys: Vec<Key>) -> StorageFuture<'_, Vec<KvPair>> {
        let read = self.storage.raw_batch_get(self.context.clone(), cf(), keys, self.req);
        read.map_ok(|(pairs, _)| pairs).map_err(to_plugin_error).boxed_local()
    }

    fn scan(&self, key_range: Range<Key>) -> StorageFuture<'_, Vec<KvPair>> {
        let Range { start, end } = key_range;
        let (context, limit) = (self.context.clone(), usize::MAX);
        let read = self.storage.raw_scan(context, cf(), start, end, limit, false, false, self.req);
        read.map_ok(|(pairs, _)| pairs).map_err(to_plugin_error).boxed_local()
    }

    fn put(&self, key: Key, value: Value) -> StorageFuture<'_, ()> {
        let write = self.storage.raw_put(self.context.clone(), cf(), key, value, 0, self.req);
        write.map_err(to_plugin_error).boxed_local()
    }

    fn batch_put(&self, kv_pairs: Vec<KvPair>) -> StorageFuture<'_, ()> {
        let ttls = vec![0; kv_pairs.len()];
        let write = self.storage.raw_batch_put(self.context.clone(), cf(), kv_pairs, ttls, self.req);
        write.map_err(to_plugin_error).boxed_local()
    }

    fn delete(&self, key: Key) -> StorageFuture<'_, ()> {
        let write = self.storage.raw_delete(self.context.clone(), cf(), key, self.req);
        write.map_err(to_plugin_error).boxed_local()
    }

    fn batch_delete(&self, keys: Vec<Key>) -> StorageFuture<'_, ()> {
        let write = self.storage.raw_batch_delete(self.context.clone(), cf(), keys, self.req);
        write.map_err(to_plugin_error).boxed_local()
    }

    fn delete_range(&self, key_range: Range<Key>) -> StorageFuture<'_, ()> {
        let Range { start, end } = key_range;
        let write = self.storage.raw_delete_range(self.context.clone(), cf(), start, end, self.req);
        write.map_err(to_plugin_error).boxed_local()
    }
}

/// Converts an error; one that a plugin does not know keeps its type for the client's reply.
///
/// TiKV: `PluginErrorShim`.
fn to_plugin_error(error: storage::Error) -> PluginError {
    if let storage::ErrorInner::Kv(kv) = &*error.0 {
        match &*kv.0 {
            tikv_kv::ErrorInner::Request(request) => {
                if let Some(outside) = &request.key_not_in_region {
                    return PluginError::KeyNotInRegion {
                        key: outside.key.clone(),
                        region_id: outside.region_id,
                        start_key: outside.start_key.clone(),
                        end_key: outside.end_key.clone(),
                    };
                }
            }
            tikv_kv::ErrorInner::Timeout(ms) => return PluginError::Timeout(Duration::from_millis(*ms)),
            _ => {}
        }
    }
    match *error.0 {
        storage::ErrorInner::Closed => PluginError::Canceled,
        _ => PluginError::Other(error.to_string(), Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use kvproto::errorpb;

    use super::*;

    fn converted(inner: tikv_kv::ErrorInner) -> PluginError {
        to_plugin_error(tikv_kv::Error::from(inner).into())
    }

    #[test]
    fn errors_that_plugins_know_have_their_own_kind() {
        let key_not_in_region = Some(errorpb::KeyNotInRegion {
            key: b"k".to_vec(),
            region_id: 7,
            start_key: b"a".to_vec(),
            end_key: b"b".to_vec(),
        });
        let outside = errorpb::Error { key_not_in_region, ..Default::default() };
        let error = converted(tikv_kv::ErrorInner::Request(outside));
        assert_eq!(error.to_string(), "Key [107] not found in region 7");
        assert_eq!(converted(tikv_kv::ErrorInner::Timeout(1500)).to_string(), "timeout after 1.5s");
        assert_eq!(to_plugin_error(storage::ErrorInner::Closed.into()).to_string(), "request canceled");
        let not_leader = errorpb::Error { not_leader: Some(Default::default()), ..Default::default() };
        assert!(matches!(
            converted(tikv_kv::ErrorInner::Request(not_leader)),
            PluginError::Other(_, any) if any.is::<storage::Error>()
        ));
    }
}
