//! Puts and deletes of raw keys under latches, which serialize them with compare-and-swaps.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Modify, Snapshot};
use txn_types::TimeStamp;

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{errors::Result, types::ProcessResult};

/// TiKV: `commands/atomic_store.rs`.
#[derive(Clone, Debug)]
pub struct RawAtomicStore {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Puts and deletes of encoded raw keys, without timestamps.
    pub mutations: Vec<Modify>,
}

command_ext!(
    RawAtomicStore, "raw_atomic_store", ctx: |cmd| &cmd.ctx, ts: |_| TimeStamp::zero(),
    keys: |cmd| cmd.mutations.iter().map(Modify::key).collect(),
    fn write_bytes(&self) -> usize {
        self.mutations.iter().map(Modify::size).sum()
    },
    fn has_versions(&self) -> bool {
        false
    },
    fn needs_raw_ext(&self) -> bool {
        true
    }
);

impl WriteCommand for RawAtomicStore {
    fn process_write<S: Snapshot>(self, _: S, context: WriteContext<'_>) -> Result<WriteResult> {
        let mut modifies = self.mutations;
        if let Some(ext) = &context.raw_ext {
            for modify in &mut modifies {
                if let Modify::Put(_, key, _) = modify {
                    key.append_ts_inplace(ext.ts);
                }
            }
        }
        Ok(WriteResult::raw(modifies, ProcessResult::Res, context.raw_ext))
    }
}
