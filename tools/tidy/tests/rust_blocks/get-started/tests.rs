//! Declares what `docs/src/get-started/tests.md` uses of TiKV.
pub struct TimeStamp(u64);

impl From<u64> for TimeStamp {
    fn from(ts: u64) -> Self {
        TimeStamp(ts)
    }
}

pub trait Engine {}
pub struct RocksEngine;
impl Engine for RocksEngine {}

#[derive(Default)]
pub struct TestEngineBuilder;

impl TestEngineBuilder {
    pub fn new() -> Self {
        TestEngineBuilder
    }

    pub fn build(self) -> Result<RocksEngine, String> {
        Ok(RocksEngine)
    }
}

// Signature of TiKV: src/storage/txn/actions/tests.rs::must_prewrite_put
pub fn must_prewrite_put<E: Engine>(
    engine: &mut E,
    key: &[u8],
    value: &[u8],
    pk: &[u8],
    ts: impl Into<TimeStamp>,
) {
}

// Signature of TiKV: src/storage/txn/actions/tests.rs::must_rollback
pub fn must_rollback<E: Engine>(engine: &mut E, key: &[u8], start_ts: impl Into<TimeStamp>, protect_rollback: bool) {}

pub struct CommitRole;
pub struct Error;

// Signature of TiKV: src/storage/txn/actions/commit.rs::must_err
pub fn must_err<E: Engine>(
    engine: &mut E,
    key: &[u8],
    start_ts: impl Into<TimeStamp>,
    commit_ts: impl Into<TimeStamp>,
    commit_role: Option<CommitRole>,
) -> Error {
    Error
}

mod metapb {
    pub struct Peer;
    pub struct Region;

    impl Region {
        pub fn get_id(&self) -> u64 {
            0
        }
    }
}

mod test_raftstore {
    use super::metapb;

    pub trait KvEngine {}
    pub struct RocksEngine;
    impl KvEngine for RocksEngine {}
    pub trait RawEngine<EK: KvEngine> {}
    impl RawEngine<RocksEngine> for RocksEngine {}

    pub trait FilterFactory {}
    pub struct IsolationFilterFactory;
    impl FilterFactory for IsolationFilterFactory {}

    impl IsolationFilterFactory {
        // Signature of TiKV: components/test_raftstore/src/transport_simulate.rs::IsolationFilterFactory::new
        pub fn new(node_id: u64) -> IsolationFilterFactory {
            IsolationFilterFactory
        }
    }

    pub struct NodeCluster;
    pub struct Cluster<T>(T);

    // Signature of TiKV: components/test_raftstore/src/node.rs::new_node_cluster
    pub fn new_node_cluster(id: u64, count: usize) -> Cluster<NodeCluster> {
        Cluster(NodeCluster)
    }

    impl<T> Cluster<T> {
        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::run
        pub fn run(&mut self) {}

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::must_put
        pub fn must_put(&mut self, key: &[u8], value: &[u8]) {}

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::must_get
        pub fn must_get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
            None
        }

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::get_region
        pub fn get_region(&self, key: &[u8]) -> metapb::Region {
            metapb::Region
        }

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::get_engine
        pub fn get_engine(&self, node_id: u64) -> RocksEngine {
            RocksEngine
        }

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::must_transfer_leader
        pub fn must_transfer_leader(&mut self, region_id: u64, leader: metapb::Peer) {}

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::add_send_filter
        pub fn add_send_filter<F: FilterFactory>(&self, factory: F) {}

        // Signature of TiKV: components/test_raftstore/src/cluster.rs::Cluster::clear_send_filters
        pub fn clear_send_filters(&mut self) {}
    }

    // Signature of TiKV: components/test_raftstore/src/util.rs::must_get_equal
    pub fn must_get_equal<EK: KvEngine>(engine: &impl RawEngine<EK>, key: &[u8], value: &[u8]) {}

    // Signature of TiKV: components/test_raftstore/src/util.rs::must_get_none
    pub fn must_get_none<EK: KvEngine>(engine: &impl RawEngine<EK>, key: &[u8]) {}

    // TiKV: a re-export of components/tikv_util/src/store/peer.rs::new_peer
    pub fn new_peer(store_id: u64, peer_id: u64) -> metapb::Peer {
        metapb::Peer
    }
}

mod fail {
    pub fn cfg<S: Into<String>>(name: S, actions: &str) -> Result<(), String> {
        Ok(())
    }
}

// block 1
// block 2

fn faults(mut cluster: test_raftstore::Cluster<test_raftstore::NodeCluster>) {
    use test_raftstore::{IsolationFilterFactory, must_get_equal, must_get_none};
    // block 3
}

fn a_fail_point() {
    // block 4
}
