//! A plugin for the raw coprocessor: counts the raw keys of the ranges of a request.
use std::ops::Range;

use coprocessor_plugin_api::{
    CoprocessorPlugin, Key, PluginResult, RawRequest, RawResponse, RawStorage, declare_plugin,
};

struct CountKeys;

impl CoprocessorPlugin for CountKeys {
    fn on_raw_coprocessor_request(
        &self,
        ranges: Vec<Range<Key>>,
        _request: RawRequest,
        storage: &dyn RawStorage,
    ) -> PluginResult<RawResponse> {
        let mut count = 0;
        for range in ranges {
            count += futures::executor::block_on(storage.scan(range))?.len();
        }
        Ok(count.to_string().into_bytes())
    }
}

declare_plugin!("count_keys", "1.0.0", CountKeys);
