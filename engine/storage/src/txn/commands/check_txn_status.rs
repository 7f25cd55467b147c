//! CheckTxnStatus: determines the status of a transaction from its primary key.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::Result,
    mvcc::ErrorInner,
    txn::actions::{
        check_txn_status::{
            MissingLockAction, StatusQuery, check_txn_status_lock_exists, check_txn_status_missing_lock,
        },
        common::{LockState, load_lock_state},
    },
    types::{ProcessResult, TxnStatus},
};

/// TiKV: `commands/check_txn_status.rs`.
#[derive(Clone, Debug)]
pub struct CheckTxnStatus {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded primary key of the transaction.
    pub primary_key: Key,
    /// Start timestamp of the transaction whose lock is meant.
    pub lock_ts: TimeStamp,
    /// The client's knowledge and question.
    pub query: StatusQuery,
}

impl From<kvrpcpb::CheckTxnStatusRequest> for CheckTxnStatus {
    fn from(req: kvrpcpb::CheckTxnStatusRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            primary_key: Key::from_raw(&req.primary_key),
            lock_ts: req.lock_ts.into(),
            query: StatusQuery {
                current_ts: req.current_ts.into(),
                caller_start_ts: req.caller_start_ts.into(),
                force_sync_commit: req.force_sync_commit,
                resolving_pessimistic_lock: req.resolving_pessimistic_lock,
                verify_is_primary: req.verify_is_primary,
                rollback_if_not_exist: req.rollback_if_not_exist,
            },
        }
    }
}

command_ext!(CheckTxnStatus, "check_txn_status", ts: lock_ts, keys: primary_key);

impl WriteCommand for CheckTxnStatus {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let (query, key) = (self.query, self.primary_key);
        let origin = self.ctx.request_origin();
        for ts in [self.lock_ts, query.current_ts, query.caller_start_ts] {
            context.concurrency_manager.update_max_ts_of(ts, "check_txn_status", origin)?;
        }
        let mut txn = context.txn(self.lock_ts);
        let txn_status = context.read(self.lock_ts, snapshot, &self.ctx, |reader| {
            match load_lock_state(&txn, reader, &key)? {
                LockState::Own(lock) => Ok(check_txn_status_lock_exists(&mut txn, reader, key, lock, query)?),
                LockState::Shared(shared) => {
                    // A shared key is never a primary.
                    let info = shared.into_lock_info(key.to_raw()?);
                    Err(crate::mvcc::Error::from(ErrorInner::PrimaryMismatch(Box::new(info))).into())
                }
                state => {
                    let (other, resolving) = (state.other(), query.resolving_pessimistic_lock);
                    let action = MissingLockAction::rollback(query.rollback_if_not_exist);
                    Ok(check_txn_status_missing_lock(&mut txn, reader, key, other, action, resolving)?)
                }
            }
        })?;
        let committed = match &txn_status {
            TxnStatus::Committed { commit_ts } => Some((self.lock_ts, *commit_ts)),
            _ => None,
        };
        Ok(WriteResult::new(txn, ProcessResult::TxnStatus { txn_status }).with_committed(committed))
    }
}
