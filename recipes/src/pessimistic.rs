//! Pessimistic transactions of a scenario. The runner sends their requests itself, since the TiKV client has no
//! call for fair locking, no-wait or a wait of a given time.
use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use kvproto::kvrpcpb::{
    Op, PessimisticLockKeyResultType, PessimisticLockRequest, PessimisticLockWakeUpMode, PrewriteRequest,
    prewrite_request::PessimisticAction,
};
use tracepoints::printable::escape_readable;

use crate::rpc::{LOCK_TTL_MS, Replica, error_text, mutation, no_region_error};

/// A transaction.
#[derive(Clone, Debug)]
pub struct Txn {
    start_ts: u64,
    /// The keys that it has locked or tried to lock, and whether it shares the lock. The first one is the primary.
    keys: Vec<(Vec<u8>, bool)>,
}

impl Txn {
    /// Begins a transaction.
    pub fn new(start_ts: u64) -> Self {
        Self { start_ts, keys: Vec::new() }
    }

    /// Makes the call of the key's leader that locks `key`. `wait_ms`: as `wait_timeout` of the request; `shared`:
    /// others may share the lock.
    pub fn lock(
        &mut self,
        (key, shared): (&[u8], bool),
        leader: Replica,
        for_update_ts: u64,
        (wait_ms, fair): (i64, bool),
    ) -> BoxFuture<'static, Result<String>> {
        let is_first_lock = self.keys.is_empty();
        if !self.keys.iter().any(|(known, _)| known == key) {
            self.keys.push((key.to_vec(), shared));
        }
        let op = if shared { Op::SharedPessimisticLock } else { Op::PessimisticLock };
        let mut request = PessimisticLockRequest {
            context: Some(leader.context.clone()),
            mutations: vec![mutation(op, key, b"")],
            primary_lock: self.keys[0].0.clone(),
            start_version: self.start_ts,
            for_update_ts,
            lock_ttl: LOCK_TTL_MS,
            wait_timeout: wait_ms,
            is_first_lock,
            return_values: true,
            ..Default::default()
        };
        if fair {
            request.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
        }
        Box::pin(send_lock(leader, request))
    }

    /// The key that names the transaction's region.
    ///
    /// # Errors
    /// If the transaction has locked no key.
    pub fn primary(&self) -> Result<&[u8]> {
        self.keys.first().map(|(key, _)| key.as_slice()).context("the transaction has locked no key")
    }

    /// Writes `value` to all locked keys and commits. A key whose lock is shared stays as it is.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn commit(self, leader: &Replica, value: &[u8], (at, commit_ts): (u64, u64)) -> Result<()> {
        let change = |(key, shared): &(Vec<u8>, bool)| match shared {
            true => mutation(Op::SharedLock, key, b""),
            false => mutation(Op::Put, key, value),
        };
        let prewrite = PrewriteRequest {
            mutations: self.keys.iter().map(change).collect(),
            primary_lock: self.primary()?.to_vec(),
            start_version: self.start_ts,
            lock_ttl: LOCK_TTL_MS,
            for_update_ts: at,
            txn_size: self.keys.len() as u64,
            pessimistic_actions: vec![PessimisticAction::DoPessimisticCheck as i32; self.keys.len()],
            ..Default::default()
        };
        leader.prewrite(prewrite).await?;
        let start_ts = self.start_ts;
        leader.commit(self.into_keys(), start_ts, commit_ts).await
    }

    /// Releases all locks.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn rollback(self, leader: &Replica) -> Result<()> {
        let start_ts = self.start_ts;
        leader.pessimistic_rollback(self.into_keys(), start_ts).await
    }

    fn into_keys(self) -> Vec<Vec<u8>> {
        self.keys.into_iter().map(|(key, _)| key).collect()
    }
}

/// Sends a request for a lock; returns the reply as text.
async fn send_lock(leader: Replica, request: PessimisticLockRequest) -> Result<String> {
    let reply = leader.connect().await?.kv_pessimistic_lock(request).await?.into_inner();
    no_region_error(reply.region_error)?;
    if let Some(e) = reply.errors.first() {
        return Ok(format!("error: {}", error_text(e)));
    }
    let (found, conflict_ts, value) = match reply.results.first() {
        Some(result) => (result.existence, result.locked_with_conflict_ts, result.value.clone()),
        None => (
            reply.not_founds.first().is_some_and(|absent| !absent),
            0,
            reply.values.into_iter().next().unwrap_or_default(),
        ),
    };
    let with_conflict = reply
        .results
        .first()
        .is_some_and(|r| r.r#type() == PessimisticLockKeyResultType::LockResultLockedWithConflict);
    let how = if with_conflict { format!(" despite the version of {conflict_ts}") } else { String::new() };
    let value = if found { escape_readable(&value) } else { "(none)".into() };
    Ok(format!("locked{how}, value {value}"))
}
