//! Searches the first key with a record of a transaction.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::TimeStamp;

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::Result,
    mvcc::{MvccReader, ScanMode},
    txn::actions::mvcc::find_mvcc_infos_by_key,
    types::ProcessResult,
};

/// Read command without latches, which reads every write record of the region.
///
/// TiKV: `commands/mvcc_by_start_ts.rs`.
#[derive(Clone, Debug)]
pub struct MvccByStartTs {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
}

impl From<kvrpcpb::MvccGetByStartTsRequest> for MvccByStartTs {
    fn from(req: kvrpcpb::MvccGetByStartTsRequest) -> Self {
        Self { ctx: req.context.unwrap_or_default(), start_ts: req.start_ts.into() }
    }
}

command_ext!(
    MvccByStartTs, "start_ts_mvcc", ctx: |cmd| &cmd.ctx, ts: |cmd| cmd.start_ts, keys: |_| Vec::new(),
    fn readonly(&self) -> bool {
        true
    }
);

impl WriteCommand for MvccByStartTs {
    fn process_write<S: Snapshot>(self, snapshot: S, context: WriteContext<'_>) -> Result<WriteResult> {
        tracepoints::step_thread!(SEEK_TS, context.req, ts = self.start_ts.into_inner());
        let mut reader = MvccReader::new(snapshot, Some(ScanMode::Forward), !self.ctx.not_fill_cache);
        let found = reader.seek_ts(self.start_ts).and_then(|key| {
            let Some(key) = key else { return Ok(None) };
            tracepoints::step_thread!(FIND_MVCC_INFOS, context.req, key_len = key.len());
            let mvcc = find_mvcc_infos_by_key(&mut reader, &key)?;
            Ok(Some((key, mvcc)))
        });
        context.statistics.add(&reader.statistics);
        Ok(WriteResult::read(ProcessResult::MvccStartTs { mvcc: found? }))
    }
}
