//! Finds out how a transaction ended. Its primary decides, and all of its locks follow the primary
//! (Percolator; TiKV `check_txn_status`, `check_secondary_locks`).
use std::collections::BTreeMap;

use kvproto::raft_serverpb::PeerState;
use txn_types::{Key, Lock, LockOrSharedLocks, WriteRef, WriteType, parse_lock};

use crate::{Offline, Result, lsm::Db, source::Source};

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Committed at this timestamp.
    Committed(u64),
    /// Rolled back, or its primary has no record of it.
    RolledBack,
    /// The primary is still locked: the transaction can end either way.
    Pending,
    /// The deciding key is in no region of this store.
    Elsewhere,
}

/// Returns the RocksDB key of `user` (encoded, with `z`) at `ts`.
pub fn at(user: &[u8], ts: u64) -> Vec<u8> {
    let mut key = user.to_vec();
    keys::codec::encode_u64_desc(&mut key, ts);
    key
}

/// Returns the data key of a raw user key.
pub fn data_key(raw: &[u8]) -> Vec<u8> {
    keys::data_key(Key::from_raw(raw).as_encoded())
}

/// Finds the fates of transactions in a store.
pub struct Fates<'a> {
    db: &'a Db,
    /// Data keys of this store's regions: start, and end (exclusive).
    here: Vec<(Vec<u8>, Vec<u8>)>,
    known: BTreeMap<(Vec<u8>, u64), Fate>,
}

impl<'a> Fates<'a> {
    /// Creates the search for the transactions of `store`.
    pub fn new(store: &'a Offline) -> Result<Fates<'a>> {
        let mut here = Vec::new();
        for id in store.all_regions().map_err(|e| e.into_error("Debugger::get_all_regions_in_store"))? {
            let info = store.region_info(id).map_err(|e| e.into_error("Debugger::region_info"))?;
            let state = info.region_local_state.unwrap_or_default();
            if state.state() != PeerState::Tombstone {
                let region = state.region.unwrap_or_default();
                here.push((keys::enc_start_key(&region), keys::enc_end_key(&region)));
            }
        }
        Ok(Fates { db: store.kv(), here, known: BTreeMap::new() })
    }

    /// Returns the fate of the transaction that owns `lock`.
    pub fn find(&mut self, lock: &Lock) -> Result<Fate> {
        let place = (data_key(&lock.primary), lock.ts.into_inner());
        if let Some(fate) = self.known.get(&place) {
            return Ok(*fate);
        }
        let fate = self.decide(&place.0, place.1)?;
        self.known.insert(place, fate);
        Ok(fate)
    }

    fn decide(&self, primary: &[u8], start: u64) -> Result<Fate> {
        if !self.is_here(primary) {
            return Ok(Fate::Elsewhere);
        }
        if let Some(fate) = self.record(primary, start)? {
            return Ok(fate);
        }
        match self.lock(primary, start)? {
            Some(lock) if lock.use_async_commit => self.decide_async_commit(&lock),
            Some(_) => Ok(Fate::Pending),
            None => Ok(Fate::RolledBack),
        }
    }

    /// A transaction with async commit is committed as soon as all of its keys are prewritten.
    fn decide_async_commit(&self, primary: &Lock) -> Result<Fate> {
        let (start, mut commit) = (primary.ts.into_inner(), primary.min_commit_ts);
        for key in &primary.secondaries {
            let key = data_key(key);
            if !self.is_here(&key) {
                return Ok(Fate::Elsewhere);
            }
            if let Some(fate) = self.record(&key, start)? {
                return Ok(fate);
            }
            match self.lock(&key, start)? {
                Some(lock) if lock.use_async_commit => commit = commit.max(lock.min_commit_ts),
                _ => return Ok(Fate::Pending),
            }
        }
        Ok(Fate::Committed(commit.into_inner()))
    }

    fn is_here(&self, key: &[u8]) -> bool {
        self.here.iter().any(|(start, end)| start.as_slice() <= key && key < end.as_slice())
    }

    /// Returns the record that ends the transaction on this key.
    fn record(&self, user: &[u8], start: u64) -> Result<Option<Fate>> {
        let mut to = at(user, start);
        to.push(0);
        let mut writes = self.db.scan("write", &at(user, u64::MAX), &to)?;
        while writes.advance()? {
            let Ok((_, commit_ts)) = Key::split_on_ts_for(writes.key()) else { continue };
            let Ok(write) = WriteRef::parse(writes.value()) else { continue };
            let commit_ts = commit_ts.into_inner();
            if write.start_ts.into_inner() == start {
                let rolled_back = write.write_type == WriteType::Rollback;
                return Ok(Some(if rolled_back { Fate::RolledBack } else { Fate::Committed(commit_ts) }));
            }
            if commit_ts == start && write.has_overlapped_rollback {
                return Ok(Some(Fate::RolledBack));
            }
        }
        Ok(None)
    }

    /// Returns the transaction's lock on this key.
    fn lock(&self, user: &[u8], start: u64) -> Result<Option<Lock>> {
        let Some(value) = self.db.get("lock", user)? else { return Ok(None) };
        Ok(match parse_lock(&value) {
            Ok(LockOrSharedLocks::Lock(lock)) if lock.ts.into_inner() == start => Some(lock),
            _ => None,
        })
    }
}
