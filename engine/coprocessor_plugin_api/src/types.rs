//! Keys and values.

/// A raw key.
pub type Key = Vec<u8>;
/// The value of a raw key.
pub type Value = Vec<u8>;
/// A raw key and its value.
pub type KvPair = (Key, Value);
