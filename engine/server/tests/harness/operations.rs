//! A plugin for tests: each request is the name of one operation of the storage, with its arguments.
use std::ops::Range;

use coprocessor_plugin_api::{
    CoprocessorPlugin, Key, KvPair, PluginResult, RawRequest, RawResponse, RawStorage, declare_plugin,
};
use futures::executor::block_on;

struct Operations;

/// Formats pairs as `key=value key=value`.
fn text(pairs: Vec<KvPair>) -> Vec<u8> {
    let pair = |(key, value): KvPair| [key, b"=".to_vec(), value].concat();
    pairs.into_iter().map(pair).collect::<Vec<_>>().join(&b' ')
}

fn pairs(words: &[Key]) -> Vec<KvPair> {
    words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn range(words: &[Key]) -> Range<Key> {
    words[0].clone()..words[1].clone()
}

impl CoprocessorPlugin for Operations {
    fn on_raw_coprocessor_request(
        &self,
        ranges: Vec<Range<Key>>,
        request: RawRequest,
        storage: &dyn RawStorage,
    ) -> PluginResult<RawResponse> {
        let words: Vec<Key> = request.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect();
        let (operation, words) = words.split_first().unwrap();
        let done = |()| b"ok".to_vec();
        match operation.as_slice() {
            b"get" => block_on(storage.get(words[0].clone())).map(|v| v.unwrap_or_else(|| b"none".to_vec())),
            b"batch_get" => block_on(storage.batch_get(words.to_vec())).map(text),
            b"scan" => block_on(storage.scan(range(words))).map(text),
            b"put" => block_on(storage.put(words[0].clone(), words[1].clone())).map(done),
            b"batch_put" => block_on(storage.batch_put(pairs(words))).map(done),
            b"delete" => block_on(storage.delete(words[0].clone())).map(done),
            b"batch_delete" => block_on(storage.batch_delete(words.to_vec())).map(done),
            b"delete_range" => block_on(storage.delete_range(range(words))).map(done),
            b"ranges" => Ok(text(ranges.into_iter().map(|range| (range.start, range.end)).collect())),
            _ => panic!("expected an operation, found {}", String::from_utf8_lossy(operation)),
        }
    }
}

declare_plugin!("operations", "1.2.0", Operations);
