//! Starts a PD and stores on free ports, in a directory that is removed at the end.
use std::{future::Future, path::PathBuf, time::Duration};

use pd::server::{EngineWallClock, PdConfig, PdHandle, PdServer};
use security::{SecurityConfig, SecurityManager};
use server::{
    ServerHandle, StartOptions, TikvServer,
    config::{ReadableDuration, TikvConfig},
};
use tempfile::TempDir;
use tikv_client::{CheckLevel, Config, Timestamp, TimestampExt, TransactionClient, TransactionOptions};
use tokio::runtime::Runtime;

/// Maximum time of any step; the test fails after it.
const BOUND: Duration = Duration::from_secs(60);

pub struct Cluster {
    // In the order in which they stop.
    pub stores: Vec<ServerHandle>,
    pub pd: PdHandle,
    pub client: TransactionClient,
    pub runtime: Runtime,
    dir: TempDir,
}

/// Returns the path of a test certificate.
pub fn certificate(name: &str) -> PathBuf {
    std::path::absolute("../engine/security/tests/data").unwrap().join(name)
}

/// Returns TLS settings with the certificate of `who`.
pub fn security(who: &str) -> SecurityConfig {
    let [ca, cert, key] = ["ca.pem".to_owned(), format!("{who}.pem"), format!("{who}-key.pem")];
    let path = |name: &str| Some(certificate(name));
    let (ca, cert, key) = (path(&ca), path(&cert), path(&key));
    SecurityConfig::from_paths(ca.as_deref(), cert.as_deref(), key.as_deref())
}

impl Cluster {
    pub fn start(stores: usize, security: SecurityConfig) -> Self {
        Self::start_with(stores, security, |_| {})
    }

    /// Starts stores whose configuration `tune` changes.
    pub fn start_with(stores: usize, security: SecurityConfig, tune: impl Fn(&mut TikvConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pd_config = PdConfig {
            data_dir: dir.path().join("pd"),
            addr: ([127, 0, 0, 1], 0).into(),
            advertise_addr: None,
            cluster_id: None,
            max_replicas: Some(stores as u32),
            clock: std::sync::Arc::new(EngineWallClock),
        };
        let manager = SecurityManager::new(security.clone()).unwrap();
        let pd = PdServer::start_secure(pd_config, &manager).unwrap();
        let start = |n: usize| {
            let mut config =
                TikvConfig::for_embedding(dir.path().join(format!("s{n}")), pd.addr().to_string());
            config.security = security.clone();
            config.raft_store.raft_base_tick_interval = ReadableDuration::millis(100);
            config.raft_store.raft_store_max_leader_lease = ReadableDuration::millis(900);
            config.raft_store.pd_heartbeat_tick_interval = ReadableDuration::millis(200);
            config.raft_store.pd_store_heartbeat_tick_interval = ReadableDuration::millis(200);
            tune(&mut config);
            TikvServer::start(config, StartOptions::default()).unwrap()
        };
        let stores = (0..stores).map(start).collect();
        let runtime = Runtime::new().unwrap();
        let config = match security.is_tls() {
            true => Config::default().with_security(security.ca_path, security.cert_path, security.key_path),
            false => Config::default(),
        };
        let connect = TransactionClient::new_with_config(vec![pd.addr().to_string()], config);
        let client = runtime.block_on(async { tokio::time::timeout(BOUND, connect).await });
        Self { stores, pd, client: client.unwrap().unwrap(), runtime, dir }
    }

    pub fn pd(&self) -> String {
        self.pd.addr().to_string()
    }

    pub fn host(&self) -> String {
        self.stores[0].addr().to_string()
    }

    /// The first store's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("s0")
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(BOUND, future).await.expect("within the bound") };
        self.runtime.block_on(bounded)
    }

    /// Writes the pairs in one transaction; `None` deletes.
    pub fn write(&self, pairs: &[(&[u8], Option<&[u8]>)]) {
        self.block_on(async {
            let mut txn = self.client.begin_optimistic().await.unwrap();
            for (key, value) in pairs {
                match value {
                    Some(value) => txn.put(key.to_vec(), value.to_vec()).await.unwrap(),
                    None => txn.delete(key.to_vec()).await.unwrap(),
                }
            }
            txn.commit().await.unwrap();
        });
    }

    pub fn timestamp(&self) -> u64 {
        self.block_on(self.client.current_timestamp()).unwrap().version()
    }

    /// Reads now.
    pub fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.read_at(key, self.timestamp())
    }

    pub fn read_at(&self, key: &[u8], ts: u64) -> Option<Vec<u8>> {
        let options = TransactionOptions::new_optimistic().drop_check(CheckLevel::None);
        let mut snapshot = self.client.snapshot(Timestamp::from_version(ts), options);
        self.block_on(snapshot.get(key.to_vec())).unwrap()
    }

    /// Waits until `done` returns true.
    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = std::time::Instant::now() + BOUND / 2;
        while !done() {
            assert!(std::time::Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
