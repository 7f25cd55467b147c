//! AcquirePessimisticLock: locks keys before they are written.
use kvproto::kvrpcpb::{self, Assertion, Context, Op};
use tikv_kv::Snapshot;
use txn_types::{Key, TimeStamp};

use super::{CommandExt, WriteCommand, WriteContext, WriteResult};
use crate::{
    errors::{Error, ErrorInner, Result},
    txn::actions::acquire_pessimistic_lock::{PessimisticLockProperties, acquire_pessimistic_lock},
    types::{PessimisticLockResults, ProcessResult},
};

/// TiKV: `commands/acquire_pessimistic_lock.rs`. A key that is locked by another transaction is answered at
/// once, as TiKV does for a `wait_timeout` below zero: clients resolve the lock, or wait and retry.
#[derive(Clone, Debug)]
pub struct AcquirePessimisticLock {
    pub ctx: Context,
    /// And whether the key must not exist.
    pub keys: Vec<(Key, bool)>,
    /// Raw.
    pub primary: Vec<u8>,
    pub start_ts: TimeStamp,
    pub lock_ttl: u64,
    pub for_update_ts: TimeStamp,
    pub min_commit_ts: TimeStamp,
    pub return_values: bool,
    pub check_existence: bool,
    pub lock_only_if_exists: bool,
}

impl TryFrom<kvrpcpb::PessimisticLockRequest> for AcquirePessimisticLock {
    type Error = Error;

    /// Fails where a mutation asks for anything but a pessimistic lock.
    fn try_from(req: kvrpcpb::PessimisticLockRequest) -> Result<Self> {
        let key = |m: &kvrpcpb::Mutation| match m.op() {
            Op::PessimisticLock => Ok((Key::from_raw(&m.key), m.assertion() == Assertion::NotExist)),
            other => {
                let what =
                    format!("a pessimistic lock request wants PessimisticLock mutations, has {other:?}");
                Err(Error::from(ErrorInner::InvalidRequest(txn_types::Error::InvalidOperation(what))))
            }
        };
        Ok(Self {
            keys: req.mutations.iter().map(key).collect::<Result<_>>()?,
            ctx: req.context.unwrap_or_default(),
            primary: req.primary_lock,
            start_ts: req.start_version.into(),
            lock_ttl: req.lock_ttl,
            for_update_ts: req.for_update_ts.into(),
            min_commit_ts: req.min_commit_ts.into(),
            return_values: req.return_values,
            check_existence: req.check_existence,
            lock_only_if_exists: req.lock_only_if_exists,
        })
    }
}

impl CommandExt for AcquirePessimisticLock {
    fn ctx(&self) -> &Context {
        &self.ctx
    }
    fn tag(&self) -> &'static str {
        "acquire_pessimistic_lock"
    }
    fn ts(&self) -> TimeStamp {
        self.start_ts
    }
    fn latch_keys(&self) -> Vec<&Key> {
        self.keys.iter().map(|(key, _)| key).collect()
    }
}

impl WriteCommand for AcquirePessimisticLock {
    fn process_write<S: Snapshot>(self, snapshot: S, mut context: WriteContext<'_>) -> Result<WriteResult> {
        let mut txn = context.txn(self.start_ts);
        let props = PessimisticLockProperties {
            primary: &self.primary,
            lock_ttl: self.lock_ttl,
            for_update_ts: self.for_update_ts,
            need_value: self.return_values,
            need_check_existence: self.check_existence,
            min_commit_ts: self.min_commit_ts,
            lock_only_if_exists: self.lock_only_if_exists,
        };
        let results = context.read(self.start_ts, snapshot, &self.ctx, |reader| {
            let lock = |(key, absent)| Ok(acquire_pessimistic_lock(&mut txn, reader, key, absent, &props)?);
            self.keys.into_iter().map(lock).collect::<Result<Vec<_>>>()
        })?;
        let res = PessimisticLockResults(results);
        Ok(WriteResult::new(txn, ProcessResult::PessimisticLockRes { res }))
    }
}
