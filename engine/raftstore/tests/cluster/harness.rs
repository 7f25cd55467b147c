//! Three stores in one process, connected by function calls instead of a network. Every wait is bounded.
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use engine_rocks::{DbConfig, RocksEngine};
use kvproto::{
    eraftpb, errorpb,
    kvrpcpb::LockInfo,
    metapb::{Peer, Region},
    raft_cmdpb::{
        AdminCmdType, AdminRequest, BatchSplitRequest, ChangePeerRequest, CmdType, PutRequest,
        RaftCmdRequest, RaftCmdResponse, RaftRequestHeader, ReadIndexRequest, Request, SplitRequest,
        TransferLeaderRequest,
    },
    raft_serverpb::{RaftMessage, StoreIdent},
};
use parking_lot::Mutex;
use raft_log_engine::{RaftEngineConfig, RaftLogEngine};
use raftstore::{
    Error, RaftRouter,
    coprocessor::IgnoreChanges,
    debug::RegionMeta,
    store::{
        Callback, Config, Engines, LocalReader, PdReporter, RaftBatchSystem, ReadIndexObserver,
        RegionHeartbeat, RegionSnapshot, SnapKey, SnapManager, StoreHeartbeat, StoreParts, Transport, TxnExt,
        bootstrap_store, initial_region, load_store_ident, prepare_bootstrap_cluster,
    },
    util::ReadableDuration,
};
use tempfile::TempDir;
use tikv_kv::ErrorInner;
use tracepoints::Req;

pub const REGION: u64 = 1;
pub const WAIT: Duration = Duration::from_secs(60);

/// Reachability of the stores.
#[derive(Default)]
struct Net {
    stores: Mutex<HashMap<u64, (RaftRouter, SnapManager)>>,
    cut: Mutex<HashSet<(u64, u64)>>,
}

#[derive(Clone)]
struct Wire {
    from: u64,
    net: Arc<Net>,
}

impl Wire {
    fn deliver(&self, msg: RaftMessage) -> Result<(), Error> {
        let to = msg.to_peer.map_or(0, |p| p.store_id);
        let gone = || Error::Transport(format!("store {to} cannot be reached"));
        if self.net.cut.lock().contains(&(self.from, to)) {
            return Err(gone());
        }
        let (target, mine) = {
            let stores = self.net.stores.lock();
            (stores.get(&to).cloned(), stores.get(&self.from).cloned())
        };
        let ((router, snaps), (my_router, my_snaps)) = (target.ok_or_else(gone)?, mine.ok_or_else(gone)?);
        if let Some(snapshot) = msg.message.as_ref().and_then(|m| m.snapshot.as_ref()) {
            let (region, to_peer) = (msg.region_id, msg.to_peer.map_or(0, |p| p.id));
            copy_snapshot(&my_snaps, &snaps, snapshot)?;
            my_router.report_snapshot_status(region, to_peer, raft::SnapshotStatus::Finish)?;
        }
        router.send_raft_message(msg)
    }
}

fn copy_snapshot(from: &SnapManager, to: &SnapManager, snapshot: &eraftpb::Snapshot) -> Result<(), Error> {
    let (key, data): (SnapKey, _) = SnapKey::from_wire(snapshot)?;
    let mut sending = from.get_snapshot_for_sending(&key)?;
    let mut receiving = to.get_snapshot_for_receiving(&key, data.meta.unwrap_or_default())?;
    while let Some(chunk) = sending.next_chunk()? {
        receiving.write(&chunk)?;
    }
    receiving.finish()?;
    Ok(())
}

impl Transport for Wire {
    fn send(&mut self, msg: RaftMessage) -> Result<(), Error> {
        self.deliver(msg)
    }
    fn need_flush(&self) -> bool {
        false
    }
    fn flush(&mut self) {}
}

/// PD that keeps all store reports, and hands out timestamps on a test's request.
#[derive(Default)]
pub struct TestPd {
    pub heartbeats: Mutex<Vec<RegionHeartbeat>>,
    /// Status and state of each peer that waits for a timestamp.
    pub unsynced: Mutex<Vec<(u64, u64, Arc<TxnExt>)>>,
}

impl TestPd {
    /// Sends a timestamp to all waiting peers.
    pub fn sync_max_ts(&self) {
        for (_, status, ext) in self.unsynced.lock().drain(..) {
            // A status of an earlier term is refused.
            ext.set_max_ts_synced(status);
        }
    }
}

impl PdReporter for TestPd {
    fn region_heartbeat(&self, heartbeat: RegionHeartbeat) {
        self.heartbeats.lock().push(heartbeat);
    }
    fn store_heartbeat(&self, _: StoreHeartbeat) {}
    fn ask_batch_split(&self, _: Region, _: Vec<Vec<u8>>, _: Peer, _: bool, _: Callback) {}
    fn report_batch_split(&self, _: Vec<Region>) {}
    fn validate_peer(&self, _: Region, _: Peer) {}
    fn update_max_timestamp(&self, region_id: u64, initial_status: u64, txn_ext: Arc<TxnExt>) {
        self.unsynced.lock().push((region_id, initial_status, txn_ext));
    }
}

/// The lock that all stores have in memory, and the reads that replicas reported to their leaders.
#[derive(Default)]
pub struct MemoryLocks {
    pub lock: Option<LockInfo>,
    pub reads: Vec<ReadIndexRequest>,
}

struct Observed(Arc<Mutex<MemoryLocks>>);

impl ReadIndexObserver for Observed {
    fn on_step(&self, request: &ReadIndexRequest, _: &Region) -> Option<LockInfo> {
        let mut locks = self.0.lock();
        locks.reads.push(request.clone());
        locks.lock.clone()
    }
}

pub struct Node {
    pub system: RaftBatchSystem,
    pub engines: Engines,
    pub router: RaftRouter,
    pub reader: LocalReader,
}

pub struct Cluster {
    dir: PathBuf,
    _temp: Option<TempDir>,
    net: Arc<Net>,
    pub config: Config,
    pub nodes: HashMap<u64, Node>,
    pub pd: Arc<TestPd>,
    pub memory_locks: Arc<Mutex<MemoryLocks>>,
}

pub fn quick_config() -> Config {
    Config {
        raft_base_tick_interval: ReadableDuration::millis(100),
        raft_store_max_leader_lease: ReadableDuration::millis(900),
        raft_log_gc_tick_interval: ReadableDuration::ZERO,
        allow_unsafe_vote_after_start: true,
        ..Config::default()
    }
}

/// Runs a future to completion, or panics after [`WAIT`].
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(std::task::Waker::noop());
    let end = Instant::now() + WAIT;
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        assert!(Instant::now() < end, "no answer within {WAIT:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Retries until there is a value, or panics after [`WAIT`].
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WAIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {WAIT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Cluster {
    /// Creates one region with a peer on each of `stores`; a peer's id is 10 + its store's id.
    pub fn new(stores: &[u64], config: Config) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut cluster = Self::open(temp.path(), stores, config);
        cluster._temp = Some(temp);
        cluster
    }

    /// Opens the stores of a directory; new stores get the region.
    pub fn open(dir: &Path, stores: &[u64], config: Config) -> Self {
        let (dir, net) = (dir.to_owned(), Arc::default());
        let (nodes, pd, memory_locks) = (HashMap::new(), Arc::default(), Arc::default());
        let mut cluster = Cluster { dir, _temp: None, net, config, nodes, pd, memory_locks };
        let mut region = initial_region(stores[0], REGION, 10 + stores[0]);
        region.peers = stores.iter().map(|s| Peer::voter(*s, 10 + s)).collect();
        for store in stores {
            cluster.start_with(*store, Some(&region));
        }
        cluster
    }

    fn path(&self, store: u64, part: &str) -> PathBuf {
        let path = self.dir.join(store.to_string()).join(part);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn start(&mut self, store: u64) {
        self.start_with(store, None);
    }

    fn start_with(&mut self, store: u64, region: Option<&Region>) {
        let kv = RocksEngine::open(self.path(store, "db"), &DbConfig::small()).unwrap();
        let raft = RaftLogEngine::open(self.path(store, "raft-engine"), &RaftEngineConfig::small()).unwrap();
        let engines = Engines::new(kv, raft);
        if load_store_ident(&engines).unwrap().is_none() {
            let ident = StoreIdent { cluster_id: 7, store_id: store, ..Default::default() };
            bootstrap_store(&engines, &ident).unwrap();
            if let Some(region) = region {
                prepare_bootstrap_cluster(&engines, region).unwrap();
            }
        }
        let snap_mgr = SnapManager::open(self.path(store, "snap")).unwrap();
        let mut system = RaftBatchSystem::new(store, &self.config, engines.clone());
        let (router, reader) = (system.router(), system.local_reader());
        self.net.stores.lock().insert(store, (router.clone(), snap_mgr.clone()));
        let parts = StoreParts {
            store_id: store,
            config: self.config.clone(),
            engines: engines.clone(),
            trans: Wire { from: store, net: self.net.clone() },
            snap_mgr,
            pd: self.pd.clone(),
            read_index_observer: Arc::new(Observed(self.memory_locks.clone())),
            region_observer: Arc::new(IgnoreChanges),
        };
        system.spawn(parts).unwrap();
        self.nodes.insert(store, Node { system, engines, router, reader });
    }

    pub fn stop(&mut self, store: u64) {
        self.net.stores.lock().remove(&store);
        if let Some(mut node) = self.nodes.remove(&store) {
            node.system.shutdown();
        }
    }

    /// Blocks all messages between `store` and the others.
    pub fn isolate(&self, store: u64) {
        let mut cut = self.net.cut.lock();
        for other in 1..=3 {
            cut.insert((store, other));
            cut.insert((other, store));
        }
    }

    pub fn heal(&self) {
        self.net.cut.lock().clear();
    }

    pub fn meta(&self, store: u64, region: u64) -> Option<RegionMeta> {
        let node = self.nodes.get(&store)?;
        wait(node.router.query_region_meta(region))
    }

    fn leader(&self, region: u64) -> Option<(u64, RegionMeta)> {
        let metas = self.nodes.keys().filter_map(|s| Some((*s, self.meta(*s, region)?)));
        metas.filter(|(_, m)| m.raft.role == "Leader").max_by_key(|(_, m)| m.raft.term)
    }

    pub fn wait_leader(&self, region: u64) -> u64 {
        until("a leader", || self.leader(region)).0
    }

    /// Returns the header of a client that has asked PD.
    pub fn header(&self, store: u64, region: u64) -> RaftRequestHeader {
        let meta = until("the region", || self.meta(store, region));
        RaftRequestHeader {
            region_id: region,
            peer: meta.region.find_peer(store).copied(),
            region_epoch: meta.region.region_epoch,
            ..Default::default()
        }
    }

    pub fn send(&self, store: u64, cmd: RaftCmdRequest, req: Req) -> RaftCmdResponse {
        let (callback, answer) = Callback::paired_write();
        // The callback has the error.
        let _ = self.nodes[&store].router.send_command(cmd, callback, req);
        wait(answer).unwrap().response
    }

    pub fn put_cmd(&self, store: u64, region: u64, key: &[u8], value: &[u8]) -> RaftCmdRequest {
        let put = PutRequest { cf: "default".into(), key: key.to_vec(), value: value.to_vec() };
        let put = Request { cmd_type: CmdType::Put as i32, put: Some(put), ..Default::default() };
        let header = Some(self.header(store, region));
        RaftCmdRequest { header, requests: vec![put], ..Default::default() }
    }

    /// Retries a put through the current leader until it is acknowledged.
    pub fn must_put(&self, key: &[u8], value: &[u8]) {
        let region = if self.nodes.values().any(|n| n.router.region_ids().len() > 1) {
            self.region_of(key)
        } else {
            REGION
        };
        until("an acknowledged put", || {
            let (leader, _) = self.leader(region)?;
            let cmd = self.put_cmd(leader, region, key, value);
            error_of(&self.send(leader, cmd, Req::NONE)).is_none().then_some(())
        });
    }

    pub fn region_of(&self, key: &[u8]) -> u64 {
        until("the key's region", || {
            let ids = self.nodes.values().flat_map(|n| n.router.region_ids());
            let mut ids: Vec<u64> = ids.collect();
            ids.dedup();
            ids.into_iter().find(|id| self.leader(*id).is_some_and(|(_, m)| m.region.contains(key)))
        })
    }

    pub fn admin(&self, store: u64, region: u64, admin: AdminRequest) -> RaftCmdResponse {
        let header = Some(self.header(store, region));
        self.send(
            store,
            RaftCmdRequest { header, admin_request: Some(admin), ..Default::default() },
            Req::NONE,
        )
    }

    /// Proposes an admin command through the current leader until it succeeds.
    pub fn must_admin(&self, region: u64, admin: AdminRequest) -> RaftCmdResponse {
        until("an admin command", || {
            let (leader, _) = self.leader(region)?;
            let resp = self.admin(leader, region, admin.clone());
            error_of(&resp).is_none().then_some(resp)
        })
    }

    pub fn change_peer(&self, kind: i32, peer: Peer) {
        let change = ChangePeerRequest { change_type: kind, peer: Some(peer) };
        self.must_admin(
            REGION,
            AdminRequest {
                cmd_type: AdminCmdType::ChangePeer as i32,
                change_peer: Some(change),
                ..Default::default()
            },
        );
    }

    /// Splits the first region at `m`; the new region gets the keys below.
    pub fn must_split(&self, new_region_id: u64, new_peer_ids: Vec<u64>) {
        self.must_admin(REGION, split_at_m(new_region_id, new_peer_ids));
    }

    pub fn must_transfer_leader(&self, to_store: u64) {
        until("a leader transfer", || {
            let (leader, meta) = self.leader(REGION)?;
            if leader == to_store {
                return Some(());
            }
            let transfer = TransferLeaderRequest {
                peer: meta.region.find_peer(to_store).copied(),
                ..Default::default()
            };
            self.admin(
                leader,
                REGION,
                AdminRequest {
                    cmd_type: AdminCmdType::TransferLeader as i32,
                    transfer_leader: Some(transfer),
                    ..Default::default()
                },
            );
            thread::sleep(Duration::from_millis(100));
            None
        });
    }

    pub fn snapshot(&self, store: u64, header: RaftRequestHeader) -> Result<RegionSnapshot, errorpb::Error> {
        self.snapshot_of(store, header, None).map_err(|e| match *e.0 {
            ErrorInner::Request(e) => e,
            other => panic!("expected a region error, found {other}"),
        })
    }

    /// Takes a snapshot as a replica read of these ranges at this timestamp.
    pub fn snapshot_of(
        &self,
        store: u64,
        header: RaftRequestHeader,
        read_index: Option<ReadIndexRequest>,
    ) -> tikv_kv::Result<RegionSnapshot> {
        wait(self.nodes[&store].reader.snapshot(header, read_index, Req::NONE))
    }

    /// Reads through the current leader.
    pub fn must_read(&self, key: &[u8]) -> Option<Vec<u8>> {
        let region = self.region_of(key);
        until("a read", || {
            let (leader, _) = self.leader(region)?;
            let snap = self.snapshot(leader, self.header(leader, region)).ok()?;
            Some(read(&snap, key))
        })
    }

    /// Waits until a store has applied a value.
    pub fn wait_applied(&self, store: u64, key: &[u8], value: &[u8]) {
        let kv = &self.nodes[&store].engines.kv;
        until("the value on the store", || {
            let found = kv.get_value_cf("default", &keys::data_key(key)).unwrap();
            (found.as_deref() == Some(value)).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stores: Vec<u64> = self.nodes.keys().copied().collect();
        stores.into_iter().for_each(|s| self.stop(s));
    }
}

/// Returns a split at `m`; the new region gets the keys below.
pub fn split_at_m(new_region_id: u64, new_peer_ids: Vec<u64>) -> AdminRequest {
    let split = SplitRequest { split_key: b"m".to_vec(), new_region_id, new_peer_ids, ..Default::default() };
    let splits = BatchSplitRequest { requests: vec![split], right_derive: true, ..Default::default() };
    AdminRequest { cmd_type: AdminCmdType::BatchSplit as i32, splits: Some(splits), ..Default::default() }
}

pub fn read(snap: &RegionSnapshot, key: &[u8]) -> Option<Vec<u8>> {
    use tikv_kv::Snapshot;
    snap.get_cf("default", &txn_types::Key::from_encoded(key.to_vec())).unwrap()
}

pub fn error_of(resp: &RaftCmdResponse) -> Option<&errorpb::Error> {
    resp.header.as_ref()?.error.as_ref()
}
