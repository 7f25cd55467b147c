//! Pessimistic transactions of a scenario: each by name, and their requests. The runner sends the requests itself,
//! since the TiKV client has no call for fair locking, no-wait or a wait of a given time.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use kvproto::{
    deadlock::WaitForEntry,
    kvrpcpb::{
        KeyError, Op, PessimisticLockKeyResultType, PessimisticLockRequest, PessimisticLockWakeUpMode,
        PrewriteRequest, prewrite_request::PessimisticAction,
    },
};
use tracepoints::{Req, field::client_operation, printable::escape_readable};

use crate::rpc::{Replica, mutation};

/// Time to live of the locks.
const TTL_MS: u64 = 3_600_000;

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    start_ts: u64,
    /// The keys that it has locked or tried to lock; the first one is the primary.
    keys: Vec<Vec<u8>>,
}

/// The transactions of a scenario.
#[derive(Debug, Default)]
pub struct Txns(BTreeMap<String, Txn>);

/// A request for a lock.
#[derive(Clone, Debug)]
pub struct LockCall {
    leader: Replica,
    request: PessimisticLockRequest,
}

impl Txns {
    /// Begins a transaction.
    pub fn begin(&mut self, name: &str, start_ts: u64) {
        self.0.insert(name.to_owned(), Txn { start_ts, keys: Vec::new() });
    }

    fn get(&mut self, name: &str) -> Result<&mut Txn> {
        self.0.get_mut(name).with_context(|| not_begun(name))
    }

    /// Makes the request to the key's leader that locks `key`. `wait_ms`: as `wait_timeout` of the request.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn lock(
        &mut self,
        name: &str,
        key: &[u8],
        leader: Replica,
        for_update_ts: u64,
        (wait_ms, fair): (i64, bool),
    ) -> Result<LockCall> {
        let txn = self.get(name)?;
        let is_first_lock = txn.keys.is_empty();
        if !txn.keys.iter().any(|known| known == key) {
            txn.keys.push(key.to_vec());
        }
        let mut request = PessimisticLockRequest {
            context: Some(leader.context.clone()),
            mutations: vec![mutation(Op::PessimisticLock, key, b"")],
            primary_lock: txn.primary()?.to_vec(),
            start_version: txn.start_ts,
            for_update_ts,
            lock_ttl: TTL_MS,
            wait_timeout: wait_ms,
            is_first_lock,
            return_values: true,
            ..Default::default()
        };
        if fair {
            request.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
        }
        Ok(LockCall { leader, request })
    }

    /// Ends a transaction; returns it.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn end(&mut self, name: &str) -> Result<Txn> {
        self.0.remove(name).with_context(|| not_begun(name))
    }
}

impl Txn {
    /// The key that names the transaction's region.
    ///
    /// # Errors
    /// If the transaction has locked no key.
    pub fn primary(&self) -> Result<&[u8]> {
        self.keys.first().map(Vec::as_slice).context("the transaction has locked no key")
    }

    /// Writes `value` to all locked keys and commits.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn commit(self, leader: &Replica, value: &[u8], (at, commit_ts): (u64, u64)) -> Result<()> {
        let prewrite = PrewriteRequest {
            mutations: self.keys.iter().map(|key| mutation(Op::Put, key, value)).collect(),
            primary_lock: self.primary()?.to_vec(),
            start_version: self.start_ts,
            lock_ttl: TTL_MS,
            for_update_ts: at,
            txn_size: self.keys.len() as u64,
            pessimistic_actions: vec![PessimisticAction::DoPessimisticCheck as i32; self.keys.len()],
            ..Default::default()
        };
        leader.prewrite(prewrite).await?;
        leader.commit(self.keys, self.start_ts, commit_ts).await
    }

    /// Releases all locks.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn rollback(self, leader: &Replica) -> Result<()> {
        leader.pessimistic_rollback(self.keys, self.start_ts).await
    }
}

impl LockCall {
    /// Sends the request as the operation `req`; returns the reply as text.
    ///
    /// # Errors
    /// If the store does not answer, or answers with a region error.
    pub async fn run(self, req: Req) -> Result<String> {
        let name = client_operation("pessimistic_lock");
        tracepoints::step!(CLIENT_SEND, req, op = name);
        let result = self.send().await;
        tracepoints::stamp!(CLIENT_REPLY, req, ok = result.is_ok(), op = name);
        result
    }

    async fn send(self) -> Result<String> {
        let mut client = self.leader.connect().await?;
        let reply = client.kv_pessimistic_lock(self.request).await?.into_inner();
        if let Some(e) = reply.region_error {
            bail!("region error: {}", e.message);
        }
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
        let how =
            if with_conflict { format!(" despite the version of {conflict_ts}") } else { String::new() };
        let value = if found { escape_readable(&value) } else { "(none)".into() };
        Ok(format!("locked{how}, value {value}"))
    }
}

fn not_begun(name: &str) -> String {
    format!("no transaction is named {name}; write `pessimistic-begin {name}` before this directive")
}

/// Formats the error of a key in a few words.
pub(crate) fn error_text(e: &KeyError) -> String {
    if let Some(lock) = &e.locked {
        return format!("{} is locked by {}", escape_readable(&lock.key), lock.lock_version);
    }
    if let Some(conflict) = &e.conflict {
        let end = match conflict.conflict_commit_ts {
            0 => "released its lock".to_owned(),
            ts => format!("committed at {ts}"),
        };
        return format!("write conflict: {} {end}", conflict.conflict_ts);
    }
    if let Some(deadlock) = &e.deadlock {
        let chain: Vec<String> = deadlock.wait_chain.iter().map(wait_text).collect();
        return format!("deadlock: {}", chain.join(", "));
    }
    format!("{e:?}")
}

/// Formats a wait, e.g. `TS waits for TS at k1`.
pub fn wait_text(wait: &WaitForEntry) -> String {
    format!("{} waits for {} at {}", wait.txn, wait.wait_for_txn, escape_readable(&wait.key))
}
