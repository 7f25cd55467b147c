//! Compare-and-swap of one raw key under its latch.
use api_version::KvFormat;
use kvproto::kvrpcpb::Context;
use tikv_kv::{CfName, Modify, Snapshot};
use txn_types::{Key, TimeStamp, Value};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::Result,
    raw::{RawStore, delete_encoded, encode_value},
    types::ProcessResult,
};

/// Writes `value`, or deletes the key, if the key has `previous_value`. Always returns the old value.
///
/// TiKV: `commands/compare_and_swap.rs`.
#[derive(Clone, Debug)]
pub struct RawCompareAndSwap {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Column family.
    pub cf: CfName,
    /// Encoded raw key, without a timestamp.
    pub key: Key,
    /// `None`: the key must be absent.
    pub previous_value: Option<Value>,
    /// New value.
    pub value: Value,
    /// Time to live of the new value in seconds, 0 for none.
    pub ttl: u64,
    /// Encoding of the store.
    pub api_version: KvFormat,
    /// Whether to delete the key instead of writing `value`.
    pub delete: bool,
}

command_ext!(
    RawCompareAndSwap, "raw_compare_and_swap", ctx: |cmd| &cmd.ctx, ts: |_| TimeStamp::zero(),
    keys: |cmd| vec![&cmd.key],
    fn write_bytes(&self) -> usize {
        self.key.len() + if self.delete { 0 } else { self.value.len() }
    },
    fn has_versions(&self) -> bool {
        false
    },
    fn needs_raw_ext(&self) -> bool {
        true
    }
);

impl WriteCommand for RawCompareAndSwap {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let Self { cf, key, previous_value, value, ttl, api_version, delete, .. } = self;
        let WriteContext { req, statistics, raw_ext, .. } = context;
        let found = RawStore::new(snapshot, api_version, req).get_encoded(cf, &key, statistics)?;
        let succeed = found == previous_value;
        tracepoints::step_thread!(
            RAW_COMPARE,
            req,
            found = found.is_some(),
            ok = succeed,
            key_len = key.len()
        );
        let version = |key: Key| match &raw_ext {
            Some(ext) => key.append_ts(ext.ts),
            None => key,
        };
        let modify = match (succeed, delete) {
            (false, _) => None,
            (true, true) => found.is_some().then(|| delete_encoded(api_version, cf, version(key))),
            (true, false) => Some(Modify::Put(cf, version(key), encode_value(api_version, value, ttl))),
        };
        let pr = ProcessResult::RawCompareAndSwapRes { previous_value: found, succeed };
        Ok(WriteResult::raw(modify.into_iter().collect(), pr, raw_ext))
    }
}
