//! Rollback of several keys: BatchRollback on the wire.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext, encode_keys};
use crate::{errors::Result, txn::actions::cleanup::cleanup, types::ProcessResult};

/// TiKV: `commands/rollback.rs`.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded keys.
    pub keys: Vec<Key>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
}

impl From<kvrpcpb::BatchRollbackRequest> for Rollback {
    fn from(req: kvrpcpb::BatchRollbackRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            keys: encode_keys(req.keys),
            start_ts: req.start_version.into(),
        }
    }
}

command_ext!(Rollback, "rollback", ts: start_ts, keys: keys);

impl WriteCommand for Rollback {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let mut txn = context.txn(self.start_ts);
        context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            for key in self.keys {
                // The client itself rolls back and will not commit, so the rollback needs no protection.
                cleanup(&mut txn, reader, key, TimeStamp::zero(), false)?;
            }
            Ok(())
        })?;
        Ok(WriteResult::new(txn, ProcessResult::Res))
    }
}
