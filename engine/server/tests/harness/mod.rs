//! A cluster in this process: a PD and stores on free ports, in a directory that is removed at the end.
#![allow(dead_code)] // not every test needs all of it
mod operations;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use kvproto::{
    kvrpcpb::{self, Context, Mutation, Op, PrewriteRequest},
    metapb::{Peer, Region},
    raft_cmdpb::{CmdType, RaftCmdRequest, RaftRequestHeader, Request},
    tikvpb::tikv_client::TikvClient,
};
use pd::{
    client::PdClient,
    server::{EngineWallClock, PdConfig, PdHandle, PdServer},
};
use raftstore::store::Callback;
use server::{
    NetFaults, PluginRegistry, ServerHandle, StartOptions, TikvServer,
    config::{ReadableDuration, TikvConfig},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::Instant};
use tonic::transport::Channel;
use tracepoints::Req;

/// Time limit of every wait: a test that takes longer fails.
pub const BOUND: Duration = Duration::from_secs(60);

pub struct Harness {
    pub stores: Vec<Option<ServerHandle>>,
    pub pd: PdHandle,
    pub client: PdClient,
    pub faults: NetFaults,
    pub runtime: Runtime,
    pub dir: TempDir,
    tune: Box<dyn Fn(&mut TikvConfig)>,
}

impl Harness {
    pub fn start(stores: usize) -> Self {
        Self::start_with(stores, |_| ())
    }

    /// `tune` changes each store's configuration last.
    pub fn start_with(stores: usize, tune: impl Fn(&mut TikvConfig) + 'static) -> Self {
        server::logger::init(log::LevelFilter::Warn);
        let dir = tempfile::tempdir().unwrap();
        let pd = PdServer::start(PdConfig {
            data_dir: dir.path().join("pd"),
            addr: ([127, 0, 0, 1], 0).into(),
            advertise_addr: None,
            cluster_id: None,
            max_replicas: Some(stores as u32),
            clock: Arc::new(EngineWallClock),
        })
        .unwrap();
        let runtime = Runtime::new().unwrap();
        let endpoint = pd.addr().to_string();
        let client = runtime.block_on(PdClient::connect(&[endpoint])).unwrap();
        let (stores_of, faults) = (Vec::new(), NetFaults::default());
        let mut harness = Self { stores: stores_of, pd, client, faults, runtime, dir, tune: Box::new(tune) };
        for n in 0..stores {
            harness.stores.push(None);
            harness.start_store(n);
        }
        harness
    }

    pub fn config(&self, n: usize) -> TikvConfig {
        let dir: PathBuf = self.dir.path().join(format!("s{n}"));
        let mut config = TikvConfig::for_embedding(dir, self.pd.addr().to_string());
        let raft = &mut config.raft_store;
        raft.raft_base_tick_interval = ReadableDuration::millis(100);
        raft.raft_store_max_leader_lease = ReadableDuration::millis(900);
        // A busy machine must not cause elections: two to four seconds without a thread.
        raft.raft_election_timeout_ticks = 20;
        raft.pd_heartbeat_tick_interval = ReadableDuration::millis(300);
        raft.pd_store_heartbeat_tick_interval = ReadableDuration::millis(300);
        (self.tune)(&mut config);
        config
    }

    pub fn start_store(&mut self, n: usize) {
        let mut plugins = PluginRegistry::default();
        plugins.register(operations::declared_plugin()).unwrap();
        let options = StartOptions { faults: self.faults.clone(), plugins, ..StartOptions::default() };
        self.stores[n] = Some(TikvServer::start(self.config(n), options).unwrap());
    }

    pub fn store(&self, n: usize) -> &ServerHandle {
        self.stores[n].as_ref().unwrap()
    }

    /// Returns the running store of this id.
    pub fn find_store(&self, id: u64) -> Option<&ServerHandle> {
        self.stores.iter().flatten().find(|s| s.store_id() == id)
    }

    /// Returns a new timestamp of PD.
    pub fn ts(&self) -> u64 {
        let ts = self.block_on(self.client.get_tso(1)).unwrap();
        ((ts.physical << 18) + ts.logical) as u64
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(BOUND, future).await.expect("within the bound") };
        self.runtime.block_on(bounded)
    }

    /// Retries until there is an answer.
    pub fn until<T>(&self, what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
        self.block_on(async {
            let deadline = Instant::now() + BOUND / 2;
            loop {
                if let Some(found) = attempt().await {
                    return found;
                }
                assert!(Instant::now() < deadline, "{what}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    }

    /// Returns the region of all keys, once it has this many peers and a leader that serves.
    pub fn region(&self, peers: usize) -> (Region, Peer) {
        self.until("the region has a leader and its peers", async || {
            let found = self.client.get_region(b"").await.ok()?;
            let leader = found.leader?;
            if found.region.peers.len() != peers {
                return None;
            }
            self.serves(&found.region, leader).await?;
            Some((found.region, leader))
        })
    }

    /// Waits until the leader has committed an entry of its term: it refuses reads with `StaleCommand` before.
    async fn serves(&self, region: &Region, leader: Peer) -> Option<()> {
        let header = RaftRequestHeader {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: Some(leader),
            read_quorum: true,
            ..Default::default()
        };
        let snap = Request { cmd_type: CmdType::Snap as i32, ..Default::default() };
        let command = RaftCmdRequest { header: Some(header), requests: vec![snap], ..Default::default() };
        let (reply, replied) = tokio::sync::oneshot::channel();
        let callback = Callback::read(Box::new(move |read| {
            let _ = reply.send(read.snapshot.is_some());
        }));
        self.find_store(leader.store_id)?.router().send_read(command, callback, Req::NONE).ok()?;
        let served = tokio::time::timeout(Duration::from_secs(5), replied).await;
        served.ok()?.ok()?.then_some(())
    }

    /// Returns the context that a client sends to the leader, and a connection to the leader.
    pub fn leader(&self) -> (Context, TikvClient<Channel>) {
        let (region, leader) = self.region(self.stores.len());
        let store = self.find_store(leader.store_id).unwrap();
        let client = self.block_on(TikvClient::connect(format!("http://{}", store.addr()))).unwrap();
        (context(&region, leader), client)
    }

    /// Puts a raw key through the leader.
    pub fn raw_put(&self, key: &[u8], value: &[u8]) {
        self.until("a raw put succeeds", async || {
            let found = self.client.get_region(b"").await.ok()?;
            let leader = found.leader?;
            let store = self.find_store(leader.store_id)?;
            let mut client = TikvClient::connect(format!("http://{}", store.addr())).await.ok()?;
            let request = kvrpcpb::RawPutRequest {
                context: Some(context(&found.region, leader)),
                key: key.to_vec(),
                value: value.to_vec(),
                ..Default::default()
            };
            let put =
                tokio::time::timeout(Duration::from_secs(5), client.raw_put(request)).await.ok()?.ok()?;
            let put = put.into_inner();
            (put.region_error.is_none() && put.error.is_empty()).then_some(())
        });
    }

    /// Reads a raw key from the leader.
    pub fn raw_get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.until("a raw get succeeds", async || {
            let found = self.client.get_region(b"").await.ok()?;
            let leader = found.leader?;
            let store = self.find_store(leader.store_id)?;
            let mut client = TikvClient::connect(format!("http://{}", store.addr())).await.ok()?;
            let context = Some(context(&found.region, leader));
            let request = kvrpcpb::RawGetRequest { context, key: key.to_vec(), ..Default::default() };
            let got =
                tokio::time::timeout(Duration::from_secs(5), client.raw_get(request)).await.ok()?.ok()?;
            let got = got.into_inner();
            (got.region_error.is_none() && got.error.is_empty())
                .then_some((!got.not_found).then_some(got.value))
        })
    }
}

pub fn put(key: &[u8], value: &[u8]) -> Mutation {
    Mutation { op: Op::Put as i32, key: key.to_vec(), value: value.to_vec(), ..Default::default() }
}

/// Builds the prewrite of a transaction with one key.
pub fn prewrite(context: &Context, key: &[u8], value: &[u8], start_version: u64) -> PrewriteRequest {
    PrewriteRequest {
        context: Some(context.clone()),
        mutations: vec![put(key, value)],
        primary_lock: key.to_vec(),
        start_version,
        lock_ttl: 3000,
        txn_size: 1,
        ..Default::default()
    }
}

pub fn context(region: &Region, peer: Peer) -> Context {
    Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(peer),
        ..Context::default()
    }
}
