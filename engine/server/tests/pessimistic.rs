//! Waiting for pessimistic locks over gRPC on three stores: timeouts, wake-ups, deadlocks across regions and
//! stores, changes of leaders and regions, and clients that go away.
mod harness;

use std::time::Duration;

use harness::{Harness, context};
use kvproto::{
    deadlock::{DeadlockRequest, WaitForEntriesRequest, WaitForEntry, deadlock_client::DeadlockClient},
    kvrpcpb::*,
    metapb::{Peer, Region},
    tikvpb::tikv_client::TikvClient,
    tracecontrol::{InFlightRequest, trace_control_client::TraceControlClient},
};
use server::config::{ReadableDuration, ReadableSize, TikvConfig};
use tokio::task::JoinHandle;
use tonic::{Code, transport::Channel};
use tracepoints::probe::LockTables;

/// A wait that no test reaches.
const LONG: Duration = Duration::from_secs(600);

struct Cluster {
    h: Harness,
}

impl Cluster {
    /// Three stores whose requests wait for up to `timeout`.
    fn start(timeout: Duration) -> Self {
        let wait = ReadableDuration(timeout);
        Self::start_with(move |config| config.pessimistic_txn.wait_for_lock_timeout = wait)
    }

    /// Three stores; `tune` changes their configuration.
    fn start_with(tune: impl Fn(&mut TikvConfig) + 'static) -> Self {
        let h = Harness::start_with(3, tune);
        h.region(3);
        Self { h }
    }

    fn ts(&self) -> u64 {
        self.h.ts()
    }

    /// Returns the region of a key and its leader, which says so itself.
    fn leader_of(&self, key: &[u8]) -> (Region, Peer) {
        let encoded = txn_types::Key::from_raw(key).as_encoded().clone();
        self.h.until("the region has a leader", async || {
            let region = self.h.client.get_region(&encoded).await.ok()?.region;
            for store in self.h.stores.iter().flatten() {
                let meta = store.router().query_region_meta(region.id).await;
                if meta.is_some_and(|m| m.raft.role == "Leader" && m.raft.applied == m.raft.last_index) {
                    let peer = *region.find_peer(store.store_id())?;
                    return Some((region, peer));
                }
            }
            None
        })
    }

    fn address(&self, store: u64) -> String {
        let server = self.h.find_store(store).unwrap();
        format!("http://{}", server.addr())
    }

    fn client(&self, key: &[u8]) -> (Context, TikvClient<Channel>) {
        let (region, peer) = self.leader_of(key);
        let address = self.address(peer.store_id);
        (context(&region, peer), self.h.block_on(TikvClient::connect(address)).unwrap())
    }

    fn transfer(&self, key: &[u8], to: u64) {
        self.h.until("the leadership moves", async || {
            let encoded = txn_types::Key::from_raw(key).as_encoded().clone();
            let region = self.h.client.get_region(&encoded).await.ok()?.region;
            for store in self.h.stores.iter().flatten() {
                let meta = store.router().query_region_meta(region.id).await?;
                if meta.raft.role == "Leader" && store.store_id() == to {
                    return (meta.raft.applied == meta.raft.last_index).then_some(());
                }
                if meta.raft.role == "Leader" {
                    store.router().transfer_leader(region.id, *region.find_peer(to)?).unwrap();
                }
            }
            None
        });
    }

    /// Splits the region of all keys at `key`, with a leader of each part on another store.
    fn split(&self, key: &[u8]) -> (u64, u64) {
        let (ctx, mut client) = self.client(key);
        let split =
            SplitRegionRequest { context: Some(ctx), split_keys: vec![key.to_vec()], ..Default::default() };
        let reply = self.h.block_on(client.split_region(split)).unwrap().into_inner();
        assert_eq!(reply.regions.len(), 2, "{reply:?}");
        self.until_pd_knows(key);
        let first = self.leader_of(b"").1.store_id;
        let other = self.h.stores.iter().flatten().map(|s| s.store_id()).find(|s| *s != first).unwrap();
        self.transfer(key, other);
        (first, other)
    }

    /// Waits until PD knows both parts of the region that was split at `key`.
    fn until_pd_knows(&self, key: &[u8]) {
        let key = txn_types::Key::from_raw(key).as_encoded().clone();
        self.h.until("PD knows both parts", async || {
            let left = self.h.client.get_region(b"").await.ok()?.region;
            let right = self.h.client.get_region(&key).await.ok()?.region;
            (left.end_key == key && right.start_key == key).then_some(())
        });
    }

    fn request(&self, key: &[u8], start_ts: u64) -> (PessimisticLockRequest, TikvClient<Channel>) {
        let (ctx, client) = self.client(key);
        let request = PessimisticLockRequest {
            context: Some(ctx),
            mutations: vec![Mutation {
                op: Op::PessimisticLock as i32,
                key: key.to_vec(),
                ..Default::default()
            }],
            primary_lock: key.to_vec(),
            start_version: start_ts,
            for_update_ts: start_ts,
            lock_ttl: 3_600_000,
            ..Default::default()
        };
        (request, client)
    }

    /// Locks a free key.
    fn lock(&self, key: &[u8], start_ts: u64) {
        let reply = self.finish(self.send(self.request(key, start_ts)));
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    }

    /// Joins the shared locks of a key.
    fn share(&self, key: &[u8], start_ts: u64) {
        let (mut request, client) = self.request(key, start_ts);
        request.mutations[0].op = Op::SharedPessimisticLock.into();
        let reply = self.finish(self.send((request, client)));
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    }

    fn send(
        &self,
        (request, mut client): (PessimisticLockRequest, TikvClient<Channel>),
    ) -> JoinHandle<PessimisticLockResponse> {
        self.h.runtime.spawn(async move { client.kv_pessimistic_lock(request).await.unwrap().into_inner() })
    }

    /// Sends a request and waits until its store reports it as waiting.
    fn wait_for(&self, key: &[u8], start_ts: u64, wait_for: u64) -> JoinHandle<PessimisticLockResponse> {
        let (ctx, client) = self.client(key);
        let sent = self.send(self.request(key, start_ts));
        self.h.until("the request waits", async || {
            let waits = info(client.clone(), &ctx).await;
            waits.iter().any(|w| (w.txn, w.wait_for_txn) == (start_ts, wait_for)).then_some(())
        });
        sent
    }

    fn finish(&self, sent: JoinHandle<PessimisticLockResponse>) -> PessimisticLockResponse {
        self.h.block_on(sent).unwrap()
    }

    fn rollback(&self, key: &[u8], start_ts: u64) {
        let (ctx, mut client) = self.client(key);
        let request = PessimisticRollbackRequest {
            context: Some(ctx),
            start_version: start_ts,
            for_update_ts: start_ts,
            keys: vec![key.to_vec()],
        };
        let reply = self.h.block_on(client.kv_pessimistic_rollback(request)).unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    }
}

/// GetLockWaitInfo.
async fn info(mut client: TikvClient<Channel>, ctx: &Context) -> Vec<WaitForEntry> {
    let request = GetLockWaitInfoRequest { context: Some(ctx.clone()) };
    let reply = client.get_lock_wait_info(request).await.unwrap().into_inner();
    assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
    reply.entries
}

fn conflict(reply: &PessimisticLockResponse) -> &WriteConflict {
    assert!(reply.region_error.is_none(), "{reply:?}");
    reply.errors[0].conflict.as_ref().unwrap_or_else(|| panic!("{reply:?}"))
}

#[test]
fn a_wait_times_out_or_ends_with_the_release() {
    let c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"k", t1);
    for wait_timeout in [-1, 50] {
        let (request, client) = c.request(b"k", t2);
        let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout, ..request }, client)));
        assert_eq!(reply.errors[0].locked.as_ref().map(|l| l.lock_version), Some(t1), "{reply:?}");
        let waited = reply.exec_details_v2.and_then(|d| d.write_detail).unwrap().pessimistic_lock_wait_nanos;
        assert_eq!(waited > 0, wait_timeout > 0, "{waited}");
    }
    let waits = c.wait_for(b"k", t2, t1);
    // Also by the service for other stores.
    let store = c.leader_of(b"k").1.store_id;
    let entries = c.h.block_on(async {
        let mut client = DeadlockClient::connect(c.address(store)).await.unwrap();
        client.get_wait_for_entries(WaitForEntriesRequest {}).await.unwrap().into_inner().entries
    });
    assert_eq!(entries.len(), 1);
    let hash = txn_types::Key::from_raw(b"k").gen_hash().unwrap();
    assert_eq!((entries[0].key.as_slice(), entries[0].key_hash), (&b"k"[..], hash));
    c.rollback(b"k", t1);
    assert_eq!(conflict(&c.finish(waits)).conflict_ts, t1);
    let (ctx, client) = c.client(b"k");
    c.h.until("no request waits", async || info(client.clone(), &ctx).await.is_empty().then_some(()));
}

#[test]
fn the_default_wait_is_the_longest_one() {
    let c = Cluster::start(Duration::from_millis(100));
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"k", t1);
    for wait_timeout in [0, LONG.as_millis() as i64] {
        let (request, client) = c.request(b"k", t2);
        let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout, ..request }, client)));
        assert!(reply.errors[0].locked.is_some(), "{reply:?}");
    }
}

/// Two transactions lock keys in the opposite order. The detector is on the leader of the first region, and
/// each wait may be the one that closes the cycle: on that store, or on the other one.
#[test]
fn a_deadlock_across_two_stores_is_found() {
    let c = Cluster::start(LONG);
    let (first, other) = c.split(b"m");
    for (earlier, later) in [(&b"a"[..], &b"z"[..]), (b"z", b"a")] {
        assert_ne!(c.leader_of(b"a").1.store_id, c.leader_of(b"z").1.store_id, "{first} {other}");
        let (t1, t2) = (c.ts(), c.ts());
        c.lock(earlier, t1);
        c.lock(later, t2);
        // t1 waits for t2, and then t2 for t1. The first edge may be on its way: the second one is repeated,
        // as a client does after a timeout.
        let waits = c.wait_for(later, t1, t2);
        let found = (0..40).find_map(|_| {
            let (request, client) = c.request(earlier, t2);
            let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout: 500, ..request }, client)));
            reply.errors[0].deadlock.clone()
        });
        let deadlock = found.expect("the deadlock is found");
        let hash = |key: &[u8]| txn_types::Key::from_raw(key).gen_hash().unwrap();
        assert_eq!((deadlock.lock_ts, deadlock.lock_key.as_slice()), (t1, earlier));
        assert_eq!(deadlock.deadlock_key_hash, hash(later));
        let chain: Vec<_> =
            deadlock.wait_chain.iter().map(|w| (w.txn, w.wait_for_txn, w.key.as_slice())).collect();
        assert_eq!(chain, [(t1, t2, later), (t2, t1, earlier)]);
        // The victim rolls back, and the other transaction continues.
        c.rollback(later, t2);
        assert_eq!(conflict(&c.finish(waits)).conflict_ts, t2);
        c.rollback(earlier, t1);
    }
}

/// A transaction that waits for shared locks waits for each transaction that has them.
#[test]
fn a_deadlock_with_one_of_the_holders_of_a_shared_lock_is_found() {
    let c = Cluster::start(LONG);
    let (t1, t2, t3) = (c.ts(), c.ts(), c.ts());
    c.lock(b"x", t3);
    c.share(b"s", t1);
    c.share(b"s", t2);
    let waits = c.wait_for(b"x", t2, t3);
    // Lets no further transaction join; the next request waits for t1 and t2.
    let refused = c.finish(c.send(c.request(b"s", t3)));
    let locked = refused.errors[0].locked.as_ref().unwrap();
    let holders: Vec<_> = locked.shared_lock_infos.iter().map(|lock| lock.lock_version).collect();
    assert_eq!((locked.lock_type(), holders), (Op::SharedLock, vec![t1, t2]));
    let found = (0..40).find_map(|_| {
        let (request, client) = c.request(b"s", t3);
        let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout: 500, ..request }, client)));
        reply.errors[0].deadlock.clone()
    });
    let deadlock = found.expect("the deadlock is found");
    assert_eq!((deadlock.lock_ts, deadlock.lock_key.as_slice()), (t2, &b"s"[..]));
    // The wait for t1 has ended, too: t1 may wait for t3 now.
    let (request, client) = c.request(b"x", t1);
    let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout: 500, ..request }, client)));
    assert!(reply.errors[0].locked.is_some(), "{reply:?}");
    c.rollback(b"x", t3);
    assert_eq!(conflict(&c.finish(waits)).conflict_ts, t3);
}

/// A transaction that has given up its part of a shared lock may wait for one that waits for the other parts.
#[test]
fn a_wait_for_a_shared_lock_follows_its_holders() {
    let c = Cluster::start(LONG);
    let (t1, t2, t3) = (c.ts(), c.ts(), c.ts());
    c.lock(b"x", t3);
    c.share(b"s", t1);
    c.share(b"s", t2);
    // Lets no further transaction join; the next request waits for t1 and t2.
    let refused = c.finish(c.send(c.request(b"s", t3)));
    assert!(refused.errors[0].locked.is_some(), "{refused:?}");
    let waits = c.wait_for(b"s", t3, 0);
    c.rollback(b"s", t1);
    let closes_cycle = |ts| {
        let (request, client) = c.request(b"x", ts);
        let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout: 500, ..request }, client)));
        let closes = reply.errors[0].deadlock.is_some();
        if closes {
            // The change of the graph may be on its way; without a deadlock, the request itself waits.
            std::thread::sleep(Duration::from_millis(50));
        }
        closes
    };
    assert!((0..40).any(|_| !closes_cycle(t1)), "t3 no longer waits for t1");
    assert!((0..40).any(|_| closes_cycle(t2)), "t3 still waits for t2");
    c.rollback(b"s", t2);
    assert_eq!(conflict(&c.finish(waits)).conflict_ts, t2);
}

/// The graph of the old leader is lost; the next waits are detected by the new one.
#[test]
fn the_detector_moves_with_the_leader_of_the_first_region() {
    let c = Cluster::start(LONG);
    let (first, other) = c.split(b"m");
    let third =
        c.h.stores.iter().flatten().map(|s| s.store_id()).find(|s| ![first, other].contains(s)).unwrap();
    c.transfer(b"a", third);
    let refused = async |store: u64| {
        let mut client = DeadlockClient::connect(c.address(store)).await.unwrap();
        let none = tokio_stream::empty::<DeadlockRequest>();
        client.detect(none).await.err().map(|status| status.code())
    };
    c.h.until("the old leader refuses", async || {
        (refused(first).await == Some(Code::FailedPrecondition)).then_some(())
    });
    c.h.until("the new leader serves", async || refused(third).await.is_none().then_some(()));
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"x", t1);
    c.lock(b"y", t2);
    let waits = c.wait_for(b"y", t1, t2);
    let found = (0..40).find_map(|_| {
        let (request, client) = c.request(b"x", t2);
        let reply = c.finish(c.send((PessimisticLockRequest { wait_timeout: 500, ..request }, client)));
        reply.errors[0].deadlock.clone()
    });
    assert_eq!(found.map(|d| d.lock_ts), Some(t1), "both waits are on a store that is not the leader");
    c.rollback(b"y", t2);
    assert_eq!(conflict(&c.finish(waits)).conflict_ts, t2);
}

#[test]
fn a_wait_ends_when_another_store_leads_its_region() {
    let c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"k", t1);
    let waits = c.wait_for(b"k", t2, t1);
    let leader = c.leader_of(b"k").1.store_id;
    let other = c.h.stores.iter().flatten().map(|s| s.store_id()).find(|s| *s != leader).unwrap();
    c.transfer(b"k", other);
    let error = c.finish(waits).region_error.expect("a region error");
    assert!(error.not_leader.is_some(), "{error:?}");
    // The lock is on the new leader, and so is the next wait.
    let waits = c.wait_for(b"k", t2, t1);
    c.rollback(b"k", t1);
    assert_eq!(conflict(&c.finish(waits)).conflict_ts, t1);
}

#[test]
fn a_wait_ends_when_a_split_moves_its_key() {
    let c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"a", t1);
    c.lock(b"z", t1);
    let waits = [c.wait_for(b"a", t2, t1), c.wait_for(b"z", t2, t1)];
    let (ctx, mut client) = c.client(b"m");
    let region_id = ctx.region_id;
    let split =
        SplitRegionRequest { context: Some(ctx), split_keys: vec![b"m".to_vec()], ..Default::default() };
    let reply = c.h.block_on(client.split_region(split)).unwrap().into_inner();
    let kept = reply.regions.iter().position(|r| r.id == region_id).expect("one part keeps the id");
    let [first, second] = waits;
    let (stays, moves) = if kept == 0 { (first, second) } else { (second, first) };
    let error = c.finish(moves).region_error.expect("a region error");
    assert!(error.epoch_not_match.is_some(), "{error:?}");
    assert!(!stays.is_finished(), "the key of the other wait has not moved");
    c.until_pd_knows(b"m");
    c.rollback(if kept == 0 { b"a" } else { b"z" }, t1);
    assert_eq!(conflict(&c.finish(stays)).conflict_ts, t1);
}

#[test]
fn nothing_waits_for_a_client_that_has_gone() {
    let c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"k", t1);
    let waits = c.wait_for(b"k", t2, t1);
    waits.abort();
    let (ctx, client) = c.client(b"k");
    c.h.until("the request leaves the queue", async || {
        info(client.clone(), &ctx).await.is_empty().then_some(())
    });
    c.rollback(b"k", t1);
    c.lock(b"k", c.ts());
}

#[test]
fn fair_locking_gets_the_lock_with_the_newest_value() {
    let c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"k", t1);
    let (request, client) = c.request(b"k", t2);
    let mut request = request;
    request.set_wake_up_mode(PessimisticLockWakeUpMode::WakeUpModeForceLock);
    let sent = c.send((request, client.clone()));
    let (ctx, mut client) = c.client(b"k");
    c.h.until("the request waits", async || (!info(client.clone(), &ctx).await.is_empty()).then_some(()));
    let prewrite = PrewriteRequest {
        context: Some(ctx.clone()),
        mutations: vec![Mutation { key: b"k".to_vec(), value: b"v1".to_vec(), ..Default::default() }],
        primary_lock: b"k".to_vec(),
        start_version: t1,
        for_update_ts: t1,
        lock_ttl: 3000,
        pessimistic_actions: vec![prewrite_request::PessimisticAction::DoPessimisticCheck as i32],
        ..Default::default()
    };
    let reply = c.h.block_on(client.kv_prewrite(prewrite)).unwrap().into_inner();
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    assert!(!sent.is_finished(), "a prewrite keeps the lock");
    let commit_ts = c.ts();
    let commit = CommitRequest {
        context: Some(ctx),
        keys: vec![b"k".to_vec()],
        start_version: t1,
        commit_version: commit_ts,
        ..Default::default()
    };
    let reply = c.h.block_on(client.kv_commit(commit)).unwrap().into_inner();
    assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
    let reply = c.finish(sent);
    assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
    let result = &reply.results[0];
    assert_eq!(result.r#type(), PessimisticLockKeyResultType::LockResultLockedWithConflict);
    assert_eq!((result.locked_with_conflict_ts, result.value.as_slice()), (commit_ts, &b"v1"[..]));
}

impl Cluster {
    /// Without entries that compact the log, which would change its last index.
    fn start_without_log_gc() -> Self {
        Self::start_with(|config| {
            config.pessimistic_txn.wait_for_lock_timeout = ReadableDuration(LONG);
            config.raft_store.raft_log_gc_tick_interval = ReadableDuration(Duration::from_secs(3600));
        })
    }

    /// Returns the last index of the Raft log of a key's leader.
    fn last_index(&self, key: &[u8]) -> u64 {
        let (region, peer) = self.leader_of(key);
        let store = self.h.find_store(peer.store_id).unwrap();
        self.h.block_on(store.router().query_region_meta(region.id)).unwrap().raft.last_index
    }

    /// Returns the transaction that holds the lock of a key; locks the key for `start_ts` if none does.
    fn holder(&self, key: &[u8], start_ts: u64) -> Option<u64> {
        let (request, client) = self.request(key, start_ts);
        let reply = self.finish(self.send((PessimisticLockRequest { wait_timeout: -1, ..request }, client)));
        assert!(reply.region_error.is_none(), "{reply:?}");
        let error = reply.errors.first()?;
        Some(error.locked.as_ref().unwrap_or_else(|| panic!("{reply:?}")).lock_version)
    }

    /// Prewrites a key. 0 as `for_update_ts` means that the transaction has not locked the key.
    fn prewrite(&self, key: &[u8], start_version: u64, for_update_ts: u64) -> PrewriteResponse {
        let (request, mut client) = self.prewrite_request(key, start_version, for_update_ts);
        let reply = self.h.block_on(client.kv_prewrite(request)).unwrap().into_inner();
        assert!(reply.region_error.is_none(), "{reply:?}");
        reply
    }

    fn prewrite_request(
        &self,
        key: &[u8],
        start_version: u64,
        for_update_ts: u64,
    ) -> (PrewriteRequest, TikvClient<Channel>) {
        let (ctx, client) = self.client(key);
        let request = PrewriteRequest {
            context: Some(ctx),
            mutations: vec![harness::put(key, b"v")],
            primary_lock: key.to_vec(),
            start_version,
            for_update_ts,
            lock_ttl: 3_600_000,
            pessimistic_actions: vec![i32::from(for_update_ts != 0)],
            ..Default::default()
        };
        (request, client)
    }

    /// Prewrites with async commit, or in one phase, once the leader has a timestamp of PD.
    fn fast_prewrite(
        &self,
        (request, client): (PrewriteRequest, TikvClient<Channel>),
        try_one_pc: bool,
    ) -> PrewriteResponse {
        let request = PrewriteRequest { use_async_commit: true, try_one_pc, ..request };
        self.h.until("the leader has a timestamp of PD", async || {
            let reply = client.clone().kv_prewrite(request.clone()).await.unwrap().into_inner();
            reply.region_error.is_none().then_some(reply)
        })
    }

    fn commit(&self, key: &[u8], start_version: u64) {
        let (ctx, mut client) = self.client(key);
        let commit_version = self.ts();
        let request = CommitRequest {
            context: Some(ctx),
            keys: vec![key.to_vec()],
            start_version,
            commit_version,
            ..Default::default()
        };
        let reply = self.h.block_on(client.kv_commit(request)).unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
    }

    fn other_store(&self, key: &[u8]) -> u64 {
        let leader = self.leader_of(key).1.store_id;
        self.h.stores.iter().flatten().map(|s| s.store_id()).find(|s| *s != leader).unwrap()
    }
}

#[test]
fn a_lock_in_memory_needs_no_raft_and_survives_a_transfer() {
    let c = Cluster::start_without_log_gc();
    let (t1, t2) = (c.ts(), c.ts());
    c.transfer(b"k", c.other_store(b"k"));
    let before = c.last_index(b"k");
    c.lock(b"k", t1);
    assert_eq!(c.last_index(b"k"), before, "no entry of the log");
    assert_eq!(c.holder(b"k", t2), Some(t1));
    c.transfer(b"k", c.other_store(b"k"));
    assert_eq!(c.holder(b"k", t2), Some(t1), "on the new leader");
    assert_eq!(c.prewrite(b"k", t1, t1).errors, []);
    c.commit(b"k", t1);
    // A rollback of a lock in memory removes it, too.
    let (t3, t4) = (c.ts(), c.ts());
    c.lock(b"k", t3);
    c.rollback(b"k", t3);
    assert_eq!(c.holder(b"k", t4), None);
}

#[test]
fn a_viewer_sees_the_locks_in_memory() {
    let c = Cluster::start_without_log_gc();
    let t1 = c.ts();
    c.lock(b"k", t1);
    let (region, leader) = c.leader_of(b"k");
    let address = format!("http://{}", c.h.find_store(leader.store_id).unwrap().addr());
    let tables = async || {
        let mut control = TraceControlClient::connect(address.clone()).await.unwrap();
        let reply = control.in_flight(InFlightRequest::default()).await.unwrap().into_inner();
        serde_json::from_slice::<LockTables>(&reply.locks).unwrap()
    };
    let found = c.h.block_on(tables());
    let [table] = &found.memory_locks[..] else { panic!("expected one table, found {found:?}") };
    let locks: Vec<_> = table.locks.iter().map(|lock| (lock.key.as_str(), lock.start_ts)).collect();
    assert_eq!((table.store, table.region, locks), (leader.store_id, region.id, vec![("k", t1)]));
    c.h.until("the leader of the first region has the graph", async || {
        tables().await.wait_graph.filter(|graph| graph.edges.is_empty()).map(|_| ())
    });
    assert_eq!(c.prewrite(b"k", t1, t1).errors, []);
    c.h.until("the prewrite has moved the lock to Raft", async || {
        tables().await.memory_locks.is_empty().then_some(())
    });
}

#[test]
fn locks_in_memory_follow_a_split() {
    let c = Cluster::start_without_log_gc();
    let (t1, t2) = (c.ts(), c.ts());
    let before = c.last_index(b"a");
    c.lock(b"a", t1);
    c.lock(b"z", t1);
    assert_eq!(c.last_index(b"a"), before, "no entry of the log");
    c.split(b"m");
    assert_eq!((c.holder(b"a", t2), c.holder(b"z", t2)), (Some(t1), Some(t1)));
    for key in [&b"a"[..], b"z"] {
        assert_eq!(c.prewrite(key, t1, t1).errors, []);
        c.commit(key, t1);
    }
}

/// The lock is lost with its leader. The prewrite amends it if no other transaction has written the key.
#[test]
fn a_lock_in_memory_is_lost_with_its_leader() {
    let mut c = Cluster::start(LONG);
    let (t1, t2) = (c.ts(), c.ts());
    c.lock(b"free", t1);
    c.lock(b"taken", t1);
    let leader = c.leader_of(b"free").1.store_id;
    let at = c.h.stores.iter().position(|s| s.as_ref().is_some_and(|s| s.store_id() == leader)).unwrap();
    c.h.stores[at].take();
    assert_eq!(c.prewrite(b"taken", t2, 0).errors, [], "no lock is in the way");
    c.commit(b"taken", t2);
    assert_eq!(c.prewrite(b"free", t1, t1).errors, []);
    let errors = c.prewrite(b"taken", t1, t1).errors;
    assert!(errors[0].abort.contains("PessimisticLockNotFound"), "{errors:?}");
}

/// As with two phases: the prewrite amends the lock, or fails and writes nothing.
#[test]
fn async_commit_and_one_pc_amend_a_lost_lock() {
    let mut c = Cluster::start(LONG);
    let (t1, t2, t3) = (c.ts(), c.ts(), c.ts());
    for (key, ts) in [(&b"async"[..], t1), (b"one", t2), (b"taken", t3)] {
        c.lock(key, ts);
    }
    let leader = c.leader_of(b"one").1.store_id;
    let at = c.h.stores.iter().position(|s| s.as_ref().is_some_and(|s| s.store_id() == leader)).unwrap();
    c.h.stores[at].take();
    let t4 = c.ts();
    assert_eq!(c.prewrite(b"taken", t4, 0).errors, [], "no lock is in the way");
    c.commit(b"taken", t4);

    let reply = c.fast_prewrite(c.prewrite_request(b"async", t1, t1), false);
    assert!(reply.errors.is_empty() && reply.min_commit_ts > t1, "{reply:?}");
    let reply = c.fast_prewrite(c.prewrite_request(b"one", t2, t2), true);
    assert!(reply.errors.is_empty() && reply.one_pc_commit_ts > t2, "{reply:?}");
    for try_one_pc in [false, true] {
        let reply = c.fast_prewrite(c.prewrite_request(b"taken", t3, t3), try_one_pc);
        assert_eq!((reply.min_commit_ts, reply.one_pc_commit_ts), (0, 0), "{reply:?}");
        assert!(reply.errors[0].abort.contains("PessimisticLockNotFound"), "{reply:?}");
    }
    let t5 = c.ts();
    assert_eq!(c.holder(b"async", t5), Some(t1));
    assert_eq!(c.holder(b"one", t5), None, "it is committed");
    assert_eq!(c.holder(b"taken", t5), None, "the refused prewrites wrote no lock");
}

/// The store of the second transaction does not know the reads that raised the commit of the first one.
#[test]
fn a_timestamp_of_pd_orders_commits_of_two_stores() {
    let c = Cluster::start(LONG);
    c.split(b"m");
    assert_ne!(c.leader_of(b"a").1.store_id, c.leader_of(b"z").1.store_id);
    let (t1, t2) = (c.ts(), c.ts());
    let get = |key: &[u8], version| {
        let (ctx, mut client) = c.client(key);
        let request = GetRequest { context: Some(ctx), key: key.to_vec(), version, ..Default::default() };
        let reply = c.h.block_on(client.kv_get(request)).unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
        !reply.not_found
    };
    assert!(!get(b"a", c.ts()), "raises max_ts of the first store");
    let first = c.fast_prewrite(c.prewrite_request(b"a", t1, 0), true).one_pc_commit_ts;
    assert!(first > t2, "{first}");
    // As clients do: the commit of the next transaction is above all commits that its client has seen.
    let min_commit_ts = c.ts() + 1;
    let (request, client) = c.prewrite_request(b"z", t2, 0);
    let request = PrewriteRequest { min_commit_ts, ..request };
    let second = c.fast_prewrite((request, client), true).one_pc_commit_ts;
    assert!(second >= min_commit_ts && second > first, "{second} is not above {first}");
    assert_eq!((get(b"a", first), get(b"z", first)), (true, false), "no reader sees the second one alone");
    assert!(get(b"z", second));
}

#[test]
fn without_memory_a_lock_is_in_raft() {
    for (pipelined, in_memory) in [(true, false), (false, true)] {
        let c = Cluster::start_with(move |config| {
            let config = &mut config.pessimistic_txn;
            (config.pipelined, config.in_memory) = (pipelined, in_memory);
        });
        let (t1, t2) = (c.ts(), c.ts());
        let before = c.last_index(b"k");
        c.lock(b"k", t1);
        assert!(c.last_index(b"k") > before, "pipelined: {pipelined}");
        assert_eq!(c.holder(b"k", t2), Some(t1));
    }
    // Too large for the memory: through Raft, and answered after it is applied.
    let c = Cluster::start_with(|config| {
        config.pessimistic_txn.in_memory_peer_size_limit = ReadableSize(1);
    });
    let (t1, before) = (c.ts(), c.last_index(b"k"));
    c.lock(b"k", t1);
    assert!(c.last_index(b"k") > before);
}
