//! Puts and deletes of raw keys under latches, which serialize them with compare-and-swaps.
use kvproto::kvrpcpb::Context;
use tikv_kv::{Modify, Snapshot};
use txn_types::{Key, TimeStamp};

use super::{CommandExt, WriteCommand, WriteContext, WriteResult};
use crate::{errors::Result, types::ProcessResult};

/// TiKV: `commands/atomic_store.rs`.
#[derive(Clone, Debug)]
pub struct RawAtomicStore {
    pub ctx: Context,
    pub mutations: Vec<Modify>,
}

impl CommandExt for RawAtomicStore {
    fn ctx(&self) -> &Context {
        &self.ctx
    }
    fn tag(&self) -> &'static str {
        "raw_atomic_store"
    }
    fn ts(&self) -> TimeStamp {
        TimeStamp::zero()
    }
    fn latch_keys(&self) -> Vec<&Key> {
        self.mutations.iter().map(Modify::key).collect()
    }
    fn write_bytes(&self) -> usize {
        self.mutations.iter().map(Modify::size).sum()
    }
    fn has_versions(&self) -> bool {
        false
    }
}

impl WriteCommand for RawAtomicStore {
    fn process_write<S: Snapshot>(self, _: S, _: WriteContext<'_>) -> Result<WriteResult> {
        Ok(WriteResult { modifies: self.mutations, pr: ProcessResult::Res, lock_guards: Vec::new() })
    }
}
