//! TxnHeartBeat: extends the TTL of the primary's lock.
use kvproto::kvrpcpb::{self, Context};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{WriteCommand, WriteContext, WriteResult, command_ext};
use crate::{
    errors::Result,
    mvcc::{ErrorInner, facts},
    txn::actions::common::{LockState, load_lock_state},
    types::{ProcessResult, TxnStatus},
};

/// TiKV: `commands/txn_heart_beat.rs`.
#[derive(Clone, Debug)]
pub struct TxnHeartBeat {
    /// The request's context: region, peer, epoch and options.
    pub ctx: Context,
    /// Encoded primary key of the transaction.
    pub primary_key: Key,
    /// Start timestamp of the transaction.
    pub start_ts: TimeStamp,
    /// Milliseconds.
    pub advise_ttl: u64,
    /// For pipelined transactions; zero for others.
    pub min_commit_ts: TimeStamp,
}

impl From<kvrpcpb::TxnHeartBeatRequest> for TxnHeartBeat {
    fn from(req: kvrpcpb::TxnHeartBeatRequest) -> Self {
        Self {
            ctx: req.context.unwrap_or_default(),
            primary_key: Key::from_raw(&req.primary_lock),
            start_ts: req.start_version.into(),
            advise_ttl: req.advise_lock_ttl,
            min_commit_ts: req.min_commit_ts.into(),
        }
    }
}

command_ext!(TxnHeartBeat, "txn_heart_beat", ts: start_ts, keys: primary_key);

impl WriteCommand for TxnHeartBeat {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let (start_ts, key) = (self.start_ts, self.primary_key);
        let mut txn = context.txn(start_ts);
        let lock = context.read(start_ts, snapshot, &self.ctx, |reader| {
            let mut lock = match load_lock_state(&txn, reader, &key)? {
                LockState::Own(lock) => lock,
                // A shared key is never a primary.
                LockState::Shared(shared) if shared.contains_start_ts(start_ts) => {
                    let info = Box::new(shared.into_lock_info(key.to_raw()?));
                    return Err(crate::mvcc::Error::from(ErrorInner::PrimaryMismatch(info)).into());
                }
                _ => {
                    let key = key.to_raw()?;
                    return Err(crate::mvcc::Error::from(ErrorInner::TxnNotFound { start_ts, key }).into());
                }
            };
            let pushes =
                lock.generation > 0 && !lock.use_async_commit && lock.min_commit_ts < self.min_commit_ts;
            let extends = lock.ttl < self.advise_ttl || pushes;
            tracepoints::step_inside!(
                HEART_BEAT_CHECK_TTL,
                txn.req,
                facts::lock_rows(facts::change("Lock's time to live", &key), &lock)
                    .number("advised ttl_ms", self.advise_ttl)
                    .outcome(if extends { "extended" } else { "long enough" }),
                start_ts = start_ts.into_inner(),
                lock_ttl = lock.ttl,
                advised_ttl = self.advise_ttl,
            );
            if extends {
                lock.ttl = lock.ttl.max(self.advise_ttl);
                if pushes {
                    lock.min_commit_ts = self.min_commit_ts;
                }
                txn.put_lock(key, &lock);
            }
            Ok(lock)
        })?;
        let txn_status = TxnStatus::Uncommitted { lock, min_commit_ts_pushed: false };
        Ok(WriteResult::new(txn, ProcessResult::TxnStatus { txn_status }))
    }
}
