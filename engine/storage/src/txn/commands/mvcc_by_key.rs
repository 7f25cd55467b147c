//! Reads all records of one key.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::Result, mvcc::MvccReader, txn::actions::mvcc::find_mvcc_infos_by_key, types::ProcessResult,
};

/// Read command without latches.
///
/// TiKV: `commands/mvcc_by_key.rs`.
#[derive(Clone, Debug)]
pub struct MvccByKey {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded key.
    pub key: Key,
}

impl From<kvrpcpb::MvccGetByKeyRequest> for MvccByKey {
    fn from(req: kvrpcpb::MvccGetByKeyRequest) -> Self {
        Self { ctx: req.context.unwrap_or_default(), key: Key::from_raw(&req.key) }
    }
}

command_ext!(
    MvccByKey, "key_mvcc", ctx: |cmd| &cmd.ctx, ts: |_| TimeStamp::zero(), keys: |_| Vec::new(),
    fn readonly(&self) -> bool {
        true
    }
);

impl WriteCommand for MvccByKey {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        tracepoints::step_thread!(FIND_MVCC_INFOS, context.req, key_len = self.key.len());
        let mut reader = MvccReader::new(snapshot, None, !self.ctx.not_fill_cache);
        let found = find_mvcc_infos_by_key(&mut reader, &self.key);
        context.statistics.add(&reader.statistics);
        Ok(WriteResult::read(ProcessResult::MvccKey { mvcc: found? }))
    }
}
