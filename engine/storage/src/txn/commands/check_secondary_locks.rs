//! CheckSecondaryLocks: whether an async-commit transaction has locked all of its keys.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, Lock, TimeStamp, WriteType};

use super::{WriteCommand, WriteContext, WriteResult, command_ext, encode_keys};
use crate::{
    errors::Result,
    mvcc::{MvccTxn, OverlappedWrite, SnapshotReader, TxnCommitRecord, facts},
    txn::actions::{
        check_txn_status::{collapse_prev_rollback, make_rollback},
        common::{LockState, load_lock_state},
    },
    types::{ProcessResult, SecondaryLocksStatus},
};

/// TiKV: `commands/check_secondary_locks.rs`.
#[derive(Clone, Debug)]
pub struct CheckSecondaryLocks {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded keys.
    pub keys: Vec<Key>,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
}

impl From<kvrpcpb::CheckSecondaryLocksRequest> for CheckSecondaryLocks {
    fn from(req: kvrpcpb::CheckSecondaryLocksRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            keys: encode_keys(req.keys),
            start_ts: req.start_version.into(),
        }
    }
}

command_ext!(CheckSecondaryLocks, "check_secondary_locks", ts: start_ts, keys: keys);

enum SecondaryLockStatus {
    Locked(Lock),
    Committed(TimeStamp),
    RolledBack,
}

impl WriteCommand for CheckSecondaryLocks {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let origin = self.ctx.request_origin();
        context.concurrency_manager.update_max_ts_of(self.start_ts, "check_secondary_locks", origin)?;
        let mut txn = context.txn(self.start_ts);
        let mut status = SecondaryLocksStatus::Locked(Vec::new());
        context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            for key in self.keys {
                match check_one(&mut txn, reader, &key)? {
                    SecondaryLockStatus::Locked(lock) => {
                        if let SecondaryLocksStatus::Locked(locks) = &mut status {
                            locks.push(lock.into_lock_info(key.to_raw()?));
                        }
                    }
                    SecondaryLockStatus::Committed(commit_ts) => {
                        status = SecondaryLocksStatus::Committed(commit_ts);
                        return Ok(());
                    }
                    SecondaryLockStatus::RolledBack => {
                        status = SecondaryLocksStatus::RolledBack;
                        return Ok(());
                    }
                }
            }
            Ok(())
        })?;
        let committed = match &status {
            SecondaryLocksStatus::Committed(commit_ts) => Some((self.start_ts, *commit_ts)),
            _ => None,
        };
        Ok(WriteResult::new(txn, ProcessResult::SecondaryLocksStatus { status }).with_committed(committed))
    }
}

/// Checks one key. If the transaction has no lock and no record there, writes a protected rollback.
fn check_one<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
) -> Result<SecondaryLockStatus> {
    let state = load_lock_state(txn, reader, key)?;
    let prewritten = matches!(&state, LockState::Own(lock) if !lock.is_pessimistic_lock());
    tracepoints::step_inside!(
        CHECK_SECONDARY_LOCK,
        txn.req,
        facts::change("Secondary", key).ts("start_ts", reader.start_ts.into_inner()).outcome(if prewritten {
            "prewritten"
        } else {
            "not prewritten"
        }),
        start_ts = reader.start_ts.into_inner(),
        found = prewritten,
    );
    let mismatch_lock = match state {
        LockState::Own(lock) if !lock.is_pessimistic_lock() => return Ok(SecondaryLockStatus::Locked(lock)),
        // Only locked, never prewritten: the transaction can no longer be committed.
        LockState::Own(_) => {
            txn.unlock_key(key.clone(), true, TimeStamp::zero());
            None
        }
        state => state.other(),
    };
    let overlapped_write = match reader.get_txn_commit_record(key)? {
        TxnCommitRecord::SingleRecord { write, commit_ts } if write.write_type != WriteType::Rollback => {
            return Ok(SecondaryLockStatus::Committed(commit_ts));
        }
        TxnCommitRecord::None { overlapped_write } => overlapped_write,
        _ => return Ok(SecondaryLockStatus::RolledBack),
    };
    leave_rollback(txn, reader, key, mismatch_lock, overlapped_write)?;
    Ok(SecondaryLockStatus::RolledBack)
}

fn leave_rollback<S: Snapshot>(
    txn: &mut MvccTxn,
    reader: &mut SnapshotReader<S>,
    key: &Key,
    mismatch_lock: Option<Lock>,
    overlapped_write: Option<OverlappedWrite>,
) -> Result<()> {
    if let Some(lock) = mismatch_lock {
        txn.mark_rollback_on_mismatching_lock(key, lock, true);
    }
    if let Some(write) = make_rollback(reader.start_ts, true, overlapped_write) {
        txn.put_write(key.clone(), reader.start_ts, &write);
        collapse_prev_rollback(txn, reader, key)?;
    }
    Ok(())
}
