//! Transactions over gRPC on three stores: async commit, one phase, replica reads, and leader changes between
//! the steps. A session holds a request at a stage, so one test at a time.
mod harness;

use harness::Harness;
use kvproto::{
    errorpb,
    kvrpcpb::*,
    metapb::{Peer, Region},
    tikvpb::tikv_client::TikvClient,
};
use parking_lot::{Mutex, MutexGuard};
use tonic::transport::Channel;
use tracepoints::{
    RequestKind, Session, SessionConfig, SessionEvent, find_stage,
    session::{Matcher, Mode},
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Cluster {
    h: Harness,
    region: Region,
    _turn: MutexGuard<'static, ()>,
}

/// Builds a prewrite of one key; its transaction lives for an hour.
fn prewrite(ctx: &Context, key: &[u8], value: &[u8], start_ts: u64) -> PrewriteRequest {
    PrewriteRequest {
        lock_ttl: 3_600_000,
        min_commit_ts: start_ts + 1,
        ..harness::prewrite(ctx, key, value, start_ts)
    }
}

fn async_commit(ctx: &Context, key: &[u8], value: &[u8], start_ts: u64) -> PrewriteRequest {
    PrewriteRequest { use_async_commit: true, ..prewrite(ctx, key, value, start_ts) }
}

fn one_pc(ctx: &Context, key: &[u8], value: &[u8], start_ts: u64) -> PrewriteRequest {
    PrewriteRequest { try_one_pc: true, ..async_commit(ctx, key, value, start_ts) }
}

/// Holds the first prewrite of the key at a stage, until the session is dropped.
fn hold(key: &[u8], stage: &str) -> Session {
    let matcher =
        Matcher { key: Some(key.to_vec()), kinds: vec![RequestKind::KvPrewrite], ..Default::default() };
    let gates = vec![find_stage(stage).unwrap().id.into()];
    let config = SessionConfig { matcher, mode: Mode::ToGate, gates, max_requests: 1, ..Default::default() };
    Session::start(config).unwrap()
}

fn wait_held(session: &Session) {
    let held = |event: SessionEvent| matches!(event, SessionEvent::Held(_));
    let mut events = std::iter::from_fn(|| session.events().recv_timeout(harness::BOUND).ok());
    assert!(events.any(held), "the request is held");
}

impl Cluster {
    fn start() -> Self {
        let turn = ONE_AT_A_TIME.lock();
        let h = Harness::start(3);
        let (region, _) = h.region(3);
        Self { h, region, _turn: turn }
    }

    fn ts(&self) -> u64 {
        self.h.ts()
    }

    fn client(&self, store: u64) -> TikvClient<Channel> {
        let server = self.h.find_store(store).unwrap();
        self.h.block_on(TikvClient::connect(format!("http://{}", server.addr()))).unwrap()
    }

    fn peer(&self, store: u64) -> Peer {
        *self.region.find_peer(store).unwrap()
    }

    fn context(&self, store: u64) -> Context {
        harness::context(&self.region, self.peer(store))
    }

    /// Returns the store that leads the region by its own account.
    fn leader(&self) -> u64 {
        self.h.until("a leader", async || {
            for store in self.h.stores.iter().flatten() {
                let meta = store.router().query_region_meta(self.region.id).await;
                if meta.is_some_and(|m| m.raft.role == "Leader") {
                    return Some(store.store_id());
                }
            }
            None
        })
    }

    fn follower(&self) -> u64 {
        let leader = self.leader();
        self.region.peers.iter().map(|p| p.store_id).find(|s| *s != leader).unwrap()
    }

    /// Moves the leadership to `to`, and waits until that store accepts writes.
    fn transfer_leader(&self, to: u64) {
        self.h.until("the leadership moves", async || {
            for store in self.h.stores.iter().flatten() {
                let meta = store.router().query_region_meta(self.region.id).await?;
                if meta.raft.role != "Leader" {
                    continue;
                }
                if store.store_id() == to {
                    // The new leader has applied an entry of its own term.
                    return (meta.raft.applied == meta.raft.last_index).then_some(());
                }
                store.router().transfer_leader(self.region.id, self.peer(to)).unwrap();
            }
            None
        });
    }

    /// Retries until the leader is ready, as a client does on these errors.
    fn must_prewrite(&self, store: u64, request: &PrewriteRequest) -> PrewriteResponse {
        let client = self.client(store);
        let reply = self.h.until("a prewrite", async || {
            let reply = client.clone().kv_prewrite(request.clone()).await.unwrap().into_inner();
            // A new leader has not committed an entry of its term, or has no timestamp of PD yet.
            let not_yet = |e: &errorpb::Error| {
                e.max_timestamp_not_synced.is_some() || e.not_leader.is_some() || e.stale_command.is_some()
            };
            if reply.region_error.as_ref().is_some_and(not_yet) { None } else { Some(reply) }
        });
        assert!(reply.region_error.is_none() && reply.errors.is_empty(), "{reply:?}");
        reply
    }

    fn get(&self, store: u64, ctx: Context, key: &[u8], version: u64) -> GetResponse {
        let request = GetRequest { context: Some(ctx), key: key.to_vec(), version, ..Default::default() };
        let mut client = self.client(store);
        self.h.block_on(client.kv_get(request)).unwrap().into_inner()
    }

    /// Reads on a follower, which asks its leader.
    fn replica_get(&self, store: u64, key: &[u8], version: u64) -> GetResponse {
        let ctx = Context { replica_read: true, ..self.context(store) };
        let reply = self.get(store, ctx, key, version);
        assert!(reply.region_error.is_none(), "{reply:?}");
        reply
    }

    fn commit(&self, store: u64, key: &[u8], start_version: u64, commit_version: u64) {
        let request = CommitRequest {
            context: Some(self.context(store)),
            keys: vec![key.to_vec()],
            start_version,
            commit_version,
            ..Default::default()
        };
        let mut client = self.client(store);
        let reply = self.h.block_on(client.kv_commit(request)).unwrap().into_inner();
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
    }

    /// Sends a prewrite that a session will hold.
    fn spawn_prewrite(
        &self,
        store: u64,
        request: PrewriteRequest,
    ) -> tokio::task::JoinHandle<PrewriteResponse> {
        let mut client = self.client(store);
        self.h.runtime.spawn(async move { client.kv_prewrite(request).await.unwrap().into_inner() })
    }

    fn finish(&self, prewrite: tokio::task::JoinHandle<PrewriteResponse>) -> PrewriteResponse {
        self.h.block_on(prewrite).unwrap()
    }
}

#[test]
fn a_prewrite_promises_a_commit_above_all_reads() {
    let c = Cluster::start();
    let leader = c.leader();
    let (ctx, start) = (c.context(leader), c.ts());
    let read = c.ts();
    assert!(c.get(leader, ctx.clone(), b"k", read).not_found);
    let promised = c.must_prewrite(leader, &async_commit(&ctx, b"k", b"v", start)).min_commit_ts;
    assert!(promised > read, "{promised} is not above {read}");
    let locked = c.get(leader, ctx.clone(), b"k", c.ts()).error.and_then(|e| e.locked).unwrap();
    assert!(locked.use_async_commit && locked.min_commit_ts == promised, "{locked:?}");
    assert!(c.get(leader, ctx.clone(), b"k", read).not_found, "the lock commits above the first read");
    c.commit(leader, b"k", start, promised);
    assert_eq!(c.get(leader, ctx.clone(), b"k", promised).value, b"v");

    let (start, read) = (c.ts(), c.ts());
    assert_eq!(c.get(leader, ctx.clone(), b"k", read).value, b"v");
    let reply = c.must_prewrite(leader, &one_pc(&ctx, b"k", b"w", start));
    assert!(reply.one_pc_commit_ts > read, "{reply:?}");
    assert_eq!(c.get(leader, ctx.clone(), b"k", reply.one_pc_commit_ts).value, b"w");
    assert_eq!(c.get(leader, ctx, b"k", read).value, b"v");
}

/// Reads at the old leader are covered by the new one's max_ts, or it promises nothing.
#[test]
fn a_new_leader_commits_above_the_old_ones_reads() {
    let c = Cluster::start();
    for _ in 0..3 {
        let (old, new) = (c.leader(), c.follower());
        let start = c.ts();
        let read = c.ts();
        let reply = c.get(old, c.context(old), b"k", read);
        assert!(reply.region_error.is_none() && reply.error.is_none(), "{reply:?}");
        c.transfer_leader(new);
        let ctx = c.context(new);
        let reply = c.must_prewrite(new, &one_pc(&ctx, b"k", b"v", start));
        assert!(reply.one_pc_commit_ts > read, "{} is not above {read}", reply.one_pc_commit_ts);
    }
}

/// Leadership goes away and comes back between a command's snapshot and its
/// write: another transaction has written.
#[test]
fn a_write_is_bound_to_the_term_of_its_snapshot() {
    type Request = fn(&Context, &[u8], &[u8], u64) -> PrewriteRequest;
    let held: [(Request, &str); 2] = [(prewrite, "sched_process"), (one_pc, "sched_write")];
    for (request, stage) in held {
        let c = Cluster::start();
        let (first, second) = (c.leader(), c.follower());
        let (ctx, start) = (c.context(first), c.ts());
        // So that the held prewrite does not fail for lack of a timestamp of PD.
        c.must_prewrite(first, &one_pc(&ctx, b"other", b"v", start));
        let session = hold(b"k", stage);
        let late = c.spawn_prewrite(first, request(&ctx, b"k", b"lost update", start));
        wait_held(&session);
        c.transfer_leader(second);
        let committed = c.must_prewrite(second, &one_pc(&c.context(second), b"k", b"v", c.ts()));
        assert!(committed.one_pc_commit_ts > start);
        c.transfer_leader(first);
        drop(session);
        let refused = c.finish(late).region_error.unwrap();
        assert!(refused.stale_command.is_some(), "{refused:?}");
        let found = c.get(first, ctx.clone(), b"k", c.ts());
        assert!(found.value == b"v" && found.error.is_none(), "{found:?}");
        // As the client does: retries from the start.
        let mut client = c.client(first);
        let again = request(&ctx, b"k", b"lost update", start);
        let again = c.h.block_on(client.kv_prewrite(again)).unwrap().into_inner();
        assert!(again.errors[0].conflict.is_some(), "{again:?}");
    }
}

/// A replica's reads count at the leader, which commits above them.
#[test]
fn a_replica_read_raises_the_leaders_max_ts() {
    let c = Cluster::start();
    let (leader, follower) = (c.leader(), c.follower());
    let (ctx, start) = (c.context(leader), c.ts());
    c.must_prewrite(leader, &one_pc(&ctx, b"other", b"v", start));
    let read = c.ts();
    assert!(c.replica_get(follower, b"k", read).not_found);
    let reply = c.must_prewrite(leader, &one_pc(&ctx, b"k", b"v", start));
    assert!(reply.one_pc_commit_ts > read, "{} is not above {read}", reply.one_pc_commit_ts);
    assert_eq!(c.replica_get(follower, b"k", reply.one_pc_commit_ts).value, b"v");
    assert!(c.replica_get(follower, b"k", read).not_found);
}

/// Between the promise and the commit by Raft, the lock is only in the leader's memory.
#[test]
fn reads_find_a_lock_in_the_leaders_memory() {
    let c = Cluster::start();
    let (leader, follower) = (c.leader(), c.follower());
    let (ctx, start) = (c.context(leader), c.ts());
    c.must_prewrite(leader, &one_pc(&ctx, b"other", b"v", start));
    let before = c.ts();
    assert!(c.replica_get(follower, b"k", before).not_found);
    let session = hold(b"k", "sched_write");
    let prewrite = c.spawn_prewrite(leader, async_commit(&ctx, b"k", b"v", start));
    wait_held(&session);
    let after = before + (1 << 18);
    for (store, ctx) in [(leader, ctx.clone()), (follower, c.context(follower))] {
        let ctx = Context { replica_read: store == follower, ..ctx };
        let locked = c.get(store, ctx.clone(), b"k", after);
        let lock = locked.error.clone().and_then(|e| e.locked).unwrap_or_else(|| panic!("{locked:?}"));
        assert!(lock.lock_version == start && lock.use_async_commit, "{lock:?}");
        let scan = ScanRequest {
            context: Some(ctx.clone()),
            start_key: b"a".to_vec(),
            end_key: b"z".to_vec(),
            limit: 10,
            version: after,
            ..Default::default()
        };
        let scanned = c.h.block_on(c.client(store).kv_scan(scan)).unwrap().into_inner();
        assert!(scanned.error.is_some_and(|e| e.locked.is_some()), "a scan of store {store}");
        assert!(c.get(store, ctx.clone(), b"l", after).not_found, "another key");
        assert!(c.get(store, ctx, b"k", before).not_found, "below the promised timestamp");
    }
    drop(session);
    let promised = c.finish(prewrite).min_commit_ts;
    assert!(promised > before && promised <= after);
    c.commit(leader, b"k", start, promised);
    assert_eq!(c.replica_get(follower, b"k", after).value, b"v");
}

/// A region that is split during a prewrite refuses the prewrite, and the client asks the new region.
#[test]
fn a_split_during_a_prewrite_refuses_it() {
    let c = Cluster::start();
    let leader = c.leader();
    let (ctx, start) = (c.context(leader), c.ts());
    c.must_prewrite(leader, &one_pc(&ctx, b"other", b"v", start));
    let session = hold(b"b", "sched_write");
    let prewrite = c.spawn_prewrite(leader, async_commit(&ctx, b"b", b"v", start));
    wait_held(&session);
    let split =
        SplitRegionRequest { context: Some(ctx), split_keys: vec![b"m".to_vec()], ..Default::default() };
    let made = c.h.block_on(c.client(leader).split_region(split)).unwrap().into_inner();
    assert!(made.region_error.is_none(), "{made:?}");
    drop(session);
    let refused = c.finish(prewrite).region_error.unwrap();
    assert!(refused.epoch_not_match.is_some(), "{refused:?}");

    let encoded = txn_types::Key::from_raw(b"b").into_encoded();
    let found = c.h.until("the new region", async || {
        let found = c.h.client.get_region(&encoded).await.ok()?;
        (found.region.id != c.region.id || found.region.end_key == made_end(&made)).then_some(found)
    });
    let leader = found.leader.unwrap();
    let ctx = harness::context(&found.region, leader);
    let read = c.ts();
    let reply = c.must_prewrite(leader.store_id, &async_commit(&ctx, b"b", b"v", start));
    assert!(reply.min_commit_ts > start && read > start);
}

/// Returns the end of the first region that a split made.
fn made_end(made: &SplitRegionResponse) -> Vec<u8> {
    made.regions.first().map(|r| r.end_key.clone()).unwrap_or_default()
}

/// tikv/tikv#17916 and others: after one such read no transaction commits any more.
#[test]
fn timestamps_of_the_far_future_are_refused() {
    let c = Cluster::start();
    let leader = c.leader();
    let (ctx, start) = (c.context(leader), c.ts());
    c.must_prewrite(leader, &async_commit(&ctx, b"k", b"v", start));
    let refused = |e: Option<errorpb::Error>| {
        let message = e.map(|e| e.message).unwrap_or_default();
        assert!(message.starts_with("invalid max_ts update"), "{message}");
    };
    for ts in [u64::MAX - 1, c.ts() + (3_600_000 << 18)] {
        refused(c.get(leader, ctx.clone(), b"z", ts).region_error);
        let follower = c.follower();
        let replica = Context { replica_read: true, ..c.context(follower) };
        refused(c.get(follower, replica, b"z", ts).region_error);
        let check = CheckTxnStatusRequest {
            context: Some(ctx.clone()),
            primary_key: b"k".to_vec(),
            lock_ts: start,
            caller_start_ts: ts,
            current_ts: start,
            ..Default::default()
        };
        refused(c.h.block_on(c.client(leader).kv_check_txn_status(check)).unwrap().into_inner().region_error);
    }
    // The latest version is not a timestamp.
    assert!(c.get(leader, ctx.clone(), b"z", u64::MAX).not_found);
    let later = c.must_prewrite(leader, &one_pc(&ctx, b"y", b"v", c.ts()));
    assert!(later.one_pc_commit_ts < c.ts(), "max_ts stayed at PD's clock");
    c.commit(leader, b"k", start, later.one_pc_commit_ts);
    assert_eq!(c.get(leader, ctx, b"k", c.ts()).value, b"v");
}
