//! Errors of the storage that a plugin sees.
use std::{any::Any, time::Duration};

use crate::types::Key;

/// Result of the operations of a [`RawStorage`](crate::RawStorage).
pub type PluginResult<T> = Result<T, PluginError>;

/// Error of an operation of a [`RawStorage`](crate::RawStorage). A plugin reports errors of its own in its reply.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The region of the request does not have the key.
    #[error("Key {key:?} not found in region {region_id:?}")]
    KeyNotInRegion {
        /// The key.
        key: Key,
        /// Id of the region of the request.
        region_id: u64,
        /// First key of the region.
        start_key: Key,
        /// End of the region, excluded; empty: unbounded.
        end_key: Key,
    },
    /// The store did not answer within this time.
    #[error("timeout after {0:?}")]
    Timeout(Duration),
    /// The store stops.
    #[error("request canceled")]
    Canceled,
    /// Any other error, as text and as the store's own type. A plugin must return it: the client may send the
    /// request again.
    #[error("{0}")]
    Other(String, Box<dyn Any>),
}
