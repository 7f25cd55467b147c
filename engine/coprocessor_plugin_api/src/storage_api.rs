//! The storage that a plugin sees.
use std::ops::Range;

use futures::future::LocalBoxFuture;

use crate::{
    errors::PluginResult,
    types::{Key, KvPair, Value},
};

/// A running operation. A plugin waits for it with `futures::executor::block_on`.
pub type StorageFuture<'a, T> = LocalBoxFuture<'a, PluginResult<T>>;

/// The raw data of the region of a request, in CF default. Each operation is atomic; several are not, and have no
/// snapshot in common. Writes have no time to live. Every operation fails if the region's leader has changed, or if
/// a key is outside of the region.
pub trait RawStorage {
    /// Reads the value of a key; `None` if it has none.
    fn get(&self, key: Key) -> StorageFuture<'_, Option<Value>>;

    /// Reads several keys; omits those without a value.
    fn batch_get(&self, keys: Vec<Key>) -> StorageFuture<'_, Vec<KvPair>>;

    /// Reads all keys from the start to the end (excluded).
    fn scan(&self, key_range: Range<Key>) -> StorageFuture<'_, Vec<KvPair>>;

    /// Writes a value.
    fn put(&self, key: Key, value: Value) -> StorageFuture<'_, ()>;

    /// Writes several values, all or none.
    fn batch_put(&self, kv_pairs: Vec<KvPair>) -> StorageFuture<'_, ()>;

    /// Deletes a key; a key without a value is no error.
    fn delete(&self, key: Key) -> StorageFuture<'_, ()>;

    /// Deletes several keys, all or none.
    fn batch_delete(&self, keys: Vec<Key>) -> StorageFuture<'_, ()>;

    /// Deletes all keys from the start to the end (excluded).
    fn delete_range(&self, key_range: Range<Key>) -> StorageFuture<'_, ()>;
}
