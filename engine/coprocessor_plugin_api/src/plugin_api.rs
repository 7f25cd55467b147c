//! The trait that a plugin implements.
use std::ops::Range;

use crate::{errors::PluginResult, storage_api::RawStorage, types::Key};

/// The bytes of a request, which the plugin decodes.
pub type RawRequest = Vec<u8>;
/// The bytes of a reply, which the client decodes.
pub type RawResponse = Vec<u8>;

/// Code of a user that runs inside of a store. One plugin runs several requests at a time.
pub trait CoprocessorPlugin: Send + Sync {
    /// Answers one request: `ranges` and `request` are the client's, `storage` is the raw data of the region of the
    /// request. It blocks its thread until the reply is complete.
    ///
    /// # Errors
    /// An error of `storage`, which goes to the client.
    fn on_raw_coprocessor_request(
        &self,
        ranges: Vec<Range<Key>>,
        request: RawRequest,
        storage: &dyn RawStorage,
    ) -> PluginResult<RawResponse>;
}
