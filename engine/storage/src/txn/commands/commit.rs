//! Commit: the second phase.
use kvproto::kvrpcpb::{self, CommitRole, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext, encode_keys};
use crate::{
    errors::{ErrorInner, Result},
    txn::actions::commit::commit,
    types::{ProcessResult, TxnStatus},
};

/// TiKV: `commands/commit.rs`.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded keys.
    pub keys: Vec<Key>,
    /// Start timestamp of the transaction whose lock is meant.
    pub lock_ts: TimeStamp,
    /// Commit timestamp of the transaction.
    pub commit_ts: TimeStamp,
    /// Role of the keys. Only an error depends on it.
    pub commit_role: CommitRole,
}

impl From<kvrpcpb::CommitRequest> for Commit {
    fn from(req: kvrpcpb::CommitRequest) -> Self {
        let commit_role = req.commit_role();
        Self {
            ctx: req.context.unwrap_or_default(),
            keys: encode_keys(req.keys),
            lock_ts: req.start_version.into(),
            commit_ts: req.commit_version.into(),
            commit_role,
        }
    }
}

command_ext!(Commit, "commit", ts: lock_ts, keys: keys);

impl WriteCommand for Commit {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let (start_ts, commit_ts) = (self.lock_ts, self.commit_ts);
        if commit_ts <= start_ts {
            return Err(ErrorInner::InvalidTxnTso { start_ts, commit_ts }.into());
        }
        let mut txn = context.txn(start_ts);
        context.read(start_ts, snapshot, &self.ctx, |reader| {
            for key in self.keys {
                commit(&mut txn, reader, key, commit_ts, self.commit_role)?;
            }
            Ok(())
        })?;
        let txn_status = TxnStatus::Committed { commit_ts };
        let result = WriteResult::new(txn, ProcessResult::TxnStatus { txn_status });
        Ok(result.with_committed([(start_ts, commit_ts)]))
    }
}
