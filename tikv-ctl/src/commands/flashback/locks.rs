//! Locks of a cluster before its flashback. A server rolls back all of them (as TiKV does: tikv#14531,
//! tikv#17415), and so splits a transaction whose primary is committed. The other keys of such a transaction
//! are committed first.
use kvproto::{
    errorpb,
    kvrpcpb::{
        CheckSecondaryLocksRequest, CheckTxnStatusRequest, Context, LockInfo, ResolveLockRequest,
        ScanLockRequest,
    },
    metapb::{Peer, Region},
};
use txn_types::Key;

use super::Cluster;
use crate::{Error, Result, print::output::Output};

/// Maximum number of locks in one reply.
const PIECE: u32 = 256;

/// Status of a transaction, as its primary records it.
enum TransactionStatus {
    CommittedAt(u64),
    RolledBack,
    NotYet,
}

impl Cluster<'_> {
    /// Commits the keys of transactions whose primaries are committed; returns their number.
    ///
    /// # Errors
    /// Fails if a transaction has not ended and its primary is outside of the flashback.
    pub(super) fn end_committed(&mut self, out: &mut Output<'_>) -> Result<usize> {
        loop {
            match self.try_end_committed(out) {
                Ok(count) => return Ok(count),
                Err(AttemptError::Final(e)) => return Err(e),
                Err(AttemptError::Retry(job, e)) => self.retry("reading the locks before", &job, &e, out)?,
            }
        }
    }

    fn try_end_committed(&mut self, out: &mut Output<'_>) -> std::result::Result<usize, AttemptError> {
        let mut count = 0;
        for (region, leader) in self.led_regions()? {
            let mut start = user_key(&region.start_key);
            loop {
                let locks = self.scan_locks(&region, &leader, start, PIECE)?;
                let is_last = locks.len() < PIECE as usize;
                start = locks.last().map_or(Vec::new(), |lock| [&lock.key[..], &[0]].concat());
                let wanted = locks.into_iter().filter(|lock| self.is_wanted(&region, &lock.key));
                for lock in wanted.collect::<Vec<_>>() {
                    count += usize::from(self.end_one(&region, &leader, &lock)?);
                    out.tick("locks");
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Commits `lock` if its primary is committed; returns whether it did.
    fn end_one(
        &mut self,
        region: &Region,
        leader: &Peer,
        lock: &LockInfo,
    ) -> std::result::Result<bool, AttemptError> {
        let (primary_region, primary_leader) = self.region_of(&lock.primary_lock)?;
        match self.transaction_status(&primary_region, &primary_leader, lock)? {
            TransactionStatus::RolledBack => Ok(false),
            TransactionStatus::NotYet if self.is_wanted(&primary_region, &lock.primary_lock) => Ok(false),
            TransactionStatus::NotYet => Err(AttemptError::Final(Error::other(format!(
                "key {}: transaction {} has locked it and has not ended, and its primary, key {}, is outside of the \
                 flashback's range: include the primary, so that the transaction is not split; nothing was changed",
                keys::escape(&lock.key),
                lock.lock_version,
                keys::escape(&lock.primary_lock)
            )))),
            TransactionStatus::CommittedAt(commit_version) => {
                let request = ResolveLockRequest {
                    context: Some(context(region, leader)),
                    start_version: lock.lock_version,
                    commit_version,
                    keys: vec![lock.key.clone()],
                    ..Default::default()
                };
                let store = self.store(leader.store_id)?;
                let reply = store.wait(store.kv().kv_resolve_lock(request));
                let reply = reply.map_err(|e| again(region, leader, e.into_error("kv_resolve_lock")))?;
                no_error(region, leader, reply.region_error.map(|e| e.message))?;
                no_error(region, leader, reply.error.map(|e| format!("{e:?}")))?;
                Ok(true)
            }
        }
    }

    fn transaction_status(
        &mut self,
        region: &Region,
        leader: &Peer,
        lock: &LockInfo,
    ) -> std::result::Result<TransactionStatus, AttemptError> {
        let request = CheckTxnStatusRequest {
            context: Some(context(region, leader)),
            primary_key: lock.primary_lock.clone(),
            lock_ts: lock.lock_version,
            ..Default::default()
        };
        let store = self.store(leader.store_id)?;
        let reply = store.wait(store.kv().kv_check_txn_status(request));
        let reply = reply.map_err(|e| again(region, leader, e.into_error("kv_check_txn_status")))?;
        if is_closed(&reply.region_error) {
            return Ok(TransactionStatus::NotYet);
        }
        no_error(region, leader, reply.region_error.map(|e| e.message))?;
        match reply.error {
            Some(error) if error.txn_not_found.is_some() => return Ok(TransactionStatus::RolledBack),
            error => no_error(region, leader, error.map(|e| format!("{e:?}")))?,
        }
        Ok(match (reply.commit_version, reply.lock_ttl) {
            (0, 0) => TransactionStatus::RolledBack,
            (0, _) => match reply.lock_info {
                Some(primary) if primary.use_async_commit => self.async_commit_status(&primary)?,
                _ => TransactionStatus::NotYet,
            },
            (commit_version, _) => TransactionStatus::CommittedAt(commit_version),
        })
    }

    /// Returns the status of a transaction with async commit whose primary is locked. It is committed as soon as
    /// all of its keys are prewritten, at the greatest `min_commit_ts` of its locks.
    fn async_commit_status(
        &mut self,
        primary: &LockInfo,
    ) -> std::result::Result<TransactionStatus, AttemptError> {
        let mut commit_version = primary.min_commit_ts;
        for key in &primary.secondaries {
            let (region, leader) = self.region_of(key)?;
            let found = self.lock_of(&region, &leader, key)?;
            match found.filter(|lock| lock.lock_version == primary.lock_version) {
                Some(lock) if lock.use_async_commit => {
                    commit_version = commit_version.max(lock.min_commit_ts)
                }
                Some(_) => return Ok(TransactionStatus::NotYet),
                None => return self.status_without_lock(primary, key),
            }
        }
        Ok(TransactionStatus::CommittedAt(commit_version))
    }

    /// Returns the status of a transaction one of whose secondaries has no lock: the secondary's record decides.
    /// Without a record, the server rolls the secondary back. This happens only where the flashback rolls the
    /// primary back, too.
    fn status_without_lock(
        &mut self,
        primary: &LockInfo,
        secondary: &[u8],
    ) -> std::result::Result<TransactionStatus, AttemptError> {
        let (primary_region, _) = self.region_of(&primary.key)?;
        if !self.is_wanted(&primary_region, &primary.key) {
            return Ok(TransactionStatus::NotYet);
        }
        let (region, leader) = self.region_of(secondary)?;
        let request = CheckSecondaryLocksRequest {
            context: Some(context(&region, &leader)),
            keys: vec![secondary.to_vec()],
            start_version: primary.lock_version,
        };
        let store = self.store(leader.store_id)?;
        let reply = store.wait(store.kv().kv_check_secondary_locks(request));
        let reply = reply.map_err(|e| again(&region, &leader, e.into_error("kv_check_secondary_locks")))?;
        if is_closed(&reply.region_error) {
            return Ok(TransactionStatus::NotYet);
        }
        no_error(&region, &leader, reply.region_error.map(|e| e.message))?;
        no_error(&region, &leader, reply.error.map(|e| format!("{e:?}")))?;
        match (reply.commit_ts, reply.locks.is_empty()) {
            (0, true) => Ok(TransactionStatus::RolledBack),
            (0, false) => Err(again(
                &region,
                &leader,
                Error::other("another secondary key was locked while the transaction was examined"),
            )),
            (commit_version, _) => Ok(TransactionStatus::CommittedAt(commit_version)),
        }
    }

    /// Returns the lock of one user key.
    fn lock_of(
        &mut self,
        region: &Region,
        leader: &Peer,
        key: &[u8],
    ) -> std::result::Result<Option<LockInfo>, AttemptError> {
        let locks = self.scan_locks(region, leader, key.to_vec(), 1)?;
        Ok(locks.into_iter().next().filter(|lock| lock.key == key))
    }

    fn scan_locks(
        &mut self,
        region: &Region,
        leader: &Peer,
        start_key: Vec<u8>,
        limit: u32,
    ) -> std::result::Result<Vec<LockInfo>, AttemptError> {
        let request = ScanLockRequest {
            context: Some(context(region, leader)),
            max_version: u64::MAX,
            start_key,
            limit,
            ..Default::default()
        };
        let store = self.store(leader.store_id)?;
        let reply = store.wait(store.kv().kv_scan_lock(request));
        let reply = reply.map_err(|e| again(region, leader, e.into_error("kv_scan_lock")))?;
        if is_closed(&reply.region_error) {
            return Ok(Vec::new());
        }
        no_error(region, leader, reply.region_error.map(|e| e.message))?;
        no_error(region, leader, reply.error.map(|e| format!("{e:?}")))?;
        Ok(reply.locks)
    }

    /// Returns the requested regions and their leaders.
    fn led_regions(&self) -> Result<Vec<(Region, Peer)>> {
        let found = self.pd.scan(&self.wanted.start, &self.wanted.end)?.into_iter();
        let led = found.filter_map(|region| Some((region.region?, region.leader?)));
        Ok(led.filter(|(region, _)| self.is_wanted_region(region.id)).collect())
    }

    fn region_of(&self, key: &[u8]) -> std::result::Result<(Region, Peer), AttemptError> {
        let start = Key::from_raw(key).into_encoded();
        let end = [&start[..], &[0]].concat();
        let found = self.pd.scan(&start, &end)?.into_iter().next();
        let led = found.and_then(|region| Some((region.region?, region.leader?)));
        led.ok_or_else(|| {
            let what = format!("PD reports no leader for the region of key {}", keys::escape(key));
            again(&Region::default(), &Peer::default(), Error::other(what))
        })
    }

    fn is_wanted_region(&self, id: u64) -> bool {
        self.wanted.regions.is_empty() || self.wanted.regions.contains(&id)
    }

    /// Whether `key`, a user key of `region`, is flashed back.
    fn is_wanted(&self, region: &Region, key: &[u8]) -> bool {
        let encoded = Key::from_raw(key).into_encoded();
        let (start, end) = (&self.wanted.start, &self.wanted.end);
        self.is_wanted_region(region.id) && encoded >= *start && (end.is_empty() || encoded < *end)
    }
}

/// Failure of one attempt: final, or worth a retry with the current regions.
enum AttemptError {
    Final(Error),
    Retry(super::Job, Error),
}

impl From<Error> for AttemptError {
    fn from(e: Error) -> AttemptError {
        AttemptError::Final(e)
    }
}

fn again(region: &Region, leader: &Peer, e: Error) -> AttemptError {
    let job = super::Job {
        region_id: region.id,
        store_id: leader.store_id,
        start: Vec::new(),
        end: Vec::new(),
        start_ts: 0,
    };
    AttemptError::Retry(job, e)
}

/// Whether an earlier attempt has closed the region, after it looked at the region's locks.
fn is_closed(error: &Option<errorpb::Error>) -> bool {
    error.as_ref().is_some_and(|e| e.flashback_in_progress.is_some())
}

fn no_error(region: &Region, leader: &Peer, error: Option<String>) -> std::result::Result<(), AttemptError> {
    error.map_or(Ok(()), |what| Err(again(region, leader, Error::other(what))))
}

fn context(region: &Region, leader: &Peer) -> Context {
    Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(*leader),
        ..Default::default()
    }
}

/// Returns the user key at a region's start; an invalid start stands for the region's start.
fn user_key(encoded: &[u8]) -> Vec<u8> {
    Key::from_encoded(encoded.to_vec()).into_raw().unwrap_or_default()
}
