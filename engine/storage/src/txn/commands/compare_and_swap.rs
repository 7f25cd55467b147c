//! Compare-and-swap of one raw key under its latch.
use kvproto::kvrpcpb::Context;
use tikv_kv::{CfName, Modify, Snapshot};
use txn_types::{Key, TimeStamp, Value};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{errors::Result, types::ProcessResult};

/// Writes `value`, or deletes the key, if the key has `previous_value`. Always returns the old value.
///
/// TiKV: `commands/compare_and_swap.rs`.
#[derive(Clone, Debug)]
pub struct RawCompareAndSwap {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Column family.
    pub cf: CfName,
    /// Raw key from the request, unencoded.
    pub key: Key,
    /// `None`: the key must be absent.
    pub previous_value: Option<Value>,
    /// New value.
    pub value: Value,
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
    }
);

impl WriteCommand for RawCompareAndSwap {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let found = snapshot.get_cf(self.cf, &self.key)?;
        context.statistics.data.get += 1;
        let succeed = found == self.previous_value;
        let modify = match (succeed, self.delete) {
            (false, _) => None,
            (true, true) => found.is_some().then_some(Modify::Delete(self.cf, self.key)),
            (true, false) => Some(Modify::Put(self.cf, self.key, self.value)),
        };
        let pr = ProcessResult::RawCompareAndSwapRes { previous_value: found, succeed };
        Ok(WriteResult { modifies: modify.into_iter().collect(), after: pr.into(), lock_guards: Vec::new() })
    }
}
