//! Pessimistic transactions of a scenario: each by name, and their requests. Several run side by side, so they
//! use the RPCs themselves, and a client per transaction.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use kvproto::{
    deadlock::WaitForEntry,
    kvrpcpb::{
        self, CommitRequest, KeyError, Mutation, PessimisticLockKeyResultType, PessimisticLockRequest,
        PessimisticLockWakeUpMode, PessimisticRollbackRequest, PrewriteRequest,
        prewrite_request::PessimisticAction,
    },
    tikvpb::tikv_client::TikvClient,
};
use tonic::transport::Channel;
use tracepoints::{Req, field::client_operation, printable::escape_readable};

/// Time to live of the locks.
const TTL_MS: u64 = 3_600_000;

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// Its start timestamp.
    pub start_ts: u64,
    /// The keys that it has locked or tried to lock; the first one is the primary.
    keys: Vec<Vec<u8>>,
}

/// The transactions of a scenario.
#[derive(Debug, Default)]
pub struct Txns(BTreeMap<String, Txn>);

/// The leader of a key's region: address and context.
pub type Place = (String, kvrpcpb::Context);

/// A request for a lock.
#[derive(Clone, Debug)]
pub struct LockCall {
    addr: String,
    request: PessimisticLockRequest,
}

impl Txns {
    /// Begins a transaction.
    pub fn begin(&mut self, name: &str, start_ts: u64) {
        self.0.insert(name.to_owned(), Txn { start_ts, keys: Vec::new() });
    }

    fn get(&mut self, name: &str) -> Result<&mut Txn> {
        self.0.get_mut(name).with_context(|| format!("no transaction is named {name}; write `begin {name}`"))
    }

    /// Makes the request that locks `key`. `wait_ms`: as `wait_timeout` of the request.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn lock(
        &mut self,
        name: &str,
        key: &[u8],
        (addr, context): Place,
        for_update_ts: u64,
        (wait_ms, fair): (i64, bool),
    ) -> Result<LockCall> {
        let txn = self.get(name)?;
        let is_first_lock = txn.keys.is_empty();
        if !txn.keys.iter().any(|known| known == key) {
            txn.keys.push(key.to_vec());
        }
        let mut request = PessimisticLockRequest {
            context: Some(context),
            mutations: vec![mutation(kvrpcpb::Op::PessimisticLock, key, b"")],
            primary_lock: txn.keys[0].clone(),
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
        Ok(LockCall { addr, request })
    }

    /// Ends a transaction; returns it.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn end(&mut self, name: &str) -> Result<Txn> {
        self.0.remove(name).with_context(|| format!("no transaction is named {name}; write `begin {name}`"))
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
    pub async fn commit(
        self,
        (addr, context): Place,
        value: &[u8],
        (at, commit_ts): (u64, u64),
    ) -> Result<()> {
        let mut client = connect(&addr).await?;
        let prewrite = PrewriteRequest {
            context: Some(context.clone()),
            mutations: self.keys.iter().map(|key| mutation(kvrpcpb::Op::Put, key, value)).collect(),
            primary_lock: self.primary()?.to_vec(),
            start_version: self.start_ts,
            lock_ttl: TTL_MS,
            for_update_ts: at,
            txn_size: self.keys.len() as u64,
            pessimistic_actions: vec![PessimisticAction::DoPessimisticCheck as i32; self.keys.len()],
            ..Default::default()
        };
        let reply = client.kv_prewrite(prewrite).await?.into_inner();
        if reply.region_error.is_some() || !reply.errors.is_empty() {
            bail!("the store refused the prewrite: {:?} {:?}", reply.region_error, reply.errors);
        }
        let commit = CommitRequest {
            context: Some(context),
            keys: self.keys,
            start_version: self.start_ts,
            commit_version: commit_ts,
            ..Default::default()
        };
        let reply = client.kv_commit(commit).await?.into_inner();
        if reply.region_error.is_some() || reply.error.is_some() {
            bail!("the store refused the commit: {:?} {:?}", reply.region_error, reply.error);
        }
        Ok(())
    }

    /// Releases all locks.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn rollback(self, (addr, context): Place) -> Result<()> {
        let request = PessimisticRollbackRequest {
            context: Some(context),
            keys: self.keys,
            start_version: self.start_ts,
            for_update_ts: u64::MAX - 1,
        };
        let reply = connect(&addr).await?.kv_pessimistic_rollback(request).await?.into_inner();
        if reply.region_error.is_some() || !reply.errors.is_empty() {
            bail!("the store refused the rollback: {:?} {:?}", reply.region_error, reply.errors);
        }
        Ok(())
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
        let mut client = connect(&self.addr).await?;
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

fn mutation(op: kvrpcpb::Op, key: &[u8], value: &[u8]) -> Mutation {
    Mutation { op: op as i32, key: key.to_vec(), value: value.to_vec(), ..Default::default() }
}

async fn connect(addr: &str) -> Result<TikvClient<Channel>> {
    Ok(TikvClient::connect(format!("http://{addr}")).await?)
}

fn error_text(e: &KeyError) -> String {
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
