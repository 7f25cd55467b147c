//! The requests of a store that wait for locks, with their deadlines. Mirrors `WaitTable` of
//! `src/server/lock_manager/waiter_manager.rs`.
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kvproto::{deadlock::WaitForEntry, metapb::RegionEpoch};
use storage::lock_manager::{
    CancellationCallback, DiagnosticContext, KeyLockWaitInfo, LockDigest, LockWaitToken, UpdateWaitForEvent,
};
use tracepoints::clock::EngineInstant;
use txn_types::{LockInfoExt, TimeStamp};

/// A request that waits.
pub struct Waiter {
    pub region_id: u64,
    pub region_epoch: RegionEpoch,
    pub start_ts: TimeStamp,
    pub wait_info: KeyLockWaitInfo,
    pub cancel_callback: CancellationCallback,
    pub diag_ctx: DiagnosticContext,
    pub deadline: EngineInstant,
    /// Time at which another transaction has locked the key.
    pub last_updated: Option<EngineInstant>,
}

impl Waiter {
    fn to_wait_for_entry(&self) -> WaitForEntry {
        WaitForEntry {
            txn: self.start_ts.into_inner(),
            wait_for_txn: self.wait_info.lock_digest.ts.into_inner(),
            key_hash: self.wait_info.lock_digest.hash,
            key: self.diag_ctx.key.clone(),
            resource_group_tag: self.diag_ctx.resource_group_tag.clone(),
            ..WaitForEntry::default()
        }
    }
}

#[derive(Default)]
pub struct WaitTable {
    /// By the hash of the key and the start_ts of the waiting transaction.
    wait_table: HashMap<(u64, TimeStamp), LockWaitToken>,
    waiter_pool: HashMap<LockWaitToken, Waiter>,
    deadlines: BTreeSet<(EngineInstant, LockWaitToken)>,
    /// Number of requests, also of those that are not added yet. Senders skip messages while it is 0.
    waiter_count: Arc<AtomicUsize>,
}

impl WaitTable {
    pub fn new(waiter_count: Arc<AtomicUsize>) -> Self {
        Self { waiter_count, ..Self::default() }
    }

    pub fn add_waiter(&mut self, token: LockWaitToken, waiter: Waiter) {
        self.wait_table.insert((waiter.wait_info.lock_digest.hash, waiter.start_ts), token);
        self.deadlines.insert((waiter.deadline, token));
        self.waiter_pool.insert(token, waiter);
    }

    pub fn take_waiter(&mut self, token: LockWaitToken) -> Option<Waiter> {
        let waiter = self.waiter_pool.remove(&token)?;
        self.waiter_count.fetch_sub(1, Ordering::SeqCst);
        self.deadlines.remove(&(waiter.deadline, token));
        let place = (waiter.wait_info.lock_digest.hash, waiter.start_ts);
        // A repeated request of the transaction may have taken the place.
        if self.wait_table.get(&place) == Some(&token) {
            self.wait_table.remove(&place);
        }
        Some(waiter)
    }

    /// Returns the earliest deadline.
    pub fn next_deadline(&self) -> Option<EngineInstant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a request whose deadline is over.
    pub fn take_expired(&mut self, now: EngineInstant) -> Option<Waiter> {
        let (deadline, token) = *self.deadlines.first()?;
        if deadline > now { None } else { self.take_waiter(token) }
    }

    /// Follows a new lock of the key. Returns the previous lock if other transactions had it.
    pub fn update_waiter(
        &mut self,
        event: &UpdateWaitForEvent,
        now: EngineInstant,
    ) -> Option<(KeyLockWaitInfo, DiagnosticContext)> {
        let waiter = self.waiter_pool.get_mut(&event.token)?;
        waiter.last_updated = Some(now);
        let shared = |info: &KeyLockWaitInfo| info.lock_info.is_shared_lock();
        let both_shared = shared(&waiter.wait_info) && shared(&event.wait_info);
        if !both_shared && waiter.wait_info.lock_digest.ts == event.wait_info.lock_digest.ts {
            return None;
        }
        let previous = std::mem::replace(&mut waiter.wait_info, event.wait_info.clone());
        Some((previous, waiter.diag_ctx.clone()))
    }

    pub fn take_waiter_by_lock_digest(&mut self, lock: LockDigest, waiter_ts: TimeStamp) -> Option<Waiter> {
        let token = *self.wait_table.get(&(lock.hash, waiter_ts))?;
        self.take_waiter(token)
    }

    /// Takes the requests that `ends` selects.
    pub fn take_where(&mut self, ends: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let selected = self.waiter_pool.iter().filter(|(_, waiter)| ends(waiter));
        let tokens: Vec<_> = selected.map(|(token, _)| *token).collect();
        tokens.into_iter().filter_map(|token| self.take_waiter(token)).collect()
    }

    pub fn to_wait_for_entries(&self) -> Vec<WaitForEntry> {
        let mut entries: Vec<_> = self.waiter_pool.values().map(Waiter::to_wait_for_entry).collect();
        entries.sort_by_key(|entry| (entry.txn, entry.key_hash));
        entries
    }
}
