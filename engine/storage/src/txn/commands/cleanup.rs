//! Cleanup: rolls back one key if its lock's TTL has expired.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{errors::Result, txn::actions::cleanup::cleanup, types::ProcessResult};

/// TiKV: `commands/cleanup.rs`.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded key.
    pub key: Key,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Zero: regardless of the TTL.
    pub current_ts: TimeStamp,
}

impl From<kvrpcpb::CleanupRequest> for Cleanup {
    fn from(req: kvrpcpb::CleanupRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            key: Key::from_raw(&req.key),
            start_ts: req.start_version.into(),
            current_ts: req.current_ts.into(),
        }
    }
}

command_ext!(Cleanup, "cleanup", ts: start_ts, keys: key);

impl WriteCommand for Cleanup {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        // A later commit record must not overwrite the protected rollback record, so it must be above.
        let origin = self.ctx.request_origin();
        context.concurrency_manager.update_max_ts_of(self.start_ts, "cleanup", origin)?;
        let mut txn = context.txn(self.start_ts);
        context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            // Another transaction rolls this one back: a late prewrite must find the record.
            Ok(cleanup(&mut txn, reader, self.key, self.current_ts, true)?)
        })?;
        Ok(WriteResult::new(txn, ProcessResult::Res))
    }
}
