//! Requests that the runner sends itself: those that the TiKV client has no call for.
use anyhow::{Context as _, Result, bail};
use kvproto::{
    deadlock::WaitForEntry,
    errorpb,
    kvrpcpb::{
        self, CheckSecondaryLocksRequest, CheckTxnStatusRequest, CommitRequest, FlashbackToVersionRequest,
        GetRequest, KeyError, Mutation, PessimisticRollbackRequest, PrepareFlashbackToVersionRequest,
        PrewriteRequest, ResolveLockRequest, SplitRegionRequest,
    },
    metapb::Region,
    tikvpb::tikv_client::TikvClient,
};
use tonic::transport::Channel;
use tracepoints::printable::escape_readable;
use txn_types::LockInfoExt;

/// Time to live of the locks that the runner writes, if the scenario does not choose one.
pub(crate) const LOCK_TTL_MS: u64 = 3_600_000;

/// A replica of a key's region, and the context of a request to it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Address of its store.
    pub addr: String,
    /// Region, epoch and peer.
    pub context: kvrpcpb::Context,
}

impl Replica {
    /// Connects to the store.
    ///
    /// # Errors
    /// If the store does not answer. All requests fail then, too.
    pub async fn connect(&self) -> Result<TikvClient<Channel>> {
        Ok(TikvClient::connect(format!("http://{}", self.addr)).await?)
    }

    /// Reads a key. A follower answers, too: it asks the leader for the commit index.
    ///
    /// # Errors
    /// If the store refuses the read.
    pub async fn read(&self, key: &[u8], version: u64) -> Result<Option<Vec<u8>>> {
        let context = kvrpcpb::Context { replica_read: true, ..self.context.clone() };
        let request = GetRequest { context: Some(context), key: key.to_vec(), version, ..Default::default() };
        let reply = self.connect().await?.kv_get(request).await?.into_inner();
        accepted("read", reply.region_error, reply.error)?;
        Ok((!reply.not_found).then_some(reply.value))
    }

    /// Prewrites; fills in the request's context.
    ///
    /// # Errors
    /// If the store refuses the prewrite.
    pub async fn prewrite(&self, request: PrewriteRequest) -> Result<()> {
        let request = PrewriteRequest { context: Some(self.context.clone()), ..request };
        let reply = self.connect().await?.kv_prewrite(request).await?.into_inner();
        accepted("prewrite", reply.region_error, reply.errors)
    }

    /// Commits keys of a transaction.
    ///
    /// # Errors
    /// If the store refuses the commit.
    pub async fn commit(&self, keys: Vec<Vec<u8>>, start_version: u64, commit_version: u64) -> Result<()> {
        let request = CommitRequest {
            context: Some(self.context.clone()),
            keys,
            start_version,
            commit_version,
            ..Default::default()
        };
        let reply = self.connect().await?.kv_commit(request).await?.into_inner();
        accepted("commit", reply.region_error, reply.error)
    }

    /// Commits all keys of a transaction that are locked in the region.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn resolve_lock(&self, start_version: u64, commit_version: u64) -> Result<()> {
        let context = Some(self.context.clone());
        let request = ResolveLockRequest { context, start_version, commit_version, ..Default::default() };
        let reply = self.connect().await?.kv_resolve_lock(request).await?.into_inner();
        accepted("resolving of locks", reply.region_error, reply.error)
    }

    /// Returns the keys of a range of the region to their values at `version`: closes the region, writes the old values
    /// at `commit_ts`, and opens the region.
    ///
    /// # Errors
    /// If the store refuses one of the two requests.
    pub async fn flashback(
        &self,
        (start_key, end_key): (Vec<u8>, Vec<u8>),
        version: u64,
        (start_ts, commit_ts): (u64, u64),
    ) -> Result<()> {
        let (mut client, context) = (self.connect().await?, Some(self.context.clone()));
        let prepare = PrepareFlashbackToVersionRequest {
            context: context.clone(),
            start_key: start_key.clone(),
            end_key: end_key.clone(),
            start_ts,
            version,
        };
        let reply = client.kv_prepare_flashback_to_version(prepare).await?.into_inner();
        accepted_text("preparation of the flashback", reply.region_error, &reply.error)?;
        let finish = FlashbackToVersionRequest { context, version, start_key, end_key, start_ts, commit_ts };
        let reply = client.kv_flashback_to_version(finish).await?.into_inner();
        accepted_text("flashback", reply.region_error, &reply.error)
    }

    /// Finds the outcome of an async commit from its locks, and resolves all of its keys, which are in the region.
    /// Returns the outcome as text. `now`: a timestamp of PD.
    ///
    /// # Errors
    /// If the primary has no lock of an async commit, or the store refuses a request.
    pub async fn recover(&self, primary: Vec<u8>, start_version: u64, now: u64) -> Result<String> {
        let (mut client, context) = (self.connect().await?, Some(self.context.clone()));
        let check = CheckTxnStatusRequest {
            context: context.clone(),
            primary_key: primary.clone(),
            lock_ts: start_version,
            caller_start_ts: now,
            current_ts: now,
            rollback_if_not_exist: true,
            ..Default::default()
        };
        let status = client.kv_check_txn_status(check).await?.into_inner();
        accepted("check of the primary", status.region_error, status.error)?;
        let lock = status.lock_info.filter(|lock| lock.use_async_commit);
        let lock = lock.context("expected the lock of an async commit on the primary, found none")?;
        let keys = lock.secondaries.clone();
        let check = CheckSecondaryLocksRequest { context: context.clone(), keys, start_version };
        let found = client.kv_check_secondary_locks(check).await?.into_inner();
        accepted("check of the secondaries", found.region_error, found.error)?;
        // A key without a lock has the record of the transaction's end, or was never locked: 0 rolls back.
        let commit_version = match found.locks.len() == lock.secondaries.len() {
            true => found.locks.iter().map(|lock| lock.min_commit_ts).fold(lock.min_commit_ts, u64::max),
            false => found.commit_ts,
        };
        let keys = std::iter::once(primary).chain(lock.secondaries).collect();
        let resolve =
            ResolveLockRequest { context, start_version, commit_version, keys, ..Default::default() };
        let reply = client.kv_resolve_lock(resolve).await?.into_inner();
        accepted("resolving of locks", reply.region_error, reply.error)?;
        Ok(match commit_version {
            0 => "rolled back".into(),
            ts => format!("committed at {ts}"),
        })
    }

    /// Splits the region at a key; returns its parts.
    ///
    /// # Errors
    /// If the store refuses the split.
    pub async fn split(&self, key: &[u8]) -> Result<Vec<Region>> {
        let (context, split_keys) = (Some(self.context.clone()), vec![key.to_vec()]);
        let request = SplitRegionRequest { context, split_keys, ..Default::default() };
        let reply = self.connect().await?.split_region(request).await?.into_inner();
        accepted("split", reply.region_error, [])?;
        Ok(reply.regions)
    }

    /// Releases pessimistic locks of a transaction.
    ///
    /// # Errors
    /// If the store refuses the rollback.
    pub async fn pessimistic_rollback(&self, keys: Vec<Vec<u8>>, start_version: u64) -> Result<()> {
        let request = PessimisticRollbackRequest {
            context: Some(self.context.clone()),
            keys,
            start_version,
            // Locks up to this for_update_ts: all.
            for_update_ts: u64::MAX - 1,
        };
        let reply = self.connect().await?.kv_pessimistic_rollback(request).await?.into_inner();
        accepted("rollback", reply.region_error, reply.errors)
    }
}

/// Makes a mutation of a prewrite or of a lock request.
pub(crate) fn mutation(op: kvrpcpb::Op, key: &[u8], value: &[u8]) -> Mutation {
    Mutation { op: op as i32, key: key.to_vec(), value: value.to_vec(), ..Default::default() }
}

/// Fails with the region error of a reply, if it has one.
pub(crate) fn no_region_error(error: Option<errorpb::Error>) -> Result<()> {
    match error {
        Some(e) => bail!("region error: {}", e.message),
        None => Ok(()),
    }
}

fn accepted(
    what: &str,
    region_error: Option<errorpb::Error>,
    errors: impl IntoIterator<Item = KeyError>,
) -> Result<()> {
    if let Some(e) = region_error {
        bail!("the store refused the {what}: region error: {}", e.message);
    }
    let errors: Vec<String> = errors.into_iter().map(|e| error_text(&e)).collect();
    if !errors.is_empty() {
        bail!("the store refused the {what}: {}", errors.join(", "));
    }
    Ok(())
}

/// As [`accepted`], for a reply whose error is a text.
fn accepted_text(what: &str, region_error: Option<errorpb::Error>, error: &str) -> Result<()> {
    accepted(what, region_error, [])?;
    match error {
        "" => Ok(()),
        error => bail!("the store refused the {what}: {error}"),
    }
}

/// Formats the error of a key in a few words.
pub(crate) fn error_text(e: &KeyError) -> String {
    if let Some(lock) = e.locked.as_ref().filter(|lock| lock.is_shared_lock()) {
        let holders: Vec<_> = lock.iter_locks().map(|lock| lock.lock_version.to_string()).collect();
        return format!("{} is shared by {}", escape_readable(&lock.key), holders.join(" and "));
    }
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
